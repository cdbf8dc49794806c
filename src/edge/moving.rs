//! Listening sockets that come and go while the edge runs: bound when a table says so, or handed over by another edge.

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::accept::{self, Ground};
use super::listen::Sockets;
use crate::spec::Published;

/// Sockets of one port, which is accepted on until `closed`.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) published: Published,
    pub(super) sockets: Sockets,
    /// The port's, or the whole edge's: a child of the shutdown of [`run`](super::run).
    pub(super) closed: CancellationToken,
}

/// Accepts on whatever comes, until shutdown.
pub(super) async fn run(mut opened: mpsc::Receiver<Opened>, ground: Ground) {
    let mut acceptors = JoinSet::new();
    loop {
        // Cancel safety: all three only wait.
        tokio::select! {
            biased;
            () = ground.shutdown.cancelled() => break,
            Some(ended) = acceptors.join_next() => resume(ended),
            Some(Opened { published, sockets, closed }) = opened.recv() => {
                let ground = Ground { shutdown: closed, ..ground.clone() };
                accept::start_port(published, sockets, &ground, &mut acceptors);
            }
        }
    }
    while let Some(ended) = acceptors.join_next().await {
        resume(ended);
    }
}

fn resume(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
