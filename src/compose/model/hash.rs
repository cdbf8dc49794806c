//! The hash by which docker compose tells whether a container is what its service asks for
//! (`com.docker.compose.config-hash`).
//!
//! As docker compose 2.40.3 makes it (`pkg/compose/hash.go`): SHA-256 of the service as Go writes it as JSON, without
//! what changes nothing about one container. A replica that carries it is "Running" to `docker compose up`.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::print;
use crate::compose::tree::Node;

/// What does not count: how many there are, what they wait for, where the image comes from.
const LEFT_OUT: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

/// The hash of a service in long form, in hexadecimal digits.
pub(in crate::compose) fn service_hash(service: &Node) -> String {
    let mut service = Arc::new(service.clone());
    for key in LEFT_OUT {
        service.remove(key);
    }
    service.change("deploy", |deploy| {
        let mut deploy = Arc::clone(deploy);
        deploy.remove("replicas");
        Some(deploy)
    });
    hex::encode(Sha256::digest(print::service(&service).to_compact_json()))
}
