//! What is asked of the engine, and what its refusals mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::docker::{Birth, Docker, Engine, Error, Scope};
use phoenixd::spec::{
    BornAfter, ContainerId, ContainerSpec, Generation, ImageRef, Mount, MountSource, NetworkName,
    NetworkSpec, ProjectName, ReplicaName, Serial, ServiceName, SpecHash, VolumeName,
};
use serde_json::{Value, json};

use super::fake::{Fake, answer, refusal, silence, version};
use super::inspect::running;
use super::rich::rich;

fn id() -> ContainerId {
    ContainerId::new("c".repeat(64))
}

fn birth(container: ContainerSpec) -> Birth {
    Birth {
        project: ProjectName::new("shop"),
        replica: ReplicaName::new(ServiceName::new("web"), Serial(3)),
        generation: Generation(2),
        spec_hash: SpecHash::new("abc"),
        container: Arc::new(container),
        image: None,
        born_after: BornAfter::default(),
        joins: None,
    }
}

/// A daemon that answers everything but the question for its version so.
fn always(answers: impl Fn() -> axum::response::Response + Send + Sync + 'static) -> Fake {
    Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        _ => answers(),
    })
}

#[tokio::test(start_paused = true)]
async fn every_call_gives_up_in_its_time() {
    let fake = always(silence);
    let docker = fake.connect().await.unwrap();
    let seconds = |error: Error| {
        let Error::TimedOut { call, after } = error else {
            unreachable!("{error:?}");
        };
        (call, after.as_secs())
    };
    let grace = Some(Duration::from_millis(90_500));
    let birth = birth(ContainerSpec::of_image(ImageRef::new("web:1")));
    let network = NetworkName::new("shop_front");
    let volume = VolumeName::new("shop_data");
    let project = ProjectName::new("shop");
    let timeouts = [
        docker.inspect(&id()).await.map(|_| ()),
        docker.find("shop-web-1").await.map(|_| ()),
        docker.create(&birth).await.map(|_| ()),
        docker.start(&id()).await,
        docker.stop(&id(), grace).await,
        docker.stop(&id(), None).await,
        docker.remove(&id()).await,
        docker.create_network(&project, &front()).await,
        docker.remove_network(&network).await,
        docker.remove_volume(&volume).await,
        docker.image(&ImageRef::new("web:1")).await.map(|_| ()),
        docker.subscribe(&project, Duration::ZERO).await.map(|_| ()),
        docker.ping().await,
    ]
    .map(|called| seconds(called.unwrap_err()));
    assert_eq!(
        timeouts,
        [
            ("inspect", 10),
            ("inspect", 10),
            ("create", 60),
            ("start", 60),
            // The grace, rounded up, and 30 s.
            ("stop", 121),
            ("inspect", 10),
            ("remove", 30),
            ("create network", 30),
            ("list networks", 10),
            ("remove volume", 30),
            ("inspect image", 10),
            ("events", 10),
            ("ping", 10),
        ]
    );
}

#[tokio::test]
async fn a_stop_asks_for_whole_seconds_rounded_up() {
    for (grace, asked) in [(0, 0), (1, 1), (1000, 1), (9001, 10)] {
        let fake = always(|| answer(200, json!(null)));
        let docker = fake.connect().await.unwrap();
        let grace = Some(Duration::from_millis(grace));
        docker.stop(&id(), grace).await.unwrap();
        let path = format!("POST /v1.41/containers/{}/stop?t={asked}", id());
        assert_eq!(fake.requests().last(), Some(&path));
    }
}

#[tokio::test]
async fn a_stop_without_a_grace_waits_for_the_container_s_own() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        get if get.starts_with("GET") => {
            let mut body = running();
            let config = body
                .pointer_mut("/Config")
                .unwrap()
                .as_object_mut()
                .unwrap();
            config.insert("StopTimeout".to_owned(), json!(300));
            answer(200, body)
        }
        _ => answer(200, json!(null)),
    });
    let docker = fake.connect().await.unwrap();
    docker.stop(&id(), None).await.unwrap();
    let path = format!("POST /v1.41/containers/{}/stop?t=300", id());
    assert_eq!(fake.requests().last(), Some(&path));
}

