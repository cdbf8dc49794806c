//! Lets the witnesses look at the replicas that run, and hands on what they tell.
//!
//! They block for milliseconds, so they have a thread of their own: it looks at new processes every few milliseconds, at
//! all of them every few seconds, at sockets within a second of a change of their number, at layers whenever the kernel says so, and where it also tells
//! of programs that are started, at these at once. Each look may take a share of a processor, so that a crowded host is
//! looked at less often: all of them take a quarter of one per cent where the kernel tells, else half of one.
//!
//! Not here: what they look for (`witness`), and whether it is a taint (`reconcile`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::threads::unless_panicked;
use crate::api::Snapshot;
use crate::clock;
use crate::docker::{Engine, Vitals};
use crate::reconcile::{Event, Touch};
use crate::report::Chain;
use crate::spec::ContainerId;
use crate::witness::{Execs, Found, Layers, Scanner, Watched, new_changes};

/// Between two looks at new processes: a runtime takes 20 ms and more to start something. Rarer where the kernel tells of
/// programs as they start.
const QUICK: Pace = Pace::between(SHORT, Duration::from_millis(50), 300);
const SHORT: Duration = Duration::from_millis(5);
const SHORT_WHEN_TOLD: Duration = Duration::from_millis(25);
/// Between two looks at all processes.
const FULL: Pace = Pace::between(Duration::from_millis(250), Duration::from_secs(10), 1000);
/// Between two counts of sockets, each with a look at one container where their number is another.
const COUNTS: Pace = Pace::between(Duration::from_secs(1), Duration::from_mins(1), 1000);
/// Between two looks at all sockets, which finds what was opened while another was closed.
const SOCKETS: Pace = Pace::between(Duration::from_secs(10), Duration::from_mins(1), 2000);
/// Programs that are looked at as soon as they are started: at most so many at once, and in a second. A host that starts
/// more is looked at by the passes.
const EXECS: u32 = 64;
/// Between two looks while there is nothing to look at.
const IDLE: Duration = Duration::from_millis(200);
/// Between two questions to the engine, about containers that are not known yet, and about changes where the host is not
/// ours: that one makes the engine walk through every file.
const ASK: Duration = Duration::from_secs(1);
const DIFF: Duration = Duration::from_mins(1);

/// Touches that wait at most; the witnesses wait with one more.
const TOUCHES: usize = 256;

/// Runs the witnesses until shutdown.
#[derive(Debug)]
struct Witness<E> {
    engine: Arc<E>,
    /// `/proc` of the engine's host, if that is this one: it is found out.
    proc_root: PathBuf,
    /// Tells which replicas run.
    status: watch::Receiver<Arc<Snapshot>>,
    told: mpsc::Sender<(ContainerId, Touch)>,
    shutdown: CancellationToken,
}

