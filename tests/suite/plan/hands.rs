//! The scenario's engine: it does at once what it is asked to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use phoenixd::reconcile::{
    Action, Asked, ContainerState, Failure, FailureKind, Health, Identity, Kernel, NetworkSeen,
    Observed, Outcome, Sight, VolumeSeen,
};
use phoenixd::spec::{ContainerId, ImageId, KernelFacts, NetworkName};

use super::scenario::Scenario;

impl Scenario {
    /// The engine does it.
    pub(super) fn call(&mut self, action: &Action) -> Outcome {
        match action {
            Action::CreateNetwork(name) => {
                self.networks.insert(NetworkSeen {
                    name: name.clone(),
                    ours: true,
                });
            }
            Action::CreateVolume(name) => {
                self.volumes.insert(VolumeSeen {
                    name: name.clone(),
                    ours: true,
                });
            }
            Action::RemoveNetwork(name) => {
                let same = |network: &&NetworkSeen| network.name == *name;
                let is_doubled = self.networks.iter().filter(same).count() > 1;
                self.networks
                    .retain(|network| !same(&network) || (is_doubled && !network.ours));
            }
            Action::RemoveVolume(name) => self.volumes.retain(|volume| volume.name != *name),
            Action::Create { .. } => return self.create(action),
            Action::Connect { id, network, .. } => {
                self.containers
                    .get_mut(id)
                    .unwrap()
                    .networks
                    .insert(network.clone(), None);
            }
            Action::Disconnect { id, network, .. } => {
                let observed = self.containers.get_mut(id).unwrap();
                observed.networks.remove(network);
            }
            Action::Start { id, .. } => {
                if let Some(message) = self.starts_fail.clone() {
                    return self.fails(id, FailureKind::Refused, message);
                }
                let mut observed = self.containers.remove(id).unwrap();
                observed.state = ContainerState::Running;
                observed.started = Some(self.now);
                self.run(&mut observed);
                self.containers.insert(id.clone(), observed);
            }
            Action::Stop { subject, .. } => end(self.containers.get_mut(&subject.id).unwrap(), 0),
            Action::Remove { subject } | Action::Destroy { subject } => {
                drop(self.containers.remove(&subject.id));
            }
            Action::Freeze { id, .. } => {
                self.containers.get_mut(id).unwrap().state = ContainerState::Paused;
            }
            Action::Compare { id, .. } => return self.compare(id),
            Action::Rename { id, name, .. } => self.rename(id, name),
            Action::Capture { id, .. } => {
                if let Some(message) = self.captures_fail.clone() {
                    return self.fails(id, FailureKind::Refused, message);
                }
            }
            Action::Look { .. } | Action::Drain { .. } => {}
        }
        Outcome::Done(
            action
                .container()
                .map_or(Sight::Nothing, |id| self.sight(id)),
        )
    }

    fn create(&mut self, action: &Action) -> Outcome {
        let Action::Create {
            replica,
            generation,
            spec_hash,
            image: _,
            born_after,
            joins,
        } = action
        else {
            return Outcome::Done(Sight::Nothing);
        };
        let identity = Identity {
            replica: replica.clone(),
            generation: *generation,
            spec_hash: spec_hash.clone(),
            reach: None,
            adopted: (self.wanted.get(&replica.service))
                .and_then(|desired| Some(desired.adopted.as_ref()?.name.clone())),
            born_after: born_after.clone(),
        };
        let mut observed = self.container(format!("p-{replica}"), Some(identity));
        observed.joined.clone_from(joins);
        if joins.is_some() {
            observed.networks.clear();
        }
        let desired = self.wanted.get(&replica.service).unwrap();
        observed.files.clone_from(&desired.files);
        let id = observed.id.clone();
        self.containers.insert(id.clone(), observed);
        Outcome::Done(self.sight(&id))
    }

    fn compare(&mut self, id: &ContainerId) -> Outcome {
        match self.differs.clone() {
            None => Outcome::Done(self.sight(id)),
            Some(message) => self.fails(id, FailureKind::Differs, message),
        }
    }

    fn fails(&mut self, id: &ContainerId, kind: FailureKind, message: String) -> Outcome {
        Outcome::Failed {
            failure: Failure { kind, message },
            sight: self.sight(id),
        }
    }

    fn rename(&mut self, id: &ContainerId, name: &str) {
        let is_taken = |other: &Observed| other.name == name && other.id != *id;
        assert!(
            !self.containers.values().any(is_taken),
            "the name {name} is taken"
        );
        name.clone_into(&mut self.containers.get_mut(id).unwrap().name);
    }

    pub(super) fn sight(&mut self, id: &ContainerId) -> Sight {
        let asked_at = self.now;
        match self.containers.get_mut(id) {
            None => Sight::Gone { asked_at },
            Some(observed) => {
                if let Kernel::Read { at, .. } = &mut observed.kernel {
                    *at = asked_at;
                }
                Sight::Container {
                    asked_at,
                    observed: Box::new(observed.clone()),
                }
            }
        }
    }

    pub(super) fn container(&mut self, name: String, identity: Option<Identity>) -> Observed {
        self.ids += 1;
        Observed {
            id: ContainerId::new(format!("{:064x}", self.ids)),
            name,
            identity,
            state: ContainerState::Created,
            image: ImageId::new("sha256:0"),
            health: Health::Starting,
            health_exec: None,
            started: None,
            second_life: None,
            kernel: Kernel::NotRunning,
            asked: Asked {
                privileged: false,
                read_only: true,
                cap_drop_all: true,
                no_new_privs: true,
                foreign_namespace: false,
                never_restarts: true,
                pids_limited: true,
                memory_limited: true,
                files_read_only: true,
            },
            files: BTreeSet::new(),
            networks: BTreeMap::from([(NetworkName::new("p_default"), None)]),
            joined: None,
        }
    }

    /// The process is there: an address, and the kernel's word.
    pub(super) fn run(&self, observed: &mut Observed) {
        let last = u8::try_from(self.ids).unwrap_or(0);
        for address in observed.networks.values_mut() {
            *address = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        }
        let facts = KernelFacts {
            cap_effective: u64::from(self.weak) << 10,
            cap_bounding: 0,
            no_new_privs: true,
            seccomp: 2,
            uid: 65_534,
            files_read_only: true,
        };
        observed.kernel = Kernel::Read {
            facts,
            at: self.now,
        };
    }
}

pub(super) fn end(observed: &mut Observed, code: i64) {
    observed.state = ContainerState::Exited {
        code,
        oom: false,
        error: String::new(),
    };
    observed.started = None;
    observed.kernel = Kernel::NotRunning;
    for address in observed.networks.values_mut() {
        *address = None;
    }
}
