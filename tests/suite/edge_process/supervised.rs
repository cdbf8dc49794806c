//! What a supervisor gets of an edge process, and what stays without one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use phoenixd::edge::control::wire::Stage;
use phoenixd::reconcile::{Backend, EdgeReport, Target, Targets};
use phoenixd::spec::{ContainerId, EdgeProtocol, Probe, Published};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Place, Served, Supervisor, ask, backend, connect, free_ports, greeter, open, who};
use crate::edge::flips::Flips;

#[tokio::test]
async fn a_table_is_forwarded_by_and_a_report_is_the_promise() {
    let Served {
        mut place,
        supervisor,
        ports,
        a,
    } = Served::by(1, 2).await;
    let b = greeter(&mut place.servers, "b").await;
    for port in &ports {
        assert_eq!(who(port).await, "a");
    }
    let mut kept = connect(&ports[0]).await.unwrap();
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    // One port fewer, another replica: the connection stays, and is counted.
    supervisor.publish(2, &ports[..1], &[&b], &[&a]);
    let report = supervisor
        .report(|r| r.epoch == 2 && r.open.get(&a.container_id) == Some(&1))
        .await;
    assert_eq!(open(&report), [("a", 1), ("b", 0)]);
    assert_eq!(who(&ports[0]).await, "b");
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    supervisor.says(|said| said.stage == Stage::Serving).await;
    assert!(connect(&ports[1]).await.is_err(), "the port is closed");
    drop(kept);
    supervisor
        .report(|r| r.open.get(&a.container_id) == Some(&0))
        .await;
}

#[tokio::test]
async fn without_a_supervisor_traffic_goes_on_and_the_next_one_hears_everything() {
    let Served {
        mut place,
        supervisor,
        ports,
        a,
    } = Served::by(500, 1).await;
    let b = greeter(&mut place.servers, "b").await;
    let mut kept = connect(&ports[0]).await.unwrap();
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    // As by kill -9: the connection breaks, and nothing is said.
    drop(supervisor);
    for _ in 0..50 {
        assert_eq!(who(&ports[0]).await, "a");
    }
    assert_eq!(ask(&mut kept).await.unwrap(), "a");

    let next = Supervisor::of(&place, 1);
    // It has not decided anything yet: the edge has a table, but not of this session.
    let said = next.says(|said| said.open.get("a") == Some(&1)).await;
    assert_eq!(said.stamp.map(|stamp| stamp.epoch), Some(500));
    assert_eq!(open(&next.reports.borrow()), [("a", 1)]);
    assert_eq!(next.reports.borrow().epoch, 0);
    assert_eq!(who(&ports[0]).await, "a");
    // Its first table is newer than the 500th of the one before.
    next.publish(1, &ports, &[&b], &[&a]);
    next.report(|r| r.epoch == 1 && r.open.get(&a.container_id) == Some(&1))
        .await;
    assert_eq!(who(&ports[0]).await, "b");
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
}

#[tokio::test]
async fn the_supervisor_that_connected_last_has_authority() {
    let Served {
        mut place,
        supervisor: mut former,
        ports,
        ..
    } = Served::by(7, 1).await;
    let b = greeter(&mut place.servers, "b").await;
    let newest = Supervisor::of(&place, 1);
    newest.link(|link| link.is_connected).await;
    let cut_off = |why: &String| why.contains("another supervisor has connected");
    former
        .link(|link| link.trouble.as_ref().is_some_and(cut_off))
        .await;
    former.running.shutdown().await;
    newest.route(1, &ports, &[&b]).await;
    assert_eq!(who(&ports[0]).await, "b");
}

#[tokio::test]
async fn an_edge_that_starts_late_or_again_gets_the_newest_table() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let ports = free_ports(1);
    let mut place = Place::new();
    let supervisor = Supervisor::of(&place, 1);
    supervisor.publish(3, &ports, &[&a], &[]);
    supervisor.link(|link| link.trouble.is_some()).await;
    place.start(1);
    supervisor.report(|r| r.epoch == 3).await;
    assert_eq!(who(&ports[0]).await, "a");
    // Its socket is left behind, and its successor of the same name is not in the way of it.
    place.kill(1);
    supervisor.link(|link| !link.is_connected).await;
    place.start(1);
    supervisor.link(|link| link.is_connected).await;
    supervisor.says(|said| said.stage == Stage::Serving).await;
    assert_eq!(who(&ports[0]).await, "a");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_by_name_and_had_once_it_is_free() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let ports = free_ports(2);
    let stranger = std::net::TcpListener::bind(ports[1].local_address()).unwrap();
    let nowhere = Published {
        host_ip: Some("203.0.113.7".parse().unwrap()),
        ..ports[0]
    };
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor
        .route(1, &[ports[0], ports[1], nowhere], &[&a])
        .await;
    let said = supervisor.says(|said| said.unbound.len() == 2).await;
    let why: Vec<&str> = said.unbound.iter().map(|one| one.why.as_str()).collect();
    assert!(why[0].contains("is taken"), "{why:?}");
    assert!(
        why[1].contains("no interface of this host has the address 203.0.113.7"),
        "{why:?}"
    );
    assert_eq!(who(&ports[0]).await, "a", "the others are not held up");
    drop(stranger);
    supervisor.says(|said| said.unbound.len() == 1).await;
    assert_eq!(who(&ports[1]).await, "a");
}

