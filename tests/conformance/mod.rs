//! What every engine promises: the same bodies against a real Docker Engine (`tests/docker`) and against the
//! simulated one (`tests/suite`), so that what the simulator proves is proved of Docker.
//!
//! Not here: what only a real engine has (`/proc`, images, logs), and faults, which only the simulated one has.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod containers;
mod dependencies;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::docker::{Birth, Engine, Scope};
use phoenixd::reconcile::{Listing, Observed};
use phoenixd::spec::{
    Attachment, BornAfter, ContainerId, ContainerSpec, Generation, ImageRef, NetworkMode,
    NetworkName, NetworkSpec, ProjectName, ReplicaName, Serial, ServiceName, SpecHash, VolumeName,
    VolumeSpec,
};

pub(crate) use containers::*;
pub(crate) use dependencies::*;
pub(crate) use resources::*;

/// An engine to try, and what the bodies need of its surroundings. Whatever was made is removed when it is dropped.
pub(crate) trait Fixture {
    /// The engine.
    type Engine: Engine;
    /// The engine.
    fn engine(&self) -> &Self::Engine;
    /// A project that nobody else uses.
    fn project(&self) -> ProjectName;
    /// Another one, where the engine has more than one.
    fn other_project(&self) -> Option<ProjectName>;
    /// An image whose program runs until SIGTERM, then ends within a second, and whose user is not root.
    fn image(&self) -> ImageRef;
    /// Makes and starts a container as docker compose does for a service of the project; as `docker compose run` does
    /// where it is a one-off.
    fn compose_up(
        &self,
        service: &ServiceName,
        is_one_off: bool,
    ) -> impl Future<Output = ContainerId>;
}

/// One test for each promise; `$fixture` is the path of an async function that makes a fixture.
macro_rules! promises {
    ($fixture:path: $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let fixture = $fixture().await;
                crate::conformance::$promise(&fixture).await;
            }
        )*
    };
    ($fixture:path) => {
        crate::conformance::promises! {
            $fixture:
            a_name_is_given_once_and_tells_whose_it_is,
            an_unknown_image_makes_no_container,
            what_is_gone_is_none,
            starting_twice_starts_once,
            stopping_what_does_not_run_is_done,
            a_stop_without_a_grace_uses_the_container_s_own,
            removing_twice_removes_once,
            a_frozen_container_stays_frozen_until_it_is_destroyed,
            what_does_not_run_is_destroyed_and_not_frozen,
            an_exec_that_nobody_began_is_none,
            a_running_container_is_not_removed,
            a_container_takes_another_name_and_frees_its_own,
            a_container_is_told_with_every_field,
            a_listing_shows_every_container_of_the_project_and_no_other,
            hardening_that_was_asked_for_is_told,
            a_container_is_attached_to_further_networks,
            a_running_container_is_taken_off_a_network_and_put_back,
            a_container_joins_the_network_of_one_that_runs_and_of_no_other,
            a_network_is_made_and_removed_once,
            a_network_in_use_is_not_removed,
            a_container_whose_network_is_gone_is_made_and_does_not_start,
            a_volume_is_made_and_removed_once,
            a_volume_in_use_is_not_removed,
            an_image_is_told_when_it_is_there,
            what_happens_is_hinted_at_and_only_to_its_project,
            what_happened_before_is_told_to_who_asks_for_it,
            what_docker_compose_runs_is_told_when_it_is_asked_for_and_is_nobody_s_replica,
            what_happens_to_a_dependency_is_hinted_at,
        }
    };
}
pub(crate) use promises;

/// A grace that the image's program does not need.
const GRACE: Option<Duration> = Some(Duration::from_secs(5));

/// A birth of `web-SERIAL` in a project.
fn birth(project: &ProjectName, serial: u64, container: ContainerSpec) -> Birth {
    Birth {
        project: project.clone(),
        replica: ReplicaName::new(ServiceName::new("web"), Serial(serial)),
        generation: Generation(7),
        spec_hash: SpecHash::new("0123456789abcdef"),
        container: Arc::new(container),
        image: None,
        born_after: BornAfter::default(),
        joins: None,
    }
}

/// A container of the fixture's image without a network, which is the quickest to start.
fn plain<F: Fixture>(fixture: &F) -> ContainerSpec {
    ContainerSpec {
        network: NetworkMode::None,
        ..ContainerSpec::of_image(fixture.image())
    }
}

async fn create<F: Fixture>(fixture: &F, serial: u64) -> ContainerId {
    create_with(fixture, serial, plain(fixture)).await
}

async fn create_with<F: Fixture>(
    fixture: &F,
    serial: u64,
    container: ContainerSpec,
) -> ContainerId {
    let birth = birth(&fixture.project(), serial, container);
    fixture.engine().create(&birth).await.expect("create")
}

async fn start<F: Fixture>(fixture: &F, serial: u64) -> ContainerId {
    let id = create(fixture, serial).await;
    fixture.engine().start(&id).await.expect("start");
    id
}

async fn inspect<F: Fixture>(fixture: &F, id: &ContainerId) -> Observed {
    fixture
        .engine()
        .inspect(id)
        .await
        .expect("inspect")
        .expect("the container is there")
}

async fn list<F: Fixture>(fixture: &F, project: &ProjectName) -> Listing {
    let scope = Scope {
        project: project.clone(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        originals: false,
        dependencies: BTreeSet::new(),
    };
    fixture.engine().list(&scope).await.expect("list")
}

/// An id that no container has.
fn nobody() -> ContainerId {
    ContainerId::new("0".repeat(64))
}

fn network<F: Fixture>(fixture: &F, key: &str) -> NetworkSpec {
    NetworkSpec {
        key: key.to_owned(),
        name: NetworkName::new(format!("{}_{key}", fixture.project())),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        ipam_driver: None,
        ipam_pools: Vec::new(),
        labels: BTreeMap::new(),
        place: None,
    }
}

fn volume<F: Fixture>(fixture: &F, key: &str) -> VolumeSpec {
    VolumeSpec {
        key: key.to_owned(),
        name: VolumeName::new(format!("{}_{key}", fixture.project())),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        place: None,
    }
}

fn attachment(network: &NetworkSpec) -> Attachment {
    Attachment {
        network: network.name.clone(),
        aliases: vec!["web".to_owned()],
        ipv4: None,
        ipv6: None,
        link_local_ips: Vec::new(),
        driver_opts: BTreeMap::new(),
        gw_priority: None,
    }
}
