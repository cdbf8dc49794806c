//! `depends_on`: what a first start waits for, whom an update replaces, and who leaves first.

use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::reconcile::{ContainerState, DependencySeen, Desired, Event, Health, Limits, World};
use phoenixd::spec::{
    Condition, ContainerId, Dependency, ProjectName, RunBy, ServiceName, SpecHash,
};

use super::scenario::{Scenario, mins, secs, web};

/// A dependency on a service of docker compose.
fn on_compose(condition: Condition) -> Dependency {
    Dependency {
        condition,
        ..Dependency::default()
    }
}

fn on_phoenix(condition: Condition) -> Dependency {
    Dependency {
        run_by: RunBy::Phoenixd,
        ..on_compose(condition)
    }
}

fn restarting(dependency: Dependency) -> Dependency {
    Dependency {
        restart: true,
        ..dependency
    }
}

fn optional(dependency: Dependency) -> Dependency {
    Dependency {
        required: false,
        ..dependency
    }
}

fn needs(name: &str, dependency: Dependency) -> impl FnOnce(&mut Desired) {
    move |desired| {
        desired
            .depends_on
            .insert(ServiceName::new(name), dependency);
    }
}

/// `web`, which depends on one other.
fn web_on(name: &str, dependency: Dependency) -> Scenario {
    let mut desired = web();
    needs(name, dependency)(&mut desired);
    Scenario::of(desired)
}

pub(super) const EXITED: fn(i64) -> ContainerState = |code| ContainerState::Exited {
    code,
    oom: false,
    error: String::new(),
};

impl Scenario {
    /// What docker compose runs of a service: one container.
    pub(super) fn compose(
        &mut self,
        service: &str,
        number: u64,
        state: ContainerState,
        health: Health,
    ) {
        self.no_compose(service);
        self.dependencies.push(DependencySeen {
            id: ContainerId::new(format!("{number:064}")),
            service: ServiceName::new(service),
            since: (state != ContainerState::Created).then_some(self.now),
            state,
            health,
            restarts: service == "db",
        });
        self.tell_dependencies();
    }

    fn no_compose(&mut self, service: &str) {
        self.dependencies
            .retain(|one| one.service.as_str() != service);
        self.tell_dependencies();
    }

    fn tell_dependencies(&mut self) {
        let event = Event::Dependencies {
            asked_at: self.now,
            seen: self.dependencies.clone(),
        };
        self.apply(event);
    }

    fn healthy(&mut self, service: &str, number: u64) {
        self.compose(service, number, ContainerState::Running, Health::Healthy);
    }
}

#[test]
fn a_first_start_waits_for_docker_compose_s_service_and_says_what_that_one_is() {
    let mut scenario = web_on("db", on_compose(Condition::Healthy)).start();
    assert_snapshot!(scenario.plan(), @"web waits for `db` (docker compose's) to be healthy: there is no container of it (`docker compose up -d db` makes one)");
    scenario.compose("db", 1, ContainerState::Created, Health::None);
    assert_snapshot!(scenario.plan(), @"web waits for `db` (docker compose's) to be healthy: it was never started (`docker compose up -d db` starts it)");
    scenario.compose("db", 1, ContainerState::Running, Health::Starting);
    scenario.live(secs(3));
    assert_snapshot!(scenario.plan(), @"web waits for `db` (docker compose's) to be healthy: it is starting, 3.0 s");
    scenario.compose("db", 1, ContainerState::Running, Health::Unhealthy);
    scenario.live(mins(3));
    assert_snapshot!(scenario.plan(), @"web waits for `db` (docker compose's) to be healthy: it is unhealthy, 3m");
    scenario.healthy("db", 1);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
    assert_snapshot!(scenario.plan(), @"");
}

