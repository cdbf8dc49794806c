//! Pods: a pause that holds the address, and edges that come and go in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phoenixd::reconcile::{Asks, Desired, EdgeReport, EdgeSaid, EdgeStage, Event, Health};
use phoenixd::spec::{
    Condition, ContainerId, Dependency, Listen, Phoenix, PodPart, Probe, ProbeSetting, ReplicaName,
    RunBy, Serial, ServiceName, SpecHash, Transport,
};

use super::depends::EXITED;
use super::scenario::{Scenario, mins, secs, web};

fn part(part: PodPart) -> ServiceName {
    ServiceName::new("web").pod(part)
}

/// As `daemon` wants a pause.
fn pause() -> Desired {
    Desired {
        spec_hash: SpecHash::new("pause"),
        phoenix: Phoenix {
            ttl: Duration::from_hours(1_000_000),
            surge: 0,
            drain: Duration::ZERO,
            ..web().phoenix
        },
        probe: Probe::Running,
        published: Vec::new(),
        ..web()
    }
}

/// As `daemon` wants an edge.
fn edge() -> Desired {
    let on_pause = Dependency {
        condition: Condition::Started,
        required: true,
        restart: false,
        run_by: RunBy::Phoenixd,
    };
    Desired {
        spec_hash: SpecHash::new("edge"),
        phoenix: Phoenix {
            ttl: Duration::from_hours(24),
            probe: ProbeSetting {
                deadline: secs(30),
                ..web().phoenix.probe
            },
            ..web().phoenix
        },
        probe: Probe::Edge,
        published: Vec::new(),
        networks: Vec::new(),
        depends_on: BTreeMap::from([(part(PodPart::Pause), on_pause)]),
        ..web()
    }
}

/// A service behind a pod, of which nothing exists yet.
fn behind_a_pod() -> Scenario {
    let service = Desired {
        pod: BTreeSet::from([80, 9000].map(|port| Listen {
            port,
            transport: Transport::Tcp,
        })),
        ..web()
    };
    Scenario::of(service)
        .with_service("web/pause", |desired| *desired = pause())
        .with_service("web/edge", |desired| *desired = edge())
}

fn lines_of<'a>(text: &'a str, about: &str) -> Vec<&'a str> {
    let all = text.lines().filter(|line| line.contains(about));
    all.collect()
}

fn said(stage: EdgeStage, epoch: u64) -> EdgeSaid {
    EdgeSaid {
        report: EdgeReport {
            epoch,
            open: BTreeMap::new(),
        },
        stage,
        asks: Asks::default(),
    }
}

#[test]
fn an_edge_is_born_into_the_pause_that_runs_and_listens_where_the_service_is_known() {
    let mut scenario = behind_a_pod().start();
    let told = scenario.live(secs(5));
    let pause = told.find("start web-pause.1").expect("the pause starts");
    let edge = told.find("create web-edge.1").expect("an edge is made");
    assert!(pause < edge, "{told}");
    assert_eq!(
        scenario.joined("web-edge.1"),
        Some(scenario.id_of("web-pause.1"))
    );
    let routes = scenario.table.pods.get(&ServiceName::new("web"));
    let ports: Vec<u16> = routes
        .into_iter()
        .flatten()
        .inspect(|(_, listener)| assert_eq!(listener.backends.len(), 1))
        .map(|(port, _)| port.host_port)
        .collect();
    assert_eq!(ports, [80, 9000]);
    assert!(
        scenario.table.listeners.is_empty(),
        "nothing is bound on the host"
    );
    assert!(
        scenario
            .stage_of("web-edge.1")
            .is_some_and(|stage| stage == EdgeStage::Serving)
    );
}

