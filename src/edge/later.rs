//! A port that somebody else holds at first: bound when a route table first has it, which says that its holder has ended.
//!
//! The holder's socket may outlive it by a moment, so binding is tried until it succeeds; connections are refused by the
//! host meanwhile, as they would be by any port that changes hands.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;
use tracing::{info, warn};

use super::Table;
use super::accept::{Ground, start_port};
use super::listen::bind_port;
use crate::report::Chain;
use crate::spec::Published;

/// Between two attempts. The holder has ended: it is a matter of milliseconds.
const ATTEMPTS: Duration = Duration::from_millis(10);

/// Waits for the port's turn, binds it, and accepts its connections until shutdown.
pub(super) async fn run(published: Published, ground: Ground, mut routes: watch::Receiver<Table>) {
    let has_port = |table: &Table| table.1.listeners.contains_key(&published);
    // Cancel safety: waiting for a table and for a tick lose nothing.
    tokio::select! {
        () = ground.shutdown.cancelled() => return,
        turn = routes.wait_for(has_port) => if turn.is_err() { return },
    }
    let mut attempts = interval(ATTEMPTS);
    let mut is_told = false;
    let sockets = loop {
        tokio::select! {
            () = ground.shutdown.cancelled() => return,
            _ = attempts.tick() => {}
        }
        match bind_port(published) {
            Ok(sockets) => break sockets,
            Err(error) if !is_told => {
                is_told = true;
                warn!(port = %published, error = %Chain(&error), "the port is not free yet");
            }
            Err(_) => {}
        }
    };
    info!(port = %published, "the port is taken over");
    let mut acceptors = JoinSet::new();
    start_port(published, sockets, &ground, &mut acceptors);
    while let Some(ended) = acceptors.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
