//! What the operator wants, validated; the words of the domain.
//!
//! Plain data and pure functions. Nothing here reads a file, a clock or a socket, and nothing knows Docker's wire
//! format (`docker`) or YAML (`compose`).

mod container;
mod diagnostic;
mod harden;
mod host_path;
mod names;
mod phoenix;
mod policy;
mod project;
mod readiness;
mod units;

pub use container::{
    Attachment, ContainerSpec, HealthTest, Healthcheck, Logging, Mount, MountSource, NetworkMode,
    TmpfsMount, Ulimit,
};
pub use diagnostic::{Diagnostic, Place, Severity, has_errors};
pub use harden::{Finding, FindingKind, ImageFacts, Resolved, resolve};
pub use host_path::{ENGINE_SOCKETS, host_path_refusal};
pub use names::{
    ContainerId, Generation, ImageId, ImageRef, NetworkName, ProjectName, ReplicaName, Serial,
    ServiceName, SpecHash, VolumeName,
};
pub use phoenix::{
    Allow, Backoff, Jitter, Lifetime, Overdue, Phoenix, Probe, ProbeKind, ProbeSetting, Reach,
    STARTING_ESTIMATE, Timing,
};
pub use policy::{KernelFacts, Policy, Weakness};
pub use project::{IpamPool, NetworkSpec, Project, Published, Service, VolumeSpec};
pub use units::{ByteSizeError, GoDurationError, byte_size, go_duration};
