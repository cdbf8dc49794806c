//! The guard on a real engine: every known way into a running replica is tried, and none is open; what is not managed
//! works as before, and phoenixd itself is let through.
//!
//! On a private engine, whose settings are the test's own.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, Output, Private, eventually, inside, now, since};

const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn no_known_way_around_the_guard_leads_into_a_replica_and_phoenixd_itself_is_let_through() {
    inside(
        "guard::no_known_way_around_the_guard_leads_into_a_replica_and_phoenixd_itself_is_let_through",
        true,
        |engine| {
            let journey = Journey::of_web(1, "", "drain: 200ms");
            let old = stranger(&journey, "before");
            let early = exec_made(&journey, &old);
            let guard = Guarded::begin(&journey, engine);
            let supervisor = journey.up_ready(1);
            let replica = journey.containers().remove(0);
            let told = guard
                .told(&journey)
                .expect("what the supervisor told the guard");
            assert_eq!(told["replicas"][0]["id"], replica.id);
            assert_eq!(told["services"], json!(["web"]));
            guard.manages(&journey, &replica.id, &replica.name);
            let events = journey.engine.events(&journey.label());

            let mut outcome = Outcome::default();
            for (name, request) in ways(&journey, &replica.name, &replica.id, &early) {
                outcome.note(name, &raw(&socket(&journey), &request));
            }
            println!(
                "tried {}, wrongly allowed {}, refused by the engine itself: {:#?}",
                outcome.tried,
                outcome.open.len(),
                outcome.by_engine
            );
            assert!(outcome.open.is_empty(), "{:#?}", outcome.open);
            assert!(outcome.tried > 90, "{}", outcome.tried);
            let touched: Vec<_> = events
                .actions()
                .into_iter()
                .filter(|(action, _)| action != "die" && !action.starts_with("health"))
                .collect();
            assert_eq!(touched, [], "the engine tells of nothing that was done");
            assert_eq!(journey.running_ids(), [replica.id.clone()]);

            let doors = journey.phoenixd(&["doctor", "--doors"]).success();
            assert!(
                doors.stdout.contains("refused by the guard"),
                "{}",
                doors.stdout
            );
            assert!(!doors.stdout.contains("OPEN"), "{}", doors.stdout);
            println!("{}", doors.stdout);

            others_work(&journey, &old);
            guard.forgets();
            journey.run(&["recycle"]).success();
            assert_ne!(journey.running_ids(), [replica.id]);
            drop(supervisor);
            journey.run(&["down"]).success();
            assert_eq!(guard.told(&journey), None, "nothing is managed any more");
            guard.uninstall().success();
            drop(guard);
        },
    );
}

#[test]
fn without_the_guard_the_doors_are_open_and_its_death_shuts_everything() {
    inside(
        "guard::without_the_guard_the_doors_are_open_and_its_death_shuts_everything",
        true,
        |engine| {
            let journey = Journey::of_web(1, "", "drain: 200ms");
            let supervisor = journey.up_ready(1);
            let before = journey.running_ids();
            let doors = journey.phoenixd(&["doctor", "--doors"]);
            assert_eq!(doors.code, Some(1), "{doors:#?}");
            let open = doors
                .stdout
                .lines()
                .filter(|line| line.contains("OPEN"))
                .count();
            assert!(open > 20, "{}", doors.stdout);
            println!("{}", doors.stdout);
            assert_eq!(
                journey.running_ids(),
                before,
                "nothing was done behind an open door"
            );
            journey.phoenixd(&["guard", "status"]).unmet(&["key"]);
            drop(supervisor);

            let mut guard = Guarded::begin(&journey, engine);
            // A replica that was there before the guard is managed from the next `up` on.
            let supervisor = journey.up_ready(1);
            assert_eq!(journey.running_ids(), before, "it was taken over");
            journey.phoenixd(&["doctor", "--doors"]).success();
            supervisor.kill();
            journey.phoenixd(&["doctor", "--doors"]).success();
            let mut latencies = Vec::new();
            for _ in 0..300 {
                let began = now();
                journey.engine.must("GET", "/_ping", None);
                latencies.push(since(began));
            }
            latencies.sort();
            println!(
                "a ping through the guard: p50 {:?}, p99 {:?}",
                latencies[150], latencies[297]
            );
            guard.kill();
            // dockerd asks a plugin that is gone for 15 s; what comes back within them answers.
            let asked = std::thread::spawn({
                let socket = socket(&journey);
                move || raw(&socket, &get("/_ping"))
            });
            guard.again();
            let (status, said) = asked.join().expect("the question");
            // dockerd 28 asks a second time without the question; then it is denied, not let through.
            assert!(status == 200 || said.contains("ask again"), "{said}");
            journey.engine.must("GET", "/_ping", None);
            journey.run(&["down"]).success();
            guard.uninstall().success();
            drop(guard);
        },
    );
}

