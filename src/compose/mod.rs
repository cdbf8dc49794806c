//! Compose text -> spec, or diagnostics with `file:line:column`, all of them at once.
//!
//! The way of a file: bytes become a tree in which every node knows its place (`yaml`, `tree`); variables are replaced
//! in the parts that belong to a phoenix (`interpolate`); the tree is bound by hand to the types of `spec` (`project`,
//! `service`, `phoenix`, `top`). Merging of several files, `extends`, `include` and profiles will be transformations of
//! the tree before the binding.
//!
//! Pure: the caller reads the Compose files and the environment; `env_file`s and symlinks are asked for through
//! [`Files`]. Not here: anything that needs an image or an engine (`spec::resolve`), and printing (`report`).

mod bind;
mod dotenv;
mod image;
mod interpolate;
mod paths;
mod phoenix;
mod problems;
mod project;
mod scalar;
mod service;
mod shell;
mod suggest;
mod top;
mod tree;
mod yaml;
mod yaml_error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::problems::Problems;
use crate::spec::{Diagnostic, Place, Project, has_errors};

/// Everything that a project is read from.
#[derive(Clone, Debug)]
pub struct Input {
    /// The Compose files, in the order of `-f`.
    pub files: Vec<SourceFile>,
    /// `-p` or `COMPOSE_PROJECT_NAME`.
    pub project_name: Option<String>,
    /// The absolute directory of the first file: where relative paths start.
    pub working_dir: PathBuf,
    /// The environment, `.env` included.
    pub environment: BTreeMap<String, String>,
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
    /// What is in a file (`env_file`).
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

/// Reads a project. All problems come at once, in the order of the file; a project only when none is an error.
pub fn load(input: &Input, files: &dyn Files) -> (Option<Project>, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let project = read(input, files, &mut problems);
    let diagnostics = problems.sorted();
    let project = project.filter(|_| !has_errors(&diagnostics));
    (project, diagnostics)
}

fn read(input: &Input, files: &dyn Files, out: &mut Problems) -> Option<Project> {
    let [file, more @ ..] = input.files.as_slice() else {
        let problem = Diagnostic::error("no-file", None, "", "no Compose file is given");
        out.push(problem.hint("name one: `-f compose.yaml`"));
        return None;
    };
    if let Some(second) = more.first() {
        let place = Place::file(&second.path);
        let message = "merging several files is not supported yet";
        let hint = "write everything into one file; `docker compose config` prints the merged file";
        out.error_at(&place, "", "not-supported", message, hint);
        return None;
    }
    let root = yaml::read(&Arc::new(file.path.clone()), &file.text, out)?;
    project::bind(input, files, &root, out)
}
