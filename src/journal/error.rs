//! What can go wrong with the journal, named after what was attempted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Broken;

/// Why a journal could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory could not be made.
    #[error("cannot make the journal's directory {}", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file could not be opened.
    #[error("cannot open the journal {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something else of that name.
    #[error("the journal {} is not a regular file", path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// Another phoenixd writes it.
    #[error("the journal {} is being written by another phoenixd", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its chain is broken.
    #[error(
        "the journal {} is not as it was written (to keep it as evidence and begin a new one: `mv {} {}.broken`)",
        path.display(), path.display(), path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where and how.
        source: Broken,
    },
    /// One of its lines cannot be understood.
    #[error("the journal {} has a line that cannot be read", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        source: Broken,
    },
    /// A head that was exported earlier is not in the chain.
    #[error(
        "the head {hash} that was exported is not in the journal: the chain was rewritten or its end cut off after the export, or the record was removed with its file"
    )]
    Rewritten {
        /// The head's hash.
        hash: String,
    },
    /// A torn last record could not be cut and recorded.
    #[error("cannot cut the torn last record of the journal {}", path.display())]
    Repair {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the journal's thread")]
    StartWriter {
        /// Why.
        source: io::Error,
    },
    /// Its directory could not be watched for changes.
    #[error("cannot watch the journal's directory {}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a record is not known to be durable. It may be in the file all the same when phoenixd ends before the next
/// record is written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotDurable {
    /// The writer does not keep up; the record was dropped and is counted in the next `lost` record.
    #[error("the journal's queue is full")]
    Full,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// The write failed; the record was dropped and is counted in the next `lost` record.
    #[error("cannot write the journal")]
    Write(#[source] Arc<io::Error>),
}
