//! Labels mode: units whose first container, the *original*, was made by docker compose (`adopt`).
//!
//! Four things are different from a service of a file. An original is held to nothing that it was not made with, lives
//! until its TTL, and then gives way as a replica does. Its first replacement is compared with it before it starts, and an
//! unexplained difference stops the adoption. The name goes from the one that is gone to the one that serves. And the
//! labels of its containers are all that is known of a unit: the last one stays until there is another one.
//!
//! Not here: the comparison itself (`adopt`), and what is done for every service alike.

use super::plan::{Cast, Planner};
use super::replica::Replica;
use super::roles::{Role, over};
use super::service::Service;
use super::world::{EngineState, replicas_of};
use super::{
    Action, ContainerState, Desired, Identity, Observed, Reason, Time, Verdict, WaitingOn, World,
};
use crate::spec::{Generation, ReplicaName, Serial, ServiceName, SpecHash};

/// What is known of a unit besides what is wanted of every service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopted {
    /// The container's name, which each replica takes when the one before it is gone.
    pub name: String,
    /// The service in docker compose's file.
    pub service: ServiceName,
    /// What docker compose made the original from, told by its hash.
    pub definition: SpecHash,
}

impl Desired {
    /// How many containers above the live limit may be made, and not started: of what only one can hold at a time the
    /// next one is there, and was compared, before the last one is touched.
    pub(super) fn ahead(&self) -> u32 {
        u32::from(self.adopted.is_some() && self.phoenix.surge == 0)
    }
}

impl World {
    /// Whether a look is taken in. That at a replica is; that at an original where its unit is wanted, and no other original
    /// is known of it.
    pub(super) fn heeds(&mut self, observed: &Observed) -> bool {
        let Some(identity) = observed
            .identity
            .as_ref()
            .filter(|_| observed.is_original())
        else {
            return true;
        };
        let heeded = self.takes_original(identity, observed);
        if heeded {
            self.saw_original(&identity.replica.service, &identity.spec_hash);
        }
        heeded
    }

    fn takes_original(&self, identity: &Identity, observed: &Observed) -> bool {
        let name = &identity.replica;
        let is_wanted = self
            .services
            .get(&name.service)
            .is_some_and(|service| service.desired.adopted.is_some());
        if self.down.is_some() || !is_wanted {
            return false;
        }
        match self.replicas.get(name).and_then(Replica::id) {
            Some(known) => *known == observed.id,
            // One that docker compose only just makes is not there yet.
            None => match observed.state {
                ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting
                | ContainerState::Exited { .. } => true,
                ContainerState::Created | ContainerState::Removing | ContainerState::Dead => false,
            },
        }
    }

    /// The first name that a replica of the unit is born under must not be the original's own. One that docker compose
    /// made from something else since is what the operator wants now, and nothing is known of it yet.
    fn saw_original(&mut self, unit: &ServiceName, definition: &SpecHash) {
        let Some(service) = self.services.get_mut(unit) else {
            return;
        };
        service.saw(Serial(1), Generation(0));
        let known = service
            .desired
            .adopted
            .as_ref()
            .map(|adopted| &adopted.definition);
        if known != Some(definition) {
            service.objection = Some(
                "docker compose made it anew from another definition; start `phoenixd adopt` again to take it over"
                    .to_owned(),
            );
        }
    }

    /// Forgets originals that nobody asks for any more: what phoenixd did not make is left as it is.
    pub(super) fn let_originals_be(&mut self, of: impl Fn(&ServiceName) -> bool) {
        self.replicas
            .retain(|name, _| !(name.is_original() && of(&name.service)));
    }

    /// The original of a unit, while there is one.
    pub(super) fn original(&self, unit: &ServiceName) -> Option<&Replica> {
        self.replicas
            .get(&ReplicaName::new(unit.clone(), Serial::ORIGINAL))
    }

    /// Whether this is labels mode: what it does not want it never made, and does not touch.
    pub(super) fn adopts(&self) -> bool {
        self.services
            .values()
            .any(|service| service.desired.adopted.is_some())
    }

    /// A replica that has begun to take a place which nobody has begun to leave. A supervisor that ends gives it up: to docker
    /// compose it would be one container too many of its service, under a number that another one has.
    pub(super) fn is_given_up(&self, replica: &Replica, service: &Service) -> bool {
        let Some(adopted) = service.desired.adopted.as_ref().filter(|_| self.leaving) else {
            return false;
        };
        let stays = |other: &Replica| {
            other.observed.as_ref().is_some_and(|observed| {
                observed.name == adopted.name && observed.state == ContainerState::Running
            }) && other.draining.is_none()
                && !other.stop_asked
        };
        replicas_of(&self.replicas, &replica.name.service)
            .any(|other| other.name != replica.name && stays(other))
    }

    /// Whether each unit has one container, as docker compose expects it.
    pub(super) fn is_settled(&self) -> bool {
        let is_single = |unit: &ServiceName| replicas_of(&self.replicas, unit).nth(1).is_none();
        let mut units = self.services.iter();
        self.engine != EngineState::Reachable
            || units.all(|(unit, service)| service.desired.adopted.is_none() || is_single(unit))
    }

    /// The original has an end of its own: one that is older than its TTL when it is first seen has the time that
    /// replacing it takes.
    pub(super) fn deadline_of_original(
        replica: &Replica,
        service: &Service,
        deadline: Time,
    ) -> Time {
        if replica.name.is_original() {
            deadline.max(replica.known_at + service.lead())
        } else {
            deadline
        }
    }

