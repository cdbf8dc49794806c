//! Recycles that nobody notices.

use super::support::{Journey, Load};

#[test]
fn ten_recycles_under_constant_load_lose_no_request() {
    let journey = Journey::of_web(2, "", "drain: 200ms");
    let _supervisor = journey.up_ready(2);
    let events = journey.engine.events(&journey.label());
    let first = journey.running_ids();
    let load = Load::begin(journey.port, 3, 3);
    let mut before = first.clone();
    for _ in 0..10 {
        journey.run(&["recycle"]).success();
        let after = journey.running_ids();
        assert!(
            after.iter().all(|id| !before.contains(id)),
            "{before:?} {after:?}"
        );
        assert_eq!(after.len(), 2);
        before = after;
    }
    let tally = load.end();
    tally.assert_nothing_lost(100);
    // Each of the twenty-two replicas served.
    assert!(tally.by.len() >= 20, "{tally:#?}");

    let actions = events.actions();
    let count = |of: &str| actions.iter().filter(|(action, _)| action == of).count();
    let execs: Vec<_> = actions
        .iter()
        .filter(|(action, _)| action.starts_with("exec_"))
        .collect();
    assert!(
        execs.is_empty(),
        "something was executed in a replica: {execs:?}"
    );
    assert_eq!(
        (
            count("create"),
            count("start"),
            count("die"),
            count("destroy")
        ),
        (20, 20, 20, 20)
    );
    // Two replicas and a surge of one.
    assert!(events.most_running(2) <= 3, "{actions:#?}");
}

#[test]
fn a_supervisor_that_forwards_by_itself_loses_no_request_either_and_closes_its_port_at_its_end() {
    let journey = Journey::of_web(2, "", "drain: 200ms").inside();
    let supervisor = journey.up_ready(2);
    assert_eq!(journey.all_containers().len(), 2, "no pod");
    let load = Load::begin(journey.port, 3, 3);
    for _ in 0..3 {
        journey.run(&["recycle"]).success();
    }
    load.end().assert_nothing_lost(100);
    supervisor.end();
    let refused = std::net::TcpStream::connect(("127.0.0.1", journey.port));
    assert!(refused.is_err(), "the port is the supervisor's");
}

#[test]
fn a_lone_replica_is_recycled_without_a_lost_request() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let _supervisor = journey.up_ready(1);
    let events = journey.engine.events(&journey.label());
    let load = Load::begin(journey.port, 4, 4);
    for _ in 0..5 {
        journey.run(&["recycle"]).success();
    }
    load.end().assert_nothing_lost(150);
    assert!(events.most_running(1) <= 2, "{:#?}", events.actions());
}

#[test]
fn a_recycle_of_one_service_leaves_the_others_alone_and_an_unknown_one_is_refused() {
    let journey = Journey::new();
    let web = journey.web(1, "", "drain: 0s");
    let worker = format!(
        "  worker:\n    image: {}\n    stop_grace_period: 2s\n    x-phoenix: {{ drain: 0s }}\n",
        journey.image()
    );
    journey.write(&(web + &worker));
    let supervisor = journey.up_ready(2);
    let of = |service: &str| {
        let name = format!("{}-{service}-", journey.project);
        let containers = journey.containers();
        let found = containers
            .into_iter()
            .find(|container| container.name.starts_with(&name));
        found.expect("a replica").id
    };
    let (web, worker) = (of("web"), of("worker"));
    journey.run(&["recycle", "worker"]).success();
    assert_eq!(of("web"), web);
    assert_ne!(of("worker"), worker);

    let worker = of("worker");
    let unknown = journey.run(&["recycle", "wrkr"]).unmet(&["wrkr"]);
    println!("{}", unknown.stderr);
    assert_eq!((of("web"), of("worker")), (web, worker));

    supervisor.end();
    let alone = journey.run(&["recycle"]).unmet(&["hint"]);
    println!("{}", alone.stderr);
}
