//! Field by field: what hardening, the engine, the image and the supervisor explain, and what stops an adoption.

use insta::assert_snapshot;
use phoenixd::adopt::{Comparison, compare};
use serde_json::{Value, json};

use super::{ENGINES, Told, added};

fn compared(old: &Told, new: &Told) -> Comparison {
    compare(&old.examined(), &new.examined())
}

/// What nobody can explain after a field of the replica, or of the original, was changed.
fn unexplained(old: &Told, new: &Told) -> Vec<String> {
    compared(old, new)
        .unexplained()
        .map(|one| format!("{} {} -> {}", one.field, one.old, one.new))
        .collect()
}

#[test]
fn every_difference_of_a_replica_is_explained() {
    for engine in ENGINES {
        let (old, new) = (Told::original(engine), Told::replica(engine));
        assert_eq!(unexplained(&old, &new), [""; 0], "{engine}");
    }
    let comparison = compared(&Told::original("28"), &Told::replica("28"));
    assert!(comparison.fields > 100, "{}", comparison.fields);
    let lines: Vec<String> = comparison
        .differences
        .iter()
        .map(|one| format!("{}: {}", one.field, one.verdict.describe()))
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    Config.Healthcheck: hardened: the health check is off, phoenixd probes from outside
    Config.Labels[phoenixd.adopted]: handed on
    Config.Labels[phoenixd.generation]: handed on
    Config.Labels[phoenixd.policy]: handed on
    Config.Labels[phoenixd.ports]: handed on
    Config.Labels[phoenixd.probe]: handed on
    Config.Labels[phoenixd.project]: handed on
    Config.Labels[phoenixd.serial]: handed on
    Config.Labels[phoenixd.service]: handed on
    Config.Labels[phoenixd.spec-hash]: handed on
    Config.Labels[phoenixd.version]: handed on
    Created: made by the engine
    HostConfig.CapDrop: hardened: no capabilities
    HostConfig.CgroupnsMode: hardened: own namespaces
    HostConfig.MemorySwap: hardened: limits
    HostConfig.PortBindings: supervised: the edge holds the published ports
    HostConfig.RestartPolicy: supervised: phoenixd owns rebirth, the engine never restarts it
    HostConfig.Ulimits: hardened: limits
    Id: made by the engine
    State: made by the engine
    tmpfs[/run]: hardened: tmpfs mounts noexec, nosuid, nodev, with a size
    tmpfs[/t2]: hardened: tmpfs mounts noexec, nosuid, nodev, with a size
    tmpfs[/tmp]: hardened: tmpfs mounts noexec, nosuid, nodev, with a size
    ");
}

#[test]
fn what_is_lost_or_changed_stops_the_adoption() {
    let changes: [(&str, Value); 22] = [
        ("/Config/User", json!("1234:9")),
        ("/Config/Cmd", json!(["httpd", "-f"])),
        ("/Config/WorkingDir", json!("/")),
        ("/Config/Hostname", json!("other")),
        ("/Config/StopSignal", json!("SIGTERM")),
        ("/Config/StopTimeout", json!(10)),
        ("/Config/Labels/mine", json!("2")),
        ("/Config/Labels/com.docker.compose.config-hash", json!("0")),
        ("/Config/FutureThing", json!("x")),
        ("/HostConfig/FutureThing", json!(true)),
        ("/HostConfig/Memory", json!(536_870_912)),
        ("/HostConfig/PidsLimit", json!(512)),
        ("/HostConfig/NanoCpus", json!(1_000_000_000)),
        (
            "/HostConfig/CapAdd",
            json!(["CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"]),
        ),
        ("/HostConfig/Privileged", json!(true)),
        ("/HostConfig/Dns", json!([])),
        ("/HostConfig/MemorySwappiness", json!(0)),
        (
            "/HostConfig/Ulimits",
            json!([{ "Name": "nproc", "Hard": 9, "Soft": 9 }]),
        ),
        ("/HostConfig/Binds", json!(["adoptrich_named:/named:ro"])),
        (
            "/HostConfig/Tmpfs",
            json!({ "/tmp": "noexec,nosuid,nodev,size=64m" }),
        ),
        (
            "/NetworkSettings/Networks/adoptrich_back/Aliases",
            json!(["web"]),
        ),
        ("/NetworkSettings/Networks", json!({})),
    ];
    for engine in ENGINES {
        for (pointer, value) in &changes {
            let new = Told::replica(engine).with(pointer, value.clone());
            let found = unexplained(&Told::original(engine), &new);
            assert!(!found.is_empty(), "{engine}: {pointer} is not seen");
        }
    }
}

#[test]
fn a_weaker_replica_is_not_taken_for_a_hardened_one() {
    let told = |pointer: &str, value| Told::replica("28").with(pointer, value);
    let old = Told::original("28").with("/HostConfig/ReadonlyRootfs", json!(true));
    let writable = told("/HostConfig/ReadonlyRootfs", json!(false));
    assert_eq!(
        unexplained(&old, &writable),
        ["HostConfig.ReadonlyRootfs true -> false"]
    );
    let open = told("/HostConfig/SecurityOpt", json!(["seccomp=unconfined"]));
    assert_eq!(unexplained(&old, &open).len(), 1);
}

#[test]
fn a_newer_image_s_own_defaults_explain_what_differs() {
    let old = Told::original("28");
    let mut new = Told::replica("28").with("/Image", json!("sha256:newer"));
    let env = new.inspect["Config"]["Env"].as_array_mut().unwrap();
    env.push(json!("NEW=1"));
    new.inspect["Config"]["Labels"]["image.version"] = json!("2");
    new.inspect["Config"]["ExposedPorts"]["7000/tcp"] = json!({});
    assert_eq!(unexplained(&old, &new).len(), 3);
    new.image["Env"]
        .as_array_mut()
        .unwrap()
        .push(json!("NEW=1"));
    new.image["Labels"]["image.version"] = json!("2");
    new.image["ExposedPorts"]["7000/tcp"] = json!({});
    assert_eq!(unexplained(&old, &new), [""; 0]);
}

#[test]
fn files_in_the_original_s_own_root_stop_the_adoption() {
    let mut old = Told::original("28");
    old.changes = vec![added("/conf")];
    let comparison = compared(&old, &Told::replica("28"));
    assert_snapshot!(comparison.objection().unwrap(), @r"the replacement would differ from it: root file system (/conf -> -)");
    let old = old.with("/Config/Labels/phoenixd.discard_layer", json!("true"));
    let new = Told::replica("28").with("/Config/Labels/phoenixd.discard_layer", json!("true"));
    assert_eq!(unexplained(&old, &new), [""; 0]);
}

#[test]
fn no_secret_is_told() {
    let old = Told::original("28").with("/Config/Env", json!(["TOKEN=hush-hush", "OWN=x"]));
    let new = Told::replica("28")
        .with("/Config/Cmd", json!(["--password=hush-hush"]))
        .with("/Config/Labels/db.password", json!("hush-hush"))
        .with(
            "/HostConfig/LogConfig/Config/splunk-token",
            json!("hush-hush"),
        );
    let comparison = compared(&old, &new);
    assert!(comparison.unexplained().count() >= 4);
    let told = format!("{comparison:?} {:?}", comparison.objection());
    assert!(!told.contains("hush-hush"), "{told}");
}
