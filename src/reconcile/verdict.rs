//! What is to be done about one replica, and what it waits for. Everything not done has a reason.

use std::fmt;
use std::time::Duration;

use super::depends::whose;
use super::{Action, Reason, Time};
use crate::spec::{Condition, ReplicaName, RunBy, ServiceName};

/// What is to be done about one replica now. One verdict each: two rules never act on the same container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing; it is as it should be.
    Keep,
    /// Nothing yet.
    Wait(WaitingOn),
    /// This.
    Act(Action, Reason),
}

const REMOVED: &str = "somebody removed it";
const OTHER_MODE: &str = "`phoenixd adopt` supervises what docker compose made, `phoenixd up` what a file says: this one is the other's";

/// What a replica, or a service that lacks one, waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WaitingOn {
    /// A call to the engine is under way.
    Call(&'static str),
    /// The outcome of a call is unknown; the next listing tells.
    Listing,
    /// The engine does not answer.
    Engine {
        /// Its error.
        error: String,
    },
    /// The journal cannot be written: nothing is replaced until it can.
    Journal {
        /// Why not.
        error: String,
    },
    /// Networks or volumes are being made.
    Resources {
        /// Which.
        names: String,
    },
    /// A dependency: before the first start, or before the replacement that its update asks for.
    Dependency {
        /// Which.
        dependency: ServiceName,
        /// Who runs it.
        run_by: RunBy,
        /// What it has to be.
        condition: Condition,
        /// What it is.
        state: String,
        /// Since when.
        since: Option<Time>,
        /// That is over since then.
        ended: bool,
        /// What helps.
        hint: Option<String>,
        /// Further dependencies that do not meet their conditions.
        more: Vec<ServiceName>,
    },
    /// The next supervisor: this one ends.
    Supervisor,
    /// Whoever depends on it leaves first.
    Dependents {
        /// Which services.
        names: Vec<ServiceName>,
    },
    /// Networks that somebody else has to make.
    Externals {
        /// Which.
        names: String,
    },
    /// The probe.
    Probe {
        /// Successes so far.
        successes: u32,
        /// Successes needed.
        needed: u32,
        /// What the last failed probe said.
        last: Option<String>,
        /// When it counts as a failed birth.
        until: Time,
    },
    /// The kernel's word that the hardening is in force.
    Kernel,
    /// It has to stay ready for a while before the old one may go.
    MinReady {
        /// Until then.
        until: Time,
    },
    /// Its replacement.
    Replacement {
        /// Why it is to be replaced.
        because: Reason,
        /// What the replacement waits for.
        on: Option<Box<WaitingOn>>,
    },
    /// A replacement that is not ready yet.
    Birth {
        /// Which.
        replica: ReplicaName,
    },
    /// The edge's word that it sends nothing more to it.
    Edge,
    /// The proxies, which nobody can ask: they have this long to learn of those that stay.
    Proxies {
        /// It is stopped then.
        until: Time,
    },
    /// The container whose network it is to join.
    Pod,
    /// The moment in which a tainted replica can be frozen.
    Freeze {
        /// What has to be over.
        on: &'static str,
        /// It is over by then.
        until: Time,
    },
    /// The end of the time for which it is broken open.
    Glass {
        /// That.
        until: Time,
        /// Why it is, fit to be shown; `None` where a supervisor before this one was told.
        reason: Option<String>,
    },
    /// Its connections.
    Connections {
        /// How many are open.
        open: u64,
        /// It is stopped by then in any case.
        until: Time,
    },
    /// The edge to end what its drain left open.
    Cut {
        /// How many are open.
        open: u64,
        /// It is stopped then if the edge has not said so.
        until: Time,
    },
    /// The one before it to be gone: both have its name, or what only one can hold.
    Place {
        /// Which.
        replica: ReplicaName,
    },
    /// Nothing: its adoption was stopped.
    Adoption {
        /// Why.
        why: String,
    },
    /// Nothing: it belongs to `up` where this is `adopt`, or the other way round.
    OtherMode,
    /// The number of replicas that may exist at once.
    Surge {
        /// How many may.
        limit: u32,
    },
    /// The number of births that may be under way at once, over all services.
    Parallel {
        /// How many may.
        limit: u32,
    },
    /// Time after failures.
    Backoff {
        /// Until then.
        until: Time,
        /// Failures in a row.
        failures: u32,
        /// The last one.
        last: String,
    },
    /// The failure budget is spent: a change of the file or `phoenixd recycle` goes on.
    Budget {
        /// Failures in a row.
        failures: u32,
        /// How many are allowed.
        budget: u32,
        /// The last one.
        last: String,
    },
    /// A failed call is repeated.
    Retry {
        /// Then.
        until: Time,
        /// The failure.
        last: String,
    },
}