/// A service behind a pod that waits for another one of docker compose.
fn that_depends(mut scenario: Scenario) -> Scenario {
    let on_job = Dependency {
        condition: Condition::CompletedSuccessfully,
        required: true,
        restart: false,
        run_by: RunBy::Compose,
    };
    let web = scenario
        .wanted
        .entry(ServiceName::new("web"))
        .or_insert_with(web);
    web.depends_on = BTreeMap::from([(ServiceName::new("job"), on_job)]);
    scenario
}

#[test]
fn a_pod_begins_with_its_service_and_not_while_that_waits_for_others() {
    let mut scenario = that_depends(behind_a_pod()).start();
    assert_eq!(scenario.live(mins(5)), "");
    scenario.compose("job", 1, EXITED(0), Health::None);
    let told = scenario.live(secs(5));
    for part in ["web-pause.1", "web-edge.1", "web-1"] {
        assert!(told.contains(&format!("start {part}:")), "{part}: {told}");
    }
}

#[test]
fn a_service_that_runs_already_gets_its_pod_whatever_it_once_waited_for() {
    let mut scenario = that_depends(behind_a_pod().with_running(1, "one", mins(1))).start();
    let told = scenario.live(secs(5));
    assert!(told.contains("start web-pause.1:"), "{told}");
}

#[test]
fn an_edge_is_replaced_start_first_and_the_next_one_takes_its_sockets_over() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    let told = scenario.live(Duration::from_hours(24));
    let of_edge = lines_of(&told, "web-edge.");
    let position = |what: &str| {
        let found = of_edge.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no `{what}` in {of_edge:#?}"))
    };
    assert!(position("start web-edge.2") < position("drain web-edge.1"));
    assert!(position("drain web-edge.1") < position("stop web-edge.1"));
    assert!(position("stop web-edge.1") < position("remove web-edge.1"));
    assert!(
        told.contains("replaces web-edge.1: its life of 1day ends"),
        "{told}"
    );
    assert!(
        lines_of(&told, "web-pause").is_empty(),
        "the address stays: {told}"
    );
    assert_eq!(scenario.took_over, [(Serial(2), Serial(1))]);
}

#[test]
fn a_drained_edge_waits_for_the_connections_that_go_through_it() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.open_through("web-edge.1", "web-1", 2);
    scenario.recycle_of(&["web/edge"]);
    let told = scenario.live(secs(4));
    assert!(told.contains("drain web-edge.1"), "{told}");
    assert!(!told.contains("stop web-edge.1"), "{told}");
    assert!(
        scenario.plan().contains("2 open connections"),
        "{}",
        scenario.plan()
    );
    scenario.open_through("web-edge.1", "web-1", 0);
    assert!(scenario.live(secs(1)).contains("stop web-edge.1"));
}

#[test]
fn nobody_is_let_in_beside_a_client_whose_connection_goes_through_an_edge_of_the_pod() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.change(|desired| desired.phoenix.drain = secs(5));
    scenario.open_through("web-edge.1", "web-1", 3);
    scenario.break_glass(mins(15));
    scenario.live(secs(7));
    assert_eq!(scenario.table.cut.len(), 1);
    assert!(
        scenario
            .plan()
            .contains("web-1 draining waits: the edge to cut 3 open connections"),
        "{}",
        scenario.plan()
    );
    scenario.open_through("web-edge.1", "web-1", 0);
    let told = scenario.live(secs(1));
    assert!(
        told.contains("rename web-1 to") && told.contains("3 connections were cut"),
        "{told}"
    );
}

#[test]
fn what_was_cut_is_counted_whichever_edge_says_so_first() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.change(|desired| desired.phoenix.drain = secs(5));
    scenario.open_through("web-edge.1", "web-1", 1);
    scenario.break_glass(mins(15));
    scenario.live(secs(4));
    // The pod's edge has the table that cuts, and the supervisor's own has not yet.
    scenario.edge_works(false);
    scenario.live(secs(3));
    assert_eq!(scenario.table.cut.len(), 1);
    scenario.open_through("web-edge.1", "web-1", 0);
    assert_eq!(scenario.live(secs(1)), "");
    scenario.edge_works(true);
    let told = scenario.live(secs(1));
    assert!(
        told.contains("rename web-1 to") && told.contains("1 connection was cut"),
        "{told}"
    );
}

