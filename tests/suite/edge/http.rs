//! HTTP mode: requests, not connections, go to replicas.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenixd::edge::Limits;
use phoenixd::reconcile::Backend;
use phoenixd::spec::{EdgeProtocol, Forwarding};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::flips::Flips;
use super::{Edge, LIMITS, backend, free_port, open, refusing};

pub(super) const HTTP: Forwarding = Forwarding {
    protocol: EdgeProtocol::Http,
    balance: phoenixd::spec::Balance::LeastConn,
    idle_timeout: None,
    max_connections: None,
    rate: None,
    proxy_protocol: None,
};

pub(super) fn edge(limits: Limits) -> Edge {
    Edge::with(limits, free_port(std::net::Ipv4Addr::LOCALHOST), HTTP)
}

/// A connection on which messages are read as they are.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.rest);
        let count = timeout(Duration::from_secs(30), read).await.unwrap();
        count.unwrap_or(0) > 0
    }

    /// What comes up to and with `end`; nothing when the connection ends first.
    pub(super) async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let found = self
                .rest
                .windows(end.len())
                .position(|w| w == end.as_bytes());
            if let Some(at) = found {
                let rest = self.rest.split_off(at + end.len());
                let text = std::mem::replace(&mut self.rest, rest);
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The head of a message, and its body of the length that it says.
    pub(super) async fn message(&mut self) -> Option<(String, String)> {
        let head = self.until("\r\n\r\n").await?;
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        while self.rest.len() < length {
            if !self.more().await {
                return None;
            }
        }
        let rest = self.rest.split_off(length);
        let body = std::mem::replace(&mut self.rest, rest);
        Some((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The answer to a `GET`.
    pub(super) async fn get(&mut self, path: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n"))
            .await;
        self.message().await.unwrap()
    }

    /// Whatever comes until the connection ends.
    pub(super) async fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.rest_bytes().await).into_owned()
    }

    pub(super) async fn rest_bytes(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.rest)
    }

    /// Waits until there is something to read.
    pub(super) async fn arrived(&self) {
        self.stream.readable().await.unwrap();
    }

    /// So many bytes, or fewer when the connection ends first.
    pub(super) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count && self.more().await {}
        let rest = self.rest.split_off(count.min(self.rest.len()));
        std::mem::replace(&mut self.rest, rest)
    }
}

pub(super) async fn client(edge: &Edge) -> Wire {
    Wire::new(edge.connect().await)
}

/// The heads that a replica has got.
type Heads = Arc<Mutex<Vec<String>>>;

