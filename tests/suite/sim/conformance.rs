//! The simulated engine keeps every promise that a real one keeps.

use phoenixd::spec::{ContainerId, ImageRef, ProjectName, ServiceName};

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

    async fn compose_up(&self, service: &ServiceName, is_one_off: bool) -> ContainerId {
        let id = {
            let mut shared = self.0.lock();
            let id = shared.host.create_of_compose(service).unwrap();
            let container = shared.host.containers.get_mut(&id).unwrap();
            // Nothing tells of what `docker compose run` makes.
            container.compose = container.compose.take().filter(|_| !is_one_off);
            if let Some(of) = &mut container.compose {
                of.has_healthcheck = false;
            }
            shared.host.start_of_compose(&id);
            shared.tell();
            id
        };
        std::future::ready(id).await
    }
}

async fn simulated() -> Simulated {
    let engine = SimEngine::new(0, ProjectName::new("sim"));
    engine.lock().make_instant();
    std::future::ready(Simulated(engine)).await
}

promises!(simulated);