#[test]
fn an_edge_that_is_connected_and_hangs_is_replaced_and_one_with_slow_probes_is_not() {
    let hears = |every, silent| {
        let mut scenario = behind_a_pod().start();
        scenario.live(secs(5));
        for _ in 0..3 {
            scenario.quiet("web-edge.1", every, silent);
        }
        scenario.live(secs(10))
    };
    let told = hears(secs(2), secs(21));
    assert!(
        told.contains("web-edge.2") && told.contains("nothing was heard of it for 21 s"),
        "{told}"
    );
    assert_eq!(hears(secs(2), secs(20)), "");
    assert_eq!(hears(secs(10), secs(30)), "");
    assert!(hears(secs(10), secs(31)).contains("web-edge.2"));
    assert_eq!(hears(secs(0), mins(60)), "", "it is to ask nobody");
}

#[test]
fn a_replica_that_leaves_waits_until_every_edge_of_its_pod_has_the_table() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.deafen("web-edge.1");
    scenario.change(|desired| desired.spec_hash = SpecHash::new("two"));
    let told = scenario.live(secs(3));
    assert!(told.contains("drain web-1"), "{told}");
    assert!(!told.contains("stop web-1"), "{told}");
    assert!(
        scenario
            .plan()
            .contains("web-1 draining waits: the edge to confirm the switch"),
        "{}",
        scenario.plan()
    );
    scenario.hear();
    assert!(scenario.live(secs(1)).contains("stop web-1"));
}

#[test]
fn a_recycle_without_names_leaves_the_pod_alone_and_by_name_an_edge_is_replaced() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.recycle();
    let told = scenario.live(mins(1));
    assert!(told.contains("remove web-1"), "{told}");
    assert!(lines_of(&told, "web-edge.").is_empty(), "{told}");
    assert!(lines_of(&told, "web-pause").is_empty(), "{told}");
    assert!(scenario.request().contains("Done"));
    scenario.recycle_of(&["web/edge", "web/pause"]);
    let told = scenario.live(mins(1));
    assert!(told.contains("remove web-edge.1"), "{told}");
    assert!(
        lines_of(&told, "web-pause").is_empty(),
        "an address is nothing to recycle: {told}"
    );
    assert!(lines_of(&told, "web-2").is_empty(), "{told}");
}

#[test]
fn a_pause_whose_ports_change_is_replaced_stop_first_with_its_edge_and_the_plan_says_so() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.change_of("web/pause", |desired| {
        desired.spec_hash = SpecHash::new("more ports");
    });
    assert!(
        scenario
            .plan()
            .contains("the service is not reached while it is replaced"),
        "{}",
        scenario.plan()
    );
    let told = scenario.live(secs(30));
    let position = |what: &str| {
        told.find(what)
            .unwrap_or_else(|| panic!("no `{what}`: {told}"))
    };
    assert!(position("stop web-pause.1") < position("create web-pause.2"));
    assert!(position("start web-pause.2") < position("create web-edge.2"));
    assert!(
        told.contains("drain web-edge.1: the network that it forwards in is gone"),
        "{told}"
    );
    assert_eq!(
        scenario.joined("web-edge.2"),
        Some(scenario.id_of("web-pause.2"))
    );
    assert!(
        scenario.took_over.is_empty(),
        "there is nothing to take over in a new network"
    );
}

#[test]
fn a_pause_that_dies_takes_its_edge_along_and_both_come_back() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.dies("web-pause.1", 137);
    let told = scenario.live(secs(30));
    assert!(told.contains("create web-pause.2"), "{told}");
    assert_eq!(
        scenario.joined("web-edge.2"),
        Some(scenario.id_of("web-pause.2"))
    );
    assert!(
        lines_of(&told, "web-1").is_empty(),
        "replicas live on: {told}"
    );
}

