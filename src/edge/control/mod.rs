//! How the supervisor speaks to an edge that is a process of its own: JSON lines on a unix socket.
//!
//! Everything is a level, never a step: whole route tables go down, each with its [`Stamp`]; whole reports come up. So
//! either side may be killed between any two lines, and the next connection makes both sides right again.
//!
//! - **Who speaks**: only peers of uid 0 or of the edge's own uid are heard ([`may_control`]). Of several supervisors the one
//!   that connected last has authority; the others are cut off.
//! - **What stays**: without a supervisor the last table stays in force, drains go on, and probes too. A supervisor that
//!   connects gets a whole report at once, and sends its newest table at once.
//! - **A report is a promise**, as inside one process: once a stamp is reported, no connection will be sent to a replica that
//!   its table does not route to. Of two edges, as in a handover, both have to say so: see [`combined`].
//!
//! [`Client`] is the supervisor's side, [`process::run`](super::process::run) the edge's. Not here: how listening sockets
//! change hands (`edge::handover`), when an edge is replaced (`reconcile`).

mod client;
mod convert;
mod forwarding;
pub(super) mod keeper;
mod lines;
pub(super) mod server;
mod socket;
pub(super) mod sockets;
mod speech;
pub mod wire;

pub use self::client::{Client, Ends, Link, combined, new_session};
pub use self::convert::Binds;
pub use self::socket::{SocketError, has_room, may_control, socket_path};

pub(super) use self::convert::Held;
pub(super) use self::lines::{LineBuffer, LineError};
pub(super) use self::socket::bind;
pub(super) use self::speech::{Speech, SpeechError};

#[cfg(doc)]
use self::wire::Stamp;
