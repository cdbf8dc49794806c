//! UDP: a client's datagrams go to one replica as long as its session lasts.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use phoenixd::edge::{Limits, Listeners};
use phoenixd::reconcile::Backend;
use phoenixd::spec::{Forwarding, Published, Transport};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Edge, LIMITS, backend, free_port, open};
use crate::support::eventually;

fn udp_port() -> Published {
    Published {
        target: 53,
        transport: Transport::Udp,
        ..free_port(Ipv4Addr::LOCALHOST)
    }
}

fn edge(limits: Limits, forwarding: Forwarding) -> Edge {
    Edge::with(limits, udp_port(), forwarding)
}

/// A replica that answers each datagram with its name and what it got.
async fn echo(servers: &mut JoinSet<()>, name: &'static str) -> Backend {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let replica = backend(name, socket.local_addr().unwrap());
    servers.spawn(async move {
        let mut bytes = vec![0; 65_535];
        loop {
            let (length, peer) = socket.recv_from(&mut bytes).await.unwrap();
            let mut answer = format!("{name} ").into_bytes();
            answer.extend(bytes.iter().take(length));
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    replica
}

struct Client(Arc<UdpSocket>);

impl Client {
    async fn new(edge: &Edge) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(edge.port.local_address()).await.unwrap();
        Self(Arc::new(socket))
    }

    /// The answer to one datagram.
    async fn ask(&self, text: &str) -> Option<String> {
        self.0.send(text.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 65_535];
        let length = timeout(Duration::from_millis(300), self.0.recv(&mut bytes)).await;
        let length = length.ok()?.ok()?;
        bytes.truncate(length);
        String::from_utf8(bytes).ok()
    }
}

#[tokio::test]
async fn a_session_stays_with_its_replica_and_new_ones_go_elsewhere_while_it_drains() {
    let mut servers = JoinSet::new();
    let old = echo(&mut servers, "old").await;
    let new = echo(&mut servers, "new").await;
    let mut edge = edge(LIMITS, Forwarding::default());
    edge.route(1, &[&old], &[]).await;
    let early = Client::new(&edge).await;
    assert_eq!(early.ask("1").await.as_deref(), Some("old 1"));
    edge.report(|r| open(r) == [("old", 1)]).await;
    edge.route(2, &[&new], &[&old]).await;
    let late = Client::new(&edge).await;
    assert_eq!(late.ask("2").await.as_deref(), Some("new 2"));
    assert_eq!(early.ask("3").await.as_deref(), Some("old 3"));
    edge.report(|r| open(r) == [("new", 1), ("old", 1)]).await;
    // Gone for good: the session begins anew, and is counted there.
    edge.route(3, &[&new], &[]).await;
    edge.report(|r| open(r) == [("new", 1)]).await;
    assert_eq!(early.ask("4").await.as_deref(), Some("new 4"));
    edge.report(|r| open(r) == [("new", 2)]).await;
}

#[tokio::test]
async fn a_session_ends_when_nothing_moves() {
    let mut servers = JoinSet::new();
    let a = echo(&mut servers, "a").await;
    let mut edge = edge(
        Limits {
            idle: Duration::from_millis(100),
            ..LIMITS
        },
        Forwarding::default(),
    );
    edge.route(1, &[&a], &[]).await;
    let client = Client::new(&edge).await;
    assert_eq!(client.ask("1").await.as_deref(), Some("a 1"));
    edge.report(|r| open(r) == [("a", 0)]).await;
    assert_eq!(client.ask("2").await.as_deref(), Some("a 2"));
}

#[tokio::test]
async fn sessions_are_bounded_and_a_place_that_is_free_again_is_given() {
    let mut servers = JoinSet::new();
    let a = echo(&mut servers, "a").await;
    let mut edge = edge(
        LIMITS,
        Forwarding {
            max_connections: NonZeroU32::new(2),
            idle_timeout: Some(Duration::from_secs(1)),
            ..Forwarding::default()
        },
    );
    edge.route(1, &[&a], &[]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::new(&edge).await);
    }
    assert_eq!(clients[0].ask("1").await.as_deref(), Some("a 1"));
    assert_eq!(clients[1].ask("2").await.as_deref(), Some("a 2"));
    assert_eq!(clients[2].ask("3").await, None);
    // The first two say nothing any more.
    let look = async || clients[2].ask("4").await;
    eventually("a place", look, Option::is_some).await;
}

#[tokio::test]
async fn a_replica_that_refuses_costs_one_datagram_and_the_largest_goes_through() {
    let mut servers = JoinSet::new();
    let dead = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        backend("dead", socket.local_addr().unwrap())
    };
    let alive = echo(&mut servers, "alive").await;
    let mut edge = edge(LIMITS, Forwarding::default());
    edge.route(1, &[&dead, &alive], &[]).await;
    let client = Client::new(&edge).await;
    let look = async || client.ask("x").await;
    let answer = eventually("an answer", look, Option::is_some).await;
    assert_eq!(answer.as_deref(), Some("alive x"));
    let large = "y".repeat(60_000);
    let answer = client.ask(&large).await.unwrap();
    assert_eq!(answer.len(), "alive ".len() + large.len());
}

#[tokio::test]
async fn a_udp_port_in_use_is_named_with_its_holder() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut port = udp_port();
    port.host_port = taken.local_addr().unwrap().port();
    let error = Listeners::bind(&[port].into()).unwrap_err();
    let own = format!("(process {})", std::process::id());
    assert!(error.to_string().ends_with(&own), "{error}");
}
