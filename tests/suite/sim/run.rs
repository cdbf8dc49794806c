//! The simulation: a queue of what happens when, simulated boot time, and the calls that are under way. Everything
//! else hangs on it: the supervisor (`shell`), the probes and clients (`outside`), the faults (`chaos`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use phoenixd::daemon::Catalog;
use phoenixd::docker::Error;
use phoenixd::reconcile::{
    Action, DependencySeen, Event, Listing, Observed, Outcome, Routes, Status, Target, Time,
};
use phoenixd::spec::{ContainerId, Published, ServiceName};

use super::chaos::Chaos;
use super::compose::Compose;
use super::edge::Edge;
use super::engine::SimEngine;
use super::host::Happening;
use super::invariants::{Judge, Violation};
use super::journal::Records;
use super::mutants::Mutant;
use super::pods::{PodEdge, Told};
use super::rng::Rng;
use super::setup::Setup;
use super::shell::Shell;
use super::transcript::Transcript;

/// The simulated machines boot this long before phoenixd starts.
const UPTIME: Duration = Duration::from_mins(1);

/// One run.
#[derive(Debug)]
pub(super) struct Sim {
    pub(super) now: Time,
    pub(super) setup: Setup,
    pub(super) catalog: Arc<Catalog>,
    pub(super) engine: SimEngine,
    pub(super) shell: Option<Shell>,
    pub(super) incarnation: u64,
    pub(super) edge: Edge,
    /// The edges in pods, by their containers.
    pub(super) pods: BTreeMap<ContainerId, PodEdge>,
    pub(super) probes: BTreeMap<ContainerId, (Target, u64)>,
    pub(super) chaos: Chaos,
    pub(super) judge: Judge,
    pub(super) mutant: Option<Mutant>,
    pub(super) transcript: Transcript,
    pub(super) figures: Figures,
    pub(super) rng: Rng,
    pub(super) clients: Rng,
    /// Who gets in where.
    pub(super) touches: Rng,
    pub(super) records: Records,
    /// Who breaks what open.
    pub(super) glass: Rng,
    /// Whom proxies choose.
    pub(super) proxies: Rng,
    pub(super) tokens: u64,
    queue: BTreeMap<(Time, u64), Ev>,
    sequence: u64,
    flights: BTreeMap<u64, Flight>,
    last_flight: u64,
    /// Tables and reports keep their order.
    pub(super) table_sent: Time,
    pub(super) report_sent: Time,
}

/// What runs did.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) seeds: u64,
    pub(super) events: u64,
    pub(super) plans: u64,
    pub(super) actions: u64,
    pub(super) faults: u64,
    pub(super) crashes: u64,
    pub(super) births: u64,
    pub(super) requests: u64,
    pub(super) cut: u64,
    pub(super) simulated: Duration,
    pub(super) took: Duration,
    /// Hashes of what the replicas were.
    pub(super) states: BTreeSet<u64>,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.plans += other.plans;
        self.actions += other.actions;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.births += other.births;
        self.requests += other.requests;
        self.cut += other.cut;
        self.simulated += other.simulated;
        self.states.extend(&other.states);
    }

    /// Notes in which stages the replicas are.
    pub(super) fn saw(&mut self, status: &Status) {
        let mut hasher = DefaultHasher::new();
        status.engine_error.is_some().hash(&mut hasher);
        for row in &status.replicas {
            (
                row.replica.service.as_str(),
                row.stage.name(),
                row.ready,
                row.overdue,
            )
                .hash(&mut hasher);
        }
        self.states.insert(hasher.finish());
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds, {} simulated hours in {:.1} s: {} faults, {} of them kills of the supervisor; \
             {} containers born, {} plans, {} actions, {} distinct states; {} requests, {} connections cut",
            self.seeds,
            self.simulated.as_secs() / 3600,
            self.took.as_secs_f64(),
            self.faults,
            self.crashes,
            self.births,
            self.plans,
            self.actions,
            self.states.len(),
            self.requests,
            self.cut,
        )
    }
}

