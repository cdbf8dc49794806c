//! `x-phoenix.edge`: how the edge forwards to a service.
//!
//! It concerns the edge alone: no part of what a replica is born from, so a change of it replaces nobody. Not here: its
//! YAML (`compose`), and what is done with it (`edge`).

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Who leads traffic to a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// phoenixd's own edge.
    Forward(Forwarding),
    /// Nobody: the service's names lead to its replicas, from their births on.
    None,
    /// A proxy of the operator's own, on the network [`READY_NETWORK`]: there, and only while they are ready, the replicas
    /// have the service's names.
    External,
}

/// The key of the network on which the replicas of a service with an edge of the operator's own are while they are ready.
pub const READY_NETWORK: &str = "ready";

impl Default for Edge {
    fn default() -> Self {
        Self::Forward(Forwarding::default())
    }
}

/// How the edge forwards. Every value is valid by itself, but for a PROXY header in HTTP mode, which `compose` refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forwarding {
    /// What the connections of the TCP ports carry; UDP ports are forwarded as datagrams whatever it says.
    pub protocol: EdgeProtocol,
    /// Which replica is next.
    pub balance: Balance,
    /// How long nothing may move; the protocol decides where it is not written.
    pub idle_timeout: Option<Duration>,
    /// Open connections (UDP: sessions) of one published port; the edge's own cap where `None`.
    pub max_connections: Option<NonZeroU32>,
    /// New connections (UDP: sessions) of one published port; unlimited where `None`.
    pub rate: Option<Rate>,
    /// The replica is told by a PROXY header who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What a connection carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EdgeProtocol {
    /// Bytes.
    #[default]
    Tcp,
    /// HTTP/1.1 and h2c: each request is forwarded for itself.
    Http,
}

impl EdgeProtocol {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Http];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for EdgeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which replica a new connection, request or session goes to. The names are those of nginx and Caddy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// The one with the fewest, ties in turn.
    #[default]
    LeastConn,
    /// Each in turn.
    RoundRobin,
}

impl Balance {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::LeastConn, Self::RoundRobin];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastConn => "least_conn",
            Self::RoundRobin => "round_robin",
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The version of a PROXY header (`proxy-protocol.txt` of `HAProxy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How fast new connections are taken on. The names are those of Traefik's rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// In each second, in the long run.
    pub average: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per second, burst {}", self.average, self.burst)
    }
}