/// The witnesses; what they tell becomes an event.
pub(super) fn run<E: Engine>(
    engine: &Arc<E>,
    status: &watch::Sender<Arc<Snapshot>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + use<E> {
    let (told, mut touches) = mpsc::channel(TOUCHES);
    let witness = Witness {
        engine: Arc::clone(engine),
        proc_root: PathBuf::from("/proc"),
        status: status.subscribe(),
        told,
        shutdown,
    };
    let take = async move {
        while let Some((id, touch)) = touches.recv().await {
            // In quotes and escaped, since a process chose it.
            debug!(container = id.short(), touch = ?touch.to_string(), "touched");
            // A closed channel is the supervisor's end.
            let event = Event::Touched { id, touch };
            events.send(event).await.unwrap_or_default();
        }
    };
    async move {
        tokio::join!(witness.run(), take);
    }
}

/// The containers that are to be looked at, and where they are.
type Targets = BTreeMap<ContainerId, Vitals>;

impl<E: Engine> Witness<E> {
    /// Runs until shutdown, or until nobody listens any more.
    async fn run(mut self) {
        let (targets, targets_in) = watch::channel(Targets::new());
        let (seen_out, seen) = watch::channel(BTreeSet::new());
        let eyes = Eyes {
            targets: targets_in,
            seen: seen_out,
            told: self.told.clone(),
            shutdown: self.shutdown.clone(),
        };
        let mut all = JoinSet::new();
        let (ears, proc_root) = (eyes.clone(), self.proc_root.clone());
        all.spawn_blocking(move || ears.listen(Scanner::new(proc_root)));
        let proc_root = self.proc_root.clone();
        all.spawn_blocking(move || eyes.run(Scanner::new(proc_root)));
        let mut asks = interval_at(clock::timer_in(ASK), ASK);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut diffs = interval_at(clock::timer_in(DIFF), DIFF);
        diffs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = BTreeMap::new();
        loop {
            // Cancel safety: the status is a level, and a tick that is lost is made up by the next one.
            tokio::select! {
                biased;
                joined = all.join_next() => match joined {
                    Some(joined) => drop(unless_panicked(joined)),
                    None => return,
                },
                changed = self.status.changed() => match changed {
                    Ok(()) => self.aim(&targets).await,
                    // The supervisor ends.
                    Err(_) => self.shutdown.cancelled().await,
                },
                _ = asks.tick() => self.aim(&targets).await,
                _ = diffs.tick() => self.compare(&targets, &seen, &mut before).await,
            }
        }
    }

    /// Aims at what runs now, asking the engine where that is.
    async fn aim(&mut self, targets: &watch::Sender<Targets>) {
        let running: BTreeSet<ContainerId> = {
            let snapshot = self.status.borrow_and_update();
            let rows = snapshot.status.replicas.iter();
            rows.filter(|row| row.born_at.is_some())
                .filter_map(|row| row.container_id.clone())
                .collect()
        };
        let mut next = targets.borrow().clone();
        next.retain(|id, _| running.contains(id));
        for id in running {
            if next.contains_key(&id) {
                continue;
            }
            match self.engine.vitals(&id).await {
                Ok(Some(vitals)) => {
                    next.insert(id, vitals);
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(error = %Chain(&error), container = id.short(), "is not looked at yet");
                    break;
                }
            }
        }
        targets.send_if_modified(|targets| {
            let changed = *targets != next;
            *targets = next;
            changed
        });
    }

    /// Asks the engine for changes of the containers that are not on this host.
    async fn compare(
        &self,
        targets: &watch::Sender<Targets>,
        seen: &watch::Receiver<BTreeSet<ContainerId>>,
        before: &mut BTreeMap<ContainerId, BTreeSet<String>>,
    ) {
        let ids: Vec<ContainerId> = {
            let (targets, seen) = (targets.borrow(), seen.borrow());
            before.retain(|id, _| targets.contains_key(id));
            let elsewhere = targets
                .iter()
                .filter(|(id, vitals)| vitals.read_only && !seen.contains(*id));
            elsewhere.map(|(id, _)| id.clone()).collect()
        };
        for id in ids {
            let Ok(Some(examined)) = self.engine.examine(&id).await else {
                continue;
            };
            let paths = examined.changes.iter().map(|change| change.path.as_str());
            let known = before.get(&id);
            for touch in known.map_or_else(Vec::new, |known| new_changes(known, paths.clone())) {
                // Nobody listens any more: the thread ends by itself.
                self.told
                    .send((id.clone(), touch))
                    .await
                    .unwrap_or_default();
            }
            before.insert(id, paths.map(str::to_owned).collect());
        }
    }
}

/// The threads that look.
#[derive(Clone)]
struct Eyes {
    targets: watch::Receiver<Targets>,
    /// The containers that are on this host.
    seen: watch::Sender<BTreeSet<ContainerId>>,
    told: mpsc::Sender<(ContainerId, Touch)>,
    shutdown: CancellationToken,
}

impl Eyes {
    /// Looks at sockets alone: the kernel takes tens of milliseconds to tell them, in which processes come and go.
    fn listen(mut self, mut scanner: Scanner) {
        let (mut sockets, mut counts) = (SOCKETS, COUNTS);
        while !self.shutdown.is_cancelled() {
            if self.targets.has_changed().unwrap_or_default() {
                scanner.watch(&watched(&self.targets.borrow_and_update()));
            }
            let mut found = Found::new();
            let is_idle = self.targets.borrow().is_empty();
            if !is_idle && sockets.is_due() {
                found = sockets.time(|| {
                    // Which of them run is seen anew each time.
                    scanner.watch(&watched(&self.targets.borrow()));
                    scanner.sockets()
                });
            } else if !is_idle && counts.is_due() {
                found = counts.time(|| scanner.changed_sockets());
            }
            for touch in found {
                if self.told.blocking_send(touch).is_err() {
                    return;
                }
            }
            wait(None, None, IDLE);
        }
    }

    fn run(mut self, mut scanner: Scanner) {
        let mut layers = Layers::new();
        if let Err(error) = &layers {
            warn!(%error, "changes of writable layers are not seen");
        }
        let mut execs = Execs::listen().ok();
        let mut room = Room::new(EXECS);
        if execs.is_none() {
            debug!("the kernel does not tell of programs that are started");
        }
        let (mut quick, mut full) = (QUICK, FULL);
        while !self.shutdown.is_cancelled() {
            if self.targets.has_changed().unwrap_or_default() {
                let targets = self.targets.borrow_and_update().clone();
                scanner.watch(&watched(&targets));
            }
            let mut found = Found::new();
            let is_idle = self.targets.borrow().is_empty();
            if !is_idle {
                // A full look is also one at what is new.
                if full.is_due() {
                    found.extend(full.time(|| scanner.full(clock::boot_now())));
                    quick.postpone();
                    self.show(&scanner);
                } else if quick.is_due() {
                    found.extend(quick.time(|| scanner.quick(clock::boot_now())));
                }
            }
            if let Some(execs) = &mut execs {
                let pids = execs.pids();
                let taken = pids.get(..room.take(pids.len())).unwrap_or_default();
                if !is_idle {
                    found.extend(scanner.look_at(taken, clock::boot_now()));
                }
            }
            if let Ok(layers) = &mut layers {
                self.follow(layers, &scanner);
                // What changes while a container is taken down is that.
                found.extend(
                    layers
                        .changes()
                        .into_iter()
                        .filter(|(id, _)| scanner.sees(id)),
                );
            }
            for touch in found {
                if self.told.blocking_send(touch).is_err() {
                    return;
                }
            }
            let rest = [quick.rest(), full.rest()];
            let rest = rest.into_iter().min().filter(|_| !is_idle).unwrap_or(IDLE);
            quick.shortest = if execs.is_some() && !room.is_full() {
                SHORT_WHEN_TOLD
            } else {
                SHORT
            };
            let told = execs.as_ref().filter(|_| !is_idle && !room.is_full());
            wait(layers.as_ref().ok(), told, rest);
        }
    }

    /// Watches the layers of what is on this host.
    fn follow(&self, layers: &mut Layers, scanner: &Scanner) {
        let targets = self.targets.borrow();
        layers.keep_only(&targets.keys().cloned().collect());
        for (id, vitals) in targets.iter().filter(|(id, _)| scanner.sees(id)) {
            // Where the root is not read-only, its own programs write there.
            let Some(upper) = vitals.upper.as_deref().filter(|_| vitals.read_only) else {
                continue;
            };
            if let Err(error) = layers.watch(id, upper) {
                debug!(%error, container = id.short(), "its layer is not watched");
            }
        }
    }

    fn show(&self, scanner: &Scanner) {
        let targets = self.targets.borrow();
        let seen = targets.keys().filter(|id| scanner.sees(id));
        let seen: BTreeSet<ContainerId> = seen.cloned().collect();
        self.seen.send_if_modified(|shown| {
            let changed = *shown != seen;
            *shown = seen;
            changed
        });
    }
}

fn watched(targets: &Targets) -> Vec<Watched> {
    let one = |(id, vitals): (&ContainerId, &Vitals)| Watched {
        id: id.clone(),
        pid: vitals.pid,
        upper: vitals.upper.clone(),
        in_pod: vitals.in_pod,
    };
    targets.iter().map(one).collect()
}

/// Waits until a layer changes, or a program is started, or for so long.
fn wait(layers: Option<&Layers>, execs: Option<&Execs>, rest: Duration) {
    let limit = Timespec::try_from(rest).ok();
    let told = [layers.map(Layers::as_fd), execs.map(Execs::as_fd)];
    let told = told.into_iter().flatten();
    let mut changes: Vec<PollFd<'_>> = told
        .map(|told| PollFd::from_borrowed_fd(told, PollFlags::IN))
        .collect();
    // Interrupted is as good as waited: whoever waits looks at the clock.
    poll(&mut changes, limit.as_ref()).unwrap_or_default();
}

/// Room for so many at once, which comes back within a second.
#[derive(Debug)]
struct Room {
    most: u32,
    taken: u32,
    since: Duration,
}

impl Room {
    fn new(most: u32) -> Self {
        Self {
            most,
            taken: 0,
            since: clock::boot_now(),
        }
    }

    /// Takes as many of these as there is room for.
    fn take(&mut self, wanted: usize) -> usize {
        let now = clock::boot_now();
        if now.saturating_sub(self.since) >= Duration::from_secs(1) {
            (self.taken, self.since) = (0, now);
        }
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let taken = wanted.min(self.most.saturating_sub(self.taken));
        self.taken += taken;
        usize::try_from(taken).unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.taken >= self.most
    }
}

/// How often something is done that takes a share of a processor.
#[derive(Clone, Copy, Debug)]
struct Pace {
    shortest: Duration,
    longest: Duration,
    /// It may take one part in so many of a processor.
    share: u32,
    /// What it takes, on average.
    cost: Duration,
    due: Duration,
}

impl Pace {
    const fn between(shortest: Duration, longest: Duration, share: u32) -> Self {
        Self {
            shortest,
            longest,
            share,
            cost: Duration::ZERO,
            due: Duration::ZERO,
        }
    }

    fn is_due(&self) -> bool {
        self.rest().is_zero()
    }

    fn rest(&self) -> Duration {
        self.due.saturating_sub(clock::boot_now())
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        // What it took of a processor: on a crowded host the look itself would be found to be dear.
        let busy = clock::thread_busy();
        let done = work();
        self.took(clock::thread_busy().saturating_sub(busy));
        self.postpone();
        done
    }

    fn took(&mut self, cost: Duration) {
        self.cost = (self.cost * 7 + cost) / 8;
    }

    fn postpone(&mut self) {
        self.due = clock::boot_now() + self.period();
    }

    fn period(&self) -> Duration {
        (self.cost * self.share).clamp(self.shortest, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut room = Room::new(3);
        assert_eq!((room.take(2), room.take(2), room.take(1)), (2, 1, 0));
        assert!(room.is_full());
    }

    #[test]
    fn a_look_takes_its_share_of_a_processor_and_is_never_rarer_than_its_limit() {
        let mut pace = QUICK;
        assert_eq!(pace.period(), Duration::from_millis(5));
        for _ in 0..50 {
            pace.took(Duration::from_micros(100));
        }
        let period = pace.period();
        assert!(period > Duration::from_millis(25) && period <= Duration::from_millis(30));
        for _ in 0..50 {
            pace.took(Duration::from_secs(1));
        }
        assert_eq!(pace.period(), Duration::from_millis(50));
    }
}
