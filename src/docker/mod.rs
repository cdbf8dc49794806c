//! The only module that knows bollard: the engine's API behind one trait.
//!
//! [`Engine`] is the one seam of the crate. [`Docker`] implements it with bollard's models and calls over a transport of
//! its own; the simulator in `tests/suite/sim` implements it too, and the same conformance tests run against both.
//!
//! Not here: any decision (`reconcile`), and any retry: a failed call is reported, and planned again. Never logged: a
//! body, which has environment variables and so secrets in it.

mod beside;
mod body;
mod build;
mod calls;
mod compose_labels;
mod connect;
mod context;
mod convert;
mod dockerfile;
mod doors;
mod endpoint;
mod engine;
mod error;
mod events;
mod examine;
mod exec;
mod hash;
mod ignore;
mod images;
pub mod labels;
mod lines;
mod list;
mod mounts;
mod needs;
mod resources;
mod tls;
mod transport;

pub use body::{body_json, connect_json};
pub use build::{BuildError, ImageOf};
pub use connect::{About, Docker, EngineFacts};
pub use context::ContextError;
pub use doors::{Door, ProbeAnswer, Refused, doors, knows, try_door};
pub use endpoint::{Address, ApiVersion, ApiVersionError, Endpoint, EndpointError, TlsSettings};
pub use engine::{Birth, Engine, Hint, Part, Scope, Vitals};
pub use error::Error;
pub use examine::{read_value, write_value};
pub use hash::spec_hash;
pub use images::Progress;
pub use needs::{Need, container_needs, network_needs};
