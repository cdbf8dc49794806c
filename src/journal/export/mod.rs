//! Heads on their way out: to a file, to the local syslog, to a webhook.
//!
//! A chain shows nothing against one who may rewrite all of it. A head that is kept elsewhere does: whoever rewrites the
//! chain afterwards cannot make that head come out of it (`journal verify --head`).
//!
//! Only the newest head counts, so there is no queue: a sink that is slow or away gets the one that is due when it is
//! asked the next time. The exporter has a thread of its own; nothing ever waits for it but, for a moment, the end of the
//! supervisor. What fails is logged and recorded once, and is never fatal.
//!
//! Not here: proving that a head is in the chain (`verify`).

mod address;
mod file;
mod run;
mod settings;
mod syslog;
mod webhook;

pub use run::{Exporter, start};
pub use settings::{Export, ExportError, Sink, Words};

use serde::Serialize;

/// What is told of a head.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Told {
    /// Whose journal it is.
    project: String,
    /// The last record's number.
    seq: u64,
    /// Its hash.
    head: String,
    /// When it was exported.
    at: String,
}
