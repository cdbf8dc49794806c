//! The edge as a process of its own: joins the forwarder, the prober, the control socket and the keeper of it all.
//!
//! Not here: flags and signals (`cli`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::control::keeper::{Event, Keeper, Tools};
use super::control::sockets::Sockets;
use super::control::wire::{Report, Stage};
use super::control::{self, SocketError, server, socket_path};
use super::{End, Limits, Listeners, REPORT_INTERVAL, Workers};
use crate::probe::{self, Probed};
use crate::reconcile::{EdgeReport, Routes, Targets, Time};

/// Between two attempts at a port that is taken, or at a takeover.
const ATTEMPTS: Duration = Duration::from_millis(50);
/// Counts are told now and then: what came a moment ago is told within this.
const COUNTED_WITHIN: Duration = REPORT_INTERVAL.saturating_mul(2);
/// For the goodbyes of what can be ended properly.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);
/// For the reset of what has not ended in time.
const RESET_WITHIN: Duration = Duration::from_millis(100);
/// For the last report, at the end.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Of every channel.
const QUEUE: usize = 64;

/// How an edge process runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the control sockets of all edges of the project are.
    pub directory: PathBuf,
    /// Its number; no other edge has it.
    pub serial: u64,
    /// What it takes on.
    pub limits: Limits,
    /// For open connections, once it is to end.
    pub drain: Duration,
    /// The clock by which probes are dated.
    pub clock: fn() -> Time,
}

/// Why an edge process ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Nobody could tell it anything.
    #[error("the edge cannot be controlled")]
    Control(#[from] SocketError),
    /// What is open on that thread hangs, and only a new process helps.
    #[error("thread {0} of the edge hangs")]
    Stuck(usize),
}

/// Forwards as the supervisor says until `terminate`; then it closes its ports and waits for open connections, at the longest
/// `drain`, or until `at_once`. Returns how many connections were still open: they end with the runtime.
///
/// # Errors
/// There is no control socket, or a thread hangs.
///
/// # Panics
/// Goes on with the panic of one of its tasks, which would be a bug.
///
/// # Cancel safety
/// Dropping it closes every port.
pub async fn run(
    settings: Settings,
    workers: Workers,
    terminate: CancellationToken,
    at_once: CancellationToken,
) -> Result<u64, EdgeError> {
    let path = socket_path(&settings.directory, settings.serial);
    let listener = control::bind(&path).await?;
    super::raise_open_files();
    info!(socket = %path.display(), edge = settings.serial, "the edge listens for control");
    let stuck = workers.stuck();
    let all = All::start(&settings, workers, listener);
    // Cancel safety: when a thread hangs the process ends, and nothing goes on.
    let cut = tokio::select! {
        cut = all.until_ended(&settings, terminate, at_once) => Ok(cut),
        thread = stuck => Err(EdgeError::Stuck(thread)),
    };
    if let Err(error) = std::fs::remove_file(&path) {
        debug!(%error, "the control socket stays");
    }
    cut
}

struct All {
    keeper: Keeper,
    events: mpsc::Receiver<Event>,
    counts: watch::Receiver<EdgeReport>,
    answers: mpsc::Receiver<Probed>,
    /// When what did not succeed is tried again.
    again: Interval,
    /// Of the prober and the control socket.
    shutdown: CancellationToken,
    /// Of what can be ended properly.
    goodbye: CancellationToken,
    forwarder: JoinSet<()>,
    others: JoinSet<()>,
}

