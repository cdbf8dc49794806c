//! The labels `phoenixd.*` by which the operator says how a container of docker compose is to live as a phoenix.
//!
//! The same settings as `x-phoenix` in a Compose file, one label each, with the same bounds. A label that is unknown is an
//! error here as a key is there.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use crate::spec::{Allow, Jitter, Listen, OnTaint, Peers, Phoenix, ProbeKind};

/// Consent and life span: what carries it, and was made by docker compose, is replaced.
pub const TTL: &str = "phoenixd.ttl";
/// What the original wrote into its own root may be lost.
const DISCARD: &str = "phoenixd.discard_layer";
/// Every setting, for messages and documentation.
pub const SETTINGS: [&str; 21] = [
    TTL,
    "phoenixd.jitter",
    "phoenixd.drain",
    "phoenixd.surge",
    "phoenixd.allow",
    DISCARD,
    "phoenixd.on_taint",
    "phoenixd.network.listen",
    "phoenixd.network.connect",
    "phoenixd.network.enforce",
    "phoenixd.probe.http",
    "phoenixd.probe.tcp",
    "phoenixd.probe.docker",
    "phoenixd.probe.none",
    "phoenixd.probe.port",
    "phoenixd.probe.interval",
    "phoenixd.probe.timeout",
    "phoenixd.probe.successes",
    "phoenixd.probe.failures",
    "phoenixd.probe.min_ready",
    "phoenixd.probe.deadline",
];

const PREFIX: &str = "phoenixd.";
const YEAR: Duration = Duration::from_hours(365 * 24);
/// As in `x-phoenix`: shorter lives would end before they began, faster probes are load.
const TTL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What the labels ask for.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Settings {
    /// How it lives and dies.
    pub(super) phoenix: Phoenix,
    /// The surge was asked for, and is not the default.
    pub(super) surge_given: bool,
    /// What the original wrote into its own root may be lost.
    pub(super) discard_layer: bool,
}

/// Reads the settings among a container's labels; `own` are those that phoenixd gave it itself.
pub(super) fn read(
    labels: &BTreeMap<String, String>,
    own: impl Fn(&str) -> bool,
    problems: &mut Vec<String>,
) -> Settings {
    let mut settings = Settings::default();
    let mut kinds = Vec::new();
    for (label, text) in labels.iter().filter(|(label, _)| label.starts_with(PREFIX)) {
        if own(label) {
            continue;
        }
        if let Err(why) = setting(&mut settings, label, text.trim(), &mut kinds) {
            problems.push(format!("label `{label}: {text}`: {why}"));
        }
    }
    if let [_, _, ..] = kinds.as_slice() {
        problems.push(format!(
            "a probe asks in one way, not by {}",
            kinds.join(" and ")
        ));
    }
    if let Jitter::Span(span) = settings.phoenix.jitter
        && span > settings.phoenix.ttl / 2
    {
        problems.push("label `phoenixd.jitter`: it is more than half of `phoenixd.ttl`".to_owned());
    }
    settings
}

