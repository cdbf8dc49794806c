//! How much a replica may use: memory, CPU, processes, block devices.

use std::collections::BTreeMap;

use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::problems::Problems;
use crate::compose::suggest;
use crate::spec::{BlockIo, ContainerSpec, DeviceRate, DeviceWeight, Ulimit};

/// The limits that Linux has for a process, by Docker's names (docker/go-units v0.5.0, `ulimit.go`).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A field of the container's definition.
type Slot = fn(&mut ContainerSpec) -> &mut Option<i64>;

/// Memory, CPU, processes.
impl Binder<'_, '_> {
    pub(super) fn mem_limit(&mut self, at: &At<'_>) {
        let value = at.bytes(self.out);
        self.limit("mem_limit", |c| &mut c.memory_bytes, value, at);
    }

    pub(super) fn mem_reservation(&mut self, at: &At<'_>) {
        let value = at.bytes(self.out);
        self.limit(
            "mem_reservation",
            |c| &mut c.memory_reservation_bytes,
            value,
            at,
        );
    }

    pub(super) fn memswap_limit(&mut self, at: &At<'_>) {
        self.container.memory_swap_bytes = match at.as_text() {
            Some("-1") => Some(-1),
            _ => at.bytes(self.out),
        };
    }

    pub(super) fn mem_swappiness(&mut self, at: &At<'_>) {
        self.container.memory_swappiness = at.integer(0, 100, self.out);
    }

    pub(super) fn shm_size(&mut self, at: &At<'_>) {
        self.container.shm_size_bytes = at.bytes(self.out);
    }

    pub(super) fn pids_limit(&mut self, at: &At<'_>) {
        let value = at.integer(-1, i64::from(i32::MAX), self.out);
        self.limit("pids_limit", |c| &mut c.pids_limit, value, at);
    }

    pub(super) fn cpus(&mut self, at: &At<'_>) {
        let value = nano_cpus(at, self.out);
        self.limit("cpus", |c| &mut c.nano_cpus, value, at);
    }

    pub(super) fn cpu_shares(&mut self, at: &At<'_>) {
        self.container.cpu_shares = at.integer(0, 262_144, self.out);
    }

    pub(super) fn cpu_quota(&mut self, at: &At<'_>) {
        self.container.cpu_quota = at.integer(-1, i64::from(i32::MAX), self.out);
    }

    pub(super) fn cpu_period(&mut self, at: &At<'_>) {
        self.container.cpu_period = at.integer(0, 1_000_000, self.out);
    }

    pub(super) fn cpu_count(&mut self, at: &At<'_>) {
        self.container.cpu_count = at.integer(0, i64::from(i32::MAX), self.out);
        self.only_on_windows("cpu_count", self.container.cpu_count, at);
    }

    pub(super) fn cpu_percent(&mut self, at: &At<'_>) {
        let percent = at.integer(0, 100, self.out);
        self.container.cpu_percent = percent.map(|percent| percent * 100);
        self.only_on_windows("cpu_percent", percent, at);
    }

    /// It reaches the engine, which drops it with a warning or lets it lie (moby v28.5.2, `daemon/daemon_unix.go`).
    fn only_on_windows(&mut self, key: &str, value: Option<i64>, at: &At<'_>) {
        if value.is_some_and(|value| value > 0) {
            let message = format!("`{key}` has no effect: only an engine on Windows acts on it");
            self.out
                .warning(at, "no-effect", message, "limit the CPU with `cpus`");
        }
    }

    pub(super) fn cpu_rt_period(&mut self, at: &At<'_>) {
        self.container.cpu_rt_period = at.integer(0, i64::from(i32::MAX), self.out);
    }

    pub(super) fn cpu_rt_runtime(&mut self, at: &At<'_>) {
        self.container.cpu_rt_runtime = at.integer(0, i64::from(i32::MAX), self.out);
    }

    pub(super) fn blkio_config(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 6] = [
            "weight",
            "weight_device",
            "device_read_bps",
            "device_write_bps",
            "device_read_iops",
            "device_write_iops",
        ];
        let mut block_io = BlockIo::default();
        for pair in at.fields(&FIELDS, self.out).unwrap_or_default() {
            let (value, out) = (&pair.value, &mut *self.out);
            match pair.key {
                _ if value.is_null() => {}
                "weight" => block_io.weight = weight(value, out),
                "weight_device" => block_io.weights = weights(value, out),
                "device_read_bps" => block_io.read_bytes = rates(value, out),
                "device_write_bps" => block_io.write_bytes = rates(value, out),
                "device_read_iops" => block_io.read_operations = rates(value, out),
                _ => block_io.write_operations = rates(value, out),
            }
        }
        if block_io != BlockIo::default() {
            self.container.block_io = Some(block_io);
        }
    }

    pub(super) fn cpuset(&mut self, at: &At<'_>) {
        let Some(set) = at.some_text(self.out) else {
            return;
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_set = set.split(',').all(|part| match part.split_once('-') {
            Some((first, last)) => is_number(first) && is_number(last),
            None => is_number(part),
        });
        if is_set {
            self.container.cpuset = Some(set);
        } else {
            let message = format!("`{set}` is not a set of CPUs");
            at.invalid(message, "write `0-1,3`", self.out);
        }
    }

    pub(super) fn oom_score_adj(&mut self, at: &At<'_>) {
        self.container.oom_score_adj = at.integer(-1000, 1000, self.out);
    }

    /// Sets a limit that two keys can set; they must not disagree.
    fn limit(&mut self, key: &str, slot: Slot, value: Option<i64>, at: &At<'_>) {
        let Some(value) = value else {
            return;
        };
        let slot = slot(&mut self.container);
        match *slot {
            Some(other) if other != value => {
                let message =
                    format!("`{key}` and its counterpart under `deploy.resources` differ");
                self.out
                    .error(at, "conflict", message, "keep one of the two");
            }
            Some(_) | None => *slot = Some(value),
        }
        self.places
            .entry(key.to_owned())
            .or_insert_with(|| at.node.place.clone());
    }

    pub(super) fn ulimits(&mut self, at: &At<'_>) {
        self.container.ulimits = ulimits(at, self.out);
    }
}

