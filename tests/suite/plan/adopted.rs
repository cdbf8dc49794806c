//! Labels mode: what docker compose made gives way at its TTL, and hands its name on.

use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::reconcile::{Adopted, ContainerState, Desired, Event, Identity, Touch};
use phoenixd::spec::{ServiceName, SpecHash};

use super::scenario::{Scenario, mins, secs, web};

/// A unit whose name is handed on.
fn unit() -> Desired {
    Desired {
        adopted: Some(Adopted {
            name: "shop-web-1".to_owned(),
            service: ServiceName::new("web"),
            definition: SpecHash::new("one"),
        }),
        ..web()
    }
}

fn stop_first() -> Desired {
    let mut desired = unit();
    desired.phoenix.surge = 0;
    desired
}

/// A project of docker compose whose container has run for so long.
fn scenario(desired: Desired, age: Duration) -> Scenario {
    let mut scenario = Scenario::of(desired);
    make_original(&mut scenario, "shop-web-1", "one", age);
    scenario.start()
}

/// docker compose makes a container from a definition.
fn make_original(scenario: &mut Scenario, name: &str, definition: &str, age: Duration) {
    let (unit, definition) = (ServiceName::new("web"), SpecHash::new(definition));
    let identity = Identity::of_original(unit, definition);
    let mut original = scenario.container(name.to_owned(), Some(identity));
    original.state = ContainerState::Running;
    original.started = Some(scenario.now.minus(age));
    scenario.run(&mut original);
    scenario.containers.insert(original.id.clone(), original);
}

