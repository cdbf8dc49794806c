//! What cannot be adopted, and why: each reason in a sentence, all at once.

use insta::assert_snapshot;
use serde_json::json;

use super::{Told, added};

fn with(pointer: &str, value: serde_json::Value) -> String {
    Told::original("28").with(pointer, value).refused()
}

#[test]
fn what_leads_out_of_the_container_is_refused_with_its_reason() {
    let host = |key: &str, value| with(&format!("/HostConfig/{key}"), value);
    let all = [
        host("Privileged", json!(true)),
        host("PidMode", json!("host")),
        host("IpcMode", json!("shareable")),
        host("UTSMode", json!("host")),
        host("UsernsMode", json!("host")),
        host("NetworkMode", json!("host")),
        host("NetworkMode", json!("container:abc")),
        host("NetworkMode", json!("bridge")),
        host("Devices", json!([{ "PathOnHost": "/dev/kvm" }])),
        host("DeviceRequests", json!([{ "Driver": "nvidia" }])),
        host("VolumesFrom", json!(["db"])),
        host("CgroupParent", json!("/x")),
        host("MaskedPaths", json!([])),
        host("Binds", json!(["/var/run/docker.sock:/s:rw"])),
        host("Binds", json!(["/etc:/host:ro"])),
        host("Binds", json!(["/srv:/srv:rw,rshared"])),
        with("/Config/Tty", json!(true)),
        with("/Config/OpenStdin", json!(true)),
    ];
    assert_snapshot!(all.join("\n"), @r"
    it is privileged: that is root on the host
    it shares the process namespace of another container or of the host
    its IPC namespace is `shareable`, and a phoenix has one of its own
    it shares the host's name
    it leaves the engine's user namespace
    it has the host's network, and a phoenix has one of its own
    it has another container's network, which goes with that container
    it is on the engine's default bridge, which knows no names: give it a network
    it has devices, and a device leads out of the container
    it has devices, and a device leads out of the container
    it has another container's volumes, which go with that container
    it has a parent cgroup of its own, and so limits that nobody here knows
    its system paths are not masked
    it mounts `/var/run/docker.sock`: it is a container engine's socket: whoever holds it is root on the host
    it mounts `/etc`: it is a sensitive path of the host
    mounts would pass between the host and `/srv`
    it has a terminal: nobody works inside a phoenix
    it has an open standard input: nobody works inside a phoenix
    ");
}

#[test]
fn what_cannot_be_carried_over_is_said_and_not_dropped() {
    let host = |key: &str, value| with(&format!("/HostConfig/{key}"), value);
    let all = [
        host("IOMaximumIOps", json!(500)),
        host("CpusetMems", json!("0")),
        host("FutureThing", json!({ "On": true })),
        host(
            "PortBindings",
            json!({ "53/sctp": [{ "HostIp": "", "HostPort": "53" }] }),
        ),
        host(
            "PortBindings",
            json!({ "80/tcp": [{ "HostIp": "", "HostPort": "" }] }),
        ),
        host(
            "Mounts",
            json!([{ "Type": "image", "Target": "/x", "Source": "i" }]),
        ),
        host(
            "Mounts",
            json!([{ "Type": "bind", "Target": "/x", "Source": "/srv", "BindOptions": { "FutureThing": true } }]),
        ),
        with(
            "/NetworkSettings/Networks/adoptrich_back/Links",
            json!(["db:db"]),
        ),
        with("/Config/MacAddress", json!("02:42:ac:11:00:42")),
    ];
    assert_snapshot!(all.join("\n"), @r"
    its `HostConfig.IOMaximumIOps` is 500, which phoenixd cannot carry over
    its `HostConfig.CpusetMems` is 0, which phoenixd cannot carry over
    its `HostConfig.FutureThing` is {On: true}, which phoenixd cannot carry over
    it publishes port 53/sctp, and phoenixd forwards TCP and UDP only, not sctp
    it publishes port 80/tcp, and leaves the host's port to the engine: give it a port of its own, which phoenixd can hold
    its mount of `/x` is of type image, which cannot be carried over
    its mount of `/x` has the option FutureThing, which cannot be carried over
    it has links on adoptrich_back, which cannot be carried over
    it has the MAC address 02:42:ac:11:00:42 of its own, which cannot be carried over: remove `mac_address`
    ");
}

#[test]
fn files_that_docker_compose_copied_in_stop_the_adoption_unless_they_may_go() {
    let mut told = Told::original("28");
    told.changes = vec![
        added("/run"),
        added("/etc/app.conf"),
        added("/tmp"),
        added("/anon"),
    ];
    assert_snapshot!(told.refused(), @r"its own root file system differs from its image (/etc/app.conf), and that would be lost: mount a volume or a tmpfs there, or mount the file instead of letting docker compose copy it in (`configs` with `file:`), or say by the label `phoenixd.discard_layer: true` that it may go");
    let told = told.with("/Config/Labels/phoenixd.discard_layer", json!("true"));
    assert!(told.derive().is_ok());
}

#[test]
fn labels_that_mean_nothing_are_refused() {
    let all = [
        with("/Config/Labels/phoenixd.tll", json!("1h")),
        with("/Config/Labels/phoenixd.ttl", json!("soon")),
        with("/Config/Labels/phoenixd.edge", json!("external")),
    ];
    assert_snapshot!(all.join("\n"), @r"
    label `phoenixd.tll: 1h`: phoenixd knows no such label; there are phoenixd.ttl, phoenixd.jitter, phoenixd.drain, phoenixd.surge, phoenixd.allow, phoenixd.discard_layer, phoenixd.on_taint, phoenixd.network.listen, phoenixd.network.connect, phoenixd.network.enforce, phoenixd.probe.http, phoenixd.probe.tcp, phoenixd.probe.docker, phoenixd.probe.none, phoenixd.probe.port, phoenixd.probe.interval, phoenixd.probe.timeout, phoenixd.probe.successes, phoenixd.probe.failures, phoenixd.probe.min_ready, phoenixd.probe.deadline
    label `phoenixd.ttl: soon`: write a number and a unit: `250ms`, `30s`, `5m`, `6h`, `1d`
    label `phoenixd.edge: external`: what docker compose made keeps its names and its networks, and its ports go to phoenixd's own edge: `x-phoenix.edge` is for `phoenixd up`
    ");
}

#[test]
fn an_image_that_is_gone_is_a_reason() {
    let mut told = Told::original("28");
    told.image = json!(null);
    assert_snapshot!(told.refused(), @r"its image sha256:e5ed1ba54750be5dc836fefeedff19a17d113fec5b95a70a17f99ce00dd901ae is not on the engine any more: which of its fields are the image's own cannot be told");
}

#[test]
fn all_reasons_come_at_once() {
    let told = Told::original("28")
        .with("/HostConfig/Privileged", json!(true))
        .with("/Config/Tty", json!(true))
        .with("/Config/Labels/phoenixd.jitter", json!("90%"));
    assert_eq!(told.refused().lines().count(), 3, "{}", told.refused());
}
