//! Which Compose files, which variables and which profiles: flags, Compose's own variables and the files that lie
//! there, in docker compose's order.
//!
//! As docker compose 2.40.3 and compose-go 2.9.1 (`cli/options.go`) have it: the process's variables win over those of
//! `.env`, which may name the files (`COMPOSE_FILE`); without files the directories above are searched, too; `.env` of
//! the directory that was found is read at last. Not here: what stands in the files (`compose`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::output::Complaint;
use crate::compose::{DotenvFile, SourceFile, add_dotenv};
use crate::config::Environment;
use crate::report;
use crate::spec::Diagnostic;

/// The names that are looked for, in this order (compose-go 2.9.1, `DefaultFileNames`).
const DEFAULT_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
/// What is laid over a file that was found, in this order (`DefaultOverrideFileNames`).
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
/// What is read of a file at most. `compose` refuses anything near it; this only keeps a huge file out of memory.
const READ_LIMIT_BYTES: u64 = 4 << 20;

/// What the flags say about where the project is defined.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// `-f`; `-` is standard input.
    pub(super) files: Vec<PathBuf>,
    /// `-p`.
    pub(super) project: Option<String>,
    /// `--env-file`.
    pub(super) env_files: Vec<PathBuf>,
    /// `--project-directory`.
    pub(super) directory: Option<PathBuf>,
    /// `--profile`.
    pub(super) profiles: Vec<String>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) files: Vec<SourceFile>,
    /// The project's directory, absolute.
    pub(super) working_dir: PathBuf,
    /// Where the caller is, absolute.
    pub(super) current_dir: PathBuf,
    /// The process's variables over those of the files.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) profiles: Vec<String>,
    /// What is wrong with the files of variables.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Finds and reads everything.
///
/// # Errors
/// When there is no Compose file, or a file that is named cannot be read.
pub(super) fn find(selection: &Selection, environment: &Environment) -> Result<Found, Complaint> {
    let current_dir = std::path::absolute(".").map_err(|error| {
        Complaint::unexpected(format!("cannot tell the working directory: {error}"))
    })?;
    let mut finder = Finder {
        current_dir,
        variables: environment.variables().clone(),
        env_files: selection.env_files.clone(),
        diagnostics: Vec::new(),
    };
    let here = finder.current_dir.to_string_lossy().into_owned();
    finder.variables.entry("PWD".to_owned()).or_insert(here);
    let named: Vec<PathBuf> = finder.list("COMPOSE_ENV_FILES", ",");
    if finder.env_files.is_empty() {
        finder.env_files = named;
    }
    let directory = selection.directory.as_deref();
    finder.read_variables(&finder.directory(directory, &selection.files))?;
    let mut paths = selection.files.clone();
    if paths.is_empty() {
        let separator = finder
            .variable("COMPOSE_PATH_SEPARATOR")
            .unwrap_or(":")
            .to_owned();
        paths = finder.list("COMPOSE_FILE", &separator);
    }
    if paths.is_empty() {
        paths = finder.default_files(directory)?;
    }
    let working_dir = finder.directory(directory, &paths);
    if selection.env_files.is_empty() {
        finder.read_variables(&working_dir)?;
    }
    let mut profiles = selection.profiles.clone();
    if profiles.is_empty()
        && let Some(list) = finder.variable("COMPOSE_PROFILES")
    {
        profiles = list.split(',').map(|one| one.trim().to_owned()).collect();
    }
    let files = paths
        .iter()
        .map(|path| read_source(path))
        .collect::<Result<_, _>>()?;
    Ok(Found {
        files,
        working_dir,
        current_dir: finder.current_dir,
        variables: finder.variables,
        profiles,
        diagnostics: finder.diagnostics,
    })
}

struct Finder {
    current_dir: PathBuf,
    variables: BTreeMap<String, String>,
    env_files: Vec<PathBuf>,
    diagnostics: Vec<Diagnostic>,
}

impl Finder {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn list(&self, name: &str, separator: &str) -> Vec<PathBuf> {
        self.variable(name)
            .map(|list| list.split(separator).map(PathBuf::from).collect())
            .unwrap_or_default()
    }

