//! Containers: born once, started once, stopped, removed, listed, hinted at.

use std::time::Duration;

use futures::{Stream, StreamExt};
use phoenixd::docker::{Birth, Engine, Error, Hint};
use phoenixd::reconcile::{ContainerState, Health, Identity, Observed};
use phoenixd::spec::{ContainerId, ContainerSpec, ImageRef, NetworkMode};

use super::{
    Fixture, GRACE, attachment, birth, create, create_with, inspect, list, network, nobody, plain,
    start,
};

/// For whatever has to come at some time: far beyond any slow machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn a_name_is_given_once_and_tells_whose_it_is<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let birth = birth(&fixture.project(), 1, plain(fixture));
    let id = engine.create(&birth).await.expect("create");

    let again = engine.create(&birth).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");

    let name = birth.replica.container_name(&birth.project);
    let found = engine.find(&name).await.expect("find").expect("there");
    assert_eq!(found.id, id);
    assert_eq!(found.name, name);
    assert_eq!(found.state, ContainerState::Created);
    assert_eq!(found.health, Health::None);
    assert_eq!(found.started, None);
    assert_eq!(
        found.identity,
        Some(Identity {
            replica: birth.replica.clone(),
            generation: birth.generation,
            spec_hash: birth.spec_hash.clone(),
            reach: None,
            adopted: None,
            born_after: birth.born_after.clone(),
        })
    );
    assert_eq!(Some(found), engine.inspect(&id).await.expect("inspect"));
    // The beginning of an id, or of a name, is no name.
    for other in [id.short(), name.trim_end_matches('1'), "no/../name", ""] {
        assert_eq!(engine.find(other).await.expect("find"), None, "{other}");
    }
}

pub(crate) async fn an_unknown_image_makes_no_container<F: Fixture>(fixture: &F) {
    let spec = ContainerSpec {
        image: ImageRef::new("phoenixd-test.invalid/nothing:1"),
        ..plain(fixture)
    };
    let birth = birth(&fixture.project(), 1, spec);
    let created = fixture.engine().create(&birth).await;
    assert!(
        matches!(created, Err(Error::NotFound { .. })),
        "{created:?}"
    );
    let listing = list(fixture, &fixture.project()).await;
    assert_eq!(listing.containers, []);
}

pub(crate) async fn what_is_gone_is_none<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    assert_eq!(engine.inspect(&nobody()).await.expect("inspect"), None);
    let name = format!("{}-web-1", fixture.project());
    assert_eq!(engine.find(&name).await.expect("find"), None);

    let id = create(fixture, 1).await;
    engine.remove(&id).await.expect("remove");
    assert_eq!(engine.inspect(&id).await.expect("inspect"), None);
    assert_eq!(engine.find(&name).await.expect("find"), None);
    let started = engine.start(&id).await;
    assert!(
        matches!(started, Err(Error::NotFound { .. })),
        "{started:?}"
    );
}

pub(crate) async fn starting_twice_starts_once<F: Fixture>(fixture: &F) {
    let id = start(fixture, 1).await;
    let first = inspect(fixture, &id).await;
    assert_eq!(first.state, ContainerState::Running);
    assert!(first.started.is_some());

    fixture.engine().start(&id).await.expect("start again");
    let second = inspect(fixture, &id).await;
    assert_eq!(second.state, ContainerState::Running);
    let (a, b) = (first.started.unwrap(), second.started.unwrap());
    // Where the time is the engine's and not the kernel's, it is converted at each look.
    let apart = a.since(b).max(b.since(a));
    assert!(apart < Duration::from_millis(500), "{a:?} {b:?}");
}

pub(crate) async fn stopping_what_does_not_run_is_done<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let grace = Some(Duration::from_millis(9500));
    let id = start(fixture, 1).await;
    engine.stop(&id, grace).await.expect("stop");
    let stopped = inspect(fixture, &id).await;
    assert!(
        matches!(&stopped.state, ContainerState::Exited { oom: false, error, .. } if error.is_empty()),
        "{:?}",
        stopped.state
    );
    assert_eq!(stopped.started, None);

    engine.stop(&id, grace).await.expect("stop again");
    assert_eq!(inspect(fixture, &id).await.state, stopped.state);

    let created = create(fixture, 2).await;
    engine
        .stop(&created, grace)
        .await
        .expect("stop a created one");
    assert_eq!(
        inspect(fixture, &created).await.state,
        ContainerState::Created
    );
    engine.stop(&nobody(), grace).await.expect("stop nobody");
}

