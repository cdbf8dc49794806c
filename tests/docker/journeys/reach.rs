//! What the file asks for reaches the container: networks, names, volumes, environment, user.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::support::{Journey, variable};

/// Tells this program, run once more in a container's network, which name to ask for.
const ASKED: &str = "PHOENIXD_JOURNEY_RESOLVE";

const SERVICE: &str = "user: \"1234:2345\"
environment: { GREETING: \"hello, world\" }
hostname: phoenix
networks:
  front: { aliases: [shop, www] }
  back: { aliases: [inner] }
volumes: [\"data:/data\", \"logs:/logs:ro\"]
tmpfs: [\"/cache:size=8m\"]";
const TOP: &str = "networks: { front: {}, back: {} }\nvolumes: { data: {}, logs: {} }\n";

fn journey() -> Journey {
    let journey = Journey::new();
    journey.write(&(journey.web(1, SERVICE, "") + TOP));
    journey
}

#[test]
fn networks_names_volumes_environment_and_user_reach_the_container() {
    if let Some(name) = variable(ASKED) {
        return resolve(&name);
    }
    let journey = journey();
    let _supervisor = journey.up_ready(1);
    reached(&journey);
}

#[test]
fn the_same_reaches_the_container_by_the_oldest_api() {
    let mut journey = journey();
    journey
        .environment
        .push(("DOCKER_API_VERSION".to_owned(), "1.41".to_owned()));
    let _supervisor = journey.up_ready(1);
    reached(&journey);
}

fn reached(journey: &Journey) {
    let project = &journey.project;
    let inspect = journey.inspect(&journey.running_ids()[0]);
    assert_eq!(inspect["Config"]["User"], "1234:2345");
    assert_eq!(inspect["Config"]["Hostname"], "phoenix");
    assert!(
        inspect["Config"]["Env"]
            .to_string()
            .contains("GREETING=hello, world")
    );
    assert_eq!(journey.get("/whoami").json()["walls"]["uid"], 1234);

    let networks = inspect["NetworkSettings"]["Networks"]
        .as_object()
        .expect("networks");
    assert_eq!(networks.len(), 2, "{networks:#?}");
    // In a pod the pause has the names.
    let whose = if journey.is_in_pods() {
        journey.inspect(&format!("{project}-web-pause.1"))
    } else {
        inspect.clone()
    };
    let networks = &whose["NetworkSettings"]["Networks"];
    for (network, aliases) in [
        ("front", &["shop", "www", "web"][..]),
        ("back", &["inner", "web"]),
    ] {
        let there = networks[&format!("{project}_{network}")]["Aliases"].to_string();
        for alias in aliases {
            assert!(
                there.contains(&format!("\"{alias}\"")),
                "{alias} in {network}: {there}"
            );
        }
    }
    let mounts = inspect["Mounts"].as_array().expect("mounts");
    for (volume, target, writable) in [("data", "/data", true), ("logs", "/logs", false)] {
        let name = format!("{project}_{volume}");
        let is_there = |mount: &&Value| {
            mount["Name"] == name.as_str()
                && mount["Destination"] == target
                && mount["RW"] == writable
        };
        assert!(
            mounts.iter().find(is_there).is_some(),
            "{volume}: {mounts:#?}"
        );
    }
    let tmpfs = inspect["HostConfig"]["Tmpfs"]["/cache"]
        .as_str()
        .expect("tmpfs");
    assert!(
        tmpfs.contains("noexec") && tmpfs.contains("size="),
        "{tmpfs}"
    );

    let mut names = journey.engine.networks(&journey.label());
    names.sort();
    assert_eq!(
        names,
        [format!("{project}_back"), format!("{project}_front")]
    );

    resolves(&inspect, &["shop", "www", "inner", "web"]);
}

/// Docker's name service inside the replica's network knows it by all its names.
fn resolves(inspect: &Value, names: &[&str]) {
    let pid = inspect["State"]["Pid"].to_string();
    for name in names {
        let test =
            "journeys::reach::networks_names_volumes_environment_and_user_reach_the_container";
        let asked = Command::new("nsenter")
            .arg(format!("--net=/proc/{pid}/ns/net"))
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(ASKED, name)
            .output()
            .expect("nsenter");
        let said = String::from_utf8_lossy(&asked.stdout);
        assert!(
            asked.status.success(),
            "{name}: {said}{}",
            String::from_utf8_lossy(&asked.stderr)
        );
        assert!(said.contains("1 passed"), "{said}");
    }
}

/// Asks Docker's name service for an address (RFC 1035, section 4).
fn resolve(name: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("timeout");
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    question.push(u8::try_from(name.len()).expect("a short name"));
    question.extend(name.as_bytes());
    question.extend(b"\x00\x00\x01\x00\x01");
    socket.send_to(&question, "127.0.0.11:53").expect("ask");
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).expect("an answer");
    let code = answer[3] & 0xf;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    assert!(
        length > 12 && code == 0 && answers > 0,
        "{name}: code {code}, {answers} answers"
    );
}
