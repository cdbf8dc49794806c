//! The labels by which docker compose knows its containers, and those that phoenixd gives to replicas.

use std::collections::BTreeMap;

use super::{TTL, Unit};
use crate::spec::{ProjectName, ServiceName};

// docker/compose v2.40.3, `pkg/api/labels.go`.
/// The project of a container of docker compose.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
const COMPOSE_CONFIG_HASH: &str = "com.docker.compose.config-hash";
const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
/// The image that a container was made from, by its id; `docker compose up` makes a container anew that has another one.
pub const COMPOSE_IMAGE: &str = "com.docker.compose.image";
/// What an adopted replica carries of its original.
pub const ADOPTED: &str = "phoenixd.adopted";
/// The published ports that lead to a replica.
pub(super) const PORTS: &str = "phoenixd.ports";

/// The labels that phoenixd itself gives to replicas; every other one below `phoenixd.` is the operator's.
pub const OWN: [&str; 10] = [
    "phoenixd.project",
    "phoenixd.service",
    "phoenixd.serial",
    "phoenixd.generation",
    "phoenixd.spec-hash",
    "phoenixd.probe",
    PORTS,
    "phoenixd.policy",
    "phoenixd.version",
    ADOPTED,
];

/// Whether phoenixd itself gives this label to replicas.
pub(super) fn is_own(label: &str) -> bool {
    OWN.contains(&label)
}

/// Which container of docker compose it is; `None` for one that is none, and for those of `docker compose run`.
pub fn unit(labels: &BTreeMap<String, String>) -> Option<Unit> {
    let text = |key: &str| {
        labels
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    if text(COMPOSE_ONEOFF).is_some_and(|oneoff| oneoff.eq_ignore_ascii_case("true")) {
        return None;
    }
    Some(Unit {
        project: ProjectName::new(text(COMPOSE_PROJECT)?),
        service: ServiceName::new(text(COMPOSE_SERVICE)?),
        number: text(COMPOSE_NUMBER)?
            .parse()
            .ok()
            .filter(|number| *number > 0)?,
    })
}

/// Docker compose's own hash of the service that a container was made from; empty where it does not say. A replica has
/// that of its original.
pub fn definition(labels: &BTreeMap<String, String>) -> String {
    labels.get(COMPOSE_CONFIG_HASH).cloned().unwrap_or_default()
}

/// Whether it is an original that may be replaced: made by docker compose, not by phoenixd, and with the operator's
/// consent.
pub fn is_original(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(TTL)
        && unit(labels).is_some()
        && !OWN.iter().any(|own| labels.contains_key(*own))
}