/// What happens at an instant.
#[derive(Clone, Debug)]
pub(super) enum Ev {
    /// A call under way goes on.
    Flight(u64),
    /// The host does something by itself.
    Happen(Happening),
    /// A supervisor starts.
    Boot,
    /// An event reaches the supervisor.
    Deliver(u64, Box<Event>),
    /// The supervisor's timer.
    Wake(u64, u64),
    /// The supervisor lists.
    List(u64),
    /// A hint reaches the supervisor.
    Hint(u64, ContainerId),
    /// A probe begins.
    Probe(ContainerId, u64),
    /// A probe ends.
    ProbeEnds {
        id: ContainerId,
        token: u64,
        asked_at: Time,
        timed_out: bool,
    },
    /// A table reaches the edge.
    Table(u64, Arc<Routes>),
    /// What an edge in a pod is told reaches it.
    Tell(u64, Box<Told>),
    /// A client comes.
    Dial(Published),
    /// A proxy of somebody else's sends a request to the service.
    Ask(ServiceName),
    /// A connection ends: of this process's edge, or of a pod's.
    Hangup(Option<ContainerId>, u64),
    /// A hint about what docker compose runs reaches the supervisor.
    HintOfDependencies(u64),
    /// docker compose does something.
    Compose(Compose),
    /// A record of a taint is durable.
    Durable(u64, ContainerId, String),
    /// Another record is.
    Recorded(u64, Time),
    /// The journal tells whether it can be written.
    Journal,
    /// The supervisor is killed, and the next one starts so much later.
    Kill(u64, Duration),
    /// The next fault.
    Chaos,
    /// A hung or paused container goes on.
    Thaw(ContainerId),
    /// The checkers look at what is.
    Tick,
}

/// A call under way.
struct Flight {
    incarnation: u64,
    polled: bool,
    acts: bool,
    future: Pin<Box<dyn Future<Output = Landed> + Send>>,
}

/// What a call came to.
#[derive(Debug)]
pub(super) enum Landed {
    Ended(Box<(Action, Outcome)>),
    Listed(Time, Result<Listing, Error>),
    Dependencies(Time, Result<Vec<DependencySeen>, Error>),
    Seen(Time, ContainerId, Result<Option<Box<Observed>>, Error>),
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

impl Sim {
    pub(super) fn new(
        seed: u64,
        setup: Setup,
        chaos: Chaos,
        mutant: Option<Mutant>,
        keep: bool,
    ) -> Self {
        let engine = SimEngine::new(seed, setup.project.clone());
        {
            let mut shared = engine.lock();
            shared.host.qualities = setup.qualities.clone();
            shared.host.remote = setup.remote;
            shared.host.now = Time::from_boot(UPTIME);
            for (name, desired) in &setup.wanted {
                if let Some(adopted) = &desired.adopted {
                    shared
                        .host
                        .add_original(&adopted.name, name, &desired.networks);
                }
            }
        }
        let mut sim = Self {
            now: Time::from_boot(UPTIME),
            catalog: Arc::new(setup.catalog()),
            engine,
            shell: None,
            incarnation: 0,
            edge: Edge::default(),
            pods: BTreeMap::new(),
            probes: BTreeMap::new(),
            judge: Judge::new(&setup),
            chaos,
            mutant,
            transcript: Transcript::new(keep),
            figures: Figures::default(),
            rng: Rng::stream(seed, "shell"),
            clients: Rng::stream(seed, "clients"),
            touches: Rng::stream(seed, "touches"),
            records: Records::new(seed),
            glass: Rng::stream(seed, "glass"),
            proxies: Rng::stream(seed, "asked by name"),
            tokens: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            flights: BTreeMap::new(),
            last_flight: 0,
            table_sent: Time::BOOT,
            report_sent: Time::BOOT,
            setup,
        };
        sim.engine.lock().host.now = sim.now;
        sim.begin_compose(&mut Rng::stream(seed, "compose"));
        sim.at(Duration::ZERO, Ev::Boot);
        sim.at(Duration::from_secs(1), Ev::Tick);
        sim.begin_proxies();
        let ports: Vec<Published> = sim
            .setup
            .wanted
            .values()
            .flat_map(|desired| desired.published.clone())
            .collect();
        for published in ports {
            sim.at(Duration::from_millis(100), Ev::Dial(published));
        }
        sim
    }

    /// Puts something on the queue.
    pub(super) fn at(&mut self, after: Duration, ev: Ev) {
        self.at_time(self.now + after, ev);
    }

