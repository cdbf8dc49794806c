//! The edge forwards to ready replicas only, never cuts a connection, and reports what it promises.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking, helpers too")]

mod bytes;
mod cuts;
mod datagrams;
pub(crate) mod flips;
mod http;
mod http_hostile;
mod http_rest;
mod life;
mod ports;
mod settings;
mod websockets;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use phoenixd::edge::{self, Limits, Listeners};
use phoenixd::reconcile::{Backend, EdgeReport, Listener, Routes};
use phoenixd::spec::{
    ContainerId, Forwarding, Published, ReplicaName, Serial, ServiceName, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::flips::Flips;
use crate::support::eventually;

/// Patient enough that only a test of patience runs into it.
const LIMITS: Limits = Limits {
    dial: Duration::from_secs(20),
    patience: Duration::from_secs(20),
    connections: 1000,
    pipes: 16,
    sessions: 1000,
    head: Duration::from_secs(20),
    keep_alive: Duration::from_secs(20),
    linger: Duration::from_secs(3),
    idle: Duration::from_secs(20),
};

/// An edge with one published port, and what the supervisor would hold.
struct Edge {
    port: Published,
    forwarding: Forwarding,
    routes: watch::Sender<(u64, Arc<Routes>)>,
    reports: watch::Receiver<EdgeReport>,
    shutdown: CancellationToken,
    goodbye: CancellationToken,
    running: JoinSet<()>,
}

impl Edge {
    /// Waits until the port is bound no more.
    async fn closed(&self) {
        let port = BTreeSet::from([self.port]);
        eventually(
            "the port is free",
            async || Listeners::bind(&port).is_ok(),
            |free| *free,
        )
        .await;
    }

    fn start(limits: Limits) -> Self {
        Self::with(
            limits,
            free_port(Ipv4Addr::LOCALHOST),
            Forwarding::default(),
        )
    }

    /// With a port and settings of its own.
    fn with(limits: Limits, port: Published, forwarding: Forwarding) -> Self {
        let workers = edge::Workers::start().unwrap();
        Self::of(limits, port, forwarding, workers)
    }

    /// With threads of its own.
    fn of(limits: Limits, port: Published, forwarding: Forwarding, workers: edge::Workers) -> Self {
        let listeners = Listeners::bind(&BTreeSet::from([port])).unwrap();
        let (routes, table) = watch::channel((0, Arc::new(Routes::default())));
        let empty = EdgeReport {
            epoch: 0,
            open: BTreeMap::new(),
        };
        let (report, reports) = watch::channel(empty);
        let (shutdown, goodbye) = (CancellationToken::new(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(edge::run(
            listeners,
            limits,
            workers,
            table,
            report,
            edge::End {
                shutdown: shutdown.clone(),
                goodbye: goodbye.clone(),
            },
        ));
        Self {
            port,
            forwarding,
            routes,
            reports,
            shutdown,
            goodbye,
            running,
        }
    }

    /// Publishes a table and waits for its report.
    async fn route(&mut self, epoch: u64, ready: &[&Backend], draining: &[&Backend]) -> EdgeReport {
        self.publish(epoch, ready, draining);
        self.report(|report| report.epoch == epoch).await
    }

    fn publish(&self, epoch: u64, ready: &[&Backend], draining: &[&Backend]) {
        let listener = Listener {
            backends: ready.iter().map(|&b| b.clone()).collect(),
            forwarding: self.forwarding,
        };
        let table = Routes {
            listeners: BTreeMap::from([(self.port, listener)]),
            pods: BTreeMap::new(),
            draining: draining.iter().map(|b| b.container_id.clone()).collect(),
            cut: BTreeSet::new(),
        };
        self.routes.send_replace((epoch, Arc::new(table)));
    }

    /// Publishes a table that cuts one replica, and waits until none of its connections is open.
    async fn cut(&mut self, epoch: u64, ready: &[&Backend], cut: &Backend) {
        self.publish(epoch, ready, &[cut]);
        self.routes.send_modify(|(_, table)| {
            let mut cutting = table.as_ref().clone();
            cutting.cut.insert(cut.container_id.clone());
            *table = Arc::new(cutting);
        });
        let is_over =
            |r: &EdgeReport| r.epoch == epoch && r.open.get(&cut.container_id) == Some(&0);
        self.report(is_over).await;
    }

    async fn report(&self, holds: impl Fn(&EdgeReport) -> bool) -> EdgeReport {
        let look = async || self.reports.borrow().clone();
        eventually("the edge's report", look, holds).await
    }

    /// The table of that number is published, by which one serves and one drains, and reported without anything open there.
    async fn flip(&self, epoch: u64, new: &Backend, old: &Backend) {
        self.publish(epoch, &[new], &[old]);
        self.report(|report| {
            report.epoch == epoch && report.open.get(&old.container_id) == Some(&0)
        })
        .await;
    }

    async fn connect(&self) -> TcpStream {
        let (ip, port) = self.port.local_address();
        TcpStream::connect((ip, port)).await.unwrap()
    }

    /// Who answers a new connection.
    async fn ask(&self) -> String {
        ask(&mut self.connect().await).await.unwrap()
    }
}

fn free_port(ip: Ipv4Addr) -> Published {
    Published {
        host_ip: Some(IpAddr::V4(ip)),
        host_port: crate::ports::free_port(),
        target: 80,
        transport: Transport::Tcp,
    }
}

fn backend(name: &str, address: SocketAddr) -> Backend {
    Backend {
        replica: ReplicaName::new(ServiceName::new("web"), Serial(1)),
        container_id: ContainerId::new(name),
        address,
    }
}

/// A replica that answers each line with its name, until the client ends.
async fn greeter(servers: &mut JoinSet<()>, name: &'static str) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    servers.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
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

/// A replica whose port nobody listens on.
fn refusing(name: &str) -> Backend {
    let port = free_port(Ipv4Addr::LOCALHOST).host_port;
    backend(name, (Ipv4Addr::LOCALHOST, port).into())
}

/// A replica that does not answer a SYN: its queue of one is full.
struct Hung {
    backend: Backend,
    listener: TcpListener,
    _filler: TcpStream,
}

impl Hung {
    async fn new(name: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let filler = TcpStream::connect(address).await.unwrap();
        Self {
            backend: backend(name, address),
            listener,
            _filler: filler,
        }
    }
}

/// Who answers on this connection; an error when nobody does within half a minute.
async fn ask(client: &mut TcpStream) -> io::Result<String> {
    client.write_all(b"?").await?;
    hear(client).await
}

/// Who answers what was asked before.
async fn hear(client: &mut TcpStream) -> io::Result<String> {
    let mut answer = [0; 64];
    let count = timeout(Duration::from_secs(30), client.read(&mut answer)).await??;
    let answer = answer.get(..count).unwrap_or_default();
    Ok(String::from_utf8_lossy(answer).into_owned())
}

fn open(report: &EdgeReport) -> Vec<(&str, u64)> {
    report
        .open
        .iter()
        .map(|(id, count)| (id.as_str(), *count))
        .collect()
}

#[tokio::test]
async fn a_connection_goes_to_a_ready_replica_only_and_ties_go_round() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let b = greeter(&mut servers, "b").await;
    let c = greeter(&mut servers, "c").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&a, &b], &[&c]).await;
    let mut clients = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..6 {
        let mut client = edge.connect().await;
        answers.push(ask(&mut client).await.unwrap());
        clients.push(client);
    }
    assert_eq!(answers, ["a", "b", "a", "b", "a", "b"]);
    let report = edge.report(|r| r.open.values().sum::<u64>() == 6).await;
    assert_eq!(open(&report), [("a", 3), ("b", 3), ("c", 0)]);
}

#[tokio::test]
async fn a_connection_outlives_the_table_it_came_by_and_new_ones_go_elsewhere() {
    let mut servers = JoinSet::new();
    let old = greeter(&mut servers, "old").await;
    let new = greeter(&mut servers, "new").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut kept = edge.connect().await;
    assert_eq!(ask(&mut kept).await.unwrap(), "old");

    let report = edge.route(2, &[&new], &[&old]).await;
    assert_eq!(open(&report), [("new", 0), ("old", 1)]);
    assert_eq!(edge.ask().await, "new");
    assert_eq!(ask(&mut kept).await.unwrap(), "old");

    // Gone from the table altogether, and still counted.
    let report = edge.route(3, &[&new], &[]).await;
    assert_eq!(report.open.get(&old.container_id), Some(&1));
    assert_eq!(ask(&mut kept).await.unwrap(), "old");
    drop(kept);
    edge.report(|r| open(r) == [("new", 0)]).await;
}

#[tokio::test]
async fn a_replica_that_refuses_costs_the_client_nothing() {
    let mut servers = JoinSet::new();
    let dead = refusing("dead");
    let alive = greeter(&mut servers, "alive").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&dead, &alive], &[]).await;
    for _ in 0..4 {
        assert_eq!(edge.ask().await, "alive");
    }
    edge.report(|r| open(r) == [("alive", 0), ("dead", 0)])
        .await;
}

