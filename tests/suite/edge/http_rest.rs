//! HTTP mode holds nothing for a connection that rests, and that costs no client and no replica anything.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use phoenixd::edge::Workers;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::http::{HTTP, accept, client, edge, named, played, status};
use super::{Edge, LIMITS, free_port, open};

/// Longer than a connection of a client that rests is held for by hyper.
async fn rest() {
    let mut pace = interval(Duration::from_millis(400));
    pace.tick().await;
    pace.tick().await;
}

#[tokio::test]
async fn a_client_goes_on_after_a_rest_wherever_it_was() {
    let mut servers = JoinSet::new();
    let (a, heads) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.1, "a");
        rest().await;
    }
    // A head with a rest in it, and the begin of the next one behind it.
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-le")
        .await;
    rest().await;
    client.send("ngth: 2\r\n\r\nxyGET /next HTT").await;
    assert_eq!(client.message().await.unwrap().1, "axy");
    rest().await;
    rest().await;
    client.send("P/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.message().await.unwrap().1, "a");
    let last = heads.lock().unwrap().last().cloned().unwrap();
    assert!(last.starts_with("GET /next HTTP/1.1\r\n"), "{last}");
    // Whoever sends both lengths is refused however long the head takes.
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n")
        .await;
    rest().await;
    client
        .send("transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&client.message().await.unwrap().0), "400");
}

#[tokio::test]
async fn a_client_is_heard_by_how_it_begins_however_slowly() {
    let mut servers = JoinSet::new();
    let (a, _) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut first = client(&edge).await;
    for part in ["P", "R", "OPFIND / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        first.send(part).await;
        rest().await;
    }
    assert_eq!(first.message().await.unwrap().1, "a");
    let mut second = client(&edge).await;
    for part in [
        "PRI * HTTP/2",
        ".0\r\n\r\nSM\r\n",
        "\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        second.send(part).await;
        rest().await;
    }
    // Its settings: a frame of HTTP/2, whose type is the fourth byte.
    let frame = second.until("\0").await.unwrap();
    assert_eq!(frame, "\0");
    // A client that ends after a part of the preface is no client any more.
    let mut third = client(&edge).await;
    third.send("PRI * HT").await;
    third.stream.shutdown().await.unwrap();
    let answer = third.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_and_its_answer_go_on_beside_each_other_when_neither_waits_for_the_other() {
    const BYTES: usize = 32 << 20;
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BYTES}\r\n\r\n"
        ))
        .await;
    let mut wire = accept(&replica).await;
    assert!(wire.until("\r\n\r\n").await.is_some());
    // The replica answers before it has read anything; what it writes fills everything on the way.
    wire.send(&format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n"
    ))
    .await;
    let (mut from_edge, mut to_edge) = wire.stream.into_split();
    let mut halves = JoinSet::new();
    halves.spawn(async move {
        let part = vec![b'x'; 1 << 16];
        for _ in 0..BYTES >> 16 {
            to_edge.write_all(&part).await.unwrap();
        }
        // Dropped, it would end the other half.
        std::future::pending::<()>().await;
    });
    let taken = halves.spawn(async move {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut from_edge, &mut sink).await.ok();
    });
    // The client reads nothing until it has sent everything.
    let sent = async {
        let part = vec![b'y'; 1 << 16];
        for _ in 0..BYTES >> 16 {
            client.stream.write_all(&part).await.unwrap();
        }
    };
    timeout(Duration::from_secs(30), sent).await.unwrap();
    assert!(!taken.is_finished());
    assert!(client.until("xxxx").await.is_some());
}

#[tokio::test]
async fn a_kept_connection_that_its_replica_ends_is_ended_by_the_edge_too() {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut wire = accept(&replica).await;
    wire.message().await.unwrap();
    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.message().await.unwrap();
    edge.report(|r| open(r) == [("a", 0)]).await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "");
}

#[tokio::test]
async fn connections_to_a_replica_are_kept_and_clients_share_them() {
    let (a, replica) = played("a").await;
    // Those of one thread do.
    let workers = Workers::of(NonZeroUsize::MIN).unwrap();
    let port = free_port(Ipv4Addr::LOCALHOST);
    let mut edge = Edge::of(LIMITS, port, HTTP, workers);
    edge.route(1, &[&a], &[]).await;
    let mut first = client(&edge).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut kept = accept(&replica).await;
    for _ in 0..3 {
        kept.message().await.unwrap();
        kept.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        first.message().await.unwrap();
        edge.report(|r| open(r) == [("a", 0)]).await;
        first = client(&edge).await;
        first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    kept.message().await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_its_replica_has_closed_costs_nobody_a_request() {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    for _ in 0..3 {
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n!")
            .await;
        let mut wire = accept(&replica).await;
        wire.message().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.message().await.unwrap().1, "ok");
        edge.report(|r| open(r) == [("a", 0)]).await;
        drop(wire);
        // The edge has seen it: the FIN of a loopback connection is there at once, its task runs before the next request.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_kept_ends_as_soon_as_its_replica_leaves_the_table() {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut client = client(&edge).await;
    let mut kept = None;
    // The second request shows that the connection was kept after the first.
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => accept(&replica).await,
        };
        wire.message().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        client.message().await.unwrap();
        edge.report(|r| open(r) == [("a", 0)]).await;
        kept = Some(wire);
    }
    edge.route(2, &[], &[&a]).await;
    assert_eq!(kept.unwrap().rest().await, "");
}
