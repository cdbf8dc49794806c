//! The `packaged` target of the Dockerfile: this very binary as an image, and phoenixd at work in a container of it.
//!
//! The image is also what the replica runs (`demo-app`), so nothing is pulled. Plain HTTP/1.0 to the engine, as the
//! classic builder takes it: what is tested here is the image, and not phoenixd's own way to the engine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::park_timeout;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::unique;
use crate::ports;

/// Looks at something so many times at most, this far apart: half a minute, which no engine takes.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The engine's socket.
fn socket() -> String {
    let host = std::env::vars().find_map(|(name, value)| (name == "DOCKER_HOST").then_some(value));
    match host {
        None => "/var/run/docker.sock".to_owned(),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => path.to_owned(),
            None => {
                panic!("this test needs an engine with a unix socket, and DOCKER_HOST is {host}")
            }
        },
    }
}

/// One request, one answer.
fn call(method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = UnixStream::connect(socket()).expect("a Docker Engine answers");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    // In one piece: an engine that needs no body may have answered and closed before a second one.
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    // An engine that closes before it has read the last padding of an archive resets the socket; the kernel tells of it
    // once, and what was answered is there all the same.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        stream.read_to_end(&mut answer).unwrap();
    }
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap();
    (status, answer[end + 4..].to_vec())
}

/// A request with JSON that has to succeed.
fn json_call(method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = call(
        method,
        path,
        "application/json",
        body.to_string().as_bytes(),
    );
    let text = String::from_utf8_lossy(&answer);
    assert!(status < 400, "{method} {path}: {status} {text}");
    serde_json::from_slice(&answer).unwrap_or_default()
}

/// Everything that the test makes, and removes also when it fails.
struct World {
    /// Of the image, the volume and the project.
    name: String,
    /// The project's directory.
    dir: TempDir,
    port: u16,
}

impl Drop for World {
    fn drop(&mut self) {
        let filter = json!({"label": [format!("phoenixd.project={}", self.name)]}).to_string();
        let filter = filter
            .replace('"', "%22")
            .replace('{', "%7B")
            .replace('}', "%7D");
        let of = |kind: &str, more: &str| {
            let (_, answer) = call(
                "GET",
                &format!("/{kind}?{more}filters={filter}"),
                "text/plain",
                b"",
            );
            let found: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let ids = found.as_array().cloned().unwrap_or_default().into_iter();
            ids.filter_map(|one| Some(one.get("Id")?.as_str()?.to_owned()))
                .collect::<Vec<_>>()
        };
        // The supervisor first: it would replace what is removed.
        let remove = |path: String| drop(call("DELETE", &path, "text/plain", b""));
        for role in ["up", "other"] {
            remove(format!("/containers/{}-{role}?force=1&v=1", self.name));
        }
        for id in of("containers/json", "all=1&") {
            remove(format!("/containers/{id}?force=1&v=1"));
        }
        for id in of("networks", "") {
            remove(format!("/networks/{id}"));
        }
        remove(format!("/volumes/{}", self.name));
        remove(format!("/images/{}?force=1", self.name));
    }
}

impl World {
    fn new() -> Self {
        let name = format!("phoenixd-packaged-{}", unique());
        let port = ports::free_port();
        let dir = TempDir::with_prefix("phoenixd-packaged-").unwrap();
        let file = format!(
            "name: {name}
services:
  web:
    image: {name}
    command: [demo-app]
    user: \"65534:65534\"
    stop_grace_period: 2s
    ports: [\"127.0.0.1:{port}:8080\"]
    x-phoenix:
      ttl: 1h
      drain: 0s
      probe: {{ http: /healthz, port: 8080 }}
"
        );
        std::fs::write(dir.path().join("compose.yaml"), file).unwrap();
        Self { name, dir, port }
    }

    /// Builds the image as `docker build --target packaged` does with the classic builder.
    fn build(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut context = tar::Builder::new(Vec::new());
        // Engines do not know the way in which tar writes files with holes, such as a linker leaves.
        context.sparse(false);
        for (name, path) in [
            ("Dockerfile", root.join("Dockerfile")),
            ("LICENSE", root.join("LICENSE")),
            ("dist/phoenixd", env!("CARGO_BIN_EXE_phoenixd").into()),
        ] {
            context.append_path_with_name(path, name).unwrap();
        }
        let context = context.into_inner().unwrap();
        let path = format!(
            "/build?version=1&target=packaged&rm=1&forcerm=1&t={}",
            self.name
        );
        let (status, answer) = call("POST", &path, "application/x-tar", &context);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            status == 200 && !text.contains("errorDetail"),
            "{status} {text}"
        );
    }

