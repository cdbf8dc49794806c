//! What docker compose runs and a phoenix depends on: looked at, hinted at, and never taken for a replica.

use std::collections::BTreeSet;

use futures::StreamExt;
use phoenixd::docker::{Engine, Scope};
use phoenixd::reconcile::{ContainerState, DependencySeen, Health};
use phoenixd::spec::ServiceName;

use super::{Fixture, GRACE, PATIENCE, list, start};

fn named(name: &str) -> ServiceName {
    ServiceName::new(name)
}

pub(crate) async fn what_docker_compose_runs_is_told_when_it_is_asked_for_and_is_nobody_s_replica<
    F: Fixture,
>(
    fixture: &F,
) {
    let (engine, project) = (fixture.engine(), fixture.project());
    let db = fixture.compose_up(&named("db"), false).await;
    fixture.compose_up(&named("db"), true).await;
    let cache = fixture.compose_up(&named("cache"), false).await;
    let web = start(fixture, 1).await;

    let asked = |names: &[&str]| -> BTreeSet<ServiceName> {
        names.iter().map(|name| named(name)).collect()
    };
    let seen = engine
        .dependencies(&project, &asked(&["db", "web", "nothing"]))
        .await
        .expect("dependencies");
    // Neither what `docker compose run` made, nor another service, nor a replica under the name of one.
    let [one] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(one.id, db);
    assert_eq!(one.service, named("db"));
    assert_eq!(one.state, ContainerState::Running);
    assert_eq!(one.health, Health::None);
    assert!(one.since.is_some());
    let none = engine.dependencies(&project, &asked(&[])).await;
    assert_eq!(none.expect("dependencies"), []);

    // A listing has them where its scope names them, and they are no containers of the project.
    let scope = Scope {
        project: project.clone(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        dependencies: asked(&["cache"]),
        originals: false,
    };
    let listing = engine.list(&scope).await.expect("list");
    let ids = |all: &[phoenixd::reconcile::Observed]| -> Vec<_> {
        all.iter().map(|one| one.id.clone()).collect()
    };
    assert_eq!(ids(&listing.containers), std::slice::from_ref(&web));
    let found: Vec<_> = listing.dependencies.iter().map(|one| &one.id).collect();
    assert_eq!(found, [&cache]);
    let listing = list(fixture, &project).await;
    assert_eq!(ids(&listing.containers), [web]);
    assert_eq!(listing.dependencies, []);

    engine.stop(&db, GRACE).await.expect("stop");
    let seen = engine.dependencies(&project, &asked(&["db"])).await;
    let seen = seen.expect("dependencies");
    let ended = |one: &DependencySeen| matches!(one.state, ContainerState::Exited { .. });
    assert!(seen.len() == 1 && seen.iter().all(ended), "{seen:?}");
    engine.remove(&db).await.expect("remove");
    let seen = engine.dependencies(&project, &asked(&["db"])).await;
    assert_eq!(seen.expect("dependencies"), []);
}

pub(crate) async fn what_happens_to_a_dependency_is_hinted_at<F: Fixture>(fixture: &F) {
    let (engine, project) = (fixture.engine(), fixture.project());
    let services = BTreeSet::from([named("db")]);
    let mut hints = engine
        .subscribe_to_dependencies(&project, &services)
        .await
        .expect("subscribe");
    let mut of_replicas = engine
        .subscribe(&project, std::time::Duration::ZERO)
        .await
        .expect("subscribe");
    // Of no interest: another service, and a replica.
    fixture.compose_up(&named("cache"), false).await;
    let web = start(fixture, 1).await;
    let db = fixture.compose_up(&named("db"), false).await;
    engine.stop(&db, GRACE).await.expect("stop");
    engine.remove(&db).await.expect("remove");
    for action in ["start", "die", "destroy"] {
        let waiting = async {
            loop {
                let hint = hints.next().await.expect("the stream goes on");
                let hint = hint.expect("hint");
                assert_eq!(hint.id, db, "{hint:?}");
                if hint.action == action {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no hint `{action}`"));
    }
    let hint = of_replicas.next().await.expect("the stream goes on");
    assert_eq!(hint.expect("hint").id, web, "no dependency is a replica");
}