#[tokio::test]
async fn what_is_done_already_counts_as_done() {
    for (status, message) in [
        (304, ""),
        (404, "No such container: c"),
        (409, "removal of container c is already in progress"),
    ] {
        let fake = always(move || refusal(status, message));
        let docker = fake.connect().await.unwrap();
        docker.remove(&id()).await.unwrap();
        if status != 409 {
            docker.stop(&id(), Some(Duration::ZERO)).await.unwrap();
        }
    }
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/networks" => answer(200, json!([])),
        _ => refusal(404, "no such thing"),
    });
    let docker = fake.connect().await.unwrap();
    assert_eq!(docker.inspect(&id()).await.unwrap(), None);
    assert_eq!(docker.find("shop-web-1").await.unwrap(), None);
    assert_eq!(docker.image(&ImageRef::new("web:1")).await.unwrap(), None);
    docker.remove_network(&NetworkName::new("x")).await.unwrap();
    docker.remove_volume(&VolumeName::new("x")).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind_in_the_engine_s_words() {
    for (status, kind) in [
        (400, "Refused"),
        (403, "Refused"),
        (404, "NotFound"),
        (409, "Conflict"),
        (500, "Refused"),
        (503, "Refused"),
    ] {
        let fake = always(move || refusal(status, "the engine's words"));
        let docker = fake.connect().await.unwrap();
        let error = docker.start(&id()).await.unwrap_err();
        assert!(
            format!("{error:?}").starts_with(kind),
            "{status}: {error:?}"
        );
        assert!(error.to_string().contains("the engine's words"), "{error}");
        assert!(!error.is_retryable());
    }
    // A proxy's page is told as it is, and not without end.
    let page = "x".repeat(100_000);
    let fake = always(move || answer(502, Value::String(page.clone())));
    let docker = fake.connect().await.unwrap();
    let text = docker.start(&id()).await.unwrap_err().to_string();
    assert!((2048..2200).contains(&text.len()), "{}", text.len());
}

#[tokio::test(start_paused = true)]
async fn a_container_that_vanishes_while_it_is_listed_is_left_out_and_one_that_is_not_answered_for_is_told()
 {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/containers/json" => answer(
            200,
            json!([{"Id": "gone"}, {"Id": "mute"}, {"Id": "there"}]),
        ),
        "GET /v1.41/containers/mute/json" => silence(),
        "GET /v1.41/containers/there/json" => answer(200, running()),
        "GET /v1.41/networks" => answer(
            200,
            json!([
                {"Name": "shop_front", "Labels": {"phoenixd.project": "shop"}},
                {"Name": "other_front", "Labels": {"phoenixd.project": "other"}},
                {"Name": "needed", "Labels": null},
                {"Name": "bridge", "Labels": {}},
            ]),
        ),
        "GET /v1.41/volumes" => answer(
            200,
            json!({"Volumes": [
                {"Name": "shop_data", "Driver": "local", "Mountpoint": "/x", "Scope": "local",
                 "Labels": {"phoenixd.project": "shop"}, "Options": null},
                {"Name": "theirs", "Driver": "local", "Mountpoint": "/x", "Scope": "local",
                 "Labels": null, "Options": null},
            ]}),
        ),
        _ => refusal(404, "No such container"),
    });
    let docker = fake.connect().await.unwrap();
    let scope = Scope {
        project: ProjectName::new("shop"),
        networks: BTreeSet::from([NetworkName::new("needed"), NetworkName::new("missing")]),
        volumes: BTreeSet::new(),
        originals: false,
        dependencies: BTreeSet::new(),
    };
    let listing = docker.list(&scope).await.unwrap();
    assert_eq!(listing.containers.len(), 1);
    assert_eq!(listing.silent, BTreeSet::from([ContainerId::new("mute")]));
    let networks: Vec<_> = listing
        .networks
        .iter()
        .map(|seen| (seen.name.as_str(), seen.ours))
        .collect();
    assert_eq!(networks, [("needed", false), ("shop_front", true)]);
    let volumes: Vec<_> = listing
        .volumes
        .iter()
        .map(|seen| seen.name.as_str())
        .collect();
    assert_eq!(volumes, ["shop_data"]);
}

#[tokio::test]
async fn the_beginning_of_somebody_s_id_is_not_a_name() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/networks" => answer(
            200,
            json!([{"Name": "xcafex", "Id": "n1"}, {"Name": "theirs", "Id": "cafe0123"}]),
        ),
        "GET /v1.41/containers/cccc/json" => answer(200, running()),
        other => unreachable!("{other}"),
    });
    let docker = fake.connect().await.unwrap();
    docker
        .remove_network(&NetworkName::new("cafe"))
        .await
        .unwrap();
    assert_eq!(docker.find("cccc").await.unwrap(), None);
}

/// Three of one name: ours and older, somebody else's, ours and younger.
const OURS: &str = r#"{"phoenixd.project": "shop"}"#;

