//! What a replica is born from: every field of the original that is not its image's.

use std::net::Ipv4Addr;
use std::sync::Arc;

use insta::assert_snapshot;
use phoenixd::docker::{Birth, body_json, connect_json};
use phoenixd::spec::{
    Attachment, Generation, MountSource, NetworkMode, ProjectName, Recursive, ReplicaName, Serial,
    SpecHash,
};
use serde_json::json;

use super::{ENGINES, Told, bare_image};

fn attachments(told: &Told) -> Vec<Attachment> {
    let derived = told.derive().unwrap();
    let NetworkMode::Networks(attachments) = derived.service.container.network else {
        panic!("no networks");
    };
    attachments
}

#[test]
fn every_field_of_the_original_is_in_the_definition() {
    let derived = Told::original("28").derive().unwrap();
    let container = derived.service.container;
    let birth = Birth {
        project: ProjectName::new("adoptrich"),
        replica: ReplicaName::new(derived.service.name, Serial(2)),
        generation: Generation(1),
        spec_hash: SpecHash::new("abc"),
        container: Arc::new(container.clone()),
        image: None,
        born_after: phoenixd::spec::BornAfter::default(),
        joins: None,
    };
    let body = json!({ "create": body_json(&birth), "connect": connect_json(&container) });
    assert_snapshot!("rich", format!("{body:#}"));
}

#[test]
fn both_engines_tell_the_same_of_the_same_service() {
    let [old, new] = ENGINES.map(|engine| {
        let mut derived = Told::original(engine).derive().unwrap();
        let container = &mut derived.service.container;
        // Each engine has an image, and a volume without a name, of its own.
        container.labels.remove("com.docker.compose.image");
        // One of the two was made anew once.
        container.labels.remove("com.docker.compose.replace");
        derived.marks = phoenixd::adopt::Value::Null;
        container
            .mounts
            .retain(|mount| !["/anon", "/data"].contains(&mount.target.as_str()));
        // The daemon's own options of its default driver are written into every container.
        container.logging = None;
        derived
    });
    assert_eq!(old, new);
}

#[test]
fn a_replica_tells_the_same_definition_when_its_original_is_gone() {
    for engine in ENGINES {
        let original = Told::original(engine).derive().unwrap();
        let replica = Told::replica(engine).derive().unwrap();
        assert_eq!(original.name, replica.name);
        assert_eq!(original.marks, replica.marks);
        assert_eq!(original.service.published, replica.service.published);
        assert_eq!(original.service.phoenix, replica.service.phoenix);
        let hardened = |derived: &phoenixd::adopt::Derived| {
            let image = phoenixd::spec::ImageFacts {
                id: phoenixd::spec::ImageId::new("sha256:1"),
                user: "1000".to_owned(),
                exposed_tcp: [8080].into(),
                has_healthcheck: false,
                has_command: true,
                volumes: Vec::new(),
            };
            let (resolved, problems) = phoenixd::spec::resolve(&derived.service, &image);
            resolved.unwrap_or_else(|| panic!("{problems:?}")).container
        };
        assert_eq!(hardened(&original), hardened(&replica), "{engine}");
    }
}

#[test]
fn what_is_the_image_s_own_stays_unset_so_that_a_newer_image_s_applies() {
    let derived = Told::original("28").derive().unwrap();
    let container = &derived.service.container;
    assert_eq!(container.environment.get("PATH"), None);
    assert_eq!(container.entrypoint, None);
    assert_eq!(container.stop_signal.as_deref(), Some("SIGINT"));
    assert!(!container.exposed.contains(&(8080, "tcp".to_owned())));

    // The same container of an image that says nothing: all of it is its own.
    let mut told = Told::original("28");
    told.image = bare_image();
    let container = told.derive().unwrap().service.container;
    assert!(container.exposed.contains(&(8080, "tcp".to_owned())));
}

#[test]
fn a_variable_that_the_image_sets_and_the_container_has_not_stays_unset() {
    let mut told = Told::original("28");
    told.image["Env"] = json!(["PATH=/bin", "GONE=1"]);
    let environment = told.derive().unwrap().service.container.environment;
    assert_eq!(environment.get("GONE"), Some(&None));
}

