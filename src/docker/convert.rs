//! An inspection as the core understands it: Docker's all-optional answer becomes required fields, or
//! [`Error::Malformed`].
//!
//! Not here: asking for it (`calls`, `list`), and judging it (`reconcile`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use bollard::models::{
    ContainerInspectResponse, ContainerState as WireState, ContainerStateStatusEnum as Status,
    EndpointSettings, HealthStatusEnum, HostConfig, HostConfigCgroupnsModeEnum, ImageInspect,
    RestartPolicyNameEnum,
};

use super::{Error, exec, labels};
use crate::clock;
use crate::kernel::{self, Reading};
use crate::reconcile::{Asked, ContainerState, DependencySeen, Health, Kernel, Observed, Time};
use crate::spec::{ContainerId, FileDigest, ImageFacts, ImageId, NetworkName, ServiceName};

/// From where an answer is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vantage<'a> {
    /// The `/proc` of the engine's host.
    pub(super) proc_root: Option<&'a Path>,
    /// Podman writes some answers in its own way.
    pub(super) podman: bool,
}

/// Reads an inspection, and the kernel where it is at hand.
pub(super) fn observed(
    answer: &ContainerInspectResponse,
    vantage: Vantage<'_>,
) -> Result<Observed, Error> {
    let id = ContainerId::new(text(answer.id.as_deref(), "Id")?);
    // "For historic reasons, the name may be prefixed with a forward-slash" (Docker Engine API 1.51).
    let name = answer
        .name
        .as_deref()
        .map(|name| name.trim_start_matches('/'));
    let state = required(answer.state.as_ref(), "State")?;
    let host_config = required(answer.host_config.as_ref(), "HostConfig")?;
    let config = required(answer.config.as_ref(), "Config")?;
    let networks = answer
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let files = files(host_config);
    let process = process(state, &id, vantage.proc_root, !files.is_empty())?;
    Ok(Observed {
        name: text(name, "Name")?.to_owned(),
        identity: labels::identity(config),
        state: container_state(state)?,
        image: ImageId::new(text(answer.image.as_deref(), "Image")?),
        health: health(state),
        health_exec: exec::health_exec(config),
        started: process.started,
        second_life: second_life(answer, state)?,
        kernel: process.kernel,
        asked: asked(host_config, vantage.podman)?,
        files,
        networks: required(networks, "NetworkSettings.Networks")?
            .iter()
            // Docker's name for having no network.
            .filter(|(name, _)| *name != "none")
            .map(|(name, endpoint)| Ok((NetworkName::new(name), address(endpoint)?)))
            .collect::<Result<BTreeMap<_, _>, Error>>()?,
        joined: joined(host_config),
        id,
    })
}

/// Reads an inspection of a container of docker compose.
pub(super) fn dependency(
    answer: &ContainerInspectResponse,
    service: ServiceName,
) -> Result<DependencySeen, Error> {
    let state = required(answer.state.as_ref(), "State")?;
    let read = container_state(state)?;
    let (instant, field) = match &read {
        ContainerState::Exited { .. } | ContainerState::Dead | ContainerState::Removing => {
            (&state.finished_at, "State.FinishedAt")
        }
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Restarting => (&state.started_at, "State.StartedAt"),
    };
    let policy = answer
        .host_config
        .as_ref()
        .and_then(|config| config.restart_policy.as_ref())
        .and_then(|policy| policy.name);
    Ok(DependencySeen {
        id: ContainerId::new(text(answer.id.as_deref(), "Id")?),
        service,
        health: health(state),
        since: clock::docker_boot_time(instant.as_deref().unwrap_or_default())
            .map_err(|_| Error::Malformed { field })?
            .map(Time::from_boot),
        state: read,
        restarts: matches!(
            policy,
            Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED)
        ),
    })
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Error> {
    value.ok_or(Error::Malformed { field })
}

/// A text that must not be empty.
fn text<'a>(value: Option<&'a str>, field: &'static str) -> Result<&'a str, Error> {
    required(value.filter(|value| !value.is_empty()), field)
}

