//! A project told in a few words, with an engine and an edge that do at once what they are asked to do.
//!
//! `live` lets time pass and writes down what was begun, when and why. `plan` shows what is to be done, and waited for,
//! now, and carries nothing out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::reconcile::{
    Action, Command, ContainerState, DependencySeen, Desired, EdgeReport, EdgeSaid, Event, Health,
    Identity, Judged, Limits, Listing, NetworkSeen, Observed, RequestId, Routes, Stage, Step, Time,
    Touch, VolumeSeen, World,
};
use phoenixd::spec::{
    BornAfter, ContainerId, FileDigest, Generation, ImageId, Jitter, NetworkName, Phoenix, Policy,
    Probe, ProbeSetting, ProjectName, Published, Reach, ReplicaName, Serial, ServiceName, SpecHash,
    Transport, VolumeName,
};

use super::hands::end;

/// The scenario's clock starts here, so that ages before it can be told.
const START: Duration = Duration::from_hours(100);

/// A project in a situation.
pub(super) struct Scenario {
    pub(super) world: World,
    pub(super) now: Time,
    pub(super) wanted: BTreeMap<ServiceName, Desired>,
    pub(super) containers: BTreeMap<ContainerId, Observed>,
    pub(super) networks: BTreeSet<NetworkSeen>,
    pub(super) volumes: BTreeSet<VolumeSeen>,
    pub(super) epoch: u64,
    pub(super) table: Routes,
    pub(super) open: BTreeMap<ContainerId, u64>,
    /// The edge takes over what it is sent.
    pub(super) edge_works: bool,
    pub(super) unhealthy: BTreeSet<String>,
    pub(super) starts_fail: Option<String>,
    /// Why no evidence can be captured.
    pub(super) captures_fail: Option<String>,
    /// What a comparison with the original finds.
    pub(super) differs: Option<String>,
    pub(super) weak: bool,
    /// What docker compose runs.
    /// The engine lists them, and tells nothing about them.
    pub(super) silent: BTreeSet<ContainerId>,
    pub(super) dependencies: Vec<DependencySeen>,
    /// What the edges in pods said last.
    pub(super) edges: BTreeMap<ContainerId, EdgeSaid>,
    /// Edges that do not answer.
    pub(super) mute: BTreeSet<String>,
    /// Edges that take no table.
    pub(super) deaf: BTreeSet<ContainerId>,
    /// How often those that do not answer were missed.
    pub(super) missed: BTreeMap<ContainerId, u32>,
    /// Who took the sockets of whom.
    pub(super) took_over: Vec<(Serial, Serial)>,
    pub(super) ids: u64,
}

