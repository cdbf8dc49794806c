//! The policy table, row by row: on a managed container, on another one, and for phoenixd itself.

use super::{Desk, ID, NAME, OTHER, is_allowed, request};
use phoenixd::guard::{Answered, Judge, Lesson, Managed, Route, Site, Verdict, all_routes};
use serde_json::json;

/// Who may: nobody, phoenixd alone, everybody.
#[derive(Clone, Copy, PartialEq, Debug)]
enum May {
    Nobody,
    Phoenixd,
    Everybody,
}
use May::{Everybody, Nobody, Phoenixd};

fn check(method: &str, uri: &str, body: &str, may: May) {
    let unsigned = Desk::new().ask(method, uri, body);
    let signed = Desk::new().signed(method, uri, body);
    let found = match (is_allowed(&unsigned), is_allowed(&signed)) {
        (false, false) => Nobody,
        (false, true) => Phoenixd,
        (true, true) => Everybody,
        (true, false) => panic!("{method} {uri}: a signature took something away: {signed:?}"),
    };
    assert_eq!(found, may, "{method} {uri} {body}: {unsigned:?} {signed:?}");
}

#[test]
fn nobody_gets_into_or_out_of_a_managed_container_and_its_life_is_phoenixd_s() {
    let rows = [
        ("POST", "exec", r#"{"Cmd":["sh"]}"#, Nobody),
        ("POST", "attach?stream=1", "", Nobody),
        ("GET", "attach/ws", "", Nobody),
        ("POST", "resize?h=1&w=1", "", Nobody),
        ("GET", "archive?path=/", "", Nobody),
        ("HEAD", "archive?path=/", "", Nobody),
        ("PUT", "archive?path=/", "", Nobody),
        ("GET", "export", "", Nobody),
        ("GET", "checkpoints", "", Nobody),
        ("POST", "checkpoints", r#"{"CheckpointID":"c"}"#, Nobody),
        ("DELETE", "checkpoints/c", "", Nobody),
        ("GET", "changes", "", Phoenixd),
        ("POST", "start", "", Phoenixd),
        ("POST", "start", r#"{"Binds":["/:/h"]}"#, Nobody),
        ("POST", "stop", "", Phoenixd),
        ("POST", "kill", "", Phoenixd),
        ("POST", "restart", "", Phoenixd),
        ("POST", "pause", "", Phoenixd),
        ("POST", "unpause", "", Phoenixd),
        ("POST", "wait", "", Phoenixd),
        ("POST", "update", r#"{"Memory":1}"#, Phoenixd),
        ("POST", "rename?name=x", "", Phoenixd),
        ("GET", "json", "", Everybody),
        ("GET", "top", "", Everybody),
        ("GET", "logs?stdout=1", "", Everybody),
        ("GET", "stats", "", Everybody),
    ];
    for reference in [NAME, ID, &ID[..12], &ID[..2], "legacy", "shop-web-999"] {
        for (method, what, body, may) in rows {
            check(
                method,
                &format!("/v1.41/containers/{reference}/{what}"),
                body,
                may,
            );
        }
        check(
            "DELETE",
            &format!("/v1.41/containers/{reference}?force=1"),
            "",
            Phoenixd,
        );
        check(
            "POST",
            &format!("/v1.41/commit?container={reference}&repo=mine"),
            "",
            Nobody,
        );
    }
}

#[test]
fn a_container_that_is_not_managed_works_as_before() {
    for (method, what, body) in [
        ("POST", "exec", r#"{"Cmd":["sh"]}"#),
        ("POST", "attach?stream=1", ""),
        ("GET", "attach/ws", ""),
        ("POST", "resize?h=1&w=1", ""),
        ("GET", "archive?path=/", ""),
        ("HEAD", "archive?path=/", ""),
        ("PUT", "archive?path=/", ""),
        ("GET", "export", ""),
        ("GET", "changes", ""),
        ("GET", "checkpoints", ""),
        ("POST", "start", ""),
        ("POST", "stop", ""),
        ("POST", "kill?signal=HUP", ""),
        ("POST", "restart", ""),
        ("POST", "pause", ""),
        ("POST", "unpause", ""),
        ("POST", "wait", ""),
        ("POST", "update", r#"{"Memory":1}"#),
        ("POST", "rename?name=x", ""),
        ("GET", "json", ""),
        ("GET", "logs", ""),
    ] {
        check(
            method,
            &format!("/v1.41/containers/{OTHER}/{what}"),
            body,
            Everybody,
        );
    }
    check(
        "DELETE",
        &format!("/v1.41/containers/{OTHER}"),
        "",
        Everybody,
    );
    check(
        "POST",
        &format!("/v1.41/commit?container={OTHER}&repo=mine&tag=2"),
        "",
        Everybody,
    );
}

#[test]
fn an_exec_is_used_only_where_the_guard_saw_it_made_in_a_container_that_is_not_managed() {
    let mut desk = Desk::new();
    let exec = "e".repeat(64);
    let start = format!("/v1.41/exec/{exec}/start");
    let body = r#"{"Detach":false}"#;
    assert!(
        !is_allowed(&desk.ask("POST", &start, body)),
        "made before the guard was there"
    );
    let made = request(
        "POST",
        &format!("/containers/{OTHER}/exec"),
        Some("application/json"),
        b"{}",
    );
    assert!(is_allowed(&desk.decide(&made)));
    assert_eq!(desk.answered(&made, 201, &json!({ "Id": exec })), None);
    assert!(is_allowed(&desk.ask("POST", &start, body)));
    assert!(is_allowed(&desk.ask(
        "POST",
        &format!("/exec/{exec}/resize?h=1"),
        ""
    )));
    assert!(is_allowed(&desk.ask(
        "GET",
        &format!("/exec/{exec}/json"),
        ""
    )));
    // One that the engine says was made in a managed container, however it came through.
    let other = "f".repeat(64);
    let made = request(
        "POST",
        &format!("/containers/{NAME}/exec"),
        Some("application/json"),
        b"{}",
    );
    desk.answered(&made, 201, &json!({ "Id": other }));
    assert!(!is_allowed(&desk.ask(
        "POST",
        &format!("/exec/{other}/start"),
        body
    )));
}

#[test]
fn a_replica_that_is_broken_open_takes_an_exec_until_its_time_is_over_and_nothing_else() {
    let mut desk = Desk::new();
    let until = desk.now.as_millis() + 3_600_000;
    let set = |managed: &mut Managed, until: u128| {
        let project = managed.projects.get_mut("shop").unwrap();
        project.replicas[0].exec_until_ms = Some(u64::try_from(until).unwrap());
    };
    set(&mut desk.managed, until);
    let uri = format!("/v1.41/containers/{NAME}/exec");
    let made = request("POST", &uri, Some("application/json"), br#"{"Cmd":["sh"]}"#);
    assert!(is_allowed(&desk.decide(&made)));
    let exec = "e".repeat(64);
    desk.answered(&made, 201, &json!({ "Id": exec }));
    let start = format!("/exec/{exec}/start");
    assert!(is_allowed(&desk.ask("POST", &start, "{}")));
    assert!(!is_allowed(&desk.ask(
        "POST",
        &uri,
        r#"{"Cmd":["sh"],"Privileged":true}"#
    )));
    for (method, what) in [
        ("POST", "attach"),
        ("GET", "archive?path=/"),
        ("GET", "export"),
        ("POST", "kill"),
    ] {
        let uri = format!("/containers/{NAME}/{what}");
        assert!(!is_allowed(&desk.ask(method, &uri, "")), "{what}");
    }
    let pid = format!(r#"{{"HostConfig":{{"PidMode":"container:{NAME}"}}}}"#);
    assert!(!is_allowed(&desk.ask("POST", "/containers/create", &pid)));
    set(&mut desk.managed, desk.now.as_millis() - 1);
    assert!(
        !is_allowed(&desk.ask("POST", &uri, r#"{"Cmd":["sh"]}"#)),
        "over"
    );
    assert!(
        !is_allowed(&desk.ask("POST", &start, "{}")),
        "over for its execs, too"
    );
}

#[test]
fn a_create_that_joins_or_resembles_a_replica_is_refused() {
    let create = |host: &str| {
        (
            format!(r#"{{"Image":"i","HostConfig":{{{host}}}}}"#),
            Phoenixd,
        )
    };
    let rows = [
        create(r#""PidMode":"container:shop-web-3""#),
        create(r#""IpcMode":"container:ab12""#),
        create(r#""NetworkMode":"container:/shop-web-3""#),
        create(r#""Cgroup":"container:legacy""#),
        create(r#""PidMode":"container:""#),
        create(r#""VolumesFrom":["shop-web-3:ro"]"#),
        create(r#""VolumesFrom":["postgres","shop-web-7"]"#),
        create(r#""Links":["/shop-web-3:al"]"#),
        create(r#""Links":["postgres/al:x"]"#),
        create(r#""NetworkMode":"shop_private""#),
        create(r#""Binds":["shop_data:/d"]"#),
        create(r#""Mounts":[{"Type":"volume","Source":"shop_data","Target":"/d"}]"#),
        (
            r#"{"NetworkingConfig":{"EndpointsConfig":{"shop_private":{}}}}"#.to_owned(),
            Phoenixd,
        ),
        (
            r#"{"NetworkingConfig":{"EndpointsConfig":{"n":{"Links":["shop-web-3:x"]}}}}"#
                .to_owned(),
            Phoenixd,
        ),
        (
            r#"{"Labels":{"phoenixd.project":"shop"}}"#.to_owned(),
            Phoenixd,
        ),
        // The fields of `HostConfig` at the top, which dockerd takes where there is no `HostConfig`.
        (
            r#"{"Image":"i","PidMode":"container:shop-web-3"}"#.to_owned(),
            Phoenixd,
        ),
        (
            r#"{"Image":"i","VolumesFrom":["shop-web-3"]}"#.to_owned(),
            Phoenixd,
        ),
    ];
    for (body, may) in rows {
        check("POST", "/v1.41/containers/create?name=mine", &body, may);
    }
    for name in [
        "shop-web-3",
        "/shop-web-3",
        "shop-web-4",
        "legacy",
        "ab1",
        "%2Fshop-web-3",
    ] {
        check(
            "POST",
            &format!("/containers/create?name={name}"),
            r#"{"Image":"i"}"#,
            Phoenixd,
        );
        check(
            "POST",
            &format!("/containers/{OTHER}/rename?name={name}"),
            "",
            Phoenixd,
        );
    }
}

#[test]
fn a_create_that_leads_to_the_host_is_refused() {
    for host in [
        r#""Privileged":true"#,
        r#""CapAdd":["SYS_ADMIN"]"#,
        r#""CapAdd":["cap_sys_ptrace"]"#,
        r#""CapAdd":["ALL"]"#,
        r#""CapAdd":"SYS_ADMIN""#,
        r#""PidMode":"host""#,
        r#""NetworkMode":"host""#,
        r#""UsernsMode":"host""#,
        r#""IpcMode":"host""#,
        r#""SecurityOpt":["label=type:spc_t"]"#,
        r#""SecurityOpt":["writable-cgroups=true"]"#,
        r#""DeviceRequests":[{"Driver":"cdi","DeviceIDs":["vendor.com/class=disk"]}]"#,
        r#""DeviceRequests":[{"DeviceIDs":["vendor.com/class=disk"],"Capabilities":[["gpu"]]}]"#,
        r#""DeviceRequests":[{"Count":-1,"Capabilities":[["cdi"]]}]"#,
        r#""Devices":[{"PathOnHost":"/dev/sda"}]"#,
        r#""DeviceCgroupRules":["b 8:0 rwm"]"#,
        r#""SecurityOpt":["seccomp=unconfined"]"#,
        r#""SecurityOpt":["apparmor:unconfined"]"#,
        r#""SecurityOpt":["systempaths=unconfined"]"#,
        r#""SecurityOpt":["label=disable"]"#,
        r#""MaskedPaths":[]"#,
        r#""ReadonlyPaths":[]"#,
        r#""CgroupParent":"/docker""#,
        r#""Binds":["/:/host"]"#,
        r#""Binds":["/proc:/p"]"#,
        r#""Binds":["/sys/fs/cgroup:/c"]"#,
        r#""Binds":["/dev:/d:ro"]"#,
        r#""Binds":["/run:/r"]"#,
        r#""Binds":["/run/dbus:/r"]"#,
        r#""Binds":["/var/run/docker.sock:/s"]"#,
        r#""Binds":["/var/lib/docker/overlay2:/o"]"#,
        r#""Binds":["/var/lib/containerd:/o"]"#,
        r#""Binds":["/var/lib/phoenixd/guard:/o"]"#,
        r#""Binds":["/srv/phoenix/x:/o"]"#,
        r#""Binds":["/srv:/o"]"#,
        r#""Binds":["/srv/app/agent.sock:/o"]"#,
        r#""Binds":["/srv/data/../../proc:/o"]"#,
        r#""Binds":["/srv/link:/o"]"#,
        // dockerd cleans a path before it follows symlinks.
        r#""Binds":["/srv/x/../link:/o:ro"]"#,
        r#""Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]"#,
        r#""Mounts":[{"Type":"bind","Source":"/srv/link","Target":"/h"}]"#,
        r#""Mounts":[{"Type":"npipe","Source":"x","Target":"/h"}]"#,
        r#""Mounts":[{"Type":"volume","Source":"v","Target":"/h","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/"}}}}]"#,
    ] {
        let body = format!(r#"{{"Image":"i","HostConfig":{{{host}}}}}"#);
        check("POST", "/v1.41/containers/create", &body, Phoenixd);
        let top = format!(r#"{{"Image":"i",{host}}}"#);
        check("POST", "/v1.41/containers/create", &top, Phoenixd);
    }
}

#[test]
fn a_privileged_exec_is_nobody_s_in_any_container() {
    let exec = format!("/v1.41/containers/{OTHER}/exec");
    check("POST", &exec, r#"{"Cmd":["sh"]}"#, Everybody);
    check(
        "POST",
        &exec,
        r#"{"Cmd":["sh"],"Privileged":false}"#,
        Everybody,
    );
    for key in ["Privileged", "privileged", "PRIVILEGED"] {
        let body = format!(r#"{{"Cmd":["sh"],"{key}":true}}"#);
        check("POST", &exec, &body, Nobody);
    }
}

#[test]
fn a_tag_behind_a_digest_moves_no_name() {
    let digest = "0f".repeat(32);
    let name = format!("app@sha256:{digest}");
    for uri in [
        format!("/v1.41/images/other:1/tag?repo={name}&tag=1"),
        format!("/v1.41/commit?container={OTHER}&repo={name}&tag=1"),
    ] {
        check("POST", &uri, "", Nobody);
    }
    let pull = format!("/v1.41/images/create?fromImage=app&tag=sha256:{digest}");
    check("POST", &pull, "", Everybody);
}

#[test]
fn a_seccomp_profile_of_one_s_own_shuts_what_it_does_not_name() {
    let profile = |text: &str| {
        let option = json!([format!("seccomp={text}")]);
        json!({ "Image": "i", "HostConfig": { "SecurityOpt": option } }).to_string()
    };
    for text in [
        r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#,
        r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[]}"#,
        r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
        r#"{"DEFAULTACTION":"SCMP_ACT_ALLOW"}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultaction":"SCMP_ACT_ALLOW"}"#,
        r#"{"defaultAction":""}"#,
        // No filter at all.
        "{}",
        "null",
        "",
        "unconfined",
        "/etc/profile.json",
    ] {
        check("POST", "/v1.41/containers/create", &profile(text), Phoenixd);
    }
    for text in [
        "builtin",
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#,
    ] {
        check(
            "POST",
            "/v1.41/containers/create",
            &profile(text),
            Everybody,
        );
    }
}

#[test]
fn an_ordinary_create_goes_through() {
    for body in [
        r#"{"Image":"i"}"#,
        r#"{"Image":"i","Labels":{"a":"1","A":"2","ключ":"3","phoenixd.ttl":"1h"},"ExposedPorts":{"80/tcp":{}}}"#,
        r#"{"HostConfig":{"Binds":["data:/d","/srv/www:/w:ro"],"CapAdd":["NET_RAW"],"CapDrop":["ALL"]}}"#,
        r#"{"HostConfig":{"NetworkMode":"bridge","PidMode":"container:postgres","IpcMode":"private","Privileged":false}}"#,
        r#"{"HostConfig":{"VolumesFrom":["postgres"],"Links":["postgres:db"],"Devices":[],"SecurityOpt":["no-new-privileges"],"MaskedPaths":null}}"#,
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/t"},{"Type":"volume","Source":"v","Target":"/v"},{"Type":"bind","Source":"/srv/www","Target":"/w"}]}}"#,
        r#"{"NetworkingConfig":{"EndpointsConfig":{"front":{"Aliases":["a"]}}},"Cmd":"sh"}"#,
        r#"{"HostConfig":{"DeviceRequests":[{"Driver":"","Count":-1,"Capabilities":[["gpu"]]},{"Driver":"nvidia","DeviceIDs":["0"]}]}}"#,
        r#"{"HostConfig":{"UTSMode":"host","CgroupnsMode":"host","IpcMode":"shareable"}}"#,
    ] {
        check(
            "POST",
            "/v1.41/containers/create?name=mine",
            body,
            Everybody,
        );
    }
}

#[test]
fn networks_and_volumes_of_phoenixes_are_phoenixd_s_alone() {
    let join = |container: &str| format!(r#"{{"Container":"{container}"}}"#);
    for (method, uri, body, may) in [
        ("POST", "/networks/front/connect", join(NAME), Phoenixd),
        ("POST", "/networks/front/disconnect", join(&ID[..12]), Phoenixd),
        ("POST", "/networks/shop_private/connect", join(OTHER), Phoenixd),
        ("POST", "/networks/front/connect", join(OTHER), Everybody),
        ("POST", "/networks/front/connect", r#"{"Container":7}"#.to_owned(), Nobody),
        ("DELETE", "/networks/shop_private", String::new(), Phoenixd),
        ("DELETE", "/networks/front", String::new(), Everybody),
        ("POST", "/networks/create", r#"{"Name":"shop_private"}"#.to_owned(), Phoenixd),
        ("POST", "/networks/create", r#"{"Name":"front"}"#.to_owned(), Everybody),
        ("POST", "/networks/create", r#"{"Name":"n","Labels":{"phoenixd.project":"x"}}"#.to_owned(), Phoenixd),
        ("DELETE", "/volumes/shop_data", String::new(), Phoenixd),
        ("PUT", "/volumes/shop_data", "{}".to_owned(), Phoenixd),
        ("DELETE", "/volumes/data", String::new(), Everybody),
        ("POST", "/volumes/create", r#"{"Name":"shop_data"}"#.to_owned(), Phoenixd),
        ("POST", "/volumes/create", r#"{"Name":"data"}"#.to_owned(), Everybody),
        ("POST", "/volumes/create", r#"{"DriverOpts":{"type":"none","o":"bind","device":"/"}}"#.to_owned(), Phoenixd),
        ("POST", "/volumes/create", r#"{"Driver":"local","DriverOpts":{"type":"overlay","o":"lowerdir=/var/lib/docker/x,upperdir=/u"}}"#.to_owned(), Phoenixd),
        ("POST", "/volumes/create", r#"{"DriverOpts":{"type":"nfs","o":"addr=10.0.0.1","device":":/exports/a"}}"#.to_owned(), Everybody),
    ] {
        check(method, uri, &body, may);
    }
}

#[test]
fn no_other_network_is_put_on_the_bridge_of_one_of_phoenixes() {
    let mut desk = Desk::new();
    let id = "c".repeat(64);
    desk.managed
        .learnt_networks
        .insert(id.clone(), "shop_private".to_owned());
    let mut may = |option: &str, device: &str| {
        let body =
            format!(r#"{{"Name":"x","Driver":"macvlan","Options":{{"{option}":"{device}"}}}}"#);
        is_allowed(&desk.ask("POST", "/networks/create", &body))
    };
    let ours = format!("br-{}", &id[..12]);
    assert!(!may("parent", &ours));
    assert!(!may("parent", &format!("{ours}.10")));
    assert!(!may("com.docker.network.bridge.name", &ours));
    assert!(may("parent", "br-0123456789ab"));
    assert!(may("parent", "eth0.10"));
    assert!(may("com.docker.network.bridge.name", "mine"));
}

#[test]
fn a_name_that_phoenixd_gives_is_held_from_then_on() {
    let mut desk = Desk::new();
    let id = "d".repeat(64);
    let uri = format!("/v1.41/containers/{id}/rename?name=legacy");
    let mut renamed = request("POST", &uri, Some("application/json"), b"");
    // Somebody else's is not believed, whatever dockerd answered.
    assert_eq!(desk.answered(&renamed, 204, &json!({})), None);
    desk.sign(&mut renamed);
    let verdict = desk.decide(&renamed);
    assert!(is_allowed(&verdict), "{verdict:?}");
    let lesson = desk.answered(&renamed, 204, &json!({}));
    assert_eq!(
        lesson,
        Some(Lesson::Container(id.clone(), "legacy".to_owned()))
    );
    let answered = Answered {
        method: "POST".to_owned(),
        uri,
        status: 204,
    };
    assert!(Judge::may_teach(&answered));
}

#[test]
fn a_network_that_was_seen_to_be_made_is_known_by_its_id() {
    let mut desk = Desk::new();
    let id = "c".repeat(64);
    desk.managed
        .learnt_networks
        .insert(id.clone(), "shop_private".to_owned());
    let uri = format!("/networks/{}/connect", &id[..12]);
    assert!(!is_allowed(&desk.ask(
        "POST",
        &uri,
        r#"{"Container":"postgres"}"#
    )));
    let body = format!(r#"{{"HostConfig":{{"NetworkMode":"{id}"}}}}"#);
    assert!(!is_allowed(&desk.ask("POST", "/containers/create", &body)));
}

#[test]
fn a_network_that_phoenixd_made_and_shares_is_open_to_the_services_of_docker_compose() {
    let mut desk = Desk::new();
    let networks = &mut desk.managed.learnt_networks;
    networks.insert("c".repeat(64), "shop_default".to_owned());
    let body = r#"{"Image":"i","HostConfig":{"NetworkMode":"shop_default"}}"#;
    assert!(is_allowed(&desk.ask(
        "POST",
        "/containers/create?name=shop-db-1",
        body
    )));
    let uri = "/networks/shop_default/connect";
    assert!(is_allowed(&desk.ask(
        "POST",
        uri,
        r#"{"Container":"shop-db-1"}"#
    )));
}

#[test]
fn the_names_that_replicas_are_born_from_are_moved_by_phoenixd_alone() {
    for (method, uri, may) in [
        ("POST", "/images/load", Phoenixd),
        ("POST", "/images/create?fromSrc=-&repo=x", Phoenixd),
        ("POST", "/images/create?fromImage=shop/web&tag=1", Phoenixd),
        ("POST", "/images/create?fromImage=shop/web:1", Phoenixd),
        ("POST", "/images/create?fromImage=shop/web", Phoenixd),
        (
            "POST",
            "/images/create?fromImage=shop/web:2&tag=1",
            Phoenixd,
        ),
        ("POST", "/images/create?fromImage=shop/web&tag=2", Everybody),
        (
            "POST",
            "/images/create?fromImage=shop/web&tag=sha256:00",
            Everybody,
        ),
        ("POST", "/images/create?fromImage=other&tag=1", Everybody),
        ("POST", "/images/other/tag?repo=shop/web&tag=1", Phoenixd),
        ("POST", "/images/other/tag?repo=other&tag=1", Everybody),
        ("POST", "/images/a/b/tag?repo=shop/web&tag=1", Phoenixd),
        ("DELETE", "/images/shop/web:1", Phoenixd),
        ("DELETE", "/images/shop/web:2", Everybody),
        (
            "POST",
            "/commit?container=postgres&repo=shop/web&tag=1",
            Phoenixd,
        ),
        ("POST", "/images/shop/web:1/push", Everybody),
        ("GET", "/images/shop/web:1/json", Everybody),
    ] {
        check(method, uri, "", may);
    }
    let mut desk = Desk::with(Site {
        load: true,
        ..Site::default()
    });
    assert!(
        is_allowed(&desk.ask("POST", "/images/load", "")),
        "the host's owner permits it"
    );
    desk.managed = Managed::default();
    assert!(is_allowed(
        &Desk {
            managed: Managed::default(),
            ..Desk::new()
        }
        .ask("POST", "/images/load", "")
    ));
}

#[test]
fn prunes_are_phoenixd_s_builds_are_a_choice_and_what_runs_unseen_containers_is_closed() {
    for uri in [
        "/containers/prune",
        "/images/prune",
        "/volumes/prune",
        "/networks/prune",
        "/build/prune",
    ] {
        check("POST", uri, "", Phoenixd);
    }
    check("POST", "/build?t=x", "", Phoenixd);
    for uri in ["/session", "/grpc", "/build/cancel"] {
        check("POST", uri, "", Nobody);
    }
    let mut open = Desk::with(Site {
        build: true,
        ..Site::default()
    });
    for uri in ["/build?t=x", "/session", "/grpc", "/build/cancel"] {
        assert!(is_allowed(&open.ask("POST", uri, "")), "{uri}");
    }
    for (method, uri) in [
        ("POST", "/plugins/x/enable"),
        ("POST", "/plugins/phoenixd/disable"),
        ("POST", "/plugins/pull?remote=x"),
        ("POST", "/plugins/create?name=x"),
        ("POST", "/plugins/x/set"),
        ("DELETE", "/plugins/x"),
        ("POST", "/swarm/init"),
        ("POST", "/swarm/join"),
        ("GET", "/swarm/unlockkey"),
        ("POST", "/services/create"),
        ("POST", "/services/x/update"),
        ("DELETE", "/services/x"),
        ("POST", "/nodes/x/update"),
        ("POST", "/secrets/create"),
        ("POST", "/configs/create"),
        ("GET", "/debug/vars"),
        ("GET", "/debug/pprof/heap"),
        ("POST", "/containers/x/copy"),
        ("GET", "/new/route"),
    ] {
        check(method, uri, "", Nobody);
    }
}

#[test]
fn reads_of_the_host_are_free() {
    for (method, uri) in [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/v1.41/version"),
        ("GET", "/info"),
        ("GET", "/events?since=1"),
        ("GET", "/system/df"),
        (
            "GET",
            "/containers/json?filters=%7B%22label%22%3A%5B%22a%22%5D%7D",
        ),
        ("GET", "/images/json"),
        ("GET", "/networks"),
        ("GET", "/networks/"),
        ("GET", "/volumes"),
        ("GET", "/plugins"),
        ("GET", "/distribution/a/b/json"),
        ("OPTIONS", "/anything"),
    ] {
        check(method, uri, "", Everybody);
    }
    let mut auth = request("POST", "/v1.41/auth", Some("application/json"), b"");
    auth.headers
        .insert("Content-Length".to_owned(), "90".to_owned());
    assert!(
        is_allowed(&Desk::new().decide(&auth)),
        "whose body dockerd does not show"
    );
}

#[test]
fn while_what_is_managed_cannot_be_read_nobody_but_phoenixd_changes_anything() {
    for (method, uri, body, may) in [
        ("GET", "/containers/json", "", true),
        ("GET", "/containers/postgres/logs", "", true),
        ("POST", "/containers/postgres/exec", "{}", false),
        ("POST", "/containers/create", r#"{"Image":"i"}"#, false),
        ("DELETE", "/containers/postgres", "", false),
        ("POST", "/volumes/create", "{}", false),
    ] {
        let mut desk = Desk::new();
        desk.managed.unreadable.push("shop.json: torn".to_owned());
        assert_eq!(
            is_allowed(&desk.ask(method, uri, body)),
            may,
            "{method} {uri}"
        );
        assert!(
            is_allowed(&desk.signed(method, uri, body)),
            "{method} {uri}"
        );
    }
}

#[test]
fn every_route_of_the_table_has_a_verdict_and_only_reads_are_free_of_rules() {
    let mut seen = 0;
    for (method, pattern, route) in all_routes() {
        let uri = format!(
            "/v1.41/{}",
            pattern.replace("**", "some/name").replace('*', NAME)
        );
        let verdict = Desk::new().ask(method, &uri, "");
        if matches!(route, Route::Free | Route::ContainerRead) {
            let is_change = !matches!(method, "GET" | "HEAD");
            assert!(
                is_change || is_allowed(&verdict),
                "{method} {uri}: {verdict:?}"
            );
        }
        if let Verdict::Deny { why } = verdict {
            assert!(!why.contains("not known"), "{method} {uri}: {why}");
        }
        seen += 1;
    }
    assert!(seen > 100);
}

#[test]
fn a_signed_read_or_removal_is_known_without_a_type() {
    // As phoenixd sends them: with a type dockerd 28 makes room for a body each time.
    for (method, pattern, _) in all_routes() {
        if !matches!(method, "GET" | "HEAD" | "DELETE") {
            continue;
        }
        let uri = format!(
            "/v1.41/{}",
            pattern.replace("**", "some/name").replace('*', NAME)
        );
        let mut desk = Desk::new();
        let mut typed = request(method, &uri, Some("application/json"), b"");
        desk.sign(&mut typed);
        let mut bare = typed.clone();
        bare.headers.remove("Content-Type");
        let with = is_allowed(&Desk::new().decide(&typed));
        assert_eq!(is_allowed(&desk.decide(&bare)), with, "{method} {uri}");
    }
}
