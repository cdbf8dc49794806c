//! What goes over the control socket, line by line: each line one JSON object with one key, which names what it is.
//!
//! First both sides say `{"hello":{…}}`; then whoever connected asks ([`Asked`]) and the edge says ([`Said`]). Unknown
//! fields are ignored, so that a newer side may say more; an unknown key is an error, and the connection ends.
//!
//! Pure: text to values and back, with every bound that a peer could overstep. Not here: the domain's types (`convert`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use super::forwarding::{Balance, Forwarding, Protocol, ProxyProtocol, Rate};

/// The newest version that is spoken here.
pub const VERSION: u32 = 1;
/// The oldest one: an edge is handed over to one of a newer phoenixd.
pub const OLDEST: u32 = 1;
/// The longest line, in bytes. A table of 1,000 listeners with 10 replicas each has about 1.5 MB.
pub const LINE_BYTES: usize = 4 << 20;
/// The most listeners of a table, and the most sockets that are handed over.
pub const LISTENERS: usize = 4096;
/// The most replicas of a table, of targets, and of a report.
pub const REPLICAS: usize = 65_536;
/// The longest name of a service or id of a container, in bytes.
pub const NAME_BYTES: usize = 256;
/// The longest path that is probed, and the longest reason, in bytes.
pub const TEXT_BYTES: usize = 8192;

/// The first line of each side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The newest version that it speaks.
    pub version: u32,
    /// The oldest one; where it is left out, only `version`.
    #[serde(default)]
    pub oldest: Option<u32>,
    /// What it is; the edge that listens leaves it out.
    #[serde(default)]
    pub role: Option<Role>,
}

/// Who connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It says what is forwarded.
    Supervisor,
    /// It takes over.
    Edge,
}

/// What is said to an edge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// By the supervisor: forward by this from now on.
    Table(Table),
    /// By the supervisor: probe these, and only these.
    Targets(Vec<Target>),
    /// By the supervisor: have the listening sockets of the edge with this number, which is to drain then.
    TakeOver {
        /// Its number.
        from: u64,
    },
    /// By another edge: give me your listening sockets.
    Give {
        /// Its number.
        to: u64,
    },
    /// By another edge: I accept on them, stop accepting.
    Taken {},
}

/// What an edge says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// How things are; the newest one counts.
    Report(Report),
    /// One answer of one replica.
    Probed(Probed),
    /// To another edge: the table in force, if there is one. The sockets follow.
    Handing {
        /// The table.
        table: Option<Table>,
    },
    /// To another edge: whose sockets come with this line, in this order.
    Sockets(Vec<Socket>),
    /// To another edge: these were all.
    AllSent {
        /// How many.
        count: usize,
    },
    /// To another edge: nothing is accepted here any more.
    Released {},
    /// Why something that was asked for will not be done.
    Refused {
        /// For people.
        why: String,
    },
}

/// Which table: of two stamps of one session the higher epoch is newer; of two sessions the one of the supervisor that
/// connected last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// Drawn at random by each supervisor when it starts.
    pub session: u64,
    /// Its number of the table, from 1 up.
    pub epoch: u64,
}

/// A whole route table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Which one.
    pub stamp: Stamp,
    /// Every port; one that is not here is closed.
    pub listeners: Vec<Listener>,
    /// Containers out of rotation, of which connections are still counted.
    pub draining: Vec<String>,
    /// Those of them whose connections end now.
    #[serde(default)]
    pub cut: Vec<String>,
}

/// A port and where it leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// What it is called.
    pub key: Key,
    /// The addresses that are bound, in the edge's network namespace.
    pub bind: Vec<SocketAddr>,
    /// How it is forwarded.
    pub forwarding: Forwarding,
    /// The replicas.
    pub backends: Vec<Backend>,
}

/// A published port, as the file has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The host's address; null for every one.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The replicas' port.
    pub target: u16,
    /// Of both.
    pub transport: Transport,
}

/// Of a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A replica that takes traffic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Its service.
    pub service: String,
    /// Its number.
    pub serial: u64,
    /// Its container.
    pub container: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A replica that is probed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Its service.
    pub service: String,
    /// Its number.
    pub serial: u64,
    /// Its container.
    pub container: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The path of an HTTP question; null for a TCP connection.
    pub path: Option<String>,
    /// From the end of one probe to the begin of the next.
    pub interval_ms: u64,
    /// For one probe.
    pub timeout_ms: u64,
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// The container.
    pub container: String,
    /// When the question began, in microseconds since the host's boot.
    pub asked_at_us: u64,
    /// Why it failed; null when it did not.
    pub failure: Option<String>,
}

/// How things are with an edge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub serial: u64,
    /// Nothing is sent any more to a replica that this table does not route to; null before the first table.
    pub stamp: Option<Stamp>,
    /// Where it is in its life.
    pub stage: Stage,
    /// Open connections by container.
    pub open: BTreeMap<String, u64>,
    /// Addresses that could not be bound; each is tried again.
    pub unbound: Vec<Unbound>,
    /// The edge whose sockets it has; null when it has taken none over.
    pub took_over: Option<u64>,
    /// Why the takeover that was asked for has not succeeded yet.
    pub takeover_error: Option<String>,
    /// Connections that were ended because the time to drain was over.
    pub cut: u64,
}

/// Where an edge is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It accepts nothing yet.
    Idle,
    /// It accepts.
    Serving,
    /// It accepts nothing any more, and has connections.
    Draining,
    /// It accepts nothing any more, and has none.
    Drained,
}

/// An address that is not had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unbound {
    /// The port.
    pub key: Key,
    /// The address.
    pub address: SocketAddr,
    /// Why not, for people.
    pub why: String,
}

