//! What was asked for is in the kernel: read from the engine and from `/proc`, without a step inside.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};

use super::support::Journey;

#[test]
fn a_read_only_root_really_is_read_only_and_the_hardening_is_in_the_kernel() {
    let journey = Journey::of_web(1, "tmpfs: [/scratch, \"/sized:size=16m,mode=1777\"]", "");
    let _supervisor = journey.up_ready(1);
    let events = journey.engine.events(&journey.label());
    let id = journey.running_ids().remove(0);
    let inspect = journey.inspect(&id);

    asked_for(&inspect);
    let main = inspect["State"]["Pid"].as_u64().expect("a pid");
    let processes = processes_of(main);
    println!("processes: {processes:?}");
    assert!(!processes.is_empty());
    for pid in processes {
        in_the_kernel(pid);
    }
    mounts(main);
    let answer = journey.post("/break-in").json();
    for attempt in answer.as_array().expect("attempts") {
        println!("{attempt}");
        // What is written to memory goes with the replica.
        let in_memory = attempt["what"] == "hide a file in memory";
        assert_eq!(attempt["succeeded"], in_memory, "{attempt}");
    }
    assert_eq!(
        events.actions(),
        [],
        "no exec was needed, neither here nor by phoenixd"
    );
}

#[test]
fn a_seccomp_profile_of_one_s_own_is_in_force() {
    let journey = Journey::new();
    // Enough for the application, and less than everything.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    fs::write(journey.path("profile.json"), format!("{profile:#}")).expect("write the profile");
    let option = "security_opt: [seccomp=./profile.json]";
    journey.write(&journey.web(1, option, ""));
    journey
        .run(&["check"])
        .unmet(&["a seccomp profile of its own", "allow: [security_profile]"]);

    journey.write(&journey.web(1, option, "allow: [security_profile]"));
    let check = journey.run(&["check"]).success();
    assert!(
        check.stdout.contains("a seccomp profile of its own"),
        "{check:#?}"
    );
    let _supervisor = journey.up_ready(1);
    let inspect = journey.inspect(&journey.running_ids().remove(0));
    let options = inspect["HostConfig"]["SecurityOpt"].to_string();
    assert!(options.contains("errnoRet"), "{options}");
    let pid = inspect["State"]["Pid"].as_u64().expect("a pid");
    in_the_kernel(pid);
}

#[test]
fn what_only_a_newer_engine_knows_is_in_the_kernel() {
    let journey = Journey::new();
    if journey.engine.major < 28 {
        return;
    }
    let service = format!(
        "networks: {{ default: {{ interface_name: eth7 }} }}\nvolumes: [{{ type: image, source: \"{}\", target: /tools }}]",
        journey.image()
    );
    journey.write(&journey.web(2, &service, ""));
    let _supervisor = journey.up_ready(2);
    for id in journey.running_ids() {
        let inspect = journey.inspect(&id);
        let pid = inspect["State"]["Pid"].as_u64().expect("a pid");
        let interfaces = fs::read_to_string(format!("/proc/{pid}/net/dev")).expect("interfaces");
        assert!(interfaces.contains("eth7:"), "{interfaces}");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo");
        let tools = mounts
            .lines()
            .find(|line| line.contains(" /tools "))
            .expect("a mount");
        assert!(tools.contains(" /tools ro,"), "{tools}");
        assert_eq!(
            inspect["Mounts"][0]["Name"], inspect["Image"],
            "the id, not the name"
        );
    }
}

/// What the engine was asked for.
fn asked_for(inspect: &Value) {
    let host = &inspect["HostConfig"];
    let expected = json!({
        "ReadonlyRootfs": true,
        "Privileged": false,
        "CapDrop": ["ALL"],
        "IpcMode": "private",
        "Init": true,
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(host[key], *value, "{key} in {host:#}");
    }
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    for nothing in ["CapAdd", "PortBindings", "Devices", "VolumesFrom"] {
        let value = &host[nothing];
        let is_empty = value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(is_empty, "{nothing} is {value}");
    }
    for own in ["PidMode", "UTSMode", "UsernsMode"] {
        assert_eq!(host[own], "", "{own} is not its own");
    }
    assert!(
        host["SecurityOpt"]
            .to_string()
            .contains("no-new-privileges"),
        "{}",
        host["SecurityOpt"]
    );
    assert!(
        !host["SecurityOpt"].to_string().contains("unconfined"),
        "{}",
        host["SecurityOpt"]
    );
    for limit in ["PidsLimit", "Memory", "NanoCpus"] {
        assert!(
            host[limit].as_i64().is_some_and(|limit| limit > 0),
            "{limit} is {}",
            host[limit]
        );
    }
    let ulimits = host["Ulimits"].to_string();
    assert!(
        ulimits.contains("\"core\"") && ulimits.contains("\"nofile\""),
        "{ulimits}"
    );
    assert_eq!(inspect["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
    assert_eq!(inspect["Config"]["User"], "65534:65534");
    assert!(
        inspect["NetworkSettings"]["Ports"]["8080/tcp"].is_null(),
        "published by the engine"
    );
    assert_ne!(host["NetworkMode"], "default");
    assert_ne!(host["NetworkMode"], "host");
}

/// Everything that runs in the container: who shares the process namespace of its first process.
fn processes_of(main: u64) -> Vec<u64> {
    let namespace = |pid: &Path| fs::read_link(pid.join("ns/pid"));
    let own = namespace(Path::new(&format!("/proc/{main}"))).expect("the process namespace");
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            (namespace(&path).ok()? == own).then_some(pid)
        })
        .collect()
}

fn in_the_kernel(pid: u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let fields: BTreeMap<&str, Vec<&str>> = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.split_ascii_whitespace().collect()))
        .collect();
    let none = ["0000000000000000"];
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(fields[set], none, "{set} of {pid}");
    }
    assert_eq!(fields["NoNewPrivs"], ["1"], "{pid}");
    assert_eq!(fields["Seccomp"], ["2"], "{pid}");
    assert_eq!(fields["Uid"], ["65534"; 4], "{pid}");
    assert_eq!(fields["Gid"], ["65534"; 4], "{pid}");
}

fn mounts(pid: u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo");
    // proc(5): id, parent, device, root, mount point, options, optional fields, `-`, type, source, super options.
    let mounts: BTreeMap<&str, (Vec<&str>, &str)> = text
        .lines()
        .filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(4);
            let point = fields.next()?;
            let options = fields.next()?.split(',').collect();
            Some((point, (options, file_system)))
        })
        .collect();
    assert!(mounts["/"].0.contains(&"ro"), "{text}");
    for point in ["/scratch", "/sized"] {
        let (options, file_system) = &mounts[point];
        for option in ["nosuid", "nodev", "noexec", "rw"] {
            assert!(
                options.contains(&option),
                "{point} lacks {option}: {options:?}"
            );
        }
        assert!(
            file_system.starts_with("tmpfs ") && file_system.contains("size="),
            "{point}: {file_system}"
        );
    }
    assert!(
        mounts["/sized"].1.contains("size=16384k"),
        "{}",
        mounts["/sized"].1
    );
    // Even root of the host cannot write through the container's own view of its root.
    let error =
        fs::write(format!("/proc/{pid}/root/was-here"), "root of the host").expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{error}");
}
