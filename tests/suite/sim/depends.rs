//! Checkers of `depends_on`: no first start before what it needs, one replacement for each update, dependents leave first.
//! Part of the judge.
//!
//! A dependency that docker compose runs is judged by what the engine told last, one that phoenixd runs by the host.

use std::collections::{BTreeMap, BTreeSet};

use phoenixd::reconcile::{Action, ContainerState, DependencySeen, Health, Reason, Time};
use phoenixd::spec::{
    Condition, ContainerId, Dependency, Probe, ReplicaName, RunBy, ServiceName, SpecHash,
};

use super::host::{Container, Host};
use super::invariants::Judge;
use super::promises::NOTICED;

/// What the checkers of dependencies remember.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// What the engine told of docker compose's containers, and when it was asked.
    told: (Time, Vec<DependencySeen>),
    /// Services of which this supervisor has started a replica, or was told of one.
    begun: BTreeSet<ServiceName>,
    /// When a replica of a service served last.
    served_at: BTreeMap<ServiceName, Time>,
    /// When the first container of a definition was made.
    first_of: BTreeMap<SpecHash, Time>,
    /// When a replica of another definition than the wanted one lived last.
    older_at: BTreeMap<ServiceName, Time>,
    /// Which containers of each service were replaced because a dependency was updated, since it was asked for. A drain is
    /// repeated by a supervisor that finds it half done.
    replaced: BTreeMap<ServiceName, BTreeSet<ContainerId>>,
}

impl Judge {
    pub(super) fn forget_dependencies(&mut self) {
        self.dependencies.told = (Time::BOOT, Vec::new());
        self.dependencies.begun.clear();
    }

    pub(super) fn told_of_dependencies(&mut self, asked_at: Time, seen: &[DependencySeen]) {
        if asked_at >= self.dependencies.told.0 {
            self.dependencies.told = (asked_at, seen.to_vec());
        }
    }

    pub(super) fn told_of_replica(&mut self, observed: &phoenixd::reconcile::Observed) {
        let runs = super::host::is_process(&observed.state);
        if let Some(identity) = observed.identity.as_ref().filter(|_| runs) {
            let service = identity.replica.service.clone();
            self.dependencies.begun.insert(service);
        }
    }

    pub(super) fn born_of(&mut self, now: Time, hash: &SpecHash) {
        let first = self.dependencies.first_of.entry(hash.clone());
        first.or_insert(now);
    }

    /// Notes who serves, and who is of another definition.
    pub(super) fn watch_dependencies(&mut self, now: Time, host: &Host) {
        for container in host.containers.values() {
            let Some(identity) = &container.identity else {
                continue;
            };
            let service = &identity.replica.service;
            let wanted = self.wanted.get(service);
            // A probe that asks nothing takes every process for ready.
            let is_probed = wanted.is_none_or(|desired| desired.probe != Probe::Running);
            let is_ready = container.serves_at.is_some_and(|at| at <= now);
            if is_ready || (!is_probed && container.started.is_some()) {
                self.dependencies.served_at.insert(service.clone(), now);
            }
            if wanted.is_some_and(|desired| desired.spec_hash != identity.spec_hash) {
                self.dependencies.older_at.insert(service.clone(), now);
            }
        }
    }

    pub(super) fn begins_with_dependencies(
        &mut self,
        now: Time,
        host: &Host,
        action: &Action,
        reason: &Reason,
    ) {
        self.watch_dependencies(now, host);
        match action {
            Action::Create { replica, .. } | Action::Start { replica, .. } => {
                self.begins_first_start(now, host, &replica.service);
                if matches!(action, Action::Start { .. }) {
                    self.dependencies.begun.insert(replica.service.clone());
                }
            }
            Action::Drain { replica, id } => {
                if let Reason::DependencyUpdated { dependency, run_by } = reason {
                    self.begins_update(now, host, replica, id, dependency, *run_by);
                }
                if *reason == Reason::Down {
                    self.begins_to_leave(now, host, &replica.service);
                }
            }
            Action::Stop { subject, .. } => {
                if let (Reason::Down, Some(replica)) = (reason, &subject.replica) {
                    self.begins_to_leave(now, host, &replica.service);
                }
            }
            _ => {}
        }
    }

    /// depends: no first start before each required dependency meets its condition.
    fn begins_first_start(&mut self, now: Time, host: &Host, service: &ServiceName) {
        let Some(desired) = self.wanted.get(service) else {
            return;
        };
        let lives = host.live_of(service).any(|c| c.started.is_some());
        if lives || self.dependencies.begun.contains(service) {
            return;
        }
        let lacks: Vec<&ServiceName> = desired
            .depends_on
            .iter()
            .filter(|(name, dependency)| {
                dependency.required && !self.meets(now, host, name, **dependency)
            })
            .map(|(name, _)| name)
            .collect();
        if !lacks.is_empty() {
            let text = format!("{service} is started for the first time without {lacks:?}");
            self.fail(now, "depends", text);
        }
    }

