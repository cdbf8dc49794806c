//! The pod of two: the address that stays, the edge that comes and goes in it, and who is still served.

use std::fs;
use std::io::{self, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::ports;

use super::support::{Journey, Load, Made, http, now, pause, since, until, variable};

const PATIENCE: Duration = Duration::from_secs(40);
/// Each time with all replicas, and with the edge alone.
const RECYCLES: usize = 10;
/// The name that a client inside asks for.
const CLIENT: &str = "PHOENIXD_TEST_CLIENT_ASKS_FOR";
/// The supervisor is away for so long.
const AWAY: Duration = Duration::from_secs(20);

/// A project whose services are reached through pods.
fn journey(replicas: u32, phoenix: &str) -> Journey {
    let journey = Journey::of_web(replicas, "", phoenix);
    assert!(journey.is_in_pods(), "nobody asks for anything else");
    journey
}

fn named(journey: &Journey, part: &str) -> Vec<Made> {
    let name = format!("{}-{part}", journey.project);
    let all = journey.all_containers();
    let of = all.into_iter().filter(|one| one.name.starts_with(&name));
    of.collect()
}

fn ids(journey: &Journey) -> Vec<String> {
    let all = journey.all_containers().into_iter();
    all.map(|one| one.id).collect()
}

#[track_caller]
fn one(journey: &Journey, part: &str) -> Made {
    let mut all = named(journey, part);
    assert_eq!(all.len(), 1, "{part}: {all:#?}");
    all.remove(0)
}

/// The address on the project's network.
fn address(journey: &Journey, container: &str) -> String {
    let network = format!("{}_default", journey.project);
    let inspect = journey.inspect(container);
    let address = &inspect["NetworkSettings"]["Networks"][&network]["IPAddress"];
    address.as_str().unwrap_or_default().to_owned()
}

/// Asks Docker's name server, as any program in the container would.
fn resolve(name: &str) -> io::Result<Vec<Ipv4Addr>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.push(u8::try_from(name.len()).expect("a label"));
    question.extend_from_slice(name.as_bytes());
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&question, ("127.0.0.11", 53))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let answers = usize::from(answer[7]);
    let mut at = question.len();
    let mut found = Vec::new();
    for _ in 0..answers {
        // A pointer to the name, type, class, time to live, length; or the name again.
        at += if answer[at] & 0xc0 == 0xc0 {
            2
        } else {
            name.len() + 2
        };
        let size = usize::from(answer[at + 9]);
        let bytes: [u8; 4] = answer[at + 10..length][..4].try_into().expect("an address");
        found.push(Ipv4Addr::from(bytes));
        at += 10 + size;
    }
    Ok(found)
}

/// What a client of the network gets who only knows the name: the addresses, and the answer's status. It is this program,
/// in the network namespace of a container; `nsenter` is util-linux's.
#[track_caller]
fn by_name(journey: &Journey, from: &str, name: &str) -> (Vec<Ipv4Addr>, Option<u16>) {
    let pid = journey.inspect(from)["State"]["Pid"].to_string();
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("nsenter")
        .args(["--target", &pid, "--net", "--"])
        .arg(program)
        .args(["--exact", "journeys::pods::a_client_inside", "--nocapture"])
        .env(CLIENT, name)
        .output()
        .expect("nsenter");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim().to_owned()
    };
    let found = words("found:");
    let addresses = found
        .split_whitespace()
        .map(|one| one.parse().expect("an address"));
    (addresses.collect(), words("status:").parse().ok())
}

/// No test by itself: what [`by_name`] runs inside.
#[test]
fn a_client_inside() {
    let Some(name) = variable(CLIENT) else { return };
    let found = resolve(&name).expect("the name server");
    let words: Vec<String> = found.iter().map(Ipv4Addr::to_string).collect();
    println!("\nfound: {}", words.join(" "));
    let first = found.first().copied().expect("an address");
    let address = SocketAddr::new(IpAddr::V4(first), 8080);
    let answer = http::get_from(address, "/healthz", Duration::from_secs(5));
    println!("\nstatus: {}", answer.map_or(0, |answer| answer.status));
}

