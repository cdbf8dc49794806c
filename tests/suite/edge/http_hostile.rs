//! Peers that misbehave in HTTP mode: bounded, told, and nobody else's harm.

use std::time::Duration;

use phoenixd::edge::Limits;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::http::{accept, client, edge, named, played, status};
use super::{LIMITS, open, refusing};

/// Impatient in everything that a test waits for.
const SHORT: Limits = Limits {
    patience: Duration::from_millis(100),
    head: Duration::from_millis(200),
    keep_alive: Duration::from_millis(200),
    idle: Duration::from_millis(200),
    ..LIMITS
};

#[tokio::test]
async fn a_replica_that_never_answers_is_answered_for_and_others_are_served() {
    let (silent, replica) = played("silent").await;
    let mut edge = edge(SHORT);
    edge.route(1, &[&silent], &[]).await;
    let mut first = client(&edge).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let _held = accept(&replica).await;
    let (head, body) = first.message().await.unwrap();
    assert_eq!(
        (status(&head), body.as_str()),
        ("504", "the replica did not answer in time\n")
    );
    // Neither its request nor its connection is left.
    edge.report(|r| open(r) == [("silent", 0)]).await;
    let mut servers = JoinSet::new();
    let (good, _) = named(&mut servers, "good").await;
    edge.route(2, &[&good], &[]).await;
    assert_eq!(first.get("/").await.1, "good");
}

#[tokio::test]
async fn a_replica_that_talks_garbage_or_ends_at_once_is_answered_for() {
    let (bad, replica) = played("bad").await;
    let mut edge = edge(SHORT);
    edge.route(1, &[&bad], &[]).await;
    let garbage = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ];
    for text in garbage {
        let mut client = client(&edge).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut wire = accept(&replica).await;
        wire.message().await.unwrap();
        wire.send(text).await;
        let (head, _) = client.message().await.unwrap();
        assert_eq!(status(&head), "502", "{text:?} {head}");
    }
    // A head without an end.
    let mut one = client(&edge).await;
    one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut wire = accept(&replica).await;
    wire.message().await.unwrap();
    wire.send("HTTP/1.1 200 OK\r\n").await;
    let line = format!("x-filler: {}\r\n", "y".repeat(1000));
    for _ in 0..200 {
        if wire.stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let (head, _) = one.message().await.unwrap();
    assert_eq!(status(&head), "502");
    // A body that ends too early is not passed off as whole.
    let mut cut = client(&edge).await;
    cut.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut wire = accept(&replica).await;
    wire.message().await.unwrap();
    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    drop(wire);
    cut.until("half").await.unwrap();
    assert_eq!(cut.rest().await, "");
    edge.report(|r| open(r) == [("bad", 0)]).await;
}

#[tokio::test]
async fn a_body_that_stops_on_its_way_is_ended() {
    let (slow, replica) = played("slow").await;
    let mut edge = edge(SHORT);
    edge.route(1, &[&slow], &[]).await;
    // The replica's.
    let mut one = client(&edge).await;
    one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut wire = accept(&replica).await;
    wire.message().await.unwrap();
    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    one.until("half").await.unwrap();
    assert_eq!(one.rest().await, "");
    // The client's.
    let mut two = client(&edge).await;
    two.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    let mut wire = accept(&replica).await;
    wire.until("half").await.unwrap();
    let (head, _) = two.message().await.unwrap();
    assert_eq!(status(&head), "408", "{head}");
    assert_eq!(wire.rest().await, "");
    edge.report(|r| open(r) == [("slow", 0)]).await;
}

