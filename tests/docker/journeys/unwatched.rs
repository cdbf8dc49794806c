//! What was done while no supervisor lived is noticed by the next one, and what those before it did is taken for no touch;
//! and a tag that moves to another image, of which the engine tells no container's subscriber.

use std::time::Duration;

use serde_json::json;

use super::support::{Journey, eventually, pause, until};
use super::taint::{await_gone, exec, journal};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than what a subscription tells of in any case.
const A_WHILE: Duration = Duration::from_secs(5);

#[test]
fn what_was_done_while_no_supervisor_lived_is_noticed_by_the_next_one() {
    let journey = Journey::of_web(3, "", "");
    let supervisor = journey.up_ready(3);
    let ids = journey.running_ids();
    let [executed, copied, untouched] = ids.as_slice() else {
        panic!("{ids:?}")
    };
    supervisor.kill();
    pause(A_WHILE);
    let exec = exec(&journey, executed);
    until("the end of the exec", PATIENCE, || {
        let path = format!("/exec/{exec}/json");
        let exec = journey.engine.must("GET", &path, None).json();
        if exec["Running"] == false && exec["ExitCode"].is_i64() {
            Ok(())
        } else {
            Err(exec)
        }
    });
    let path = format!("/containers/{copied}/archive?path=/phoenixd");
    journey.engine.must("GET", &path, None);
    pause(A_WHILE);

    let mut supervisor = journey.up();
    await_gone(&journey, executed);
    await_gone(&journey, copied);
    supervisor.await_ready(3);
    assert!(journey.running_ids().contains(untouched));
    let tainted = journal(&journey, "tainted");
    let why = |id: &str| {
        let of = tainted.iter().find(|record| record["container_id"] == id);
        of.map(|record| record["reason"].clone())
    };
    assert_eq!(why(executed), Some(json!("exec of `/phoenixd --version`")));
    assert_eq!(why(copied), Some(json!("copy of files out of it")));
    assert_eq!(why(untouched), None, "{tainted:#?}");
}

#[test]
fn the_health_checks_of_a_time_without_supervisor_taint_nothing() {
    let journey = Journey::new();
    journey.write(&format!(
        "
services:
  worker:
    image: {}
    healthcheck:
      test: [\"CMD\", \"/phoenixd\", \"--version\"]
      interval: 1s
    x-phoenix:
      ttl: 1h
      drain: 0s
      probe: docker
",
        journey.image()
    ));
    for _ in 0..2 {
        let supervisor = journey.up_ready(1);
        pause(A_WHILE);
        supervisor.kill();
        pause(A_WHILE);
    }
    let ids = journey.running_ids();
    let mut supervisor = journey.up();
    supervisor.await_ready(1);
    pause(A_WHILE);
    assert_eq!(journey.running_ids(), ids);
    assert_eq!(journal(&journey, "tainted").len(), 0);
}

/// Longer than between two looks at tags.
const A_LOOK: Duration = Duration::from_secs(17);

/// The journey's image under a tag that moves.
struct Moving<'a> {
    journey: &'a Journey,
    name: String,
}

impl Moving<'_> {
    fn move_back(&self) {
        let repository = self.name.trim_end_matches(":1");
        let path = format!(
            "/images/{}/tag?repo={repository}&tag=1",
            self.journey.image()
        );
        self.journey.engine.must("POST", &path, None);
    }

    /// To an image of nothing; its id.
    fn move_away(&self) -> String {
        self.journey.engine.import(&self.name, &[], &[0; 1024]);
        let path = format!("/images/{}/json", self.name);
        let image = self.journey.engine.must("GET", &path, None).json();
        image["Id"].as_str().unwrap_or_default().to_owned()
    }

    fn remove(&self, image: &str) {
        let path = format!("/images/{image}?force=1");
        drop(self.journey.engine.call("DELETE", &path, None));
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.remove(&self.name);
    }
}

#[test]
fn a_tag_that_moves_under_a_replica_is_recorded_once_and_changes_nothing() {
    let journey = Journey::new();
    let tag = Moving {
        name: format!("phoenixd-moving-{}:1", journey.project),
        journey: &journey,
    };
    tag.move_back();
    let text = journey.web(1, "", "");
    journey.write(&text.replace(journey.image(), &tag.name));
    let mut supervisor = journey.up_ready(1);
    let id = journey.running_ids().remove(0);
    let image = journey.inspect(&id)["Image"].clone();
    let told = || {
        let mut seen = journal(&journey, "seen");
        seen.retain(|record| record["outcome"] == "reported");
        seen
    };
    for _ in 0..2 {
        let other = tag.move_away();
        eventually("the move is recorded", PATIENCE, told, |told| {
            !told.is_empty()
        });
        pause(A_LOOK);
        tag.move_back();
        tag.remove(&other);
        pause(A_LOOK);
    }
    let told = told();
    let [record] = told.as_slice() else {
        panic!("{told:#?}")
    };
    assert_eq!(record["replica"], "web-1");
    assert_eq!(record["container_id"], id.as_str());
    assert_eq!(record["detail"]["image"], tag.name.as_str());
    assert_eq!(journey.running_ids(), [id]);
    // What is born is of the image of the start.
    let other = tag.move_away();
    journey.run(&["recycle"]).success();
    supervisor.await_ready(1);
    let next = journey.running_ids().remove(0);
    assert_eq!(journey.inspect(&next)["Image"], image);
    tag.remove(&other);
    assert_eq!(journal(&journey, "tainted").len(), 0);
}
