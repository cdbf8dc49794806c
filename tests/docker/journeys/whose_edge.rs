//! Services without an edge, and with a proxy that is not phoenixd's. The proxy here is this test program itself in a
//! container: for each connection it asks the engine's resolver for the service's name, and tries one address after the
//! other until one answers the first request. Whoever is stopped closes what it has not taken yet without an answer, and every
//! proxy asks the next one then (nginx 1.22: `proxy_next_upstream error timeout` is the default).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::support::{Journey, Load, STRANGER, in_role, of_this_program, short, until};

/// What makes this program one.
const ROLE: &str = "PHOENIXD_TEST_PROXY";
const TEST: &str = "journeys::whose_edge::as_a_proxy_it_leads_to_whom_the_name_leads";
const PATIENCE: Duration = Duration::from_secs(30);
/// As `proxy_connect_timeout` of nginx: shorter than `drain`, so that the next address is still there when one is silent.
const DIAL: Duration = Duration::from_millis(500);
/// The engine's resolver in every network but the default one.
const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

#[test]
fn as_a_proxy_it_leads_to_whom_the_name_leads() {
    in_role(ROLE, serve());
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    let mut end = signal(SignalKind::terminate())?;
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(()),
            accepted = listener.accept() => {
                clients.spawn(lead(accepted?.0));
            }
        }
    }
}

async fn lead(mut client: TcpStream) -> io::Result<()> {
    let mut request = [0; 4096];
    let length = client.read(&mut request).await?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve("web").await? {
        match answer_of(address, &request[..length]).await {
            Ok((mut replica, begin)) => {
                client.write_all(&begin).await?;
                copy_bidirectional(&mut client, &mut replica).await?;
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection, and the first bytes that came by it.
async fn answer_of(address: Ipv4Addr, request: &[u8]) -> io::Result<(TcpStream, Vec<u8>)> {
    // Whose container has just ended refuses first, and answers nothing a moment later.
    let dialled = TcpStream::connect(SocketAddr::from((address, 8080)));
    let mut stream = timeout(DIAL, dialled).await??;
    stream.write_all(request).await?;
    let mut begin = vec![0; 4096];
    let length = stream.read(&mut begin).await?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    begin.truncate(length);
    Ok((stream, begin))
}

/// The addresses of a name of one label (RFC 1035, section 4).
async fn resolve(name: &str) -> io::Result<Vec<Ipv4Addr>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(RESOLVER).await?;
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.push(u8::try_from(name.len()).expect("a label"));
    query.extend_from_slice(name.as_bytes());
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&query).await?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    // The engine's answers repeat the name, whole or as a pointer; each ends with type, class, TTL, length and address.
    let record = [0, 1, 0, 1];
    let rest = answer.get(query.len()..).unwrap_or_default();
    let found = rest
        .windows(14)
        .filter(|at| at[..4] == record && at[8..10] == [0, 4]);
    Ok(found
        .map(|at| Ipv4Addr::new(at[10], at[11], at[12], at[13]))
        .collect())
}

/// A file with `web`, whose proxy is not phoenixd's.
fn external(journey: &Journey, replicas: u32) -> String {
    format!(
        "services:\n  web:\n    image: {}\n    deploy: {{ replicas: {replicas} }}\n    stop_grace_period: 5s\n    \
         x-phoenix: {{ ttl: 1h, drain: 2s, probe: {{ http: /healthz, interval: 250ms }}, edge: external }}\n",
        journey.image()
    )
}

/// The names that a container has on a network, besides its own; `None` where it is not on it.
fn aliases(inspect: &Value, network: &str) -> Option<Vec<String>> {
    let endpoint = inspect["NetworkSettings"]["Networks"].get(network)?;
    let aliases = endpoint["Aliases"].as_array().into_iter().flatten();
    Some(
        aliases
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    )
}

/// The proxy on the journey's port.
fn begin_proxy(journey: &Journey, image: &str) -> String {
    let body = json!({
        "Image": image,
        "Env": [format!("{ROLE}=1")],
        "Labels": { STRANGER: journey.project },
        "ExposedPorts": { "8080/tcp": {} },
        "HostConfig": {
            "NetworkMode": "bridge",
            "PortBindings": { "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": journey.port.to_string() }] },
        },
    });
    let name = format!("{}-proxy", journey.project);
    let made = journey.engine.must(
        "POST",
        &format!("/containers/create?name={name}"),
        Some(&body),
    );
    let id = made.json()["Id"].as_str().expect("an id").to_owned();
    let network = format!("/networks/{}_ready/connect", journey.project);
    journey
        .engine
        .must("POST", &network, Some(&json!({ "Container": id })));
    journey
        .engine
        .must("POST", &format!("/containers/{id}/start"), None);
    until("the proxy leads to a replica", PATIENCE, || {
        journey
            .try_get("/whoami")
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
            .ok_or("nobody answers")
    });
    id
}