#[tokio::test]
async fn a_port_without_an_address_is_bound_for_both_families() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let port = Published {
        host_ip: None,
        ..free_ports(1)[0]
    };
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor.route(1, &[port], &[&a]).await;
    let said = supervisor.says(|said| said.stage == Stage::Serving).await;
    assert_eq!(said.unbound, []);
    for ip in ["127.0.0.1", "::1"] {
        let Ok(mut client) = tokio::net::TcpStream::connect((ip, port.host_port)).await else {
            assert_eq!(ip, "::1", "only IPv6 may be switched off");
            continue;
        };
        assert_eq!(ask(&mut client).await.unwrap(), "a");
    }
}

#[tokio::test]
async fn at_sigterm_ports_close_and_connections_may_end() {
    let Served {
        mut place,
        supervisor,
        ports,
        ..
    } = Served::by(1, 1).await;
    let mut kept = connect(&ports[0]).await.unwrap();
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    place.terminate(1);
    supervisor.says(|said| said.stage == Stage::Draining).await;
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    drop(kept);
    assert!(place.ended(1).await);
    let said = supervisor.says(|said| said.stage == Stage::Drained).await;
    assert_eq!(said.cut, 0);
    assert!(!place.socket(1).exists());
}

#[tokio::test]
async fn a_second_signal_cuts_what_is_open_and_its_number_is_told() {
    let Served {
        mut place,
        supervisor,
        ports,
        ..
    } = Served::by(1, 1).await;
    let mut kept = [
        connect(&ports[0]).await.unwrap(),
        connect(&ports[0]).await.unwrap(),
    ];
    for client in &mut kept {
        assert_eq!(ask(client).await.unwrap(), "a");
    }
    supervisor.report(|r| open(r) == [("a", 2)]).await;
    place.terminate(1);
    supervisor.says(|said| said.stage == Stage::Draining).await;
    place.terminate(1);
    let said = supervisor.says(|said| said.cut > 0).await;
    assert_eq!(said.cut, 2);
    let said = supervisor.says(|said| said.stage == Stage::Drained).await;
    assert_eq!(said.cut, 2);
    assert!(place.ended(1).await);
    // Not as if all had been said.
    let end = kept[0].read(&mut [0; 1]).await.map_err(|end| end.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_websocket_that_outlasts_the_drain_gets_a_close_frame_and_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = backend("a", listener.local_addr().unwrap());
    let ports = free_ports(1);
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor.publish(1, &ports, &[&a], &[]);
    supervisor.routes.send_modify(|(epoch, table)| {
        let mut http = table.as_ref().clone();
        for listener in http.listeners.values_mut() {
            listener.forwarding.protocol = EdgeProtocol::Http;
        }
        (*epoch, *table) = (2, Arc::new(http));
    });
    supervisor.report(|report| report.epoch == 2).await;
    let mut client = connect(&ports[0]).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(upgrade.as_bytes()).await.unwrap();
    let (mut replica, _) = listener.accept().await.unwrap();
    // An answer before the question would be none.
    replica.read_exact(&mut [0; 1]).await.unwrap();
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    replica.write_all(switch.as_bytes()).await.unwrap();
    // A text of one byte.
    replica.write_all(b"\x81\x01x").await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\x81\x01x") {
        assert!(client.read_buf(&mut got).await.unwrap() > 0, "{got:?}");
    }
    place.terminate(1);
    supervisor.says(|said| said.stage == Stage::Draining).await;
    place.terminate(1);
    got.clear();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"\x88\x02\x03\xe9");
    drop((client, replica));
    let said = supervisor.says(|said| said.stage == Stage::Drained).await;
    assert_eq!(said.cut, 1);
    assert!(place.ended(1).await);
}

#[tokio::test]
async fn probes_are_asked_by_the_edge_and_go_on_without_a_supervisor() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut place = Place::new();
    place.start(1);
    let target = |address| Target {
        replica: a.replica.clone(),
        address,
        probe: Probe::Tcp { port: 80 },
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(20),
    };
    let nobody = free_ports(1)[0].local_address().into();
    let targets: Targets = [
        (a.container_id.clone(), target(a.address)),
        (ContainerId::new("nobody"), target(nobody)),
    ]
    .into();
    let mut supervisor = Supervisor::of(&place, 1);
    supervisor.targets.send_replace(Arc::new(targets.clone()));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let probed = supervisor.probed.recv().await.unwrap();
        seen.insert(probed.id.to_string(), probed.result);
    }
    assert_eq!(seen["a"], Ok(()));
    assert_eq!(seen["nobody"], Err("connection refused".to_owned()));
    drop(supervisor);

    // The next one hears the last answers at once, of those that it knows itself.
    let mut next = Supervisor::of(&place, 1);
    next.targets.send_replace(Arc::new(targets));
    let first = next.probed.recv().await.unwrap();
    let second = next.probed.recv().await.unwrap();
    assert!(first.asked_at.since_boot() > Duration::ZERO);
    assert!(second.asked_at.since_boot() > Duration::ZERO);
}

/// As inside one process: tables flip while clients keep coming, and what is reported and drained may be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_report_over_the_wire_nothing_reaches_a_replica_that_left() {
    let mut servers = JoinSet::new();
    let flips = Flips::of_bytes(&mut servers).await;
    let ports = free_ports(1);
    let mut place = Place::new();
    place.start(1);
    let supervisor = Supervisor::of(&place, 1);
    supervisor.route(1, &ports, &[&flips.replicas[1]]).await;
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (port, answered) = (ports[0], Arc::clone(&flips.answered));
        clients.spawn(async move {
            loop {
                assert_eq!(who(&port).await, "!");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let flip = async |epoch, new: &Backend, old: &Backend| {
        supervisor.publish(epoch, &ports, &[new], &[old]);
        let has_left = |report: &EdgeReport| {
            report.epoch == epoch && report.open.get(&old.container_id) == Some(&0)
        };
        supervisor.report(has_left).await;
    };
    flips.run(servers, clients, flip).await;
}
