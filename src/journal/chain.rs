//! The chain: what links a line to the one before it, and checking all of it.
//!
//! Checked are the bytes as they stand, never a re-serialised record: a record of a newer phoenixd verifies too.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::read::{RawLines, Step, open};
use super::{Error, Kind, Line};

/// What stands before the first line: its SHA-256 is that line's `prev`.
pub const GENESIS: &str = "phoenixd journal 1";

/// The format's version, in every line as `v`.
pub(super) const VERSION: u64 = 1;

/// The end of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The last line's number; 0 where there is none.
    pub seq: u64,
    /// SHA-256 of the last line without its newline (of [`GENESIS`] where there is none), in hexadecimal.
    pub hash: String,
}

impl Head {
    /// The end of a chain without lines.
    pub fn genesis() -> Self {
        Self {
            seq: 0,
            hash: hash(GENESIS.as_bytes()),
        }
    }

    /// The end after one more line, whose bytes these are.
    pub(super) fn after(&self, line: &[u8]) -> Self {
        Self {
            seq: self.seq.saturating_add(1),
            hash: hash(line),
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Where a chain is broken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} {why}")]
pub struct Broken {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is not JSON, or not a record.
    NotARecord,
    /// It is longer than any record.
    TooLong,
    /// It is of another version of the format.
    Version(u64),
    /// It does not have the number that is due.
    Seq {
        /// The number that is due.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// The line after it carries the hash of something else.
    Changed,
    /// It is the last line, and does not carry the hash of the line before it; either may have been changed.
    Unlinked,
    /// The file before it is not the one that it goes on from, and that one is not here: it was taken from under the writer.
    Taken {
        /// The first record that is not here.
        first: u64,
        /// The last one.
        last: u64,
        /// What the record says of how.
        said: String,
    },
    /// The file before it is not the one that it goes on from.
    Missing {
        /// The first number that is not there.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// It has the number that is due after the file before it, and not that file's hash.
    Forked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord => f.write_str("is not a record"),
            Self::TooLong => f.write_str("is longer than any record"),
            Self::Version(version) => write!(
                f,
                "is of version {version} of the format, this phoenixd writes {VERSION}"
            ),
            Self::Seq { expected, found } => write!(
                f,
                "has the number {found} instead of {expected}: lines were removed, added or moved"
            ),
            Self::Changed => f.write_str("was changed after it was written"),
            Self::Unlinked => f.write_str(
                "does not follow from the line before it: one of the two was changed after it was written",
            ),
            Self::Missing { first, last } => write!(
                f,
                "comes after the records {first} to {last}, which are not here, and no record says that they were removed"
            ),
            Self::Taken { first, last, said } => write!(
                f,
                "comes after the records {first} to {last}, which are not here: it says that {said}"
            ),
            Self::Forked => f.write_str(
                "does not go on from the file before it: one of the two was changed or replaced after it was written",
            ),
        }
    }
}

/// A file of a journal whose chain holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// What its first record goes on from: [`Head::genesis`], or the end of the file before it.
    pub base: Head,
    /// The end of the chain.
    pub head: Head,
    /// How many bytes of an unfinished record follow: one that is being written now, or was torn by a crash. The next
    /// start of phoenixd cuts and records the latter.
    pub torn_bytes: u64,
}

/// Checks the whole chain of one file, which may be in use. That it goes on from the file before it is checked by
/// [`verify_all`](super::verify_all).
///
/// # Errors
/// [`Error::Broken`] with the line, or that the file cannot be read.
pub fn verify(path: &Path) -> Result<Verified, Error> {
    verify_from(open(path)?, path)
}

/// The same of a file that is read from elsewhere, under the name that errors give it.
///
/// # Errors
/// The same.
pub fn verify_from(input: impl BufRead, path: &Path) -> Result<Verified, Error> {
    let scan = scan(input, |_| {}).map_err(|error| error.of(path))?;
    Ok(Verified {
        records: scan.head.seq.saturating_sub(scan.base.seq),
        base: scan.base,
        head: scan.head,
        torn_bytes: scan.torn_bytes,
    })
}

/// What a file holds: a chain that holds, and a torn rest.
#[derive(Debug)]
pub(super) struct Scan {
    /// What the first line goes on from.
    pub(super) base: Head,
    pub(super) head: Head,
    /// The length of all whole records.
    pub(super) good_bytes: u64,
    /// The length of what follows them.
    pub(super) torn_bytes: u64,
}

/// A line that was checked.
#[derive(Debug)]
pub(super) struct Passed<'a> {
    /// When it was recorded.
    pub(super) at: &'a str,
    /// What kind of record it is.
    pub(super) kind: &'a str,
    pub(super) line: &'a [u8],
    /// The chain's end after it.
    pub(super) head: &'a Head,
}

