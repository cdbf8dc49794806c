//! A definition in which every field says something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use phoenixd::spec::{
    Attachment, BlockIo, ComposeMarks, ContainerSpec, Content, DeviceRate, DeviceWeight, FileKind,
    FileMount, HealthTest, Healthcheck, ImageId, ImageRef, Logging, Mount, MountSource,
    NetworkMode, NetworkName, Policy, Probe, Reach, Recursive, TmpfsMount, Ulimit, VolumeName,
};

pub(super) fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

pub(super) fn pairs(items: &[(&str, &str)]) -> BTreeMap<String, String> {
    items
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn attachment(network: &str) -> Attachment {
    Attachment {
        network: NetworkName::new(network),
        aliases: texts(&["web", "www"]),
        ipv4: None,
        ipv6: None,
        link_local_ips: Vec::new(),
        driver_opts: BTreeMap::new(),
        gw_priority: None,
    }
}

fn mount(source: MountSource, target: &str, read_only: bool) -> Mount {
    Mount {
        source,
        target: target.to_owned(),
        read_only,
        consistency: None,
    }
}

pub(super) fn bind(
    path: &str,
    create: bool,
    selinux: Option<&str>,
    propagation: Option<&str>,
) -> MountSource {
    MountSource::Bind {
        path: path.to_owned(),
        create,
        selinux: selinux.map(str::to_owned),
        propagation: propagation.map(str::to_owned),
        recursive: Recursive::Enabled,
    }
}

pub(super) fn volume(name: &str, nocopy: bool, subpath: Option<&str>) -> MountSource {
    MountSource::Volume {
        name: VolumeName::new(name),
        nocopy,
        subpath: subpath.map(str::to_owned),
        labels: BTreeMap::new(),
    }
}

pub(super) fn image(id: Option<&str>, subpath: Option<&str>) -> MountSource {
    MountSource::Image {
        image: ImageRef::new("tools:1"),
        id: id.map(ImageId::new),
        subpath: subpath.map(str::to_owned),
    }
}

/// A bind mount that says something of the mounts below it.
pub(super) fn recursive(recursive: Recursive) -> MountSource {
    MountSource::Bind {
        path: "/srv/deep".to_owned(),
        create: true,
        selinux: None,
        propagation: Some("rprivate".to_owned()),
        recursive,
    }
}

fn rate(path: &str, rate: i64) -> Vec<DeviceRate> {
    let path = path.to_owned();
    vec![DeviceRate { path, rate }]
}

fn block_io() -> BlockIo {
    BlockIo {
        weight: Some(300),
        weights: vec![DeviceWeight {
            path: "/dev/sda".to_owned(),
            weight: 400,
        }],
        read_bytes: rate("/dev/sda", 1 << 20),
        write_bytes: rate("/dev/sda", 2 << 20),
        read_operations: rate("/dev/sda", 100),
        write_operations: rate("/dev/sda", 200),
    }
}

/// A definition in which every field says something.
#[expect(
    clippy::too_many_lines,
    reason = "one line or two for each of fifty fields"
)]
pub(super) fn rich() -> ContainerSpec {
    ContainerSpec {
        image: ImageRef::new("ghcr.io/acme/web:1.4"),
        command: Some(texts(&["serve", "--port", "80"])),
        entrypoint: Some(texts(&["/init"])),
        environment: [("A", Some("1")), ("EMPTY", Some("")), ("UNSET", None)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .collect(),
        user: Some("65534:65534".to_owned()),
        group_add: texts(&["audio"]),
        working_dir: Some("/srv".to_owned()),
        hostname: Some("web".to_owned()),
        domainname: Some("example.org".to_owned()),
        labels: pairs(&[("team", "shop")]),
        annotations: pairs(&[("run.oci.handler", "x")]),
        stop_signal: Some("SIGQUIT".to_owned()),
        stop_grace: Duration::from_millis(12_500),
        healthcheck: Some(Healthcheck {
            test: HealthTest::CmdShell("true".to_owned()),
            interval: Some(Duration::from_millis(1500)),
            timeout: Some(Duration::from_secs(1)),
            retries: Some(3),
            start_period: Some(Duration::from_secs(5)),
            start_interval: Some(Duration::from_millis(100)),
        }),
        mounts: vec![
            mount(bind("/srv/www", true, None, Some("rprivate")), "/www", true),
            mount(bind("/srv/sec", false, Some("Z"), None), "/sec", false),
            mount(
                bind("/srv/strict", false, None, Some("rprivate")),
                "/strict",
                true,
            ),
            mount(bind("/srv/a:b", true, None, None), "/colon", false),
            mount(volume("shop_data", false, None), "/data", false),
            mount(volume("shop_raw", true, None), "/raw", true),
            mount(volume("shop_part", true, Some("sub")), "/part", false),
            mount(
                MountSource::Anonymous {
                    nocopy: true,
                    labels: pairs(&[("kept", "no")]),
                },
                "/scratch",
                false,
            ),
            mount(recursive(Recursive::Readonly), "/deep", true),
            mount(image(Some("sha256:2"), Some("bin")), "/tools", false),
            Mount {
                consistency: Some("cached".to_owned()),
                ..mount(volume("shop_cached", true, None), "/cached", false)
            },
        ],
        tmpfs: vec![TmpfsMount {
            target: "/tmp".to_owned(),
            options: texts(&["noexec", "size=64m"]),
        }],
        files: vec![FileMount {
            kind: FileKind::Secret,
            name: "pw".to_owned(),
            target: "/run/secrets/pw".to_owned(),
            mode: 0o440,
            uid: Some(65_534),
            gid: None,
            content: Content::new(*b"hunter2"),
            path: Some(format!(
                "/run/phoenixd/shop/files/{}/{}",
                "e".repeat(12),
                "d".repeat(32)
            )),
        }],
        network: NetworkMode::Networks(vec![
            Attachment {
                ipv4: Some(Ipv4Addr::new(10, 1, 2, 3)),
                ipv6: Some("fd00::3".parse().unwrap()),
                link_local_ips: vec!["169.254.1.1".parse().unwrap()],
                driver_opts: pairs(&[("mtu", "1400")]),
                gw_priority: Some(7),
                ..attachment("shop_front")
            },
            attachment("shop_back"),
        ]),
        on_ready: None,
        dns: vec![IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))],
        dns_search: texts(&["example.org"]),
        dns_opt: texts(&["ndots:1"]),
        extra_hosts: texts(&["db:10.0.0.9"]),
        exposed: BTreeSet::from([(80, "tcp".to_owned()), (53, "udp".to_owned())]),
        ulimits: BTreeMap::from([(
            "nofile".to_owned(),
            Ulimit {
                soft: 1024,
                hard: 2048,
            },
        )]),
        sysctls: pairs(&[("net.core.somaxconn", "1024")]),
        init: Some(true),
        shm_size_bytes: Some(1 << 20),
        pids_limit: Some(64),
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        memory_swap_bytes: Some(128 << 20),
        memory_swappiness: Some(0),
        nano_cpus: Some(500_000_000),
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpuset: Some("0-1".to_owned()),
        cpu_count: Some(2),
        cpu_percent: Some(5000),
        cpu_rt_period: Some(1_000_000),
        cpu_rt_runtime: Some(95_000),
        block_io: Some(block_io()),
        oom_score_adj: Some(100),
        logging: Some(Logging {
            driver: Some("json-file".to_owned()),
            options: pairs(&[("max-size", "1m")]),
        }),
        read_only: Some(true),
        cap_add: texts(&["NET_BIND_SERVICE"]),
        cap_drop: texts(&["ALL"]),
        security_opt: texts(&["no-new-privileges:true"]),
        runtime: Some("runsc".to_owned()),
        platform: Some("linux/amd64".to_owned()),
        ipc: Some("private".to_owned()),
        cgroup: Some("private".to_owned()),
        storage_opt: pairs(&[("size", "1G")]),
        reach: Some(Reach {
            probe: Probe::Http {
                path: "/healthz".to_owned(),
                port: 8080,
            },
            published: vec!["127.0.0.1:8080:80".parse().unwrap()],
            policy: Policy::STRICT,
        }),
        publishes: Vec::new(),
        identity: true,
        compose: Some(ComposeMarks {
            config_hash: Some("5".repeat(64)),
            image: Some(ImageId::new("sha256:77")),
            files: vec![
                "/srv/shop/compose.yaml".into(),
                "/srv/shop/more.yaml".into(),
            ],
            working_dir: "/srv/shop".into(),
            depends_on: texts(&["db:service_healthy:false", "cache:service_started:true"]),
        }),
    }
}