/// Limits of processes, by Docker's names.
pub(super) fn ulimits(at: &At<'_>, out: &mut Problems) -> BTreeMap<String, Ulimit> {
    let mut limits = BTreeMap::new();
    for pair in at.map(out).unwrap_or_default() {
        if !ULIMITS.contains(&pair.key) {
            let message = format!("`{}` is not a limit of a process", pair.key);
            let hint = suggest::hint(pair.key, &ULIMITS);
            let path = pair.value.path();
            out.error_at(pair.key_place, path, "unknown-key", message, hint);
            continue;
        }
        if let Some(limit) = ulimit(&pair.value, out) {
            limits.insert(pair.key.to_owned(), limit);
        }
    }
    limits
}

/// `0.5` as billionths, with single precision as compose-go 2.9.1 has it: another rounding would be another container.
fn nano_cpus(at: &At<'_>, out: &mut Problems) -> Option<i64> {
    let text = at.text(out)?;
    let cpus: Option<f32> = text.replace('_', "").parse().ok();
    match cpus {
        Some(cpus) if (0.0..=100_000.0).contains(&cpus) =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "not negative and at most 1e14"
            )]
            Some((cpus * 1e9) as i64)
        }
        Some(_) | None => {
            let message = format!("`{text}` is not a number of CPUs");
            at.invalid(message, "write a number such as `0.5` or `2`", out);
            None
        }
    }
}

/// A share of time; 0 means none.
fn weight(at: &At<'_>, out: &mut Problems) -> Option<u16> {
    let weight = at.integer(0, 1000, out)?;
    if (1..10).contains(&weight) {
        let message = format!("{weight} is not a weight");
        at.invalid(message, "write a number from 10 to 1000", out);
        return None;
    }
    u16::try_from(weight).ok().filter(|weight| *weight > 0)
}

/// Each `{ path, FIELD }` of a list.
fn devices<'n>(at: &At<'n>, field: &str, out: &mut Problems) -> Vec<(String, At<'n>)> {
    let mut found = Vec::new();
    for item in at.list(out).unwrap_or_default() {
        if item.fields(&["path", field], out).is_none() {
            continue;
        }
        let path = item.get("path").and_then(|path| path.some_text(out));
        if let (Some(path), Some(value)) = (path, item.get(field)) {
            found.push((path, value));
        } else {
            let message = format!("this names no device with a {field}");
            let hint = format!("write `{{ path: /dev/sda, {field}: … }}`");
            item.invalid(message, hint, out);
        }
    }
    found
}

fn weights(at: &At<'_>, out: &mut Problems) -> Vec<DeviceWeight> {
    devices(at, "weight", out)
        .into_iter()
        .filter_map(|(path, at)| weight(&at, out).map(|weight| DeviceWeight { path, weight }))
        .collect()
}

/// Operations may be written like bytes (`1k`), as in docker compose.
fn rates(at: &At<'_>, out: &mut Problems) -> Vec<DeviceRate> {
    devices(at, "rate", out)
        .into_iter()
        .filter_map(|(path, at)| at.bytes(out).map(|rate| DeviceRate { path, rate }))
        .collect()
}

/// One number for both, or `{ soft, hard }`.
fn ulimit(at: &At<'_>, out: &mut Problems) -> Option<Ulimit> {
    if at.as_text().is_some() {
        let both = at.integer(-1, i64::MAX, out)?;
        return Some(Ulimit {
            soft: both,
            hard: both,
        });
    }
    let pairs = at.fields(&["soft", "hard"], out)?;
    let mut value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key);
        if pair.is_none() {
            at.invalid(
                format!("there is no `{key}`"),
                "write `{ soft: N, hard: N }`",
                out,
            );
        }
        pair.and_then(|pair| pair.value.integer(-1, i64::MAX, out))
    };
    let (soft, hard) = (value("soft"), value("hard"));
    let (soft, hard) = (soft?, hard?);
    if hard != -1 && (soft == -1 || soft > hard) {
        let message = format!("the soft limit {soft} is above the hard limit {hard}");
        at.invalid(message, "raise `hard`, or lower `soft`", out);
        return None;
    }
    Some(Ulimit { soft, hard })
}