impl Journey {
    /// A command that reads no project file.
    fn phoenixd(&self, arguments: &[&str]) -> Output {
        let began = now();
        let output = self
            .command(arguments)
            .output()
            .expect("the built binary runs");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: since(began),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenixd"));
        command
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(arguments);
        command.stdin(Stdio::null());
        command
    }
}

/// A guard that serves, and that the engine asks.
struct Guarded<'j> {
    journey: &'j Journey,
    engine: &'j Private,
    server: Child,
    socket: PathBuf,
    projects: PathBuf,
}

impl<'j> Guarded<'j> {
    /// Installs, serves, and has the engine read its settings.
    fn begin(journey: &'j Journey, engine: &'j Private) -> Self {
        let socket = engine.path("guard.sock");
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        let (settings, units) = (
            text(engine.path("etc/daemon.json")),
            text(journey.path("units")),
        );
        let places = [
            "--daemon-json",
            &settings,
            "--units",
            &units,
            "--socket",
            &text(socket.clone()),
        ];
        journey
            .phoenixd(&[&["guard", "install"], &places[..]].concat())
            .success();
        let plugins = engine.path("etc/plugins");
        std::fs::create_dir_all(&plugins).expect("a folder");
        let spec = format!("unix://{}", socket.display());
        std::fs::write(plugins.join("phoenixd.spec"), spec).expect("where the plugin is");
        let guard = Self {
            journey,
            engine,
            server: serve(journey, &socket),
            socket,
            projects: journey.path("state/guard/projects"),
        };
        engine.reload();
        eventually(
            "the engine asks the guard",
            SOON,
            || journey.phoenixd(&["guard", "status"]),
            |status| status.code == Some(0),
        );
        guard
    }

    /// Writes what a supervisor writes of its project.
    fn manages(&self, journey: &Journey, id: &str, name: &str) {
        let project = json!({
            "version": 1, "project": journey.project, "services": ["web"],
            "replicas": [{ "id": id, "name": name, "exec_until_ms": null }],
            "networks": ["phx-private"], "volumes": ["phx-data"], "images": ["phx-born-from:1"],
            "paths": ["/srv/phoenixd-journey"],
        });
        std::fs::write(self.projects.join("p.json"), project.to_string()).expect("a file");
    }

