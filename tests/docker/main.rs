//! What only a real Docker Engine can show. Fails, saying so, where there is none.
//!
//! The engine is that of `DOCKER_HOST`, else of the default socket. Tests run in parallel, and beside whatever else
//! the engine runs: each has a project of its own, and removes only that.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../conformance/mod.rs"]
mod conformance;

#[path = "../common/ports.rs"]
mod ports;

mod compose;
mod engine;
mod fixture;
mod image;
mod journeys;
mod packaged;
mod promises;
