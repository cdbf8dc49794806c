//! What every journey stands on: a project of its own, the built binary, the engine as an outsider sees it, and load.
//!
//! Nothing here uses phoenixd's own view of the engine: what the binary says is compared with what the engine says.

mod engine;
mod http;
mod image;
mod journey;
mod load;
mod wait;

pub(crate) use engine::{Engine, EventLog, Made};
pub(crate) use http::{Answer, get, get_from, post, request};
pub(crate) use journey::{Journey, Output, Supervisor};
pub(crate) use load::{Load, Tally};
pub(crate) use wait::{eventually, now, pause, until};
