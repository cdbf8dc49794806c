//! A container's definition, resolved: every field that reaches the create body, in our own types.
//!
//! Not here: which of the fields are forced or refused (`harden`), and how they are written on the wire (`docker`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{
    BlockIo, ComposeMarks, FileMount, ImageId, ImageRef, NetworkName, Published, Reach, VolumeName,
};

/// One container's definition. `None` and empty mean "as the image or the engine has it".
#[derive(Clone, PartialEq, Debug)]
pub struct ContainerSpec {
    /// The image, as the file names it.
    pub image: ImageRef,
    /// Overrides the image's `CMD`.
    pub command: Option<Vec<String>>,
    /// Overrides the image's `ENTRYPOINT`; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Variables; `None` unsets one that the image sets (sent as a bare name).
    pub environment: BTreeMap<String, Option<String>>,
    /// `user`, `user:group`, or numbers.
    pub user: Option<String>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Host name inside the container.
    pub hostname: Option<String>,
    /// Domain name inside the container.
    pub domainname: Option<String>,
    /// The user's own labels. phoenixd's are added by `docker`.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations (API 1.43 and later).
    pub annotations: BTreeMap<String, String>,
    /// Signal of the first stop request.
    pub stop_signal: Option<String>,
    /// How long the process may take to end after `stop_signal`, then SIGKILL. Docker takes whole seconds.
    pub stop_grace: Duration,
    /// The file's health check; the image's own is used where this is `None`.
    pub healthcheck: Option<Healthcheck>,
    /// Volumes and bind mounts.
    pub mounts: Vec<Mount>,
    /// tmpfs mounts.
    pub tmpfs: Vec<TmpfsMount>,
    /// Secrets and configs, mounted read-only.
    pub files: Vec<FileMount>,
    /// How it is attached to the network.
    pub network: NetworkMode,
    /// A network on which it is only while it is ready.
    pub on_ready: Option<Attachment>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// DNS resolver options.
    pub dns_opt: Vec<String>,
    /// Lines of `/etc/hosts`: `name:address`.
    pub extra_hosts: Vec<String>,
    /// Container ports that the file names in `expose:` or as targets of `ports:`, as `(number, protocol)`.
    pub exposed: BTreeSet<(u16, String)>,
    /// Resource limits of processes, by Docker's names (`nofile`, `core`).
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Run Docker's init as process 1.
    pub init: Option<bool>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size_bytes: Option<i64>,
    /// Largest number of processes.
    pub pids_limit: Option<i64>,
    /// Memory limit in bytes.
    pub memory_bytes: Option<i64>,
    /// Memory that is kept for the container under pressure, in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together, in bytes; -1 means no limit of swap.
    pub memory_swap_bytes: Option<i64>,
    /// How readily memory is swapped, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// CPU limit in billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative CPU weight.
    pub cpu_shares: Option<i64>,
    /// CPU time per period, microseconds.
    pub cpu_quota: Option<i64>,
    /// Length of the period, microseconds.
    pub cpu_period: Option<i64>,
    /// Which CPUs (`0-1,3`).
    pub cpuset: Option<String>,
    /// Number of CPUs; only an engine on Windows acts on it.
    pub cpu_count: Option<i64>,
    /// Part of all CPUs, in hundredths of a percent, 0 to 10000; only an engine on Windows acts on it.
    pub cpu_percent: Option<i64>,
    /// Length of the period of real-time scheduling, microseconds.
    pub cpu_rt_period: Option<i64>,
    /// Real-time scheduling per period, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// Weights and limits of block devices.
    pub block_io: Option<BlockIo>,
    /// Adjustment of the kernel's choice when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// Log driver; the engine's default where `None`.
    pub logging: Option<Logging>,
    /// Read-only root.
    pub read_only: Option<bool>,
    /// Capabilities added to none.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Security options as Docker writes them (`no-new-privileges:true`, `seccomp=…`).
    pub security_opt: Vec<String>,
    /// OCI runtime (`runsc`); the engine's default where `None`.
    pub runtime: Option<String>,
    /// `os/arch[/variant]` of the image.
    pub platform: Option<String>,
    /// IPC namespace: always `private` after hardening; every other one is refused.
    pub ipc: Option<String>,
    /// cgroup namespace: `private`; `host` is refused.
    pub cgroup: Option<String>,
    /// Options of the storage driver.
    pub storage_opt: BTreeMap<String, String>,
    /// How a replica is reached; set by hardening, and kept in its labels.
    pub reach: Option<Reach>,
    /// Tell the container which replica it is: `PHOENIXD_REPLICA`, `PHOENIXD_SERIAL`, `PHOENIXD_GENERATION`.
    pub identity: bool,
    /// The ports of the host that lead to it: a pod's, and nobody else's.
    pub publishes: Vec<Published>,
    /// What docker compose is told of its replicas; no part of what they are born from.
    pub compose: Option<ComposeMarks>,
}