pub(crate) async fn a_stop_without_a_grace_uses_the_container_s_own<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let id = start(fixture, 1).await;
    engine.stop(&id, None).await.expect("stop");
    let stopped = inspect(fixture, &id).await.state;
    assert!(
        matches!(stopped, ContainerState::Exited { .. }),
        "{stopped:?}"
    );
    engine.stop(&id, None).await.expect("stop again");
    engine.stop(&nobody(), None).await.expect("stop nobody");
}

pub(crate) async fn removing_twice_removes_once<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let created = create(fixture, 1).await;
    let exited = start(fixture, 2).await;
    engine.stop(&exited, GRACE).await.expect("stop");
    for id in [&created, &exited] {
        engine.remove(id).await.expect("remove");
        engine.remove(id).await.expect("remove again");
    }
    engine.remove(&nobody()).await.expect("remove nobody");
    assert_eq!(list(fixture, &fixture.project()).await.containers, []);
}

pub(crate) async fn a_frozen_container_stays_frozen_until_it_is_destroyed<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let id = start(fixture, 1).await;
    for _ in 0..2 {
        engine.pause(&id).await.expect("pause");
        assert_eq!(inspect(fixture, &id).await.state, ContainerState::Paused);
    }
    let told = engine.evidence(&id).await;
    let inspected = told.iter().find(|part| part.name == "inspect.json");
    assert!(
        inspected.is_some_and(|part| part.content.is_ok()),
        "{told:?}"
    );
    for _ in 0..2 {
        engine.destroy(&id).await.expect("destroy");
        assert_eq!(engine.inspect(&id).await.expect("inspect"), None);
    }
    let told = engine.evidence(&id).await;
    assert!(told.iter().all(|part| part.content.is_err()), "{told:?}");
}

pub(crate) async fn what_does_not_run_is_destroyed_and_not_frozen<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let created = create(fixture, 1).await;
    let refused = engine.pause(&created).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. } | Error::Refused { .. })),
        "{refused:?}"
    );
    let gone = engine.pause(&nobody()).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    let running = start(fixture, 2).await;
    for id in [created, running] {
        engine.destroy(&id).await.expect("destroy");
        assert_eq!(engine.inspect(&id).await.expect("inspect"), None);
    }
}

pub(crate) async fn an_exec_that_nobody_began_is_none<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    for id in [nobody().as_str(), "", "../containers/json"] {
        assert_eq!(engine.exec(id).await.expect("inspect exec"), None);
    }
}

pub(crate) async fn a_running_container_is_not_removed<F: Fixture>(fixture: &F) {
    let id = start(fixture, 1).await;
    let removed = fixture.engine().remove(&id).await;
    assert!(
        matches!(removed, Err(Error::Conflict { .. } | Error::Refused { .. })),
        "{removed:?}"
    );
    assert_eq!(inspect(fixture, &id).await.state, ContainerState::Running);
}

pub(crate) async fn a_container_takes_another_name_and_frees_its_own<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let own = format!("{}-web-1", fixture.project());
    let other = format!("{}-renamed", fixture.project());
    let id = start(fixture, 1).await;
    for _ in 0..2 {
        engine.rename(&id, &other).await.expect("rename");
        assert_eq!(inspect(fixture, &id).await.name, other);
    }
    assert_eq!(engine.find(&own).await.expect("find"), None);
    let found = engine.find(&other).await.expect("find").expect("there");
    assert_eq!(found.id, id);
    assert_eq!(found.state, ContainerState::Running);

    // The name that it had is free, and the one that it has is not.
    let next = create(fixture, 1).await;
    let taken = engine.rename(&next, &other).await;
    assert!(matches!(taken, Err(Error::Conflict { .. })), "{taken:?}");
    let gone = engine.rename(&nobody(), &own).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");

    engine.stop(&id, GRACE).await.expect("stop");
    engine.remove_original(&id).await.expect("remove");
    engine.remove_original(&id).await.expect("remove again");
    engine.rename(&next, &other).await.expect("rename");
    assert_eq!(inspect(fixture, &next).await.name, other);
}

pub(crate) async fn a_container_is_told_with_every_field<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let id = create(fixture, 1).await;
    let told = engine.examine(&id).await.expect("examine").expect("there");
    assert_eq!(told.inspect.at(&["Id"]).as_text(), Some(id.as_str()));
    let name = format!("/{}-web-1", fixture.project());
    assert_eq!(told.inspect.at(&["Name"]).as_text(), Some(name.as_str()));
    assert_eq!(engine.examine(&nobody()).await.expect("examine"), None);
}