#[test]
fn the_address_stays_and_no_request_is_lost_while_replicas_and_edges_are_replaced() {
    let journey = journey(2, "drain: 300ms");
    let _supervisor = journey.up_ready(2);
    let pause_before = one(&journey, "web-pause");
    let held = address(&journey, &pause_before.id);
    let mut edges = vec![one(&journey, "web-edge").id];
    let load = Load::begin(journey.port, 3, 0);
    for _ in 0..RECYCLES {
        journey.run(&["recycle", "web"]).success();
        journey.run(&["recycle", "web/edge"]).success();
        let edge = one(&journey, "web-edge").id;
        assert!(!edges.contains(&edge), "the edge was not replaced");
        edges.push(edge);
        let names: Vec<&str> = edges.iter().map(String::as_str).collect();
        println!("{} edges so far", names.len());
        let client = named(&journey, "web-").into_iter();
        let client = client.map(|one| one.id).find(|id| *id != pause_before.id);
        let (found, answer) = by_name(&journey, &client.expect("a replica"), "web");
        assert_eq!(found, [held.parse::<Ipv4Addr>().expect("an address")]);
        assert_eq!(answer, Some(200), "an answer by name");
    }
    load.end().assert_nothing_lost(150);
    let pause_after = one(&journey, "web-pause");
    assert_eq!(pause_after.id, pause_before.id);
    assert_eq!(address(&journey, &pause_after.id), held);
}

#[test]
fn a_supervisor_that_is_killed_under_load_is_missed_by_nobody() {
    let journey = journey(2, "drain: 300ms");
    let supervisor = journey.up_ready(2);
    let load = Load::begin(journey.port, 2, 2);
    supervisor.kill();
    pause(AWAY);
    let before = ids(&journey);
    let mut next = journey.up();
    next.await_ready(2);
    assert_eq!(ids(&journey), before, "what is well is left alone");
    journey.run(&["recycle", "web"]).success();
    load.end().assert_nothing_lost(150);
}

#[test]
fn a_connection_has_the_whole_grace_of_its_service_until_it_is_cut_with_its_edge_and_counted() {
    const GRACE: Duration = Duration::from_secs(13);
    let mut journey = Journey::of_web(1, "stop_grace_period: 13s", "drain: 0s");
    let pod = ("PHOENIXD_EDGE".to_owned(), "pod".to_owned());
    journey.environment.push(pod);
    let _supervisor = journey.up_ready(1);
    let address = SocketAddr::from(([127, 0, 0, 1], journey.port));
    let mut stream = BufReader::new(http::dial(address, PATIENCE).expect("dial"));
    http::ask(&mut stream, "GET", "/stream", false).expect("ask");
    assert_eq!(http::head(&mut stream).expect("a head").status, 200);
    let began = now();
    std::thread::scope(|scope| {
        let recycled = scope.spawn(|| journey.run(&["recycle", "web/edge"]).success());
        let mut heard = Vec::new();
        while let Ok(true) = http::chunk(&mut stream, &mut heard) {}
        let lasted = since(began);
        println!("it was cut after {lasted:?}");
        assert!(lasted > GRACE.mul_f32(0.9), "cut too early: {lasted:?}");
        recycled.join().expect("recycled");
    });
    let told = journey.run(&["events"]).success().stdout;
    let is_stop = |line: &&str| {
        line.contains("\"web-edge.1\"") && line.contains("\"ended\"") && line.contains("\"stop\"")
    };
    let stop = told.lines().find(is_stop).expect("the edge was stopped");
    assert!(stop.contains("\"connections_cut\":1"), "{stop}");
}

#[test]
fn an_edge_that_is_killed_is_replaced_within_seconds() {
    let journey = journey(1, "drain: 300ms");
    let _supervisor = journey.up_ready(1);
    let edge = one(&journey, "web-edge").id;
    // One that has proven itself is replaced without a delay.
    pause(Duration::from_secs(31));
    journey
        .engine
        .must("POST", &format!("/containers/{edge}/kill"), None);
    let began = now();
    until("an answer through the next edge", PATIENCE, || {
        let answer = journey.try_get("/healthz");
        match answer {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(other.map(|answer| answer.status)),
        }
    });
    println!(
        "an edge was killed; the next one served after {:?}",
        since(began)
    );
    assert_ne!(one(&journey, "web-edge").id, edge);
}

#[test]
fn an_edge_is_as_hard_as_a_replica_and_holds_no_socket_of_an_engine() {
    let journey = journey(1, "");
    let _supervisor = journey.up_ready(1);
    let pause = one(&journey, "web-pause");
    for part in ["web-edge", "web-pause"] {
        let container = one(&journey, part);
        let inspect = journey.inspect(&container.id);
        let pid = inspect["State"]["Pid"].as_u64().expect("a process");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        for line in [
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "Uid:\t65534\t65534\t65534\t65534",
        ] {
            assert!(status.contains(line), "{part} has no `{line}`:\n{status}");
        }
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts");
        assert!(!mounts.contains("docker.sock"), "{mounts}");
        assert_eq!(inspect["HostConfig"]["ReadonlyRootfs"], true);
        assert_eq!(
            inspect["Config"]["Labels"]["phoenixd.role"],
            part.trim_start_matches("web-")
        );
    }
    let edge = journey.inspect(&one(&journey, "web-edge").id);
    assert_eq!(
        edge["HostConfig"]["NetworkMode"],
        format!("container:{}", pause.id)
    );
    let replica = journey.inspect(&named(&journey, "web-1").remove(0).id);
    let bindings = replica["HostConfig"]["PortBindings"].as_object();
    assert!(
        bindings.is_none_or(serde_json::Map::is_empty),
        "{bindings:?}"
    );
    let network = format!("{}_default", journey.project);
    let aliases = replica["NetworkSettings"]["Networks"][&network]["Aliases"].as_array();
    let has_name = aliases.is_some_and(|all| all.iter().any(|one| *one == "web"));
    assert!(!has_name, "a replica has the service's name: {aliases:?}");
}

