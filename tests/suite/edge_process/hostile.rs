//! What should not be said on a control socket: it ends that connection, with a reason, and nothing else.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use phoenixd::edge::control::may_control;
use phoenixd::edge::control::wire::{self, Asked, LINE_BYTES, Role, Said, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Place, Served, Supervisor, ask, connect, who};
use crate::support::eventually;

/// Says the bytes, and reads to the end of the connection: the last line.
async fn last_word(place: &Place, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(place.socket(1)).await.unwrap();
    // The edge may close before it has taken everything.
    stream.write_all(bytes).await.ok();
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        heard.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8(heard).unwrap();
    text.lines().last().unwrap_or_default().to_owned()
}

fn hello(role: Role) -> String {
    String::from_utf8(wire::encode_hello(Some(role)).unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_the_reason_and_harms_no_one() {
    let Served {
        place,
        supervisor,
        ports,
        a,
    } = Served::by(1, 1).await;
    let mut kept = connect(&ports[0]).await.unwrap();
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    let edge = hello(Role::Edge);
    let long = "x".repeat(LINE_BYTES + 1);
    for (said, reason) in [
        ("hello\n".to_owned(), "not understood"),
        ("\u{0}\u{1}\u{2}\n".to_owned(), "not understood"),
        (long.clone(), "a line of more than"),
        (format!("{edge}{long}"), "a line of more than"),
        (
            "{\"hello\":{\"version\":7,\"oldest\":6}}\n".to_owned(),
            "speaks versions 6 to 7 of the edge's control",
        ),
        (
            "{\"hello\":{\"version\":0}}\n".to_owned(),
            "speaks versions 0 to 0",
        ),
        (
            "{\"hello\":{\"version\":1}}\n".to_owned(),
            "does not belong",
        ),
        (format!("{edge}{{\"taken\":{{}}}}\n"), "does not belong"),
        (format!("{edge}{{\"stop\":{{}}}}\n"), "not understood"),
        (
            format!("{edge}{{\"take_over\":{{\"from\":3}}}}\n"),
            "does not belong",
        ),
    ] {
        let last = last_word(&place, said.as_bytes()).await;
        let short: String = said.chars().take(60).collect();
        assert!(
            last.starts_with("{\"refused\":") && last.contains(reason),
            "{short}: {last}"
        );
    }
    // Half a line, and no more.
    let mut half = UnixStream::connect(place.socket(1)).await.unwrap();
    half.write_all(b"{\"hello\":").await.unwrap();
    drop(half);
    assert!(supervisor.link.borrow().is_connected);
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    assert_eq!(who(&ports[0]).await, "a");
    supervisor.route(2, &ports, &[&a]).await;
}

#[tokio::test]
async fn more_connections_than_anybody_needs_harm_no_one() {
    let Served {
        place,
        supervisor,
        ports,
        a,
    } = Served::by(1, 1).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(UnixStream::connect(place.socket(1)).await.unwrap());
    }
    supervisor.route(2, &ports, &[&a]).await;
    assert_eq!(who(&ports[0]).await, "a");
}

#[tokio::test]
async fn a_table_with_more_than_there_can_be_changes_nothing() {
    let Served {
        place,
        supervisor,
        ports,
        ..
    } = Served::by(1, 1).await;
    drop(supervisor);
    let listener = "{\"key\":{\"host_ip\":null,\"host_port\":1,\"target\":1,\"transport\":\"tcp\"},\"bind\":[],\
        \"forwarding\":{\"protocol\":\"tcp\",\"balance\":\"least_conn\"},\"backends\":[]}";
    let twice = format!("{listener},{listener}");
    let table = format!(
        "{}{{\"table\":{{\"stamp\":{{\"session\":1,\"epoch\":1}},\"listeners\":[{twice}],\"draining\":[]}}}}\n",
        hello(Role::Supervisor)
    );
    let last = last_word(&place, table.as_bytes()).await;
    assert!(last.contains("a listener is there twice"), "{last}");
    assert_eq!(who(&ports[0]).await, "a");
}

#[test]
fn only_root_and_the_edge_s_own_user_may_control_it() {
    assert!(may_control(0, 1000));
    assert!(may_control(1000, 1000));
    assert!(may_control(0, 0));
    assert!(!may_control(1001, 1000));
    assert!(!may_control(1000, 0));
}

/// Where the test is root, a process of another user really tries: the socket's mode aside, so that the edge must.
#[tokio::test]
async fn a_process_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor.link(|link| link.is_connected).await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.socket(1)), 0o660);
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(place.path(), 0o755);
    open(&place.socket(1), 0o666);
    // A second edge, of another user, is such a process: it is told to take over.
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), 0o777);
    std::os::unix::fs::symlink(place.socket(1), directory.path().join("1.sock")).unwrap();
    let binary = directory.path().join("phoenixd");
    std::fs::copy(env!("CARGO_BIN_EXE_phoenixd"), &binary).unwrap();
    open(&binary, 0o755);
    let mut stranger = std::process::Command::new(&binary)
        .args(["edge", "--serial", "2", "--dir"])
        .arg(directory.path())
        .env_clear()
        .uid(65_534)
        .gid(65_534)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let path = directory.path().join("2.sock");
    let look = async || UnixStream::connect(&path).await;
    let mut stream = eventually("the other edge listens", look, Result::is_ok)
        .await
        .unwrap();
    let take = wire::encode(&Asked::TakeOver { from: 1 }).unwrap();
    stream
        .write_all(hello(Role::Supervisor).as_bytes())
        .await
        .unwrap();
    stream.write_all(&take).await.unwrap();
    let mut heard = Vec::new();
    let refused = "uid 65534 may not control this edge";
    while !String::from_utf8_lossy(&heard).contains(refused) {
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "never told");
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let said = supervisor.says(|said| said.serial == 1).await;
    assert_eq!(said.stage, Stage::Idle);
}

