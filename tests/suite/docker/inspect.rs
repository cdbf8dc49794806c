//! What is made of an inspection.

use insta::assert_snapshot;
use phoenixd::docker::{Engine, Error};
use phoenixd::reconcile::{ContainerState, Health, Kernel, Observed, Time};
use phoenixd::spec::{ContainerId, FileDigest};
use serde_json::{Value, json};

use super::fake::{Fake, answer, version};

/// A replica that runs, as 20.10 tells it, without what nobody reads.
pub(super) fn running() -> Value {
    json!({
        "Id": "c".repeat(64),
        "Name": "/shop-web-3",
        "Image": format!("sha256:{}", "1".repeat(64)),
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false,
            "OOMKilled": false, "Dead": false, "Pid": 4711, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-01-01T12:00:00.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {
            "Labels": {
                "phoenixd.project": "shop", "phoenixd.service": "web", "phoenixd.serial": "3",
                "phoenixd.generation": "2", "phoenixd.spec-hash": "abc", "phoenixd.version": "0.1.0",
                "a.user's": "own",
            },
        },
        "HostConfig": {
            "Privileged": false, "ReadonlyRootfs": true, "CapDrop": ["ALL"], "CapAdd": null,
            "SecurityOpt": ["no-new-privileges:true"], "NetworkMode": "shop_front", "PidMode": "",
            "IpcMode": "private", "UTSMode": "", "UsernsMode": "", "CgroupnsMode": "private",
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "PidsLimit": 64, "Memory": 1 << 26,
        },
        "NetworkSettings": {
            "Networks": {
                "shop_front": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"},
                "shop_back": {"IPAddress": "", "GlobalIPv6Address": "fd00::3"},
            },
        },
    })
}

async fn inspect_by(body: Value, podman: bool) -> Result<Option<Observed>, Error> {
    let fake = Fake::new(move |asked| {
        if asked == "GET /version" && podman {
            answer(
                200,
                json!({
                    "ApiVersion": "1.41", "MinAPIVersion": "1.24",
                    "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}],
                }),
            )
        } else if asked == "GET /version" {
            version("1.41", "1.12")
        } else {
            answer(200, body.clone())
        }
    });
    let docker = fake.connect().await.unwrap();
    docker.inspect(&ContainerId::new("c".repeat(64))).await
}

async fn inspect(body: Value) -> Observed {
    inspect_by(body, false).await.unwrap().unwrap()
}

