//! How replicas come to be, and what is done when they do not.

use insta::assert_snapshot;
use phoenixd::reconcile::{Action, Desired, Event, Health, Limits, Listing, NetworkSeen, World};
use phoenixd::spec::{NetworkName, Probe, ProjectName, SpecHash};

use super::scenario::{Scenario, mins, secs, web};

#[test]
fn a_first_start_makes_each_replica_step_by_step() {
    let mut scenario = Scenario::of(Desired {
        replicas: 2,
        ..web()
    })
    .start();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-1 (generation 1): 0 of 2 replicas live
    0s start web-1: birth
    0s create web-2 (generation 1): 1 of 2 replicas live
    0s start web-2: birth
    ");
    assert_snapshot!(scenario.plan(), @"");
    assert_snapshot!(scenario.routed(), @"web-1 web-2");
}

#[test]
fn what_is_being_made_is_not_made_again_whatever_listings_say_meanwhile() {
    let mut done = Scenario::of(web()).start();
    done.live(secs(5));
    let made: Vec<_> = done.containers.values().cloned().collect();
    let mut scenario = Scenario::of(web()).start();
    let step = scenario.world.plan(scenario.now);
    let planned = step.actions.into_iter().next().expect("a create");
    assert!(matches!(planned.action, Action::Create { .. }));
    let (action, reason) = (planned.action, planned.reason);
    scenario.apply(Event::Began { action, reason });
    let begin = scenario.now;
    let at = |second| begin + secs(second);
    // The first was asked for earlier, and the engine looked later.
    for (asked_at, containers) in [(at(1), made), (at(2), Vec::new())] {
        let networks = scenario.networks.clone();
        let listing = Listing {
            containers,
            networks,
            ..Listing::default()
        };
        scenario.now = at(3);
        scenario.apply(Event::Listed { asked_at, listing });
        let next = scenario.world.plan(scenario.now).actions;
        assert!(next.is_empty(), "{next:#?}");
    }
}

