//! Every key of a service in the Compose Specification (schema of 2026-06), and what becomes of it in a phoenix: it is
//! honoured (it reaches the create body as docker compose 2.40.3 would send it), refused, or not a phoenix's business.

use self::Harmless::{Empty, False, Words};
use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::model::Fate;
use crate::compose::tree::Value;

/// What becomes of a key.
pub(super) enum Treatment {
    /// Honoured: it has a counterpart in the spec.
    Bound(fn(&mut Binder<'_, '_>, &At<'_>)),
    /// Honoured: it has been read with the file, and is part of other keys by now.
    Loaded,
    /// It cannot be honoured by something immutable, ever.
    Refused {
        /// The values that ask for nothing.
        harmless: Harmless,
        /// Why.
        reason: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// It is none of a phoenix's business: it tells other commands of docker compose what to do.
    NotOurs,
}

/// The values of a refused key that ask for nothing.
#[derive(Clone, Copy)]
pub(super) enum Harmless {
    /// `false`.
    False,
    /// An empty text, list or mapping.
    Empty,
    /// One of these words.
    Words(&'static [&'static str]),
}

impl Harmless {
    /// Whether the value asks for nothing.
    pub(super) fn covers(self, at: &At<'_>) -> bool {
        match (self, &at.node.value) {
            (Self::False, Value::Text(text)) => {
                ["false", "no", "off", "n", "f", "0"].contains(&text.to_ascii_lowercase().as_str())
            }
            (Self::Words(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Self::Empty, Value::Text(text)) => text.is_empty(),
            (Self::Empty, Value::List(items)) => items.is_empty(),
            (Self::Empty, Value::Map(entries)) => entries.is_empty(),
            (_, Value::Null) => true,
            (Self::False | Self::Words(_), Value::List(_) | Value::Map(_)) => false,
        }
    }
}

/// What becomes of each key, for people.
pub(in crate::compose) fn fates() -> impl Iterator<Item = (&'static str, Fate)> {
    KEYS.iter().map(|(key, treatment)| {
        let fate = match treatment {
            Treatment::Bound(_) | Treatment::Loaded => Fate::Honoured,
            Treatment::Refused { reason, hint, .. } => Fate::Refused {
                reason,
                instead: hint,
            },
            Treatment::NotOurs => Fate::NoBusiness,
        };
        (*key, fate)
    })
}

const fn refused(harmless: Harmless, reason: &'static str, hint: &'static str) -> Treatment {
    Treatment::Refused {
        harmless,
        reason,
        hint,
    }
}

/// A key's method, with its lifetimes left open: a path to the method would fix them.
macro_rules! bound {
    ($method:ident) => {
        Treatment::Bound(|binder, at| binder.$method(at))
    };
}

pub(super) const REMOVE: &str =
    "remove it; a phoenix that needs it is better left to docker compose";
pub(super) const DEVICE: &str = "a device leads out of the container";
const NO_WAY_IN: &str = "nobody logs in to a phoenix, and nothing types into it";

/// The table.
pub(super) const KEYS: &[(&str, Treatment)] = &[
    ("annotations", bound!(annotations)),
    // Whether `docker compose up` shows the logs.
    ("attach", Treatment::NotOurs),
    ("blkio_config", bound!(blkio_config)),
    ("build", bound!(build)),
    ("cap_add", bound!(cap_add)),
    ("cap_drop", bound!(cap_drop)),
    ("cgroup", bound!(cgroup)),
    (
        "cgroup_parent",
        refused(
            Empty,
            "it takes the replica out of the limits that phoenixd watches",
            "remove it, and set `mem_limit`, `cpus` and `pids_limit`",
        ),
    ),
    ("command", bound!(command)),
    ("configs", bound!(configs)),
    (
        "container_name",
        refused(
            Empty,
            "a replica and its replacement cannot share one name",
            "remove it; other containers reach the service under its own name",
        ),
    ),
    ("cpu_count", bound!(cpu_count)),
    ("cpu_percent", bound!(cpu_percent)),
    ("cpu_period", bound!(cpu_period)),
    ("cpu_quota", bound!(cpu_quota)),
    ("cpu_rt_period", bound!(cpu_rt_period)),
    ("cpu_rt_runtime", bound!(cpu_rt_runtime)),
    ("cpu_shares", bound!(cpu_shares)),
    ("cpus", bound!(cpus)),
    ("cpuset", bound!(cpuset)),
    (
        "credential_spec",
        refused(
            Empty,
            "it belongs to Windows containers",
            "remove it; phoenixd runs Linux containers",
        ),
    ),
    ("depends_on", bound!(depends_on)),
    ("deploy", bound!(deploy)),
    // What `docker compose watch` does while somebody works on the sources.
    ("develop", Treatment::NotOurs),
    ("device_cgroup_rules", refused(Empty, DEVICE, REMOVE)),
    ("devices", refused(Empty, DEVICE, REMOVE)),
    ("dns", bound!(dns)),
    ("dns_opt", bound!(dns_opt)),
    ("dns_search", bound!(dns_search)),
    ("domainname", bound!(domainname)),
    ("entrypoint", bound!(entrypoint)),
    // Part of `environment` by now.
    ("env_file", Treatment::Loaded),
    ("environment", bound!(environment)),
    ("expose", bound!(expose)),
    // Resolved by now.
    ("extends", Treatment::Loaded),
    (
        "external_links",
        refused(
            Empty,
            "a link names one container, and containers come and go",
            "attach both to one network, which may be external, and use the service's name",
        ),
    ),
    ("extra_hosts", bound!(extra_hosts)),
    ("gpus", refused(Empty, DEVICE, REMOVE)),
    ("group_add", bound!(group_add)),
    ("healthcheck", bound!(healthcheck)),
    ("hostname", bound!(hostname)),
    ("image", bound!(image)),
    ("init", bound!(init)),
    ("ipc", bound!(ipc)),
    (
        "isolation",
        refused(
            Words(&["", "default"]),
            "it belongs to Windows containers",
            "remove it; `runtime` chooses the OCI runtime",
        ),
    ),
    // Part of `labels` by now.
    ("label_file", Treatment::Loaded),
    ("labels", bound!(labels)),
    (
        "links",
        refused(
            Empty,
            "a link names one container, and replicas come and go",
            "attach both services to one network, and use the service's name",
        ),
    ),
    ("logging", bound!(logging)),
    (
        "mac_address",
        refused(
            Empty,
            "a replica and its replacement cannot share one address",
            "remove it: the engine gives each an address of its own",
        ),
    ),
    ("mem_limit", bound!(mem_limit)),
    ("mem_reservation", bound!(mem_reservation)),
    ("mem_swappiness", bound!(mem_swappiness)),
    ("memswap_limit", bound!(memswap_limit)),
    (
        "models",
        refused(
            Empty,
            "a model is run beside the engine by docker compose, which a phoenix does without",
            "give the model's address under `environment`, or leave the service to docker compose",
        ),
    ),
    ("network_mode", bound!(network_mode)),
    ("networks", bound!(networks)),
    (
        "oom_kill_disable",
        refused(
            False,
            "a replica that cannot be killed can hang the host",
            "remove it, and raise `mem_limit`",
        ),
    ),
    ("oom_score_adj", bound!(oom_score_adj)),
    (
        "pid",
        refused(
            Words(&["", "private"]),
            "a phoenix sees no processes but its own",
            "remove it",
        ),
    ),
    ("pids_limit", bound!(pids_limit)),
    ("platform", bound!(platform)),
    ("ports", bound!(ports)),
    (
        "post_start",
        refused(
            Empty,
            "it runs by `docker exec`, and nothing is ever run inside a phoenix from outside",
            "let the image's entrypoint do it",
        ),
    ),
    (
        "pre_stop",
        refused(
            Empty,
            "it runs by `docker exec`, and nothing is ever run inside a phoenix from outside",
            "let the process do it on its `stop_signal`; `x-phoenix: { drain: 10s }` keeps new connections away",
        ),
    ),
    (
        "privileged",
        refused(
            False,
            "a privileged container is root on the host",
            "remove it; name the one capability that it needs under `cap_add`, with `x-phoenix: { allow: [cap_add] }`",
        ),
    ),
    // Which services `docker compose up` starts; phoenixd takes every phoenix.
    ("profiles", Treatment::NotOurs),
    (
        "provider",
        refused(
            Empty,
            "what a provider makes is no container",
            "remove `x-phoenix` here: docker compose runs the provider",
        ),
    ),
    ("pull_policy", bound!(pull_policy)),
    (
        "pull_refresh_after",
        refused(
            Empty,
            "docker compose does nothing about it, and neither does phoenixd",
            "write the age into the policy: `pull_policy: every_12h`",
        ),
    ),
    ("read_only", bound!(read_only)),
    ("restart", bound!(restart)),
    ("runtime", bound!(runtime)),
    ("scale", bound!(scale)),
    ("secrets", bound!(secrets)),
    ("security_opt", bound!(security_opt)),
    ("shm_size", bound!(shm_size)),
    ("stdin_open", refused(False, NO_WAY_IN, "remove it")),
    ("stop_grace_period", bound!(stop_grace_period)),
    ("stop_signal", bound!(stop_signal)),
    ("storage_opt", bound!(storage_opt)),
    ("sysctls", bound!(sysctls)),
    ("tmpfs", bound!(tmpfs)),
    ("tty", refused(False, NO_WAY_IN, "remove it")),
    ("ulimits", bound!(ulimits)),
    (
        "use_api_socket",
        refused(
            False,
            "whoever holds the engine's socket is root on the host",
            "remove it",
        ),
    ),
    ("user", bound!(user)),
    (
        "userns_mode",
        refused(
            Empty,
            "a phoenix keeps the user namespace that the engine gives it",
            "remove it",
        ),
    ),
    (
        "uts",
        refused(
            Empty,
            "a phoenix has a host name of its own",
            "remove it; `hostname` sets the name",
        ),
    ),
    ("volumes", bound!(volumes)),
    (
        "volumes_from",
        refused(
            Empty,
            "the other container may be replaced at any time, and its mounts end with it",
            "name the volumes under `volumes` of both services",
        ),
    ),
    ("working_dir", bound!(working_dir)),
];
