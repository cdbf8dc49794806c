//! The pods of a project: which services have one, and what its two containers are made from.
//!
//! A service has a pod of its own when it is reached by a port that is known. The pause takes the service's published ports,
//! its names and its fixed addresses; its replicas are then reached through the edge alone. Both containers are hardened as
//! strictly as any replica, and from phoenixd's own image.
//!
//! Not here: when they are born and replaced (`reconcile`), and how edges are spoken with (`edges`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::files::digits;
use super::{Catalog, ResolvedProject};
use crate::docker;
use crate::edge::control::has_room;
use crate::own_image::Purpose;
use crate::reconcile::Desired;
use crate::spec::{
    Attachment, Condition, ContainerSpec, Dependency, Edge, ImageId, ImageRef, Listen, Mount,
    MountSource, NetworkMode, Phoenix, PodPart, Policy, Probe, ProbeSetting, ProjectName, Reach,
    Recursive, Resolved, RunBy, ServiceName, Transport, Ulimit,
};

/// The image of both containers.
pub const POD_IMAGE: Purpose = Purpose {
    name: "phoenixd-pod",
    label: "pod",
    argument: None,
    port: None,
};

/// What a pause is made from besides its ports, names and networks. A new phoenixd does not change it: with the pause its
/// address would go. Another number does.
const PAUSE: &str = "phoenixd-pause-1";
/// Nothing of a pause's life is bounded: it ends with its service, or when what it holds changes.
const PAUSE_TTL: Duration = Duration::from_hours(24 * 365 * 100);
/// Processes of a pause: the one, and what the runtime needs while it starts.
const PAUSE_PIDS: i64 = 8;
/// It sleeps, in some megabytes.
const PAUSE_MEMORY_BYTES: i64 = 32 << 20;
/// A program's threads.
const EDGE_PIDS: i64 = 64;
/// 10,000 connections take less than 150 MB.
const EDGE_MEMORY_BYTES: i64 = 512 << 20;
/// Two for each connection. Below the hard limit of small hosts, where asking for more makes the start fail.
const EDGE_FILES: Ulimit = Ulimit {
    soft: 16_384,
    hard: 16_384,
};
/// Of the grace that an edge has for open connections, so much is left for ending the rest and saying how many.
const LAST_WORD: Duration = Duration::from_secs(1);
/// An edge that starts is there within a second; a busy host needs longer.
const EDGE_READY: Duration = Duration::from_secs(30);
/// Of the directory of control sockets.
const SOCKETS_MODE: u32 = 0o770;
/// Hexadecimal digits of the engine's id in a directory's name: the path of a socket has at most 107 bytes.
const ENGINE_DIGITS: usize = 6;
/// The same for a service whose name is too long for that.
const SERVICE_DIGITS: usize = 8;

/// Where the edges of a project are, and what they are made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodGround {
    /// The image's name.
    pub image: ImageRef,
    /// What it leads to.
    pub image_id: ImageId,
    /// The numbers of user and group that edges run as; they own the directories of the control sockets.
    pub user: (u32, u32),
    /// Where these are.
    pub sockets: EdgeSockets,
}

/// The directories of the control sockets, one for each pod: `BASE/PROJECT/edge/ENGINE-SERVICE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeSockets {
    directory: PathBuf,
    engine: String,
}

/// The two containers of one service's pod.
#[derive(Clone, PartialEq, Debug)]
pub struct Pod {
    pause: ContainerSpec,
    edge: ContainerSpec,
    ports: BTreeSet<Listen>,
}

impl EdgeSockets {
    /// Below a directory which nobody else may write to. `engine` is the engine's own id: a project may run on two of them.
    ///
    /// # Errors
    /// The directory is relative, and the working directory is not to be had.
    pub fn new(base: &Path, project: &ProjectName, engine: &str) -> io::Result<Self> {
        let directory = std::path::absolute(base)?;
        Ok(Self {
            directory: directory.join(project.as_str()).join("edge"),
            engine: digits(engine, ENGINE_DIGITS),
        })
    }

