//! What the core decides, as text: one scenario each, by capability. `Scenario` is the only thing here that touches the
//! core's interface.

mod births;
mod endings;
mod hands;
mod recycling;
mod restarts;
mod scenario;
