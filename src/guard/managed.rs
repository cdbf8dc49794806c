//! What is managed: containers, names, networks, volumes, images and paths that only phoenixd may change.
//!
//! Not here: where it is read from (`store`), and what follows (`policy`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reference;
use crate::spec::{ContainerId, PodPart, ProjectName, ReplicaName, ServiceName};

/// The version of the file of a project.
pub const VERSION: u32 = 1;

/// One project as the supervisor wrote it: `STATE/guard/projects/PROJECT.json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Project {
    /// [`VERSION`]; another one is not understood.
    pub version: u32,
    /// The project.
    pub project: String,
    /// Its phoenixes, and the parts of pods that there are (`web`, `web/edge`): the names of their containers are reserved.
    #[serde(default)]
    pub services: Vec<String>,
    /// What runs, or is about to.
    #[serde(default)]
    pub replicas: Vec<Replica>,
    /// More container names that are reserved: those of adopted containers.
    #[serde(default)]
    pub names: Vec<String>,
    /// Networks that only phoenixes use, by name or id.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Volumes that only phoenixes use, by name.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Images that replicas are born from, as the file names them.
    #[serde(default)]
    pub images: Vec<String>,
    /// Directories of the host that nobody may mount.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Networks on which others are, too.
    #[serde(default)]
    pub shared: Vec<Shared>,
    /// Containers of others that would get into what is managed if they ran.
    #[serde(default)]
    pub joining: Vec<Joining>,
}

/// A network that phoenixes share with others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Shared {
    /// Its name, and its id where that is known.
    pub network: Vec<String>,
    /// The names by which phoenixes are found on it: nobody else has them there.
    pub names: Vec<String>,
}

/// A container of somebody else that was made to be in what is managed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Joining {
    /// 64 hex digits.
    pub id: String,
    /// The container's name.
    pub name: String,
}

/// One replica of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replica {
    /// 64 hex digits.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// Break-glass: until when (boot time, in ms) exec is permitted.
    #[serde(default)]
    pub exec_until_ms: Option<u64>,
}

/// Everything that is managed on this host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Managed {
    /// What the supervisors wrote, by file.
    pub projects: BTreeMap<String, Project>,
    /// Containers whose signed create was seen: id and name.
    pub learnt: BTreeMap<String, String>,
    /// Networks whose signed create was seen: id and name.
    pub learnt_networks: BTreeMap<String, String>,
    /// Files that could not be read; what they held before counts, and changes are denied meanwhile.
    pub unreadable: Vec<String>,
}

/// What a reference to a container means here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Nothing of phoenixd's.
    Free,
    /// Managed, or it could be; what is told.
    Held(&'static str),
    /// Somebody else's, and it would get into what is managed if it ran.
    Joining,
    /// Managed, and broken open until then (boot time).
    Glass {
        /// The container's id.
        id: String,
        /// The end of the time.
        until: Duration,
    },
}

impl Project {
    /// Whether a container is managed, or will be; by name, id or the beginning of one.
    fn holds(&self, reference: &str) -> bool {
        self.names(reference)
            || self
                .replicas
                .iter()
                .any(|replica| means(&replica.id, reference))
    }

    /// Whether a container's name is a replica's, or reserved for one.
    fn names(&self, name: &str) -> bool {
        self.replicas.iter().any(|replica| replica.name == name)
            || self.names.iter().any(|reserved| reserved == name)
            || is_reserved(self, name)
    }

