//! From a project to what the core wants: each service joined with its image, hardened, hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Catalog;
use crate::docker::{self, Engine, Error, Scope};
use crate::reconcile::{Desired, Listing};
use crate::spec::{
    self, Diagnostic, ImageFacts, ImageRef, NetworkName, Project, Published, Resolved, Service,
    ServiceName, VolumeName,
};

/// A project whose services are joined with their images.
#[derive(Clone, Debug)]
pub struct ResolvedProject {
    /// The project as the files have it.
    pub project: Project,
    /// Its phoenixes, hardened.
    pub services: BTreeMap<ServiceName, Resolved>,
}

/// What is done about an image that the engine does not have.
pub trait Missing {
    /// Tries to get it; `Ok` when the engine has it now.
    ///
    /// # Errors
    /// Why it cannot be had, in words for the user.
    fn get(&self, image: &ImageRef) -> impl Future<Output = Result<(), String>> + Send;
}

/// Nothing: commands that change nothing do not pull.
#[derive(Clone, Copy, Debug)]
pub struct NeverPull;

impl Missing for NeverPull {
    async fn get(&self, _: &ImageRef) -> Result<(), String> {
        Err("the engine does not have it, and this command does not pull".to_owned())
    }
}

/// Joins every service with its image. All problems come at once, those of images too.
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
    for service in project.services.values() {
        match facts(engine, service, missing).await? {
            Err(diagnostic) => diagnostics.push(diagnostic),
            Ok(facts) => {
                let (resolved, found) = spec::resolve(service, &facts);
                diagnostics.extend(found);
                services.extend(resolved.map(|resolved| (service.name.clone(), resolved)));
            }
        }
    }
    let resolved = (!spec::has_errors(&diagnostics)).then(|| ResolvedProject {
        project: project.clone(),
        services,
    });
    Ok((resolved, diagnostics))
}

/// What the engine knows of a service's image, after an attempt to get it.
async fn facts<E: Engine>(
    engine: &E,
    service: &Service,
    missing: &impl Missing,
) -> Result<Result<ImageFacts, Diagnostic>, Error> {
    let image = &service.container.image;
    if let Some(facts) = engine.image(image).await? {
        return Ok(Ok(facts));
    }
    let why = match missing.get(image).await {
        Ok(()) => match engine.image(image).await? {
            Some(facts) => return Ok(Ok(facts)),
            None => "it was pulled, but the engine does not have it".to_owned(),
        },
        Err(why) => why,
    };
    let message = format!("image `{image}` is not there: {why}");
    Ok(Err(Diagnostic::error(
        "no-image",
        service.place("image"),
        service.path("image"),
        message,
    )
    .hint(format!(
        "check the name, or get it: `docker pull {image}`"
    ))))
}

impl ResolvedProject {
    /// What the core wants.
    pub fn wanted(&self) -> BTreeMap<ServiceName, Desired> {
        self.services
            .iter()
            .map(|(name, resolved)| (name.clone(), self.desired(resolved)))
            .collect()
    }

    fn desired(&self, resolved: &Resolved) -> Desired {
        let container = &resolved.container;
        let networks: Vec<NetworkName> = container
            .attachments()
            .iter()
            .map(|attachment| attachment.network.clone())
            .collect();
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
                spec::MountSource::Volume { name, .. } => Some(name),
                spec::MountSource::Bind { .. } | spec::MountSource::Anonymous => None,
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
                .filter(|name| networks.contains(name))
                .cloned()
                .collect(),
            makes_volumes: own_volumes
                .filter(|name| mounted.contains(name))
                .cloned()
                .collect(),
            networks,
        }
    }

    /// What actions refer to by name.
    pub fn catalog(&self) -> Catalog {
        Catalog {
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
        }
    }

    /// What a listing is about.
    pub fn scope(&self) -> Scope {
        scope(&self.project)
    }

    /// Every port that the edge binds.
    pub fn ports(&self) -> BTreeSet<Published> {
        self.services
            .values()
            .flat_map(|resolved| resolved.service.published.iter().copied())
            .collect()
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
    }
}