/// Where a replica is in its life; derived, never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// There is no replica where one is wanted.
    Missing,
    /// Its container is being made.
    Creating,
    /// Its container is made.
    Created,
    /// Its process runs and was not ready yet.
    Starting,
    /// In rotation.
    Ready,
    /// It was ready and is not.
    Unready,
    /// Something was done to it: out of rotation, frozen, recorded, and then removed.
    Tainted,
    /// Out of rotation, and somebody may get into it for a while.
    BrokenGlass,
    /// Out of rotation, its connections may end.
    Draining,
    /// Its process is being ended.
    Stopping,
    /// Its process ended.
    Exited,
    /// Its container is being removed.
    Removing,
}

impl Stage {
    /// Its name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Tainted => "tainted",
            Self::BrokenGlass => "broken-glass",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }
}

impl WaitingOn {
    /// The text as of `now`: times are told as what is left of them.
    pub fn describe(&self, now: Time) -> String {
        let left = |until: &Time| short(until.since(now));
        match self {
            Self::Call(name) => format!("{name} under way"),
            Self::Listing => "the outcome of a call is unknown until the next listing".to_owned(),
            Self::Engine { error } => format!("the engine does not answer: {error}"),
            Self::Resources { names } => format!("{names} being made"),
            Self::Dependency { .. } | Self::Glass { .. } => self.describe_long(Some(now)),
            Self::Dependents { names } => format!("{} to be gone", quoted(names)),
            Self::Externals { names } => format!("external {names} to exist again: {REMOVED}"),
            Self::Probe {
                successes,
                needed,
                last,
                until,
            } => {
                let last = last
                    .as_ref()
                    .map(|last| format!(" ({last})"))
                    .unwrap_or_default();
                format!(
                    "probe: {successes} of {needed} successes{last}, {} left",
                    left(until)
                )
            }
            Self::Kernel => "the kernel's word that the hardening is in force".to_owned(),
            Self::MinReady { until } => format!("min_ready: {} left", left(until)),
            Self::Replacement { because, on: None } => format!("replacement: {because}"),
            Self::Replacement {
                because,
                on: Some(on),
            } => {
                format!("replacement: {because}; it waits on {}", on.describe(now))
            }
            Self::Journal { error } => format!("the journal, which cannot be written: {error}"),
            Self::Birth { replica } => format!("{replica} to be ready"),
            Self::Edge => "the edge to confirm the switch".to_owned(),
            Self::Proxies { until } => {
                format!("proxies to learn of those that stay, {} left", left(until))
            }
            Self::Pod => "the pause container of its pod".to_owned(),
            Self::Freeze { on, until } => format!("{on}, {} left", left(until)),
            Self::Connections { open, until } => connections(*open, &left(until)),
            Self::Cut { open, until } => {
                format!("the edge to cut {}", connections(*open, &left(until)))
            }
            Self::Place { replica } => format!("{replica} to be gone, whose place it takes"),
            Self::Supervisor => "the next supervisor: this one ends".to_owned(),
            Self::Adoption { why } => format!("adoption stopped: {why}"),
            Self::OtherMode => OTHER_MODE.to_owned(),
            Self::Surge { limit } => format!("at most {limit} replicas at once"),
            Self::Parallel { limit } => format!("at most {limit} births at once"),
            Self::Backoff {
                until,
                failures,
                last,
            } => {
                format!(
                    "backoff, {} left after failure {failures}: {last}",
                    left(until)
                )
            }
            Self::Budget {
                failures,
                budget,
                last,
            } => format!(
                "failure budget spent ({failures} of {budget}): {last}; change the file or run `phoenixd recycle`"
            ),
            Self::Retry { until, last } => format!("retry in {}: {last}", left(until)),
        }
    }

