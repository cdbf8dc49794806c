//! How much a replica may use, and what it may be: memory, CPU, processes, `deploy`, and the walls around it.

use std::collections::BTreeMap;

use super::binder::Binder;
use crate::compose::bind::{At, Pair};
use crate::compose::problems::Problems;
use crate::compose::suggest;
use crate::spec::{ContainerSpec, Ulimit};

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
        for pair in at.map(self.out).unwrap_or_default() {
            if !ULIMITS.contains(&pair.key) {
                let message = format!("`{}` is not a limit of a process", pair.key);
                let hint = suggest::hint(pair.key, &ULIMITS);
                let path = pair.value.path();
                self.out
                    .error_at(pair.key_place, path, "unknown-key", message, hint);
                continue;
            }
            if let Some(limit) = ulimit(&pair.value, self.out) {
                self.container.ulimits.insert(pair.key.to_owned(), limit);
            }
        }
    }
}

/// `deploy`.
impl Binder<'_, '_> {
    pub(super) fn deploy(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 9] = [
            "mode",
            "replicas",
            "resources",
            "endpoint_mode",
            "labels",
            "placement",
            "restart_policy",
            "rollback_config",
            "update_config",
        ];
        for pair in at.fields(&FIELDS, self.out).unwrap_or_default() {
            if pair.value.is_null() {
                continue;
            }
            let place = pair.key_place.clone();
            self.places.insert(format!("deploy.{}", pair.key), place);
            match pair.key {
                "mode" => {
                    if pair.value.text(self.out).is_some_and(|mode| mode != "replicated") {
                        self.deploy_not_yet(&pair, "remove it, and set `replicas`");
                    }
                }
                "replicas" => self.bind_replicas(&pair.value, "deploy.replicas"),
                "resources" => self.resources(&pair.value),
                "restart_policy" => self.deploy_ignored(
                    &pair,
                    "phoenixd replaces what has ended; `x-phoenix: { backoff: … }` sets the delays",
                ),
                "update_config" | "rollback_config" => self.deploy_ignored(
                    &pair,
                    "phoenixd starts the new replica first; `x-phoenix: { surge: N }` sets how many at a time",
                ),
                // These are about the nodes of a swarm; there is one host.
                "endpoint_mode" | "placement" => {
                    self.deploy_ignored(&pair, "it belongs to a swarm; phoenixd has one host");
                }
                _ => self.deploy_not_yet(&pair, "write the labels under `labels` of the service"),
            }
        }
    }

    fn deploy_not_yet(&mut self, pair: &Pair<'_>, hint: &str) {
        let what = match pair.value.as_text() {
            Some(text) => format!("deploy.{}: {text}", pair.key),
            None => format!("deploy.{}", pair.key),
        };
        let message = format!("`{what}` is not supported yet");
        let (place, path) = (pair.key_place, pair.value.path());
        self.out
            .error_at(place, path, "not-supported", message, hint);
    }

    fn deploy_ignored(&mut self, pair: &Pair<'_>, why: &str) {
        let message = format!("`deploy.{}` has no effect on a phoenix", pair.key);
        self.out
            .warning(&pair.value, "deploy-ignored", message, why);
    }

    fn resources(&mut self, at: &At<'_>) {
        for pair in at
            .fields(&["limits", "reservations"], self.out)
            .unwrap_or_default()
        {
            if pair.value.is_null() {
                continue;
            }
            let is_limit = pair.key == "limits";
            let known: &[&str] = if is_limit {
                &["cpus", "memory", "pids"]
            } else {
                &["cpus", "memory", "generic_resources", "devices"]
            };
            for field in pair.value.fields(known, self.out).unwrap_or_default() {
                if field.value.is_null() {
                    continue;
                }
                match (is_limit, field.key) {
                    (true, "cpus") => self.cpus(&field.value),
                    (true, "memory") => self.mem_limit(&field.value),
                    (true, _) => self.pids_limit(&field.value),
                    (false, "memory") => self.mem_reservation(&field.value),
                    // Docker Engine has no such thing either: compose passes it over (v2.40.3).
                    (false, "cpus") => {
                        let message =
                            "`deploy.resources.reservations.cpus` has no effect on one host";
                        self.out.warning(
                            &field.value,
                            "deploy-ignored",
                            message,
                            "remove it, or set a limit",
                        );
                    }
                    (false, key) => {
                        let message = format!("`{key}` cannot be reserved yet");
                        let hint = "remove it, or set a limit instead";
                        self.out.error(&field.value, "not-supported", message, hint);
                    }
                }
            }
        }
    }
}

