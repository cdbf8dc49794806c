//! What the guard of this host is told of the project: names, replicas, images, directories.
//!
//! Written before the actions of a plan begin, so that a name is reserved before its container is made; the container's id
//! the guard learns by itself from the answer to the signed create. The services' names are reserved even before the first
//! listing: what is made from then on joins none of them, and what was made before is in that listing (decision 40).
//! Not here: what follows from it (`guard`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::Catalog;
use crate::guard::{Company, GuardDir, Project, Replica, Shared, VERSION};
use crate::reconcile::{Beside, Status};
use crate::report::Chain;
use crate::spec::{self, NetworkName, ProjectName, ServiceName, VolumeName};

/// What a project's phoenixes have for themselves: networks and volumes that are made for them, and that no service of docker
/// compose in the same files uses. What is `external` is somebody else's, and what labels mode finds is docker compose's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alone {
    networks: BTreeSet<NetworkName>,
    volumes: BTreeSet<VolumeName>,
}

impl Alone {
    /// Of a project's files.
    pub fn of(project: &spec::Project) -> Self {
        let networks = project.networks.iter().filter(|one| !one.external);
        let volumes = project.volumes.iter().filter(|one| !one.external);
        Self {
            networks: (networks.map(|one| &one.name))
                .filter(|name| !project.others.networks.contains(*name))
                .cloned()
                .collect(),
            volumes: (volumes.map(|one| &one.name))
                .filter(|name| !project.others.volumes.contains(*name))
                .cloned()
                .collect(),
        }
    }
}

/// The guard's file of one project, as far as it was written.
#[derive(Debug)]
pub(super) struct Guarded {
    dir: GuardDir,
    /// Directories that nobody may mount.
    paths: Vec<PathBuf>,
    alone: Alone,
    written: Option<Project>,
}

impl Guarded {
    /// `state` is the project's directory in the state directory; `others` are those of the copies of secrets and configs, of
    /// the edges' control sockets, and of the engine's data (`--data-root`); where dockerd keeps its sockets
    /// (`--exec-root`) it does not say.
    pub(super) fn new(state: &Path, others: impl Iterator<Item = PathBuf>, alone: Alone) -> Self {
        let state_dir = state.parent().unwrap_or(state);
        Self {
            dir: GuardDir::of(state_dir),
            alone,
            paths: [state_dir.to_owned()].into_iter().chain(others).collect(),
            written: None,
        }
    }

    /// Where the guard is told.
    pub(super) fn dir(&self) -> &GuardDir {
        &self.dir
    }

    /// Reserves the names of replicas to come, and the directories, beside what an earlier supervisor wrote.
    pub(super) fn reserve<'a>(
        &self,
        name: &ProjectName,
        services: impl Iterator<Item = &'a ServiceName>,
    ) {
        let mut project = self.dir.read_project(name.as_str()).unwrap_or(Project {
            version: VERSION,
            project: name.to_string(),
            ..Project::default()
        });
        project.paths.extend(texts(&self.paths));
        project.paths.sort();
        project.paths.dedup();
        project.services.extend(services.map(ToString::to_string));
        project.services.sort();
        project.services.dedup();
        if let Err(error) = self.dir.write_project(&project) {
            warn!(error = %Chain(&error), "the guard cannot be told which names are reserved");
        }
    }

    /// Tells the guard what is managed now; nothing where that has not changed, or where there is no guard. Until all that
    /// there is was seen once (`is_whole`), what an earlier supervisor wrote stands.
    pub(super) fn tell(
        &mut self,
        status: &Status,
        catalog: &Catalog,
        beside: &Beside,
        is_whole: bool,
    ) {
        if !self.dir.is_there() || !is_whole && self.written.is_none() {
            return;
        }
        let mut project = project(status, catalog, &self.paths);
        add_surroundings(&mut project, &self.alone, catalog, beside);
        if self.written.as_ref() == Some(&project) {
            return;
        }
        match self.dir.write_project(&project) {
            Ok(()) => self.written = Some(project),
            Err(error) => {
                warn!(error = %Chain(&error), "the guard cannot be told what is managed");
            }
        }
    }

    /// The project is gone.
    pub(super) fn forget(&mut self, catalog: &Catalog) {
        if let Err(error) = self.dir.remove_project(catalog.project.as_str()) {
            warn!(error = %Chain(&error), "the guard cannot be told that nothing is managed any more");
        }
        self.written = None;
    }
}

