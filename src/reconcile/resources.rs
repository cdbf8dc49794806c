//! What is about no replica: networks, volumes, files, strays, and the end of a `down`.

use std::collections::BTreeSet;

use super::plan::Planner;
use super::world::{Down, EngineState, Resource};
use super::{Action, ContainerState, Planned, Reason, Subject, World};
use crate::spec::FileDigest;

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
        self.existing
            .get(resource)
            .is_some_and(|existing| existing.ours)
    }

    /// What phoenixd made and a `down` removes.
    fn to_be_removed(&self, down: Down) -> impl Iterator<Item = &Resource> {
        self.existing
            .iter()
            .filter(move |(resource, existing)| {
                existing.ours
                    && match resource {
                        Resource::Network(_) => true,
                        Resource::Volume(_) => down.volumes,
                    }
            })
            .map(|(resource, _)| resource)
    }
}

impl World {
    /// The copies of secrets and configs that a container mounts, or one may mount that is yet to be made; `None` where
    /// that is not known now. A container that is being made is not known to mount what its service wants by now.
    pub(super) fn files(&self) -> Option<BTreeSet<FileDigest>> {
        let all = || self.replicas.values().chain(self.strays.values());
        if self.engine != EngineState::Reachable || all().any(|replica| replica.observed.is_none())
        {
            return None;
        }
        let wanted = self.services.values().filter(|_| self.down.is_none());
        let wanted = wanted.flat_map(|service| &service.desired.files);
        let mounted = all().filter_map(|replica| replica.observed.as_ref());
        let mounted = mounted.flat_map(|observed| &observed.files);
        Some(wanted.chain(mounted).cloned().collect())
    }

    /// Networks and volumes of ours that a `down` leaves without use.
    fn leftovers(&self, down: Down) -> Vec<(Resource, Action, Reason)> {
        if !self.replicas.is_empty() || !self.strays.is_empty() {
            return Vec::new();
        }
        let may_be_tried = |resource: &&Resource| {
            self.resources
                .get(*resource)
                .is_none_or(|call| call.attempts < REMOVE_ATTEMPTS)
        };
        self.to_be_removed(down)
            .filter(may_be_tried)
            .map(|resource| {
                let action = match resource {
                    Resource::Network(name) => Action::RemoveNetwork(name.clone()),
                    Resource::Volume(name) => Action::RemoveVolume(name.clone()),
                };
                (resource.clone(), action, Reason::Down)
            })
            .collect()
    }

    /// Networks of which somebody else made a second one: ours goes, or every reference by name is ambiguous.
    fn doubled(&self) -> impl Iterator<Item = (Resource, Action, Reason)> {
        let doubled = self.existing.iter().filter(|(_, existing)| existing.twice);
        doubled.filter_map(|(resource, _)| match resource {
            Resource::Network(name) => Some((
                resource.clone(),
                Action::RemoveNetwork(name.clone()),
                Reason::MadeTwice,
            )),
            // A volume's name is its identity.
            Resource::Volume(_) => None,
        })
    }

    /// Networks and volumes that a service needs and that are not there.
    fn needs(&self) -> Vec<(Resource, Action, Reason)> {
        let desired = || self.services.values().map(|service| &service.desired);
        let networks = desired()
            .flat_map(|desired| &desired.makes_networks)
            .map(|name| {
                (
                    Resource::Network(name.clone()),
                    Action::CreateNetwork(name.clone()),
                )
            });
        let volumes = desired()
            .flat_map(|desired| &desired.makes_volumes)
            .map(|name| {
                (
                    Resource::Volume(name.clone()),
                    Action::CreateVolume(name.clone()),
                )
            });
        networks
            .chain(volumes)
            .filter(|(resource, _)| !self.existing.contains_key(resource))
            .map(|(resource, action)| {
                let reason = if self.removed.contains(&resource) {
                    Reason::RemovedFromOutside
                } else {
                    Reason::Needed
                };
                (resource, action, reason)
            })
            .collect()
    }
}

impl Planner<'_> {
    /// Nothing of a `down` is left to do.
    pub(super) fn is_finished(&self) -> bool {
        let Some(down) = self.world.down else {
            return false;
        };
        let given_up = |resource: &Resource| {
            self.world
                .resources
                .get(resource)
                .is_some_and(|call| !call.under_way && call.attempts >= REMOVE_ATTEMPTS)
        };
        self.world.engine == EngineState::Reachable
            && self.world.replicas.is_empty()
            && self.world.strays.is_empty()
            && self.world.to_be_removed(down).all(given_up)
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
            None => world.needs().into_iter().chain(world.doubled()).collect(),
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
