//! What is removed, and what is not.

use rustix::process::Signal;
use serde_json::json;

use super::support::{Journey, STRANGER};

const VOLUMES: &str = "volumes: { data: {} }\n";

/// With a named volume.
fn journey() -> Journey {
    let journey = Journey::new();
    let web = journey.web(2, "volumes: [\"data:/data\"]", "drain: 200ms");
    journey.write(&(web + VOLUMES));
    journey
}

/// What must survive: containers and a network whose names and labels look like the project's.
struct Strangers<'a> {
    journey: &'a Journey,
    containers: Vec<String>,
    network: String,
}

impl<'a> Strangers<'a> {
    fn beside(journey: &'a Journey) -> Self {
        let (engine, project, image) = (&journey.engine, &journey.project, journey.image());
        let compose = json!({
            "com.docker.compose.project": project,
            "com.docker.compose.service": "web",
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
        });
        let other = json!({ "phoenixd.project": format!("{project}x"), "phoenixd.service": "web" });
        let containers = vec![
            engine.stranger(project, &format!("{project}-web-99"), image, &json!({})),
            engine.stranger(project, &format!("{project}_web_1"), image, &compose),
            engine.stranger(project, &format!("{project}x-web-1"), image, &other),
        ];
        let network = format!("{project}_other");
        let body = json!({ "Name": network, "Labels": {
            STRANGER: project,
            "com.docker.compose.project": project,
            "com.docker.compose.network": "other",
        } });
        engine.must("POST", "/networks/create", Some(&body));
        Self {
            journey,
            containers,
            network,
        }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        for id in &self.containers {
            let inspect = self.journey.inspect(id);
            assert_eq!(inspect["State"]["Running"], true, "{inspect:#}");
        }
        let label = format!("{STRANGER}={}", self.journey.project);
        assert_eq!(
            self.journey.engine.networks(&label),
            [self.network.as_str()]
        );
    }
}

/// Nothing of the project but these volumes.
#[track_caller]
fn assert_gone(journey: &Journey, volumes: &[String]) {
    assert_eq!(journey.containers(), []);
    let networks = journey.engine.networks(&journey.label());
    assert!(networks.is_empty(), "{networks:?}");
    assert_eq!(journey.engine.volumes(&journey.label()), volumes);
}

#[test]
fn down_removes_all_of_the_project_and_nothing_else() {
    let journey = journey();
    let volume = [format!("{}_data", journey.project)];
    let strangers = Strangers::beside(&journey);

    let mut supervisor = journey.up_ready(2);
    journey.run(&["down"]).success();
    assert_gone(&journey, &volume);
    let status = supervisor.wait();
    assert!(
        status.success(),
        "the supervisor ends when nothing is left: {status}"
    );
    drop(supervisor);
    strangers.assert_untouched();

    // The same where no supervisor runs; nothing to do is no error.
    journey.up_ready(2).kill();
    journey.run(&["down"]).success();
    assert_gone(&journey, &volume);
    journey.run(&["down"]).success();
    strangers.assert_untouched();

    journey.up_ready(2).end();
    journey.run(&["down", "--volumes"]).success();
    assert_gone(&journey, &[]);
    strangers.assert_untouched();
}

#[test]
fn down_on_exit_removes_all_of_the_project_and_nothing_else() {
    let journey = journey();
    let volume = [format!("{}_data", journey.project)];
    let strangers = Strangers::beside(&journey);
    let mut supervisor = journey.up_with(&["--down-on-exit"]);
    supervisor.await_ready(2);
    supervisor.signal(Signal::TERM);
    let status = supervisor.wait();
    assert!(status.success(), "{status}: {}", journey.log());
    assert_gone(&journey, &volume);
    strangers.assert_untouched();
}