/// What is managed, as a function of the status. Containers that docker compose made are nobody's replicas.
fn project(status: &Status, catalog: &Catalog, paths: &[PathBuf]) -> Project {
    let replicas = status.replicas.iter().filter_map(|replica| {
        let is_own = !replica.replica.is_original();
        let id = replica.container_id.as_ref().filter(|_| is_own)?;
        let own = || replica.replica.container_name(&catalog.project);
        let glass = replica.glass.as_ref().filter(|glass| glass.open);
        let until = glass.map(|glass| glass.until.since_boot().as_millis());
        Some(Replica {
            id: id.as_str().to_owned(),
            // What is broken open is asked for by the name that it has now.
            name: (glass.and(replica.container_name.clone())).unwrap_or_else(own),
            exec_until_ms: until.and_then(|until| u64::try_from(until).ok()),
        })
    });
    // One that took the place of docker compose's has that one's name, or whatever else it was renamed to.
    let own = (status.replicas.iter()).filter(|replica| !replica.replica.is_original());
    let mut names: Vec<String> = own
        .filter_map(|replica| replica.container_name.clone())
        .collect();
    names.sort();
    names.dedup();
    let mut images: Vec<String> = catalog
        .containers
        .values()
        .map(|container| container.image.to_string())
        .collect();
    images.sort();
    images.dedup();
    Project {
        version: VERSION,
        project: catalog.project.to_string(),
        services: status.services.keys().map(ToString::to_string).collect(),
        replicas: replicas.collect(),
        names,
        images,
        paths: texts(paths),
        ..Project::default()
    }
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    let texts = paths.iter().map(|path| path.to_string_lossy());
    texts.map(std::borrow::Cow::into_owned).collect()
}