pub(crate) async fn a_listing_shows_every_container_of_the_project_and_no_other<F: Fixture>(
    fixture: &F,
) {
    let engine = fixture.engine();
    let project = fixture.project();
    let created = create(fixture, 1).await;
    let running = start(fixture, 2).await;
    let exited = start(fixture, 3).await;
    engine.stop(&exited, GRACE).await.expect("stop");
    if let Some(other) = fixture.other_project() {
        let foreign = birth(&other, 1, plain(fixture));
        engine.create(&foreign).await.expect("create");
        assert_eq!(list(fixture, &other).await.containers.len(), 1);
    }

    let listing = list(fixture, &project).await;
    let mut seen: Vec<(u64, ContainerId)> = Vec::new();
    for container in &listing.containers {
        // A listing tells as much as an inspection.
        let identity = container.identity.as_ref().expect("identity");
        assert_eq!(
            container.name,
            identity.replica.container_name(&project),
            "{container:?}"
        );
        let looked = inspect(fixture, &container.id).await;
        assert_eq!(container.state, looked.state);
        assert_eq!(container.image, looked.image);
        assert_eq!(container.asked, looked.asked);
        seen.push((identity.replica.serial.0, container.id.clone()));
    }
    seen.sort();
    assert_eq!(seen, [(1, created), (2, running), (3, exited.clone())]);

    engine.remove(&exited).await.expect("remove");
    assert_eq!(list(fixture, &project).await.containers.len(), 2);
}

pub(crate) async fn hardening_that_was_asked_for_is_told<F: Fixture>(fixture: &F) {
    let hardened = ContainerSpec {
        read_only: Some(true),
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges:true".to_owned()],
        pids_limit: Some(64),
        memory_bytes: Some(64 << 20),
        ipc: Some("private".to_owned()),
        cgroup: Some("private".to_owned()),
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, hardened).await;
    let asked = inspect(fixture, &id).await.asked;
    assert!(!asked.privileged);
    assert!(asked.read_only);
    assert!(asked.cap_drop_all);
    assert!(asked.no_new_privs);
    assert!(!asked.foreign_namespace);
    assert!(asked.never_restarts);
    assert!(asked.pids_limited);
    assert!(asked.memory_limited);
}

pub(crate) async fn a_container_is_attached_to_further_networks<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let (front, back) = (network(fixture, "front"), network(fixture, "back"));
    for network in [&front, &back] {
        engine
            .create_network(&fixture.project(), network)
            .await
            .expect("create network");
    }
    let spec = ContainerSpec {
        network: NetworkMode::Networks(vec![attachment(&front), attachment(&back)]),
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, spec).await;
    let names = |seen: &Observed| seen.networks.keys().cloned().collect::<Vec<_>>();
    let made = inspect(fixture, &id).await;
    assert_eq!(names(&made), std::slice::from_ref(&front.name));
    assert_eq!(made.networks.get(&front.name), Some(&None));

    for _ in 0..2 {
        engine
            .connect(&id, &attachment(&back))
            .await
            .expect("connect");
        let connected = inspect(fixture, &id).await;
        assert_eq!(names(&connected), [back.name.clone(), front.name.clone()]);
    }
    engine.start(&id).await.expect("start");
    let running = inspect(fixture, &id).await;
    for network in [&front, &back] {
        let address = running.networks.get(&network.name);
        assert!(matches!(address, Some(Some(_))), "{running:?}");
    }
    engine
        .connect(&id, &attachment(&back))
        .await
        .expect("connect a running one");

    let missing = attachment(&network(fixture, "missing"));
    let connected = engine.connect(&id, &missing).await;
    assert!(
        matches!(connected, Err(Error::NotFound { .. })),
        "{connected:?}"
    );
}

pub(crate) async fn a_running_container_is_taken_off_a_network_and_put_back<F: Fixture>(
    fixture: &F,
) {
    let engine = fixture.engine();
    let (front, back) = (network(fixture, "front"), network(fixture, "back"));
    for network in [&front, &back] {
        engine
            .create_network(&fixture.project(), network)
            .await
            .expect("create network");
    }
    let spec = ContainerSpec {
        network: NetworkMode::Networks(vec![attachment(&front)]),
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, spec).await;
    engine.start(&id).await.expect("start");
    for _ in 0..2 {
        engine
            .connect(&id, &attachment(&back))
            .await
            .expect("connect");
        let on = inspect(fixture, &id).await;
        assert!(
            matches!(on.networks.get(&back.name), Some(Some(_))),
            "{on:?}"
        );
        assert!(matches!(on.networks.get(&front.name), Some(Some(_))));
        // Off is off, however often.
        for _ in 0..2 {
            engine
                .disconnect(&id, &back.name)
                .await
                .expect("disconnect");
            let off = inspect(fixture, &id).await;
            let left: Vec<_> = off.networks.keys().cloned().collect();
            assert_eq!(left, std::slice::from_ref(&front.name));
            assert_eq!(off.state, ContainerState::Running);
        }
    }
    engine
        .connect(&id, &attachment(&back))
        .await
        .expect("connect");
    engine.pause(&id).await.expect("pause");
    engine
        .disconnect(&id, &back.name)
        .await
        .expect("disconnect what is frozen");
    let frozen = inspect(fixture, &id).await;
    assert!(!frozen.networks.contains_key(&back.name), "{frozen:?}");

    let missing = network(fixture, "missing").name;
    engine
        .disconnect(&id, &missing)
        .await
        .expect("there is no such network");
    engine
        .disconnect(&nobody(), &back.name)
        .await
        .expect("there is no such container");
}

