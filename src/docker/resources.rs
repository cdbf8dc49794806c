//! Networks and volumes, made as docker compose v2 makes them, so that it finds them later without complaint.
//!
//! Not here: which of them are wanted, and when they are removed (`reconcile`).

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use hyper::http::Method;

use super::body::{some_map, to_json};
use super::connect::within;
use super::transport::request_with;
use super::{Docker, Error, calls, compose_labels, labels, needs};
use crate::spec::{IpamPool, NetworkName, NetworkSpec, ProjectName, VolumeSpec};

pub(super) async fn create_network(
    docker: &Docker,
    project: &ProjectName,
    network: &NetworkSpec,
) -> Result<(), Error> {
    let api = docker.api_version();
    needs::refuse(&needs::network_needs(network, api), api)?;
    let mut body = to_json(&network_request(project, network));
    // Below API 1.44 an engine makes a second network of the same name unless it is told not to, and bollard's
    // model has lost the field (moby v20.10.24, `daemon/network.go`, `createNetwork`).
    if let Some(fields) = body.as_object_mut() {
        fields.insert("CheckDuplicate".to_owned(), true.into());
    }
    let request = request_with(
        Method::POST,
        "/networks/create",
        "application/json",
        body.to_string(),
    )?;
    let created = within(
        "create network",
        calls::CHANGE,
        docker.wire.exchange("create network", request),
    )
    .await;
    match created {
        Ok(_) => keep_one(docker, &network.name).await,
        Err(Error::Conflict { message }) if is_name_taken(&message) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what of phoenixd's networks of a name is too many: all where somebody else has one, else the younger. 20.10.24 checks for the name and then makes the
/// network, without a lock between the two, so that two who ask at once get two networks; every reference by name is
/// then refused as ambiguous.
async fn keep_one(docker: &Docker, name: &NetworkName) -> Result<(), Error> {
    let mut same = named(docker, name).await?;
    same.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let is_sole_maker = same.iter().all(is_ours);
    let too_many = same.iter().filter(|network| is_ours(network));
    for network in too_many.skip(usize::from(is_sole_maker)) {
        remove_by_id(docker, network).await?;
    }
    Ok(())
}

/// Removes a network by its id: for a name the engine would also take the beginning of somebody else's id.
pub(super) async fn remove_network(docker: &Docker, name: &NetworkName) -> Result<(), Error> {
    let same = named(docker, name).await?;
    let is_ambiguous = same.len() > 1;
    for network in same
        .iter()
        .filter(|network| !is_ambiguous || is_ours(network))
    {
        remove_by_id(docker, network).await?;
    }
    Ok(())
}

/// The networks of exactly this name; the engine's own filter takes it for a part of one.
async fn named(docker: &Docker, name: &NetworkName) -> Result<Vec<Network>, Error> {
    let filters = [("name".to_owned(), vec![name.to_string()])];
    let options = ListNetworksOptionsBuilder::new()
        .filters(&filters.into_iter().collect())
        .build();
    let mut networks = docker
        .call(
            "list networks",
            calls::LOOK,
            docker.api.list_networks(Some(options)),
        )
        .await?;
    networks.retain(|network| network.name.as_deref() == Some(name.as_str()));
    Ok(networks)
}

/// phoenixd made it, for whatever project.
fn is_ours(network: &Network) -> bool {
    network
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(labels::PROJECT))
}

async fn remove_by_id(docker: &Docker, network: &Network) -> Result<(), Error> {
    let id = network
        .id
        .as_deref()
        .ok_or(Error::Malformed { field: "Id" })?;
    let removed = docker
        .call(
            "remove network",
            calls::CHANGE,
            docker.api.remove_network(id),
        )
        .await;
    match removed {
        // 403 "network … has active endpoints" (20.10.24, 28.5.2).
        Err(Error::Refused { message, .. }) if message.contains("active endpoints") => {
            Err(Error::Conflict { message })
        }
        other => calls::gone_is_done(other),
    }
}

/// "network with name … already exists" (20.10.24, 28.5.2); a conflict of addresses is another matter.
fn is_name_taken(message: &str) -> bool {
    message.contains("with name") && message.contains("already exists")
}

pub(super) async fn create_volume(
    docker: &Docker,
    project: &ProjectName,
    volume: &VolumeSpec,
) -> Result<(), Error> {
    // An existing volume of the same driver is answered with 201; labels and options of the request are then ignored.
    let created = docker
        .call(
            "create volume",
            calls::CHANGE,
            docker.api.create_volume(volume_request(project, volume)),
        )
        .await;
    match created {
        Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn network_request(project: &ProjectName, network: &NetworkSpec) -> NetworkCreateRequest {
    let has_ipam = network.ipam_driver.is_some() || !network.ipam_pools.is_empty();
    NetworkCreateRequest {
        name: network.name.to_string(),
        driver: network.driver.clone(),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        options: some_map(&network.driver_opts),
        ipam: has_ipam.then(|| Ipam {
            driver: network.ipam_driver.clone(),
            config: Some(network.ipam_pools.iter().map(ipam_config).collect()),
            options: None,
        }),
        labels: Some(
            network
                .labels
                .clone()
                .into_iter()
                .chain(labels::of_resource(project))
                .chain(compose_labels::of_network(project, &network.key))
                .collect(),
        ),
        ..NetworkCreateRequest::default()
    }
}

fn ipam_config(pool: &IpamPool) -> IpamConfig {
    IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: some_map(&pool.aux_addresses),
    }
}

fn volume_request(project: &ProjectName, volume: &VolumeSpec) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(volume.name.to_string()),
        driver: volume.driver.clone(),
        driver_opts: some_map(&volume.driver_opts),
        labels: Some(
            volume
                .labels
                .clone()
                .into_iter()
                .chain(labels::of_resource(project))
                .chain(compose_labels::of_volume(project, &volume.key))
                .collect(),
        ),
        cluster_volume_spec: None,
    }
}
