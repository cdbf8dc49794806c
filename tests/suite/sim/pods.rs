//! Pods: edges in containers, as the daemon and `phoenixd edge` are with each other. Orders go out with a delay, sockets are
//! handed over or bound, reports come back; an edge goes on by its last table when nobody speaks to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::reconcile::{
    Asks, Desired, EdgeOrder, EdgeReport, EdgeSaid, EdgeStage, Edges, Event, Routes,
};
use phoenixd::spec::{
    Condition, ContainerId, Dependency, Jitter, Listen, Overdue, Phoenix, PodPart, Probe,
    Published, RunBy, ServiceName, SpecHash,
};

use super::edge::Edge;
use super::host::{Container, Host, is_process};
use super::mutants::Mutant;
use super::promises::RECOVERED;
use super::rng::Rng;
use super::run::{Ev, Sim};
use super::setup::{Quality, Setup};

/// Between two attempts at sockets, or at an edge that does not answer.
const AGAIN: Duration = Duration::from_millis(100);
const SILENCE: Duration = Duration::from_secs(1);
/// More than the core waits for.
const HUNG: Duration = Duration::from_secs(21);

/// One edge's process.
#[derive(Debug, Default)]
pub(super) struct PodEdge {
    pub(super) edge: Edge,
    stage: EdgeStage,
    /// Of which supervisor its table is.
    session: u64,
}

/// What an edge is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    id: ContainerId,
    order: EdgeOrder,
    epoch: u64,
    routes: Arc<Routes>,
}

impl Setup {
    /// Services with ports get pods.
    pub(super) fn give_pods(&mut self, rng: &mut Rng) {
        let names: Vec<ServiceName> = self.wanted.keys().cloned().collect();
        for name in names {
            let Some(desired) = self.wanted.get_mut(&name) else {
                continue;
            };
            if desired.published.is_empty() || !rng.chance(800) {
                continue;
            }
            desired.pod = desired
                .published
                .iter()
                .map(|port| Listen {
                    port: port.target,
                    transport: port.transport,
                })
                .collect();
            let (pause, edge) = (pause_of(desired, &name), edge_of(desired, &name, rng));
            self.add(name.pod(PodPart::Pause), pause, Quality::good());
            self.add(name.pod(PodPart::Edge), edge, Quality::good());
        }
    }
}

fn pause_of(service: &Desired, name: &ServiceName) -> Desired {
    let part = name.pod(PodPart::Pause);
    Desired {
        replicas: 1,
        spec_hash: SpecHash::new(format!("{part}@1")),
        phoenix: Phoenix {
            ttl: Duration::from_hours(1_000_000),
            jitter: Jitter::Permille(0),
            surge: 0,
            drain: Duration::ZERO,
            overdue: Overdue::Keep,
            ..service.phoenix.clone()
        },
        probe: Probe::Running,
        published: Vec::new(),
        pod: BTreeSet::new(),
        makes_volumes: BTreeSet::new(),
        depends_on: BTreeMap::new(),
        ..service.clone()
    }
}

fn edge_of(service: &Desired, name: &ServiceName, rng: &mut Rng) -> Desired {
    let part = name.pod(PodPart::Edge);
    let on_pause = Dependency {
        condition: Condition::Started,
        required: true,
        restart: false,
        run_by: RunBy::Phoenixd,
    };
    Desired {
        replicas: 1,
        spec_hash: SpecHash::new(format!("{part}@1")),
        phoenix: Phoenix {
            ttl: Duration::from_secs(rng.one([300, 1800, 7200])),
            surge: 1,
            overdue: Overdue::Keep,
            ..service.phoenix.clone()
        },
        probe: Probe::Edge,
        published: Vec::new(),
        pod: BTreeSet::new(),
        networks: Vec::new(),
        on_ready: None,
        makes_networks: BTreeSet::new(),
        makes_volumes: BTreeSet::new(),
        depends_on: BTreeMap::from([(name.pod(PodPart::Pause), on_pause)]),
        ..service.clone()
    }
}

impl Setup {
    /// Whether the service has a pod, or is a part of one: they come and go together.
    pub(super) fn has_pod(&self, service: &ServiceName) -> bool {
        let desired = self.wanted.get(service);
        service.pod_part().is_some() || desired.is_some_and(|desired| !desired.pod.is_empty())
    }
}

impl Sim {
    /// The daemon's side: each edge is told what is new.
    pub(super) fn follow_edges(&mut self, edges: &Edges) {
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        shell.told.retain(|id, _| edges.contains_key(id));
        let (epoch, routes) = (shell.epoch, shell.routes.clone().unwrap_or_default());
        let mut news = Vec::new();
        for (id, order) in edges {
            let now = (order.clone(), epoch);
            if shell.told.insert(id.clone(), now.clone()).as_ref() != Some(&now) {
                let routes = Arc::new(routes.of_pod(&order.service));
                let (id, order) = (id.clone(), order.clone());
                news.push(Told {
                    id,
                    order,
                    epoch,
                    routes,
                });
            }
        }
        for told in news {
            let way = self.way_to_edge();
            self.at(way, Ev::Tell(self.incarnation, Box::new(told)));
        }
    }

