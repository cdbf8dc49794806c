//! What a container asks of the host: limits, name service, logging; and what of it a phoenix may not have.
//!
//! Not here: mounts (`mounts`), networks (`networks`), ports (`derive`).

use std::collections::{BTreeMap, BTreeSet};

use super::{Surroundings, Value};
use crate::spec::{Allow, BlockIo, ContainerSpec, DeviceRate, DeviceWeight, Logging, Ulimit};

/// Size of `/dev/shm` where nobody gives one (moby v28.5.2, `daemon/config.DefaultShmSize`).
const SHM_SIZE: i64 = 64 << 20;

/// Fields of `HostConfig` that are read here or elsewhere in this room.
const CARRIED: [&str; 45] = [
    "Annotations",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Init",
    "IpcMode",
    "LogConfig",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "Mounts",
    "NanoCpus",
    "NetworkMode",
    "OomScoreAdj",
    "PidsLimit",
    "PortBindings",
    "ReadonlyRootfs",
    "Runtime",
    "SecurityOpt",
    "ShmSize",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Ulimits",
];
/// Fields that say nothing about the container: the engine's own defaults, what only matters to the client that made
/// it, and what the supervisor does itself.
const WITHOUT_MEANING: [&str; 5] = [
    "ConsoleSize",
    "ContainerIDFile",
    "MaskedPaths",
    "ReadonlyPaths",
    "RestartPolicy",
];

/// What no phoenix has, whatever it asks for, and why.
const REFUSED: [(&str, &str); 10] = [
    ("Privileged", "it is privileged: that is root on the host"),
    (
        "PidMode",
        "it shares the process namespace of another container or of the host",
    ),
    ("UTSMode", "it shares the host's name"),
    ("UsernsMode", "it leaves the engine's user namespace"),
    (
        "Devices",
        "it has devices, and a device leads out of the container",
    ),
    (
        "DeviceRequests",
        "it has devices, and a device leads out of the container",
    ),
    (
        "DeviceCgroupRules",
        "it may make devices, and a device leads out of the container",
    ),
    (
        "CgroupParent",
        "it has a parent cgroup of its own, and so limits that nobody here knows",
    ),
    (
        "VolumesFrom",
        "it has another container's volumes, which go with that container",
    ),
    (
        "OomKillDisable",
        "it cannot be ended when the memory runs out",
    ),
];

/// Fills in what the host gives it.
pub(super) fn fill(
    container: &mut ContainerSpec,
    host: &Value,
    around: &Surroundings<'_>,
    allow: &BTreeSet<Allow>,
    problems: &mut Vec<String>,
) {
    refuse(host, around, problems);
    let number = |key: &str| host.at(&[key]).as_set_number();
    let text = |key: &str| host.at(&[key]).as_text().map(str::to_owned);
    let texts = |key: &str| host.at(&[key]).texts();
    container.annotations = host.at(&["Annotations"]).text_fields();
    container.group_add = texts("GroupAdd");
    container.dns = addresses(host, problems);
    container.dns_search = texts("DnsSearch");
    container.dns_opt = texts("DnsOptions");
    container.extra_hosts = texts("ExtraHosts");
    container.sysctls = host.at(&["Sysctls"]).text_fields();
    container.storage_opt = host.at(&["StorageOpt"]).text_fields();
    container.init = host.at(&["Init"]).as_bool();
    container.shm_size_bytes = number("ShmSize").filter(|size| *size != SHM_SIZE);
    container.memory_reservation_bytes = number("MemoryReservation");
    // 0 is a setting of its own here.
    container.memory_swappiness = host
        .at(&["MemorySwappiness"])
        .as_number()
        .filter(|number| *number >= 0);
    container.cpu_shares = number("CpuShares");
    container.cpu_quota = number("CpuQuota");
    container.cpu_period = number("CpuPeriod");
    container.cpuset = text("CpusetCpus");
    container.cpu_count = number("CpuCount");
    container.cpu_percent = number("CpuPercent");
    container.cpu_rt_period = number("CpuRealtimePeriod");
    container.cpu_rt_runtime = number("CpuRealtimeRuntime");
    container.block_io = block_io(host);
    container.oom_score_adj = number("OomScoreAdj");
    container.runtime = text("Runtime").filter(|runtime| *runtime != around.runtime);
    container.logging = logging(host.at(&["LogConfig"]), &around.log_driver);
    container.ulimits = ulimits(host.at(&["Ulimits"]));
    container.cap_add = texts("CapAdd");
    container.cap_drop = texts("CapDrop");
    container.security_opt = texts("SecurityOpt");
    limits(container, host, allow.contains(&Allow::Unlimited));
    // An exception that is named counts as asked for: an original says only what it is, and not what was written.
    container.read_only = match host.at(&["ReadonlyRootfs"]).as_bool() {
        Some(true) => Some(true),
        Some(false) | None => allow.contains(&Allow::WritableRoot).then_some(false),
    };
    let keeps = container
        .security_opt
        .iter()
        .any(|option| option.starts_with("no-new-privileges"));
    if allow.contains(&Allow::NewPrivileges) && !keeps {
        container
            .security_opt
            .push("no-new-privileges:false".to_owned());
    }
}

