//! What surrounds the supervisor: probes, the edge's wire, clients, the engine's event stream.

use std::sync::Arc;
use std::time::Duration;

use phoenixd::reconcile::{ContainerState, Event, Routes, Targets, Time};
use phoenixd::spec::{ContainerId, Published};

use super::mutants::Mutant;
use super::replay::What;
use super::run::{Ev, Sim};

impl Sim {
    /// The probes follow the targets.
    pub(super) fn follow_targets(&mut self, targets: Targets) {
        self.probes.retain(|id, _| targets.contains_key(id));
        for (id, target) in targets {
            if let Some((known, _)) = self.probes.get_mut(&id) {
                *known = target;
                continue;
            }
            self.tokens += 1;
            let token = self.tokens;
            self.probes.insert(id.clone(), (target, token));
            self.at(Duration::ZERO, Ev::Probe(id, token));
        }
    }

    pub(super) fn probe(&mut self, id: &ContainerId, token: u64) {
        let Some((target, _)) = self.probes.get(id).filter(|(_, current)| *current == token) else {
            return;
        };
        let (address, timeout) = (target.address, target.timeout);
        let silent = {
            let shared = self.engine.lock();
            let now = shared.host.now;
            shared.host.owner(address.ip()).is_some_and(|owner| {
                owner.state == ContainerState::Paused || owner.hung_until > now
            })
        };
        let takes = if silent { timeout } else { self.rng.ms(1, 6) };
        let (id, asked_at) = (id.clone(), self.now);
        self.at(
            takes,
            Ev::ProbeEnds {
                id,
                token,
                asked_at,
                timed_out: silent,
            },
        );
    }

    pub(super) fn probe_ends(
        &mut self,
        id: ContainerId,
        token: u64,
        asked_at: Time,
        timed_out: bool,
    ) {
        let Some((target, _)) = self
            .probes
            .get(&id)
            .filter(|(_, current)| *current == token)
        else {
            return;
        };
        let (address, interval) = (target.address, target.interval);
        let answers = {
            let shared = self.engine.lock();
            let now = shared.host.now;
            shared
                .host
                .owner(address.ip())
                .is_some_and(|owner| owner.serves(now))
        };
        let result = match (timed_out, answers) {
            _ if self.mutant == Some(Mutant::BelieveEveryProbe) => Ok(()),
            (true, _) => Err("no answer within 1s".to_owned()),
            (false, true) => Ok(()),
            (false, false) => Err("connection refused".to_owned()),
        };
        let event = Event::Probed {
            asked_at,
            id: id.clone(),
            result,
        };
        let incarnation = self.incarnation;
        let way = self.rng.span(Duration::ZERO, Duration::from_millis(2));
        self.at(way, Ev::Deliver(incarnation, Box::new(event)));
        self.at(interval, Ev::Probe(id, token));
    }

    /// A table is on its way to the edge.
    pub(super) fn send_table(&mut self, epoch: u64, table: Arc<Routes>) {
        let longest = if self.chaos.edge_slow_until > self.now {
            3000
        } else {
            10
        };
        let at = (self.now + self.rng.ms(0, longest)).max(self.table_sent);
        self.table_sent = at;
        self.at_time(at, Ev::Table(epoch, table));
    }

    pub(super) fn table_arrives(&mut self, epoch: u64, table: Arc<Routes>) {
        self.note(|| format!("edge has table {epoch}"));
        if self.mutant == Some(Mutant::ForgetTheEpoch) {
            self.edge.install_any(epoch, table);
        } else {
            self.edge.install(epoch, table);
        }
        if self.mutant != Some(Mutant::ForgetTheCut) {
            self.edge.cut();
        }
        self.send_report();
    }

    /// A report is on its way to the supervisor.
    pub(super) fn send_report(&mut self) {
        let longest = if self.chaos.edge_slow_until > self.now {
            2000
        } else {
            5
        };
        let at = (self.now + self.rng.ms(0, longest)).max(self.report_sent);
        self.report_sent = at;
        // What is told is what is true when it is sent.
        let mut report = self.edge.report();
        match self.mutant {
            Some(Mutant::IgnoreTheEdge) => report.epoch = u64::MAX,
            Some(Mutant::IgnoreConnections) => report.open.clear(),
            Some(Mutant::ForgetTheCut) => {
                let cut = &self.edge.table.cut;
                report.open.retain(|id, _| !cut.contains(id));
            }
            _ => {}
        }
        let event = Ev::Deliver(self.incarnation, Box::new(Event::Edge(report)));
        self.at_time(at, event);
    }

