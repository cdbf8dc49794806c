//! Labels mode: which containers of docker compose may be replaced, what a phoenix in the place of each is born from,
//! and whether the one that was made is equal to it but for what is explained. Pure.
//!
//! What the engine says comes in as a tree of values with every field that it knows ([`Value`]): a comparison that looked
//! only at the fields of a model of ours would not see what is lost.
//!
//! Not here: asking the engine (`docker`), when a container is replaced and when its name is handed on (`reconcile`),
//! hardening (`spec`).

mod compare;
mod config;
mod derive;
mod host_config;
mod labels;
mod layer;
mod marks;
mod mounts;
mod networks;
mod rules;
mod settings;
mod value;

pub use compare::{Comparison, Difference, Verdict, compare};
pub use derive::{Change, ChangeKind, Derived, Examined, Surroundings, Unit, derive};
pub use labels::{ADOPTED, COMPOSE_IMAGE, COMPOSE_PROJECT, OWN, definition, is_original, unit};
pub use settings::{SETTINGS, TTL};
pub use value::Value;
