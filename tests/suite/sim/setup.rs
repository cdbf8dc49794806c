//! The project of one seed: services with their settings, the images behind them, and the bounds of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use phoenixd::adopt::{ADOPTED, Value};
use phoenixd::daemon::Catalog;
use phoenixd::docker::write_value;
use phoenixd::reconcile::{Adopted, Desired, Limits};
use phoenixd::spec::{
    Attachment, Backoff, ContainerSpec, Content, FileKind, FileMount, ImageId, ImageRef, Jitter,
    NetworkMode, NetworkName, NetworkSpec, Overdue, Phoenix, Policy, Probe, ProbeSetting,
    ProjectName, Published, ServiceName, SpecHash, Transport, VolumeName, VolumeSpec,
};

use super::rng::Rng;

/// How the containers of one image behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    /// From the start until it serves: at least, at most.
    pub(super) warm_up: (Duration, Duration),
    /// From the stop signal to the end: at least, at most.
    pub(super) shut_down: (Duration, Duration),
    pub(super) fault: Option<Defect>,
}

/// What is wrong with an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Defect {
    /// It runs and never serves.
    NeverReady,
    /// It ends right after its start.
    CrashesAtStart,
    /// It ends some time after it began to serve.
    CrashesLater,
    /// It serves and does not, in turns.
    Flaps,
    /// The kernel says that it is weaker than the policy.
    Weak,
    /// The engine refuses its start.
    StartRefused,
    /// The engine refuses its create: the image is gone.
    ImageGone,
    /// It differs from the original whose place it is to take, and nobody knows why.
    Differs,
}

/// Everything about one seed's project.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) project: ProjectName,
    pub(super) limits: Limits,
    pub(super) wanted: BTreeMap<ServiceName, Desired>,
    /// How the images behave, by the spec hash of what is born from them.
    pub(super) qualities: BTreeMap<SpecHash, Quality>,
    pub(super) networks: BTreeMap<NetworkName, NetworkSpec>,
    pub(super) volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// The kernel of the engine's host cannot be asked.
    pub(super) remote: bool,
}

impl Setup {
    /// A project with one service and nothing wrong.
    pub(super) fn of(project: &str, limits: Limits) -> Self {
        Self {
            project: ProjectName::new(project),
            limits,
            wanted: BTreeMap::new(),
            qualities: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            remote: false,
        }
    }

    /// The project of a seed.
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "setup");
        let cpus = usize::try_from(1 + rng.below(4)).unwrap_or(1);
        let mut setup = Self::of("sim", Limits::of_cpus(cpus));
        setup.remote = rng.chance(100);
        for number in 0..=rng.below(3) {
            let name =
                ServiceName::new(["web", "api", "job"][usize::try_from(number).unwrap_or(0)]);
            let desired = random_desired(&mut rng, &name, number);
            setup.add(name, desired, Quality::good());
        }
        // Labels mode or a file: one supervisor has either.
        let mut rng = Rng::stream(seed, "adopted");
        if rng.chance(250) {
            setup.adopt(&mut rng);
        } else {
            setup.depend(seed);
            let mut rng = Rng::stream(seed, "pods");
            if rng.chance(400) {
                setup.give_pods(&mut rng);
            }
            setup.bring_proxies(&mut Rng::stream(seed, "proxies"));
        }
        setup
    }

    /// Every service becomes a unit whose first container docker compose made.
    pub(super) fn adopt(&mut self, rng: &mut Rng) {
        // What docker compose made has its ports and its names itself.
        self.wanted.retain(|name, _| name.pod_part().is_none());
        for (name, desired) in &mut self.wanted {
            desired.adopted = Some(Adopted {
                name: original_name(name),
                service: name.clone(),
                definition: SpecHash::new(""),
            });
            desired.pod.clear();
            desired.replicas = 1;
            desired.phoenix.surge = u32::from(rng.chance(600));
            desired.phoenix.overdue = Overdue::Keep;
            // Only a file says what a service depends on.
            desired.depends_on.clear();
        }
    }

    /// Adds a service with everything that it needs.
    pub(super) fn add(&mut self, name: ServiceName, desired: Desired, quality: Quality) {
        for network in &desired.networks {
            let spec = network_spec(network, !desired.makes_networks.contains(network));
            self.networks.insert(network.clone(), spec);
        }
        for volume in &desired.makes_volumes {
            self.volumes.insert(volume.clone(), volume_spec(volume));
        }
        self.qualities.insert(desired.spec_hash.clone(), quality);
        self.wanted.insert(name, desired);
    }

    /// Whether docker compose made its first container.
    pub(super) fn is_adopted(&self, service: &ServiceName) -> bool {
        self.wanted
            .get(service)
            .is_some_and(|desired| desired.adopted.is_some())
    }

    /// What actions refer to by name.
    pub(super) fn catalog(&self) -> Catalog {
        let container = |desired: &Desired| {
            let mut spec = ContainerSpec::of_image(ImageRef::new(super::engine::IMAGE));
            let attachment = |network: &NetworkName| Attachment {
                network: network.clone(),
                aliases: Vec::new(),
                ipv4: None,
                ipv6: None,
                link_local_ips: Vec::new(),
                driver_opts: BTreeMap::new(),
                gw_priority: None,
            };
            spec.network = NetworkMode::Networks(desired.networks.iter().map(attachment).collect());
            spec.on_ready = desired.on_ready.as_ref().map(attachment);
            spec.stop_grace = desired.stop_grace;
            if let Some(adopted) = &desired.adopted {
                let marks = Value::map_of([("name", Value::text(adopted.name.clone()))]);
                spec.labels.insert(ADOPTED.to_owned(), write_value(&marks));
            }
            spec.files = vec![file_of(&desired.spec_hash)];
            Arc::new(spec)
        };
        Catalog {
            project: self.project.clone(),
            containers: self
                .wanted
                .iter()
                .map(|(name, desired)| (name.clone(), container(desired)))
                .collect(),
            networks: self.networks.clone(),
            volumes: self.volumes.clone(),
        }
    }
}

