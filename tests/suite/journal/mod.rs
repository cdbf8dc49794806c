//! The journal keeps what it was given, through crashes, full disks and curious hands.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod cli;
mod crash;
mod export;
mod follow;
mod recent;
mod rotate;
mod tamper;
mod tls;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use phoenixd::journal::{
    self, Error, FILE_NAME, From, Head, Journal, Kind, Line, NotDurable, Receipt, Record,
    read_lines, verify,
};
use phoenixd::spec::{ContainerId, Generation, ReplicaName, Serial, ServiceName};

/// How long a test waits for another thread before it fails.
const DEADLINE: Duration = Duration::from_mins(1);

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(DEADLINE, future).await.unwrap() })
}

/// The same for what does input and output of its own.
fn wait_all<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(DEADLINE, future).await.unwrap() })
}

fn durable(receipt: Receipt) -> Result<u64, NotDurable> {
    wait(receipt.durable())
}

fn record(n: u64) -> Record {
    Record::new(Kind::Began)
        .replica(&ReplicaName::new(ServiceName::new("web"), Serial(n)))
        .container(&ContainerId::new("ab".repeat(32)))
        .generation(Generation(2))
        .action("create")
        .reason("the ttl of web-1 ends in 12s")
        .detail("attempt", n)
}

/// A directory with a closed journal of `records` records.
fn journal_of(records: u64) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    for n in 1..=records {
        journal.note(record(n));
    }
    assert_eq!(wait(journal.close()).unwrap().seq, records);
    let path = directory.path().join(FILE_NAME);
    (directory, path)
}

fn lines(path: &Path) -> Vec<Line> {
    read_lines(path).unwrap().map(Result::unwrap).collect()
}

fn kinds(path: &Path) -> Vec<Kind> {
    lines(path).iter().map(|line| line.record.kind).collect()
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn every_record_is_one_line_that_anyone_can_check() {
    let (_directory, path) = journal_of(5);
    let verified = verify(&path).unwrap();
    assert_eq!((verified.records, verified.torn_bytes), (5, 0));

    // What the documentation says, with other tools than ours.
    let text = fs::read_to_string(&path).unwrap();
    let mut prev = journal::GENESIS.to_owned();
    for (seq, line) in (1..).zip(text.lines()) {
        let stored: Line = serde_json::from_str(line).unwrap();
        assert_eq!((stored.v, stored.seq), (1, seq));
        assert_eq!(stored.prev, sha256sum(&prev));
        assert_eq!(stored.record, record(seq));
        assert!(stored.at.parse::<jiff::Timestamp>().is_ok() && stored.at.len() == 24);
        line.clone_into(&mut prev);
    }
    let head = sha256sum(&prev);
    assert_eq!(verified.head, Head { seq: 5, hash: head });
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

fn sha256sum(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_fields_of_a_line_keep_their_names_and_order() {
    let (_directory, path) = journal_of(1);
    let line = fs::read_to_string(&path).unwrap();
    let stored: Line = serde_json::from_str(&line).unwrap();
    let line = line
        .replace(&stored.at, "<at>")
        .replace(&format!(":{},", stored.boot_ms), ":<ms>,");
    insta::assert_snapshot!(line.trim_end(), @r#"{"v":1,"seq":1,"at":"<at>","boot_ms":<ms>,"prev":"2d78d09cd9b2d4c326cd1822117ad9c21c94d6f196784bf566f65a8291423de9","kind":"began","service":"web","replica":"web-1","container_id":"abababababababababababababababababababababababababababababababab","generation":2,"action":"create","reason":"the ttl of web-1 ends in 12s","detail":{"attempt":1}}"#);
}

#[test]
fn a_receipt_resolves_only_when_its_record_can_be_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let path = directory.path().join(FILE_NAME);
    for n in 1..=20 {
        assert_eq!(durable(journal.append(record(n))).unwrap(), n);
        assert_eq!(verify(&path).unwrap().records, n);
        assert_eq!(journal.status().borrow().head.seq, n);
    }
    // Many at once: in order, and never with more syncs than records.
    let receipts: Vec<Receipt> = (21..=520).map(|n| journal.append(record(n))).collect();
    for (n, receipt) in (21..).zip(receipts) {
        assert_eq!(durable(receipt).unwrap(), n);
    }
    assert_eq!(verify(&path).unwrap().records, 520);
    assert!(journal.status().borrow().syncs <= 520);
}

#[test]
fn hostile_text_stays_within_its_line() {
    let (directory, path) = journal_of(0);
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let hostile = "a\n{\"v\":1}\r\u{2028}\u{1b}[2J\u{202e}\0\"";
    let record = Record::new(Kind::Seen)
        .service(&ServiceName::new(hostile))
        .reason(hostile)
        .detail(hostile, vec![hostile]);
    durable(journal.append(record.clone())).unwrap();
    assert_eq!(verify(&path).unwrap().records, 1);
    assert_eq!(lines(&path)[0].record, record);
}

#[test]
fn a_journal_dropped_without_a_close_still_writes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let received = follow::following(&directory.path().join(FILE_NAME), From::Start, None);
    for n in 1..=300 {
        journal.note(record(n));
    }
    drop(journal);
    for n in 1..=300 {
        assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(n));
    }
}

#[test]
fn a_reopened_journal_goes_on_where_it_ended() {
    let (directory, path) = journal_of(3);
    let (journal, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!(recovered.head, verify(&path).unwrap().head);
    assert_eq!(recovered.cut, None);
    assert_eq!(durable(journal.append(record(4))).unwrap(), 4);
    wait(journal.close()).unwrap();
    assert_eq!(verify(&path).unwrap().records, 4);
}

#[test]
fn a_closed_journal_has_written_everything_and_takes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    for n in 1..=700 {
        journal.note(record(n));
    }
    let other = journal.clone();
    assert_eq!(wait(journal.close()).unwrap().seq, 700);
    assert!(matches!(
        durable(other.append(record(701))),
        Err(NotDurable::Closed)
    ));
    assert!(matches!(wait(other.close()), Err(NotDurable::Closed)));
    assert_eq!(
        verify(&directory.path().join(FILE_NAME)).unwrap().records,
        700
    );
}

#[test]
fn records_beyond_the_queue_are_refused_counted_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let receipts: Vec<Receipt> = (0..20_000).map(|n| journal.append(record(n))).collect();
    let results: Vec<_> = receipts.into_iter().map(durable).collect();
    let refused = results.iter().filter(|result| result.is_err()).count() as u64;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(_) | Err(NotDurable::Full)))
    );
    assert!(durable(journal.append(record(0))).is_ok());
    let told: u64 = lines(&directory.path().join(FILE_NAME))
        .iter()
        .filter(|line| line.record.kind == Kind::Lost)
        .map(|line| line.record.detail["records"].as_u64().unwrap())
        .sum();
    assert_eq!(told, refused);
    assert_eq!(journal.status().borrow().lost, 0);
}

#[test]
fn a_second_phoenixd_cannot_write_to_the_same_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    assert!(matches!(
        Journal::open(directory.path()),
        Err(Error::Locked { .. })
    ));
    wait(journal.close()).unwrap();
    assert!(Journal::open(directory.path()).is_ok());
}