#[test]
fn an_entrypoint_of_its_own_keeps_the_image_s_command_away() {
    let told = Told::original("28")
        .with("/Config/Entrypoint", json!(["/bin/sh", ""]))
        .with("/Config/Cmd", json!(null));
    let container = told.derive().unwrap().service.container;
    assert_eq!(
        container.entrypoint,
        Some(vec!["/bin/sh".to_owned(), String::new()])
    );
    assert_eq!(container.command, None);

    // And where it is the image's own, it has to be said for that.
    let mut told = Told::original("28")
        .with("/Config/Entrypoint", json!(["/init"]))
        .with("/Config/Cmd", json!(null));
    told.image["Entrypoint"] = json!(["/init"]);
    let container = told.derive().unwrap().service.container;
    assert_eq!(container.entrypoint, Some(vec!["/init".to_owned()]));
    assert_eq!(container.command, None);
}

#[test]
fn aliases_and_static_addresses_are_kept_and_what_the_engine_gave_is_not() {
    for engine in ENGINES {
        let told = Told::original(engine);
        let names: Vec<String> = attachments(&told)
            .iter()
            .map(|one| format!("{}: {}", one.network, one.aliases.join(" ")))
            .collect();
        assert_eq!(
            names,
            [
                "adoptrich_front: adoptrich-web-1 web shop www",
                "adoptrich_back: adoptrich-web-1 web inner"
            ]
        );
        let told = told.with(
            "/NetworkSettings/Networks/adoptrich_back/IPAMConfig",
            json!({ "IPv4Address": "10.9.8.7" }),
        );
        assert_eq!(attachments(&told)[1].ipv4, Some(Ipv4Addr::new(10, 9, 8, 7)));
        let derived = told.derive().unwrap();
        assert_eq!(derived.service.phoenix.surge, 0);
        assert_eq!(
            derived.notes,
            [
                "stop-first: it has the static address 10.9.8.7 on adoptrich_back, and two containers cannot hold it"
            ]
        );
    }
}

#[test]
fn what_few_containers_have_is_carried_over_too() {
    let derived = Told::original("28")
        .with("/HostConfig/BlkioWeight", json!(300))
        .with("/HostConfig/BlkioDeviceReadBps", json!([{ "Path": "/dev/sda", "Rate": 1024 }]))
        .with("/HostConfig/CpuRealtimeRuntime", json!(950))
        .with("/NetworkSettings/Networks/adoptrich_back/GwPriority", json!(7))
        .with(
            "/HostConfig/Mounts",
            json!([{ "Type": "bind", "Target": "/x", "Source": "/srv", "BindOptions": { "NonRecursive": true } }]),
        )
        .derive()
        .unwrap();
    let container = &derived.service.container;
    let block_io = container.block_io.as_ref().unwrap();
    assert_eq!(
        (block_io.weight, block_io.read_bytes[0].rate),
        (Some(300), 1024)
    );
    assert_eq!(container.cpu_rt_runtime, Some(950));
    assert_eq!(container.attachments()[1].gw_priority, Some(7));
    let mount = container
        .mounts
        .iter()
        .find(|mount| mount.target == "/x")
        .unwrap();
    let is_recursive = |source: &MountSource| {
        !matches!(
            source,
            MountSource::Bind {
                recursive: Recursive::Disabled,
                ..
            }
        )
    };
    assert!(!is_recursive(&mount.source), "{mount:?}");
}

#[test]
fn no_variable_s_value_is_in_the_marks() {
    for engine in ENGINES {
        let told = Told::original(engine).with("/Config/Env", json!(["TOKEN=hush-hush"]));
        let derived = told.derive().unwrap();
        let marks = phoenixd::docker::write_value(&derived.marks);
        assert!(
            marks.contains("TOKEN") && !marks.contains("hush-hush"),
            "{marks}"
        );
        assert_eq!(
            derived.service.container.environment.get("TOKEN"),
            Some(&Some("hush-hush".to_owned()))
        );
    }
}

#[test]
fn further_containers_of_a_service_have_names_of_their_own() {
    let told = Told::original("28")
        .with(
            "/Config/Labels/com.docker.compose.container-number",
            json!("3"),
        )
        .with("/Name", json!("/shop-web-3"));
    let derived = told.derive().unwrap();
    assert_eq!(derived.service.name.as_str(), "web.3");
    assert_eq!(derived.name, "shop-web-3");
}

#[test]
fn a_ttl_that_is_the_image_s_is_no_consent() {
    let mut told = Told::original("28");
    told.image["Labels"]["phoenixd.ttl"] = json!("40s");
    let labels = told.derive().unwrap().service.container.labels;
    assert_eq!(
        labels.get("phoenixd.ttl"),
        None,
        "the supervisor refuses what has none of its own"
    );
}
