//! Watches the engine: subscribe, list, hand hints on; list again after any gap, on a period, and when asked to.
//!
//! A hint is only that: the container is inspected, and the listing is the truth. What a listing does not show is what was
//! done in a container and has left nothing behind. So a subscription asks for what happened since somebody last heard: a
//! supervisor before this one, as its journal says, or this one before the stream was cut. What comes of that is told as
//! touches of what the listing shows, as far as it has come before the listing, and as nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::touched::touch_of;
use crate::clock;
use crate::docker::{Engine, Error, Hint, Scope};
use crate::guard::GuardDir;
use crate::reconcile::{Beside, Event, Exec, Listing, Time, Touch};
use crate::report::Chain;
use crate::spec::ContainerId;

/// Between two listings when nothing else asks for one. Events may be lost without a trace; a listing of 20 replicas
/// costs the engine some 15 ms.
const RELIST: Duration = Duration::from_secs(15);
/// The first delay after the engine was lost; doubled up to the last.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LAST: Duration = Duration::from_secs(5);
/// How much further back is asked than it was heard to: what was heard was not yet judged and recorded, and hints come a
/// little late. What is told twice for it is known already, or reported twice.
const OVERLAP: Duration = Duration::from_secs(2);
/// A subscription that held for so long was a good one: the next delay is the first again.
const HELD: Duration = Duration::from_secs(10);

/// What the watch needs.
#[derive(Debug)]
pub(super) struct Watch<E> {
    pub(super) engine: Arc<E>,
    pub(super) scope: Scope,
    /// Until when somebody has heard what happens.
    pub(super) heard: Heard,
    pub(super) events: mpsc::Sender<Event>,
    /// Where a guard is told what is beside the project, if there is one.
    pub(super) guard: GuardDir,
    /// What was beside it at the last listing.
    pub(super) beside: Arc<Beside>,
    /// Somebody wants a listing now.
    pub(super) relist: Arc<Notify>,
    pub(super) shutdown: CancellationToken,
}

/// Until when it was heard what happens to the project's containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Nobody has watched before, as far as is known.
    Never,
    /// A supervisor before this one lived until then at least.
    Before(Timestamp),
    /// This one has, in boot time.
    Until(Duration),
}

impl Heard {
    /// How far back the next subscription asks.
    fn ago(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::Before(at) => {
                // A clock that was set back says that it was just now.
                let ago = clock::wall_now().duration_since(at);
                ago.max(SignedDuration::ZERO).unsigned_abs() + OVERLAP
            }
            Self::Until(at) => clock::boot_now().saturating_sub(at) + OVERLAP,
        }
    }
}

/// Why a round of watching ended.
enum End {
    Shutdown,
    Lost(Error),
}

