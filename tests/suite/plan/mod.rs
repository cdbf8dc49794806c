//! What the core decides, as text: one scenario each, by capability. `Scenario` is the only thing here that touches the
//! core's interface.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod adopted;
mod births;
mod checks;
mod depends;
mod edges;
mod endings;
mod files;
mod glass;
mod hands;
mod naming;
mod outside;
mod pods;
mod reach;
mod recycling;
mod restarts;
mod scenario;
mod taints;
