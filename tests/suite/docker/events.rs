//! The stream of hints, and every way in which it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use phoenixd::docker::{Docker, Engine, Error, Hint};
use phoenixd::spec::ProjectName;
use tokio::sync::Notify;

use super::fake::{Fake, refusal, version};

type Chunk = Result<Bytes, io::Error>;

/// A daemon whose stream of events is this.
fn events<S: Stream<Item = Chunk> + Send + 'static>(
    make: impl Fn() -> S + Send + Sync + 'static,
) -> Fake {
    Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/_ping" => ([("date", "Thu, 01 Jan 2026 00:00:07 GMT")], "OK").into_response(),
        "GET /v1.41/events" => Response::new(Body::from_stream(make())),
        other => unreachable!("{other}"),
    })
}

fn event(number: usize, action: &str) -> Bytes {
    let json = serde_json::json!({
        "Type": "container", "Action": action, "status": action, "id": format!("c{number}"),
        "Actor": {"ID": format!("c{number}"), "Attributes": {"name": "shop-web-1"}},
        "scope": "local", "time": 1, "timeNano": 1,
    });
    Bytes::from(format!("{json}\n"))
}

/// An error on the daemon's side: it cuts the connection.
fn cut() -> io::Error {
    io::Error::other("cut")
}

async fn subscribe(docker: &Docker) -> BoxStream<'static, Result<Hint, Error>> {
    let project = ProjectName::new("shop");
    docker
        .subscribe(&project, Duration::ZERO)
        .await
        .unwrap()
        .boxed()
}

#[tokio::test]
async fn a_subscription_reaches_back_to_before_it_was_asked_for() {
    let fake = events(stream::pending::<Chunk>);
    let docker = fake.connect().await.unwrap();
    let hints = subscribe(&docker).await;
    assert_eq!(
        fake.requests(),
        [
            "GET /version",
            "GET /v1.41/_ping",
            // The engine's own clock: 2026-01-01T00:00:07Z.
            "GET /v1.41/events?since=1767225607&filters=%7B%22label%22%3A%5B%22phoenixd.project%3Dshop%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D",
        ]
    );
    drop(hints);
}

#[tokio::test]
async fn a_subscription_reaches_as_far_back_as_it_is_asked_to_by_the_engine_s_clock() {
    for (back, since) in [
        (Duration::from_mins(1), 1_767_225_547),
        (Duration::from_millis(2500), 1_767_225_604),
        (Duration::MAX, 1),
    ] {
        let fake = events(stream::pending::<Chunk>);
        let docker = fake.connect().await.unwrap();
        let project = ProjectName::new("shop");
        drop(docker.subscribe(&project, back).await.unwrap());
        let asked = fake.requests().pop().unwrap();
        assert!(asked.contains(&format!("?since={since}&")), "{asked}");
    }
}

#[tokio::test]
async fn what_happened_in_an_earlier_second_is_told_as_of_before() {
    let told = |time: i64| {
        let json = serde_json::json!({
            "Type": "container", "Action": "start", "time": time,
            "Actor": { "ID": "c1", "Attributes": {} },
        });
        Bytes::from(format!("{json}\n"))
    };
    // The engine's own clock: 2026-01-01T00:00:07Z.
    let pieces = [1_767_225_606, 1_767_225_607, 1_767_225_608].map(|time| Ok(told(time)));
    let pieces = std::sync::Mutex::new(Some(pieces));
    let fake = events(move || {
        let pieces = pieces.lock().unwrap().take().unwrap();
        stream::iter(pieces).chain(stream::pending())
    });
    let docker = fake.connect().await.unwrap();
    let hints: Vec<_> = subscribe(&docker).await.take(3).collect().await;
    let before: Vec<bool> = hints.into_iter().map(|hint| hint.unwrap().before).collect();
    assert_eq!(before, [true, false, false]);
}

#[tokio::test]
async fn a_lost_connection_is_one_error_and_the_end() {
    let endings: [(Vec<Chunk>, &str); 4] = [
        (vec![Ok(event(1, "start")), Err(cut())], "cannot be reached"),
        (vec![Ok(event(1, "start"))], "ended"),
        (
            vec![Ok(event(1, "start")), Ok(Bytes::from_static(b"not JSON\n"))],
            "no usable `stream`",
        ),
        (
            vec![
                Ok(event(1, "start")),
                Ok(Bytes::from_static(b"{\"Type\":\"container\"}\n")),
            ],
            "no usable `stream`",
        ),
    ];
    for (chunks, expected) in endings {
        let chunks = std::sync::Mutex::new(Some(chunks));
        let fake = events(move || {
            let chunks = chunks.lock().unwrap().take().unwrap();
            // The end comes in a packet of its own.
            stream::iter(chunks).then(async |chunk| {
                tokio::task::yield_now().await;
                chunk
            })
        });
        let docker = fake.connect().await.unwrap();
        let mut hints = subscribe(&docker).await;
        let hint = hints.next().await.unwrap().unwrap();
        assert_eq!((hint.id.as_str(), hint.action.as_str()), ("c1", "start"));
        let error = hints.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(hints.next().await.is_none());
    }
}

