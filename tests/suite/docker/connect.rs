//! Where an engine is, and which API is spoken with it.

use std::path::PathBuf;
use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::docker::{Address, ApiVersion, Docker, Endpoint, Engine, Error, Scope, TlsSettings};
use phoenixd::spec::ProjectName;
use serde_json::json;

use super::fake::{Fake, answer, silence, version};

fn api(minor: u32) -> ApiVersion {
    ApiVersion { major: 1, minor }
}

#[test]
fn an_endpoint_is_read_as_docker_reads_it() {
    let plain = TlsSettings::default();
    let tls = TlsSettings {
        verify: true,
        cert_path: Some(PathBuf::from("/certs")),
    };
    for (text, settings, shown) in [
        ("", &plain, "unix:///var/run/docker.sock"),
        ("", &tls, "unix:///var/run/docker.sock"),
        (
            "unix:///run/user/1/docker.sock",
            &plain,
            "unix:///run/user/1/docker.sock",
        ),
        ("tcp://engine", &plain, "tcp://engine:2375"),
        ("tcp://engine", &tls, "https://engine:2376"),
        ("tcp://10.0.0.1:4243/", &plain, "tcp://10.0.0.1:4243"),
        ("http://engine:80", &plain, "tcp://engine:80"),
        ("https://engine:443", &tls, "https://engine:443"),
        ("tcp://[::1]", &plain, "tcp://[::1]:2375"),
        ("tcp://[fe80::1]:99", &plain, "tcp://[fe80::1]:99"),
    ] {
        let endpoint = Endpoint::parse(text, settings).unwrap();
        assert_eq!(endpoint.to_string(), shown, "{text}");
        // Only a socket of this host has this host's processes behind it.
        assert_eq!(
            endpoint.proc_root.is_some(),
            matches!(endpoint.address, Address::Unix(_))
        );
    }
}

#[test]
fn what_is_no_endpoint_is_refused_with_a_reason_and_a_hint() {
    let plain = TlsSettings::default();
    let verify = TlsSettings {
        verify: true,
        cert_path: None,
    };
    let refused: Vec<String> = [
        ("/var/run/docker.sock", &plain),
        ("unix://docker.sock", &plain),
        ("ssh://me@engine", &plain),
        ("npipe:////./pipe/docker_engine", &plain),
        ("fd://", &plain),
        ("tcp://engine:0", &plain),
        ("tcp://engine:x", &plain),
        ("tcp://", &plain),
        ("tcp://engine/base", &plain),
        ("tcp://me@engine", &plain),
        ("tcp://[::1", &plain),
        ("tcp://a b", &plain),
        ("tcp://engine", &verify),
        ("https://engine", &plain),
        ("http://engine", &verify),
    ]
    .into_iter()
    .map(|(text, tls)| {
        let error = Endpoint::parse(text, tls).unwrap_err();
        match error.hint {
            Some(hint) => format!("{error}\n  hint: {hint}"),
            None => error.to_string(),
        }
    })
    .collect();
    assert_snapshot!(refused.join("\n"), @r"
    `/var/run/docker.sock` is no engine that phoenixd can reach: it has no scheme
      hint: write `unix:///path/to/docker.sock` or `tcp://host:port`
    `unix://docker.sock` is no engine that phoenixd can reach: the socket's path is not absolute
      hint: write three slashes: `unix:///path/to/docker.sock`
    `ssh://me@engine` is no engine that phoenixd can reach: ssh is not spoken here
      hint: forward the socket with `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock user@host` and use `unix:///tmp/engine.sock`
    `npipe:////./pipe/docker_engine` is no engine that phoenixd can reach: its scheme is not known
      hint: write `unix:///path/to/docker.sock` or `tcp://host:port`
    `fd://` is no engine that phoenixd can reach: its scheme is not known
      hint: write `unix:///path/to/docker.sock` or `tcp://host:port`
    `tcp://engine:0` is no engine that phoenixd can reach: the port is not a number from 1 to 65535
    `tcp://engine:x` is no engine that phoenixd can reach: the port is not a number from 1 to 65535
    `tcp://` is no engine that phoenixd can reach: the host is not a name or an address
    `tcp://engine/base` is no engine that phoenixd can reach: there is a path after the port
    `tcp://me@engine` is no engine that phoenixd can reach: there is a user in it
    `tcp://[::1` is no engine that phoenixd can reach: a bracket is not closed
    `tcp://a b` is no engine that phoenixd can reach: the host is not a name or an address
    `tcp://engine` is no engine that phoenixd can reach: TLS needs the engine's CA
      hint: set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem
    `https://engine` is no engine that phoenixd can reach: TLS needs the engine's CA
      hint: set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem
    `http://engine` is no engine that phoenixd can reach: `http://` is not encrypted, but DOCKER_TLS_VERIFY is set
      hint: write `https://` or `tcp://`
    ");
}

#[test]
fn a_version_of_the_api_is_two_numbers() {
    assert_eq!("1.41".parse(), Ok(api(41)));
    assert_eq!("v1.53".parse(), Ok(api(53)));
    assert!(api(9) < api(41));
    for text in [
        "",
        "1",
        "1.",
        ".1",
        "1.4.1",
        "1.+4",
        "-1.4",
        "1.99999999999",
    ] {
        assert!(text.parse::<ApiVersion>().is_err(), "{text}");
    }
}

/// bollard 0.21.1 leaves the version out of its paths and the transport puts it in. A bollard that does it itself would
/// make `/v1.41/v1.41/…`.
#[tokio::test]
async fn every_request_carries_the_version_of_the_api() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/containers/json" | "GET /v1.41/networks" => answer(200, json!([])),
        "GET /v1.41/volumes" => answer(200, json!({"Volumes": [], "Warnings": null})),
        _ => answer(500, json!({"message": "not a path of the API"})),
    });
    let docker = fake.connect().await.unwrap();
    assert_eq!(docker.api_version(), api(41));
    let scope = Scope {
        project: ProjectName::new("shop"),
        networks: std::collections::BTreeSet::new(),
        volumes: std::collections::BTreeSet::new(),
        originals: false,
        dependencies: std::collections::BTreeSet::new(),
    };
    docker.list(&scope).await.unwrap();
    assert_eq!(
        fake.requests(),
        [
            "GET /version",
            "GET /v1.41/containers/json?all=true&size=false&filters=%7B%22label%22%3A%5B%22phoenixd.project%3Dshop%22%5D%7D",
            "GET /v1.41/networks",
            "GET /v1.41/volumes",
        ]
    );
}