#[test]
fn each_condition_says_what_is_missing_and_what_helps() {
    let mut said = Vec::new();
    for (condition, state, health) in [
        (Condition::Healthy, ContainerState::Running, Health::None),
        (Condition::Healthy, EXITED(137), Health::Unhealthy),
        (Condition::Healthy, ContainerState::Paused, Health::Healthy),
        (Condition::Started, ContainerState::Created, Health::None),
        // It is kept running by the engine, and so was stopped.
        (Condition::Started, EXITED(0), Health::None),
        (
            Condition::CompletedSuccessfully,
            ContainerState::Running,
            Health::None,
        ),
        (Condition::CompletedSuccessfully, EXITED(3), Health::None),
    ] {
        let mut scenario = web_on("db", on_compose(condition)).start();
        scenario.compose("db", 1, state, health);
        said.push(scenario.plan());
    }
    assert_snapshot!(said.join("\n"), @r"
    web waits for `db` (docker compose's) to be healthy: it has no health check, 0.0 s (give it a `healthcheck`, or write `condition: service_started`)
    web waits for `db` (docker compose's) to be healthy: it was ended by signal 9 (exit code 137), 0.0 s ago (`docker compose up -d db` starts it)
    web waits for `db` (docker compose's) to be healthy: it is paused, 0.0 s (`docker compose unpause db` lets it go on)
    web waits for `db` (docker compose's) to be started: it was never started (`docker compose up -d db` starts it)
    web waits for `db` (docker compose's) to be started: it exited with code 0, 0.0 s ago (`docker compose up -d db` starts it)
    web waits for `db` (docker compose's) to complete: it runs, 0.0 s
    web waits for `db` (docker compose's) to complete: it exited with code 3, 0.0 s ago (`docker compose up -d db` starts it)
    ");
}

#[test]
fn a_condition_that_holds_starts_the_service() {
    for (name, condition, state, health) in [
        (
            "db",
            Condition::Started,
            ContainerState::Running,
            Health::Unhealthy,
        ),
        (
            "db",
            Condition::Started,
            ContainerState::Restarting,
            Health::None,
        ),
        // It did one thing and ended, as the short form allows.
        ("migrate", Condition::Started, EXITED(0), Health::None),
        (
            "migrate",
            Condition::CompletedSuccessfully,
            EXITED(0),
            Health::None,
        ),
    ] {
        let mut scenario = web_on(name, on_compose(condition)).start();
        scenario.compose(name, 1, state.clone(), health);
        let lived = scenario.live(secs(1));
        assert!(
            lived.contains("start web-1"),
            "{condition:?} {state:?}: {lived}"
        );
    }
}

#[test]
fn several_dependencies_are_told_in_one_sentence() {
    let mut desired = web();
    needs("db", on_compose(Condition::Healthy))(&mut desired);
    needs("cache", on_compose(Condition::Started))(&mut desired);
    needs("migrate", on_compose(Condition::CompletedSuccessfully))(&mut desired);
    let mut scenario = Scenario::of(desired).start();
    scenario.compose("cache", 1, ContainerState::Running, Health::None);
    assert_snapshot!(scenario.plan(), @"web waits for `db` (docker compose's) to be healthy: there is no container of it (`docker compose up -d db` makes one); then for `migrate`");
}

#[test]
fn what_is_not_required_blocks_nothing_once_it_failed_and_the_birth_says_so() {
    let dependency = optional(on_compose(Condition::Healthy));
    let mut scenario = web_on("cache", dependency).start();
    assert_snapshot!(scenario.plan(), @"create web-1 (generation 1): 0 of 1 replicas live; without `cache` (docker compose's), which is not required: there is no container of it");
    // As docker compose, which waits as long as there is something to wait for.
    scenario.compose("cache", 1, ContainerState::Running, Health::Starting);
    assert_snapshot!(scenario.plan(), @"web waits for `cache` (docker compose's) to be healthy: it is starting, 0.0 s");
    scenario.compose("cache", 1, EXITED(1), Health::Unhealthy);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live; without `cache` (docker compose's), which is not required: it exited with code 1
    0s start web-1: birth
    ");
}

#[test]
fn a_phoenix_that_is_not_required_blocks_nothing_once_its_birth_failed() {
    let dependency = optional(on_phoenix(Condition::Healthy));
    let mut scenario = web_on("api", dependency)
        .with_service("api", |_| {})
        .start();
    scenario.ill("api-1");
    scenario.live(secs(50));
    assert_snapshot!(scenario.plan(), @r"
    api-1 starting waits: probe: 0 of 1 successes (connection refused), 10s left
    web waits for `api` to be ready: no replica is ready
    ");
    assert_snapshot!(scenario.live(secs(11)), @r"
    10s stop api-1: it was not ready within 1m: connection refused
    10s remove api-1: it was not ready within 1m: connection refused
    10s create web-1 (generation 1): 0 of 1 replicas live; without `api`, which is not required: api-1: it was not ready within 1m: connection refused
    10s start web-1: birth
    11s create api-2 (generation 1): 0 of 1 replicas live
    11s start api-2: birth
    ");
}

#[test]
fn phoenixes_are_started_in_the_order_of_their_dependencies() {
    let mut scenario = web_on("api", on_phoenix(Condition::Healthy))
        .with_service("api", needs("db", on_compose(Condition::Healthy)))
        .with_service("aaa", needs("web", on_phoenix(Condition::Started)))
        .start();
    assert_snapshot!(scenario.plan(), @r"
    aaa waits for `web` to be started: no replica has started
    api waits for `db` (docker compose's) to be healthy: there is no container of it (`docker compose up -d db` makes one)
    web waits for `api` to be ready: no replica has started
    ");
    scenario.healthy("db", 1);
    scenario.ill("api-1");
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create api-1 (generation 1): 0 of 1 replicas live
    0s start api-1: birth
    ");
    assert_snapshot!(scenario.plan(), @r"
    api-1 starting waits: probe: 0 of 1 successes (connection refused), 55s left
    aaa waits for `web` to be started: no replica has started
    web waits for `api` to be ready: no replica is ready
    ");
    scenario.well();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    0s create aaa-1 (generation 1): 0 of 1 replicas live
    0s start aaa-1: birth
    ");
}

#[test]
fn a_dependency_without_replicas_is_not_waited_for() {
    let mut scenario = web_on("api", on_phoenix(Condition::Healthy))
        .with_service("api", |desired| desired.replicas = 0)
        .start();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
}

#[test]
fn a_supervisor_that_finds_a_replica_alive_waits_for_nothing() {
    let mut desired = web();
    desired.replicas = 2;
    needs("db", on_compose(Condition::Healthy))(&mut desired);
    let mut scenario = Scenario::of(desired)
        .with_running(7, "one", mins(10))
        .start();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-8 (generation 1): 1 of 2 replicas live
    0s start web-8: birth
    ");
}

#[test]
fn after_the_first_start_neither_a_death_nor_the_end_of_a_life_waits_for_a_dependency() {
    let mut scenario = web_on("db", on_compose(Condition::Healthy)).start();
    scenario.healthy("db", 1);
    scenario.live(mins(5));
    scenario.no_compose("db");
    scenario.dies("web-1", 1);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s remove web-1: it exited with code 1
    0s create web-2 (generation 1): 0 of 1 replicas live
    0s start web-2: birth
    ");
    assert_snapshot!(scenario.live(mins(60)), @r"
    59m 31s 900ms create web-3 (generation 1): replaces web-2: its life of 1h ends
    59m 31s 900ms start web-3: birth
    59m 31s 900ms drain web-2: its life of 1h ends
    59m 31s 900ms stop web-2: drained: its life of 1h ends
    59m 31s 900ms remove web-2: its life of 1h ends
    ");
}

#[test]
fn what_was_made_and_not_started_waits_too_and_takes_nobody_s_place() {
    let mut scenario = web_on("api", on_phoenix(Condition::Healthy))
        .with_service("api", needs("db", on_compose(Condition::Healthy)));
    scenario.world = World::new(
        ProjectName::new("p"),
        Limits {
            births: 1,
            calls: 8,
        },
    );
    let mut scenario = scenario.start();
    scenario.healthy("db", 1);
    // Its container is made; then the database goes.
    let step = scenario.world.plan(scenario.now);
    let planned = step.actions.into_iter().next().unwrap();
    let (action, reason) = (planned.action, planned.reason);
    scenario.apply(Event::Began {
        action: action.clone(),
        reason,
    });
    let outcome = scenario.call(&action);
    scenario.apply(Event::Ended { action, outcome });
    scenario.no_compose("db");
    assert_snapshot!(scenario.plan(), @r"
    api-1 created waits for `db` (docker compose's) to be healthy: there is no container of it (`docker compose up -d db` makes one)
    web waits for `api` to be ready: no replica has started
    ");
    scenario.restart();
    assert_snapshot!(scenario.plan(), @r"
    api-1 created waits for `db` (docker compose's) to be healthy: there is no container of it (`docker compose up -d db` makes one)
    web waits for `api` to be ready: no replica has started
    ");
    scenario.healthy("db", 2);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s start api-1: birth
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
}

#[test]
fn a_recreated_dependency_replaces_its_dependents_once_after_it_is_ready_itself() {
    let mut scenario = web_on("db", restarting(on_compose(Condition::Healthy)));
    scenario
        .wanted
        .get_mut(&ServiceName::new("web"))
        .unwrap()
        .replicas = 2;
    let mut scenario = scenario.start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    // A restart is no update: it is the same container.
    scenario.compose("db", 1, EXITED(0), Health::Unhealthy);
    scenario.live(secs(5));
    scenario.healthy("db", 1);
    assert_snapshot!(scenario.live(secs(5)), @"");
    // Recreated: made, and started a little later.
    scenario.compose("db", 2, ContainerState::Created, Health::None);
    assert_snapshot!(scenario.plan(), @"");
    scenario.compose("db", 2, ContainerState::Running, Health::Starting);
    scenario.live(secs(2));
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: its dependency `db` (docker compose's) was recreated; it waits on `db` (docker compose's) to be healthy: it is starting, 2.0 s
    web-2 ready waits: replacement: its dependency `db` (docker compose's) was recreated; it waits on `db` (docker compose's) to be healthy: it is starting, 2.0 s
    ");
    scenario.restart();
    scenario.live(secs(1));
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: its dependency `db` (docker compose's) was recreated; it waits on `db` (docker compose's) to be healthy: it is starting, 3.0 s
    web-2 ready waits: replacement: its dependency `db` (docker compose's) was recreated; it waits on `db` (docker compose's) to be healthy: it is starting, 3.0 s
    ");
    scenario.healthy("db", 2);
    assert_snapshot!(scenario.live(mins(5)), @r"
    0s create web-3 (generation 1): replaces web-1: its dependency `db` (docker compose's) was recreated
    0s start web-3: birth
    0s drain web-1: its dependency `db` (docker compose's) was recreated
    0s stop web-1: drained: its dependency `db` (docker compose's) was recreated
    0s remove web-1: its dependency `db` (docker compose's) was recreated
    0s create web-4 (generation 1): replaces web-2: its dependency `db` (docker compose's) was recreated
    0s start web-4: birth
    0s drain web-2: its dependency `db` (docker compose's) was recreated
    0s stop web-2: drained: its dependency `db` (docker compose's) was recreated
    0s remove web-2: its dependency `db` (docker compose's) was recreated
    ");
    scenario.restart();
    assert_snapshot!(scenario.live(mins(5)), @"");
}

#[test]
fn a_supervisor_that_is_killed_at_any_moment_of_an_update_ends_it_with_each_replaced_once() {
    // Killed after each of the first so many actions.
    for kills_after in 0..12 {
        let mut scenario = web_on("db", restarting(on_compose(Condition::Healthy))).start();
        scenario.healthy("db", 1);
        scenario.live(mins(1));
        scenario.healthy("db", 2);
        let mut lines = Vec::new();
        scenario.act(kills_after, &mut lines);
        scenario.restart();
        lines.push(scenario.live(mins(1)));
        assert_eq!(
            scenario.routed(),
            "web-2",
            "killed after {kills_after}: {lines:#?}"
        );
        scenario.restart();
        assert_eq!(scenario.live(mins(5)), "", "killed after {kills_after}");
    }
}

#[test]
fn an_update_while_no_supervisor_runs_is_noticed_by_the_next_one() {
    let mut scenario = web_on("db", restarting(on_compose(Condition::Started))).start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    scenario.dependencies.clear();
    scenario.restart();
    assert_snapshot!(scenario.live(mins(1)), @"");
    scenario.healthy("db", 2);
    scenario.restart();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-2 (generation 1): replaces web-1: its dependency `db` (docker compose's) was recreated
    0s start web-2: birth
    0s drain web-1: its dependency `db` (docker compose's) was recreated
    0s stop web-1: drained: its dependency `db` (docker compose's) was recreated
    0s remove web-1: its dependency `db` (docker compose's) was recreated
    ");
}

#[test]
fn a_dependency_that_is_not_to_restart_others_may_be_recreated() {
    let mut scenario = web_on("db", on_compose(Condition::Healthy)).start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    scenario.healthy("db", 2);
    assert_snapshot!(scenario.live(mins(5)), @"");
}

#[test]
fn one_container_more_of_a_dependency_is_no_update() {
    let mut scenario = web_on("db", restarting(on_compose(Condition::Healthy))).start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    let mut second = scenario.dependencies[0].clone();
    second.id = ContainerId::new("2".repeat(64));
    scenario.dependencies.push(second);
    scenario.tell_dependencies();
    assert_snapshot!(scenario.live(mins(5)), @"");
}

#[test]
fn an_update_whose_replacement_began_is_not_given_up_when_the_dependency_falters() {
    let mut scenario = web_on("db", restarting(on_compose(Condition::Healthy))).start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    scenario.ill("web-2");
    scenario.healthy("db", 2);
    scenario.live(secs(1));
    scenario.compose("db", 2, ContainerState::Running, Health::Unhealthy);
    scenario.well();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: its dependency `db` (docker compose's) was recreated
    0s stop web-1: drained: its dependency `db` (docker compose's) was recreated
    0s remove web-1: its dependency `db` (docker compose's) was recreated
    ");
    assert_eq!(scenario.routed(), "web-2");
}

#[test]
fn a_new_generation_of_a_phoenix_replaces_its_dependents_and_the_end_of_its_lives_does_not() {
    let mut scenario = web_on("api", restarting(on_phoenix(Condition::Healthy)))
        .with_service("api", |desired| {
            desired.replicas = 2;
            desired.phoenix.ttl = mins(20);
        })
        .start();
    scenario.live(mins(1));
    let lived = scenario.live(mins(40));
    assert!(lived.contains("api-4") && !lived.contains("web"), "{lived}");
    // The new one is there before the dependents go.
    scenario.ill("api-7");
    scenario.change_of("api", |desired| desired.spec_hash = SpecHash::new("two"));
    scenario.live(secs(1));
    assert_snapshot!(scenario.plan(), @r"
    api-5 ready waits: replacement: generation 1 gives way to 2; it waits on at most 3 replicas at once
    api-6 ready waits: replacement: generation 1 gives way to 2; it waits on at most 3 replicas at once
    api-7 starting waits: probe: 0 of 1 successes (connection refused), 59s left
    web-1 ready waits: replacement: its dependency `api` was updated; it waits on `api` to be ready: its new generation has not taken over yet
    api waits: at most 3 replicas at once
    ");
    scenario.well();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s drain api-5: generation 1 gives way to 2
    0s stop api-5: drained: generation 1 gives way to 2
    0s remove api-5: generation 1 gives way to 2
    0s create api-8 (generation 2): replaces api-6: generation 1 gives way to 2
    0s start api-8: birth
    0s drain api-6: generation 1 gives way to 2
    0s stop api-6: drained: generation 1 gives way to 2
    0s create web-2 (generation 1): replaces web-1: its dependency `api` was updated
    0s remove api-6: generation 1 gives way to 2
    0s start web-2: birth
    0s drain web-1: its dependency `api` was updated
    0s stop web-1: drained: its dependency `api` was updated
    0s remove web-1: its dependency `api` was updated
    ");
    scenario.restart();
    assert_snapshot!(scenario.live(mins(5)), @"");
}

#[test]
fn who_is_born_in_the_middle_of_a_rollout_follows_it_at_its_end() {
    let mut scenario = web_on("api", restarting(on_phoenix(Condition::Healthy)))
        .with_service("api", |_| {})
        .start();
    scenario.live(mins(1));
    scenario.ill("api-2");
    scenario.change_of("api", |desired| desired.spec_hash = SpecHash::new("two"));
    scenario.live(secs(1));
    scenario.dies("web-1", 1);
    scenario.live(secs(1));
    assert_eq!(scenario.routed(), "web-2");
    scenario.well();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s drain api-1: generation 1 gives way to 2
    0s stop api-1: drained: generation 1 gives way to 2
    0s create web-3 (generation 1): replaces web-2: its dependency `api` was updated
    0s remove api-1: generation 1 gives way to 2
    0s start web-3: birth
    0s drain web-2: its dependency `api` was updated
    0s stop web-2: drained: its dependency `api` was updated
    0s remove web-2: its dependency `api` was updated
    ");
    assert_snapshot!(scenario.live(mins(5)), @"");
}

#[test]
fn a_service_that_stops_first_waits_with_its_stop_for_the_updated_dependency() {
    let mut scenario = web_on("db", restarting(on_compose(Condition::Healthy)));
    scenario
        .wanted
        .get_mut(&ServiceName::new("web"))
        .unwrap()
        .phoenix
        .surge = 0;
    let mut scenario = scenario.start();
    scenario.healthy("db", 1);
    scenario.live(mins(1));
    scenario.compose("db", 2, ContainerState::Running, Health::Starting);
    assert_snapshot!(scenario.live(mins(1)), @"");
    scenario.healthy("db", 2);
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s drain web-1: its dependency `db` (docker compose's) was recreated
    0s stop web-1: drained: its dependency `db` (docker compose's) was recreated
    0s remove web-1: its dependency `db` (docker compose's) was recreated
    0s create web-2 (generation 1): 0 of 1 replicas live
    0s start web-2: birth
    ");
}

#[test]
fn in_a_down_whoever_depends_on_others_leaves_before_them() {
    let mut scenario = web_on("api", on_phoenix(Condition::Started))
        .with_service("api", needs("queue", on_phoenix(Condition::Started)))
        .with_service("queue", |_| {})
        .start();
    scenario.live(mins(1));
    scenario.edge_works(false);
    // A `down` knows no file: the order stands in the labels.
    scenario.wanted.clear();
    scenario.restart();
    scenario.down(false);
    scenario.live(Duration::ZERO);
    assert_snapshot!(scenario.plan(), @r"
    api-1 starting waits for `web` to be gone
    queue-1 starting waits for `api` to be gone
    web-1 draining waits: the edge to confirm the switch
    ");
    scenario.edge_works(true);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s stop web-1: drained: `phoenixd down`
    0s drain api-1: `phoenixd down`
    0s remove web-1: `phoenixd down`
    0s stop api-1: drained: `phoenixd down`
    0s remove api-1: `phoenixd down`
    0s drain queue-1: `phoenixd down`
    0s stop queue-1: drained: `phoenixd down`
    0s remove queue-1: `phoenixd down`
    0s remove network p_default: `phoenixd down`
    ");
    assert!(scenario.finished());
}

#[test]
fn a_ring_of_labels_holds_nobody_in_a_down() {
    let mut scenario = web_on("api", on_phoenix(Condition::Started))
        .with_service("api", |_| {})
        .start();
    scenario.live(mins(1));
    // The file was turned round, and a new `api` was born after `web`.
    scenario.change(|desired| desired.depends_on.clear());
    scenario.change_of("api", needs("web", on_phoenix(Condition::Started)));
    scenario.change_of("api", |desired| desired.spec_hash = SpecHash::new("two"));
    scenario.live(mins(1));
    scenario.down(false);
    scenario.live(mins(1));
    assert!(scenario.finished());
}

#[test]
fn a_dependency_that_nobody_has_looked_for_yet_is_not_taken_for_missing() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(secs(1));
    scenario.healthy("db", 1);
    scenario.change(|desired| {
        desired.replicas = 2;
        needs("db", restarting(optional(on_compose(Condition::Healthy))))(desired);
    });
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: the outcome of a call is unknown until the next listing
    web waits: the outcome of a call is unknown until the next listing
    ");
    scenario.list();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-2 (generation 1): 1 of 2 replicas live
    0s start web-2: birth
    ");
}

#[test]
fn a_chain_of_services_is_started_from_its_end() {
    let name = |number: u32| format!("s{number:02}");
    let mut scenario = web_on(&name(0), on_phoenix(Condition::Healthy));
    for number in 0..30 {
        scenario = scenario.with_service(&name(number), |desired| {
            if number < 29 {
                needs(&name(number + 1), on_phoenix(Condition::Healthy))(desired);
            }
        });
    }
    let mut scenario = scenario.start();
    let lived = scenario.live(secs(1));
    let starts = lived.lines().filter(|line| line.contains(" start "));
    let started: Vec<&str> = starts
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    let expected = (0..30).rev().map(|number| format!("{}-1:", name(number)));
    let expected: Vec<String> = expected.chain(["web-1:".to_owned()]).collect();
    assert_eq!(started, expected);
}
