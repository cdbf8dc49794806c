//! The supervisor's shell as the daemon has it: apply, plan, publish, begin; list on a period and after any gap. It
//! runs the real core and the real executor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::daemon::execute;
use phoenixd::docker::{Engine as _, Scope};
use phoenixd::reconcile::{
    Action, Desired, Event, Outcome, Planned, Routes, Status, Step, Time, World,
};
use phoenixd::spec::{ContainerId, FileDigest, FileMount, ServiceName};

use super::chaos::Fault;
use super::edge::backends;
use super::mutants::Mutant;
use super::pods::ToldOrders;
use super::replay::Said;
use super::run::{Ev, Landed, Sim};
use super::setup::file_of;

/// As in `daemon::watch`.
const RELIST: Duration = Duration::from_secs(15);
/// As there.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Plans in a row at one instant: more mean that the plan does not come to rest.
const ROUNDS: u32 = 60;

/// One life of the supervisor.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about something else"
)]
pub(super) struct Shell {
    pub(super) world: World,
    pub(super) epoch: u64,
    /// What each edge in a pod was told last.
    pub(super) told: ToldOrders,
    /// Edges that said nothing when something was to be heard.
    pub(super) silent: BTreeSet<ContainerId>,
    /// The last table that was published.
    pub(super) routes: Option<Arc<Routes>>,
    wake: Option<(Time, u64)>,
    /// The event stream stands.
    pub(super) connected: bool,
    /// What a new subscription is told of the past, once the listing is there.
    pub(super) told_again: Vec<Said>,
    /// Until when it was heard what happens, by this supervisor or one before it.
    pub(super) heard: Option<Time>,
    listing: bool,
    listed: bool,
    reconnect: Duration,
    /// Plans are made a little later, for several events at once.
    lazy: bool,
    pub(super) status: Status,
    pub(super) finished: bool,
}

impl Sim {
    pub(super) fn boot(&mut self) {
        self.incarnation += 1;
        self.note(|| "supervisor starts".to_owned());
        self.judge.booted(self.now);
        self.lose_tables();
        let mut limits = self.setup.limits;
        if self.mutant == Some(Mutant::ForgetTheLimitOfBirths) {
            limits.births = 1000;
            limits.calls = 1000;
        }
        let forget = self.mutant == Some(Mutant::ForgetTheEpoch);
        let lazy = self.rng.chance(300);
        self.shell = Some(Shell {
            world: World::new(self.setup.project.clone(), limits),
            epoch: if forget { 0 } else { self.edge.epoch },
            told: ToldOrders::new(),
            silent: BTreeSet::new(),
            routes: None,
            wake: None,
            connected: false,
            told_again: Vec::new(),
            heard: self.records.last,
            listing: false,
            listed: false,
            reconnect: RECONNECT.0,
            lazy,
            status: Status::default(),
            finished: false,
        });
        let wanted = self.wanted();
        self.remember();
        self.record();
        self.deliver(Event::Wanted(wanted));
        self.send_report();
        let incarnation = self.incarnation;
        self.at(Duration::from_millis(20), Ev::List(incarnation));
    }

    /// What the core is told to want: as the setup says, but for the mutants.
    fn wanted(&self) -> BTreeMap<ServiceName, Desired> {
        let mut wanted = self.setup.wanted.clone();
        for desired in wanted.values_mut() {
            desired.files = file_of(&desired.spec_hash).digest().into_iter().collect();
            match self.mutant {
                Some(Mutant::NeverBackOff) => {
                    desired.phoenix.backoff.base = Duration::ZERO;
                    desired.phoenix.backoff.cap = Duration::ZERO;
                    desired.phoenix.backoff.budget = u32::MAX;
                }
                Some(Mutant::ForgetTheSurge) => desired.phoenix.surge += 3,
                Some(Mutant::StartAtOnce) => desired.depends_on.clear(),
                Some(Mutant::IgnoreUpdates) => {
                    for dependency in desired.depends_on.values_mut() {
                        dependency.restart = false;
                    }
                }
                Some(Mutant::ForgetTheDeadline) => desired.phoenix.ttl *= 20,
                _ => {}
            }
        }
        wanted
    }

    /// The setup changed.
    pub(super) fn rewant(&mut self) {
        self.catalog = Arc::new(self.setup.catalog());
        self.engine.lock().host.qualities = self.setup.qualities.clone();
        self.judge.wanted(self.now, &self.setup.wanted);
        if self.shell.is_some() {
            let wanted = self.wanted();
            self.deliver(Event::Wanted(wanted));
        }
    }

