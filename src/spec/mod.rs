//! What the operator wants, validated; the words of the domain.
//!
//! Plain data and pure functions. Nothing here reads a file, a clock or a socket, and nothing knows Docker's wire
//! format (`docker`) or YAML (`compose`).

mod block_io;
mod build;
mod compose_marks;
mod container;
mod depends;
mod diagnostic;
mod files;
mod forwarding;
mod harden;
mod host_path;
mod names;
mod phoenix;
mod policy;
mod project;
mod pull;
mod readiness;
mod taints;
mod units;

pub use block_io::{BlockIo, DeviceRate, DeviceWeight};
pub use build::{Beyond, Build, BuildContext, Dockerfile};
pub use compose_marks::ComposeMarks;
pub use container::{
    Attachment, ContainerSpec, HealthTest, Healthcheck, INTERFACE_NAME, Logging, Mount,
    MountSource, NetworkMode, Recursive, TmpfsMount, Ulimit,
};
pub use depends::{BornAfter, Condition, Dependency, Incarnation, RunBy};
pub use diagnostic::{Diagnostic, Place, Severity, has_errors};
pub use files::{Content, FileKind, FileMount};
pub use forwarding::{Balance, Edge, EdgeProtocol, Forwarding, ProxyProtocol, READY_NETWORK, Rate};
pub use harden::{Finding, FindingKind, ImageFacts, Resolved, resolve};
pub use host_path::{ENGINE_SOCKETS, host_path_refusal, is_within, normalize};
pub use names::{
    ContainerId, FileDigest, Generation, ImageId, ImageRef, NetworkName, PodPart, ProjectName,
    ReplicaName, Serial, ServiceName, SpecHash, VolumeName,
};
pub use phoenix::{
    Allow, Backoff, Jitter, Lifetime, Overdue, Phoenix, Probe, ProbeKind, ProbeSetting, Reach,
    STARTING_ESTIMATE, Timing,
};
pub use policy::{KernelFacts, Policy, Weakness, capability_bit};
pub use project::{IpamPool, NetworkSpec, Others, Project, Published, Service, VolumeSpec};
pub use pull::PullPolicy;
pub use taints::{Declared, Listen, OnTaint, Peers, Transport};
pub use units::{ByteSizeError, GoDurationError, byte_size, go_duration};
