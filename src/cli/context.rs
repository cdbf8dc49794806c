//! What every command starts from: flags and environment joined, the project, the engine, the runtime.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Global;
use super::find::Selection;
use super::journal_settings;
use super::load::{self, Loaded};
use super::logging;
use super::output::{Complaint, complain};
use crate::compose::{Format, Printed};
use crate::config::{EngineSettings, Environment, StateDir};
use crate::daemon::{
    EngineIdentity, FileAccess, FileKey, FileStore, JournalSettings, NeverPull, ResolvedProject,
    resolve,
};
use crate::docker::{self, ApiVersion, ApiVersionError, Docker, Endpoint, TlsSettings};
use crate::guard::GuardDir;
use crate::report::{self, Chain};
use crate::sign::Key;
use crate::spec::{Diagnostic, ProjectName};

/// Flags and environment, joined.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) environment: Environment,
    selection: Selection,
    docker_host: Option<String>,
    state_dir: PathBuf,
    color: bool,
    log: (super::args::LogFormat, u8),
}

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) docker: Arc<Docker>,
    pub(super) identity: EngineIdentity,
    /// Where the engine keeps its data.
    pub(super) engine_dir: PathBuf,
    files: FileAccess,
}

impl Connected {
    /// Why the engine cannot see files of this host.
    pub(super) fn hides_files(&self) -> Option<&str> {
        self.files.hidden.as_deref()
    }

    /// The engine gives its containers other users of the host than their numbers say.
    pub(super) fn maps_users(&self) -> bool {
        self.files.maps_users
    }
}

impl Context {
    pub(super) fn new(global: &Global, files: Vec<PathBuf>) -> Self {
        let environment = Environment::read();
        let state_dir = global
            .state_dir
            .clone()
            .unwrap_or_else(|| environment.state_dir());
        let color = io::stderr().is_terminal() && environment.wants_color();
        let mut all = global.files.files.clone();
        all.extend(files);
        let selection = Selection {
            files: all,
            project: global.project.clone(),
            env_files: global.env_files.clone(),
            directory: global.project_directory.clone(),
            profiles: global.profiles.clone(),
        };
        Self {
            selection,
            docker_host: global.docker_host.clone(),
            state_dir,
            color,
            log: (global.log_format, global.verbose),
            environment,
        }
    }

    /// The same for another file and project, as the demo needs it.
    pub(super) fn with_project(&self, file: PathBuf) -> Self {
        Self {
            selection: Selection {
                files: vec![file],
                ..Selection::default()
            },
            state_dir: self.state_dir.clone(),
            environment: self.environment.clone(),
            docker_host: self.docker_host.clone(),
            color: self.color,
            log: self.log,
        }
    }

    pub(super) fn log(&self, is_daemon: bool) {
        logging::init(self.log.0, self.log.1, is_daemon, &self.environment);
    }

    /// The project of the Compose files; warnings are said.
    pub(super) fn load(&self) -> Result<Loaded, Complaint> {
        let loaded = load::load(
            &self.selection,
            &self.environment,
            &self.environment.engine(self.docker_host.as_deref()),
            self.color,
        )?;
        if !loaded.warnings.is_empty() {
            complain(&loaded.render(&loaded.warnings));
        }
        Ok(loaded)
    }

    /// The resolved model of the Compose files; warnings are said.
    pub(super) fn config(&self, format: Format) -> Result<Printed, Complaint> {
        let engine = self.environment.engine(self.docker_host.as_deref());
        let (printed, warnings) = load::config(
            &self.selection,
            &self.environment,
            &engine,
            format,
            self.color,
        )?;
        complain(&warnings);
        Ok(printed)
    }

    /// The same where the file is only of help: `None` when it cannot be used.
    pub(super) fn load_quietly(&self) -> Option<Loaded> {
        load::load(
            &self.selection,
            &self.environment,
            &self.environment.engine(self.docker_host.as_deref()),
            self.color,
        )
        .ok()
    }

    /// The project that the flag names, else `COMPOSE_PROJECT_NAME`; no file is asked.
    pub(super) fn project_flag(&self) -> Result<Option<ProjectName>, Complaint> {
        let variables = self.environment.variables();
        let named = variables
            .get("COMPOSE_PROJECT_NAME")
            .filter(|name| !name.is_empty());
        match self.selection.project.as_ref().or(named) {
            Some(name) if ProjectName::is_valid(name) => Ok(Some(ProjectName::new(name.clone()))),
            Some(name) => Err(Complaint::unmet(format!(
                "`{}` is not a project name",
                report::escape(name)
            ))
            .hint(ProjectName::RULE)),
            None => Ok(None),
        }
    }

