//! The API as the command line meets it: a server and clients over a socket in a temporary state directory.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod desk;
mod hostile;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use phoenixd::api::{
    BindError, Client, ClientError, CommandRequest, Problem, RequestBody, RequestPhase, bind, rows,
};
use phoenixd::reconcile::{ReplicaStatus, RequestState, Stage, Status, Time};
use phoenixd::spec::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use self::desk::{
    Desk, PATIENCE, bound_but_deaf, now, pending, read, ready, state_directory, status,
};

#[test]
fn a_row_has_these_keys_in_this_order() {
    let status = Status {
        replicas: vec![ready("web", 1)],
        ..Status::default()
    };
    insta::assert_snapshot!(serde_json::to_string_pretty(&rows(&status, now())).unwrap(), @r#"
    [
      {
        "service": "web",
        "replica": "web-1",
        "container_id": "4f1d9c",
        "stage": "ready",
        "ready": true,
        "age_seconds": 59,
        "ttl_remaining_seconds": 240,
        "generation": 3,
        "waiting_on": null,
        "tainted": null,
        "glass": null
      }
    ]
    "#);
}

#[test]
fn a_missing_replica_has_a_row_after_those_of_its_service() {
    let status = status();
    let table: Vec<String> = rows(&status, now())
        .iter()
        .map(|row| serde_json::to_string(row).unwrap())
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    {"service":"db","replica":"db-9","container_id":"4f1d9c","stage":"ready","ready":true,"age_seconds":59,"ttl_remaining_seconds":240,"generation":3,"waiting_on":null,"tainted":null,"glass":null}
    {"service":"db","replica":null,"container_id":null,"stage":"missing","ready":false,"age_seconds":null,"ttl_remaining_seconds":null,"generation":3,"waiting_on":"backoff, 4.0 s left after failure 2: exited with 1","tainted":null,"glass":null}
    {"service":"db","replica":null,"container_id":null,"stage":"missing","ready":false,"age_seconds":null,"ttl_remaining_seconds":null,"generation":3,"waiting_on":"backoff, 4.0 s left after failure 2: exited with 1","tainted":null,"glass":null}
    {"service":"web","replica":"web-1","container_id":"4f1d9c","stage":"ready","ready":true,"age_seconds":59,"ttl_remaining_seconds":240,"generation":3,"waiting_on":null,"tainted":null,"glass":null}
    {"service":"web","replica":"web-2","container_id":null,"stage":"creating","ready":false,"age_seconds":null,"ttl_remaining_seconds":null,"generation":3,"waiting_on":"create under way","tainted":null,"glass":null}
    "#);
}

#[test]
fn what_is_overdue_by_anything_is_negative() {
    for (deadline_ms, stage, expected) in [
        (1_000_900, Stage::Ready, Some(0)),
        (1_000_000, Stage::Ready, Some(0)),
        (999_999, Stage::Ready, Some(-1)),
        (999_000, Stage::Draining, Some(-1)),
        (998_999, Stage::Stopping, Some(-2)),
        (990_000, Stage::Exited, None),
    ] {
        let replica = ReplicaStatus {
            deadline: Some(Time::from_boot(Duration::from_millis(deadline_ms))),
            stage,
            ..ready("web", 1)
        };
        let status = Status {
            replicas: vec![replica],
            ..Status::default()
        };
        let remaining = rows(&status, now())[0].ttl_remaining_seconds;
        assert_eq!(remaining, expected, "{deadline_ms}");
    }
}

/// What a person reads: the error, and what to do.
fn told(error: &ClientError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn the_status_arrives_as_it_is() {
    let desk = Desk::new();
    let body = desk.client().await.status().await.unwrap();
    assert_eq!(body.replicas, rows(&status(), now()));
    desk.change(|snapshot| {
        snapshot.status.replicas.clear();
        snapshot.status.services.pop_last();
        snapshot.status.engine_error = Some("no such host".to_owned());
        snapshot.status.journal_error = Some("no space left".to_owned());
    });
    let mut body = desk.client().await.status().await.unwrap();
    assert_eq!(body.replicas.len(), 2, "the missing ones");
    body.replicas.clear();
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "project": "shop",
      "phase": "running",
      "engine": {
        "version": "29.1.3",
        "api_version": "1.52"
      },
      "engine_error": "no such host",
      "journal_error": "no space left",
      "replicas": [],
      "unverified": [],
      "outside": [
        "network shop_default was removed from outside 40s ago"
      ],
      "services": {
        "db": {
          "wanted": 3,
          "ready": 1,
          "missing": 2,
          "generation": 3,
          "failures": 2,
          "last_failure": "exited with 1",
          "waiting_on": "backoff, 4.0 s left after failure 2: exited with 1"
        }
      },
      "supervisor": {
        "pid": 4711,
        "version": "0.1.0",
        "since": "2026-01-02T03:04:05Z",
        "uptime_seconds": 100
      }
    }
    "#);
}

#[tokio::test]
async fn a_recycle_is_answered_with_a_number_that_is_known() {
    let mut desk = Desk::new();
    let client = desk.client().await;
    let names = ["web".to_owned()];
    let (number, services) = tokio::join!(client.recycle(&names), desk.accept_recycle(7));
    assert_eq!(number.unwrap(), 7);
    assert_eq!(services, BTreeSet::from([ServiceName::new("web")]));
    assert_eq!(client.request(7).await.unwrap(), pending(2));
}

#[tokio::test]
async fn a_wait_for_a_request_ends_when_the_request_does() {
    for (end, expected) in [
        (RequestState::Done, (RequestPhase::Done, None)),
        (
            RequestState::Failed("no image".to_owned()),
            (RequestPhase::Failed, Some("no image".to_owned())),
        ),
    ] {
        let desk = Desk::new();
        desk.request(7, RequestState::Pending(2));
        let client = desk.client().await;
        let wait = async { client.wait_request(7).await.unwrap() };
        let work = async {
            // The wait goes on over what is not its end; the order of both does not matter.
            for left in [1, 0] {
                desk.request(7, RequestState::Pending(left));
                tokio::task::yield_now().await;
            }
            desk.request(7, end);
        };
        let (over, ()) = timeout(PATIENCE, async { tokio::join!(wait, work) })
            .await
            .unwrap();
        let (state, error) = expected;
        let left = 0;
        assert_eq!(over, RequestBody { state, left, error });
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_with_what_does() {
    let desk = Desk::new();
    let client = desk.client().await;
    let unknown = ["web".to_owned(), "wbe".to_owned()];
    let error = client.recycle(&unknown).await.unwrap_err();
    assert_eq!(
        told(&error),
        "no such service: `wbe`; the services are: db, web"
    );
    assert!(matches!(error, ClientError::Refused { status: 404, .. }));
    let error = client.wait_request(9).await.unwrap_err();
    assert_eq!(
        told(&error),
        "there is no request 9; a supervisor knows the requests that were made since it began"
    );
    desk.change(|snapshot| snapshot.status.services.clear());
    let error = client.recycle(&unknown).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 503, .. }));
}

