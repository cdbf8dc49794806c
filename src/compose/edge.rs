//! `x-phoenix.edge`: whose edge a service has, and how phoenixd's own forwards.
//!
//! Not here: what each setting does (`edge`), what a word means for ports and networks (`service::edge`), and the other
//! settings (`phoenix`).

use std::num::NonZeroU32;
use std::time::Duration;

use super::bind::{At, Pair};
use super::phoenix::{YEAR, count, duration, set};
use super::problems::Problems;
use crate::spec::{Balance, Edge, EdgeProtocol, Forwarding, ProxyProtocol, Rate};

pub(super) const KEYS: [&str; 6] = [
    "protocol",
    "balance",
    "idle_timeout",
    "max_connections",
    "rate",
    "proxy_protocol",
];
/// What `edge` may be by one word.
const WORDS: [(&str, Edge); 2] = [("none", Edge::None), ("external", Edge::External)];
/// Shorter ones cut connections that are only slow.
const IDLE_MIN: Duration = Duration::from_secs(1);
const MAX: i64 = 1_000_000;

/// Lays what is written over what is so far, and says of each key that it was read.
pub(super) fn read(
    at: &At<'_>,
    edge: &mut Edge,
    out: &mut Problems,
    mut remember: impl FnMut(&Pair<'_>),
) {
    if let Some(word) = at.as_text() {
        if let Some((_, meant)) = WORDS.iter().find(|(name, _)| *name == word) {
            *edge = *meant;
        } else {
            let message = format!("`{word}` is not a value of `edge`");
            let hint = "write `none`, `external`, or the settings of phoenixd's own: `edge: { protocol: http }`";
            at.invalid(message, hint, out);
        }
        return;
    }
    // Settings are those of phoenixd's own, whatever the default of the file is.
    let mut own = match *edge {
        Edge::Forward(forwarding) => forwarding,
        Edge::None | Edge::External => Forwarding::default(),
    };
    let forwarding = &mut own;
    let mut conflict = None;
    for pair in at.fields(&KEYS, out).unwrap_or_default() {
        remember(&pair);
        if pair.value.is_null() {
            continue;
        }
        setting(&pair, forwarding, out);
        if ["protocol", "proxy_protocol"].contains(&pair.key) {
            conflict = Some(pair);
        }
    }
    if let Some(pair) = conflict
        && forwarding.protocol == EdgeProtocol::Http
        && forwarding.proxy_protocol.is_some()
    {
        out.error(
            &pair.value,
            "conflict",
            "`proxy_protocol` names one client for each connection, and with `protocol: http` a connection to a replica carries the requests of many",
            "write `proxy_protocol: none`: in HTTP the replica is told by `X-Forwarded-For` and `Forwarded`",
        );
        forwarding.proxy_protocol = None;
    }
    if at.as_map().is_some() {
        *edge = Edge::Forward(own);
    }
}

fn setting(pair: &Pair<'_>, forwarding: &mut Forwarding, out: &mut Problems) {
    let value = &pair.value;
    match pair.key {
        "protocol" => {
            let names = EdgeProtocol::ALL.map(EdgeProtocol::name);
            let word = value.one_of(&names, out);
            let all = EdgeProtocol::ALL.into_iter();
            set(
                &mut forwarding.protocol,
                all.into_iter().find(|one| Some(one.name()) == word),
            );
        }
        "balance" => {
            let word = value.one_of(&Balance::ALL.map(Balance::name), out);
            let found = Balance::ALL
                .into_iter()
                .find(|one| Some(one.name()) == word);
            set(&mut forwarding.balance, found);
        }
        "idle_timeout" => set(
            &mut forwarding.idle_timeout,
            duration(value, IDLE_MIN, YEAR, out).map(Some),
        ),
        "max_connections" => set(
            &mut forwarding.max_connections,
            count(value, 1, MAX, out).map(NonZeroU32::new),
        ),
        "rate" => rate(value, &mut forwarding.rate, out),
        _ => {
            let [v1, v2] = ProxyProtocol::ALL.map(ProxyProtocol::name);
            if let Some(word) = value.one_of(&["none", v1, v2], out) {
                let mut all = ProxyProtocol::ALL.into_iter();
                forwarding.proxy_protocol = all.find(|one| one.name() == word);
            }
        }
    }
}

/// `100`, or `{ average: 100, burst: 500 }`; 0 is no limit.
fn rate(at: &At<'_>, slot: &mut Option<Rate>, out: &mut Problems) {
    if at.as_map().is_none() {
        if let Some(average) = count(at, 0, MAX, out) {
            *slot = NonZeroU32::new(average).map(|average| Rate {
                average,
                burst: average,
            });
        }
        return;
    }
    let errors = out.errors();
    let (mut average, mut burst) = (None, None);
    for pair in at.fields(&["average", "burst"], out).unwrap_or_default() {
        let number = (!pair.value.is_null())
            .then(|| count(&pair.value, 1, MAX, out))
            .flatten()
            .and_then(NonZeroU32::new);
        match pair.key {
            "average" => average = number,
            _ => burst = number,
        }
    }
    match average {
        Some(average) => {
            let burst = burst.unwrap_or(average);
            *slot = Some(Rate { average, burst });
        }
        None if out.errors() == errors => {
            let hint = "write `average: 100`: so many new connections per second";
            at.invalid("this rate has no `average`", hint, out);
        }
        None => {}
    }
}
