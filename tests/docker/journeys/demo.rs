//! `phoenixd demo`: what a newcomer runs first.
//!
//! Not here: what its page shows (`demo`, the tests of the suite).

use super::support::Journey;

#[test]
fn the_demo_recycles_under_visits_without_a_failed_one_and_leaves_nothing() {
    let journey = Journey::new();
    let port = journey.port.to_string();
    let said = journey.run(&["demo", "--recycles", "1", "--port", &port]);
    let said = said.success().stdout;
    let requests = said
        .trim_end()
        .rsplit('\n')
        .next()
        .and_then(|last| last.strip_suffix(" requests, 0 failed"))
        .and_then(|count| count.parse::<u64>().ok());
    assert!(requests.is_some_and(|count| count > 100), "{said}");
    assert!(said.contains("is gone (1 buried so far)"), "{said}");
    for project in [&*journey.project, "phoenixd-demo"] {
        let label = format!("com.docker.compose.project={project}");
        assert_eq!(journey.engine.containers(&label), []);
        assert_eq!(journey.engine.networks(&label), [""; 0]);
    }
    let images = journey.engine.must("GET", "/images/json", None).json();
    let text = images.to_string();
    for name in ["phoenixd-demo:", "-phoenixd-demo\""] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}
