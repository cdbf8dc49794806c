//! `phoenixd demo`: makes an image of this very binary, runs it as two phoenixes, visits them all the time, and tells
//! what happens until Ctrl-C; then nothing is left. And `demo-app`, which runs inside the containers.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::interval;
use tracing::warn;

use super::args::DemoArgs;
use super::context::{Connected, Context, runtime};
use super::output::{Complaint, Exit, print};
use super::pods;
use super::up::{new_status, on_signals, supervised};
use crate::api::Snapshot;
use crate::clock;
use crate::config::{Environment, StateDir};
use crate::daemon::Stop;
use crate::demo::traffic::{self, Counts};
use crate::demo::{self, PORT, app, project};
use crate::own_image;
use crate::reconcile::{Stage, Status};
use crate::report::{self, Chain};
use crate::spec::{ImageRef, ProjectName, ReplicaName, ServiceName};

/// Between two lines of figures where there is no terminal to write them over.
const FIGURES_EVERY: Duration = Duration::from_secs(5);
/// The same on a terminal.
const FIGURES_EVERY_TERMINAL: Duration = Duration::from_millis(250);

/// The hidden `demo-app`: what runs inside the demo's containers.
pub(super) fn app() -> Result<Exit, Complaint> {
    let environment = Environment::read();
    let variable = |name| environment.demo(name).map(str::to_owned);
    let number = |name| variable(name).and_then(|text| text.parse::<u64>().ok());
    let id = variable("HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
    let settings = app::Settings {
        port: number("PORT")
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(PORT),
        container: variable("PHOENIXD_REPLICA").unwrap_or_else(|| id.clone()),
        id,
        serial: number("PHOENIXD_SERIAL"),
        ttl: variable(project::TTL_VARIABLE).and_then(|text| humantime::parse_duration(&text).ok()),
        mischief: variable(project::MISCHIEF_VARIABLE).is_some(),
        clock: clock::boot_now,
    };
    // The only line of its log: who looks into the container's has to find something.
    print(&format!(
        "demo application {}, port {}\n",
        settings.container, settings.port
    ))
    .map_err(super::cannot_print)?;
    match runtime()?.block_on(app::serve(settings)) {
        Ok(()) => Ok(Exit::Success),
        Err(error) => Err(Complaint::unmet(Chain(&error).to_string())),
    }
}

pub(super) fn run(context: &Context, args: &DemoArgs) -> Result<Exit, Complaint> {
    context.log(false);
    let state = context.state(&ProjectName::new(project::NAME));
    runtime()?.block_on(async {
        let connected = context.connect().await?;
        let image = make_image(&connected, &state).await?;
        let ended = perform(context, args, &connected, &state, &image).await;
        clean_up(&connected, &state, &image).await;
        ended
    })
}

/// The image, on the engine.
async fn make_image(connected: &Connected, state: &StateDir) -> Result<ImageRef, Complaint> {
    let cannot = |what: &str, error: io::Error| Complaint::unmet(format!("cannot {what}: {error}"));
    make_dir(&state.dir).map_err(|error| {
        cannot(&format!("make {}", state.dir.display()), error)
            .hint("name a directory that you may write to with `--state-dir`")
    })?;
    // `/proc/self/exe` is this binary even if its file was replaced or removed since.
    let archive = own_image::archive(Path::new("/proc/self/exe"), demo::IMAGE, None)
        .map_err(|error| Complaint::unmet(format!("cannot make the image: {}", Chain(&error))))?;
    let reference = archive.reference.clone();
    pods::import_image(connected, archive).await?;
    Ok(reference)
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The performance: supervised by this process, visited by it, told by it.
async fn perform(
    context: &Context,
    args: &DemoArgs,
    connected: &Connected,
    state: &StateDir,
    image: &ImageRef,
) -> Result<Exit, Complaint> {
    let unexpected = |error: &dyn std::fmt::Display| {
        Complaint::unexpected(format!("cannot write the demo's file: {error}"))
    };
    let file = state.dir.join("compose.yaml");
    let text = project::compose_file(image, args.port).map_err(|error| unexpected(&error))?;
    std::fs::write(&file, text).map_err(|error| unexpected(&error))?;
    let context = context.with_project(file.clone());
    let loaded = context.load()?;
    let resolved = context.resolve(connected, &loaded).await?;
    let placed = context.place_pods(resolved, connected, true).await?;

    let stop = Stop::default();
    let signals = on_signals(stop.clone(), true)?;
    let status = new_status();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let counts = Counts::default();
    let told = tell(
        status.subscribe(),
        &counts,
        address,
        &file,
        args.recycles,
        &stop,
    );
    // Cancel safety: everything that is dropped here is only told or counted.
    let ended = tokio::select! {
        ended = supervised(&context, &loaded, &placed, connected, stop.clone(), status) => ended.map(drop),
        never = signals => never.map(drop),
        never = told => match never? {},
    };
    ended?;
    let summary = format!(
        "\n{} requests, {} failed\n",
        counts.requests(),
        counts.failed()
    );
    print(&summary).map_err(super::cannot_print)?;
    match counts.last_failure() {
        None => Ok(Exit::Success),
        Some(why) => Err(Complaint::unmet(format!("a request failed: {why}"))),
    }
}

/// Tells what happens, and visits from the first ready replica until the end is asked for.
async fn tell(
    mut status: watch::Receiver<Arc<Snapshot>>,
    counts: &Counts,
    address: SocketAddr,
    file: &Path,
    recycles: Option<u64>,
    stop: &Stop,
) -> Result<std::convert::Infallible, Complaint> {
    let is_terminal = io::stdout().is_terminal();
    let mut figures = interval(if is_terminal {
        FIGURES_EVERY_TERMINAL
    } else {
        FIGURES_EVERY
    });
    let mut story = Story::new(is_terminal);
    story.line(&format!(
        "http://{address}/ is the page, {} the file; Ctrl-C ends it and leaves nothing",
        file.display()
    ))?;
    let mut watched = status.clone();
    let visits = async {
        let ready = |snapshot: &Arc<Snapshot>| is_reachable(&snapshot.status);
        // The sender lives as long as the supervisor, and so longer than this.
        drop(watched.wait_for(ready).await);
        tokio::select! {
            () = traffic::visit(address, counts) => {}
            () = stop.down.cancelled() => {}
            () = stop.leave.cancelled() => {}
        }
        std::future::pending::<()>().await;
    };
    tokio::pin!(visits);
    loop {
        // Cancel safety: `changed` is a level; a lost tick is made up by the next one.
        tokio::select! {
            Ok(()) = status.changed() => {
                let snapshot = status.borrow_and_update().clone();
                story.follow(&snapshot.status)?;
                if recycles.is_some_and(|wanted| story.buried >= wanted) {
                    stop.down.cancel();
                }
            }
            _ = figures.tick() => story.figures(counts)?,
            () = &mut visits => {}
        }
    }
}

/// Whether a visitor is answered: replica, pause and edge are there.
fn is_reachable(status: &Status) -> bool {
    let is_ready = |service: &ServiceName| {
        let mut replicas = status.replicas.iter();
        replicas.any(|row| row.ready && row.replica.service == *service)
    };
    !status.services.is_empty() && status.services.keys().all(is_ready)
}

/// What was told so far.
struct Story {
    began: Duration,
    is_terminal: bool,
    stages: BTreeMap<ReplicaName, Stage>,
    /// Replicas that lived and are gone.
    buried: u64,
}

impl Story {
    fn new(is_terminal: bool) -> Self {
        Self {
            began: clock::boot_now(),
            is_terminal,
            stages: BTreeMap::new(),
            buried: 0,
        }
    }

    /// One line for each replica that is somewhere else in its life than before.
    fn follow(&mut self, status: &Status) -> Result<(), Complaint> {
        for row in &status.replicas {
            let before = self.stages.insert(row.replica.clone(), row.stage);
            if before != Some(row.stage)
                && let Some(what) = told(row.stage)
            {
                let id = row.container_id.as_ref().map_or("", |id| id.short());
                self.line(&format!("{:<8} {id:<12}  {what}", row.replica))?;
            }
        }
        let gone: Vec<ReplicaName> = self
            .stages
            .keys()
            .filter(|name| status.replicas.iter().all(|row| row.replica != **name))
            .cloned()
            .collect();
        for name in gone {
            self.stages.remove(&name);
            self.buried += 1;
            self.line(&format!(
                "{name:<8} {:<12}  is gone ({} buried so far)",
                "", self.buried
            ))?;
        }
        Ok(())
    }

    fn figures(&self, counts: &Counts) -> Result<(), Complaint> {
        let text = format!(
            "{} requests, {} failed, {} replicas buried",
            counts.requests(),
            counts.failed(),
            self.buried
        );
        if self.is_terminal {
            print(&format!("\r\x1b[K{:>7}  {text}", self.clock())).map_err(super::cannot_print)
        } else {
            self.line(&text)
        }
    }

    fn line(&self, text: &str) -> Result<(), Complaint> {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        print(&format!("{clear}{:>7}  {text}\n", self.clock())).map_err(super::cannot_print)
    }

    fn clock(&self) -> String {
        report::duration(Duration::from_secs(
            clock::boot_now().saturating_sub(self.began).as_secs(),
        ))
    }
}

/// What a stage means to who watches; nothing for those that pass in a moment.
fn told(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Starting => Some("rises"),
        Stage::Ready => Some("is ready, and takes traffic"),
        Stage::Unready => Some("is not ready any more"),
        Stage::Tainted => Some("was touched: frozen, recorded, and then removed"),
        Stage::BrokenGlass => Some("is broken open: somebody may get in"),
        Stage::Draining => Some("leaves: no new connections"),
        Stage::Stopping => Some("is asked to end"),
        Stage::Exited => Some("has ended"),
        Stage::Missing | Stage::Creating | Stage::Created | Stage::Removing => None,
    }
}

/// Removes the image and the files. What cannot be removed is said: it does not spoil the performance.
async fn clean_up(connected: &Connected, state: &StateDir, image: &ImageRef) {
    if let Err(error) = connected.docker.remove_image(image).await {
        warn!(%image, error = %Chain(&error), "the demo's image stays");
    }
    if let Err(error) = std::fs::remove_dir_all(&state.dir) {
        warn!(dir = %state.dir.display(), %error, "the demo's files stay");
    }
}
