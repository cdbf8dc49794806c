//! What a supervisor does with what it finds.

use insta::assert_snapshot;
use phoenixd::reconcile::{Desired, Event};

use super::scenario::{Scenario, mins, secs, web};

#[test]
fn a_replica_that_is_as_wanted_is_adopted_and_nothing_is_done() {
    let mut scenario = Scenario::of(web()).with_running(7, "one", mins(10)).start();
    assert_snapshot!(scenario.live(mins(1)), @"");
    assert_eq!(scenario.routed(), "web-7");
}

#[test]
fn an_adopted_replica_keeps_its_age() {
    let mut scenario = Scenario::of(web()).with_running(7, "one", mins(50)).start();
    assert_snapshot!(scenario.live(mins(10)), @r"
    9m 36s 900ms create web-8 (generation 1): replaces web-7: its life of 1h ends
    9m 36s 900ms start web-8: birth
    9m 36s 900ms drain web-7: its life of 1h ends
    9m 36s 900ms stop web-7: drained: its life of 1h ends
    9m 36s 900ms remove web-7: its life of 1h ends
    ");
}

#[test]
fn a_file_that_changed_meanwhile_is_the_next_generation() {
    let mut scenario = Scenario::of(web())
        .with_running(7, "zero", mins(10))
        .start();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-8 (generation 2): replaces web-7: generation 1 gives way to 2
    0s start web-8: birth
    0s drain web-7: generation 1 gives way to 2
    0s stop web-7: drained: generation 1 gives way to 2
    0s remove web-7: generation 1 gives way to 2
    ");
}

#[test]
fn nothing_is_published_before_what_was_found_is_proven() {
    let mut scenario = Scenario::of(web()).with_running(7, "one", mins(10)).start();
    scenario.ill("every one");
    scenario.live(secs(0));
    assert_eq!(
        scenario
            .world
            .plan(phoenixd::reconcile::Time::from_boot(mins(6000)))
            .routes,
        None
    );
    scenario.well();
    scenario.live(secs(1));
    assert_eq!(scenario.routed(), "web-7");
}

#[test]
fn a_recycle_that_was_under_way_ends_with_one_of_the_two() {
    let scenario = Scenario::of(web())
        .with_running(7, "one", mins(50))
        .with_running(8, "one", secs(3));
    let mut scenario = scenario.start();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-7: only 1 wanted
    0s stop web-7: drained: only 1 wanted
    0s remove web-7: only 1 wanted
    ");
    assert_eq!(scenario.routed(), "web-8");
}

#[test]
fn what_is_overdue_after_a_long_sleep_is_replaced_one_by_one() {
    let scenario = Scenario::of(Desired {
        replicas: 2,
        ..web()
    });
    let scenario = scenario
        .with_running(1, "one", mins(600))
        .with_running(2, "one", mins(600));
    let mut scenario = scenario.start();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-3 (generation 1): replaces web-1: its life of 1h ends
    0s start web-3: birth
    0s drain web-1: its life of 1h ends
    0s stop web-1: drained: its life of 1h ends
    0s remove web-1: its life of 1h ends
    0s create web-4 (generation 1): replaces web-2: its life of 1h ends
    0s start web-4: birth
    0s drain web-2: its life of 1h ends
    0s stop web-2: drained: its life of 1h ends
    0s remove web-2: its life of 1h ends
    ");
}

#[test]
fn an_orphan_of_an_earlier_supervisor_leaves_the_table_before_it_is_stopped() {
    let mut scenario = Scenario::of(web()).with_running(7, "one", mins(10));
    scenario.edge_works(false);
    scenario.apply(Event::Wanted(std::collections::BTreeMap::new()));
    scenario.list();
    assert_snapshot!(scenario.live(secs(5)), @"      0s drain web-7: its service is not in the file");
    assert_snapshot!(scenario.plan(), @"web-7 draining waits: the edge to confirm the switch");
}

#[test]
fn a_recycle_that_is_asked_for_before_the_first_listing_is_about_what_is_there() {
    let mut scenario = Scenario::of(web()).with_running(1, "one", mins(10));
    let wanted = scenario.wanted.clone();
    scenario.apply(Event::Wanted(wanted));
    scenario.recycle();
    assert_eq!(scenario.request(), "Some(Pending(0))");
    scenario.list();
    assert_eq!(scenario.request(), "Some(Pending(1))");
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s create web-2 (generation 1): replaces web-1: recycle was asked for
    0s start web-2: birth
    0s drain web-1: recycle was asked for
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    ");
    assert_eq!(scenario.request(), "Some(Done)");
}
