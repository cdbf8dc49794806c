//! A service, and what belongs to it alone. In the order of compose-go's `ServiceConfig`, which is that of the output.

use super::build::BUILD;
use super::deploy::{DEPLOY, DEVELOP, GPU, HOOK};
use super::shape::{
    Accepts, BOOL, BYTES, CAST_BOOL, CAST_FLOAT, CAST_INT, CAST_NUMBER, DURATION, Dict, Field,
    Keys, List, Object, Pairs, Rule, Scalar, Shape, Shown, TEXT, TEXT_OR_NUMBER, TEXT_OR_WHOLE,
    TEXTS, To, UNIQUE, WHOLE_BYTES, key, object,
};
use super::top::MOUNTS;

/// A list of mappings.
macro_rules! list {
    ($item:expr) => {
        Shape::List(&List {
            item: $item,
            unique: false,
        })
    };
}

/// A short list of names, or a mapping from each name to something.
macro_rules! names {
    ($object:expr, $nullable:expr) => {
        Shape::Either(
            &UNIQUE,
            &Shape::Dict(&Dict {
                keys: Keys::Name,
                value: Shape::Object($object),
                nullable: $nullable,
            }),
        )
    };
}

pub(super) static SERVICE: Object = Object::new(&[
    key("profiles", UNIQUE),
    key("annotations", Shape::Pairs(Pairs::Labels)),
    key("attach", BOOL).shown(Shown::Written),
    key("build", Shape::Either(&TEXT, &Shape::Object(&BUILD))).shown(Shown::Written),
    object("develop", &DEVELOP),
    object("blkio_config", &BLKIO),
    key("cap_add", UNIQUE),
    key("cap_drop", UNIQUE),
    key("cgroup_parent", TEXT),
    key("cgroup", Shape::words(&["host", "private"])),
    key("cpu_count", Shape::between(0, i64::MAX as i128, To::Int)),
    key("cpu_percent", Shape::between(0, 100, To::Float)),
    key("cpu_period", CAST_NUMBER),
    key("cpu_quota", CAST_NUMBER),
    key("cpu_rt_period", CAST_NUMBER),
    key("cpu_rt_runtime", CAST_NUMBER),
    key("cpus", CAST_FLOAT),
    key("cpuset", TEXT),
    key("cpu_shares", CAST_NUMBER),
    key("command", Shape::Command).shown(Shown::Command),
    key("configs", MOUNTS),
    key("container_name", Shape::text(CONTAINER_NAME)),
    object("credential_spec", &CREDENTIAL),
    key("depends_on", names!(&DEPENDENCY, false)),
    object("deploy", &DEPLOY),
    key("device_cgroup_rules", UNIQUE),
    key(
        "devices",
        list!(Shape::Either(&TEXT, &Shape::Object(&DEVICE))),
    ),
    key("dns", Shape::Texts),
    key("dns_opt", UNIQUE),
    key("dns_search", Shape::Texts),
    key("domainname", TEXT),
    key("entrypoint", Shape::Command).shown(Shown::Command),
    object("provider", &PROVIDER),
    key("environment", Shape::Pairs(Pairs::Environment)),
    key(
        "env_file",
        Shape::Either(
            &TEXT,
            &list!(Shape::Either(&TEXT, &Shape::Object(&ENV_FILE))),
        ),
    )
    .shown(Shown::Never),
    key("expose", Shape::Numbers),
    key("extends", Shape::Either(&TEXT, &Shape::Object(&EXTENDS))).shown(Shown::Never),
    key("external_links", UNIQUE),
    key("extra_hosts", Shape::Pairs(Pairs::Hosts)),
    key("group_add", Shape::Numbers),
    key(
        "gpus",
        Shape::Either(&Shape::words(&["all"]), &list!(Shape::Object(&GPU))),
    ),
    key("hostname", TEXT),
    object("healthcheck", &HEALTH),
    key("image", TEXT),
    key("init", CAST_BOOL).shown(Shown::Written),
    key("ipc", TEXT),
    key("isolation", TEXT),
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("label_file", Shape::Either(&TEXT, &TEXTS)).shown(Shown::Never),
    key("links", UNIQUE),
    object("logging", &LOGGING),
    key("mem_limit", BYTES),
    key("mem_reservation", WHOLE_BYTES),
    key("memswap_limit", BYTES),
    key("mem_swappiness", WHOLE_BYTES),
    key("mac_address", TEXT),
    key("models", names!(&MODEL, true)),
    key("network_mode", TEXT),
    key("networks", names!(&ATTACHMENT, true)),
    key("oom_kill_disable", CAST_BOOL),
    key("oom_score_adj", Shape::between(-1000, 1000, To::Int)),
    // The schema allows nothing at all as well, at which docker compose 2.40.3 breaks down.
    key("pid", TEXT),
    key("pids_limit", CAST_NUMBER),
    key("platform", TEXT),
    key(
        "ports",
        list!(Shape::Either(
            &Shape::scalar(TEXT_OR_NUMBER, To::Text),
            &Shape::Object(&PORT)
        )),
    ),
    key("privileged", CAST_BOOL),
    key("pull_policy", Shape::text(PULL_POLICY)),
    // The schema has it, Go's type has not.
    key("pull_refresh_after", TEXT).shown(Shown::Never),
    key("read_only", CAST_BOOL),
    key("restart", TEXT),
    key("runtime", TEXT),
    key("scale", CAST_INT).shown(Shown::Written),
    key("secrets", MOUNTS),
    key("security_opt", UNIQUE),
    key("shm_size", BYTES),
    key("stdin_open", CAST_BOOL),
    key("stop_grace_period", DURATION).shown(Shown::Written),
    key("stop_signal", TEXT),
    key("storage_opt", Shape::Pairs(Pairs::OptionsOfAny)),
    key("sysctls", Shape::Pairs(Pairs::Labels)),
    key("tmpfs", Shape::Texts),
    key("tty", CAST_BOOL),
    key(
        "ulimits",
        Shape::Dict(&Dict {
            keys: Keys::Any,
            value: Shape::Ulimit { cast: true },
            nullable: false,
        }),
    ),
    key("use_api_socket", Shape::scalar(Accepts::BOOL, To::Bool)),
    key("user", TEXT),
    key("userns_mode", TEXT),
    key("uts", TEXT),
    key(
        "volumes",
        list!(Shape::Either(&TEXT, &Shape::Object(&VOLUME))),
    ),
    key("volumes_from", UNIQUE),
    key("working_dir", TEXT),
    key("post_start", list!(Shape::Object(&HOOK))),
    key("pre_stop", list!(Shape::Object(&HOOK))),
]);

