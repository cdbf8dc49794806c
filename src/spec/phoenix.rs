//! The settings of `x-phoenix`: how a service lives and dies.
//!
//! Not here: their YAML (`compose`), and what is done with them (`reconcile`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Declared, Edge, OnTaint, Policy, Published};

/// How long a start is taken to last before one was seen: from create to the first answer of a probe. A start costs
/// 0.15 to 0.3 s on an idle engine (`ENGINE-FACTS.md`, section 5); a second leaves room for a busy one.
pub const STARTING_ESTIMATE: Duration = Duration::from_secs(1);

/// How a service lives and dies. Every value is valid by itself; [`Phoenix::minimum_ttl`] tells whether they fit.
#[derive(Clone, PartialEq, Debug)]
pub struct Phoenix {
    /// How long a replica may live.
    pub ttl: Duration,
    /// By how much its life may be shortened, so that replicas do not die at once.
    pub jitter: Jitter,
    /// How readiness is asked for.
    pub probe: ProbeSetting,
    /// How long connections may go on after a replica has left the rotation, before its stop signal.
    pub drain: Duration,
    /// How many replicas above `replicas` may exist while one is replaced; 0 stops the old one first.
    pub surge: u32,
    /// What happens to a replica past its deadline when no replacement can be healthy.
    pub overdue: Overdue,
    /// Delays after failures.
    pub backoff: Backoff,
    /// Exceptions from hardening, by name.
    pub allow: BTreeSet<Allow>,
    /// Tell each replica who it is, by variables of its environment.
    pub identity: bool,
    /// What happens to a replica that was touched.
    pub on_taint: OnTaint,
    /// The sockets that it may have.
    pub network: Declared,
    /// Who leads traffic to it, and how.
    pub edge: Edge,
}

impl Default for Phoenix {
    /// What `x-phoenix: {}` means (`DESIGN.md`, *The file*).
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(24),
            jitter: Jitter::Permille(100),
            probe: ProbeSetting::default(),
            drain: Duration::from_secs(10),
            surge: 1,
            overdue: Overdue::Keep,
            backoff: Backoff::default(),
            allow: BTreeSet::new(),
            identity: false,
            on_taint: OnTaint::Replace,
            network: Declared::default(),
            edge: Edge::default(),
        }
    }
}

/// By how much a replica's life may be shortened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Jitter {
    /// Thousandths of the TTL, 0 to 500.
    Permille(u16),
    /// A duration, at most half of the TTL.
    Span(Duration),
}

/// A replica's life: between `shortest` and the TTL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// With the whole jitter taken off.
    pub shortest: Duration,
    /// The TTL.
    pub longest: Duration,
}

impl Phoenix {
    /// The bounds of a replica's life.
    pub fn lifetime(&self) -> Lifetime {
        let jitter = match self.jitter {
            Jitter::Permille(permille) => self.ttl.saturating_mul(u32::from(permille)) / 1000,
            Jitter::Span(span) => span,
        };
        Lifetime {
            shortest: self.ttl.saturating_sub(jitter),
            longest: self.ttl,
        }
    }

    /// What one replacement takes at most, from the create of the new replica to the end of the old one, when it
    /// becomes ready after `start`; with a tenth as margin, at least a quarter of a second.
    pub fn lead(&self, start: Duration, stop_grace: Duration) -> Timing {
        let sum = start + self.probe.min_ready + self.drain + stop_grace;
        let margin = (sum / 10).max(Duration::from_millis(250));
        Timing {
            start,
            min_ready: self.probe.min_ready,
            drain: self.drain,
            stop_grace,
            margin,
        }
    }

    /// The shortest life that leaves time to replace `replicas` one after the other (`surge` at a time).
    pub fn minimum_ttl(&self, replicas: u32, stop_grace: Duration) -> Duration {
        let rounds = replicas.div_ceil(self.surge.max(1)).max(1);
        self.lead(STARTING_ESTIMATE, stop_grace).total() * rounds
    }
}

/// The parts of one replacement's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From create to the first success of the probe.
    pub start: Duration,
    /// From then until it counts as available.
    pub min_ready: Duration,
    /// Drain of the old one.
    pub drain: Duration,
    /// Grace of the old one's stop.
    pub stop_grace: Duration,
    /// What is added for everything else.
    pub margin: Duration,
}

