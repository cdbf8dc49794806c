//! Ports are bound all or none, and who is in the way is named.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Command;

use phoenixd::edge::{Listeners, Obstacle};
use phoenixd::spec::{Published, Transport};
use rustix::net::{AddressFamily, SocketType};

use super::free_port;
use crate::support::eventually;

#[tokio::test]
async fn a_port_in_use_is_named_with_its_holder_and_all_others_are_released() {
    let ip = Ipv4Addr::new(127, 0, 0, 9);
    let free = free_port(ip);
    let taken = std::net::TcpListener::bind((ip, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    // A process that was given it has it, too, and is not whom to stop.
    let given = OwnedFd::from(taken.try_clone().unwrap());
    let mut heir = Command::new("sleep")
        .arg("60")
        .stdin(given)
        .spawn()
        .unwrap();
    let occupied = Published {
        host_ip: Some(ip.into()),
        host_port: port,
        target: 80,
        transport: Transport::Tcp,
    };
    let error = Listeners::bind(&BTreeSet::from([free, occupied])).unwrap_err();
    heir.kill().unwrap();
    heir.wait().unwrap();
    let own = std::process::id();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "port `127.0.0.9:{port}:80` cannot be bound: 127.0.0.9:{port} is taken by `"
        )),
        "{text}"
    );
    assert!(text.ends_with(&format!("(process {own})")), "{text}");
    assert!(error.hint().contains(&format!("stop process {own}")));
    let Obstacle::Taken(Some(holder)) = error.obstacle else {
        panic!("the holder is this process: {text}");
    };
    assert_eq!(holder.pid, own);
    // Whatever was bound before the failure is free again.
    Listeners::bind(&BTreeSet::from([free])).unwrap();
}

#[tokio::test]
async fn a_port_without_an_address_is_bound_for_both_families() {
    // Ports of other tests come and go; try until one is free on every address.
    let (listeners, published) = eventually(
        "a port that is free on every address",
        async || {
            let published = Published {
                host_ip: None,
                ..free_port(Ipv4Addr::LOCALHOST)
            };
            let bound = Listeners::bind(&BTreeSet::from([published])).ok();
            bound.map(|listeners| (listeners, published))
        },
        Option::is_some,
    )
    .await
    .unwrap();
    let addresses = listeners.addresses();
    let bound = addresses.get(&published).unwrap();
    let has_ipv6 =
        rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).is_ok_and(|socket| {
            rustix::net::bind(&socket, &"[::]:0".parse::<SocketAddr>().unwrap()).is_ok()
        });
    assert_eq!(bound.len(), if has_ipv6 { 2 } else { 1 });
    // And it really is taken: for both families, and for this one's loopback.
    for ip in ["0.0.0.0", "127.0.0.1"] {
        let other = Published {
            host_ip: Some(ip.parse().unwrap()),
            ..published
        };
        assert!(Listeners::bind(&BTreeSet::from([other])).is_err(), "{ip}");
    }
}
