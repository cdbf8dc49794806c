//! What the file says of a port is done: PROXY headers, idle time, caps, rates, turns.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use phoenixd::edge::Limits;
use phoenixd::spec::{Balance, Forwarding, ProxyProtocol, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Edge, LIMITS, ask, backend, free_port, greeter, open, refusing};

fn edge(limits: Limits, forwarding: Forwarding) -> Edge {
    Edge::with(limits, free_port(Ipv4Addr::LOCALHOST), forwarding)
}

/// A connection of another client.
async fn connect_from(edge: &Edge, ip: [u8; 4]) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(ip), 0).into()).unwrap();
    let (ip, port) = edge.port.local_address();
    socket.connect((ip, port).into()).await
}

#[tokio::test]
async fn a_proxy_header_comes_before_the_first_byte_whichever_replica_takes_it() {
    for version in ProxyProtocol::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replica = backend("a", listener.local_addr().unwrap());
        let mut edge = edge(
            LIMITS,
            Forwarding {
                proxy_protocol: Some(version),
                ..Forwarding::default()
            },
        );
        edge.route(1, &[&refusing("dead"), &replica], &[]).await;
        let mut client = edge.connect().await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        let own = client.local_addr().unwrap().port();
        let port = edge.port.host_port;
        let expected = match version {
            ProxyProtocol::V1 => {
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\nhello").into_bytes()
            }
            ProxyProtocol::V2 => {
                let mut bytes =
                    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
                bytes.extend(own.to_be_bytes());
                bytes.extend(port.to_be_bytes());
                bytes.extend(b"hello");
                bytes
            }
        };
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn what_does_not_move_is_ended_and_what_moves_is_not() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = edge(
        LIMITS,
        Forwarding {
            idle_timeout: Some(Duration::from_millis(400)),
            ..Forwarding::default()
        },
    );
    edge.route(1, &[&a], &[]).await;
    let mut idle = edge.connect().await;
    let mut busy = edge.connect().await;
    let ended = loop {
        assert_eq!(ask(&mut busy).await.unwrap(), "a");
        // The pace of a client, well within the idle time.
        let pace = Duration::from_millis(20);
        if let Ok(ended) = timeout(pace, idle.read(&mut [0; 1])).await {
            break ended;
        }
    };
    assert_eq!(
        ended.map_err(|error| error.kind()),
        Err(io::ErrorKind::ConnectionReset)
    );
    assert_eq!(ask(&mut busy).await.unwrap(), "a");
    edge.report(|r| open(r) == [("a", 1)]).await;
}

#[tokio::test]
async fn the_file_s_cap_holds_and_follows_the_table() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = edge(
        LIMITS,
        Forwarding {
            max_connections: NonZeroU32::new(1),
            ..Forwarding::default()
        },
    );
    edge.route(1, &[&a], &[]).await;
    let mut one = edge.connect().await;
    assert_eq!(ask(&mut one).await.unwrap(), "a");
    let mut two = edge.connect().await;
    two.write_all(b"?").await.unwrap();
    assert_eq!(ask(&mut one).await.unwrap(), "a");
    edge.report(|r| open(r) == [("a", 1)]).await;
    edge.forwarding.max_connections = None;
    edge.route(2, &[&a], &[]).await;
    two.read_exact(&mut [0; 1]).await.unwrap();
    edge.report(|r| open(r) == [("a", 2)]).await;
}

#[tokio::test]
async fn a_client_that_takes_all_places_leaves_some_to_others() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = edge(
        Limits {
            connections: 40,
            ..LIMITS
        },
        Forwarding::default(),
    );
    edge.route(1, &[&a], &[]).await;
    let mut greedy = Vec::new();
    for _ in 0..200 {
        // Some are reset while they connect.
        greedy.extend(connect_from(&edge, [127, 0, 0, 3]).await);
    }
    for _ in 0..5 {
        let mut other = connect_from(&edge, [127, 0, 0, 4]).await.unwrap();
        assert_eq!(ask(&mut other).await.unwrap(), "a");
        greedy.push(other);
    }
    // Three quarters for the one, and the five.
    edge.report(|r| open(r) == [("a", 35)]).await;
}

#[tokio::test]
async fn beyond_the_rate_connections_wait_and_none_is_refused() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let number = |n| NonZeroU32::new(n).unwrap();
    let mut edge = edge(
        LIMITS,
        Forwarding {
            rate: Some(Rate {
                average: number(50),
                burst: number(2),
            }),
            ..Forwarding::default()
        },
    );
    edge.route(1, &[&a], &[]).await;
    let began = tokio::time::interval(Duration::from_secs(1)).tick().await;
    for _ in 0..12 {
        assert_eq!(edge.ask().await, "a");
    }
    // Two at once, and ten at 20 ms each; a timer may be a little early or late.
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn round_robin_takes_each_in_turn() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let b = greeter(&mut servers, "b").await;
    let mut edge = edge(
        LIMITS,
        Forwarding {
            balance: Balance::RoundRobin,
            ..Forwarding::default()
        },
    );
    edge.route(1, &[&a, &b], &[]).await;
    let mut kept = Vec::new();
    let mut answers = String::new();
    for turn in 0..6 {
        let mut client = edge.connect().await;
        answers += &ask(&mut client).await.unwrap();
        // Those of `a` stay, so that the fewest would not be each in turn.
        if turn % 2 == 0 {
            kept.push(client);
        }
    }
    assert_eq!(answers, "ababab");
}

#[tokio::test]
async fn an_ipv6_client_is_told_as_one() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let replica = backend("a", listener.local_addr().unwrap());
    let probe = std::net::TcpListener::bind("[::1]:0").unwrap();
    let mut port = free_port(Ipv4Addr::LOCALHOST);
    port.host_ip = Some("::1".parse().unwrap());
    port.host_port = probe.local_addr().unwrap().port();
    drop(probe);
    let forwarding = Forwarding {
        proxy_protocol: Some(ProxyProtocol::V1),
        ..Forwarding::default()
    };
    let mut edge = Edge::with(LIMITS, port, forwarding);
    edge.route(1, &[&replica], &[]).await;
    let address: SocketAddr = (port.local_address().0, port.host_port).into();
    let client = TcpStream::connect(address).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let own = client.local_addr().unwrap().port();
    drop(client);
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(
        heard,
        format!("PROXY TCP6 ::1 ::1 {own} {}\r\n", port.host_port)
    );
}
