//! From flags to a project: reads it, and renders what is wrong with it.
//!
//! Not here: where its files are (`find`).

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::find::{Selection, find, read_file};
use super::output::Complaint;
use crate::compose::{self, Files, Format, Input, Printed, ReadError, SourceFile};
use crate::config::{EngineSettings, Environment};
use crate::report;
use crate::spec::{self, Diagnostic, Project, ProjectName};

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
    selection: &Selection,
    environment: &Environment,
    engine: &EngineSettings,
    color: bool,
) -> Result<Loaded, Complaint> {
    let opened = open(selection, environment, engine)?;
    let mut sources = opened.sources;
    let mut texts = Vec::new();
    let (project, problems) = compose::load_with_texts(&opened.input, &opened.files, &mut texts);
    sources.extend(texts.into_iter().map(text_of));
    let mut diagnostics = opened.diagnostics;
    diagnostics.extend(problems);
    match project {
        Some(project) if !spec::has_errors(&diagnostics) => Ok(Loaded {
            project,
            warnings: diagnostics,
            sources,
            color,
        }),
        _ => Err(Complaint::diagnostics(report::render(
            &diagnostics,
            &sources,
            color,
        ))),
    }
}

/// The resolved model of the project that the flags name, and its warnings, rendered.
///
/// # Errors
/// Everything that is wrong with the files, rendered.
pub(super) fn config(
    selection: &Selection,
    environment: &Environment,
    engine: &EngineSettings,
    format: Format,
    color: bool,
) -> Result<(Printed, String), Complaint> {
    let opened = open(selection, environment, engine)?;
    let mut sources = opened.sources;
    let mut texts = Vec::new();
    let (printed, problems) = compose::config(&opened.input, &opened.files, &mut texts, format);
    sources.extend(texts.into_iter().map(text_of));
    let mut diagnostics = opened.diagnostics;
    diagnostics.extend(problems);
    let text = if diagnostics.is_empty() {
        String::new()
    } else {
        report::render(&diagnostics, &sources, color)
    };
    match printed {
        Some(printed) if !spec::has_errors(&diagnostics) => Ok((printed, text)),
        _ => Err(Complaint::diagnostics(text)),
    }
}

/// The name of the project that the flags name, where its files are there and say one.
pub(super) fn name(
    selection: &Selection,
    environment: &Environment,
    engine: &EngineSettings,
) -> Option<ProjectName> {
    compose::project_name(&open(selection, environment, engine).ok()?.input)
}

/// What a project is read from.
struct Opened {
    input: Input,
    files: HostFiles,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
}

fn open(
    selection: &Selection,
    environment: &Environment,
    engine: &EngineSettings,
) -> Result<Opened, Complaint> {
    let found = find(selection, environment)?;
    let sources = found.files.iter().cloned().map(text_of).collect();
    let input = Input {
        files: found.files,
        project_name: selection.project.clone(),
        working_dir: found.working_dir,
        current_dir: found.current_dir,
        environment: found.variables,
        profiles: found.profiles,
    };
    let socket = engine
        .host
        .as_deref()
        .and_then(|host| host.strip_prefix("unix://"));
    let engine_socket = socket.map(PathBuf::from);
    Ok(Opened {
        input,
        files: HostFiles { engine_socket },
        sources,
        diagnostics: found.diagnostics,
    })
}

fn text_of(file: SourceFile) -> (PathBuf, String) {
    let text = String::from_utf8_lossy(&file.text).into_owned();
    (file.path, text)
}

/// The host's files, for `env_file` and symlinks.
struct HostFiles {
    engine_socket: Option<PathBuf>,
}

/// Reading one waits for its writer. What the shell hands over with `<(...)` has one.
fn is_named_pipe(path: &Path) -> bool {
    let is_handed_over = path.starts_with("/dev/fd") || path.starts_with("/proc");
    let is_pipe = |metadata: Metadata| metadata.file_type().is_fifo();
    !is_handed_over && path.metadata().is_ok_and(is_pipe)
}

impl Files for HostFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if is_named_pipe(path) {
            return Err(ReadError::Other(
                "it is a named pipe: what is in it can be read only once".to_owned(),
            ));
        }
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
