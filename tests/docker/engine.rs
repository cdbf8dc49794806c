//! What only a real engine has: processes, images, logs, and its own ways.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use phoenixd::clock;
use phoenixd::docker::{Birth, Engine, Error, Scope, TlsSettings};
use phoenixd::docker::{Docker, Endpoint};
use phoenixd::reconcile::{ContainerState, Kernel, Time};
use phoenixd::spec::{
    BornAfter, ContainerId, ContainerSpec, Generation, ImageRef, IpamPool, NetworkMode,
    NetworkName, NetworkSpec, Policy, ReplicaName, Serial, ServiceName, SpecHash, VolumeName,
    VolumeSpec,
};

use crate::conformance::Fixture;
use crate::fixture::{self, Real};

/// As `spec::resolve` would have it.
fn hardened(real: &Real) -> ContainerSpec {
    ContainerSpec {
        read_only: Some(true),
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges:true".to_owned()],
        pids_limit: Some(64),
        memory_bytes: Some(64 << 20),
        init: Some(true),
        ipc: Some("private".to_owned()),
        cgroup: Some("private".to_owned()),
        network: NetworkMode::None,
        ..ContainerSpec::of_image(real.image())
    }
}

async fn create(real: &Real, container: ContainerSpec) -> ContainerId {
    let birth = Birth {
        project: real.project(),
        replica: ReplicaName::new(ServiceName::new("web"), Serial(1)),
        generation: Generation(1),
        spec_hash: SpecHash::new("abc"),
        container: Arc::new(container),
        image: None,
        born_after: BornAfter::default(),
        joins: None,
    };
    real.docker.create(&birth).await.expect("create")
}

fn network(real: &Real, key: &str) -> NetworkSpec {
    NetworkSpec {
        key: key.to_owned(),
        name: NetworkName::new(format!("{}_{key}", real.project())),
        external: false,
        driver: Some("bridge".to_owned()),
        driver_opts: BTreeMap::new(),
        internal: true,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        ipam_driver: None,
        ipam_pools: Vec::new(),
        labels: BTreeMap::new(),
        place: None,
    }
}

#[tokio::test]
async fn a_hardened_process_is_what_the_kernel_says_it_is() {
    let real = fixture::docker().await;
    let before = Time::from_boot(clock::boot_now());
    let id = create(&real, hardened(&real)).await;
    real.docker.start(&id).await.unwrap();
    let observed = real.docker.inspect(&id).await.unwrap().unwrap();
    let after = Time::from_boot(clock::boot_now());

    let started = observed.started.unwrap();
    // The kernel counts in ticks of 10 ms.
    let earliest = before.minus(Duration::from_millis(10));
    assert!(started >= earliest && started <= after, "{started:?}");
    match observed.kernel {
        Kernel::Read { facts, at } => {
            assert!(at >= before && at <= after);
            assert_eq!(facts.uid, 65534);
            assert_eq!(Policy::STRICT.weaknesses(&facts), []);
        }
        // An engine on another host.
        Kernel::Unavailable => assert_eq!(fixture::endpoint().proc_root, None),
        Kernel::NotRunning => panic!("it runs: {observed:?}"),
    }
}

#[tokio::test]
async fn a_start_that_fails_has_ended_with_a_reason() {
    let real = fixture::docker().await;
    let spec = ContainerSpec {
        entrypoint: Some(vec!["/does-not-exist".to_owned()]),
        // With an init, it is the init that would not find it.
        init: Some(false),
        ..hardened(&real)
    };
    let id = create(&real, spec).await;
    let error = real.docker.start(&id).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { .. } | Error::NotFound { .. }),
        "{error:?}"
    );
    let state = real.docker.inspect(&id).await.unwrap().unwrap().state;
    assert!(
        matches!(
            &state,
            ContainerState::Exited { code: 127 | 128, oom: false, error } if error.contains("does-not-exist")
        ),
        "{state:?}"
    );
    real.docker.remove(&id).await.unwrap();
}

#[tokio::test]
async fn a_network_asked_for_at_once_by_many_is_one_network() {
    let real = fixture::docker().await;
    let project = real.project();
    let network = network(&real, "front");
    let asked = join_all((0..8).map(|_| real.docker.create_network(&project, &network))).await;
    for made in asked {
        made.expect("create network");
    }
    // A second one of the same name would make every reference to it ambiguous, and survive this.
    real.docker.remove_network(&network.name).await.unwrap();
    let scope = Scope {
        project,
        networks: BTreeSet::from([network.name.clone()]),
        volumes: BTreeSet::new(),
        originals: false,
        dependencies: BTreeSet::new(),
    };
    let listing = real.docker.list(&scope).await.unwrap();
    assert_eq!(listing.networks, BTreeSet::new());
}

