//! What is managed: containers, names, networks, volumes, images and paths that only phoenixd may change.
//!
//! Not here: where it is read from (`store`), and what follows (`policy`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reference;

/// Digits of a container's or network's id.
pub(super) const ID_DIGITS: usize = 64;

/// The version of the file of a project.
pub const VERSION: u32 = 1;

/// One project as the supervisor wrote it: `STATE/guard/projects/PROJECT.json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Project {
    /// [`VERSION`]; another one is not understood.
    pub version: u32,
    /// The project.
    pub project: String,
    /// Its phoenixes: `PROJECT-SERVICE-NUMBER` is reserved for each.
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
    /// Managed, and broken open until then (boot time).
    Glass {
        /// The container's id.
        id: String,
        /// The end of the time.
        until: Duration,
    },
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
            || self.projects.values().any(|project| {
                project.replicas.iter().any(|replica| replica.name == name)
                    || project.names.iter().any(|reserved| reserved == name)
                    || is_reserved(project, name)
            })
    }

    /// Whether a new name leads to something managed: it is one, or looks like the beginning of a managed id.
    pub fn is_taken(&self, name: &str) -> bool {
        let name = name.strip_prefix('/').unwrap_or(name);
        !matches!(self.container(name), Hold::Free)
    }

    /// Whether a reference to a network means a managed one.
    pub fn is_network(&self, reference: &str) -> bool {
        let means = |known: &str| {
            known == reference
                || (known.len() == ID_DIGITS
                    && is_id_like(reference)
                    && known.starts_with(reference))
        };
        let names = || self.projects.values().flat_map(|project| &project.networks);
        // Of what phoenixd made, only that is its alone which the supervisor says so of: others may be shared with compose.
        let mut learnt = self.learnt_networks.iter();
        names().any(|known| means(known))
            || learnt.any(|(id, name)| means(id) && names().any(|known| known == name))
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

/// `PROJECT-SERVICE-NUMBER`
fn is_reserved(project: &Project, name: &str) -> bool {
    let Some(rest) = name
        .strip_prefix(project.project.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
    else {
        return false;
    };
    project.services.iter().any(|service| {
        rest.strip_prefix(service.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
    })
}

/// What dockerd looks up as the beginning of an id.
fn is_id_like(reference: &str) -> bool {
    !reference.is_empty()
        && reference.len() <= ID_DIGITS
        && reference
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
