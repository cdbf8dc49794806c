//! Watches the engine: subscribe, list, hand hints on; list again after any gap, on a period, and when asked to.
//!
//! A hint is only that: the container is inspected, and the listing is the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::touched::touch_of;
use crate::clock;
use crate::docker::{Engine, Error, Hint, Scope};
use crate::reconcile::{Event, Exec, Time, Touch};
use crate::report::Chain;
use crate::spec::ContainerId;

/// Between two listings when nothing else asks for one. Events may be lost without a trace; a listing of 20 replicas
/// costs the engine some 15 ms.
const RELIST: Duration = Duration::from_secs(15);
/// The first delay after the engine was lost; doubled up to the last.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LAST: Duration = Duration::from_secs(5);
/// A subscription that held for so long was a good one: the next delay is the first again.
const HELD: Duration = Duration::from_secs(10);

/// What the watch needs.
#[derive(Debug)]
pub(super) struct Watch<E> {
    pub(super) engine: Arc<E>,
    pub(super) scope: Scope,
    pub(super) events: mpsc::Sender<Event>,
    /// Somebody wants a listing now.
    pub(super) relist: Arc<Notify>,
    pub(super) shutdown: CancellationToken,
}

/// Why a round of watching ended.
enum End {
    Shutdown,
    Lost(Error),
}

impl<E: Engine> Watch<E> {
    /// Watches until shutdown.
    pub(super) async fn run(self) {
        let mut delay = RECONNECT_FIRST;
        let mut lost = false;
        loop {
            let began = clock::boot_now();
            match self.round(&mut lost).await {
                End::Shutdown => return,
                End::Lost(error) => {
                    if !lost {
                        warn!(error = %Chain(&error), "the engine is lost");
                        lost = true;
                    }
                    if self
                        .send(Event::Unreachable {
                            error: error.to_string(),
                        })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
            if clock::boot_now().saturating_sub(began) >= HELD {
                delay = RECONNECT_FIRST;
            }
            // The only delay before an engine is asked again.
            if timeout(delay, self.shutdown.cancelled()).await.is_ok() {
                return;
            }
            delay = (delay * 2).min(RECONNECT_LAST);
        }
    }

    /// One subscription, from its begin to its loss.
    async fn round(&self, lost: &mut bool) -> End {
        let subscribed = tokio::select! {
            () = self.shutdown.cancelled() => return End::Shutdown,
            subscribed = self.engine.subscribe(&self.scope.project) => subscribed,
        };
        let mut hints = match subscribed {
            Ok(hints) => hints,
            Err(error) => return End::Lost(error),
        };
        let mut dependencies = match self.subscribe_to_dependencies().await {
            Ok(hints) => hints,
            Err(error) => return End::Lost(error),
        };
        if let Err(error) = self.list().await {
            return End::Lost(error);
        }
        if std::mem::take(lost) {
            info!("the engine is back");
        }
        self.follow(&mut hints, &mut dependencies).await
    }

    /// Nothing ever comes where no phoenix depends on a service of docker compose.
    async fn subscribe_to_dependencies(
        &self,
    ) -> Result<BoxStream<'static, Result<Hint, Error>>, Error> {
        let Scope {
            project,
            dependencies,
            ..
        } = &self.scope;
        if dependencies.is_empty() {
            return Ok(futures::stream::pending().boxed());
        }
        let hints = self.engine.subscribe_to_dependencies(project, dependencies);
        Ok(hints.await?.boxed())
    }

    async fn follow(
        &self,
        hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
        dependencies: &mut BoxStream<'static, Result<Hint, Error>>,
    ) -> End {
        let mut period = interval_at(clock::timer_in(RELIST), RELIST);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = Looks::default();
        loop {
            // Cancel safety: a tick or a notification that is lost is made up by the next one; hints are only hints.
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Shutdown,
                hint = hints.next() => match hint {
                    Some(Ok(hint)) => {
                        // Before the look that finds it ended.
                        if is_signal(&hint.action) {
                            let id = hint.id.clone();
                            if self.send(Event::Signalled { id }).await.is_err() { return End::Shutdown }
                        }
                        if let Some(touch) = touch_of(&hint) {
                            looks.exec(&self.engine, &hint, &touch);
                            let id = hint.id.clone();
                            if self.send(Event::Touched { id, touch }).await.is_err() { return End::Shutdown }
                        }
                        looks.hint(&self.engine, hint);
                    }
                    Some(Err(error)) => return End::Lost(error),
                    None => return End::Lost(stream_ended()),
                },
                hint = dependencies.next() => match hint {
                    Some(Ok(_)) => looks.hint_of_dependencies(&self.engine, &self.scope),
                    Some(Err(error)) => return End::Lost(error),
                    None => return End::Lost(stream_ended()),
                },
                Some(seen) = looks.next(&self.engine, &self.scope) => match seen {
                    Ok(event) => if self.send(event).await.is_err() { return End::Shutdown },
                    // About one container: whether the engine is lost the next listing tells.
                    Err(error @ Error::TimedOut { .. }) => debug!(error = %Chain(&error), "a look was not answered"),
                    Err(error) if error.is_retryable() => return End::Lost(error),
                    Err(error) => debug!(error = %Chain(&error), "a look failed; the next listing tells"),
                },
                () = self.relist.notified() => if let Err(error) = self.list().await { return End::Lost(error) },
                _ = period.tick() => if let Err(error) = self.list().await { return End::Lost(error) },
            }
        }
    }