    /// As a sentence about who waits, as of `now`: `web waits for …`.
    pub fn sentence(&self, who: impl fmt::Display, now: Time) -> String {
        let on = self.describe(now);
        if matches!(self, Self::Dependency { .. } | Self::Dependents { .. }) {
            format!("{who} waits for {on}")
        } else {
            format!("{who} waits: {on}")
        }
    }

    /// What a dependency that is waited for is, without times: the same as long as nothing about it changes.
    pub fn dependency(&self) -> Option<String> {
        matches!(self, Self::Dependency { .. }).then(|| self.describe_long(None))
    }

    /// A dependency, and what is broken open.
    fn describe_long(&self, now: Option<Time>) -> String {
        if let (Self::Glass { until, reason }, Some(now)) = (self, now) {
            let reason = reason.as_deref().unwrap_or("see `phoenixd events`");
            let left = short(until.since(now));
            return format!("the end of its break-glass, {left} left: {reason}");
        }
        let Self::Dependency {
            dependency,
            run_by,
            condition,
            state,
            since,
            ended,
            hint,
            more,
        } = self
        else {
            return String::new();
        };
        let to = match (condition, run_by) {
            (Condition::Started, _) => "to be started",
            (Condition::Healthy, RunBy::Compose) => "to be healthy",
            (Condition::Healthy, RunBy::Phoenixd) => "to be ready",
            (Condition::CompletedSuccessfully, _) => "to complete",
        };
        let whose = whose(dependency, *run_by);
        let mut text = format!("{whose} {to}: {state}");
        if let (Some(now), Some(since)) = (now, since) {
            let span = short(now.since(*since));
            text.extend([", ", &span]);
            if *ended {
                text.push_str(" ago");
            }
        }
        if let Some(hint) = hint {
            text.extend([" (", hint, ")"]);
        }
        if !more.is_empty() {
            text.extend(["; then for ", &quoted(more)]);
        }
        text
    }

    /// When it ends by itself, if it does.
    pub(super) fn until(&self) -> Option<Time> {
        match self {
            Self::Probe { until, .. }
            | Self::MinReady { until }
            | Self::Freeze { until, .. }
            | Self::Glass { until, .. }
            | Self::Connections { until, .. }
            | Self::Proxies { until }
            | Self::Cut { until, .. }
            | Self::Backoff { until, .. }
            | Self::Retry { until, .. } => Some(*until),
            Self::Replacement { on, .. } => on.as_ref().and_then(|on| on.until()),
            Self::Call(_)
            | Self::Listing
            | Self::Engine { .. }
            | Self::Journal { .. }
            | Self::Resources { .. }
            | Self::Dependency { .. }
            | Self::Dependents { .. }
            | Self::Externals { .. }
            | Self::Kernel
            | Self::Birth { .. }
            | Self::Edge
            | Self::Pod
            | Self::Place { .. }
            | Self::Adoption { .. }
            | Self::Supervisor
            | Self::OtherMode
            | Self::Surge { .. }
            | Self::Parallel { .. }
            | Self::Budget { .. } => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn quoted(names: &[ServiceName]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Seconds with one decimal below ten, whole ones above, then humantime's.
fn short(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{:.1} s", span.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
    }
}

fn connections(open: u64, left: &str) -> String {
    match open {
        1 => format!("1 open connection, {left} left"),
        more => format!("{more} open connections, {left} left"),
    }
}
