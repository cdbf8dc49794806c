//! When an image is asked for anew.
//!
//! Not here: asking (`cli::up`). Whatever is done, the name of an image is looked up once, when a project is resolved.

use std::time::Duration;

/// When the registry is asked, at the start of `up`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PullPolicy {
    /// Only for an image that the engine does not have.
    #[default]
    Missing,
    /// Always; without an answer nothing is started.
    Always,
    /// Always; without an answer the image that is there is used (`x-phoenix: { pull: latest }`).
    Latest,
    /// Never.
    Never,
    /// Never: the image is built.
    Build,
    /// When the image was tagged longer ago than this, as the engine remembers it.
    Refresh(Duration),
}

impl PullPolicy {
    /// Reads what `pull_policy` may say (compose-go 2.9.1, `types.ServiceConfig.GetPullPolicy`).
    pub fn parse(text: &str) -> Option<Self> {
        const DAY: Duration = Duration::from_hours(24);
        match text {
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            "build" => Some(Self::Build),
            // `refresh` alone names no age: the reference takes it for `missing`.
            "missing" | "if_not_present" | "refresh" => Some(Self::Missing),
            "daily" => Some(Self::Refresh(DAY)),
            "weekly" => Some(Self::Refresh(DAY * 7)),
            _ => age(text.strip_prefix("every_")?).map(Self::Refresh),
        }
    }
}

/// `1w2d3h4m5s`
fn age(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, tail) = rest.split_at(end);
        let number: u32 = digits.parse().ok()?;
        let unit = tail.chars().next()?;
        let seconds = match unit {
            'w' => 7 * 24 * 3600,
            'd' => 24 * 3600,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(seconds).checked_mul(number)?)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_compose_has_its_meaning() {
        let hours = |hours| Some(PullPolicy::Refresh(Duration::from_hours(hours)));
        for (text, expected) in [
            ("always", Some(PullPolicy::Always)),
            ("never", Some(PullPolicy::Never)),
            ("build", Some(PullPolicy::Build)),
            ("missing", Some(PullPolicy::Missing)),
            ("if_not_present", Some(PullPolicy::Missing)),
            ("refresh", Some(PullPolicy::Missing)),
            ("daily", hours(24)),
            ("weekly", hours(7 * 24)),
            ("every_12h", hours(12)),
            ("every_1d12h", hours(36)),
            ("every_60m", hours(1)),
            ("every_", None),
            ("every_12", None),
            ("every_h", None),
            ("every_1y", None),
            ("every_99999999999w", None),
            ("sometimes", None),
        ] {
            assert_eq!(PullPolicy::parse(text), expected, "{text}");
        }
    }
}
