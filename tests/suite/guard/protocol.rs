//! dockerd's plugin protocol, over a real socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use phoenixd::guard::{Guard, GuardDir, Site, listen, serve};
use phoenixd::sign::{self, Key, Signer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{NAME, project};

struct Running {
    _place: TempDir,
    dir: GuardDir,
    socket: PathBuf,
    server: JoinSet<std::io::Result<()>>,
    stop: CancellationToken,
}

fn running() -> Running {
    let place = tempfile::tempdir().unwrap();
    let dir = GuardDir::of(place.path());
    dir.make().unwrap();
    dir.write_project(&project()).unwrap();
    let socket = place.path().join("plugins/phoenixd.sock");
    let guard = Guard::open(dir.clone(), Site::default()).unwrap();
    let listening = listen(&socket).unwrap();
    assert!(!listening.is_inherited);
    let stop = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(serve(guard, listening.listener, stop.clone()));
    Running {
        _place: place,
        dir,
        socket,
        server,
        stop,
    }
}

/// One question as dockerd asks it.
async fn post(socket: &Path, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A guard that has read enough closes the connection.
    drop(stream.write_all(body).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .map_or(0, |status| status.parse().unwrap());
    (status, body.to_owned())
}

async fn ask(socket: &Path, path: &str, question: &Value) -> Value {
    let (status, body) = post(socket, path, question.to_string().as_bytes()).await;
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_guard_says_what_it_is_and_answers_both_questions() {
    let mut running = running();
    let socket = running.socket.clone();
    let activate = ask(&socket, "/Plugin.Activate", &json!({})).await;
    assert_eq!(activate, json!({ "Implements": ["authz"] }));
    let exec = json!({
        "RequestMethod": "POST",
        "RequestUri": format!("/v1.41/containers/{NAME}/exec"),
        "RequestHeaders": { "Content-Type": "application/json", "Content-Length": "2" },
        "RequestBody": STANDARD.encode("{}"),
    });
    let answer = ask(&socket, "/AuthZPlugin.AuthZReq", &exec).await;
    assert_eq!(answer["Allow"], false);
    assert!(answer["Msg"].as_str().unwrap().contains(NAME), "{answer}");
    let ping = json!({ "RequestMethod": "GET", "RequestUri": "/_ping", "RequestHeaders": null, "RequestBody": null });
    assert_eq!(
        ask(&socket, "/AuthZPlugin.AuthZReq", &ping).await,
        json!({ "Allow": true })
    );
    assert_eq!(
        ask(&socket, "/AuthZPlugin.AuthZRes", &exec).await,
        json!({ "Allow": true })
    );
    running.stop.cancel();
    running.server.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_question_of_dockerd_s_is_denied() {
    let running = running();
    for body in [
        "",
        "x",
        "[]",
        r#"{"RequestBody":"%%"}"#,
        r#"{"RequestMethod":7}"#,
    ] {
        let (status, text) = post(&running.socket, "/AuthZPlugin.AuthZReq", body.as_bytes()).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["Allow"]), (200, &json!(false)), "{body}");
    }
    let (status, _) = post(
        &running.socket,
        "/AuthZPlugin.AuthZReq",
        &vec![b' '; 17 << 20],
    )
    .await;
    assert_ne!(status, 200, "more than any question has");
}

async fn is_allowed(socket: &Path, question: &Value) -> bool {
    ask(socket, "/AuthZPlugin.AuthZReq", question).await["Allow"] == true
}

#[tokio::test]
async fn a_container_of_phoenixd_s_is_managed_from_the_answer_to_its_create_on() {
    let running = running();
    let key = Key::read(&running.dir.key()).unwrap();
    let uri = "/v1.41/containers/create?name=any-name";
    let id = "d".repeat(64);
    let body = r#"{"Image":"i"}"#;
    let value = Signer::new(key)
        .sign("POST", uri, &sign::body_hash(body.as_bytes()))
        .unwrap();
    let mut create = json!({
        "RequestMethod": "POST",
        "RequestUri": uri,
        "RequestHeaders": { "Content-Type": "application/json", "X-Phoenixd-Signature": value },
        "RequestBody": STANDARD.encode(body),
    });
    let mut exec = json!({
        "RequestMethod": "POST",
        "RequestUri": format!("/containers/{}/exec", &id[..12]),
        "RequestHeaders": { "Content-Type": "application/json" },
        "RequestBody": STANDARD.encode("{}"),
    });
    assert!(is_allowed(&running.socket, &create).await);
    assert!(
        is_allowed(&running.socket, &exec).await,
        "nothing is known of this id yet"
    );
    create["ResponseStatusCode"] = json!(201);
    create["ResponseBody"] = json!(STANDARD.encode(json!({ "Id": id }).to_string()));
    ask(&running.socket, "/AuthZPlugin.AuthZRes", &create).await;
    assert!(!is_allowed(&running.socket, &exec).await);
    // An answer that nobody asked for with a signature teaches nothing.
    let other = "e".repeat(64);
    create["RequestHeaders"]["X-Phoenixd-Signature"] = json!("v1 1-0000000000000000 00");
    create["ResponseBody"] = json!(STANDARD.encode(json!({ "Id": other }).to_string()));
    ask(&running.socket, "/AuthZPlugin.AuthZRes", &create).await;
    exec["RequestUri"] = json!(format!("/containers/{other}/exec"));
    assert!(is_allowed(&running.socket, &exec).await);
}

fn create(host: &Value) -> Value {
    let create = json!({ "Image": "i", "HostConfig": host }).to_string();
    json!({
        "RequestMethod": "POST",
        "RequestUri": "/v1.41/containers/create?name=x",
        "RequestHeaders": { "Content-Type": "application/json" },
        "RequestBody": STANDARD.encode(create),
    })
}

#[tokio::test]
async fn a_path_is_judged_by_where_it_leads_on_this_host() {
    let running = running();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("{}/{name}", place.path().display());
    std::fs::create_dir(at("data")).unwrap();
    for (name, to) in [
        ("root", "/"),
        ("by-way", "root/proc"),
        ("socket", "/run"),
        ("beside", "./data"),
    ] {
        std::os::unix::fs::symlink(to, at(name)).unwrap();
    }
    for (name, is_free) in [
        ("data", true),
        ("beside", true),
        ("none/yet", true),
        ("root", false),
        ("root/etc", false),
        ("by-way", false),
        ("socket/x", false),
        // Cleaned before it is followed: `data/..` is no way around.
        ("data/../root", false),
        ("none/../by-way", false),
        ("root/tmp/..", false),
    ] {
        let host = json!({ "Binds": [format!("{}:/h", at(name))] });
        assert_eq!(
            is_allowed(&running.socket, &create(&host)).await,
            is_free,
            "{name}"
        );
        let deep: Vec<String> = (0..64)
            .map(|number| format!("{}{}:/{number}", at(&number.to_string()), "/d".repeat(50)))
            .collect();
        let host = json!({ "Binds": deep });
        assert!(is_allowed(&running.socket, &create(&host)).await);
    }
}

#[tokio::test]
async fn an_answer_takes_less_than_five_milliseconds() {
    let running = running();
    let host = json!({ "Binds": ["/srv/www:/w", "/usr/share/zoneinfo:/z"] });
    let question = create(&host);
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = phoenixd::clock::boot_now();
        let answer = ask(&running.socket, "/AuthZPlugin.AuthZReq", &question).await;
        assert_eq!(answer["Allow"], true, "{answer}");
        took.push(phoenixd::clock::boot_now().saturating_sub(began));
    }
    took.sort();
    // The half, for the machine may be busy; a guard that asked dockerd or synced a file would be beyond it.
    assert!(took[100] < Duration::from_millis(5), "{:?}", took[100]);
}
