//! Everything of a project that the engine has, in one listing.
//!
//! Not here: how an inspection is understood (`convert`).

use std::collections::BTreeSet;

use bollard::models::{ContainerSummary, Network, Volume};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
};
use futures::{StreamExt, TryStreamExt};

use super::{Docker, Error, Scope, calls, convert, examine, labels};
use crate::reconcile::{DependencySeen, Listing, NetworkSeen, Observed, VolumeSeen};
use crate::spec::{ContainerId, NetworkName, ProjectName, Published, ServiceName, VolumeName};

/// Inspections at once. More only queue in the engine, and each takes a connection.
pub(super) const CONCURRENT: usize = 8;

pub(super) async fn list(docker: &Docker, scope: &Scope) -> Result<Listing, Error> {
    let Looked { containers, silent } = containers(docker, scope).await?;
    // Without a filter: the engine can ask for a label and a name, not for a label or a name.
    let networks = docker
        .call(
            "list networks",
            calls::LOOK,
            docker.api.list_networks(None::<ListNetworksOptions>),
        )
        .await?;
    let volumes = docker
        .call(
            "list volumes",
            calls::LOOK,
            docker.api.list_volumes(None::<ListVolumesOptions>),
        )
        .await?;
    Ok(Listing {
        containers,
        silent,
        networks: networks
            .into_iter()
            .filter_map(|network| network_seen(network, scope))
            .collect(),
        volumes: volumes
            .volumes
            .into_iter()
            .flatten()
            .filter_map(|volume| volume_seen(volume, scope))
            .collect(),
        dependencies: dependencies(docker, &scope.project, &scope.dependencies).await?,
        ..Listing::default()
    })
}

/// The containers that carry the project's label, by name; originals, where they are asked for, before them.
async fn containers(docker: &Docker, scope: &Scope) -> Result<Looked, Error> {
    let own = with_labels(docker, vec![labels::project_filter(&scope.project)]).await?;
    if !scope.originals {
        return Ok(own);
    }
    let mut all = with_labels(docker, examine::original_filters(&scope.project)).await?;
    // The labels match replicas too, which are listed already, and what is no original.
    all.containers.retain(Observed::is_original);
    all.containers.extend(own.containers);
    all.silent.extend(own.silent);
    Ok(all)
}

/// What came of looking at containers one by one.
struct Looked {
    containers: Vec<Observed>,
    /// The engine answers, but not about these: one whose cgroup is frozen at the wrong moment keeps its lock for ever
    /// (20.10.24: a pause while `runc exec` begins). The others are none the worse for it.
    silent: BTreeSet<ContainerId>,
}

/// The containers that carry all of these labels, by name.
async fn with_labels(docker: &Docker, wanted: Vec<String>) -> Result<Looked, Error> {
    let summaries = summaries(docker, wanted).await?;
    let looks: Vec<Result<Option<Observed>, ContainerId>> = futures::stream::iter(summaries)
        .map(|summary| async move {
            let id = summary.id.ok_or(Error::Malformed { field: "Id" })?;
            match docker.look(&id).await {
                Ok(seen) => Ok(Ok(seen)),
                Err(Error::TimedOut { .. }) => Ok(Err(ContainerId::new(id))),
                Err(error) => Err(error),
            }
        })
        .buffer_unordered(CONCURRENT)
        .try_collect()
        .await?;
    let mut looked = Looked {
        containers: Vec::new(),
        silent: BTreeSet::new(),
    };
    for look in looks {
        match look {
            // One that vanished since it was listed is not there.
            Ok(seen) => looked.containers.extend(seen),
            Err(id) => drop(looked.silent.insert(id)),
        }
    }
    looked
        .containers
        .sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(looked)
}

/// The containers of docker compose's services, by id. Nothing is asked where there are no such services.
pub(super) async fn dependencies(
    docker: &Docker,
    project: &ProjectName,
    services: &BTreeSet<ServiceName>,
) -> Result<Vec<DependencySeen>, Error> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let summaries = summaries(docker, vec![labels::compose_filter(project)]).await?;
    let of_service = |summary: ContainerSummary| {
        let labels = summary.labels.unwrap_or_default();
        let service = labels::compose_service(|name| labels.get(name))?;
        services.contains(&service).then_some((summary.id, service))
    };
    let mut seen: Vec<DependencySeen> =
        futures::stream::iter(summaries.into_iter().filter_map(of_service))
            .map(|(id, service)| async move {
                let id = id.ok_or(Error::Malformed { field: "Id" })?;
                let answer = match docker.answer(&id).await {
                    // Nothing is known of it until the engine answers about it again.
                    Err(Error::TimedOut { .. }) => None,
                    answer => answer?,
                };
                answer
                    .map(|answer| convert::dependency(&answer, service))
                    .transpose()
            })
            .buffer_unordered(CONCURRENT)
            .try_filter_map(async |seen| Ok(seen))
            .try_collect()
            .await?;
    seen.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
    Ok(seen)
}

/// The containers that carry a label, running or not.
async fn summaries(docker: &Docker, labels: Vec<String>) -> Result<Vec<ContainerSummary>, Error> {
    let filters = [("label".to_owned(), labels)];
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters.into_iter().collect())
        .build();
    docker
        .call(
            "list",
            calls::LOOK,
            docker.api.list_containers(Some(options)),
        )
        .await
}

impl Docker {
    /// The names of the containers that publish a port of the host, whoever made them: one of them may be in the way of
    /// somebody else's. On which of the host's addresses is not looked at.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn publishing(&self, port: Published) -> Result<Vec<String>, Error> {
        // Docker's own form (docker 28.5 `docker ps --filter publish=8080/tcp`; 20.10 has it, too).
        let wanted = format!("{}/{}", port.host_port, port.transport.name());
        let filters = [("publish".to_owned(), vec![wanted])];
        let options = ListContainersOptionsBuilder::new()
            .filters(&filters.into_iter().collect())
            .build();
        let listed = self
            .call("list", calls::LOOK, self.api.list_containers(Some(options)))
            .await?;
        // In the API a name begins with a slash.
        let name = |summary: ContainerSummary| summary.names?.into_iter().next();
        let names = listed.into_iter().filter_map(name);
        Ok(names
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect())
    }
}

fn network_seen(network: Network, scope: &Scope) -> Option<NetworkSeen> {
    let name = NetworkName::new(network.name?);
    let labels = network.labels.unwrap_or_default();
    let ours = labels.get(labels::PROJECT).map(String::as_str) == Some(scope.project.as_str());
    (ours || scope.networks.contains(&name)).then_some(NetworkSeen { name, ours })
}

fn volume_seen(volume: Volume, scope: &Scope) -> Option<VolumeSeen> {
    let name = VolumeName::new(volume.name);
    let ours =
        volume.labels.get(labels::PROJECT).map(String::as_str) == Some(scope.project.as_str());
    (ours || scope.volumes.contains(&name)).then_some(VolumeSeen { name, ours })
}
