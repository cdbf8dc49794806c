//! Proxies of somebody else's: they know nothing but the service's names on the network `ready`, and ask whomever they find
//! there. With them the checkers of who has the names.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenixd::reconcile::{
    Action, Observed, Planned, Reason, ReplicaStatus, Stage, Step, Subject, Time,
};
use phoenixd::spec::{ContainerId, Edge, NetworkName, ServiceName};

use super::decisions::is_well;
use super::host::{Container, Host, is_process};
use super::invariants::Judge;
use super::mutants::Mutant;
use super::promises::{NOTICED, RECOVERED};
use super::rng::Rng;
use super::run::{Ev, Sim};
use super::setup::{Defect, Setup, network_spec};

const NETWORK: &str = "sim_ready";

impl Setup {
    /// Some services have a proxy of somebody else's instead of ports.
    pub(super) fn bring_proxies(&mut self, rng: &mut Rng) {
        let network = NetworkName::new(NETWORK);
        for desired in self.wanted.values_mut() {
            let may = desired.pod.is_empty() && !desired.published.is_empty();
            if !rng.chance(250) || !may {
                continue;
            }
            desired.phoenix.edge = Edge::External;
            desired.published.clear();
            desired.on_ready = Some(network.clone());
            desired.makes_networks.insert(network.clone());
            let spec = network_spec(&network, false);
            self.networks.insert(network.clone(), spec);
        }
    }
}

/// The containers of a service that its names lead to.
fn named<'h>(host: &'h Host, service: &ServiceName) -> impl Iterator<Item = &'h Container> {
    let network = NetworkName::new(NETWORK);
    let service = service.clone();
    host.containers.values().filter(move |one| {
        one.service() == Some(&service)
            && is_process(&one.state)
            && one.networks.contains_key(&network)
    })
}

impl Sim {
    pub(super) fn begin_proxies(&mut self) {
        let wanted = self.setup.wanted.iter();
        let proxied = wanted.filter(|(_, desired)| desired.on_ready.is_some());
        let names: Vec<ServiceName> = proxied.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.at(Duration::from_millis(100), Ev::Ask(name));
        }
    }

    /// A request, and the next one.
    pub(super) fn ask_by_name(&mut self, service: ServiceName) {
        self.figures.requests += 1;
        {
            let shared = self.engine.lock();
            let found: Vec<&Container> = named(&shared.host, &service).collect();
            match self.proxies.pick(&found) {
                Some(asked) => self.judge.asked_by_name(self.now, asked),
                None => (self.judge).asked_in_vain(self.now, &shared.host, &service),
            }
        }
        let pause = self.proxies.ms(100, 2000);
        self.at(pause, Ev::Ask(service));
    }

    /// What is tainted is seen as if its names were taken away.
    pub(super) fn hide_names(&self, observed: &mut Observed) {
        if self.judge.tainted.may_be(&observed.id) {
            observed.networks.remove(&NetworkName::new(NETWORK));
        }
    }

    /// Names that are where they do not belong.
    pub(super) fn misname(&self, step: &mut Step) {
        match self.mutant {
            Some(Mutant::NameTheUnready) => self.name_the_unready(step),
            Some(Mutant::CutTheLeaving) => self.cut_the_leaving(step),
            Some(Mutant::StopTheLastNamed) => stop_the_last_named(step),
            Some(Mutant::LeaveTheNames) => step
                .actions
                .retain(|planned| !matches!(planned.action, Action::Disconnect { .. })),
            _ => {}
        }
    }

    /// Whether the container is a proxied service's, and whether it has the names.
    fn naming_of(&self, id: &ContainerId) -> Option<bool> {
        let shared = self.engine.lock();
        let container = shared.host.containers.get(id)?;
        let desired = self.setup.wanted.get(container.service()?)?;
        let network = desired.on_ready.as_ref()?;
        Some(container.networks.contains_key(network))
    }

    fn name_the_unready(&self, step: &mut Step) {
        let mut meant: BTreeSet<ContainerId> = (step.actions.iter())
            .filter_map(|planned| planned.action.container().cloned())
            .collect();
        for row in &step.status.replicas {
            let Some(id) = &row.container_id else {
                continue;
            };
            let is_nameless = row.stage == Stage::Starting && self.naming_of(id) == Some(false);
            let is_called = self.judge.calls.contains(id.as_str());
            if is_nameless && !is_called && meant.insert(id.clone()) {
                let action = Action::Connect {
                    replica: row.replica.clone(),
                    id: id.clone(),
                    network: NetworkName::new(NETWORK),
                };
                let reason = Reason::Ready;
                step.actions.push(Planned { action, reason });
            }
        }
    }

    fn cut_the_leaving(&self, step: &mut Step) {
        for planned in &mut step.actions {
            if let Action::Stop { subject, .. } = &planned.action
                && let Some(replica) = subject.replica.clone()
                && self.naming_of(&subject.id) == Some(true)
            {
                planned.action = Action::Disconnect {
                    replica,
                    id: subject.id.clone(),
                    network: NetworkName::new(NETWORK),
                };
            }
        }
    }
}

