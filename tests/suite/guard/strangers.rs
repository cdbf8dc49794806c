//! Containers of others: which names, networks and paths of the host they may have, and what becomes of those that were made
//! to be in a replica.

use super::{Desk, ID, JOINING_ID, NAME, SHARED_ID, is_allowed, project};
use phoenixd::guard::{Company, Joining};
use serde_json::{Value, json};

const CREATE: &str = "/v1.41/containers/create?name=mine";

fn may(method: &str, uri: &str, body: &str, is_free: bool) {
    let verdict = Desk::new().ask(method, uri, body);
    assert_eq!(
        is_allowed(&verdict),
        is_free,
        "{method} {uri} {body}: {verdict:?}"
    );
    let signed = Desk::new().signed(method, uri, body);
    assert!(is_allowed(&signed), "{method} {uri} {body}: {signed:?}");
}

#[test]
fn the_names_of_pods_and_of_what_is_broken_open_are_reserved_as_replicas_are() {
    for name in [
        "shop-web-47",
        "shop-web-edge.3",
        "shop-web-pause.1",
        "shop-web-47.break-glass-7200000",
    ] {
        let uri = format!("/containers/create?name={name}");
        may("POST", &uri, r#"{"Image":"i"}"#, false);
        let uri = format!("/containers/postgres/rename?name={name}");
        may("POST", &uri, "", false);
        let host = [
            json!({ "NetworkMode": format!("container:{name}") }),
            json!({ "PidMode": format!("container:{name}") }),
            json!({ "IpcMode": format!("container:{name}") }),
            json!({ "VolumesFrom": [format!("{name}:ro")] }),
            json!({ "Links": [format!("{name}:al")] }),
        ];
        for host in host {
            let body = json!({ "Image": "i", "HostConfig": host });
            may("POST", CREATE, &body.to_string(), false);
        }
    }
    // Which has a pod only after the next `up`.
    let mut desk = Desk::new();
    let shop = desk.managed.projects.get_mut("shop").unwrap();
    shop.services = vec!["web".to_owned()];
    assert!(!is_allowed(&desk.ask(
        "POST",
        "/containers/create?name=shop-web-pause.1",
        "{}"
    )));
    for name in [
        "shop-web-edge-3",
        "shop-web-edge.x",
        "shop-web.3",
        "shop-db-1",
    ] {
        let uri = format!("/containers/create?name={name}");
        may("POST", &uri, r#"{"Image":"i"}"#, true);
    }
}

#[test]
fn what_was_made_to_be_in_a_replica_ends_and_begins_no_more() {
    for reference in ["lurker", JOINING_ID, &JOINING_ID[..12], &JOINING_ID[..3]] {
        let at = |what: &str| format!("/v1.41/containers/{reference}/{what}");
        for (method, what, body) in [
            ("POST", "start", ""),
            ("POST", "restart", ""),
            ("POST", "unpause", ""),
            ("POST", "exec", r#"{"Cmd":["sh"]}"#),
            ("POST", "attach", ""),
            ("GET", "archive?path=/", ""),
            ("PUT", "archive?path=/", ""),
            ("POST", "update", r#"{"Memory":1}"#),
            ("POST", "rename?name=other", ""),
        ] {
            let verdict = Desk::new().ask(method, &at(what), body);
            assert!(!is_allowed(&verdict), "{method} {what}");
        }
        for what in ["stop", "kill", "wait", "pause"] {
            may("POST", &at(what), "", true);
        }
        for what in ["logs", "json", "changes"] {
            may("GET", &at(what), "", true);
        }
        may(
            "DELETE",
            &format!("/v1.41/containers/{reference}?force=1"),
            "",
            true,
        );
        let body =
            json!({ "Image": "i", "HostConfig": { "PidMode": format!("container:{reference}") } });
        may("POST", CREATE, &body.to_string(), false);
    }
    // Its name is free once it is gone.
    may(
        "POST",
        "/containers/create?name=lurker",
        r#"{"Image":"i"}"#,
        true,
    );
    // One that is called as what is done to it.
    let mut desk = Desk::new();
    let shop = desk.managed.projects.get_mut("shop").unwrap();
    shop.joining[0].name = "restart".to_owned();
    assert!(!is_allowed(&desk.ask(
        "POST",
        "/containers/restart/restart",
        ""
    )));
    assert!(is_allowed(&desk.ask("DELETE", "/containers/restart", "")));
}

#[test]
fn who_would_get_into_a_replica_is_told_from_whom_it_was_made_to_be_with() {
    let mut shop = project();
    let id = |digit: char| digit.to_string().repeat(64);
    let ids: Vec<String> = "0123456789".chars().map(id).collect();
    let company = |at: usize,
                   name: &'static str,
                   joins: Vec<&'static str>,
                   volumes: Vec<&'static str>| Company {
        id: &ids[at],
        name,
        joins,
        volumes,
        networks: vec!["bridge"],
    };
    let on = |at, name, network| Company {
        networks: vec!["bridge", network],
        ..company(at, name, vec![], vec![])
    };
    let edge = Company {
        id: ID,
        ..company(0, NAME, vec!["shop-web-pause.1"], vec!["shop_data"])
    };
    let all = [
        edge,
        company(0, "by-name-to-come", vec!["shop-web-47"], vec![]),
        company(1, "by-id", vec![ID], vec![]),
        company(2, "by-part", vec![&ID[..12]], vec![]),
        company(3, "pod", vec!["shop-web-pause.9"], vec![]),
        company(4, "volume", vec![], vec!["shop_data"]),
        company(5, "by-way-of-another", vec!["by-way-of-two"], vec![]),
        company(6, "by-way-of-two", vec!["by-id"], vec![]),
        company(7, "free", vec!["postgres"], vec!["data"]),
        company(8, "alone", vec![], vec![]),
        on(9, "network", "shop_private"),
        on(8, "other-network", "shop_shared"),
    ];
    shop.note_joining(&all);
    let names: Vec<&str> = shop.joining.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "by-name-to-come",
            "by-id",
            "by-part",
            "pod",
            "volume",
            "by-way-of-another",
            "by-way-of-two",
            "network"
        ]
    );
    let first = Joining {
        id: ids[0].clone(),
        name: "by-name-to-come".to_owned(),
    };
    assert_eq!(shop.joining[0], first);
    shop.note_joining(&[]);
    assert_eq!(shop.joining, []);
}

#[test]
fn nobody_else_has_a_phoenix_s_name_on_a_network_that_is_shared() {
    let on = |network: &str, endpoint: serde_json::Value| {
        json!({ "Image": "i", "NetworkingConfig": { "EndpointsConfig": { network: endpoint } } })
            .to_string()
    };
    for network in ["shop_default", SHARED_ID, &SHARED_ID[..12]] {
        let connect = format!("/networks/{network}/connect");
        for name in [
            "web",
            "WWW",
            "web.",
            "web.shop_default",
            NAME,
            "shop-web-8",
            "shop-web-pause.1",
        ] {
            let aliases = json!({ "Aliases": ["x", name] });
            may("POST", CREATE, &on(network, aliases.clone()), false);
            may(
                "POST",
                CREATE,
                &on(network, json!({ "DNSNames": [name] })),
                false,
            );
            let body = json!({ "Container": "postgres", "EndpointConfig": aliases });
            may("POST", &connect, &body.to_string(), false);
        }
        for host in ["web", "Web"] {
            let body =
                json!({ "Image": "i", "Hostname": host, "HostConfig": { "NetworkMode": network } });
            may("POST", CREATE, &body.to_string(), false);
        }
        let body = json!({ "Image": "i", "HostConfig": { "NetworkMode": network } }).to_string();
        may("POST", "/containers/create?name=www", &body, false);
        may("POST", "/containers/create?name=shop-db-1", &body, true);
        may("POST", &connect, r#"{"Container":"www"}"#, false);
        let links = json!({ "Container": "postgres", "EndpointConfig": { "Links": [format!("{NAME}:al")] } });
        may("POST", &connect, &links.to_string(), false);
        // As docker compose does for its own services.
        let own = json!({ "Aliases": ["shop-db-1", "db"], "Links": ["postgres:pg"] });
        may("POST", CREATE, &on(network, own.clone()), true);
        let body = json!({ "Container": "postgres", "EndpointConfig": own });
        may("POST", &connect, &body.to_string(), true);
        may("POST", &connect, r#"{"Container":"postgres"}"#, true);
    }
    // Elsewhere they are names like any other.
    may(
        "POST",
        CREATE,
        &on("front", json!({ "Aliases": ["web"] })),
        true,
    );
    may(
        "POST",
        "/containers/create?name=web",
        r#"{"Image":"i","Hostname":"web"}"#,
        true,
    );
    // On which networks a container is, the guard does not know.
    may("POST", "/containers/postgres/rename?name=web", "", false);
}

#[test]
fn a_network_that_phoenixd_made_is_known_by_the_id_in_its_answer_before_it_is_listed() {
    let mut desk = Desk::new();
    let id = "c".repeat(64);
    let shop = desk.managed.projects.get_mut("shop").unwrap();
    shop.shared[0].network.truncate(1);
    desk.managed
        .learnt_networks
        .insert(id.clone(), "shop_default".to_owned());
    let body = r#"{"Container":"postgres","EndpointConfig":{"Aliases":["web"]}}"#;
    let uri = format!("/networks/{}/connect", &id[..12]);
    assert!(!is_allowed(&desk.ask("POST", &uri, body)));
}

#[test]
fn what_root_runs_or_believes_is_mounted_to_be_read_at_most() {
    for path in [
        "/etc/passwd",
        "/etc/pam.d",
        "/etc/profile.d",
        "/etc/cron.weekly",
        "/etc/ssl",
        "/etc/localtime.d",
        "/usr/bin",
        "/usr/local/bin",
        "/usr/share/nginx",
        "/lib/systemd/system",
        "/usr/lib/x86_64-linux-gnu",
        "/sbin/init",
        "/opt",
        "/opt/containerd/bin",
        "/home",
        "/home/me",
        "/home/me/.ssh",
        "/home/me/.bashrc",
        "/home/me/.config/systemd",
        "/var/lib/dpkg/info",
        "/nix/store",
    ] {
        for host in [
            json!({ "Binds": [format!("{path}:/h")] }),
            json!({ "Binds": [format!("{path}:/h:rw,z")] }),
            json!({ "Binds": [format!("{path}:/h:rorw")] }),
            json!({ "Binds": [format!("/srv/../{path}:/h")] }),
            json!({ "Mounts": [{ "Type": "bind", "Source": path, "Target": "/h" }] }),
            json!({ "Mounts": [{ "Type": "bind", "Source": path, "Target": "/h", "ReadOnly": false }] }),
        ] {
            may(
                "POST",
                CREATE,
                &json!({ "Image": "i", "HostConfig": host }).to_string(),
                false,
            );
        }
        let volume = json!({ "DriverOpts": { "type": "none", "o": "bind,ro", "device": path } });
        may("POST", "/volumes/create", &volume.to_string(), false);
    }
    for bind in [
        "/etc/localtime:/etc/localtime:ro",
        "/etc/localtime:/etc/localtime",
        "/etc/timezone:/etc/timezone",
        "/etc/ssl:/etc/ssl:ro",
        "/etc/passwd:/etc/passwd:ro,z",
        "/usr/share/zoneinfo:/z",
        "/usr/share/ca-certificates:/c:ro",
        "/home/me/project:/app",
        "/srv/data:/d",
        "/var/www:/w",
        "/opt/app/data:/d",
        "/mnt/disk:/d",
        "/tmp/x:/x",
        "/var/lib/app:/d",
    ] {
        let body = json!({ "Image": "i", "HostConfig": { "Binds": [bind] } });
        may("POST", CREATE, &body.to_string(), true);
    }
    let mut mount =
        json!({ "Type": "bind", "Source": "/etc/ssl", "Target": "/h", "ReadOnly": true });
    let of = |mount: &Value| json!({ "Image": "i", "HostConfig": { "Mounts": [mount] } });
    may("POST", CREATE, &of(&mount).to_string(), true);
    // What is mounted below it would be written to.
    mount["BindOptions"] = json!({ "ReadOnlyNonRecursive": true });
    may("POST", CREATE, &of(&mount).to_string(), false);
}

#[test]
fn how_much_of_the_host_one_create_makes_the_guard_look_at_is_bounded() {
    let binds = |count: usize| -> Vec<String> {
        (0..count).map(|at| format!("/srv/{at}:/h{at}")).collect()
    };
    let body =
        |binds: &[String]| json!({ "Image": "i", "HostConfig": { "Binds": binds } }).to_string();
    may("POST", CREATE, &body(&binds(64)), true);
    may("POST", CREATE, &body(&binds(65)), false);
    let mounts: Vec<_> = (0..33)
        .map(|at| json!({ "Type": "tmpfs", "Target": format!("/t{at}") }))
        .collect();
    let both = json!({ "Image": "i", "HostConfig": { "Binds": binds(32), "Mounts": mounts } });
    may("POST", CREATE, &both.to_string(), false);
    for deep in [
        format!("/srv{}", "/d".repeat(64)),
        format!("/srv/{}", "d".repeat(4096)),
    ] {
        may("POST", CREATE, &body(&[format!("{deep}:/h")]), false);
        let mount = json!({ "Type": "bind", "Source": deep, "Target": "/h" });
        let body = json!({ "Image": "i", "HostConfig": { "Mounts": [mount] } });
        may("POST", CREATE, &body.to_string(), false);
    }
}
