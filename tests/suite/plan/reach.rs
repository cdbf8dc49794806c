//! How replicas are reached: each as it was born for, whatever the file says by now.

use insta::assert_snapshot;
use phoenixd::spec::{
    Balance, Edge, EdgeProtocol, Forwarding, Policy, Probe, Published, Reach, Transport,
};

use super::scenario::{Scenario, mins, secs, web};

/// Everything that an exception can take away.
fn lax() -> Policy {
    Policy {
        caps_allowed: u64::MAX,
        no_new_privs: false,
        non_root: false,
        read_only: false,
        limited: false,
    }
}

fn old() -> Reach {
    let published = Published {
        host_ip: None,
        host_port: 8080,
        target: 80,
        transport: Transport::Tcp,
    };
    Reach {
        probe: Probe::Tcp { port: 80 },
        published: vec![published],
        policy: lax(),
    }
}

#[test]
fn a_replica_of_an_earlier_generation_is_asked_and_used_as_it_was_born_for() {
    let mut changed = web();
    changed.probe = Probe::Http {
        path: "/new".to_owned(),
        port: 9090,
    };
    changed.published = vec![Published {
        host_ip: None,
        host_port: 8080,
        target: 9090,
        transport: Transport::Tcp,
    }];
    let mut scenario = Scenario::of(changed)
        .with_running(1, "zero", mins(1))
        .born_for(&old());
    scenario.ill("web-2");
    let mut scenario = scenario.start();
    assert_snapshot!(scenario.reached(), @"web-1 by tcp port 80 at 10.0.0.1:80");
    scenario.live(secs(1));
    assert_snapshot!(scenario.reached(), @r"
    web-1 by tcp port 80 at 10.0.0.1:80
    web-2 by http /new on port 9090 at 10.0.0.2:9090
    8080:9090 leads to web-1 at 10.0.0.1:80
    ");
}

#[test]
fn a_port_that_a_replica_was_not_made_for_does_not_lead_to_it() {
    let mut changed = web();
    changed.published.push(Published {
        host_ip: None,
        host_port: 8443,
        target: 443,
        transport: Transport::Tcp,
    });
    let mut scenario = Scenario::of(changed)
        .with_running(1, "zero", mins(1))
        .born_for(&old());
    scenario.ill("web-2");
    let mut scenario = scenario.start();
    scenario.live(secs(1));
    assert_snapshot!(scenario.reached(), @r"
    web-1 by tcp port 80 at 10.0.0.1:80
    web-2 by tcp port 80 at 10.0.0.2:80
    8080:80 leads to web-1 at 10.0.0.1:80
    ");
}

#[test]
fn a_replica_of_an_earlier_generation_is_held_to_the_policy_of_its_own() {
    let mut scenario = Scenario::of(web());
    scenario.born_weak();
    let mut scenario = scenario
        .with_running(1, "zero", mins(1))
        .born_for(&old())
        .start();
    scenario.live(secs(5));
    assert_snapshot!(scenario.routed(), @"web-1");
}

#[test]
fn a_replica_that_does_not_say_what_it_was_born_with_is_held_to_the_policy_of_today() {
    let mut scenario = Scenario::of(web());
    scenario.born_weak();
    let mut scenario = scenario.with_running(1, "zero", mins(1)).start();
    scenario.live(secs(5));
    assert_snapshot!(scenario.routed(), @"");
}

#[test]
fn a_port_that_moved_to_another_address_of_the_host_still_leads_to_those_that_had_it() {
    let mut changed = web();
    changed.published = vec!["127.0.0.1:8080:9090".parse().unwrap()];
    let mut scenario = Scenario::of(changed)
        .with_running(1, "zero", mins(1))
        .born_for(&old());
    scenario.ill("web-2");
    let mut scenario = scenario.start();
    scenario.live(secs(1));
    assert!(
        scenario
            .reached()
            .contains("127.0.0.1:8080:9090 leads to web-1 at 10.0.0.1:80"),
        "{}",
        scenario.reached()
    );
}

#[test]
fn how_the_edge_forwards_changes_the_table_and_replaces_nobody() {
    let mut scenario = Scenario::of(web()).start();
    scenario.live(mins(1));
    let forwarding = Forwarding {
        protocol: EdgeProtocol::Http,
        balance: Balance::RoundRobin,
        ..Forwarding::default()
    };
    scenario.change(|desired| desired.phoenix.edge = Edge::Forward(forwarding));
    let step = scenario.world.plan(scenario.now);
    assert!(step.actions.is_empty(), "{:?}", step.actions);
    let routes = step.routes.unwrap();
    let listeners: Vec<_> = routes.listeners.values().collect();
    assert!(!listeners.is_empty());
    assert!(listeners.iter().all(|one| one.forwarding == forwarding));
}

#[test]
fn a_udp_port_leads_to_a_replica_that_was_made_for_that_and_not_for_tcp_of_the_same_number() {
    let udp = Published {
        host_ip: None,
        host_port: 8080,
        target: 53,
        transport: Transport::Udp,
    };
    let mut changed = web();
    changed.published.push(udp);
    let mut scenario = Scenario::of(changed)
        .with_running(1, "zero", mins(1))
        .born_for(&old());
    scenario.ill("web-2");
    let mut scenario = scenario.start();
    scenario.live(secs(1));
    assert_snapshot!(scenario.reached(), @r"
    web-1 by tcp port 80 at 10.0.0.1:80
    web-2 by tcp port 80 at 10.0.0.2:80
    8080:80 leads to web-1 at 10.0.0.1:80
    ");
    let with_both = Reach {
        published: vec![old().published[0], udp],
        ..old()
    };
    let mut changed = web();
    changed.published.push(udp);
    let mut scenario = Scenario::of(changed)
        .with_running(1, "zero", mins(1))
        .born_for(&with_both);
    scenario.ill("web-2");
    let mut scenario = scenario.start();
    scenario.live(secs(1));
    let reached = scenario.reached();
    assert!(
        reached.contains("8080:53/udp leads to web-1 at 10.0.0.1:53"),
        "{reached}"
    );
}
