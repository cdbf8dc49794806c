//! A disk that is really full, under the journal of a supervisor at work.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::support::{Journey, eventually, until};
use super::taint::{await_gone, exec, journal};

const SOON: Duration = Duration::from_mins(1);

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut ballast = File::create(path).expect("a file");
    for size in [64 * 1024, 4096, 1] {
        let part = vec![1; size];
        loop {
            match ballast.write(&part) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn on_a_full_disk_nothing_is_replaced_it_is_said_loudly_and_all_goes_on_when_there_is_space() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let mut supervisor = journey.up_on_small_disk(1 << 20);
    supervisor.await_ready(1);
    let ballast = journey.path("state").join("ballast");
    fill(&ballast);

    // What the last page still takes is soon written.
    let warns = || {
        journey
            .run(&["ps"])
            .stderr
            .contains("the journal cannot be written")
    };
    let mut recycles = Vec::new();
    until("a warning", SOON, || {
        if recycles.len() < 20 {
            recycles.push(journey.begin(&["recycle"]));
        }
        if warns() { Ok(()) } else { Err("none yet") }
    });
    let log = journey.log();
    assert!(log.contains("nothing is replaced"), "{log}");
    assert!(log.contains("the journal lives on its reserve"), "{log}");

    // It serves, and who asks for more is told why not, also who asked before.
    let refused = journey.run(&["recycle"]);
    refused.unmet(&["the journal cannot be written, and nothing is replaced until it can"]);
    for recycle in recycles {
        // Those before it was full are done.
        println!("{:?}", recycle.end().code());
    }
    // What was on its way when the disk filled up leaves, as that frees space.
    eventually("one replica", SOON, || journey.ps(), |rows| rows.len() == 1);
    let before = journey.running_ids();
    assert_eq!(journey.get("/healthz").status, 200);
    let verified = journey.run(&["journal", "verify"]).success();
    println!("{}", verified.stdout);
    let shown = journey
        .run(&["journal", "show", "--kind", "full"])
        .success();
    assert_eq!(shown.stdout.lines().count(), 1, "{}", shown.stdout);
    assert_eq!(journey.running_ids(), before);

    std::fs::remove_file(&ballast).expect("remove the ballast");
    until("no warning", SOON, || {
        if warns() { Err("still") } else { Ok(()) }
    });
    journey.run(&["recycle"]).success();
    assert_ne!(journey.running_ids(), before);
    journey.run(&["journal", "verify"]).success();
    // The reserve held what was due.
    assert_eq!(journal(&journey, "lost"), Vec::<Value>::new());
    supervisor.end();
}

#[test]
fn whoever_fills_the_disk_and_then_touches_one_replica_after_the_other_is_recorded_each_time() {
    let journey = Journey::of_web(3, "", "backoff: { base: 100ms, cap: 1s }");
    let mut supervisor = journey.up_on_small_disk(1 << 20);
    supervisor.await_ready(3);
    let victims = journey.running_ids();
    let ballast = |number: usize| journey.path("state").join(format!("ballast-{number}"));
    for (number, victim) in victims.iter().enumerate() {
        // What was given up meanwhile goes, too.
        fill(&ballast(number));
        exec(&journey, victim);
        await_gone(&journey, victim);
        supervisor.await_ready(3);
    }
    let tainted = journal(&journey, "tainted");
    for victim in &victims {
        let is_told = |record: &Value| record["container_id"] == victim.as_str();
        assert!(tainted.iter().any(is_told), "{victim}: {tainted:#?}");
    }
    assert_eq!(journal(&journey, "lost"), Vec::<Value>::new());
    journey.run(&["journal", "verify"]).success();
    supervisor.end();
}
