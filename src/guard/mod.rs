//! The guard: an authorization plugin of dockerd that shuts the ways into managed containers.
//!
//! A process of its own, which lives while no supervisor does. It never asks dockerd (I12): what is managed stands in files
//! that the supervisor writes (`store`), and whether phoenixd asks is told by a signature (`sign`). The line of a request
//! is read as dockerd reads it (`target`, `routes`, `json`), the policy decides (`policy`, pure), the judge remembers what
//! a later decision needs, and `serve` answers.
//!
//! Out of its reach: root, containerd's socket, `nsenter`, dockerd's settings and files. Those are watched, not shut.

mod install;
mod json;
mod judge;
mod managed;
mod policy;
mod reference;
mod request;
mod resolve;
mod routes;
mod serve;
mod socket;
mod store;
mod target;

pub use install::{Change, DaemonJson, Installation, PLUGIN, SettingsError, UNITS, Units};
pub use json::{Json, NotStrict};
pub use judge::{Judge, Lesson, PROBE};
pub use managed::{Company, Hold, Joining, Managed, Project, Replica, Shared, VERSION};
pub use policy::{Resolve, Site, Verdict};
pub use request::{Answered, Authority, Refusal, Request};
pub use resolve::{Paths, Place};
pub use routes::{Matched, Route, all as all_routes, find as find_route};
pub use serve::{Guard, serve};
pub use socket::{Listening, listen, tell_ready, tell_stopping, watchdog};
pub use store::{GuardDir, Store};
pub use target::{Odd, Query, Target};
