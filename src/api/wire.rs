//! What goes over the socket, key by key. Names and the order of keys are a promise to scripts.
//!
//! Not here: how it is computed (`rows`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything about a project, as of now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusBody {
    /// The project's name.
    pub project: String,
    /// Where the supervisor is in its own life.
    pub phase: String,
    /// The engine; null until it has answered once.
    pub engine: Option<EngineBody>,
    /// Why the engine does not answer, if it does not.
    pub engine_error: Option<String>,
    /// Why the journal cannot be written, if it cannot; nothing is replaced until it can.
    #[serde(default)]
    pub journal_error: Option<String>,
    /// Every replica, and one row for every missing one.
    pub replicas: Vec<Row>,
    /// Replicas whose hardening could not be verified in the kernel: `/proc` is not the engine's host's.
    pub unverified: Vec<String>,
    /// What somebody else stopped or removed in the last minutes, for people, the oldest first.
    #[serde(default)]
    pub outside: Vec<String>,
    /// Every service of the file that is a phoenix.
    pub services: BTreeMap<String, ServiceBody>,
    /// Who answers.
    pub supervisor: SupervisorBody,
}

/// The engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EngineBody {
    /// As it calls itself.
    pub version: String,
    /// The API version that is spoken with it.
    pub api_version: String,
}

/// The supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SupervisorBody {
    /// Its process, in its own PID namespace.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began: RFC 3339, UTC.
    pub since: String,
    /// How long ago that was.
    pub uptime_seconds: u64,
}

/// One replica, existing or missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its service.
    pub service: String,
    /// `web-3`; null for a missing one.
    pub replica: Option<String>,
    /// The whole id; null where there is no container yet.
    pub container_id: Option<String>,
    /// Where it is in its life: `starting`, `ready`, `draining` …
    pub stage: String,
    /// Traffic goes to it.
    pub ready: bool,
    /// How long ago its process began; null where that is not known.
    pub age_seconds: Option<u64>,
    /// Until it must be gone, rounded down: negative when that is overdue. Null where that is not known, and for a
    /// process that has ended.
    pub ttl_remaining_seconds: Option<i64>,
    /// The revision that it was, or is to be, born from.
    pub generation: Option<u64>,
    /// What it waits for, for people.
    pub waiting_on: Option<String>,
    /// What was done to it, so that it is not what was started any more, for people.
    #[serde(default)]
    pub tainted: Option<String>,
    /// It is broken open, or was.
    #[serde(default)]
    pub glass: Option<GlassBody>,
}

/// A replica that is broken open, or was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GlassBody {
    /// The name of its container.
    pub container: String,
    /// Somebody may execute programs in it now.
    pub open: bool,
    /// Until the end of its time, rounded down; negative after it.
    pub remaining_seconds: i64,
    /// Why it is; null where a supervisor before this one was told, and only the journal knows.
    pub reason: Option<String>,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceBody {
    /// How many replicas are wanted.
    pub wanted: u32,
    /// How many get traffic.
    pub ready: u32,
    /// How many of the wanted ones do not even exist.
    pub missing: u32,
    /// The wanted revision; null until it is known.
    pub generation: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last one.
    pub last_failure: Option<String>,
    /// What the next birth waits for, where one is needed; for people.
    pub waiting_on: Option<String>,
}

/// Replace every replica that these services have now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecycleAsked {
    /// Which; all when empty.
    pub services: Vec<String>,
}

/// Break one replica of a service open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassAsked {
    /// Which.
    pub service: String,
    /// Which of its replicas; the oldest that gets traffic where it is null.
    #[serde(default)]
    pub replica: Option<String>,
    /// For how long: 1 s to 4 h.
    pub for_seconds: u64,
    /// Why: 1 to 300 characters.
    pub reason: String,
}

/// Destroy what is broken open of a service before its time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndGlassAsked {
    /// Which.
    pub service: String,
}

/// It will be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecycleAccepted {
    /// Under this number it can be asked how it goes.
    pub request: u64,
}

/// How a request goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestBody {
    /// Whether it is over.
    pub state: RequestPhase,
    /// How many of its replicas are still there; 0 once it is done or failed.
    pub left: usize,
    /// Why it failed.
    pub error: Option<String>,
}

/// Whether a request is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestPhase {
    /// Not yet.
    Pending,
    /// All of its replicas are replaced.
    Done,
    /// It came to nothing.
    Failed,
}

/// Remove everything of the project, and finish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownAsked {
    /// The named volumes too.
    pub volumes: bool,
}

/// How the removal goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DownBody {
    /// Nothing of it is left to do.
    pub finished: bool,
    /// What could not be removed, and why.
    pub left: Vec<String>,
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint; see [`Problem::hint`].
    pub fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}
