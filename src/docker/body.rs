//! The create body of a container: a hardened definition as docker compose v2 would send it.
//!
//! It does not depend on the engine's version of the API: fields that an older engine does not know are sent all the
//! same, and what that engine would drop in silence is refused in `calls`. What compose v2 does is taken from
//! docker/compose v2.40.3, `pkg/compose/create.go`, and was compared by inspection.
//!
//! Not here: what is forced (`spec::resolve`), the hash over it (`hash`), networks and volumes (`resources`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, NetworkingConfig, PortBinding,
    ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    ThrottleDevice,
};

use super::{Birth, compose_labels, labels, mounts};
use crate::spec::{
    Attachment, BlockIo, ContainerSpec, DeviceRate, HealthTest, Healthcheck, NetworkMode, PodPart,
    Published, TmpfsMount,
};

/// What `POST /containers/create` is sent for a birth.
pub(super) fn create_body(birth: &Birth) -> ContainerCreateBody {
    let mut body = body_of(&birth.container);
    if let Some(id) = &birth.image {
        body.image = Some(id.to_string());
    }
    if birth.container.identity {
        body.env.get_or_insert_default().extend([
            format!("PHOENIXD_REPLICA={}", birth.replica),
            format!("PHOENIXD_SERIAL={}", birth.replica.serial),
            format!("PHOENIXD_GENERATION={}", birth.generation),
        ]);
    }
    if let Some(id) = &birth.joins {
        body.host_config.get_or_insert_default().network_mode = Some(format!("container:{id}"));
    }
    if birth.replica.service.is_pod(PodPart::Edge) {
        let serial = ["--serial".to_owned(), birth.replica.serial.to_string()];
        body.cmd.get_or_insert_default().extend(serial);
    }
    let labels = body.labels.get_or_insert_default();
    labels.extend(compose_labels::of_replica(birth));
    labels.extend(labels::of_birth(birth));
    labels.extend(labels::of_dependencies(&birth.born_after));
    body
}

/// The body of a birth as JSON, for `phoenixd plan`. Environment variables are in it, secrets included.
pub fn body_json(birth: &Birth) -> serde_json::Value {
    to_json(&create_body(birth))
}

/// How a container is attached to each of its further networks, after its create and before its start; and to the one that
/// it is on while it is ready.
pub fn connect_json(container: &ContainerSpec) -> BTreeMap<String, serde_json::Value> {
    let further = container.attachments().iter().skip(1);
    let further = further.chain(&container.on_ready);
    further
        .map(|attachment| {
            (
                attachment.network.to_string(),
                to_json(&endpoint_settings(attachment)),
            )
        })
        .collect()
}

/// The models are structs of strings, numbers, lists and maps with strings as keys: JSON has all of these.
pub(super) fn to_json(model: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(model)
        .unwrap_or_else(|error| unreachable!("a model is always JSON: {error}"))
}

/// The same without the labels that tell replicas apart.
pub(super) fn body_of(container: &ContainerSpec) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: container.hostname.clone(),
        domainname: container.domainname.clone(),
        user: container.user.clone(),
        // As compose v2 sends them; without a terminal or a reader they change nothing.
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: some_if_any(
            container
                .exposed
                .iter()
                .map(|(port, protocol)| format!("{port}/{protocol}")),
        ),
        env: some_if_any(
            container
                .environment
                .iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name.clone(),
                }),
        ),
        cmd: container.command.clone(),
        healthcheck: container.healthcheck.as_ref().map(health_config),
        image: Some(container.image.to_string()),
        working_dir: container.working_dir.clone(),
        entrypoint: container.entrypoint.clone(),
        labels: some_map(&with_reach(container)),
        stop_signal: container.stop_signal.clone(),
        stop_timeout: Some(whole_seconds(container.stop_grace)),
        host_config: Some(host_config(container)),
        networking_config: networking_config(container),
        ..ContainerCreateBody::default()
    }
}