    /// Makes a container of the image and starts it. `up` is the supervisor, `other` whatever asks it.
    fn start(&self, role: &str, arguments: &[&str], pid_mode: &str) -> String {
        self.start_with(role, arguments, pid_mode, &json!([]), &[])
    }

    /// The same with capabilities and further mounts.
    fn start_with(
        &self,
        role: &str,
        arguments: &[&str],
        pid_mode: &str,
        capabilities: &Value,
        further: &[&str],
    ) -> String {
        let dir = self.dir.path().display();
        let own = [
            format!("{}:/var/run/docker.sock", socket()),
            format!("{}:/var/lib/phoenixd", self.name),
            format!("{dir}:{dir}:ro"),
        ];
        let further = further.iter().map(|&one| one.to_owned());
        let binds: Vec<String> = own.into_iter().chain(further).collect();
        let body = json!({
            "Image": self.name,
            "Cmd": arguments,
            "WorkingDir": dir.to_string(),
            "HostConfig": {
                "NetworkMode": "host",
                "PidMode": pid_mode,
                "ReadonlyRootfs": true,
                "CapDrop": ["ALL"],
                "CapAdd": capabilities,
                "SecurityOpt": ["no-new-privileges:true"],
                "Binds": binds,
            },
        });
        let path = format!("/containers/create?name={}-{role}", self.name);
        let id = json_call("POST", &path, &body)["Id"]
            .as_str()
            .unwrap()
            .to_owned();
        json_call("POST", &format!("/containers/{id}/start"), &Value::Null);
        id
    }

    /// Runs a command to its end and removes its container: exit code, stdout, stderr.
    fn run(&self, arguments: &[&str]) -> (i64, String, String) {
        let id = self.start("other", arguments, "");
        let ended = json_call("POST", &format!("/containers/{id}/wait"), &Value::Null);
        let (out, err) = logs(&id);
        json_call("DELETE", &format!("/containers/{id}?v=1"), &Value::Null);
        (ended["StatusCode"].as_i64().unwrap(), out, err)
    }

    /// Whether a replica answers on the published port.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        asked.is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.0 200")
    }

    /// The replicas, as `phoenixd ps` tells them to scripts, and what it says beside.
    fn ps(&self) -> (Vec<Value>, String) {
        let (code, out, err) = self.run(&["ps", "--format", "json"]);
        assert_eq!(code, 0, "{err}");
        let rows: Value = serde_json::from_str(&out).unwrap();
        (rows.as_array().cloned().unwrap(), err)
    }
}

/// What a container has written: stdout and stderr, from the frames of 8 bytes of head and a body each.
fn logs(id: &str) -> (String, String) {
    let (_, answer) = call(
        "GET",
        &format!("/containers/{id}/logs?stdout=1&stderr=1"),
        "text/plain",
        b"",
    );
    let mut texts = [String::new(), String::new()];
    let mut rest = answer.as_slice();
    while rest.len() >= 8 {
        let length = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
        let text = &mut texts[usize::from(rest[0] == 2)];
        text.push_str(&String::from_utf8_lossy(&rest[8..8 + length]));
        rest = &rest[8 + length..];
    }
    let [out, err] = texts;
    (out, err)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if holds() {
            return;
        }
        park_timeout(BETWEEN_LOOKS);
    }
    panic!("not in time: {what}");
}

const UNVERIFIED: &str = "cannot be verified in the kernel";