#[test]
fn a_folder_that_cannot_have_the_socket_is_told() {
    let place = Place::new();
    let long = place.path().join("x".repeat(100));
    std::fs::create_dir(&long).unwrap();
    let file = place.path().join("7.sock");
    std::fs::File::create(&file)
        .unwrap()
        .write_all(b"!")
        .unwrap();
    for (dir, serial, reason) in [
        (long.as_path(), "1", "has at most 107"),
        (&place.path().join("missing"), "1", "cannot bind"),
        (place.path(), "7", "is no socket"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_phoenixd"))
            .args(["edge", "--serial", serial, "--dir"])
            .arg(dir)
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(said.contains(reason) && said.contains("hint"), "{said}");
    }
}

#[tokio::test]
async fn two_edges_cannot_have_one_number() {
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor.link(|link| link.is_connected).await;
    let second = place.command(1).stderr(Stdio::piped()).spawn().unwrap();
    let output = second.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("another edge listens"),
        "{said}"
    );
    assert!(supervisor.link.borrow().is_connected);
}

/// The supervisor is as careful with what an edge says.
#[tokio::test]
async fn a_supervisor_is_not_led_astray_by_what_an_edge_says() {
    let place = Place::new();
    let listener = tokio::net::UnixListener::bind(place.socket(1)).unwrap();
    let supervisor = Supervisor::of(&place, 1);
    let wrong_version = "{\"hello\":{\"version\":9,\"oldest\":9}}\n".to_owned();
    let greeting = String::from_utf8(wire::encode_hello(None).unwrap()).unwrap();
    let released = String::from_utf8(wire::encode(&Said::Released {}).unwrap()).unwrap();
    for (said, reason) in [
        (wrong_version, "speaks versions 9 to 9"),
        (format!("{greeting}nonsense\n"), "not understood"),
        (format!("{greeting}{released}"), "does not belong"),
        (
            "{\"refused\":{\"why\":\"not you\"}}\n".to_owned(),
            "refused: not you",
        ),
    ] {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let is_told = |why: &String| why.contains(reason);
        supervisor
            .link(|link| link.trouble.as_ref().is_some_and(is_told))
            .await;
        assert!(!supervisor.link.borrow().is_connected);
    }
}