    async fn list(&self) -> Result<(), Error> {
        let asked_at = now();
        let listing = self.engine.list(&self.scope).await?;
        // A closed channel is the supervisor's end; the next select sees the shutdown.
        self.send(Event::Listed { asked_at, listing })
            .await
            .unwrap_or_default();
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), ()> {
        self.events.send(event).await.map_err(drop)
    }
}

fn stream_ended() -> Error {
    Error::Unavailable {
        address: "the event stream".to_owned(),
        message: "it ended".to_owned(),
    }
}

pub(super) fn now() -> Time {
    Time::from_boot(clock::boot_now())
}

/// Inspections that hints led to: one at a time for each container, and one more when hints came meanwhile.
#[derive(Debug, Default)]
struct Looks {
    tasks: JoinSet<(Subject, Result<Event, Error>)>,
    under_way: BTreeMap<Subject, Again>,
}

/// What is looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Subject {
    Container(ContainerId),
    /// A process that was started in a container.
    Exec(String),
    /// What the phoenixes depend on, all of it: there is little, and it seldom changes.
    Dependencies,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    No,
    Yes,
}

impl Looks {
    fn hint<E: Engine>(&mut self, engine: &Arc<E>, hint: Hint) {
        if !changes_something(&hint.action) {
            return;
        }
        let subject = Subject::Container(hint.id.clone());
        match self.under_way.get_mut(&subject) {
            Some(again) => *again = Again::Yes,
            None => self.look(engine, hint.id),
        }
    }

    /// How a process was started, where one was: only that tells a health check from somebody's hand.
    fn exec<E: Engine>(&mut self, engine: &Arc<E>, hint: &Hint, touch: &Touch) {
        let Touch::Exec(exec) = touch else { return };
        let subject = Subject::Exec(exec.id.clone());
        if !hint.action.starts_with("exec_start") || self.under_way.contains_key(&subject) {
            return;
        }
        self.under_way.insert(subject.clone(), Again::No);
        let (engine, id, exec) = (Arc::clone(engine), hint.id.clone(), exec.clone());
        self.tasks.spawn(async move {
            let facts = engine.exec(&exec.id).await;
            let event = facts.map(|facts| Event::Touched {
                id,
                touch: Touch::Exec(Exec { facts, ..exec }),
            });
            (subject, event)
        });
    }

    fn hint_of_dependencies<E: Engine>(&mut self, engine: &Arc<E>, scope: &Scope) {
        match self.under_way.get_mut(&Subject::Dependencies) {
            Some(again) => *again = Again::Yes,
            None => self.look_at_dependencies(engine, scope),
        }
    }

    fn look_at_dependencies<E: Engine>(&mut self, engine: &Arc<E>, scope: &Scope) {
        self.under_way.insert(Subject::Dependencies, Again::No);
        let engine = Arc::clone(engine);
        let (project, services) = (scope.project.clone(), scope.dependencies.clone());
        self.tasks.spawn(async move {
            let asked_at = now();
            let seen = engine.dependencies(&project, &services).await;
            let event = seen.map(|seen| Event::Dependencies { asked_at, seen });
            (Subject::Dependencies, event)
        });
    }

    fn look<E: Engine>(&mut self, engine: &Arc<E>, id: ContainerId) {
        let subject = Subject::Container(id.clone());
        self.under_way.insert(subject, Again::No);
        let engine = Arc::clone(engine);
        self.tasks.spawn(async move {
            let asked_at = now();
            let seen = engine.inspect(&id).await;
            let event = seen.map(|observed| Event::Seen {
                asked_at,
                id: id.clone(),
                observed: observed.map(Box::new),
            });
            (Subject::Container(id), event)
        });
    }

    /// The next inspection's answer; `None` when there is none under way.
    async fn next<E: Engine>(
        &mut self,
        engine: &Arc<E>,
        scope: &Scope,
    ) -> Option<Result<Event, Error>> {
        let (subject, event) = match self.tasks.join_next().await? {
            Ok(joined) => joined,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if self.under_way.remove(&subject) == Some(Again::Yes) {
            match subject {
                Subject::Container(id) => self.look(engine, id),
                // How it was started is known once and for all.
                Subject::Exec(_) => {}
                Subject::Dependencies => self.look_at_dependencies(engine, scope),
            }
        }
        Some(event)
    }
}

/// Whether it tells of a signal: `docker stop` and `docker kill` both do, and nothing that a process does to itself.
fn is_signal(action: &str) -> bool {
    action == "kill"
}

/// Whether what happened can have changed what an inspection says. Health checks alone make three events each.
fn changes_something(action: &str) -> bool {
    let changing: BTreeSet<&str> = [
        "start",
        "die",
        "stop",
        "kill",
        "oom",
        "pause",
        "unpause",
        "restart",
        "destroy",
        "rename",
        "update",
        "health_status",
    ]
    .into();
    let name = action.split([':', ' ']).next().unwrap_or_default();
    changing.contains(name)
}