    fn way_to_edge(&mut self) -> Duration {
        let slow = self.chaos.edge_slow_until > self.now;
        self.rng.ms(0, if slow { 3000 } else { 10 })
    }

    /// What was said reaches the edge, if it listens at all.
    pub(super) fn edge_is_told(&mut self, incarnation: u64, told: Told) {
        let newest = self
            .shell
            .as_ref()
            .and_then(|shell| shell.told.get(&told.id));
        let is_newest = newest == Some(&(told.order.clone(), told.epoch));
        if self.incarnation != incarnation || !is_newest {
            return;
        }
        let Told {
            id,
            order,
            epoch,
            routes,
        } = told.clone();
        let (is_there, answers) = {
            let shared = self.engine.lock();
            let container = shared.host.containers.get(&id);
            let is_there = container.is_some_and(|one| is_process(&one.state));
            (is_there, container.is_some_and(|one| one.serves(self.now)))
        };
        if !is_there {
            return;
        }
        if !answers {
            let said = Err("its control socket does not answer".to_owned());
            let event = Event::EdgeOf { id, said };
            self.at(Duration::ZERO, Ev::Deliver(incarnation, Box::new(event)));
            self.at(SILENCE, Ev::Tell(incarnation, Box::new(told)));
            return;
        }
        let is_idle = self.stage_of(&id) == EdgeStage::Idle;
        if is_idle && order.listens && epoch > 0 && !self.takes_sockets(&id, &order) {
            self.at(AGAIN, Ev::Tell(incarnation, Box::new(told)));
        }
        let edge = self.pods.entry(id.clone()).or_default();
        if edge.stage != EdgeStage::Idle && epoch > 0 {
            edge.session = incarnation;
            edge.edge.install_any(epoch, routes);
        }
        self.edge_reports(&id);
    }

    /// It has the sockets from now on: by a handover, or because nobody else in its network has.
    fn takes_sockets(&mut self, id: &ContainerId, order: &EdgeOrder) -> bool {
        let holder = {
            let shared = self.engine.lock();
            let own = shared
                .host
                .containers
                .get(id)
                .and_then(|one| one.joined.clone());
            let holds = |other: &&Container| {
                let serves =
                    (self.pods.get(&other.id)).is_some_and(|edge| edge.stage == EdgeStage::Serving);
                other.id != *id && other.joined == own && is_process(&other.state) && serves
            };
            let found = shared.host.containers.values().find(holds);
            found.map(|other| {
                let serial = other.identity.as_ref().map(|it| it.replica.serial);
                (other.id.clone(), serial, other.serves(self.now))
            })
        };
        match holder {
            None => {}
            Some((other, serial, true)) if serial.is_some() && serial == order.takes_over => {
                if let Some(spent) = self.pods.get_mut(&other) {
                    spent.stage = EdgeStage::Spent;
                }
                self.edge_reports(&other);
            }
            // They are taken.
            Some(_) => return false,
        }
        self.pods.entry(id.clone()).or_default().stage = EdgeStage::Serving;
        true
    }

    fn stage_of(&self, id: &ContainerId) -> EdgeStage {
        self.pods
            .get(id)
            .map(|edge| edge.stage.clone())
            .unwrap_or_default()
    }

    /// An edge that hangs is missed, since nothing comes from it; one that goes on says how it is.
    pub(super) fn miss_edges(&mut self) {
        let Some(shell) = &self.shell else { return };
        let told: Vec<ContainerId> = shell.told.keys().cloned().collect();
        for id in told {
            let (is_there, answers) = {
                let shared = self.engine.lock();
                let container = shared.host.containers.get(&id);
                let is_there = container.is_some_and(|one| is_process(&one.state));
                (is_there, container.is_some_and(|one| one.serves(self.now)))
            };
            let Some(shell) = self.shell.as_mut() else {
                return;
            };
            if is_there && !answers {
                shell.silent.insert(id.clone());
                // Its connection is lost, or stands and nothing comes of its probes.
                let is_lost = id
                    .as_str()
                    .ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']);
                let asks = Asks {
                    every: SILENCE,
                    silent: HUNG,
                };
                let said = if is_lost {
                    Err("nothing is heard of it".to_owned())
                } else {
                    Ok(EdgeSaid {
                        asks,
                        ..EdgeSaid::default()
                    })
                };
                let event = Event::EdgeOf { id, said };
                self.at(
                    Duration::ZERO,
                    Ev::Deliver(self.incarnation, Box::new(event)),
                );
            } else if answers && shell.silent.remove(&id) {
                self.edge_reports(&id);
            }
        }
    }

