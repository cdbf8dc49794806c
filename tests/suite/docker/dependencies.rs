//! What phoenixes depend on: which of docker compose's containers are looked at, and how; and the label that remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use insta::assert_snapshot;
use phoenixd::docker::{Birth, Engine, Error, body_json};
use phoenixd::spec::{
    BornAfter, ContainerId, ContainerSpec, Generation, ImageRef, Incarnation, ProjectName,
    ReplicaName, Serial, ServiceName, SpecHash,
};
use serde_json::{Value, json};

use super::fake::{Fake, answer, refusal, silence, version};
use super::inspect::running;

fn labels(service: &str, more: &Value) -> Value {
    let mut labels = json!({
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": service,
        "com.docker.compose.oneoff": "False",
    });
    let more = more.as_object().unwrap().clone();
    labels.as_object_mut().unwrap().extend(more);
    labels
}

/// What phoenixd and `docker compose run` make under the name of a service, and what they are told by.
fn not_compose_s() -> [Value; 3] {
    [
        labels("db", &json!({"com.docker.compose.oneoff": "True"})),
        labels("db", &json!({"phoenixd.project": "shop"})),
        labels("cache", &json!({})),
    ]
}

fn services(names: &[&str]) -> BTreeSet<ServiceName> {
    names.iter().map(|name| ServiceName::new(*name)).collect()
}

/// A daemon with these containers, by their ids.
fn daemon(containers: Vec<(&'static str, Value, Value)>) -> Fake {
    Fake::new(move |asked| {
        if asked == "GET /version" {
            return version("1.41", "1.12");
        }
        if asked == "GET /v1.41/containers/json" {
            let listed = containers
                .iter()
                .map(|(id, labels, _)| json!({"Id": id, "Labels": labels}));
            return answer(200, listed.collect());
        }
        let found = containers
            .iter()
            .find(|(id, _, _)| asked == format!("GET /v1.41/containers/{id}/json"));
        match found {
            Some((_, _, state)) if !state.is_null() => answer(200, state.clone()),
            _ => refusal(404, "No such container"),
        }
    })
}

fn container(id: &str, state: &Value, policy: &str) -> Value {
    let mut body = running();
    body["Id"] = json!(id);
    let state = state.as_object().unwrap().clone();
    body["State"].as_object_mut().unwrap().extend(state);
    body["HostConfig"]["RestartPolicy"]["Name"] = json!(policy);
    body
}

#[tokio::test]
async fn of_docker_compose_s_containers_only_those_of_the_services_are_looked_at() {
    let [one_off, replica, other] = not_compose_s();
    let healthy = json!({"Health": {"Status": "healthy"}});
    let exited = json!({
        "Status": "exited", "ExitCode": 3, "FinishedAt": "2026-01-01T12:00:05Z",
        "Health": {"Status": "unhealthy"},
    });
    let created = json!({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"});
    let fake = daemon(vec![
        (
            "a",
            labels("db", &json!({})),
            container("a", &healthy, "unless-stopped"),
        ),
        (
            "b",
            labels("job", &json!({})),
            container("b", &exited, "on-failure"),
        ),
        (
            "c",
            labels("job", &json!({})),
            container("c", &created, "no"),
        ),
        // Gone since it was listed.
        ("d", labels("db", &json!({})), Value::Null),
        ("e", one_off, container("e", &healthy, "no")),
        ("f", replica, container("f", &healthy, "no")),
        ("g", other, container("g", &healthy, "no")),
    ]);
    let docker = fake.connect().await.unwrap();
    let project = ProjectName::new("shop");
    let seen = docker
        .dependencies(&project, &services(&["db", "job"]))
        .await;
    let told: Vec<String> = seen
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {}: {:?}, {:?}, since some time: {}, restarts: {}",
                one.service,
                one.id,
                one.state,
                one.health,
                one.since.is_some(),
                one.restarts
            )
        })
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    db a: Running, Healthy, since some time: true, restarts: true
    job b: Exited { code: 3, oom: false, error: "" }, Unhealthy, since some time: true, restarts: false
    job c: Created, None, since some time: false, restarts: false
    "#);
    // Four containers were inspected, and every one of them by its id.
    let inspected: Vec<String> = fake.requests().into_iter().skip(2).collect();
    assert_eq!(inspected.len(), 4, "{inspected:?}");

    let none = docker.dependencies(&project, &services(&[])).await.unwrap();
    assert_eq!(none, []);
    assert_eq!(fake.requests(), [""; 0], "nothing is asked");
}

