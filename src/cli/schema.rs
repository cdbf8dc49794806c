//! `phoenixd schema`: the JSON Schema of `x-phoenix`, for editors: what may stand there, with its documentation and
//! defaults. Needs neither a file nor an engine.
//!
//! Generated from the types below by `schemars`. They describe what is written in the file, as `compose::phoenix` reads
//! it; a test holds their keys and defaults against it. Not here: the rest of a Compose file, which has a schema of
//! its own in the Compose Specification; an editor takes both.

// The fields are read by the derive alone.
#![expect(dead_code, reason = "the types are described, never made")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::Value;

use super::output::{Complaint, Exit, print};
use crate::spec::{self, Allow};

pub(super) fn run() -> Result<Exit, Complaint> {
    print(&schema()).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

/// The schema, as JSON text with a line break at its end.
fn schema() -> String {
    let mut schema = schema_for!(ComposeFile);
    let settings = Settings::defaults();
    for (definition, defaults) in [
        ("Defaults", &settings),
        ("Phoenix", &settings),
        ("ProbeSettings", &ProbeSettings::defaults()),
        ("Backoff", &Backoff::defaults()),
        ("Network", &Network::defaults()),
        ("Edge", &Edge::defaults()),
    ] {
        for (name, default) in defaults {
            let pointer = format!("/$defs/{definition}/properties/{name}");
            if let Some(Value::Object(property)) = schema.pointer_mut(&pointer) {
                property.insert("default".to_owned(), default.clone());
            }
        }
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Keys and what they are where the file does not say.
type Values = Vec<(&'static str, Value)>;

fn span(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

impl Settings {
    fn defaults() -> Values {
        let phoenix = spec::Phoenix::default();
        let jitter = match phoenix.jitter {
            spec::Jitter::Permille(permille) => format!("{}%", f64::from(permille) / 10.0).into(),
            spec::Jitter::Span(duration) => span(duration),
        };
        let overdue = match phoenix.overdue {
            spec::Overdue::Keep => "keep",
            spec::Overdue::Stop => "stop",
        };
        let on_taint = match phoenix.on_taint {
            spec::OnTaint::Replace => "replace",
            spec::OnTaint::Report => "report",
        };
        vec![
            ("ttl", span(phoenix.ttl)),
            ("jitter", jitter),
            ("drain", span(phoenix.drain)),
            ("surge", phoenix.surge.into()),
            ("overdue", overdue.into()),
            ("identity", phoenix.identity.into()),
            ("pull", "pinned".into()),
            ("on_taint", on_taint.into()),
        ]
    }
}

impl ProbeSettings {
    fn defaults() -> Values {
        let probe = spec::Phoenix::default().probe;
        vec![
            ("interval", span(probe.interval)),
            ("timeout", span(probe.timeout)),
            ("successes", probe.successes.into()),
            ("failures", probe.failures.into()),
            ("min_ready", span(probe.min_ready)),
            ("deadline", span(probe.deadline)),
        ]
    }
}

impl Network {
    fn defaults() -> Values {
        let network = spec::Phoenix::default().network;
        vec![("enforce", network.enforce.into())]
    }
}

impl Edge {
    fn defaults() -> Values {
        let forwarding = spec::Forwarding::default();
        vec![
            ("protocol", forwarding.protocol.name().into()),
            ("balance", forwarding.balance.name().into()),
            ("proxy_protocol", "none".into()),
        ]
    }
}

impl Backoff {
    fn defaults() -> Values {
        let backoff = spec::Phoenix::default().backoff;
        vec![
            ("base", span(backoff.base)),
            ("cap", span(backoff.cap)),
            ("budget", backoff.budget.into()),
        ]
    }
}

/// The extension `x-phoenix` of a Compose file: how phoenixd runs its services.
#[derive(JsonSchema)]
#[schemars(title = "x-phoenix")]
struct ComposeFile {
    /// Defaults for every phoenix of this file.
    #[schemars(rename = "x-phoenix")]
    x_phoenix: Option<Defaults>,
    /// The services of the file. Those with `x-phoenix` are run by phoenixd, the others by docker compose.
    services: Option<BTreeMap<String, Option<Service>>>,
}

/// A service of the file.
#[derive(JsonSchema)]
struct Service {
    /// Makes the service a phoenix: immutable, hardened, replaced on its TTL. `{}` takes all defaults.
    #[schemars(rename = "x-phoenix")]
    x_phoenix: Option<Phoenix>,
}

/// Defaults for every phoenix of the file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {
    #[schemars(flatten)]
    settings: Settings,
}

/// How one service lives and dies; lies over the file's defaults key by key.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Phoenix {
    #[schemars(flatten)]
    settings: Settings,
    /// Exceptions from hardening, by name; each is shown by `phoenixd check`. Not a default for all services.
    allow: Option<OneOrMany<Exception>>,
}

/// What both levels have.
#[derive(JsonSchema)]
struct Settings {
    /// How long a replica may live.
    ttl: Option<Span>,
    /// By how much a life may be shortened, so that replicas do not die at once: a part of the TTL up to 50 %, or a
    /// duration.
    jitter: Option<Jitter>,
    /// How readiness is asked for, from outside. Without it: a TCP connection to the first port, or the image's own
    /// HEALTHCHECK where no port is known.
    probe: Option<Probe>,
    /// How long connections may go on after a replica has left the rotation.
    drain: Option<Span>,
    /// How many replicas above the wanted number may exist while one is replaced; 0 stops the old one first.
    ///
    #[schemars(range(min = 0, max = 100))]
    surge: Option<u32>,
    /// What happens to a replica past its deadline when no replacement can be healthy.
    overdue: Option<Overdue>,
    /// Delays after failures.
    backoff: Option<Backoff>,
    /// Tell each replica who it is, by variables of its environment.
    identity: Option<bool>,
    /// Which image a replica is born from.
    pull: Option<Pull>,
    /// What happens to a replica that was touched: by an exec, a copy, an attach, a foreign process.
    on_taint: Option<OnTaint>,
    /// The sockets that a replica may have. What is not declared at all is not looked at.
    network: Option<Network>,
    /// Who leads traffic to the service: phoenixd's own edge with these settings, nobody, or a proxy of one's own.
    edge: Option<AnyEdge>,
}

/// Whose edge a service has.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum AnyEdge {
    /// Somebody else's, or none.
    Word(EdgeWord),
    /// phoenixd's own.
    Settings(Edge),
}

/// An edge that is not phoenixd's.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum EdgeWord {
    /// None: the service's names lead to its replicas.
    None,
    /// A proxy of one's own, which finds ready replicas by the service's names on the network `ready`.
    External,
}

/// How the edge forwards what comes in by `ports`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Edge {
    /// What the connections of the TCP ports carry. `http` forwards each request for itself: HTTP/1.1 and h2c.
    protocol: Option<EdgeProtocol>,
    /// Which replica is next.
    balance: Option<Balance>,
    /// How long nothing may move until a connection, a request or a UDP session is ended.
    idle_timeout: Option<Span>,
    /// Open connections (UDP: sessions) of one published port; further ones wait.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_connections: Option<u32>,
    /// New connections (UDP: sessions) per second of one published port; further ones wait.
    rate: Option<Rate>,
    /// Tell the replica by a PROXY header who the client is; only with `protocol: tcp`.
    proxy_protocol: Option<ProxyProtocol>,
}

