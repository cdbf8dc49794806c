//! `x-phoenix`: how a service lives and dies, at the top level for all and on a service for itself.
//!
//! The service's settings lie over the project's key by key, in `probe` and `backoff` too. Durations are humantime's,
//! without months and years, whose length nobody agrees on.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use super::bind::{At, Pair};
use super::problems::Problems;
use super::{edge, suggest};
use crate::spec::{Allow, Jitter, Listen, OnTaint, Overdue, Peers, Phoenix, Place, ProbeKind};

const KEYS: [&str; 13] = [
    "ttl", "jitter", "probe", "drain", "surge", "overdue", "backoff", "allow", "identity", "pull",
    "on_taint", "network", "edge",
];
/// Settings of the design that are still to come.
const NOT_YET: [&str; 1] = ["keep"];
const PROBE_KEYS: [&str; 11] = [
    "http",
    "tcp",
    "docker",
    "none",
    "port",
    "interval",
    "timeout",
    "successes",
    "failures",
    "min_ready",
    "deadline",
];
const PROBE_WORDS: [&str; 3] = ["tcp", "docker", "none"];

pub(super) const YEAR: Duration = Duration::from_hours(365 * 24);
/// Replicas that live shorter than they take to start would never serve anybody.
const TTL_MIN: Duration = Duration::from_secs(1);
/// A probe more often than this is load, not knowledge.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const SURGE_MAX: i64 = 100;

/// The settings so far, and where they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// The values.
    pub(super) phoenix: Phoenix,
    /// `x-phoenix`, `x-phoenix.ttl`, `x-phoenix.probe.http` …
    pub(super) places: BTreeMap<String, Place>,
    /// `pull: latest`.
    pub(super) pull_latest: bool,
}

/// Where a block of settings stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Project,
    Service,
}

impl Settings {
    /// Reads the project's defaults.
    pub(super) fn read_defaults(&mut self, at: &At<'_>, key_place: &Place, out: &mut Problems) {
        self.read(at, key_place, Level::Project, out);
        self.check_jitter(at, out);
    }

    /// Lays a service's own settings over the defaults.
    pub(super) fn read_service(
        &mut self,
        at: &At<'_>,
        key_place: &Place,
        replicas: u32,
        out: &mut Problems,
    ) {
        self.read(at, key_place, Level::Service, out);
        self.check_jitter(at, out);
        let most = replicas.max(1);
        if self.phoenix.surge > most {
            if let Some(surge) = at.get("surge") {
                let message = format!(
                    "`surge: {}` is more than there are replicas ({replicas})",
                    self.phoenix.surge
                );
                surge.invalid(message, format!("write 0 to {most}"), out);
            }
            // A default of the project is for the larger services; here it means "all at once".
            self.phoenix.surge = most;
        }
    }

    fn read(&mut self, at: &At<'_>, key_place: &Place, level: Level, out: &mut Problems) {
        self.places
            .insert("x-phoenix".to_owned(), key_place.clone());
        if at.is_null() {
            return;
        }
        let known: Vec<&str> = KEYS.into_iter().chain(NOT_YET).collect();
        for pair in at.fields(&known, out).unwrap_or_default() {
            self.remember("", &pair);
            if NOT_YET.contains(&pair.key) {
                out.error_at(
                    pair.key_place,
                    pair.value.path(),
                    "not-supported",
                    format!("`{}` is not supported yet in `x-phoenix`", pair.key),
                    "remove it",
                );
            } else if !pair.value.is_null() {
                self.setting(&pair, level, out);
            }
        }
    }

    fn remember(&mut self, parent: &str, pair: &Pair<'_>) {
        let path = format!("x-phoenix{parent}.{}", pair.key);
        self.places.insert(path, pair.key_place.clone());
    }