    /// Whether the paths of the sockets are so short that the kernel takes them, whatever a service is called.
    pub fn have_room(&self) -> bool {
        has_room(&self.numbered(""))
    }

    /// Where those of all pods of the project are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of one service's pod.
    pub fn of(&self, service: &ServiceName) -> PathBuf {
        let named = self.directory.join(format!("{}-{service}", self.engine));
        if has_room(&named) {
            return named;
        }
        self.numbered(service.as_str())
    }

    fn numbered(&self, service: &str) -> PathBuf {
        let service = digits(service, SERVICE_DIGITS);
        self.directory.join(format!("{}-{service}", self.engine))
    }

    /// Makes the directory of one service's pod, for this user and for phoenixd's own group: root without a capability may
    /// enter no directory of somebody else's.
    pub(super) fn make(&self, service: &ServiceName, uid: u32) -> io::Result<()> {
        let directory = self.of(service);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&directory)?;
        let there = directory.metadata()?;
        // Whoever has given it away may change it no more.
        if there.uid() == uid && there.mode() & 0o7777 == SOCKETS_MODE {
            return Ok(());
        }
        std::fs::set_permissions(&directory, Permissions::from_mode(SOCKETS_MODE))?;
        std::os::unix::fs::chown(&directory, Some(uid), None)
    }

    /// Removes what this engine's pods had, with what is left in it.
    pub(super) fn remove(&self) {
        let entries = std::fs::read_dir(&self.directory);
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name
                .to_string_lossy()
                .starts_with(&format!("{}-", self.engine))
            {
                std::fs::remove_dir_all(entry.path()).unwrap_or_default();
            }
        }
        // As far as they are empty: another engine's may be beside, and copies of secrets.
        let parents = self.directory.ancestors().take(2);
        for parent in parents {
            if std::fs::remove_dir(parent).is_err() {
                return;
            }
        }
    }
}

impl ResolvedProject {
    /// Gives every service that is reached by known ports a pod.
    pub fn place_pods(&mut self, ground: PodGround) {
        for (name, resolved) in &mut self.services {
            let ports = known_ports(resolved);
            // Where phoenixd forwards nothing, the names are the replicas'.
            let Edge::Forward(_) = resolved.service.phoenix.edge else {
                continue;
            };
            let NetworkMode::Networks(attachments) = &mut resolved.container.network else {
                continue;
            };
            if ports.is_empty() || attachments.is_empty() {
                continue;
            }
            let pod = Pod {
                pause: pause(&ground, resolved.service.published.clone(), attachments),
                edge: edge(&ground, name, resolved.container.stop_grace),
                ports,
            };
            // The name leads to the edge now, and whoever has the address has the names.
            for attachment in attachments {
                attachment.aliases.clear();
                attachment.ipv4 = None;
                attachment.ipv6 = None;
                attachment.link_local_ips.clear();
            }
            self.pods.insert(name.clone(), pod);
        }
        self.ground = Some(ground);
    }

    /// What the core wants of the pods.
    pub(super) fn wanted_of_pods(
        &self,
        wanted: &BTreeMap<ServiceName, Desired>,
    ) -> BTreeMap<ServiceName, Desired> {
        let mut all = BTreeMap::new();
        let Some(ground) = &self.ground else {
            return all;
        };
        for (name, pod) in &self.pods {
            let Some(service) = wanted.get(name) else {
                continue;
            };
            all.insert(name.pod(PodPart::Pause), wanted_pause(pod, service, ground));
            all.insert(
                name.pod(PodPart::Edge),
                wanted_edge(pod, service, ground, name),
            );
        }
        all
    }

    /// The ports by which a service is reached through its pod.
    pub(super) fn ports_of_pod(&self, service: &ServiceName) -> BTreeSet<Listen> {
        let pod = self.pods.get(service);
        pod.map(|pod| pod.ports.clone()).unwrap_or_default()
    }

