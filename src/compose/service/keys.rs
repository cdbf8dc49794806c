//! Every key of a service in the Compose Specification (schema of 2026-06), and what becomes of it in a phoenix.

use self::Harmless::{Empty, False, Words};
use self::Treatment::NotYet;
use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::tree::Value;

/// What becomes of a key.
pub(super) enum Treatment {
    /// It has a counterpart in the spec.
    Bound(fn(&mut Binder<'_, '_>, &At<'_>)),
    /// It cannot be honoured by something immutable, ever.
    Refused {
        /// The values that ask for nothing.
        harmless: Harmless,
        /// Why.
        reason: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// It will be honoured, and is an error until then; with a hint.
    NotYet(&'static str),
    /// It changes nothing about a running phoenix.
    Harmless,
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

const REMOVE: &str = "remove it; a phoenix that needs it is better left to docker compose";
const NO_WAY_IN: &str = "nobody logs in to a phoenix, and nothing types into it";

/// The table.
pub(super) const KEYS: &[(&str, Treatment)] = &[
    ("annotations", bound!(annotations)),
    // Whether `docker compose up` shows the logs.
    ("attach", Treatment::Harmless),
    ("blkio_config", NotYet(REMOVE)),
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
    (
        "configs",
        NotYet("put the file into the image, or mount it read-only under `volumes`"),
    ),
    (
        "container_name",
        refused(
            Empty,
            "a replica and its replacement cannot share one name",
            "remove it; other containers reach the service under its own name",
        ),
    ),
    ("cpu_count", NotYet("use `cpus`")),
    ("cpu_percent", NotYet("use `cpus`")),
    ("cpu_period", bound!(cpu_period)),
    ("cpu_quota", bound!(cpu_quota)),
    ("cpu_rt_period", NotYet(REMOVE)),
    ("cpu_rt_runtime", NotYet(REMOVE)),
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
    (
        "depends_on",
        NotYet(
            "remove it, and let the service wait for what it needs: whatever it depends on may be replaced at any time",
        ),
    ),
    ("deploy", bound!(deploy)),
    (
        "develop",
        NotYet("keep it in a file of its own for `docker compose watch`"),
    ),
    (
        "device_cgroup_rules",
        refused(Empty, "a device leads out of the container", REMOVE),
    ),
    (
        "devices",
        refused(Empty, "a device leads out of the container", REMOVE),
    ),
    ("dns", bound!(dns)),
    ("dns_opt", bound!(dns_opt)),
    ("dns_search", bound!(dns_search)),
    ("domainname", bound!(domainname)),
    ("entrypoint", bound!(entrypoint)),
    ("env_file", bound!(env_file)),
    ("environment", bound!(environment)),
    ("expose", bound!(expose)),
    (
        "extends",
        NotYet("write the keys out, or share them with an anchor and `<<: *anchor`"),
    ),
    (
        "external_links",
        NotYet("attach both containers to one network, and use the service's name"),
    ),
    ("extra_hosts", bound!(extra_hosts)),
    ("gpus", NotYet(REMOVE)),
    ("group_add", bound!(group_add)),
    ("healthcheck", bound!(healthcheck)),
    ("hostname", bound!(hostname)),
    ("image", bound!(image)),
    ("init", bound!(init)),
    ("ipc", bound!(ipc)),
    (
        "isolation",
        NotYet("remove it; `runtime` chooses the OCI runtime"),
    ),
    ("label_file", NotYet("write the labels under `labels`")),
    ("labels", bound!(labels)),
    (
        "links",
        NotYet("attach both services to one network, and use the service's name"),
    ),
    ("logging", bound!(logging)),
    (
        "mac_address",
        NotYet("remove it: a replica and its replacement cannot share one address"),
    ),
    ("mem_limit", bound!(mem_limit)),
    ("mem_reservation", bound!(mem_reservation)),
    ("mem_swappiness", bound!(mem_swappiness)),
    ("memswap_limit", bound!(memswap_limit)),
    ("models", NotYet(REMOVE)),
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
    ("profiles", Treatment::Harmless),
    ("provider", NotYet(REMOVE)),
    ("pull_policy", bound!(pull_policy)),
    ("pull_refresh_after", NotYet(REMOVE)),
    ("read_only", bound!(read_only)),
    ("restart", bound!(restart)),
    ("runtime", bound!(runtime)),
    ("scale", bound!(scale)),
    (
        "secrets",
        NotYet("mount the file read-only under `volumes` until then"),
    ),
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
        NotYet("name the volumes under `volumes` of both services"),
    ),
    ("working_dir", bound!(working_dir)),
];