#[tokio::test]
async fn a_dependency_that_the_engine_tells_of_in_part_is_an_error() {
    let mut body = container("a", &json!({}), "no");
    body["State"]["StartedAt"] = json!("yesterday");
    let fake = daemon(vec![("a", labels("db", &json!({})), body)]);
    let docker = fake.connect().await.unwrap();
    let project = ProjectName::new("shop");
    let seen = docker.dependencies(&project, &services(&["db"])).await;
    let is_malformed = matches!(
        &seen,
        Err(Error::Malformed {
            field: "State.StartedAt"
        })
    );
    assert!(is_malformed, "{seen:?}");
}

#[tokio::test]
async fn what_happens_to_them_is_asked_for_without_the_health_checks_and_told_without_the_others() {
    let event = |id: &str, labels: &Value| {
        let event = json!({
            "Type": "container", "Action": "health_status: healthy",
            "Actor": {"ID": id, "Attributes": labels},
        });
        format!("{event}\n")
    };
    let mut text: String = not_compose_s()
        .iter()
        .map(|labels| event("no", labels))
        .collect();
    text += &event("no", &json!({"name": "x"}));
    text += &event("no", &Value::Null);
    text += &event("yes", &labels("db", &json!({})));
    let fake = Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/_ping" => ([("date", "Thu, 01 Jan 2026 00:00:07 GMT")], "OK").into_response(),
        _ => Response::new(Body::from(Bytes::from(text.clone()))),
    });
    let docker = fake.connect().await.unwrap();
    let (project, services) = (ProjectName::new("shop"), services(&["db"]));
    let hints = docker.subscribe_to_dependencies(&project, &services).await;
    let hints: Vec<_> = hints.unwrap().collect().await;
    assert_eq!(hints.len(), 2, "one hint, and the end: {hints:?}");
    let hint = hints[0].as_ref().unwrap();
    assert_eq!(hint.id, ContainerId::new("yes"));
    assert!(hints[1].is_err());
    let asked = fake.requests().pop().unwrap().replace("%22", "'");
    assert_snapshot!(asked, @"GET /v1.41/events?since=1767225607&filters=%7B'event'%3A%5B'create'%2C'start'%2C'restart'%2C'die'%2C'pause'%2C'unpause'%2C'destroy'%2C'update'%2C'health_status'%5D%2C'label'%3A%5B'com.docker.compose.project%3Dshop'%5D%2C'type'%3A%5B'container'%5D%7D");
}

#[tokio::test(start_paused = true)]
async fn every_one_of_these_calls_gives_up_in_its_time() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        _ => silence(),
    });
    let docker = fake.connect().await.unwrap();
    let (project, services) = (ProjectName::new("shop"), services(&["db"]));
    let seen = docker.dependencies(&project, &services).await.map(drop);
    let hints = docker.subscribe_to_dependencies(&project, &services).await;
    for called in [seen, hints.map(drop)] {
        assert!(matches!(called, Err(Error::TimedOut { .. })), "{called:?}");
    }
}

fn born_after() -> BornAfter {
    let ids = BTreeSet::from([ContainerId::new("c1"), ContainerId::new("c2")]);
    BornAfter(BTreeMap::from([
        (
            ServiceName::new("api"),
            Incarnation::Phoenix(SpecHash::new("abc")),
        ),
        (ServiceName::new("db"), Incarnation::Compose(ids)),
    ]))
}

#[test]
fn what_a_replica_was_born_after_stands_in_a_label() {
    let birth = |born_after| Birth {
        project: ProjectName::new("shop"),
        replica: ReplicaName::new(ServiceName::new("web"), Serial(3)),
        generation: Generation(2),
        spec_hash: SpecHash::new("abc"),
        container: Arc::new(ContainerSpec::of_image(ImageRef::new("web:1"))),
        image: None,
        born_after,
        joins: None,
    };
    let label = |birth: &Birth| body_json(birth)["Labels"]["phoenixd.born-after"].clone();
    let text = "api=phoenix:abc db=compose:c1+c2";
    assert_eq!(label(&birth(born_after())), json!(text));
    assert_eq!(label(&birth(BornAfter::default())), Value::Null);
}

#[tokio::test]
async fn the_label_is_read_again_and_one_that_phoenixd_did_not_write_tells_nothing() {
    for (text, expected) in [
        ("api=phoenix:abc db=compose:c1+c2", born_after()),
        ("db=swarm:1", BornAfter::default()),
        ("", BornAfter::default()),
    ] {
        let mut body = running();
        body["Config"]["Labels"]["phoenixd.born-after"] = json!(text);
        let fake = Fake::new(move |asked| match asked {
            "GET /version" => version("1.41", "1.12"),
            _ => answer(200, body.clone()),
        });
        let docker = fake.connect().await.unwrap();
        let seen = docker.inspect(&ContainerId::new("c")).await.unwrap();
        assert_eq!(
            seen.unwrap().identity.unwrap().born_after,
            expected,
            "{text}"
        );
    }
}