impl<E: Engine> Watch<E> {
    /// Watches until shutdown.
    pub(super) async fn run(mut self) {
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
    async fn round(&mut self, lost: &mut bool) -> End {
        let (began, back) = (clock::boot_now(), self.heard.ago());
        let subscribed = tokio::select! {
            () = self.shutdown.cancelled() => return End::Shutdown,
            subscribed = self.engine.subscribe(&self.scope.project, back) => subscribed,
        };
        let mut hints = match subscribed {
            Ok(hints) => hints,
            Err(error) => return End::Lost(error),
        };
        let mut networks = match self.engine.subscribe_to_networks().await {
            Ok(hints) => hints,
            Err(error) => return End::Lost(error),
        };
        let mut dependencies = match self.subscribe_to_dependencies().await {
            Ok(hints) => hints,
            Err(error) => return End::Lost(error),
        };
        let (asked_at, listing) = match self.list().await {
            Ok(listed) => listed,
            Err(error) => return End::Lost(error),
        };
        let ours = ids(&listing);
        let mut looks = Looks::default();
        // Whoever plans by the listing is to know already what was done to what is in it.
        let next = match self.hear_of_before(&ours, &mut hints, &mut looks).await {
            Ok(next) => next,
            Err(end) => return end,
        };
        self.tell(asked_at, listing).await;
        if self.heard == Heard::Never {
            self.heard = Heard::Until(began);
        }
        if std::mem::take(lost) {
            info!("the engine is back");
        }
        let mut hints = futures::stream::iter(next.map(Ok)).chain(hints);
        self.follow(ours, looks, &mut hints, &mut networks, &mut dependencies)
            .await
    }

    /// Takes what has come of the time before the subscription; the first hint of another kind is given back. The engine
    /// does not say where that time ends: what comes later is heard as it comes.
    async fn hear_of_before(
        &mut self,
        ours: &BTreeSet<ContainerId>,
        hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
        looks: &mut Looks,
    ) -> Result<Option<Hint>, End> {
        while let Some(hint) = hints.next().now_or_never() {
            match hint {
                Some(Ok(hint)) if !hint.before => return Ok(Some(hint)),
                // Of what is gone nothing is to be said any more.
                Some(Ok(hint)) if !ours.contains(&hint.id) => {}
                Some(Ok(hint)) => {
                    let heard = self.hear(hint, looks).await;
                    heard.map_err(|()| End::Shutdown)?;
                }
                Some(Err(error)) => return Err(End::Lost(error)),
                None => return Err(End::Lost(stream_ended())),
            }
        }
        Ok(None)
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
        &mut self,
        mut ours: BTreeSet<ContainerId>,
        mut looks: Looks,
        hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
        networks: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
        dependencies: &mut BoxStream<'static, Result<Hint, Error>>,
    ) -> End {
        let mut period = interval_at(clock::timer_in(RELIST), RELIST);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel safety: a tick or a notification that is lost is made up by the next one; hints are only hints.
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Shutdown,
                hint = hints.next() => match hint {
                    // Of what is gone nothing is to be said any more.
                    Some(Ok(hint)) if hint.before && !ours.contains(&hint.id) => {}
                    Some(Ok(hint)) => {
                        ours.insert(hint.id.clone());
                        if self.hear(hint, &mut looks).await.is_err() { return End::Shutdown }
                    }
                    Some(Err(error)) => return End::Lost(error),
                    None => return End::Lost(stream_ended()),
                },
                hint = networks.next() => match hint {
                    Some(Ok(hint)) if ours.contains(&hint.id) => looks.hint(&self.engine, hint),
                    // The host's other containers are nobody's business here.
                    Some(Ok(_)) => {}
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
                () = relist(&self.relist, &mut period) => {
                    // Every hint that had come was taken.
                    self.heard = Heard::Until(clock::boot_now());
                    match self.list().await {
                        Ok((asked_at, listing)) => {
                            ours = ids(&listing);
                            self.tell(asked_at, listing).await;
                        }
                        Err(error) => return End::Lost(error),
                    }
                }
            }
        }
    }

    /// Hands on what a hint tells. What happened before the listing is in it, but for what leaves nothing behind.
    async fn hear(&mut self, hint: Hint, looks: &mut Looks) -> Result<(), ()> {
        // Before the look that finds it ended: a signal of long ago is not why a process ends now.
        if is_signal(&hint.action) && !hint.before {
            let id = hint.id.clone();
            self.send(Event::Signalled { id }).await?;
        }
        if let Some(touch) = touch_of(&hint) {
            looks.exec(&self.engine, &hint, &touch);
            let id = hint.id.clone();
            self.send(Event::Touched { id, touch }).await?;
        }
        if !hint.before {
            self.heard = Heard::Until(clock::boot_now());
            looks.hint(&self.engine, hint);
        }
        Ok(())
    }

    /// Lists what there is, as of a moment not before the one that is given with it.
    async fn list(&mut self) -> Result<(Time, Listing), Error> {
        let asked_at = now();
        let mut listing = self.engine.list(&self.scope).await?;
        if self.guard.is_there() {
            let known = Arc::unwrap_or_clone(std::mem::take(&mut self.beside));
            self.beside = Arc::new(self.engine.beside(known).await?);
            listing.beside = Arc::clone(&self.beside);
        }
        Ok((asked_at, listing))
    }

    async fn tell(&self, asked_at: Time, listing: Listing) {
        // A closed channel is the supervisor's end; the next select sees the shutdown.
        self.send(Event::Listed { asked_at, listing })
            .await
            .unwrap_or_default();
    }

    async fn send(&self, event: Event) -> Result<(), ()> {
        self.events.send(event).await.map_err(drop)
    }
}

/// The containers of a listing.
fn ids(listing: &Listing) -> BTreeSet<ContainerId> {
    let answered = listing.containers.iter().map(|one| &one.id);
    answered.chain(&listing.silent).cloned().collect()
}

/// Until somebody wants a listing, or it is time for one.
async fn relist(wanted: &Notify, period: &mut Interval) {
    // Cancel safety: a tick or a notification that is lost is made up by the next one.
    tokio::select! {
        () = wanted.notified() => {}
        _ = period.tick() => {}
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
        "connect",
        "disconnect",
        "health_status",
    ]
    .into();
    let name = action.split([':', ' ']).next().unwrap_or_default();
    changing.contains(name)
}
