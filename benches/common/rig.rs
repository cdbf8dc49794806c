//! What a measurement needs, and its end: an image made from phoenixd's own binary, a project, a supervisor.
//!
//! Everything that is made carries the run's own label or name, and is gone when the rig is dropped: also after a failure,
//! a panic, Ctrl-C or SIGTERM.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Failure;
use super::engine::{Address, ContainerEvent, Engine, encoded, follow_events};

/// On everything that a run makes.
const LABEL: &str = "phoenixd.bench";
/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_mins(2);

const REMOVED_AT_ONCE: usize = 4;

/// Set by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends the run where somebody asked for it; every wait comes by here.
pub(crate) fn go_on() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err("interrupted".into())
    } else {
        Ok(())
    }
}

/// From now on a first signal ends the run in good order.
pub(crate) fn catch_signals() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

/// Looks again and again until there is an answer.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        go_on()?;
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > limit {
            return Err(format!("waited {} s for {what}", limit.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The run.
pub(crate) struct Rig {
    pub(crate) phoenixd: PathBuf,
    pub(crate) address: Address,
    pub(crate) engine: Engine,
    /// The run's own id.
    pub(crate) run: String,
    /// What every command of phoenixd's is told, besides what this program has.
    pub(crate) environment: Vec<(&'static str, String)>,
    directory: PathBuf,
    supervisor: Option<Child>,
}

impl Rig {
    /// Makes the image.
    pub(crate) fn new(phoenixd: PathBuf, state_in: &Path) -> Result<Self, Failure> {
        let address = Address::from_environment()?;
        let engine = Engine::connect(&address)?;
        let run = std::process::id().to_string();
        let directory = state_in.join(format!("phoenixd-bench-{run}"));
        fs::create_dir(&directory)?;
        let mut rig = Self {
            phoenixd,
            address,
            engine,
            run,
            environment: Vec::new(),
            directory,
            supervisor: None,
        };
        rig.make_image()?;
        Ok(rig)
    }

    pub(crate) fn image(&self) -> String {
        format!("phoenixd-bench:{}", self.run)
    }

    pub(crate) fn label(&self) -> String {
        format!("{LABEL}={}", self.run)
    }

    fn make_image(&mut self) -> Result<(), Failure> {
        let mut archive = tar::Builder::new(Vec::new());
        // An extension of GNU's that the engine does not know.
        archive.sparse(false);
        archive.append_path_with_name(&self.phoenixd, "phoenixd")?;
        let archive = archive.into_inner()?;
        let changes = encoded("ENTRYPOINT [\"/phoenixd\"]");
        let path = format!(
            "/images/create?fromSrc=-&repo=phoenixd-bench&tag={}&changes={changes}",
            self.run
        );
        self.engine
            .call_raw("POST", &path, "application/x-tar", &archive)?;
        // A refusal comes as progress.
        let image = self.image();
        self.engine
            .call("GET", &format!("/images/{image}/json"), None)?;
        Ok(())
    }

    /// Writes a Compose file of `services`, each with `replicas`; its path.
    pub(crate) fn compose(&self, services: u32, replicas: u32) -> Result<PathBuf, Failure> {
        let services: serde_json::Map<String, Value> = (1..=services)
            .map(|number| {
                let service = json!({
                    "image": self.image(),
                    "command": ["demo-app"],
                    "user": "65532:65532",
                    "networks": ["front"],
                    "labels": { LABEL: self.run },
                    "deploy": { "replicas": replicas },
                    "x-phoenix": {
                        "ttl": "24h",
                        "jitter": "0s",
                        "drain": "0s",
                        "probe": {
                            "http": "/healthz",
                            "port": 8080,
                            "successes": 1,
                            "min_ready": "0s",
                        },
                    },
                });
                (format!("web{number}"), service)
            })
            .collect();
        let networks = json!({ "front": { "labels": { LABEL: self.run } } });
        self.write(&Value::Object(services), &networks)
    }

    /// Writes a Compose file with these services and networks; its path.
    fn write(&self, services: &Value, networks: &Value) -> Result<PathBuf, Failure> {
        let file = json!({
            "name": self.project(),
            "services": services,
            "networks": networks,
        });
        // JSON is YAML.
        let path = self.directory.join("compose.yaml");
        fs::write(&path, format!("{file:#}"))?;
        Ok(path)
    }

    /// Writes a Compose file of one service `web`, with these keys over the usual ones; its path.
    pub(crate) fn compose_of(&self, over: &Value, phoenix: &Value) -> Result<PathBuf, Failure> {
        let mut web = json!({
            "image": self.image(),
            "command": ["demo-app"],
            "user": "65532:65532",
            "labels": { LABEL: self.run },
            "x-phoenix": { "drain": "0s", "probe": { "http": "/healthz", "port": 8080 } },
        });
        merge(&mut web, over);
        merge(&mut web["x-phoenix"], phoenix);
        let networks = json!({ "default": { "labels": { LABEL: self.run } } });
        self.write(&json!({ "web": web }), &networks)
    }

    pub(crate) fn project(&self) -> String {
        format!("phoenixd-bench-{}", self.run)
    }

    /// A command of phoenixd's on the run's project.
    pub(crate) fn command(&self, file: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.phoenixd);
        command
            .arg("--state-dir")
            .arg(&self.directory)
            .arg("--file")
            .arg(file)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // Ctrl-C is for this process alone.
            .process_group(0);
        command
    }

    /// Its standard output, or what it complained of.
    pub(crate) fn output(&self, file: &Path, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(file, arguments).output()?;
        if status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&stderr);
        Err(format!("phoenixd {}: {status}\n{stderr}", arguments.join(" ")).into())
    }

    /// Starts a supervisor and waits until `replicas` are ready; its process id.
    pub(crate) fn up(&mut self, file: &Path, replicas: usize) -> Result<u32, Failure> {
        let log = fs::File::create(self.directory.join("up.log"))?;
        let child = self
            .command(file, &["up"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let pid = child.id();
        self.supervisor = Some(child);
        wait_for("the replicas to be ready", LIMIT, || {
            if let Some(child) = &mut self.supervisor
                && let Some(status) = child.try_wait()?
            {
                let log = fs::read_to_string(self.directory.join("up.log"))?;
                return Err(format!("phoenixd up: {status}\n{log}").into());
            }
            // Until its socket is there, it does not answer.
            let rows = self
                .output(file, &["ps", "--format", "json"])
                .and_then(|rows| Ok(serde_json::from_slice::<Vec<Value>>(&rows)?))
                .unwrap_or_default();
            // `web/edge` is of a pod.
            let is_part = |row: &&Value| !row["service"].as_str().is_some_and(is_plain);
            let (parts, own): (Vec<_>, Vec<_>) = rows.iter().partition(is_part);
            let ready = own.iter().filter(|row| row["ready"] == true).count();
            let is_reached = parts.iter().all(|row| row["ready"] == true);
            Ok((ready == replicas && is_reached).then_some(()))
        })?;
        Ok(pid)
    }

    /// Ends the supervisor as an operator's worst mistake would: its replicas run on.
    pub(crate) fn kill_supervisor(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.supervisor.take() {
            // By id; SIGKILL, since nothing may depend on a good end.
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The ids of the run's containers that also have these labels.
    pub(crate) fn containers(&self, labels: &[&str]) -> Result<Vec<String>, Failure> {
        let project = format!("phoenixd.project={}", self.project());
        let labels: Vec<&str> = labels.iter().copied().chain([project.as_str()]).collect();
        let filters = encoded(&json!({ "label": labels }).to_string());
        let path = format!("/containers/json?all=true&filters={filters}");
        list(&mut Engine::connect(&self.address)?, &path)
    }

    /// Ends the supervisor and removes what it has made.
    pub(crate) fn down(&mut self) -> Result<(), Failure> {
        self.kill_supervisor()?;
        let file = self.directory.join("compose.yaml");
        let told = if file.exists() {
            // Directories and the image of pods are known to it alone.
            self.output(&file, &["down"]).map(drop)
        } else {
            Ok(())
        };
        self.remove_what_is_left()?;
        told
    }

    fn remove_what_is_left(&self) -> Result<(), Failure> {
        let (label, engine) = (self.label(), &mut Engine::connect(&self.address)?);
        let filters = encoded(&json!({ "label": [label] }).to_string());
        // What the engine was still making when the supervisor was killed comes late.
        loop {
            let path = format!("/containers/json?all=true&filters={filters}");
            let mut ids = list(engine, &path)?;
            // The containers of pods have no labels of the file's.
            ids.extend(self.containers(&[])?);
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                break;
            }
            remove_all(&self.address, &ids)?;
        }
        for id in list(engine, &format!("/networks?filters={filters}"))? {
            engine.call("DELETE", &format!("/networks/{id}"), None)?;
        }
        Ok(())
    }

    /// The events of the run's containers from now on.
    pub(crate) fn events(&self) -> Events {
        let (sender, receiver) = channel();
        let (address, label) = (self.address.clone(), self.label());
        std::thread::spawn(move || {
            // Its end ends the channel, which whoever waits notices.
            drop(follow_events(&address, &label, |event| {
                sender.send(event).is_ok()
            }));
        });
        Events(receiver)
    }
}

/// The name of a service of the file.
fn is_plain(service: &str) -> bool {
    !service.contains('/')
}

/// The ids in one of the engine's lists.
fn list(engine: &mut Engine, path: &str) -> Result<Vec<String>, Failure> {
    let found = engine.call("GET", path, None)?;
    let found = found.as_array().cloned().unwrap_or_default();
    Ok(found
        .iter()
        .filter_map(|one| one["Id"].as_str().map(str::to_owned))
        .collect())
}

/// Lays the fields of one object over another's.
fn merge(object: &mut Value, over: &Value) {
    if let (Some(object), Some(over)) = (object.as_object_mut(), over.as_object()) {
        object.extend(over.clone());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let (image, address) = (self.image(), self.address.clone());
        let ended = self.down().or_else(|_| {
            std::thread::sleep(Duration::from_secs(1));
            self.down()
        });
        if let Err(error) = ended {
            eprintln!("left behind: {error}; label {LABEL}={}", self.run);
        }
        let removed = Engine::connect(&address).and_then(|mut engine| {
            engine.call("DELETE", &format!("/images/{image}?force=true"), None)
        });
        if let Err(error) = removed {
            eprintln!("left behind: {error}");
        }
        if let Err(error) = fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("left behind: {}: {error}", self.directory.display());
        }
    }
}

/// Removes containers, a few at once.
fn remove_all(address: &Address, ids: &[String]) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let share = ids.len().div_ceil(REMOVED_AT_ONCE).max(1);
        let removing: Vec<_> = ids
            .chunks(share)
            .map(|ids| {
                scope.spawn(move || -> Result<(), Failure> {
                    let mut engine = Engine::connect(address)?;
                    for id in ids {
                        let path = format!("/containers/{id}?force=true&v=true");
                        engine.call("DELETE", &path, None)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in removing {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

/// Events as they come.
pub(crate) struct Events(Receiver<ContainerEvent>);

impl Events {
    /// Forgets what has come.
    pub(crate) fn skip(&self) {
        while self.0.try_recv().is_ok() {}
    }

    /// How many of this kind have come; forgets all.
    pub(crate) fn count(&self, action: &str) -> usize {
        let came = self.0.try_iter();
        came.filter(|event| event.action == action).count()
    }

    /// What comes up to the first event of this kind.
    pub(crate) fn until(&self, action: &str) -> Result<Vec<ContainerEvent>, Failure> {
        let mut seen = Vec::new();
        let began = Instant::now();
        loop {
            go_on()?;
            match self.0.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => {
                    let is_last = event.action == action;
                    seen.push(event);
                    if is_last {
                        return Ok(seen);
                    }
                }
                Err(RecvTimeoutError::Timeout) if began.elapsed() < LIMIT => {}
                Err(_) => return Err(format!("no event `{action}` came").into()),
            }
        }
    }
}
