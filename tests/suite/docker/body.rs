//! What a container is made from, on the wire.

use std::sync::Arc;

use insta::assert_snapshot;
use phoenixd::docker::{Birth, body_json};
use phoenixd::spec::{
    BornAfter, ContainerSpec, Generation, HealthTest, Healthcheck, ImageRef, NetworkMode,
    ProjectName, ReplicaName, Serial, ServiceName, SpecHash,
};
use serde_json::{Value, json};

use super::rich::{pairs, rich, texts};

fn body(container: ContainerSpec) -> Value {
    body_json(&Birth {
        project: ProjectName::new("shop"),
        replica: ReplicaName::new(ServiceName::new("web"), Serial(3)),
        generation: Generation(2),
        spec_hash: SpecHash::new("abc"),
        container: Arc::new(container),
        image: None,
        born_after: BornAfter::default(),
        joins: None,
    })
}

#[test]
fn a_container_is_asked_for_as_compose_would() {
    let mut body = body(rich());
    // The version changes with each release.
    assert_eq!(
        body["Labels"]["phoenixd.version"].take(),
        json!(env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        body["Labels"]["com.docker.compose.version"].take(),
        json!(concat!("phoenixd-", env!("CARGO_PKG_VERSION")))
    );
    assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[test]
fn a_container_of_an_image_alone_asks_for_nothing_else() {
    let mut body = body(ContainerSpec::of_image(ImageRef::new("web:1")));
    body["Labels"].take();
    assert_eq!(
        body,
        json!({
            "AttachStderr": true, "AttachStdout": true, "Image": "web:1", "Labels": null,
            "StopTimeout": 10, "HostConfig": {"RestartPolicy": {"Name": "no"}},
        })
    );
}

#[test]
fn what_is_cleared_is_sent_and_what_is_inherited_is_not() {
    let base = || ContainerSpec::of_image(ImageRef::new("web:1"));
    let cleared = body(ContainerSpec {
        entrypoint: Some(Vec::new()),
        ..base()
    });
    assert_eq!(cleared["Entrypoint"], json!([]));
    let health = |test| {
        body(ContainerSpec {
            healthcheck: Some(Healthcheck {
                test,
                interval: None,
                timeout: None,
                retries: None,
                start_period: None,
                start_interval: None,
            }),
            ..base()
        })["Healthcheck"]
            .take()
    };
    assert_eq!(health(HealthTest::Inherit), json!({}));
    assert_eq!(health(HealthTest::None), json!({"Test": ["NONE"]}));
    assert_eq!(
        health(HealthTest::Cmd(texts(&["/check", "-q"]))),
        json!({"Test": ["CMD", "/check", "-q"]})
    );
    let none = body(ContainerSpec {
        network: NetworkMode::None,
        ..base()
    });
    assert_eq!(none["HostConfig"]["NetworkMode"], json!("none"));
}

#[test]
fn a_capability_has_one_spelling() {
    let caps = body(ContainerSpec {
        cap_add: texts(&["net_raw", "CAP_CHOWN", "chown", "Cap_Net_Raw"]),
        cap_drop: texts(&["all"]),
        ..ContainerSpec::of_image(ImageRef::new("web:1"))
    })["HostConfig"]
        .take();
    assert_eq!(caps["CapAdd"], json!(["CAP_CHOWN", "CAP_NET_RAW"]));
    assert_eq!(caps["CapDrop"], json!(["ALL"]));
}

#[test]
fn a_label_of_the_user_cannot_pretend_to_be_ours() {
    let labels = body(ContainerSpec {
        labels: pairs(&[("phoenixd.service", "other"), ("phoenixd.spec-hash", "0")]),
        ..ContainerSpec::of_image(ImageRef::new("web:1"))
    })["Labels"]
        .take();
    assert_eq!(labels["phoenixd.service"], json!("web"));
    assert_eq!(labels["phoenixd.spec-hash"], json!("abc"));
}

#[test]
fn a_replica_that_compose_is_told_nothing_of_is_listed_by_it_all_the_same() {
    let labels = body(ContainerSpec::of_image(ImageRef::new("web:1")))["Labels"].take();
    let compose: Vec<(&str, &str)> = labels
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("com.docker.compose.")?, value)))
        .filter(|(key, _)| *key != "version")
        .map(|(key, value)| (key, value.as_str().unwrap()))
        .collect();
    // Without the hash compose v2 sees no container, without the files `docker compose ls` fails for all projects.
    assert_eq!(
        compose,
        [
            ("config-hash", "abc"),
            ("container-number", "3"),
            ("depends_on", ""),
            ("oneoff", "False"),
            ("project", "shop"),
            ("project.config_files", ""),
            ("project.working_dir", ""),
            ("service", "web"),
        ]
    );
}
