//! The exporter: a thread that sees every new head, and sends one on when it is due.

use std::io;
use std::thread;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::{Head, Journal, Kind, Record};
use super::settings::{Export, Sink};
use super::{Told, file, syslog};
use crate::clock;
use crate::report::Chain;

/// How long one sink may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running exporter. It ends by itself when the journal is closed, after it sent the last head.
#[derive(Debug)]
pub struct Exporter(oneshot::Receiver<()>);

impl Exporter {
    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Nothing is lost but the knowledge.
    pub async fn ended(self) {
        // Without a word it has ended, too.
        drop(self.0.await);
    }
}

/// Starts the exporter of a project's journal.
///
/// # Errors
/// Its thread cannot be started.
pub fn start(journal: Journal, project: &str, export: Export) -> io::Result<Exporter> {
    let (done, ended) = oneshot::channel();
    let project = project.to_owned();
    // Before the thread is there: what is written from now on is new.
    let sent = journal.status().borrow().head.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("heads".to_owned())
        .spawn(move || {
            runtime.block_on(run(&journal, &project, &export, sent));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            drop(done);
        })?;
    Ok(Exporter(ended))
}

async fn run(journal: &Journal, project: &str, export: &Export, mut sent: Head) {
    let mut status = journal.status();
    let mut failing = vec![false; export.sinks.len()];
    // The first one that is new goes out at once: it tells that this supervisor began.
    let mut due = clock::timer_in(Duration::ZERO);
    loop {
        let retry = failing.contains(&true);
        let is_open = wait(&mut status, (&sent, retry), export.every, due).await;
        let head = status.borrow_and_update().head.clone();
        if head != sent || retry {
            send(journal, project, export, &head, &mut failing).await;
            sent = head;
        }
        if !is_open {
            return;
        }
        due = clock::timer_in(export.period);
    }
}

/// Waits until a head is due: after so many records, or after the period if there is a new one or the last one did not
/// get everywhere. `false`: the journal is closed, and there will be no more.
async fn wait(
    status: &mut tokio::sync::watch::Receiver<super::super::Status>,
    (sent, retry): (&Head, bool),
    every: u64,
    due: Instant,
) -> bool {
    loop {
        let seq = status.borrow_and_update().head.seq;
        if seq >= sent.seq.saturating_add(every) {
            return true;
        }
        let changed = if seq == sent.seq && !retry {
            // Nothing to tell: only a change can be of interest.
            status.changed().await
        } else {
            match timeout_at(due, status.changed()).await {
                Ok(changed) => changed,
                Err(_) => return true,
            }
        };
        if changed.is_err() {
            return false;
        }
    }
}

/// Sends a head to every sink, side by side. What changes about a sink is logged and recorded.
async fn send(
    journal: &Journal,
    project: &str,
    export: &Export,
    head: &Head,
    failing: &mut [bool],
) {
    let told = Told {
        project: project.to_owned(),
        seq: head.seq,
        head: head.hash.clone(),
        at: format!("{:.3}", clock::wall_now()),
    };
    let results = join_all(export.sinks.iter().map(|sink| one(sink, &told))).await;
    for ((sink, result), failing) in export.sinks.iter().zip(results).zip(failing) {
        let name = sink.name();
        match result {
            Ok(()) if *failing => {
                *failing = false;
                tracing::info!(sink = name, "heads of the journal are exported again");
                journal.note(note("heads are exported again", &name));
            }
            Err(error) if !*failing => {
                *failing = true;
                let error = Chain(&error).to_string();
                tracing::warn!(sink = name, error, "a head of the journal is not exported");
                journal.note(note("a head is not exported", &name).detail("error", error));
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn note(reason: &str, sink: &str) -> Record {
    Record::new(Kind::Note).reason(reason).detail("sink", sink)
}

async fn one(sink: &Sink, told: &Told) -> io::Result<()> {
    match sink {
        // This thread has nothing else to do: blocking it delays only the other sinks.
        Sink::File(path) => file::write(path, told),
        Sink::Syslog(socket) => syslog::send(socket, told),
        Sink::Webhook(webhook) => match timeout(PATIENCE, webhook.post(told)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}
