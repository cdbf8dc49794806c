//! What Docker was last seen to run: a container as inspection, labels and the kernel tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Time;
use crate::spec::{
    BornAfter, ContainerId, FileDigest, Generation, ImageId, KernelFacts, NetworkName, Reach,
    ReplicaName, Serial, ServiceName, SpecHash, VolumeName,
};

/// One container that carries the project's label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without the slash.
    pub name: String,
    /// What its labels say; `None` when they are incomplete or malformed: it is then a stray.
    pub identity: Option<Identity>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The image that it was made from.
    pub image: ImageId,
    /// Docker's own health status.
    pub health: Health,
    /// What Docker's own health check executes in it; `None` where it checks nothing.
    pub health_exec: Option<HealthExec>,
    /// When its process began: from `/proc/PID/stat` where that is the engine's host, else from Docker's `StartedAt`.
    /// `None` when it does not run.
    pub started: Option<Time>,
    /// It had ended before that process began, so that somebody started it again: when it was made. `None` for one in its
    /// first life, which is the only one that a replica is to have.
    pub second_life: Option<Time>,
    /// What the kernel says about its process 1.
    pub kernel: Kernel,
    /// The hardening that the engine says it was made with.
    pub asked: Asked,
    /// The copies of secrets and configs that it mounts.
    pub files: BTreeSet<FileDigest>,
    /// The networks that it is attached to, with its address there once it runs.
    pub networks: BTreeMap<NetworkName, Option<IpAddr>>,
    /// The container whose network namespace it joined.
    pub joined: Option<ContainerId>,
}

/// What Docker's own health check executes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthExec {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The last of them is a script for a shell.
    pub shell: bool,
    /// As which user: the container's own, as it was made with; may be empty.
    pub user: String,
}

/// A replica's labels, immutable since its create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Service and serial.
    pub replica: ReplicaName,
    /// The revision of the service's definition.
    pub generation: Generation,
    /// What it was born from.
    pub spec_hash: SpecHash,
    /// How it is reached; `None` where its labels do not say: then as its service is now.
    pub reach: Option<Reach>,
    /// The name of docker compose's container whose place it took, which is handed on to it; empty where its label does not
    /// say. `None` for a replica of a service of a file.
    pub adopted: Option<String>,
    /// Which one of each dependency it was born after; without those that its labels do not tell of.
    pub born_after: BornAfter,
}

/// Where a container is in its life, as Docker has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// Docker restarts it; cannot happen to a replica, whose policy is `no`.
    Restarting,
    /// It ended.
    Exited {
        /// Exit code; 128 + N for a signal.
        code: i64,
        /// The kernel killed it for memory.
        oom: bool,
        /// The engine's error, where the start failed.
        error: String,
    },
    /// It is being removed.
    Removing,
    /// A removal failed half-way.
    Dead,
}

/// Docker's own health status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// No health check.
    None,
    /// Not known yet.
    Starting,
    /// The last checks passed.
    Healthy,
    /// Too many failed.
    Unhealthy,
}

/// What the kernel says about a replica's process 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// It does not run, or ended while it was read.
    NotRunning,
    /// This `/proc` is not the engine's host: phoenixd cannot verify, and says so.
    Unavailable,
    /// Read.
    Read {
        /// The facts.
        facts: KernelFacts,
        /// When they were read. Right after a start the process may still be the runtime, not yet the program.
        at: Time,
    },
}

/// The hardening that the engine says a container was made with. An engine drops fields silently that its API version
/// does not know, so what was asked for is compared with this before the start.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the engine's answer"
)]
pub struct Asked {
    /// `HostConfig.Privileged`
    pub privileged: bool,
    /// `HostConfig.ReadonlyRootfs`
    pub read_only: bool,
    /// `HostConfig.CapDrop` holds `ALL`, or every capability by name.
    pub cap_drop_all: bool,
    /// `HostConfig.SecurityOpt` holds `no-new-privileges`.
    pub no_new_privs: bool,
    /// Any of the namespaces is the host's or another container's, but for the network's that is in [`Observed::joined`].
    pub foreign_namespace: bool,
    /// `HostConfig.RestartPolicy` is `no`.
    pub never_restarts: bool,
    /// `HostConfig.PidsLimit` is a limit.
    pub pids_limited: bool,
    /// `HostConfig.Memory` is a limit.
    pub memory_limited: bool,
    /// `HostConfig.Mounts` has every secret and config read-only.
    pub files_read_only: bool,
}

/// Everything of the project that the engine has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// The containers that carry the project's label.
    pub containers: Vec<Observed>,
    /// Those of them about which the engine does not answer, although it does otherwise.
    pub silent: BTreeSet<ContainerId>,
    /// The networks of the project: those that the services need, and those that carry our label.
    pub networks: BTreeSet<NetworkSeen>,
    /// The volumes likewise.
    pub volumes: BTreeSet<VolumeSeen>,
    /// The containers of services that docker compose runs and a phoenix depends on.
    pub dependencies: Vec<DependencySeen>,
    /// What is beside the project; nothing where no guard has to know.
    pub beside: Arc<Beside>,
}

/// What the engine has beside the project, for the guard of the host: nothing that is planned follows from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// All containers, by id; ours are among them.
    pub containers: BTreeMap<ContainerId, Neighbour>,
    /// The ids of all networks, by name: two may have one.
    pub networks: BTreeMap<NetworkName, BTreeSet<String>>,
}

/// Whose company a container was made for. But for its name and its networks that does not change while it is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbour {
    /// Its name, which may change.
    pub name: String,
    /// The containers, by name or id, whose namespaces, volumes or links it has when it runs.
    pub joins: BTreeSet<String>,
    /// The named volumes that it mounts.
    pub volumes: BTreeSet<VolumeName>,
    /// The networks that it is on, or will be when it runs, which may change.
    pub networks: BTreeSet<NetworkName>,
}

/// A container of a service that docker compose runs and a phoenix depends on. It is only looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DependencySeen {
    /// Its id.
    pub id: ContainerId,
    /// Of which service it is.
    pub service: ServiceName,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Docker's own health status.
    pub health: Health,
    /// When its process began or ended; `None` where it did neither.
    pub since: Option<Time>,
    /// The engine starts it again whenever it ends (`restart: always`, `unless-stopped`): one that does not run was stopped.
    pub restarts: bool,
}

/// A network that exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NetworkSeen {
    /// Its name.
    pub name: NetworkName,
    /// phoenixd made it for this project.
    pub ours: bool,
}

/// A volume that exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VolumeSeen {
    /// Its name.
    pub name: VolumeName,
    /// phoenixd made it for this project.
    pub ours: bool,
}

impl Observed {
    /// Whether it is an original: a container of docker compose that is to be replaced by a replica of its unit.
    pub fn is_original(&self) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|identity| identity.replica.is_original())
    }
}

impl Identity {
    /// That of an original: it was born from what docker compose knows, told by its hash.
    pub fn of_original(unit: ServiceName, definition: SpecHash) -> Self {
        Self {
            replica: ReplicaName::new(unit, Serial::ORIGINAL),
            generation: Generation(0),
            spec_hash: definition,
            reach: None,
            adopted: None,
            born_after: BornAfter::default(),
        }
    }
}

impl ContainerState {
    /// Its name in the journal: Docker's own.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited { .. } => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// Its process exists, or is about to.
    pub fn is_live(&self) -> bool {
        match self {
            Self::Created | Self::Running | Self::Paused | Self::Restarting => true,
            Self::Exited { .. } | Self::Removing | Self::Dead => false,
        }
    }
}