    fn meets(&self, now: Time, host: &Host, name: &ServiceName, dependency: Dependency) -> bool {
        match dependency.run_by {
            RunBy::Compose => {
                let of = |one: &&DependencySeen| one.service == *name;
                let mut told = self.dependencies.told.1.iter().filter(of);
                told.any(|one| match dependency.condition {
                    Condition::Started => one.state == ContainerState::Running,
                    Condition::Healthy => one.health == Health::Healthy,
                    Condition::CompletedSuccessfully => {
                        matches!(one.state, ContainerState::Exited { code: 0, .. })
                    }
                })
            }
            RunBy::Phoenixd => match dependency.condition {
                _ if self.wanted.get(name).is_some_and(|one| one.replicas == 0) => true,
                Condition::Healthy => {
                    let served = self.dependencies.served_at.get(name);
                    served.is_some_and(|at| now.since(*at) < NOTICED)
                }
                Condition::Started | Condition::CompletedSuccessfully => {
                    self.dependencies.begun.contains(name) || host.live_of(name).next().is_some()
                }
            },
        }
    }

    /// updates: what is replaced because a dependency was updated was made before that.
    fn begins_update(
        &mut self,
        now: Time,
        host: &Host,
        replica: &ReplicaName,
        id: &ContainerId,
        dependency: &ServiceName,
        run_by: RunBy,
    ) {
        let Some(container) = host.containers.get(id) else {
            return;
        };
        let replaced = self.dependencies.replaced.entry(replica.service.clone());
        replaced.or_default().insert(id.clone());
        let updated = match run_by {
            RunBy::Compose => host.updated_of_compose.get(dependency).copied(),
            RunBy::Phoenixd => self.dependencies.older_at.get(dependency).copied(),
        };
        if updated.is_none_or(|updated| container.made_at > updated + NOTICED) {
            let text = format!(
                "{replica}, made {:?}, is replaced for an update of {dependency} of {updated:?}",
                container.made_at
            );
            self.fail(now, "updates", text);
        }
    }

    /// order: in a `down`, whoever depends on others leaves before them.
    fn begins_to_leave(&mut self, now: Time, host: &Host, service: &ServiceName) {
        let known = |c: &&Container| self.known.contains_key(&c.id) && !self.gone.contains(&c.id);
        let dependent = host.containers.values().filter(known).find(|container| {
            let after = container.identity.as_ref().map(|one| &one.born_after.0);
            container.service() != Some(service)
                && container.started.is_some()
                && after.is_some_and(|after| after.contains_key(service))
        });
        if let Some(dependent) = dependent {
            let text = format!("{service} leaves before {}", dependent.name);
            self.fail(now, "order", text);
        }
    }

    /// updates: in quiet times nothing runs that was made before an update which asks for its replacement.
    pub(super) fn check_updates(&mut self, now: Time, host: &Host) {
        if let Some(text) = self.outdated(host) {
            self.fail(now, "updates", text);
        }
    }

    pub(super) fn outdated(&self, host: &Host) -> Option<String> {
        for (name, desired) in &self.wanted {
            let restarts = desired.depends_on.iter().filter(|(_, one)| one.restart);
            for (dependency, kind) in restarts {
                let updated = match kind.run_by {
                    RunBy::Compose => host.updated_of_compose.get(dependency).copied(),
                    RunBy::Phoenixd => (self.wanted)
                        .get(dependency)
                        .map(|one| &one.spec_hash)
                        // Before the first revision nothing was updated.
                        .filter(|hash| !hash.as_str().ends_with("@1"))
                        .and_then(|hash| self.dependencies.first_of.get(hash).copied()),
                };
                let Some(updated) = updated else { continue };
                let before = |c: &&Container| c.started.is_some() && c.made_at < updated;
                if let Some(container) = host.live_of(name).find(before) {
                    return Some(format!(
                        "{}, made {:?}, was not replaced after the update of {dependency} of {updated:?}",
                        container.name, container.made_at
                    ));
                }
            }
        }
        None
    }

    pub(super) fn count_updates(&mut self) {
        self.dependencies.replaced.clear();
    }

    /// updates: since it was asked for, one dependency was updated: each of its dependents was replaced once at most, and
    /// nobody else.
    pub(super) fn check_count_of_updates(&mut self, now: Time, dependency: &ServiceName) {
        for (name, replaced) in self.dependencies.replaced.clone() {
            let count = u32::try_from(replaced.len()).unwrap_or(u32::MAX);
            let most = (self.wanted.get(&name))
                .filter(|desired| {
                    let kind = desired.depends_on.get(dependency);
                    kind.is_some_and(|kind| kind.restart)
                })
                .map_or(0, |desired| desired.replicas);
            if count > most {
                let text =
                    format!("{count} of {name} were replaced after one update of {dependency}");
                self.fail(now, "updates", text);
            }
        }
    }
}
