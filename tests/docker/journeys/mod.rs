//! Journeys: what a user does with the built binary, and what then is on the engine.
//!
//! Each journey has a project of its own and runs beside the others. What phoenixd says is never taken for what is:
//! the engine, the kernel and the clients are asked.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a missing field fails the test; what was measured is told when it fails"
)]

pub(crate) mod support;

mod adopt;
mod bench_security;
mod build;
mod crash;
mod demo;
mod depends;
mod down;
mod drain;
mod edge;
mod edge_replica;
mod engine_restart;
mod failed_birth;
mod fidelity;
mod files;
mod full_disk;
mod generation;
mod glass;
mod guard;
mod hardening;
mod healthcheck;
mod output;
mod pods;
mod pull;
mod reach;
mod rebirth;
mod recycle;
mod refused;
mod second;
mod side_by_side;
mod taint;
mod ttl;
mod unwatched;
mod whose_edge;
mod witness;
