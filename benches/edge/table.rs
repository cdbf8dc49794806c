//! The rounds, and what comes of them: each proxy in its turn, again and again, so that whatever else the host does hits
//! all alike.

use std::net::SocketAddr;
use std::time::Duration;

use super::Failure;
use super::load::{self, Figures, Shape};
use super::others::Proxy;

/// How often each is measured, by a process of its own each time: which of two that are alike does better for all its life
/// is chance.
const ROUNDS: usize = 7;

/// The medians of one load.
pub(crate) struct Row {
    shape: Shape,
    figures: Vec<(Proxy, Figures)>,
}

impl Row {
    /// Starts all, measures each in turn, ends them, and begins again.
    pub(crate) fn measure(shape: Shape, replica: SocketAddr) -> Result<Self, Failure> {
        let mut all: Vec<(Proxy, Vec<Figures>)> = (Proxy::ALL.into_iter())
            .filter(|proxy| proxy.serves(shape))
            .map(|proxy| (proxy, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            let mut running = Vec::new();
            for (proxy, rounds) in &mut all {
                if let Some(started) = proxy.start(replica)? {
                    running.push((started, rounds));
                }
            }
            for (proxy, rounds) in running {
                rounds.push(load::measure(proxy.address(), shape, || proxy.cpu())?);
            }
        }
        let figures = (all.into_iter())
            .filter_map(|(proxy, rounds)| Some((proxy, Figures::median(&rounds)?)));
        Ok(Self {
            shape,
            figures: figures.collect(),
        })
    }

    /// Each proxy's figures.
    pub(crate) fn print(&self) {
        let base = self.of(|proxy| proxy == Proxy::Direct);
        for (proxy, figures) in &self.figures {
            let ratio = base.map_or(1.0, |base| figures.rate / base.rate);
            println!(
                "{:<22} {:<28} {figures} ratio to direct {ratio:.2}",
                proxy.name(),
                self.shape.name()
            );
        }
    }

    /// The edge beside each of the others.
    pub(crate) fn print_comparison(&self) {
        let direct = self.of(|proxy| proxy == Proxy::Direct);
        let edge = self.of(Proxy::is_edge);
        let Some((direct, edge)) = direct.zip(edge) else {
            return;
        };
        for (other, theirs) in self.figures.iter().filter(|(proxy, _)| proxy.is_other()) {
            let added = |span: fn(&Figures) -> Duration| {
                let over = |figures: &Figures| micros(span(figures)) - micros(span(&direct));
                format!("{:>8.0} {:>8.0}", over(&edge), over(theirs))
            };
            println!(
                "{:<28} {:<20} {:>6.2} {:>17} {:>17}",
                self.shape.name(),
                other.name(),
                edge.rate / theirs.rate,
                added(|figures| figures.p50),
                added(|figures| figures.p99)
            );
        }
    }

    fn of(&self, is: impl Fn(Proxy) -> bool) -> Option<Figures> {
        let found = self.figures.iter().find(|(proxy, _)| is(*proxy));
        found.map(|(_, figures)| *figures)
    }
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