    /// Notes those of all containers that would get into what is managed if they ran, by themselves or by way of others.
    pub fn note_joining(&mut self, all: &[Company<'_>]) {
        let mut joining: BTreeSet<Joining> = BTreeSet::new();
        loop {
            let before = joining.len();
            for one in all {
                let is_own = self.replicas.iter().any(|replica| replica.id == one.id);
                let is_held = |reference: &&str| {
                    self.holds(reference) || joining.iter().any(|it| it.is_meant(reference))
                };
                let mounts = |volume: &&str| self.volumes.iter().any(|own| own == volume);
                let shares = |network: &&str| self.networks.iter().any(|own| means(own, network));
                let gets_in = one.joins.iter().any(is_held)
                    || one.volumes.iter().any(mounts)
                    || one.networks.iter().any(shares);
                if !is_own && gets_in {
                    joining.insert(Joining {
                        id: one.id.to_owned(),
                        name: one.name.to_owned(),
                    });
                }
            }
            if joining.len() == before {
                break;
            }
        }
        self.joining = joining.into_iter().collect();
    }
}

/// A container, and whom it was made to be with.
#[derive(Clone, Debug)]
pub struct Company<'a> {
    /// 64 hex digits.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The containers, by name or id, whose namespaces, volumes or links it has.
    pub joins: Vec<&'a str>,
    /// The named volumes that it mounts.
    pub volumes: Vec<&'a str>,
    /// The networks that it is on, or is to be, by name.
    pub networks: Vec<&'a str>,
}

