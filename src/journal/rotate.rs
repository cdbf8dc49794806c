//! One file ends and the next begins: by size, or because the file was taken from under the writer; and the oldest
//! files go.
//!
//! A rotation is a rename to the name that carries the file's first number, and a new file whose first record names the
//! head of the old one. A crash between any two steps leaves a directory that verifies: without a current file, or with
//! an empty one, opening goes on from the newest rotated file. A file's removal is in the chain before it happens.

use std::fs;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::chain::scan;
use super::file::{LockedFile, append_to, sync_directory};
use super::files::{base_said, rotated, rotated_name};
use super::writer::{Entry, Writer};
use super::{Head, Kind, Limits, Record};

/// What an owner of the journal may do; his files are complete with the one that he moved.
pub(super) const MOVED_AWAY: &str = "the file was moved away";
/// What is being put back.
const COPY: &str = "journal.put-back";

impl Writer {
    /// Whether the file has reached its size.
    pub(super) fn is_due(&self) -> bool {
        self.durable_bytes >= self.limits.file_bytes && self.head.seq >= self.first
    }

    /// Ends the file and begins the next one.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let name = rotated_name(self.first);
        self.make_way(&name)?;
        fs::rename(&self.path, self.directory.join(&name))?;
        sync_directory(&self.directory)?;
        self.start_over(Displaced::Rotated)
    }

    /// Whether the file at the journal's path is no longer what was written, and how.
    pub(super) fn displaced(&self) -> io::Result<Option<Displaced>> {
        let ours = self.file.metadata()?;
        let is_ours = |there: &fs::Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        match fs::metadata(&self.path) {
            Ok(there) if !is_ours(&there) => Ok(Some(Displaced::Replaced)),
            Ok(there) if there.len() != self.durable_bytes => Ok(Some(Displaced::Changed)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A rotation that got no further than the rename.
                let rotated = fs::metadata(self.directory.join(rotated_name(self.first)));
                Ok(Some(match rotated {
                    Ok(there) if is_ours(&there) => Displaced::Rotated,
                    Ok(_) | Err(_) if ours.nlink() == 0 => Displaced::Removed,
                    Ok(_) | Err(_) => Displaced::Away,
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// Begins a new file that goes on from the one before it, and names its head.
    pub(super) fn start_over(&mut self, why: Displaced) -> io::Result<()> {
        let mut record = continued(&self.head).reason(why.text());
        // First: whoever comes after a crash finds either what was written, or that it was changed.
        let back = match why {
            Displaced::Away | Displaced::Rotated => None,
            Displaced::Removed | Displaced::Replaced | Displaced::Changed => self.put_back(why),
        };
        match why {
            Displaced::Away | Displaced::Removed => {}
            Displaced::Rotated => record = record.detail("rotated", rotated_name(self.first)),
            Displaced::Replaced | Displaced::Changed => {
                let aside = free_name(&self.directory)?;
                fs::rename(&self.path, self.directory.join(&aside))?;
                record = record.detail("set_aside", aside);
            }
        }
        match why {
            Displaced::Rotated => tracing::debug!("the journal is rotated"),
            Displaced::Away => {
                tracing::warn!(
                    reason = why.text(),
                    "the journal is continued in a new file"
                );
            }
            Displaced::Removed | Displaced::Replaced | Displaced::Changed => {
                if let Some(name) = back {
                    record = record.detail("put_back", name);
                }
                tracing::error!(
                    reason = why.text(),
                    "somebody laid hands on the journal: it is continued in a new file"
                );
            }
        }
        // A new file that could not be begun before is named by what it continues, not by itself; and what was found then is
        // not lost if this one cannot be begun.
        if self.preface.is_empty() {
            self.preface.push(record);
        }
        self.file = LockedFile::create_new(&self.path)?;
        self.durable_bytes = 0;
        self.first = self.head.seq.saturating_add(1);
        self.sweep_due = true;
        sync_directory(&self.directory)
    }

    /// Puts back, under the name of a rotated file, what was written to the file and nobody else has; that name.
    fn put_back(&self, why: Displaced) -> Option<String> {
        let is_nowhere =
            |file: &fs::Metadata| matches!(why, Displaced::Changed) || file.nlink() == 0;
        let back = match self.file.metadata() {
            Ok(file) if is_nowhere(&file) => self.copy_back(),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        back.unwrap_or_else(|error| {
            tracing::error!(%error, "what the journal held cannot be put back");
            None
        })
    }

    /// `None` where the file does not hold it any more.
    fn copy_back(&self) -> io::Result<Option<String>> {
        let written = || -> io::Result<io::Take<&fs::File>> {
            let mut file: &fs::File = &self.file;
            file.rewind()?;
            Ok(file.take(self.durable_bytes))
        };
        let is_whole = scan(BufReader::new(written()?), |_| {})
            .is_ok_and(|found| found.torn_bytes == 0 && found.head == self.head);
        if !is_whole || self.durable_bytes == 0 {
            return Ok(None);
        }
        // Whole, or not there: what a crash left of it is begun anew.
        let copy = self.directory.join(COPY);
        if fs::symlink_metadata(&copy).is_ok() {
            fs::remove_file(&copy)?;
        }
        let mut file = append_to(&copy)?;
        io::copy(&mut written()?, &mut file)?;
        file.sync_all()?;
        let name = rotated_name(self.first);
        self.make_way(&name)?;
        fs::rename(&copy, self.directory.join(&name))?;
        Ok(Some(name))
    }

    /// Sets aside what somebody put at the name of a file of the journal: it is not ours to overwrite.
    fn make_way(&self, name: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            fs::rename(&path, self.directory.join(free_name(&self.directory)?))?;
        }
        Ok(())
    }

    /// Goes on, in a file without a record, from the newest rotated one: what a crash in a rotation leaves.
    pub(super) fn resume(&mut self, head: Head, rotated: u64) {
        self.preface.push(
            continued(&head)
                .reason("the rotated file is the newest one")
                .detail("rotated", rotated_name(rotated)),
        );
        self.first = head.seq.saturating_add(1);
        self.head = head;
    }

    /// Removes the oldest files beyond the limits, each after its record. What fails is tried again with the next file.
    pub(super) fn sweep(&mut self) {
        if !std::mem::take(&mut self.sweep_due) {
            return;
        }
        if let Err(error) = self.remove_oldest() {
            tracing::warn!(%error, "old files of the journal cannot be removed");
        }
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let files = rotated(&self.directory)?;
        let mut sizes = Vec::new();
        for file in &files {
            sizes.push(fs::symlink_metadata(&file.path)?.len());
        }
        // The current file counts as full: it will be.
        let mut total = sizes.iter().sum::<u64>() + self.limits.file_bytes;
        let mut left = files.len() + 1;
        for (index, (file, bytes)) in files.iter().zip(sizes).enumerate() {
            let Limits {
                total_bytes,
                files: most,
                ..
            } = self.limits;
            // A removal's own record may have rotated: then the list is out of date.
            if self.sweep_due || (total <= total_bytes && left <= most.max(1)) {
                break;
            }
            let next = files.get(index + 1).map_or(&self.path, |next| &next.path);
            let Some(end) = base_said(next)? else { break };
            let record = Record::new(Kind::Removed)
                .reason("the journal is larger than it is to be")
                .detail("file", rotated_name(file.first))
                .detail("first", file.first)
                .detail("last", end.seq)
                .detail("hash", end.hash)
                .detail("bytes", bytes);
            if !self.commit(vec![Entry::new(record, None)]) {
                break;
            }
            fs::remove_file(&file.path)?;
            sync_directory(&self.directory)?;
            total = total.saturating_sub(bytes);
            left -= 1;
        }
        Ok(())
    }
}

fn continued(head: &Head) -> Record {
    Record::new(Kind::Continued)
        .detail("previous_seq", head.seq)
        .detail("previous_hash", head.hash.as_str())
}

/// A name for a file that is set aside; none of those before is overwritten.
fn free_name(directory: &Path) -> io::Result<String> {
    let mut number = 1_u64;
    loop {
        let name = format!("journal.aside-{number}.jsonl");
        match fs::symlink_metadata(directory.join(&name)) {
            Ok(_) => number = number.saturating_add(1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name),
            Err(error) => return Err(error),
        }
    }
}

/// How the writer's file came to be another one than that at the journal's path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Displaced {
    Rotated,
    /// It is elsewhere.
    Away,
    /// It is nowhere.
    Removed,
    Replaced,
    Changed,
}

impl Displaced {
    fn text(self) -> &'static str {
        match self {
            Self::Rotated => "the file before has reached its size",
            Self::Away => MOVED_AWAY,
            Self::Removed => "the file was removed",
            Self::Replaced => "the file was replaced by another",
            Self::Changed => "the file was changed from outside",
        }
    }
}
