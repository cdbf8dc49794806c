//! The model of a Compose file as one table: which keys there are, what each may be, and how it is printed.
//!
//! From the table come [`check()`], which says what is wrong with a merged tree before the loader makes its short forms long,
//! with [`check_rules`] for what stands between keys once all files are merged, and [`print()`], which turns the resolved tree into what `docker compose config` prints. The table follows compose-go
//! 2.9.1 (docker compose 2.40.3): `schema/compose-spec.json`, `types/*.go`, `loader/interpolate.go`, `validation/`.
//!
//! Not here: making short forms long, defaults and everything else that changes the tree (`load`), and what becomes of a
//! key in a phoenix (`service`).

mod build;
mod check;
mod deploy;
mod fates;
mod hash;
mod json;
mod pairs;
mod print;
mod printed;
mod rules;
mod scalar;
mod service;
mod shape;
mod top;
mod words;
mod yaml;

pub(super) use self::check::check;
pub use self::fates::{Fate, KeyFate, fates};
pub(super) use self::hash::service_hash;
pub(super) use self::print::print;
pub use self::printed::{Format, Printed};
pub(super) use self::rules::check as check_rules;