/// A listening socket that is handed over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Socket {
    /// The port.
    pub key: Key,
    /// The address that it is bound to.
    pub address: SocketAddr,
}

/// A line that is not what it has to be.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No JSON, or not of this form.
    #[error("not understood: {0}")]
    Form(String),
    /// More than anybody needs.
    #[error("{what}: more than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// The same thing twice.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// No version in common.
    #[error(
        "the other side speaks versions {theirs_oldest} to {theirs} of the edge's control, this phoenixd {OLDEST} to {VERSION}; \
        run both from phoenixd versions that are no further apart"
    )]
    Version {
        /// Its oldest.
        theirs_oldest: u32,
        /// Its newest.
        theirs: u32,
    },
}

/// What may be a line.
pub trait Line: Serialize + DeserializeOwned {
    /// Whether it keeps the bounds.
    ///
    /// # Errors
    /// The first one that it oversteps.
    fn check(&self) -> Result<(), WireError>;
}

/// Reads one line, without its end.
///
/// # Errors
/// What is wrong with it.
pub fn decode<T: Line>(line: &[u8]) -> Result<T, WireError> {
    let value: T = serde_json::from_slice(line).map_err(|error| form(&error))?;
    value.check()?;
    Ok(value)
}

/// Writes one line, with its end.
///
/// # Errors
/// It would not be read by the other side.
pub fn encode<T: Line>(value: &T) -> Result<Vec<u8>, WireError> {
    value.check()?;
    let mut line = serde_json::to_vec(value).map_err(|error| form(&error))?;
    at_most("bytes of a line", line.len(), LINE_BYTES)?;
    line.push(b'\n');
    Ok(line)
}

/// The first line of a side.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum First {
    Hello(Hello),
}

impl Line for First {
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }
}

/// Writes a `hello`.
///
/// # Errors
/// None in practice.
pub fn encode_hello(role: Option<Role>) -> Result<Vec<u8>, WireError> {
    encode(&First::Hello(Hello {
        version: VERSION,
        oldest: Some(OLDEST),
        role,
    }))
}

/// Reads a `hello`, and finds the version that both speak.
///
/// # Errors
/// It is none, or there is no such version.
pub fn decode_hello(line: &[u8]) -> Result<(u32, Option<Role>), WireError> {
    let First::Hello(hello) = decode(line)?;
    let theirs_oldest = hello.oldest.unwrap_or(hello.version);
    let common = hello.version.min(VERSION);
    if common < theirs_oldest.max(OLDEST) {
        return Err(WireError::Version {
            theirs_oldest,
            theirs: hello.version,
        });
    }
    Ok((common, hello.role))
}

impl Line for Asked {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Table(table) => check_table(table),
            Self::Targets(targets) => {
                at_most("targets", targets.len(), REPLICAS)?;
                let mut seen = BTreeSet::new();
                for target in targets {
                    name(&target.service)?;
                    name(&target.container)?;
                    text(target.path.as_deref())?;
                    once("a container of the targets", seen.insert(&target.container))?;
                }
                Ok(())
            }
            Self::TakeOver { .. } | Self::Give { .. } | Self::Taken {} => Ok(()),
        }
    }
}

impl Line for Said {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Report(report) => {
                at_most("containers", report.open.len(), REPLICAS)?;
                report.open.keys().try_for_each(|id| name(id))?;
                at_most("unbound addresses", report.unbound.len(), LISTENERS)?;
                for unbound in &report.unbound {
                    text(Some(&unbound.why))?;
                }
                text(report.takeover_error.as_deref())
            }
            Self::Probed(probed) => {
                name(&probed.container)?;
                text(probed.failure.as_deref())
            }
            Self::Handing { table } => table.as_ref().map_or(Ok(()), check_table),
            Self::Sockets(sockets) => {
                at_most("sockets of a line", sockets.len(), LISTENERS)?;
                let all: BTreeSet<_> = sockets.iter().collect();
                once("a socket", all.len() == sockets.len())
            }
            Self::AllSent { count } => at_most("sockets", *count, LISTENERS),
            Self::Released {} => Ok(()),
            Self::Refused { why } => text(Some(why)),
        }
    }
}

fn check_table(table: &Table) -> Result<(), WireError> {
    at_most("listeners", table.listeners.len(), LISTENERS)?;
    at_most("draining containers", table.draining.len(), REPLICAS)?;
    table.draining.iter().try_for_each(|id| name(id))?;
    at_most("containers to cut", table.cut.len(), REPLICAS)?;
    table.cut.iter().try_for_each(|id| name(id))?;
    let mut keys = BTreeSet::new();
    let (mut binds, mut backends) = (0, 0);
    for listener in &table.listeners {
        once("a listener", keys.insert(listener.key))?;
        binds += listener.bind.len();
        backends += listener.backends.len();
        for backend in &listener.backends {
            name(&backend.service)?;
            name(&backend.container)?;
        }
    }
    at_most("addresses", binds, LISTENERS)?;
    at_most("backends", backends, REPLICAS)
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), WireError> {
    if count <= most {
        Ok(())
    } else {
        Err(WireError::TooMany { what, most })
    }
}

fn once(what: &'static str, is: bool) -> Result<(), WireError> {
    if is {
        Ok(())
    } else {
        Err(WireError::Twice(what))
    }
}

fn name(name: &str) -> Result<(), WireError> {
    at_most("bytes of a name", name.len(), NAME_BYTES)
}

fn text(text: Option<&str>) -> Result<(), WireError> {
    at_most("bytes of a text", text.map_or(0, str::len), TEXT_BYTES)
}

fn form(error: &serde_json::Error) -> WireError {
    // It quotes what it was given: a peer's text in a log is short.
    WireError::Form(error.to_string().chars().take(200).collect())
}
