//! Websockets that cannot go on end with a close frame, between two frames, and lose nothing of the one under way.

use tokio::net::TcpListener;

use super::http::{Wire, accept, client, edge, played};
use super::{Edge, LIMITS, backend, open};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: k\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
/// Close, with 1001.
const GOODBYE: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// Both ends of a websocket through the edge.
async fn open_websocket(edge: &Edge, replica: &TcpListener) -> (Wire, Wire) {
    let mut client = client(edge).await;
    client.send(ASK).await;
    let mut server = accept(replica).await;
    server.message().await.unwrap();
    server.send(SWITCH).await;
    client.message().await.unwrap();
    (client, server)
}

/// The same through an edge that leads to nobody else.
async fn started() -> (Edge, Wire, Wire) {
    let (a, replica) = played("a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let (client, server) = open_websocket(&edge, &replica).await;
    (edge, client, server)
}

/// The time to drain is over.
fn goodbye(edge: &Edge) {
    edge.shutdown.cancel();
    edge.goodbye.cancel();
}

/// The close frame of a client, with whatever mask.
fn is_masked_goodbye(bytes: &[u8]) -> bool {
    let [0x88, 0x82, a, b, _, _, x, y] = *bytes else {
        return false;
    };
    [x ^ a, y ^ b] == [0x03, 0xe9]
}

#[tokio::test]
async fn at_the_edge_s_goodbye_both_sides_get_a_close_frame() {
    let (edge, mut client, mut server) = started().await;
    client.send("\u{1}\u{2}hi").await;
    assert_eq!(server.until("hi").await.unwrap(), "\u{1}\u{2}hi");
    edge.shutdown.cancel();
    client.send("\u{1}\u{2}yo").await;
    assert_eq!(server.until("yo").await.unwrap(), "\u{1}\u{2}yo");
    edge.goodbye.cancel();
    assert_eq!(client.rest_bytes().await, GOODBYE);
    let last = server.rest_bytes().await;
    assert!(is_masked_goodbye(&last), "{last:?}");
    drop((client, server));
    edge.report(|report| open(report) == [("a", 0)]).await;
}

#[tokio::test]
async fn a_frame_that_is_under_way_comes_whole_before_the_goodbye_and_nothing_after_it() {
    let (edge, mut client, mut server) = started().await;
    server.send("\u{1}\u{5}he").await;
    assert_eq!(client.until("he").await.unwrap(), "\u{1}\u{5}he");
    goodbye(&edge);
    // The other direction is between two frames, and so is over.
    let last = server.rest_bytes().await;
    assert!(is_masked_goodbye(&last), "{last:?}");
    server.send("llo\u{1}\u{1}x").await;
    assert_eq!(client.rest_bytes().await, [b"llo", GOODBYE].concat());
}

#[tokio::test]
async fn who_has_said_goodbye_is_not_told_twice() {
    let (edge, mut client, mut server) = started().await;
    // Without a reason.
    server.send_bytes(&[0x88, 0]).await;
    assert!(client.until("\0").await.is_some());
    goodbye(&edge);
    assert_eq!(client.rest_bytes().await, b"");
}

#[tokio::test]
async fn a_replica_that_leaves_the_rotation_and_ends_says_goodbye_one_that_crashes_does_not() {
    let (a, replica) = played("a").await;
    let b = backend("b", ([127, 0, 0, 1], 9).into());
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let whole = "\u{1}\u{2}hi";
    let half = "\u{1}\u{5}hi";
    for (epoch, leaves, sent) in [(2, false, whole), (4, true, whole), (6, true, half)] {
        edge.route(epoch, &[&a], &[]).await;
        let (mut client, mut server) = open_websocket(&edge, &replica).await;
        server.send(sent).await;
        assert_eq!(client.until("hi").await.unwrap(), sent);
        if leaves {
            edge.route(epoch + 1, &[&b], &[&a]).await;
            // It ends with a reset: this is not read any more.
            client.send("\u{1}\u{2}yo").await;
            server.arrived().await;
        }
        drop(server);
        let is_told = leaves && sent == whole;
        let expected = if is_told { GOODBYE } else { b"" };
        assert_eq!(client.rest_bytes().await, expected, "leaves: {leaves}");
        if is_told {
            // Its client is not waited for without end.
            edge.report(|report| open(report) == [("a", 0), ("b", 0)])
                .await;
        }
    }
}

#[tokio::test]
async fn a_message_larger_than_any_buffer_goes_through_both_ways() {
    let (edge, mut client, mut server) = started().await;
    let length: u64 = 3 << 20;
    let mut message = vec![0x82, 127];
    message.extend(length.to_be_bytes());
    message.extend((0..length).map(|at| (at % 251) as u8));
    let ((), got) = tokio::join!(client.send_bytes(&message), server.exactly(message.len()));
    assert!(got == message, "from the client");
    let ((), got) = tokio::join!(server.send_bytes(&message), client.exactly(message.len()));
    assert!(got == message, "from the replica");
    // It is known that nothing is under way any more.
    goodbye(&edge);
    assert_eq!(client.rest_bytes().await, GOODBYE);
}
