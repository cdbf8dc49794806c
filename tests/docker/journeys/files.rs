//! Secrets and configs: what a replica gets, that it cannot change it, that nobody else learns it, and what is left of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::support::{Journey, Random, http, pause, until};

const SOON: Duration = Duration::from_secs(20);
/// The replica's user, by the image.
const USER: u32 = 65_534;
const SERVICE: &str = "secrets:
  - { source: pw, mode: 0400, uid: \"65534\", gid: \"12345\" }
  - token
configs:
  - { source: app, target: /etc/app/app.conf, mode: 0440, gid: \"65534\" }
  - { source: app, target: /was-here, mode: 0666 }";
const TOP: &str = "secrets:
  pw: { file: ./pw.txt }
  token: { environment: PHX_TOKEN }
configs:
  app: { content: \"greeting = ${PHX_GREETING}\" }
";
/// Copies of one generation: `app` with two modes.
const COPIES: usize = 4;

/// A service with a secret of a file, one of the environment, and a config of the file itself.
struct Secretive {
    journey: Journey,
    password: RefCell<String>,
    token: String,
    greeting: String,
}

impl Secretive {
    fn new(replicas: u32) -> Self {
        let mut journey = Journey::new();
        let name = journey.project.clone();
        let (token, greeting) = (format!("token of {name}"), format!("hello from {name}"));
        journey.environment = vec![
            ("PHX_TOKEN".to_owned(), token.clone()),
            ("PHX_GREETING".to_owned(), greeting.clone()),
        ];
        journey.write(&(journey.web(replicas, SERVICE, "drain: 200ms") + TOP));
        let made = Self {
            journey,
            password: RefCell::default(),
            token,
            greeting,
        };
        made.set_password("hunter2");
        made
    }

    /// Writes into the file in place, as editors and `sed -i` alike may not.
    fn set_password(&self, password: &str) {
        let password = format!("{password} of {}", self.journey.project);
        fs::write(self.journey.path("pw.txt"), &password).expect("write the password");
        self.password.replace(password);
    }

    fn password(&self) -> String {
        self.password.borrow().clone()
    }

    fn only(&self) -> Value {
        let ids = self.journey.running_ids();
        assert_eq!(ids.len(), 1, "{ids:?}");
        self.journey.inspect(&ids[0])
    }

    /// The directory of the copies, by what the engine was asked to mount.
    fn directory(&self) -> PathBuf {
        let inspect = self.journey.inspect(&self.journey.running_ids()[0]);
        let mounts = mounts(&inspect);
        let source = mounts[0]["Source"].as_str().expect("a source");
        Path::new(source).parent().expect("a directory").to_owned()
    }

    /// The copies that the running replicas mount.
    fn mounted(&self) -> BTreeSet<String> {
        let sources = |id: &String| {
            let inspect = self.journey.inspect(id);
            let sources = mounts(&inspect).iter();
            let names = sources.map(|mount| name_of(mount["Source"].as_str().expect("a source")));
            names.collect::<Vec<_>>()
        };
        self.journey
            .running_ids()
            .iter()
            .flat_map(sources)
            .collect()
    }

    /// The password as a replica has it.
    fn seen_by(&self, id: &str) -> String {
        let pid = self.journey.inspect(id)["State"]["Pid"].to_string();
        fs::read_to_string(format!("/proc/{pid}/root/run/secrets/pw")).expect("the secret")
    }

    /// Waits until nothing but what is mounted is there.
    #[track_caller]
    fn await_tidy(&self) {
        let directory = self.directory();
        until("only the copies that are mounted are there", SOON, || {
            let (there, mounted) = (names(&directory), self.mounted());
            if there == mounted && there.len() == COPIES {
                Ok(())
            } else {
                Err((there, mounted))
            }
        });
    }

    /// The contents stand in none of these.
    #[track_caller]
    fn nothing_in(&self, places: &[(&str, String)]) {
        for (what, text) in places {
            assert!(!text.is_empty(), "{what} is empty");
            for content in [&self.password(), &self.token, &self.greeting] {
                assert!(
                    !text.contains(content.as_str()),
                    "`{content}` is in {what}:\n{text}"
                );
            }
        }
    }
}

fn mounts(inspect: &Value) -> &Vec<Value> {
    inspect["HostConfig"]["Mounts"].as_array().expect("mounts")
}

fn name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What is in a directory; nothing where there is none.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

/// A command as the replica's user, without any capability.
fn as_replica(command: &[&str]) -> Command {
    let mut all = Command::new("setpriv");
    all.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    all.args(command);
    all
}

#[test]
fn a_read_only_replica_reads_its_secrets_and_configs_and_cannot_write_them() {
    let secretive = Secretive::new(1);
    let journey = &secretive.journey;
    let mut supervisor = journey.up_with(&["-vv"]);
    supervisor.await_ready(1);
    let inspect = secretive.only();
    assert_eq!(inspect["HostConfig"]["ReadonlyRootfs"], true);
    let root = format!("/proc/{}/root", inspect["State"]["Pid"]);
    let config = format!("greeting = {}", secretive.greeting);
    for (target, content, mode, uid, gid) in [
        (
            "/run/secrets/pw",
            &secretive.password(),
            0o400,
            USER,
            12_345,
        ),
        ("/run/secrets/token", &secretive.token, 0o444, 0, 0),
        ("/etc/app/app.conf", &config, 0o440, 0, USER),
        ("/was-here", &config, 0o666, 0, 0),
    ] {
        let path = format!("{root}{target}");
        let stat = fs::metadata(&path).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(stat.mode(), 0o100_000 | mode, "{target}: {:o}", stat.mode());
        assert_eq!((stat.uid(), stat.gid()), (uid, gid), "{target}");
        let read = as_replica(&["cat", &path]).output().expect("setpriv");
        assert!(read.status.success(), "{target}: {read:?}");
        assert_eq!(String::from_utf8_lossy(&read.stdout), *content, "{target}");
        // Not even root of the host, through the replica's own mount.
        let error = fs::write(&path, "changed").expect_err("read-only");
        assert_eq!(
            error.kind(),
            ErrorKind::ReadOnlyFilesystem,
            "{target}: {error}"
        );
    }
    // The replica itself: its mode would let it write there.
    let attempts = journey.post("/break-in").json();
    let attempt = attempts.as_array().expect("attempts").iter();
    let mut attempt = attempt.filter(|attempt| attempt["what"] == "leave a file on the disk");
    let attempt = attempt.next().expect("that attempt");
    assert_eq!(attempt["succeeded"], false, "{attempt}");
    assert!(
        attempt["answer"]
            .to_string()
            .contains("Read-only file system"),
        "{attempt}"
    );

    for mount in mounts(&inspect) {
        assert_eq!(
            (&mount["Type"], &mount["ReadOnly"]),
            (&"bind".into(), &true.into()),
            "{mount}"
        );
        assert_eq!(mount["BindOptions"]["Propagation"], "rprivate", "{mount}");
    }
    assert_eq!(mounts(&inspect).len(), COPIES);
    let closed = fs::metadata(secretive.directory()).expect("the directory");
    assert_eq!(closed.mode() & 0o777, 0o700);
    secretive.await_tidy();
    told_to_nobody(&secretive, &inspect);
    supervisor.end();
}

/// Names and targets are told, contents are not.
#[track_caller]
fn told_to_nobody(secretive: &Secretive, inspect: &Value) {
    let journey = &secretive.journey;
    let check = journey.run(&["check"]).success();
    let named = "ok         secret pw at /run/secrets/pw, mode 0400, owner 65534:12345, read-only";
    assert!(check.stdout.contains(named), "{check:#?}");
    let plan = journey.run(&["plan", "--format", "json"]).success();
    for told in ["\"name\": \"pw\"", "\"target\": \"/run/secrets/pw\""] {
        assert!(plan.stdout.contains(told), "{told}: {}", plan.stdout);
    }
    let socket = journey
        .path("state")
        .join(&journey.project)
        .join("api.sock");
    let stream = UnixStream::connect(socket).expect("the API");
    let status = http::request(&mut BufReader::new(stream), "GET", "/v1/status", true);
    let status = status.expect("the status");
    assert_eq!(status.status, 200);
    let all = |output: super::support::Output| output.stdout + &output.stderr;
    secretive.nothing_in(&[
        ("inspect", inspect.to_string()),
        ("check", all(check)),
        ("plan as JSON", all(plan)),
        ("plan", all(journey.run(&["plan"]).success())),
        ("ps", all(journey.run(&["ps"]).success())),
        ("events", all(journey.run(&["events"]).success())),
        ("the API", status.text()),
        ("the log", journey.log()),
    ]);
    // The journal, the key and whatever else is kept.
    let state = journey.path("state").join(&journey.project);
    for entry in fs::read_dir(state).expect("the state directory") {
        let path = entry.expect("an entry").path();
        if path.metadata().expect("an entry").is_file() {
            let bytes = fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let name = path.display().to_string();
            secretive.nothing_in(&[(&name, text)]);
        }
    }
    let key = journey
        .path("state")
        .join(&journey.project)
        .join("files.key");
    assert_eq!(fs::metadata(key).expect("the key").mode() & 0o777, 0o600);
}

#[test]
fn an_edited_secret_reaches_replicas_of_the_next_generation_only_and_start_first() {
    let secretive = Secretive::new(2);
    let supervisor = secretive.journey.up_ready(2);
    let before = secretive.journey.running_ids();
    let copies = secretive.mounted();
    let first = secretive.password();
    secretive.set_password("changed");
    for id in &before {
        assert_eq!(
            secretive.seen_by(id),
            first,
            "an edit in place reaches nobody"
        );
    }
    // Those that rise meanwhile are of the old content, too.
    secretive.journey.run(&["recycle"]).success();
    let recycled = secretive.journey.running_ids();
    assert!(recycled.iter().all(|id| !before.contains(id)));
    assert_eq!(secretive.mounted(), copies);
    for id in &recycled {
        assert_eq!(secretive.seen_by(id), first);
    }
    supervisor.end();
    assert_eq!(
        names(&secretive.directory()),
        copies,
        "the end of a supervisor removes nothing"
    );

    let journey = &secretive.journey;
    let events = journey.engine.events(&journey.label());
    let supervisor = journey.up_ready_when(2, |inspect| {
        inspect["Config"]["Labels"]["phoenixd.generation"] == "2"
    });
    for id in &journey.running_ids() {
        assert_eq!(secretive.seen_by(id), secretive.password());
    }
    let (mut running, mut least) = (2, 2);
    for (action, _) in events.actions() {
        running += i32::from(action == "start") - i32::from(action == "die");
        least = running.min(least);
    }
    assert_eq!(least, 2, "start first: {:#?}", events.actions());
    secretive.await_tidy();
    let changed: Vec<String> = secretive.mounted().difference(&copies).cloned().collect();
    assert_eq!(
        changed.len(),
        1,
        "the other copies are the same: {changed:?}"
    );
    supervisor.end();

    // The same contents once more change nothing.
    let ids = journey.running_ids();
    let supervisor = journey.up_ready(2);
    assert_eq!(journey.running_ids(), ids);
    supervisor.end();
}

/// Nobody can tell any more what the copies were made of: they are made anew.
#[test]
fn a_lost_key_is_a_new_generation_with_the_same_secrets() {
    let secretive = Secretive::new(2);
    let journey = &secretive.journey;
    journey.up_ready(2).end();
    let copies = secretive.mounted();
    fs::remove_file(
        journey
            .path("state")
            .join(&journey.project)
            .join("files.key"),
    )
    .expect("the key");
    let supervisor = journey.up_ready_when(2, |inspect| {
        inspect["Config"]["Labels"]["phoenixd.generation"] == "2"
    });
    secretive.await_tidy();
    assert!(secretive.mounted().is_disjoint(&copies));
    for id in &journey.running_ids() {
        assert_eq!(secretive.seen_by(id), secretive.password());
    }
    supervisor.end();
}

#[test]
fn a_killed_supervisor_s_copies_are_cleared_away_by_the_next_one_and_all_of_them_by_down() {
    let mut random = Random::seeded("kill -9 with secrets");
    let secretive = Secretive::new(2);
    secretive.journey.up_ready(2).end();
    let directory = secretive.directory();
    for round in 0..4 {
        secretive.set_password(&format!("round {round}"));
        let supervisor = secretive.journey.up();
        pause(Duration::from_millis(random.below(2500)));
        supervisor.kill();
    }
    // What a process leaves that is killed within a write, and by a generation that nobody saw begin.
    for name in [
        "draft.0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef",
    ] {
        fs::write(directory.join(name), "left behind").expect("a leftover");
    }
    let supervisor = secretive.journey.up();
    let journey = &secretive.journey;
    until(
        "both replicas have the newest secret",
        Duration::from_mins(1),
        || {
            let newest = |id: &String| {
                let inspect = journey.engine.inspect(id)?;
                let pid = inspect["State"]["Pid"].as_u64()?;
                let path = format!("/proc/{pid}/root/run/secrets/pw");
                (fs::read_to_string(path).ok()? == secretive.password()).then_some(())
            };
            let made = journey.containers();
            let ids: Vec<String> = made.iter().map(|made| made.id.clone()).collect();
            if ids.len() == 2 && ids.iter().all(|id| newest(id).is_some()) {
                Ok(())
            } else {
                Err(made)
            }
        },
    );
    secretive.await_tidy();
    supervisor.kill();

    // By a process of its own, and by the supervisor.
    let project = directory
        .ancestors()
        .nth(2)
        .expect("the project's directory")
        .to_owned();
    assert!(project.ends_with(&journey.project), "{project:?}");
    journey.run(&["down"]).success();
    assert_eq!(journey.containers(), []);
    assert!(!project.exists(), "{project:?} is left");
    let mut supervisor = journey.up_ready(2);
    assert!(project.exists());
    journey.run(&["down"]).success();
    supervisor.wait();
    assert_eq!(journey.containers(), []);
    assert!(!project.exists(), "{project:?} is left");

    // A service that gave its secrets up leaves none behind.
    journey.up_ready(2).end();
    journey.write(&journey.web(2, "", "drain: 200ms"));
    let supervisor = journey.up_ready_when(2, |inspect| inspect["HostConfig"]["Mounts"].is_null());
    until("no copy is left", SOON, || {
        // In a pod the control sockets of its edges lie beside them.
        let is_left = if journey.is_in_pods() {
            !names(&directory).is_empty()
        } else {
            project.exists()
        };
        if is_left {
            Err(names(&directory))
        } else {
            Ok(())
        }
    });
    supervisor.end();
}

#[test]
fn an_engine_that_cannot_see_the_copies_is_refused_before_anything_is_made() {
    let secretive = Secretive::new(1);
    let journey = &secretive.journey;
    let Some(socket) = journey.engine.socket() else {
        // The engine of the environment is such a one itself.
        refused(&secretive, &["up"]);
        return;
    };
    let relay = Relay::to(socket.to_owned());
    let host = format!("tcp://{}", relay.address);
    refused(&secretive, &["up", "--docker-host", &host]);
    refused(&secretive, &["check", "--docker-host", &host]);
    // Without secrets and configs the same engine will do.
    journey.write(&journey.web(1, "", ""));
    journey.run(&["check", "--docker-host", &host]).success();
}

#[track_caller]
fn refused(secretive: &Secretive, arguments: &[&str]) {
    let journey = &secretive.journey;
    let output = journey.run(arguments).unmet(&[
        "compose.yaml:",
        "`web` cannot have its secrets and configs",
        "it is reached over TCP",
        "run phoenixd on the engine's host",
    ]);
    println!("{}", output.stderr);
    assert_eq!(journey.containers(), []);
    assert!(journey.engine.networks(&journey.label()).is_empty());
    secretive.nothing_in(&[("the refusal", output.stderr)]);
}

/// The engine's socket as a port of this host.
struct Relay {
    address: std::net::SocketAddr,
}

impl Relay {
    fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(near), Ok(far)) = (stream, UnixStream::connect(&socket)) else {
                    return;
                };
                pump(&near, &far);
            }
        });
        Self { address }
    }
}

/// Until either side ends; a fault is the end of both.
fn pump(near: &TcpStream, far: &UnixStream) {
    let clone = || Ok::<_, io::Error>((near.try_clone()?, far.try_clone()?));
    let (Ok((mut near_in, mut far_out)), Ok((mut near_out, mut far_in))) = (clone(), clone())
    else {
        return;
    };
    std::thread::spawn(move || {
        drop(io::copy(&mut near_in, &mut far_out));
        drop(far_out.shutdown(std::net::Shutdown::Both));
    });
    std::thread::spawn(move || {
        drop(io::copy(&mut far_in, &mut near_out));
        drop(near_out.shutdown(std::net::Shutdown::Both));
    });
}
