//! What a project is read from: the caller's files, variables and wishes, and the host's files that these name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that a project is read from.
#[derive(Clone, Debug)]
pub struct Input {
    /// The Compose files, in the order of `-f`.
    pub files: Vec<SourceFile>,
    /// `-p`.
    pub project_name: Option<String>,
    /// The project's directory, absolute: where relative paths start. That of the first file, unless the user names
    /// another.
    pub working_dir: PathBuf,
    /// Where the caller is, absolute: where the names of the files start.
    pub current_dir: PathBuf,
    /// The environment, `.env` included ([`super::add_dotenv`]).
    pub environment: BTreeMap<String, String>,
    /// The active profiles. A phoenix is taken whatever its profiles are.
    pub profiles: Vec<String>,
}

/// One Compose file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As the user named it.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
}

/// The files of the host that a Compose file may name.
pub trait Files {
    /// What is in a file (`env_file`, `file` of a secret or config).
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError>;

    /// The path with symlinks resolved as far as it exists, so that none leads past a refusal.
    fn canonicalize(&self, path: &Path) -> PathBuf;

    /// Whether there is something at the path.
    fn exists(&self, path: &Path) -> bool;

    /// The socket of the engine that is used, symlinks resolved; `None` where it is no file of this host.
    fn engine_socket(&self) -> Option<PathBuf>;
}

/// Why a file could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("there is no such file")]
    NotFound,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(String),
}
