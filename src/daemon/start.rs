//! Startup and shutdown: everything that can be refused is refused before anything is started; then the long-lived
//! tasks run on one set, and the end of any of them is the end of the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::edges::EdgeLinks;
use super::guarded::{Alone, Guarded};
use super::lock::{self, Lock};
use super::supervise::{Stop, Supervisor, Told};
use super::threads::{EdgeThreads, cpus, unless_panicked};
use super::watch::{Heard, Watch, now};
use super::{Catalog, EdgeSockets, FileStore, ResolvedProject, tags, touched, witness};
use crate::api::{self, Snapshot};
use crate::clock;
use crate::config::StateDir;
use crate::docker::{self, Engine, Scope};
use crate::edge;
use crate::guard::GuardDir;
use crate::journal::export::{self, Export, Exporter};
use crate::journal::{self, Journal, Kind, Record};
use crate::probe;
use crate::reconcile::{
    Command, ContainerState, Desired, EdgeReport, Event, Limits, Listing, Routes, Targets, World,
};
use crate::report::Chain;
use crate::spec::{
    ContainerId, Diagnostic, FileKind, PodPart, ProjectName, Published, ServiceName,
};
use crate::witness::evidence::clear_partial;

/// Events that wait for the loop at most; whoever has one more waits.
const EVENTS: usize = 256;
/// How long open connections may go on after the supervisor was asked to end.
const EDGE_END: Duration = Duration::from_secs(5);
/// How long the journal may take to close.
const JOURNAL_END: Duration = Duration::from_secs(5);
/// How long the journal's last head may take to get where it is sent.
const HEADS_END: Duration = Duration::from_secs(5);

/// What is supervised.
#[derive(Debug)]
pub struct Supervised {
    /// The project.
    pub project: ProjectName,
    /// What is wanted of each service; nothing for a `down`.
    pub wanted: BTreeMap<ServiceName, Desired>,
    /// What actions refer to.
    pub catalog: Catalog,
    /// What a listing is about.
    pub scope: Scope,
    /// The ports to bind.
    pub ports: BTreeSet<Published>,
    /// The ports that containers of docker compose hold until they end: bound when the route table first has them.
    pub later: BTreeSet<Published>,
    /// The ports that the engine binds for pods, by service.
    pub of_pods: BTreeMap<ServiceName, BTreeSet<Published>>,
    /// Who owns the control sockets of edges.
    pub edge_user: Option<(u32, u32)>,
    /// Where they are; `None` where nothing is forwarded by pods.
    pub sockets: Option<EdgeSockets>,
    /// Units that are left as they are, and why.
    pub refused: BTreeMap<ServiceName, String>,
    /// Networks and volumes that nobody else uses.
    pub alone: Alone,
}

impl Supervised {
    /// Everything of a project.
    pub fn of(resolved: &ResolvedProject) -> Self {
        Self {
            project: resolved.project.name.clone(),
            wanted: resolved.wanted(),
            catalog: resolved.catalog(),
            scope: resolved.scope(),
            ports: resolved.ports(),
            later: BTreeSet::new(),
            of_pods: resolved.ports_of_pods(),
            edge_user: resolved.ground().map(|ground| ground.user),
            sockets: resolved.ground().map(|ground| ground.sockets.clone()),
            refused: BTreeMap::new(),
            alone: Alone::of(&resolved.project),
        }
    }

    /// Nothing of a project: what a `down` wants of it.
    pub fn nothing(project: ProjectName) -> Self {
        Self {
            wanted: BTreeMap::new(),
            catalog: Catalog {
                project: project.clone(),
                containers: BTreeMap::new(),
                networks: BTreeMap::new(),
                volumes: BTreeMap::new(),
            },
            scope: Scope {
                project: project.clone(),
                networks: BTreeSet::new(),
                volumes: BTreeSet::new(),
                originals: false,
                dependencies: BTreeSet::new(),
            },
            ports: BTreeSet::new(),
            later: BTreeSet::new(),
            of_pods: BTreeMap::new(),
            edge_user: None,
            sockets: None,
            refused: BTreeMap::new(),
            alone: Alone::default(),
            project,
        }
    }
}

