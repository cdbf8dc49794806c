//! From a project to what the core wants: each service joined with its image, hardened, hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::Catalog;
use super::images::{Images, Missing};
use super::pods::{Pod, PodGround};
use crate::docker::{self, ApiVersion, Engine, Error, Scope};
use crate::reconcile::{Desired, Listing};
use crate::spec::{
    self, ComposeMarks, Diagnostic, MountSource, NetworkName, NetworkSpec, Project, Published,
    Resolved, ServiceName, VolumeName,
};

/// A project whose services are joined with their images.
#[derive(Clone, Debug)]
pub struct ResolvedProject {
    /// The project as the files have it.
    pub project: Project,
    /// Its phoenixes, hardened.
    pub services: BTreeMap<ServiceName, Resolved>,
    /// Those of them that are reached through a pod.
    pub(super) pods: BTreeMap<ServiceName, Pod>,
    /// What pods are made on; `None` where this process forwards itself.
    pub(super) ground: Option<PodGround>,
}

/// Joins every service with its images. All problems come at once, those of images too, and what the engine's API does
/// not know.
///
/// # Errors
/// The engine could not be asked.
pub async fn resolve<E: Engine>(
    engine: &E,
    project: &Project,
    missing: &impl Missing,
) -> Result<(Option<ResolvedProject>, Vec<Diagnostic>), Error> {
    let mut diagnostics = Vec::new();
    let mut services = BTreeMap::new();
    let mut images = Images {
        engine,
        project,
        missing,
        built: Vec::new(),
    };
    for service in project.services.values() {
        let facts = images.facts(service).await?;
        let mounted = images.mounted(service).await?;
        match (facts, mounted) {
            (Ok(facts), Ok(service)) => {
                let (resolved, found) = spec::resolve(&service, &facts);
                diagnostics.extend(found);
                if let Some(mut resolved) = resolved {
                    diagnostics.extend(lacking(engine.api(), &resolved));
                    resolved.container.compose = Some(compose_marks(project, &resolved));
                    services.insert(service.name.clone(), resolved);
                }
            }
            (facts, mounted) => {
                diagnostics.extend(facts.err().into_iter().flatten());
                diagnostics.extend(mounted.err().into_iter().flatten());
            }
        }
    }
    let own = project.networks.iter().filter(|network| !network.external);
    diagnostics.extend(own.flat_map(|network| network_lacking(engine.api(), network)));
    let resolved =
        (!spec::has_errors(&diagnostics)).then(|| ResolvedProject::of(project.clone(), services));
    Ok((resolved, diagnostics))
}

/// What docker compose is told of a service's replicas.
fn compose_marks(project: &Project, resolved: &Resolved) -> ComposeMarks {
    // As compose writes them; one that cannot be told from here is told as it is named.
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    ComposeMarks {
        config_hash: resolved.service.compose_hash.clone(),
        image: Some(resolved.image.id.clone()),
        files: project.files.iter().map(absolute).collect(),
        working_dir: project.working_dir.clone(),
        depends_on: (resolved.service.depends_on.iter())
            .map(|(name, on)| format!("{name}:{}:{}", on.condition.name(), on.restart))
            .collect(),
    }
}

/// What the engine's API does not know.
fn lacking(api: ApiVersion, resolved: &Resolved) -> Vec<Diagnostic> {
    let service = &resolved.service;
    let needs = docker::container_needs(&resolved.container, api);
    let lacks = needs.into_iter().map(|need| {
        let (place, path) = (service.place(need.key), service.path(need.key));
        Diagnostic::error("engine-too-old", place, path, need.describe(api))
            .hint("remove it, or run it on a newer engine")
    });
    lacks.collect()
}

fn network_lacking(api: ApiVersion, network: &NetworkSpec) -> Vec<Diagnostic> {
    let needs = docker::network_needs(network, api);
    let lacks = needs.into_iter().map(|need| {
        let path = format!("networks.{}.{}", network.key, need.key);
        Diagnostic::error(
            "engine-too-old",
            network.place.clone(),
            path,
            need.describe(api),
        )
        .hint("remove it, or run it on a newer engine")
    });
    lacks.collect()
}

impl ResolvedProject {
    /// A project for which this process forwards itself; [`ResolvedProject::place_pods`] gives it pods.
    pub fn of(project: Project, services: BTreeMap<ServiceName, Resolved>) -> Self {
        Self {
            project,
            services,
            pods: BTreeMap::new(),
            ground: None,
        }
    }

    /// What the core wants.
    pub fn wanted(&self) -> BTreeMap<ServiceName, Desired> {
        let services = self.services.iter();
        let mut all: BTreeMap<ServiceName, Desired> = services
            .map(|(name, resolved)| (name.clone(), self.desired(resolved)))
            .collect();
        let pods = self.wanted_of_pods(&all);
        all.extend(pods);
        all
    }

