//! Joins the rooms: the loop, the executor, startup, shutdown. Decides nothing.

mod execute;
mod lock;
mod preview;
mod record;
mod resolve;
mod start;
mod supervise;
mod threads;
mod watch;

pub use execute::{Catalog, execute};
pub use lock::{Error as LockError, Lock};
pub use preview::{Preview, preview};
pub use resolve::{Missing, NeverPull, ResolvedProject, resolve, scope};
pub use start::{EngineIdentity, StartError, Supervised, Surroundings, supervise};
pub use supervise::Stop;
