//! The journal as its users hold it: append a record, wait until it is durable, close.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::recover::recover;
use super::writer::{Entry, Message};
use super::{Error, Head, Limits, NotDurable, Record, Recovered, Status};

/// How many records may wait for the writer. At some hundred bytes each this is nothing, and at the largest a record
/// can be (`record`) some 30 MiB; a disk that makes 4,000 records durable per second empties it in a quarter of one.
const QUEUE_LIMIT: usize = 1024;

/// The open journal. Clones are handles of the same one.
///
/// Dropping the last handle lets the writer finish what is queued on its own, and does not wait for it:
/// [`close`](Self::close) does.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<Message>,
    status: watch::Receiver<Status>,
    lost: Arc<AtomicU64>,
}

/// What the writer's thread waits with. Whoever opens a journal may be inside of a runtime, where the end of another one
/// must not block: it would panic, and hide why the journal cannot be opened.
struct Timer(Option<Runtime>);

impl Timer {
    fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Journal {
    /// Opens the journal in `directory` with the standard limits; see [`open_with`](Self::open_with).
    ///
    /// # Errors
    /// The same.
    pub fn open(directory: &Path) -> Result<(Self, Recovered), Error> {
        Self::open_with(directory, Limits::STANDARD)
    }

    /// Opens the journal in `directory`, making both if there is none (modes 0700 and 0600), checks its chain, and
    /// starts its writer. Blocks while it reads the whole current file: about a quarter of a second per 100,000 records.
    /// Rotated files are not read, but for the newest one where there is no record after it: [`verify_all`](super::verify_all) reads them.
    ///
    /// A torn last record is appended to `journal.torn`, cut off, and the cut is recorded; `journal.torn` then gets
    /// the number of that record (`journal.torn-42`).
    ///
    /// # Errors
    /// The file cannot be read or written, another phoenixd has it open, or its chain is broken.
    pub fn open_with(directory: &Path, limits: Limits) -> Result<(Self, Recovered), Error> {
        let timer = Timer::new().map_err(|source| Error::StartWriter { source })?;
        let (writer, recovered) = recover(directory, limits)?;
        let (queue, messages) = mpsc::channel(QUEUE_LIMIT);
        let journal = Self {
            queue,
            status: writer.status(),
            lost: writer.lost(),
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                if let Some(runtime) = &timer.0 {
                    writer.run(messages, runtime);
                }
            })
            .map_err(|source| Error::StartWriter { source })?;
        Ok((journal, recovered))
    }

    /// Queues a record. Never blocks: a full queue drops the record, counts it, and the receipt says so.
    pub fn append(&self, record: Record) -> Receipt {
        let (done, durable) = oneshot::channel();
        Receipt(match self.send(Box::new(Entry::new(record, Some(done)))) {
            Ok(()) => Pending::Queued(durable),
            Err(why) => Pending::Dropped(why),
        })
    }

    /// Queues a record that nobody waits for. What cannot be written is counted and told in a `lost` record.
    pub fn note(&self, record: Record) {
        // The count is all that is left of it.
        drop(self.send(Box::new(Entry::new(record, None))));
    }

    fn send(&self, entry: Box<Entry>) -> Result<(), NotDurable> {
        self.queue
            .try_send(Message::Append(entry))
            .map_err(|error| match error {
                TrySendError::Full(_) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    NotDurable::Full
                }
                TrySendError::Closed(_) => NotDurable::Closed,
            })
    }

    /// Why the last write failed, in words; `None` while writing works.
    pub fn failing(&self) -> Option<String> {
        self.status.borrow().failing.clone()
    }

    /// How the journal is, now and as it changes; brought up to date after each write, before its receipts resolve.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Writes what is queued and closes the file; the durable end of the chain. Records given later are refused.
    ///
    /// # Errors
    /// The last write failed, or the journal was closed already.
    ///
    /// # Cancel safety
    /// Once it was polled the journal will close; only the answer is lost. It waits for the disk: bound it with a
    /// timeout.
    pub async fn close(&self) -> Result<Head, NotDurable> {
        let (done, closed) = oneshot::channel();
        self.queue
            .send(Message::Close(done))
            .await
            .map_err(|_| NotDurable::Closed)?;
        closed.await.map_err(|_| NotDurable::Closed)?
    }
}

/// What [`Journal::append`] gives for a record.
#[derive(Debug)]
#[must_use = "a record that must be durable is awaited; use `note` for others"]
pub struct Receipt(Pending);

#[derive(Debug)]
enum Pending {
    Queued(oneshot::Receiver<Result<u64, NotDurable>>),
    Dropped(NotDurable),
}

impl Receipt {
    /// Waits until the record is durable; its number.
    ///
    /// # Errors
    /// It is not known to be durable, and why.
    ///
    /// # Cancel safety
    /// The record stays queued; only the answer is lost.
    pub async fn durable(self) -> Result<u64, NotDurable> {
        match self.0 {
            // The writer answers every record; that it went without an answer means it is no more.
            Pending::Queued(durable) => durable.await.map_err(|_| NotDurable::Closed)?,
            Pending::Dropped(why) => Err(why),
        }
    }
}
