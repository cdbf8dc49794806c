//! What comes of a container of docker compose: derived from inspections that Docker 20.10.24 and 28.5.2 gave of a service
//! with nearly every key (docker compose 2.40.3), and of the replicas that took its place.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod comparing;
mod deriving;
mod refusing;

use phoenixd::adopt::{Change, ChangeKind, Derived, Examined, Surroundings, derive};
use phoenixd::docker::read_value;
use serde_json::{Value, json};

/// The engines that the fixtures are of.
const ENGINES: [&str; 2] = ["20", "28"];

/// A container as an engine told of it, to be changed by a test.
#[derive(Clone)]
struct Told {
    inspect: Value,
    image: Value,
    changes: Vec<Change>,
}

impl Told {
    fn of(engine: &str, what: &str) -> Self {
        let path = format!(
            "{}/tests/suite/adopt/fixtures/docker-{engine}-{what}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).unwrap();
        let mut told: Value = serde_json::from_str(&text).unwrap();
        Self {
            inspect: told["inspect"].take(),
            image: told["image"].take(),
            changes: Vec::new(),
        }
    }

    fn original(engine: &str) -> Self {
        Self::of(engine, "original")
    }

    fn replica(engine: &str) -> Self {
        Self::of(engine, "replica")
    }

    /// The same with one field changed.
    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.inspect.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
        self
    }

    fn examined(&self) -> Examined {
        let marks = &self.inspect["Config"]["Labels"]["phoenixd.adopted"];
        Examined {
            inspect: read_value(&self.inspect.to_string()),
            image: read_value(&self.image.to_string()),
            marks: marks.as_str().map(read_value).unwrap_or_default(),
            changes: self.changes.clone(),
        }
    }

    fn derive(&self) -> Result<Derived, Vec<String>> {
        let refusal = |path: &str| phoenixd::spec::host_path_refusal(path).map(str::to_owned);
        let around = Surroundings {
            log_driver: "json-file".to_owned(),
            runtime: "runc".to_owned(),
            host_cgroup_by_default: true,
            path_refusal: &refusal,
        };
        derive(&self.examined(), &around)
    }

    /// Why it is refused.
    fn refused(&self) -> String {
        match self.derive() {
            Ok(derived) => panic!("it is not refused: {derived:#?}"),
            Err(why) => why.join("\n"),
        }
    }
}

fn added(path: &str) -> Change {
    Change {
        kind: ChangeKind::Added,
        path: path.to_owned(),
    }
}

/// An image's `Config` with nothing in it.
fn bare_image() -> Value {
    json!({ "Cmd": ["httpd"], "Env": ["PATH=/bin"] })
}
