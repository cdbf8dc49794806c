//! Every known way around a plugin that looks at requests, each tried on the managed container: none leads there.

use std::collections::BTreeMap;

use super::{Desk, ID, NAME, is_allowed, request};
use phoenixd::guard::{Request, Verdict};

fn refused(request: &Request) {
    let verdict = Desk::new().decide(request);
    assert!(
        matches!(verdict, Verdict::Deny { .. }),
        "allowed: {request:?}"
    );
}

#[test]
fn no_spelling_of_the_request_line_leads_to_a_managed_container() {
    let exec = r#"{"Cmd":["sh"]}"#;
    for uri in [
        format!("/v1.41/containers/{NAME}/%65xec"),
        format!("/v1.41/containers/{NAME}%2Fexec"),
        format!("/v1.41/%63ontainers/{NAME}/exec"),
        format!("/%761.41/containers/{NAME}/exec"),
        "/v1.41/containers/%73hop-web-3/exec".to_owned(),
        format!("/v1.41/containers/{NAME}/%2565xec"),
        format!("/v1.41/containers/{NAME}/%zzxec"),
        format!("http://x/v1.41/containers/{NAME}/exec"),
        format!("http:/v1.41/containers/{NAME}/exec"),
        format!("/containers/{NAME}/exec"),
        format!("/v1.41.0/containers/{NAME}/exec"),
        format!("/v01.41/containers/{NAME}/exec"),
        format!("/v1..41/containers/{NAME}/exec"),
        format!("/v1.041/containers/{NAME}/exec"),
        format!("/v1.12/containers/{NAME}/exec"),
        format!("/v1.41/v1.41/containers/{NAME}/exec"),
        format!("/V1.41/containers/{NAME}/exec"),
        format!("//containers/{NAME}/exec"),
        format!("/v1.41//containers/{NAME}/exec"),
        format!("/v1.41/x/../containers/{NAME}/exec"),
        format!("/v1.41/./containers/{NAME}/exec"),
        format!("/v1.41/containers/{NAME}/exec/"),
        format!("/v1.41/containers/{NAME}\\exec"),
        format!("/v1.41/containers/{NAME}/exec%00"),
        format!("/v1.41/containers/{NAME}/exec;x"),
        format!("/v1.41/containers/{NAME}/exec?x=%zz"),
        format!("/v1.41/containers/{NAME}/exec?a;b"),
        format!("/v1.41/containers/{NAME}/exec#x"),
        format!("/v1.41/containers/{}/exec", &ID[..1]),
        format!("/v1.41/containers/{}/exec", &ID[..3]),
        format!("/v1.41/containers/{ID}/exec"),
        "/v1.41/containers/other/al/exec".to_owned(),
        "/v1.41/containers/other%2Fal/exec".to_owned(),
        "/v1.41/containers//shop-web-3/exec".to_owned(),
        String::new(),
        "*".to_owned(),
        format!("/v1.41/containers/{NAME}/exec?{}", "x".repeat(70_000)),
    ] {
        refused(&request(
            "POST",
            &uri,
            Some("application/json"),
            exec.as_bytes(),
        ));
    }
    for method in ["post", "Post", "POST ", "PATCH", "CONNECT", ""] {
        let uri = format!("/v1.41/containers/{NAME}/exec");
        refused(&request(
            method,
            &uri,
            Some("application/json"),
            exec.as_bytes(),
        ));
    }
}