/// What a connection carries.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum EdgeProtocol {
    /// Bytes.
    Tcp,
    /// Requests of HTTP/1.1 or h2c.
    Http,
}

/// Which replica is next.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Balance {
    /// The one with the fewest connections, requests or sessions.
    LeastConn,
    /// Each in turn.
    RoundRobin,
}

/// The version of a PROXY header.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ProxyProtocol {
    /// No header.
    None,
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// How fast new connections are taken on.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Rate {
    /// In each second, and at once after a rest; 0 is no limit.
    Average(u32),
    /// With a burst of its own.
    Settings(RateSettings),
}

/// How fast new connections are taken on.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RateSettings {
    /// In each second, in the long run.
    #[schemars(range(min = 1, max = 1_000_000))]
    average: u32,
    /// At once, after a rest; `average` where it is not written.
    #[schemars(range(min = 1, max = 1_000_000))]
    burst: Option<u32>,
}

/// What happens to a replica that was touched.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnTaint {
    /// It leaves the rotation at once, is frozen, recorded and replaced.
    Replace,
    /// It is recorded, and serves on.
    Report,
}

/// The sockets that a replica may have.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Network {
    /// Ports that it may listen on, besides those of `ports` and the one that is probed.
    listen: Option<OneOrMany<Port>>,
    /// Whom it may be connected to: addresses or networks, each with a port.
    connect: Option<OneOrMany<Peers>>,
    /// What is not declared taints; else it is only told.
    enforce: Option<bool>,
}