/// The same with another value at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = running();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[tokio::test]
async fn an_inspection_is_read_whole() {
    let mut observed = inspect(running()).await;
    // Converted from the wall clock: the only part that varies.
    assert!(observed.started.take().is_some());
    assert_snapshot!(format!("{observed:#?}"), @r#"
    Observed {
        id: "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
        name: "shop-web-3",
        identity: Some(
            Identity {
                replica: ReplicaName {
                    service: "web",
                    serial: Serial(
                        3,
                    ),
                },
                generation: Generation(
                    2,
                ),
                spec_hash: "abc",
                reach: None,
                adopted: None,
                born_after: BornAfter(
                    {},
                ),
            },
        ),
        state: Running,
        image: "sha256:1111111111111111111111111111111111111111111111111111111111111111",
        health: None,
        health_exec: None,
        started: None,
        second_life: None,
        kernel: Unavailable,
        asked: Asked {
            privileged: false,
            read_only: true,
            cap_drop_all: true,
            no_new_privs: true,
            foreign_namespace: false,
            never_restarts: true,
            pids_limited: true,
            memory_limited: true,
            files_read_only: true,
        },
        files: {},
        networks: {
            "shop_back": Some(
                fd00::3,
            ),
            "shop_front": Some(
                172.18.0.2,
            ),
        },
        joined: None,
    }
    "#);
}

#[tokio::test]
async fn whose_network_is_joined_is_told_by_itself() {
    let mut body = running();
    body["HostConfig"]["NetworkMode"] = json!("container:x");
    let observed = inspect(body).await;
    assert_eq!(observed.joined, Some(ContainerId::new("x")));
    assert!(!observed.asked.foreign_namespace);
}

#[tokio::test]
async fn copies_of_secrets_are_known_by_their_paths_and_have_to_be_read_only() {
    let digest = "0f".repeat(16);
    let copy = format!("/run/phoenixd/shop/files/{}/{digest}", "a1".repeat(6));
    let mount = |source: &str, read_only: Value| json!({"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": read_only});
    for (read_only, is_strong) in [
        (json!(true), true),
        (json!(false), false),
        (Value::Null, false),
    ] {
        let mut body = running();
        body["HostConfig"]["Mounts"] =
            json!([mount("/srv/www", Value::Null), mount(&copy, read_only)]);
        let observed = inspect(body).await;
        let files: Vec<&str> = observed.files.iter().map(FileDigest::as_str).collect();
        assert_eq!(files, [digest.as_str()]);
        assert_eq!(observed.asked.files_read_only, is_strong);
    }
}

#[tokio::test]
async fn a_required_field_that_is_missing_or_empty_makes_the_answer_malformed() {
    for (pointer, field) in [
        ("/Id", "Id"),
        ("/Name", "Name"),
        ("/Image", "Image"),
        ("/State", "State"),
        ("/State/Status", "State.Status"),
        ("/Config", "Config"),
        ("/HostConfig", "HostConfig"),
        ("/HostConfig/Privileged", "HostConfig.Privileged"),
        ("/HostConfig/ReadonlyRootfs", "HostConfig.ReadonlyRootfs"),
        ("/NetworkSettings", "NetworkSettings.Networks"),
        ("/NetworkSettings/Networks", "NetworkSettings.Networks"),
    ] {
        let error = inspect_by(with(pointer, Value::Null), false)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Malformed { field: named } if named == field),
            "{pointer}: {error:?}"
        );
    }
    for (pointer, value, field) in [
        ("/Id", json!(""), "Id"),
        ("/Name", json!("/"), "Name"),
        ("/State/Status", json!(""), "State.Status"),
        ("/State/Status", json!("dancing"), "inspect"),
        ("/State/StartedAt", json!("yesterday"), "State.StartedAt"),
        ("/State", json!("running"), "inspect"),
        (
            "/NetworkSettings/Networks/shop_front/IPAddress",
            json!("nowhere"),
            "NetworkSettings.Networks.IPAddress",
        ),
    ] {
        let error = inspect_by(with(pointer, value), false).await.unwrap_err();
        assert!(
            matches!(error, Error::Malformed { field: named } if named == field),
            "{pointer}: {error:?}"
        );
    }
}

#[tokio::test]
async fn labels_that_phoenixd_did_not_write_make_a_stray() {
    for (label, value) in [
        ("project", Value::Null),
        ("service", Value::Null),
        ("serial", Value::Null),
        ("generation", Value::Null),
        ("spec-hash", Value::Null),
        ("service", json!("")),
        ("serial", json!("three")),
        ("serial", json!("-3")),
        ("serial", json!("+3")),
        ("serial", json!("03")),
        ("generation", json!("1.0")),
    ] {
        let mut body = running();
        let labels = body
            .pointer_mut("/Config/Labels")
            .unwrap()
            .as_object_mut()
            .unwrap();
        let key = format!("phoenixd.{label}");
        labels.remove(&key);
        if !value.is_null() {
            labels.insert(key, value.clone());
        }
        assert_eq!(inspect(body).await.identity, None, "{label}: {value}");
    }
    let bare = with("/Config/Labels", Value::Null);
    assert_eq!(inspect(bare).await.identity, None);
}

#[tokio::test]
async fn one_that_was_started_again_says_when_it_was_made() {
    assert_eq!(inspect(running()).await.second_life, None);
    let again = |status: &str| {
        let mut body = with("/State/FinishedAt", json!("2026-01-01T13:00:00.5Z"));
        *body.pointer_mut("/State/Status").unwrap() = json!(status);
        body["Created"] = json!("1996-01-01T12:00:00Z");
        body
    };
    for status in ["running", "paused"] {
        // Before this host was booted.
        let seen = inspect(again(status)).await.second_life;
        assert_eq!(seen, Some(Time::BOOT), "{status}");
    }
    assert_eq!(inspect(again("exited")).await.second_life, None);
    let mut broken = again("running");
    broken["Created"] = json!("yesterday");
    assert!(matches!(
        inspect_by(broken, false).await,
        Err(Error::Malformed { field: "Created" })
    ));
}

