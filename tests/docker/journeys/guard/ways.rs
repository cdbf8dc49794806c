//! Every known way into a container that a plugin of dockerd shuts, or around such a plugin, as the bytes of a request.
//!
//! Not here: what others make to be found in a replica's place or company (`company`).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::support::Journey;
use super::company::{self, Target};

/// Every known way, by its name.
pub(super) fn ways(journey: &Journey, at: &Target) -> Vec<(String, Vec<u8>)> {
    let mut ways = lines(&at.name, &at.id, &at.early);
    ways.extend(doors(&at.name));
    ways.extend(creates(at));
    ways.extend(company::to_the_host(&at.image));
    ways.extend(company::names(at));
    ways.extend(bodies(journey, at));
    ways.extend(around(at));
    ways.extend(company::networks(at));
    ways.extend(volumes(&at.image, &at.root));
    ways.extend(company::lurkers(at));
    ways
}

/// The beginning of an id.
pub(super) fn part(id: &str, digits: usize) -> &str {
    id.get(..digits).expect("an id")
}

/// Spellings of the request line of an exec.
fn lines(name: &str, id: &str, early: &str) -> Vec<(String, Vec<u8>)> {
    let encoded: String = name.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02x}").expect("a string");
        all
    });
    let exec = r#"{"Cmd":["/phoenixd","--version"]}"#;
    let mut ways: Vec<(String, Vec<u8>)> = [
        format!("/v1.41/containers/{name}/exec"),
        format!("/containers/{name}/exec"),
        format!("/v1.41/containers/{id}/exec"),
        format!("/v1.41/containers/{}/exec", part(id, 12)),
        format!("/v1.41/containers/{}/exec", part(id, 4)),
        format!("/v1.41/containers/{}/exec", part(id, 2)),
        format!("/v1.41/containers/{name}/%65xec"),
        format!("/v1.41/containers/{name}%2Fexec"),
        format!("/v1.41/containers/{encoded}/exec"),
        format!("/v1.41/%63ontainers/{name}/exec"),
        format!("/%761.41/containers/{name}/exec"),
        format!("/v1.41/containers/{name}/%2565xec"),
        format!("http://docker/v1.41/containers/{name}/exec"),
        format!("https://docker:1/containers/{name}/%65xec"),
        format!("/v1.41.0/containers/{name}/exec"),
        format!("/v01.41/containers/{name}/exec"),
        format!("/v1..41/containers/{name}/exec"),
        format!("/v1.24/containers/{name}/exec"),
        format!("/v1.12/containers/{name}/exec"),
        format!("/V1.41/containers/{name}/exec"),
        format!("//v1.41/containers/{name}/exec"),
        format!("/v1.41//containers/{name}/exec"),
        format!("/v1.41/images/../containers/{name}/exec"),
        format!("/v1.41/./containers/{name}/exec"),
        format!("/v1.41/containers/%2F{name}/exec"),
        format!("/v1.41/containers//{name}/exec"),
        format!("/v1.41/containers/{name}/exec/"),
        format!("/v1.41/containers/{name}/exec;x"),
        format!("/v1.41/containers/{name}/exec?x=/auth"),
        format!("/v1.41/containers/{name}/exec?x=%zz"),
        format!("/v1.41/containers/phx-none/{name}/exec"),
        "/v1.41/containers/phx-none%2Fal/exec".to_owned(),
    ]
    .into_iter()
    .map(|target| (format!("exec {target}"), json_to("POST", &target, exec)))
    .collect();
    for what in ["start", "resize?h=1&w=1"] {
        let target = format!("/v1.41/exec/{early}/{what}");
        ways.push((
            format!("an exec made before: {what}"),
            json_to("POST", &target, r#"{"Detach":true}"#),
        ));
    }
    ways
}

