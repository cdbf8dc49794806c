//! How replicas go: unhealthy, dead, too many, nobody's, or all at a `down`.

use insta::assert_snapshot;
use phoenixd::reconcile::{Desired, Event, Listing};

use super::scenario::{Scenario, mins, secs, web};

#[test]
fn an_unhealthy_replica_leaves_the_rotation_at_once_and_goes_when_its_replacement_is_ready() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(5));
    scenario.ill("web-1");
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-2 (generation 1): replaces web-1: it is not ready any more: connection refused
    0s start web-2: birth
    0s drain web-1: it is not ready any more: connection refused
    0s stop web-1: drained: it is not ready any more: connection refused
    0s remove web-1: it is not ready any more: connection refused
    ");
    assert_eq!(scenario.routed(), "web-2");
}

#[test]
fn a_replica_that_had_proven_itself_is_replaced_at_once_when_it_dies() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(5));
    scenario.dies("web-1", 137);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s remove web-1: it was ended by signal 9 (exit code 137)
    0s create web-2 (generation 1): 0 of 1 replicas live
    0s start web-2: birth
    ");
}

#[test]
fn a_replica_that_dies_young_is_a_failed_birth() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(secs(5));
    scenario.dies("web-1", 1);
    assert_snapshot!(scenario.plan(), @r"
    remove web-1: it exited with code 1
    web waits: backoff, 1.0 s left after failure 1: web-1: it exited with code 1
    ");
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s remove web-1: it exited with code 1
    1s create web-2 (generation 1): 0 of 1 replicas live
    1s start web-2: birth
    ");
}

#[test]
fn scaling_up_adds_and_scaling_down_drains_the_one_whose_deadline_is_nearest() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.change(|desired| desired.replicas = 3);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-2 (generation 1): 1 of 3 replicas live
    0s start web-2: birth
    0s create web-3 (generation 1): 2 of 3 replicas live
    0s start web-3: birth
    ");
    scenario.change(|desired| desired.replicas = 1);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: only 1 wanted
    0s stop web-1: drained: only 1 wanted
    0s drain web-2: only 1 wanted
    0s remove web-1: only 1 wanted
    0s stop web-2: drained: only 1 wanted
    0s remove web-2: only 1 wanted
    ");
}

#[test]
fn scaling_to_nothing_drains_all() {
    let mut scenario = Scenario::of(Desired {
        replicas: 2,
        ..web()
    })
    .start();
    scenario.live(mins(1));
    scenario.change(|desired| desired.replicas = 0);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: only 0 wanted
    0s stop web-1: drained: only 0 wanted
    0s drain web-2: only 0 wanted
    0s remove web-1: only 0 wanted
    0s stop web-2: drained: only 0 wanted
    0s remove web-2: only 0 wanted
    ");
    assert_eq!(scenario.routed(), "");
}

#[test]
fn a_service_that_leaves_the_file_is_drained_and_removed() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.forget();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: its service is not in the file
    0s stop web-1: drained: its service is not in the file
    0s remove web-1: its service is not in the file
    ");
}

#[test]
fn a_stray_is_removed() {
    let mut scenario = Scenario::of(web()).with_stray("p-something").start();
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s remove stray 000000000000: it carries the project's label, but no replica's
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
}

#[test]
fn down_drains_stops_and_removes_everything_and_the_networks_last() {
    let mut scenario = Scenario::of(Desired {
        replicas: 2,
        ..web()
    })
    .needs_volume("p_data")
    .start();
    scenario.live(mins(1));
    scenario.down(false);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: `phoenixd down`
    0s drain web-2: `phoenixd down`
    0s stop web-1: drained: `phoenixd down`
    0s stop web-2: drained: `phoenixd down`
    0s remove web-1: `phoenixd down`
    0s remove web-2: `phoenixd down`
    0s remove network p_default: `phoenixd down`
    ");
    assert!(scenario.finished());
}

#[test]
fn down_removes_volumes_when_asked_to() {
    let mut scenario = Scenario::of(web()).needs_volume("p_data").start();
    scenario.live(mins(1));
    scenario.down(true);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: `phoenixd down`
    0s stop web-1: drained: `phoenixd down`
    0s remove web-1: `phoenixd down`
    0s remove network p_default: `phoenixd down`
    0s remove volume p_data: `phoenixd down`
    ");
    assert!(scenario.finished());
}

#[test]
fn an_older_word_that_a_replica_is_gone_does_not_let_a_listing_bring_it_back() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(5));
    let (id, listed) = {
        let (id, observed) = scenario.containers.first_key_value().unwrap();
        (id.clone(), observed.clone())
    };
    scenario.containers.clear();
    // Looks that were asked for at these seconds, and arrive in this order.
    let at = |second| scenario.now + secs(second);
    let (early, middle, late) = (at(1), at(2), at(3));
    scenario.now = at(4);
    for asked_at in [late, early] {
        let id = id.clone();
        scenario.apply(Event::Seen {
            asked_at,
            id,
            observed: None,
        });
    }
    let listing = Listing {
        containers: vec![listed],
        ..Listing::default()
    };
    scenario.apply(Event::Listed {
        asked_at: middle,
        listing,
    });
    let rows = scenario.world.plan(scenario.now).status.replicas;
    assert_eq!(rows, []);
}