fn refuse(host: &Value, around: &Surroundings<'_>, problems: &mut Vec<String>) {
    for (key, why) in REFUSED {
        if !host.at(&[key]).is_unset() {
            problems.push(why.to_owned());
        }
    }
    let ipc = host.at(&["IpcMode"]).as_text().unwrap_or("private");
    if ipc != "private" {
        problems.push(format!(
            "its IPC namespace is `{ipc}`, and a phoenix has one of its own"
        ));
    }
    if host.at(&["CgroupnsMode"]).as_text() == Some("host") && !around.host_cgroup_by_default {
        problems.push("it has the host's cgroup namespace".to_owned());
    }
    // `systempaths=unconfined` leaves nothing but an empty list (moby v28.5.2, `daemon/container_operations_unix.go`).
    if matches!(host.at(&["MaskedPaths"]), Value::List(paths) if paths.is_empty()) {
        problems.push("its system paths are not masked".to_owned());
    }
    for (key, value) in host.each() {
        let is_known = CARRIED.contains(&key)
            || WITHOUT_MEANING.contains(&key)
            || REFUSED.iter().any(|(refused, _)| *refused == key);
        if !is_known && !value.is_unset() {
            problems.push(format!(
                "its `HostConfig.{key}` is {value}, which phoenixd cannot carry over"
            ));
        }
    }
}

/// Limits of memory, processes and CPU. To the engine 0 means none, and so does -1 for processes; an exception says that
/// it shall stay so.
fn limits(container: &mut ContainerSpec, host: &Value, unlimited: bool) {
    let limit = |key: &str| host.at(&[key]).as_number().filter(|number| *number > 0);
    let (memory, pids, cpus) = (limit("Memory"), limit("PidsLimit"), limit("NanoCpus"));
    container.memory_bytes = memory.or(unlimited.then_some(0));
    container.pids_limit = pids.or(unlimited.then_some(-1));
    let has_quota = container.cpu_quota.is_some();
    container.nano_cpus = cpus.or((unlimited && !has_quota).then_some(0));
    // Where the memory is limited and the swap is not, the engine allows as much again (moby v28.5.2,
    // `daemon/daemon_unix.go`, `adaptContainerSettings`).
    let by_default = memory.map(|memory| memory.saturating_mul(2));
    let swap = host.at(&["MemorySwap"]).as_set_number();
    container.memory_swap_bytes = swap.filter(|swap| Some(*swap) != by_default);
}

fn addresses(host: &Value, problems: &mut Vec<String>) -> Vec<std::net::IpAddr> {
    let mut addresses = Vec::new();
    for text in host.at(&["Dns"]).texts() {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => problems.push(format!("its DNS server `{text}` is no address")),
        }
    }
    addresses
}

fn logging(config: &Value, by_default: &str) -> Option<Logging> {
    let driver = config.at(&["Type"]).as_text()?;
    let options = config.at(&["Config"]).text_fields();
    // The engine's own default, which may change.
    if driver == by_default && options.is_empty() {
        return None;
    }
    Some(Logging {
        driver: Some(driver.to_owned()),
        options,
    })
}

fn block_io(host: &Value) -> Option<BlockIo> {
    let path = |item: &Value| item.at(&["Path"]).as_text().map(str::to_owned);
    let weight = |value: &Value| {
        value
            .as_set_number()
            .and_then(|weight| u16::try_from(weight).ok())
    };
    let rates = |key: &str| {
        let one = |item: &Value| {
            Some(DeviceRate {
                path: path(item)?,
                rate: item.at(&["Rate"]).as_number()?,
            })
        };
        host.at(&[key])
            .items()
            .iter()
            .filter_map(one)
            .collect::<Vec<_>>()
    };
    let weights = host
        .at(&["BlkioWeightDevice"])
        .items()
        .iter()
        .filter_map(|item| {
            Some(DeviceWeight {
                path: path(item)?,
                weight: weight(item.at(&["Weight"]))?,
            })
        });
    let block_io = BlockIo {
        weight: weight(host.at(&["BlkioWeight"])),
        weights: weights.collect(),
        read_bytes: rates("BlkioDeviceReadBps"),
        write_bytes: rates("BlkioDeviceWriteBps"),
        read_operations: rates("BlkioDeviceReadIOps"),
        write_operations: rates("BlkioDeviceWriteIOps"),
    };
    let is_set = block_io.weight.is_some()
        || !block_io.weights.is_empty()
        || [
            &block_io.read_bytes,
            &block_io.write_bytes,
            &block_io.read_operations,
            &block_io.write_operations,
        ]
        .iter()
        .any(|rates| !rates.is_empty());
    is_set.then_some(block_io)
}

fn ulimits(list: &Value) -> BTreeMap<String, Ulimit> {
    let one = |item: &Value| {
        let limit = Ulimit {
            soft: item.at(&["Soft"]).as_number()?,
            hard: item.at(&["Hard"]).as_number()?,
        };
        Some((item.at(&["Name"]).as_text()?.to_owned(), limit))
    };
    list.items().iter().filter_map(one).collect()
}
