//! What becomes of every key of a service, network, volume, secret and config in a phoenix: the README's table.
//!
//! A service's keys come from the table that binds them (`service::keys`); those of the top level stand here, beside the
//! table that says which there are (`top`). Not here: what is done about them.

use super::top::top_level;
use crate::compose::service;

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It reaches the engine as docker compose would send it, or does its work before.
    Honoured,
    /// An error, for good.
    Refused {
        /// Why.
        reason: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// It says nothing about a phoenix: it tells other commands of docker compose, or a swarm, what to do.
    NoBusiness,
}

/// A key and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFate {
    /// Whose key: `service`, `network`, `volume`, `secret`, `config`.
    pub of: &'static str,
    /// The key.
    pub key: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

const SWARM: &str = "it belongs to a swarm, and phoenixd runs on a plain engine";
const CONTENT: &str = "name where the content comes from: `file: ./path` or `environment: NAME`";
const DRIVER: &str = "let the plugin's own tool write a file or a variable, and name that";
const TEMPLATE: &str =
    "remove it; variables of Compose such as `${NAME}` are replaced in `content`";

/// The keys of the top level that are not honoured.
const TOP: [(&str, &str, Fate); 10] = [
    ("secret", "external", refused(SWARM, CONTENT)),
    ("secret", "driver", refused(SWARM, DRIVER)),
    ("secret", "driver_opts", refused(SWARM, DRIVER)),
    ("secret", "template_driver", refused(SWARM, TEMPLATE)),
    // Names and labels of what only a swarm keeps.
    ("secret", "name", Fate::NoBusiness),
    ("secret", "labels", Fate::NoBusiness),
    ("config", "external", refused(SWARM, CONTENT)),
    ("config", "template_driver", refused(SWARM, TEMPLATE)),
    ("config", "name", Fate::NoBusiness),
    ("config", "labels", Fate::NoBusiness),
];

const fn refused(reason: &'static str, instead: &'static str) -> Fate {
    Fate::Refused { reason, instead }
}

/// Every key of the Compose Specification, and what becomes of it.
#[must_use]
pub fn fates() -> Vec<KeyFate> {
    let of_service = service::fates().map(|(key, fate)| KeyFate {
        of: "service",
        key,
        fate,
    });
    let of_top = top_level().flat_map(|(of, keys)| {
        keys.into_iter().map(move |key| KeyFate {
            of,
            key,
            fate: (TOP.iter())
                .find(|(whose, name, _)| *whose == of && *name == key)
                .map_or(Fate::Honoured, |(_, _, fate)| *fate),
        })
    });
    of_service.chain(of_top).collect()
}
