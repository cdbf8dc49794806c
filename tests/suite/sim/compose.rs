//! docker compose beside phoenixd: it runs the services that phoenixes depend on, and phoenixd only looks at them.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenixd::reconcile::{ContainerState, DependencySeen, Health, Time};
use phoenixd::spec::{Condition, ContainerId, Dependency, RunBy, ServiceName};

use super::host::{Container, Happening, Host};
use super::rng::Rng;
use super::run::{Ev, Sim};
use super::setup::{Quality, Setup};

/// A server, and a job that does one thing and ends.
pub(super) const SERVER: &str = "db";
pub(super) const JOB: &str = "migrate";

/// What makes a container one of docker compose's.
#[derive(Clone, Debug)]
pub(super) struct OfCompose {
    pub(super) service: ServiceName,
    /// When it was started for the first time.
    pub(super) first_started: Option<Time>,
    /// The engine asks it how it is.
    pub(super) has_healthcheck: bool,
}

/// What docker compose, or whoever uses it, does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Compose {
    /// `docker compose up -d SERVICE`
    Up(ServiceName),
    /// `docker compose up -d --force-recreate SERVICE`
    Recreate(ServiceName),
    /// `docker compose stop SERVICE`
    Stop(ServiceName),
    /// `docker compose rm -fs SERVICE`
    Remove(ServiceName),
    /// Its health check fails for a while.
    Ail(ServiceName, Duration),
}

impl Setup {
    /// In some seeds the phoenixes depend on each other and on services of docker compose. Drawn from a stream of its
    /// own, and one that leaves the seeds of `regressions` what they were.
    pub(super) fn depend(&mut self, seed: u64) {
        let mut rng = Rng::stream(seed, "compose before");
        if !rng.chance(350) {
            return;
        }
        let names: Vec<ServiceName> = self.wanted.keys().cloned().collect();
        for (index, name) in names.iter().enumerate() {
            let Some(desired) = self.wanted.get_mut(name) else {
                continue;
            };
            // No rings: only on those that come later.
            for other in names.iter().skip(index + 1) {
                if rng.chance(500) {
                    continue;
                }
                let dependency = Dependency {
                    condition: rng.one([Condition::Started, Condition::Healthy]),
                    required: rng.chance(800),
                    restart: rng.chance(600),
                    run_by: RunBy::Phoenixd,
                };
                desired.depends_on.insert(other.clone(), dependency);
            }
            for (service, condition) in [
                (SERVER, rng.one([Condition::Started, Condition::Healthy])),
                (JOB, Condition::CompletedSuccessfully),
            ] {
                if rng.chance(500) {
                    let dependency = Dependency {
                        condition,
                        required: rng.chance(800),
                        restart: rng.chance(600),
                        run_by: RunBy::Compose,
                    };
                    desired
                        .depends_on
                        .insert(ServiceName::new(service), dependency);
                }
            }
        }
    }