    /// The project's directory: the one that is named, else that of the first file.
    fn directory(&self, named: Option<&Path>, files: &[PathBuf]) -> PathBuf {
        let of_file = || {
            let file = files.iter().find(|file| !is_stdin(file))?;
            file.parent()
        };
        let dir = named.or_else(of_file).unwrap_or(Path::new(""));
        let joined = self.current_dir.join(dir);
        // Without `.` and `..`, as the reference writes it.
        let mut clean = PathBuf::new();
        for component in joined.components() {
            match component {
                std::path::Component::ParentDir => {
                    clean.pop();
                }
                std::path::Component::CurDir => {}
                std::path::Component::RootDir
                | std::path::Component::Prefix(_)
                | std::path::Component::Normal(_) => clean.push(component),
            }
        }
        clean
    }

    /// Adds the variables of the named files, or of `.env` in the directory.
    fn read_variables(&mut self, directory: &Path) -> Result<(), Complaint> {
        let mut files = Vec::new();
        if self.env_files.is_empty() {
            let disabled = self.variable("COMPOSE_DISABLE_ENV_FILE");
            let path = directory.join(".env");
            if !disabled.is_some_and(is_true) && path.is_file() {
                files.push(read_dotenv(&path)?);
            }
        } else {
            for path in &self.env_files {
                files.push(read_dotenv(path)?);
            }
        }
        let mut found = Vec::new();
        add_dotenv(&mut self.variables, &files, &mut |one| found.push(one));
        // The same file may be read twice.
        found.retain(|one| !self.diagnostics.contains(one));
        self.diagnostics.extend(found);
        Ok(())
    }

    /// The file of the directory or of one above, and what is laid over it.
    fn default_files(&mut self, named: Option<&Path>) -> Result<Vec<PathBuf>, Complaint> {
        let start = self.directory(named, &[]);
        for directory in start.ancestors() {
            let find = |names: &[&str]| -> Vec<PathBuf> {
                (names.iter())
                    .map(|name| directory.join(name))
                    .filter(|path| path.exists())
                    .collect()
            };
            let mut found = find(&DEFAULT_NAMES).into_iter();
            let Some(first) = found.next() else {
                continue;
            };
            self.several(&first, found);
            let mut paths = vec![self.shorter(first)];
            let mut overrides = find(&OVERRIDE_NAMES).into_iter();
            if let Some(first) = overrides.next() {
                self.several(&first, overrides);
                paths.push(self.shorter(first));
            }
            return Ok(paths);
        }
        Err(Complaint::unmet(format!(
            "there is no Compose file here or in a directory above: none of {}",
            DEFAULT_NAMES.join(", ")
        ))
        .hint("name one with `-f FILE`, or change to its directory"))
    }

    /// A path below the caller's directory as the caller would write it.
    fn shorter(&self, path: PathBuf) -> PathBuf {
        match path.strip_prefix(&self.current_dir) {
            Ok(short) => short.to_owned(),
            Err(_) => path,
        }
    }

    fn several(&mut self, used: &Path, others: impl Iterator<Item = PathBuf>) {
        for other in others {
            let message = format!(
                "there are both `{}` and `{}`",
                used.display(),
                other.display()
            );
            let problem = Diagnostic::warning("several-files", None, "", message);
            self.diagnostics.push(problem.hint(format!(
                "`{}` is used; name one with `-f`, or remove the other",
                used.display()
            )));
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// A boolean as Go's `strconv.ParseBool` reads it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn read_dotenv(path: &Path) -> Result<DotenvFile, Complaint> {
    let text = read_file(path).map_err(|error| {
        cannot_read(path, &error).hint("check the path given with `--env-file`")
    })?;
    Ok(DotenvFile {
        path: path.to_owned(),
        text,
    })
}

fn read_source(path: &Path) -> Result<SourceFile, Complaint> {
    let text = if is_stdin(path) {
        let mut text = Vec::new();
        let read = io::stdin().take(READ_LIMIT_BYTES).read_to_end(&mut text);
        read.map(|_| text)
    } else {
        read_file(path)
    };
    let text = text.map_err(|error| {
        let complaint = cannot_read(path, &error);
        if error.kind() == io::ErrorKind::NotFound {
            complaint.hint("check the path given with `-f`")
        } else {
            complaint
        }
    })?;
    Ok(SourceFile {
        path: path.to_owned(),
        text,
    })
}

fn cannot_read(path: &Path, error: &io::Error) -> Complaint {
    Complaint::unmet(format!(
        "cannot read `{}`: {error}",
        report::escape(&path.to_string_lossy())
    ))
}

/// At most a little more than `compose` accepts: the rest of a huge file is of no use.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
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