#[tokio::test]
async fn a_network_whose_addresses_are_taken_is_not_said_to_be_made() {
    let real = fixture::docker().await;
    let subnet = format!(
        "10.{}.{}.0/24",
        200 + std::process::id() % 50,
        std::process::id() / 50 % 250
    );
    let with_pool = |key| NetworkSpec {
        ipam_pools: vec![IpamPool {
            subnet: Some(subnet.clone()),
            ..IpamPool::default()
        }],
        ..network(&real, key)
    };
    real.docker
        .create_network(&real.project(), &with_pool("one"))
        .await
        .unwrap();
    let second = real
        .docker
        .create_network(&real.project(), &with_pool("two"))
        .await;
    assert!(second.is_err());
}

#[tokio::test]
async fn what_the_scope_names_is_listed_as_not_ours() {
    let real = fixture::docker().await;
    let other = real.other_project().unwrap();
    let network = network(&real, "theirs");
    let volume = VolumeSpec {
        key: "theirs".to_owned(),
        name: VolumeName::new(format!("{}_theirs", real.project())),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        place: None,
    };
    real.docker.create_network(&other, &network).await.unwrap();
    real.docker.create_volume(&other, &volume).await.unwrap();
    let mut scope = Scope {
        project: real.project(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        originals: false,
        dependencies: BTreeSet::new(),
    };
    let listing = real.docker.list(&scope).await.unwrap();
    assert!(listing.networks.is_empty() && listing.volumes.is_empty());
    scope.networks.insert(network.name.clone());
    scope.volumes.insert(volume.name.clone());
    let listing = real.docker.list(&scope).await.unwrap();
    assert_eq!(listing.networks.len(), 1);
    assert!(listing.networks.iter().all(|seen| !seen.ours));
    assert_eq!(listing.volumes.len(), 1);
    assert!(listing.volumes.iter().all(|seen| !seen.ours));
}

async fn has_exited(real: &Real, id: &ContainerId) -> bool {
    let seen = real
        .docker
        .inspect(id)
        .await
        .expect("inspect")
        .expect("the container");
    matches!(seen.state, ContainerState::Exited { .. })
}

#[tokio::test]
async fn the_last_words_of_a_container_are_told() {
    let real = fixture::docker().await;
    let spec = ContainerSpec {
        // The test program's own help, a hundred lines of it.
        entrypoint: Some(vec!["/app".to_owned(), "--help".to_owned()]),
        ..hardened(&real)
    };
    let id = create(&real, spec).await;
    assert_eq!(real.docker.logs_tail(&id, 10).await.unwrap(), "");
    real.docker.start(&id).await.unwrap();
    let ended = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while !has_exited(&real, &id).await {
            pace.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("its help is short");
    let all = real.docker.logs_tail(&id, 1000).await.unwrap();
    assert!(all.contains("--test-threads"), "{all}");
    let tail = real.docker.logs_tail(&id, 3).await.unwrap();
    assert_eq!(tail.lines().count(), 3);
    assert!(all.ends_with(&tail));

    let nobody = ContainerId::new("0".repeat(64));
    let error = real.docker.logs_tail(&nobody, 3).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn an_image_is_told_with_its_ports_and_removed_once() {
    let real = fixture::docker().await;
    let name = ImageRef::new(format!("phoenixd-test:facts-{}", fixture::unique()));
    let archive = crate::image::archive(name.as_str());
    real.docker.load_image(Cursor::new(archive)).await.unwrap();
    let facts = real.docker.image(&name).await.unwrap().unwrap();
    assert_eq!(facts.user, "65534:65534");
    assert_eq!(facts.exposed_tcp, BTreeSet::from([8080]));
    assert_eq!(facts.volumes, Vec::<String>::new());
    real.docker.remove_image(&name).await.unwrap();
    assert_eq!(real.docker.image(&name).await.unwrap(), None);
    real.docker.remove_image(&name).await.unwrap();
}

#[tokio::test]
async fn what_is_no_archive_is_not_loaded() {
    let docker = fixture::connect().await;
    let error = docker
        .load_image(Cursor::new(b"this is no archive".to_vec()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pull_that_fails_says_why() {
    let docker = fixture::connect().await;
    // Nothing listens on that port.
    let image = ImageRef::new("localhost:9/phoenixd-test:1");
    let error = docker.pull(&image, None, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("localhost:9"), "{error}");
}

#[tokio::test]
async fn an_engine_tells_what_it_is() {
    let docker = fixture::connect().await;
    let facts = docker.info().await.unwrap();
    assert!(!facts.id.is_empty());
    assert!(facts.root_dir.is_absolute());
    assert!(facts.cpus > 0 && facts.memory_bytes > 0);
    assert!(matches!(facts.cgroup_version, Some(1 | 2)));
    assert_eq!(facts.version, docker.about().version);
    docker.ping().await.unwrap();
}

#[tokio::test]
async fn nobody_at_an_address_is_said_with_the_address() {
    let endpoint = Endpoint::parse("tcp://127.0.0.1:9", &TlsSettings::default()).unwrap();
    let error = Docker::connect(&endpoint).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { address, .. } if address == "tcp://127.0.0.1:9"),
        "{error:?}"
    );
}