/// The user's labels, and those that say how the replica is reached.
fn with_reach(container: &ContainerSpec) -> BTreeMap<String, String> {
    let mut all = container.labels.clone();
    all.extend(container.reach.iter().flat_map(labels::of_reach));
    all
}

fn host_config(container: &ContainerSpec) -> HostConfig {
    let (binds, mut others) = mounts::split(&container.mounts);
    others.extend(container.files.iter().map(mounts::of_file));
    let host = HostConfig {
        annotations: some_map(&container.annotations),
        binds: some_if_any(binds),
        mounts: some_if_any(others),
        tmpfs: some_if_any(container.tmpfs.iter().map(tmpfs_entry)),
        cap_add: capabilities(&container.cap_add),
        cap_drop: capabilities(&container.cap_drop),
        security_opt: some_list(&container.security_opt),
        readonly_rootfs: container.read_only,
        // The supervisor owns rebirth.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        network_mode: network_mode(container),
        port_bindings: port_bindings(&container.publishes),
        ipc_mode: container.ipc.clone(),
        cgroupns_mode: container.cgroup.as_deref().map(|mode| match mode {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        init: container.init,
        group_add: some_list(&container.group_add),
        dns: some_if_any(container.dns.iter().map(IpAddr::to_string)),
        dns_search: some_list(&container.dns_search),
        dns_options: some_list(&container.dns_opt),
        extra_hosts: some_list(&container.extra_hosts),
        ulimits: some_if_any(
            container
                .ulimits
                .iter()
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                }),
        ),
        sysctls: some_map(&container.sysctls),
        shm_size: container.shm_size_bytes,
        pids_limit: container.pids_limit,
        memory: container.memory_bytes,
        memory_reservation: container.memory_reservation_bytes,
        memory_swap: container.memory_swap_bytes,
        memory_swappiness: container.memory_swappiness,
        nano_cpus: container.nano_cpus,
        cpu_shares: container.cpu_shares,
        cpu_quota: container.cpu_quota,
        cpu_period: container.cpu_period,
        cpuset_cpus: container.cpuset.clone(),
        cpu_count: container.cpu_count,
        cpu_percent: container.cpu_percent,
        cpu_realtime_period: container.cpu_rt_period,
        cpu_realtime_runtime: container.cpu_rt_runtime,
        oom_score_adj: container.oom_score_adj,
        log_config: container
            .logging
            .as_ref()
            .map(|logging| HostConfigLogConfig {
                typ: logging.driver.clone(),
                config: some_map(&logging.options),
            }),
        runtime: container.runtime.clone(),
        storage_opt: some_map(&container.storage_opt),
        ..HostConfig::default()
    };
    match &container.block_io {
        Some(block_io) => with_block_io(host, block_io),
        None => host,
    }
}

fn with_block_io(host: HostConfig, block_io: &BlockIo) -> HostConfig {
    let rates = |rates: &[DeviceRate]| {
        some_if_any(rates.iter().map(|one| ThrottleDevice {
            path: Some(one.path.clone()),
            rate: Some(one.rate),
        }))
    };
    HostConfig {
        blkio_weight: block_io.weight,
        blkio_weight_device: some_if_any(block_io.weights.iter().map(|one| {
            ResourcesBlkioWeightDevice {
                path: Some(one.path.clone()),
                weight: Some(usize::from(one.weight)),
            }
        })),
        blkio_device_read_bps: rates(&block_io.read_bytes),
        blkio_device_write_bps: rates(&block_io.write_bytes),
        blkio_device_read_iops: rates(&block_io.read_operations),
        blkio_device_write_iops: rates(&block_io.write_operations),
        ..host
    }
}