#[test]
fn no_spelling_of_the_body_leads_to_a_managed_container() {
    for body in [
        r#"{"hostconfig":{"pidmode":"container:shop-web-3"}}"#,
        "{\"Ho\u{17f}tConfig\":{\"Privileged\":true}}",
        "{\"Host\u{212a}onfig\":{}}",
        r#"{"\u0048ostConfig":{"Privileged":true}}"#,
        r#"{"HostConfig":{"PidMode":"container:shop-web-3"},"HostConfig":{}}"#,
        r#"{"HostConfig":{},"hostConfig":{"Privileged":true}}"#,
        r#"{"HostConfig":{"PidMode":"container:shop-web-3","PidMode":""}}"#,
        r#"{"Image":"i"}{"HostConfig":{"Privileged":true}}"#,
        r#"{"Image":"i"} garbage"#,
        r#"{"HostConfig":{"PidMode":"container\u003ashop-web-3"}}"#,
        r#"{"HostConfig":[{"Privileged":true}]}"#,
        r#"{"HostConfig":{"Privileged":"true"}}"#,
        r#"{"HostConfig":{"Privileged":1}}"#,
        r#"{"HostConfig":{"PidMode":["container:shop-web-3"]}}"#,
        r#"{"HostConfig":{"Binds":"/:/host"}}"#,
        r#"{"HostConfig":{"Binds":[["/:/host"]]}}"#,
        r#"{"Labels":["phoenixd.project"]}"#,
        r#"{"Labels":{"a":"1","a":"2"}}"#,
        "{",
        "null null",
        "\u{feff}{}",
    ] {
        refused(&request(
            "POST",
            "/v1.41/containers/create",
            Some("application/json"),
            body.as_bytes(),
        ));
        let charset = Some("application/json; charset=utf-8");
        refused(&request(
            "POST",
            "/v1.41/containers/create",
            charset,
            body.as_bytes(),
        ));
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(&request(
        "POST",
        "/containers/create",
        Some("application/json"),
        deep.as_bytes(),
    ));
    refused(&request(
        "POST",
        "/containers/create",
        Some("application/json"),
        &[0xff, b'{', b'}'],
    ));
}

/// What dockerd shows of a request: a type, a length, and no body.
fn hidden(uri: &str, headers: &[(&str, &str)]) -> Request {
    Request {
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        ..request("POST", uri, None, b"")
    }
}

#[test]
fn a_body_that_the_guard_is_not_shown_is_refused() {
    let json = ("Content-Type", "application/json");
    let create = "/v1.41/containers/create";
    // Beyond 1 MiB on 20.10 (CVE-2026-34040), in chunks, or by a length of zero (CVE-2024-41110).
    refused(&hidden(create, &[json, ("Content-Length", "1100000")]));
    refused(&hidden(create, &[json]));
    refused(&hidden(create, &[json, ("Content-Length", "0")]));
    refused(&hidden(create, &[]));
    // dockerd hides the body of what ends in `/auth`.
    refused(&hidden(
        "/v1.41/containers/create?x=/auth",
        &[json, ("Content-Length", "90")],
    ));
    refused(&hidden(
        "/networks/n/connect?x=/auth",
        &[json, ("Content-Length", "90")],
    ));
    // Another type than the one that is read.
    refused(&hidden(
        "/volumes/create",
        &[("Content-Type", "text/plain"), ("Content-Length", "90")],
    ));
    refused(&hidden(
        "/volumes/create",
        &[json, ("Content-Length", "90")],
    ));
    refused(&hidden(
        "/volumes/create",
        &[("Content-Type", "text/plain")],
    ));
}

#[test]
fn an_empty_body_without_a_length_changes_nothing_where_the_path_says_all() {
    // hyper sends no length where there is no body; Docker's own clients send `0`.
    let json = ("Content-Type", "application/json");
    for what in ["stop", "start", "kill", "restart", "wait"] {
        let stop = hidden(&format!("/v1.41/containers/postgres/{what}"), &[json]);
        assert!(is_allowed(&Desk::new().decide(&stop)), "{what}");
    }
    refused(&hidden("/v1.41/containers/postgres/rename?name=x", &[json]));
    let mut desk = Desk::new();
    let mut own = hidden(&format!("/v1.41/containers/{NAME}/stop"), &[json]);
    desk.sign(&mut own);
    assert!(is_allowed(&desk.decide(&own)));
}

#[test]
fn a_form_that_says_something_else_than_the_request_line_is_refused() {
    let form = "application/x-www-form-urlencoded";
    for uri in [
        "/v1.41/containers/postgres/rename?name=x",
        "/v1.41/commit?container=postgres",
        "/v1.41/images/other/tag?repo=other",
        "/v1.41/images/create?fromImage=other&tag=1",
        "/v1.41/images/create?fromSrc=-",
        "/v1.41/containers/postgres/kill",
        "/v1.41/auth",
        "/v1.41/build",
    ] {
        for kind in [
            form,
            "Application/X-WWW-Form-Urlencoded; charset=x",
            " multipart/form-data",
        ] {
            refused(&hidden(
                uri,
                &[("Content-Type", kind), ("Content-Length", "20")],
            ));
        }
    }
    // Two types: dockerd reads the first, and shows the last.
    for uri in [
        "/v1.41/containers/postgres/rename?name=x",
        "/v1.41/commit?container=postgres",
        "/v1.41/images/create?fromImage=other&tag=1",
    ] {
        refused(&hidden(
            uri,
            &[
                ("Content-Type", "application/json"),
                ("Content-Length", "20"),
            ],
        ));
        refused(&hidden(uri, &[("Content-Type", "application/json")]));
        refused(&hidden(
            uri,
            &[
                ("Content-Type", "application/x-tar"),
                ("Content-Length", "20"),
            ],
        ));
    }
}

#[test]
fn a_parameter_that_matters_is_given_once() {
    for uri in [
        "/commit?container=postgres&container=shop-web-3",
        "/containers/postgres/rename?name=x&name=shop-web-9",
        "/containers/postgres/rename?name=x&n%61me=shop-web-9",
        "/images/other/tag?repo=a&repo=shop/web&tag=1",
        "/images/create?fromSrc=&fromSrc=-&fromImage=other",
    ] {
        refused(&request("POST", uri, None, b""));
    }
    let twice = "/containers/create?name=a&name=shop-web-9";
    refused(&request("POST", twice, Some("application/json"), b"{}"));
}

#[test]
fn a_signature_is_good_once_for_its_request_and_for_half_a_minute() {
    let mut desk = Desk::new();
    let uri = format!("/v1.41/containers/{NAME}/stop?t=5");
    let mut stop = request("POST", &uri, Some("application/json"), b"");
    desk.sign(&mut stop);
    assert!(is_allowed(&desk.decide(&stop)));
    assert!(!is_allowed(&desk.decide(&stop)), "a second time");

    let mut changed = request("POST", &uri, Some("application/json"), b"");
    desk.sign(&mut changed);
    changed.uri = uri.replace("stop?t=5", "kill");
    assert!(!is_allowed(&desk.decide(&changed)), "another request");

    let create = "/v1.41/containers/create?name=shop-web-4";
    let mut body = request(
        "POST",
        create,
        Some("application/json"),
        br#"{"Image":"a"}"#,
    );
    desk.sign(&mut body);
    body.body = br#"{"Image":"b"}"#.to_vec();
    assert!(!is_allowed(&desk.decide(&body)), "another body");

    let mut late = request("POST", &uri, Some("application/json"), b"");
    desk.sign(&mut late);
    let resolve = |path: &str| Ok(path.to_owned());
    let later = phoenixd::clock::boot_now() + std::time::Duration::from_secs(31);
    let verdict = desk.judge.request(&late, &desk.managed, later, &resolve);
    assert!(!is_allowed(&verdict), "too late");
    let before = std::time::Duration::from_secs(1);
    let verdict = desk.judge.request(&late, &desk.managed, before, &resolve);
    assert!(!is_allowed(&verdict), "from the future");

    for value in ["", "v1", "v1 1-0000000000000000 00", "Bearer x"] {
        let mut forged = request("POST", &uri, Some("application/json"), b"");
        forged
            .headers
            .insert("X-Phoenixd-Signature".to_owned(), value.to_owned());
        assert!(!is_allowed(&desk.decide(&forged)), "{value}");
    }
}

#[test]
fn a_stream_is_signed_without_its_body_and_nothing_else_is() {
    let mut desk = Desk::new();
    let mut build = request("POST", "/v1.41/build?t=x", Some("application/x-tar"), b"");
    build.headers.remove("Content-Length");
    desk.sign(&mut build);
    assert!(is_allowed(&desk.decide(&build)));
    // The same signature form on a route whose body is read.
    let mut stop = request(
        "POST",
        &format!("/containers/{NAME}/stop"),
        Some("text/plain"),
        b"",
    );
    desk.sign(&mut stop);
    assert!(!is_allowed(&desk.decide(&stop)));
}
