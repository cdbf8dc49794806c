//! How replicas are replaced: at the end of their lives, for a new generation, on request.

use insta::assert_snapshot;
use phoenixd::reconcile::{Desired, Event};
use phoenixd::spec::{Jitter, Overdue, SpecHash};

use super::scenario::{Scenario, mins, secs, web};

#[test]
fn a_replica_is_replaced_in_time_to_be_gone_by_its_deadline() {
    let mut scenario = Scenario::of(web()).start();
    assert_snapshot!(scenario.live(mins(61)), @r"
          0s create web-1 (generation 1): 0 of 1 replicas live
          0s start web-1: birth
    59m 36s 900ms create web-2 (generation 1): replaces web-1: its life of 1h ends
    59m 36s 900ms start web-2: birth
    59m 36s 900ms drain web-1: its life of 1h ends
    59m 36s 900ms stop web-1: drained: its life of 1h ends
    59m 36s 900ms remove web-1: its life of 1h ends
    ");
}

#[test]
fn replicas_of_one_age_are_replaced_one_after_the_other() {
    let mut scenario = Scenario::of(Desired {
        replicas: 3,
        ..web()
    })
    .start();
    scenario.live(mins(50));
    assert_snapshot!(scenario.live(mins(10)), @r"
    8m 50s 700ms create web-4 (generation 1): replaces web-1: its life of 1h ends
    8m 50s 700ms start web-4: birth
    8m 50s 700ms drain web-1: its life of 1h ends
    8m 50s 700ms stop web-1: drained: its life of 1h ends
    8m 50s 700ms remove web-1: its life of 1h ends
    9m 13s 800ms create web-5 (generation 1): replaces web-2: its life of 1h ends
    9m 13s 800ms start web-5: birth
    9m 13s 800ms drain web-2: its life of 1h ends
    9m 13s 800ms stop web-2: drained: its life of 1h ends
    9m 13s 800ms remove web-2: its life of 1h ends
    9m 36s 900ms create web-6 (generation 1): replaces web-3: its life of 1h ends
    9m 36s 900ms start web-6: birth
    9m 36s 900ms drain web-3: its life of 1h ends
    9m 36s 900ms stop web-3: drained: its life of 1h ends
    9m 36s 900ms remove web-3: its life of 1h ends
    ");
}

#[test]
fn two_at_a_time_with_a_surge_of_two() {
    let mut desired = Desired {
        replicas: 4,
        ..web()
    };
    desired.phoenix.surge = 2;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(50));
    assert_snapshot!(scenario.live(mins(10)), @r"
    9m 13s 800ms create web-5 (generation 1): replaces web-1: its life of 1h ends
    9m 13s 800ms start web-5: birth
    9m 13s 800ms create web-6 (generation 1): replaces web-1: its life of 1h ends
    9m 13s 800ms start web-6: birth
    9m 13s 800ms drain web-1: its life of 1h ends
    9m 13s 800ms stop web-1: drained: its life of 1h ends
    9m 13s 800ms drain web-2: its life of 1h ends
    9m 13s 800ms remove web-1: its life of 1h ends
    9m 13s 800ms stop web-2: drained: its life of 1h ends
    9m 13s 800ms remove web-2: its life of 1h ends
    9m 36s 900ms create web-7 (generation 1): replaces web-3: its life of 1h ends
    9m 36s 900ms start web-7: birth
    9m 36s 900ms create web-8 (generation 1): replaces web-3: its life of 1h ends
    9m 36s 900ms start web-8: birth
    9m 36s 900ms drain web-3: its life of 1h ends
    9m 36s 900ms stop web-3: drained: its life of 1h ends
    9m 36s 900ms drain web-4: its life of 1h ends
    9m 36s 900ms remove web-3: its life of 1h ends
    9m 36s 900ms stop web-4: drained: its life of 1h ends
    9m 36s 900ms remove web-4: its life of 1h ends
    ");
}

#[test]
fn without_surge_the_old_one_goes_first_and_one_at_a_time() {
    let mut desired = Desired {
        replicas: 2,
        ..web()
    };
    desired.phoenix.surge = 0;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(50));
    assert_snapshot!(scenario.live(mins(10)), @r"
    9m 13s 800ms drain web-1: its life of 1h ends
    9m 13s 800ms stop web-1: drained: its life of 1h ends
    9m 13s 800ms remove web-1: its life of 1h ends
    9m 13s 800ms create web-3 (generation 1): 1 of 2 replicas live
    9m 13s 800ms start web-3: birth
    9m 36s 900ms drain web-2: its life of 1h ends
    9m 36s 900ms stop web-2: drained: its life of 1h ends
    9m 36s 900ms remove web-2: its life of 1h ends
    9m 36s 900ms create web-4 (generation 1): 1 of 2 replicas live
    9m 36s 900ms start web-4: birth
    ");
}

#[test]
fn jitter_spreads_the_ends_of_lives() {
    let mut desired = Desired {
        replicas: 3,
        ..web()
    };
    desired.phoenix.jitter = Jitter::Permille(200);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(40));
    assert_snapshot!(scenario.live(mins(20)), @r"
    7m 56s 484ms create web-4 (generation 1): replaces web-3: its life of 48m 19s 584ms ends
    7m 56s 484ms start web-4: birth
    7m 56s 484ms drain web-3: its life of 48m 19s 584ms ends
    7m 56s 484ms stop web-3: drained: its life of 48m 19s 584ms ends
    7m 56s 484ms remove web-3: its life of 48m 19s 584ms ends
    10m 26s 676ms create web-5 (generation 1): replaces web-1: its life of 50m 49s 776ms ends
    10m 26s 676ms start web-5: birth
    10m 26s 676ms drain web-1: its life of 50m 49s 776ms ends
    10m 26s 676ms stop web-1: drained: its life of 50m 49s 776ms ends
    10m 26s 676ms remove web-1: its life of 50m 49s 776ms ends
    18m 55s 140ms create web-6 (generation 1): replaces web-2: its life of 59m 18s 240ms ends
    18m 55s 140ms start web-6: birth
    18m 55s 140ms drain web-2: its life of 59m 18s 240ms ends
    18m 55s 140ms stop web-2: drained: its life of 59m 18s 240ms ends
    18m 55s 140ms remove web-2: its life of 59m 18s 240ms ends
    ");
}

#[test]
fn a_replica_outlives_its_deadline_when_no_replacement_is_healthy() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(50));
    scenario.starts_fail(Some("exec: no such file"));
    scenario.live(mins(20));
    assert_eq!(scenario.routed(), "web-1");
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: its life of 1h ends; it waits on failure budget spent (10 of 10): web-11: exec: no such file; change the file or run `phoenixd recycle`
    web waits: failure budget spent (10 of 10): web-11: exec: no such file; change the file or run `phoenixd recycle`
    ");
}