    /// The engine's socket, resolved, where it is one of this host.
    pub(super) fn engine_socket(&self) -> Option<PathBuf> {
        let settings = self.environment.engine(self.docker_host.as_deref());
        let path = match settings.host.as_deref() {
            None => "/var/run/docker.sock",
            Some(host) => host.strip_prefix("unix://")?,
        };
        std::path::Path::new(path).canonicalize().ok()
    }

    /// The name that the Compose files give the project, where there are any; nothing else in them has to be right.
    pub(super) fn name_in_files(&self) -> Option<ProjectName> {
        let engine = self.environment.engine(self.docker_host.as_deref());
        load::name(&self.selection, &self.environment, &engine)
    }

    /// The project's name: from `-p` alone where it is given, else from the files, which may lack a secret or a variable
    /// that only `up` needs.
    pub(super) fn project_name(&self) -> Result<ProjectName, Complaint> {
        match &self.selection.project {
            Some(name) if ProjectName::is_valid(name) => Ok(ProjectName::new(name.clone())),
            Some(name) => Err(Complaint::unmet(format!(
                "`{}` is not a project name",
                report::escape(name)
            ))
            .hint(ProjectName::RULE)),
            None => match self.name_in_files() {
                Some(name) => Ok(name),
                None => Ok(self.load()?.project.name),
            },
        }
    }

    /// The project's files in the state directory.
    pub(super) fn state(&self, project: &ProjectName) -> StateDir {
        StateDir::of(&self.state_dir, project)
    }

    /// How the journal is kept.
    pub(super) fn journal_settings(&self) -> Result<JournalSettings, Complaint> {
        journal_settings::read(&self.environment.journal())
    }

    /// The state directory of all projects.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// An engine that does not answer, where a guard was installed: that is what it may wait for.
    fn no_answer(&self, error: &docker::Error) -> Complaint {
        let complaint = engine_complaint(error);
        let is_plugin = |message: &str| message.contains("plugin");
        let may_wait = match error {
            docker::Error::TimedOut { .. } => true,
            docker::Error::Refused { message, .. } => is_plugin(message),
            docker::Error::Unavailable { .. }
            | docker::Error::Unusable { .. }
            | docker::Error::NotFound { .. }
            | docker::Error::Conflict { .. }
            | docker::Error::Malformed { .. } => false,
        };
        if may_wait && GuardDir::of(&self.state_dir).key().exists() {
            return complaint.hint(DEAD_GUARD);
        }
        complaint
    }

    /// Connects to the engine and makes sure that it answers.
    pub(super) async fn connect(&self) -> Result<Connected, Complaint> {
        let settings = self.environment.engine(self.docker_host.as_deref());
        let mut endpoint = endpoint(&settings)?;
        // Without a guard there is no key; a user who may not read it is nobody whom the guard knows.
        endpoint.signing_key = Key::read(&GuardDir::of(&self.state_dir).key()).ok();
        let connected = Docker::connect(&endpoint).await;
        let docker = connected.map_err(|error| self.no_answer(&error))?;
        let info = docker
            .info()
            .await
            .map_err(|error| self.no_answer(&error))?;
        let files = FileAccess {
            hidden: docker.sees_no_files(&info),
            maps_users: info.userns_remap || info.rootless,
        };
        let identity = EngineIdentity {
            id: info.id,
            version: docker.about().version.clone(),
            api_version: docker.about().api_version.to_string(),
        };
        Ok(Connected {
            docker: Arc::new(docker),
            identity,
            engine_dir: info.root_dir,
            files,
        })
    }

    /// Joins the project with its images, without pulling and without writing anything.
    pub(super) async fn resolve(
        &self,
        connected: &Connected,
        loaded: &Loaded,
    ) -> Result<ResolvedProject, Complaint> {
        let resolved = resolve(&*connected.docker, &loaded.project, &NeverPull).await;
        let resolved = Self::resolved(loaded, resolved)?;
        self.place_files(loaded, resolved, connected, FileKey::read)
    }

    /// Gives secrets and configs their places. Where no key is to be had yet, it is one for this time: nothing was made with
    /// another one.
    fn place_files(
        &self,
        loaded: &Loaded,
        mut resolved: ResolvedProject,
        connected: &Connected,
        key: impl FnOnce(&Path) -> io::Result<Option<FileKey>>,
    ) -> Result<ResolvedProject, Complaint> {
        if !resolved.has_files() {
            return Ok(resolved);
        }
        let refused = resolved.refused_files(&connected.files);
        if !refused.is_empty() {
            return Err(Complaint::diagnostics(loaded.render(&refused)));
        }
        let project = &resolved.project.name;
        let path = self.state(project).files_key();
        let cannot = |error: io::Error| {
            Complaint::unmet(format!("cannot use the key {}: {error}", path.display())).hint(
                "remove it if it is damaged: the next `up` makes a new one, and replaces the replicas",
            )
        };
        let key = match key(&path).map_err(cannot)? {
            Some(key) => key,
            None => FileKey::random().map_err(cannot)?,
        };
        let store = self.file_store(project, connected)?;
        resolved.place_files(&store, &key);
        Ok(resolved)
    }

