//! Docker Compose's labels, on everything that phoenixd makes: so compose finds its networks and volumes where phoenixd
//! made them, and shows the replicas in `ps`, `logs` and `top`. The names are those of docker/compose v2.40.3,
//! `pkg/api/labels.go`.
//!
//! Nothing is ever known or decided by them: what is phoenixd's is told by its own labels (`labels`) alone.

use std::path::Path;

use super::Birth;
use crate::adopt;
use crate::spec::{ComposeMarks, ImageId, ProjectName, ServiceName};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
const IMAGE: &str = "com.docker.compose.image";
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
const NETWORK: &str = "com.docker.compose.network";
const VOLUME: &str = "com.docker.compose.volume";
const VERSION: &str = "com.docker.compose.version";

/// What phoenixd calls itself to compose, which wants a version on what it adopts.
const OWN_VERSION: &str = concat!("phoenixd-", env!("CARGO_PKG_VERSION"));

/// A replica's labels, those that compose itself would set.
///
/// The number is the serial: with it a container's name is the one that compose would choose, so compose shows its short
/// form; and no two replicas that exist have the same. A container without a config hash is none to compose v2, and one
/// without its files makes `docker compose ls` fail for all projects (`pkg/compose/ls.go`): both are always there.
///
/// One that took the place of a container of compose has that one's own labels already, its number included: to compose it
/// is that container.
pub(super) fn of_replica(birth: &Birth) -> Vec<(String, String)> {
    // Compose knows no pods: to it they would be containers of a service that is not in the file.
    if birth.container.labels.contains_key(adopt::ADOPTED)
        || birth.replica.service.pod_part().is_some()
    {
        return Vec::new();
    }
    let unknown = ComposeMarks::default();
    let marks = birth.container.compose.as_ref().unwrap_or(&unknown);
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let files: Vec<String> = marks.files.iter().map(|file| path(file)).collect();
    // Equal to none of compose's, which have 64 digits.
    let hash = marks
        .config_hash
        .clone()
        .unwrap_or_else(|| birth.spec_hash.to_string());
    let image = marks.image.as_ref().map(ImageId::to_string);
    [
        (PROJECT, birth.project.to_string()),
        (SERVICE, birth.replica.service.to_string()),
        (CONTAINER_NUMBER, birth.replica.serial.to_string()),
        (ONE_OFF, "False".to_owned()),
        (CONFIG_HASH, hash),
        (CONFIG_FILES, files.join(",")),
        (WORKING_DIR, path(&marks.working_dir)),
        (DEPENDS_ON, marks.depends_on.join(",")),
        (VERSION, OWN_VERSION.to_owned()),
    ]
    .into_iter()
    .chain(image.map(|id| (IMAGE, id)))
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// A network's labels. Without a config hash, compose takes the network as it is (`pkg/compose/create.go`,
/// `resolveOrCreateNetwork`); with one that it does not agree with, it would stop what is attached, and make it anew.
pub(super) fn of_network(project: &ProjectName, key: &str) -> [(String, String); 3] {
    of_resource(project, NETWORK, key)
}

/// A volume's labels; of the config hash the same is true, but that compose would ask first (`ensureVolume`).
pub(super) fn of_volume(project: &ProjectName, key: &str) -> [(String, String); 3] {
    of_resource(project, VOLUME, key)
}

/// The labels of an image that is built for a service (`pkg/compose/build.go`, `getImageBuildLabels`).
pub(super) fn of_image(project: &ProjectName, service: &ServiceName) -> [(String, String); 3] {
    [
        (PROJECT, project.as_str()),
        (SERVICE, service.as_str()),
        (VERSION, OWN_VERSION),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn of_resource(project: &ProjectName, kind: &str, key: &str) -> [(String, String); 3] {
    [
        (PROJECT, project.as_str()),
        (kind, key),
        (VERSION, OWN_VERSION),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}