#[test]
fn an_overdue_replica_is_stopped_where_the_file_says_so() {
    let mut desired = web();
    desired.phoenix.overdue = Overdue::Stop;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(59));
    scenario.starts_fail(Some("exec: no such file"));
    assert_snapshot!(scenario.live(secs(62)), @r"
    36s 900ms create web-2 (generation 1): replaces web-1: its life of 1h ends
    36s 900ms start web-2: birth
    37s 150ms remove web-2: exec: no such file
    37s 900ms create web-3 (generation 1): replaces web-1: its life of 1h ends
    37s 900ms start web-3: birth
    38s 150ms remove web-3: exec: no such file
    39s 900ms create web-4 (generation 1): replaces web-1: its life of 1h ends
    39s 900ms start web-4: birth
    40s 150ms remove web-4: exec: no such file
    43s 900ms create web-5 (generation 1): replaces web-1: its life of 1h ends
    43s 900ms start web-5: birth
    44s 150ms remove web-5: exec: no such file
    51s 900ms create web-6 (generation 1): replaces web-1: its life of 1h ends
    51s 900ms start web-6: birth
    52s 150ms remove web-6: exec: no such file
          1m drain web-1: it is past its deadline, and the file says `overdue: stop`
          1m stop web-1: drained: it is past its deadline, and the file says `overdue: stop`
          1m remove web-1: it is past its deadline, and the file says `overdue: stop`
    ");
    assert_eq!(scenario.routed(), "");
}

