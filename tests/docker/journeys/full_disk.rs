//! A disk that is really full, under the journal of a supervisor at work.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::support::{Journey, until};

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
    assert!(log.contains("the journal is read-only"), "{log}");

    // It serves, and what is asked for waits and says on what.
    let waits = until("a replacement that waits", SOON, || {
        let rows = journey.ps();
        let waits = rows.iter().any(|row| {
            let on = row["waiting_on"].as_str().unwrap_or_default();
            on.contains("the journal, which cannot be written")
        });
        if waits { Ok(rows) } else { Err(rows) }
    });
    println!("{waits:#?}");
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
    for recycle in recycles {
        assert!(recycle.end().success());
    }
    journey.run(&["recycle"]).success();
    assert_ne!(journey.running_ids(), before);
    journey.run(&["journal", "verify"]).success();
    let lost = journey
        .run(&["journal", "show", "--kind", "lost"])
        .success();
    assert!(lost.stdout.contains("records="), "{}", lost.stdout);
    supervisor.end();
}
