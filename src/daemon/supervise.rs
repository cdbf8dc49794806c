//! The loop: apply what happened, plan, publish, begin. The one writer of the world; it decides nothing.
//!
//! Every action is in the journal before its call, and its outcome after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::edges::{Counts, EdgeLinks};
use super::execute::execute_telling;
use super::guarded::Guarded;
use super::watch::now;
use super::{Catalog, FileStore, record, touched};
use crate::adopt::Comparison;
use crate::api::{CommandRequest, Snapshot};
use crate::clock;
use crate::docker::Engine;
use crate::journal::{self, Journal};
use crate::probe::Probed;
use crate::reconcile::{
    Action, BreakGlass, Command, EdgeReport, Event, Meddling, Outcome, Planned, Routes, Sight,
    Status, Step, Targets, Time, WaitingOn, World,
};
use crate::spec::{FileDigest, FileMount, ReplicaName, ServiceName};
use crate::witness::evidence::Captured;

/// The longest wait without planning. Timers do not count suspended time, so after a suspend deadlines are met at
/// most this late.
const WAKE_LAST: Duration = Duration::from_secs(10);
/// How long calls that are under way may go on after a stop was asked for. What is then left is found again by the
/// next supervisor.
const CALLS_END: Duration = Duration::from_secs(5);

/// How long what is half done may take after a stop was asked for; systemd kills after 90 s.
const LEAVE_LAST: Duration = Duration::from_secs(30);

/// How the supervisor is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// End; replicas stay.
    pub leave: CancellationToken,
    /// Remove everything, then end.
    pub down: CancellationToken,
}

/// Everything the loop holds.
#[derive(Debug)]
pub(super) struct Supervisor<E> {
    pub(super) engine: Arc<E>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) files: Arc<FileStore>,
    /// Where the evidence of tainted replicas is kept.
    pub(super) evidence: PathBuf,
    /// The copies that everything else was removed beside.
    pub(super) kept: Option<BTreeSet<FileDigest>>,
    pub(super) world: World,
    pub(super) journal: Journal,
    pub(super) journal_status: watch::Receiver<journal::Status>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) probed: mpsc::Receiver<Probed>,
    pub(super) asked: mpsc::Receiver<CommandRequest>,
    pub(super) edge: watch::Receiver<EdgeReport>,
    pub(super) edges: EdgeLinks,
    pub(super) relist: Arc<Notify>,
    pub(super) routes: watch::Sender<(u64, Arc<Routes>)>,
    pub(super) targets: watch::Sender<Arc<Targets>>,
    pub(super) status: watch::Sender<Arc<Snapshot>>,
    pub(super) stop: Stop,
    pub(super) calls: JoinSet<Called>,
    pub(super) requests: u64,
    /// A removal of everything was begun because this process was asked to end.
    pub(super) down_seen: bool,
    /// This process was asked to end, and does by then at the latest.
    pub(super) leave_by: Option<Time>,
    pub(super) told: Told,
    pub(super) guarded: Guarded,
}

/// A call that has ended.
#[derive(Debug)]
pub(super) struct Called {
    action: Action,
    outcome: Outcome,
    /// A stop whose grace ran out: the connections that were still open then.
    cut: Option<u64>,
    /// What a comparison found.
    compared: Option<Comparison>,
    /// What was captured of a tainted replica.
    evidence: Option<Captured>,
}

/// Awaits a call; of a stop that outlasts its grace it counts the connections that end with it. Docker counts whole
/// seconds, and from a moment later: what is open here is what SIGKILL cuts. An edge says itself what it cuts before.
async fn count_cut(
    call: impl Future<Output = Outcome>,
    action: &Action,
    counts: &Counts,
) -> (Outcome, Option<u64>) {
    let mut call = pin!(call);
    if let Action::Stop {
        subject,
        grace: Some(grace),
    } = action
    {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        if let Ok(outcome) =
            timeout_at(clock::timer_in(Duration::from_secs(seconds)), &mut call).await
        {
            return (outcome, counts.cut_by(&subject.id));
        }
        let open = counts.open(&subject.id);
        let outcome = call.await;
        return (outcome, counts.cut_by(&subject.id).or(Some(open)));
    }
    (call.await, None)
}

/// What the log has said already, so that a steady state is silent.
#[derive(Debug, Default)]
pub(super) struct Told {
    failures: BTreeMap<ServiceName, u32>,
    ready: BTreeMap<ServiceName, u32>,
    /// Which dependency each service waits for, and what that one is.
    waits: BTreeMap<ServiceName, String>,
    overdue: BTreeSet<ReplicaName>,
    unverified: BTreeSet<ReplicaName>,
    meddling: BTreeSet<Meddling>,
    /// The number of the last touch that was told.
    pub(super) touches: u64,
    /// An end of break-glass is on its way to the disk: whoever asked for it is answered then.
    pub(super) glass_ended: Option<journal::Receipt>,
    /// Answers that wait for the disk.
    pub(super) answers: JoinSet<()>,
    journal_fails: bool,
    kernel_unavailable: bool,
}