/// A replica that answers each request with its name and keeps its connections.
pub(super) async fn named(servers: &mut JoinSet<()>, name: &'static str) -> (Backend, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = backend(name, listener.local_addr().unwrap());
    let heads = Heads::default();
    let all = Arc::clone(&heads);
    servers.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let heads = Arc::clone(&all);
            clients.spawn(async move {
                let mut wire = Wire::new(stream);
                while let Some((head, body)) = wire.message().await {
                    heads.lock().unwrap().push(head);
                    let text = format!("{name}{body}");
                    let length = text.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
                    if wire.stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (replica, heads)
}

/// A replica whose connections the test plays itself.
pub(super) async fn played(name: &str) -> (Backend, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (backend(name, listener.local_addr().unwrap()), listener)
}

pub(super) async fn accept(listener: &TcpListener) -> Wire {
    let accepted = timeout(Duration::from_secs(30), listener.accept()).await;
    Wire::new(accepted.unwrap().unwrap().0)
}

pub(super) fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn a_client_stays_when_its_replica_drains_and_its_next_request_goes_elsewhere() {
    let (old, replica) = played("old").await;
    let mut servers = JoinSet::new();
    let (new, _) = named(&mut servers, "new").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut client = client(&edge).await;
    client.send("GET /1 HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    let mut kept = accept(&replica).await;
    kept.message().await.unwrap();
    edge.report(|r| open(r) == [("old", 1)]).await;

    // In flight while the table changes: open on its replica until it is answered, in full.
    let report = edge.route(2, &[&new], &[&old]).await;
    assert_eq!(open(&report), [("new", 0), ("old", 1)]);
    kept.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfir")
        .await;
    kept.send("st").await;
    assert_eq!(client.message().await.unwrap().1, "first");
    edge.report(|r| open(r) == [("new", 0), ("old", 0)]).await;
    // Nothing of the edge is left with it that it would have to wait for.
    assert_eq!(kept.rest().await, "");

    for _ in 0..3 {
        assert_eq!(client.get("/2").await.1, "new");
    }
}

#[tokio::test]
async fn a_replica_gets_who_asks_and_nothing_of_the_client_s_connection() {
    let mut servers = JoinSet::new();
    let (a, heads) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    client
        .send(
            "POST http://shop.example/a?b HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\
             X-Forwarded-For: 10.9.9.9\r\ntraceparent: 00-a-b-01\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
    assert_eq!(client.message().await.unwrap().1, "ahi");
    let head = heads.lock().unwrap().remove(0);
    let mut lines: Vec<&str> = head.trim().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /a?b HTTP/1.1",
            "content-length: 2",
            "forwarded: for=127.0.0.1;host=\"shop.example\";proto=http",
            "host: shop.example",
            "traceparent: 00-a-b-01",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: shop.example",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn a_request_goes_to_another_replica_only_when_that_is_safe() {
    let mut servers = JoinSet::new();
    let (good, heads) = named(&mut servers, "good").await;
    let (bad, replica) = played("bad").await;
    let mut edge = edge(LIMITS);
    // Refused before a byte was written: safe for every method.
    edge.route(1, &[&refusing("dead"), &good], &[]).await;
    for _ in 0..3 {
        let mut client = client(&edge).await;
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n!")
            .await;
        assert_eq!(client.message().await.unwrap().1, "good!");
    }
    assert_eq!(heads.lock().unwrap().len(), 3);

    // Taken, and not answered: a GET is repeated elsewhere, a POST is not.
    edge.route(2, &[&bad], &[]).await;
    let mut get = client(&edge).await;
    get.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut taken = accept(&replica).await;
    taken.message().await.unwrap();
    edge.route(3, &[&good], &[&bad]).await;
    drop(taken);
    assert_eq!(get.message().await.unwrap().1, "good");
    edge.route(4, &[&bad], &[]).await;
    let mut post = client(&edge).await;
    post.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n!")
        .await;
    let mut taken = accept(&replica).await;
    taken.message().await.unwrap();
    edge.route(5, &[&good], &[&bad]).await;
    drop(taken);
    let (head, body) = post.message().await.unwrap();
    assert_eq!(status(&head), "502", "{head}{body}");
    assert_eq!(heads.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn bodies_go_through_as_they_come_with_their_trailers() {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\nte: trailers\r\n\r\n")
        .await;
    // Asked for as soon as a replica has taken the request.
    let mut server = accept(&replica).await;
    let head = server.until("\r\n\r\n").await.unwrap();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(head.contains("te: trailers\r\n"), "{head}");
    assert!(!head.contains("expect"), "{head}");
    let go_on = client.until("\r\n\r\n").await.unwrap();
    assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("3\r\none\r\n").await;
    server.until("3\r\none\r\n").await.unwrap();
    // The answer begins before the request has ended.
    server
        .send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nfour\r\n",
        )
        .await;
    client.until("4\r\nfour\r\n").await.unwrap();
    client.send("3\r\ntwo\r\n0\r\n\r\n").await;
    server.until("3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    server.send("0\r\nx-sum: 7\r\n\r\n").await;
    assert_eq!(
        client.until("x-sum: 7\r\n\r\n").await.unwrap(),
        "0\r\nx-sum: 7\r\n\r\n"
    );
    edge.report(|r| open(r) == [("a", 0)]).await;
}

#[tokio::test]
async fn a_websocket_is_a_connection_of_its_replica_until_it_ends() {
    let (a, replica) = played("a").await;
    let mut servers = JoinSet::new();
    let (b, _) = named(&mut servers, "b").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    client
        .send("GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\nearly")
        .await;
    let mut server = accept(&replica).await;
    let (head, _) = server.message().await.unwrap();
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: k\r\n"), "{head}");
    server
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s\r\n\r\nhello")
        .await;
    let (head, _) = client.message().await.unwrap();
    assert_eq!(status(&head), "101");
    assert!(head.contains("sec-websocket-accept: s\r\n"), "{head}");
    assert_eq!(client.until("hello").await.unwrap(), "hello");
    assert_eq!(server.until("early").await.unwrap(), "early");
    // It outlives the table, as a TCP connection does.
    let report = edge.route(2, &[&b], &[&a]).await;
    assert_eq!(open(&report), [("a", 1), ("b", 0)]);
    client.send("ping").await;
    assert_eq!(server.until("ping").await.unwrap(), "ping");
    server.send("close").await;
    drop(server);
    assert_eq!(client.rest().await, "close");
    drop(client);
    edge.report(|r| open(r) == [("a", 0), ("b", 0)]).await;
}

#[tokio::test]
async fn h2c_clients_are_served_with_prior_knowledge() {
    let mut servers = JoinSet::new();
    let (a, heads) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let stream = TokioIo::new(edge.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    servers.spawn(async move { connection.await.unwrap() });
    let ask = |body: &'static str| {
        let body = Full::new(Bytes::from_static(body.as_bytes()));
        let request = Request::post("http://shop.example/x").body(body).unwrap();
        sender.send_request(request)
    };
    let answers: Vec<_> = ["1", "2", "3"].map(ask).into();
    for (answer, expected) in answers.into_iter().zip(["a1", "a2", "a3"]) {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
    let head = heads.lock().unwrap().remove(0);
    assert!(head.starts_with("POST /x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: shop.example\r\n"), "{head}");
    edge.report(|r| open(r) == [("a", 0)]).await;
}

#[tokio::test]
async fn at_shutdown_what_is_asked_is_answered_and_what_rests_is_closed() {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut asking = client(&edge).await;
    asking.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = accept(&replica).await;
    server.message().await.unwrap();
    edge.shutdown.cancel();
    server
        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let (head, body) = asking.message().await.unwrap();
    assert_eq!(body, "ok");
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(asking.rest().await, "");
    edge.running.join_next().await.unwrap().unwrap();
    assert_eq!(open(&edge.reports.borrow()), [("a", 0)]);
}

/// Nobody can tell a connection that is closed from a request that was not answered.
#[tokio::test]
async fn a_kept_connection_is_told_with_its_next_answer_that_the_port_closes() {
    let mut servers = JoinSet::new();
    let (a, _) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut kept = client(&edge).await;
    assert_eq!(kept.get("/").await.1, "a");
    let mut resting = client(&edge).await;
    assert_eq!(resting.get("/").await.1, "a");
    edge.shutdown.cancel();
    edge.closed().await;
    let (head, body) = kept.get("/").await;
    assert_eq!(body, "a");
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(kept.rest().await, "");
    assert_eq!(resting.rest().await, "");
    edge.running.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_changes_its_protocol_for_connections_to_come() {
    let mut servers = JoinSet::new();
    let (a, _) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.forwarding.protocol = EdgeProtocol::Tcp;
    edge.route(1, &[&a], &[]).await;
    let mut early = client(&edge).await;
    assert_eq!(early.get("/").await.1, "a");
    edge.forwarding.protocol = EdgeProtocol::Http;
    edge.route(2, &[&a], &[]).await;
    edge.report(|r| open(r) == [("a", 1)]).await;
    let mut late = client(&edge).await;
    assert_eq!(late.get("/").await.1, "a");
    assert_eq!(early.get("/").await.1, "a");
    // The later one is not open between its requests.
    edge.report(|r| open(r) == [("a", 1)]).await;
}

/// As in TCP mode: both tables of a flip are reported and drained while clients keep asking over connections that they
/// keep; from then on the other replica may be stopped, so no request must arrive there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_report_no_request_reaches_a_replica_that_left() {
    let mut servers = JoinSet::new();
    let mut flips = Flips::default();
    for (name, stopped) in ["a", "b"].into_iter().zip(&flips.stopped) {
        let (replica, listener) = played(name).await;
        flips.replicas.push(replica);
        let stopped = Arc::clone(stopped);
        servers.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                tokio::select! {
                    Some(ended) = clients.join_next() => ended.unwrap(),
                    accepted = listener.accept() => {
                        let mut wire = Wire::new(accepted.unwrap().0);
                        let stopped = Arc::clone(&stopped);
                        clients.spawn(async move {
                            while wire.message().await.is_some() {
                                assert!(!stopped.load(Ordering::SeqCst), "{name}");
                                wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                            }
                        });
                    }
                }
            }
        });
    }
    let mut edge = edge(LIMITS);
    edge.route(1, &[&flips.replicas[1]], &[]).await;
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let mut client = client(&edge).await;
        let answered = Arc::clone(&flips.answered);
        clients.spawn(async move {
            loop {
                assert_eq!(client.get("/").await.1, "ok");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let flip = async |epoch, new: &Backend, old: &Backend| edge.flip(epoch, new, old).await;
    flips.run(servers, clients, flip).await;
}
