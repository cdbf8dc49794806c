//! The simulated engine keeps every promise that a real one keeps.

use phoenixd::spec::{ImageRef, ProjectName};

use super::engine::{IMAGE, SimEngine};
use crate::conformance::{Fixture, promises};

struct Simulated(SimEngine);

impl Fixture for Simulated {
    type Engine = SimEngine;

    fn engine(&self) -> &SimEngine {
        &self.0
    }

    fn project(&self) -> ProjectName {
        ProjectName::new("sim")
    }

    fn other_project(&self) -> Option<ProjectName> {
        None
    }

    fn image(&self) -> ImageRef {
        ImageRef::new(IMAGE)
    }
}

async fn simulated() -> Simulated {
    let engine = SimEngine::new(0, ProjectName::new("sim"));
    engine.lock().make_instant();
    std::future::ready(Simulated(engine)).await
}

promises!(simulated);
