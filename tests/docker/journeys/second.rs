//! One supervisor per project.

use super::support::Journey;

#[test]
fn a_second_supervisor_of_a_project_is_refused_and_the_first_is_unharmed() {
    let journey = Journey::of_web(2, "", "");
    let mut first = journey.up_ready(2);
    let before = journey.running_ids();
    let pid = first.pid().to_string();

    let said = ["already supervises", journey.project.as_str()];
    let same = journey.run(&["up"]).unmet(&said);
    assert!(
        same.stderr.contains(&pid),
        "who has it is told: {}",
        same.stderr
    );
    assert!(same.stderr.contains("hint"), "{}", same.stderr);
    // A lock file elsewhere does not deceive it.
    let other = journey
        .run_in(&["up"], &journey.path("elsewhere"))
        .unmet(&said);
    println!("{}\n{}", same.stderr, other.stderr);
    let down = journey
        .run_in(&["down"], &journey.path("elsewhere"))
        .unmet(&said);
    println!("{}", down.stderr);

    assert!(first.is_running());
    assert_eq!(journey.running_ids(), before);
    assert_eq!(journey.get("/healthz").status, 200);
    journey.run(&["recycle"]).success();
    journey.run(&["events"]).success();
}
