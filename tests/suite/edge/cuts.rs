//! A table that cuts a replica: whatever leads there ends, in every mode, and nothing else does.

use std::net::Ipv4Addr;

use phoenixd::spec::{Forwarding, Transport};
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::http::{accept, client, edge as http_edge, named, played, status};
use super::{Edge, LIMITS, ask, backend, free_port, greeter, open};

const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

#[tokio::test]
async fn a_connection_to_a_replica_that_is_cut_is_reset_and_no_other_is() {
    let mut servers = JoinSet::new();
    let old = greeter(&mut servers, "old").await;
    let new = greeter(&mut servers, "new").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut cut = edge.connect().await;
    assert_eq!(ask(&mut cut).await.unwrap(), "old");
    edge.route(2, &[&new], &[&old]).await;
    let mut other = edge.connect().await;
    assert_eq!(ask(&mut other).await.unwrap(), "new");
    assert_eq!(ask(&mut cut).await.unwrap(), "old");
    edge.cut(3, &[&new], &old).await;
    let ended = cut.read(&mut [0; 1]).await.map_err(|error| error.kind());
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(ask(&mut other).await.unwrap(), "new");
    // It may get traffic again: a supervisor that is killed in between knows nothing of the cut.
    edge.route(4, &[&old], &[&new]).await;
    let mut again = edge.connect().await;
    assert_eq!(ask(&mut again).await.unwrap(), "old");
    let report = edge.report(|r| open(r) == [("new", 1), ("old", 1)]).await;
    assert_eq!(report.epoch, 4);
}

#[tokio::test]
async fn a_request_that_can_be_repeated_goes_elsewhere_when_its_replica_is_cut() {
    let mut servers = JoinSet::new();
    let (old, replica) = played("old").await;
    let (new, _) = named(&mut servers, "new").await;
    let mut edge = http_edge(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut get = client(&edge).await;
    get.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut silent = accept(&replica).await;
    silent.message().await.unwrap();
    let mut post = client(&edge).await;
    post.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
        .await;
    let mut other = accept(&replica).await;
    other.message().await.unwrap();
    edge.cut(2, &[&new], &old).await;
    let (head, body) = get.message().await.unwrap();
    assert_eq!(
        (status(&head), body.contains("new")),
        ("200", true),
        "{body}"
    );
    let (head, _) = post.message().await.unwrap();
    assert_eq!(status(&head), "502");
    assert_eq!(silent.rest().await, "");
    assert_eq!(other.rest().await, "");
    // The client's connection goes on.
    assert_eq!(status(&post.get("/").await.0), "200");
}

#[tokio::test]
async fn an_answer_under_way_ends_with_the_cut_whether_its_client_reads_or_not() {
    let mut servers = JoinSet::new();
    let (old, replica) = played("old").await;
    let (new, _) = named(&mut servers, "new").await;
    let mut edge = http_edge(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut reader = client(&edge).await;
    reader.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut slow = accept(&replica).await;
    slow.message().await.unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
    slow.send(head).await;
    assert!(reader.until("\r\n\r\n").await.is_some());
    // This one does not read: its answer stands in every buffer on the way.
    let mut deaf = client(&edge).await;
    deaf.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut fast = accept(&replica).await;
    fast.message().await.unwrap();
    fast.send(head).await;
    servers.spawn(async move {
        let text = "x".repeat(1 << 16);
        while tokio::io::AsyncWriteExt::write_all(&mut fast.stream, text.as_bytes())
            .await
            .is_ok()
        {}
    });
    edge.report(|r| open(r) == [("old", 2)]).await;
    assert!(deaf.until("xxxx").await.is_some());
    edge.cut(2, &[&new], &old).await;
    assert_eq!(reader.rest().await, "");
    assert_eq!(slow.rest().await, "");
}

#[tokio::test]
async fn an_upgraded_connection_is_cut() {
    let mut servers = JoinSet::new();
    let (old, replica) = played("old").await;
    let (new, _) = named(&mut servers, "new").await;
    let mut edge = http_edge(LIMITS);
    edge.route(1, &[&old], &[]).await;
    let mut client = client(&edge).await;
    client.send(UPGRADE).await;
    let mut server = accept(&replica).await;
    server.message().await.unwrap();
    server
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello")
        .await;
    assert!(client.until("hello").await.is_some());
    edge.cut(2, &[&new], &old).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(server.rest().await, "");
}

#[tokio::test]
async fn a_session_is_cut_and_its_client_s_next_datagram_goes_elsewhere() {
    let (one, two) = (udp().await, udp().await);
    let (old, new) = (
        backend("old", one.local_addr().unwrap()),
        backend("new", two.local_addr().unwrap()),
    );
    let port = phoenixd::spec::Published {
        transport: Transport::Udp,
        ..free_port(Ipv4Addr::LOCALHOST)
    };
    let mut edge = Edge::with(LIMITS, port, Forwarding::default());
    edge.route(1, &[&old], &[]).await;
    let client = udp().await;
    client.connect(edge.port.local_address()).await.unwrap();
    client.send(b"1").await.unwrap();
    one.recv(&mut [0; 8]).await.unwrap();
    edge.report(|r| open(r) == [("old", 1)]).await;
    edge.cut(2, &[&new], &old).await;
    client.send(b"2").await.unwrap();
    let mut datagram = [0; 8];
    assert_eq!(two.recv(&mut datagram).await.unwrap(), 1);
    assert_eq!(datagram[0], b'2');
    assert_eq!(one.try_recv(&mut datagram).ok(), None);
}

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}
