//! What the edge does beyond forwarding bytes: HTTP, UDP, PROXY headers.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use super::edge_replica::{ROLE, TEST};
use super::support::{Journey, Load, eventually, of_this_program, short};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn in_http_mode_recycles_lose_no_request_and_cut_no_connection() {
    let journey = Journey::of_web(2, "", "drain: 200ms\nedge: { protocol: http }");
    let _supervisor = journey.up_ready(2);
    let load = Load::begin(journey.port, 3, 3);
    let mut before = journey.running_ids();
    for _ in 0..8 {
        journey.run(&["recycle"]).success();
        let after = journey.running_ids();
        assert!(after.iter().all(|id| !before.contains(id)));
        before = after;
    }
    let tally = load.end();
    tally.assert_nothing_lost(150);
    assert!(tally.by.len() >= 16, "{tally:#?}");
    // The demo application asks each client to leave when it is stopped; nobody is there any more by then.
    assert_eq!(tally.reconnects, 0, "{tally:#?}");
}

/// A service whose replicas are [`super::edge_replica`], with `ports` and settings of its own.
fn service(journey: &Journey, image: &str, ports: &str, edge: &str) -> String {
    let port = journey.port;
    let ports = ports.replace("PORT", &port.to_string());
    format!(
        "services:\n  web:\n    image: {image}\n    ports: {ports}\n    environment: {{ {ROLE}: \"1\" }}\n    stop_grace_period: 5s\n    \
         x-phoenix: {{ ttl: 1h, drain: 300ms, probe: {{ tcp: true, port: 8080, interval: 250ms }}, edge: {edge} }}\n"
    )
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What comes up to and with `end`.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        if stream.read(&mut byte).expect("more") == 0 {
            break;
        }
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Who answers a request on a connection that is kept.
fn who(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
        .expect("ask");
    let head = read_to(stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    read_to(stream, "}")
}

#[test]
fn a_websocket_ends_properly_with_its_replica_and_a_kept_connection_goes_on() {
    let journey = Journey::new();
    let image = journey.keep(of_this_program(&journey.engine, TEST));
    journey.write(&service(
        &journey,
        &image,
        "[\"127.0.0.1:PORT:8080\"]",
        "{ protocol: http }",
    ));
    let supervisor = journey.up_ready(1);
    let old = journey.running_ids().remove(0);
    let mut kept = connect(journey.port);
    assert!(who(&mut kept).contains(short(&old)));
    for _ in 0..3 {
        let old = journey.running_ids().remove(0);
        let mut socket = connect(journey.port);
        socket
            .write_all(
                b"GET /echo HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
            )
            .expect("upgrade");
        let head = read_to(&mut socket, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        socket.write_all(b"ping.").expect("ping");
        assert_eq!(read_to(&mut socket, "."), "ping.");
        journey.run(&["recycle"]).success();
        // Its replica was stopped after its drain, and said so in its own way.
        assert_eq!(read_to(&mut socket, "bye"), "bye");
        assert_eq!(socket.read(&mut [0; 1]).expect("a proper end"), 0);
        let new = journey.running_ids().remove(0);
        assert_ne!(old, new);
        assert!(who(&mut kept).contains(short(&new)));
    }
    drop(kept);
    supervisor.end();
}

#[test]
fn a_replica_hears_who_its_client_is_and_datagrams_find_it() {
    let journey = Journey::new();
    let image = journey.keep(of_this_program(&journey.engine, TEST));
    journey.write(&service(
        &journey,
        &image,
        "[\"127.0.0.1:PORT:8080\", \"127.0.0.1:PORT:8080/udp\"]",
        "{ proxy_protocol: v1 }",
    ));
    let check = journey.run(&["check"]).success();
    let port = journey.port;
    let line =
        format!("127.0.0.1:{port}:8080, 127.0.0.1:{port}:8080/udp by tcp, proxy_protocol v1");
    assert!(check.stdout.contains(&line), "{}", check.stdout);
    let supervisor = journey.up_ready(1);
    let mut client = connect(port);
    let own = client.local_addr().expect("an address").port();
    let header = read_to(&mut client, "\n");
    if journey.is_in_pods() {
        // Who asks the host from the host itself is forwarded by Docker, whose address the pod sees.
        let words: Vec<&str> = header.split_whitespace().collect();
        let pause = journey.inspect(&format!("{}-web-pause.1", journey.project));
        let network = &pause["NetworkSettings"]["Networks"][format!("{}_default", journey.project)];
        let (gateway, address) = (&network["Gateway"], &network["IPAddress"]);
        assert_eq!(words.len(), 6, "{header}");
        assert_eq!(words[..2], ["PROXY", "TCP4"]);
        assert!(
            gateway == words[2] && address == words[3],
            "{header} {network:#}"
        );
        assert_eq!(words[5], "8080");
    } else {
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n");
        assert_eq!(header, expected);
    }

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(("127.0.0.1", port)).expect("connect");
    let ask = |socket: &UdpSocket| {
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        // After a replica has ended the kernel may say so on the next call.
        socket.send(b"hello").ok();
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let old = journey.running_ids().remove(0);
    assert_eq!(ask(&socket), format!("{} hello", short(&old)));
    journey.run(&["recycle"]).success();
    let new = journey.running_ids().remove(0);
    assert_ne!(old, new);
    // The session of the old one ended with it.
    let expected = format!("{} hello", short(&new));
    let answers = |answer: &String| *answer == expected;
    eventually(
        "an answer of the new one",
        PATIENCE,
        || ask(&socket),
        answers,
    );
    supervisor.end();
}