impl All {
    fn start(settings: &Settings, workers: Workers, listener: tokio::net::UnixListener) -> Self {
        let (tables, tables_in) = watch::channel((0, Arc::new(Routes::default())));
        let (counts, counts_in) = watch::channel(EdgeReport::default());
        let (opened, opened_in) = mpsc::channel(QUEUE);
        let (targets, targets_in) = watch::channel(Arc::new(Targets::new()));
        let (probed, answers) = mpsc::channel(QUEUE);
        let (events, events_in) = mpsc::channel(QUEUE);
        let (reports, reports_in) = watch::channel(Report {
            serial: settings.serial,
            stamp: None,
            stage: Stage::Idle,
            open: BTreeMap::new(),
            unbound: Vec::new(),
            took_over: None,
            takeover_error: None,
            cut: 0,
        });
        let (stop, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let goodbye = CancellationToken::new();
        let mut forwarder = JoinSet::new();
        let listeners = Listeners::moving(opened_in);
        forwarder.spawn(super::run(
            listeners,
            settings.limits,
            workers,
            tables_in,
            counts,
            End {
                shutdown: stop.clone(),
                goodbye: goodbye.clone(),
            },
        ));
        let mut others = JoinSet::new();
        others.spawn(probe::run(
            targets_in,
            probed,
            settings.clock,
            shutdown.clone(),
        ));
        others.spawn(server::serve(
            listener,
            events,
            reports_in,
            shutdown.clone(),
        ));
        let keeper = Keeper::new(Tools {
            directory: settings.directory.clone(),
            serial: settings.serial,
            sockets: Sockets::new(opened, stop.clone()),
            tables,
            counts: counts_in.clone(),
            stop,
            targets,
            reports,
        });
        let mut again = interval(ATTEMPTS);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            keeper,
            again,
            events: events_in,
            counts: counts_in,
            answers,
            shutdown,
            goodbye,
            forwarder,
            others,
        }
    }

    async fn until_ended(
        mut self,
        settings: &Settings,
        terminate: CancellationToken,
        at_once: CancellationToken,
    ) -> u64 {
        // Cancel safety: the loop is in one place at a time, and what it was told is kept or asked again.
        tokio::select! {
            () = terminate.cancelled() => {}
            never = self.go_on() => match never {},
        }
        self.keeper.stop();
        let drained = async {
            tokio::select! {
                biased;
                () = at_once.cancelled() => {}
                () = self.go_on_until_drained() => {}
            }
        };
        // What is left is counted, not told apart: it is over either way.
        let _in_time = timeout(settings.drain, drained).await;
        if !self.forwarder.is_empty() {
            let _in_time = timeout(COUNTED_WITHIN, self.go_on_until_drained()).await;
        }
        let cut = self.keeper.count_open();
        if cut > 0 {
            warn!(connections = cut, "cut: they had not ended in time");
            self.goodbye.cancel();
            let _in_time = timeout(GOODBYE_WITHIN, self.go_on_until_drained()).await;
            self.keeper.cut();
            // It takes no time; clients of HTTP that rest are not waited for.
            let _in_time = timeout(RESET_WITHIN, self.go_on_until_drained()).await;
        }
        self.last_word().await;
        cut
    }

    /// Every supervisor hears the last report.
    async fn last_word(self) {
        let Self {
            keeper,
            events,
            shutdown,
            mut others,
            ..
        } = self;
        shutdown.cancel();
        drop((keeper, events));
        let said = async {
            while let Some(ended) = others.join_next().await {
                resume(ended);
            }
        };
        if timeout(LAST_WORD, said).await.is_err() {
            debug!("somebody does not take the last report");
        }
    }

    async fn go_on_until_drained(&mut self) {
        while !self.forwarder.is_empty() {
            self.step().await;
        }
    }

    async fn go_on(&mut self) -> std::convert::Infallible {
        loop {
            self.step().await;
        }
    }

    /// One thing that happens.
    async fn step(&mut self) {
        let has_more = self.keeper.has_more_to_try();
        // Cancel safety: what is chosen is carried out whole; the others only wait.
        tokio::select! {
            biased;
            Some(event) = self.events.recv() => self.keeper.handle(event).await,
            Some(ended) = self.forwarder.join_next() => {
                resume(ended);
                self.keeper.counted();
                self.keeper.ended();
            }
            Ok(()) = self.counts.changed() => self.keeper.counted(),
            Some(ended) = self.others.join_next() => resume(ended),
            step = self.keeper.next_step() => self.keeper.step(step).await,
            Some(probed) = self.answers.recv() => self.keeper.probed(probed),
            _ = self.again.tick(), if has_more => self.keeper.try_again().await,
        }
    }
}

/// A task that panicked takes everything along: what is left half alive forwards nothing, and looks as if it did.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