fn container_state(state: &WireState) -> Result<ContainerState, Error> {
    let exited = || {
        Ok(ContainerState::Exited {
            code: required(state.exit_code, "State.ExitCode")?,
            oom: state.oom_killed.unwrap_or(false),
            error: state.error.clone().unwrap_or_default(),
        })
    };
    match required(state.status, "State.Status")? {
        // A container whose start failed stays `created`, with the exit code (127, 128) and the error of the attempt
        // (20.10.24 and 28.5.2). It has had its one start.
        Status::CREATED if start_failed(state) => exited(),
        Status::CREATED => Ok(ContainerState::Created),
        // Podman's `stopping`: the process is still there.
        Status::RUNNING | Status::STOPPING => Ok(ContainerState::Running),
        Status::PAUSED => Ok(ContainerState::Paused),
        Status::RESTARTING => Ok(ContainerState::Restarting),
        Status::REMOVING => Ok(ContainerState::Removing),
        Status::EXITED => exited(),
        Status::DEAD => Ok(ContainerState::Dead),
        Status::EMPTY => Err(Error::Malformed {
            field: "State.Status",
        }),
    }
}

fn start_failed(state: &WireState) -> bool {
    state.exit_code.is_some_and(|code| code != 0)
        || state.error.as_ref().is_some_and(|error| !error.is_empty())
}

fn health(state: &WireState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

/// When a container was made that runs and has ended before. The engine keeps when that was: in a first life it is the year 1
/// (20.10.24 and 28.5.2).
fn second_life(
    answer: &ContainerInspectResponse,
    state: &WireState,
) -> Result<Option<Time>, Error> {
    let malformed = |field| move |_| Error::Malformed { field };
    let ended = clock::docker_boot_time(state.finished_at.as_deref().unwrap_or_default())
        .map_err(malformed("State.FinishedAt"))?;
    if ended.is_none() || !runs(state) {
        return Ok(None);
    }
    let made = clock::docker_boot_time(answer.created.as_deref().unwrap_or_default())
        .map_err(malformed("Created"))?;
    Ok(made.or(ended).map(Time::from_boot))
}

fn runs(state: &WireState) -> bool {
    matches!(
        state.status,
        Some(Status::RUNNING | Status::PAUSED | Status::STOPPING)
    )
}

struct Process {
    started: Option<Time>,
    kernel: Kernel,
}

/// What is known of process 1, and since when it runs: by the kernel where that can be asked, else by the engine.
fn process(
    state: &WireState,
    id: &ContainerId,
    proc_root: Option<&Path>,
    has_files: bool,
) -> Result<Process, Error> {
    if !runs(state) {
        return Ok(Process {
            started: None,
            kernel: Kernel::NotRunning,
        });
    }
    let malformed = Error::Malformed {
        field: "State.StartedAt",
    };
    let told = clock::docker_boot_time(state.started_at.as_deref().unwrap_or_default())
        .map_err(|_| malformed)?
        .map(Time::from_boot);
    let pid = state
        .pid
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid > 0);
    let at = Time::from_boot(clock::boot_now());
    Ok(match (proc_root, pid) {
        (Some(root), Some(pid)) => match kernel::read(root, pid, id, has_files) {
            Reading::Read { facts, started } => Process {
                started: Some(Time::from_boot(started)),
                kernel: Kernel::Read { facts, at },
            },
            Reading::Gone => Process {
                started: told,
                kernel: Kernel::NotRunning,
            },
            Reading::Unavailable(_) => Process {
                started: told,
                kernel: Kernel::Unavailable,
            },
        },
        (None, _) | (_, None) => Process {
            started: told,
            kernel: Kernel::Unavailable,
        },
    })
}

