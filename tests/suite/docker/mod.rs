//! The engine's client against a fake daemon on a Unix socket: what is sent, and what is made of every sort of answer.
//!
//! Not here: what a real engine answers (`tests/docker`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod body;
mod build;
mod calls;
mod connect;
mod dependencies;
mod doors;
mod events;
mod execs;
mod fake;
mod hash;
mod images;
mod inspect;
mod needs;
mod rich;