    fn setting(&mut self, pair: &Pair<'_>, level: Level, out: &mut Problems) {
        let value = &pair.value;
        let phoenix = &mut self.phoenix;
        match pair.key {
            "ttl" => set(&mut phoenix.ttl, duration(value, TTL_MIN, YEAR, out)),
            "jitter" => set(&mut phoenix.jitter, jitter(value, out)),
            "drain" => set(
                &mut phoenix.drain,
                duration(value, Duration::ZERO, YEAR, out),
            ),
            "surge" => set(&mut phoenix.surge, count(value, 0, SURGE_MAX, out)),
            "overdue" => set(&mut phoenix.overdue, overdue(value, out)),
            "identity" => set(&mut phoenix.identity, value.boolean(out)),
            "pull" => {
                let word = value.one_of(&["pinned", "latest"], out);
                self.pull_latest = word == Some("latest");
            }
            "on_taint" => set(&mut phoenix.on_taint, on_taint(value, out)),
            "network" => self.network(value, out),
            "edge" => {
                let Self {
                    phoenix, places, ..
                } = self;
                edge::read(value, &mut phoenix.edge, out, |pair| {
                    let path = format!("x-phoenix.edge.{}", pair.key);
                    places.insert(path, pair.key_place.clone());
                });
            }
            "probe" => self.probe(value, out),
            "backoff" => self.backoff(value, out),
            _ if level == Level::Project => out.error_at(
                pair.key_place,
                value.path(),
                "not-allowed",
                "`allow` is not a default: an exception belongs to the one service that needs it",
                "move it into the `x-phoenix` of that service",
            ),
            _ => set(&mut phoenix.allow, allow(value, out)),
        }
    }

    fn probe(&mut self, at: &At<'_>, out: &mut Problems) {
        if let Some(word) = at.as_text() {
            let kind = match word {
                "tcp" => ProbeKind::Tcp,
                "docker" => ProbeKind::Docker,
                "none" => ProbeKind::None,
                _ => {
                    let hint = if word.starts_with('/') {
                        format!("write `probe: {{ http: {word} }}`")
                    } else {
                        format!(
                            "{}; for HTTP write `probe: {{ http: /healthz }}`",
                            suggest::hint(word, &PROBE_WORDS)
                        )
                    };
                    at.invalid(format!("`{word}` is not a probe"), hint, out);
                    return;
                }
            };
            self.phoenix.probe.kind = Some(kind);
            return;
        }
        let mut kinds: Vec<&str> = Vec::new();
        for pair in at.fields(&PROBE_KEYS, out).unwrap_or_default() {
            self.remember(".probe", &pair);
            let value = &pair.value;
            if value.is_null() {
                continue;
            }
            if ["http", "tcp", "docker", "none"].contains(&pair.key) {
                if let Some(kind) = probe_kind(pair.key, value, out) {
                    self.phoenix.probe.kind = Some(kind);
                    kinds.push(pair.key);
                }
                continue;
            }
            let probe = &mut self.phoenix.probe;
            match pair.key {
                "port" => {
                    let port = value.integer(1, i64::from(u16::MAX), out);
                    probe.port = port
                        .and_then(|port| u16::try_from(port).ok())
                        .or(probe.port);
                }
                "interval" => set(
                    &mut probe.interval,
                    duration(value, INTERVAL_MIN, YEAR, out),
                ),
                "timeout" => set(&mut probe.timeout, duration(value, INTERVAL_MIN, YEAR, out)),
                "successes" => set(&mut probe.successes, count(value, 1, 1000, out)),
                "failures" => set(&mut probe.failures, count(value, 1, 1000, out)),
                "min_ready" => set(
                    &mut probe.min_ready,
                    duration(value, Duration::ZERO, YEAR, out),
                ),
                _ => set(&mut probe.deadline, duration(value, TTL_MIN, YEAR, out)),
            }
        }
        if let [_, _, ..] = kinds.as_slice() {
            let message = format!("a probe asks in one way, not by {}", suggest::list(&kinds));
            out.error(at, "conflict", message, "keep one of them");
        }
    }