    /// A client comes: it is served by a backend of the table, or it is not.
    pub(super) fn dial(&mut self, published: Published) {
        let pause = self.clients.ms(200, 4000);
        self.at(pause, Ev::Dial(published));
        self.figures.requests += 1;
        let pod = self.pod_of(published);
        let through = pod.as_ref().map(|(service, _)| self.edge_of(service));
        let backend = match (&pod, &through) {
            (Some((_, inside)), Some(Some(id))) => {
                let edge = self.pods.get_mut(id);
                edge.and_then(|edge| edge.edge.choose(*inside))
            }
            (Some(_), _) => None,
            (None, _) => self.edge.choose(published),
        };
        if let (Some((service, _)), Some(None)) = (&pod, &through) {
            self.judge_silent_pod(service);
        }
        let Some(backend) = backend else {
            self.edge.refused += 1;
            return;
        };
        let served = {
            let shared = self.engine.lock();
            self.judge.dialled(self.now, &shared.host, &backend)
        };
        if !served {
            self.edge.refused += 1;
            return;
        }
        let through = through.flatten();
        let edge = match through.as_ref().and_then(|id| self.pods.get_mut(id)) {
            Some(pod) => &mut pod.edge,
            None => &mut self.edge,
        };
        let connection = edge.opened(backend.container_id);
        let lasts = if self.clients.chance(150) {
            self.clients.ms(1000, 60_000)
        } else {
            self.clients.ms(1, 200)
        };
        self.at(lasts, Ev::Hangup(through, connection));
    }

    pub(super) fn hang_up(&mut self, through: Option<&ContainerId>, connection: u64) {
        if let Some(id) = through {
            let ended = self
                .pods
                .get_mut(id)
                .and_then(|pod| pod.edge.connections.remove(&connection));
            if ended.is_some() {
                self.edge_reports(id);
            }
            return;
        }
        let ended = self.edge.connections.remove(&connection);
        if ended.is_some_and(|ended| self.edge.table.draining.contains(&ended.backend)) {
            self.send_report();
        }
    }

    /// The engine's event stream; with it, what the end of a container does to its connections.
    pub(super) fn host_says(&mut self, id: ContainerId, what: &'static str) {
        let short = id.short().to_owned();
        self.note(|| format!("host: {what} {short}"));
        let said = {
            let mut shared = self.engine.lock();
            let said = What::of(what, &shared.host, &id);
            shared.remember(&id, said.clone());
            said
        };
        self.perhaps_killed_after(what);
        if what == "die" {
            self.judge.died(self.now, &id);
            let cut = self.edge.cut_all_of(&id) + self.pods_lose(&id);
            self.figures.cut += u64::try_from(cut).unwrap_or(0);
            if cut > 0 {
                self.send_report();
            }
        }
        // A subscription of its own; it lives and dies with the other.
        if self.engine.lock().host.of_compose.contains(&id) {
            let connected = self.shell.as_ref().is_some_and(|shell| shell.connected);
            let lost = self.chaos.hints_lost_until > self.now && self.rng.chance(600);
            if lost {
                self.judge.disturbed(self.now);
            } else if connected && what != "kill" {
                let (incarnation, way) = (self.incarnation, self.rng.ms(0, 20));
                self.at(way, Ev::HintOfDependencies(incarnation));
            }
            return;
        }
        // The subscription is to what carries the project's label.
        let ours = {
            let shared = self.engine.lock();
            shared
                .host
                .containers
                .get(&id)
                .is_none_or(|container| container.labelled)
        };
        if !ours || !self.shell.as_ref().is_some_and(|shell| shell.connected) || what == "create" {
            return;
        }
        if self.chaos.hints_lost_until > self.now && self.rng.chance(600) {
            self.judge.disturbed(self.now);
            return;
        }
        let incarnation = self.incarnation;
        self.heard_now();
        let late = self.chaos.answers_late_until > self.now;
        let way = self.rng.ms(0, if late { 2500 } else { 20 });
        if let Some(touch) = said.touch() {
            let touched = Event::Touched {
                id: id.clone(),
                touch,
            };
            self.at(way, Ev::Deliver(incarnation, Box::new(touched)));
        }
        if what == "kill" {
            let signalled = Event::Signalled { id: id.clone() };
            self.at(way, Ev::Deliver(incarnation, Box::new(signalled)));
        }
        if self.rng.chance(50) {
            let again = self.rng.ms(0, 500);
            self.at(again, Ev::Hint(incarnation, id.clone()));
        }
        self.at(way, Ev::Hint(incarnation, id));
    }

    /// A supervisor is killed right after a rename, which was its own most of the time, and the next one starts within the
    /// second of which it is told again.
    fn perhaps_killed_after(&mut self, what: &str) {
        if what == "rename" && self.chaos.on && self.records.rng.chance(200) {
            let (soon, away) = (self.records.rng.ms(0, 50), self.records.rng.ms(10, 900));
            self.at(soon, Ev::Kill(self.incarnation, away));
        }
    }

    pub(super) fn thaw(&mut self, id: &ContainerId) {
        let mut shared = self.engine.lock();
        if let Some(container) = shared.host.containers.get_mut(id)
            && container.state == ContainerState::Paused
            && container.frozen_at.is_none()
        {
            container.state = ContainerState::Running;
            shared.host.hints.push((id.clone(), "unpause"));
        }
    }
}
