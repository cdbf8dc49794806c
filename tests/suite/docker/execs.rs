//! What the engine tells of processes that were started in a container, Docker's own health checks among them.

use phoenixd::docker::{Engine, Error};
use phoenixd::reconcile::{ExecFacts, HealthExec};
use phoenixd::spec::ContainerId;
use serde_json::{Value, json};

use super::fake::{Fake, answer, refusal, version};
use super::inspect::running;

/// How the engine tells of it, as 20.10.24 and 28.5.2 do.
fn facts_of(body: Value) -> Fake {
    Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/exec/0badc0de/json" => answer(200, body.clone()),
        _ => refusal(404, "No such exec instance"),
    })
}

#[tokio::test]
async fn an_exec_is_told_with_who_started_it_how() {
    let fake = facts_of(json!({
        "ID": "0badc0de", "Running": true, "ExitCode": null, "OpenStdin": true, "Pid": 7,
        "ProcessConfig": {
            "tty": true, "entrypoint": "sh", "arguments": ["-c", "id"], "privileged": true, "user": "0",
        },
    }));
    let docker = fake.connect().await.unwrap();
    let facts = docker.exec("0badc0de").await.unwrap().unwrap();
    assert_eq!(
        facts,
        ExecFacts {
            arguments: ["sh", "-c", "id"].map(str::to_owned).to_vec(),
            privileged: true,
            tty: true,
            stdin: true,
            user: "0".to_owned(),
        }
    );
    assert_eq!(docker.exec("feed").await.unwrap(), None);
    // What is no id is not asked for.
    drop(fake.requests());
    for id in ["", "../containers/json", "0badc0de/json?"] {
        assert_eq!(docker.exec(id).await.unwrap(), None);
    }
    assert_eq!(fake.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_health_check_leaves_out_is_no() {
    let fake = facts_of(json!({ "ProcessConfig": { "tty": false, "entrypoint": "/check" } }));
    let docker = fake.connect().await.unwrap();
    let facts = docker.exec("0badc0de").await.unwrap().unwrap();
    assert_eq!(facts.arguments, ["/check"]);
    assert!(!facts.privileged && !facts.tty && !facts.stdin && facts.user.is_empty());
    let fake = facts_of(json!({ "ID": "0badc0de" }));
    let docker = fake.connect().await.unwrap();
    let malformed = docker.exec("0badc0de").await;
    assert!(
        matches!(malformed, Err(Error::Malformed { .. })),
        "{malformed:?}"
    );
}

/// The health check of a container with this configuration.
async fn check(healthcheck: Value, shell: Value) -> Option<HealthExec> {
    let mut body = running();
    let config = body["Config"].as_object_mut().unwrap();
    config.insert("Healthcheck".to_owned(), healthcheck);
    config.insert("Shell".to_owned(), shell);
    config.insert("User".to_owned(), json!("app"));
    let fake = Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        _ => answer(200, body.clone()),
    });
    let docker = fake.connect().await.unwrap();
    let seen = docker.inspect(&ContainerId::new("c".repeat(64))).await;
    seen.unwrap().unwrap().health_exec
}

#[tokio::test]
async fn the_health_check_in_force_is_the_container_s_own() {
    let exec = |arguments: &[&str], shell| {
        Some(HealthExec {
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            shell,
            user: "app".to_owned(),
        })
    };
    let direct = json!({ "Test": ["CMD", "/check", "-q"] });
    assert_eq!(
        check(direct, Value::Null).await,
        exec(&["/check", "-q"], false)
    );
    let by_shell = json!({ "Test": ["CMD-SHELL", "curl x || exit 1"] });
    assert_eq!(
        check(by_shell.clone(), Value::Null).await,
        exec(&["/bin/sh", "-c", "curl x || exit 1"], true)
    );
    assert_eq!(
        check(by_shell, json!(["/bin/bash", "-ec"])).await,
        exec(&["/bin/bash", "-ec", "curl x || exit 1"], true)
    );
    for none in [
        json!({ "Test": ["NONE"] }),
        json!({ "Test": [] }),
        json!({}),
        Value::Null,
    ] {
        assert_eq!(check(none, Value::Null).await, None);
    }
}
