//! A life has an end, and the end comes in time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::support::{Journey, Load, nanoseconds, short, until};

const TTL: Duration = Duration::from_secs(12);
const JITTER: Duration = Duration::from_secs(2);

#[test]
fn no_replica_outlives_its_ttl_and_none_is_missed() {
    let journey = Journey::of_web(
        2,
        "stop_grace_period: 2s",
        &format!(
            "ttl: {}s\njitter: {}s\ndrain: 300ms",
            TTL.as_secs(),
            JITTER.as_secs()
        ),
    );
    let mut supervisor = journey.up_ready(2);
    let events = journey.engine.events(&journey.label());
    let load = Load::begin(journey.port, 1, 1);
    // When it was made and when the engine says that it was started. The kernel began its process in between, and by that its
    // life is counted; on a busy host the engine notices a second later.
    let mut born: BTreeMap<String, [i64; 2]> = BTreeMap::new();
    let died = until("four replicas died of age", Duration::from_secs(90), || {
        assert!(
            supervisor.is_running(),
            "the supervisor ended:\n{}",
            journey.log()
        );
        for container in journey.containers() {
            if !born.contains_key(&container.id)
                && let Some(inspect) = journey.engine.inspect(&container.id)
                && inspect["State"]["Running"] == true
            {
                let times = [&inspect["Created"], &inspect["State"]["StartedAt"]];
                born.insert(container.id, times.map(nanoseconds));
            }
        }
        let died: Vec<(String, i64)> = events
            .seen()
            .iter()
            .filter(|event| event["Action"] == "die")
            .map(|event| {
                let id = event["Actor"]["ID"].as_str().expect("an id").to_owned();
                (id, event["timeNano"].as_i64().expect("a time"))
            })
            .collect();
        if died.len() >= 4 { Ok(died) } else { Err(died) }
    });
    load.end().assert_nothing_lost(150);
    for (id, at) in died {
        let [longest, shortest] = born[&id].map(|begin| {
            let life = u64::try_from(at - begin).expect("a life");
            Duration::from_nanos(life)
        });
        println!("{} lived for {shortest:?} to {longest:?}", short(&id));
        assert!(shortest <= TTL, "{id} lived for {shortest:?}");
        // Of the life that was drawn, a quarter is every replica's.
        let quarter = TTL.saturating_sub(JITTER) / 4;
        assert!(longest >= quarter, "{id} lived for {longest:?} only");
    }
    assert!(
        events.most_running(2) <= 3,
        "more than the surge: {:#?}",
        events.actions()
    );
}