    /// An event reaches the supervisor.
    pub(super) fn deliver(&mut self, event: Event) {
        if self.shell.is_some() {
            self.hear_of_touch(&event);
            self.judge.told_of_journal(&event);
        }
        let Some(event) = self.mutate_event(event) else {
            return;
        };
        if self.shell.is_none() {
            return;
        }
        self.note_event(&event);
        self.judge.told(self.now, &event);
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        let first =
            matches!(event, Event::Listed { .. }) && !std::mem::replace(&mut shell.listed, true);
        shell.world.apply(self.now, event);
        if first && self.mutant == Some(Mutant::RecycleAtStart) {
            self.ask_to_recycle();
        }
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        if shell.lazy {
            let delay = self.rng.span(Duration::ZERO, Duration::from_millis(3));
            self.wake_at(self.now + delay);
        } else {
            self.settle();
        }
    }

    fn note_event(&mut self, event: &Event) {
        self.transcript.note(self.now, || match event {
            Event::Listed { asked_at, listing } => {
                format!(
                    "listed {} containers, asked {asked_at:?}",
                    listing.containers.len()
                )
            }
            Event::Seen {
                asked_at,
                id,
                observed,
            } => {
                let state = observed.as_ref().map(|observed| &observed.state);
                format!("seen {} {state:?}, asked {asked_at:?}", id.short())
            }
            Event::Dependencies { asked_at, seen } => {
                let states: Vec<String> = seen
                    .iter()
                    .map(|one| format!("{} {} {:?}", one.service, one.id.short(), one.state))
                    .collect();
                format!("dependencies {}, asked {asked_at:?}", states.join(", "))
            }
            Event::Probed { id, result, .. } => format!("probed {}: {result:?}", id.short()),
            Event::Published { epoch, .. } => format!("published {epoch}"),
            Event::Ended { action, outcome } => match outcome {
                Outcome::Done(_) => format!("ended {action}: done"),
                Outcome::Failed { failure, .. } => {
                    format!("ended {action}: failed: {}", failure.message)
                }
                Outcome::Unknown { failure } => {
                    format!("ended {action}: unknown: {}", failure.message)
                }
            },
            Event::Wanted(wanted) => {
                let all: Vec<String> = wanted
                    .iter()
                    .map(|(name, d)| {
                        format!(
                            "{name} x{} {:?} surge {}",
                            d.replicas, d.spec_hash, d.phoenix.surge
                        )
                    })
                    .collect();
                format!("wanted {}", all.join(", "))
            }
            Event::Edge(report) => format!("edge reports {report:?}"),
            Event::EdgeOf { id, said } => format!("edge {} says {said:?}", id.short()),
            Event::Refused(_)
            | Event::Signalled { .. }
            | Event::Touched { .. }
            | Event::Remembered(_)
            | Event::Unreachable { .. }
            | Event::Journal { .. }
            | Event::Woken
            | Event::Command(_)
            | Event::Began { .. } => {
                format!("{event:?}")
            }
        });
    }