#[tokio::test]
async fn a_dial_that_hangs_is_counted_and_moves_with_the_table() {
    let mut servers = JoinSet::new();
    let hung = Hung::new("hung").await;
    let new = greeter(&mut servers, "new").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&hung.backend], &[]).await;
    let mut client = edge.connect().await;
    edge.report(|r| open(r) == [("hung", 1)]).await;

    // From this report on nothing may reach the hung one, though it answers from now on, and though it was chosen.
    edge.route(2, &[&new], &[&hung.backend]).await;
    let (_filler, _) = hung.listener.accept().await.unwrap();
    assert_eq!(ask(&mut client).await.unwrap(), "new");
    edge.report(|r| open(r) == [("hung", 0), ("new", 1)]).await;
    // Its SYN may have been answered in between: then the connection was closed without a byte.
    if let Ok(Ok((mut late, _))) =
        timeout(Duration::from_millis(1500), hung.listener.accept()).await
    {
        assert_eq!(late.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}

/// Both tables of a flip are reported and drained while clients keep coming; from then on the other replica may be
/// stopped, so nothing must arrive there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_report_nothing_reaches_a_replica_that_left() {
    let mut servers = JoinSet::new();
    let flips = Flips::of_bytes(&mut servers).await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&flips.replicas[1]], &[]).await;
    let mut clients = JoinSet::new();
    let (ip, port) = edge.port.local_address();
    for _ in 0..4 {
        let answered = Arc::clone(&flips.answered);
        clients.spawn(async move {
            loop {
                let mut client = TcpStream::connect((ip, port)).await.unwrap();
                assert_eq!(ask(&mut client).await.unwrap(), "!");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let flip = async |epoch, new: &Backend, old: &Backend| edge.flip(epoch, new, old).await;
    flips.run(servers, clients, flip).await;
}

#[tokio::test]
async fn a_dial_that_hangs_too_long_goes_to_the_next_replica() {
    let mut servers = JoinSet::new();
    let hung = Hung::new("hung").await;
    let alive = greeter(&mut servers, "alive").await;
    let mut edge = Edge::start(Limits {
        dial: Duration::from_millis(100),
        ..LIMITS
    });
    edge.route(1, &[&hung.backend, &alive], &[]).await;
    assert_eq!(edge.ask().await, "alive");
    edge.report(|r| open(r) == [("alive", 0), ("hung", 0)])
        .await;
}

#[tokio::test]
async fn without_a_replica_a_connection_waits_for_one() {
    let mut servers = JoinSet::new();
    let late = greeter(&mut servers, "late").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[], &[]).await;
    let mut waiting = edge.connect().await;
    waiting.write_all(b"?").await.unwrap();
    // Also when what there is refuses.
    edge.route(2, &[&refusing("dead")], &[]).await;
    edge.route(3, &[&late], &[]).await;
    assert_eq!(hear(&mut waiting).await.unwrap(), "late");
}

#[tokio::test]
async fn a_replica_that_listens_late_is_tried_again() {
    let mut servers = JoinSet::new();
    let late = refusing("late");
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&late], &[]).await;
    let mut waiting = edge.connect().await;
    // A dial was made, and has failed.
    edge.report(|r| open(r) == [("late", 0)]).await;
    let listener = TcpListener::bind(late.address).await.unwrap();
    servers.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
        client.write_all(b"late").await.unwrap();
    });
    assert_eq!(ask(&mut waiting).await.unwrap(), "late");
}

#[tokio::test]
async fn without_a_replica_a_connection_is_given_up_in_the_end() {
    let mut edge = Edge::start(Limits {
        patience: Duration::from_millis(50),
        ..LIMITS
    });
    edge.route(1, &[&refusing("dead")], &[]).await;
    let mut client = edge.connect().await;
    let ended = client.read(&mut [0; 1]).await;
    assert_eq!(
        ended.map_err(|error| error.kind()),
        Err(io::ErrorKind::ConnectionReset)
    );
    edge.report(|r| open(r) == [("dead", 0)]).await;
}