#[tokio::test]
async fn events_are_read_in_whatever_pieces_they_come() {
    let whole = [
        event(1, "create"),
        event(2, "exec_create: sh -c \"a\nb\""),
        event(3, "die"),
    ]
    .concat();
    for size in [1, 7, 100, 10_000] {
        let pieces: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
        let fake = events(move || stream::iter(pieces.clone()).map(Ok));
        let docker = fake.connect().await.unwrap();
        let hints: Vec<_> = subscribe(&docker).await.collect().await;
        let actions: Vec<_> = hints
            .iter()
            .filter_map(|hint| hint.as_ref().ok())
            .map(|hint| hint.action.as_str())
            .collect();
        assert_eq!(actions, ["create", "exec_create: sh -c \"a\nb\"", "die"]);
        assert_eq!(hints.len(), 4);
    }
}

/// Says when the daemon's side of a stream is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_loses_the_subscription_and_does_not_hold_up_the_engine() {
    let ended = Arc::new(Notify::new());
    let fake = events({
        let ended = Arc::clone(&ended);
        move || {
            let told = Told(Arc::clone(&ended));
            stream::iter(0..).map(move |number| {
                let _alive = &told;
                Ok(event(number, "start"))
            })
        }
    });
    let docker = fake.connect().await.unwrap();
    let hints = subscribe(&docker).await;
    // Nobody reads, and yet the engine is read from until it is let go.
    ended.notified().await;
    let hints: Vec<_> = hints.collect().await;
    assert_eq!(hints.len(), 1025);
    assert!(hints.iter().take(1024).all(Result::is_ok));
    assert!(matches!(
        hints.last(),
        Some(Err(Error::Unavailable { message, .. })) if message.contains("1024 events")
    ));
}

#[tokio::test]
async fn a_subscription_that_is_dropped_lets_the_engine_go() {
    let ended = Arc::new(Notify::new());
    let fake = events({
        let ended = Arc::clone(&ended);
        move || {
            let told = Told(Arc::clone(&ended));
            stream::pending::<Chunk>().map(move |chunk| {
                let _alive = &told;
                chunk
            })
        }
    });
    let docker = fake.connect().await.unwrap();
    drop(subscribe(&docker).await);
    tokio::time::timeout(Duration::from_mins(1), ended.notified())
        .await
        .expect("the connection is closed");
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_end() {
    let fake = events(stream::pending::<Chunk>);
    let docker = fake.connect().await.unwrap();
    let mut hints = subscribe(&docker).await;
    let week = Duration::from_hours(7 * 24);
    assert!(tokio::time::timeout(week, hints.next()).await.is_err());
}

#[tokio::test]
async fn an_action_is_cut_to_a_bounded_length() {
    let long = format!("exec_create: {}", "ä".repeat(10_000));
    let fake = events(move || stream::iter([Ok(event(1, &long))]));
    let docker = fake.connect().await.unwrap();
    let hint = subscribe(&docker).await.next().await.unwrap().unwrap();
    assert!((4090..=4096).contains(&hint.action.len()));
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_an_error() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/_ping" => "OK".into_response(),
        _ => refusal(403, "authorization denied by plugin x: no"),
    });
    let docker = fake.connect().await.unwrap();
    let refused = docker
        .subscribe(&ProjectName::new("shop"), Duration::ZERO)
        .await
        .err();
    assert!(matches!(refused, Some(Error::Refused { status: 403, .. })));
}

#[tokio::test]
async fn a_hint_about_a_process_carries_its_id() {
    let told = |attributes: serde_json::Value| {
        let json = serde_json::json!({
            "Type": "container", "Action": "exec_start: sh",
            "Actor": { "ID": "c1", "Attributes": attributes },
        });
        Bytes::from(format!("{json}\n"))
    };
    let pieces = [
        told(serde_json::json!({ "execID": "0badc0de", "name": "shop-web-1" })),
        told(serde_json::json!({ "name": "shop-web-1" })),
    ];
    let fake = events(move || {
        let pieces = pieces.clone();
        stream::iter(pieces.map(Ok)).chain(stream::pending())
    });
    let docker = fake.connect().await.unwrap();
    let mut hints = subscribe(&docker).await;
    let first = hints.next().await.unwrap().unwrap();
    assert_eq!(first.exec.as_deref(), Some("0badc0de"));
    assert_eq!(first.action, "exec_start: sh");
    let second = hints.next().await.unwrap().unwrap();
    assert_eq!(second.exec, None);
}

#[tokio::test]
async fn a_hint_about_a_rename_carries_the_name_that_was_given() {
    let told = serde_json::json!({
        "Type": "container", "Action": "rename",
        "Actor": { "ID": "c1", "Attributes": { "name": "new", "oldName": "/old" } },
    });
    let line = Bytes::from(format!("{told}\n"));
    let fake = events(move || stream::iter([Ok(line.clone())]).chain(stream::pending()));
    let docker = fake.connect().await.unwrap();
    let hint = subscribe(&docker).await.next().await.unwrap().unwrap();
    assert_eq!(
        (hint.action.as_str(), hint.name.as_str()),
        ("rename", "new")
    );
}
