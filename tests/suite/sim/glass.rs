//! Somebody breaks replicas open: the command, and the checkers of what phoenixd makes of it. The host's truth is the name of a
//! container; what the guard would be told is what the status says.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenixd::reconcile::{
    Action, BreakGlass, Command, ContainerState, Event, Reason, RequestId, Routes, Step, Time,
};
use phoenixd::spec::{ContainerId, ServiceName};

use super::chaos::Fault;
use super::edge::{Edge, backends};
use super::host::{Container, Host};
use super::invariants::Judge;
use super::promises::{NOTICED, RECOVERED};
use super::run::Sim;

/// What this supervisor has broken open, or begun to.
#[derive(Debug, Default)]
pub(super) struct Glass {
    marked: BTreeSet<ContainerId>,
}

impl Glass {
    pub(super) fn may_be(&self, id: &ContainerId) -> bool {
        self.marked.contains(id)
    }
}

impl Container {
    /// The end of its time, where its name tells of one.
    pub(super) fn glass(&self) -> Option<Time> {
        let (_, digits) = self.name.rsplit_once(".break-glass-")?;
        let until = digits.parse().ok()?;
        Some(Time::from_boot(Duration::from_millis(until)))
    }
}

impl Sim {
    /// Somebody asks for a replica of any service, or for its end; often while one is open.
    pub(super) fn break_glass(&mut self) {
        self.chaos.requests += 1;
        let request = RequestId(self.incarnation * 1000 + self.chaos.requests);
        let names: Vec<ServiceName> = self.setup.wanted.keys().cloned().collect();
        let Some(service) = self.glass.pick(&names).cloned() else {
            return;
        };
        let length = Duration::from_secs(self.glass.one([1, 10, 60, 300, 1200]));
        let command = if self.glass.chance(150) {
            Command::EndGlass { request, service }
        } else {
            let asked = BreakGlass {
                service,
                replica: None,
                length,
                reason: "what is wrong with it".to_owned(),
            };
            Command::BreakGlass { request, asked }
        };
        self.note(|| format!("{command:?}"));
        self.deliver(Event::Command(command));
        // A kill in between is what is hard.
        if self.glass.chance(250) {
            let later = self.glass.ms(0, 8000);
            let away = self.glass.ms(10, 5000);
            self.at(later, super::run::Ev::Kill(self.incarnation, away));
        }
    }
}

impl Sim {
    /// Nobody needs it any more.
    pub(super) fn end_all_glass(&mut self) {
        if !self.chaos.kinds().contains(&Fault::BreakGlass) {
            return;
        }
        let names: Vec<ServiceName> = self.setup.wanted.keys().cloned().collect();
        for service in names {
            self.chaos.requests += 1;
            let request = RequestId(self.incarnation * 1000 + self.chaos.requests);
            self.deliver(Event::Command(Command::EndGlass { request, service }));
        }
    }

    /// One is there whose time ends at some instant.
    pub(super) fn is_any_glass(&self) -> bool {
        let shared = self.engine.lock();
        shared
            .host
            .containers
            .values()
            .any(|it| it.glass().is_some())
    }
}

impl Judge {
    /// The mark comes when the edge has confirmed, when nobody's connection leads there any more, and to one of a service at a time.
    pub(super) fn begins_glass(
        &mut self,
        now: Time,
        host: &Host,
        edge: &Edge,
        action: &Action,
        reason: &Reason,
    ) {
        let reason = match reason {
            Reason::Drained { because, .. } | Reason::Cut { because, .. } => because,
            other => other,
        };
        let (Action::Rename { id, replica, .. }, Reason::BreakGlass { .. }) = (action, reason)
        else {
            return;
        };
        self.glass.marked.insert(id.clone());
        if edge.has(id) {
            let text = format!("{replica} is broken open while the edge still sends to it");
            self.fail(now, "I9", text);
        }
        if edge.open(id) > 0 {
            let text = format!("{replica} is broken open with clients connected to it");
            self.fail(now, "glass", text);
        }
        let is_other = |c: &&Container| {
            let is_open = c.glass().is_some_and(|until| until > now);
            c.id != *id && c.service() == Some(&replica.service) && is_open
        };
        let other = host.containers.values().filter(is_other);
        let mut known = other.filter(|c| self.known_since_opened(c));
        if let Some(other) = known.next() {
            let text = format!("{replica} is broken open, and so is {}", other.name);
            self.fail(now, "glass", text);
        }
    }

    /// Exec is permitted in what carries the mark, until the end that it tells, and nowhere else.
    pub(super) fn permits(&mut self, now: Time, host: &Host, step: &Step) {
        for row in &step.status.replicas {
            let Some(glass) = row.glass.as_ref().filter(|glass| glass.open) else {
                continue;
            };
            let id = row.container_id.as_ref();
            let container = id.and_then(|id| host.containers.get(id));
            if glass.until <= now {
                let text = format!("exec is permitted in {} after its end", row.replica);
                self.fail(now, "glass", text);
            }
            if container.is_some_and(|it| it.glass().is_none_or(|until| until < glass.until)) {
                let text = format!("exec is permitted in {}: no name tells of it", row.replica);
                self.fail(now, "glass", text);
            }
        }
        let open = (host.containers.values())
            .filter(|it| self.known_since_opened(it))
            .map(|it| it.id.clone());
        self.glass.marked.extend(open.collect::<Vec<_>>());
    }

    /// This supervisor was told of it as it is now.
    fn known_since_opened(&self, container: &Container) -> bool {
        let told = self.known.get(&container.id);
        told.zip(container.opened_at)
            .is_some_and(|(told, at)| *told >= at)
    }

    /// Once open, never in rotation again, whoever supervises.
    pub(super) fn publishes_glass(&mut self, now: Time, host: &Host, after: &Routes) {
        for backend in backends(after) {
            let container = host.containers.get(&backend.container_id);
            let is_known = container.is_some_and(|it| self.known_since_opened(it));
            if is_known || self.glass.may_be(&backend.container_id) {
                let text = format!("{} was broken open and is in rotation", backend.replica);
                self.fail(now, "glass", text);
            }
        }
    }

    pub(super) fn dialled_glass(&mut self, now: Time, container: Option<&Container>) {
        let Some(container) = container else { return };
        let since = container.opened_at.map(|at| at.max(self.disturbed_at));
        if since.is_some_and(|at| now.since(at) > NOTICED) {
            let text = format!("a request went to {}", container.name);
            self.fail(now, "glass", text);
        }
    }

    /// It is gone in bounded time after its end, unless it is the last one of its unit.
    pub(super) fn check_glass(&mut self, now: Time, container: &Container, is_kept: bool) {
        let ends = container.glass().map(|until| until.max(self.disturbed_at));
        let is_removing = container.state == ContainerState::Removing;
        if ends.is_some_and(|at| now.since(at) > RECOVERED) && !is_kept && !is_removing {
            let text = format!("{} is past its end and still there", container.name);
            self.fail(now, "glass", text);
        }
    }
}
