//! A project of its own: folder, name, port, image; everything of it is removed at the end, also after a panic.

use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use phoenixd::demo::project::MISCHIEF_VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::engine::{STRANGER, is_of_pod};
use super::http::{self, Answer};
use super::image::{self, Image};
use super::{Engine, Made, eventually, now, since, until, variable};
use crate::fixture::unique;
use crate::ports;

/// Long enough for a busy machine of two CPUs; a command that is stuck is killed then.
const COMMAND: Duration = Duration::from_secs(90);
const READY: Duration = Duration::from_mins(2);

/// A project of its own.
pub(crate) struct Journey {
    pub(crate) engine: Engine,
    pub(crate) project: String,
    pub(crate) port: u16,
    folder: TempDir,
    image: Arc<Image>,
    /// Further ones, which go after the containers: an image that one still uses would only lose its name.
    images: Mutex<Vec<Image>>,
    runs: AtomicU32,
    /// Further variables for the binary.
    pub(crate) environment: Vec<(String, String)>,
}

/// What a command said.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Journey {
    /// A project with nothing in it yet.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let engine = Engine::of_environment();
        let image = image::shared(&engine);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            project: format!("phxjourney-{}-{number}", unique()),
            port: ports::free_port(),
            folder: tempfile::tempdir().expect("a folder"),
            image,
            images: Mutex::default(),
            engine,
            runs: AtomicU32::new(0),
            environment: variable("PHOENIXD_EDGE")
                .map(|edge| ("PHOENIXD_EDGE".to_owned(), edge))
                .into_iter()
                .collect(),
        }
    }

    /// The same with the file of [`Journey::web`].
    pub(crate) fn of_web(replicas: u32, service: &str, phoenix: &str) -> Self {
        let journey = Self::new();
        journey.write(&journey.web(replicas, service, phoenix));
        journey
    }

    /// A file with the service `web`, published on the journey's port. `service` and `phoenix` are further lines of
    /// the service and of its `x-phoenix`, indented as if they stood alone.
    pub(crate) fn web(&self, replicas: u32, service: &str, phoenix: &str) -> String {
        let indent = |text: &str, by: &str| {
            text.lines().fold(String::new(), |mut lines, line| {
                writeln!(lines, "{by}{line}").expect("a string");
                lines
            })
        };
        let (service, phoenix) = (indent(service, "    "), indent(phoenix, "      "));
        let default = |key: &str, line: &str| {
            if phoenix.contains(key) || service.contains(key) {
                String::new()
            } else {
                format!("{line}\n")
            }
        };
        let mut text = format!(
            "services:\n  web:\n    image: {}\n    ports: [\"127.0.0.1:{}:8080\"]\n    deploy: {{ replicas: {replicas} }}\n",
            self.image.name, self.port
        );
        text += &default(
            "environment:",
            &format!("    environment: {{ {MISCHIEF_VARIABLE}: \"1\" }}"),
        );
        text += &default("stop_grace_period:", "    stop_grace_period: 5s");
        text += &service;
        text += "    x-phoenix:\n";
        text += &default("ttl:", "      ttl: 1h");
        text += &default("drain:", "      drain: 1s");
        text += &default("probe:", "      probe: { http: /healthz, interval: 250ms }");
        text += &default("backoff:", "      backoff: { base: 500ms, cap: 5s }");
        text += &phoenix;
        text
    }

    /// Whether its services are reached through pods.
    pub(crate) fn is_in_pods(&self) -> bool {
        let edge = self
            .environment
            .iter()
            .rfind(|(name, _)| name == "PHOENIXD_EDGE");
        edge.is_none_or(|(_, edge)| edge == "pod")
    }

    /// The same project, whose supervisor forwards by itself.
    pub(crate) fn inside(mut self) -> Self {
        let edge = ("PHOENIXD_EDGE".to_owned(), "inside".to_owned());
        self.environment.push(edge);
        self
    }

    /// Keeps an image as long as the project; its name.
    pub(crate) fn keep(&self, image: Image) -> String {
        let name = image.name.clone();
        self.images
            .lock()
            .expect("nobody panics in here")
            .push(image);
        name
    }

    /// The image's name.
    pub(crate) fn image(&self) -> &str {
        &self.image.name
    }

    /// The journey's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path("compose.yaml")
    }

    /// Writes the Compose file.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.file(), text).expect("write the file");
    }

    /// The binary with the journey's state directory.
    fn binary(&self, arguments: &[&str], state: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenixd"));
        command
            .args(arguments)
            .arg("--state-dir")
            .arg(state)
            .args(["--project", &self.project])
            .env_remove("COMPOSE_PROJECT_NAME")
            .env_remove("PHOENIXD_STATE_DIR")
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the binary to its end, on the journey's file.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_in(arguments, &self.path("state"))
    }

    /// The same with another state directory.
    pub(crate) fn run_in(&self, arguments: &[&str], state: &Path) -> Output {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let at = |kind: &str| self.path(&format!("{number}.{kind}"));
        let create = |path: PathBuf| File::create(path).expect("a file");
        let began = now();
        let mut command = self.binary(arguments, state);
        // Which reads no file.
        if !["adopt", "demo"].contains(arguments.first().unwrap_or(&"")) {
            command.arg("--file").arg(self.file());
        }
        let mut running = Running(
            command
                .stdout(create(at("stdout")))
                .stderr(create(at("stderr")))
                .spawn()
                .expect("the built binary runs"),
        );
        let status = running.wait(COMMAND);
        let read = |path: PathBuf| {
            String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned()
        };
        let output = Output {
            code: status.and_then(|status| status.code()),
            stdout: read(at("stdout")),
            stderr: read(at("stderr")),
            took: since(began),
        };
        assert!(
            status.is_some(),
            "phoenixd {arguments:?} did not end within {COMMAND:?}: {output:#?}"
        );
        output
    }

    /// Begins a command of which only the end matters.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        let mut command = self.binary(arguments, &self.path("state"));
        command.arg("--file").arg(self.file());
        Running(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the built binary runs"),
        )
    }

    /// Begins a command whose standard error nobody reads any more.
    pub(crate) fn begin_unheard(&self, arguments: &[&str]) -> Running {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = self.binary(arguments, &self.path("state"));
        command.arg("--file").arg(self.file());
        let child = command.stdout(Stdio::null()).stderr(writer).spawn();
        Running(child.expect("the built binary runs"))
    }

    /// Begins `phoenixd events --follow`, and hands out what it prints.
    pub(crate) fn follow_events(&self) -> (Running, ChildStdout) {
        let mut command = self.binary(&["events", "--follow"], &self.path("state"));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary runs");
        let stdout = child.stdout.take().expect("piped");
        (Running(child), stdout)
    }

    /// Starts `phoenixd adopt`, which reads no file.
    pub(crate) fn adopt(&self, services: &[&str]) -> Supervisor<'_> {
        self.supervise(self.binary(&[&["adopt"], services].concat(), &self.path("state")))
    }

    /// Starts `phoenixd up`.
    pub(crate) fn up(&self) -> Supervisor<'_> {
        self.up_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn up_with(&self, arguments: &[&str]) -> Supervisor<'_> {
        let mut command = self.binary(&[&["up"], arguments].concat(), &self.path("state"));
        command.arg("--file").arg(self.file());
        self.supervise(command)
    }

    /// Starts `phoenixd up` with its state on a disk (tmpfs) of so many bytes, in a mount namespace of its own; the
    /// journey's other commands reach it. `unshare` and `mount` are util-linux's.
    pub(crate) fn up_on_small_disk(&self, bytes: u64) -> Supervisor<'_> {
        const SCRIPT: &str = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"";
        let disk = self.path("disk");
        std::fs::create_dir(&disk).expect("a directory");
        let binary = self.binary(&["up"], &disk);
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command
            .args([
                "--mount",
                "--",
                "sh",
                "-c",
                SCRIPT,
                "sh",
                &bytes.to_string(),
            ])
            .arg(&disk)
            .arg(binary.get_program())
            .args(binary.get_args())
            .arg("--file")
            .arg(self.file())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        for (name, value) in binary.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let supervisor = self.supervise(command);
        let inside = format!("/proc/{}/root{}", supervisor.pid(), disk.display());
        std::os::unix::fs::symlink(inside, self.path("state")).expect("a link");
        supervisor
    }

    fn supervise(&self, mut command: Command) -> Supervisor<'_> {
        let log = self.path("up.log");
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(&log)
                .expect("a file")
        };
        let child = command
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("the built binary runs");
        Supervisor {
            journey: self,
            running: Running(child),
        }
    }

    /// Starts `phoenixd up` and waits until so many replicas of `web` are ready and nothing else is there.
    pub(crate) fn up_ready(&self, replicas: usize) -> Supervisor<'_> {
        let mut supervisor = self.up();
        supervisor.await_ready(replicas);
        supervisor
    }

    /// The same, and every replica looks so.
    #[track_caller]
    pub(crate) fn up_ready_when(
        &self,
        replicas: usize,
        looks: impl Fn(&Value) -> bool,
    ) -> Supervisor<'_> {
        let mut supervisor = self.up();
        until("every replica is as it should be", READY, || {
            assert!(
                supervisor.is_running(),
                "the supervisor ended:\n{}",
                self.log()
            );
            let containers = self.containers();
            let are = |container: &Made| {
                self.engine
                    .inspect(&container.id)
                    .is_some_and(|inspect| looks(&inspect))
            };
            if containers.len() == replicas && containers.iter().all(are) {
                Ok(())
            } else {
                Err(containers)
            }
        });
        supervisor.await_ready(replicas);
        supervisor
    }

    /// `GET` of the published port, over a new connection; has to be answered.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub(crate) fn try_get(&self, path: &str) -> io::Result<Answer> {
        http::get(self.port, path)
    }

    /// `POST` likewise.
    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> Answer {
        self.try_post(path)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    pub(crate) fn try_post(&self, path: &str) -> io::Result<Answer> {
        http::post(self.port, path)
    }

    /// What the supervisors said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(self.path("up.log"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// The rows of `phoenixd ps --format json`.
    pub(crate) fn ps(&self) -> Vec<Value> {
        let output = self.run(&["ps", "--format", "json"]).success();
        let mut rows = rows_of(&output.stdout)
            .unwrap_or_else(|error| panic!("ps is not a list ({error}): {}", output.stdout));
        rows.retain(|row| !is_row_of_pod(row));
        rows
    }

    /// The project's containers by name, but for those of pods: a journey is the same with them and without.
    pub(crate) fn containers(&self) -> Vec<Made> {
        let mut all = self.all_containers();
        all.retain(|one| !is_of_pod(&one.name));
        all
    }

    /// The project's containers, all of them, by name.
    pub(crate) fn all_containers(&self) -> Vec<Made> {
        self.engine.containers(&self.label())
    }

    /// The label of everything that phoenixd makes for the project.
    pub(crate) fn label(&self) -> String {
        format!("phoenixd.project={}", self.project)
    }

    /// The ids of the containers, each running.
    #[track_caller]
    pub(crate) fn running_ids(&self) -> Vec<String> {
        let containers = self.containers();
        assert!(
            containers
                .iter()
                .all(|container| container.state == "running"),
            "not all run: {containers:#?}"
        );
        containers
            .into_iter()
            .map(|container| container.id)
            .collect()
    }

    /// What `docker inspect` shows of a container that is there.
    #[track_caller]
    pub(crate) fn inspect(&self, id: &str) -> Value {
        self.engine
            .inspect(id)
            .unwrap_or_else(|| panic!("{id} is gone"))
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            println!("the supervisors of {} said:\n{}", self.project, self.log());
            println!("the engine has: {:#?}", self.containers());
        }
        let mut left = self.engine.remove_all(&self.label());
        // A call of a supervisor that was just killed may still have its effect.
        for _ in 0..20 {
            if left.is_empty() {
                break;
            }
            left = self.engine.remove_all(&self.label());
        }
        left.extend(
            self.engine
                .remove_all(&format!("{STRANGER}={}", self.project)),
        );
        self.engine.remove_pod_images(&self.project);
        // Copies of secrets, where root puts them; most journeys end without a `down`.
        drop(std::fs::remove_dir_all(
            Path::new("/run/phoenixd").join(&self.project),
        ));
        if !left.is_empty() {
            println!("left on the engine: {left:#?}");
        }
        // 20.10 forgets endpoints, and keeps their network until it restarts (`ENGINE-FACTS.md`, section 11).
        left.retain(|what| !what.contains("active endpoints"));
        assert!(failed || left.is_empty(), "left on the engine: {left:#?}");
    }
}

