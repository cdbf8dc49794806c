//! When the registry is asked for an image. It never answers here: nobody listens where the image's name leads.

use super::support::Journey;

/// The journey's image under a name whose registry refuses every connection.
struct Unreachable<'a> {
    journey: &'a Journey,
    name: String,
}

impl<'a> Unreachable<'a> {
    fn new(journey: &'a Journey) -> Self {
        // Port 1 of this host; the engine takes a registry there for one without TLS.
        let repository = format!("127.0.0.1:1/{}", journey.project);
        let path = format!("/images/{}/tag?repo={repository}&tag=1", journey.image());
        journey.engine.must("POST", &path, None);
        let name = format!("{repository}:1");
        Self { journey, name }
    }

    /// A file with one service of the image.
    fn write(&self, service: &str, phoenix: &str) {
        let text = self.journey.web(1, service, phoenix);
        self.journey
            .write(&text.replace(self.journey.image(), &self.name));
    }
}

impl Drop for Unreachable<'_> {
    fn drop(&mut self) {
        let path = format!("/images/{}?force=1", self.name);
        drop(self.journey.engine.call("DELETE", &path, None));
    }
}

#[test]
fn an_image_that_is_to_be_asked_for_is_not_used_without_an_answer() {
    let journey = Journey::new();
    let image = Unreachable::new(&journey);
    for policy in ["always", "every_0s"] {
        image.write(&format!("pull_policy: {policy}"), "");
        let said = ["could not be asked for", "compose.yaml:3:", "pull: latest"];
        journey.run(&["up"]).unmet(&said);
        assert_eq!(journey.containers(), [], "{policy}");
        // What changes nothing asks nobody.
        journey.run(&["plan"]).success();
    }
}

#[test]
fn an_image_that_is_there_is_used_where_the_policy_asks_for_no_other() {
    let journey = Journey::new();
    let image = Unreachable::new(&journey);
    for policy in ["missing", "never", "build", "daily", "every_1h"] {
        image.write(&format!("pull_policy: {policy}"), "");
        let mut supervisor = journey.up();
        supervisor.await_ready(1);
    }
    assert!(!journey.log().contains("pulling"), "{}", journey.log());
}

#[test]
fn the_latest_image_is_asked_for_and_the_one_that_is_there_serves_without_an_answer() {
    let journey = Journey::new();
    let image = Unreachable::new(&journey);
    image.write("", "pull: latest");
    let _supervisor = journey.up_ready(1);
    let log = journey.log();
    assert!(
        log.contains("pulling") && log.contains("what is there is used"),
        "{log}"
    );
}

#[test]
fn an_image_that_must_not_be_pulled_and_is_not_there_is_said_to_be_missing() {
    let journey = Journey::new();
    let missing = format!("127.0.0.1:1/{}-none:1", journey.project);
    for (policy, why) in [
        ("never", "`pull_policy: never` forbids to pull it"),
        ("build", "it is built, not pulled"),
    ] {
        let text = journey.web(1, &format!("pull_policy: {policy}"), "");
        journey.write(&text.replace(journey.image(), &missing));
        journey.run(&["up"]).unmet(&[why]);
    }
    if journey.engine.major >= 28 {
        let mount = format!("volumes: [{{ type: image, source: \"{missing}\", target: /tools }}]");
        journey.write(&journey.web(1, &mount, ""));
        journey
            .run(&["up"])
            .unmet(&[missing.as_str(), "is not there"]);
    }
}