fn setting(
    settings: &mut Settings,
    label: &str,
    text: &str,
    kinds: &mut Vec<String>,
) -> Result<(), String> {
    let phoenix = &mut settings.phoenix;
    let probe = &mut phoenix.probe;
    let name = label.strip_prefix(PREFIX).unwrap_or(label);
    let mut kind = |given| {
        kinds.push(format!("`{label}`"));
        Some(given)
    };
    match name {
        "ttl" => phoenix.ttl = duration(text, TTL_MIN)?,
        "jitter" => phoenix.jitter = jitter(text)?,
        "drain" => phoenix.drain = duration(text, Duration::ZERO)?,
        "surge" => {
            phoenix.surge = count(text, 0, 1)?;
            settings.surge_given = true;
        }
        "allow" => phoenix.allow = allow(text)?,
        "on_taint" => phoenix.on_taint = on_taint(text)?,
        "network.listen" => phoenix.network.listen = Some(listen(text)?),
        "network.connect" => phoenix.network.connect = Some(connect(text)?),
        "network.enforce" => phoenix.network.enforce = yes(text)?,
        "discard_layer" => settings.discard_layer = yes(text)?,
        "probe.http" if is_path(text) => probe.kind = kind(ProbeKind::Http(text.to_owned())),
        "probe.http" => return Err("write the path that is asked for, from `/`".to_owned()),
        "probe.tcp" if yes(text)? => probe.kind = kind(ProbeKind::Tcp),
        "probe.docker" if yes(text)? => probe.kind = kind(ProbeKind::Docker),
        "probe.none" if yes(text)? => probe.kind = kind(ProbeKind::None),
        "probe.tcp" | "probe.docker" | "probe.none" => {
            return Err("it says nothing about how to ask: remove it, or write `true`".to_owned());
        }
        "probe.port" => probe.port = Some(port(text)?),
        "probe.interval" => probe.interval = duration(text, INTERVAL_MIN)?,
        "probe.timeout" => probe.timeout = duration(text, INTERVAL_MIN)?,
        "probe.successes" => probe.successes = count(text, 1, 1000)?,
        "probe.failures" => probe.failures = count(text, 1, 1000)?,
        "probe.min_ready" => probe.min_ready = duration(text, Duration::ZERO)?,
        "probe.deadline" => probe.deadline = duration(text, TTL_MIN)?,
        // Decision 0038.
        "edge" => {
            return Err("what docker compose made keeps its names and its networks, and its ports go to phoenixd's own edge: \
                        `x-phoenix.edge` is for `phoenixd up`"
                .to_owned());
        }
        _ => {
            return Err(format!(
                "phoenixd knows no such label; there are {}",
                SETTINGS.join(", ")
            ));
        }
    }
    Ok(())
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#')
}

fn yes(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write `true` or `false`".to_owned()),
    }
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "write a port, 1 to 65535".to_owned())
}

fn count(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok();
    let number = number.filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("write a number, {min} to {max}"))
}

fn on_taint(text: &str) -> Result<OnTaint, String> {
    match text {
        "replace" => Ok(OnTaint::Replace),
        "report" => Ok(OnTaint::Report),
        _ => Err("write `replace` or `report`".to_owned()),
    }
}

/// What stands between commas.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let items = text.split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// None is an answer, too: it may listen nowhere else.
fn listen(text: &str) -> Result<Vec<Listen>, String> {
    let port = |item| {
        Listen::parse(item)
            .ok_or_else(|| format!("`{item}` is not a port: write `8080`, or `9090/udp`"))
    };
    items(text).map(port).collect()
}

fn connect(text: &str) -> Result<Vec<Peers>, String> {
    let peers = |item| {
        Peers::parse(item).ok_or_else(|| {
            format!(
                "`{item}` is not an address or a network with a port: write `10.0.0.0/8:5432`, `[2001:db8::]/32:443` or \
                 `192.0.2.1:53/udp`; a name is not an address: it may lead to another one at any time"
            )
        })
    };
    items(text).map(peers).collect()
}

fn allow(text: &str) -> Result<BTreeSet<Allow>, String> {
    items(text)
        .map(|name| {
            Allow::from_str(name).map_err(|()| {
                format!(
                    "`{name}` is not an exception; there are {}",
                    Allow::ALL.map(Allow::name).join(", ")
                )
            })
        })
        .collect()
}

/// `10%`, at most 50 %, or a duration.
fn jitter(text: &str) -> Result<Jitter, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return duration(text, Duration::ZERO).map(Jitter::Span);
    };
    let percent = percent
        .trim_end()
        .parse::<u16>()
        .ok()
        .filter(|percent| *percent <= 50);
    let percent = percent.ok_or_else(|| "write 0% to 50%, or a duration".to_owned())?;
    Ok(Jitter::Permille(percent * 10))
}

