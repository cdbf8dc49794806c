//! What a definition needs of the engine's API.
//!
//! An engine drops what its API does not know without a word (20.10.24 with `Annotations`). Where that would make
//! something else than was asked for, it is refused: when a project is resolved, with the place in the file, and once
//! more before the call, since an engine may be replaced by an older one while phoenixd runs.

use super::endpoint::ApiVersion;
use super::{Error, error};
use crate::spec::{ContainerSpec, HealthTest, INTERFACE_NAME, MountSource, NetworkSpec, Recursive};

/// One need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    /// The key of the file that asks for it.
    pub key: &'static str,
    /// What is asked for.
    pub what: &'static str,
    /// The first API that knows it.
    pub since: ApiVersion,
    /// The first Docker Engine with that API.
    pub engine: &'static str,
}

const fn need(key: &'static str, what: &'static str, minor: u32, engine: &'static str) -> Need {
    Need {
        key,
        what,
        since: ApiVersion::one(minor),
        engine,
    }
}

/// What of a container an engine with this API would drop. Versions as in the history of the Docker Engine API, and as
/// docker/compose v2.40.3 has them (`pkg/compose/create.go`, `convert.go`).
pub fn container_needs(container: &ContainerSpec, api: ApiVersion) -> Vec<Need> {
    let mounts = |has: fn(&MountSource) -> bool| container.mounts.iter().any(|m| has(&m.source));
    let attached = container.attachments();
    let check = container.healthcheck.as_ref();
    let asked = [
        (
            !container.annotations.is_empty(),
            need("annotations", "`annotations`", 43, "24"),
        ),
        (
            mounts(|source| match source {
                MountSource::Bind { recursive, .. } => {
                    matches!(recursive, Recursive::Writable | Recursive::Readonly)
                }
                MountSource::Volume { .. }
                | MountSource::Anonymous { .. }
                | MountSource::Image { .. } => false,
            }),
            need("volumes", "`recursive` of a bind mount", 44, "25"),
        ),
        (
            check.is_some_and(|c| c.start_interval.is_some() && c.test != HealthTest::None),
            need(
                "healthcheck",
                "`start_interval` of a health check",
                44,
                "25",
            ),
        ),
        (
            mounts(|source| match source {
                MountSource::Volume { subpath, .. } => subpath.is_some(),
                MountSource::Bind { .. }
                | MountSource::Anonymous { .. }
                | MountSource::Image { .. } => false,
            }),
            need("volumes", "a volume's `subpath`", 45, "26"),
        ),
        (
            mounts(|source| match source {
                MountSource::Image { .. } => true,
                MountSource::Bind { .. }
                | MountSource::Volume { .. }
                | MountSource::Anonymous { .. } => false,
            }),
            need("volumes", "a mount of type `image`", 48, "28"),
        ),
        (
            attached
                .iter()
                .any(|one| one.gw_priority.is_some_and(|priority| priority != 0)),
            need("networks", "`gw_priority`", 48, "28"),
        ),
        (
            (attached.iter()).any(|one| one.driver_opts.contains_key(INTERFACE_NAME)),
            need("networks", "`interface_name`", 49, "28.1"),
        ),
    ];
    unmet(asked, api)
}

/// The same of a network.
pub fn network_needs(network: &NetworkSpec, api: ApiVersion) -> Vec<Need> {
    let asked = [(
        network.enable_ipv4 == Some(false),
        need("enable_ipv4", "a network without IPv4", 48, "28"),
    )];
    unmet(asked, api)
}

fn unmet(asked: impl IntoIterator<Item = (bool, Need)>, api: ApiVersion) -> Vec<Need> {
    asked
        .into_iter()
        .filter(|(is_asked, need)| *is_asked && api < need.since)
        .map(|(_, need)| need)
        .collect()
}

impl Need {
    /// Says what is missing.
    pub fn describe(&self, api: ApiVersion) -> String {
        format!(
            "{} needs API {} (Docker Engine {}), and the engine speaks {api}",
            self.what, self.since, self.engine
        )
    }
}

/// The first of them as the refusal of a call.
pub(super) fn refuse(needs: &[Need], api: ApiVersion) -> Result<(), Error> {
    match needs.first() {
        None => Ok(()),
        Some(need) => Err(error::refusal(400, need.describe(api))),
    }
}