impl Managed {
    /// Whether nothing at all is managed.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.learnt.is_empty()
    }

    /// The ids of all managed containers.
    fn ids(&self) -> impl Iterator<Item = &str> {
        let replicas = self.projects.values().flat_map(|project| &project.replicas);
        replicas
            .map(|replica| replica.id.as_str())
            .chain(self.learnt.keys().map(String::as_str))
    }

    /// What a reference to a container in a path or a body means: name, id or prefix of an id.
    pub fn container(&self, reference: &str) -> Hold {
        if reference.is_empty() {
            return Hold::Held("an empty name could mean any container");
        }
        if reference.contains('/') {
            return Hold::Held("a name with a slash can lead to a managed container");
        }
        if let Some(glass) = self.glass(reference) {
            return glass;
        }
        if self.is_name(reference) {
            return Hold::Held("it is managed by phoenixd");
        }
        if is_id_like(reference) && self.ids().any(|id| id.starts_with(reference)) {
            return Hold::Held("it is managed by phoenixd, or its id begins as a managed one's");
        }
        let mut joining = (self.projects.values()).flat_map(|project| &project.joining);
        if joining.any(|one| one.is_meant(reference)) {
            return Hold::Joining;
        }
        Hold::Free
    }

    /// The one replica that is broken open and that the reference means beyond doubt.
    fn glass(&self, reference: &str) -> Option<Hold> {
        let means = |replica: &&Replica| {
            replica.name == reference
                || (is_id_like(reference) && replica.id.starts_with(reference))
        };
        let replicas = || self.projects.values().flat_map(|project| &project.replicas);
        let one = replicas().find(means)?;
        let until = Duration::from_millis(one.exec_until_ms?);
        let mut others = self.ids().filter(|id| *id != one.id);
        let is_id = is_id_like(reference) && others.any(|id| id.starts_with(reference));
        let is_alone = replicas().filter(means).all(|replica| replica.id == one.id) && !is_id;
        is_alone.then(|| Hold::Glass {
            id: one.id.clone(),
            until,
        })
    }

    /// Until when a replica is broken open.
    pub fn glass_until(&self, id: &str) -> Option<Duration> {
        let replicas = self.projects.values().flat_map(|project| &project.replicas);
        let replica = replicas.into_iter().find(|replica| replica.id == id)?;
        replica.exec_until_ms.map(Duration::from_millis)
    }

    /// Whether a container name is a replica's, or reserved for one.
    pub fn is_name(&self, name: &str) -> bool {
        self.learnt.values().any(|learnt| learnt == name)
            || self.projects.values().any(|project| project.names(name))
    }

    /// Whether a new name leads to something managed: it is one, or looks like the beginning of a managed id.
    pub fn is_taken(&self, name: &str) -> bool {
        let name = name.strip_prefix('/').unwrap_or(name);
        !matches!(self.container(name), Hold::Free | Hold::Joining)
    }

    /// Whether a name on a network is a phoenix's there. Names are looked up without regard to case, and with the network's
    /// name behind a dot, too (moby 20.10 and 28, libnetwork's `sandbox.go` and `network.go`).
    pub fn is_name_on(&self, network: &str, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        let lower = name.to_ascii_lowercase();
        let mut learnt = self.learnt_networks.iter();
        let learnt = learnt.find(|(id, _)| means(id, network));
        let is_here =
            |known: &String| means(known, network) || learnt.is_some_and(|(_, name)| name == known);
        let shared = self.projects.values().flat_map(|project| &project.shared);
        let mut here = shared.filter(|shared| shared.network.iter().any(is_here));
        let is_ours = |shared: &Shared| {
            let mut networks = shared.network.iter();
            let bare = networks.find_map(|network| {
                let rest = lower.strip_suffix(&network.to_ascii_lowercase())?;
                rest.strip_suffix('.')
            });
            let mut names = shared.names.iter();
            names.any(|known| known.eq_ignore_ascii_case(bare.unwrap_or(&lower)))
        };
        self.is_name(name) || self.is_name(&lower) || here.any(is_ours)
    }

    /// Whether a name is a phoenix's on any network.
    pub fn is_name_anywhere(&self, name: &str) -> bool {
        let name = name.strip_prefix('/').unwrap_or(name);
        let shared = self.projects.values().flat_map(|project| &project.shared);
        let mut names = shared.flat_map(|shared| &shared.names);
        names.any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether a reference to a network means a managed one.
    pub fn is_network(&self, reference: &str) -> bool {
        let names = || self.projects.values().flat_map(|project| &project.networks);
        // Of what phoenixd made, only that is its alone which the supervisor says so of: others may be shared with compose.
        let mut learnt = self.learnt_networks.iter();
        names().any(|known| means(known, reference))
            || learnt.any(|(id, name)| means(id, reference) && names().any(|known| known == name))
    }

    /// Whether a volume is a managed one.
    pub fn is_volume(&self, name: &str) -> bool {
        let mut volumes = self.projects.values().flat_map(|project| &project.volumes);
        volumes.any(|volume| volume == name)
    }

    /// Whether a name for an image is one that replicas are born from. Without tag or digest, any tag of it counts.
    pub fn is_image(&self, name: &str, any_tag: bool) -> bool {
        let mut images = self.projects.values().flat_map(|project| &project.images);
        images.any(|image| reference::is_same_image(image, name, any_tag))
    }

    /// Whether any image is.
    pub fn has_images(&self) -> bool {
        self.projects
            .values()
            .any(|project| !project.images.is_empty())
    }

    /// The directories that nobody may mount.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let projects = self.projects.values();
        projects.flat_map(|project| project.paths.iter().map(String::as_str))
    }
}

/// A name that a replica or a part of a pod has, or may be given.
fn is_reserved(project: &Project, name: &str) -> bool {
    // Most names are of other projects.
    if !name.starts_with(&project.project) {
        return false;
    }
    let of = ProjectName::new(project.project.as_str());
    let mut services = project.services.iter().map(ServiceName::new);
    // With its pod: a service that has none now may have one after the next `up`.
    let is_of = |service: &ServiceName| ReplicaName::of_container(&of, service, name).is_some();
    services.any(|service| {
        is_of(&service)
            || PodPart::ALL
                .into_iter()
                .any(|part| is_of(&service.pod(part)))
    })
}

/// Whether a reference means something that is known by this name or id.
fn means(known: &str, reference: &str) -> bool {
    known == reference
        || (known.len() == ContainerId::DIGITS
            && is_id_like(reference)
            && known.starts_with(reference))
}

impl Joining {
    fn is_meant(&self, reference: &str) -> bool {
        self.name == reference || means(&self.id, reference)
    }
}

/// What dockerd looks up as the beginning of an id.
fn is_id_like(reference: &str) -> bool {
    !reference.is_empty()
        && reference.len() <= ContainerId::DIGITS
        && reference
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
