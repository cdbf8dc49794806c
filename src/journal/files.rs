//! The files of one journal: the current one, and the rotated ones, whose names carry their first record's number.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::read::{RawLines, Step, open, parse};
use super::{Error, FILE_NAME, Head, Line};

const PREFIX: &str = "journal-";
const SUFFIX: &str = ".jsonl";
/// Digits of a number in a name: sorted by name they are sorted by number, for longer than anybody writes.
const DIGITS: usize = 12;

/// The name of a rotated file whose first record has this number.
pub(super) fn rotated_name(first: u64) -> String {
    format!("{PREFIX}{first:0DIGITS$}{SUFFIX}")
}

/// The number that such a name carries.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_ours = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

/// A rotated file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rotated {
    /// The number of its first record, as its name says.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The rotated files of a directory, oldest first.
pub(super) fn rotated(directory: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(number_of) {
            let path = entry.path();
            found.push(Rotated { first, path });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// All files of a directory's journal, oldest first: rotated ones, then the current one.
///
/// # Errors
/// The directory cannot be read.
pub fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let rotated = rotated(directory).map_err(|source| Error::Read {
        path: directory.to_owned(),
        source,
    })?;
    let mut files: Vec<PathBuf> = rotated.into_iter().map(|file| file.path).collect();
    let current = directory.join(FILE_NAME);
    if current.exists() {
        files.push(current);
    }
    Ok(files)
}

/// What a file's first line says that it goes on from; `None` for a file without a whole line.
pub(super) fn base_said(path: &Path) -> io::Result<Option<Head>> {
    let mut lines = RawLines::new(BufReader::new(File::open(path)?));
    match lines.advance()? {
        Step::Line { .. } => {}
        Step::End | Step::Unfinished { .. } | Step::TooLong { .. } => return Ok(None),
    }
    Ok(parse(lines.line(), 1, path).ok().map(|line| Head {
        seq: line.seq.saturating_sub(1),
        hash: line.prev,
    }))
}

/// Reads all files of a directory's journal, oldest first, without a check of the chain.
///
/// # Errors
/// The directory or its first file cannot be read.
pub fn read_all(directory: &Path) -> Result<AllLines, Error> {
    Ok(AllLines {
        files: files_of(directory)?.into_iter(),
        current: None,
    })
}

/// The lines of all files of a journal; see [`read_all`]. A line that cannot be understood is an error, and the next
/// one is read all the same.
#[derive(Debug)]
pub struct AllLines {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<super::Lines>,
}

impl Iterator for AllLines {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.current.as_mut().and_then(Iterator::next) {
                return Some(line);
            }
            let path = self.files.next()?;
            // Opened here and not before: of many files only one is open.
            match super::read_lines(&path) {
                Ok(lines) => self.current = Some(lines),
                // Removed by the retention, or rotated, since the directory was read.
                Err(Error::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.current = None;
                }
                Err(error) => {
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Gives every whole line of these files as it stands, without its newline; a line that is too long is left out.
///
/// # Errors
/// A file cannot be read, or `each` fails, whose error is given back as it is.
pub fn raw_lines<E: From<Error>>(
    paths: &[PathBuf],
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for path in paths {
        let mut lines = RawLines::new(open(path)?);
        loop {
            match lines.advance() {
                Ok(Step::End | Step::Unfinished { .. }) => break,
                Ok(Step::Line { .. }) => each(lines.line())?,
                Ok(Step::TooLong { .. }) => {}
                Err(source) => {
                    let path = path.clone();
                    return Err(Error::Read { path, source }.into());
                }
            }
        }
    }
    Ok(())
}

/// The order in which files follow each other, by what their first lines say.
pub(super) fn in_order(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut all = Vec::new();
    for path in paths {
        // The error of a file that is not there is worded as everywhere.
        drop(open(path)?);
        let base = base_said(path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        // One without a line can only be the newest: nothing else is begun before it has one.
        all.push((base.map_or(u64::MAX, |base| base.seq), path.clone()));
    }
    all.sort();
    all.dedup();
    Ok(all.into_iter().map(|(_, path)| path).collect())
}