/// How the container of docker compose is called; no serial makes this name.
pub(super) fn original_name(service: &ServiceName) -> String {
    format!("sim_{service}_original")
}

impl Quality {
    /// Serves after a third of a second, ends when it is told to.
    pub(super) fn good() -> Self {
        Self {
            warm_up: (Duration::from_millis(20), Duration::from_millis(350)),
            shut_down: (Duration::from_millis(5), Duration::from_millis(300)),
            fault: None,
        }
    }
}

fn random_desired(rng: &mut Rng, name: &ServiceName, number: u64) -> Desired {
    let ttl = Duration::from_secs(rng.one([120, 300, 600, 1800, 7200]));
    let port = 8000 + u16::try_from(number).unwrap_or(0);
    let target = 80;
    let probe = match rng.below(10) {
        0 => Probe::Docker,
        1 => Probe::Running,
        2..5 => Probe::Tcp { port: target },
        _ => Probe::Http {
            path: "/healthz".to_owned(),
            port: target,
        },
    };
    let own = NetworkName::new("sim_default");
    let shared = NetworkName::new("shared");
    let mut networks = vec![own.clone()];
    if rng.chance(300) {
        networks.push(shared);
    }
    let volume = rng
        .chance(300)
        .then(|| VolumeName::new(format!("sim_{name}")));
    // A probe that asks nothing knows nothing of a service: such a one is a worker without ports.
    let published = (probe != Probe::Running).then_some(Published {
        host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host_port: port,
        target,
        transport: Transport::Tcp,
    });
    Desired {
        replicas: u32::try_from(rng.one([1, 1, 1, 2, 2, 3, 5])).unwrap_or(1),
        spec_hash: SpecHash::new(format!("{name}@1")),
        image: ImageId::new("sha256:0"),
        phoenix: Phoenix {
            ttl,
            jitter: rng.one([
                Jitter::Permille(0),
                Jitter::Permille(100),
                Jitter::Permille(300),
                Jitter::Span(Duration::from_secs(10)),
            ]),
            probe: ProbeSetting {
                interval: Duration::from_secs(rng.one([1, 2, 5])),
                successes: u32::try_from(1 + rng.below(3)).unwrap_or(1),
                failures: u32::try_from(1 + rng.below(3)).unwrap_or(1),
                min_ready: Duration::from_secs(rng.one([0, 0, 1, 3])),
                deadline: Duration::from_secs(rng.one([10, 30])),
                ..ProbeSetting::default()
            },
            drain: Duration::from_secs(rng.one([0, 1, 3])),
            surge: u32::try_from(rng.one([1, 1, 1, 1, 2, 3, 0])).unwrap_or(1),
            overdue: rng.one([Overdue::Keep, Overdue::Keep, Overdue::Stop]),
            backoff: Backoff {
                base: Duration::from_secs(1),
                cap: Duration::from_secs(rng.one([10, 60])),
                budget: u32::try_from(rng.one([3, 10])).unwrap_or(3),
            },
            ..Phoenix::default()
        },
        probe,
        policy: Policy::STRICT,
        stop_grace: Duration::from_secs(rng.one([1, 2, 5])),
        published: published.into_iter().collect(),
        pod: BTreeSet::new(),
        on_ready: None,
        makes_networks: BTreeSet::from([own]),
        networks,
        makes_volumes: volume.into_iter().collect(),
        adopted: None,
        depends_on: BTreeMap::new(),
        files: BTreeSet::new(),
    }
}

/// The secret of whatever is born from this.
pub(super) fn file_of(hash: &SpecHash) -> FileMount {
    let mut hasher = DefaultHasher::new();
    hash.hash(&mut hasher);
    let digest = hasher.finish();
    FileMount {
        kind: FileKind::Secret,
        name: "pw".to_owned(),
        target: "/run/secrets/pw".to_owned(),
        mode: 0o444,
        uid: None,
        gid: None,
        content: Content::new(hash.as_str().as_bytes()),
        path: Some(format!("/sim/files/{:012x}/{digest:032x}", 0)),
    }
}

pub(super) fn network_spec(name: &NetworkName, external: bool) -> NetworkSpec {
    NetworkSpec {
        key: name.as_str().to_owned(),
        name: name.clone(),
        external,
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

fn volume_spec(name: &VolumeName) -> VolumeSpec {
    VolumeSpec {
        key: name.as_str().to_owned(),
        name: name.clone(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        place: None,
    }
}
