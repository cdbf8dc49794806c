//! What happened, line by line; kept only when somebody is going to read it.

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

    /// All lines.
    pub(super) fn text(&self) -> String {
        self.lines
            .as_ref()
            .map(|lines| lines.join("\n"))
            .unwrap_or_default()
    }
}
