//! A file that is refused: a clear message, nothing started, nothing of what runs touched.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use super::support::{Journey, Output};

const SOON: Duration = Duration::from_secs(20);

/// A project with two replicas that nobody supervises now.
fn running() -> Journey {
    let journey = Journey::of_web(2, "", "");
    journey.up_ready(2).end();
    journey
}

/// `up` on what is in the file now is refused, and nothing happens on the engine.
#[track_caller]
fn refused(journey: &Journey, case: &str, said: &[&str]) -> Output {
    let before = journey.containers();
    let networks = journey.engine.networks(&journey.label());
    let events = journey.engine.events(&journey.label());
    let output = journey.run(&["up"]);
    println!("{case} ({:?}):\n{}", output.took, output.stderr);
    let output = output.unmet(said);
    assert!(output.took < SOON, "{case} took {:?}", output.took);
    assert_eq!(output.stdout, "", "{case}");
    assert!(
        output.stderr.len() < 20_000,
        "{case} says {} bytes",
        output.stderr.len()
    );
    assert_eq!(
        events.actions(),
        [],
        "{case}: something happened to a container"
    );
    assert_eq!(journey.containers(), before, "{case}");
    assert_eq!(
        journey.engine.networks(&journey.label()),
        networks,
        "{case}"
    );
    output
}

/// The file of two replicas with one line more; the message has that line's place and a hint.
#[track_caller]
fn refused_line(journey: &Journey, service: &str, phoenix: &str, needle: &str, said: &[&str]) {
    let text = journey.web(2, service, phoenix);
    let line = text
        .lines()
        .position(|line| line.contains(needle))
        .unwrap_or_else(|| panic!("`{needle}` is not in {text}"))
        + 1;
    journey.write(&text);
    let place = format!("compose.yaml:{line}:");
    refused(journey, needle, &[&[place.as_str(), "help"], said].concat());
}

#[test]
fn a_service_that_asks_for_too_much_or_is_misspelt_is_refused() {
    let journey = running();
    let socket = "volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]";
    refused_line(
        &journey,
        "privileged: true",
        "",
        "privileged",
        &["privileged"],
    );
    refused_line(&journey, socket, "", "docker.sock", &["docker.sock"]);
    refused_line(&journey, "user: root", "", "user:", &["root"]);
    refused_line(
        &journey,
        "enviroment: { A: b }",
        "",
        "enviroment",
        &["enviroment", "environment"],
    );
    refused_line(&journey, "", "tll: 1h", "tll", &["tll", "ttl"]);
    refused_line(&journey, "", "ttl: 2s", "ttl: 2s", &["2s"]);
    refused_line(&journey, "pid: host", "", "pid: host", &["host"]);
    let all = journey.web(2, "privileged: true\npid: host\nenviroment: {}", "tll: 1h");
    journey.write(&all);
    refused(
        &journey,
        "all at once",
        &["privileged", "pid", "enviroment", "tll"],
    );
}

#[test]
fn what_is_no_compose_file_is_refused() {
    let journey = running();
    fs::remove_file(journey.file()).expect("remove");
    refused(&journey, "no file", &["compose.yaml", "hint"]);

    journey.write("services:\n  web: [unclosed\n    image: x\n");
    refused(&journey, "no YAML", &["compose.yaml:"]);

    journey.write("#!/bin/sh\necho \"services\"\nexit 0\n");
    refused(&journey, "a script", &["compose.yaml:2:"]);

    fs::write(
        journey.file(),
        [0x7f, b'E', b'L', b'F', 0, 0xff, 0xfe, b'\n'],
    )
    .expect("write");
    refused(&journey, "a program", &["compose.yaml:1:"]);

    let line = "# a comment of sixty-four bytes, which is nothing that matters.\n";
    journey.write(&line.repeat((100 << 20) / line.len()));
    let output = refused(&journey, "100 MB", &["compose.yaml", "too large", "help"]);
    // It is not read to its end, and no other size than its own is told.
    assert!(!output.stderr.contains("4194304"), "{}", output.stderr);

    let mut bomb = "x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "x-{level}: &a{level} [{aliases}]").expect("a string");
    }
    writeln!(
        bomb,
        "services:\n  web:\n    image: {}\n    command: *a29\n    x-phoenix: {{}}",
        journey.image()
    )
    .expect("a string");
    journey.write(&bomb);
    refused(&journey, "an alias bomb", &["compose.yaml:"]);
}

#[test]
fn an_image_that_is_not_there_is_refused() {
    let journey = running();
    // A registry that refuses at once, and needs no name service.
    let text = journey
        .web(2, "", "")
        .replace(journey.image(), "127.0.0.1:1/nobody/has-this:1");
    journey.write(&text);
    refused(
        &journey,
        "no image",
        &["compose.yaml:3:", "127.0.0.1:1/nobody/has-this:1"],
    );
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let journey = running();
    let web = journey.web(2, "", "");
    let again = web
        .replace("services:\n", "")
        .replace("  web:\n", "  web2:\n");
    journey.write(&(web.clone() + &again));
    let port = journey.port.to_string();
    refused(
        &journey,
        "two services on one port",
        &["compose.yaml:", &port, "web2"],
    );

    journey.write(&web);
    if journey.is_in_pods() {
        // Else a pod of its own has the port.
        journey.run(&["down"]).success();
    }
    let stranger = TcpListener::bind(("127.0.0.1", journey.port)).expect("the port");
    let own = std::process::id().to_string();
    let output = refused(
        &journey,
        "a port of a stranger",
        &["compose.yaml:4:", &port, "help"],
    );
    assert!(
        output.stderr.contains(&own),
        "who has it is told: {}",
        output.stderr
    );
    drop(stranger);

    let name = format!("{}-in-the-way", journey.project);
    journey
        .engine
        .publishing(&journey.project, &name, journey.image(), journey.port);
    refused(
        &journey,
        "a port of another container",
        &["compose.yaml:4:", &port, "is taken", &name],
    );
    journey
        .engine
        .must("DELETE", &format!("/containers/{name}?force=1"), None);

    // And nothing of all this stands in the way of what is right.
    let before = journey.running_ids();
    let _supervisor = journey.up_ready(2);
    assert!(journey.is_in_pods() || journey.running_ids() == before);
}