    /// The same for a supervisor, which makes the key.
    pub(super) fn place_files_for_good(
        &self,
        loaded: &Loaded,
        resolved: ResolvedProject,
        connected: &Connected,
    ) -> Result<ResolvedProject, Complaint> {
        let make = |path: &Path| FileKey::read_or_make(path).map(Some);
        self.place_files(loaded, resolved, connected, make)
    }

    /// Where the copies of secrets and configs are.
    pub(super) fn file_store(
        &self,
        project: &ProjectName,
        connected: &Connected,
    ) -> Result<FileStore, Complaint> {
        let base = self.runtime_base();
        FileStore::new(&base, project, &connected.identity.id).map_err(|error| {
            Complaint::unexpected(format!("cannot tell the working directory: {error}"))
        })
    }

    /// Where what containers mount of this host is put.
    pub(super) fn runtime_base(&self) -> PathBuf {
        let runtime_dir = self.environment.runtime_dir();
        runtime_dir.unwrap_or_else(|| self.state_dir.clone())
    }

    /// Says what was found on the way to a resolved project.
    pub(super) fn resolved(
        loaded: &Loaded,
        resolved: Result<(Option<ResolvedProject>, Vec<Diagnostic>), docker::Error>,
    ) -> Result<ResolvedProject, Complaint> {
        let (resolved, diagnostics) = resolved.map_err(|error| engine_complaint(&error))?;
        match resolved {
            Some(resolved) => {
                if !diagnostics.is_empty() {
                    complain(&loaded.render(&diagnostics));
                }
                Ok(resolved)
            }
            None => Err(Complaint::diagnostics(loaded.render(&diagnostics))),
        }
    }
}

/// The engine that the settings name.
fn endpoint(settings: &EngineSettings) -> Result<Endpoint, Complaint> {
    let tls = TlsSettings {
        verify: settings.tls.is_some(),
        cert_path: settings.tls.as_ref().map(|tls| tls.cert_path.clone()),
    };
    let mut endpoint = Endpoint::parse(settings.host.as_deref().unwrap_or_default(), &tls)
        .map_err(|error| with_hint(Complaint::unmet(Chain(&error).to_string()), error.hint))?;
    if let Some(version) = &settings.api_version {
        let version: ApiVersion = version
            .parse()
            .map_err(|error: ApiVersionError| Complaint::unmet(Chain(&error).to_string()))?;
        endpoint.api_version = Some(version);
    }
    Ok(endpoint)
}

/// What an operator does about an engine that waits for a guard that is gone.
const DEAD_GUARD: &str = "does dockerd ask the guard, and is that dead? dockerd then answers nobody, after 15 s each time: `systemctl status \
                          phoenixd-guard.socket phoenixd-guard.service` and restart them; or go without: `phoenixd guard uninstall`, `systemctl \
                          reload docker`. Do not restart dockerd meanwhile: it does not start without a plugin that its settings name";

fn with_hint(complaint: Complaint, hint: Option<&str>) -> Complaint {
    match hint {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}

/// An engine that does not answer, or not as it should.
pub(super) fn engine_complaint(error: &docker::Error) -> Complaint {
    let complaint = Complaint::unmet(Chain(error).to_string());
    match error {
        docker::Error::Unavailable { .. } => complaint.hint(
            "is a Docker Engine running, and may you use its socket? name another one with `--docker-host` or DOCKER_HOST",
        ),
        docker::Error::TimedOut { .. } => complaint.hint("the engine is there but does not answer; try again, or restart it"),
        docker::Error::Unusable { hint, .. } => with_hint(complaint, hint.as_deref()),
        docker::Error::NotFound { .. }
        | docker::Error::Conflict { .. }
        | docker::Error::Refused { .. }
        | docker::Error::Malformed { .. } => complaint,
    }
}

/// The runtime of a command. One thread: a supervisor has little to do, and every word between threads is a switch
/// (measured at rest with 20 replicas: half the context switches). The edge has threads of its own.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Complaint> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Complaint::unexpected(format!("cannot start the runtime: {error}")))
}