/// Adds the networks and volumes, and who was made to be in what is managed.
fn add_surroundings(project: &mut Project, alone: &Alone, catalog: &Catalog, beside: &Beside) {
    let with_ids = |name: &NetworkName| {
        let ids = beside.networks.get(name).into_iter().flatten();
        let all = [name.to_string()].into_iter().chain(ids.cloned());
        all.collect::<Vec<String>>()
    };
    project.networks = alone.networks.iter().flat_map(with_ids).collect();
    project.volumes = alone.volumes.iter().map(ToString::to_string).collect();
    let mut names: BTreeMap<&NetworkName, BTreeSet<&String>> = BTreeMap::new();
    let containers = catalog.containers.values();
    for attachment in containers.flat_map(|container| container.all_attachments()) {
        let here = names.entry(&attachment.network).or_default();
        here.extend(&attachment.aliases);
    }
    names.retain(|network, _| !alone.networks.contains(*network));
    let shared = names.into_iter().map(|(network, names)| Shared {
        network: with_ids(network),
        names: names.into_iter().cloned().collect(),
    });
    project.shared = shared.collect();
    let all = beside.containers.iter().map(|(id, one)| Company {
        id: id.as_str(),
        name: &one.name,
        joins: one.joins.iter().map(String::as_str).collect(),
        volumes: one.volumes.iter().map(VolumeName::as_str).collect(),
        networks: one.networks.iter().map(NetworkName::as_str).collect(),
    });
    project.note_joining(&all.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::reconcile::{GlassStatus, Health, Neighbour, ReplicaStatus, Stage, Time};
    use crate::spec::{
        Attachment, ContainerId, ContainerSpec, Generation, ImageRef, NetworkMode, ReplicaName,
        Serial,
    };

    fn empty() -> Catalog {
        Catalog {
            project: ProjectName::new("shop"),
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }

    fn replica(serial: Serial, name: &str) -> ReplicaStatus {
        ReplicaStatus {
            replica: ReplicaName::new(ServiceName::new("web"), serial),
            container_id: Some(ContainerId::new("a".repeat(64))),
            container_name: Some(name.to_owned()),
            stage: Stage::Ready,
            ready: true,
            born_at: None,
            deadline: None,
            overdue: false,
            generation: Generation(1),
            verified: None,
            waiting_on: None,
            health: Health::None,
            tainted: None,
            glass: None,
        }
    }

    #[test]
    fn exec_is_permitted_in_what_is_broken_open_until_its_end_and_nowhere_else() {
        let until = Time::from_boot(std::time::Duration::from_hours(2));
        let glass = |open| GlassStatus {
            until,
            open,
            reason: None,
        };
        let mut open = replica(Serial(2), "shop-web-2.break-glass-7200000");
        open.glass = Some(glass(true));
        // Not yet, or not any more.
        let mut shut = replica(Serial(3), "shop-web-3");
        shut.glass = Some(glass(false));
        let status = Status {
            replicas: vec![open, shut, replica(Serial(4), "shop-web-4")],
            ..Status::default()
        };
        let told = project(&status, &empty(), &[]);
        let told: Vec<_> = told
            .replicas
            .iter()
            .map(|it| (it.name.as_str(), it.exec_until_ms))
            .collect();
        assert_eq!(
            told,
            [
                ("shop-web-2.break-glass-7200000", Some(7_200_000)),
                ("shop-web-3", None),
                ("shop-web-4", None),
            ]
        );
    }

    #[test]
    fn a_replica_is_known_by_the_name_that_it_took_over() {
        let status = Status {
            replicas: vec![
                replica(Serial::ORIGINAL, "shop-db-1"),
                replica(Serial(2), "shop-web-1"),
            ],
            ..Status::default()
        };
        let told = project(&status, &empty(), &[]);
        assert_eq!(told.names, ["shop-web-1"]);
        assert_eq!(told.replicas.len(), 1);
        assert_eq!(told.replicas[0].name, "shop-web-2");
    }

    fn on(network: &str, aliases: &[&str]) -> Attachment {
        Attachment {
            network: NetworkName::new(network),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            ipv4: None,
            ipv6: None,
            link_local_ips: Vec::new(),
            driver_opts: BTreeMap::new(),
            gw_priority: None,
        }
    }

    #[test]
    fn what_is_shared_is_told_with_its_names_and_who_was_made_for_a_replica() {
        let alone = Alone {
            networks: BTreeSet::from([NetworkName::new("shop_private")]),
            volumes: BTreeSet::from([VolumeName::new("shop_data")]),
        };
        let mut catalog = empty();
        let mut web = ContainerSpec::of_image(ImageRef::new("i"));
        let private = on("shop_private", &["web"]);
        web.network = NetworkMode::Networks(vec![private, on("shop_default", &["web", "www"])]);
        web.on_ready = Some(on("front", &["web"]));
        let web = (ServiceName::new("web"), Arc::new(web));
        catalog.containers.extend([web]);
        let id = |digit: &str| ContainerId::new(digit.repeat(64));
        let with = |joins: &[&str], volumes: &[&str]| Neighbour {
            name: format!("with-{}{}", joins.concat(), volumes.concat()),
            joins: joins.iter().map(ToString::to_string).collect(),
            volumes: volumes.iter().map(|name| VolumeName::new(*name)).collect(),
            networks: BTreeSet::from([NetworkName::new("shop_default")]),
        };
        let mut on_private = with(&[], &[]);
        on_private.networks.insert(NetworkName::new("shop_private"));
        let beside = Beside {
            containers: BTreeMap::from([
                (id("a"), with(&["shop-web-pause.1"], &["shop_data"])),
                (id("b"), with(&["shop-web-9"], &[])),
                (id("c"), with(&[], &["shop_data"])),
                (id("d"), with(&["postgres"], &["shop_common"])),
                (id("e"), on_private),
            ]),
            networks: BTreeMap::from([
                (
                    NetworkName::new("shop_private"),
                    BTreeSet::from(["1".repeat(64)]),
                ),
                (
                    NetworkName::new("shop_default"),
                    BTreeSet::from(["2".repeat(64)]),
                ),
                (NetworkName::new("bridge"), BTreeSet::from(["3".repeat(64)])),
            ]),
        };
        let status = Status {
            replicas: vec![replica(Serial(2), "shop-web-2")],
            ..Status::default()
        };
        let mut told = project(&status, &catalog, &[]);
        told.services = vec!["web".to_owned(), "web/pause".to_owned()];
        add_surroundings(&mut told, &alone, &catalog, &beside);
        assert_eq!(told.networks, ["shop_private".to_owned(), "1".repeat(64)]);
        assert_eq!(told.volumes, ["shop_data"]);
        let shared: Vec<_> = told
            .shared
            .iter()
            .map(|one| {
                (
                    one.network[0].as_str(),
                    one.network.len(),
                    one.names.join(" "),
                )
            })
            .collect();
        assert_eq!(
            shared,
            [
                ("front", 1, "web".to_owned()),
                ("shop_default", 2, "web www".to_owned())
            ]
        );
        let joining: Vec<_> = told.joining.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(joining, ["with-shop-web-9", "with-shop_data", "with-"]);
    }

    #[test]
    fn names_are_reserved_beside_what_an_earlier_supervisor_wrote() {
        let place = tempfile::tempdir().unwrap();
        let dir = GuardDir::of(place.path());
        dir.make().unwrap();
        let state = place.path().join("shop");
        let guarded = || {
            let others = ["/f", "/e"].map(PathBuf::from).into_iter();
            Guarded::new(&state, others, Alone::default())
        };
        let name = ProjectName::new("shop");
        let services = ["web", "web/edge"].map(ServiceName::new);
        guarded().reserve(&name, services.iter());
        let mut written = dir.read_project("shop").unwrap();
        assert_eq!(written.services, ["web", "web/edge"]);
        assert_eq!(written.paths.len(), 3);
        written.names = vec!["legacy".to_owned()];
        written.paths = vec!["/elsewhere".to_owned()];
        dir.write_project(&written).unwrap();
        guarded().reserve(&name, [ServiceName::new("api")].iter());
        let written = dir.read_project("shop").unwrap();
        assert_eq!(written.services, ["api", "web", "web/edge"]);
        assert_eq!(written.names, ["legacy"]);
        let own = place.path().display().to_string();
        assert_eq!(written.paths, ["/e", "/elsewhere", "/f", &own]);
    }

    #[test]
    fn what_is_not_known_whole_is_told_only_once_all_of_it_was() {
        let place = tempfile::tempdir().unwrap();
        let dir = GuardDir::of(place.path());
        dir.make().unwrap();
        let mut guarded = Guarded::new(
            &place.path().join("shop"),
            std::iter::empty(),
            Alone::default(),
        );
        let with = |names: &[&str]| {
            let names = names.iter().map(|name| replica(Serial(2), name));
            Status {
                replicas: names.collect(),
                ..Status::default()
            }
        };
        let mut tell = |status: &Status, is_whole| {
            guarded.tell(status, &empty(), &Beside::default(), is_whole);
            dir.read_project("shop").map(|written| written.names)
        };
        assert_eq!(tell(&with(&[]), false), None);
        assert_eq!(tell(&with(&["a"]), true).unwrap(), ["a"]);
        // While one more is being made.
        assert_eq!(tell(&with(&["a", "b"]), false).unwrap(), ["a", "b"]);
    }
}
