//! The writer: one thread that turns records into durable lines.
//!
//! All records that wait are written with one `write` and made durable with one `fdatasync` (group commit). The writer
//! knows up to where the file is durable; after a failed write it cuts back to there before it writes again, so that a
//! half-written line never becomes part of the chain. Records of a failed write are dropped: their receipts said so,
//! and their number is recorded as soon as writing works.
//!
//! When the disk is full, a piece of the reserve (`space`) is given up, what waits is written, and a record that says so.
//! From then on the journal counts as one that cannot be written, until the reserve can be made again and as much is free
//! beside it: a disk that is full but for a few bytes does not make it flap. What is due meanwhile is written all the same,
//! as long as the disk or the reserve has room for it, since what is recorded then may be why the disk is full.
//!
//! Before each write, and every two seconds without one, it looks whether the file is still the one that it wrote. Where it
//! was moved away, removed, replaced or changed in length, a new one begins whose first record says so and names the old
//! one's head; what lies there is kept as evidence, and what only the writer's descriptor still holds is put back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::chain::VERSION;
use super::file::LockedFile;
use super::space::{Disk, HostDisk, Reserve, is_full};
use super::{FILE_NAME, Head, Kind, Limits, Line, NotDurable, Record};
use crate::clock;
use crate::report::escape_json;

/// How many records one `fdatasync` makes durable at most. Bounds the memory of a batch; far above what is queued in
/// one `fdatasync`'s time (4,000 per second measured on a virtual disk).
const BATCH_LIMIT: usize = 256;
/// How long it waits for a record before it looks by itself whether the file is still its own, and tries again what
/// failed.
const LOOK: Duration = Duration::from_secs(2);

/// How the journal is, for status and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The end of the chain as far as it is durable. Keep its hash elsewhere to notice a journal whose end is cut off.
    pub head: Head,
    /// Why nothing is written; `None` while writing works. Tried again with the next record, and every 2 seconds.
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

/// What a wait for work ended with.
enum Next {
    Message(Message),
    /// Time to look by itself.
    Look,
    End,
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
    pub(super) directory: PathBuf,
    pub(super) path: PathBuf,
    pub(super) file: LockedFile,
    pub(super) limits: Limits,
    /// The end of what is durable.
    pub(super) head: Head,
    /// The number of the file's first record.
    pub(super) first: u64,
    pub(super) durable_bytes: u64,
    /// Something may stand behind what is durable.
    dirty: bool,
    /// Records that a new file begins with, until they are durable.
    pub(super) preface: Vec<Record>,
    /// A file was begun, and older ones may be too many now.
    pub(super) sweep_due: bool,
    disk: Box<dyn Disk>,
    reserve: Reserve,
    /// The disk was full: the reserve was needed, and it counts as failing until there is space.
    full: bool,
    /// Shared with the queue's other end, which drops records too.
    lost: Arc<AtomicU64>,
    syncs: u64,
    failing: Option<Arc<io::Error>>,
    status: watch::Sender<Status>,
}