#[derive(Debug)]
pub(super) enum ScanError {
    Read(io::Error),
    Broken(Broken),
}

impl ScanError {
    pub(super) fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Read(source) => Error::Read { path, source },
            Self::Broken(source) => Error::Broken { path, source },
        }
    }
}

/// Reads to the end, and tells of each line that holds. The last line counts as torn when it has no newline or is not
/// JSON.
pub(super) fn scan(
    input: impl BufRead,
    mut each: impl FnMut(Passed<'_>),
) -> Result<Scan, ScanError> {
    let mut lines = RawLines::new(input);
    let mut scan = Scan {
        base: Head::genesis(),
        head: Head::genesis(),
        good_bytes: 0,
        torn_bytes: 0,
    };
    for line in 1.. {
        let broken = |why| Err(ScanError::Broken(Broken { line, why }));
        let bytes = match lines.advance().map_err(ScanError::Read)? {
            Step::End => break,
            Step::Unfinished { bytes } => {
                scan.torn_bytes = bytes;
                break;
            }
            Step::TooLong { .. } => return broken(Why::TooLong),
            Step::Line { bytes } => bytes,
        };
        if line == 1
            && let Some(base) = base_of(lines.line())
        {
            scan.base = base.clone();
            scan.head = base;
        }
        let fault = match check(lines.line(), &scan.head) {
            Ok(link) => {
                scan.head = scan.head.after(lines.line());
                scan.good_bytes = scan.good_bytes.saturating_add(bytes);
                each(Passed {
                    at: &link.at,
                    kind: &link.kind,
                    line: lines.line(),
                    head: &scan.head,
                });
                continue;
            }
            Err(fault) => fault,
        };
        match fault {
            Fault::NotJson if lines.at_end().map_err(ScanError::Read)? => {
                scan.torn_bytes = bytes;
                break;
            }
            Fault::NotJson => return broken(Why::NotARecord),
            Fault::Certain(why) => return broken(why),
            Fault::Unlinked => return Err(culprit(&mut lines, line)),
        }
    }
    Ok(scan)
}

/// What a file's first line says that it goes on from, where it does: a `continued` record, in whose text the link is
/// said again. Every other first line begins a chain.
fn base_of(line: &[u8]) -> Option<Head> {
    let line: Line = serde_json::from_slice(line).ok()?;
    if line.record.kind != Kind::Continued {
        return None;
    }
    let said = |name: &str| line.record.detail.get(name);
    let base = Head {
        seq: line.seq.checked_sub(1)?,
        hash: line.prev,
    };
    let same = said("previous_seq").and_then(serde_json::Value::as_u64) == Some(base.seq)
        && said("previous_hash").and_then(serde_json::Value::as_str) == Some(base.hash.as_str());
    same.then_some(base)
}

/// What is wrong with a line, as far as the line itself tells.
enum Fault {
    NotJson,
    Certain(Why),
    /// Its `prev` is not the hash of the line before it.
    Unlinked,
}

fn check<'a>(line: &'a [u8], head: &Head) -> Result<Link<'a>, Fault> {
    let own = Link::read(line)?;
    let expected = head.seq.saturating_add(1);
    if own.v != VERSION {
        Err(Fault::Certain(Why::Version(own.v)))
    } else if own.seq != expected {
        let found = own.seq;
        Err(Fault::Certain(Why::Seq { expected, found }))
    } else if own.prev != head.hash {
        Err(Fault::Unlinked)
    } else {
        Ok(own)
    }
}

/// The part of a line that links it, and says when and what it is.
#[derive(Deserialize)]
struct Link<'a> {
    v: u64,
    seq: u64,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow, default)]
    at: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

impl<'a> Link<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Fault> {
        serde_json::from_slice(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Fault::Certain(Why::NotARecord),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => Fault::NotJson,
        })
    }
}

/// `line` does not carry the hash of the line before it: one of the two was changed. If the line after vouches for
/// `line`, it was the one before.
fn culprit(lines: &mut RawLines<impl BufRead>, line: u64) -> ScanError {
    let own = hash(lines.line());
    let vouched = match lines.advance() {
        Err(error) => return ScanError::Read(error),
        Ok(Step::End | Step::Unfinished { .. } | Step::TooLong { .. }) => None,
        Ok(Step::Line { .. }) => Link::read(lines.line()).ok().map(|next| next.prev == own),
    };
    let (line, why) = match vouched {
        Some(true) => (line.saturating_sub(1).max(1), Why::Changed),
        Some(false) => (line, Why::Changed),
        None => (line, Why::Unlinked),
    };
    ScanError::Broken(Broken { line, why })
}
