//! A capture: whole or not there, for its owner alone, with the digest of everything, and without secrets.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenixd::spec::{ReplicaName, Serial, ServiceName};
use phoenixd::witness::evidence::{
    Captured, Piece, Request, Retention, Secrets, capture, clear_partial,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::tree::{Tree, id};

/// A container with something in memory and in its layer, and where its evidence goes.
struct Scene {
    tree: Tree,
    upper: TempDir,
    state: TempDir,
    request: Request,
}

fn piece(name: &'static str, content: &str) -> Piece {
    Piece {
        name,
        content: Ok(content.as_bytes().to_vec()),
    }
}

impl Scene {
    fn new() -> Self {
        let (tree, upper) = (Tree::new(), tempfile::tempdir().expect("a folder"));
        let state = tempfile::tempdir().expect("a folder");
        let inside = tree.root().join("inside");
        fs::create_dir_all(inside.join("tmp/deep")).expect("create");
        fs::write(
            inside.join("tmp/deep/dropped"),
            "#!/bin/sh\necho hunter22\n",
        )
        .expect("write");
        symlink("/etc/passwd", inside.join("tmp/link")).expect("link");
        symlink("/etc", inside.join("tmp/folder")).expect("link");
        mknodat(CWD, inside.join("tmp/pipe"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        fs::write(upper.path().join("was-here"), "x").expect("write");
        symlink(&inside, tree.path(100).join("root")).expect("link");
        let mounts = fs::read_to_string(tree.path(100).join("mountinfo")).expect("read");
        let mounts =
            mounts + "9 1 0:9 / /tmp rw - tmpfs tmpfs rw\n10 1 0:9 / /gone rw - tmpfs tmpfs rw\n";
        fs::write(tree.path(100).join("mountinfo"), mounts).expect("write");
        let request = Request {
            directory: state.path().join("p/evidence"),
            replica: ReplicaName::new(ServiceName::new("web"), Serial(3)),
            id: id("0f"),
            proc_root: Some(tree.root()),
            upper: Some(upper.path().to_owned()),
            secrets: Secrets::new([b"hunter22\n".to_vec()]),
            retention: Retention::STANDARD,
            limit: Duration::from_secs(20),
        };
        Self {
            tree,
            upper,
            state,
            request,
        }
    }

    fn capture(&self) -> Captured {
        let failed = Piece {
            name: "top.json",
            content: Err("it is frozen".to_owned()),
        };
        let inspect = r#"{"Config":{"Env":["DB_PASSWORD=abc","A=hunter22"]}}"#;
        let pieces = vec![
            piece("inspect.json", inspect),
            failed,
            piece("logs.txt", "pw hunter22"),
        ];
        capture(&self.request, pieces).expect("captured")
    }

    fn captures(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.request.directory).expect("read");
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
        all.sort();
        all
    }
}

fn manifest(captured: &Captured) -> Value {
    let text = fs::read(captured.directory.join("manifest.json")).expect("read");
    assert_eq!(hex::encode(Sha256::digest(&text)), captured.digest);
    serde_json::from_slice(&text).expect("JSON")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

#[test]
fn evidence_has_the_digest_of_everything_and_is_for_its_owner_alone() {
    let scene = Scene::new();
    let captured = scene.capture();
    assert_eq!(captured.missing, ["top.json: it is frozen"]);
    let manifest = manifest(&captured);
    assert_eq!(mode(&captured.directory), 0o700);
    assert_eq!(mode(&scene.request.directory), 0o700);
    let mut named = 1;
    for file in manifest["files"].as_array().expect("files") {
        let Some(name) = file["name"].as_str() else {
            continue;
        };
        named += 1;
        let path = captured.directory.join(name);
        let bytes = fs::read(&path).expect("read");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(
            file["sha256"],
            hex::encode(Sha256::digest(&bytes)),
            "{name}"
        );
    }
    assert_eq!(
        fs::read_dir(&captured.directory).expect("read").count(),
        named
    );
    let processes = fs::read(captured.directory.join("processes.json")).expect("read");
    let processes: Value = serde_json::from_slice(&processes).expect("JSON");
    let pids: Vec<&Value> = (processes.as_array().expect("a list").iter())
        .map(|process| &process["pid"])
        .collect();
    assert_eq!(pids, [100, 101]);
    let nothing = hex::encode(Sha256::digest(b""));
    assert_eq!(processes[1]["program_sha256"], nothing);
    assert!(scene.state.path().exists() && scene.upper.path().exists());
}

#[test]
fn files_of_the_container_are_kept_and_no_link_of_it_is_followed() {
    let scene = Scene::new();
    let manifest = manifest(&scene.capture());
    let about = |path: &str| {
        let files = manifest["files"].as_array().expect("files").iter();
        let mut found = files.filter(|file| file["about"]["path"] == path);
        found
            .next()
            .unwrap_or_else(|| panic!("{path}: {manifest:#}"))
            .clone()
    };
    assert_eq!(about("/tmp/deep/dropped")["about"]["kind"], "file");
    assert_eq!(about("/was-here")["bytes"], 1);
    assert_eq!(about("/tmp/link")["about"]["kind"], "link");
    assert_eq!(about("/tmp/folder")["about"]["kind"], "link");
    assert_eq!(about("/tmp/pipe")["about"]["kind"], "fifo");
    assert!(!manifest.to_string().contains("/tmp/folder/"));
}

#[test]
fn nothing_of_a_capture_has_a_secret_in_it() {
    let scene = Scene::new();
    let captured = scene.capture();
    for entry in fs::read_dir(&captured.directory).expect("read") {
        let path = entry.expect("entry").path();
        let text = String::from_utf8_lossy(&fs::read(&path).expect("read")).into_owned();
        assert!(
            !text.contains("hunter22") && !text.contains("abc"),
            "{path:?}: {text}"
        );
    }
}

#[test]
fn what_was_captured_whole_is_not_captured_again_and_what_a_crash_left_is_cleared_at_the_next_start()
 {
    let scene = Scene::new();
    clear_partial(&scene.request.directory).expect("nothing was ever captured");
    let left = scene
        .request
        .directory
        .join("web-3-20260101T000000000Z.partial");
    fs::create_dir_all(&left).expect("create");
    fs::write(left.join("manifest.json"), "{}").expect("write");
    let first = scene.capture();
    assert_eq!(scene.capture(), first);
    assert_eq!(scene.captures(), [left, first.directory.clone()]);
    clear_partial(&scene.request.directory).expect("cleared");
    assert_eq!(scene.captures(), [first.directory]);
}

#[test]
fn replicas_that_are_touched_at_the_same_time_all_leave_evidence() {
    const REPLICAS: u64 = 8;
    let mut scene = Scene::new();
    // Each removes what is too much, too: before, and while the others are written.
    scene.request.retention.count = usize::try_from(REPLICAS).expect("a few");
    let earlier = scene.capture().directory;
    let captured: Vec<Captured> = std::thread::scope(|scope| {
        let all: Vec<_> = (1..=REPLICAS)
            .map(|serial| {
                let request = Request {
                    replica: ReplicaName::new(ServiceName::new("api"), Serial(serial)),
                    id: id(&format!("{serial:02x}")),
                    ..scene.request.clone()
                };
                scope.spawn(move || {
                    let large = vec![b'x'; 1 << 20];
                    let piece = |name| Piece {
                        name,
                        content: Ok(large.clone()),
                    };
                    capture(&request, vec![piece("log"), piece("inspect.json")])
                })
            })
            .collect();
        let all = all.into_iter().map(|one| one.join().expect("no panic"));
        all.map(|one| one.expect("captured")).collect()
    });
    for one in &captured {
        manifest(one);
    }
    let mut directories: Vec<PathBuf> = captured.into_iter().map(|one| one.directory).collect();
    directories.sort();
    assert_eq!(
        scene.captures(),
        directories,
        "and not {}",
        earlier.display()
    );
}

#[test]
fn evidence_that_cannot_be_written_leaves_nothing_half_done() {
    let scene = Scene::new();
    // Two pieces of one name cannot both be kept.
    let pieces = vec![piece("log", "one"), piece("log", "two")];
    capture(&scene.request, pieces).expect_err("refused");
    assert_eq!(scene.captures(), Vec::<PathBuf>::new());
}

#[test]
fn the_oldest_evidence_goes_and_the_newest_stays_whatever_the_limits_are() {
    let mut scene = Scene::new();
    scene.request.retention.count = 2;
    let mut captured = Vec::new();
    for serial in 1..=3 {
        scene.request.replica = ReplicaName::new(ServiceName::new("web"), Serial(serial));
        captured.push(scene.capture().directory);
    }
    assert_eq!(scene.captures(), captured[1..]);
    scene.request.retention.bytes = 0;
    scene.request.replica = ReplicaName::new(ServiceName::new("web"), Serial(4));
    let last = scene.capture().directory;
    assert_eq!(scene.captures(), [last]);
}

#[test]
fn without_the_engine_s_host_or_a_process_the_engine_s_answers_are_the_evidence() {
    let mut scene = Scene::new();
    scene.request.proc_root = None;
    let captured = scene.capture();
    let expected = [
        "top.json: it is frozen",
        "processes.json: the engine's host is another one",
    ];
    assert_eq!(captured.missing, expected);
    let mut scene = Scene::new();
    for pid in [100, 101] {
        scene.tree.end(pid);
    }
    scene.request.limit = Duration::ZERO;
    assert!(scene.capture().missing.len() > 1);
}