#[tokio::test]
async fn the_newest_api_that_both_know_is_spoken() {
    for (newest, oldest, spoken) in [
        ("1.41", "1.12", 41),
        ("1.51", "1.24", 51),
        ("1.99", "1.44", 53),
        ("1.53", "1.53", 53),
        // Podman 4.3 and what says nothing.
        ("1.41", "", 41),
    ] {
        let fake = Fake::new(move |_| version(newest, oldest));
        let docker = fake.connect().await.unwrap();
        assert_eq!(docker.api_version(), api(spoken), "{newest}");
        assert_eq!(docker.about().version, "20.10.24");
    }
}

#[tokio::test]
async fn an_engine_that_no_version_fits_is_refused() {
    let mut refused = Vec::new();
    for (newest, oldest, wanted) in [
        ("1.40", "1.12", None),
        ("2.1", "2.0", None),
        ("1.60", "1.54", None),
        ("1.41", "1.12", Some(api(44))),
        ("1.51", "1.24", Some(api(40))),
        ("1.51", "1.44", Some(api(43))),
    ] {
        let fake = Fake::new(move |_| version(newest, oldest));
        let endpoint = Endpoint {
            api_version: wanted,
            ..fake.endpoint()
        };
        let error = Docker::connect(&endpoint).await.unwrap_err();
        let Error::Unusable { message, hint } = error else {
            unreachable!("{error:?}");
        };
        refused.push(format!("{message}\n  hint: {}", hint.unwrap()));
    }
    assert_snapshot!(refused.join("\n"), @r"
    the engine is too old: it speaks API 1.40, phoenixd needs 1.41 or newer
      hint: install Docker Engine 20.10 or newer
    the engine is too new: it wants API 2.0 or newer, this phoenixd knows none above 1.53
      hint: install a newer phoenixd
    the engine is too new: it wants API 1.54 or newer, this phoenixd knows none above 1.53
      hint: install a newer phoenixd
    API 1.44 was asked for; the engine and this phoenixd both know 1.41 to 1.41
      hint: unset DOCKER_API_VERSION, and the newest that both know is used
    API 1.40 was asked for; the engine and this phoenixd both know 1.41 to 1.51
      hint: unset DOCKER_API_VERSION, and the newest that both know is used
    API 1.43 was asked for; the engine and this phoenixd both know 1.44 to 1.51
      hint: unset DOCKER_API_VERSION, and the newest that both know is used
    ");
}

#[tokio::test]
async fn a_version_that_is_asked_for_is_spoken() {
    let fake = Fake::new(|_| version("1.51", "1.24"));
    let endpoint = Endpoint {
        api_version: Some(api(44)),
        ..fake.endpoint()
    };
    let docker = Docker::connect(&endpoint).await.unwrap();
    assert_eq!(docker.api_version(), api(44));
    docker.ping().await.unwrap();
    assert_eq!(fake.requests(), ["GET /version", "GET /v1.44/_ping"]);
}

#[tokio::test]
async fn an_answer_that_is_no_version_is_malformed() {
    for (body, field) in [
        (json!({}), "ApiVersion"),
        (json!({"ApiVersion": "new"}), "ApiVersion"),
        (
            json!({"ApiVersion": "1.41", "MinAPIVersion": "old"}),
            "MinAPIVersion",
        ),
        (json!("hello"), "version"),
    ] {
        let shown = body.to_string();
        let fake = Fake::new(move |_| answer(200, body.clone()));
        let error = fake.connect().await.unwrap_err();
        assert!(
            matches!(error, Error::Malformed { field: named } if named == field),
            "{shown}: {error:?}"
        );
    }
}

#[tokio::test]
async fn what_does_not_answer_is_unavailable_with_its_address() {
    let mut fake = Fake::new(|_| version("1.41", "1.12"));
    let docker = fake.connect().await.unwrap();
    fake.vanish().await;
    for error in [
        docker.ping().await.unwrap_err(),
        fake.connect().await.unwrap_err(),
    ] {
        let Error::Unavailable { address, message } = error else {
            unreachable!("{error:?}");
        };
        assert_eq!(address, format!("unix://{}", fake.socket().display()));
        assert!(message.contains("No such file"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_the_connection_and_says_nothing_times_out() {
    let fake = Fake::new(|_| silence());
    let error = fake.connect().await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { call: "version", after } if after == Duration::from_secs(10)),
        "{error:?}"
    );
}

#[tokio::test]
async fn tls_without_a_usable_ca_says_which_file() {
    let directory = tempfile::tempdir().unwrap();
    let tls = TlsSettings {
        verify: true,
        cert_path: Some(directory.path().to_owned()),
    };
    let endpoint = Endpoint::parse("tcp://127.0.0.1:9", &tls).unwrap();
    for content in [None, Some("not PEM")] {
        if let Some(content) = content {
            std::fs::write(directory.path().join("ca.pem"), content).unwrap();
        }
        let error = Docker::connect(&endpoint).await.unwrap_err();
        assert!(
            matches!(&error, Error::Unusable { message, .. } if message.contains("ca.pem")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_on_another_kernel_or_behind_a_port_sees_no_files_of_this_host() {
    let fake = Fake::new(|asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        _ => answer(
            200,
            json!({"ID": "E:1", "DockerRootDir": "/var/lib/docker", "KernelVersion": "6.1.0-1-amd64"}),
        ),
    });
    let proc = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(proc.path().join("sys/kernel")).unwrap();
    let release = proc.path().join("sys/kernel/osrelease");
    for (own, hidden) in [
        (Some("6.1.0-1-amd64\n"), None),
        (
            Some("6.12.0-virt\n"),
            Some("its host runs the kernel 6.1.0-1-amd64, this one 6.12.0-virt"),
        ),
        // What cannot be told is left to the engine, which refuses a mount whose source it does not find.
        (Some(""), None),
        (None, None),
    ] {
        match own {
            Some(text) => std::fs::write(&release, text).unwrap(),
            None => std::fs::remove_file(&release).unwrap(),
        }
        let endpoint = Endpoint {
            proc_root: Some(proc.path().to_owned()),
            ..fake.endpoint()
        };
        let docker = Docker::connect(&endpoint).await.unwrap();
        let facts = docker.info().await.unwrap();
        assert_eq!(docker.sees_no_files(&facts).as_deref(), hidden, "{own:?}");
    }
    let endpoint = Endpoint::parse("tcp://engine", &TlsSettings::default()).unwrap();
    assert_eq!(endpoint.proc_root, None);
    let docker = fake.connect().await.unwrap();
    let facts = docker.info().await.unwrap();
    let hidden = docker.sees_no_files(&facts);
    assert_eq!(hidden.as_deref(), Some("it is reached over TCP"));
}
