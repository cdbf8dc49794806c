//! A project of its own on the real engine, removed with all that it made, also when the test fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use phoenixd::docker::{Docker, Endpoint, Engine, Error, Scope, TlsSettings};
use phoenixd::spec::{ContainerId, ImageRef, ProjectName, ServiceName};

use crate::conformance::Fixture;
use crate::image::{self, Image};
use crate::journeys::support::{self, STRANGER};

/// A project on the real engine.
pub(crate) struct Real {
    pub(crate) docker: Docker,
    project: ProjectName,
    image: Arc<Image>,
}

/// Connects and names a new project.
pub(crate) async fn docker() -> Real {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let docker = connect().await;
    let image = image::shared(&docker).await;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let project = ProjectName::new(format!("phxtest-{}-{number}", unique()));
    Real {
        docker,
        project,
        image,
    }
}

/// What no other process on this host has, nor one that had the same number before.
pub(crate) fn unique() -> String {
    let boot = phoenixd::clock::boot_now().as_millis();
    format!("{}-{boot}", std::process::id())
}

/// Connects to the engine of the environment.
pub(crate) async fn connect() -> Docker {
    let endpoint = endpoint();
    match Docker::connect(&endpoint).await {
        Ok(docker) => docker,
        Err(error) => panic!("these tests need a Docker Engine at {endpoint}: {error}"),
    }
}

pub(crate) fn endpoint() -> Endpoint {
    #[expect(
        clippy::disallowed_methods,
        reason = "which engine to test against is this program's own setting"
    )]
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    let cert_path = set("DOCKER_CERT_PATH");
    let tls = TlsSettings {
        verify: !set("DOCKER_TLS_VERIFY").is_empty(),
        cert_path: (!cert_path.is_empty()).then(|| cert_path.into()),
    };
    Endpoint::parse(&set("DOCKER_HOST"), &tls).expect("DOCKER_HOST")
}

impl Fixture for Real {
    type Engine = Docker;

    fn engine(&self) -> &Docker {
        &self.docker
    }

    fn project(&self) -> ProjectName {
        self.project.clone()
    }

    fn other_project(&self) -> Option<ProjectName> {
        Some(ProjectName::new(format!("{}-other", self.project)))
    }

    fn image(&self) -> ImageRef {
        self.image.name()
    }

    async fn compose_up(&self, service: &ServiceName, is_one_off: bool) -> ContainerId {
        // The labels of docker compose 2.40.3; those that nothing here reads are left out.
        let labels = serde_json::json!({
            "com.docker.compose.project": self.project.as_str(),
            "com.docker.compose.service": service.as_str(),
            "com.docker.compose.oneoff": if is_one_off { "True" } else { "False" },
        });
        let name = format!("{}-{service}-{}", self.project, unique_number());
        let image = self.image.name().to_string();
        let engine = support::Engine::of_environment();
        let id = engine.stranger(self.project.as_str(), &name, &image, &labels);
        std::future::ready(ContainerId::new(id)).await
    }
}

fn unique_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Drop for Real {
    fn drop(&mut self) {
        let projects: Vec<_> = [Some(self.project()), self.other_project()]
            .into_iter()
            .flatten()
            .collect();
        let strangers = format!("{STRANGER}={}", self.project);
        detached(async move |docker| {
            support::Engine::of_environment().remove_all(&strangers);
            for project in projects {
                if let Err(error) = remove_all(&docker, &project).await {
                    panic!("{project} is left on the engine: {error}");
                }
            }
        });
    }
}

/// Does something on the engine from where nothing can be awaited: over a connection of its own, since the test's
/// runtime may be gone.
pub(crate) fn detached<F: Future<Output = ()>>(work: impl FnOnce(Docker) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime")
            .block_on(async { work(connect().await).await });
    });
    let joined = thread.join();
    // A second panic would end the process before the first one is told.
    assert!(joined.is_ok() || std::thread::panicking());
}

/// Removes what carries the project's label.
pub(crate) async fn remove_all(docker: &Docker, project: &ProjectName) -> Result<(), Error> {
    let scope = Scope {
        project: project.clone(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        originals: false,
        dependencies: BTreeSet::new(),
    };
    let listing = docker.list(&scope).await?;
    for container in &listing.containers {
        docker.stop(&container.id, Some(Duration::ZERO)).await?;
        docker.remove(&container.id).await?;
    }
    for network in &listing.networks {
        docker.remove_network(&network.name).await?;
    }
    for volume in &listing.volumes {
        docker.remove_volume(&volume.name).await?;
    }
    Ok(())
}
