//! One service for each thing that a file can say and that reaches the engine.

/// A service.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// Its name.
    pub(super) name: &'static str,
    /// The keys of the Compose Specification that it is about.
    pub(super) keys: &'static [&'static str],
    /// Its lines.
    pub(super) lines: &'static str,
    /// Further settings of its `x-phoenix`, after a comma.
    pub(super) phoenix: &'static str,
    /// The first minor version of the API that knows it; an older engine is refused by phoenixd.
    pub(super) api: u32,
}

const fn case(name: &'static str, keys: &'static [&'static str], lines: &'static str) -> Case {
    Case {
        name,
        keys,
        lines,
        phoenix: "",
        api: 41,
    }
}

/// With an exception from hardening, or another setting that it needs.
const fn with(phoenix: &'static str, case: Case) -> Case {
    Case { phoenix, ..case }
}

/// From this version of the API on.
const fn since(api: u32, case: Case) -> Case {
    Case { api, ..case }
}

/// What stands beside the services.
pub(super) const TOP: &str = "
networks:
  default:
  front:
  back:
    ipam: { config: [{ subnet: 10.213.7.0/24 }] }
volumes:
  data:
  kept: { name: KEPT, labels: { a: b } }
";

/// The files beside the Compose file.
pub(super) const FILES: [(&str, &str); 5] = [
    ("web.env", "FROM_FILE=1\nA=file\n"),
    ("web.labels", "from.file=1\n"),
    (
        "base.yaml",
        "services: { base: { environment: { FROM_BASE: 1 }, command: [base] } }\n",
    ),
    (
        "profile.json",
        "{ \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"syscalls\": [ { \"names\": [\"read\", \"a b\"], \"action\": \"SCMP_ACT_ALLOW\" } ] }\n",
    ),
    ("site/index.html", "hello\n"),
];

/// The services that an engine takes.
pub(super) const CASES: &[Case] = &[
    case("plain", &["image"], ""),
    since(
        43,
        case("annotations", &["annotations"], "annotations: { a: b, c: }"),
    ),
    case(
        "blkio",
        &["blkio_config"],
        "blkio_config: { weight: 300, weight_device: [{ path: /dev/null, weight: 400 }], device_read_bps: [{ path: /dev/null, rate: 12mb }], device_write_bps: [{ path: /dev/null, rate: 1024 }], device_read_iops: [{ path: /dev/null, rate: 120 }], device_write_iops: [{ path: /dev/null, rate: 1k }] }",
    ),
    with(
        "allow: [cap_add]",
        case(
            "cap-add",
            &["cap_add"],
            "cap_add: [NET_BIND_SERVICE, chown]",
        ),
    ),
    case("cap-drop", &["cap_drop"], "cap_drop: [ALL]"),
    case("cgroup", &["cgroup"], "cgroup: private"),
    case(
        "command",
        &["command"],
        "command: serve --greeting 'hello world'",
    ),
    case("command-list", &["command"], "command: [serve, \"a b\"]"),
    case("command-empty", &["command"], "command: []"),
    case("cpu-count", &["cpu_count"], "cpu_count: 2"),
    case("cpu-percent", &["cpu_percent"], "cpu_percent: 50"),
    case(
        "cpu-period",
        &["cpu_period", "cpu_quota"],
        "cpu_period: 50000\ncpu_quota: 25000",
    ),
    case("cpu-period-alone", &["cpu_period"], "cpu_period: 50000"),
    case("cpu-quota", &["cpu_quota"], "cpu_quota: 25000"),
    case("cpu-shares", &["cpu_shares"], "cpu_shares: 512"),
    case("cpus", &["cpus"], "cpus: 0.07"),
    case("cpus-third", &["cpus"], "cpus: \"0.333\""),
    case("cpuset", &["cpuset"], "cpuset: 0-1"),
    case(
        "deploy",
        &["deploy"],
        "deploy: { mode: global, replicas: 2, labels: { a: b }, resources: { limits: { cpus: '0.29', memory: 64m, pids: 50 }, reservations: { cpus: 0.1, memory: 32m } } }",
    ),
    case("dns", &["dns"], "dns: 1.1.1.1"),
    case("dns-list", &["dns"], "dns: [9.9.9.9, 1.1.1.1]"),
    case("dns-opt", &["dns_opt"], "dns_opt: [use-vc, \"ndots:1\"]"),
    case(
        "dns-search",
        &["dns_search"],
        "dns_search: [example.org, a.example]",
    ),
    case("domainname", &["domainname"], "domainname: example.org"),
    case(
        "entrypoint",
        &["entrypoint"],
        "entrypoint: [\"/phoenixd\", version]",
    ),
    case(
        "entrypoint-text",
        &["entrypoint"],
        "entrypoint: /phoenixd 'a b'",
    ),
    case(
        "env-file",
        &["env_file"],
        "env_file: web.env\nenvironment: { A: own }",
    ),
    case(
        "environment",
        &["environment"],
        "environment: { TEXT: \"a b\", NUMBER: 1.50, YES: \"true\", NOTHING: , PATH: }",
    ),
    case(
        "environment-list",
        &["environment"],
        "environment: [A=1, B=, C, \"D=a=b\"]",
    ),
    case("expose", &["expose"], "expose: [9000, \"9100/udp\"]"),
    case(
        "extends",
        &["extends"],
        "extends: { file: base.yaml, service: base }",
    ),
    case(
        "extra-hosts",
        &["extra_hosts"],
        "extra_hosts: [\"one=10.0.0.1\", \"two:10.0.0.2\", \"six=[::1]\", \"up=host-gateway\"]",
    ),
    case(
        "extra-hosts-map",
        &["extra_hosts"],
        "extra_hosts: { one: 10.0.0.1, two: [10.0.0.2, 10.0.0.3] }",
    ),
    case("group-add", &["group_add"], "group_add: [audio, 2000]"),
    case(
        "healthcheck",
        &["healthcheck"],
        "healthcheck: { test: [CMD, /phoenixd, version], interval: 1m, timeout: 5s, retries: 3 }",
    ),
    with(
        "probe: docker",
        case(
            "healthcheck-kept",
            &["healthcheck"],
            "healthcheck: { test: [CMD, /phoenixd, version], interval: 1m30s, timeout: 5s, retries: 4, start_period: 2s }",
        ),
    ),
    with(
        "probe: docker",
        since(
            44,
            case(
                "healthcheck-shell",
                &["healthcheck"],
                "healthcheck: { test: \"a && b\", start_period: 2s, start_interval: 500ms }",
            ),
        ),
    ),
    case("hostname", &["hostname"], "hostname: web"),
    case("init", &["init"], "init: false"),
    case("ipc", &["ipc"], "ipc: private"),
    case("label-file", &["label_file"], "label_file: web.labels"),
    case(
        "labels",
        &["labels"],
        "labels: { org.example.one: 1, org.example.none: }",
    ),
    case("labels-list", &["labels"], "labels: [a=b, c]"),
    case(
        "logging",
        &["logging"],
        "logging: { driver: json-file, options: { max-size: 10m, max-file: 3 } }",
    ),
    case("mem-limit", &["mem_limit"], "mem_limit: 64m"),
    case(
        "mem-reservation",
        &["mem_reservation"],
        "mem_reservation: 1g",
    ),
    case("mem-swappiness", &["mem_swappiness"], "mem_swappiness: 10"),
    case(
        "memswap",
        &["memswap_limit"],
        "mem_limit: 64m\nmemswap_limit: 128m",
    ),
    case(
        "memswap-none",
        &["memswap_limit"],
        "mem_limit: 64m\nmemswap_limit: -1",
    ),
    case("network-none", &["network_mode"], "network_mode: none"),
    case("networks", &["networks"], "networks: [front, back]"),
    case(
        "networks-map",
        &["networks"],
        "networks: { front: { aliases: [store, other] }, back: { priority: 10, driver_opts: { a: b } } }",
    ),
    with(
        "surge: 0",
        case(
            "networks-static",
            &["networks"],
            "networks: { back: { ipv4_address: 10.213.7.77, link_local_ips: [169.254.8.8] } }",
        ),
    ),
    since(
        48,
        case(
            "networks-gateway",
            &["networks"],
            "networks: { front: { gw_priority: 5 }, back: }",
        ),
    ),
    since(
        49,
        case(
            "networks-interface",
            &["networks"],
            "networks: { front: { interface_name: eth7 } }",
        ),
    ),
    case("oom-score", &["oom_score_adj"], "oom_score_adj: 500"),
    case("pids", &["pids_limit"], "pids_limit: 50"),
    case("platform", &["platform"], "platform: linux"),
    case(
        "ports",
        &["ports"],
        "ports: [\"127.0.0.1:21873:80\", { target: 81, published: 21874 }]",
    ),
    case("pull", &["pull_policy"], "pull_policy: never"),
    case("read-only", &["read_only"], "read_only: true"),
    with(
        "allow: [writable_root]",
        case("writable", &["read_only"], "read_only: false"),
    ),
    case("restart", &["restart"], "restart: unless-stopped"),
    case("runtime", &["runtime"], "runtime: runc"),
    case("scale", &["scale"], "scale: 2"),
    case(
        "security",
        &["security_opt"],
        "security_opt: [\"no-new-privileges:true\"]",
    ),
    with(
        "allow: [security_profile]",
        case(
            "seccomp",
            &["security_opt"],
            "security_opt: [seccomp=./profile.json]",
        ),
    ),
    with(
        "allow: [new_privileges]",
        case(
            "privileges",
            &["security_opt"],
            "security_opt: [\"no-new-privileges:false\"]",
        ),
    ),
    case("shm", &["shm_size"], "shm_size: 32m"),
    case(
        "stop-grace",
        &["stop_grace_period"],
        "stop_grace_period: 1m30s",
    ),
    case("stop-signal", &["stop_signal"], "stop_signal: SIGQUIT"),
    case(
        "sysctls",
        &["sysctls"],
        "sysctls: { net.core.somaxconn: 1024 }",
    ),
    case(
        "sysctls-list",
        &["sysctls"],
        "sysctls: [net.ipv4.tcp_syncookies=0]",
    ),
    case(
        "tmpfs",
        &["tmpfs"],
        "tmpfs: [/run, \"/scratch:size=32m,mode=1770\"]",
    ),
    with(
        "allow: [tmpfs_exec]",
        case("tmpfs-exec", &["tmpfs"], "tmpfs: /run:exec,size=1m"),
    ),
    case(
        "ulimits",
        &["ulimits"],
        "ulimits: { nproc: 64, nofile: { soft: 1024, hard: 2048 } }",
    ),
    case("user", &["user"], "user: \"1000:1000\""),
    with("allow: [root]", case("user-root", &["user"], "user: root")),
    case("working-dir", &["working_dir"], "working_dir: /srv"),
    case(
        "binds",
        &["volumes"],
        "volumes: [\"./site:/site:ro\", \"./site:/z:z\", \"./made:/made\"]",
    ),
    case(
        "bind-long",
        &["volumes"],
        "volumes: [{ type: bind, source: ./site, target: /site, read_only: true }, { type: bind, source: ./site, target: /strict, bind: { create_host_path: false } }, { type: bind, source: ./site, target: /empty, bind: { selinux: z } }]",
    ),
    case(
        "bind-propagation",
        &["volumes"],
        "volumes: [\"./site:/site:rprivate\"]",
    ),
    case(
        "bind-shallow",
        &["volumes"],
        "volumes: [{ type: bind, source: ./site, target: /site, bind: { recursive: disabled } }]",
    ),
    since(
        44,
        case(
            "bind-recursive",
            &["volumes"],
            "volumes: [{ type: bind, source: ./site, target: /a, read_only: true, bind: { recursive: writable } }, { type: bind, source: ./site, target: /b, read_only: true, bind: { recursive: readonly, propagation: rprivate } }]",
        ),
    ),
    case(
        "volumes",
        &["volumes"],
        "volumes: [\"data:/data\", \"data:/ro:ro\", \"data:/raw:nocopy\"]",
    ),
    case(
        "volume-long",
        &["volumes"],
        "volumes: [{ type: volume, source: data, target: /data, volume: { nocopy: true } }, { type: volume, source: data, target: /labels, read_only: true, volume: { labels: { a: b } }, consistency: cached }]",
    ),
    case(
        "volume-anonymous",
        &["volumes"],
        "volumes: [/scratch, { type: volume, target: /b, volume: { labels: [a=b], nocopy: true } }]",
    ),
    since(
        45,
        case(
            "volume-subpath",
            &["volumes"],
            "volumes: [{ type: volume, source: data, target: /data, volume: { subpath: a/b } }]",
        ),
    ),
    case(
        "volume-tmpfs",
        &["volumes"],
        "volumes: [{ type: tmpfs, target: /scratch, tmpfs: { size: 32m, mode: 0o1770 } }]",
    ),
    since(
        48,
        case(
            "volume-image",
            &["volumes"],
            "volumes: [{ type: image, source: \"IMAGE\", target: /tools }]",
        ),
    ),
    since(
        48,
        case(
            "volume-image-part",
            &["volumes"],
            "volumes: [{ type: image, source: \"IMAGE\", target: /part, read_only: true, image: { subpath: part } }]",
        ),
    ),
    case("annotations-none", &["labels"], "labels: {}"),
    case(
        "command-nothing",
        &["command"],
        "command: \"\"\nentrypoint: [\"/phoenixd\"]",
    ),
    case(
        "command-escaped",
        &["command"],
        "command: [\"$$HOME\", \"'x'\", \"\"]",
    ),
    case(
        "entrypoint-empty",
        &["entrypoint"],
        "entrypoint: []\ncommand: [\"/phoenixd\"]",
    ),
    case(
        "expose-range",
        &["expose"],
        "expose: [\"9100-9102\", \"9200-9201/udp\"]",
    ),
    case(
        "ports-range",
        &["ports"],
        "ports: [\"127.0.0.1:21900-21901:90-91\"]",
    ),
    case(
        "grace-part",
        &["stop_grace_period"],
        "stop_grace_period: 1500ms",
    ),
    case(
        "healthcheck-off",
        &["healthcheck"],
        "healthcheck: { disable: true }",
    ),
    with(
        "probe: docker",
        case(
            "healthcheck-times",
            &["healthcheck"],
            "healthcheck: { test: \"exit 0\", interval: 1h, timeout: 1500ms, start_period: 0s }",
        ),
    ),
    case(
        "logging-options",
        &["logging"],
        "logging: { options: { max-size: 5m } }",
    ),
    case("logging-none", &["logging"], "logging: { driver: none }"),
    case(
        "mem-part",
        &["mem_limit"],
        "mem_limit: 1.5g\nmem_reservation: \"10485760\"",
    ),
    case("no-swappiness", &["mem_swappiness"], "mem_swappiness: 0"),
    case(
        "user-number",
        &["user"],
        "user: \"1000\"\ngroup_add: [1000, audio]",
    ),
    case(
        "numbers",
        &["pids_limit", "mem_limit"],
        "pids_limit: 0o100\nmem_limit: 0x4000000\ncpu_shares: 010\ncpus: 1_0e-1\noom_score_adj: \"010\"",
    ),
    case(
        "zeroes",
        &["oom_score_adj", "cpu_shares"],
        "oom_score_adj: 0\ncpu_shares: 0\ncpu_quota: 0\nshm_size: 0",
    ),
    case("search-none", &["dns_search"], "dns_search: ."),
    case(
        "alias-own",
        &["networks"],
        "networks: { front: { aliases: [alias-own, x] } }",
    ),
    case(
        "network-empty",
        &["networks"],
        "networks: { front: {}, back: { priority: 1 } }",
    ),
    case(
        "target-slash",
        &["volumes"],
        "volumes: [\"./site/:/site/\", \"./../x:/a/./b//c\", data:/data/:ro]",
    ),
    case(
        "volume-empty",
        &["volumes"],
        "volumes: [{ type: volume, source: data, target: /data, volume: {} }, { type: bind, source: ./site, target: /s, bind: {} }]",
    ),
    case(
        "tmpfs-long-mode",
        &["volumes"],
        "volumes: [{ type: tmpfs, target: /run, read_only: true, tmpfs: { mode: 448 } }]",
    ),
    case("named-external", &["volumes"], "volumes: [\"kept:/kept\"]"),
    case("swap-only", &["memswap_limit"], "memswap_limit: -1"),
    case(
        "limits-both",
        &["deploy"],
        "cpus: 0.5\nmem_limit: 64m\ndeploy: { resources: { limits: { cpus: 0.5, memory: 64m } } }",
    ),
    case(
        "ulimit-none",
        &["ulimits"],
        "ulimits: { memlock: -1, nofile: 1048576 }",
    ),
];

/// Services that the engine of a test host refuses: it has to say the same to both.
pub(super) const REFUSED: &[Case] = &[
    case(
        "real-time",
        &["cpu_rt_period", "cpu_rt_runtime"],
        "cpu_rt_period: 1000000\ncpu_rt_runtime: 2000000",
    ),
    case("storage", &["storage_opt"], "storage_opt: { sizes: 1G }"),
    case("no-runtime", &["runtime"], "runtime: runnothing"),
    case("no-driver", &["logging"], "logging: { driver: nothing }"),
    case("small", &["mem_limit"], "mem_limit: 1k"),
];

/// Honoured keys that are held by tests of their own, with the reason.
pub(super) const ELSEWHERE: [(&str, &str); 4] = [
    ("build", "it makes an image, and no part of a container"),
    (
        "configs",
        "phoenixd mounts files that docker compose copies",
    ),
    ("depends_on", "it is about the order of starts"),
    (
        "secrets",
        "phoenixd mounts files that docker compose copies",
    ),
];
