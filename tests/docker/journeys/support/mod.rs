//! What every journey stands on: a project of its own, the built binary, the engine as an outsider sees it, and load.
//!
//! Nothing here uses phoenixd's own view of the engine: what the binary says is compared with what the engine says.

mod engine;
pub(crate) mod http;
mod image;
mod journey;
mod load;
mod private;
mod random;
mod wait;

use std::io;

pub(crate) use engine::{Engine, EventLog, Made, STRANGER};
pub(crate) use image::{of_this_program, with_shell};
pub(crate) use journey::{Journey, Output, Supervisor};
pub(crate) use load::Load;
pub(crate) use private::{Private, inside};
pub(crate) use random::Random;
pub(crate) use wait::{eventually, now, pause, since, until};

/// A setting of this program's own.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests have no settings but these"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Serves, where this program was started in a container to do so, until it is stopped.
pub(crate) fn in_role(role: &str, serve: impl Future<Output = io::Result<()>>) {
    if variable(role).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(serve).expect("served");
}

/// A container's id as its host name and people have it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// An instant as Docker writes it, in nanoseconds since 1970.
pub(crate) fn nanoseconds(instant: &serde_json::Value) -> i64 {
    let text = instant.as_str().unwrap_or_default();
    let instant: jiff::Timestamp = text
        .parse()
        .unwrap_or_else(|error| panic!("`{text}` is no instant: {error}"));
    i64::try_from(instant.as_nanosecond()).expect("this century")
}