/// Around what is supervised.
#[derive(Debug)]
pub struct Surroundings<E> {
    /// The engine.
    pub engine: Arc<E>,
    /// Who the engine is, to people and to the lock.
    pub identity: EngineIdentity,
    /// Where the engine keeps its data, which the guard lets nobody mount; [`EngineFacts::root_dir`](crate::docker::EngineFacts).
    pub engine_dir: PathBuf,
    /// The project's files.
    pub state: StateDir,
    /// How the journal is kept.
    pub journal: JournalSettings,
    /// Where the copies of secrets and configs are.
    pub files: FileStore,
    /// How the supervisor is asked to end.
    pub stop: Stop,
    /// Something that is wanted from the begin.
    pub command: Option<Command>,
    /// The status as it changes, for whoever runs the supervisor in its own process.
    pub status: watch::Sender<Arc<Snapshot>>,
}

/// How the journal is kept.
#[derive(Clone, Debug, Default)]
pub struct JournalSettings {
    /// How large it gets.
    pub limits: journal::Limits,
    /// Where its heads go to.
    pub heads: Option<Export>,
}

/// Who the engine is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EngineIdentity {
    /// The engine's own id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The API version that is spoken.
    pub api_version: String,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another supervisor, or an unusable state directory.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Published ports cannot be bound; at least one.
    #[error("{}", .0.iter().map(|port| Chain(port).to_string()).collect::<Vec<_>>().join("; "))]
    Ports(Vec<edge::BindError>),
    /// The API's socket cannot be bound.
    #[error(transparent)]
    Api(#[from] api::BindError),
    /// The engine did not list the project.
    #[error("cannot list what the engine has of project `{project}`")]
    List {
        /// The project.
        project: ProjectName,
        /// Why.
        source: docker::Error,
    },
    /// Networks or volumes that somebody else has to make are missing.
    #[error("{} external networks or volumes are missing", .0.len())]
    Externals(Vec<Diagnostic>),
    /// The copies of secrets and configs, or the control sockets of edges, have no place.
    #[error("cannot use {} for what containers share with phoenixd", directory.display())]
    Files {
        /// Where they were to be.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Threads cannot be started: those of the edge, or the one that exports heads; or the kernel gives no random bytes.
    #[error("cannot start the threads of the edge or of the journal")]
    Threads(#[source] std::io::Error),
    /// A long-lived task ended by itself: a bug. Replicas stay, and the next `up` adopts them.
    #[error("the {0} ended unexpectedly")]
    TaskEnded(&'static str),
}

/// Supervises until asked to end, or until a `down` is done; the last status tells what that left behind.
///
/// # Errors
/// Before anything was started, or made, or touched; [`StartError::TaskEnded`] excepted.
pub async fn supervise<E: Engine>(
    supervised: Supervised,
    resolved: Option<&ResolvedProject>,
    around: Surroundings<E>,
) -> Result<Arc<Snapshot>, StartError> {
    let ground = Ground::take(&supervised, resolved, &around).await?;
    let Surroundings {
        engine,
        identity,
        state,
        files,
        stop,
        command,
        status,
        ..
    } = around;

    let (events, events_in) = mpsc::channel(EVENTS);
    let (probed, probed_in) = mpsc::channel(EVENTS);
    let (asked, asked_in) = mpsc::channel(16);
    let (routes, routes_in) = watch::channel((0, Arc::new(Routes::default())));
    let (targets, targets_in) = watch::channel(Arc::new(Targets::new()));
    let (reports, reports_in) = watch::channel(EdgeReport::default());
    let relist = Arc::new(Notify::new());
    let shutdown = CancellationToken::new();

    clear_evidence(&state);
    let guarded = guarded(&supervised, &state, [files.directory(), around.engine_dir]);
    let world = world(&supervised, &ground.taints, command);
    let (scope, guard) = (supervised.scope, guarded.dir());
    let watch = ground.watch(&engine, scope, guard, &events, &relist, &shutdown);
    let api_state = api_state(supervised.project, identity, &status, asked);
    let edges = EdgeLinks::new(supervised.sockets, events.clone(), probed.clone())?;
    let mut tasks = JoinSet::new();
    let until = || shutdown.clone();
    tasks.spawn(named("watch of the engine", watch.run()));
    tasks.spawn(named("probe", probe::run(targets_in, probed, now, until())));
    let images = tags::images(&supervised.catalog, &supervised.wanted);
    let tags = tags::run(&engine, images, &status, events.clone(), until());
    tasks.spawn(named("image tags", tags));
    let witnesses = witness::run(&engine, &status, events, until());
    tasks.spawn(named("witnesses", witnesses));
    tasks.spawn(named("API", api::serve(ground.socket, api_state, until())));
    let edge = (ground.edge).run(ground.listeners, routes_in, reports, until());
    tasks.spawn(named("edge", edge));

    let supervisor = Supervisor {
        engine,
        catalog: Arc::new(supervised.catalog),
        guarded,
        files: Arc::new(files),
        evidence: state.evidence(),
        kept: None,
        world,
        journal: ground.journal.clone(),
        journal_status: ground.journal.status(),
        events: events_in,
        probed: probed_in,
        asked: asked_in,
        edge: reports_in,
        edges,
        relist,
        routes,
        targets,
        status,
        stop,
        calls: JoinSet::new(),
        requests: 0,
        down_seen: false,
        leave_by: None,
        told: Told::default(),
    };
    let ended = until_ended(supervisor, &mut tasks).await;
    end_tasks(&shutdown, &mut tasks).await;
    close(&ground.journal, ground.heads).await;
    ended
}

/// Runs the loop until it ends, or until a task does that should not.
async fn until_ended<E: Engine>(
    supervisor: Supervisor<E>,
    tasks: &mut JoinSet<&'static str>,
) -> Result<Arc<Snapshot>, StartError> {
    // Cancel safety: the supervisor is dropped only when a task has ended by itself, and then nothing goes on.
    tokio::select! {
        biased;
        last = supervisor.run() => Ok(last),
        Some(joined) = tasks.join_next() => Err(StartError::TaskEnded(name_of(joined))),
    }
}

/// What has to be had before anything is started.
struct Ground {
    edge: EdgeThreads,
    listeners: edge::Listeners,
    socket: UnixListener,
    journal: Journal,
    heads: Option<Exporter>,
    /// What supervisors before this one have judged tainted.
    taints: BTreeMap<ContainerId, String>,
    /// Until when one of them lived.
    heard: Heard,
    /// Released last.
    _lock: Lock,
}

impl Ground {
    /// Takes everything that can be refused, in an order in which a refusal leaves nothing behind.
    async fn take<E: Engine>(
        supervised: &Supervised,
        resolved: Option<&ResolvedProject>,
        around: &Surroundings<E>,
    ) -> Result<Self, StartError> {
        let Surroundings {
            engine,
            identity,
            state,
            ..
        } = around;
        let project = &supervised.project;
        edge::raise_open_files();
        let lock = Lock::take(&state.dir, &state.lock(), project, &identity.id)?;
        let listing = engine
            .list(&supervised.scope)
            .await
            .map_err(|source| StartError::List {
                project: project.clone(),
                source,
            })?;
        let missing = resolved
            .map(|resolved| resolved.missing_externals(&listing))
            .unwrap_or_default();
        if !missing.is_empty() {
            return Err(StartError::Externals(missing));
        }
        prepare_files(&supervised.catalog, &around.files)?;
        prepare_pods(supervised)?;
        let edge = EdgeThreads::start().map_err(StartError::Threads)?;
        let listeners = edge
            .bind(&supervised.ports, &supervised.later)
            .map_err(StartError::Ports)?;
        edge.try_ports(&ports_to_come(supervised, &listing))
            .map_err(StartError::Ports)?;
        let socket = api::bind(&state.socket())?;
        // Opening may write a record.
        let before = journal::last_at(&state.dir);
        let (journal, recovered) = Journal::open_with(&state.dir, around.journal.limits)?;
        if let Some(cut) = recovered.cut {
            warn!(bytes = cut.bytes, kept_in = %cut.kept_in.display(), "a torn last record of the journal was cut");
        }
        let taints = touched::remembered(&state.dir, &listing, &journal);
        let heard = touched::heard_before(before, &journal);
        announce(&journal, supervised, identity);
        Ok(Self {
            edge,
            listeners,
            socket,
            heads: export_heads(&journal, project, around.journal.heads.clone())?,
            journal,
            taints,
            heard,
            _lock: lock,
        })
    }

    /// The watch of the engine, from when on somebody has to listen.
    fn watch<E: Engine>(
        &self,
        engine: &Arc<E>,
        scope: Scope,
        guard: &GuardDir,
        events: &mpsc::Sender<Event>,
        relist: &Arc<Notify>,
        shutdown: &CancellationToken,
    ) -> Watch<E> {
        Watch {
            engine: Arc::clone(engine),
            scope,
            heard: self.heard,
            guard: guard.clone(),
            beside: Arc::default(),
            events: events.clone(),
            relist: Arc::clone(relist),
            shutdown: shutdown.clone(),
        }
    }
}

/// What the guard is told, with the names of replicas to come: before the first listing, and after all that can be refused.
fn guarded(supervised: &Supervised, state: &StateDir, kept: [PathBuf; 2]) -> Guarded {
    let sockets = supervised.sockets.as_ref().map(EdgeSockets::directory);
    let others = kept.into_iter().chain(sockets.map(Path::to_owned));
    let guarded = Guarded::new(&state.dir, others, supervised.alone.clone());
    // A `down` wants nothing, and reserves nothing.
    if !supervised.wanted.is_empty() {
        guarded.reserve(&supervised.project, supervised.wanted.keys());
    }
    guarded
}

/// A place for the control sockets of each pod's edges.
fn prepare_pods(supervised: &Supervised) -> Result<(), StartError> {
    let (Some(sockets), Some(user)) = (&supervised.sockets, supervised.edge_user) else {
        return Ok(());
    };
    for service in supervised.of_pods.keys() {
        let made = sockets.make(service, user.0);
        made.map_err(|source| StartError::Files {
            directory: sockets.of(service),
            source,
        })?;
    }
    Ok(())
}

/// The ports that the engine is yet to bind for pods: those that no pause of ours holds.
fn ports_to_come(supervised: &Supervised, listing: &Listing) -> BTreeSet<Published> {
    let held = listing.containers.iter().filter_map(|observed| {
        let identity = observed.identity.as_ref()?;
        let is_pause = identity.replica.service.is_pod(PodPart::Pause);
        (is_pause && observed.state == ContainerState::Running).then_some(identity.reach.as_ref()?)
    });
    let of_host = |port: &Published| (port.host_port, port.transport);
    let held: BTreeSet<_> = held
        .flat_map(|reach| reach.published.iter().map(of_host))
        .collect();
    let all = supervised.of_pods.values().flatten();
    all.filter(|port| !held.contains(&of_host(port)))
        .copied()
        .collect()
}

/// A place for the copies, where there are any; what is worth saying of it is said once.
fn prepare_files(catalog: &Catalog, store: &FileStore) -> Result<(), StartError> {
    let all = || {
        catalog
            .containers
            .values()
            .flat_map(|container| &container.files)
    };
    if all().next().is_none() {
        return Ok(());
    }
    let directory = store.directory();
    let ground = store.prepare().map_err(|source| StartError::Files {
        directory: directory.clone(),
        source,
    })?;
    let directory = directory.display();
    if ground.on_disk && all().any(|file| file.kind == FileKind::Secret) {
        warn!(%directory, "copies of secrets are on a disk, not in memory (tmpfs)");
    }
    if let Some(file) = all().find(|file| ground.noexec && file.mode & 0o111 != 0) {
        let (kind, name) = (file.kind, file.name.as_str());
        warn!(%directory, %kind, name, "cannot be executed, as the directory's mount is `noexec`; name another one with \
            PHOENIXD_RUNTIME_DIR, or run it by its interpreter");
    }
    Ok(())
}

/// Removes evidence that a supervisor before this one has not finished; nobody writes any yet.
fn clear_evidence(state: &StateDir) {
    if let Err(error) = clear_partial(&state.evidence()) {
        warn!(%error, "evidence that is not whole cannot be removed");
    }
}

fn world(
    supervised: &Supervised,
    taints: &BTreeMap<ContainerId, String>,
    command: Option<Command>,
) -> World {
    let mut world = World::new(supervised.project.clone(), Limits::of_cpus(cpus()));
    world.apply(now(), Event::Remembered(taints.clone()));
    world.apply(now(), Event::Wanted(supervised.wanted.clone()));
    world.apply(now(), Event::Refused(supervised.refused.clone()));
    if let Some(command) = command {
        world.apply(now(), Event::Command(command));
    }
    world
}

fn api_state(
    project: ProjectName,
    identity: EngineIdentity,
    status: &watch::Sender<Arc<Snapshot>>,
    commands: mpsc::Sender<api::CommandRequest>,
) -> api::State {
    let EngineIdentity {
        version,
        api_version,
        ..
    } = identity;
    status.send_modify(|snapshot| {
        let engine = Some(api::EngineVersion {
            version,
            api_version,
        });
        *snapshot = Arc::new(Snapshot {
            engine,
            ..Snapshot::clone(snapshot)
        });
    });
    let about = api::About {
        project,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: clock::wall_now(),
        started_at: now(),
    };
    api::State {
        about,
        status: status.subscribe(),
        commands,
        clock: now,
    }
}

/// Heads go out from here on, where the operator wants them to.
fn export_heads(
    journal: &Journal,
    project: &ProjectName,
    heads: Option<Export>,
) -> Result<Option<Exporter>, StartError> {
    let start = |heads| export::start(journal.clone(), project.as_str(), heads);
    heads.map(start).transpose().map_err(StartError::Threads)
}

async fn close(journal: &Journal, heads: Option<Exporter>) {
    journal.note(Record::new(Kind::Stopped));
    match timeout(JOURNAL_END, journal.close()).await {
        Ok(Ok(head)) => info!(head = %head.hash, "the journal is closed"),
        Ok(Err(error)) => warn!(error = %Chain(&error), "the journal's last records may be lost"),
        Err(_) => warn!("the journal did not close in time; its last records may be lost"),
    }
    // The last head of all is the one that tells of a cut-off end.
    if let Some(heads) = heads
        && timeout(HEADS_END, heads.ended()).await.is_err()
    {
        warn!("the journal's last head was not exported in time");
    }
}

/// Ends the tasks; connections that are still open after a while are given up.
async fn end_tasks(shutdown: &CancellationToken, tasks: &mut JoinSet<&'static str>) {
    shutdown.cancel();
    let all = async {
        while let Some(joined) = tasks.join_next().await {
            name_of(joined);
        }
    };
    if timeout(EDGE_END, all).await.is_err() {
        info!("open connections are given up");
        tasks.shutdown().await;
    }
}

fn name_of(joined: Result<&'static str, JoinError>) -> &'static str {
    unless_panicked(joined).unwrap_or("task")
}

async fn named(name: &'static str, task: impl Future<Output = ()> + Send) -> &'static str {
    task.await;
    name
}

/// The first word of a supervisor, in the journal and in the log.
fn announce(journal: &Journal, supervised: &Supervised, identity: &EngineIdentity) {
    let services: Vec<&str> = supervised.wanted.keys().map(ServiceName::as_str).collect();
    let record = Record::new(Kind::Started)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("engine", identity.version.as_str())
        .detail("api_version", identity.api_version.as_str())
        .detail("services", services);
    journal.note(record);
    info!(project = %supervised.project, engine = identity.version, api = identity.api_version, "supervising");
}