#[test]
fn a_new_generation_replaces_every_replica_one_by_one() {
    let mut scenario = Scenario::of(Desired {
        replicas: 2,
        ..web()
    })
    .start();
    scenario.live(mins(1));
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-3 (generation 2): replaces web-1: generation 1 gives way to 2
    0s start web-3: birth
    0s drain web-1: generation 1 gives way to 2
    0s stop web-1: drained: generation 1 gives way to 2
    0s remove web-1: generation 1 gives way to 2
    0s create web-4 (generation 2): replaces web-2: generation 1 gives way to 2
    0s start web-4: birth
    0s drain web-2: generation 1 gives way to 2
    0s stop web-2: drained: generation 1 gives way to 2
    0s remove web-2: generation 1 gives way to 2
    ");
}

#[test]
fn a_request_to_recycle_is_done_when_all_of_them_are_replaced() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.recycle();
    assert_snapshot!(scenario.request(), @"Some(Pending(1))");
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-2 (generation 1): replaces web-1: recycle was asked for
    0s start web-2: birth
    0s drain web-1: recycle was asked for
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    ");
    assert_snapshot!(scenario.request(), @"Some(Done)");
}

#[test]
fn a_request_to_recycle_fails_when_a_replacement_does_and_the_old_one_stays() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.starts_fail(Some("exec: no such file"));
    scenario.recycle();
    assert_snapshot!(scenario.live(mins(2)), @r"
       0s create web-2 (generation 1): replaces web-1: recycle was asked for
       0s start web-2: birth
    250ms remove web-2: exec: no such file
    ");
    assert_snapshot!(scenario.request(), @r#"Some(Failed("web-2: exec: no such file"))"#);
    assert_eq!(scenario.routed(), "web-1");
    scenario.starts_fail(None);
    scenario.live(mins(50));
    assert_snapshot!(scenario.request(), @r#"Some(Failed("web-2: exec: no such file"))"#);
}

#[test]
fn a_request_to_recycle_is_refused_while_the_journal_cannot_be_written() {
    let fails = || Event::Journal {
        error: Some("disk full".to_owned()),
    };
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.apply(fails());
    scenario.recycle();
    assert_snapshot!(scenario.request(), @r#"Some(Failed("the journal cannot be written, and nothing is replaced until it can: disk full"))"#);
    scenario.apply(Event::Journal { error: None });
    assert_eq!(
        scenario.live(mins(1)),
        "",
        "what was refused is not done later"
    );

    // Also one that waits when the journal fails.
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.recycle();
    scenario.apply(fails());
    assert_snapshot!(scenario.request(), @r#"Some(Failed("the journal cannot be written, and nothing is replaced until it can: disk full"))"#);
    scenario.apply(Event::Journal { error: None });
    assert_eq!(scenario.live(mins(1)), "");
    assert_eq!(scenario.routed(), "web-1");
}

#[test]
fn the_old_one_is_stopped_only_after_the_edge_has_confirmed() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.edge_works(false);
    scenario.recycle();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-2 (generation 1): replaces web-1: recycle was asked for
    0s start web-2: birth
    0s drain web-1: recycle was asked for
    ");
    assert_snapshot!(scenario.plan(), @"web-1 draining waits: the edge to confirm the switch");
    scenario.edge_works(true);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    ");
}

#[test]
fn connections_have_the_drain_time_to_end() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.open("web-1", 2);
    scenario.recycle();
    scenario.live(secs(4));
    assert_snapshot!(scenario.plan(), @"web-1 draining waits: 2 open connections, 6.0 s left");
    assert_snapshot!(scenario.live(mins(1)), @r"
    6s stop web-1: drain time is over with 2 connections open: recycle was asked for
    6s remove web-1: recycle was asked for
    ");
}

#[test]
fn the_last_connection_s_end_ends_the_drain() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    scenario.open("web-1", 1);
    scenario.recycle();
    scenario.live(secs(4));
    scenario.open("web-1", 0);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    ");
}