#[tokio::test]
async fn every_state_has_its_meaning() {
    let exited = |code, oom, error: &str| ContainerState::Exited {
        code,
        oom,
        error: error.to_owned(),
    };
    for (status, code, oom, error, expected) in [
        ("created", 0, false, "", ContainerState::Created),
        // The start failed: it keeps the status, and has had its one start.
        (
            "created",
            128,
            false,
            "no such network",
            exited(128, false, "no such network"),
        ),
        ("created", 127, false, "", exited(127, false, "")),
        ("running", 0, false, "", ContainerState::Running),
        ("paused", 0, false, "", ContainerState::Paused),
        ("restarting", 1, false, "", ContainerState::Restarting),
        ("removing", 0, false, "", ContainerState::Removing),
        ("exited", 0, false, "", exited(0, false, "")),
        ("exited", 137, true, "", exited(137, true, "")),
        ("dead", 0, false, "", ContainerState::Dead),
    ] {
        let mut body = running();
        for (pointer, value) in [
            ("/State/Status", json!(status)),
            ("/State/ExitCode", json!(code)),
            ("/State/OOMKilled", json!(oom)),
            ("/State/Error", json!(error)),
        ] {
            *body.pointer_mut(pointer).unwrap() = value;
        }
        let observed = inspect(body).await;
        assert_eq!(observed.state, expected);
        let runs = matches!(status, "running" | "paused");
        assert_eq!(observed.started.is_some(), runs, "{status}");
        let kernel = if runs {
            Kernel::Unavailable
        } else {
            Kernel::NotRunning
        };
        assert_eq!(observed.kernel, kernel, "{status}");
    }
}

#[tokio::test]
async fn health_is_docker_s_own() {
    for (value, expected) in [
        (Value::Null, Health::None),
        (json!({"Status": "none"}), Health::None),
        (json!({"Status": "starting"}), Health::Starting),
        (json!({"Status": "healthy"}), Health::Healthy),
        (json!({"Status": "unhealthy"}), Health::Unhealthy),
    ] {
        let mut body = running();
        body.pointer_mut("/State")
            .unwrap()
            .as_object_mut()
            .unwrap()
            .insert("Health".to_owned(), value);
        assert_eq!(inspect(body).await.health, expected);
    }
}

#[tokio::test]
async fn hardening_that_the_engine_does_not_tell_is_not_there() {
    let asked = inspect(running()).await.asked;
    for (pointer, value) in [
        ("/HostConfig/Privileged", json!(true)),
        ("/HostConfig/ReadonlyRootfs", json!(false)),
        ("/HostConfig/CapDrop", json!(["CHOWN"])),
        ("/HostConfig/CapDrop", Value::Null),
        (
            "/HostConfig/SecurityOpt",
            json!(["no-new-privileges:false"]),
        ),
        ("/HostConfig/SecurityOpt", Value::Null),
        ("/HostConfig/NetworkMode", json!("host")),
        ("/HostConfig/PidMode", json!("host")),
        ("/HostConfig/PidMode", json!("container:x")),
        ("/HostConfig/IpcMode", json!("host")),
        ("/HostConfig/UTSMode", json!("host")),
        ("/HostConfig/UsernsMode", json!("host")),
        ("/HostConfig/CgroupnsMode", json!("host")),
        ("/HostConfig/RestartPolicy/Name", json!("always")),
        ("/HostConfig/PidsLimit", json!(0)),
        ("/HostConfig/PidsLimit", json!(-1)),
        ("/HostConfig/PidsLimit", Value::Null),
        ("/HostConfig/Memory", json!(0)),
    ] {
        let weaker = inspect(with(pointer, value.clone())).await.asked;
        assert_ne!(weaker, asked, "{pointer} {value}");
    }
    for (pointer, value) in [
        ("/HostConfig/CapDrop", json!(["all"])),
        ("/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
        ("/HostConfig/RestartPolicy/Name", json!("")),
    ] {
        let same = inspect(with(pointer, value.clone())).await.asked;
        assert_eq!(same, asked, "{pointer} {value}");
    }
}

#[tokio::test]
async fn podman_s_list_for_all_capabilities_means_all_with_podman_alone() {
    let drops = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ]);
    for podman in [true, false] {
        let body = with("/HostConfig/CapDrop", drops.clone());
        let observed = inspect_by(body, podman).await.unwrap().unwrap();
        assert_eq!(observed.asked.cap_drop_all, podman);
    }
}
