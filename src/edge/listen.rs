//! Binds every published port before anything is started, and says who is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use super::holder::{self, Holder};
use super::moving::Opened;
use crate::spec::{Published, Transport};

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`. Long enough for what arrives while
/// accepting pauses.
const BACKLOG: i32 = 4096;

/// The sockets of one port, one for each address.
#[derive(Debug)]
pub(super) enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

impl Sockets {
    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tcp(all) => all.iter().flat_map(TcpListener::local_addr).collect(),
            Self::Udp(all) => all.iter().flat_map(UdpSocket::local_addr).collect(),
        }
    }
}

/// The bound sockets of all published ports.
#[derive(Debug)]
pub struct Listeners {
    sockets: BTreeMap<Published, Sockets>,
    later: BTreeSet<Published>,
    moving: Option<mpsc::Receiver<Opened>>,
}

impl Listeners {
    /// Binds all ports, or none: after an error every socket is closed again. Connections wait in the kernel's queue
    /// until [`run`](super::run).
    ///
    /// A port without an address is bound on `0.0.0.0` and on `[::]`; a host without IPv6 is fine.
    ///
    /// # Errors
    /// The first port that cannot be bound.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(ports: &BTreeSet<Published>) -> Result<Self, BindError> {
        let mut sockets = BTreeMap::new();
        for published in ports {
            sockets.insert(*published, bind_port(*published)?);
        }
        Ok(Self {
            sockets,
            later: BTreeSet::new(),
            moving: None,
        })
    }

    /// None now; they come and go while the edge runs.
    pub(super) fn moving(opened: mpsc::Receiver<Opened>) -> Self {
        Self {
            sockets: BTreeMap::new(),
            later: BTreeSet::new(),
            moving: Some(opened),
        }
    }

    /// Those that come and go, if there are any.
    pub(super) fn take_moving(&mut self) -> Option<mpsc::Receiver<Opened>> {
        self.moving.take()
    }

    /// The same with ports that somebody else still holds: each is bound when a route table first has it.
    ///
    /// # Errors
    /// One that could not be bound even then: an address that the host does not have, a port that needs a privilege.
    pub fn and_later(self, ports: &BTreeSet<Published>) -> Result<Self, BindError> {
        for published in ports {
            match bind_port(*published) {
                // Whoever holds it may need it again until it ends.
                Ok(sockets) => drop(sockets),
                Err(BindError {
                    obstacle: Obstacle::Taken(_),
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            later: ports.clone(),
            ..self
        })
    }

    /// The addresses that are bound, by port.
    pub fn addresses(&self) -> BTreeMap<Published, Vec<SocketAddr>> {
        self.sockets
            .iter()
            .map(|(published, sockets)| (*published, sockets.addresses()))
            .collect()
    }

    /// How many ports there are or will be.
    pub(super) fn count(&self) -> usize {
        self.sockets.len() + self.later.len()
    }

    pub(super) fn into_sockets(self) -> (BTreeMap<Published, Sockets>, BTreeSet<Published>) {
        (self.sockets, self.later)
    }
}

/// Why a port cannot be bound. The message names the port and what is in the way; [`BindError::hint`] what to do.
#[derive(Debug, thiserror::Error)]
#[error("port `{published}` cannot be bound: {}", obstacle.describe(*address))]
pub struct BindError {
    /// The port.
    pub published: Published,
    /// The address that the host refused.
    pub address: SocketAddr,
    /// What is in the way.
    pub obstacle: Obstacle,
    /// What the kernel said.
    pub source: io::Error,
}

/// What is in the way of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// It is taken; by whom, where that can be seen.
    Taken(Option<Holder>),
    /// Only a privileged process may bind it.
    Privileged {
        /// The first port that anybody may bind.
        first_free: u16,
    },
    /// No interface of this host has the address.
    NoSuchAddress,
    /// Anything else; the source says what.
    Other,
}

impl Obstacle {
    pub(super) fn describe(&self, address: SocketAddr) -> String {
        match self {
            Self::Taken(Some(holder)) => format!("{address} is taken by {holder}"),
            Self::Taken(None) => format!("{address} is taken"),
            Self::Privileged { first_free } => format!("ports below {first_free} need a privilege"),
            Self::NoSuchAddress => {
                format!("no interface of this host has the address {}", address.ip())
            }
            Self::Other => format!("the host refuses {address}"),
        }
    }
}

impl BindError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let port = self.published.host_port;
        match &self.obstacle {
            Obstacle::Taken(Some(holder)) if holder.command == "docker-proxy" => format!(
                "a container publishes this port: see `docker ps --filter publish={port}`; stop it, or change the host port in `ports:`"
            ),
            Obstacle::Taken(Some(holder)) => format!(
                "stop process {}, or change the host port in `ports:`",
                holder.pid
            ),
            Obstacle::Taken(None) => format!(
                "`ss -ltunp 'sport = :{port}'` as root shows who has it; stop that, or change the host port in `ports:`"
            ),
            Obstacle::Privileged { first_free } => format!(
                "use a host port from {first_free} up, or give phoenixd CAP_NET_BIND_SERVICE (systemd: `AmbientCapabilities=`)"
            ),
            Obstacle::NoSuchAddress => {
                "`ip address` shows those that it has; leave the address out to bind every one"
                    .to_owned()
            }
            Obstacle::Other => "change the port in `ports:`".to_owned(),
        }
    }
}

pub(super) fn bind_port(published: Published) -> Result<Sockets, BindError> {
    let sockets = match published.transport {
        Transport::Tcp => Sockets::Tcp(bind_each(published, tcp_socket)?),
        Transport::Udp => Sockets::Udp(bind_each(published, udp_socket)?),
    };
    Ok(sockets)
}

/// Binds on each address of the port.
fn bind_each<S>(
    published: Published,
    bind: impl Fn(SocketAddr) -> Result<S, Errno>,
) -> Result<Vec<S>, BindError> {
    let bind = |ip: IpAddr| {
        let address = SocketAddr::new(ip, published.host_port);
        let socket = bind(address);
        socket.map_err(|source| {
            let error = BindError {
                published,
                address,
                obstacle: obstacle(published.transport, address, source),
                source: source.into(),
            };
            (source, error)
        })
    };
    let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let first = published.host_ip.unwrap_or(any4);
    let mut sockets = vec![bind(first).map_err(|(_, error)| error)?];
    if published.host_ip.is_none() {
        match bind(any6) {
            Ok(socket) => sockets.push(socket),
            // No IPv6 in the kernel, or switched off.
            Err((Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL, _)) => {}
            Err((_, error)) => return Err(error),
        }
    }
    Ok(sockets)
}

pub(super) fn tcp_socket(address: SocketAddr) -> Result<TcpListener, Errno> {
    let socket = socket(address, SocketType::STREAM)?;
    // Connections of the last run may be in TIME_WAIT. Not SO_REUSEPORT: two supervisors must not share a port unseen.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into()).map_err(errno)
}

pub(super) fn udp_socket(address: SocketAddr) -> Result<UdpSocket, Errno> {
    // Not SO_REUSEADDR: on Linux it lets a second socket take a UDP port over from the first.
    let socket = socket(address, SocketType::DGRAM)?;
    rustix::net::bind(&socket, &address)?;
    UdpSocket::from_std(socket.into()).map_err(errno)
}

fn socket(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
pub(super) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

pub(super) fn obstacle(transport: Transport, address: SocketAddr, error: Errno) -> Obstacle {
    match error {
        Errno::ADDRINUSE => Obstacle::Taken(holder::of(transport, address)),
        Errno::ACCESS | Errno::PERM => Obstacle::Privileged {
            first_free: first_unprivileged(),
        },
        Errno::ADDRNOTAVAIL => Obstacle::NoSuchAddress,
        _ => Obstacle::Other,
    }
}

fn first_unprivileged() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno, holder: Option<Holder>) -> BindError {
        let published = Published {
            host_ip: None,
            host_port: 80,
            target: 8080,
            transport: Transport::Tcp,
        };
        let address = SocketAddr::from(([0, 0, 0, 0], 80));
        let obstacle = match holder {
            Some(holder) => Obstacle::Taken(Some(holder)),
            None => obstacle(Transport::Tcp, address, errno),
        };
        BindError {
            published,
            address,
            obstacle,
            source: errno.into(),
        }
    }

    #[test]
    fn a_message_names_the_port_and_the_hint_what_to_do() {
        let denied = error(Errno::ACCESS, None);
        assert!(denied.to_string().contains("need a privilege"), "{denied}");
        assert!(denied.hint().contains("CAP_NET_BIND_SERVICE"));
        let missing = error(Errno::ADDRNOTAVAIL, None);
        assert_eq!(
            missing.to_string(),
            "port `80:8080` cannot be bound: no interface of this host has the address 0.0.0.0"
        );
        let proxy = Holder {
            pid: 7,
            command: "docker-proxy".to_owned(),
        };
        let taken = error(Errno::ADDRINUSE, Some(proxy));
        assert_eq!(
            taken.to_string(),
            "port `80:8080` cannot be bound: 0.0.0.0:80 is taken by `docker-proxy` (process 7)"
        );
        assert!(
            taken.hint().contains("docker ps --filter publish=80"),
            "{}",
            taken.hint()
        );
    }
}