    fn backoff(&mut self, at: &At<'_>, out: &mut Problems) {
        for pair in at
            .fields(&["base", "cap", "budget"], out)
            .unwrap_or_default()
        {
            self.remember(".backoff", &pair);
            let backoff = &mut self.phoenix.backoff;
            match pair.key {
                _ if pair.value.is_null() => {}
                "base" => set(
                    &mut backoff.base,
                    duration(&pair.value, INTERVAL_MIN, YEAR, out),
                ),
                "cap" => set(
                    &mut backoff.cap,
                    duration(&pair.value, INTERVAL_MIN, YEAR, out),
                ),
                _ => set(&mut backoff.budget, count(&pair.value, 1, 1_000_000, out)),
            }
        }
        let backoff = &self.phoenix.backoff;
        if backoff.cap < backoff.base {
            let message = format!(
                "the longest delay `cap` ({}) is shorter than the first one, `base` ({})",
                humantime::format_duration(backoff.cap),
                humantime::format_duration(backoff.base)
            );
            at.invalid(message, "raise `cap`, or lower `base`", out);
        }
    }

    fn network(&mut self, at: &At<'_>, out: &mut Problems) {
        for pair in at
            .fields(&["listen", "connect", "enforce"], out)
            .unwrap_or_default()
        {
            self.remember(".network", &pair);
            let (network, value) = (&mut self.phoenix.network, &pair.value);
            match pair.key {
                _ if value.is_null() => {}
                "listen" => set(&mut network.listen, listen(value, out).map(Some)),
                "connect" => set(&mut network.connect, connect(value, out).map(Some)),
                _ => set(&mut network.enforce, value.boolean(out)),
            }
        }
    }

    /// Jitter takes at most half of a life; known only when both are.
    fn check_jitter(&self, at: &At<'_>, out: &mut Problems) {
        let Jitter::Span(span) = self.phoenix.jitter else {
            return;
        };
        if span > self.phoenix.ttl / 2 {
            let message = format!(
                "jitter {} is more than half of the TTL {}",
                humantime::format_duration(span),
                humantime::format_duration(self.phoenix.ttl)
            );
            let written = at.get("jitter").or_else(|| at.get("ttl"));
            written.as_ref().unwrap_or(at).invalid(
                message,
                "lower it, or write a part of the TTL: `10%`",
                out,
            );
        }
    }
}

/// Takes a value that could be read.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

pub(super) fn count(at: &At<'_>, min: i64, max: i64, out: &mut Problems) -> Option<u32> {
    at.integer(min, max, out)
        .and_then(|number| u32::try_from(number).ok())
}

fn probe_kind(key: &str, at: &At<'_>, out: &mut Problems) -> Option<ProbeKind> {
    if key == "http" {
        let path = at.text(out)?;
        let is_path = path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic())
            && !path.contains('#');
        if is_path {
            return Some(ProbeKind::Http(path.to_owned()));
        }
        let message = format!("`{path}` is not a path");
        at.invalid(
            message,
            "write the path that is asked for, from `/`: `http: /healthz`",
            out,
        );
        return None;
    }
    if at.boolean(out)? {
        return Some(match key {
            "tcp" => ProbeKind::Tcp,
            "docker" => ProbeKind::Docker,
            _ => ProbeKind::None,
        });
    }
    at.invalid(
        format!("`{key}: false` says nothing about how to ask"),
        "remove it, or choose one of `http`, `tcp`, `docker` and `none`",
        out,
    );
    None
}

fn overdue(at: &At<'_>, out: &mut Problems) -> Option<Overdue> {
    at.one_of(&["keep", "stop"], out).map(|word| {
        if word == "stop" {
            Overdue::Stop
        } else {
            Overdue::Keep
        }
    })
}

fn on_taint(at: &At<'_>, out: &mut Problems) -> Option<OnTaint> {
    at.one_of(&["replace", "report"], out).map(|word| {
        if word == "report" {
            OnTaint::Report
        } else {
            OnTaint::Replace
        }
    })
}