    pub(super) fn at_time(&mut self, at: Time, ev: Ev) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), ev);
    }

    /// What a supervisor sent to the edge ends with its connection, at the latest when the next one comes.
    pub(super) fn lose_tables(&mut self) {
        self.queue.retain(|_, ev| !matches!(ev, Ev::Table(..)));
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.transcript.note(self.now, line);
    }

    /// Runs until then, or until a checker objects.
    pub(super) fn run_until(&mut self, end: Time) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), ev) = entry.remove_entry();
            self.advance(at);
            self.figures.events += 1;
            self.happen(ev);
            self.settle_host();
            if let Some(violation) = self.judge.violation.take() {
                return Err(violation);
            }
        }
        self.advance(end.max(self.now));
        Ok(())
    }

    fn advance(&mut self, at: Time) {
        self.figures.simulated += at.since(self.now);
        self.now = at;
        self.engine.lock().host.now = at;
    }

    /// The machine slept: everything that was to happen happens later, and only the boot clock went on.
    pub(super) fn suspend(&mut self, span: Duration) {
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue
            .into_iter()
            .map(|((at, n), ev)| ((at + span, n), ev))
            .collect();
        self.table_sent = self.table_sent + span;
        self.report_sent = self.report_sent + span;
        self.advance(self.now + span);
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Flight(id) => self.fly(id),
            Ev::Happen(Happening::Dies { id, born, code }) => {
                self.engine.lock().host.happen(&id, born, code);
            }
            Ev::Happen(Happening::Late(effect)) => {
                self.note(|| format!("late effect: {effect:?}"));
                drop(self.engine.lock().effect(&effect));
                self.judge.disturbed(self.now);
            }
            Ev::Happen(Happening::Recovers(id)) => {
                self.engine.lock().host.hints.push((id, "health_status"));
            }
            Ev::HintOfDependencies(incarnation) => self.look_at_dependencies(incarnation),
            Ev::Compose(what) => self.compose(&what),
            Ev::Boot => self.boot(),
            Ev::Deliver(incarnation, event) => {
                if self.incarnation == incarnation {
                    self.deliver(*event);
                }
            }
            Ev::Wake(incarnation, token) => self.wake(incarnation, token),
            Ev::List(incarnation) => self.list(incarnation),
            Ev::Hint(incarnation, id) => self.inspect(incarnation, id),
            Ev::Probe(id, token) => self.probe(&id, token),
            Ev::ProbeEnds {
                id,
                token,
                asked_at,
                timed_out,
            } => {
                self.probe_ends(id, token, asked_at, timed_out);
            }
            Ev::Table(epoch, table) => self.table_arrives(epoch, table),
            Ev::Dial(published) => self.dial(published),
            Ev::Ask(service) => self.ask_by_name(service),
            Ev::Hangup(edge, connection) => self.hang_up(edge.as_ref(), connection),
            Ev::Tell(incarnation, told) => self.edge_is_told(incarnation, *told),
            Ev::Durable(incarnation, id, words) => self.durable(incarnation, id, words),
            Ev::Recorded(incarnation, at) => self.recorded(incarnation, at),
            Ev::Journal => self.journal_tells(),
            Ev::Kill(incarnation, away) if self.incarnation == incarnation => self.crash(away),
            Ev::Kill(..) => {}
            Ev::Chaos => self.chaos_strikes(),
            Ev::Thaw(id) => self.thaw(&id),
            Ev::Tick => self.tick(),
        }
    }

    /// Begins a call.
    pub(super) fn begin_flight(
        &mut self,
        after: Duration,
        acts: bool,
        future: impl Future<Output = Landed> + Send + 'static,
    ) {
        self.last_flight += 1;
        let flight = Flight {
            incarnation: self.incarnation,
            polled: false,
            acts,
            future: Box::pin(future),
        };
        self.flights.insert(self.last_flight, flight);
        self.at(after, Ev::Flight(self.last_flight));
    }

    /// The supervisor is gone; calls that reached the engine may still do what they were to do.
    pub(super) fn orphan_flights(&mut self) {
        let rng = &mut self.rng;
        self.flights
            .retain(|_, flight| flight.polled && flight.acts && rng.chance(500));
    }

    fn fly(&mut self, id: u64) {
        let Some(mut flight) = self.flights.remove(&id) else {
            return;
        };
        flight.polled = true;
        self.engine.lock().flight = id;
        let polled = flight
            .future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let wakes = std::mem::take(&mut self.engine.lock().wakes);
        for (at, flight) in wakes {
            self.at_time(at, Ev::Flight(flight));
        }
        match polled {
            Poll::Pending => drop(self.flights.insert(id, flight)),
            Poll::Ready(landed) if flight.incarnation == self.incarnation => self.landed(landed),
            Poll::Ready(_) => {}
        }
    }

    /// Takes over what the host did: timers, hints, births.
    fn settle_host(&mut self) {
        let (timers, hints, births, touched, faulted) = {
            let mut shared = self.engine.lock();
            (
                std::mem::take(&mut shared.host.timers),
                std::mem::take(&mut shared.host.hints),
                std::mem::take(&mut shared.births),
                shared.host.touched.take(),
                std::mem::take(&mut shared.faulted),
            )
        };
        for (at, happening) in timers {
            self.at_time(at, Ev::Happen(happening));
        }
        if faulted > 0 {
            self.figures.faults += faulted;
            self.judge.disturbed(self.now);
        }
        if let Some(text) = touched {
            self.judge.fail(
                self.now,
                "I6",
                format!("phoenixd touched what is not its own: {text}"),
            );
        }
        for id in births {
            self.figures.births += 1;
            self.judge.born(self.now, &self.engine.lock().host, &id);
        }
        for (id, what) in hints {
            self.host_says(id, what);
        }
    }
}