/// Everything else that is asked of a container.
fn doors(name: &str) -> Vec<(String, Vec<u8>)> {
    let at = |path: &str| format!("/v1.41/containers/{name}/{path}");
    let mut ways = Vec::new();
    for (method, path) in [
        ("POST", "attach?stream=1&stdin=1"),
        ("POST", "resize?h=1&w=1"),
        ("GET", "attach/ws?stream=1"),
        ("GET", "archive?path=/"),
        ("PUT", "archive?path=/dev/shm"),
        ("GET", "export"),
        ("GET", "changes"),
        ("GET", "%65xport"),
        ("POST", "start"),
        ("POST", "stop"),
        ("POST", "kill"),
        ("POST", "restart"),
        ("POST", "pause"),
        ("POST", "unpause"),
        ("POST", "rename?name=phx-elsewhere"),
        ("POST", "wait"),
    ] {
        let request = with(method, &at(path), "Content-Length: 0\r\n", b"");
        ways.push((format!("{method} {path}"), request));
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n";
    ways.push((
        "attach by upgrade".to_owned(),
        with("POST", &at("attach?stream=1"), upgrade, b""),
    ));
    ways.push((
        "update".to_owned(),
        json_to("POST", &at("update"), r#"{"PidsLimit":5}"#),
    ));
    let remove = format!("/v1.41/containers/{name}");
    ways.push(("remove".to_owned(), with("DELETE", &remove, "", b"")));
    ways.push((
        "remove by force".to_owned(),
        with("DELETE", &format!("{remove}?force=1"), "", b""),
    ));
    let old = format!("/v1.12/containers/{name}/copy");
    ways.push((
        "the old copy".to_owned(),
        json_to("POST", &old, r#"{"Resource":"/phoenixd"}"#),
    ));
    let commit = format!("/v1.41/commit?container={name}&repo=phx-stolen");
    ways.push(("commit".to_owned(), json_to("POST", &commit, "{}")));
    let twice = format!("/v1.41/commit?container={name}&container=phx-none");
    ways.push((
        "commit, given twice".to_owned(),
        json_to("POST", &twice, "{}"),
    ));
    let forged = format!(
        "Content-Length: 0\r\nX-Phoenixd-Signature: v1 1-0000000000000000 {}\r\n",
        "0".repeat(64)
    );
    ways.push((
        "a forged signature".to_owned(),
        with("POST", &at("stop"), &forged, b""),
    ));
    ways
}

/// Containers that would lead there.
fn creates(at: &Target) -> Vec<(String, Vec<u8>)> {
    let (name, image) = (&at.name, &at.image);
    let (private, data, state) = (at.private(), at.data(), &at.state);
    let body = |host: &str| format!(r#"{{"Image":"{image}","HostConfig":{{{host}}}}}"#);
    let join = format!(r#""PidMode":"container:{name}""#);
    let twice =
        format!(r#"{{"Image":"{image}","HostConfig":{{{join}}},"HostConfig":{{"Memory":0}}}}"#);
    [
        body(&join),
        body(&join).replace("HostConfig", "hostconfig").replace("PidMode", "pidmode"),
        body(&join).replace("HostConfig", "Ho\u{17f}tConfig"),
        body(&join).replace("HostConfig", "\\u0048ostConfig"),
        twice,
        format!(r#"{{"Image":"{image}",{join}}}"#),
        format!(r#"{{"Image":"{image}"}}{{"HostConfig":{{{join}}}}}"#),
        body(&format!(r#""IpcMode":"container:{name}""#)),
        body(&format!(r#""NetworkMode":"container:{name}""#)),
        body(&format!(r#""VolumesFrom":["{name}:rw"]"#)),
        body(&format!(r#""Links":["{name}:al"]"#)),
        body(&format!(r#""NetworkMode":"{private}""#)),
        body(&format!(r#""Binds":["{data}:/d"]"#)),
        body(&format!(r#""Mounts":[{{"Type":"volume","Source":"{data}","Target":"/d"}}]"#)),
        body(r#""Privileged":true"#),
        body(r#""CapAdd":["SYS_PTRACE"]"#),
        body(r#""PidMode":"host""#),
        body(r#""NetworkMode":"host""#),
        body(r#""UsernsMode":"host""#),
        body(r#""Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]"#),
        body(r#""DeviceCgroupRules":["b 8:0 rwm"]"#),
        body(r#""SecurityOpt":["seccomp=unconfined"]"#),
        body(r#""CgroupParent":"/phx""#),
        body(r#""ReadonlyPaths":[],"MaskedPaths":[]"#),
        body(r#""Binds":["/:/h"]"#),
        body(r#""Binds":["/proc:/h"]"#),
        body(r#""Binds":["/var/run/docker.sock:/s"]"#),
        body(&format!(r#""Binds":["{state}:/s"]"#)),
        body(r#""Binds":["/proc/self/root:/h"]"#),
        body(r#""Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]"#),
        body(r#""Mounts":[{"Type":"volume","Target":"/h","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/"}}}}]"#),
        format!(r#"{{"Image":"{image}","Labels":{{"phoenixd.project":"x"}}}}"#),
    ]
    .into_iter()
    .map(|body| (format!("create {body}"), json_to("POST", "/v1.41/containers/create", &body)))
    .collect()
}

/// Bodies that a plugin is not shown, or is shown another way.
fn bodies(journey: &Journey, at: &Target) -> Vec<(String, Vec<u8>)> {
    let create = "/v1.41/containers/create";
    let name = &at.name;
    let join = format!(r#""HostConfig":{{"PidMode":"container:{name}"}}"#);
    let image = journey.image();
    let small = format!(r#"{{"Image":"{image}",{join}}}"#);
    let padded = |size: usize| {
        format!(
            r#"{{"Image":"{image}","Labels":{{"x":"{}"}},{join}}}"#,
            "x".repeat(size)
        )
    };
    let kind = "Content-Type: application/json\r\n";
    let mut ways = vec![
        (
            "1.1 MiB".to_owned(),
            json_to("POST", create, &padded(1_100_000)),
        ),
        (
            "1.1 MiB in chunks".to_owned(),
            chunked(create, kind, &padded(1_100_000)),
        ),
        (
            "4.5 MiB".to_owned(),
            json_to("POST", create, &padded(4_500_000)),
        ),
        ("in chunks".to_owned(), chunked(create, kind, &small)),
        (
            "in chunks, without type".to_owned(),
            chunked(create, "", &small),
        ),
        (
            "with charset".to_owned(),
            chunked(
                create,
                "Content-Type: application/json; charset=utf-8\r\n",
                &small,
            ),
        ),
        (
            "type in capitals".to_owned(),
            chunked(create, "Content-Type: Application/JSON\r\n", &small),
        ),
        (
            "a length of zero and chunks".to_owned(),
            chunked(create, &format!("{kind}Content-Length: 0\r\n"), &small),
        ),
        (
            "hidden by /auth".to_owned(),
            json_to("POST", &format!("{create}?x=/auth"), &small),
        ),
        (
            "two types".to_owned(),
            chunked(
                create,
                &format!("{kind}Content-Type: text/plain\r\n"),
                &small,
            ),
        ),
    ];
    ways.extend(forms(journey, at));
    ways
}

/// Forms that say something else than the request line.
fn forms(journey: &Journey, at: &Target) -> Vec<(String, Vec<u8>)> {
    let (image, kind) = (&at.image, "Content-Type: application/json\r\n");
    let (repository, tag) = image.split_once(':').expect("a tag");
    let mut ways = Vec::new();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let old = format!("{}-before", journey.project);
    for (target, body) in [
        (
            format!("/v1.41/commit?container={old}"),
            format!("container={}", at.name),
        ),
        (
            format!("/v1.41/containers/{old}/rename?name=x"),
            format!("name={}", at.reserved()),
        ),
        (
            format!("/v1.41/images/{image}/tag?repo=x"),
            format!("repo={repository}&tag={tag}"),
        ),
    ] {
        for headers in [
            format!("{form}Content-Length: {}\r\n", body.len()),
            format!("{form}{kind}Content-Length: {}\r\n", body.len()),
        ] {
            let request = with("POST", &target, &headers, body.as_bytes());
            ways.push((format!("a form on {target}"), request));
        }
        ways.push((
            format!("a form in chunks on {target}"),
            chunked(&target, &format!("{form}{kind}"), &body),
        ));
    }
    ways
}

/// Ways that lead around containers.
fn around(at: &Target) -> Vec<(String, Vec<u8>)> {
    let (repository, tag) = at.image.split_once(':').expect("a tag");
    let (image, data, private) = (&at.image, at.data(), at.private());
    let posts: Vec<(&str, String)> = vec![
        (
            "/v1.41/networks/create",
            json!({ "Name": private }).to_string(),
        ),
        ("/v1.41/volumes/create", json!({ "Name": data }).to_string()),
        (
            "/v1.41/volumes/create",
            json!({ "Name": "x", "DriverOpts": { "type": "none", "o": "bind", "device": "/" } })
                .to_string(),
        ),
        ("/v1.41/services/create", Value::Null.to_string()),
        ("/v1.41/swarm/init", "{}".to_owned()),
    ];
    let mut ways: Vec<(String, Vec<u8>)> = posts
        .into_iter()
        .map(|(target, body)| (format!("{target} {body}"), json_to("POST", target, &body)))
        .collect();
    for (method, target) in [
        ("POST", "/v1.41/containers/prune".to_owned()),
        ("POST", "/v1.41/images/prune".to_owned()),
        ("POST", "/v1.41/volumes/prune".to_owned()),
        ("POST", "/v1.41/networks/prune".to_owned()),
        ("POST", "/v1.41/build/prune".to_owned()),
        ("POST", "/v1.41/build?remote=x".to_owned()),
        ("POST", "/v1.41/session".to_owned()),
        ("POST", "/v1.41/grpc".to_owned()),
        ("POST", "/v1.41/images/load".to_owned()),
        (
            "POST",
            format!("/v1.41/images/create?fromSrc=-&repo={repository}&tag={tag}"),
        ),
        (
            "POST",
            format!("/v1.41/images/create?fromImage={repository}&tag={tag}"),
        ),
        ("DELETE", format!("/v1.41/images/{image}")),
        ("DELETE", format!("/v1.41/volumes/{data}")),
        ("DELETE", format!("/v1.41/networks/{private}")),
        ("POST", "/v1.41/plugins/phoenixd/disable".to_owned()),
        ("POST", "/v1.41/plugins/pull?remote=x".to_owned()),
        ("GET", "/v1.41/debug/vars".to_owned()),
    ] {
        let request = with(method, &target, "Content-Length: 0\r\n", b"");
        ways.push((format!("{method} {target}"), request));
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n";
    for target in ["/session", "/grpc"] {
        ways.push((
            format!("{target} upgraded"),
            with("POST", target, upgrade, b""),
        ));
    }
    ways
}

/// Volumes of the driver `local` that are the host's file systems, made by themselves and with a container.
fn volumes(image: &str, root: &str) -> Vec<(String, Vec<u8>)> {
    let up = "../../../../../..";
    let overlay = "lowerdir=../..:.";
    let create = "/v1.41/containers/create";
    let bind =
        json!({ "Image": image, "HostConfig": { "Binds": [format!("{root}/containers:/h")] } });
    let bind = bind.to_string();
    let mut ways = vec![(format!("create {bind}"), json_to("POST", create, &bind))];
    for (kind, o, device) in [
        ("proc", "", "proc"),
        ("sysfs", "", "sysfs"),
        ("cgroup", "", "cgroup"),
        ("cgroup2", "", "cgroup2"),
        ("devtmpfs", "", "devtmpfs"),
        ("debugfs", "", "debugfs"),
        ("mqueue", "", "mqueue"),
        ("overlay", overlay, "overlay"),
        ("ext4", "", "/dev/sda1"),
        ("none", "bind", up),
        ("none", "rbind", ".."),
        ("none", "bind", "/srv/../proc"),
        ("bind", "ro,bind", "/"),
        ("", "bind", up),
        ("tmpfs", "bind", up),
        ("tmpfs", "bind", "/proc"),
        ("nfs", "addr=127.0.0.1,bind", up),
        ("cifs", "rbind", up),
        ("none", "bind", root),
    ] {
        let options = json!({ "type": kind, "o": o, "device": device });
        let volume = json!({ "Name": "phx-way", "DriverOpts": options }).to_string();
        let mount = json!({ "Type": "volume", "Target": "/h",
            "VolumeOptions": { "DriverConfig": { "Name": "local", "Options": options } } });
        let with = json!({ "Image": image, "HostConfig": { "Mounts": [mount] } }).to_string();
        for (target, body) in [("/v1.41/volumes/create", volume), (create, with)] {
            ways.push((format!("{target} {body}"), json_to("POST", target, &body)));
        }
    }
    ways
}

pub(super) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").into_bytes()
}

pub(super) fn with(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

pub(super) fn json_to(method: &str, target: &str, body: &str) -> Vec<u8> {
    let headers = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    with(method, target, &headers, body.as_bytes())
}

fn chunked(target: &str, kind: &str, body: &str) -> Vec<u8> {
    let headers = format!("{kind}Transfer-Encoding: chunked\r\n");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    with("POST", target, &headers, chunks.as_bytes())
}
