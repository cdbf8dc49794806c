//! The only module that knows bollard: the engine's API behind one trait.
//!
//! [`Engine`] is the one seam of the crate. bollard implements it here, the simulator in `tests/suite/sim`, and the same
//! conformance tests run against both. Not here: any decision (`reconcile`), and any retry: a failed call is
//! reported, and planned again.

mod engine;
mod error;

pub use engine::{Birth, Engine, Hint, Scope};
pub use error::Error;