#[test]
fn recycles_behind_a_proxy_of_the_operator_s_own_lose_no_request_and_taint_nobody() {
    let journey = Journey::new();
    let image = journey.keep(of_this_program(&journey.engine, TEST));
    journey.write(&external(&journey, 1));
    let check = journey.run(&["check"]).success();
    let (default, ready) = (
        format!("{}_default", journey.project),
        format!("{}_ready", journey.project),
    );
    assert!(
        check
            .stdout
            .contains(&format!("external: ready replicas are web on {ready}")),
        "{}",
        check.stdout
    );
    let supervisor = journey.up_ready(1);
    let first = journey.running_ids().remove(0);
    let inspect = journey.inspect(&first);
    let named =
        |network: &str| aliases(&inspect, network).map(|all| all.contains(&"web".to_owned()));
    assert_eq!((named(&default), named(&ready)), (Some(false), Some(true)));

    let proxy = begin_proxy(&journey, &image);
    let load = Load::begin(journey.port, 3, 3);
    for _ in 0..3 {
        journey.run(&["recycle"]).success();
    }
    // Whoever supervises next finds the names where they are, and goes on.
    supervisor.kill();
    let supervisor = journey.up_ready(1);
    journey.run(&["recycle"]).success();
    let tally = load.end();
    tally.assert_nothing_lost(150);
    assert!(tally.by.len() >= 5, "{tally:#?}");
    let events = journey.run(&["events"]).success().stdout;
    assert!(!events.contains("\"tainted\""), "{events}");
    assert!(events.contains("\"connect\"") && events.contains("it is ready"));

    // A stranger who takes the names away has touched it.
    let last = journey.running_ids().remove(0);
    let path = format!("/networks/{ready}/disconnect");
    journey
        .engine
        .must("POST", &path, Some(&json!({ "Container": last })));
    until(
        "what a stranger touched is replaced, and the next one is found",
        PATIENCE,
        || {
            let ids: Vec<String> = (journey.containers().into_iter())
                .map(|container| container.id)
                .collect();
            let is_found = journey
                .try_get("/whoami")
                .is_ok_and(|answer| answer.status == 200);
            (is_found && !ids.is_empty() && !ids.contains(&last))
                .then_some(())
                .ok_or(ids)
        },
    );
    drop(
        journey
            .engine
            .call("DELETE", &format!("/containers/{proxy}?force=1"), None),
    );
    supervisor.end();
}

#[test]
fn what_is_tainted_is_off_the_proxy_s_network_before_it_is_frozen() {
    let journey = Journey::new();
    journey.write(&external(&journey, 1));
    let _supervisor = journey.up_ready(1);
    let old = journey.running_ids().remove(0);
    journey
        .engine
        .must("POST", &format!("/containers/{old}/pause"), None);
    until("it is destroyed", PATIENCE, || {
        let gone = journey.engine.inspect(&old).is_none();
        gone.then_some(()).ok_or("it is there")
    });
    let events = journey.run(&["events"]).success().stdout;
    let lines: Vec<&str> = events.lines().collect();
    let of = |action: &str| {
        let action = format!("\"{action}\"");
        let is_it = |line: &&str| line.contains(&action) && line.contains(short(&old));
        lines.iter().position(is_it)
    };
    let (off, capture) = (of("disconnect"), of("capture"));
    assert!(off.is_some() && off < capture, "{events}");
}

#[test]
fn a_service_without_an_edge_has_its_names_itself_and_no_pod() {
    let journey = Journey::new();
    journey.write(&format!(
        "services:\n  web:\n    image: {}\n    networks: {{ default: {{ aliases: [jobs] }} }}\n    x-phoenix: {{ ttl: 1h, \
         drain: 0s, probe: {{ http: /healthz, interval: 250ms }}, edge: none }}\n",
        journey.image()
    ));
    let _supervisor = journey.up_ready(1);
    let all = journey.all_containers();
    assert_eq!(all.len(), 1, "{all:#?}");
    let inspect = journey.inspect(&all[0].id);
    let names = aliases(&inspect, &format!("{}_default", journey.project));
    let names = names.unwrap_or_default();
    for name in ["web", "jobs"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}
