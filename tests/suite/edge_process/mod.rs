//! The edge as a process of its own: the built binary, on loopback, in a folder of its own; no engine.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

mod handover;
mod hostile;
mod supervised;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::edge::control::wire::Report;
use phoenixd::edge::control::{Client, Ends, Link, new_session, socket_path};
use phoenixd::probe::Probed;
use phoenixd::reconcile::{Backend, EdgeReport, Listener, Routes, Targets};
use phoenixd::spec::{ContainerId, Published, ReplicaName, Serial, ServiceName, Transport};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ports;
use crate::support::eventually;

/// A folder with the edges in it. They end with it, and so do the replicas.
struct Place {
    dir: TempDir,
    edges: BTreeMap<u64, Child>,
    servers: JoinSet<()>,
}

impl Place {
    fn new() -> Self {
        // Clients and replicas are all in this one process.
        let limit = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, all).unwrap();
        Self {
            dir: TempDir::with_prefix("phoenixd-edge-").unwrap(),
            edges: BTreeMap::new(),
            servers: JoinSet::new(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self, serial: u64) -> PathBuf {
        socket_path(self.path(), serial)
    }

    /// Starts an edge, which may not be listening yet.
    fn start(&mut self, serial: u64) {
        let edge = self.command(serial).spawn().unwrap();
        self.edges.insert(serial, edge);
    }

    /// What it says is in `N.log`.
    fn command(&self, serial: u64) -> Command {
        let log = self.path().join(format!("{serial}.log"));
        let log = std::fs::File::options().append(true).create(true).open(log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenixd"));
        command
            .args(["edge", "--drain", "30s", "--dir"])
            .arg(self.path())
            .args(["--serial", &serial.to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        command
    }

    /// kill -9.
    fn kill(&mut self, serial: u64) {
        let mut edge = self.edges.remove(&serial).unwrap();
        edge.kill().unwrap();
        edge.wait().unwrap();
    }

    fn terminate(&self, serial: u64) {
        let pid = rustix::process::Pid::from_child(&self.edges[&serial]);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end, and returns whether it ended well.
    async fn ended(&mut self, serial: u64) -> bool {
        let edge = self.edges.get_mut(&serial).unwrap();
        let look = async || edge.try_wait().unwrap();
        let status = eventually("the edge ends", look, Option::is_some).await;
        self.edges.remove(&serial);
        status.unwrap().success()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (_, mut edge) in std::mem::take(&mut self.edges) {
            edge.kill().ok();
            edge.wait().ok();
        }
    }
}

/// What a supervisor holds of one edge.
struct Supervisor {
    session: u64,
    routes: watch::Sender<(u64, Arc<Routes>)>,
    take_over: watch::Sender<Option<u64>>,
    targets: watch::Sender<Arc<Targets>>,
    reports: watch::Receiver<EdgeReport>,
    probed: mpsc::Receiver<Probed>,
    link: watch::Receiver<Link>,
    running: JoinSet<()>,
}

impl Supervisor {
    fn of(place: &Place, serial: u64) -> Self {
        Self::in_session(place, serial, new_session().unwrap())
    }

    fn in_session(place: &Place, serial: u64, session: u64) -> Self {
        let (routes, routes_in) = watch::channel((0, Arc::new(Routes::default())));
        let (take_over, take_over_in) = watch::channel(None);
        let (targets, targets_in) = watch::channel(Arc::new(Targets::new()));
        let (reports_out, reports) = watch::channel(EdgeReport::default());
        let (probed_out, probed) = mpsc::channel(16);
        let (link_out, link) = watch::channel(Link::default());
        let client = Client {
            socket: place.socket(serial),
            session,
            binds: BTreeMap::new(),
        };
        let ends = Ends {
            routes: routes_in,
            take_over: take_over_in,
            targets: targets_in,
            reports: reports_out,
            probed: probed_out,
            link: link_out,
        };
        let mut running = JoinSet::new();
        running.spawn(client.run(ends, CancellationToken::new()));
        Self {
            session,
            routes,
            take_over,
            targets,
            reports,
            probed,
            link,
            running,
        }
    }

    fn publish(&self, epoch: u64, ports: &[Published], ready: &[&Backend], draining: &[&Backend]) {
        let backends: Vec<Backend> = ready.iter().map(|&backend| backend.clone()).collect();
        let table = Routes {
            listeners: ports
                .iter()
                .map(|port| {
                    let listener = Listener {
                        backends: backends.clone(),
                        ..Listener::default()
                    };
                    (*port, listener)
                })
                .collect(),
            pods: BTreeMap::new(),
            draining: draining.iter().map(|b| b.container_id.clone()).collect(),
            cut: BTreeSet::new(),
        };
        self.routes.send_replace((epoch, Arc::new(table)));
    }

    /// Publishes a table and waits for its report.
    async fn route(&self, epoch: u64, ports: &[Published], ready: &[&Backend]) -> EdgeReport {
        self.publish(epoch, ports, ready, &[]);
        self.report(|report| report.epoch == epoch).await
    }

    async fn report(&self, holds: impl Fn(&EdgeReport) -> bool) -> EdgeReport {
        let look = async || self.reports.borrow().clone();
        eventually("the edge's report", look, holds).await
    }

    /// What it says beyond that.
    async fn says(&self, holds: impl Fn(&Report) -> bool) -> Report {
        let look = async || self.link.borrow().report.clone();
        let holds = |report: &Option<Report>| report.as_ref().is_some_and(&holds);
        eventually("the edge says", look, holds).await.unwrap()
    }

    async fn link(&self, holds: impl Fn(&Link) -> bool) -> Link {
        let look = async || self.link.borrow().clone();
        eventually("the connection", look, holds).await
    }
}

/// An edge of number 1 that leads to the replica `a`.
struct Served {
    place: Place,
    supervisor: Supervisor,
    ports: Vec<Published>,
    a: Backend,
}

impl Served {
    /// By the table of this number, on so many ports.
    async fn by(epoch: u64, ports: usize) -> Self {
        let mut place = Place::new();
        let a = greeter(&mut place.servers, "a").await;
        let ports = free_ports(ports);
        place.start(1);
        let supervisor = Supervisor::of(&place, 1);
        supervisor.route(epoch, &ports, &[&a]).await;
        Self {
            place,
            supervisor,
            ports,
            a,
        }
    }
}

/// A replica that answers each line with its name, until the client ends.
async fn greeter(servers: &mut JoinSet<()>, name: &'static str) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    servers.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            while clients.try_join_next().is_some() {}
            clients.spawn(async move {
                let mut line = [0; 64];
                while client.read(&mut line).await.is_ok_and(|count| count > 0) {
                    if client.write_all(name.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    backend(name, address)
}

fn backend(name: &str, address: SocketAddr) -> Backend {
    Backend {
        replica: ReplicaName::new(ServiceName::new("web"), Serial(1)),
        container_id: ContainerId::new(name),
        address,
    }
}

/// Ports that are free now.
fn free_ports(count: usize) -> Vec<Published> {
    let port = || Published {
        host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host_port: ports::free_port(),
        target: 80,
        transport: Transport::Tcp,
    };
    let mut ports: Vec<Published> = iter::repeat_with(port).take(count).collect();
    ports.sort_unstable();
    ports
}

async fn connect(port: &Published) -> io::Result<TcpStream> {
    TcpStream::connect(port.local_address()).await
}

/// Who answers on this connection; an error when nobody does within half a minute.
async fn ask(client: &mut TcpStream) -> io::Result<String> {
    client.write_all(b"?").await?;
    let mut answer = [0; 64];
    let count = timeout(Duration::from_secs(30), client.read(&mut answer)).await??;
    let answer = answer.get(..count).unwrap_or_default();
    Ok(String::from_utf8_lossy(answer).into_owned())
}

/// Who answers a new connection.
async fn who(port: &Published) -> String {
    ask(&mut connect(port).await.unwrap()).await.unwrap()
}

fn open(report: &EdgeReport) -> Vec<(&str, u64)> {
    let open = report.open.iter();
    open.map(|(id, count)| (id.as_str(), *count)).collect()
}
