//! The hash over what a replica is born from.

use std::collections::BTreeMap;
use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::docker::spec_hash;
use phoenixd::spec::{
    Attachment, BlockIo, ContainerSpec, Content, ImageId, ImageRef, MountSource, NetworkMode,
    NetworkName, Published, Recursive,
};

use super::rich::{attachment, bind, image as image_mount, pairs, recursive, rich, volume};

fn image() -> ImageId {
    ImageId::new(format!("sha256:{}", "1".repeat(64)))
}

/// A change of this value replaces every replica of every user: it needs a note in the changelog.
#[test]
fn the_spec_hash_is_the_same_in_every_run_and_release() {
    assert_snapshot!(spec_hash(&rich(), &image()), @"cbd2c41434c5dabdf9f9094a85f79092");
}

/// A change of one field.
type Change = fn(&mut ContainerSpec);

/// One change for every field, and for what lies below it.
#[expect(
    clippy::too_many_lines,
    reason = "one line or two for each of fifty fields"
)]
fn changes() -> Vec<(&'static str, Change)> {
    // A field that is added has to be changed below.
    let ContainerSpec {
        image: _,
        command: _,
        entrypoint: _,
        environment: _,
        user: _,
        group_add: _,
        working_dir: _,
        hostname: _,
        domainname: _,
        labels: _,
        annotations: _,
        stop_signal: _,
        stop_grace: _,
        healthcheck: _,
        mounts: _,
        tmpfs: _,
        files: _,
        network: _,
        on_ready: _,
        dns: _,
        dns_search: _,
        dns_opt: _,
        extra_hosts: _,
        exposed: _,
        ulimits: _,
        sysctls: _,
        init: _,
        shm_size_bytes: _,
        pids_limit: _,
        memory_bytes: _,
        memory_reservation_bytes: _,
        memory_swap_bytes: _,
        memory_swappiness: _,
        nano_cpus: _,
        cpu_shares: _,
        cpu_quota: _,
        cpu_period: _,
        cpuset: _,
        cpu_count: _,
        cpu_percent: _,
        cpu_rt_period: _,
        cpu_rt_runtime: _,
        block_io: _,
        oom_score_adj: _,
        logging: _,
        read_only: _,
        cap_add: _,
        cap_drop: _,
        security_opt: _,
        runtime: _,
        platform: _,
        ipc: _,
        cgroup: _,
        storage_opt: _,
        reach: _,
        identity: _,
        publishes: _,
        // What compose is told of it is no part of what it is born from.
        compose: _,
    } = rich();
    let mut changes: Vec<(&'static str, Change)> = vec![
        ("image", |c| c.image = ImageRef::new("web:2")),
        ("command", |c| c.command = None),
        ("command, empty", |c| c.command = Some(Vec::new())),
        ("entrypoint", |c| c.entrypoint = Some(Vec::new())),
        ("environment", |c| drop(c.environment.remove("UNSET"))),
        ("environment, value", |c| {
            drop(c.environment.insert("A".to_owned(), Some("2".to_owned())));
        }),
        ("user", |c| c.user = None),
        ("group_add", |c| c.group_add.clear()),
        ("working_dir", |c| c.working_dir = None),
        ("hostname", |c| c.hostname = None),
        ("domainname", |c| c.domainname = None),
        ("labels", |c| c.labels.clear()),
        ("annotations", |c| c.annotations.clear()),
        ("stop_signal", |c| c.stop_signal = None),
        ("stop_grace", |c| c.stop_grace = Duration::from_secs(1)),
        ("healthcheck", |c| c.healthcheck = None),
        ("on_ready", |c| {
            c.on_ready = Some(attachment("shop_ready"));
        }),
        ("on_ready, aliases", |c| {
            let named = Attachment {
                aliases: vec!["other".to_owned()],
                ..attachment("shop_ready")
            };
            c.on_ready = Some(named);
        }),
        ("dns", |c| c.dns.clear()),
        ("dns_search", |c| c.dns_search.clear()),
        ("dns_opt", |c| c.dns_opt.clear()),
        ("extra_hosts", |c| c.extra_hosts.clear()),
        ("exposed", |c| c.exposed.clear()),
        ("ulimits", |c| c.ulimits.clear()),
        ("sysctls", |c| c.sysctls.clear()),
        ("init", |c| c.init = Some(false)),
        ("shm_size", |c| c.shm_size_bytes = None),
        ("pids_limit", |c| c.pids_limit = Some(65)),
        ("memory", |c| c.memory_bytes = None),
        ("memory_reservation", |c| c.memory_reservation_bytes = None),
        ("memory_swap", |c| c.memory_swap_bytes = Some(-1)),
        ("memory_swappiness", |c| c.memory_swappiness = None),
        ("nano_cpus", |c| c.nano_cpus = None),
        ("cpu_shares", |c| c.cpu_shares = None),
        ("cpu_quota", |c| c.cpu_quota = None),
        ("cpu_period", |c| c.cpu_period = None),
        ("cpuset", |c| c.cpuset = None),
        ("cpu_count", |c| c.cpu_count = None),
        ("cpu_percent", |c| c.cpu_percent = None),
        ("cpu_rt_period", |c| c.cpu_rt_period = None),
        ("cpu_rt_runtime", |c| c.cpu_rt_runtime = None),
        ("oom_score_adj", |c| c.oom_score_adj = None),
        ("logging", |c| c.logging = None),
        ("read_only", |c| c.read_only = Some(false)),
        ("cap_add", |c| c.cap_add.clear()),
        ("cap_drop", |c| c.cap_drop.clear()),
        ("security_opt", |c| c.security_opt.clear()),
        ("runtime", |c| c.runtime = None),
        ("platform", |c| c.platform = None),
        ("ipc", |c| c.ipc = Some("shareable".to_owned())),
        ("cgroup", |c| c.cgroup = None),
        ("storage_opt", |c| c.storage_opt.clear()),
        ("reach", |c| c.reach = None),
        ("identity", |c| c.identity = false),
        ("publishes", |c| {
            c.publishes.extend("8080:80".parse::<Published>());
        }),
        ("tmpfs", |c| c.tmpfs.clear()),
        ("tmpfs, options", |c| c.tmpfs[0].options.clear()),
        ("network", |c| c.network = NetworkMode::None),
        ("files", |c| c.files.clear()),
        ("files, target", |c| c.files[0].target.push('x')),
        ("files, another digest", |c| {
            c.files[0].path = Some("/run/phoenixd/other".to_owned());
        }),
    ];
    changes.extend(mount_changes());
    changes.extend(block_io_changes());
    changes.extend(network_changes());
    changes
}