#[tokio::test]
async fn without_a_replica_a_request_is_told_to_come_again() {
    let mut edge = edge(SHORT);
    edge.route(1, &[&refusing("dead")], &[]).await;
    let (head, body) = client(&edge).await.get("/").await;
    assert_eq!(status(&head), "503");
    assert!(head.contains("retry-after: 2\r\n"), "{head}");
    assert_eq!(body, "no replica of this service is ready\n");
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_or_says_nothing_is_let_go() {
    let mut servers = JoinSet::new();
    let (a, _) = named(&mut servers, "a").await;
    let mut edge = edge(SHORT);
    edge.route(1, &[&a], &[]).await;
    let mut says_nothing = client(&edge).await;
    let mut slow = client(&edge).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    let mut rests = client(&edge).await;
    assert_eq!(rests.get("/").await.1, "a");
    let mut half_preface = client(&edge).await;
    half_preface.send("PRI * HTTP/2.0\r\n").await;
    for one in [&mut says_nothing, &mut slow, &mut rests, &mut half_preface] {
        assert_eq!(one.rest().await, "");
    }
}

#[tokio::test]
async fn endless_or_too_many_fields_are_refused_and_reach_no_replica() {
    let mut servers = JoinSet::new();
    let (a, heads) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let many = "x: y\r\n".repeat(500);
    let mut one = client(&edge).await;
    one.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"))
        .await;
    assert_eq!(status(&one.message().await.unwrap().0), "431");
    let large = "y".repeat(66_000);
    let mut two = client(&edge).await;
    two.send(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}\r\n\r\n"))
        .await;
    assert_eq!(status(&two.message().await.unwrap().0), "431");
    let mut endless = client(&edge).await;
    endless.send("GET / HTTP/1.1\r\nhost: a\r\nx: ").await;
    let filler = "y".repeat(10_000);
    for _ in 0..100 {
        if endless.stream.write_all(filler.as_bytes()).await.is_err() {
            break;
        }
    }
    // The refusal, unless the reset that follows unread bytes took it along.
    let answer = endless.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    assert!(heads.lock().unwrap().is_empty());
    assert_eq!(client(&edge).await.get("/").await.1, "a");
    let mut three = client(&edge).await;
    let long = "y".repeat(65_000);
    three
        .send(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"))
        .await;
    assert_eq!(three.message().await.unwrap().1, "a");
}

#[tokio::test]
async fn a_request_whose_end_is_not_certain_is_refused() {
    let mut servers = JoinSet::new();
    let (a, heads) = named(&mut servers, "a").await;
    let mut edge = edge(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let chunked = "transfer-encoding: chunked\r\n";
    let uncertain = [
        format!("content-length: 3\r\n{chunked}"),
        format!("{chunked}content-length: 3\r\n"),
        "content-length: 3\r\ncontent-length: 4\r\n".to_owned(),
        "content-length: +3\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding: chunked, gzip\r\n".to_owned(),
        format!("{chunked}{chunked}"),
        "transfer-encoding : chunked\r\n".to_owned(),
        "host: other\r\n".to_owned(),
    ];
    for fields in uncertain {
        let mut client = client(&edge).await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
            ))
            .await;
        let all = client.rest().await;
        let answers = all.matches("HTTP/1.1 ").count();
        assert!(
            all.starts_with("HTTP/1.1 4") || all.starts_with("HTTP/1.1 501"),
            "{fields} {all}"
        );
        assert_eq!(answers, 1, "{fields} {all}");
    }
    assert!(
        heads.lock().unwrap().is_empty(),
        "{:?}",
        heads.lock().unwrap()
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_and_its_replica_is_free() {
    let (a, replica) = played("a").await;
    let mut edge = edge(SHORT);
    edge.route(1, &[&a], &[]).await;
    let mut deaf = client(&edge).await;
    deaf.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut wire = accept(&replica).await;
    wire.message().await.unwrap();
    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    let filler = vec![b'y'; 1 << 20];
    // Ends because the edge gives up, not because everything was sent.
    let mut sent = 0;
    while wire.stream.write_all(&filler).await.is_ok() {
        sent += filler.len();
    }
    assert!(sent < 100_000_000, "{sent}");
    edge.report(|r| open(r) == [("a", 0)]).await;
}
