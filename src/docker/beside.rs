//! What the engine has beside the project: whom each container was made to be with, and which ids networks have.
//!
//! A container is inspected once: what is asked for does not change while it is there. Its name and its networks may, and
//! are in the listing. Not here: whether one may run, which
//! is the guard's to say.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions};
use futures::{StreamExt, TryStreamExt};

use super::list::CONCURRENT;
use super::{Docker, Error, calls};
use crate::reconcile::{Beside, Neighbour};
use crate::spec::{ContainerId, NetworkName, VolumeName};

pub(super) async fn beside(docker: &Docker, known: Beside) -> Result<Beside, Error> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let listed = docker.api.list_containers(Some(options));
    let listed = docker.call("list all", calls::LOOK, listed).await?;
    let mut now = BTreeMap::new();
    for summary in listed {
        let id = ContainerId::new(summary.id.ok_or(Error::Malformed { field: "Id" })?);
        // Legacy links are names, too: `/other/alias`. The container's own has one slash.
        let mut all = summary.names.into_iter().flatten();
        let own = all.find(|name| name.matches('/').count() <= 1);
        let settings = summary.network_settings.and_then(|it| it.networks);
        let networks: BTreeSet<NetworkName> = (settings.into_iter().flatten())
            .map(|(name, _)| NetworkName::new(name))
            .collect();
        now.insert(id, (plain(&own.unwrap_or_default()).to_owned(), networks));
    }
    let mut containers = known.containers;
    containers.retain(|id, _| now.contains_key(id));
    let fresh: Vec<ContainerId> = now
        .keys()
        .filter(|id| !containers.contains_key(*id))
        .cloned()
        .collect();
    let found: Vec<(ContainerId, Neighbour)> = futures::stream::iter(fresh)
        .map(|id| async move {
            match docker.answer(id.as_str()).await {
                Ok(answer) => Ok(answer.map(|answer| (id, neighbour(&answer)))),
                // It could not be started either. It is asked for again.
                Err(Error::TimedOut { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffer_unordered(CONCURRENT)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await?;
    containers.extend(found);
    for (id, neighbour) in &mut containers {
        if let Some((name, networks)) = now.remove(id) {
            neighbour.name = name;
            neighbour.networks = networks;
        }
    }
    Ok(Beside {
        containers,
        networks: networks(docker).await?,
    })
}

async fn networks(docker: &Docker) -> Result<BTreeMap<NetworkName, BTreeSet<String>>, Error> {
    let listed = docker.api.list_networks(None::<ListNetworksOptions>);
    let listed = docker.call("list networks", calls::LOOK, listed).await?;
    let mut ids: BTreeMap<NetworkName, BTreeSet<String>> = BTreeMap::new();
    for network in listed {
        if let (Some(name), Some(id)) = (network.name, network.id) {
            ids.entry(NetworkName::new(name)).or_default().insert(id);
        }
    }
    Ok(ids)
}

/// Whose namespaces, volumes and links it was made to have.
fn neighbour(answer: &ContainerInspectResponse) -> Neighbour {
    let mut joins = BTreeSet::new();
    if let Some(host) = &answer.host_config {
        let modes = [
            &host.network_mode,
            &host.pid_mode,
            &host.ipc_mode,
            &host.uts_mode,
            &host.cgroup,
        ];
        let modes = modes.into_iter().flatten();
        joins.extend(
            modes
                .filter_map(|mode| mode.strip_prefix("container:"))
                .map(plain),
        );
        let lists = [&host.volumes_from, &host.links];
        joins.extend(
            lists
                .into_iter()
                .flatten()
                .flatten()
                .map(|text| before_colon(text)),
        );
    }
    let settings = answer.network_settings.as_ref();
    let endpoints = settings.and_then(|settings| settings.networks.as_ref());
    let links = endpoints.into_iter().flatten();
    let links = links.flat_map(|(_, endpoint)| endpoint.links.iter().flatten());
    joins.extend(links.map(|link| before_colon(link)));
    let mounts = answer.mounts.iter().flatten();
    let volumes = mounts.filter(|mount| mount.typ.as_deref() == Some("volume"));
    Neighbour {
        name: answer
            .name
            .as_deref()
            .map(plain)
            .unwrap_or_default()
            .to_owned(),
        joins: joins.into_iter().map(str::to_owned).collect(),
        volumes: volumes
            .filter_map(|mount| mount.name.as_ref())
            .map(VolumeName::new)
            .collect(),
        networks: BTreeSet::new(),
    }
}

fn before_colon(text: &str) -> &str {
    plain(text.split(':').next().unwrap_or_default())
}

/// In the API a name begins with a slash.
fn plain(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}
