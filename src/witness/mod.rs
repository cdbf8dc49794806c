//! The witnesses that need the engine's host: its `/proc` and the writable layers of the containers. They tell what was
//! done; whether that is a taint is judged in `reconcile`.
//!
//! Nothing here asks the engine, waits, or starts anything: whoever owns a [`Scanner`] or a [`Layers`] decides when it
//! looks, on a thread that may block for milliseconds. What cannot be read is no finding, and nothing panics: a process
//! may vanish between any two reads.
//!
//! What is deliberately not found: a process that enters and ends between two passes without a runtime (`nsenter` for a
//! millisecond), who joins neither the mount, process nor network namespace (`chroot /proc/PID/root`), and orphans of a
//! process that was not seen itself. Not here: making evidence of what was found (`evidence`).

mod ancestry;
mod container;
pub mod evidence;
mod execs;
mod layer;
mod mounts;
mod privileges;
mod process;
mod runtime;
mod scan;
mod sockets;

pub use container::Watched;
pub use execs::Execs;
pub use layer::{Layers, new_changes};
pub use scan::{Found, Scanner};