#[test]
fn two_services_on_one_port_of_one_network_have_pods_of_their_own() {
    let journey = journey(1, "drain: 0s");
    let web = journey.web(1, "", "drain: 0s");
    let api = format!(
        "  api:\n    image: {}\n    expose: [\"8080\"]\n    stop_grace_period: 2s\n    x-phoenix: {{ drain: 0s, probe: {{ http: /healthz, interval: 250ms }} }}\n",
        journey.image()
    );
    journey.write(&(web + &api));
    let _supervisor = journey.up_ready(2);
    let client = one(&journey, "web-1").id;
    let (web, answer) = by_name(&journey, &client, "web");
    assert_eq!(answer, Some(200));
    let (api, answer) = by_name(&journey, &client, "api");
    assert_eq!(answer, Some(200));
    assert_ne!(web, api);
}

#[test]
fn a_down_removes_the_pod_and_what_it_had_on_the_host() {
    let journey = journey(1, "drain: 0s");
    let supervisor = journey.up_ready(1);
    let directory = format!("/run/phoenixd/{}/edge", journey.project);
    assert!(fs::exists(&directory).expect("look"), "{directory}");
    journey.run(&["down"]).success();
    drop(supervisor);
    assert!(journey.all_containers().is_empty());
    assert!(
        !fs::exists(&directory).expect("look"),
        "{directory} is left"
    );

    // Without a supervisor, too.
    let supervisor = journey.up_ready(1);
    supervisor.signal(Signal::KILL);
    drop(supervisor);
    journey.run(&["down"]).success();
    assert!(journey.all_containers().is_empty());
    assert!(
        !fs::exists(&directory).expect("look"),
        "{directory} is left"
    );
}

#[test]
fn ports_that_strangers_hold_are_all_named_with_their_holder_before_anything_is_made() {
    let journey = journey(1, "");
    let other = ports::free_port();
    let file = journey.web(1, "", "");
    let first = format!("\"127.0.0.1:{}:8080\"", journey.port);
    let both = format!("{first}, \"127.0.0.1:{other}:8081\"");
    journey.write(&file.replace(&first, &both));
    let strangers = [journey.port, other].map(|port| {
        let stranger = TcpListener::bind(("127.0.0.1", port)).expect("the port");
        (port, stranger)
    });
    let told = journey.run(&["up"]);
    println!("{}", told.stderr);
    assert_eq!(told.code, Some(1), "{told:#?}");
    let holder = format!("process {}", std::process::id());
    for (port, _) in &strangers {
        let taken = format!("127.0.0.1:{port} is taken by");
        let lines = told.stderr.lines();
        let named = lines.filter(|line| line.contains(&taken) && line.contains("error"));
        assert_eq!(named.count(), 1, "{taken}: {}", told.stderr);
    }
    assert!(told.stderr.contains(&holder), "{}", told.stderr);
    assert!(journey.all_containers().is_empty());
    let kept = journey.engine.pod_images(&journey.project);
    assert_eq!(
        kept, [""; 0],
        "nothing was started, and nothing is left of it"
    );
    drop(strangers);
}

#[test]
fn ps_tells_of_the_pod() {
    let journey = journey(1, "");
    let _supervisor = journey.up_ready(1);
    let output = journey.run(&["ps", "--format", "json"]).success();
    let rows: Vec<Value> = serde_json::from_str(&output.stdout).expect("a list");
    let of = |service: &str| rows.iter().find(|row| row["service"] == service);
    let is_ready = |row: Option<&Value>| row.is_some_and(|row| row["ready"] == true);
    assert!(
        is_ready(of("web/edge")) && is_ready(of("web/pause")),
        "{rows:#?}"
    );
    let left = |service: &str| of(service).map(|row| row["ttl_remaining_seconds"].is_null());
    assert_eq!(
        ["web", "web/edge", "web/pause"].map(left),
        [Some(false), Some(false), Some(true)],
        "nothing bounds a pause's life"
    );
    let table = journey.run(&["ps"]).success().stdout;
    println!("{table}");
    assert!(
        table.contains("web-edge.1") && table.contains("web-pause.1"),
        "{table}"
    );
}