/// A service `web` with one replica, a TTL of an hour without jitter, and no delays.
pub(super) fn web() -> Desired {
    Desired {
        replicas: 1,
        spec_hash: SpecHash::new("one"),
        image: ImageId::new("sha256:0"),
        phoenix: Phoenix {
            ttl: Duration::from_hours(1),
            jitter: Jitter::Permille(0),
            probe: ProbeSetting {
                successes: 1,
                ..ProbeSetting::default()
            },
            ..Phoenix::default()
        },
        probe: Probe::Tcp { port: 80 },
        policy: Policy::STRICT,
        stop_grace: Duration::from_secs(10),
        published: vec![Published {
            host_ip: None,
            host_port: 8080,
            target: 80,
            transport: Transport::Tcp,
        }],
        pod: BTreeSet::new(),
        networks: vec![NetworkName::new("p_default")],
        on_ready: None,
        makes_networks: BTreeSet::new(),
        makes_volumes: BTreeSet::new(),
        adopted: None,
        depends_on: BTreeMap::new(),
        files: BTreeSet::new(),
    }
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn mins(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

impl Scenario {
    /// A project of which nothing exists yet, but for its network.
    pub(super) fn of(desired: Desired) -> Self {
        Self {
            world: World::new(
                ProjectName::new("p"),
                Limits {
                    births: 4,
                    calls: 8,
                },
            ),
            now: Time::from_boot(START),
            wanted: BTreeMap::from([(ServiceName::new("web"), desired)]),
            containers: BTreeMap::new(),
            networks: BTreeSet::from([NetworkSeen {
                name: NetworkName::new("p_default"),
                ours: true,
            }]),
            volumes: BTreeSet::new(),
            epoch: 0,
            table: Routes::default(),
            open: BTreeMap::new(),
            edge_works: true,
            unhealthy: BTreeSet::new(),
            starts_fail: None,
            captures_fail: None,
            differs: None,
            weak: false,
            silent: BTreeSet::new(),
            dependencies: Vec::new(),
            edges: BTreeMap::new(),
            mute: BTreeSet::new(),
            deaf: BTreeSet::new(),
            missed: BTreeMap::new(),
            took_over: Vec::new(),
            ids: 0,
        }
    }

    /// A host without the project's network.
    pub(super) fn without_network(mut self) -> Self {
        self.networks.clear();
        self
    }

    /// A further service, which publishes no port.
    pub(super) fn with_service(mut self, name: &str, change: impl FnOnce(&mut Desired)) -> Self {
        let mut desired = Desired {
            published: Vec::new(),
            ..web()
        };
        change(&mut desired);
        self.wanted.insert(ServiceName::new(name), desired);
        self
    }

    /// A container that was there before: `web-SERIAL`, running for so long.
    pub(super) fn with_running(mut self, serial: u64, spec_hash: &str, age: Duration) -> Self {
        let started = self.now.minus(age);
        let replica = ReplicaName::new(ServiceName::new("web"), Serial(serial));
        let identity = Identity {
            replica,
            generation: Generation(1),
            spec_hash: SpecHash::new(spec_hash),
            reach: None,
            adopted: None,
            born_after: BornAfter::default(),
        };
        let mut observed = self.container(format!("p-web-{serial}"), Some(identity));
        observed.state = ContainerState::Running;
        observed.started = Some(started);
        self.run(&mut observed);
        self.containers.insert(observed.id.clone(), observed);
        self
    }

    /// The same containers, born to be reached in this way.
    pub(super) fn born_for(mut self, reach: &Reach) -> Self {
        for observed in self.containers.values_mut() {
            if let Some(identity) = &mut observed.identity {
                identity.reach = Some(reach.clone());
            }
        }
        self
    }

    /// Whom the probes ask what, and where the table leads.
    pub(super) fn reached(&self) -> String {
        let step = self.world.plan(self.now);
        let asked = step.targets.values().map(|target| {
            format!(
                "{} by {} at {}",
                target.replica, target.probe, target.address
            )
        });
        let routes = step.routes.unwrap_or_default();
        let led = routes.listeners.iter().flat_map(|(published, listener)| {
            listener.backends.iter().map(move |backend| {
                format!(
                    "{published} leads to {} at {}",
                    backend.replica, backend.address
                )
            })
        });
        asked.chain(led).collect::<Vec<_>>().join("\n")
    }

    /// Which copies of secrets have to stay.
    pub(super) fn files(&self) -> String {
        let Some(files) = self.world.plan(self.now).files else {
            return "unknown".to_owned();
        };
        let names: Vec<&str> = files.iter().map(FileDigest::as_str).collect();
        names.join(" ")
    }

    /// A container that carries the project's label, and is no replica.
    pub(super) fn with_stray(mut self, name: &str) -> Self {
        let observed = self.container(name.to_owned(), None);
        self.containers.insert(observed.id.clone(), observed);
        self
    }

    /// The supervisor starts, and lists.
    pub(super) fn start(mut self) -> Self {
        let wanted = self.wanted.clone();
        self.apply(Event::Wanted(wanted));
        self.list();
        self
    }

    pub(super) fn list(&mut self) {
        let listing = Listing {
            containers: self
                .containers
                .values()
                .filter(|container| !self.silent.contains(&container.id))
                .cloned()
                .collect(),
            networks: self.networks.clone(),
            volumes: self.volumes.clone(),
            silent: self.silent.clone(),
            dependencies: self.dependencies.clone(),
            ..Listing::default()
        };
        let asked_at = self.now;
        self.apply(Event::Listed { asked_at, listing });
    }

    pub(super) fn apply(&mut self, event: Event) {
        self.world.apply(self.now, event);
    }

    /// The supervisor is killed, and the next one starts; what the engine has is all that it knows, and what the journal
    /// has of taints.
    pub(super) fn restart(&mut self) {
        let touched = self.world.plan(self.now).status.touched;
        let tainted = touched.iter().filter(|it| it.judged == Judged::Taint);
        // In the same words again, however often it is read and written.
        let words = |touch: &Touch| {
            if let Touch::Recorded(words) = touch {
                return words.clone();
            }
            touch.words()
        };
        let recorded: BTreeMap<ContainerId, String> = tainted
            .map(|it| (it.id.clone(), words(&it.touch)))
            .collect();
        self.world = World::new(
            ProjectName::new("p"),
            Limits {
                births: 4,
                calls: 8,
            },
        );
        self.apply(Event::Remembered(recorded));
        let wanted = self.wanted.clone();
        self.apply(Event::Wanted(wanted));
        self.list();
        self.confirm();
        if !self.edges.is_empty() {
            self.epoch = 0;
        }
        for said in self.edges.values_mut() {
            said.report.epoch = 0;
        }
        let said = self.edges.clone();
        for (id, said) in said {
            self.apply(Event::EdgeOf { id, said: Ok(said) });
        }
    }

    /// The file changes.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Desired)) {
        self.change_of("web", change);
    }

    /// The same for another service.
    pub(super) fn change_of(&mut self, service: &str, change: impl FnOnce(&mut Desired)) {
        let desired = self.wanted.get_mut(&ServiceName::new(service)).unwrap();
        change(desired);
        let wanted = self.wanted.clone();
        self.apply(Event::Wanted(wanted));
    }

    /// The service leaves the file.
    pub(super) fn forget(&mut self) {
        self.wanted.clear();
        self.apply(Event::Wanted(BTreeMap::new()));
    }

    /// Everything is to be recycled.
    pub(super) fn recycle(&mut self) {
        self.recycle_of(&[]);
    }

    /// These services are to be recycled.
    pub(super) fn recycle_of(&mut self, services: &[&str]) {
        let command = Command::Recycle {
            request: RequestId(1),
            services: services.iter().copied().map(ServiceName::new).collect(),
        };
        self.apply(Event::Command(command));
    }

    pub(super) fn down(&mut self, volumes: bool) {
        self.apply(Event::Command(Command::Down { volumes }));
    }

    /// The supervisor is asked to end.
    pub(super) fn leave(&mut self) {
        self.apply(Event::Command(Command::Leave));
    }

    /// Whether a supervisor that was asked to end may.
    pub(super) fn settled(&self) -> bool {
        self.world.plan(self.now).settled
    }

    /// From now on the probe of the replica fails, or of every one.
    pub(super) fn ill(&mut self, replica: &str) {
        self.unhealthy.insert(replica.to_owned());
    }

    pub(super) fn well(&mut self) {
        self.unhealthy.clear();
    }

    pub(super) fn starts_fail(&mut self, why: Option<&str>) {
        self.starts_fail = why.map(ToOwned::to_owned);
    }

    /// What the kernel says of processes that start from now on.
    pub(super) fn born_weak(&mut self) {
        self.weak = true;
    }

    pub(super) fn edge_works(&mut self, works: bool) {
        self.edge_works = works;
        self.confirm();
    }

    /// So many connections of the replica are open.
    pub(super) fn open(&mut self, replica: &str, connections: u64) {
        let id = self.id_of(replica);
        self.open.insert(id, connections);
        self.confirm();
    }

    /// The process ends by itself.
    pub(super) fn dies(&mut self, replica: &str, code: i64) {
        let id = self.id_of(replica);
        let observed = self.containers.get_mut(&id).unwrap();
        end(observed, code);
        let event = Event::Seen {
            asked_at: self.now,
            id,
            observed: Some(Box::new(observed.clone())),
        };
        self.apply(event);
    }

    /// The engine tells of a signal to it.
    pub(super) fn signalled(&mut self, replica: &str) {
        let id = self.id_of(replica);
        self.apply(Event::Signalled { id });
    }

    /// A witness tells of something that was done to it.
    pub(super) fn touched(&mut self, replica: &str, touch: Touch) {
        let id = self.id_of(replica);
        self.apply(Event::Touched { id, touch });
    }

    /// Docker's own health status, as the next inspection will tell.
    pub(super) fn health(&mut self, replica: &str, health: Health) {
        let id = self.id_of(replica);
        self.containers.get_mut(&id).unwrap().health = health;
    }

    pub(super) fn id_of(&self, replica: &str) -> ContainerId {
        let name = format!("p-{replica}");
        self.containers
            .values()
            .find(|c| c.name == name || c.name.starts_with(&format!("{name}.break-glass-")))
            .unwrap()
            .id
            .clone()
    }

    /// What is to be done now and what is waited for; nothing is carried out.
    pub(super) fn plan(&self) -> String {
        let step = self.world.plan(self.now);
        assert_eq!(step, self.world.plan(self.now), "a plan is a pure read");
        let mut lines: Vec<String> = step
            .actions
            .iter()
            .map(|planned| format!("{}: {}", planned.action, planned.reason))
            .collect();
        for row in &step.status.replicas {
            let acts = step
                .actions
                .iter()
                .any(|planned| planned.action.replica() == Some(&row.replica));
            let waits = row
                .waiting_on
                .as_ref()
                .filter(|_| !acts)
                .map(|on| on.sentence(format!("{} {}", row.replica, row.stage), self.now));
            lines.extend(waits);
        }
        for (name, service) in &step.status.services {
            let acts = step.actions.iter().any(|planned| matches!(&planned.action, Action::Create { replica, .. } if replica.service == *name));
            let waits = service
                .waiting_on
                .as_ref()
                .filter(|_| !acts)
                .map(|on| on.sentence(name, self.now));
            lines.extend(waits);
        }
        lines.join("\n")
    }

    /// Who gets traffic by the table that was published last.
    pub(super) fn routed(&self) -> String {
        let names: Vec<String> = self
            .table
            .backends()
            .map(|backend| backend.replica.to_string())
            .collect();
        names.join(" ")
    }

    /// The status of the request to recycle.
    pub(super) fn request(&self) -> String {
        format!(
            "{:?}",
            self.world.plan(self.now).status.requests.get(&RequestId(1))
        )
    }

    /// Nothing of a `down` is left to do.
    pub(super) fn finished(&self) -> bool {
        self.world.plan(self.now).finished
    }

    /// Lets so much time pass, carries out what is planned, and tells what was begun.
    pub(super) fn live(&mut self, span: Duration) -> String {
        let (begin, end) = (self.now, self.now + span);
        let mut lines = Vec::new();
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(
                rounds < 100_000,
                "it does not come to rest:\n{}",
                lines.join("\n")
            );
            let step = self.world.plan(self.now);
            let wake_at = step.wake_at;
            if self.carry_out(step, begin, &mut lines) || self.probe_all() || self.edges_follow() {
                continue;
            }
            match wake_at.filter(|at| *at <= end) {
                Some(at) => {
                    self.now = at;
                    self.apply(Event::Woken);
                }
                None => break,
            }
        }
        self.now = end;
        lines.join("\n")
    }

    /// Carries out so many actions of what is planned now, and no more.
    pub(super) fn act(&mut self, mut actions: usize, lines: &mut Vec<String>) {
        for _ in 0..100 {
            let mut step = self.world.plan(self.now);
            step.actions.truncate(actions);
            actions -= step.actions.len();
            let begin = self.now;
            if !self.carry_out(step, begin, lines) && !self.probe_all() && !self.edges_follow() {
                break;
            }
        }
    }

    /// Publishes and carries out; whether anything changed.
    fn carry_out(&mut self, step: Step, begin: Time, lines: &mut Vec<String>) -> bool {
        if let Some(routes) = step
            .routes
            .filter(|routes| self.epoch == 0 || *routes != self.table)
        {
            self.epoch += 1;
            self.table = routes.clone();
            let (epoch, routes) = (self.epoch, Arc::new(routes));
            self.apply(Event::Published { epoch, routes });
            self.confirm();
            return true;
        }
        let any = !step.actions.is_empty();
        for planned in step.actions {
            if !matches!(planned.action, Action::Look { .. }) {
                let after = self.now.since(begin);
                lines.push(format!(
                    "{:>8} {}: {}",
                    show(after),
                    planned.action,
                    planned.reason
                ));
            }
            let action = planned.action.clone();
            self.apply(Event::Began {
                action: action.clone(),
                reason: planned.reason,
            });
            if !matches!(action, Action::Drain { .. }) {
                let outcome = self.call(&action);
                self.apply(Event::Ended { action, outcome });
            }
        }
        any
    }

    fn confirm(&mut self) {
        if self.edge_works {
            let report = EdgeReport {
                epoch: self.epoch,
                open: self.open.clone(),
            };
            self.apply(Event::Edge(report));
        }
    }

    /// One probe of every target that an answer would change something about.
    fn probe_all(&mut self) -> bool {
        let step = self.world.plan(self.now);
        let mut changed = false;
        for (id, target) in step.targets {
            let row = step
                .status
                .replicas
                .iter()
                .find(|row| row.container_id.as_ref() == Some(&id));
            let stage = row.map_or(Stage::Missing, |row| row.stage);
            let waits = stage == Stage::Starting || stage == Stage::Unready;
            let name = target.replica.to_string();
            let ill = self.unhealthy.contains(&name) || self.unhealthy.contains("every one");
            if waits || (ill && stage == Stage::Ready) {
                let result = if ill {
                    Err("connection refused".to_owned())
                } else {
                    Ok(())
                };
                let asked_at = self.now;
                self.apply(Event::Probed {
                    asked_at,
                    id,
                    result,
                });
                changed |= !ill || stage == Stage::Ready;
            }
        }
        changed
    }

    /// A volume of the project that is needed.
    pub(super) fn needs_volume(mut self, name: &str) -> Self {
        for desired in self.wanted.values_mut() {
            desired.makes_volumes.insert(VolumeName::new(name));
            desired.makes_networks.insert(NetworkName::new("p_default"));
        }
        self
    }
}

fn show(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(0);
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}
