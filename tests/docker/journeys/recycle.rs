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
    tally.assert_nothing_lost(1000);
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
