//! What the guard of this host is told of the project: names, replicas, images, directories.
//!
//! Written before the actions of a plan begin, so that a name is reserved before its container is made; the container's id
//! the guard learns by itself from the answer to the signed create. Networks and volumes are not told: docker compose's
//! services may be on them. Not here: what follows from it (`guard`).

use std::path::{Path, PathBuf};

use tracing::warn;

use super::Catalog;
use crate::guard::{GuardDir, Project, Replica, VERSION};
use crate::reconcile::Status;
use crate::report::Chain;

/// The guard's file of one project, as far as it was written.
#[derive(Debug)]
pub(super) struct Guarded {
    dir: GuardDir,
    /// Directories that nobody may mount.
    paths: Vec<PathBuf>,
    written: Option<Project>,
}

impl Guarded {
    /// `state` is the project's directory in the state directory, `files` that of the copies of secrets and configs.
    pub(super) fn new(state: &Path, files: PathBuf) -> Self {
        let state_dir = state.parent().unwrap_or(state);
        Self {
            dir: GuardDir::of(state_dir),
            paths: vec![state_dir.to_owned(), files],
            written: None,
        }
    }

    /// Tells the guard what is managed now; nothing where that has not changed, or where there is no guard.
    pub(super) fn tell(&mut self, status: &Status, catalog: &Catalog) {
        let project = project(status, catalog, &self.paths);
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
        Some(Replica {
            id: id.as_str().to_owned(),
            name: replica.replica.container_name(&catalog.project),
            exec_until_ms: None,
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
        paths: paths
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
        ..Project::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::reconcile::{Health, ReplicaStatus, Stage};
    use crate::spec::{ContainerId, Generation, ProjectName, ReplicaName, Serial, ServiceName};

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
        }
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
        let catalog = Catalog {
            project: ProjectName::new("shop"),
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
        };
        let told = project(&status, &catalog, &[]);
        assert_eq!(told.names, ["shop-web-1"]);
        assert_eq!(told.replicas.len(), 1);
        assert_eq!(told.replicas[0].name, "shop-web-2");
    }
}
