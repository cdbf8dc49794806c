//! From flags to a project: finds the Compose files, reads them, and renders what is wrong with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::output::Complaint;
use crate::compose::{self, Files, Input, ReadError, SourceFile};
use crate::config::{EngineSettings, Environment};
use crate::report;
use crate::spec::{self, Diagnostic, Project};

/// The names that are looked for, in this order (Compose Specification, *Compose file*).
const DEFAULT_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];
/// What is read of a file at most. `compose` refuses anything near it; this only keeps a huge file out of memory.
const READ_LIMIT_BYTES: u64 = 4 << 20;

/// A project with the text of its files, for excerpts.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The project.
    pub(super) project: Project,
    /// What is worth saying although it does not stop anything.
    pub(super) warnings: Vec<Diagnostic>,
    sources: Sources,
    color: bool,
}

/// The text of each file, for excerpts under diagnostics.
type Sources = BTreeMap<PathBuf, String>;

impl Loaded {
    /// Renders diagnostics with excerpts of these files.
    pub(super) fn render(&self, diagnostics: &[Diagnostic]) -> String {
        report::render(diagnostics, &self.sources, self.color)
    }
}

/// Loads the project that the flags name.
///
/// # Errors
/// Everything that is wrong with the files, rendered.
pub(super) fn load(
    files: &[PathBuf],
    project: Option<&str>,
    environment: &Environment,
    engine: &EngineSettings,
    color: bool,
) -> Result<Loaded, Complaint> {
    let files = if files.is_empty() {
        vec![find_default()?]
    } else {
        files.to_vec()
    };
    let mut sources = Sources::new();
    let mut read = Vec::new();
    for path in &files {
        let text = read_file(path).map_err(|error| cannot_read(path, &error))?;
        sources.insert(path.clone(), String::from_utf8_lossy(&text).into_owned());
        read.push(SourceFile {
            path: path.clone(),
            text,
        });
    }
    let working_dir = files
        .first()
        .and_then(|path| path.parent())
        .unwrap_or(Path::new(""));
    let working_dir = std::path::absolute(working_dir_or_here(working_dir)).map_err(|error| {
        Complaint::unexpected(format!("cannot tell the working directory: {error}"))
    })?;
    let input = Input {
        files: read,
        project_name: project
            .map(str::to_owned)
            .or_else(|| environment.project_name()),
        working_dir,
        environment: environment.variables().clone(),
    };
    let socket = engine
        .host
        .as_deref()
        .and_then(|host| host.strip_prefix("unix://"));
    let engine_socket = socket.map(PathBuf::from);
    let (project, diagnostics) = compose::load(&input, &HostFiles { engine_socket });
    match project {
        Some(project) if !spec::has_errors(&diagnostics) => Ok(Loaded {
            project,
            warnings: diagnostics,
            sources,
            color,
        }),
        _ => Err(Complaint::unmet(report::render(
            &diagnostics,
            &sources,
            color,
        ))),
    }
}

fn working_dir_or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn find_default() -> Result<PathBuf, Complaint> {
    let found = DEFAULT_NAMES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        Complaint::unmet(format!(
            "there is no Compose file here: none of {}",
            DEFAULT_NAMES.join(", ")
        ))
        .hint("name one with `-f FILE`, or change to its directory")
    })
}

fn cannot_read(path: &Path, error: &io::Error) -> Complaint {
    let complaint = Complaint::unmet(format!(
        "cannot read `{}`: {error}",
        report::escape(&path.to_string_lossy())
    ));
    if error.kind() == io::ErrorKind::NotFound {
        complaint.hint("check the path given with `-f`")
    } else {
        complaint
    }
}

/// At most a little more than `compose` accepts: the rest of a huge file is of no use.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory",
        ));
    }
    let mut text = Vec::new();
    file.take(READ_LIMIT_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// The host's files, for `env_file` and symlinks.
struct HostFiles {
    engine_socket: Option<PathBuf>,
}

impl Files for HostFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        read_file(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ReadError::NotFound
            } else {
                ReadError::Other(error.to_string())
            }
        })
    }

    fn canonicalize(&self, path: &Path) -> PathBuf {
        // The longest part that exists is resolved; the rest cannot be a symlink.
        for ancestor in path.ancestors() {
            if let Ok(real) = ancestor.canonicalize() {
                return match path.strip_prefix(ancestor) {
                    Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                    _ => real,
                };
            }
        }
        path.to_owned()
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn engine_socket(&self) -> Option<PathBuf> {
        Some(self.canonicalize(self.engine_socket.as_deref()?))
    }
}