impl<E: Engine> Supervisor<E> {
    /// Runs until it is asked to end, or until a `down` is done. The last status tells what a `down` left behind.
    pub(super) async fn run(mut self) -> Arc<Snapshot> {
        loop {
            let step = self.world.plan(now());
            if self.publish(&step) {
                // The world has changed: what was planned before it heard of the table may not hold.
                continue;
            }
            let is_over = self.leave_by.is_some_and(|by| step.settled || now() >= by);
            if step.finished || is_over {
                break;
            }
            let wake_at = match (step.wake_at, self.leave_by) {
                (Some(at), Some(by)) => Some(at.min(by)),
                (at, by) => at.or(by),
            };
            if !step.actions.is_empty() {
                for planned in step.actions {
                    self.begin(planned);
                }
                continue;
            }
            self.wait(wake_at).await;
        }
        self.end_calls().await;
        Arc::clone(&self.status.borrow())
    }

    /// Waits until there is something new to plan on.
    async fn wait(&mut self, wake_at: Option<Time>) {
        let wait = wake_at.map_or(WAKE_LAST, |at| at.since(now()).min(WAKE_LAST));
        let until = clock::timer_in(wait);
        let leave = self.stop.leave.clone();
        let down = self.stop.down.clone();
        loop {
            // Cancel safety: `recv` and `join_next` lose nothing when dropped; the edge's report is a level.
            let changed = tokio::select! {
                biased;
                () = leave.cancelled(), if self.leave_by.is_none() => {
                    self.leave_by = Some(now() + LEAVE_LAST);
                    self.command(Command::Leave);
                    true
                }
                () = down.cancelled(), if !self.down_seen => {
                    self.down_seen = true;
                    self.command(Command::Down { volumes: false });
                    true
                }
                Some(joined) = self.calls.join_next(), if !self.calls.is_empty() => {
                    self.ended(joined);
                    true
                }
                Some(event) = self.events.recv() => self.take(event),
                Some(probed) = self.probed.recv() => self.take_probed(probed),
                Some(asked) = self.asked.recv() => {
                    self.ask(asked);
                    true
                }
                Ok(()) = self.edge.changed() => {
                    let report = self.edge.borrow_and_update().clone();
                    self.world.apply(now(), Event::Edge(report))
                }
                Ok(()) = self.journal_status.changed() => {
                    let error = self.journal_status.borrow_and_update().failing.clone();
                    self.world.apply(now(), Event::Journal { error })
                }
                _ = timeout_at(until, std::future::pending::<()>()) => {
                    self.world.apply(now(), Event::Woken)
                }
            };
            if changed {
                return;
            }
        }
    }

    /// Takes an event, and every other one that waits: they are planned on together.
    fn take(&mut self, event: Event) -> bool {
        let mut changed = self.apply_seen(event);
        while let Ok(event) = self.events.try_recv() {
            changed |= self.apply_seen(event);
        }
        changed
    }

    /// The same for what probes answered.
    fn take_probed(&mut self, probed: Probed) -> bool {
        let mut changed = false;
        let mut next = Some(probed);
        while let Some(Probed {
            asked_at,
            id,
            result,
        }) = next
        {
            changed |= self.world.apply(
                now(),
                Event::Probed {
                    asked_at,
                    id,
                    result,
                },
            );
            next = self.probed.try_recv().ok();
        }
        changed
    }

    fn apply_seen(&mut self, event: Event) -> bool {
        if let Some(record) = record::of_event(&event, &self.world) {
            self.journal.note(record);
        }
        self.world.apply(now(), event)
    }

    /// Hands the views out. `true` when the route table changed, which the world has then heard of.
    pub(super) fn publish(&mut self, step: &Step) -> bool {
        let own = self.edges.follow(step, &self.routes.borrow().clone());
        self.targets.send_if_modified(|targets| {
            let changed = **targets != own;
            if changed {
                *targets = Arc::new(own);
            }
            changed
        });
        self.status.send_if_modified(|snapshot| {
            let changed = snapshot.status != step.status || snapshot.finished != step.finished;
            if changed {
                let (status, finished) = (step.status.clone(), step.finished);
                *snapshot = Arc::new(Snapshot {
                    phase: self.phase(),
                    status,
                    finished,
                    engine: snapshot.engine.clone(),
                });
            }
            changed
        });
        self.tell(&step.status);
        self.sweep(step.files.as_ref());
        // As the copies: before the first listing it is not known what there is.
        if step.finished {
            self.guarded.forget(&self.catalog);
            self.edges.forget();
        } else {
            let is_whole = step.files.is_some();
            (self.guarded).tell(&step.status, &self.catalog, &step.beside, is_whole);
        }
        let Some(routes) = &step.routes else {
            return false;
        };
        let (epoch, table) = self.routes.borrow().clone();
        if epoch > 0 && *table == *routes {
            return false;
        }
        let routes = Arc::new(routes.clone());
        let epoch = epoch + 1;
        self.routes.send_replace((epoch, Arc::clone(&routes)));
        self.world.apply(now(), Event::Published { epoch, routes });
        true
    }

