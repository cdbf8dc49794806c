//! The last records of one kind, for a supervisor that begins: in bounded time and memory, however long the journal is.
//!
//! Not here: the chain, which opening checks, and what follows from the records.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::files::files_of;
use super::read::{RawLines, Step, open, parse};
use super::{Error, Kind, Line};

/// Before the kind a line has its version, number, time and hash, which take no more than this many bytes.
const KIND_WITHIN_BYTES: usize = 256;

/// How much of a file's end is read for its last record: more than the longest one takes (`record`).
const LAST_WITHIN_BYTES: u64 = 1 << 20;

/// Gives every record of a kind that the last `bytes` of a directory's journal hold, rotated files included: file by
/// file, the newest first, within a file the oldest first. A line that cannot be understood is passed over.
///
/// # Errors
/// The directory or a file cannot be read: the others were read all the same, and this is about the first one.
pub fn recent(
    directory: &Path,
    kind: Kind,
    bytes: u64,
    mut each: impl FnMut(Line),
) -> Result<(), Error> {
    let mut left = bytes;
    let mut failed = None;
    for path in files_of(directory)?.into_iter().rev() {
        if left == 0 {
            break;
        }
        match end_of(&path, kind, left, &mut each) {
            Ok(read) => left = left.saturating_sub(read),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// When the last record was written, by the wall clock of then; `None` where there is none. A torn one does not count.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn last_at(directory: &Path) -> Result<Option<Timestamp>, Error> {
    for path in files_of(directory)?.into_iter().rev() {
        let mut lines = end(&path, LAST_WITHIN_BYTES)?;
        let mut last = Vec::new();
        loop {
            match lines
                .advance()
                .map_err(|source| unreadable(&path, source))?
            {
                Step::End | Step::Unfinished { .. } => break,
                Step::TooLong { .. } => {}
                Step::Line { .. } => last = lines.line().to_vec(),
            }
        }
        let last = parse(&last, 1, &path).ok();
        if let Some(at) = last.and_then(|line| line.at.parse().ok()) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Read {
        path: PathBuf::from(path),
        source,
    }
}

/// The lines that begin within the last `bytes` of a file.
fn end(path: &Path, bytes: u64) -> Result<RawLines<BufReader<File>>, Error> {
    let of = |source| unreadable(path, source);
    let mut file = open(path)?;
    let skipped = (file.get_ref().metadata().map_err(of)?.len()).saturating_sub(bytes);
    if let Some(before) = skipped.checked_sub(1) {
        file.seek(SeekFrom::Start(before)).map_err(of)?;
    }
    let mut lines = RawLines::new(file);
    if skipped > 0 {
        // The rest of a line whose beginning is not read.
        lines.advance().map_err(of)?;
    }
    Ok(lines)
}

/// The same of the last `bytes` of one file; how many bytes those were.
fn end_of(path: &Path, kind: Kind, bytes: u64, each: &mut impl FnMut(Line)) -> Result<u64, Error> {
    let length = std::fs::metadata(path)
        .map_err(|source| unreadable(path, source))?
        .len();
    let mut lines = end(path, bytes)?;
    let wanted = serde_json::to_value(kind).unwrap_or(Value::Null);
    let wanted = format!("\"kind\":{wanted}");
    for number in 1.. {
        match lines.advance().map_err(|source| unreadable(path, source))? {
            Step::End | Step::Unfinished { .. } => break,
            Step::TooLong { .. } => continue,
            Step::Line { .. } => {}
        }
        // To understand all lines takes ten times as long as to find these.
        let begin = lines.line();
        let begin = begin.get(..KIND_WITHIN_BYTES).unwrap_or(begin);
        if !begin
            .windows(wanted.len())
            .any(|part| part == wanted.as_bytes())
        {
            continue;
        }
        if let Ok(line) = parse(lines.line(), number, path)
            && line.record.kind == kind
        {
            each(line);
        }
    }
    Ok(length.min(bytes))
}
