//! `events -f`: what is written is seen, from before the file exists until nobody reads any more.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use phoenixd::journal::{self, FILE_NAME, From, Journal};

use super::{DEADLINE, append_bytes, durable, journal_of, record};

/// What a follower gives, read by a thread of its own.
pub(super) fn following(
    path: &Path,
    from: From,
    until: Option<io::PipeWriter>,
) -> mpsc::Receiver<Option<u64>> {
    let mut follower = journal::follow(path, from, until.map(Into::into)).unwrap();
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let line = follower.next().map(|line| line.unwrap().seq);
            if lines.send(line).is_err() || line.is_none() {
                return;
            }
        }
    });
    received
}

#[test]
fn a_follower_sees_each_record_from_before_the_file_exists_until_its_reader_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let (reader, until) = io::pipe().unwrap();
    let received = following(&path, From::Start, Some(until));
    let (journal, _) = Journal::open(directory.path()).unwrap();
    for n in 1..=50 {
        journal.note(record(n));
        assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(n));
    }
    let late = following(&path, From::End, None);
    durable(journal.append(record(51))).unwrap();
    assert_eq!(late.recv_timeout(DEADLINE).unwrap(), Some(51));
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(51));

    // Moved away and begun anew: what is in the new file follows.
    fs::rename(&path, directory.path().join("old")).unwrap();
    journal.note(record(52));
    for seq in [52, 53] {
        assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(seq));
        assert_eq!(late.recv_timeout(DEADLINE).unwrap(), Some(seq));
    }
    drop(reader);
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), None);
}

#[test]
fn a_follower_waits_for_the_rest_of_a_line() {
    let (_directory, path) = journal_of(2);
    let whole = fs::read(&path).unwrap();
    let (begun, rest) = whole.split_at(whole.len() - 10);
    fs::write(&path, begun).unwrap();
    let received = following(&path, From::Start, None);
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(1));
    append_bytes(&path, rest);
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), Some(2));
}
