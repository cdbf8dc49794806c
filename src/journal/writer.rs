//! The writer: one thread that turns records into durable lines.
//!
//! All records that wait are written with one `write` and made durable with one `fdatasync` (group commit). The writer
//! knows up to where the file is durable; after a failed write it cuts back to there before it writes again, so that a
//! half-written line never becomes part of the chain. Records of a failed write are dropped: their receipts said so,
//! and their number is recorded as soon as writing works.
//!
//! Before each write it looks whether the file is still the one that it wrote: a file that was moved away, replaced or
//! changed in length is left alone (as evidence), and a new one begins whose first record names the old one's head.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::chain::VERSION;
use super::file::{LockedFile, sync_directory};
use super::{FILE_NAME, Head, Kind, Line, NotDurable, Record};
use crate::clock;

/// How many records one `fdatasync` makes durable at most. Bounds the memory of a batch; far above what is queued in
/// one `fdatasync`'s time (4,000 per second measured on a virtual disk).
const BATCH_LIMIT: usize = 256;

/// How the journal is, for status and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The end of the chain as far as it is durable. Keep its hash elsewhere to notice a journal whose end is cut off.
    pub head: Head,
    /// Why the last write failed; `None` while writing works. The next record tries again.
    pub failing: Option<String>,
    /// Records dropped since the journal was opened and not yet told in a `lost` record.
    pub lost: u64,
    /// How many times the file was made durable since the journal was opened.
    pub syncs: u64,
}

/// What the writer is sent.
#[derive(Debug)]
pub(super) enum Message {
    Append(Box<Entry>),
    Close(oneshot::Sender<Result<Head, NotDurable>>),
}

/// A record on its way, stamped when it was given.
#[derive(Debug)]
pub(super) struct Entry {
    at: Timestamp,
    boot: Duration,
    record: Record,
    done: Option<oneshot::Sender<Result<u64, NotDurable>>>,
}

impl Entry {
    pub(super) fn new(
        record: Record,
        done: Option<oneshot::Sender<Result<u64, NotDurable>>>,
    ) -> Self {
        Self {
            at: clock::wall_now(),
            boot: clock::boot_now(),
            record: record.capped(),
            done,
        }
    }
}

/// The file, and what is known of it.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    path: PathBuf,
    file: LockedFile,
    /// The end of what is durable.
    head: Head,
    durable_bytes: u64,
    /// Something may stand behind what is durable.
    dirty: bool,
    /// Records that a new file begins with, until they are durable.
    preface: Vec<Record>,
    /// Shared with the queue's other end, which drops records too.
    lost: Arc<AtomicU64>,
    syncs: u64,
    failing: Option<Arc<io::Error>>,
    status: watch::Sender<Status>,
}