impl ContainerSpec {
    /// A container of the image with everything else as the image and the engine have it, and Compose's default
    /// grace of 10 s (Compose Specification, `stop_grace_period`).
    pub fn of_image(image: ImageRef) -> Self {
        Self {
            image,
            command: None,
            entrypoint: None,
            environment: BTreeMap::new(),
            user: None,
            group_add: Vec::new(),
            working_dir: None,
            hostname: None,
            domainname: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            stop_signal: None,
            stop_grace: Duration::from_secs(10),
            healthcheck: None,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            files: Vec::new(),
            network: NetworkMode::Networks(Vec::new()),
            on_ready: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_opt: Vec::new(),
            extra_hosts: Vec::new(),
            exposed: BTreeSet::new(),
            ulimits: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            init: None,
            shm_size_bytes: None,
            pids_limit: None,
            memory_bytes: None,
            memory_reservation_bytes: None,
            memory_swap_bytes: None,
            memory_swappiness: None,
            nano_cpus: None,
            cpu_shares: None,
            cpu_quota: None,
            cpu_period: None,
            cpuset: None,
            cpu_count: None,
            cpu_percent: None,
            cpu_rt_period: None,
            cpu_rt_runtime: None,
            block_io: None,
            oom_score_adj: None,
            logging: None,
            read_only: None,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            runtime: None,
            platform: None,
            ipc: None,
            cgroup: None,
            storage_opt: BTreeMap::new(),
            reach: None,
            identity: false,
            publishes: Vec::new(),
            compose: None,
        }
    }

    /// Every network that it is ever attached to.
    pub fn all_attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments().iter().chain(&self.on_ready)
    }

    /// The networks it is attached to, the first one at create; empty for `none`.
    pub fn attachments(&self) -> &[Attachment] {
        match &self.network {
            NetworkMode::None | NetworkMode::Pod => &[],
            NetworkMode::Networks(attachments) => attachments,
        }
    }
}

/// How a container is attached to the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// These networks, in order of priority; the first is given at create.
    Networks(Vec<Attachment>),
    /// That of its pod: which container's that is, is known when it is born.
    Pod,
}

/// A container's place on one network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The network's name on the engine.
    pub network: NetworkName,
    /// Further names that resolve to the container on this network; the service's name is among them.
    pub aliases: Vec<String>,
    /// A fixed IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local addresses.
    pub link_local_ips: Vec<IpAddr>,
    /// Options of the network driver. The name of the interface is one of them ([`INTERFACE_NAME`]).
    pub driver_opts: BTreeMap<String, String>,
    /// The network with the highest number has the default gateway (API 1.48 and later).
    pub gw_priority: Option<i64>,
}

/// The option that names the interface (docker/compose v2.40.3, `pkg/compose/create.go`; API 1.49 and later).
pub const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// A volume, a bind mount or an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// How fast changes have to be seen on both sides; Docker Desktop alone acted on it.
    pub consistency: Option<String>,
}

/// What is mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountSource {
    /// A directory or file of the host.
    Bind {
        /// Absolute path on the engine's host.
        path: String,
        /// Make a directory there if there is nothing (Compose's short syntax and `create_host_path`).
        create: bool,
        /// `SELinux` relabelling: `z` or `Z`.
        selinux: Option<String>,
        /// `rprivate`, `private`, `rslave`, `slave`, `rshared`, `shared`; harden forces `rprivate`.
        propagation: Option<String>,
        /// What becomes of mounts below the path.
        recursive: Recursive,
    },
    /// A named volume.
    Volume {
        /// Its name on the engine.
        name: VolumeName,
        /// Do not copy the image's files into an empty volume.
        nocopy: bool,
        /// A directory inside the volume (API 1.45 and later).
        subpath: Option<String>,
        /// Labels of the volume, if this mount makes it.
        labels: BTreeMap<String, String>,
    },
    /// A volume without a name: born and removed with the container.
    Anonymous {
        /// Do not copy the image's files into it.
        nocopy: bool,
        /// Its labels.
        labels: BTreeMap<String, String>,
    },
    /// The files of an image, always read-only (API 1.48 and later).
    Image {
        /// As the file names it.
        image: ImageRef,
        /// What the name led to when the project was resolved, so that all replicas of a generation see the same.
        id: Option<ImageId>,
        /// A directory inside the image.
        subpath: Option<String>,
    },
}

/// What becomes of the mounts below the path of a bind mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recursive {
    /// They are mounted as well, read-only where the kernel can do that and the mount is read-only.
    #[default]
    Enabled,
    /// They are not mounted.
    Disabled,
    /// They stay writable below a read-only mount (API 1.44 and later).
    Writable,
    /// They are read-only below a read-only mount, or the start fails (API 1.44 and later).
    Readonly,
}

/// A tmpfs mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TmpfsMount {
    /// Absolute path in the container.
    pub target: String,
    /// Mount options as in `tmpfs: ["/run:size=64m,mode=1770"]`, without those that harden forces.
    pub options: Vec<String>,
}

/// A limit of one resource of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ulimit {
    /// What a process has.
    pub soft: i64,
    /// How far it may raise it.
    pub hard: i64,
}

/// A log driver with its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    /// The driver's name; `None` for options of the engine's default driver.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Docker's own health check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Healthcheck {
    /// What is run.
    pub test: HealthTest,
    /// Between probes.
    pub interval: Option<Duration>,
    /// For one probe.
    pub timeout: Option<Duration>,
    /// Failures until unhealthy.
    pub retries: Option<i64>,
    /// Failures that do not count after the start.
    pub start_period: Option<Duration>,
    /// Between probes in the start period (API 1.44 and later; an older engine drops it silently).
    pub start_interval: Option<Duration>,
}

/// What Docker's health check runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HealthTest {
    /// As the image has it; only the times are given.
    Inherit,
    /// Switched off (`NONE`, `disable: true`).
    None,
    /// Run as it stands.
    Cmd(Vec<String>),
    /// Run by the container's shell.
    CmdShell(String),
}