/// The schema's pattern is not anchored: any part of the text will do.
const CONTAINER_NAME: Rule = Rule {
    holds: |text| {
        let is_first = |c: char| c.is_ascii_alphanumeric();
        let is_next = |c: char| is_first(c) || matches!(c, '_' | '.' | '-');
        text.chars()
            .zip(text.chars().skip(1))
            .any(|(first, next)| is_first(first) && is_next(next))
    },
    hint: "use letters, digits, `_`, `.` and `-`, and two of them at least",
};

/// The same.
const PULL_POLICY: Rule = Rule {
    holds: |text| {
        let words = [
            "always",
            "never",
            "build",
            "if_not_present",
            "missing",
            "refresh",
            "daily",
            "weekly",
        ];
        let is_period = |after: &str| {
            let unit = after.trim_start_matches(|c: char| c.is_ascii_digit());
            unit.len() < after.len() && unit.starts_with(['w', 'd', 'h', 'm', 's'])
        };
        words.iter().any(|word| text.contains(word)) || text.split("every_").skip(1).any(is_period)
    },
    hint: "write `always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_12h`",
};

pub(super) static ULIMITS_OF_BUILD: Dict = Dict {
    keys: Keys::Any,
    value: Shape::Ulimit { cast: false },
    nullable: false,
};

static BLKIO: Object = Object::closed(&[
    key("weight", WEIGHT_OF_IO),
    key("weight_device", list!(Shape::Object(&WEIGHT))),
    key("device_read_bps", list!(Shape::Object(&RATE))),
    key("device_read_iops", list!(Shape::Object(&RATE))),
    key("device_write_bps", list!(Shape::Object(&RATE))),
    key("device_write_iops", list!(Shape::Object(&RATE))),
]);

/// Go keeps it in 16 bits, and cuts a larger one silently.
const WEIGHT_OF_IO: Shape = Shape::Scalar(Scalar {
    range: Some((0, u16::MAX as i128)),
    ..Scalar::new(TEXT_OR_WHOLE, To::Natural)
});

const DEVICE_PATH: Field = key("path", TEXT).shown(Shown::Untagged);

