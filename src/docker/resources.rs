//! Networks and volumes, made as docker compose v2 makes them, so that it finds them later without complaint.
//!
//! Not here: which of them are wanted, and when they are removed (`reconcile`).

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use hyper::http::Method;

use super::body::{some_map, to_json};
use super::connect::within;
use super::transport::request_with;
use super::{Docker, Error, calls, labels};
use crate::spec::{IpamPool, NetworkSpec, ProjectName, VolumeSpec};

/// Docker Compose's labels (docker/compose v2.40.3, `pkg/api/labels.go`).
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_NETWORK: &str = "com.docker.compose.network";
const COMPOSE_VOLUME: &str = "com.docker.compose.volume";
const COMPOSE_VERSION: &str = "com.docker.compose.version";

pub(super) async fn create_network(
    docker: &Docker,
    project: &ProjectName,
    network: &NetworkSpec,
) -> Result<(), Error> {
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
        Ok(_) => Ok(()),
        Err(Error::Conflict { message }) if is_name_taken(&message) => Ok(()),
        Err(error) => Err(error),
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
        enable_ipv6: network.enable_ipv6.then_some(true),
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
                .chain(own_labels(project, COMPOSE_NETWORK, &network.key))
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
                .chain(own_labels(project, COMPOSE_VOLUME, &volume.key))
                .collect(),
        ),
        cluster_volume_spec: None,
    }
}

/// Ours, and Docker Compose's, without which it says that the thing "was not created by Docker Compose".
fn own_labels(project: &ProjectName, kind: &str, key: &str) -> [(String, String); 5] {
    [
        (labels::PROJECT, project.as_str()),
        (labels::VERSION, labels::OWN_VERSION),
        (COMPOSE_PROJECT, project.as_str()),
        (kind, key),
        (COMPOSE_VERSION, labels::COMPOSE_VERSION),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}
