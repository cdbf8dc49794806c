//! Volumes of the driver `local`: their options are mount(2)'s, and none of them leads to the host.

use serde_json::{Value, json};

use super::{Desk, is_allowed};

/// The same options in the two requests that take them.
fn requests(driver: &str, options: &Value) -> [(&'static str, Value); 3] {
    let mount = |name: &str, source: Value| {
        let config = json!({ "Name": name, "Options": options });
        let mount = json!({ "Type": "volume", "Source": source, "Target": "/h", "VolumeOptions": { "DriverConfig": config } });
        json!({ "Image": "i", "HostConfig": { "Mounts": [mount] } })
    };
    [
        (
            "/v1.41/volumes/create",
            json!({ "Name": "v", "Driver": driver, "DriverOpts": options }),
        ),
        ("/v1.41/containers/create", mount(driver, json!("v"))),
        ("/v1.41/containers/create", mount(driver, Value::Null)),
    ]
}

fn check(options: &Value, may: bool) {
    for driver in ["", "local"] {
        for (uri, body) in requests(driver, options) {
            let verdict = Desk::new().ask("POST", uri, &body.to_string());
            assert_eq!(is_allowed(&verdict), may, "{uri} {body}: {verdict:?}");
        }
    }
}

#[test]
fn no_file_system_of_the_kernel_or_of_a_disk_becomes_a_volume() {
    for kind in [
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "devtmpfs",
        "devpts",
        "debugfs",
        "tracefs",
        "securityfs",
        "mqueue",
        "bpf",
        "ext4",
        "xfs",
        "btrfs",
        "vfat",
        "fuse",
        "9p",
        "virtiofs",
        "ramfs",
        "TMPFS",
        " tmpfs",
        "tmpfs ",
        "nfs\u{0}",
        "Bind",
    ] {
        for device in ["", kind, "none", "x", "/dev/sda1", "/srv/www"] {
            check(&json!({ "type": kind, "device": device }), false);
        }
    }
    for options in [
        json!({ "type": "overlay", "device": "overlay", "o": "lowerdir=../.." }),
        json!({ "type": "overlay", "device": "overlay", "o": "lowerdir=../..:.,upperdir=u,workdir=w" }),
        json!({ "type": "ext4", "device": "/dev/sda1" }),
        json!({ "type": "none", "device": "/dev/sda1" }),
        json!({ "device": "/dev/sda1" }),
        json!({ "device": "proc" }),
    ] {
        check(&options, false);
    }
}

#[test]
fn a_volume_is_bound_to_what_could_be_bound_and_whatever_its_type_is() {
    // mount(2) does not look at the type of what it binds.
    for kind in ["", "none", "bind", "tmpfs", "nfs", "nfs4", "cifs", "smb3"] {
        for o in [
            "bind",
            "rbind",
            "ro,bind",
            "rbind,rw,rshared",
            "BIND",
            " bind ",
        ] {
            for device in [
                "",
                ".",
                "..",
                "../../../../../..",
                "/..",
                "/srv/../proc",
                "/srv/www/..",
                "srv",
                "/",
                "/proc",
                "/dev",
                "/srv/link",
                "/srv/phoenix/x",
                "/var/run",
                "/srv/a.sock",
                ":/",
                "//h/s/../..",
                " /srv/www",
            ] {
                check(&json!({ "type": kind, "o": o, "device": device }), false);
            }
        }
    }
    check(&json!({ "type": "none", "device": "/srv/www" }), false);
    check(
        &json!({ "type": "none", "o": "ro", "device": "/srv/www" }),
        false,
    );
    check(
        &json!({ "type": "tmpfs", "o": "remount", "device": "x" }),
        false,
    );
    for options in [
        json!({ "type": "none", "o": "bind", "device": "/srv/www" }),
        json!({ "type": "bind", "o": "ro,rbind", "device": "/srv/www" }),
        json!({ "o": "bind", "device": "/srv/www" }),
    ] {
        check(&options, true);
    }
}

#[test]
fn volumes_of_memory_and_of_other_hosts_are_made_as_before() {
    for options in [
        Value::Null,
        json!({}),
        json!({ "type": "", "o": null, "device": "" }),
        json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=100m,uid=1000,mode=0700" }),
        json!({ "type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/exports/a" }),
        json!({ "type": "nfs4", "o": "addr=files,rw,vers=4.1", "device": "files:/exports/a" }),
        json!({ "type": "cifs", "o": "addr=files,username=u,password=p", "device": "//files/share" }),
        json!({ "type": "smb3", "o": "username=u", "device": "//files/share/below" }),
    ] {
        check(&options, true);
    }
    for (kind, device) in [
        ("nfs", "../.."),
        ("nfs", "/exports/a"),
        ("nfs", ""),
        ("nfs", "x"),
        ("nfs4", ":exports"),
        ("nfs", ":/a/../../b"),
        ("nfs", "../..:/x"),
        ("nfs", ":/"),
        ("nfs", ":/var/lib/docker"),
        ("cifs", "../.."),
        ("cifs", "/srv/www"),
        ("cifs", "files/share"),
        ("smb3", "//"),
        ("smb3", "//files/../share"),
        ("cifs", "///proc"),
    ] {
        check(
            &json!({ "type": kind, "o": "addr=10.0.0.1", "device": device }),
            false,
        );
    }
}

#[test]
fn an_option_that_is_not_known_or_is_written_in_another_way_is_refused() {
    for options in [
        json!({ "Type": "proc", "device": "proc" }),
        json!({ "TYPE": "tmpfs", "device": "x" }),
        json!({ "type": "tmpfs", "O": "bind", "device": "/srv/www" }),
        json!({ "type ": "proc" }),
        json!({ "t\u{131}pe": "proc" }),
        json!({ "size": "1g" }),
        json!({ "source": "/srv/www" }),
        json!({ "type": ["tmpfs"] }),
        json!({ "type": 7 }),
        json!(["type=tmpfs"]),
        json!("type=proc"),
    ] {
        check(&options, false);
    }
    for body in [
        r#"{"DriverOpts":{"type":"tmpfs","type":"proc"}}"#,
        r#"{"DriverOpts":{"type":"proc"},"DriverOpts":{"type":"tmpfs"}}"#,
        r#"{"driveropts":{"type":"proc","device":"proc"}}"#,
        r#"{"DriverOpts":{"t\u0079pe":"proc","device":"proc"}}"#,
        "{\"DriverOpt\u{17f}\":{\"type\":\"proc\",\"device\":\"proc\"}}",
    ] {
        let verdict = Desk::new().ask("POST", "/volumes/create", body);
        assert!(!is_allowed(&verdict), "{body}");
    }
}
