//! The guard on a real engine: every known way into a running replica is tried, and none is open; what is not managed
//! works as before, and phoenixd itself is let through.
//!
//! On a private engine, whose settings are the test's own.

mod company;
mod glass;
mod others;
mod ways;

use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use self::company::Target;
use self::others::{exec_made, lurkers, others_work, shared_project, stranger};
use self::ways::{get, ways};

use super::support::{Journey, Output, Private, eventually, inside, now, since};

const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn no_known_way_around_the_guard_leads_into_a_replica_and_phoenixd_itself_is_let_through() {
    inside(
        "guard::no_known_way_around_the_guard_leads_into_a_replica_and_phoenixd_itself_is_let_through",
        true,
        |engine| {
            let journey = shared_project();
            let old = stranger(&journey, "before");
            let early = exec_made(&journey, &old);
            let mut lurkers = lurkers(&journey, "early");
            let guard = Guarded::begin(&journey, engine);
            // The guard is asked for these, and knows of no project yet.
            lurkers.extend(others::lurkers(&journey, "late"));
            let supervisor = journey.up_ready(1);
            let replica = journey.containers().remove(0);
            let told = guard
                .told(&journey)
                .expect("what the supervisor told the guard");
            assert_eq!(told["replicas"][0]["id"], replica.id);
            let services = told["services"].as_array().expect("a list");
            assert!(services.contains(&json!("web")), "{told}");
            println!("{told:#}");
            let events = journey.engine.events(&journey.label());
            // Not where Debian has it: known from what the supervisor wrote.
            let info = journey.engine.must("GET", "/info", None).json();
            let root = info["DockerRootDir"].as_str().expect("a path").to_owned();
            let paths = told["paths"].as_array().expect("a list");
            assert!(paths.contains(&json!(root)), "{told}");

            let target = Target {
                name: replica.name.clone(),
                id: replica.id.clone(),
                early,
                lurkers: lurkers.clone(),
                project: journey.project.clone(),
                root,
                state: journey.path("state").to_str().expect("UTF-8").to_owned(),
                image: journey.image().to_owned(),
            };
            all_are_refused(&journey, &target);
            let touched: Vec<_> = events
                .actions()
                .into_iter()
                .filter(|(action, _)| action != "die" && !action.starts_with("health"))
                .collect();
            assert_eq!(touched, [], "the engine tells of nothing that was done");
            assert_eq!(journey.running_ids(), std::slice::from_ref(&replica.id));

            let doors = journey.run(&["doctor", "--doors"]).success();
            assert!(
                doors.stdout.contains("refused by the guard"),
                "{}",
                doors.stdout
            );
            assert!(!doors.stdout.contains("OPEN"), "{}", doors.stdout);
            println!("{}", doors.stdout);

            others_work(&journey, &old);
            others::remove(&journey, &lurkers);
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
            // An open door through which the file system was exported taints, as it should.
            let journey = Journey::of_web(1, "", "drain: 200ms\non_taint: report");
            let supervisor = journey.up_ready(1);
            let before = journey.running_ids();
            let doors = journey.run(&["doctor", "--doors"]);
            assert_eq!(doors.code, Some(1), "{doors:#?}");
            let open = doors
                .stdout
                .lines()
                .filter(|line| line.contains("OPEN"))
                .count();
            assert!(open > 20, "{}", doors.stdout);
            let is_told =
                |line: &str| line.contains("export") && line.contains("counts as touched");
            assert!(doors.stdout.lines().any(is_told), "{}", doors.stdout);
            println!("{}", doors.stdout);
            assert_eq!(
                journey.running_ids(),
                before,
                "nothing was done behind an open door"
            );
            journey.phoenixd(&["guard", "status"]).unmet(&["key"]);
            let replica = journey.containers().remove(0).name;
            let lurkers = others::made_for(&journey, "before", &replica);
            assert!(lurkers.len() >= 3, "{lurkers:?}");
            drop(supervisor);

            println!("a ping without the guard: {}", pings(&journey));
            let mut guard = Guarded::begin(&journey, engine);
            // A replica that was there before the guard is managed from the next `up` on.
            let supervisor = journey.up_ready(1);
            assert_eq!(journey.running_ids(), before, "it was taken over");
            journey.run(&["doctor", "--doors"]).success();
            supervisor.kill();
            journey.run(&["doctor", "--doors"]).success();
            others::do_not_start(&journey, &lurkers);
            others::remove(&journey, &lurkers);
            println!("a ping through the guard: {}", pings(&journey));
            guard.kill();
            dead(&journey);
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
            // The way out does not lead through the engine.
            guard.kill();
            guard.uninstall().success();
            let began = now();
            let free = || (now(), raw(&socket(&journey), &get("/_ping")).0);
            eventually(
                "the engine answers without it",
                PATIENCE,
                free,
                |(_, status)| *status == 200,
            );
            println!("out again after {:?}", since(began));
            drop(guard);
        },
    );
}

/// Tries every way.
fn all_are_refused(journey: &Journey, target: &Target) {
    let mut outcome = Outcome::default();
    for (name, request) in ways(journey, target) {
        outcome.note(&name, &raw(&socket(journey), &request));
    }
    println!(
        "tried {}, wrongly allowed {}, refused by the engine itself: {:#?}",
        outcome.tried,
        outcome.open.len(),
        outcome.by_engine
    );
    assert!(outcome.open.is_empty(), "{:#?}", outcome.open);
    assert!(outcome.tried > 200, "{}", outcome.tried);
}

/// What an operator meets while the guard's process is dead: the engine's own words, and how long each takes.
fn dead(journey: &Journey) {
    let began = now();
    let (status, said) = raw(&socket(journey), &get("/_ping"));
    println!(
        "the guard is dead: a ping takes {:?}: {status} {said}",
        since(began)
    );
    assert_eq!(status, 500, "{said}");
    assert!(said.contains("phoenixd"), "it names the plugin: {said}");
    let status = journey.phoenixd(&["guard", "status"]);
    println!("{status:#?}");
    status.unmet(&["phoenixd-guard.service", "guard uninstall"]);
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

/// How long the engine takes for the least that can be asked of it.
fn pings(journey: &Journey) -> String {
    let mut took: Vec<Duration> = (0..300)
        .map(|_| {
            let began = now();
            // As Docker's client asks: without a type, for which dockerd 28 makes room for 4 MiB before it asks the guard.
            let (status, said) = raw(&socket(journey), &get("/_ping"));
            assert_eq!(status, 200, "{said}");
            since(began)
        })
        .collect();
    took.sort();
    format!("p50 {:?}, p99 {:?}", took[150], took[297])
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

    /// What the supervisor wrote.
    fn told(&self, journey: &Journey) -> Option<Value> {
        let path = self.projects.join(format!("{}.json", journey.project));
        let text = std::fs::read(path).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
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

/// How many were tried, and which came through.
#[derive(Default)]
struct Outcome {
    tried: usize,
    by_engine: Vec<String>,
    open: Vec<String>,
}

impl Outcome {
    fn note(&mut self, name: &str, (status, body): &(u16, String)) {
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