/// How readiness is asked for.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Probe {
    /// By one word.
    Word(ProbeWord),
    /// With settings.
    Settings(ProbeSettings),
}

/// How, by one word.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ProbeWord {
    /// A TCP connection.
    Tcp,
    /// The status of the image's own HEALTHCHECK.
    Docker,
    /// Running is enough.
    None,
}

/// How, and how often. One of `http`, `tcp`, `docker` and `none`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ProbeSettings {
    /// The path that must answer with a status from 200 to 399.
    #[schemars(regex(pattern = "^/[!-~]*$"))]
    http: Option<String>,
    /// A TCP connection.
    tcp: Option<bool>,
    /// The status of the image's own HEALTHCHECK.
    docker: Option<bool>,
    /// Running is enough.
    none: Option<bool>,
    /// The container's port.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// How often a ready replica is asked.
    interval: Option<Span>,
    /// How long an answer may take.
    timeout: Option<Span>,
    /// Successes in a row until it is ready.
    #[schemars(range(min = 1, max = 1000))]
    successes: Option<u32>,
    /// Failures in a row until it is not.
    #[schemars(range(min = 1, max = 1000))]
    failures: Option<u32>,
    /// How long it must have been ready until it counts.
    min_ready: Option<Span>,
    /// How long a birth may take until it has failed.
    deadline: Option<Span>,
}

/// What happens past the deadline.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Overdue {
    /// It stays, loudly.
    Keep,
    /// It is stopped.
    Stop,
}

/// Which image.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Pull {
    /// The one that is there, pulled where there is none, or as `pull_policy` says; until the next `up`.
    Pinned,
    /// Asked for at each `up`; the one that is there where the registry does not answer.
    Latest,
}

/// Delays after failures.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Backoff {
    /// The first delay.
    base: Option<Span>,
    /// The longest delay.
    cap: Option<Span>,
    /// Failures in a row until only the longest delay is left.
    #[schemars(range(min = 1, max = 1_000_000))]
    budget: Option<u32>,
}

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A duration as people write it.
struct Span;

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number and a unit, or several: `250ms`, `30s`, `1h30m`, `7d`.",
            "pattern": "^ *(\\d+(\\.\\d+)? *[a-zµ]+ *)+$",
            "examples": ["30s", "1h", "24h"],
        })
    }
}

/// A part of the TTL, or a duration.
struct Jitter;

impl JsonSchema for Jitter {
    fn schema_name() -> Cow<'static, str> {
        "Jitter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`10%` of the TTL, up to 50 %, or a duration.",
            "pattern": "^(\\d{1,2}(\\.\\d)? *%|( *\\d+(\\.\\d+)? *[a-zµ]+ *)+)$",
            "examples": ["10%", "5m"],
        })
    }
}

/// A port that is listened on.
struct Port;

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "A port, of TCP or with `/udp`.",
            "pattern": "^\\d{1,5}(/(tcp|udp))?$",
            "minimum": 1,
            "maximum": 65535,
            "examples": ["8080", "9090/udp"],
        })
    }
}

/// Peers that are connected to.
struct Peers;

impl JsonSchema for Peers {
    fn schema_name() -> Cow<'static, str> {
        "Peers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An address or a network, IPv6 in brackets, with a port, of TCP or with `/udp`.",
            "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\])(/\\d{1,3})?:\\d{1,5}(/(tcp|udp))?$",
            "examples": ["10.0.0.0/8:5432", "[2001:db8::]/32:443", "192.0.2.1:53/udp"],
        })
    }
}

/// An exception from hardening.
struct Exception;

impl JsonSchema for Exception {
    fn schema_name() -> Cow<'static, str> {
        "Exception".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exception from hardening.",
            "enum": Allow::ALL.map(Allow::name),
        })
    }
}
