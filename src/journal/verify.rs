//! Checking a journal of several files, and heads that were exported earlier against it. Needs no engine, no supervisor
//! and no configuration: the files alone, wherever they were copied to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::chain::{Passed, scan};
use super::files::in_order;
use super::read::{RawLines, Step, open};
use super::rotate::MOVED_AWAY;
use super::{Broken, Error, Head, Kind, Line, Why};

/// How many notes are kept; what is beyond is counted.
const NOTES: usize = 64;

/// Heads that were exported earlier, and are to be in the chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heads {
    /// Of which only the hash is known.
    hashes: BTreeSet<String>,
    /// By their number.
    numbered: BTreeMap<u64, String>,
}

/// One line of a file of exported heads, as far as it counts.
#[derive(Deserialize)]
struct HeadLine {
    seq: u64,
    head: String,
}

impl Heads {
    /// One more, by its hash in hexadecimal.
    pub fn add(&mut self, hash: &str) {
        self.hashes.insert(hash.trim().to_ascii_lowercase());
    }

    /// Those of a file that phoenixd exported them to, one JSON object in each line. A last line without a newline is
    /// one that is being written.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else; two heads of one number that differ are
    /// [`Error::Rewritten`] of the second.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        self.add_from(open(path)?, path)
    }

    /// The same of a file that is read from elsewhere.
    ///
    /// # Errors
    /// The same.
    pub fn add_from(&mut self, input: impl BufRead, path: &Path) -> Result<(), Error> {
        let mut lines = RawLines::new(input);
        for line in 1.. {
            match lines.advance() {
                Ok(Step::End | Step::Unfinished { .. }) => break,
                Ok(Step::Line { .. } | Step::TooLong { .. }) => {}
                Err(source) => {
                    let path = path.to_owned();
                    return Err(Error::Read { path, source });
                }
            }
            let HeadLine { seq, head } = match serde_json::from_slice(lines.line()) {
                Ok(head) => head,
                // Half a line, which a crash or a full disk left.
                Err(error) if error.is_eof() => continue,
                Err(_) => return Err(super::read::unreadable(path, line, Why::NotARecord)),
            };
            if let Some(other) = self.numbered.insert(seq, head.clone())
                && other != head
            {
                return Err(Error::Rewritten { hash: head });
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len().saturating_add(self.numbered.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty() && self.numbered.is_empty()
    }

    /// Strikes off what this is; `false` if it is another one than was exported with its number.
    fn meet(&mut self, head: &Head) -> bool {
        self.hashes.remove(&head.hash);
        match self.numbered.remove(&head.seq) {
            Some(hash) => hash == head.hash,
            None => true,
        }
    }
}

/// What is in a journal whose chain holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The files, oldest first, with the number of records of each.
    pub files: Vec<(PathBuf, u64)>,
    /// How many records there are.
    pub records: u64,
    /// What the first record goes on from; beyond number 0, older ones were removed.
    pub base: Head,
    /// When the first record was made; `None` without a record.
    pub from: Option<String>,
    /// When the last one was made.
    pub to: Option<String>,
    /// The end of the chain.
    pub head: Head,
    /// The bytes of an unfinished record behind it.
    pub torn_bytes: u64,
    /// Records that are not here, and why a record says so.
    pub notes: Vec<String>,
    /// Exported heads that were found.
    pub heads_found: usize,
    /// Exported heads older than what is kept.
    pub heads_too_old: usize,
}

/// Checks that the files are one chain, in the order that their own lines tell, and that it holds every head.
///
/// # Errors
/// [`Error::Broken`] with file and line, [`Error::Rewritten`], or that a file cannot be read.
pub fn verify_all(paths: &[PathBuf], mut heads: Heads) -> Result<Checked, Error> {
    let asked = heads.len();
    let mut walk = Walk::default();
    for path in in_order(paths)? {
        walk.file(&path, &mut heads)?;
    }
    walk.end()?;
    let base = walk.base.unwrap_or_else(Head::genesis);
    let too_old = heads.numbered.range(..base.seq).count();
    heads.numbered.retain(|seq, _| *seq >= base.seq);
    let left = heads.numbered.into_values().chain(heads.hashes).next();
    if let Some(hash) = left {
        return Err(Error::Rewritten { hash });
    }
    Ok(Checked {
        records: walk.files.iter().map(|(_, records)| records).sum(),
        files: walk.files,
        base,
        from: walk.from,
        to: walk.to,
        head: walk.head,
        torn_bytes: walk.torn_bytes,
        notes: walk.notes,
        heads_found: asked.saturating_sub(too_old),
        heads_too_old: too_old,
    })
}

/// On the way through the files.
#[derive(Debug)]
struct Walk {
    files: Vec<(PathBuf, u64)>,
    /// What the first record of all goes on from.
    base: Option<Head>,
    head: Head,
    from: Option<String>,
    to: Option<String>,
    torn_bytes: u64,
    notes: Vec<String>,
    /// Why it begins with that record was found.
    explained: bool,
    /// How the file before the first one was taken from under the writer.
    taken: Option<String>,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            base: None,
            head: Head::genesis(),
            from: None,
            to: None,
            torn_bytes: 0,
            notes: Vec::new(),
            explained: false,
            taken: None,
        }
    }
}