static WEIGHT: Object = Object::closed(&[
    DEVICE_PATH,
    key("weight", WEIGHT_OF_IO).shown(Shown::Untagged),
]);

static RATE: Object =
    Object::closed(&[DEVICE_PATH, key("rate", WHOLE_BYTES).shown(Shown::Untagged)]);

static CREDENTIAL: Object = Object::new(&[
    key("config", TEXT),
    key("file", TEXT),
    key("registry", TEXT),
]);

static DEPENDENCY: Object = Object::new(&[
    key(
        "condition",
        Shape::words(&[
            "service_started",
            "service_healthy",
            "service_completed_successfully",
        ]),
    )
    .needed(),
    key("restart", BOOL),
    key("required", Shape::scalar(Accepts::BOOL, To::Bool)).shown(Shown::Always),
]);

static DEVICE: Object = Object::new(&[
    key("source", TEXT).needed(),
    // The schema does not ask for it, the code that removes duplicates does.
    key("target", TEXT).needed(),
    key("permissions", TEXT),
]);

static PROVIDER: Object = Object::new(&[
    key("type", TEXT).needed(),
    key("options", Shape::Pairs(Pairs::Repeated)),
]);

static ENV_FILE: Object = Object::closed(&[
    key("path", TEXT).needed(),
    key("format", TEXT),
    key("required", BOOL),
]);

static EXTENDS: Object = Object::closed(&[key("service", TEXT).needed(), key("file", TEXT)]);

static HEALTH: Object = Object::new(&[
    key("test", Shape::HealthTest),
    key("timeout", DURATION).shown(Shown::Written),
    key("interval", DURATION).shown(Shown::Written),
    key("retries", Shape::cast(TEXT_OR_NUMBER, To::Natural)).shown(Shown::Written),
    key("start_period", DURATION).shown(Shown::Written),
    key("start_interval", DURATION).shown(Shown::Written),
    key("disable", CAST_BOOL),
]);

static LOGGING: Object = Object::new(&[
    key("driver", TEXT),
    key("options", Shape::Pairs(Pairs::OptionsOrNothing)),
]);

static MODEL: Object = Object::new(&[key("endpoint_var", TEXT), key("model_var", TEXT)]);

/// A number that is cut to a whole one, and never a text.
const PRIORITY: Shape = Shape::scalar(Accepts::NUMBER, To::Int);

static ATTACHMENT: Object = Object::new(&[
    key("aliases", UNIQUE),
    key("driver_opts", Shape::Pairs(Pairs::Options)),
    key("gw_priority", PRIORITY),
    key("interface_name", TEXT),
    key("ipv4_address", TEXT),
    key("ipv6_address", TEXT),
    key("link_local_ips", UNIQUE),
    key("mac_address", TEXT),
    key("priority", PRIORITY),
]);

static PORT: Object = Object::new(&[
    key("name", TEXT),
    key("mode", TEXT),
    key("host_ip", TEXT),
    key("target", Shape::cast(TEXT_OR_WHOLE, To::Natural)).needed(),
    key("published", Shape::scalar(TEXT_OR_WHOLE, To::Text)),
    key("protocol", TEXT),
    key("app_protocol", TEXT),
]);

static VOLUME: Object = Object::new(&[
    key(
        "type",
        Shape::words(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
    )
    .needed(),
    key("source", TEXT),
    key("target", TEXT).needed(),
    key("read_only", CAST_BOOL),
    key("consistency", TEXT),
    object("bind", &BIND),
    object("volume", &MOUNTED_VOLUME),
    object("tmpfs", &TMPFS),
    object("image", &IMAGE),
]);

static BIND: Object = Object::new(&[
    key("selinux", Shape::words(&["z", "Z"])),
    key("propagation", TEXT),
    key("create_host_path", BOOL),
    key(
        "recursive",
        Shape::words(&["enabled", "disabled", "writable", "readonly"]),
    ),
]);

static MOUNTED_VOLUME: Object = Object::new(&[
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("nocopy", CAST_BOOL),
    key("subpath", TEXT),
]);

const SIZE: Shape = Shape::Scalar(Scalar {
    range: Some((0, i64::MAX as i128)),
    ..Scalar::new(TEXT_OR_WHOLE, To::Bytes)
});

static TMPFS: Object = Object::new(&[
    key("size", SIZE),
    key("mode", Shape::scalar(TEXT_OR_NUMBER, To::Natural)),
]);

static IMAGE: Object = Object::new(&[key("subpath", TEXT)]);
