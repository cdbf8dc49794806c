//! The hash over what a replica is born from.

use std::collections::BTreeMap;
use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::docker::spec_hash;
use phoenixd::spec::{Attachment, ContainerSpec, ImageId, ImageRef, NetworkMode, NetworkName};

use super::rich::{attachment, bind, rich, volume};

fn image() -> ImageId {
    ImageId::new(format!("sha256:{}", "1".repeat(64)))
}

/// A change of this value replaces every replica of every user: it needs a note in the changelog.
#[test]
fn the_spec_hash_is_the_same_in_every_run_and_release() {
    assert_snapshot!(spec_hash(&rich(), &image()), @"3d57dca65326735a5b4c679964e99cf4");
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
        network: _,
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
        ("tmpfs", |c| c.tmpfs.clear()),
        ("tmpfs, options", |c| c.tmpfs[0].options.clear()),
        ("network", |c| c.network = NetworkMode::None),
    ];
    changes.extend(mount_changes());
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
        ("mounts, anonymous", |c| drop(c.mounts.pop())),
    ]
}

fn attachments(container: &mut ContainerSpec) -> &mut Vec<Attachment> {
    match &mut container.network {
        NetworkMode::Networks(attachments) => attachments,
        NetworkMode::None => unreachable!("the rich definition has networks"),
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

#[test]
fn the_spec_hash_does_not_tell_replicas_apart() {
    let hash = spec_hash(&rich(), &image());
    assert_eq!(hash, spec_hash(&rich(), &image()));
    assert_eq!(hash.as_str().len(), 32);
    assert!(hash.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
}
