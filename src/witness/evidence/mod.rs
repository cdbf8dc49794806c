//! Evidence of a container that was touched: what the engine says of it, what `/proc` says of its processes, which may be
//! frozen, and the files that were brought into it.
//!
//! A capture is a directory below `STATE/PROJECT/evidence`, for its owner alone (0700, 0600), written under another name
//! and renamed at its end: what has no `.partial` in its name is whole, also after a crash. `manifest.json` has the
//! SHA-256 of every file; the digest of the manifest itself goes into the journal.
//!
//! What stands in it is hostile: names of files within the container are never names of files here. Known secrets, and
//! variables whose names sound like one, are blotted out. Not here: asking the engine, and freezing (`daemon`).

mod budget;
mod capture;
mod files;
mod host;
mod redact;
mod retain;

pub use capture::{Captured, Piece, Request, capture};
pub use redact::Secrets;
pub use retain::{Retention, clear_partial};
