//! `phoenixd up`: supervises until SIGTERM or SIGINT.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::context::{Connected, Context, runtime};
use super::load::Loaded;
use super::output::{Complaint, Exit, complain};
use super::pods::{self, Placed};
use crate::api::Snapshot;
use crate::daemon::{
    Builds, Missing, StartError, Stop, Supervised, Surroundings, resolve, supervise,
};
use crate::docker::{BuildError, Docker, ImageOf};
use crate::edge::{BindError, Obstacle};
use crate::reconcile::Status;
use crate::report::{self, Chain};
use crate::spec::{Build, Diagnostic, ImageRef, PullPolicy, Service};

/// The most that is said of one thing that was left behind, in characters.
pub(super) const LEFT_TEXT: usize = 1000;
/// How many of a failed step's last lines are in the message; the log has all of them.
const LAST_WORDS: usize = 5;

pub(super) fn run(context: &Context, build: bool, down_on_exit: bool) -> Result<Exit, Complaint> {
    context.log(true);
    let loaded = context.load()?;
    runtime()?.block_on(async {
        let connected = context.connect().await?;
        let images = Get {
            docker: &connected.docker,
            builds: if build { Builds::All } else { Builds::Missing },
        };
        let resolved = resolve(&*connected.docker, &loaded.project, &images).await;
        let resolved = Context::resolved(&loaded, resolved)?;
        let resolved = context.place_files_for_good(&loaded, resolved, &connected)?;
        let placed = context.place_pods(resolved, &connected, true).await?;
        let stop = Stop::default();
        let signals = on_signals(stop.clone(), down_on_exit)?;
        let status = new_status();
        tokio::select! {
            ended = supervised(context, &loaded, &placed, &connected, stop, status) => ended.map(|_| Exit::Success),
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
    placed: &Placed,
    connected: &Connected,
    stop: Stop,
    status: watch::Sender<Arc<Snapshot>>,
) -> Result<Arc<Snapshot>, Complaint> {
    let resolved = &placed.resolved;
    let around = Surroundings {
        engine: Arc::clone(&connected.docker),
        identity: connected.identity.clone(),
        engine_dir: connected.engine_dir.clone(),
        state: context.state(&resolved.project.name),
        journal: context.journal_settings()?,
        files: context.file_store(&resolved.project.name, connected)?,
        stop,
        command: None,
        status,
    };
    let last = match supervise(Supervised::of(resolved), Some(resolved), around).await {
        Ok(last) => last,
        Err(error) => {
            if !matches!(error, StartError::TaskEnded(_)) {
                placed.forget(connected).await;
            }
            return Err(not_started(&error, loaded, connected).await);
        }
    };
    say_left(&last);
    if last.finished {
        pods::remove_images(connected, &resolved.project.name).await;
    }
    Ok(last)
}

/// What a `down` could not remove.
pub(super) fn say_left(last: &Snapshot) {
    for left in &last.status.left {
        complain(&format!(
            "warning: left behind: {}\n",
            report::brief(left, LEFT_TEXT)
        ));
    }
}

/// The containers that publish a port that is taken. An engine that does not say is no further trouble.
async fn publishing(connected: &Connected, port: &BindError) -> Vec<String> {
    match port.obstacle {
        Obstacle::Taken(_) => {
            (connected.docker.publishing(port.published).await).unwrap_or_default()
        }
        Obstacle::Privileged { .. } | Obstacle::NoSuchAddress | Obstacle::Other => Vec::new(),
    }
}

async fn not_started(error: &StartError, loaded: &Loaded, connected: &Connected) -> Complaint {
    match error {
        StartError::Externals(diagnostics) => Complaint::diagnostics(loaded.render(diagnostics)),
        StartError::Ports(ports) => {
            let mut diagnostics = Vec::new();
            for port in ports {
                let publishes = |service: &&Service| service.published.contains(&port.published);
                let Some(service) = loaded.project.services.values().find(publishes) else {
                    return start_complaint(error);
                };
                let publishing = publishing(connected, port).await;
                diagnostics.push(port_taken(service, port, &publishing));
            }
            Complaint::diagnostics(loaded.render(&diagnostics))
        }
        StartError::Lock(_)
        | StartError::Journal(_)
        | StartError::Api(_)
        | StartError::List { .. }
        | StartError::Files { .. }
        | StartError::Threads(_)
        | StartError::TaskEnded(_) => start_complaint(error),
    }
}

/// A port that the host does not give, with the place where the file asks for it.
fn port_taken(service: &Service, port: &BindError, publishing: &[String]) -> Diagnostic {
    let (place, path) = (service.place("ports"), service.path("ports"));
    let hint = if publishing.is_empty() {
        port.hint()
    } else {
        let names: Vec<String> = publishing.iter().map(|it| format!("`{it}`")).collect();
        format!(
            "container {} publishes this port: stop it, or change the host port in `ports:`",
            report::brief(&names.join(", "), LEFT_TEXT)
        )
    };
    Diagnostic::error("port-taken", place, path, Chain(port).to_string()).hint(hint)
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
        StartError::Ports(ports) => {
            let complaint = Complaint::unmet(text);
            match ports.as_slice() {
                [port, ..] => complaint.hint(port.hint()),
                [] => complaint,
            }
        }
        StartError::Files { .. } => Complaint::unmet(text).hint(
            "name a directory that only you may write to, and that the engine sees, with PHOENIXD_RUNTIME_DIR",
        ),
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

/// Gets images as docker compose does: from their registry, or by a build.
struct Get<'a> {
    docker: &'a Docker,
    builds: Builds,
}

impl Missing for Get<'_> {
    async fn refresh(&self, service: &Service) -> Result<(), String> {
        let image = &service.container.image;
        let is_due = match service.pull {
            PullPolicy::Always | PullPolicy::Latest => true,
            PullPolicy::Missing | PullPolicy::Never | PullPolicy::Build => false,
            PullPolicy::Refresh(after) => {
                let age = self.docker.image_age(image).await;
                let age = age.map_err(|error| Chain(&error).to_string())?;
                age.is_none_or(|age| age > after)
            }
        };
        if !is_due {
            return Ok(());
        }
        match self.get(image, service.container.platform.as_deref()).await {
            Err(why) if service.pull == PullPolicy::Latest => {
                warn!(%image, error = why, "not asked for anew: what is there is used");
                Ok(())
            }
            other => other,
        }
    }

    async fn get(&self, image: &ImageRef, platform: Option<&str>) -> Result<(), String> {
        info!(%image, "pulling");
        self.docker
            .pull(image, platform, |_| {})
            .await
            .map_err(|error| Chain(&error).to_string())
    }

    async fn build(&self, of: ImageOf<'_>, build: &Build) -> Result<(), String> {
        info!(service = %of.service, image = %of.image, "building");
        let progress = |line: &str| info!(service = %of.service, "{}", report::escape(line));
        let ended = self.docker.build(of, build, progress).await;
        if ended.is_ok() {
            info!(service = %of.service, image = %of.image, "built");
        }
        ended.map_err(|error| not_built(&error))
    }

    fn builds(&self) -> Builds {
        self.builds
    }
}

/// Why an image was not built, with what the failing step said last.
fn not_built(error: &BuildError) -> String {
    let why = Chain(error).to_string();
    let output = match error {
        BuildError::Step { output, .. } => output.as_slice(),
        BuildError::Context(_) | BuildError::Engine(_) => &[],
    };
    let skipped = output.len().saturating_sub(LAST_WORDS);
    let last: Vec<_> = (output.iter().skip(skipped))
        .map(|line| report::escape(line))
        .collect();
    if last.is_empty() {
        why
    } else {
        format!("{why}; it said last: {}", last.join(" | "))
    }
}