fn duration(text: &str, min: Duration) -> Result<Duration, String> {
    let is_long = |word: &str| {
        matches!(
            word,
            "M" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years"
        )
    };
    let hint = || "write a number and a unit: `250ms`, `30s`, `5m`, `6h`, `1d`".to_owned();
    if text.split(|c: char| !c.is_ascii_alphabetic()).any(is_long) {
        return Err("months and years have no fixed length: write days, `30d`".to_owned());
    }
    let duration = humantime::parse_duration(text).map_err(|_| hint())?;
    if duration < min {
        return Err(format!(
            "it is shorter than {}",
            humantime::format_duration(min)
        ));
    }
    if duration > YEAR {
        return Err("it is longer than a year".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut problems = Vec::new();
        let settings = read(&labels, |label| label == "phoenixd.serial", &mut problems);
        (settings, problems)
    }

    #[test]
    fn the_labels_say_what_x_phoenix_says() {
        let (settings, problems) = of(&[
            ("phoenixd.ttl", "6h"),
            ("phoenixd.jitter", "5%"),
            ("phoenixd.drain", "3s"),
            ("phoenixd.surge", "0"),
            ("phoenixd.allow", "root, cap_add"),
            ("phoenixd.on_taint", "report"),
            ("phoenixd.network.listen", "8080, 9090/udp"),
            ("phoenixd.network.connect", "10.0.0.0/8:5432"),
            ("phoenixd.network.enforce", "true"),
            ("phoenixd.probe.http", "/healthz"),
            ("phoenixd.probe.port", "8080"),
            ("phoenixd.probe.min_ready", "2s"),
            ("phoenixd.serial", "3"),
            ("somebody.else", "x"),
        ]);
        assert_eq!(problems, [""; 0]);
        let phoenix = settings.phoenix;
        assert_eq!(phoenix.ttl, Duration::from_hours(6));
        assert_eq!(phoenix.jitter, Jitter::Permille(50));
        assert_eq!(phoenix.drain, Duration::from_secs(3));
        assert_eq!(phoenix.surge, 0);
        assert_eq!(phoenix.allow, BTreeSet::from([Allow::Root, Allow::CapAdd]));
        assert_eq!(phoenix.on_taint, OnTaint::Report);
        let ports = ["8080", "9090/udp"].map(|port| Listen::parse(port).unwrap());
        assert_eq!(phoenix.network.listen, Some(ports.to_vec()));
        let peers = Peers::parse("10.0.0.0/8:5432").unwrap();
        assert_eq!(phoenix.network.connect, Some(vec![peers]));
        assert!(phoenix.network.enforce);
        assert_eq!(
            phoenix.probe.kind,
            Some(ProbeKind::Http("/healthz".to_owned()))
        );
        assert_eq!(phoenix.probe.port, Some(8080));
        assert_eq!(phoenix.probe.min_ready, Duration::from_secs(2));
    }

    #[test]
    fn a_label_that_means_nothing_is_an_error_and_not_silence() {
        for (label, value) in [
            ("phoenixd.tll", "6h"),
            ("phoenixd.ttl", "6 parsecs"),
            ("phoenixd.ttl", "1y"),
            ("phoenixd.ttl", "1ms"),
            ("phoenixd.jitter", "60%"),
            ("phoenixd.surge", "2"),
            ("phoenixd.allow", "everything"),
            ("phoenixd.on_taint", "ignore"),
            ("phoenixd.on_taint", ""),
            ("phoenixd.network.listen", "80, http"),
            ("phoenixd.network.connect", "db.example:5432"),
            ("phoenixd.network.enforce", "yes"),
            ("phoenixd.network", "8080"),
            ("phoenixd.probe.http", "healthz"),
            ("phoenixd.probe.tcp", "8080"),
            ("phoenixd.probe.port", "0"),
        ] {
            let (_, problems) = of(&[(label, value)]);
            assert_eq!(problems.len(), 1, "{label}: {value}: {problems:?}");
        }
        let two = [
            ("phoenixd.probe.tcp", "true"),
            ("phoenixd.probe.none", "true"),
        ];
        assert_eq!(of(&two).1.len(), 1);
    }
}
