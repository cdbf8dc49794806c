//! What docker compose is told of a replica, so that it shows the replica and leaves it alone.
//!
//! Not here: how that is written into labels (`docker`), and the definition that a replica is born from (`container`):
//! none of this changes what runs, so none of it is a part of the spec hash.

use std::path::PathBuf;

use super::ImageId;

/// What docker compose reads of a container, besides the names of its project and its service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ComposeMarks {
    /// Compose's own hash of the service; `None` where it is not known: then an `up` that includes the service takes the
    /// replica for one of an older definition.
    pub config_hash: Option<String>,
    /// The image that the replica is made from.
    pub image: Option<ImageId>,
    /// The Compose files in the order of `-f`, as absolute paths.
    pub files: Vec<PathBuf>,
    /// The project's directory, as an absolute path.
    pub working_dir: PathBuf,
    /// What the service depends on, each as compose writes it: `SERVICE:CONDITION:RESTART` (`db:service_healthy:false`).
    pub depends_on: Vec<String>,
}
