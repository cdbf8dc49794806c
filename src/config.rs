//! The daemon's own settings: the environment is read here, once, and nowhere else; flags come from `cli`.
//!
//! Not here: what the operator wants of the services (`spec`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::spec::ProjectName;

/// The environment, as far as phoenixd uses it.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    is_root: bool,
}

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    pub fn read() -> Self {
        let text = |value: OsString| value.into_string().ok();
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect();
        Self {
            variables,
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// An environment with exactly these variables, for tests.
    pub fn of(variables: BTreeMap<String, String>, is_root: bool) -> Self {
        Self { variables, is_root }
    }

    /// Every variable: `env_file` and bare names of `environment:` are resolved with them.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// How the engine is reached, by Docker's usual variables.
    pub fn engine(&self, docker_host: Option<&str>) -> EngineSettings {
        let config_dir = || {
            let home = self.get("HOME").map(Path::new);
            self.get("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| home.map(|home| home.join(".docker")))
        };
        // Docker's CLI: any value that is not empty switches TLS on; only DOCKER_TLS_VERIFY verifies.
        let verify = self.get("DOCKER_TLS_VERIFY").is_some();
        let tls = verify || self.get("DOCKER_TLS").is_some();
        EngineSettings {
            host: docker_host
                .or_else(|| self.get("DOCKER_HOST"))
                .map(str::to_owned),
            tls: tls.then(|| Tls {
                verify,
                cert_path: self
                    .get("DOCKER_CERT_PATH")
                    .map(PathBuf::from)
                    .or_else(config_dir)
                    .unwrap_or_default(),
            }),
            api_version: self.get("DOCKER_API_VERSION").map(str::to_owned),
        }
    }

    /// Where phoenixd keeps its state when no flag says so: `/var/lib/phoenixd` for root, else under the user's own
    /// state directory (XDG Base Directory Specification 0.8).
    pub fn state_dir(&self) -> PathBuf {
        if let Some(dir) = self.get("PHOENIXD_STATE_DIR") {
            return PathBuf::from(dir);
        }
        if self.is_root {
            return PathBuf::from("/var/lib/phoenixd");
        }
        let home = || Path::new(self.get("HOME").unwrap_or("/tmp")).join(".local/state");
        self.get("XDG_STATE_HOME")
            .map_or_else(home, PathBuf::from)
            .join("phoenixd")
    }

    /// Where copies of secrets and configs are put for the engine: `/run/phoenixd` for root, `None` for another user,
    /// who has no such place in memory that outlives a session; then they are in the state directory.
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        match self.get("PHOENIXD_RUNTIME_DIR") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => self.is_root.then(|| PathBuf::from("/run/phoenixd")),
        }
    }

    /// Where traffic is forwarded: `PHOENIXD_EDGE`, word for word; `cli` reads it.
    pub fn edge(&self) -> Option<&str> {
        self.get("PHOENIXD_EDGE")
    }

    /// The numbers of the user and group that this process runs as.
    pub fn user(&self) -> (u32, u32) {
        let user = rustix::process::geteuid().as_raw();
        (user, rustix::process::getegid().as_raw())
    }

    /// What is said of the journal, word for word; `cli` reads it.
    pub fn journal(&self) -> JournalWords {
        let words = |text: Option<&str>| text.map(str::to_owned);
        JournalWords {
            file_size: words(self.get("PHOENIXD_JOURNAL_FILE_SIZE")),
            size: words(self.get("PHOENIXD_JOURNAL_SIZE")),
            heads: words(self.get("PHOENIXD_JOURNAL_HEADS")),
            every: words(self.get("PHOENIXD_JOURNAL_HEADS_EVERY")),
            period: words(self.get("PHOENIXD_JOURNAL_HEADS_PERIOD")),
            secret_file: words(self.get("PHOENIXD_JOURNAL_HEADS_SECRET_FILE")),
            ca_file: words(self.get("PHOENIXD_JOURNAL_HEADS_CA_FILE")),
            networks: words(self.get("PHOENIXD_JOURNAL_HEADS_NETWORKS")),
        }
    }

    /// Colour is wanted on a terminal (`NO_COLOR`, no-color.org).
    pub fn wants_color(&self) -> bool {
        self.get("NO_COLOR").is_none() && self.get("TERM") != Some("dumb")
    }

    /// Log filter of `RUST_LOG`.
    pub fn log_filter(&self) -> Option<&str> {
        self.get("RUST_LOG")
    }

    /// What the demo application is told about its container.
    pub fn demo(&self, name: &str) -> Option<&str> {
        self.get(name)
    }
}

/// What the environment says of the journal, unread.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalWords {
    /// How large a file gets: `PHOENIXD_JOURNAL_FILE_SIZE`.
    pub file_size: Option<String>,
    /// How large all files get: `PHOENIXD_JOURNAL_SIZE`.
    pub size: Option<String>,
    /// Where heads are exported to: `PHOENIXD_JOURNAL_HEADS`.
    pub heads: Option<String>,
    /// After how many records: `PHOENIXD_JOURNAL_HEADS_EVERY`.
    pub every: Option<String>,
    /// After how long at the latest: `PHOENIXD_JOURNAL_HEADS_PERIOD`.
    pub period: Option<String>,
    /// The secret of a webhook's signature: `PHOENIXD_JOURNAL_HEADS_SECRET_FILE`.
    pub secret_file: Option<String>,
    /// Whom a webhook's certificate must come from: `PHOENIXD_JOURNAL_HEADS_CA_FILE`.
    pub ca_file: Option<String>,
    /// Networks that are not public and that a webhook may be in: `PHOENIXD_JOURNAL_HEADS_NETWORKS`.
    pub networks: Option<String>,
}

/// How the engine is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EngineSettings {
    /// `unix://…`, `tcp://…`; the default socket where `None`.
    pub host: Option<String>,
    /// TLS of a TCP endpoint.
    pub tls: Option<Tls>,
    /// Use this API version and do not negotiate.
    pub api_version: Option<String>,
}

/// TLS by Docker's usual variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Verify the engine's certificate.
    pub verify: bool,
    /// Directory of `ca.pem`, `cert.pem`, `key.pem`.
    pub cert_path: PathBuf,
}

/// The files of one project in the state directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateDir {
    /// `STATE/PROJECT`
    pub dir: PathBuf,
}

impl StateDir {
    /// The directory of a project.
    pub fn of(state_dir: &Path, project: &ProjectName) -> Self {
        Self {
            dir: state_dir.join(project.as_str()),
        }
    }

    /// The lock of the project's supervisor.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The socket of the project's supervisor.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    /// The key of the digests of the project's secrets and configs.
    pub fn files_key(&self) -> PathBuf {
        self.dir.join("files.key")
    }

    /// Where the evidence of tainted replicas is kept.
    pub fn evidence(&self) -> PathBuf {
        self.dir.join("evidence")
    }

    /// The project's journal.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }
}
