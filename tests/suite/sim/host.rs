//! What really is: containers with their processes and addresses, networks, volumes. The truth that the checkers
//! compare with; phoenixd sees it only through the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use phoenixd::docker::Scope;
use phoenixd::reconcile::{
    ContainerState, Identity, Listing, NetworkSeen, Observed, Time, VolumeSeen,
};
use phoenixd::spec::{
    ContainerId, FileDigest, ImageId, NetworkName, ProjectName, ServiceName, SpecHash, VolumeName,
};

pub(super) use super::container::{Container, is_process};
use super::rng::Rng;
use super::setup::{Defect, Quality};

/// The host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) now: Time,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    networks: BTreeMap<NetworkName, Network>,
    /// Copies of secrets.
    pub(super) files: BTreeSet<FileDigest>,
    /// Volumes; true where phoenixd made them.
    volumes: BTreeMap<VolumeName, bool>,
    pub(super) qualities: BTreeMap<SpecHash, Quality>,
    /// The kernel cannot be asked.
    pub(super) remote: bool,
    /// What will happen by itself.
    pub(super) timers: Vec<(Time, Happening)>,
    /// What the engine's event stream tells.
    pub(super) hints: Vec<(ContainerId, &'static str)>,
    /// Everything that docker compose ever made.
    pub(super) of_compose: BTreeSet<ContainerId>,
    /// When a container of a service of docker compose was started last for the first time.
    pub(super) updated_of_compose: BTreeMap<ServiceName, Time>,
    /// Changes that were made through the API.
    pub(super) mutations: u64,
    /// Touched through the API without carrying the project's label.
    pub(super) touched: Option<String>,
    /// Where the image's name leads.
    pub(super) image: ImageId,
    ids: u64,
    rng: Rng,
}

/// What happens by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Happening {
    /// A process ends, if it is still the same life of it.
    Dies {
        id: ContainerId,
        born: Time,
        code: i64,
    },
    /// The health check of a container passes again.
    Recovers(ContainerId),
    /// A call whose answer was lost long ago takes effect.
    Late(Box<super::engine::Effect>),
}

#[derive(Clone, Debug)]
struct Network {
    ours: bool,
    subnet: u8,
    next: u16,
    /// A freed address goes to the very next container.
    free: Vec<Ipv4Addr>,
    taken: BTreeMap<IpAddr, ContainerId>,
}

/// Why the host will not do something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    NotFound(String),
    Conflict(String),
    Refused(String),
}

impl Host {
    pub(super) fn new(seed: u64) -> Self {
        let mut host = Self {
            now: Time::BOOT,
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            files: BTreeSet::new(),
            volumes: BTreeMap::new(),
            qualities: BTreeMap::new(),
            remote: false,
            timers: Vec::new(),
            hints: Vec::new(),
            of_compose: BTreeSet::new(),
            updated_of_compose: BTreeMap::new(),
            mutations: 0,
            touched: None,
            image: ImageId::new("sha256:0"),
            ids: 0,
            rng: Rng::stream(seed, "host"),
        };
        host.add_network(NetworkName::new("shared"), false);
        host
    }

    pub(super) fn add_network(&mut self, name: NetworkName, ours: bool) {
        // One that was removed and made again must not get the subnet of another one.
        let used = self.networks.values().map(|network| network.subnet).max();
        let subnet = used.unwrap_or(0).saturating_add(1);
        self.networks.entry(name).or_insert(Network {
            ours,
            subnet,
            next: 2,
            free: Vec::new(),
            taken: BTreeMap::new(),
        });
    }

    pub(super) fn add_volume(&mut self, name: VolumeName, ours: bool) {
        self.volumes.entry(name).or_insert(ours);
    }

    pub(super) fn remove_network(&mut self, name: &NetworkName) -> Result<(), Refusal> {
        // What does not run has no endpoint: Docker removes its network.
        let attached = |c: &Container| c.networks.get(name).is_some_and(Option::is_some);
        if self.containers.values().any(attached) {
            return Err(Refusal::Conflict(format!(
                "network {name} has active endpoints"
            )));
        }
        self.networks.remove(name);
        Ok(())
    }

    pub(super) fn remove_volume(&mut self, name: &VolumeName) -> Result<(), Refusal> {
        if self.containers.values().any(|c| c.volumes.contains(name)) {
            return Err(Refusal::Conflict(format!("volume {name} is in use")));
        }
        self.volumes.remove(name);
        Ok(())
    }

