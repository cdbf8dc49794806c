//! The witnesses beside real containers: each way in is found, and a container at rest, with a health check every
//! second, shows nothing but that.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use phoenixd::reconcile::{Entry, Intruder, Origin, Touch};
use phoenixd::spec::ContainerId;
use phoenixd::witness::{Layers, Scanner, Watched};
use serde_json::{Value, json};

use super::support::{Journey, STRANGER, eventually, now, pause, since, until};

const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(5);

/// A container of the journey's image, hardened, and who watches it.
struct Watch<'a> {
    journey: &'a Journey,
    id: String,
    pid: u32,
    upper: Option<PathBuf>,
    scanner: Scanner,
    layers: Layers,
}

impl<'a> Watch<'a> {
    fn new(journey: &'a Journey, further: &Value) -> Self {
        let mut body = json!({
            "Image": journey.image(),
            "Labels": { STRANGER: journey.project },
            "HostConfig": {
                "ReadonlyRootfs": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Init": true,
                "Tmpfs": { "/tmp": "exec,mode=1777" },
            },
        });
        for (key, value) in further.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let (id, inspect) = start(journey, &body);
        let pid = number(&inspect["State"]["Pid"]);
        let upper = inspect["GraphDriver"]["Data"]["UpperDir"].as_str();
        let mut watch = Self {
            journey,
            id,
            pid,
            upper: upper.map(PathBuf::from),
            scanner: Scanner::new("/proc"),
            layers: Layers::new().expect("inotify"),
        };
        watch.scanner.watch(&[Watched {
            in_pod: false,
            id: ContainerId::new(watch.id.clone()),
            pid,
            upper: watch.upper.clone(),
        }]);
        if let Some(upper) = &watch.upper {
            let id = ContainerId::new(watch.id.clone());
            watch.layers.watch(&id, upper).expect("its layer");
        }
        watch
    }

    /// Looks as the supervisor does, until something of the kind is found, or for so long.
    fn look<T>(&mut self, span: Duration, mut wanted: impl FnMut(&Touch) -> Option<T>) -> Vec<T> {
        let began = now();
        let mut full = began;
        loop {
            let mut found = self.scanner.quick(now());
            if since(full) > Duration::from_millis(250) {
                full = now();
                found.extend(self.scanner.full(now()));
            }
            found.extend(self.layers.changes());
            assert!(
                found.iter().all(|(id, _)| id.as_str() == self.id),
                "{found:?}"
            );
            let wanted: Vec<T> = found
                .iter()
                .filter_map(|(_, touch)| wanted(touch))
                .collect();
            if !wanted.is_empty() || since(began) > span {
                return wanted;
            }
            pause(TICK);
        }
    }

    #[track_caller]
    fn finds<T>(&mut self, what: &str, wanted: impl FnMut(&Touch) -> Option<T>) -> T {
        let mut found = self.look(PATIENCE, wanted);
        assert!(!found.is_empty(), "not found: {what}");
        found.remove(0)
    }

    /// Begins an exec from another thread: the call returns when the runtime has ended.
    fn exec(&mut self, command: &[&str], further: &Value) {
        // From here on everything is new.
        self.scanner.full(now());
        let mut body = json!({ "Cmd": command });
        for (key, value) in further.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let engine = &self.journey.engine;
        let made = engine.must(
            "POST",
            &format!("/containers/{}/exec", self.id),
            Some(&body),
        );
        let exec = made.json()["Id"].as_str().expect("an id").to_owned();
        let body = json!({ "Detach": true });
        let engine = engine.clone();
        std::thread::spawn(move || {
            // Whether it succeeds is not what is looked at.
            drop(engine.call("POST", &format!("/exec/{exec}/start"), Some(&body)));
        });
    }
}

fn start(journey: &Journey, body: &Value) -> (String, Value) {
    let made = journey
        .engine
        .must("POST", "/containers/create", Some(body));
    let id = made.json()["Id"].as_str().expect("an id").to_owned();
    journey
        .engine
        .must("POST", &format!("/containers/{id}/start"), None);
    let inspect = journey.inspect(&id);
    (id, inspect)
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("a number")).expect("a pid")
}

fn intruder(touch: &Touch) -> Option<Intruder> {
    if let Touch::Intruder(intruder) = touch {
        return Some(intruder.clone());
    }
    None
}

/// A program of the host that runs until the test ends.
struct Running(Child);