    /// A comparison found what nobody can explain.
    pub(super) fn objected(&mut self, name: &ReplicaName, why: &str) {
        if let Some(service) = self.services.get_mut(&name.service) {
            service.objection = Some(format!("{why}; `phoenixd recycle` tries again"));
        }
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.condemned.get_or_insert(Reason::Differs {
                how: why.to_owned(),
            });
        }
        self.fail_requests(name, None, why);
    }
}

impl Planner<'_> {
    pub(super) fn role_of_original(&self, replica: &Replica, service: &Service) -> Role {
        let ended = over(replica);
        if replica.draining.is_some() || replica.stop_asked {
            return ended.map_or(Role::Leaving, Role::Over);
        }
        if service.objection.is_some() {
            return Role::Fresh;
        }
        let reason = ended
            .or_else(|| self.staleness(replica, service))
            .or_else(|| self.never_ready(replica, &service.desired));
        reason.map_or(Role::Fresh, Role::Stale)
    }

    /// An original that docker compose made from another definition than is known here.
    pub(super) fn is_newer(replica: &Replica, service: &Service) -> bool {
        replica.name.is_original() && service.objection.is_some()
    }

    /// What keeps a container that is over: it is the last of its unit, and its labels are all that is known of it.
    pub(super) fn is_kept(replica: &Replica, role: &Role, cast: &Cast<'_>) -> Option<WaitingOn> {
        let because = match role {
            Role::Over(because) => because,
            // Frozen and recorded it stays where it is.
            Role::Tainted(because) if replica.is_captured() => because,
            Role::Tainted(_) | Role::Stale(_) | Role::Leaving | Role::Doomed(_) | Role::Fresh => {
                return None;
            }
        };
        cast.desired.adopted.as_ref()?;
        let carries = |other: &Replica| {
            other
                .observed
                .as_ref()
                .is_some_and(|observed| match observed.state {
                    ContainerState::Created
                    | ContainerState::Running
                    | ContainerState::Paused
                    | ContainerState::Restarting
                    | ContainerState::Exited { .. } => true,
                    ContainerState::Removing | ContainerState::Dead => false,
                })
        };
        let others = cast
            .members
            .iter()
            .filter(|(other, _)| other.name != replica.name && carries(other));
        let mut others = others.map(|(other, role)| {
            let goes = matches!(role, Role::Over(_) | Role::Tainted(_));
            !goes || other.name.serial > replica.name.serial
        });
        let is_last = carries(replica) && !others.any(|stays| stays);
        is_last.then(|| WaitingOn::Replacement {
            because: because.clone(),
            on: None,
        })
    }

    /// Whether a replica of a stop-first unit may leave: the next one is made, equal, and waits for its place.
    pub(super) fn is_next_prepared(&self, replica: &Replica, cast: &Cast<'_>) -> bool {
        cast.members.iter().any(|(other, role)| {
            other.name != replica.name
                && *role == Role::Fresh
                && self.is_prepared(other, cast.desired)
        })
    }

    fn is_prepared(&self, replica: &Replica, desired: &Desired) -> bool {
        replica.observed.as_ref().is_some_and(|observed| {
            observed.state == ContainerState::Created && has_networks(observed, desired)
        }) && (replica.compared || self.world.original(&replica.name.service).is_none())
    }

    /// What comes between a birth's last connect and its start.
    pub(super) fn before_start(&self, replica: &Replica, service: &Service) -> Option<Verdict> {
        service.desired.adopted.as_ref()?;
        let id = replica.id()?.clone();
        let original = self.world.original(&replica.name.service);
        if let Some(original) = original.and_then(Replica::id).filter(|_| !replica.compared) {
            let action = Action::Compare {
                replica: replica.name.clone(),
                id,
                original: original.clone(),
            };
            return Some(Verdict::Act(action, Reason::Birth));
        }
        if service.desired.phoenix.surge > 0 {
            return None;
        }
        let holds = |other: &&Replica| {
            other.name.service == replica.name.service
                && other.name != replica.name
                && other.is_live()
                && other
                    .observed
                    .as_ref()
                    .is_some_and(|observed| observed.state != ContainerState::Created)
        };
        let holder = self.world.replicas.values().find(holds)?;
        Some(Verdict::Wait(WaitingOn::Place {
            replica: holder.name.clone(),
        }))
    }

    /// What an available replica of a unit has still to do: to take over the name, once nobody of the unit has it.
    pub(super) fn take_name(&self, replica: &Replica, service: &Service) -> Option<Verdict> {
        let name = &service.desired.adopted.as_ref()?.name;
        let observed = replica.observed.as_ref()?;
        if replica.name.is_original() || observed.name == *name {
            return None;
        }
        let has_it = |other: &&Replica| {
            other.name.service == replica.name.service
                && other
                    .observed
                    .as_ref()
                    .is_some_and(|observed| observed.name == *name)
        };
        if let Some(holder) = self.world.replicas.values().find(has_it) {
            return Some(Verdict::Wait(WaitingOn::Place {
                replica: holder.name.clone(),
            }));
        }
        let action = Action::Rename {
            replica: replica.name.clone(),
            id: observed.id.clone(),
            name: name.clone(),
        };
        Some(Verdict::Act(action, Reason::HandedOn))
    }
}

pub(super) fn has_networks(observed: &Observed, desired: &Desired) -> bool {
    desired
        .networks
        .iter()
        .all(|network| observed.networks.contains_key(network))
}