impl Writer {
    /// Goes on with a file that holds a chain up to `head` and nothing behind it.
    pub(super) fn new(directory: &Path, file: LockedFile, head: Head, durable_bytes: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            path: directory.join(FILE_NAME),
            file,
            status: watch::Sender::new(Status {
                head: head.clone(),
                failing: None,
                lost: 0,
                syncs: 0,
            }),
            head,
            durable_bytes,
            dirty: false,
            preface: Vec::new(),
            lost: Arc::new(AtomicU64::new(0)),
            syncs: 0,
            failing: None,
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Writes what comes until the queue is closed or every sender is gone, and what is queued by then.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Append(entry) => batch.push(*entry),
                    Message::Close(done) => {
                        queue.close();
                        closing.push(done);
                    }
                }
                next = if batch.len() < BATCH_LIMIT {
                    queue.try_recv().ok()
                } else {
                    None
                };
            }
            self.commit(batch);
        }
        let result = match self.failing.take() {
            Some(error) => Err(NotDurable::Write(error)),
            None => Ok(self.head.clone()),
        };
        // The file's lock is released before anyone is told.
        drop(self);
        for done in closing {
            // Whoever asked may have stopped waiting.
            drop(done.send(result.clone()));
        }
    }

    /// Makes the records durable, or tells their receipts why not.
    pub(super) fn commit(&mut self, batch: Vec<Entry>) {
        let lost = self.lost.load(Ordering::Relaxed);
        if batch.is_empty() && lost == 0 {
            return;
        }
        let result = self.write(&batch, lost).map_err(Arc::new);
        match &result {
            Ok(_) => {
                self.lost.fetch_sub(lost, Ordering::Relaxed);
                if self.failing.take().is_some() {
                    tracing::info!(records = lost, "the journal is written again");
                }
            }
            Err(error) => {
                self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if self.failing.is_none() {
                    tracing::error!(%error, "the journal cannot be written");
                }
                self.failing = Some(Arc::clone(error));
                // Frees the space that a half-written batch took; what fails here is tried again before the next write.
                drop(self.cut_back());
            }
        }
        self.publish();
        for (index, entry) in (0..).zip(batch) {
            if let Some(done) = entry.done {
                let answer = match &result {
                    Ok(first) => Ok(first.saturating_add(index)),
                    Err(error) => Err(NotDurable::Write(Arc::clone(error))),
                };
                // Whoever gave the record may have stopped waiting.
                drop(done.send(answer));
            }
        }
    }

    fn publish(&self) {
        self.status.send_replace(Status {
            head: self.head.clone(),
            failing: self.failing.as_ref().map(ToString::to_string),
            lost: self.lost.load(Ordering::Relaxed),
            syncs: self.syncs,
        });
    }

    /// Writes the batch and what must stand before it; the number of the batch's first record.
    fn write(&mut self, batch: &[Entry], lost: u64) -> io::Result<u64> {
        self.cut_back()?;
        if let Some(why) = self.displaced()? {
            self.start_over(why)?;
        }
        let mut head = self.head.clone();
        let mut bytes = Vec::new();
        let lost = (lost > 0).then(|| lost_record(lost, self.failing.as_deref()));
        for record in self.preface.iter().chain(&lost) {
            let entry = Entry::new(record.clone(), None);
            head = encode(&entry, &head, &mut bytes)?;
        }
        let first = head.seq.saturating_add(1);
        for entry in batch {
            head = encode(entry, &head, &mut bytes)?;
        }
        self.dirty = true;
        (&*self.file).write_all(&bytes)?;
        self.file.sync_data()?;
        self.dirty = false;
        self.durable_bytes = self.durable_bytes.saturating_add(bytes.len() as u64);
        self.syncs = self.syncs.saturating_add(1);
        self.head = head;
        self.preface.clear();
        Ok(first)
    }

    /// Removes what a failed write left behind what is durable.
    fn cut_back(&mut self) -> io::Result<()> {
        if self.dirty {
            // Never longer: that would fill up with zeros.
            if self.file.metadata()?.len() > self.durable_bytes {
                self.file.set_len(self.durable_bytes)?;
            }
            self.dirty = false;
        }
        Ok(())
    }

    /// Whether the file at the journal's path is no longer what was written, and how.
    fn displaced(&self) -> io::Result<Option<Displaced>> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) => {
                Ok(Some(Displaced::Replaced))
            }
            Ok(there) if there.len() != self.durable_bytes => Ok(Some(Displaced::Changed)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Displaced::Away)),
            Err(error) => Err(error),
        }
    }

    /// Begins a new file that names the head of the one before it.
    fn start_over(&mut self, why: Displaced) -> io::Result<()> {
        let mut record = Record::new(Kind::Continued)
            .reason(why.text())
            .detail("previous_seq", self.head.seq)
            .detail("previous_hash", self.head.hash.as_str());
        match why {
            Displaced::Away => {}
            Displaced::Replaced | Displaced::Changed => {
                let aside = free_name(&self.directory)?;
                fs::rename(&self.path, self.directory.join(&aside))?;
                record = record.detail("set_aside", aside);
            }
        }
        tracing::warn!(
            reason = why.text(),
            "the journal is continued in a new file"
        );
        self.file = LockedFile::create_new(&self.path)?;
        self.head = Head::genesis();
        self.durable_bytes = 0;
        // A new file that could not be begun before is named by what it continues, not by itself.
        if self.preface.is_empty() {
            self.preface.push(record);
        }
        sync_directory(&self.directory)
    }
}

fn lost_record(records: u64, failing: Option<&io::Error>) -> Record {
    Record::new(Kind::Lost)
        .reason(failing.map_or_else(|| "the queue was full".to_owned(), ToString::to_string))
        .detail("records", records)
}

/// Adds the entry's line behind `head`; the new head.
fn encode(entry: &Entry, head: &Head, bytes: &mut Vec<u8>) -> io::Result<Head> {
    let line = serde_json::to_vec(&Line {
        v: VERSION,
        seq: head.seq.saturating_add(1),
        at: format!("{:.3}", entry.at),
        boot_ms: u64::try_from(entry.boot.as_millis()).unwrap_or(u64::MAX),
        prev: head.hash.clone(),
        record: entry.record.clone(),
    })?;
    bytes.extend_from_slice(&line);
    bytes.push(b'\n');
    Ok(head.after(&line))
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

/// How the file was taken from under the writer.
#[derive(Clone, Copy, Debug)]
enum Displaced {
    Away,
    Replaced,
    Changed,
}

impl Displaced {
    fn text(self) -> &'static str {
        match self {
            Self::Away => "the file was moved away",
            Self::Replaced => "the file was replaced by another",
            Self::Changed => "the file was changed from outside",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_wait_together_become_durable_together() {
        let directory = tempfile::tempdir().unwrap();
        let file = LockedFile::create_new(&directory.path().join(FILE_NAME)).unwrap();
        let mut writer = Writer::new(directory.path(), file, Head::genesis(), 0);
        let (receipts, batch): (Vec<_>, Vec<_>) = (0..100)
            .map(|_| {
                let (done, receipt) = oneshot::channel();
                (receipt, Entry::new(Record::new(Kind::Note), Some(done)))
            })
            .unzip();
        writer.commit(batch);
        assert_eq!(writer.status().borrow().syncs, 1);
        for (seq, mut receipt) in (1..).zip(receipts) {
            assert_eq!(receipt.try_recv().unwrap().unwrap(), seq);
        }
    }
}