    /// The services that docker compose runs.
    pub(super) fn of_compose(&self) -> BTreeSet<ServiceName> {
        let depends_on = self.wanted.values().flat_map(|desired| &desired.depends_on);
        depends_on
            .filter(|(_, dependency)| dependency.run_by == RunBy::Compose)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Host {
    /// The containers of docker compose, as the engine tells of them.
    pub(super) fn dependencies(&self, services: &BTreeSet<ServiceName>) -> Vec<DependencySeen> {
        let seen = |container: &Container| {
            let of = container.compose.as_ref()?;
            services.contains(&of.service).then(|| DependencySeen {
                id: container.id.clone(),
                service: of.service.clone(),
                state: container.state.clone(),
                health: if of.has_healthcheck {
                    container.observe(self.now, true).health
                } else {
                    Health::None
                },
                since: container.started,
                restarts: of.service.as_str() != JOB,
            })
        };
        self.containers.values().filter_map(seen).collect()
    }

    /// The container of a service of docker compose that was made last.
    pub(super) fn newest_of_compose(&self, service: &ServiceName) -> Option<&Container> {
        let of = |c: &&Container| c.compose.as_ref().is_some_and(|of| of.service == *service);
        let of_service = self.containers.values().filter(of);
        of_service.max_by_key(|container| (container.made_at, container.id.clone()))
    }

    /// Makes one, not started.
    pub(super) fn create_of_compose(&mut self, service: &ServiceName) -> Option<ContainerId> {
        let mut draft = self.draft(String::new(), None);
        draft.name = format!("sim-{service}-of-compose-{}", draft.id.short());
        draft.labelled = false;
        draft.quality = Quality::good();
        draft.compose = Some(OfCompose {
            service: service.clone(),
            first_started: None,
            has_healthcheck: service.as_str() != JOB,
        });
        self.of_compose.insert(draft.id.clone());
        self.create(draft).ok()
    }

    pub(super) fn start_of_compose(&mut self, id: &ContainerId) {
        let now = self.now;
        drop(self.start(id));
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Some(of) = &mut container.compose else {
            return;
        };
        if of.first_started.is_none() {
            of.first_started = Some(now);
            self.updated_of_compose.insert(of.service.clone(), now);
        }
        if of.service.as_str() == JOB
            && let Some(born) = container.started
        {
            let id = id.clone();
            let ends = now + Duration::from_millis(1500);
            let code = 0;
            self.timers.push((ends, Happening::Dies { id, born, code }));
        }
    }
}

impl Sim {
    /// The services of docker compose are there when phoenixd starts, or come later.
    pub(super) fn begin_compose(&mut self, rng: &mut Rng) {
        for service in self.setup.of_compose() {
            let later = if rng.chance(500) {
                rng.ms(0, 90_000)
            } else {
                Duration::ZERO
            };
            self.at(later, Ev::Compose(Compose::Up(service)));
        }
    }

    pub(super) fn compose(&mut self, what: &Compose) {
        self.note(|| format!("docker compose: {what:?}"));
        self.judge.disturbed(self.now);
        let mut shared = self.engine.lock();
        let host = &mut shared.host;
        match what {
            Compose::Up(service) => {
                let there = host.newest_of_compose(service).map(|c| c.id.clone());
                if let Some(id) = there.or_else(|| host.create_of_compose(service)) {
                    host.start_of_compose(&id);
                }
            }
            Compose::Recreate(service) => {
                // 2.40.3 makes the new one, stops and removes the old one, and starts the new one.
                let old = host.newest_of_compose(service).map(|c| c.id.clone());
                drop(host.create_of_compose(service));
                if let Some(old) = old {
                    host.vanish(&old);
                }
                drop(shared);
                let later = self.rng.ms(1, 3000);
                self.at(later, Ev::Compose(Compose::Up(service.clone())));
            }
            Compose::Stop(service) => {
                if let Some(id) = host.newest_of_compose(service).map(|c| c.id.clone()) {
                    host.die(&id, 137);
                }
            }
            Compose::Remove(service) => {
                if let Some(id) = host.newest_of_compose(service).map(|c| c.id.clone()) {
                    host.vanish(&id);
                }
            }
            Compose::Ail(service, span) => {
                let (now, newest) = (host.now, host.newest_of_compose(service));
                if let Some(id) = newest.map(|c| c.id.clone())
                    && let Some(container) = host.containers.get_mut(&id)
                {
                    container.hung_until = now + *span;
                    host.hints.push((id.clone(), "health_status"));
                    host.timers.push((now + *span, Happening::Recovers(id)));
                }
            }
        }
    }

    /// One of those things happens.
    pub(super) fn strike_compose(&mut self, rng: &mut Rng) {
        let services: Vec<ServiceName> = self.setup.of_compose().into_iter().collect();
        let Some(service) = rng.pick(&services).cloned() else {
            return;
        };
        let back = rng.ms(500, 60_000);
        let what = match rng.below(10) {
            0..4 => Compose::Recreate(service.clone()),
            4..6 => Compose::Stop(service.clone()),
            6..8 => Compose::Remove(service.clone()),
            _ => Compose::Ail(service.clone(), back),
        };
        if matches!(what, Compose::Stop(_) | Compose::Remove(_)) {
            self.at(back, Ev::Compose(Compose::Up(service)));
        }
        self.compose(&what);
    }

    /// All of them are up and well again.
    pub(super) fn heal_compose(&mut self) {
        let now = self.now;
        for service in self.setup.of_compose() {
            let done = {
                let mut shared = self.engine.lock();
                let newest = shared
                    .host
                    .newest_of_compose(&service)
                    .map(|c| c.id.clone());
                let newest = newest.and_then(|id| shared.host.containers.get_mut(&id));
                newest.is_some_and(|container| {
                    container.hung_until = now;
                    matches!(
                        container.state,
                        ContainerState::Running | ContainerState::Exited { code: 0, .. }
                    )
                })
            };
            if !done {
                self.compose(&Compose::Up(service));
            }
        }
    }
}