    /// A report is on its way to the supervisor; what is told is what is true when it is sent.
    pub(super) fn edge_reports(&mut self, id: &ContainerId) {
        let Some(edge) = self.pods.get(id) else {
            return;
        };
        let known = self
            .shell
            .as_ref()
            .is_some_and(|shell| shell.told.contains_key(id));
        if !known {
            return;
        }
        let EdgeReport { epoch, mut open } = edge.edge.report();
        let mut epoch = if edge.session == self.incarnation {
            epoch
        } else {
            0
        };
        match self.mutant {
            Some(Mutant::IgnoreTheEdge) => epoch = u64::MAX,
            Some(Mutant::IgnoreConnections) => open.clear(),
            _ => {}
        }
        let said = EdgeSaid {
            report: EdgeReport { epoch, open },
            stage: edge.stage.clone(),
            asks: Asks::default(),
        };
        let way = self.way_to_edge();
        let at = (self.now + way).max(self.report_sent);
        self.report_sent = at;
        let event = Event::EdgeOf {
            id: id.clone(),
            said: Ok(said),
        };
        self.at_time(at, Ev::Deliver(self.incarnation, Box::new(event)));
    }

    /// The edge that a client of the service meets: who listens in the network that has the address.
    pub(super) fn edge_of(&self, service: &ServiceName) -> Option<ContainerId> {
        let shared = self.engine.lock();
        let pause = running_pause(&shared.host, service)?;
        let listens =
            |(id, edge): &(&ContainerId, &PodEdge)| {
                edge.stage == EdgeStage::Serving
                    && shared.host.containers.get(*id).is_some_and(|one| {
                        one.joined.as_ref() == Some(pause) && one.serves(self.now)
                    })
            };
        self.pods.iter().find(listens).map(|(id, _)| id.clone())
    }

    /// I1 of pods: somebody listens, whatever is replaced. What a fault left, and what is bad in itself, excuses.
    pub(super) fn judge_silent_pod(&mut self, service: &ServiceName) {
        let is_bad = PodPart::ALL.into_iter().any(|part| {
            let desired = self.setup.wanted.get(&service.pod(part));
            let quality = desired.and_then(|desired| self.setup.qualities.get(&desired.spec_hash));
            let is_bad = quality.is_none_or(|quality| quality.fault.is_some());
            let shared = self.engine.lock();
            let host = &shared.host;
            is_bad
                || host
                    .live_of(&service.pod(part))
                    .any(|one| one.quality.fault.is_some())
        });
        let calm = self.now.since(self.judge.disturbed_at);
        if !is_bad && !self.judge.is_down && calm > RECOVERED {
            let text = format!("nobody listens in the pod of {service}");
            self.judge.fail(self.now, "I1", text);
        }
    }

    /// A container ended: an edge's connections end with it, a replica's in every edge.
    pub(super) fn pods_lose(&mut self, id: &ContainerId) -> usize {
        let mut cut = 0;
        if let Some(edge) = self.pods.remove(id) {
            cut += edge.edge.connections.len();
        }
        let mut changed = Vec::new();
        for (of, edge) in &mut self.pods {
            let here = edge.edge.cut_all_of(id);
            if here > 0 {
                cut += here;
                changed.push(of.clone());
            }
        }
        for of in changed {
            self.edge_reports(&of);
        }
        cut
    }

    /// What all edges that still run may send to, and what goes through them.
    pub(super) fn whole_edge(&self) -> Edge {
        let shared = self.engine.lock();
        let runs = |id: &ContainerId| {
            let container = shared.host.containers.get(id);
            container.is_some_and(|one| is_process(&one.state))
        };
        let pods = self.pods.iter().filter(|(id, _)| runs(id));
        Edge::joined(pods.map(|(_, pod)| &pod.edge).chain([&self.edge]))
    }

    /// Whom a client of a port meets: the service's pod where it has one.
    pub(super) fn pod_of(&self, published: Published) -> Option<(ServiceName, Published)> {
        let of =
            |desired: &Desired| !desired.pod.is_empty() && desired.published.contains(&published);
        let (name, _) = self.setup.wanted.iter().find(|(_, desired)| of(desired))?;
        let inside = Published {
            host_ip: None,
            host_port: published.target,
            target: published.target,
            transport: published.transport,
        };
        Some((name.clone(), inside))
    }
}

/// The pause that has the service's address.
fn running_pause<'h>(host: &'h Host, service: &ServiceName) -> Option<&'h ContainerId> {
    let part = service.pod(PodPart::Pause);
    let holds = |one: &&Container| one.service() == Some(&part) && is_process(&one.state);
    host.containers.values().find(holds).map(|one| &one.id)
}

/// Why a container of a pod cannot start now.
pub(super) fn obstacle(host: &Host, container: &Container) -> Option<String> {
    if let Some(id) = &container.joined {
        let runs = host
            .containers
            .get(id)
            .is_some_and(|one| is_process(&one.state));
        return (!runs).then(|| {
            format!(
                "cannot join network of a non running container: {}",
                id.short()
            )
        });
    }
    let service = container.service()?;
    let (of, part) = service.pod_part()?;
    let taken = running_pause(host, &of).filter(|other| **other != container.id);
    taken
        .filter(|_| part == PodPart::Pause)
        .map(|other| format!("port is already allocated by {}", other.short()))
}

/// When an edge's supervisor is another one, what it was told counts for nothing.
pub(super) type ToldOrders = BTreeMap<ContainerId, (EdgeOrder, u64)>;
