//! `phoenixd up`: supervises until SIGTERM or SIGINT.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use super::context::{Connected, Context, runtime};
use super::load::Loaded;
use super::output::{Complaint, Exit, complain};
use crate::api::Snapshot;
use crate::daemon::{
    Missing, ResolvedProject, StartError, Stop, Supervised, Surroundings, resolve, supervise,
};
use crate::docker::Docker;
use crate::edge::BindError;
use crate::reconcile::Status;
use crate::report::Chain;
use crate::spec::{Diagnostic, ImageRef, Service};

pub(super) fn run(context: &Context, down_on_exit: bool) -> Result<Exit, Complaint> {
    context.log(true);
    let loaded = context.load()?;
    runtime()?.block_on(async {
        let connected = context.connect().await?;
        let resolved = resolve(&*connected.docker, &loaded.project, &Pull(&connected.docker)).await;
        let resolved = Context::resolved(&loaded, resolved)?;
        let stop = Stop::default();
        let signals = on_signals(stop.clone(), down_on_exit)?;
        let status = new_status();
        tokio::select! {
            ended = supervised(context, &loaded, &resolved, &connected, stop, status) => ended.map(|_| Exit::Success),
            never = signals => never,
        }
    })
}

/// The status of a supervisor that has not begun.
pub(super) fn new_status() -> watch::Sender<Arc<Snapshot>> {
    let status = Status::default();
    watch::Sender::new(Arc::new(Snapshot {
        phase: "starting",
        engine: None,
        status,
        finished: false,
    }))
}

/// Supervises a resolved project until `stop` says so; errors are worded for the user.
pub(super) async fn supervised(
    context: &Context,
    loaded: &Loaded,
    resolved: &ResolvedProject,
    connected: &Connected,
    stop: Stop,
    status: watch::Sender<Arc<Snapshot>>,
) -> Result<Arc<Snapshot>, Complaint> {
    let around = Surroundings {
        engine: Arc::clone(&connected.docker),
        identity: connected.identity.clone(),
        state: context.state(&resolved.project.name),
        stop,
        command: None,
        status,
    };
    let last = supervise(Supervised::of(resolved), Some(resolved), around)
        .await
        .map_err(|error| not_started(&error, loaded))?;
    say_left(&last);
    Ok(last)
}

/// What a `down` could not remove.
pub(super) fn say_left(last: &Snapshot) {
    for left in &last.status.left {
        complain(&format!("warning: left behind: {left}\n"));
    }
}

pub(super) fn not_started(error: &StartError, loaded: &Loaded) -> Complaint {
    match error {
        StartError::Externals(diagnostics) => Complaint::unmet(loaded.render(diagnostics)),
        StartError::Port(port) => {
            let publishes = |service: &&Service| service.published.contains(&port.published);
            match loaded.project.services.values().find(publishes) {
                Some(service) => Complaint::unmet(loaded.render(&[port_taken(service, port)])),
                None => start_complaint(error),
            }
        }
        StartError::Lock(_)
        | StartError::Journal(_)
        | StartError::Api(_)
        | StartError::List { .. }
        | StartError::Threads(_)
        | StartError::TaskEnded(_) => start_complaint(error),
    }
}

/// A port that the host does not give, with the place where the file asks for it.
fn port_taken(service: &Service, port: &BindError) -> Diagnostic {
    let (place, path) = (service.place("ports"), service.path("ports"));
    Diagnostic::error("port-taken", place, path, Chain(port).to_string()).hint(port.hint())
}

/// Why nothing was started, for people.
pub(super) fn start_complaint(error: &StartError) -> Complaint {
    let text = Chain(error).to_string();
    match error {
        StartError::Lock(crate::daemon::LockError::Taken { .. }) => Complaint::unmet(text).hint(
            "`phoenixd ps` shows what it does; end it with SIGTERM before you start another one",
        ),
        StartError::Lock(crate::daemon::LockError::StateDir { .. }) => {
            Complaint::unmet(text).hint("name a directory that you may write to with `--state-dir`")
        }
        StartError::Port(port) => Complaint::unmet(text).hint(port.hint()),
        StartError::Journal(_)
        | StartError::Api(_)
        | StartError::List { .. }
        | StartError::Externals(_) => Complaint::unmet(text),
        StartError::Threads(_) => Complaint::unexpected(text),
        StartError::TaskEnded(_) => {
            Complaint::unexpected(text).hint("replicas keep running; `phoenixd up` adopts them")
        }
    }
}

/// The first SIGTERM or SIGINT asks for the end, the second one ends the waits.
///
/// # Errors
/// Handlers cannot be installed.
pub(super) fn on_signals(
    stop: Stop,
    down_on_exit: bool,
) -> Result<impl Future<Output = Result<Exit, Complaint>>, Complaint> {
    let cannot =
        |error: std::io::Error| Complaint::unexpected(format!("cannot watch signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        let mut asked = 0;
        loop {
            // Cancel safety: a signal that is not awaited stays pending.
            tokio::select! {
                Some(()) = term.recv() => {}
                Some(()) = int.recv() => {}
            }
            asked += 1;
            match (asked, down_on_exit) {
                (1, true) => {
                    info!("removing everything; a second signal leaves the rest as it is");
                    stop.down.cancel();
                }
                (1, false) | (2, true) => {
                    info!("ending; replicas keep running");
                    stop.leave.cancel();
                }
                _ => return Ok(Exit::Unmet),
            }
        }
    })
}

/// Gets images that the engine does not have, as docker compose does.
pub(super) struct Pull<'a>(pub(super) &'a Docker);

impl Missing for Pull<'_> {
    async fn get(&self, image: &ImageRef) -> Result<(), String> {
        info!(%image, "pulling");
        self.0
            .pull(image, None, |_| {})
            .await
            .map_err(|error| Chain(&error).to_string())
    }
}
