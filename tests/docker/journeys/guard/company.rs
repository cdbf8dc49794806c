//! Ways by which containers of others get into a replica's company: its names, its networks, its volumes, and the host.

use serde_json::{Value, json};

use super::ways::{json_to, part, with};

/// What a running project is known by.
pub(super) struct Target {
    /// The replica's container: name and id.
    pub(super) name: String,
    pub(super) id: String,
    /// An exec in another container, made before the guard was there.
    pub(super) early: String,
    /// Containers of others that were made for replicas to come, before the guard and before the project were there.
    pub(super) lurkers: Vec<String>,
    /// The project.
    pub(super) project: String,
    /// Where the engine keeps its data, and phoenixd its state.
    pub(super) root: String,
    pub(super) state: String,
    /// The image that replicas are born from.
    pub(super) image: String,
}

impl Target {
    /// The network that only phoenixes use, and the one on which services of docker compose are, too.
    pub(super) fn private(&self) -> String {
        format!("{}_private", self.project)
    }

    pub(super) fn shared(&self) -> String {
        format!("{}_shared", self.project)
    }

    /// The volume that only phoenixes mount.
    pub(super) fn data(&self) -> String {
        format!("{}_data", self.project)
    }

    /// A replica to come.
    pub(super) fn reserved(&self) -> String {
        format!("{}-web-9999", self.project)
    }
}

/// Names of containers to come: replicas, the parts of pods, what is broken open.
pub(super) fn names(at: &Target) -> Vec<(String, Vec<u8>)> {
    let (project, image) = (&at.project, &at.image);
    let mut ways = Vec::new();
    for name in [
        at.reserved(),
        format!("{project}-web-edge.5"),
        format!("{project}-web-pause.2"),
        format!("{project}-web-9999.break-glass-1"),
    ] {
        let create = "/v1.41/containers/create";
        let named = format!(r#"{{"Image":"{image}"}}"#);
        ways.push((
            format!("create under the name {name}"),
            json_to("POST", &format!("{create}?name={name}"), &named),
        ));
        let rename = format!("/v1.41/containers/{project}-before/rename?name={name}");
        ways.push((
            rename.clone(),
            with("POST", &rename, "Content-Length: 0\r\n", b""),
        ));
        for host in [
            json!({ "NetworkMode": format!("container:{name}") }),
            json!({ "PidMode": format!("container:{name}") }),
            json!({ "IpcMode": format!("container:{name}") }),
            json!({ "VolumesFrom": [&name] }),
            json!({ "Links": [format!("{name}:al")] }),
        ] {
            let body = json!({ "Image": image, "HostConfig": host }).to_string();
            ways.push((format!("create {body}"), json_to("POST", create, &body)));
        }
    }
    ways
}

/// What root of the host runs or believes, mounted to be written to, and other ways out of any container.
pub(super) fn to_the_host(image: &str) -> Vec<(String, Vec<u8>)> {
    let paths = [
        "/etc/passwd",
        "/etc/pam.d",
        "/etc/profile.d",
        "/etc/cron.weekly",
        "/usr/bin",
        "/usr/local/bin",
        "/lib/systemd/system",
        "/home",
    ];
    let binds = paths
        .iter()
        .map(|path| json!({ "Binds": [format!("{path}:/h")] }));
    let open = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    let deep: Vec<String> = (0..240)
        .map(|at| format!("/srv/{at}{}:/h{at}", "/d".repeat(2_000)))
        .collect();
    let others = [
        json!({ "Mounts": [{ "Type": "bind", "Source": "/usr/bin", "Target": "/h" }] }),
        json!({ "Binds": ["/srv/../etc/pam.d:/h"] }),
        json!({ "SecurityOpt": [format!("seccomp={open}")] }),
        json!({ "SecurityOpt": ["seccomp={}"] }),
        json!({ "IpcMode": "host" }),
        json!({ "DeviceRequests": [{ "Driver": "cdi", "DeviceIDs": ["vendor.com/class=a"] }] }),
        json!({ "Binds": deep }),
    ];
    let all = binds.chain(others);
    all.map(|host| {
        let body = json!({ "Image": image, "HostConfig": host }).to_string();
        let way = json_to("POST", "/v1.41/containers/create", &body);
        (format!("create {body}"), way)
    })
    .collect()
}

/// Onto the networks of phoenixes, and under their names.
pub(super) fn networks(at: &Target) -> Vec<(String, Vec<u8>)> {
    let (name, image, private, shared) = (&at.name, &at.image, at.private(), at.shared());
    let before = format!("{}-before", at.project);
    let mut ways = Vec::new();
    let mut connect = |network: &str, what: &str, body: &Value| {
        let (target, body) = (
            format!("/v1.41/networks/{network}/{what}"),
            body.to_string(),
        );
        ways.push((format!("{target} {body}"), json_to("POST", &target, &body)));
    };
    for reference in [name, part(&at.id, 6)] {
        connect("bridge", "connect", &json!({ "Container": reference }));
        connect(&shared, "disconnect", &json!({ "Container": reference }));
    }
    connect(&private, "connect", &json!({ "Container": before }));
    for names in [["web"], ["WEB"], [name.as_str()]] {
        let endpoint = json!({ "Aliases": names });
        connect(
            &shared,
            "connect",
            &json!({ "Container": before, "EndpointConfig": endpoint }),
        );
    }
    let links = json!({ "Links": [format!("{name}:al")] });
    for network in [&shared, "bridge"] {
        connect(
            network,
            "connect",
            &json!({ "Container": before, "EndpointConfig": links }),
        );
    }
    let create = "/v1.41/containers/create";
    let on = |endpoint: Value| json!({ "EndpointsConfig": { &shared: endpoint } });
    for (target, body) in [
        (
            create.to_owned(),
            json!({ "NetworkingConfig": on(json!({ "Aliases": ["web"] })) }),
        ),
        (
            create.to_owned(),
            json!({ "NetworkingConfig": on(links.clone()) }),
        ),
        (
            create.to_owned(),
            json!({ "Hostname": "web", "HostConfig": { "NetworkMode": shared } }),
        ),
        (
            format!("{create}?name=web"),
            json!({ "HostConfig": { "NetworkMode": shared } }),
        ),
        (
            create.to_owned(),
            json!({ "NetworkingConfig": { "EndpointsConfig": { &private: {} } } }),
        ),
    ] {
        let mut body = body;
        body["Image"] = json!(image);
        let body = body.to_string();
        ways.push((format!("{target} {body}"), json_to("POST", &target, &body)));
    }
    ways
}

/// Containers that wait for a replica of the name that they were made for.
pub(super) fn lurkers(at: &Target) -> Vec<(String, Vec<u8>)> {
    let mut ways = Vec::new();
    for lurker in &at.lurkers {
        for what in [
            "start",
            "restart",
            "unpause",
            "attach?stream=1",
            "rename?name=phx-other",
        ] {
            let target = format!("/v1.41/containers/{lurker}/{what}");
            let request = with("POST", &target, "Content-Length: 0\r\n", b"");
            ways.push((target, request));
        }
        let target = format!("/v1.41/containers/{lurker}/exec");
        ways.push((
            target.clone(),
            json_to("POST", &target, r#"{"Cmd":["/phoenixd"]}"#),
        ));
        let archive = format!("/v1.41/containers/{lurker}/archive?path=/");
        ways.push((archive.clone(), with("GET", &archive, "", b"")));
    }
    ways
}
