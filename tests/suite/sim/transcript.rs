//! What happened, line by line; kept only when somebody is going to read it.

use std::fmt::Write as _;

use phoenixd::reconcile::Time;

/// The lines of one run.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    lines: Option<Vec<String>>,
}

impl Transcript {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            lines: keep.then(Vec::new),
        }
    }

    /// Adds a line, if anybody will read it.
    pub(super) fn note(&mut self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let at = now.since_boot();
            lines.push(format!(
                "{:>6}.{:06} {}",
                at.as_secs(),
                at.subsec_micros(),
                line()
            ));
        }
    }

    /// The last lines.
    pub(super) fn tail(&self, count: usize) -> String {
        let mut text = String::new();
        if let Some(lines) = &self.lines {
            let skipped = lines.len().saturating_sub(count);
            for line in lines.iter().skip(skipped) {
                writeln!(text, "{line}").unwrap_or_default();
            }
        }
        text
    }
}