#[tokio::test]
async fn a_down_is_answered_with_what_is_left_even_when_the_supervisor_ends_at_once() {
    let mut desk = Desk::new();
    let client = desk.client().await;
    let work = async {
        match desk.commands.recv().await.unwrap() {
            CommandRequest::Down { volumes, reply } => {
                assert!(volumes);
                reply.send(Ok(())).unwrap();
            }
            other @ (CommandRequest::Recycle { .. }
            | CommandRequest::BreakGlass { .. }
            | CommandRequest::EndGlass { .. }) => panic!("{other:?}"),
        }
        desk.change(|snapshot| {
            snapshot.finished = true;
            snapshot.status.left = vec!["volume data: in use".to_owned()];
        });
        desk.end().await;
    };
    let (down, ()) = tokio::join!(client.down(true), work);
    let down = down.unwrap();
    assert!(down.finished);
    assert_eq!(down.left, ["volume data: in use"]);
}

#[tokio::test]
async fn a_refusal_of_the_supervisor_reaches_the_one_who_asked() {
    let mut desk = Desk::new();
    let client = desk.client().await;
    let work = async {
        match desk.commands.recv().await.unwrap() {
            CommandRequest::Recycle { reply, .. } => {
                let no = Problem::new("everything is being removed");
                reply.send(Err(no)).unwrap();
            }
            other @ (CommandRequest::Down { .. }
            | CommandRequest::BreakGlass { .. }
            | CommandRequest::EndGlass { .. }) => panic!("{other:?}"),
        }
    };
    let (error, ()) = tokio::join!(client.recycle(&[]), work);
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "everything is being removed");
    assert!(matches!(error, ClientError::Refused { status: 409, .. }));
}

#[tokio::test]
async fn a_supervisor_that_drops_a_command_is_ending() {
    let mut desk = Desk::new();
    let client = desk.client().await;
    let work = async { drop(desk.commands.recv().await) };
    let (error, ()) = tokio::join!(client.down(false), work);
    assert_eq!(
        told(&error.unwrap_err()),
        "the supervisor is ending; `phoenixd up` starts it again"
    );
}

