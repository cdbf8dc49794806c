//! What the probes make of every sort of answer, and how they follow their targets. Real servers on 127.0.0.1.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phoenixd::probe::{Probed, run};
use phoenixd::reconcile::{Target, Targets, Time};
use phoenixd::spec::{ContainerId, Probe, ReplicaName, Serial, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(1);

#[tokio::test]
async fn an_http_status_of_200_to_399_is_ready() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.0 204 No Content\r\n\r\n", Ok(())),
        ("HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\n\r\n", Ok(())),
        ("HTTP/1.1 399 Odd\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Ok(()),
        ),
        ("HTTP/1.1 400 Bad\r\n\r\n", Err("HTTP 400")),
        ("HTTP/1.1 404 Not Found\r\n\r\n", Err("HTTP 404")),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 9999\r\n\r\n",
            Err("HTTP 503"),
        ),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            Err("HTTP 101"),
        ),
    ] {
        let mut bench = Bench::new();
        let server = bench.server(move |mut peer| async move {
            read_head(&mut peer).await;
            drop(peer.write_all(head.as_bytes()).await);
            hold(peer).await;
        });
        bench.publish([("a", http(server, NEVER))]);
        assert_eq!(
            bench.next().await.1,
            expected.map_err(str::to_owned),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_hostile_or_broken_answer_is_a_short_text() {
    let cases: [(&str, Behaviour, &str); 8] = [
        ("garbage", Behaviour::Say(&[0x16, 3, 1, 2, 0, 1, 0, 1]), "not HTTP"),
        ("text", Behaviour::Say(b"what do you want?\r\n\r\n"), "not HTTP"),
        ("speaks first", Behaviour::SpeakFirst(b"SSH-2.0-OpenSSH_9.9\r\n"), "not HTTP"),
        ("http 2", Behaviour::Say(b"HTTP/2.0 200 OK\r\n\r\n"), "not HTTP"),
        ("closes", Behaviour::Close, "closed without an answer"),
        ("closes half way", Behaviour::SayAndClose(b"HTTP/1.1 200 OK\r\nA: b"), "closed without an answer"),
        ("endless head", Behaviour::Endless(b"X-Filler: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"), "the head of its answer is too large"),
        ("endless line", Behaviour::Endless(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "the head of its answer is too large"),
    ];
    for (what, behaviour, expected) in cases {
        let mut bench = Bench::new();
        let server = bench.server(move |peer| behaviour.act(peer));
        bench.publish([("a", http(server, NEVER))]);
        assert_eq!(bench.next().await.1, Err(expected.to_owned()), "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let silent = Behaviour::Silent;
    let slow = Behaviour::Drip(b"HTTP/1.1 200 OK\r\nX-Slow: yesyesyesyesyesyesyesyesyes");
    let hints = Behaviour::Repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n");
    for behaviour in [silent, slow, hints] {
        let mut bench = Bench::new();
        let server = bench.server(move |peer| behaviour.act(peer));
        let target = Target {
            timeout: Duration::from_millis(50),
            ..http(server, NEVER)
        };
        bench.publish([("a", target)]);
        assert_eq!(
            bench.next().await.1,
            Err("no answer within 50ms".to_owned()),
            "{behaviour:?}"
        );
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_connection_refused() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = socket.local_addr().unwrap();
    let mut bench = Bench::new();
    bench.publish([("a", http(nobody, NEVER)), ("b", tcp(nobody, NEVER))]);
    for _ in 0..2 {
        assert_eq!(bench.next().await.1, Err("connection refused".to_owned()));
    }
}

#[tokio::test]
async fn the_request_is_small_and_says_who_asks() {
    let mut bench = Bench::new();
    let (heads, mut seen) = mpsc::channel(1);
    let server = bench.server(move |mut peer| {
        let heads = heads.clone();
        async move {
            heads.send(read_head(&mut peer).await).await.unwrap();
        }
    });
    bench.publish([("a", http(server, NEVER))]);
    let head = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
    assert_eq!(
        head,
        format!(
            "GET /healthz?deep=1 HTTP/1.1\r\nhost: {server}\r\nuser-agent: phoenixd-probe\r\nconnection: close\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_body_is_never_waited_for_and_its_connection_is_closed() {
    let mut bench = Bench::new();
    let (closed, mut seen) = mpsc::channel(1);
    let server = bench.server(move |mut peer| {
        let closed = closed.clone();
        async move {
            read_head(&mut peer).await;
            drop(peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
            while peer.write_all(&[b'x'; 4096]).await.is_ok() {}
            closed.send(()).await.unwrap();
        }
    });
    bench.publish([("a", http(server, NEVER))]);
    assert_eq!(bench.next().await.1, Ok(()));
    timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_tcp_probe_connects_and_closes() {
    let mut bench = Bench::new();
    let (ends, mut seen) = mpsc::channel(1);
    let server = bench.server(move |mut peer| {
        let ends = ends.clone();
        async move {
            let end = peer.read(&mut [0; 16]).await;
            ends.send(end.map_err(|e| e.kind())).await.unwrap();
        }
    });
    bench.publish([("a", tcp(server, NEVER))]);
    assert_eq!(bench.next().await, ("a".to_owned(), Ok(())));
    let end = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
    assert_eq!(end, Ok(0), "an orderly end, not a reset");
}

#[tokio::test]
async fn a_shorter_interval_brings_the_next_probe_forward() {
    let mut bench = Bench::new();
    let server = bench.ok_server();
    bench.publish([("a", http(server, NEVER))]);
    assert_eq!(bench.next().await.1, Ok(()));
    bench.publish([("a", http(server, OFTEN))]);
    for _ in 0..3 {
        assert_eq!(bench.next().await.1, Ok(()));
    }
}

#[tokio::test]
async fn a_change_does_not_by_itself_cause_a_probe() {
    let mut bench = Bench::new();
    let server = bench.ok_server();
    bench.publish([("a", http(server, NEVER))]);
    assert_eq!(bench.next().await.1, Ok(()));
    for extra in 1..20 {
        let a = http(server, NEVER + Duration::from_secs(extra));
        bench.publish([("a", a), ("b", http(server, OFTEN))]);
        assert_eq!(bench.next().await.0, "b");
    }
}

#[tokio::test]
async fn another_address_ends_the_probe_under_way() {
    let mut bench = Bench::new();
    let silent = bench.server(|peer| Behaviour::Silent.act(peer));
    let server = bench.ok_server();
    let mut target = http(silent, NEVER);
    bench.publish([("a", target.clone())]);
    bench.connected().await;
    target.address = server;
    bench.publish([("a", target)]);
    assert_eq!(bench.next().await.1, Ok(()));
}

#[tokio::test]
async fn a_target_that_vanished_is_let_go_at_once() {
    let mut bench = Bench::new();
    let (ends, mut seen) = mpsc::channel(1);
    let silent = bench.server(move |mut peer| {
        let ends = ends.clone();
        async move {
            read_head(&mut peer).await;
            assert_eq!(peer.read(&mut [0; 16]).await.unwrap(), 0);
            ends.send(()).await.unwrap();
        }
    });
    bench.publish([("a", http(silent, NEVER))]);
    bench.connected().await;
    bench.publish([]);
    timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_question_at_a_time_for_each_target() {
    let mut bench = Bench::new();
    let (open, mut count) = mpsc::channel::<i32>(1000);
    let server = bench.server(move |mut peer| {
        let open = open.clone();
        async move {
            open.send(1).await.unwrap();
            read_head(&mut peer).await;
            // Before the answer: the prober may ask again as soon as it has it.
            open.send(-1).await.unwrap();
            drop(peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
        }
    });
    for round in 0..50 {
        let interval = Duration::from_millis(round % 2);
        bench.publish([("a", http(server, interval))]);
        assert_eq!(bench.next().await.1, Ok(()));
    }
    let mut now_open = 0;
    while let Ok(step) = count.try_recv() {
        now_open += step;
        assert!(now_open <= 1, "two questions at once");
    }
}

#[tokio::test]
async fn what_docker_answers_is_not_asked_here() {
    let mut bench = Bench::new();
    let server = bench.ok_server();
    let docker = Target {
        probe: Probe::Docker,
        ..http(server, OFTEN)
    };
    bench.publish([("a", http(server, OFTEN)), ("b", http(server, NEVER))]);
    while bench.next().await.0 != "b" {}
    bench.publish([("a", docker), ("c", http(server, NEVER))]);
    while bench.next().await.0 != "c" {}
    bench.publish([("d", http(server, OFTEN))]);
    for _ in 0..5 {
        assert_eq!(bench.next().await.0, "d", "`a` is Docker's now");
    }
}

#[tokio::test]
async fn the_time_of_a_probe_is_its_begin() {
    let mut bench = Bench::new();
    let before = boot_time();
    let slow = bench.server(|peer| Behaviour::Silent.act(peer));
    let target = Target {
        timeout: Duration::from_millis(100),
        ..http(slow, NEVER)
    };
    bench.publish([("a", target)]);
    let probed = timeout(PATIENCE, bench.results.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(probed.asked_at >= before);
    assert!(boot_time().since(probed.asked_at) >= Duration::from_millis(100));
}

#[tokio::test]
async fn it_ends_on_shutdown_and_when_either_side_is_gone() {
    for how in 0..3 {
        let mut bench = Bench::new();
        let silent = bench.server(|peer| Behaviour::Silent.act(peer));
        bench.publish([("a", http(silent, NEVER))]);
        bench.connected().await;
        let Bench {
            mut runner,
            targets,
            results,
            shutdown,
            ..
        } = bench;
        let (mut targets, mut results) = (Some(targets), Some(results));
        match how {
            0 => shutdown.cancel(),
            1 => targets = None,
            _ => results = None,
        }
        timeout(PATIENCE, runner.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        drop((targets, results));
    }
}

/// A running prober with its servers.
struct Bench {
    targets: watch::Sender<Arc<Targets>>,
    results: mpsc::Receiver<Probed>,
    shutdown: CancellationToken,
    runner: JoinSet<()>,
    servers: JoinSet<()>,
    connects: mpsc::Sender<()>,
    connected: mpsc::Receiver<()>,
}

impl Bench {
    fn new() -> Self {
        let (targets, receiver) = watch::channel(Arc::new(BTreeMap::new()));
        // The smallest queue: a probe does not run ahead of what is taken.
        let (sender, results) = mpsc::channel(1);
        let (connects, connected) = mpsc::channel(1000);
        let shutdown = CancellationToken::new();
        let mut runner = JoinSet::new();
        runner.spawn(run(receiver, sender, boot_time, shutdown.clone()));
        Self {
            targets,
            results,
            shutdown,
            runner,
            servers: JoinSet::new(),
            connects,
            connected,
        }
    }

    fn server<F>(&mut self, serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let connects = self.connects.clone();
        self.servers.spawn(async move {
            let mut peers = JoinSet::new();
            while let Ok((peer, _)) = listener.accept().await {
                let _full = connects.try_send(());
                peers.spawn(serve(peer));
            }
        });
        address
    }

    fn ok_server(&mut self) -> SocketAddr {
        self.server(|peer| Behaviour::Say(b"HTTP/1.1 200 OK\r\n\r\n").act(peer))
    }

    fn publish<const N: usize>(&self, targets: [(&str, Target); N]) {
        let targets = targets.map(|(id, target)| (ContainerId::new(id), target));
        self.targets.send_replace(Arc::new(BTreeMap::from(targets)));
    }

    async fn next(&mut self) -> (String, Result<(), String>) {
        let probed = timeout(PATIENCE, self.results.recv())
            .await
            .unwrap()
            .unwrap();
        (probed.id.to_string(), probed.result)
    }

    /// Somebody connected to a server.
    async fn connected(&mut self) {
        timeout(PATIENCE, self.connected.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

/// How a server treats who connects.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    /// Reads the request, answers this, holds the connection.
    Say(&'static [u8]),
    /// The same, and closes.
    SayAndClose(&'static [u8]),
    /// Answers before it was asked.
    SpeakFirst(&'static [u8]),
    Close,
    Silent,
    /// An answer whose head never ends.
    Endless(&'static [u8]),
    /// The same again and again, without an answer.
    Repeat(&'static [u8]),
    /// An answer, one byte every few milliseconds, that never gets to its end.
    Drip(&'static [u8]),
}

impl Behaviour {
    async fn act(self, mut peer: TcpStream) {
        match self {
            Self::Say(answer) => {
                read_head(&mut peer).await;
                drop(peer.write_all(answer).await);
                hold(peer).await;
            }
            Self::SayAndClose(answer) => {
                read_head(&mut peer).await;
                drop(peer.write_all(answer).await);
            }
            Self::SpeakFirst(answer) => {
                drop(peer.write_all(answer).await);
                hold(peer).await;
            }
            Self::Close => {
                read_head(&mut peer).await;
            }
            Self::Silent => hold(peer).await,
            Self::Endless(piece) => {
                read_head(&mut peer).await;
                drop(peer.write_all(b"HTTP/1.1 200 OK\r\nX-Begin: ").await);
                while peer.write_all(piece).await.is_ok() {}
            }
            Self::Repeat(piece) => {
                read_head(&mut peer).await;
                while peer.write_all(piece).await.is_ok() {}
            }
            Self::Drip(answer) => {
                read_head(&mut peer).await;
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                for byte in answer.iter().cycle() {
                    pace.tick().await;
                    let byte = if *byte == b'\n' { b'n' } else { *byte };
                    if peer.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn read_head(peer: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match peer.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Until the other side closes.
async fn hold(mut peer: TcpStream) {
    let mut sink = [0; 1024];
    while peer.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

fn http(address: SocketAddr, interval: Duration) -> Target {
    let port = address.port();
    Target {
        replica: ReplicaName::new(ServiceName::new("web"), Serial(1)),
        address,
        probe: Probe::Http {
            path: "/healthz?deep=1".to_owned(),
            port,
        },
        interval,
        timeout: NEVER,
    }
}

fn tcp(address: SocketAddr, interval: Duration) -> Target {
    let port = address.port();
    Target {
        probe: Probe::Tcp { port },
        ..http(address, interval)
    }
}

fn boot_time() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Time::from_boot(Duration::try_from(now).unwrap())
}