    /// Plans until nothing more is to be done now.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            let Some(shell) = &self.shell else { return };
            let step = shell.world.plan(self.now);
            self.figures.plans += 1;
            if self.figures.plans.is_multiple_of(16) && shell.world.plan(self.now) != step {
                self.judge
                    .fail(self.now, "pure", "two plans of one world differ".to_owned());
            }
            let step = self.mutate_step(step);
            self.judge.step(self.now, &step);
            self.judge
                .permits(self.now, &self.engine.lock().host, &step);
            let Step {
                actions,
                routes,
                edges,
                targets,
                files,
                status,
                wake_at,
                finished,
                beside: _,
                settled: _,
            } = step;
            self.sweep(files.as_ref());
            self.follow_targets(targets);
            self.follow_edges(&edges);
            self.figures.saw(&status);
            self.record_taints(&status);
            if let Some(shell) = self.shell.as_mut() {
                shell.status = status;
                shell.finished = finished;
            }
            if routes.is_some_and(|routes| self.publish(routes)) {
                // The world has changed: what was planned before it heard of the table may not hold.
                continue;
            }
            if actions.is_empty() {
                if let Some(at) = wake_at {
                    self.wake_at(at);
                }
                return;
            }
            for planned in actions {
                self.begin(planned);
            }
            if self.judge.violation.is_some() {
                return;
            }
        }
        self.judge.fail(
            self.now,
            "tight-loop",
            "a plan does not come to rest".to_owned(),
        );
    }

    /// Removes the copies of secrets that need not stay.
    fn sweep(&mut self, needed: Option<&BTreeSet<FileDigest>>) {
        if let Some(needed) = needed {
            let mut shared = self.engine.lock();
            self.judge.sweeps(self.now, &shared.host, needed);
            shared.host.files.retain(|file| needed.contains(file));
        }
    }

    fn wake_at(&mut self, at: Time) {
        self.tokens += 1;
        let token = self.tokens;
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        if shell
            .wake
            .is_some_and(|(earlier, _)| earlier <= at && earlier > self.now)
        {
            return;
        }
        shell.wake = Some((at, token));
        let incarnation = self.incarnation;
        self.at_time(at, Ev::Wake(incarnation, token));
    }

    pub(super) fn wake(&mut self, incarnation: u64, token: u64) {
        let is_due = self.incarnation == incarnation
            && self
                .shell
                .as_ref()
                .is_some_and(|shell| shell.wake.is_some_and(|(_, due)| due == token));
        if is_due {
            if let Some(shell) = self.shell.as_mut() {
                shell.wake = None;
                shell.world.apply(self.now, Event::Woken);
            }
            self.settle();
        }
    }

    /// Publishes a table that differs from the last one.
    fn publish(&mut self, routes: Routes) -> bool {
        let Some(shell) = self.shell.as_mut() else {
            return false;
        };
        if shell.routes.as_deref() == Some(&routes) {
            return false;
        }
        let routes = Arc::new(routes);
        shell.epoch += 1;
        let epoch = shell.epoch;
        let before = shell
            .routes
            .replace(Arc::clone(&routes))
            .unwrap_or_else(|| Arc::clone(&self.edge.table));
        self.judge
            .publishes(self.now, &self.engine.lock().host, &before, &routes);
        self.note(|| {
            let all: Vec<String> = backends(&routes)
                .map(|backend| backend.replica.to_string())
                .collect();
            format!("publish {epoch}: {}", all.join(" "))
        });
        if let Some(shell) = self.shell.as_mut() {
            shell.world.apply(
                self.now,
                Event::Published {
                    epoch,
                    routes: Arc::clone(&routes),
                },
            );
        }
        self.send_table(epoch, routes);
        true
    }

    fn begin(&mut self, planned: Planned) {
        let Planned { action, reason } = planned;
        self.figures.actions += 1;
        self.note(|| format!("began {action}: {reason}"));
        {
            let whole = (!self.pods.is_empty()).then(|| self.whole_edge());
            let shared = self.engine.lock();
            let published = self.shell.as_ref().and_then(|shell| shell.routes.clone());
            self.judge.begins(
                self.now,
                &shared.host,
                whole.as_ref().unwrap_or(&self.edge),
                published.as_deref(),
                &action,
                &reason,
            );
        }
        if let Some(shell) = self.shell.as_mut() {
            shell.world.apply(
                self.now,
                Event::Began {
                    action: action.clone(),
                    reason,
                },
            );
        }
        if let Action::Drain { .. } = action {
            // Remembered by the world; the route table follows from it.
            return;
        }
        self.record();
        let (engine, catalog) = (self.engine.clone(), Arc::clone(&self.catalog));
        let durable = self
            .rng
            .span(Duration::from_micros(50), Duration::from_millis(2));
        let (hangs, failure) = match action {
            Action::Capture { .. } => self.fate_of_capture(),
            _ => (Duration::ZERO, None),
        };
        self.begin_flight(durable + hangs, true, async move {
            let write = |file: &FileMount| {
                engine.lock().host.files.extend(file.digest());
                Ok(())
            };
            let mut outcome = execute(&engine, &catalog, &action, write, || engine.now()).await;
            if let (Some(failure), Outcome::Done(sight)) = (failure, &outcome) {
                let sight = sight.clone();
                outcome = Outcome::Failed { failure, sight };
            }
            Landed::Ended(Box::new((action, outcome)))
        });
    }

    pub(super) fn list(&mut self, incarnation: u64) {
        let Some(shell) = self
            .shell
            .as_mut()
            .filter(|_| self.incarnation == incarnation)
        else {
            return;
        };
        if std::mem::replace(&mut shell.listing, true) {
            return;
        }
        let scope = Scope {
            project: self.setup.project.clone(),
            networks: self.catalog.networks.keys().cloned().collect(),
            volumes: self.catalog.volumes.keys().cloned().collect(),
            originals: true,
            dependencies: self.setup.of_compose(),
        };
        if std::mem::replace(&mut shell.connected, true) {
            shell.heard = Some(self.now);
        } else {
            let told_again = self.told_again();
            if let Some(shell) = self.shell.as_mut() {
                shell.told_again = told_again;
                shell.heard.get_or_insert(self.now);
            }
        }
        let (engine, asked_at) = (self.engine.clone(), self.now);
        self.begin_flight(Duration::ZERO, false, async move {
            Landed::Listed(asked_at, engine.list(&scope).await)
        });
    }

    pub(super) fn look_at_dependencies(&mut self, incarnation: u64) {
        if self.shell.is_none() || self.incarnation != incarnation {
            return;
        }
        let (engine, asked_at) = (self.engine.clone(), self.now);
        let (project, services) = (self.setup.project.clone(), self.setup.of_compose());
        self.begin_flight(Duration::ZERO, false, async move {
            let seen = engine.dependencies(&project, &services).await;
            Landed::Dependencies(asked_at, seen)
        });
    }

    pub(super) fn inspect(&mut self, incarnation: u64, id: ContainerId) {
        if self.shell.is_none() || self.incarnation != incarnation {
            return;
        }
        let (engine, asked_at) = (self.engine.clone(), self.now);
        self.begin_flight(Duration::ZERO, false, async move {
            let seen = engine.inspect(&id).await;
            Landed::Seen(asked_at, id, seen.map(|seen| seen.map(Box::new)))
        });
    }

    /// A call of this supervisor came to its end.
    pub(super) fn landed(&mut self, landed: Landed) {
        let incarnation = self.incarnation;
        let late = self.chaos.answers_late_until > self.now && self.rng.chance(300);
        let way = self.rng.span(
            Duration::ZERO,
            Duration::from_millis(if late { 4000 } else { 1 }),
        );
        let event = match landed {
            Landed::Ended(ended) => {
                let (action, outcome) = *ended;
                if outcome.asks_for_a_listing(&action) {
                    self.at(Duration::from_millis(50), Ev::List(incarnation));
                }
                self.judge.ended(self.now, &action, &outcome);
                let event = Event::Ended { action, outcome };
                let way = self.rng.span(Duration::ZERO, Duration::from_millis(2));
                self.at(way, Ev::Deliver(incarnation, Box::new(event)));
                return;
            }
            Landed::Listed(asked_at, Ok(listing)) => {
                if let Some(shell) = self.shell.as_mut() {
                    shell.listing = false;
                    shell.reconnect = RECONNECT.0;
                }
                self.at(RELIST, Ev::List(incarnation));
                self.tell_again(way.saturating_sub(Duration::from_micros(1)));
                Event::Listed { asked_at, listing }
            }
            Landed::Seen(asked_at, id, Ok(observed)) => Event::Seen {
                asked_at,
                id,
                observed,
            },
            Landed::Dependencies(asked_at, Ok(seen)) => Event::Dependencies { asked_at, seen },
            Landed::Listed(_, Err(error))
            | Landed::Dependencies(_, Err(error))
            | Landed::Seen(_, _, Err(error)) => {
                let Some(shell) = self.shell.as_mut() else {
                    return;
                };
                shell.connected = false;
                shell.listing = false;
                let delay = shell.reconnect;
                shell.reconnect = (delay * 2).min(RECONNECT.1);
                self.at(delay, Ev::List(incarnation));
                Event::Unreachable {
                    error: error.to_string(),
                }
            }
        };
        self.at(way, Ev::Deliver(incarnation, Box::new(event)));
    }

    /// The subscription tells what happens.
    pub(super) fn heard_now(&mut self) {
        if let Some(shell) = self.shell.as_mut() {
            shell.heard = Some(self.now);
        }
    }

    /// The supervisor is killed.
    pub(super) fn crash(&mut self, away: Duration) {
        if self.shell.take().is_none() {
            return;
        }
        self.note(|| "supervisor is killed".to_owned());
        self.figures.crashes += 1;
        self.incarnation += 1;
        self.probes.clear();
        self.orphan_flights();
        self.judge.disturbed(self.now + away);
        self.at(away, Ev::Boot);
        self.judge.unheard = self.judge.unheard.next();
        let is_unlucky = self.chaos.on && self.chaos.kinds().contains(&Fault::Touch);
        if is_unlucky && self.records.rng.chance(400) {
            self.somebody_gets_in();
        }
    }

    /// Containers that the table of the edge and the supervisor agree on.
    pub(super) fn routed(&self) -> BTreeSet<ContainerId> {
        backends(&self.edge.table)
            .map(|backend| backend.container_id.clone())
            .collect()
    }
}
