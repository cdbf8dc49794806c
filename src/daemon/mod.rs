//! Joins the rooms: the loop, the executor, startup, shutdown. Decides nothing.

mod adopt;
mod asked;
mod edges;
mod evidence;
mod execute;
mod file_key;
mod files;
mod guarded;
mod images;
mod lock;
mod pods;
mod preview;
mod record;
mod resolve;
mod start;
mod supervise;
mod surroundings;
mod tags;
mod threads;
mod touched;
mod watch;
mod witness;

pub use adopt::{Adoption, Origin, Refused, discover};
pub use execute::{Catalog, execute};
pub use file_key::FileKey;
pub use files::{FileAccess, FileStore};
pub use guarded::Alone;
pub use images::{Builds, Missing, NeverPull, ToBuild, to_build};
pub use lock::{Error as LockError, Lock};
pub use pods::{EdgeSockets, POD_IMAGE, Pod, PodGround};
pub use preview::{Preview, preview};
pub use resolve::{ResolvedProject, resolve, scope};
pub use start::{EngineIdentity, JournalSettings, StartError, Supervised, Surroundings, supervise};
pub use supervise::Stop;
pub use surroundings::obstacle;
pub use touched::capture;