fn listen(at: &At<'_>, out: &mut Problems) -> Option<Vec<Listen>> {
    let mut ports = Vec::new();
    for (text, item) in at.text_or_texts(out)? {
        match Listen::parse(text) {
            Some(port) => ports.push(port),
            None => item.invalid(
                format!("`{text}` is not a port"),
                "write `8080`, or `9090/udp`",
                out,
            ),
        }
    }
    Some(ports)
}

fn connect(at: &At<'_>, out: &mut Problems) -> Option<Vec<Peers>> {
    let mut peers = Vec::new();
    for (text, item) in at.text_or_texts(out)? {
        match Peers::parse(text) {
            Some(of) => peers.push(of),
            None => item.invalid(
                format!("`{text}` is not an address or a network with a port"),
                "write `10.0.0.0/8:5432`, `[2001:db8::]/32:443` or `192.0.2.1:53/udp`; a name is not an address: it may lead to \
                 another one at any time",
                out,
            ),
        }
    }
    Some(peers)
}

fn allow(at: &At<'_>, out: &mut Problems) -> Option<BTreeSet<Allow>> {
    let names = Allow::ALL.map(Allow::name);
    let mut allowed = BTreeSet::new();
    for (text, item) in at.text_or_texts(out)? {
        if let Ok(exception) = Allow::from_str(text) {
            allowed.insert(exception);
            continue;
        }
        let message = format!("`{text}` is not an exception from hardening");
        let all = suggest::list(&names);
        let hint = match suggest::nearest(text, names) {
            Some(candidate) => format!("did you mean `{candidate}`? There are {all}"),
            None => format!("there are {all}"),
        };
        item.invalid(message, hint, out);
    }
    Some(allowed)
}

/// `10%`, at most 50 %, or a duration.
fn jitter(at: &At<'_>, out: &mut Problems) -> Option<Jitter> {
    let text = at.text(out)?;
    let Some(percent) = text.strip_suffix('%') else {
        return duration(at, Duration::ZERO, YEAR, out).map(Jitter::Span);
    };
    match permille(percent.trim_end()) {
        Some(permille) if permille <= 500 => Some(Jitter::Permille(permille)),
        Some(_) => {
            at.invalid(
                format!("jitter {text} is more than half of the TTL"),
                "write 0% to 50%",
                out,
            );
            None
        }
        None => {
            let message = format!("`{text}` is not a part of the TTL");
            at.invalid(message, "write `10%` or `12.5%`, or a duration", out);
            None
        }
    }
}

/// `12.5` as thousandths.
fn permille(percent: &str) -> Option<u16> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(tenth) || tenth.len() > 1 {
        return None;
    }
    let whole: u16 = whole.parse().ok()?;
    whole.checked_mul(10)?.checked_add(tenth.parse().ok()?)
}

/// A duration as people write it: `1h30m`, `250ms`.
pub(super) fn duration(
    at: &At<'_>,
    min: Duration,
    max: Duration,
    out: &mut Problems,
) -> Option<Duration> {
    const HINT: &str = "write a number and a unit: `250ms`, `30s`, `5m`, `6h`, `1d`";
    let text = at.text(out)?;
    if let Some(unit) = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .find(|word| is_long_unit(word))
    {
        at.invalid(
            format!("`{unit}` in `{text}` is a month or a year, and these have no fixed length"),
            "write `m` for minutes, or days: `30d`",
            out,
        );
        return None;
    }
    let Ok(duration) = humantime::parse_duration(text) else {
        at.invalid(format!("`{text}` is not a duration"), HINT, out);
        return None;
    };
    if duration < min || duration > max {
        let bound = if duration < min {
            format!("shorter than {}", humantime::format_duration(min))
        } else {
            "longer than a year".to_owned()
        };
        at.invalid(format!("`{text}` is {bound}"), HINT, out);
        return None;
    }
    Some(duration)
}

/// humantime's names of what is longer than a week; `M` and not `m`.
fn is_long_unit(word: &str) -> bool {
    matches!(
        word,
        "M" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years"
    )
}