impl Walk {
    fn file(&mut self, path: &Path, heads: &mut Heads) -> Result<(), Error> {
        // Only the newest file may end in a torn record: the others were whole before the next one was begun.
        if self.torn_bytes > 0 {
            let last = self.files.last().map_or(path, |(path, _)| path.as_path());
            let line = self.files.last().map_or(0, |(_, records)| *records);
            return Err(broken(last, line.saturating_add(1), Why::NotARecord));
        }
        let mut first = None;
        let mut rewritten = None;
        let scan = scan(open(path)?, |passed| {
            if first.is_none() {
                first = serde_json::from_slice::<Line>(passed.line).ok();
                // What the file goes on from may have been exported, too.
                let base = first.as_ref().map_or_else(Head::genesis, base_of);
                if !heads.meet(&base) {
                    rewritten = Some(base.clone());
                }
                self.from.get_or_insert_with(|| passed.at.to_owned());
                self.base.get_or_insert(base);
            }
            self.explained |= explains(&passed, self.base.as_ref());
            if !heads.meet(passed.head) {
                rewritten.get_or_insert_with(|| passed.head.clone());
            }
            self.to = Some(passed.at.to_owned());
        })
        .map_err(|error| error.of(path))?;
        if let Some(head) = rewritten {
            return Err(Error::Rewritten { hash: head.hash });
        }
        self.torn_bytes = scan.torn_bytes;
        let records = scan.head.seq.saturating_sub(scan.base.seq);
        if records > 0 {
            self.link(path, &scan.base, first.as_ref())?;
            self.head = scan.head;
        }
        self.files.push((path.to_owned(), records));
        Ok(())
    }

    /// A file goes on from the one before it, or a record says why not.
    fn link(&mut self, path: &Path, base: &Head, first: Option<&Line>) -> Result<(), Error> {
        let said = first.and_then(displaced);
        let number = base.seq.saturating_add(1);
        if *base == self.head {
            if let Some(why) = said.filter(|why| *why != MOVED_AWAY) {
                self.note(format!(
                    "record {number} says that {why} while it was written; every record before it is here"
                ));
            }
            return Ok(());
        }
        if base.seq <= self.head.seq {
            return Err(broken(path, 1, Why::Forked));
        }
        let begins = self.head.seq == 0;
        let (first, last) = (self.head.seq.saturating_add(1), base.seq);
        match said {
            Some(why) if why == MOVED_AWAY => {
                self.note(format!(
                    "records {first} to {last} are not here: {why}, as record {number} says"
                ));
                self.explained |= begins;
                Ok(())
            }
            // A record that is still to come may say that they were removed.
            Some(why) if begins => {
                self.taken = Some(why.to_owned());
                Ok(())
            }
            None if begins => Ok(()),
            Some(why) => {
                let said = why.to_owned();
                Err(broken(path, 1, Why::Taken { first, last, said }))
            }
            None => Err(broken(path, 1, Why::Missing { first, last })),
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    /// Whether a beginning that is not the first record was explained.
    fn end(&self) -> Result<(), Error> {
        let Some(base) = self.base.as_ref().filter(|base| base.seq > 0) else {
            return Ok(());
        };
        if self.explained {
            return Ok(());
        }
        let path = self.files.iter().find(|(_, records)| *records > 0);
        let path = path.map_or(Path::new(""), |(path, _)| path.as_path());
        let (first, last) = (1, base.seq);
        let why = match self.taken.clone() {
            Some(said) => Why::Taken { first, last, said },
            None => Why::Missing { first, last },
        };
        Err(broken(path, 1, why))
    }
}

fn base_of(line: &Line) -> Head {
    Head {
        seq: line.seq.saturating_sub(1),
        hash: line.prev.clone(),
    }
}

/// Whether the line records that the file which ended with this head was removed.
fn explains(passed: &Passed<'_>, base: Option<&Head>) -> bool {
    let Some(base) = base.filter(|_| passed.kind == "removed") else {
        return false;
    };
    let Ok(line) = serde_json::from_slice::<Line>(passed.line) else {
        return false;
    };
    let said = |name: &str| line.record.detail.get(name);
    said("last").and_then(Value::as_u64) == Some(base.seq)
        && said("hash").and_then(Value::as_str) == Some(base.hash.as_str())
}

/// How the file before this one was taken from under the writer, if it was.
fn displaced(line: &Line) -> Option<&str> {
    let rotated = line.record.detail.contains_key("rotated");
    (line.record.kind == Kind::Continued && !rotated)
        .then_some(line.record.reason.as_deref())
        .flatten()
}

fn broken(path: &Path, line: u64, why: Why) -> Error {
    Error::Broken {
        path: path.to_owned(),
        source: Broken { line, why },
    }
}