/// Three networks of one name; phoenixd made the first and the last, and the second has these labels.
fn three_of_a_name(second: &str) -> Fake {
    let second: serde_json::Value = serde_json::from_str(second).unwrap();
    Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "POST /v1.41/networks/create" => answer(201, json!({"Id": "n3", "Warning": ""})),
        "GET /v1.41/networks" => answer(
            200,
            json!([
                {"Name": "shop_front", "Id": "n3", "Created": "2026-01-01T00:00:03Z", "Labels": {"phoenixd.project": "shop"}},
                {"Name": "shop_front", "Id": "n1", "Created": "2026-01-01T00:00:01Z", "Labels": {"phoenixd.project": "shop"}},
                {"Name": "shop_front", "Id": "n2", "Created": "2026-01-01T00:00:02Z", "Labels": second},
                {"Name": "shop_front_2", "Id": "n4", "Created": "2026-01-01T00:00:02Z", "Labels": {"phoenixd.project": "shop"}},
            ]),
        ),
        _ => answer(204, json!(null)),
    })
}

#[tokio::test]
async fn of_networks_that_were_made_at_once_the_oldest_stays() {
    let fake = three_of_a_name(OURS);
    let docker = fake.connect().await.unwrap();
    docker
        .create_network(&ProjectName::new("shop"), &front())
        .await
        .unwrap();
    let removed: Vec<_> = fake.requests().split_off(3);
    assert_eq!(
        removed,
        ["DELETE /v1.41/networks/n2", "DELETE /v1.41/networks/n3"]
    );
}

#[tokio::test]
async fn of_networks_that_somebody_else_made_at_once_too_that_one_stays() {
    let fake = three_of_a_name("{}");
    let docker = fake.connect().await.unwrap();
    docker
        .create_network(&ProjectName::new("shop"), &front())
        .await
        .unwrap();
    let removed: Vec<_> = fake.requests().split_off(3);
    assert_eq!(
        removed,
        ["DELETE /v1.41/networks/n1", "DELETE /v1.41/networks/n3"]
    );
}

#[tokio::test]
async fn of_networks_of_one_name_only_ours_are_removed() {
    let fake = three_of_a_name("{}");
    let docker = fake.connect().await.unwrap();
    docker
        .remove_network(&NetworkName::new("shop_front"))
        .await
        .unwrap();
    let removed: Vec<_> = fake.requests().split_off(2);
    assert_eq!(
        removed,
        ["DELETE /v1.41/networks/n3", "DELETE /v1.41/networks/n1"]
    );
}

#[tokio::test]
async fn what_cannot_be_a_name_does_not_become_a_path() {
    let fake = always(|| answer(200, running()));
    let docker = fake.connect().await.unwrap();
    for name in ["", "../info", "a/b", "a?b", "a b", "-a", "a%2e"] {
        assert_eq!(docker.find(name).await.unwrap(), None, "{name}");
    }
    for image in ["", "../containers/x", "a/../b", "a?b", "a b", "a//b", "/a"] {
        let error = docker.image(&ImageRef::new(image)).await.unwrap_err();
        assert!(
            matches!(error, Error::Refused { status: 400, .. }),
            "{image}"
        );
    }
    assert_eq!(fake.requests(), ["GET /version"]);
}

fn front() -> NetworkSpec {
    NetworkSpec {
        key: "front".to_owned(),
        name: NetworkName::new("shop_front"),
        external: false,
        driver: Some("bridge".to_owned()),
        driver_opts: BTreeMap::new(),
        internal: true,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        ipam_driver: None,
        ipam_pools: Vec::new(),
        labels: BTreeMap::new(),
        place: None,
    }
}

#[tokio::test]
async fn a_network_is_asked_for_once_with_compose_s_labels() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/networks" => answer(200, json!([])),
        _ => answer(201, json!({"Id": "n", "Warning": ""})),
    });
    let docker = fake.connect().await.unwrap();
    docker
        .create_network(&ProjectName::new("shop"), &front())
        .await
        .unwrap();
    let asked = fake.asked();
    let (path, body) = &asked[1];
    assert_eq!(path, "POST /v1.41/networks/create");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        json!({
            "Name": "shop_front", "Driver": "bridge", "CheckDuplicate": true,
            "Internal": true, "Attachable": false,
            "Labels": {
                "com.docker.compose.network": "front",
                "com.docker.compose.project": "shop",
                "com.docker.compose.version": concat!("phoenixd-", env!("CARGO_PKG_VERSION")),
                "phoenixd.project": "shop",
                "phoenixd.version": env!("CARGO_PKG_VERSION"),
            },
        })
    );
}