    /// What actions about the pods refer to.
    pub(super) fn fill_catalog(&self, catalog: &mut Catalog) {
        for (name, pod) in &self.pods {
            for (part, spec) in [(PodPart::Pause, &pod.pause), (PodPart::Edge, &pod.edge)] {
                catalog
                    .containers
                    .insert(name.pod(part), Arc::new(spec.clone()));
            }
        }
    }
}

/// The ports that a service is known to be reached by: published, exposed by file or image, probed.
fn known_ports(resolved: &Resolved) -> BTreeSet<Listen> {
    let of = |transport| move |port| Listen { port, transport };
    let published = resolved.service.published.iter();
    let published = published.map(|port| of(port.transport)(port.target));
    let exposed = resolved.container.exposed.iter();
    let exposed = exposed.filter_map(|(port, protocol)| match &**protocol {
        "tcp" => Some(of(Transport::Tcp)(*port)),
        "udp" => Some(of(Transport::Udp)(*port)),
        _ => None,
    });
    let probed = match &resolved.probe {
        Probe::Http { port, .. } | Probe::Tcp { port } => Some(*port),
        Probe::Docker | Probe::Running | Probe::Edge => None,
    };
    let of_image = resolved.image.exposed_tcp.iter().copied();
    published
        .chain(exposed)
        .chain(of_image.chain(probed).map(of(Transport::Tcp)))
        .collect()
}

/// As hard as a replica can be.
fn hardened(ground: &PodGround, argument: &str, probe: Probe) -> ContainerSpec {
    let (uid, gid) = ground.user;
    let mut spec = ContainerSpec::of_image(ground.image.clone());
    spec.command = Some(vec![argument.to_owned()]);
    spec.user = Some(format!("{uid}:{gid}"));
    spec.read_only = Some(true);
    spec.cap_drop = vec!["ALL".to_owned()];
    spec.security_opt = vec!["no-new-privileges:true".to_owned()];
    spec.ipc = Some("private".to_owned());
    spec.cgroup = Some("private".to_owned());
    spec.ulimits = [("core".to_owned(), Ulimit { soft: 0, hard: 0 })].into();
    spec.reach = Some(Reach {
        probe,
        published: Vec::new(),
        policy: Policy::STRICT,
    });
    spec
}

fn pause(
    ground: &PodGround,
    published: Vec<crate::spec::Published>,
    attachments: &[Attachment],
) -> ContainerSpec {
    let mut spec = hardened(ground, "pause", Probe::Running);
    spec.network = NetworkMode::Networks(attachments.to_vec());
    spec.pids_limit = Some(PAUSE_PIDS);
    spec.memory_bytes = Some(PAUSE_MEMORY_BYTES);
    // Its edges have no capability, and may listen on the ports that the replicas have.
    spec.sysctls = [(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "0".to_owned(),
    )]
    .into();
    // It has nothing to end, and so takes no signal.
    spec.stop_signal = Some("SIGKILL".to_owned());
    spec.stop_grace = Duration::from_secs(1);
    spec.exposed = published
        .iter()
        .map(|port| (port.target, port.transport.name().to_owned()))
        .collect();
    if let Some(reach) = &mut spec.reach {
        reach.published.clone_from(&published);
    }
    spec.publishes = published;
    spec
}

