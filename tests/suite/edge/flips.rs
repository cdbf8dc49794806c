//! Tables that flip between two replicas while clients keep asking: a replica that left by the newest table, whose report
//! counts nothing open with it, may be stopped, so nothing must arrive there from then on.
//!
//! Not here: how a table is published and its report waited for, which each kind of edge does in its own way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use phoenixd::reconcile::Backend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::backend;
use crate::support::eventually;

const FLIPS: u64 = 30;

/// Both replicas, and whether each was stopped.
#[derive(Default)]
pub(crate) struct Flips {
    pub(crate) replicas: Vec<Backend>,
    pub(crate) stopped: [Arc<AtomicBool>; 2],
    /// Counted by the clients.
    pub(crate) answered: Arc<AtomicU64>,
}

impl Flips {
    /// Replicas that answer one byte with another.
    pub(crate) async fn of_bytes(servers: &mut JoinSet<()>) -> Self {
        let mut flips = Self::default();
        for (name, stopped) in ["a", "b"].into_iter().zip(&flips.stopped) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let replica = backend(name, listener.local_addr().unwrap());
            flips.replicas.push(replica);
            let stopped = Arc::clone(stopped);
            servers.spawn(async move {
                loop {
                    let (mut client, _) = listener.accept().await.unwrap();
                    let count = client.read(&mut [0; 1]).await.unwrap_or(0);
                    assert!(count == 0 || !stopped.load(Ordering::SeqCst), "{name}");
                    client.write_all(b"!").await.ok();
                }
            });
        }
        flips
    }

    /// Flips from the second replica, with which table 1 began. `to` publishes the table of a number, with the one that is
    /// to serve and the one that drains, and returns once that is reported and has nothing open.
    pub(crate) async fn run(
        self,
        mut servers: JoinSet<()>,
        mut clients: JoinSet<()>,
        mut to: impl AsyncFnMut(u64, &Backend, &Backend),
    ) {
        let both: Vec<_> = self.replicas.iter().zip(&self.stopped).collect();
        let mut both: [_; 2] = both.try_into().unwrap();
        for flip in 0..FLIPS {
            let [(new, starts), (old, stops)] = both;
            starts.store(false, Ordering::SeqCst);
            to(flip + 2, new, old).await;
            stops.store(true, Ordering::SeqCst);
            let before = self.answered.load(Ordering::SeqCst);
            let look = async || self.answered.load(Ordering::SeqCst);
            eventually("answers go on", look, |now| *now > before + 10).await;
            both.reverse();
        }
        assert!(clients.try_join_next().is_none(), "a client failed");
        assert!(
            servers.try_join_next().is_none(),
            "a stopped replica was reached"
        );
    }
}