#[test]
fn networks_and_volumes_are_made_before_what_needs_them() {
    let mut scenario = Scenario::of(web())
        .needs_volume("p_data")
        .without_network()
        .start();
    assert_snapshot!(scenario.plan(), @r"
    create network p_default: a service needs it
    create volume p_data: a service needs it
    web waits: network p_default, volume p_data being made
    ");
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create network p_default: a service needs it
    0s create volume p_data: a service needs it
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
}

#[test]
fn a_replica_is_attached_to_every_network_before_it_starts() {
    let mut desired = web();
    let shared = NetworkName::new("shared");
    desired.networks.push(shared.clone());
    let mut scenario = Scenario::of(desired);
    scenario.networks.insert(NetworkSeen {
        name: shared,
        ours: false,
    });
    let mut scenario = scenario.start();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s connect web-1 to shared: birth
    0s start web-1: birth
    ");
}

#[test]
fn a_replica_that_is_never_ready_is_replaced_after_its_deadline_with_longer_and_longer_delays() {
    let mut desired = web();
    desired.phoenix.backoff.budget = 3;
    desired.phoenix.backoff.cap = secs(30);
    let mut scenario = Scenario::of(desired).start();
    scenario.ill("every one");
    assert_snapshot!(scenario.live(mins(5)), @r"
        0s create web-1 (generation 1): 0 of 1 replicas live
        0s start web-1: birth
        1m stop web-1: it was not ready within 1m: connection refused
        1m remove web-1: it was not ready within 1m: connection refused
     1m 1s create web-2 (generation 1): 0 of 1 replicas live
     1m 1s start web-2: birth
     2m 1s stop web-2: it was not ready within 1m: connection refused
     2m 1s remove web-2: it was not ready within 1m: connection refused
     2m 3s create web-3 (generation 1): 0 of 1 replicas live
     2m 3s start web-3: birth
     3m 3s stop web-3: it was not ready within 1m: connection refused
     3m 3s remove web-3: it was not ready within 1m: connection refused
    3m 33s create web-4 (generation 1): 0 of 1 replicas live
    3m 33s start web-4: birth
    4m 33s stop web-4: it was not ready within 1m: connection refused
    4m 33s remove web-4: it was not ready within 1m: connection refused
    ");
    assert_snapshot!(scenario.plan(), @r"
    web waits: backoff, 3.0 s left after failure 4: web-4: it was not ready within 1m: connection refused
    ");
}

#[test]
fn a_start_that_the_engine_refuses_is_a_failed_birth_that_backs_off() {
    let mut scenario = Scenario::of(web()).start();
    scenario.starts_fail(Some("exec: no such file"));
    assert_snapshot!(scenario.live(secs(3)), @r"
          0s create web-1 (generation 1): 0 of 1 replicas live
          0s start web-1: birth
       250ms remove web-1: exec: no such file
          1s create web-2 (generation 1): 0 of 1 replicas live
          1s start web-2: birth
    1s 250ms remove web-2: exec: no such file
          3s create web-3 (generation 1): 0 of 1 replicas live
          3s start web-3: birth
    ");
    assert_snapshot!(scenario.plan(), @r"
    web-3 created waits: retry in 0.2 s: exec: no such file
    web waits: backoff, 4.0 s left after failure 3: web-3: exec: no such file
    ");
    scenario.starts_fail(None);
    assert_snapshot!(scenario.live(secs(10)), @r"
    250ms remove web-3: exec: no such file
       4s create web-4 (generation 1): 0 of 1 replicas live
       4s start web-4: birth
    ");
}

#[test]
fn a_spent_budget_keeps_the_healthy_one_and_says_what_goes_on() {
    let mut desired = web();
    desired.phoenix.backoff.budget = 2;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(secs(5));
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    scenario.starts_fail(Some("exec: no such file"));
    assert_snapshot!(scenario.live(mins(5)), @r"
          0s create web-2 (generation 2): replaces web-1: generation 1 gives way to 2
          0s start web-2: birth
       250ms remove web-2: exec: no such file
          1s create web-3 (generation 2): replaces web-1: generation 1 gives way to 2
          1s start web-3: birth
    1s 250ms remove web-3: exec: no such file
    ");
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: generation 1 gives way to 2; it waits on failure budget spent (2 of 2): web-3: exec: no such file; change the file or run `phoenixd recycle`
    web waits: failure budget spent (2 of 2): web-3: exec: no such file; change the file or run `phoenixd recycle`
    ");
    assert_eq!(scenario.routed(), "web-1");
}

#[test]
fn a_recycle_that_is_asked_for_tries_again_after_a_spent_budget() {
    let mut desired = web();
    desired.phoenix.backoff.budget = 1;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(secs(5));
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    scenario.starts_fail(Some("exec: no such file"));
    scenario.live(mins(1));
    scenario.starts_fail(None);
    assert_snapshot!(scenario.live(mins(30)), @"");
    scenario.recycle();
    assert_snapshot!(scenario.live(mins(1)), @r"
    0s create web-3 (generation 2): replaces web-1: recycle was asked for
    0s start web-3: birth
    0s drain web-1: recycle was asked for
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    ");
}

#[test]
fn a_replica_that_the_kernel_calls_weak_is_never_routed_and_its_birth_has_failed() {
    let mut scenario = Scenario::of(web()).start();
    scenario.born_weak();
    assert_snapshot!(scenario.live(secs(3)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    1s stop web-1: it is weaker than the policy: has capabilities NET_BIND_SERVICE
    1s remove web-1: it is weaker than the policy: has capabilities NET_BIND_SERVICE
    2s create web-2 (generation 1): 0 of 1 replicas live
    2s start web-2: birth
    3s stop web-2: it is weaker than the policy: has capabilities NET_BIND_SERVICE
    3s remove web-2: it is weaker than the policy: has capabilities NET_BIND_SERVICE
    ");
    assert_eq!(scenario.routed(), "");
}

#[test]
fn docker_s_own_health_check_is_read_by_inspection() {
    let mut desired = web();
    desired.probe = Probe::Docker;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(secs(5));
    assert_snapshot!(scenario.plan(), @"web-1 starting waits: probe: 0 of 1 successes, 55s left");
    assert_eq!(scenario.routed(), "");
    scenario.health("web-1", Health::Healthy);
    scenario.live(secs(1));
    assert_eq!(scenario.routed(), "web-1");
}

#[test]
fn min_ready_keeps_the_old_one_until_the_new_one_has_proven_itself() {
    let mut desired = web();
    desired.phoenix.probe.min_ready = secs(20);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(1));
    scenario.recycle();
    scenario.live(secs(5));
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: recycle was asked for; it waits on web-2 to be ready
    web-2 ready waits: min_ready: 15s left
    ");
    assert_eq!(scenario.routed(), "web-1 web-2");
    assert_snapshot!(scenario.live(mins(1)), @r"
    15s drain web-1: recycle was asked for
    15s stop web-1: drained: recycle was asked for
    15s remove web-1: recycle was asked for
    ");
}

#[test]
fn births_are_bounded_over_all_replicas() {
    let mut scenario = Scenario::of(Desired {
        replicas: 3,
        ..web()
    });
    scenario.world = World::new(
        ProjectName::new("p"),
        Limits {
            births: 2,
            calls: 8,
        },
    );
    let mut scenario = scenario.start();
    scenario.ill("every one");
    scenario.live(secs(1));
    assert_snapshot!(scenario.plan(), @r"
    web-1 starting waits: probe: 0 of 1 successes (connection refused), 59s left
    web-2 starting waits: probe: 0 of 1 successes (connection refused), 59s left
    web waits: at most 2 births at once
    ");
}

#[test]
fn an_engine_that_does_not_answer_gets_no_orders_and_every_route_stays() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(secs(5));
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    scenario.apply(Event::Unreachable {
        error: "connection refused".to_owned(),
    });
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: the engine does not answer: connection refused
    web waits: the engine does not answer: connection refused
    ");
    assert_eq!(scenario.routed(), "web-1");
    scenario.list();
    assert_snapshot!(scenario.live(secs(2)), @r"
    0s create web-2 (generation 2): replaces web-1: generation 1 gives way to 2
    0s start web-2: birth
    0s drain web-1: generation 1 gives way to 2
    0s stop web-1: drained: generation 1 gives way to 2
    0s remove web-1: generation 1 gives way to 2
    ");
}

#[test]
fn replicas_that_fail_of_one_cause_are_one_failure() {
    let mut many = web();
    many.replicas = 8;
    let mut scenario = Scenario::of(many).start();
    scenario.live(secs(5));
    for serial in 1..=8 {
        scenario.dies(&format!("web-{serial}"), 137);
    }
    scenario.list();
    let plan = scenario.plan();
    assert!(plan.contains("after failure 1: "), "{plan}");
    scenario.live(secs(5));
    assert_eq!(scenario.routed().split(' ').count(), 8, "all are back");
}

#[test]
fn while_the_journal_cannot_be_written_nothing_is_replaced_and_what_is_missing_comes_back() {
    let fails = || Event::Journal {
        error: Some("no space left on the disk".to_owned()),
    };
    let mut scenario = Scenario::of(web()).start();
    scenario.live(secs(5));
    scenario.apply(fails());
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: generation 1 gives way to 2; it waits on the journal, which cannot be written: no space left on the disk
    web waits: the journal, which cannot be written: no space left on the disk
    ");
    assert_eq!(scenario.routed(), "web-1");
    scenario.dies("web-1", 1);
    assert_snapshot!(scenario.live(secs(2)), @r"
    0s remove web-1: it exited with code 1
    1s create web-2 (generation 2): 0 of 1 replicas live
    1s start web-2: birth
    ");
    scenario.apply(Event::Journal { error: None });
    assert_snapshot!(scenario.live(secs(2)), @"");

    // Stop-first: what serves is not even stopped.
    let mut desired = web();
    desired.phoenix.surge = 0;
    let mut scenario = Scenario::of(desired).start();
    scenario.live(secs(5));
    scenario.apply(fails());
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    assert_snapshot!(scenario.live(secs(5)), @"");
    scenario.apply(Event::Journal { error: None });
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s drain web-1: generation 1 gives way to 2
    0s stop web-1: drained: generation 1 gives way to 2
    0s remove web-1: generation 1 gives way to 2
    0s create web-2 (generation 2): 0 of 1 replicas live
    0s start web-2: birth
    ");
}
