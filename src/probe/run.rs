//! One prober for each target, kept in step with what is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::ask::{Answer, ask};
use crate::reconcile::{Target, Targets, Time};
use crate::spec::{ContainerId, Probe};

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probed {
    /// When the question began.
    pub asked_at: Time,
    /// Whom it was asked.
    pub id: ContainerId,
    /// What came of it: `Err` says why it failed, in a few words.
    pub result: Result<(), String>,
}

/// Probes what is published, until `shutdown`, until nobody publishes targets, or until nobody takes results.
///
/// A new target is probed at once, then again one `interval` after each answer. A changed target keeps its rhythm: a
/// shorter interval makes the next probe come sooner, another address or question ends the probe under way and begins
/// it anew. The probe of a target that vanished is ended at once. A full `results` slows the probes down.
///
/// # Panics
/// Goes on with the panic of a prober, which would be a bug.
///
/// # Cancel safety
/// Dropping it ends every probe.
pub async fn run(
    mut targets: watch::Receiver<Arc<Targets>>,
    results: mpsc::Sender<Probed>,
    clock: fn() -> Time,
    shutdown: CancellationToken,
) {
    let mut probers = Probers {
        by_id: BTreeMap::new(),
        tasks: JoinSet::new(),
        results,
        clock,
    };
    loop {
        let wanted = Arc::clone(&targets.borrow_and_update());
        probers.follow(&wanted);
        // Cancel safety: all four only wait; a joined task is done with.
        let go_on = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break false,
                Some(ended) = probers.tasks.join_next() => resume(ended),
                changed = targets.changed() => break changed.is_ok(),
                () = probers.results.closed() => break false,
            }
        };
        if !go_on {
            break;
        }
    }
    probers.tasks.shutdown().await;
}

/// The tasks, and how to reach them.
struct Probers {
    by_id: BTreeMap<ContainerId, Handle>,
    tasks: JoinSet<()>,
    results: mpsc::Sender<Probed>,
    clock: fn() -> Time,
}

/// One prober from outside. Dropping it ends the prober.
struct Handle {
    target: watch::Sender<Target>,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probers {
    /// Removals first: what vanished must not be asked again.
    fn follow(&mut self, wanted: &Targets) {
        self.by_id
            .retain(|id, _| wanted.get(id).is_some_and(|target| is_asked(&target.probe)));
        for (id, target) in wanted.iter().filter(|(_, target)| is_asked(&target.probe)) {
            match self.by_id.get(id) {
                Some(handle) => {
                    handle.target.send_if_modified(|current| {
                        let changed = current != target;
                        if changed {
                            current.clone_from(target);
                        }
                        changed
                    });
                }
                None => self.begin(id.clone(), target.clone()),
            }
        }
    }

    fn begin(&mut self, id: ContainerId, target: Target) {
        let (sender, receiver) = watch::channel(target);
        let prober = Prober {
            id: id.clone(),
            target: receiver,
            results: self.results.clone(),
            clock: self.clock,
        };
        let handle = Handle {
            target: sender,
            task: self.tasks.spawn(prober.run()),
        };
        self.by_id.insert(id, handle);
    }
}

/// Asks one container again and again.
struct Prober {
    id: ContainerId,
    target: watch::Receiver<Target>,
    results: mpsc::Sender<Probed>,
    clock: fn() -> Time,
}

impl Prober {
    async fn run(mut self) {
        let mut troubled = false;
        loop {
            let target = self.target.borrow_and_update().clone();
            let asked_at = (self.clock)();
            // Cancel safety: a dropped question closes its connection; the other only waits.
            let answer = tokio::select! {
                biased;
                answer = ask(&target) => answer,
                another = self.another_question(&target) => if another { continue } else { return },
            };
            let result = match answer {
                Answer::Ready => Some(Ok(())),
                Answer::Unready(why) => Some(Err(why)),
                Answer::Unasked(error) => {
                    if !troubled {
                        warn!(replica = %target.replica, %error, "cannot probe");
                    }
                    None
                }
            };
            troubled = result.is_none();
            if let Some(result) = result {
                let probed = Probed {
                    asked_at,
                    id: self.id.clone(),
                    result,
                };
                if self.results.send(probed).await.is_err() {
                    return;
                }
            }
            if !self.rest().await {
                return;
            }
        }
    }

    /// Waits until something else is to be asked than `target` says; `false` when there is nothing more to ask.
    async fn another_question(&mut self, target: &Target) -> bool {
        let differs = |now: &Target| now.address != target.address || now.probe != target.probe;
        self.target.wait_for(differs).await.is_ok()
    }

    /// Waits for one interval from now, as long as the target has it; `false` when there is nothing more to ask.
    async fn rest(&mut self) -> bool {
        let ended_at = (self.clock)();
        loop {
            let interval = self.target.borrow_and_update().interval;
            let left = interval.saturating_sub((self.clock)().since(ended_at));
            match timeout(left, self.target.changed()).await {
                Err(_elapsed) => return true,
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return false,
            }
        }
    }
}

fn is_asked(probe: &Probe) -> bool {
    match probe {
        Probe::Http { .. } | Probe::Tcp { .. } => true,
        Probe::Docker | Probe::Running | Probe::Edge => false,
    }
}

/// A prober that was ended is fine; one that panicked takes its owner along.
fn resume(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