/// The old one goes when its successor is only about to be named.
fn stop_the_last_named(step: &mut Step) {
    for planned in &mut step.actions {
        let Some(replica) = planned.action.replica() else {
            continue;
        };
        let is_other = |row: &&ReplicaStatus| {
            row.replica.service == replica.service && row.replica != *replica && row.ready
        };
        let old = step.status.replicas.iter().find(is_other);
        let old = old.and_then(|row| Some((row.replica.clone(), row.container_id.clone()?)));
        if let (Reason::Ready, Some((old, id))) = (&planned.reason, old) {
            let replica = Some(old);
            planned.action = Action::Stop {
                subject: Subject { id, replica },
                grace: None,
            };
            planned.reason = Reason::Expired {
                lifetime: Duration::ZERO,
            };
        }
    }
}

impl Judge {
    /// I2 of those that a proxy finds by name: they are ready, and what is not any more is noticed in bounded time.
    fn asked_by_name(&mut self, now: Time, asked: &Container) {
        let name = &asked.name;
        if asked.serves_at.is_none_or(|at| at > now) {
            self.fail(
                now,
                "names",
                format!("{name} has the names and was never ready"),
            );
        }
        // An engine that answers nothing takes no name away.
        if now.since(self.disturbed_at) <= NOTICED {
            return;
        }
        let since = [asked.bad_since, asked.touched_at, asked.opened_at];
        let since = since.into_iter().flatten().min();
        let flaps = asked.quality.fault == Some(Defect::Flaps);
        if let Some(since) = since.filter(|since| now.since(*since) > NOTICED && !flaps) {
            let text = format!("{name} has the names, and is not to be reached since {since:?}");
            self.fail(now, "names", text);
        }
    }

    /// I1 of those: where one is ready, one has the names.
    fn asked_in_vain(&mut self, now: Time, host: &Host, service: &ServiceName) {
        let wanted = self.wanted.get(service);
        if self.is_down
            || now.since(self.disturbed_at) < RECOVERED
            || wanted.is_none_or(|desired| desired.replicas == 0)
        {
            return;
        }
        let serves = |one: &Container| {
            one.serves(now)
                && one.serves_at.is_some_and(|at| now.since(at) > NOTICED)
                && !one.terminating
                && one.glass().is_none()
                && one.touched_at.is_none()
                && one.quality.fault.is_none()
                && !self.drained_at.contains_key(&one.id)
        };
        if let Some(one) = host.live_of(service).find(|one| serves(one)) {
            let text = format!("{} serves, and {service} is nobody's name", one.name);
            self.fail(now, "names", text);
        }
    }

    /// What is well loses its names only with its process: with them go its connections. And the last one keeps both.
    pub(super) fn begins_unnaming(
        &mut self,
        now: Time,
        host: &Host,
        action: &Action,
        reason: &Reason,
    ) {
        let Some(container) = action.container().and_then(|id| host.containers.get(id)) else {
            return;
        };
        let Some(service) = container.service() else {
            return;
        };
        let is_named = named(host, service).any(|one| one.id == container.id);
        let is_ready = container.serves_at.is_some_and(|at| at <= now);
        let is_naming =
            matches!(action, Action::Connect { network, .. } if network.as_str() == NETWORK);
        if is_naming && !is_ready {
            let text = format!("{} is given the names and was never ready", container.name);
            self.fail(now, "names", text);
        }
        if matches!(action, Action::Disconnect { .. }) {
            self.unnamed.insert(container.id.clone());
        }
        // What was tried may have failed.
        let tried = self.unnamed.contains(&container.id);
        if matches!(action, Action::Freeze { .. }) && is_named && !tried {
            let text = format!("{} is frozen and still has the names", container.name);
            self.fail(now, "names", text);
        }
        if !is_named || !is_well(host, &container.id, now) {
            return;
        }
        let is_glass = matches!(reason, Reason::BreakGlass { .. } | Reason::GlassOver { .. });
        let untouched = container.touched_at.is_none() && container.opened_at.is_none();
        let unproven = self.tainted.may_be(&container.id);
        let (invariant, text) = match action {
            Action::Disconnect { .. } if untouched && !is_glass && !unproven => {
                let text = format!("{} is well, and its connections are cut", container.name);
                ("names", text)
            }
            // Whoever leaves does so for good, and a fault may take those that were to stay.
            Action::Stop { .. }
                if now.since(self.disturbed_at) > NOTICED
                    && !self.excused.contains(&container.id)
                    && !self.is_down
                    && self.wanted.contains_key(service)
                    && named(host, service).all(|one| one.id == container.id) =>
            {
                let text = format!("{} is well and the last that has the names", container.name);
                ("I1", text)
            }
            _ => return,
        };
        self.fail(now, invariant, text);
    }
}