/// The walls.
impl Binder<'_, '_> {
    pub(super) fn read_only(&mut self, at: &At<'_>) {
        self.container.read_only = at.boolean(self.out);
    }

    pub(super) fn cap_add(&mut self, at: &At<'_>) {
        self.container.cap_add = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn cap_drop(&mut self, at: &At<'_>) {
        self.container.cap_drop = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn security_opt(&mut self, at: &At<'_>) {
        const NAMES: [&str; 5] = [
            "no-new-privileges",
            "seccomp",
            "apparmor",
            "label",
            "systempaths",
        ];
        let mut options = Vec::new();
        for (text, item) in at.texts(self.out).unwrap_or_default() {
            let (name, value) = text.split_once([':', '=']).unwrap_or((text, ""));
            if !NAMES.contains(&name) {
                let message = format!("`{name}` is not a security option");
                item.invalid(message, suggest::hint(name, &NAMES), self.out);
            } else if name == "seccomp" && !["unconfined", "builtin"].contains(&value) {
                self.out.error(
                    &item,
                    "not-supported",
                    "a seccomp profile of your own is not supported yet",
                    "remove it: the engine's default profile is in force",
                );
            } else {
                options.push(text.to_owned());
            }
        }
        self.container.security_opt = options;
    }

    pub(super) fn ipc(&mut self, at: &At<'_>) {
        self.namespace("ipc", at);
        self.container.ipc = Some("private".to_owned());
    }

    pub(super) fn cgroup(&mut self, at: &At<'_>) {
        self.namespace("cgroup", at);
        self.container.cgroup = Some("private".to_owned());
    }

    /// A namespace is private, or refused.
    fn namespace(&mut self, key: &str, at: &At<'_>) {
        if !matches!(at.text(self.out), None | Some("" | "private")) {
            let place = at.node.place.clone();
            let reason = "a phoenix shares no namespace with the host or another container";
            self.refuse(&place, at, key, reason, "remove it");
        }
    }

    pub(super) fn runtime(&mut self, at: &At<'_>) {
        self.container.runtime = at.some_text(self.out);
    }

    pub(super) fn platform(&mut self, at: &At<'_>) {
        let Some(platform) = at.some_text(self.out) else {
            return;
        };
        if platform.starts_with("windows") || platform.split('/').count() > 3 {
            let message = format!("`{platform}` is not a platform that phoenixd runs on");
            at.invalid(message, "write `linux/amd64` or `linux/arm64`", self.out);
        } else {
            self.container.platform = Some(platform);
        }
    }

    pub(super) fn storage_opt(&mut self, at: &At<'_>) {
        self.container.storage_opt = at.options(self.out).unwrap_or_default();
    }

    pub(super) fn sysctls(&mut self, at: &At<'_>) {
        let mut sysctls = BTreeMap::new();
        for (name, (value, item)) in at.key_values(self.out).unwrap_or_default() {
            if let Some(value) = value {
                sysctls.insert(name, value);
            } else {
                let message = format!("`{name}` has no value");
                item.invalid(message, "write `name: value`", self.out);
            }
        }
        self.container.sysctls = sysctls;
    }
}

/// `0.5` as billionths.
fn nano_cpus(at: &At<'_>, out: &mut Problems) -> Option<i64> {
    let text = at.text(out)?;
    let is_decimal = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    match text.parse::<f64>() {
        Ok(cpus) if is_decimal && cpus <= 100_000.0 =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "not negative and at most 1e14"
            )]
            Some((cpus * 1e9).round() as i64)
        }
        Ok(_) | Err(_) => {
            let message = format!("`{text}` is not a number of CPUs");
            at.invalid(message, "write a number such as `0.5` or `2`", out);
            None
        }
    }
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
