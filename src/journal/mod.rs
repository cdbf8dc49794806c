//! The append-only, hash-chained record of everything phoenixd did and saw.
//!
//! One JSON object per line in `journal.jsonl`. Each line carries the SHA-256 of the line before it, over that line's
//! exact bytes without the newline, so that whoever changes, removes or inserts a line must rewrite all that follow.
//! Anyone can check it with `sha256sum`. What a chain cannot show is that its *end* was cut off: for that, keep the
//! head's hash ([`Status::head`]) somewhere else.
//!
//! An action's `began` is durable before the action's call and its `ended` follows; a `began` without an `ended` means
//! "may have happened". After any crash the file verifies once a torn last record is cut, and the cut is recorded
//! (invariant I10).
//!
//! Files are rotated by size, and one chain goes through all of them: the first record of the next one (`continued`)
//! has the next number and the hash of the last line before it. `journal.jsonl` may be moved away at any time, too.
//!
//! Not here: deciding what is worth a record (`daemon`), compressing old files, and signatures.

mod append;
mod chain;
mod error;
pub mod export;
mod file;
mod files;
mod follow;
mod limits;
mod read;
mod recent;
mod record;
mod recover;
mod rotate;
mod space;
mod verify;
mod writer;

pub use append::{Journal, Receipt};
pub use chain::{Broken, GENESIS, Head, Verified, Why, verify, verify_from};
pub use error::{Error, NotDurable};
pub use files::{AllLines, files_of, raw_lines, read_all};
pub use follow::{Follower, From, follow};
pub use limits::Limits;
pub use read::{Lines, read_lines};
pub use recent::{last_at, recent};
pub use record::{Kind, Line, Record};
pub use recover::{Cut, Recovered};
pub use verify::{Checked, Heads, verify_all};
pub use writer::Status;

/// The journal's file within its directory.
pub const FILE_NAME: &str = "journal.jsonl";