pub(crate) async fn what_happens_is_hinted_at_and_only_to_its_project<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let mut hints = engine
        .subscribe(&fixture.project(), Duration::ZERO)
        .await
        .expect("subscribe");
    if let Some(other) = fixture.other_project() {
        let foreign = birth(&other, 1, plain(fixture));
        engine.create(&foreign).await.expect("create");
    }
    let id = start(fixture, 1).await;
    engine.stop(&id, GRACE).await.expect("stop");
    engine.remove(&id).await.expect("remove");
    // Hints come in the order of what happened; whatever else is hinted at is about the same container.
    for action in ["start", "die"] {
        await_hint(&mut hints, &id, action).await;
    }
}

pub(crate) async fn what_happened_before_is_told_to_who_asks_for_it<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let id = start(fixture, 1).await;
    let (project, long) = (fixture.project(), Duration::from_mins(10));
    let asked = async {
        loop {
            let again = engine.subscribe(&project, long);
            let mut hints = again.await.expect("subscribe");
            let hint = next_hint(&mut hints).await;
            assert_eq!((&hint.id, hint.action.as_str()), (&id, "create"));
            let hint = hint_of(&mut hints, &id, "start").await;
            // As soon as its second is over.
            if hint.before {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("told as of before");
    // What is not asked for is not told, and what happens from then on is not of before.
    let now = engine.subscribe(&project, Duration::ZERO);
    let mut hints = now.await.expect("subscribe");
    let next = create(fixture, 2).await;
    let hint = next_hint(&mut hints).await;
    assert_eq!((&hint.id, hint.action.as_str()), (&next, "create"));
    assert!(!hint.before, "{hint:?}");
    // A rename tells the name that was given.
    let other = format!("{}-renamed", fixture.project());
    engine.rename(&next, &other).await.expect("rename");
    assert_eq!(hint_of(&mut hints, &next, "rename").await.name, other);
}

async fn next_hint(hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin)) -> Hint {
    let hint = tokio::time::timeout(PATIENCE, hints.next()).await;
    let hint = hint.expect("a hint in time");
    hint.expect("the stream goes on").expect("hint")
}

async fn await_hint(
    hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
    id: &ContainerId,
    action: &str,
) {
    hint_of(hints, id, action).await;
}

/// The next hint of that action; all until then are about that container.
async fn hint_of(
    hints: &mut (impl Stream<Item = Result<Hint, Error>> + Unpin),
    id: &ContainerId,
    action: &str,
) -> Hint {
    let waiting = async {
        loop {
            let hint = hints
                .next()
                .await
                .expect("the stream goes on")
                .expect("hint");
            assert_eq!(hint.id, *id, "{hint:?}");
            if hint.action == action {
                return hint;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("no hint `{action}`"))
}

pub(crate) async fn a_container_joins_the_network_of_one_that_runs_and_of_no_other<F: Fixture>(
    fixture: &F,
) {
    let engine = fixture.engine();
    let owner = create_with(fixture, 1, plain(fixture)).await;
    let joining = |serial| {
        let container = ContainerSpec {
            network: NetworkMode::Pod,
            ..plain(fixture)
        };
        Birth {
            joins: Some(owner.clone()),
            ..birth(&fixture.project(), serial, container)
        }
    };
    let early = engine.create(&joining(2)).await.expect("create");
    let seen = inspect(fixture, &early).await;
    assert_eq!(seen.joined, Some(owner.clone()));
    // Whose network it is, is told by itself.
    let own = inspect(fixture, &owner).await.asked.foreign_namespace;
    assert_eq!(seen.asked.foreign_namespace, own);
    engine
        .start(&early)
        .await
        .expect_err("there is no network yet");
    let seen = inspect(fixture, &early).await;
    assert!(
        matches!(seen.state, ContainerState::Exited { .. }),
        "{seen:?}"
    );

    engine.start(&owner).await.expect("start");
    let joiner = engine.create(&joining(3)).await.expect("create");
    engine.start(&joiner).await.expect("start");
    let seen = inspect(fixture, &joiner).await;
    assert_eq!(seen.state, ContainerState::Running);
    assert_eq!(
        seen.networks.len(),
        0,
        "its networks are the owner's: {seen:?}"
    );
}