impl Timing {
    /// All parts together.
    pub fn total(&self) -> Duration {
        self.start + self.min_ready + self.drain + self.stop_grace + self.margin
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |d: Duration| {
            humantime::format_duration(Duration::from_millis(
                u64::try_from(d.as_millis()).unwrap_or(u64::MAX),
            ))
            .to_string()
        };
        write!(
            f,
            "start {}, min_ready {}, drain {}, stop_grace_period {}, margin {}",
            show(self.start),
            show(self.min_ready),
            show(self.drain),
            show(self.stop_grace),
            show(self.margin)
        )
    }
}

/// How readiness is asked for, as the file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeSetting {
    /// What is asked; derived from the ports and the health check where `None`.
    pub kind: Option<ProbeKind>,
    /// The replica's port; the first one that is known where `None`.
    pub port: Option<u16>,
    /// Between two probes of a ready replica. While it starts, probes come faster.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Successes in a row until ready, at least 1.
    pub successes: u32,
    /// Failures in a row until a ready replica is not ready any more, at least 1.
    pub failures: u32,
    /// How long a replica must have been ready before the one that it replaces may go.
    pub min_ready: Duration,
    /// How long a replica may take from its start until it is ready.
    pub deadline: Duration,
}

impl Default for ProbeSetting {
    fn default() -> Self {
        Self {
            kind: None,
            port: None,
            // Probes are most of what a supervisor at rest costs. An end is known at once, by the engine's event; what hangs
            // is known after this and the faster probes that follow a first failure.
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            successes: 2,
            failures: 3,
            min_ready: Duration::ZERO,
            deadline: Duration::from_mins(1),
        }
    }
}

/// What a probe asks, as the file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// `GET` of this path answers 200 to 399.
    Http(String),
    /// A TCP connection opens.
    Tcp,
    /// Docker's own health status.
    Docker,
    /// Nothing: the process runs. Readiness is then `min_ready` alone.
    None,
}

/// What a probe asks, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// `GET path` at the port answers 200 to 399.
    Http {
        /// Absolute path with query.
        path: String,
        /// The replica's port.
        port: u16,
    },
    /// A TCP connection to the port opens.
    Tcp {
        /// The replica's port.
        port: u16,
    },
    /// Docker's own health status is `healthy`.
    Docker,
    /// The process runs.
    Running,
    /// It says by its control socket that it forwards by the newest table.
    Edge,
}

/// How a replica is reached, and what it is held to: by which question it is seen to be ready, where it takes traffic,
/// and which walls it was born with. Part of its birth, so that one of an earlier generation is asked, used and judged as
/// it was made for, until its replacement is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// What its probe asks.
    pub probe: Probe,
    /// The ports that lead to it.
    pub published: Vec<Published>,
    /// What the engine and the kernel must say of it.
    pub policy: Policy,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path, port } => write!(f, "http {path} on port {port}"),
            Self::Tcp { port } => write!(f, "tcp port {port}"),
            Self::Docker => f.write_str("Docker's HEALTHCHECK"),
            Self::Running => f.write_str("none (the process runs)"),
            Self::Edge => f.write_str("its control socket"),
        }
    }
}

/// What happens to a replica past its deadline when no replacement can be healthy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// It stays, loudly.
    Keep,
    /// It is stopped, even if it was the last one.
    Stop,
}

/// Delays after failures, per service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// After the first failure; doubled after each further one.
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
    /// Failures in a row after which healthy replicas are not replaced any more and missing ones only at the pace of
    /// `cap`, until something changes.
    pub budget: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_mins(5),
            budget: 10,
        }
    }
}

/// An exception from hardening, written in the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Allow {
    /// Run as user 0.
    Root,
    /// A writable root file system, with `read_only: false`.
    WritableRoot,
    /// The capabilities of `cap_add`.
    CapAdd,
    /// `no-new-privileges:false`.
    NewPrivileges,
    /// tmpfs mounts with `exec`, `suid` or `dev`.
    TmpfsExec,
    /// A seccomp, `AppArmor` or `SELinux` profile of the service's own, by `security_opt`.
    SecurityProfile,
    /// No limit of processes, memory or CPU where the file asks for none (`pids_limit: -1`, `mem_limit: 0`, `cpus: 0`).
    Unlimited,
}

impl Allow {
    /// Every exception, for messages and documentation.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::WritableRoot,
        Self::CapAdd,
        Self::NewPrivileges,
        Self::TmpfsExec,
        Self::SecurityProfile,
        Self::Unlimited,
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::WritableRoot => "writable_root",
            Self::CapAdd => "cap_add",
            Self::NewPrivileges => "new_privileges",
            Self::TmpfsExec => "tmpfs_exec",
            Self::SecurityProfile => "security_profile",
            Self::Unlimited => "unlimited",
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Allow {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|allow| allow.name() == text)
            .ok_or(())
    }
}
