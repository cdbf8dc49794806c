//! Section 5 of docker-bench-security 1.6.0 (docker/docker-bench-security@ff26d67, CIS Docker Benchmark 1.6.0) on a phoenix.
//!
//! Each check is the condition that the script tests on `docker inspect`, and no more. Not here: the script itself,
//! which runs `docker exec` in everything that it looks at (5.7); what is about the host (5.1, 5.30); what it only notes
//! (5.23, 5.24, 5.28). What it does not see, `hardening` holds.

use std::path::Path;

use serde_json::{Value, json};

use super::support::Journey;

/// A check: its number, and whether a container passes.
type Check = (&'static str, fn(&Value) -> bool);

/// The capabilities that Docker gives by default.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSTEM_DIRECTORIES: [&str; 8] = [
    "/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr",
];

const CHECKS: [Check; 26] = [
    ("5.2", |c| {
        !["", "unconfined"].contains(&text(&c["AppArmorProfile"]))
    }),
    ("5.3", |c| !list(&c["HostConfig"]["SecurityOpt"]).is_empty()),
    ("5.4", |c| {
        list(&c["HostConfig"]["CapAdd"]).iter().all(|added| {
            let name = text(added).trim_start_matches("CAP_");
            DEFAULT_CAPABILITIES.contains(&name)
        })
    }),
    ("5.5", |c| c["HostConfig"]["Privileged"] == false),
    ("5.6", |c| {
        list(&c["Mounts"])
            .iter()
            .all(|mount| mount["RW"] == false || !is_system(text(&mount["Source"])))
    }),
    ("5.8", |c| {
        host_ports(c).all(|port| text(&port["HostPort"]).parse().is_ok_and(|n: u16| n > 1024))
    }),
    ("5.9", |c| host_ports(c).next().is_none()),
    ("5.10", |c| c["HostConfig"]["NetworkMode"] != "host"),
    ("5.11", |c| c["HostConfig"]["Memory"] != 0),
    ("5.12", |c| {
        c["HostConfig"]["CpuShares"] != 0 || c["HostConfig"]["NanoCpus"] != 0
    }),
    ("5.13", |c| c["HostConfig"]["ReadonlyRootfs"] == true),
    ("5.14", |c| {
        host_ports(c).all(|port| port["HostIp"] != "0.0.0.0")
    }),
    ("5.15", |c| {
        let tries = c["HostConfig"]["RestartPolicy"]["MaximumRetryCount"].as_u64();
        tries.is_some_and(|tries| tries <= 5)
    }),
    ("5.16", |c| c["HostConfig"]["PidMode"] != "host"),
    ("5.17", |c| c["HostConfig"]["IpcMode"] != "host"),
    ("5.18", |c| list(&c["HostConfig"]["Devices"]).is_empty()),
    ("5.19", |c| !list(&c["HostConfig"]["Ulimits"]).is_empty()),
    ("5.20", |c| {
        let shared = |mount: &Value| text(&mount["Propagation"]).contains("shared");
        !list(&c["Mounts"]).iter().any(shared)
    }),
    ("5.21", |c| c["HostConfig"]["UTSMode"] != "host"),
    ("5.22", |c| {
        !list(&c["HostConfig"]["SecurityOpt"]).contains(&json!("seccomp=unconfined"))
    }),
    ("5.25", |c| c["HostConfig"]["CgroupParent"] == ""),
    ("5.26", |c| {
        let no_new = |option: &Value| text(option).starts_with("no-new-privileges");
        list(&c["HostConfig"]["SecurityOpt"]).iter().any(no_new)
    }),
    ("5.27", |c| c["State"]["Health"].is_object()),
    ("5.29", |c| {
        c["HostConfig"]["PidsLimit"]
            .as_i64()
            .is_some_and(|limit| limit > 0)
    }),
    ("5.31", |c| c["HostConfig"]["UsernsMode"] != "host"),
    ("5.32", |c| {
        let is_socket = |mount: &Value| text(&mount["Source"]).contains("docker.sock");
        !list(&c["Mounts"]).iter().any(is_socket)
    }),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_system(path: &str) -> bool {
    SYSTEM_DIRECTORIES.contains(&path)
}

fn host_ports(container: &Value) -> impl Iterator<Item = &Value> {
    let ports = container["NetworkSettings"]["Ports"].as_object();
    ports.into_iter().flatten().flat_map(|(_, at)| list(at))
}

fn failed(container: &Value) -> Vec<&'static str> {
    let failed = CHECKS.iter().filter(|(_, passes)| !passes(container));
    let failed: Vec<&str> = failed.map(|(number, _)| *number).collect();
    println!(
        "{}: {} checks, failed: {failed:?}",
        container["Name"],
        CHECKS.len()
    );
    failed
}

/// What no container passes here: 5.2 asks for a profile that the kernel has to know.
fn of_the_host() -> Vec<&'static str> {
    let has_apparmor = Path::new("/sys/module/apparmor").exists();
    if has_apparmor { vec![] } else { vec!["5.2"] }
}

#[test]
fn a_phoenix_passes_every_check_of_docker_bench_security_that_a_container_can_pass() {
    let journey = Journey::new();
    let check =
        "healthcheck: { test: [\"CMD\", \"/phoenixd\", \"--version\"], interval: 1s, timeout: 5s }";
    let volumes = "volumes: [\"data:/data\"]\ntmpfs: [/scratch]";
    let web = journey.web(1, &format!("{check}\n{volumes}"), "probe: docker");
    journey.write(&format!("{web}volumes: {{ data: {{}} }}\n"));
    let supervisor = journey.up_ready(1);
    let replica = journey.inspect(&journey.running_ids().remove(0));
    assert_eq!(failed(&replica), of_the_host());
    supervisor.end();

    // Probed from outside, it has no health check of Docker's: each would be an exec.
    let journey = Journey::of_web(1, "", "");
    let _supervisor = journey.up_ready(1);
    let replica = journey.inspect(&journey.running_ids().remove(0));
    assert_eq!(failed(&replica), [of_the_host(), vec!["5.27"]].concat());

    // The checks can fail: what `docker run` makes passes 18, as the script itself has measured it.
    let name = format!("{}-plain", journey.project);
    let plain = journey
        .engine
        .stranger(&journey.project, &name, journey.image(), &json!({}));
    let plain = journey.inspect(&plain);
    let expected = [
        "5.3", "5.11", "5.12", "5.13", "5.19", "5.26", "5.27", "5.29",
    ];
    assert_eq!(failed(&plain), [&of_the_host(), &expected[..]].concat());
}
