//! The demo's Compose file.
//!
//! It is a file like any other: what `phoenixd demo` starts can be written to disk, read, changed, and started with
//! `phoenixd up`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::PORT;
use crate::spec::ImageRef;

/// The project's name.
pub const NAME: &str = "phoenixd-demo";
/// The service's name.
pub const SERVICE: &str = "web";
/// The variable by which the application learns its TTL.
pub const TTL_VARIABLE: &str = "PHOENIX_DEMO_TTL";
/// The variable that switches the visitors' mischief on, with `1`.
pub const MISCHIEF_VARIABLE: &str = "PHOENIX_DEMO_MISCHIEF";

/// Two, so that one is always there to see.
const REPLICAS: u32 = 2;
/// Short enough to watch. Two replacements, one after the other, take at most 17.6 s of the 24 s that are left after
/// the whole jitter (`spec::Phoenix::minimum_ttl`).
const TTL: &str = "30s";
/// Long for its TTL: the two lives drift apart within minutes, however they began.
const JITTER: &str = "20%";
/// The application ends after `app::QUIET` at the latest, unless a slow answer is under way.
const STOP_GRACE: &str = "5s";
/// The page asks several times a second, and a keep-alive client is asked to leave only after the stop signal: there
/// is little to wait for.
const DRAIN: &str = "1s";

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    services: BTreeMap<&'a str, Service<'a>>,
}

#[derive(Serialize)]
struct Service<'a> {
    image: &'a str,
    ports: [String; 1],
    environment: BTreeMap<&'a str, &'a str>,
    deploy: Deploy,
    stop_grace_period: &'a str,
    #[serde(rename = "x-phoenix")]
    phoenix: Phoenix<'a>,
}

#[derive(Serialize)]
struct Deploy {
    replicas: u32,
}

#[derive(Serialize)]
struct Phoenix<'a> {
    identity: bool,
    ttl: &'a str,
    jitter: &'a str,
    probe: Probe<'a>,
    drain: &'a str,
    edge: Edge<'a>,
}

/// Whoever looks is to see both replicas answer, also while a visitor keeps a connection to one of them.
#[derive(Serialize)]
struct Edge<'a> {
    balance: &'a str,
}

#[derive(Serialize)]
struct Probe<'a> {
    http: &'a str,
    port: u16,
    interval: &'a str,
    successes: u32,
    min_ready: &'a str,
    deadline: &'a str,
}

/// The Compose file of a demo that answers at `http://127.0.0.1:port/`.
///
/// # Errors
/// None that is known: the text has no part that YAML cannot write.
pub fn compose_file(image: &ImageRef, port: u16) -> Result<String, serde_yaml::Error> {
    let web = Service {
        image: image.as_str(),
        ports: [format!("{}:{port}:{}", Ipv4Addr::LOCALHOST, PORT)],
        environment: BTreeMap::from([(TTL_VARIABLE, TTL), (MISCHIEF_VARIABLE, "1")]),
        deploy: Deploy { replicas: REPLICAS },
        stop_grace_period: STOP_GRACE,
        phoenix: Phoenix {
            identity: true,
            ttl: TTL,
            jitter: JITTER,
            probe: Probe {
                http: "/healthz",
                port: PORT,
                interval: "250ms",
                successes: 2,
                min_ready: "1s",
                deadline: "20s",
            },
            drain: DRAIN,
            edge: Edge {
                balance: "round_robin",
            },
        },
    };
    serde_yaml::to_string(&File {
        name: NAME,
        services: BTreeMap::from([(SERVICE, web)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;
    use std::time::Duration;

    #[test]
    fn the_file_says_what_the_demo_is() {
        let image = ImageRef::new("phoenixd-demo:0123456789ab");
        insta::assert_snapshot!(compose_file(&image, 8080).unwrap(), @r"
        name: phoenixd-demo
        services:
          web:
            image: phoenixd-demo:0123456789ab
            ports:
            - 127.0.0.1:8080:8080
            environment:
              PHOENIX_DEMO_MISCHIEF: '1'
              PHOENIX_DEMO_TTL: 30s
            deploy:
              replicas: 2
            stop_grace_period: 5s
            x-phoenix:
              identity: true
              ttl: 30s
              jitter: 20%
              probe:
                http: /healthz
                port: 8080
                interval: 250ms
                successes: 2
                min_ready: 1s
                deadline: 20s
              drain: 1s
              edge:
                balance: round_robin
        ");
    }

    #[test]
    fn a_life_is_long_enough_to_replace_both_replicas() {
        let seconds = |text| humantime::parse_duration(text).unwrap();
        let phoenix = spec::Phoenix {
            ttl: seconds(TTL),
            jitter: spec::Jitter::Permille(200),
            drain: seconds(DRAIN),
            probe: spec::ProbeSetting {
                min_ready: Duration::from_secs(1),
                ..spec::ProbeSetting::default()
            },
            ..spec::Phoenix::default()
        };
        let needed = phoenix.minimum_ttl(REPLICAS, seconds(STOP_GRACE));
        assert!(needed <= phoenix.lifetime().shortest, "{needed:?}");
    }
}
