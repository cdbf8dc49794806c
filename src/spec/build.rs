//! How an image is made: `build:` of a service.
//!
//! Not here: when it is built (`daemon`), and how the engine is asked for it (`docker`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Place, Ulimit};

/// How the image of a service is made where the engine does not have it.
#[derive(Clone, PartialEq, Debug)]
pub struct Build {
    /// What the build may copy from.
    pub context: BuildContext,
    /// The steps.
    pub dockerfile: Dockerfile,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage that becomes the image; the last one where `None`.
    pub target: Option<String>,
    /// The user's labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Images whose layers may be used again.
    pub cache_from: Vec<String>,
    /// Run every step anew.
    pub no_cache: bool,
    /// Ask the registry for newer base images.
    pub pull: bool,
    /// The network of `RUN` steps; the engine's default where `None`.
    pub network: Option<String>,
    /// Size of `/dev/shm` in `RUN` steps, in bytes.
    pub shm_size_bytes: Option<i64>,
    /// Limits of processes in `RUN` steps.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Lines of `/etc/hosts` in `RUN` steps: `name:address`.
    pub extra_hosts: Vec<String>,
    /// `os/arch[/variant]`; the engine's own where `None`.
    pub platform: Option<String>,
    /// Further names for the image.
    pub tags: Vec<String>,
    /// What is asked for that only `BuildKit` can do. It is a problem only where phoenixd has to build.
    pub beyond: Vec<Beyond>,
}

/// What a build may copy from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildContext {
    /// A directory of this host, as an absolute path.
    Directory(PathBuf),
    /// An address that the engine fetches from: a Git repository, or an archive by HTTP.
    Remote(String),
}

/// The steps of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dockerfile {
    /// A file: relative to the context, or absolute.
    File(String),
    /// Its text (`dockerfile_inline`).
    Inline(String),
}

/// A key of `build:` that the engine's build API cannot honour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beyond {
    /// The key: `secrets`.
    pub key: String,
    /// Where it stands.
    pub place: Place,
}
