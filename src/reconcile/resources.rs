//! What is about no replica: networks, volumes, strays, and the end of a `down`.

use super::plan::Planner;
use super::world::{Down, EngineState, Resource};
use super::{Action, ContainerState, Planned, Reason, Subject, World};

/// Attempts to remove a network or volume before `down` leaves it and says so: others may use it.
const REMOVE_ATTEMPTS: u32 = 4;

impl World {
    /// What a finished `down` could not remove.
    pub(super) fn left_behind(&self) -> Vec<String> {
        self.resources
            .iter()
            .filter(|(resource, _)| self.is_ours(resource))
            .map(|(resource, call)| match resource {
                Resource::Network(name) => format!("network {name}: {}", call.last),
                Resource::Volume(name) => format!("volume {name}: {}", call.last),
            })
            .collect()
    }

    pub(super) fn is_ours(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Network(name) => self.networks.get(name) == Some(&true),
            Resource::Volume(name) => self.volumes.get(name) == Some(&true),
        }
    }
}

impl World {
    /// Networks and volumes of ours that a `down` leaves without use.
    fn leftovers(&self, down: Down) -> Vec<(Resource, Action, Reason)> {
        let mut wanted: Vec<(Resource, Action, Reason)> = Vec::new();
        if self.replicas.is_empty() && self.strays.is_empty() {
            let networks = self
                .networks
                .iter()
                .filter(|(_, ours)| **ours)
                .map(|(name, _)| name);
            wanted.extend(networks.map(|name| {
                (
                    Resource::Network(name.clone()),
                    Action::RemoveNetwork(name.clone()),
                    Reason::Down,
                )
            }));
            let volumes = self
                .volumes
                .iter()
                .filter(|(_, ours)| **ours && down.volumes)
                .map(|(name, _)| name);
            wanted.extend(volumes.map(|name| {
                (
                    Resource::Volume(name.clone()),
                    Action::RemoveVolume(name.clone()),
                    Reason::Down,
                )
            }));
            wanted.retain(|(resource, _, _)| {
                self.resources
                    .get(resource)
                    .is_none_or(|call| call.attempts < REMOVE_ATTEMPTS)
            });
        }
        wanted
    }

    /// Networks and volumes that a service needs and that are not there.
    fn needs(&self) -> Vec<(Resource, Action, Reason)> {
        let mut wanted: Vec<(Resource, Action, Reason)> = Vec::new();
        let desired = || self.services.values().map(|service| &service.desired);
        let networks = desired().flat_map(|desired| &desired.makes_networks);
        wanted.extend(
            networks
                .filter(|name| !self.networks.contains_key(*name))
                .map(|name| {
                    (
                        Resource::Network(name.clone()),
                        Action::CreateNetwork(name.clone()),
                        Reason::Needed,
                    )
                }),
        );
        let volumes = desired().flat_map(|desired| &desired.makes_volumes);
        wanted.extend(
            volumes
                .filter(|name| !self.volumes.contains_key(*name))
                .map(|name| {
                    (
                        Resource::Volume(name.clone()),
                        Action::CreateVolume(name.clone()),
                        Reason::Needed,
                    )
                }),
        );
        wanted
    }
}

impl Planner<'_> {
    /// Nothing of a `down` is left to do.
    pub(super) fn is_finished(&self) -> bool {
        let Some(down) = self.world.down else {
            return false;
        };
        let given_up = |resource: Resource| {
            self.world
                .resources
                .get(&resource)
                .is_some_and(|call| !call.under_way && call.attempts >= REMOVE_ATTEMPTS)
        };
        let networks = self.world.networks.iter().filter(|(_, ours)| **ours);
        let volumes = self
            .world
            .volumes
            .iter()
            .filter(|(_, ours)| **ours && down.volumes);
        self.world.engine == EngineState::Reachable
            && self.world.replicas.is_empty()
            && self.world.strays.is_empty()
            && networks
                .into_iter()
                .all(|(name, _)| given_up(Resource::Network(name.clone())))
            && volumes
                .into_iter()
                .all(|(name, _)| given_up(Resource::Volume(name.clone())))
    }

    pub(super) fn plan_strays(&mut self) {
        for (id, stray) in &self.world.strays {
            if stray.call.is_some() {
                continue;
            }
            if let Some(retry) = stray.retry.as_ref().filter(|retry| retry.until > self.now) {
                self.wake_at(retry.until);
                continue;
            }
            let subject = Subject {
                id: id.clone(),
                replica: None,
            };
            let runs = matches!(
                stray.observed.as_ref().map(|observed| &observed.state),
                Some(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting)
            );
            let action = if runs {
                Action::Stop {
                    subject,
                    grace: None,
                }
            } else {
                Action::Remove { subject }
            };
            if self.take_call() {
                self.actions.push(Planned {
                    action,
                    reason: Reason::Stray,
                });
            }
        }
    }

    /// Networks and volumes: those that are needed are made, those that a `down` leaves without use are removed.
    pub(super) fn plan_resources(&mut self) {
        let world = self.world;
        let mut wanted = match world.down {
            Some(down) => world.leftovers(down),
            None => world.needs(),
        };
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.dedup_by(|a, b| a.0 == b.0);
        for (resource, action, reason) in wanted {
            match world.resources.get(&resource) {
                Some(call) if call.under_way => {}
                Some(call) if call.until > self.now => self.wake_at(call.until),
                Some(_) | None => {
                    if self.take_call() {
                        self.actions.push(Planned { action, reason });
                    }
                }
            }
        }
    }
}