    /// Removes the copies of secrets and configs that nobody needs any more, and what others before left.
    fn sweep(&mut self, needed: Option<&BTreeSet<FileDigest>>) {
        let Some(needed) = needed.filter(|needed| self.kept.as_ref() != Some(needed)) else {
            return;
        };
        // What could not be removed is tried again with the next change, and at the next start.
        if let Err(error) = self.files.keep_only(needed) {
            warn!(%error, directory = %self.files.directory().display(), "copies of secrets or configs cannot be removed");
        }
        self.kept = Some(needed.clone());
    }

    /// Where the supervisor is in its own life.
    fn phase(&self) -> &'static str {
        if self.stop.leave.is_cancelled() || self.stop.down.is_cancelled() {
            "stopping"
        } else {
            "running"
        }
    }

    fn begin(&mut self, planned: Planned) {
        let Planned { action, reason } = planned;
        let is_look = matches!(action, Action::Look { .. });
        let receipt = (!is_look).then(|| {
            let replica = action.replica().map(ToString::to_string);
            info!(action = %action, replica, reason = %reason, "begin");
            self.journal.append(record::began(&action, &reason))
        });
        self.world.apply(
            now(),
            Event::Began {
                action: action.clone(),
                reason,
            },
        );
        if matches!(action, Action::Drain { .. }) {
            // Remembered by the world; the route table follows from it. There is no call that could fail.
            self.journal
                .note(record::ended(&action, &Outcome::Done(Sight::Nothing)));
            return;
        }
        let engine = Arc::clone(&self.engine);
        let catalog = Arc::clone(&self.catalog);
        let files = Arc::clone(&self.files);
        let counts = self.edges.counts(&self.edge);
        let evidence = self.evidence.clone();
        self.calls.spawn(async move {
            // The intent is durable before the call; that of a start is its create's. What may be begun
            // while the journal cannot be written is the plan's to say; here it goes on: Docker is the state.
            if let Some(receipt) = receipt
                && !matches!(action, Action::Start { .. } | Action::Connect { .. })
            {
                drop(receipt.durable().await);
            }
            if matches!(action, Action::Capture { .. }) {
                let (outcome, evidence) =
                    touched::capture(&*engine, &catalog, &evidence, &action).await;
                return Called {
                    action,
                    outcome,
                    cut: None,
                    compared: None,
                    evidence,
                };
            }
            let mut compared = None;
            let write = |file: &FileMount| files.write(file);
            let call = execute_telling(&*engine, &catalog, &action, write, now, &mut compared);
            let (outcome, cut) = count_cut(call, &action, &counts).await;
            Called {
                action,
                outcome,
                cut,
                compared,
                evidence: None,
            }
        });
    }

    fn ended(&mut self, joined: Result<Called, tokio::task::JoinError>) {
        let Called {
            action,
            outcome,
            cut,
            compared,
            evidence,
        } = match joined {
            Ok(ended) => ended,
            // A panic is a bug: end loudly, replicas stay, the next supervisor finds everything again.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(comparison) = compared {
            self.journal.note(record::compared(&action, &comparison));
        }
        if outcome.asks_for_a_listing(&action) {
            self.relist.notify_one();
        }
        match &outcome {
            Outcome::Done(_) => {}
            Outcome::Failed { failure, .. } => {
                warn!(action = %action, error = %failure.message, "failed");
            }
            Outcome::Unknown { failure } => {
                warn!(action = %action, error = %failure.message, "outcome unknown; listing");
            }
        }
        if !matches!((&action, &outcome), (Action::Look { .. }, Outcome::Done(_))) {
            let mut record = record::ended(&action, &outcome);
            if let Some(cut) = cut {
                record = record.detail("connections_cut", cut);
            }
            if let Some(evidence) = &evidence {
                record = record::with_evidence(record, evidence);
            }
            self.journal.note(record);
        }
        if let Some(cut) = cut.filter(|cut| *cut > 0) {
            warn!(action = %action, connections = cut, "the grace is over: connections are cut");
        }
        self.world.apply(now(), Event::Ended { action, outcome });
    }

    pub(super) fn command(&mut self, command: Command) {
        self.journal.note(record::asked(&command));
        match &command {
            Command::Recycle { services, .. } => {
                let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
                let services = if names.is_empty() {
                    "all".to_owned()
                } else {
                    names.join(", ")
                };
                info!(services, "recycle was asked for");
            }
            Command::BreakGlass { asked, .. } => {
                let length = humantime::format_duration(asked.length);
                let reason = crate::report::brief(&asked.reason, BreakGlass::REASON);
                warn!(service = %asked.service, "break-glass for {length} was asked for: {reason}");
            }
            Command::EndGlass { service, .. } => {
                warn!(%service, "the end of its break-glass was asked for");
            }
            Command::Down { volumes } => info!(volumes, "down was asked for"),
            Command::Leave => {}
        }
        self.world.apply(now(), Event::Command(command));
    }

    /// Gives calls that are under way a little time.
    async fn end_calls(&mut self) {
        let deadline = clock::timer_in(CALLS_END);
        while !self.calls.is_empty() {
            match timeout_at(deadline, self.calls.join_next()).await {
                Ok(Some(joined)) => self.ended(joined),
                Ok(None) => break,
                Err(_) => {
                    info!(
                        calls = self.calls.len(),
                        "calls under way are left to the next supervisor"
                    );
                    self.calls.abort_all();
                    break;
                }
            }
        }
    }

    /// Once for the whole supervisor in the log, once for each replica in the journal.
    fn tell_unverified(&mut self, replica: &ReplicaName) {
        if !self.told.kernel_unavailable {
            self.told.kernel_unavailable = true;
            warn!(
                "hardening cannot be verified in the kernel: /proc is not the engine's host's; in a container, run \
                 phoenixd with `pid: host`"
            );
        }
        if self.told.unverified.insert(replica.clone()) {
            self.journal.note(record::unverified(replica));
        }
    }

    /// What a service waits for that others have to do, whenever it changes.
    fn tell_waiting(&mut self, name: &ServiceName, on: Option<&WaitingOn>) {
        // A pod waits for its service, which says it already, and an edge for its pause, which is phoenixd's own affair.
        if name.pod_part().is_some() {
            return;
        }
        let Some(on) = on.and_then(WaitingOn::dependency) else {
            self.told.waits.remove(name);
            return;
        };
        if self.told.waits.get(name) == Some(&on) {
            return;
        }
        info!(service = %name, "waits for {on}");
        self.journal.note(record::waits(name, &on));
        self.told.waits.insert(name.clone(), on);
    }

    /// What somebody else did: one line in the log and one record, each once.
    fn tell_meddling(&mut self, outside: &[Meddling]) {
        self.told
            .meddling
            .retain(|meddling| outside.contains(meddling));
        for meddling in outside {
            if self.told.meddling.insert(meddling.clone()) {
                warn!("{}", meddling.what);
                self.journal.note(record::meddled(&meddling.what));
            }
        }
    }

    /// One line for each change that a person wants to know of.
    fn tell(&mut self, status: &Status) {
        for (name, service) in &status.services {
            let failures = self
                .told
                .failures
                .insert(name.clone(), service.failures)
                .unwrap_or(0);
            if service.failures > failures {
                let error = service.last_failure.as_deref().unwrap_or_default();
                warn!(service = %name, failures = service.failures, error, "a replica failed");
            }
            let ready = self.told.ready.insert(name.clone(), service.ready);
            if ready != Some(service.ready) && (ready.is_some() || service.ready > 0) {
                info!(service = %name, ready = service.ready, wanted = service.wanted, "in rotation");
            }
            self.tell_waiting(name, service.waiting_on.as_ref());
        }
        self.told
            .overdue
            .retain(|name| status.replicas.iter().any(|row| row.replica == *name));
        self.told
            .unverified
            .retain(|name| status.replicas.iter().any(|row| row.replica == *name));
        for row in &status.replicas {
            if row.overdue && self.told.overdue.insert(row.replica.clone()) {
                error!(replica = %row.replica, "past its deadline: no replacement is healthy");
            }
            if row.is_unverified() {
                self.tell_unverified(&row.replica);
            }
        }
        self.tell_meddling(&status.outside);
        self.tell_touches(status);
        let failing = &status.journal_error;
        if failing.is_some() != self.told.journal_fails {
            self.told.journal_fails = failing.is_some();
            if let Some(error) = failing {
                error!(
                    error,
                    "nothing is replaced until the journal can be written; what serves goes on serving"
                );
            } else {
                info!("what is due is replaced again");
            }
        }
    }
}