    /// Networks and volumes that phoenixd made.
    pub(super) fn ours_left(&self) -> (Vec<NetworkName>, Vec<VolumeName>) {
        let networks = self.networks.iter().filter(|(_, network)| network.ours);
        let volumes = self.volumes.iter().filter(|(_, ours)| **ours);
        (
            networks.map(|(name, _)| name.clone()).collect(),
            volumes.map(|(name, _)| name.clone()).collect(),
        )
    }

    /// Makes a container.
    pub(super) fn create(&mut self, container: Container) -> Result<ContainerId, Refusal> {
        if let Some(taken) = self.by_name(&container.name) {
            let text = format!("name {} is taken by {}", container.name, taken.id.short());
            return Err(Refusal::Conflict(text));
        }
        // Docker does not look for the networks before the start.
        if container.quality.fault == Some(Defect::ImageGone) {
            return Err(Refusal::NotFound("no such image".to_owned()));
        }
        self.has_files(&container)?;
        for volume in &container.volumes {
            self.volumes.entry(volume.clone()).or_insert(false);
        }
        let id = container.id.clone();
        self.hints.push((id.clone(), "create"));
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// What it mounts has to be there when it is made and when it is started; later nothing is asked of it.
    fn has_files(&self, container: &Container) -> Result<(), Refusal> {
        if container.files.is_subset(&self.files) {
            Ok(())
        } else {
            Err(Refusal::Refused(
                "bind source path does not exist".to_owned(),
            ))
        }
    }

    /// A container that nobody made yet.
    pub(super) fn draft(&mut self, name: String, identity: Option<Identity>) -> Container {
        self.ids += 1;
        let quality = identity
            .as_ref()
            .and_then(|identity| self.qualities.get(&identity.spec_hash))
            .copied()
            .unwrap_or_else(Quality::good);
        Container {
            id: ContainerId::new(format!("{:012x}{:052x}", self.ids * 0x9_e377, self.ids)),
            name,
            labelled: true,
            identity,
            image: self.image.clone(),
            state: ContainerState::Created,
            made_at: self.now,
            started: None,
            serves_at: None,
            terminating: false,
            hung_until: Time::BOOT,
            bad_since: None,
            quality,
            touched_at: None,
            second_life: None,
            intruder_until: None,
            frozen_at: None,
            opened_at: None,
            meddled: false,
            marked: None,
            compose: None,
            volumes: BTreeSet::new(),
            files: BTreeSet::new(),
            networks: BTreeMap::new(),
            joined: None,
        }
    }

    /// A container that docker compose made, and that runs.
    pub(super) fn add_original(
        &mut self,
        name: &str,
        unit: &ServiceName,
        networks: &[NetworkName],
    ) {
        for network in networks {
            self.add_network(network.clone(), true);
        }
        let mut draft = self.draft(
            name.to_owned(),
            Some(Identity::of_original(unit.clone(), SpecHash::new(""))),
        );
        draft
            .networks
            .extend(networks.iter().map(|network| (network.clone(), None)));
        if let Ok(id) = self.create(draft) {
            drop(self.start(&id));
        }
    }

    pub(super) fn rename(&mut self, id: &ContainerId, name: &str) -> Result<(), Refusal> {
        self.known(id)?;
        if let Some(taken) = self.by_name(name).filter(|taken| taken.id != *id) {
            let text = format!("name {name} is taken by {}", taken.id.short());
            return Err(Refusal::Conflict(text));
        }
        let now = self.now;
        let container = self.known(id)?;
        name.clone_into(&mut container.name);
        if container.glass().is_some() {
            container.opened_at.get_or_insert(now);
        }
        self.hints.push((id.clone(), "rename"));
        Ok(())
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Container> {
        self.containers
            .values()
            .find(|container| container.name == name)
    }

    pub(super) fn connect(
        &mut self,
        id: &ContainerId,
        network: &NetworkName,
    ) -> Result<(), Refusal> {
        if !self.networks.contains_key(network) {
            return Err(Refusal::NotFound(format!("network {network} not found")));
        }
        let container = self.known(id)?;
        if container.networks.contains_key(network) {
            return Ok(());
        }
        let runs = is_process(&container.state);
        container.networks.insert(network.clone(), None);
        if runs {
            let address = self.networks.get_mut(network).map(|it| it.take(id));
            self.known(id)?.networks.insert(network.clone(), address);
            self.hints.push((id.clone(), "connect"));
        }
        Ok(())
    }

    /// It is off the network, whether or not it was on it.
    pub(super) fn disconnect(&mut self, id: &ContainerId, network: &NetworkName) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let left = container.networks.remove(network).flatten();
        if let (Some(address), Some(network)) = (left, self.networks.get_mut(network)) {
            network.taken.remove(&address);
            self.hints.push((id.clone(), "disconnect"));
        }
    }

    fn known(&mut self, id: &ContainerId) -> Result<&mut Container, Refusal> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Refusal::NotFound(format!("no such container: {}", id.short())))
    }

    pub(super) fn start(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let (now, container) = (self.now, self.known(id)?.clone());
        match container.state {
            ContainerState::Running | ContainerState::Restarting => return Ok(()),
            ContainerState::Paused => {
                return Err(Refusal::Refused(
                    "cannot start a paused container".to_owned(),
                ));
            }
            ContainerState::Removing | ContainerState::Dead => {
                return Err(Refusal::Conflict("it is being removed".to_owned()));
            }
            ContainerState::Created | ContainerState::Exited { .. } => {}
        }
        if let Some(why) = super::pods::obstacle(self, &container) {
            self.known(id)?.state = ContainerState::Exited {
                code: 128,
                oom: false,
                error: why.clone(),
            };
            return Err(Refusal::Conflict(why));
        }
        self.has_files(&container)?;
        let quality = container.quality;
        if quality.fault == Some(Defect::StartRefused) {
            let error = "exec: no such file".to_owned();
            self.known(id)?.state = ContainerState::Exited {
                code: 127,
                oom: false,
                error: error.clone(),
            };
            return Err(Refusal::Refused(error));
        }
        let gone = |name: &&NetworkName| !self.networks.contains_key(*name);
        if let Some(name) = container.networks.keys().find(gone) {
            let error = format!("network {name} not found");
            self.known(id)?.state = ContainerState::Exited {
                code: 128,
                oom: false,
                error: error.clone(),
            };
            return Err(Refusal::NotFound(error));
        }
        for name in container.networks.keys() {
            let address = self.networks.get_mut(name).map(|network| network.take(id));
            self.known(id)?.networks.insert(name.clone(), address);
        }
        let warm_up = self.rng.span(quality.warm_up.0, quality.warm_up.1);
        let dies_after = match quality.fault {
            Some(Defect::CrashesAtStart) => Some(self.rng.ms(0, 500)),
            Some(Defect::CrashesLater) => Some(warm_up + self.rng.ms(100, 60_000)),
            _ => None,
        };
        if let Some(after) = dies_after {
            self.timers.push((
                now + after,
                Happening::Dies {
                    id: id.clone(),
                    born: now,
                    code: 1,
                },
            ));
        }
        let container = self.known(id)?;
        container.state = ContainerState::Running;
        container.started = Some(now);
        container.serves_at = (quality.fault != Some(Defect::NeverReady)).then(|| now + warm_up);
        self.hints.push((id.clone(), "start"));
        Ok(())
    }

    /// Sends the stop signal; answers when the process will have ended at the latest.
    pub(super) fn stop(&mut self, id: &ContainerId, grace: Duration) -> Option<Time> {
        let now = self.now;
        let container = self.containers.get(id)?;
        let runs = is_process(&container.state);
        let born = container.started.filter(|_| runs)?;
        let range = container.quality.shut_down;
        let takes = self.rng.span(range.0, range.1);
        let hung = container.hung_until > now || container.state == ContainerState::Paused;
        let code = if takes >= grace || hung { 137 } else { 0 };
        let ends = now + if hung { grace } else { takes.min(grace) };
        let container = self.containers.get_mut(id)?;
        container.terminating = true;
        self.timers.push((
            ends,
            Happening::Dies {
                id: id.clone(),
                born,
                code,
            },
        ));
        self.hints.push((id.clone(), "kill"));
        Some(ends)
    }

    /// Its process ends.
    pub(super) fn die(&mut self, id: &ContainerId, code: i64) {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if !is_process(&container.state) {
            return;
        }
        container.state = ContainerState::Exited {
            code,
            oom: false,
            error: String::new(),
        };
        container.bad_since.get_or_insert(now);
        container.started = None;
        for address in container.networks.values_mut() {
            *address = None;
        }
        for network in self.networks.values_mut() {
            network.release(id);
        }
        self.hints.push((id.clone(), "die"));
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let Some(container) = self.containers.get(id) else {
            return Ok(());
        };
        match container.state {
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => Err(
                Refusal::Conflict("the container is running: stop it first".to_owned()),
            ),
            ContainerState::Removing => Err(Refusal::Conflict(
                "removal is already in progress".to_owned(),
            )),
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead => {
                self.vanish(id);
                Ok(())
            }
        }
    }

    /// Its processes are frozen.
    pub(super) fn freeze(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else {
            return Err(Refusal::NotFound("no such container".to_owned()));
        };
        match container.state {
            ContainerState::Running | ContainerState::Paused => {
                container.frozen_at = Some(now);
                container.state = ContainerState::Paused;
                self.hints.push((id.clone(), "pause"));
                Ok(())
            }
            ContainerState::Created
            | ContainerState::Restarting
            | ContainerState::Exited { .. }
            | ContainerState::Removing
            | ContainerState::Dead => Err(Refusal::Conflict("it is not running".to_owned())),
        }
    }

    /// It is not there any more, whatever it was.
    pub(super) fn vanish(&mut self, id: &ContainerId) {
        self.die(id, 137);
        if self.containers.remove(id).is_some() {
            self.hints.push((id.clone(), "destroy"));
        }
    }

    pub(super) fn happen(&mut self, id: &ContainerId, born: Time, code: i64) {
        if self
            .containers
            .get(id)
            .is_some_and(|container| container.started == Some(born))
        {
            self.die(id, code);
        }
    }

    /// Whom an address belongs to now.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&Container> {
        self.networks
            .values()
            .find_map(|network| network.taken.get(&address))
            .and_then(|id| self.containers.get(id))
    }

    /// What an inspection says.
    pub(super) fn observe(&self, id: &ContainerId) -> Option<Observed> {
        let container = self.containers.get(id)?;
        Some(container.observe(self.now, self.remote))
    }

    /// What a listing says.
    pub(super) fn listing(&self, scope: &Scope) -> Listing {
        let (wanted, volumes) = (&scope.networks, &scope.volumes);
        Listing {
            containers: self
                .containers
                .values()
                .filter(|container| container.labelled)
                .filter_map(|container| self.observe(&container.id))
                .collect(),
            networks: self
                .networks
                .iter()
                .filter(|(name, network)| network.ours || wanted.contains(*name))
                .map(|(name, network)| NetworkSeen {
                    name: name.clone(),
                    ours: network.ours,
                })
                .collect(),
            volumes: self
                .volumes
                .iter()
                .filter(|(name, ours)| **ours || volumes.contains(*name))
                .map(|(name, ours)| VolumeSeen {
                    name: name.clone(),
                    ours: *ours,
                })
                .collect(),
            silent: BTreeSet::new(),
            dependencies: self.dependencies(&scope.dependencies),
            ..Listing::default()
        }
    }

    /// Every container of a service that lives.
    pub(super) fn live_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a Container> {
        self.containers.values().filter(move |container| {
            container.service() == Some(service) && container.state.is_live()
        })
    }

    /// Notes a call about a container that is none of phoenixd's business.
    pub(super) fn touch(&mut self, call: &str, id: &ContainerId, project: &ProjectName) {
        self.mutations += 1;
        if let Some(container) = self
            .containers
            .get(id)
            .filter(|container| !container.labelled)
        {
            self.touched = Some(format!(
                "{call} of {} (not of project {project})",
                container.name
            ));
        }
    }
}

impl Network {
    fn take(&mut self, id: &ContainerId) -> IpAddr {
        let address = self.free.pop().unwrap_or_else(|| {
            let [high, low] = self.next.to_be_bytes();
            self.next += 1;
            Ipv4Addr::new(10, self.subnet, high, low)
        });
        self.taken.insert(address.into(), id.clone());
        address.into()
    }

    fn release(&mut self, id: &ContainerId) {
        let free = &mut self.free;
        self.taken.retain(|address, owner| {
            let keeps = owner != id;
            if let (false, IpAddr::V4(address)) = (keeps, address) {
                free.push(*address);
            }
            keeps
        });
    }
}
