//! The last records of a kind are found through rotated files, within a bound, and around what cannot be read.

use std::fs;
use std::path::Path;

use phoenixd::journal::{FILE_NAME, Journal, Kind, Limits, Record, files_of, last_at, recent};
use phoenixd::spec::ContainerId;

use super::{append_bytes, record, wait};

/// Every third record is a taint, whose container has its number.
fn journal_with_taints(records: u64, limits: Limits) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open_with(directory.path(), limits).unwrap();
    for n in 1..=records {
        journal.note(if n.is_multiple_of(3) {
            // What it is about may look like anything.
            Record::new(Kind::Tainted)
                .container(&ContainerId::new(n.to_string()))
                .reason("exec of `\"kind\":\"seen\"`")
        } else {
            record(n).reason("\"kind\":\"tainted\"")
        });
        if n.is_multiple_of(4) {
            // One batch more, so that files are rotated.
            wait(journal.append(record(n)).durable()).unwrap();
        }
    }
    wait(journal.close()).unwrap();
    directory
}

fn found(directory: &Path, bytes: u64) -> Vec<u64> {
    let mut found = Vec::new();
    recent(directory, Kind::Tainted, bytes, |line| {
        found.push(line.record.container_id.unwrap().parse().unwrap());
    })
    .unwrap();
    found.sort_unstable();
    found
}

const SMALL: Limits = Limits {
    file_bytes: 2000,
    ..Limits::STANDARD
};

#[test]
fn taints_are_found_in_the_current_file_and_in_rotated_ones() {
    let directory = journal_with_taints(60, SMALL);
    assert!(files_of(directory.path()).unwrap().len() > 5);
    let all: Vec<u64> = (1..=20).map(|n| n * 3).collect();
    assert_eq!(found(directory.path(), u64::MAX), all);
}

#[test]
fn no_more_is_read_than_was_asked_for_and_the_newest_first() {
    let directory = journal_with_taints(60, SMALL);
    let files = files_of(directory.path()).unwrap();
    let length = |path| fs::metadata(path).unwrap().len();
    let total: u64 = files.iter().map(length).sum();
    let mut before = 0;
    for bytes in (0..total).step_by(173) {
        let found = found(directory.path(), bytes);
        // The last ones, without a gap.
        let expected: Vec<u64> = (1..=20).map(|n| n * 3).skip(20 - found.len()).collect();
        assert_eq!(found, expected, "{bytes} bytes");
        assert!(found.len() >= before, "{bytes} bytes");
        before = found.len();
    }
    assert!(found(directory.path(), total / 2).len() < 15);
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let directory = journal_with_taints(60, SMALL);
    let files = files_of(directory.path()).unwrap();
    // A file that is a directory: open, but no line of it can be read. Root may read everything else.
    let broken = &files[files.len() - 2];
    fs::remove_file(broken).unwrap();
    fs::create_dir(broken).unwrap();
    // And a line that is none, and one that is being written.
    append_bytes(
        &directory.path().join(FILE_NAME),
        b"{\"v\":1,\"kind\":\"tainted\"\n{\"v\":1,\"kind\":\"tainted\"",
    );
    let mut found = Vec::new();
    let read = recent(directory.path(), Kind::Tainted, u64::MAX, |line| {
        found.push(line.record.container_id.unwrap());
    });
    let error = read.unwrap_err().to_string();
    assert!(error.contains(&*broken.to_string_lossy()), "{error}");
    assert!(found.contains(&"3".to_owned()), "{found:?}");
    assert!(found.contains(&"60".to_owned()), "{found:?}");
}

#[test]
fn the_time_of_the_last_record_is_found_also_behind_a_torn_one_and_in_a_rotated_file() {
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(last_at(empty.path()).unwrap(), None);
    for limits in [SMALL, Limits::STANDARD] {
        let began = phoenixd::clock::wall_now();
        let directory = journal_with_taints(60, limits);
        let at = last_at(directory.path()).unwrap().unwrap();
        let ended = phoenixd::clock::wall_now();
        let second = jiff::SignedDuration::from_secs(1);
        assert!(began - second <= at && at <= ended, "{began} {at} {ended}");
        let current = directory.path().join(FILE_NAME);
        append_bytes(&current, b"{\"v\":1,\"seq\":");
        assert_eq!(last_at(directory.path()).unwrap(), Some(at));
        // Right after a rotation the current file has nothing yet.
        fs::write(&current, "").unwrap();
        let found = last_at(directory.path()).unwrap();
        let is_rotated = files_of(directory.path()).unwrap().len() > 1;
        assert_eq!(found.is_some_and(|found| found <= at), is_rotated);
    }
}