#[tokio::test]
async fn shutdown_ends_open_waits_and_half_sent_requests() {
    let mut desk = Desk::new();
    desk.request(7, RequestState::Pending(2));
    let client = desk.client().await;
    // Never sends the rest of its head.
    let mut half = UnixStream::connect(desk.socket()).await.unwrap();
    half.write_all(b"GET /v1/st").await.unwrap();
    let wait = desk.raw_open("GET", "/v1/requests/7?wait=true", "").await;
    let late = async {
        // The open wait is being served once a later request was.
        client.status().await.unwrap();
        desk.end().await;
    };
    timeout(PATIENCE, late).await.unwrap();
    let answer = read(wait).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("the supervisor is ending"), "{answer}");
}

#[tokio::test]
async fn where_no_supervisor_runs_the_error_says_how_to_start_one() {
    let directory = state_directory();
    let socket = directory.path().join("api.sock");
    let absent = Client::connect(&socket).await.unwrap_err();
    let _stale = bound_but_deaf(&socket);
    let stale = Client::connect(&socket).await.unwrap_err();
    for error in [absent, stale] {
        let text = told(&error).replace(socket.to_str().unwrap(), "SOCKET");
        assert_eq!(
            text,
            "no supervisor is running for this project (nobody answers at `SOCKET`); `phoenixd up` starts one"
        );
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let directory = state_directory();
    let socket = directory.path().join("api.sock");
    drop(bind(&socket).unwrap());
    // As if killed between the bind and the move.
    std::fs::rename(&socket, directory.path().join("api.sock.new")).unwrap();
    drop(bind(&socket).unwrap());
    let listener = bind(&socket).unwrap();
    let (connected, _) = tokio::join!(UnixStream::connect(&socket), listener.accept());
    drop(connected.unwrap());
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");

    let file = directory.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    assert!(matches!(bind(&file), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
}

#[tokio::test]
async fn nobody_else_can_open_the_socket() {
    let directory = state_directory();
    let socket = directory.path().join("api.sock");
    let _listener = bind(&socket).unwrap();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for mode in [0o755, 0o710, 0o701] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path(), permissions).unwrap();
        let error = bind(&socket).unwrap_err();
        assert!(matches!(error, BindError::OpenDirectory { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_path_that_is_too_long_is_said_to_be() {
    let directory = state_directory();
    let error = bind(&directory.path().join("s".repeat(120))).unwrap_err();
    assert!(matches!(error, BindError::TooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_as_json() {
    let desk = Desk::new();
    let long = format!(r#"{{"services": ["{}"]}}"#, "x".repeat(70_000));
    let mut answers = Vec::new();
    for (method, path, body) in [
        ("GET", "/", ""),
        ("DELETE", "/v1/status", ""),
        ("GET", "/v1/requests/first", ""),
        ("GET", "/v1/requests/1?wait=maybe", ""),
        ("POST", "/v1/recycle", ""),
        ("POST", "/v1/recycle", r#"{"service": ["web"]}"#),
        ("POST", "/v1/recycle", &long),
        ("POST", "/v1/down", r#"{"volumes": 1}"#),
    ] {
        let answer = desk.raw(method, path, body).await;
        answers.push(format!("{method} {path}: {answer}"));
    }
    insta::assert_snapshot!(answers.join("\n"), @r#"
    GET /: 404 {"error":"there is no `/` here","hint":"see /v1/status, /v1/recycle, /v1/break-glass, /v1/requests/N, /v1/down"}
    DELETE /v1/status: 405 {"error":"`/v1/status` does not take DELETE","hint":null}
    GET /v1/requests/first: 404 {"error":"Invalid URL: Cannot parse `first` to a `u64`","hint":null}
    GET /v1/requests/1?wait=maybe: 400 {"error":"Failed to deserialize query string: wait: provided string was not `true` or `false`","hint":null}
    POST /v1/recycle: 400 {"error":"the body is not what is expected: EOF while parsing a value at line 1 column 0","hint":null}
    POST /v1/recycle: 400 {"error":"the body is not what is expected: unknown field `service`, expected `services` at line 1 column 10","hint":null}
    POST /v1/recycle: 413 {"error":"the body has more than 65536 bytes","hint":null}
    POST /v1/down: 400 {"error":"the body is not what is expected: invalid type: integer `1`, expected a boolean at line 1 column 13","hint":null}
    "#);
}

#[tokio::test]
async fn more_connections_than_are_served_wait_their_turn() {
    let desk = Desk::new();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(UnixStream::connect(desk.socket()).await.unwrap());
    }
    let mut waiting = desk.raw_open("GET", "/v1/status", "").await;
    idle.pop();
    let mut first = [0; 12];
    timeout(PATIENCE, waiting.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}
