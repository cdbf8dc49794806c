//! How a port is forwarded, as it goes over the wire, and back.
//!
//! Not here: what each setting means (`spec::Forwarding`).

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::{self, EdgeProtocol};

/// How a port is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forwarding {
    /// What connections carry.
    pub protocol: Protocol,
    /// Which replica is next.
    pub balance: Balance,
    /// How long nothing may move; null for the protocol's own.
    pub idle_timeout_ms: Option<u64>,
    /// Open connections of the port; null for the edge's own cap.
    pub max_connections: Option<NonZeroU32>,
    /// New connections; null without a limit.
    pub rate: Option<Rate>,
    /// Which PROXY header the replicas are sent; null for none.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What connections carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Bytes.
    Tcp,
    /// Requests.
    Http,
}

/// Which replica is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the fewest connections.
    LeastConn,
    /// Each in turn.
    RoundRobin,
}

/// How fast new connections are taken on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// In each second.
    pub average: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// The version of a PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

impl From<spec::Forwarding> for Forwarding {
    fn from(forwarding: spec::Forwarding) -> Self {
        let spec::Forwarding {
            protocol,
            balance,
            idle_timeout,
            max_connections,
            rate,
            proxy_protocol,
        } = forwarding;
        Self {
            protocol: match protocol {
                EdgeProtocol::Tcp => Protocol::Tcp,
                EdgeProtocol::Http => Protocol::Http,
            },
            balance: match balance {
                spec::Balance::LeastConn => Balance::LeastConn,
                spec::Balance::RoundRobin => Balance::RoundRobin,
            },
            idle_timeout_ms: idle_timeout
                .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            max_connections,
            rate: rate.map(|spec::Rate { average, burst }| Rate { average, burst }),
            proxy_protocol: proxy_protocol.map(|version| match version {
                spec::ProxyProtocol::V1 => ProxyProtocol::V1,
                spec::ProxyProtocol::V2 => ProxyProtocol::V2,
            }),
        }
    }
}

impl From<Forwarding> for spec::Forwarding {
    fn from(forwarding: Forwarding) -> Self {
        let Forwarding {
            protocol,
            balance,
            idle_timeout_ms,
            max_connections,
            rate,
            proxy_protocol,
        } = forwarding;
        Self {
            protocol: match protocol {
                Protocol::Tcp => EdgeProtocol::Tcp,
                Protocol::Http => EdgeProtocol::Http,
            },
            balance: match balance {
                Balance::LeastConn => spec::Balance::LeastConn,
                Balance::RoundRobin => spec::Balance::RoundRobin,
            },
            idle_timeout: idle_timeout_ms.map(Duration::from_millis),
            max_connections,
            rate: rate.map(|Rate { average, burst }| spec::Rate { average, burst }),
            proxy_protocol: proxy_protocol.map(|version| match version {
                ProxyProtocol::V1 => spec::ProxyProtocol::V1,
                ProxyProtocol::V2 => spec::ProxyProtocol::V2,
            }),
        }
    }
}