/// A `phoenixd up` under way; killed when dropped.
pub(crate) struct Supervisor<'a> {
    journey: &'a Journey,
    running: Running,
}

impl Supervisor<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.running.0.try_wait().expect("wait").is_none()
    }

    /// Waits until so many replicas are ready, by its own word, and nothing else is there, by the engine's.
    #[track_caller]
    pub(crate) fn await_ready(&mut self, replicas: usize) {
        let journey = self.journey;
        until(&format!("{replicas} replicas ready"), READY, || {
            assert!(
                self.is_running(),
                "the supervisor ended:\n{}",
                journey.log()
            );
            let output = journey.run(&["ps", "--format", "json"]);
            let rows = rows_of(&output.stdout).unwrap_or_default();
            let (pods, rows): (Vec<Value>, Vec<Value>) = rows.into_iter().partition(is_row_of_pod);
            let containers = journey.containers();
            // Without a supervisor nothing is probed: this one has to have answered.
            let is_supervised = !output.stderr.contains("no supervisor");
            let is_ready = |row: &Value| row["ready"] == true && row["stage"] == "ready";
            if is_supervised
                && rows.len() == replicas
                && pods.iter().all(is_ready)
                && pods.len() + replicas == journey.all_containers().len()
                && rows.iter().all(is_ready)
                && containers.len() == replicas
                && containers
                    .iter()
                    .all(|container| container.state == "running")
            {
                Ok(())
            } else {
                Err((output, containers))
            }
        });
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        kill_process(pid, signal).expect("signal the supervisor");
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.running.0.kill().expect("kill the supervisor");
        self.running.0.wait().expect("wait");
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.journey.log());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.running
            .wait(COMMAND)
            .unwrap_or_else(|| panic!("the supervisor did not end:\n{}", self.journey.log()))
    }
}

/// A process that does not outlive its owner.
pub(crate) struct Running(Child);

impl Running {
    /// Waits for its end, as long as commands may take.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        self.wait(COMMAND)
            .unwrap_or_else(|| panic!("it did not end within {COMMAND:?}"))
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = now() + patience;
        // No event tells of a child's end; `until` would panic at the deadline.
        let seen = eventually(
            "the end of the process, or of the patience",
            patience * 2,
            || (self.0.try_wait().expect("wait"), now() >= end),
            |(status, is_over)| status.is_some() || *is_over,
        );
        seen.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Output {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Exit code 1, and all of these in what it said on stderr.
    #[track_caller]
    pub(crate) fn unmet(self, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:#?}");
        for text in said {
            assert!(
                self.stderr.contains(text),
                "`{text}` was not said: {self:#?}"
            );
        }
        self
    }
}

fn rows_of(stdout: &str) -> serde_json::Result<Vec<Value>> {
    serde_json::from_str(stdout)
}

fn is_row_of_pod(row: &Value) -> bool {
    row["service"]
        .as_str()
        .is_some_and(|name| name.contains('/'))
}
