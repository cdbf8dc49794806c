//! What somebody else stops and removes is told as that, and mended.

use insta::assert_snapshot;
use phoenixd::reconcile::{Event, Listing, NetworkSeen, Time};
use phoenixd::spec::NetworkName;

use super::scenario::{Scenario, mins, secs, web};

fn told(scenario: &Scenario) -> String {
    let status = scenario.world.plan(scenario.now).status;
    let lines: Vec<String> = status
        .outside
        .iter()
        .map(|meddling| meddling.what.to_string())
        .collect();
    lines.join("\n")
}

/// A network that phoenixd makes.
fn own_network() -> Scenario {
    let mut desired = web();
    desired.makes_networks.insert(NetworkName::new("p_default"));
    Scenario::of(desired)
        .with_running(1, "one", mins(1))
        .start()
}

#[test]
fn a_replica_that_somebody_stops_is_told_as_that_and_replaced() {
    let mut scenario = own_network();
    scenario.live(secs(60));
    scenario.signalled("web-1");
    scenario.live(secs(5));
    scenario.dies("web-1", 143);
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s remove web-1: it was stopped from outside: it was ended by signal 15 (exit code 143)
          0s create web-2 (generation 1): 0 of 1 replicas live
          0s start web-2: birth
    ");
    assert_eq!(told(&scenario), "web-1 was stopped from outside");
    scenario.live(mins(11));
    assert_eq!(told(&scenario), "", "it is news for some minutes");
}

#[test]
fn an_end_of_its_own_or_by_phoenixd_is_not_told_as_somebody_s_doing() {
    let mut scenario = own_network();
    scenario.live(secs(60));
    // A signal that it lived on with, long ago.
    scenario.signalled("web-1");
    scenario.live(mins(3));
    scenario.dies("web-1", 1);
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s remove web-1: it exited with code 1
          0s create web-2 (generation 1): 0 of 1 replicas live
          0s start web-2: birth
    ");
    assert_eq!(told(&scenario), "");
    scenario.recycle();
    scenario.live(secs(60));
    assert_eq!(told(&scenario), "", "a recycle stops and removes, too");
}

#[test]
fn a_container_and_its_network_that_are_gone_are_told_and_made_anew() {
    let mut scenario = own_network();
    scenario.live(secs(60));
    scenario.containers.clear();
    scenario.networks.clear();
    scenario.list();
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s create network p_default: a service needs it, and it was removed from outside
          0s create web-2 (generation 1): 0 of 1 replicas live
          0s start web-2: birth
    ");
    assert_snapshot!(told(&scenario), @r"
    network p_default was removed from outside
    web-1 was removed from outside
    ");
    // The same again is news again.
    scenario.containers.clear();
    scenario.networks.clear();
    scenario.live(secs(60));
    scenario.list();
    assert_snapshot!(told(&scenario), @r"
    network p_default was removed from outside
    web-1 was removed from outside
    network p_default was removed from outside
    web-2 was removed from outside
    ");
}

#[test]
fn a_network_of_compose_is_joined_and_made_by_phoenixd_only_when_it_is_gone() {
    let mut scenario = own_network();
    scenario.networks = [NetworkSeen {
        name: NetworkName::new("p_default"),
        ours: false,
    }]
    .into();
    scenario.list();
    assert_eq!(scenario.live(secs(5)), "");
    scenario.down(true);
    assert_snapshot!(scenario.live(secs(60)), @r"
          0s drain web-1: `phoenixd down`
          0s stop web-1: drained: `phoenixd down`
          0s remove web-1: `phoenixd down`
    ");
    assert!(scenario.finished(), "compose's network is compose's");
}

#[test]
fn of_two_networks_of_one_name_that_of_somebody_else_stays() {
    let mut scenario = own_network();
    scenario.networks = [true, false]
        .map(|ours| NetworkSeen {
            name: NetworkName::new("p_default"),
            ours,
        })
        .into();
    scenario.list();
    assert_snapshot!(scenario.live(secs(5)), @"      0s remove network p_default: somebody else made one of the same name at the same time");
    assert_eq!(scenario.networks.len(), 1);
    assert!(scenario.networks.iter().all(|network| !network.ours));
    scenario.list();
    assert_eq!(scenario.live(mins(5)), "", "and it is used");
}

#[test]
fn births_wait_for_an_external_network_that_somebody_removed() {
    let mut scenario = Scenario::of(web()).with_running(1, "one", mins(1)).start();
    scenario.live(secs(60));
    scenario.networks.clear();
    scenario.containers.clear();
    scenario.list();
    assert_snapshot!(scenario.plan(), @"web waits: external network p_default to exist again: somebody removed it");
    assert_eq!(scenario.live(mins(5)), "", "nobody makes what is external");
    scenario.networks.insert(NetworkSeen {
        name: NetworkName::new("p_default"),
        ours: false,
    });
    scenario.list();
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s create web-2 (generation 1): 0 of 1 replicas live
          0s start web-2: birth
    ");
}

#[test]
fn a_listing_from_before_a_network_was_made_does_not_take_it_away() {
    let mut scenario = own_network();
    scenario.live(secs(60));
    scenario.networks.clear();
    scenario.list();
    let before: Time = scenario.now;
    scenario.live(secs(1));
    let event = Event::Listed {
        asked_at: before,
        listing: Listing {
            containers: scenario.containers.values().cloned().collect(),
            ..Listing::default()
        },
    };
    scenario.apply(event);
    assert_eq!(scenario.plan(), "", "it is not made twice");
    assert_snapshot!(told(&scenario), @"network p_default was removed from outside");
}

#[test]
fn a_container_about_which_the_engine_does_not_answer_stays_as_it_was_and_harms_no_other() {
    let mut desired = web();
    desired.replicas = 2;
    let mut scenario = Scenario::of(desired)
        .with_running(1, "one", mins(1))
        .with_running(2, "one", mins(1))
        .start();
    scenario.live(secs(60));
    let id = scenario.id_of("web-1");
    scenario.silent.insert(id);
    scenario.list();
    assert_eq!(
        scenario.live(secs(60)),
        "",
        "it is there, and so is the other"
    );
    assert_eq!(scenario.routed(), "web-1 web-2");
    scenario.dies("web-2", 1);
    assert_snapshot!(scenario.live(secs(60)), @r"
          0s remove web-2: it exited with code 1
          0s create web-3 (generation 1): 1 of 2 replicas live
          0s start web-3: birth
    ");
    assert_eq!(scenario.routed(), "web-1 web-3");
    // Nothing is done to it until the engine answers about it again.
    scenario.recycle();
    scenario.live(secs(60));
    assert!(scenario.plan().contains("web-1"), "{}", scenario.plan());
    scenario.silent.clear();
    scenario.list();
    scenario.live(secs(60));
    assert_eq!(scenario.routed(), "web-4 web-5");
}