fn mount_changes() -> Vec<(&'static str, Change)> {
    vec![
        ("mounts, order", |c| c.mounts.swap(0, 4)),
        ("mounts, read_only", |c| c.mounts[0].read_only = false),
        ("mounts, target", |c| c.mounts[0].target.push('x')),
        ("mounts, create", |c| {
            c.mounts[0].source = bind("/srv/www", false, None, Some("rprivate"));
        }),
        ("mounts, propagation", |c| {
            c.mounts[0].source = bind("/srv/www", true, None, None);
        }),
        ("mounts, selinux", |c| {
            c.mounts[1].source = bind("/srv/sec", false, Some("z"), None);
        }),
        ("mounts, volume", |c| {
            c.mounts[4].source = volume("shop_other", false, None);
        }),
        ("mounts, nocopy", |c| {
            c.mounts[4].source = volume("shop_data", true, None);
        }),
        ("mounts, subpath", |c| {
            c.mounts[6].source = volume("shop_part", true, Some("bus"));
        }),
        ("mounts, labels", |c| {
            if let MountSource::Volume { labels, .. } = &mut c.mounts[4].source {
                *labels = pairs(&[("a", "b")]);
            }
        }),
        ("mounts, anonymous", |c| drop(c.mounts.remove(7))),
        ("mounts, anonymous, labels", |c| {
            if let MountSource::Anonymous { labels, .. } = &mut c.mounts[7].source {
                labels.clear();
            }
        }),
        ("mounts, anonymous, nocopy", |c| {
            if let MountSource::Anonymous { nocopy, .. } = &mut c.mounts[7].source {
                *nocopy = false;
            }
        }),
        ("mounts, recursive", |c| {
            c.mounts[8].source = recursive(Recursive::Disabled);
        }),
        ("mounts, recursive, writable", |c| {
            c.mounts[8].source = recursive(Recursive::Writable);
        }),
        ("mounts, recursive, enabled", |c| {
            c.mounts[8].source = recursive(Recursive::Enabled);
        }),
        ("mounts, image", |c| {
            c.mounts[9].source = image_mount(Some("sha256:3"), Some("bin"));
        }),
        ("mounts, image, subpath", |c| {
            c.mounts[9].source = image_mount(Some("sha256:2"), None);
        }),
        ("mounts, consistency", |c| c.mounts[10].consistency = None),
    ]
}