#[test]
fn an_edge_that_dies_is_born_again_and_binds_by_itself() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.dies("web-edge.1", 1);
    let told = scenario.live(secs(5));
    assert!(told.contains("create web-edge.2"), "{told}");
    assert!(scenario.took_over.is_empty());
    assert_eq!(scenario.stage_of("web-edge.2"), Some(EdgeStage::Serving));
}

#[test]
fn an_edge_that_does_not_answer_is_replaced_and_asked_for_nothing() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.silence("web-edge.1");
    let told = scenario.live(secs(30));
    let position = |what: &str| {
        told.find(what)
            .unwrap_or_else(|| panic!("no `{what}`: {told}"))
    };
    assert!(
        position("start web-edge.2") < position("stop web-edge.1"),
        "{told}"
    );
    assert!(
        scenario.took_over.is_empty(),
        "whom nobody can speak to hands nothing over"
    );
    assert_eq!(scenario.stage_of("web-edge.2"), Some(EdgeStage::Serving));
}

#[test]
fn an_edge_that_does_not_answer_a_new_supervisor_gives_its_ports_to_one_that_does() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.silence("web-edge.1");
    scenario.edges.clear();
    scenario.restart();
    let told = scenario.live(mins(3));
    assert!(told.contains("stop web-edge.1"), "{told}");
    assert!(!told.contains("stop web-edge.2"), "{told}");
    assert_eq!(scenario.stage_of("web-edge.2"), Some(EdgeStage::Serving));
}

#[test]
fn one_that_joined_another_network_is_no_edge() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.rejoin("web-edge.1", ContainerId::new("f".repeat(64)));
    let told = scenario.live(secs(10));
    assert!(
        told.contains("web-edge.1: the network that it forwards in is gone"),
        "{told}"
    );
}

#[test]
fn a_replica_that_joined_anybody_s_network_is_weaker_than_the_policy() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    let pause = scenario.id_of("web-pause.1");
    scenario.rejoin("web-1", pause);
    let told = scenario.live(secs(10));
    assert!(
        told.contains("drain web-1: it is weaker than the policy: it shares a namespace"),
        "{told}"
    );
}

#[test]
fn a_down_removes_the_edge_before_the_pause() {
    let mut scenario = behind_a_pod().start();
    scenario.live(secs(5));
    scenario.down(false);
    let told = scenario.live(mins(1));
    let position = |what: &str| {
        told.find(what)
            .unwrap_or_else(|| panic!("no `{what}`: {told}"))
    };
    assert!(
        position("remove web-edge.1") < position("stop web-pause.1"),
        "{told}"
    );
    assert!(scenario.finished());
}

#[test]
fn the_next_supervisor_finds_the_pod_and_changes_nothing() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.restart();
    assert_eq!(scenario.live(secs(20)), "");
    assert_eq!(scenario.stage_of("web-edge.1"), Some(EdgeStage::Serving));
}

#[test]
fn who_has_not_spoken_may_have_the_sockets_so_nobody_else_listens() {
    let mut scenario = behind_a_pod().start();
    scenario.live(mins(2));
    scenario.silence("every one");
    scenario.recycle();
    scenario.live(secs(1));
    scenario.edges.clear();
    scenario.restart();
    let orders = scenario.world.plan(scenario.now).edges;
    assert!(
        orders
            .values()
            .all(|order| !order.listens || orders.len() == 1),
        "{orders:?}"
    );
    let old = scenario.id_of("web-edge.1");
    scenario.apply(Event::EdgeOf {
        id: old.clone(),
        said: Ok(said(EdgeStage::Serving, 0)),
    });
    let name = ReplicaName::new(part(PodPart::Edge), Serial(2));
    assert_eq!(name.to_string(), "web-edge.2");
    assert!(scenario.world.plan(scenario.now).edges.contains_key(&old));
}