/// The ports of the host by the container's, as compose v2 sends them: without an address the engine binds every one, IPv6
/// included.
#[expect(
    clippy::disallowed_types,
    reason = "the engine's model has them in one"
)]
fn port_bindings(
    publishes: &[Published],
) -> Option<std::collections::HashMap<String, Option<Vec<PortBinding>>>> {
    let mut bindings = std::collections::HashMap::new();
    for published in publishes {
        let binding = PortBinding {
            host_ip: Some(
                published
                    .host_ip
                    .map_or_else(String::new, |ip| ip.to_string()),
            ),
            host_port: Some(published.host_port.to_string()),
        };
        let of_port = bindings.entry(format!(
            "{}/{}",
            published.target,
            published.transport.name()
        ));
        let of_port: &mut Option<Vec<PortBinding>> = of_port.or_default();
        of_port.get_or_insert_default().push(binding);
    }
    (!bindings.is_empty()).then_some(bindings)
}

/// The first network's name; the engine's default network where the definition names none.
fn network_mode(container: &ContainerSpec) -> Option<String> {
    match &container.network {
        NetworkMode::None => Some("none".to_owned()),
        // The birth says whose.
        NetworkMode::Pod => None,
        NetworkMode::Networks(attachments) => attachments
            .first()
            .map(|attachment| attachment.network.to_string()),
    }
}

/// Only the first network: engines below API 1.44 take one at create (`ENGINE-FACTS.md`, section 6), and one way for
/// all engines is one way to test.
fn networking_config(container: &ContainerSpec) -> Option<NetworkingConfig> {
    let first = container.attachments().first()?;
    Some(NetworkingConfig {
        endpoints_config: Some(
            [(first.network.to_string(), endpoint_settings(first))]
                .into_iter()
                .collect(),
        ),
    })
}

/// A container's place on a network, for create and for connect.
pub(super) fn endpoint_settings(attachment: &Attachment) -> EndpointSettings {
    let has_addresses = attachment.ipv4.is_some()
        || attachment.ipv6.is_some()
        || !attachment.link_local_ips.is_empty();
    EndpointSettings {
        aliases: some_list(&attachment.aliases),
        driver_opts: some_map(&attachment.driver_opts),
        gw_priority: attachment.gw_priority,
        ipam_config: has_addresses.then(|| EndpointIpamConfig {
            ipv4_address: attachment.ipv4.map(|ip| ip.to_string()),
            ipv6_address: attachment.ipv6.map(|ip| ip.to_string()),
            link_local_ips: some_if_any(attachment.link_local_ips.iter().map(IpAddr::to_string)),
        }),
        ..EndpointSettings::default()
    }
}

/// One spelling of each, sorted, as Docker's client sends them (moby v28.5.2, `client`, `normalizeCapabilities`).
fn capabilities(names: &[String]) -> Option<Vec<String>> {
    let names: BTreeSet<String> = names
        .iter()
        .map(|name| match name.to_ascii_uppercase() {
            all if all == "ALL" => all,
            prefixed if prefixed.starts_with("CAP_") => prefixed,
            bare => format!("CAP_{bare}"),
        })
        .collect();
    some_if_any(names)
}

fn tmpfs_entry(mount: &TmpfsMount) -> (String, String) {
    (mount.target.clone(), mount.options.join(","))
}

fn health_config(check: &Healthcheck) -> HealthConfig {
    let test = match &check.test {
        HealthTest::Inherit => None,
        HealthTest::None => Some(vec!["NONE".to_owned()]),
        HealthTest::Cmd(command) => Some([vec!["CMD".to_owned()], command.clone()].concat()),
        HealthTest::CmdShell(script) => Some(vec!["CMD-SHELL".to_owned(), script.clone()]),
    };
    let nanoseconds = |span: Option<Duration>| {
        span.map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    };
    HealthConfig {
        test,
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        retries: check.retries,
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
    }
}

/// Docker takes whole seconds for a grace; less than was asked for would kill early.
pub(super) fn whole_seconds(span: Duration) -> i64 {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn some_list(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// A map of the models, whose type is generic here because theirs is banned elsewhere.
pub(super) fn some_map<M: FromIterator<(String, String)>>(
    map: &BTreeMap<String, String>,
) -> Option<M> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

pub(super) fn some_if_any<T, C: FromIterator<T>>(items: impl IntoIterator<Item = T>) -> Option<C> {
    let mut items = items.into_iter().peekable();
    items.peek().is_some().then(|| items.collect())
}