impl Running {
    fn new(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it runs"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn an_exec_is_found_without_the_engine_s_events_with_what_it_was_started_with() {
    let journey = Journey::new();
    let mut watch = Watch::new(&journey, &json!({}));
    watch.exec(&["/phoenixd", "--version"], &json!({}));
    let found = watch.finds("a short exec", intruder);
    assert_eq!(found.how, Entry::Shim);
    assert_eq!(found.arguments, ["/phoenixd", "--version"]);
    assert_eq!((found.uid, found.cap_bounding), (Some(65534), Some(0)));
    assert_eq!(found.terminal, Some(false));

    watch.exec(
        &["/phoenixd", "demo-app", "--help"],
        &json!({ "Privileged": true, "User": "0", "Tty": true }),
    );
    let found = watch.finds("a privileged exec", intruder);
    assert_eq!(found.arguments, ["/phoenixd", "demo-app", "--help"]);
    assert_eq!((found.uid, found.terminal), (Some(0), Some(true)));
    assert!(
        found.cap_bounding.is_some_and(|mask| mask & (1 << 21) != 0),
        "SYS_ADMIN"
    );
}

#[test]
fn who_enters_the_namespaces_around_the_engine_is_found() {
    let journey = Journey::new();
    let mut watch = Watch::new(&journey, &json!({}));
    let pid = watch.pid.to_string();
    let outside = |touch: &Touch| {
        intruder(touch).filter(|found| matches!(found.how, Entry::OtherCgroup { .. }))
    };
    for namespace in ["-p", "-n"] {
        let _entered = Running::new("nsenter", &["-t", &pid, namespace, "sleep", "60"]);
        let found = watch.finds(namespace, outside);
        assert_eq!(found.how, Entry::OtherCgroup { container: None });
        assert_eq!(found.uid, Some(0));
    }
    let sibling = json!({
        "Image": journey.image(),
        "Labels": { STRANGER: journey.project },
        "HostConfig": { "PidMode": format!("container:{}", watch.id) },
    });
    let (other, _) = start(&journey, &sibling);
    let found = watch.finds("a sibling", |touch| {
        outside(touch).filter(|found| found.how != Entry::OtherCgroup { container: None })
    });
    let container = Some(ContainerId::new(other));
    assert_eq!(found.how, Entry::OtherCgroup { container });
}

#[test]
fn the_supervisor_hears_of_who_enters_a_replica_and_of_what_is_written_to_its_layer() {
    let mut journey = Journey::of_web(1, "", "");
    let debug = ("RUST_LOG".to_owned(), "phoenixd=debug".to_owned());
    journey.environment.push(debug);
    let _supervisor = journey.up_ready(1);
    let inspect = journey.inspect(&journey.running_ids().remove(0));
    let log = || fs::read_to_string(journey.path("up.log")).expect("a log");
    let hears = |what: &str| {
        let began = now();
        eventually(what, PATIENCE, log, |log| log.contains(what));
        println!("{what}: told after {:?}", since(began));
    };
    // The layer is followed once process 1 was seen.
    hears("it listens on");
    let pid = inspect["State"]["Pid"].to_string();
    let _entered = Running::new("nsenter", &["-t", &pid, "-p", "sleep", "60"]);
    hears("entered its namespaces");
    let upper = inspect["GraphDriver"]["Data"]["UpperDir"].as_str();
    let written = fs::write(PathBuf::from(upper.expect("a layer")).join("was-here"), "x");
    // It may have been replaced already.
    if written.is_ok() {
        hears("/was-here");
    }
}

#[test]
fn a_change_of_the_writable_layer_is_found() {
    let journey = Journey::new();
    let mut watch = Watch::new(&journey, &json!({}));
    let Some(upper) = watch.upper.clone() else {
        panic!("this storage driver has no layer of its own");
    };
    fs::write(upper.join("was-here"), "x").expect("write");
    let changed = watch.finds("a change", |touch| {
        if let Touch::Changed(path) = touch {
            return Some(path.clone());
        }
        None
    });
    assert_eq!(changed.as_deref(), Some("/was-here"));
}

#[test]
fn a_program_that_was_brought_is_found() {
    let journey = Journey::new();
    let mut watch = Watch::new(&journey, &json!({}));
    // As somebody inside would: into the container's tmpfs, and run from there.
    let root = PathBuf::from(format!("/proc/{}/root", watch.pid));
    fs::copy(root.join("phoenixd"), root.join("tmp/brought")).expect("copy");
    watch.exec(
        &["/tmp/brought", "demo-app"],
        &json!({ "Env": ["PORT=18080"] }),
    );
    let found = watch.finds("a program", |touch| {
        if let Touch::Program(program) = touch {
            return Some(program.clone());
        }
        None
    });
    assert_eq!(
        (found.origin, found.path.as_str()),
        (Origin::Mount, "/tmp/brought")
    );
}

#[test]
fn what_it_listens_on_is_found_and_who_comes_in_is_no_peer() {
    let journey = Journey::new();
    let mut watch = Watch::new(&journey, &json!({}));
    let inspect = journey.inspect(&watch.id);
    let networks = inspect["NetworkSettings"]["Networks"]
        .as_object()
        .expect("networks");
    let address = networks.values().next().expect("one")["IPAddress"]
        .as_str()
        .expect("one");
    let _client = until("it answers", PATIENCE, || {
        TcpStream::connect(format!("{address}:8080"))
    });
    // Its process 1 is the program by now.
    assert_eq!(watch.scanner.full(now()), []);
    let told: Vec<String> = (watch.scanner.sockets().iter())
        .map(|(_, touch)| touch.to_string())
        .collect();
    assert_eq!(told, ["it listens on 0.0.0.0:8080/tcp"]);
    assert_eq!(watch.scanner.sockets(), []);
}

#[test]
fn a_container_at_rest_with_a_health_check_every_second_shows_nothing_else() {
    let journey = Journey::new();
    let test = ["/phoenixd", "--version"];
    let check = json!({ "Test": ["CMD", test[0], test[1]], "Interval": 1_000_000_000_u64 });
    let mut watch = Watch::new(&journey, &json!({ "Healthcheck": check }));
    let began = now();
    let mut checks = 0;
    while since(began) < Duration::from_mins(1) {
        for touch in watch.look(Duration::from_secs(1), |touch| Some(touch.clone())) {
            let Touch::Intruder(found) = touch else {
                panic!("a container at rest: {touch}");
            };
            assert_eq!(found.how, Entry::Shim, "{found:?}");
            assert_eq!(found.arguments, test, "{found:?}");
            assert_eq!((found.uid, found.cap_bounding), (Some(65534), Some(0)));
            assert_eq!(found.terminal, Some(false));
            checks += 1;
        }
    }
    println!("{checks} health checks were seen");
    assert!((10..=62).contains(&checks), "each once: {checks}");
}
