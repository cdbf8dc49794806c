//! Medians and spreads.

use std::fmt;

/// Samples of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Linear between neighbours; 0 where there is no sample.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return 0.0;
        };
        #[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
        let place = share * last as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the last index"
        )]
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        sorted[below] + (sorted[above] - sorted[below]) * place.fract()
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// By how much the median may be off, at 95 %: the notch of a box plot.
    pub(crate) fn uncertainty(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
        let count = self.count().max(1) as f64;
        1.57 * (self.quantile(0.75) - self.quantile(0.25)) / count.sqrt()
    }

    /// Each of these by its partner of the other side.
    pub(crate) fn ratios(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

/// `median  quartile..quartile  min..max`.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let show = |share: f64| format!("{:.digits$}", self.quantile(share));
        write!(
            f,
            "{:>8}   {:>17}   {:>17}",
            show(0.5),
            format!("{} .. {}", show(0.25), show(0.75)),
            format!("{} .. {}", show(0.0), show(1.0)),
        )
    }
}