    /// What the supervisor wrote.
    fn told(&self, journey: &Journey) -> Option<Value> {
        let path = self.projects.join(format!("{}.json", journey.project));
        let text = std::fs::read(path).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    /// What the hand-written file said would outlive the replica.
    fn forgets(&self) {
        std::fs::remove_file(self.projects.join("p.json")).expect("a file");
    }

    fn kill(&mut self) {
        self.server.kill().expect("kill the guard");
        self.server.wait().expect("wait");
    }

    fn again(&mut self) {
        self.server = serve(self.journey, &self.socket);
    }

    /// Takes the setting away: the guard is not asked any more.
    fn uninstall(&self) -> Output {
        let settings = self.engine.path("etc/daemon.json");
        let units = self.journey.path("units");
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (settings, units) = (text(&settings), text(&units));
        let places = [
            "--daemon-json",
            settings.as_str(),
            "--units",
            units.as_str(),
        ];
        let output = self
            .journey
            .phoenixd(&[&["guard", "uninstall"], &places[..]].concat());
        self.engine.reload();
        output
    }
}

impl Drop for Guarded<'_> {
    /// A guard that is asked and gone would let nothing be removed.
    fn drop(&mut self) {
        drop(self.uninstall());
        eventually(
            "the engine does not ask the guard any more",
            SOON,
            || self.journey.phoenixd(&["guard", "status"]),
            |status| status.code == Some(1),
        );
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn serve(journey: &Journey, socket: &Path) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(journey.path("guard.log"))
        .expect("a log");
    journey
        .command(&[
            "guard",
            "serve",
            "--socket",
            socket.to_str().expect("UTF-8"),
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the built binary runs")
}

fn socket(journey: &Journey) -> PathBuf {
    journey.engine.socket().expect("a socket").to_owned()
}

/// A container that is none of phoenixd's business.
fn stranger(journey: &Journey, name: &str) -> String {
    let name = format!("{}-{name}", journey.project);
    journey
        .engine
        .stranger(&journey.project, &name, journey.image(), &json!({}));
    name
}

/// An exec that is made, and not started.
fn exec_made(journey: &Journey, container: &str) -> String {
    let body = json!({ "Cmd": ["/phoenixd", "--version"] });
    let made = journey.engine.must(
        "POST",
        &format!("/containers/{container}/exec"),
        Some(&body),
    );
    made.json()["Id"].as_str().expect("an id").to_owned()
}

/// What is allowed on a container that is not managed.
fn others_work(journey: &Journey, old: &str) {
    let engine = &journey.engine;
    let exec = exec_made(journey, old);
    let start = json!({ "Detach": true });
    engine.must("POST", &format!("/exec/{exec}/start"), Some(&start));
    engine.must("GET", &format!("/exec/{exec}/json"), None);
    let fresh = stranger(journey, "after");
    for (method, path) in [
        ("GET", format!("/containers/{fresh}/logs?stdout=1")),
        ("GET", format!("/containers/{fresh}/archive?path=/phoenixd")),
        ("GET", format!("/containers/{fresh}/changes")),
        ("POST", format!("/containers/{fresh}/pause")),
        ("POST", format!("/containers/{fresh}/unpause")),
        ("POST", format!("/containers/{fresh}/rename?name={fresh}-2")),
        ("POST", format!("/containers/{fresh}-2/restart?t=0")),
        ("DELETE", format!("/containers/{fresh}-2?force=1")),
    ] {
        engine.must(method, &path, None);
    }
    let network = format!("{}-own", journey.project);
    engine.must(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": network })),
    );
    engine.must("DELETE", &format!("/networks/{network}"), None);
    engine.must("POST", "/volumes/create", Some(&json!({ "Name": network })));
    engine.must("DELETE", &format!("/volumes/{network}"), None);
}

/// How many were tried, and which came through.
#[derive(Default)]
struct Outcome {
    tried: usize,
    by_engine: Vec<String>,
    open: Vec<String>,
}

impl Outcome {
    fn note(&mut self, name: String, (status, body): &(u16, String)) {
        self.tried += 1;
        let is_guard = body.contains("authorization denied by plugin phoenixd");
        // What the engine refuses before it asks: no such path, another spelling of one, too old, too large, no HTTP.
        let is_engine = *status == 301
            || matches!(status, 400 | 404 | 413 | 415 | 500)
                && [
                    "page not found",
                    "Moved Permanently",
                    "too old",
                    "body too large",
                ]
                .iter()
                .any(|said| body.contains(said));
        let first = body.lines().next().unwrap_or_default();
        let last = body.lines().last().unwrap_or_default();
        let said = format!("{name:.120}: {first} {last}");
        match (is_guard, is_engine) {
            (true, _) => {}
            (false, true) => self.by_engine.push(said),
            (false, false) => self.open.push(said),
        }
    }
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").into_bytes()
}

fn with(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn json_to(method: &str, target: &str, body: &str) -> Vec<u8> {
    let headers = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    with(method, target, &headers, body.as_bytes())
}

fn chunked(target: &str, kind: &str, body: &str) -> Vec<u8> {
    let headers = format!("{kind}Transfer-Encoding: chunked\r\n");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    with("POST", target, &headers, chunks.as_bytes())
}

/// One exchange; of what streams, the head and what comes with it.
fn raw(socket: &Path, request: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).expect("the engine's socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    // The engine may answer before it has read it all.
    drop(stream.write_all(request));
    let mut answer = Vec::new();
    let mut part = [0; 8192];
    while answer.len() < 1 << 16 {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
        if answer.starts_with(b"HTTP/1.1 101") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), text)
}

/// Every known way, by its name.
fn ways(journey: &Journey, name: &str, id: &str, early: &str) -> Vec<(String, Vec<u8>)> {
    let mut ways = lines(name, id, early);
    ways.extend(doors(name));
    ways.extend(creates(name, journey.image()));
    ways.extend(bodies(journey, name));
    ways.extend(around(name, id));
    ways
}

/// Spellings of the request line of an exec.
fn lines(name: &str, id: &str, early: &str) -> Vec<(String, Vec<u8>)> {
    let encoded: String = name.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02x}").expect("a string");
        all
    });
    let exec = r#"{"Cmd":["/phoenixd","--version"]}"#;
    let mut ways: Vec<(String, Vec<u8>)> = [
        format!("/v1.41/containers/{name}/exec"),
        format!("/containers/{name}/exec"),
        format!("/v1.41/containers/{id}/exec"),
        format!("/v1.41/containers/{}/exec", &id[..12]),
        format!("/v1.41/containers/{}/exec", &id[..4]),
        format!("/v1.41/containers/{}/exec", &id[..2]),
        format!("/v1.41/containers/{name}/%65xec"),
        format!("/v1.41/containers/{name}%2Fexec"),
        format!("/v1.41/containers/{encoded}/exec"),
        format!("/v1.41/%63ontainers/{name}/exec"),
        format!("/%761.41/containers/{name}/exec"),
        format!("/v1.41/containers/{name}/%2565xec"),
        format!("http://docker/v1.41/containers/{name}/exec"),
        format!("https://docker:1/containers/{name}/%65xec"),
        format!("/v1.41.0/containers/{name}/exec"),
        format!("/v01.41/containers/{name}/exec"),
        format!("/v1..41/containers/{name}/exec"),
        format!("/v1.24/containers/{name}/exec"),
        format!("/v1.12/containers/{name}/exec"),
        format!("/V1.41/containers/{name}/exec"),
        format!("//v1.41/containers/{name}/exec"),
        format!("/v1.41//containers/{name}/exec"),
        format!("/v1.41/images/../containers/{name}/exec"),
        format!("/v1.41/./containers/{name}/exec"),
        format!("/v1.41/containers/%2F{name}/exec"),
        format!("/v1.41/containers//{name}/exec"),
        format!("/v1.41/containers/{name}/exec/"),
        format!("/v1.41/containers/{name}/exec;x"),
        format!("/v1.41/containers/{name}/exec?x=/auth"),
        format!("/v1.41/containers/{name}/exec?x=%zz"),
        format!("/v1.41/containers/phx-none/{name}/exec"),
        "/v1.41/containers/phx-none%2Fal/exec".to_owned(),
    ]
    .into_iter()
    .map(|target| (format!("exec {target}"), json_to("POST", &target, exec)))
    .collect();
    for what in ["start", "resize?h=1&w=1"] {
        let target = format!("/v1.41/exec/{early}/{what}");
        ways.push((
            format!("an exec made before: {what}"),
            json_to("POST", &target, r#"{"Detach":true}"#),
        ));
    }
    ways
}

/// Everything else that is asked of a container.
fn doors(name: &str) -> Vec<(String, Vec<u8>)> {
    let at = |path: &str| format!("/v1.41/containers/{name}/{path}");
    let mut ways = Vec::new();
    for (method, path) in [
        ("POST", "attach?stream=1&stdin=1"),
        ("POST", "resize?h=1&w=1"),
        ("GET", "attach/ws?stream=1"),
        ("GET", "archive?path=/"),
        ("PUT", "archive?path=/dev/shm"),
        ("GET", "export"),
        ("GET", "changes"),
        ("GET", "%65xport"),
        ("POST", "start"),
        ("POST", "stop"),
        ("POST", "kill"),
        ("POST", "restart"),
        ("POST", "pause"),
        ("POST", "unpause"),
        ("POST", "rename?name=phx-elsewhere"),
        ("POST", "wait"),
    ] {
        let request = with(method, &at(path), "Content-Length: 0\r\n", b"");
        ways.push((format!("{method} {path}"), request));
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n";
    ways.push((
        "attach by upgrade".to_owned(),
        with("POST", &at("attach?stream=1"), upgrade, b""),
    ));
    ways.push((
        "update".to_owned(),
        json_to("POST", &at("update"), r#"{"PidsLimit":5}"#),
    ));
    let remove = format!("/v1.41/containers/{name}");
    ways.push(("remove".to_owned(), with("DELETE", &remove, "", b"")));
    ways.push((
        "remove by force".to_owned(),
        with("DELETE", &format!("{remove}?force=1"), "", b""),
    ));
    let old = format!("/v1.12/containers/{name}/copy");
    ways.push((
        "the old copy".to_owned(),
        json_to("POST", &old, r#"{"Resource":"/phoenixd"}"#),
    ));
    let commit = format!("/v1.41/commit?container={name}&repo=phx-stolen");
    ways.push(("commit".to_owned(), json_to("POST", &commit, "{}")));
    let twice = format!("/v1.41/commit?container={name}&container=phx-none");
    ways.push((
        "commit, given twice".to_owned(),
        json_to("POST", &twice, "{}"),
    ));
    let forged = format!(
        "Content-Length: 0\r\nX-Phoenixd-Signature: v1 1-0000000000000000 {}\r\n",
        "0".repeat(64)
    );
    ways.push((
        "a forged signature".to_owned(),
        with("POST", &at("stop"), &forged, b""),
    ));
    ways
}

/// Containers that would lead there.
fn creates(name: &str, image: &str) -> Vec<(String, Vec<u8>)> {
    let body = |host: &str| format!(r#"{{"Image":"{image}","HostConfig":{{{host}}}}}"#);
    let join = format!(r#""PidMode":"container:{name}""#);
    let twice =
        format!(r#"{{"Image":"{image}","HostConfig":{{{join}}},"HostConfig":{{"Memory":0}}}}"#);
    [
        body(&join),
        body(&join).replace("HostConfig", "hostconfig").replace("PidMode", "pidmode"),
        body(&join).replace("HostConfig", "Ho\u{17f}tConfig"),
        body(&join).replace("HostConfig", "\\u0048ostConfig"),
        twice,
        format!(r#"{{"Image":"{image}",{join}}}"#),
        format!(r#"{{"Image":"{image}"}}{{"HostConfig":{{{join}}}}}"#),
        body(&format!(r#""IpcMode":"container:{name}""#)),
        body(&format!(r#""NetworkMode":"container:{name}""#)),
        body(&format!(r#""VolumesFrom":["{name}:rw"]"#)),
        body(&format!(r#""Links":["{name}:al"]"#)),
        body(r#""NetworkMode":"phx-private""#),
        body(r#""Binds":["phx-data:/d"]"#),
        body(r#""Privileged":true"#),
        body(r#""CapAdd":["SYS_PTRACE"]"#),
        body(r#""PidMode":"host""#),
        body(r#""NetworkMode":"host""#),
        body(r#""UsernsMode":"host""#),
        body(r#""Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]"#),
        body(r#""DeviceCgroupRules":["b 8:0 rwm"]"#),
        body(r#""SecurityOpt":["seccomp=unconfined"]"#),
        body(r#""CgroupParent":"/phx""#),
        body(r#""ReadonlyPaths":[],"MaskedPaths":[]"#),
        body(r#""Binds":["/:/h"]"#),
        body(r#""Binds":["/proc:/h"]"#),
        body(r#""Binds":["/var/run/docker.sock:/s"]"#),
        body(r#""Binds":["/srv/phoenixd-journey:/s"]"#),
        body(r#""Binds":["/proc/self/root:/h"]"#),
        body(r#""Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]"#),
        body(r#""Mounts":[{"Type":"volume","Target":"/h","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/"}}}}]"#),
        format!(r#"{{"Image":"{image}","Labels":{{"phoenixd.project":"x"}}}}"#),
    ]
    .into_iter()
    .map(|body| (format!("create {body}"), json_to("POST", "/v1.41/containers/create", &body)))
    .chain([(
        "create under a reserved name".to_owned(),
        json_to(
            "POST",
            &format!("/v1.41/containers/create?name={}", reserved(name)),
            &body(""),
        ),
    )])
    .collect()
}

/// The name of a replica to come.
fn reserved(name: &str) -> String {
    let (service, _) = name.rsplit_once('-').expect("a number");
    format!("{service}-9999")
}

/// Bodies that a plugin is not shown, or is shown another way.
fn bodies(journey: &Journey, name: &str) -> Vec<(String, Vec<u8>)> {
    let create = "/v1.41/containers/create";
    let join = format!(r#""HostConfig":{{"PidMode":"container:{name}"}}"#);
    let image = journey.image();
    let small = format!(r#"{{"Image":"{image}",{join}}}"#);
    let padded = |size: usize| {
        format!(
            r#"{{"Image":"{image}","Labels":{{"x":"{}"}},{join}}}"#,
            "x".repeat(size)
        )
    };
    let kind = "Content-Type: application/json\r\n";
    let mut ways = vec![
        (
            "1.1 MiB".to_owned(),
            json_to("POST", create, &padded(1_100_000)),
        ),
        (
            "1.1 MiB in chunks".to_owned(),
            chunked(create, kind, &padded(1_100_000)),
        ),
        (
            "4.5 MiB".to_owned(),
            json_to("POST", create, &padded(4_500_000)),
        ),
        ("in chunks".to_owned(), chunked(create, kind, &small)),
        (
            "in chunks, without type".to_owned(),
            chunked(create, "", &small),
        ),
        (
            "with charset".to_owned(),
            chunked(
                create,
                "Content-Type: application/json; charset=utf-8\r\n",
                &small,
            ),
        ),
        (
            "type in capitals".to_owned(),
            chunked(create, "Content-Type: Application/JSON\r\n", &small),
        ),
        (
            "a length of zero and chunks".to_owned(),
            chunked(create, &format!("{kind}Content-Length: 0\r\n"), &small),
        ),
        (
            "hidden by /auth".to_owned(),
            json_to("POST", &format!("{create}?x=/auth"), &small),
        ),
        (
            "two types".to_owned(),
            chunked(
                create,
                &format!("{kind}Content-Type: text/plain\r\n"),
                &small,
            ),
        ),
    ];
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let old = format!("{}-before", journey.project);
    for (target, body) in [
        (
            format!("/v1.41/commit?container={old}"),
            format!("container={name}"),
        ),
        (
            format!("/v1.41/containers/{old}/rename?name=x"),
            format!("name={}", reserved(name)),
        ),
        (
            format!("/v1.41/images/{image}/tag?repo=x"),
            "repo=phx-born-from&tag=1".to_owned(),
        ),
    ] {
        for headers in [
            format!("{form}Content-Length: {}\r\n", body.len()),
            format!("{form}{kind}Content-Length: {}\r\n", body.len()),
        ] {
            let request = with("POST", &target, &headers, body.as_bytes());
            ways.push((format!("a form on {target}"), request));
        }
        ways.push((
            format!("a form in chunks on {target}"),
            chunked(&target, &format!("{form}{kind}"), &body),
        ));
    }
    ways
}

/// Ways that lead around containers.
fn around(name: &str, id: &str) -> Vec<(String, Vec<u8>)> {
    let network = |reference: &str| json!({ "Container": reference }).to_string();
    let posts: Vec<(&str, String)> = vec![
        ("/v1.41/networks/bridge/connect", network(name)),
        ("/v1.41/networks/bridge/connect", network(&id[..6])),
        ("/v1.41/networks/bridge/disconnect", network(id)),
        ("/v1.41/networks/phx-private/connect", network("phx-none")),
        (
            "/v1.41/networks/create",
            json!({ "Name": "phx-private" }).to_string(),
        ),
        (
            "/v1.41/volumes/create",
            json!({ "Name": "phx-data" }).to_string(),
        ),
        (
            "/v1.41/volumes/create",
            json!({ "Name": "x", "DriverOpts": { "type": "none", "o": "bind", "device": "/" } })
                .to_string(),
        ),
        ("/v1.41/services/create", Value::Null.to_string()),
        ("/v1.41/swarm/init", "{}".to_owned()),
    ];
    let mut ways: Vec<(String, Vec<u8>)> = posts
        .into_iter()
        .map(|(target, body)| (format!("{target} {body}"), json_to("POST", target, &body)))
        .collect();
    for (method, target) in [
        ("POST", "/v1.41/containers/prune"),
        ("POST", "/v1.41/images/prune"),
        ("POST", "/v1.41/volumes/prune"),
        ("POST", "/v1.41/networks/prune"),
        ("POST", "/v1.41/build/prune"),
        ("POST", "/v1.41/build?remote=x"),
        ("POST", "/v1.41/session"),
        ("POST", "/v1.41/grpc"),
        ("POST", "/v1.41/images/load"),
        (
            "POST",
            "/v1.41/images/create?fromSrc=-&repo=phx-born-from&tag=1",
        ),
        ("POST", "/v1.41/images/create?fromImage=phx-born-from&tag=1"),
        ("DELETE", "/v1.41/images/phx-born-from:1"),
        ("DELETE", "/v1.41/volumes/phx-data"),
        ("DELETE", "/v1.41/networks/phx-private"),
        ("POST", "/v1.41/plugins/phoenixd/disable"),
        ("POST", "/v1.41/plugins/pull?remote=x"),
        ("GET", "/v1.41/debug/vars"),
    ] {
        let request = with(method, target, "Content-Length: 0\r\n", b"");
        ways.push((format!("{method} {target}"), request));
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n";
    for target in ["/session", "/grpc"] {
        ways.push((
            format!("{target} upgraded"),
            with("POST", target, upgrade, b""),
        ));
    }
    ways
}