    fn desired(&self, resolved: &Resolved) -> Desired {
        let container = &resolved.container;
        let networks: Vec<NetworkName> = container
            .attachments()
            .iter()
            .map(|attachment| attachment.network.clone())
            .collect();
        let on_ready = container.on_ready.as_ref();
        let on_ready = on_ready.map(|attachment| attachment.network.clone());
        let own_networks = self
            .project
            .networks
            .iter()
            .filter(|network| !network.external)
            .map(|network| &network.name);
        let own_volumes = self
            .project
            .volumes
            .iter()
            .filter(|volume| !volume.external)
            .map(|volume| &volume.name);
        let mounted: BTreeSet<&VolumeName> = container
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                MountSource::Volume { name, .. } => Some(name),
                MountSource::Bind { .. }
                | MountSource::Anonymous { .. }
                | MountSource::Image { .. } => None,
            })
            .collect();
        Desired {
            replicas: resolved.service.replicas,
            image: resolved.image.id.clone(),
            spec_hash: docker::spec_hash(container, &resolved.image.id),
            phoenix: resolved.service.phoenix.clone(),
            probe: resolved.probe.clone(),
            policy: resolved.policy,
            stop_grace: container.stop_grace,
            published: resolved.service.published.clone(),
            makes_networks: own_networks
                .filter(|name| networks.contains(name) || on_ready.as_ref() == Some(name))
                .cloned()
                .collect(),
            makes_volumes: own_volumes
                .filter(|name| mounted.contains(name))
                .cloned()
                .collect(),
            networks,
            on_ready,
            pod: self.ports_of_pod(&resolved.service.name),
            adopted: None,
            depends_on: resolved.service.depends_on.clone(),
            files: container
                .files
                .iter()
                .filter_map(spec::FileMount::digest)
                .collect(),
        }
    }

    /// What actions refer to by name.
    pub fn catalog(&self) -> Catalog {
        let mut catalog = Catalog {
            project: self.project.name.clone(),
            containers: self
                .services
                .iter()
                .map(|(name, resolved)| (name.clone(), Arc::new(resolved.container.clone())))
                .collect(),
            networks: self
                .project
                .networks
                .iter()
                .map(|network| (network.name.clone(), network.clone()))
                .collect(),
            volumes: self
                .project
                .volumes
                .iter()
                .map(|volume| (volume.name.clone(), volume.clone()))
                .collect(),
        };
        self.fill_catalog(&mut catalog);
        catalog
    }

    /// What a listing is about.
    pub fn scope(&self) -> Scope {
        scope(&self.project)
    }

    /// Every port that this process binds.
    pub fn ports(&self) -> BTreeSet<Published> {
        let services = self.services.iter();
        let own = services.filter(|(name, _)| !self.pods.contains_key(*name));
        own.flat_map(|(_, resolved)| resolved.service.published.iter().copied())
            .collect()
    }

    /// Every port that the engine binds for a pod, by service.
    pub fn ports_of_pods(&self) -> BTreeMap<ServiceName, BTreeSet<Published>> {
        let services = self.services.iter();
        let of_pods = services.filter(|(name, _)| self.pods.contains_key(*name));
        let ports = |resolved: &Resolved| resolved.service.published.iter().copied().collect();
        of_pods
            .map(|(name, resolved)| (name.clone(), ports(resolved)))
            .collect()
    }

    /// What pods are made on; `None` where this process forwards itself.
    pub fn ground(&self) -> Option<&PodGround> {
        self.ground.as_ref()
    }

    /// Networks and volumes that somebody else has to make, and has not.
    pub fn missing_externals(&self, listing: &Listing) -> Vec<Diagnostic> {
        let missing = |what: &str, key: &str, name: &str, place: &Option<spec::Place>| {
            Diagnostic::error(
                "no-external",
                place.clone(),
                format!("{what}s.{key}"),
                format!("the external {what} `{name}` does not exist"),
            )
            .hint(format!(
                "make it (`docker {what} create {name}`), or remove `external: true`"
            ))
        };
        let networks = self
            .project
            .networks
            .iter()
            .filter(|network| network.external);
        let networks = networks
            .filter(|network| {
                !listing
                    .networks
                    .iter()
                    .any(|seen| seen.name == network.name)
            })
            .map(|network| {
                missing(
                    "network",
                    &network.key,
                    network.name.as_str(),
                    &network.place,
                )
            });
        let volumes = self.project.volumes.iter().filter(|volume| volume.external);
        let volumes = volumes
            .filter(|volume| !listing.volumes.iter().any(|seen| seen.name == volume.name))
            .map(|volume| missing("volume", &volume.key, volume.name.as_str(), &volume.place));
        networks.chain(volumes).collect()
    }
}

/// What a listing of the project is about.
pub fn scope(project: &Project) -> Scope {
    Scope {
        project: project.name.clone(),
        networks: project
            .networks
            .iter()
            .map(|network| network.name.clone())
            .collect(),
        volumes: project
            .volumes
            .iter()
            .map(|volume| volume.name.clone())
            .collect(),
        originals: false,
        dependencies: project
            .services
            .values()
            .flat_map(|service| &service.depends_on)
            .filter(|(_, dependency)| dependency.run_by == spec::RunBy::Compose)
            .map(|(name, _)| name.clone())
            .collect(),
    }
}