#[test]
fn in_a_container_phoenixd_supervises_and_says_what_it_could_not_verify() {
    let world = World::new();
    world.build();
    let (code, out, err) = world.run(&["--version"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out.trim(),
        format!("phoenixd {}", env!("CARGO_PKG_VERSION"))
    );

    // With the host's processes at hand: verified.
    let supervisor = world.start("up", &["up"], "host");
    eventually("a replica answers on the published port", || {
        world.answers()
    });
    let (rows, said) = world.ps();
    assert_eq!(
        (rows.len(), &rows[0]["ready"]),
        (1, &json!(true)),
        "{rows:?}"
    );
    assert!(!said.contains("not verified"), "{said}");
    let first = rows[0]["container_id"].clone();
    let (_, log) = logs(&supervisor);
    assert!(!log.contains(UNVERIFIED), "{log}");
    // Nobody else can: the sockets of edges would be files of this container.
    assert!(log.contains("/run/phoenixd is not the host's"), "{log}");

    // The supervisor ends in good order, and the replica does not.
    json_call(
        "POST",
        &format!("/containers/{supervisor}/stop?t=20"),
        &Value::Null,
    );
    let state = json_call(
        "GET",
        &format!("/containers/{supervisor}/json"),
        &Value::Null,
    );
    assert_eq!(state["State"]["ExitCode"], 0, "{}", logs(&supervisor).1);
    json_call("DELETE", &format!("/containers/{supervisor}"), &Value::Null);
    assert!(!world.answers(), "the port is the supervisor's");

    // Without: the same replica is taken over, and what could not be looked at is said.
    let supervisor = world.start("up", &["up"], "");
    eventually("the replica answers again", || world.answers());
    let (rows, said) = world.ps();
    assert_eq!(
        (rows.len(), &rows[0]["container_id"]),
        (1, &first),
        "{rows:?}"
    );
    assert!(said.contains("not verified"), "{said}");
    let (_, log) = logs(&supervisor);
    assert!(log.contains(UNVERIFIED), "{log}");

    let (code, _, err) = world.run(&["down"]);
    assert_eq!(code, 0, "{err}");
    assert!(!world.answers());
    let (rows, _) = world.ps();
    assert!(rows.iter().all(|row| row["stage"] == "missing"), "{rows:?}");
}

#[test]
fn in_a_container_phoenixd_has_edges_in_containers_that_go_on_without_it() {
    let world = World::new();
    world.build();
    // As the README says.
    let start = || {
        world.start_with(
            "up",
            &["up"],
            "host",
            &json!(["CHOWN"]),
            &["/run/phoenixd:/run/phoenixd"],
        )
    };
    let mut supervisor = start();
    for turn in 0..2 {
        eventually("a replica answers on the published port", || {
            world.answers()
        });
        // Of the second one only this tells that it speaks with the edge.
        eventually("replica, pause and edge are ready", || {
            let (rows, _) = world.ps();
            rows.len() == 3 && rows.iter().all(|row| row["ready"] == true)
        });
        let (_, log) = logs(&supervisor);
        assert!(!log.contains("is not the host's"), "{log}");
        let path = format!("/containers/{supervisor}?force=1");
        json_call("DELETE", &path, &Value::Null);
        assert!(world.answers(), "the port is the edge's, turn {turn}");
        supervisor = start();
    }
    let path = format!("/containers/{supervisor}/stop?t=20");
    json_call("POST", &path, &Value::Null);
    let path = format!("/containers/{supervisor}");
    json_call("DELETE", &path, &Value::Null);
    let supervisor = world.start_with(
        "up",
        &["down"],
        "host",
        &json!(["CHOWN"]),
        &["/run/phoenixd:/run/phoenixd"],
    );
    let path = format!("/containers/{supervisor}/wait");
    let ended = json_call("POST", &path, &Value::Null);
    assert_eq!(ended["StatusCode"], 0, "{:?}", logs(&supervisor));
    assert!(!world.answers());
    let left = Path::new("/run/phoenixd").join(&world.name);
    assert!(!left.exists(), "{}", left.display());
}