fn block_io(container: &mut ContainerSpec) -> &mut BlockIo {
    container.block_io.get_or_insert_default()
}

fn block_io_changes() -> Vec<(&'static str, Change)> {
    vec![
        ("block_io", |c| c.block_io = None),
        ("block_io, weight", |c| block_io(c).weight = None),
        ("block_io, weights", |c| block_io(c).weights.clear()),
        ("block_io, one weight", |c| {
            block_io(c).weights[0].weight = 10;
        }),
        ("block_io, reads", |c| block_io(c).read_bytes.clear()),
        ("block_io, writes", |c| block_io(c).write_bytes.clear()),
        ("block_io, read rate", |c| {
            block_io(c).read_bytes[0].rate = 1;
        }),
        ("block_io, read operations", |c| {
            block_io(c).read_operations.clear();
        }),
        ("block_io, write operations", |c| {
            block_io(c).write_operations.clear();
        }),
    ]
}

fn attachments(container: &mut ContainerSpec) -> &mut Vec<Attachment> {
    match &mut container.network {
        NetworkMode::Networks(attachments) => attachments,
        NetworkMode::None | NetworkMode::Pod => unreachable!("the rich definition has networks"),
    }
}

fn network_changes() -> Vec<(&'static str, Change)> {
    vec![
        ("network, order", |c| attachments(c).swap(0, 1)),
        ("network, alias", |c| attachments(c)[0].aliases.clear()),
        ("network, ipv4", |c| attachments(c)[0].ipv4 = None),
        ("network, ipv6", |c| attachments(c)[0].ipv6 = None),
        ("network, link-local", |c| {
            attachments(c)[0].link_local_ips.clear();
        }),
        ("network, gw_priority", |c| {
            attachments(c)[0].gw_priority = None;
        }),
        ("network, driver_opts", |c| {
            attachments(c)[0].driver_opts.clear();
        }),
        ("second network", |c| drop(attachments(c).pop())),
        ("second network, name", |c| {
            attachments(c)[1].network = NetworkName::new("x");
        }),
        ("second network, alias", |c| {
            attachments(c)[1].aliases.clear();
        }),
        ("third network", |c| {
            attachments(c).push(attachment("shop_third"));
        }),
    ]
}

#[test]
fn the_spec_hash_changes_with_every_field() {
    let mut seen = BTreeMap::from([
        (spec_hash(&rich(), &image()), "nothing"),
        (spec_hash(&rich(), &ImageId::new("sha256:2")), "the image"),
    ]);
    assert_eq!(seen.len(), 2);
    for (name, change) in changes() {
        let mut changed = rich();
        change(&mut changed);
        assert_ne!(changed, rich(), "{name} is a change");
        if let Some(other) = seen.insert(spec_hash(&changed, &image()), name) {
            unreachable!("{name} and {other} have the same hash");
        }
    }
}

/// Whoever may read the labels could else try contents until one fits.
#[test]
fn the_spec_hash_knows_a_secret_by_its_keyed_digest_alone() {
    let mut other = rich();
    other.files[0].content = Content::new(*b"another");
    assert_eq!(spec_hash(&other, &image()), spec_hash(&rich(), &image()));
}

#[test]
fn what_compose_is_told_is_not_in_the_spec_hash() {
    let untold = ContainerSpec {
        compose: None,
        ..rich()
    };
    assert_eq!(spec_hash(&untold, &image()), spec_hash(&rich(), &image()));
}

#[test]
fn the_spec_hash_does_not_tell_replicas_apart() {
    let hash = spec_hash(&rich(), &image());
    assert_eq!(hash, spec_hash(&rich(), &image()));
    assert_eq!(hash.as_str().len(), 32);
    assert!(hash.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
}
