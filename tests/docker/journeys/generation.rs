//! A changed file.

use serde_json::Value;

use super::support::Journey;

#[test]
fn a_changed_file_replaces_every_replica_start_first() {
    let journey = Journey::of_web(2, "environment: { COLOUR: blue }", "drain: 200ms");
    journey.up_ready(2).end();
    let blue = journey.running_ids();
    assert_eq!(generations(&journey), ["1", "1"]);

    journey.write(&journey.web(2, "environment: { COLOUR: green }", "drain: 200ms"));
    let events = journey.engine.events(&journey.label());
    let supervisor = journey.up_ready_when(2, |inspect| env(inspect).contains("COLOUR=green"));
    let green = journey.running_ids();
    assert!(green.iter().all(|id| !blue.contains(id)));
    assert_eq!(generations(&journey), ["2", "2"]);
    for row in journey.ps() {
        assert_eq!(row["generation"], 2, "{row:#}");
    }
    // Never fewer than two, never more than three.
    let (mut running, mut least) = (2, 2);
    for (action, _) in events.actions() {
        match action.as_str() {
            "start" => running += 1,
            "die" => running -= 1,
            _ => {}
        }
        least = running.min(least);
    }
    assert_eq!(least, 2, "start first: {:#?}", events.actions());
    assert!(events.most_running(2) <= 3, "{:#?}", events.actions());
    supervisor.end();

    // The same file once more changes nothing; what does not matter to a container does not either.
    let text = journey.web(2, "environment: { COLOUR: green }", "drain: 300ms\nttl: 2h");
    journey.write(&text);
    let _supervisor = journey.up_ready(2);
    assert_eq!(journey.running_ids(), green);
}

fn env(inspect: &Value) -> String {
    inspect["Config"]["Env"].to_string()
}

fn generations(journey: &Journey) -> Vec<String> {
    let label = |id: &String| {
        let inspect = journey.inspect(id);
        inspect["Config"]["Labels"]["phoenixd.generation"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    journey.running_ids().iter().map(label).collect()
}