fn asked(config: &HostConfig, podman: bool) -> Result<Asked, Error> {
    let drops = config.cap_drop.as_deref().unwrap_or_default();
    let options = config.security_opt.as_deref().unwrap_or_default();
    Ok(Asked {
        privileged: required(config.privileged, "HostConfig.Privileged")?,
        read_only: required(config.readonly_rootfs, "HostConfig.ReadonlyRootfs")?,
        cap_drop_all: drops_all(drops, podman),
        // The three ways in which Docker takes it (moby v28.5.2, `daemon/daemon_unix.go`, `parseSecurityOpt`).
        no_new_privs: options.iter().any(|option| {
            matches!(
                option.as_str(),
                "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
            )
        }),
        foreign_namespace: has_foreign_namespace(config),
        never_restarts: match config
            .restart_policy
            .as_ref()
            .and_then(|policy| policy.name)
        {
            None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO) => true,
            Some(
                RestartPolicyNameEnum::ALWAYS
                | RestartPolicyNameEnum::UNLESS_STOPPED
                | RestartPolicyNameEnum::ON_FAILURE,
            ) => false,
        },
        pids_limited: config.pids_limit.is_some_and(|limit| limit > 0),
        memory_limited: config.memory.is_some_and(|limit| limit > 0),
        files_read_only: copies(config).all(|(_, read_only)| read_only),
    })
}

/// The copies of secrets and configs that it mounts.
fn files(config: &HostConfig) -> BTreeSet<FileDigest> {
    copies(config).map(|(digest, _)| digest).collect()
}

/// Each with whether it is mounted read-only.
fn copies(config: &HostConfig) -> impl Iterator<Item = (FileDigest, bool)> {
    config.mounts.iter().flatten().filter_map(|mount| {
        let digest = FileDigest::in_path(mount.source.as_deref()?)?;
        Some((digest, mount.read_only == Some(true)))
    })
}

/// What podman 4.3 lists for `ALL`: its own default set, since a container of its has no other capability to drop.
const PODMAN_DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn drops_all(drops: &[String], podman: bool) -> bool {
    let names: BTreeSet<&str> = drops
        .iter()
        .map(|name| name.strip_prefix("CAP_").unwrap_or(name))
        .collect();
    names.iter().any(|name| name.eq_ignore_ascii_case("ALL"))
        || (podman && PODMAN_DEFAULT.iter().all(|name| names.contains(name)))
}

/// The container whose network namespace it joined. The engine keeps what the create said (20.10.24, 28.5.2): an id, where
/// phoenixd made it.
fn joined(config: &HostConfig) -> Option<ContainerId> {
    let mode = config.network_mode.as_ref()?;
    mode.strip_prefix("container:").map(ContainerId::new)
}

/// Another container's namespace, or the host's. Whose network is joined is told by itself.
fn has_foreign_namespace(config: &HostConfig) -> bool {
    let network = config.network_mode.as_ref();
    if network.is_some_and(|mode| mode == "host" || mode.starts_with("ns:")) {
        return true;
    }
    let modes = [
        &config.pid_mode,
        &config.ipc_mode,
        &config.uts_mode,
        &config.userns_mode,
    ];
    modes
        .into_iter()
        .flatten()
        .any(|mode| mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:"))
        || config.cgroupns_mode == Some(HostConfigCgroupnsModeEnum::HOST)
}

/// Its address on a network, IPv4 before IPv6; none while it does not run.
fn address(endpoint: &EndpointSettings) -> Result<Option<IpAddr>, Error> {
    let field = "NetworkSettings.Networks.IPAddress";
    [&endpoint.ip_address, &endpoint.global_ipv6_address]
        .into_iter()
        .flatten()
        .find(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| Error::Malformed { field }))
        .transpose()
}

/// What matters of an image.
pub(super) fn image_facts(answer: ImageInspect) -> Result<ImageFacts, Error> {
    let id = ImageId::new(text(answer.id.as_deref(), "Id")?);
    let config = answer.config.unwrap_or_default();
    let is_some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let exposed_tcp = config
        .exposed_ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            (protocol == "tcp").then(|| number.parse().ok()).flatten()
        })
        .collect();
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.sort_unstable();
    Ok(ImageFacts {
        id,
        user: config.user.unwrap_or_default(),
        exposed_tcp,
        // `["NONE"]` switches an inherited one off, `[]` inherits (Docker Engine API 1.51, `HealthConfig.Test`).
        has_healthcheck: config
            .healthcheck
            .and_then(|check| check.test)
            .and_then(|test| test.into_iter().next())
            .is_some_and(|kind| kind != "NONE"),
        has_command: is_some(&config.entrypoint) || is_some(&config.cmd),
        volumes,
    })
}
