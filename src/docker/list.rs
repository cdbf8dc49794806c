//! Everything of a project that the engine has, in one listing.
//!
//! Not here: how an inspection is understood (`convert`).

use bollard::models::{Network, Volume};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
};
use futures::{StreamExt, TryStreamExt};

use super::{Docker, Error, Scope, calls, labels};
use crate::reconcile::{Listing, NetworkSeen, Observed, VolumeSeen};
use crate::spec::{NetworkName, VolumeName};

/// Inspections at once. More only queue in the engine, and each takes a connection.
const CONCURRENT: usize = 8;

pub(super) async fn list(docker: &Docker, scope: &Scope) -> Result<Listing, Error> {
    let containers = containers(docker, scope).await?;
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
    })
}

/// The containers that carry the project's label, by name.
async fn containers(docker: &Docker, scope: &Scope) -> Result<Vec<Observed>, Error> {
    let filters = [(
        "label".to_owned(),
        vec![labels::project_filter(&scope.project)],
    )];
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters.into_iter().collect())
        .build();
    let summaries = docker
        .call(
            "list",
            calls::LOOK,
            docker.api.list_containers(Some(options)),
        )
        .await?;
    let mut containers: Vec<Observed> = futures::stream::iter(summaries)
        .map(|summary| async move {
            let id = summary.id.ok_or(Error::Malformed { field: "Id" })?;
            docker.look(&id).await
        })
        .buffer_unordered(CONCURRENT)
        // One that vanished since it was listed is not there.
        .try_filter_map(async |seen| Ok(seen))
        .try_collect()
        .await?;
    containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(containers)
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
