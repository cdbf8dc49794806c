//! A supervisor of which only the API is real, and what it has to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::api::{
    About, Client, CommandRequest, EngineVersion, RequestBody, RequestPhase, Snapshot, State, bind,
    serve,
};
use phoenixd::reconcile::{
    Health, Meddled, Meddling, ReplicaStatus, RequestId, RequestState, ServiceStatus, Stage,
    Status, Time, WaitingOn,
};
use phoenixd::spec::{
    ContainerId, Generation, NetworkName, ProjectName, ReplicaName, Serial, ServiceName,
};
use rustix::net::SocketAddrUnix;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; no test waits for it to pass.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn state_directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    let permissions = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(directory.path(), permissions).unwrap();
    directory
}

/// A supervisor of which only the API is real.
pub(super) struct Desk {
    directory: TempDir,
    status: watch::Sender<Arc<Snapshot>>,
    pub(super) commands: mpsc::Receiver<CommandRequest>,
    shutdown: CancellationToken,
    server: JoinSet<()>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let directory = state_directory();
        let (status, published) = watch::channel(Arc::new(Snapshot {
            phase: "running",
            engine: Some(EngineVersion {
                version: "29.1.3".to_owned(),
                api_version: "1.52".to_owned(),
            }),
            status: status(),
            finished: false,
        }));
        let (sender, commands) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let state = State {
            about: About {
                project: ProjectName::new("shop"),
                pid: 4711,
                version: "0.1.0".to_owned(),
                since: "2026-01-02T03:04:05Z".parse().unwrap(),
                started_at: Time::from_boot(Duration::from_mins(15)),
            },
            status: published,
            commands: sender,
            clock: now,
        };
        let listener = bind(&directory.path().join("api.sock")).unwrap();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, state, shutdown.clone()));
        Self {
            directory,
            status,
            commands,
            shutdown,
            server,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.status
            .send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    pub(super) fn request(&self, number: u64, state: RequestState) {
        self.change(|snapshot| {
            snapshot.status.requests.insert(RequestId(number), state);
        });
    }

    /// Gives the next command this number, and publishes it only afterwards.
    pub(super) async fn accept_recycle(&mut self, number: u64) -> BTreeSet<ServiceName> {
        let command = timeout(PATIENCE, self.commands.recv())
            .await
            .unwrap()
            .unwrap();
        match command {
            CommandRequest::Recycle { services, reply } => {
                reply.send(Ok(RequestId(number))).unwrap();
                tokio::task::yield_now().await;
                self.request(number, RequestState::Pending(2));
                services
            }
            CommandRequest::BreakGlass { .. }
            | CommandRequest::EndGlass { .. }
            | CommandRequest::Down { .. } => unreachable!("a recycle was asked for"),
        }
    }

    /// Shuts the API down; returns when it is.
    pub(super) async fn end(&mut self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.server.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub(super) async fn raw_open(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // The answer to what is too long may come before the end of it.
        let _broken = stream.write_all(request.as_bytes()).await;
        stream
    }

    /// The answer's status and body.
    pub(super) async fn raw(&self, method: &str, path: &str, body: &str) -> String {
        let answer = read(self.raw_open(method, path, body).await).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{head}");
        let status = head.split(' ').nth(1).unwrap();
        format!("{status} {body}")
    }
}

pub(super) async fn read(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    // A server that did not read all of the request ends with a reset, after its answer.
    let reading = timeout(PATIENCE, stream.read_to_end(&mut answer));
    let _reset = reading.await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// What a supervisor that was killed leaves behind. A listener that is closed would not do: while another test spawns a
/// process, that has a copy of it for a moment.
pub(super) fn bound_but_deaf(path: &Path) -> OwnedFd {
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

pub(super) fn pending(left: usize) -> RequestBody {
    RequestBody {
        state: RequestPhase::Pending,
        left,
        error: None,
    }
}

pub(super) fn now() -> Time {
    Time::from_boot(Duration::from_secs(1000))
}

pub(super) fn ready(service: &str, serial: u64) -> ReplicaStatus {
    ReplicaStatus {
        replica: ReplicaName::new(ServiceName::new(service), Serial(serial)),
        container_name: None,
        container_id: Some(ContainerId::new("4f1d9c")),
        stage: Stage::Ready,
        ready: true,
        born_at: Some(Time::from_boot(Duration::from_millis(940_500))),
        deadline: Some(Time::from_boot(Duration::from_millis(1_240_500))),
        overdue: false,
        generation: Generation(3),
        verified: Some(true),
        waiting_on: None,
        health: Health::None,
        tainted: None,
        glass: None,
    }
}

pub(super) fn service(wanted: u32, ready: u32, missing: u32) -> ServiceStatus {
    ServiceStatus {
        wanted,
        ready,
        missing,
        generation: Some(Generation(3)),
        failures: 0,
        last_failure: None,
        waiting_on: None,
        of: None,
    }
}

/// Two services: of `db` one replica is there and two are missing, of `web` one is ready and one is being made.
pub(super) fn status() -> Status {
    let creating = ReplicaStatus {
        container_id: None,
        stage: Stage::Creating,
        ready: false,
        born_at: None,
        deadline: None,
        verified: None,
        waiting_on: Some(WaitingOn::Call("create")),
        ..ready("web", 2)
    };
    let lame = ServiceStatus {
        failures: 2,
        last_failure: Some("exited with 1".to_owned()),
        waiting_on: Some(WaitingOn::Backoff {
            until: Time::from_boot(Duration::from_secs(1004)),
            failures: 2,
            last: "exited with 1".to_owned(),
        }),
        ..service(3, 1, 2)
    };
    Status {
        replicas: vec![ready("db", 9), ready("web", 1), creating],
        services: BTreeMap::from([
            (ServiceName::new("db"), lame),
            (ServiceName::new("web"), service(2, 1, 0)),
        ]),
        requests: BTreeMap::new(),
        touched: Vec::new(),
        engine_error: None,
        journal_error: None,
        refused: std::collections::BTreeMap::new(),
        outside: vec![Meddling {
            at: Time::from_boot(Duration::from_mins(16)),
            what: Meddled::NetworkRemoved(NetworkName::new("shop_default")),
        }],
        left: Vec::new(),
    }
}