#[test]
fn an_original_lives_until_its_ttl_and_hands_its_name_on() {
    let mut scenario = scenario(unit(), mins(10));
    assert_snapshot!(scenario.live(mins(49)), @"");
    assert_snapshot!(scenario.live(mins(2)), @r"
    36s 900ms create web-2 (generation 1): replaces web-0: its life of 1h ends
    36s 900ms compare web-2 with 000000000000: birth
    36s 900ms start web-2: birth
    36s 900ms drain web-0: its life of 1h ends
    36s 900ms stop web-0: drained: its life of 1h ends
    36s 900ms remove web-0: its life of 1h ends
    36s 900ms rename web-2 to shop-web-1: its name is handed on
    ");
    // So it goes on.
    assert_snapshot!(scenario.live(mins(60)), @r"
    58m 13s 800ms create web-3 (generation 1): replaces web-2: its life of 1h ends
    58m 13s 800ms start web-3: birth
    58m 13s 800ms drain web-2: its life of 1h ends
    58m 13s 800ms stop web-2: drained: its life of 1h ends
    58m 13s 800ms remove web-2: its life of 1h ends
    58m 13s 800ms rename web-3 to shop-web-1: its name is handed on
    ");
}

#[test]
fn a_supervisor_that_hears_of_the_one_before_it_handing_the_name_on_taints_nothing() {
    let touch = |scenario: &mut Scenario, name: &str| {
        let (id, _) = scenario.containers.first_key_value().unwrap();
        let (id, touch) = (id.clone(), Touch::Renamed(name.to_owned()));
        scenario.apply(Event::Touched { id, touch });
    };
    let mut scenario = scenario(unit(), mins(300));
    scenario.live(secs(1));
    scenario.restart();
    touch(&mut scenario, "shop-web-1");
    let touched = |scenario: &Scenario| scenario.world.plan(scenario.now).status.touched;
    assert_eq!(touched(&scenario), []);
    // Also where nobody wants the unit any more: its label says which name is its own.
    scenario.wanted.clear();
    scenario.restart();
    touch(&mut scenario, "shop-web-1");
    assert_eq!(touched(&scenario), []);
    touch(&mut scenario, "mine");
    assert_eq!(touched(&scenario).len(), 1);
}

#[test]
fn an_original_that_is_older_than_its_ttl_gives_way_at_once_and_is_not_overdue() {
    let mut scenario = scenario(unit(), mins(300));
    let rows = scenario.world.plan(scenario.now).status.replicas;
    assert!(rows.iter().all(|row| !row.overdue), "{rows:?}");
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-2 (generation 1): replaces web-0: its life of 1h ends
    0s compare web-2 with 000000000000: birth
    0s start web-2: birth
    0s drain web-0: its life of 1h ends
    0s stop web-0: drained: its life of 1h ends
    0s remove web-0: its life of 1h ends
    0s rename web-2 to shop-web-1: its name is handed on
    ");
}

#[test]
fn the_published_port_is_the_original_s_until_it_ends() {
    let mut scenario = scenario(unit(), mins(10));
    scenario.live(secs(1));
    assert!(scenario.table.listeners.is_empty(), "{:?}", scenario.table);
    scenario.recycle();
    scenario.live(secs(1));
    assert_eq!(scenario.routed(), "web-2");
}

#[test]
fn an_unexplained_difference_stops_the_adoption_and_leaves_the_original() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.differs =
        Some("the replacement would differ from it: HostConfig.Odd (1 -> 2)".to_owned());
    assert_snapshot!(scenario.live(mins(300)), @r"
       0s create web-2 (generation 1): replaces web-0: its life of 1h ends
       0s compare web-2 with 000000000000: birth
    250ms remove web-2: the replacement would differ from it: HostConfig.Odd (1 -> 2)
    ");
    assert_snapshot!(scenario.plan(), @"web-0 ready waits: adoption stopped: the replacement would differ from it: HostConfig.Odd (1 -> 2); `phoenixd recycle` tries again");
    // Whoever asks for another try gets one.
    scenario.differs = None;
    scenario.recycle();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-3 (generation 1): replaces web-0: recycle was asked for
    0s compare web-3 with 000000000000: birth
    0s start web-3: birth
    0s drain web-0: recycle was asked for
    0s stop web-0: drained: recycle was asked for
    0s remove web-0: recycle was asked for
    0s rename web-3 to shop-web-1: its name is handed on
    ");
}

#[test]
fn of_what_only_one_can_hold_the_next_is_made_and_compared_before_the_original_is_touched() {
    let mut scenario = scenario(stop_first(), mins(300));
    assert_snapshot!(scenario.live(secs(10)), @r"
    0s create web-2 (generation 1): replaces web-0: its life of 1h ends
    0s compare web-2 with 000000000000: birth
    0s drain web-0: its life of 1h ends
    5s stop web-0: drained: its life of 1h ends
    5s remove web-0: its life of 1h ends
    5s start web-2: birth
    5s rename web-2 to shop-web-1: its name is handed on
    ");
    // Later ones too: what is known of the unit stands in the labels of its containers.
    scenario.recycle();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-3 (generation 1): replaces web-2: recycle was asked for
    0s drain web-2: recycle was asked for
    0s stop web-2: drained: recycle was asked for
    0s remove web-2: recycle was asked for
    0s start web-3: birth
    0s rename web-3 to shop-web-1: its name is handed on
    ");
}

#[test]
fn a_difference_of_a_stop_first_unit_leaves_the_original_running() {
    let mut scenario = scenario(stop_first(), mins(300));
    scenario.differs = Some("it differs".to_owned());
    assert_snapshot!(scenario.live(secs(1)), @r"
       0s create web-2 (generation 1): replaces web-0: its life of 1h ends
       0s compare web-2 with 000000000000: birth
    250ms remove web-2: it differs
    ");
}

#[test]
fn an_original_that_ends_is_removed_only_when_its_replacement_is_there() {
    let mut scenario = scenario(unit(), mins(10));
    scenario.live(secs(1));
    scenario.starts_fail(Some("exec: no such file"));
    let id = scenario.containers.keys().next().unwrap().clone();
    super::hands::end(scenario.containers.get_mut(&id).unwrap(), 1);
    scenario.list();
    assert_snapshot!(scenario.live(secs(2)), @r"
          1s create web-2 (generation 1): 0 of 1 replicas live
          1s compare web-2 with 000000000000: birth
          1s start web-2: birth
    1s 250ms remove web-2: exec: no such file
    ");
    scenario.starts_fail(None);
    assert_snapshot!(scenario.live(mins(2)), @r"
    1s create web-3 (generation 1): 0 of 1 replicas live
    1s compare web-3 with 000000000000: birth
    1s start web-3: birth
    1s drain web-0: it exited with code 1
    1s remove web-0: it exited with code 1
    1s rename web-3 to shop-web-1: its name is handed on
    ");
}

#[test]
fn the_last_container_of_a_unit_stays_until_another_one_is_there() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.live(mins(1));
    scenario.ill("every one");
    scenario.starts_fail(Some("exec: no such file"));
    let id = scenario.containers.keys().next().unwrap().clone();
    super::hands::end(scenario.containers.get_mut(&id).unwrap(), 1);
    scenario.list();
    assert_snapshot!(scenario.live(secs(2)), @r"
    0s create web-3 (generation 1): 0 of 1 replicas live
    0s remove web-2: it exited with code 1
    0s start web-3: birth
    1s create web-4 (generation 1): 1 of 1 replicas live
    1s remove web-3: exec: no such file
    1s start web-4: birth
    ");
    assert_eq!(scenario.containers.len(), 1, "{:?}", scenario.containers);
}

#[test]
fn down_removes_replicas_and_leaves_what_docker_compose_made() {
    let mut scenario = scenario(unit(), mins(10));
    scenario.live(secs(1));
    scenario.down(false);
    assert_snapshot!(scenario.live(secs(1)), @"      0s remove network p_default: `phoenixd down`");
    assert_eq!(scenario.containers.len(), 1);
}

#[test]
fn a_container_of_a_service_that_nobody_adopts_is_not_looked_at() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.forget();
    scenario.list();
    assert_snapshot!(scenario.live(mins(1)), @"");
    assert_eq!(scenario.containers.len(), 1);
}

#[test]
fn what_docker_compose_makes_anew_from_another_definition_is_left_alone_and_wins() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.live(mins(1));
    // The file changed, and `docker compose up` made the container anew beside ours.
    make_original(&mut scenario, "shop-web-1-anew", "two", secs(1));
    scenario.list();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s drain web-2: only 1 wanted
    0s stop web-2: drained: only 1 wanted
    0s remove web-2: only 1 wanted
    ");
    assert_snapshot!(scenario.live(mins(300)), @"");
    assert_snapshot!(scenario.plan(), @"web-0 ready waits: adoption stopped: docker compose made it anew from another definition; start `phoenixd adopt` again to take it over");
}

#[test]
fn of_two_with_one_serial_the_one_that_runs_is_the_replica() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.live(mins(1));
    // A create whose supervisor was killed comes a second time, now that the name is free again.
    let identity = scenario
        .containers
        .values()
        .next()
        .unwrap()
        .identity
        .clone();
    let again = scenario.container("p-web-2".to_owned(), identity);
    scenario.containers.insert(again.id.clone(), again);
    let mut next = Scenario::of(unit());
    next.containers = scenario.containers.clone();
    next.now = scenario.now;
    let mut next = next.start();
    assert_snapshot!(next.live(secs(1)), @"      0s remove stray 000000000000: it carries the project's label, but no replica's");
}

#[test]
fn neither_mode_touches_what_is_the_other_s() {
    for (desired, adopted) in [(web(), Some("shop-api-1".to_owned())), (unit(), None)] {
        let mut scenario = Scenario::of(desired.clone()).with_running(7, "other", mins(300));
        for container in scenario.containers.values_mut() {
            container
                .identity
                .as_mut()
                .unwrap()
                .adopted
                .clone_from(&adopted);
        }
        scenario.wanted = [(ServiceName::new("api"), desired)].into();
        let mut scenario = scenario.start();
        scenario.live(mins(1));
        let left: Vec<&str> = scenario
            .containers
            .values()
            .map(|c| c.name.as_str())
            .collect();
        assert!(left.contains(&"p-web-7"), "{left:?}");
        assert!(
            scenario.plan().contains("web-7 starting waits"),
            "{}",
            scenario.plan()
        );
        // A `down` of the project is about everything that phoenixd made.
        scenario.down(false);
        scenario.live(mins(1));
        assert!(scenario.containers.is_empty(), "{:?}", scenario.containers);
    }
}

#[test]
fn a_supervisor_that_ends_gives_up_a_replacement_that_has_not_taken_its_place() {
    let mut scenario = scenario(unit(), mins(300));
    scenario.ill("every one");
    scenario.live(secs(5));
    assert!(!scenario.settled(), "there are two");
    scenario.leave();
    assert_snapshot!(scenario.live(mins(10)), @r"
    0s stop web-2: the supervisor ends, and docker compose would take it for one too many
    0s remove web-2: the supervisor ends, and docker compose would take it for one too many
    ");
    assert!(scenario.settled());
}

#[test]
fn a_supervisor_that_ends_finishes_a_replacement_whose_place_is_being_left() {
    let mut scenario = scenario(stop_first(), mins(300));
    scenario.live(secs(3));
    assert!(!scenario.settled(), "the original drains");
    scenario.leave();
    assert_snapshot!(scenario.live(mins(10)), @r"
    2s stop web-0: drained: its life of 1h ends
    2s remove web-0: its life of 1h ends
    2s start web-2: birth
    2s rename web-2 to shop-web-1: its name is handed on
    ");
    assert!(scenario.settled());
}

#[test]
fn a_supervisor_that_ends_begins_no_replacement() {
    let mut scenario = scenario(unit(), mins(10));
    scenario.live(secs(1));
    scenario.leave();
    assert!(scenario.settled());
    scenario.recycle();
    assert_eq!(scenario.live(mins(60)), "");
}