impl Writer {
    /// Goes on with a file that holds a chain from `base` up to `head` and nothing behind it.
    pub(super) fn new(
        directory: &Path,
        file: LockedFile,
        (base, head): (&Head, Head),
        durable_bytes: u64,
        limits: Limits,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            path: directory.join(FILE_NAME),
            file,
            limits,
            status: watch::Sender::new(Status {
                head: head.clone(),
                failing: None,
                lost: 0,
                syncs: 0,
            }),
            head,
            first: base.seq.saturating_add(1),
            durable_bytes,
            dirty: false,
            preface: Vec::new(),
            sweep_due: true,
            disk: Box::new(HostDisk),
            reserve: Reserve::of(directory),
            full: false,
            lost: Arc::new(AtomicU64::new(0)),
            syncs: 0,
            failing: None,
        }
    }

    /// Makes the reserve. A journal without one works, until the disk is full.
    pub(super) fn make_reserve(&mut self) {
        if let Err(error) = self.reserve.make(&*self.disk) {
            tracing::warn!(%error, "the journal has no reserve for a full disk");
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
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>, timer: &Runtime) {
        let mut closing = Vec::new();
        loop {
            let mut batch = Vec::new();
            let mut next = match Self::next(&mut queue, timer) {
                Next::Message(message) => Some(message),
                Next::Look => None,
                Next::End => break,
            };
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
            self.sweep();
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

    fn next(queue: &mut mpsc::Receiver<Message>, timer: &Runtime) -> Next {
        // Cancel safety: `recv` loses nothing.
        match timer.block_on(async { timeout(LOOK, queue.recv()).await }) {
            Ok(received) => received.map_or(Next::End, Next::Message),
            Err(_) => Next::Look,
        }
    }

    /// Makes the records durable, or tells their receipts why not. Whether they are.
    pub(super) fn commit(&mut self, batch: Vec<Entry>) -> bool {
        let lost = self.lost.load(Ordering::Relaxed);
        if batch.is_empty() && lost == 0 && self.failing.is_none() {
            // What cannot be told is told by the next write.
            let is_its_own = self.displaced().ok().flatten().is_none();
            if is_its_own {
                return true;
            }
        }
        let result = self.write_or_free(&batch, lost).map_err(Arc::new);
        match &result {
            Ok(_) => {
                self.lost.fetch_sub(lost, Ordering::Relaxed);
                if !self.full && self.failing.take().is_some() {
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
        result.is_ok()
    }

    /// Writes the batch, on a full disk with the reserve's space.
    fn write_or_free(&mut self, batch: &[Entry], lost: u64) -> io::Result<u64> {
        if self.full && self.has_space_again() {
            self.full = false;
        }
        if self.full && batch.is_empty() {
            // That something was lost is told with what is due next, or when there is space.
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut error = match self.write(batch, lost, None) {
            Err(error) if is_full(&error) => error,
            other => return other,
        };
        // Of the first batch only: from then on it is known.
        let farewell = (!self.full).then(|| full_record(&error));
        loop {
            drop(self.cut_back());
            if !self.reserve.give() {
                return Err(error);
            }
            match self.write(batch, lost, farewell.as_ref()) {
                Err(again) if is_full(&again) => error = again,
                Err(other) => return Err(other),
                Ok(first) => {
                    if !self.full {
                        tracing::error!(%error, "the disk is full: the journal lives on its reserve until there is space");
                        self.full = true;
                        self.failing = Some(Arc::new(error));
                    }
                    return Ok(first);
                }
            }
        }
    }

    /// The reserve can be made whole, and was, and as much is free beside it.
    fn has_space_again(&mut self) -> bool {
        let wanted = self.reserve.wants_free();
        let free = self.disk.free_bytes(&self.directory);
        free.is_ok_and(|free| free >= wanted) && self.reserve.make(&*self.disk).is_ok()
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
    fn write(&mut self, batch: &[Entry], lost: u64, farewell: Option<&Record>) -> io::Result<u64> {
        self.cut_back()?;
        if let Some(why) = self.displaced()? {
            self.start_over(why)?;
        } else if self.is_due() {
            self.rotate()?;
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
        if let Some(record) = farewell {
            head = encode(&Entry::new(record.clone(), None), &head, &mut bytes)?;
        }
        self.dirty = true;
        self.disk.append(&self.file, &bytes)?;
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
}

fn lost_record(records: u64, failing: Option<&io::Error>) -> Record {
    Record::new(Kind::Lost)
        .reason(failing.map_or_else(|| "the queue was full".to_owned(), ToString::to_string))
        .detail("records", records)
}

fn full_record(error: &io::Error) -> Record {
    Record::new(Kind::Full)
        .reason(error.to_string())
        .outcome("living on the reserve until there is space")
}

/// Adds the entry's line behind `head`; the new head.
fn encode(entry: &Entry, head: &Head, bytes: &mut Vec<u8>) -> io::Result<Head> {
    let json = serde_json::to_string(&Line {
        v: VERSION,
        seq: head.seq.saturating_add(1),
        at: format!("{:.3}", entry.at),
        boot_ms: u64::try_from(entry.boot.as_millis()).unwrap_or(u64::MAX),
        prev: head.hash.clone(),
        record: entry.record.clone(),
    })?;
    // Whoever looks at the file with `cat` or `tail` does so on a terminal.
    let json = escape_json(&json);
    let line = json.as_bytes();
    bytes.extend_from_slice(line);
    bytes.push(b'\n');
    Ok(head.after(line))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;
    use std::sync::atomic::AtomicU64;

    use super::super::space::RESERVE_BYTES;
    use super::super::{read_lines, verify};
    use super::*;

    /// A disk of so many bytes, which the files of the directory take up.
    #[derive(Debug)]
    struct SmallDisk {
        directory: PathBuf,
        size: Arc<AtomicU64>,
    }

    impl SmallDisk {
        fn room(&self) -> u64 {
            let files = fs::read_dir(&self.directory).unwrap();
            let used: u64 = files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum();
            self.size.load(Ordering::Relaxed).saturating_sub(used)
        }
    }

    impl Disk for SmallDisk {
        fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
            let room = usize::try_from(self.room()).unwrap();
            file.write_all(&bytes[..room.min(bytes.len())])?;
            if room < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
            if self.room() < bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.set_len(bytes)
        }

        fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
            Ok(self.room())
        }
    }

    /// A writer on a disk of that size, with its reserve.
    fn writer_on(directory: &Path, size: u64) -> (Writer, Arc<AtomicU64>) {
        let file = LockedFile::create_new(&directory.join(FILE_NAME)).unwrap();
        let ends = (&Head::genesis(), Head::genesis());
        let mut writer = Writer::new(directory, file, ends, 0, Limits::STANDARD);
        let size = Arc::new(AtomicU64::new(size));
        writer.disk = Box::new(SmallDisk {
            directory: directory.to_owned(),
            size: Arc::clone(&size),
        });
        writer.make_reserve();
        (writer, size)
    }

    fn note(text: &str) -> Vec<Entry> {
        vec![Entry::new(Record::new(Kind::Note).reason(text), None)]
    }

    fn kinds(directory: &Path) -> Vec<Kind> {
        let lines = read_lines(&directory.join(FILE_NAME)).unwrap();
        lines.map(|line| line.unwrap().record.kind).collect()
    }

    #[test]
    fn on_a_full_disk_what_is_due_is_written_on_the_reserve_and_it_counts_as_failing_until_there_is_space()
     {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let reserve = directory.path().join("journal.reserve");
        let (mut writer, size) = writer_on(directory.path(), RESERVE_BYTES + 1000);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
        assert!(writer.commit(note("there is room")));
        // What meets the full disk gets in, and so does that it is full: once.
        let long = || note(&"x".repeat(2000));
        assert!(writer.commit(long()));
        assert!(writer.commit(long()));
        assert_eq!(
            kinds(directory.path()),
            [Kind::Note, Kind::Note, Kind::Full, Kind::Note]
        );
        assert!(writer.status().borrow().failing.is_some());
        // Whoever fills the disk takes what was given up and not needed at once.
        let held = fs::metadata(&reserve).unwrap().len();
        assert!(held > RESERVE_BYTES / 2, "{held}");
        let used = || -> u64 {
            let files = fs::read_dir(directory.path()).unwrap();
            files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum()
        };
        size.store(used(), Ordering::Relaxed);
        let mut written = 0;
        while writer.commit(long()) {
            written += 1;
            assert_eq!(writer.status().borrow().lost, 0);
        }
        assert!(written > 90, "{written}");
        assert!(!reserve.exists());
        assert!(!writer.commit(long()));
        assert_eq!(writer.status().borrow().lost, 2);
        let end = verify(&path).unwrap().head;
        // Not even enough for the reserve and as much again.
        size.store(used() + 2 * RESERVE_BYTES - 1, Ordering::Relaxed);
        assert!(!writer.commit(Vec::new()));
        assert_eq!(verify(&path).unwrap().head, end);

        // There is space again: found without a record that would ask for it.
        size.store(used() + 3 * RESERVE_BYTES, Ordering::Relaxed);
        assert!(writer.commit(Vec::new()));
        assert!(writer.status().borrow().failing.is_none());
        assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
        let last = read_lines(&path).unwrap().last().unwrap().unwrap().record;
        assert_eq!(
            (last.kind, &last.detail["records"]),
            (Kind::Lost, &2.into())
        );
        assert!(writer.commit(note("as before")));
        verify(&path).unwrap();
    }

    #[test]
    fn a_reserve_that_was_given_up_in_part_is_made_whole() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = directory.path().join("journal.reserve");
        let (mut writer, size) = writer_on(directory.path(), RESERVE_BYTES + 1000);
        assert!(writer.commit(note(&"x".repeat(2000))));
        assert!(fs::metadata(&reserve).unwrap().len() < RESERVE_BYTES);
        size.store(3 * RESERVE_BYTES, Ordering::Relaxed);
        assert!(writer.commit(note("there is room")));
        assert!(writer.status().borrow().failing.is_none());
        assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
    }

    #[test]
    fn a_full_disk_without_a_reserve_loses_and_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, size) = writer_on(directory.path(), 1000);
        assert!(writer.commit(note("there is room")));
        assert!(!writer.commit(note(&"x".repeat(2000))));
        assert_eq!(kinds(directory.path()), [Kind::Note]);
        size.store(1 << 20, Ordering::Relaxed);
        assert!(writer.commit(note("after")));
        assert_eq!(
            kinds(directory.path()),
            [Kind::Note, Kind::Lost, Kind::Note]
        );
    }

    #[test]
    fn records_that_wait_together_become_durable_together() {
        let directory = tempfile::tempdir().unwrap();
        let file = LockedFile::create_new(&directory.path().join(FILE_NAME)).unwrap();
        let mut writer = Writer::new(
            directory.path(),
            file,
            (&Head::genesis(), Head::genesis()),
            0,
            Limits::STANDARD,
        );
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