#[tokio::test]
async fn an_address_pool_that_is_taken_is_no_network_that_exists() {
    for (message, is_done) in [
        ("network with name shop_front already exists", true),
        ("Pool overlaps with other one on this address space", false),
    ] {
        let fake = always(move || refusal(409, message));
        let docker = fake.connect().await.unwrap();
        let made = docker
            .create_network(&ProjectName::new("shop"), &front())
            .await;
        assert_eq!(made.is_ok(), is_done, "{made:?}");
    }
}

#[tokio::test]
async fn a_network_in_use_is_a_conflict() {
    for status in [403, 409] {
        let fake = Fake::new(move |asked| match asked {
            "GET /version" => version("1.41", "1.12"),
            get if get.starts_with("GET") => {
                answer(200, json!([{"Name": "shop_front", "Id": "n1"}]))
            }
            _ => refusal(
                status,
                "error while removing network: network shop_front id n1 has active endpoints",
            ),
        });
        let docker = fake.connect().await.unwrap();
        let removed = docker.remove_network(&NetworkName::new("shop_front")).await;
        assert!(
            matches!(removed, Err(Error::Conflict { .. })),
            "{removed:?}"
        );
        let last = fake.requests().pop();
        assert_eq!(last.as_deref(), Some("DELETE /v1.41/networks/n1"));
    }
}

#[tokio::test]
async fn what_an_older_engine_would_drop_in_silence_is_refused() {
    let annotated = ContainerSpec {
        annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        ..ContainerSpec::of_image(ImageRef::new("web:1"))
    };
    let subpath = ContainerSpec {
        mounts: vec![Mount {
            source: MountSource::Volume {
                name: VolumeName::new("shop_data"),
                nocopy: false,
                subpath: Some("web".to_owned()),
                labels: BTreeMap::new(),
            },
            target: "/data".to_owned(),
            read_only: true,
            consistency: None,
        }],
        ..ContainerSpec::of_image(ImageRef::new("web:1"))
    };
    let mut unplaced = rich();
    unplaced.files[0].path = None;
    for (container, engine, is_made) in [
        (&annotated, "1.42", false),
        (&annotated, "1.43", true),
        (&subpath, "1.44", false),
        (&subpath, "1.45", true),
        // Of any engine: a mount without a source.
        (&unplaced, "1.45", false),
    ] {
        let fake = Fake::new(move |asked| match asked {
            "GET /version" => version(engine, "1.12"),
            _ => answer(201, json!({"Id": "c", "Warnings": []})),
        });
        let docker: Docker = fake.connect().await.unwrap();
        let created = docker.create(&birth(container.clone())).await;
        assert_eq!(created.is_ok(), is_made, "{engine}: {created:?}");
    }
}

#[tokio::test]
async fn a_container_is_made_under_its_name_and_platform() {
    let fake = always(|| answer(201, json!({"Id": "c", "Warnings": []})));
    let docker = fake.connect().await.unwrap();
    let container = ContainerSpec {
        platform: Some("linux/arm64".to_owned()),
        ..ContainerSpec::of_image(ImageRef::new("web:1"))
    };
    docker.create(&birth(container)).await.unwrap();
    let last = fake.requests().pop().unwrap();
    assert!(last.starts_with("POST /v1.41/containers/create?"), "{last}");
    assert!(last.contains("name=shop-web-3"), "{last}");
    assert!(last.contains("platform=linux%2Farm64"), "{last}");
}

#[tokio::test]
async fn a_pull_tells_its_steps_and_its_failure() {
    let lines = "{\"status\":\"Downloading\",\"id\":\"aa\",\"progressDetail\":{\"current\":1,\"total\":2}}\r\n\
                 {\"status\":\"Done\",\"progressDetail\":{}}\r\n";
    let fake = always(move || axum::response::IntoResponse::into_response(lines));
    let docker = fake.connect().await.unwrap();
    let mut steps = Vec::new();
    docker
        .pull(
            &ImageRef::new("host:5000/web:1"),
            Some("linux/amd64"),
            |step| steps.push(step),
        )
        .await
        .unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[0].current, steps[0].total), (Some(1), Some(2)));
    assert_eq!(
        fake.requests().last().unwrap(),
        "POST /v1.41/images/create?fromImage=host%3A5000%2Fweb&tag=1&platform=linux%2Famd64"
    );

    let failing =
        "{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\r\n";
    let fake = always(move || axum::response::IntoResponse::into_response(failing));
    let docker = fake.connect().await.unwrap();
    let error = docker
        .pull(&ImageRef::new("web"), None, |_| ())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("manifest unknown"), "{error}");
}