fn edge(ground: &PodGround, service: &ServiceName, stop_grace: Duration) -> ContainerSpec {
    let mut spec = hardened(ground, "edge", Probe::Edge);
    let directory = ground.sockets.of(service).display().to_string();
    let drain = humantime::format_duration(stop_grace.saturating_sub(LAST_WORD)).to_string();
    let flags = [
        "--dir".to_owned(),
        directory.clone(),
        "--drain".to_owned(),
        drain,
    ];
    spec.command.get_or_insert_default().extend(flags);
    spec.network = NetworkMode::Pod;
    spec.pids_limit = Some(EDGE_PIDS);
    spec.memory_bytes = Some(EDGE_MEMORY_BYTES);
    spec.ulimits.insert("nofile".to_owned(), EDGE_FILES);
    spec.stop_grace = stop_grace;
    spec.mounts = vec![Mount {
        source: MountSource::Bind {
            path: directory.clone(),
            create: false,
            selinux: None,
            propagation: Some("rprivate".to_owned()),
            recursive: Recursive::Enabled,
        },
        target: directory,
        read_only: false,
        consistency: None,
    }];
    spec
}

/// Everything of it that is not its own is the service's.
fn wanted_pause(pod: &Pod, service: &Desired, ground: &PodGround) -> Desired {
    let mut hashed = pod.pause.clone();
    hashed.image = ImageRef::new(PAUSE);
    Desired {
        replicas: u32::from(service.replicas > 0),
        spec_hash: docker::spec_hash(&hashed, &ImageId::new(PAUSE)),
        image: ground.image_id.clone(),
        phoenix: Phoenix {
            ttl: PAUSE_TTL,
            // The ports and the address can be had only once.
            surge: 0,
            drain: Duration::ZERO,
            ..of_a_pod()
        },
        probe: Probe::Running,
        policy: Policy::STRICT,
        stop_grace: pod.pause.stop_grace,
        published: Vec::new(),
        pod: BTreeSet::new(),
        networks: service.networks.clone(),
        on_ready: None,
        makes_networks: service.makes_networks.clone(),
        makes_volumes: BTreeSet::new(),
        adopted: None,
        depends_on: BTreeMap::new(),
        files: BTreeSet::new(),
    }
}

fn wanted_edge(pod: &Pod, service: &Desired, ground: &PodGround, name: &ServiceName) -> Desired {
    let on_pause = Dependency {
        condition: Condition::Started,
        restart: false,
        required: true,
        run_by: RunBy::Phoenixd,
    };
    Desired {
        replicas: u32::from(service.replicas > 0),
        spec_hash: docker::spec_hash(&pod.edge, &ground.image_id),
        image: ground.image_id.clone(),
        phoenix: Phoenix {
            surge: 1,
            drain: service.phoenix.drain,
            ..of_a_pod()
        },
        probe: Probe::Edge,
        policy: Policy::STRICT,
        stop_grace: pod.edge.stop_grace,
        published: Vec::new(),
        pod: BTreeSet::new(),
        networks: Vec::new(),
        on_ready: None,
        makes_networks: BTreeSet::new(),
        makes_volumes: BTreeSet::new(),
        adopted: None,
        depends_on: [(name.pod(PodPart::Pause), on_pause)].into(),
        files: BTreeSet::new(),
    }
}

fn of_a_pod() -> Phoenix {
    let probe = ProbeSetting {
        successes: 1,
        deadline: EDGE_READY,
        ..ProbeSetting::default()
    };
    Phoenix {
        probe,
        ..Phoenix::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_any_name_has_sockets_that_the_kernel_takes() {
        let long = ServiceName::new("authentication-gateway-for-partners-of-all-regions");
        let project = ProjectName::new("phoenixd-conformance-suite");
        let sockets = |base: &str| EdgeSockets::new(Path::new(base), &project, "E").unwrap();
        let usual = sockets("/home/developer/.local/state/phoenixd");
        assert!(usual.have_room());
        let (of_long, of_web) = (usual.of(&long), usual.of(&ServiceName::new("web")));
        assert!(of_web.ends_with(format!("edge/{}-web", usual.engine)));
        assert!(has_room(&of_long), "{}", of_long.display());
        assert_ne!(of_long, usual.of(&ServiceName::new(format!("{long}-2"))));
        let deep = format!("/srv/{}", "d".repeat(60));
        assert!(!sockets(&deep).have_room());
    }
}
