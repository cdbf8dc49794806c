//! The journal keeps what it was given, through crashes, full disks and curious hands.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use phoenixd::journal::{
    self, Broken, Error, FILE_NAME, From, Head, Journal, Kind, Line, NotDurable, Receipt, Record,
    Why, read_lines, verify,
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

fn broken(result: Result<impl std::fmt::Debug, Error>) -> Broken {
    let Err(Error::Broken { source, .. }) = result else {
        panic!("{result:?}");
    };
    source
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
    let received = following(&directory.path().join(FILE_NAME), From::Start, None);
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

#[test]
fn a_crash_at_any_byte_of_the_last_record_leaves_a_journal_that_verifies() {
    let (directory, path) = journal_of(3);
    let whole = fs::read(&path).unwrap();
    let third = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for end in third..=whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let torn = &whole[third..end];
        let is_torn = !torn.is_empty() && end < whole.len();

        let (journal, recovered) = Journal::open(directory.path()).unwrap();
        let records = if end == whole.len() { 3 } else { 2 };
        assert_eq!(recovered.head.seq, records + u64::from(is_torn), "{end}");
        if is_torn {
            let cut = recovered.cut.unwrap();
            assert_eq!(cut.bytes, torn.len() as u64);
            assert_eq!(fs::read(&cut.kept_in).unwrap(), torn);
            let line = lines(&path).pop().unwrap();
            assert_eq!(line.record.kind, Kind::Cut);
            assert_eq!(line.record.detail["bytes"], cut.bytes);
        } else {
            assert_eq!(recovered.cut, None);
        }
        durable(journal.append(record(9))).unwrap();
        wait(journal.close()).unwrap();
        let verified = verify(&path).unwrap();
        assert_eq!(verified.records, recovered.head.seq + 1);
        assert_eq!(verified.torn_bytes, 0);
    }
}

#[test]
fn a_last_line_that_is_not_json_is_cut_and_recorded() {
    for tail in [&b"\0\0\0\0"[..], b"\0\0\0\0\n", b"{\"v\":1,\"se\n", b"\n"] {
        let (directory, path) = journal_of(2);
        append_bytes(&path, tail);
        assert_eq!(verify(&path).unwrap().torn_bytes, tail.len() as u64);
        let (journal, recovered) = Journal::open(directory.path()).unwrap();
        assert_eq!(recovered.cut.unwrap().bytes, tail.len() as u64);
        assert_eq!(kinds(&path), [Kind::Began, Kind::Began, Kind::Cut]);
        wait(journal.close()).unwrap();
    }
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_crash_between_the_steps_of_a_cut_loses_neither_bytes_nor_record() {
    // After the copy, before the cut: the bytes are there twice and are kept once.
    let (directory, path) = journal_of(2);
    append_bytes(&path, b"{\"v\":1");
    let torn = directory.path().join("journal.torn");
    fs::write(&torn, b"{\"v\":1").unwrap();
    let (journal, recovered) = Journal::open(directory.path()).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!(fs::read(&cut.kept_in).unwrap(), b"{\"v\":1");
    assert!(!torn.exists());
    wait(journal.close()).unwrap();

    // After the cut, in the middle of its record: that is torn too, and one record tells of both.
    fs::write(&torn, b"first").unwrap();
    append_bytes(&path, b"second");
    let (_journal, recovered) = Journal::open(directory.path()).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!(fs::read(&cut.kept_in).unwrap(), b"firstsecond");
    assert_eq!(
        kinds(&path),
        [Kind::Began, Kind::Began, Kind::Cut, Kind::Cut]
    );
}

#[test]
fn a_changed_byte_anywhere_in_the_middle_is_found_with_its_line() {
    let (directory, path) = journal_of(6);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let start = ends[1] + 1;
    for (byte, at) in whole[start..=ends[2]].iter().zip(start as u64..) {
        for mask in [0x01, 0x02, 0x20, 0x80] {
            file.write_all_at(&[byte ^ mask], at).unwrap();
            let found = broken(verify(&path));
            assert_eq!(found.line, 3, "byte {at} with {mask:#x}: {found}");
        }
        file.write_all_at(&[*byte], at).unwrap();
    }
    assert_eq!(verify(&path).unwrap().records, 6);

    let text = String::from_utf8(whole).unwrap();
    fs::write(&path, text.replace("\"attempt\":3", "\"attempt\":1")).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    let message = phoenixd::report::Chain(&error).to_string();
    let message = message.replace(&path.display().to_string(), "<path>");
    insta::assert_snapshot!(message, @"the journal <path> is not as it was written (to keep it as evidence and begin a new one: `mv <path> <path>.broken`): line 3 was changed after it was written");
}

#[test]
fn removed_doubled_and_moved_lines_are_found() {
    let (_directory, path) = journal_of(4);
    let text = fs::read_to_string(&path).unwrap();
    let line: Vec<&str> = text.split_inclusive('\n').collect();
    for (order, expected, found) in [
        (vec![0, 2, 3], 2, 3),
        (vec![1, 2, 3], 1, 2),
        (vec![0, 1, 1, 2], 3, 2),
        (vec![0, 2, 1, 3], 2, 3),
    ] {
        let edited: String = order.iter().map(|at| line[*at]).collect();
        fs::write(&path, edited).unwrap();
        let why = Why::Seq { expected, found };
        assert_eq!(
            broken(verify(&path)),
            Broken {
                line: expected,
                why
            }
        );
    }
    // Renumbered with care, it still does not carry the right hash.
    let forged = line[3].replace("\"seq\":4", "\"seq\":3");
    fs::write(&path, format!("{}{}{forged}", line[0], line[1])).unwrap();
    assert_eq!(
        broken(verify(&path)),
        Broken {
            line: 3,
            why: Why::Unlinked
        }
    );
}

#[test]
fn a_line_of_a_newer_version_is_not_taken_for_tampering() {
    let (_directory, path) = journal_of(2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("{\"v\":1", "{\"v\":2", 1)).unwrap();
    assert_eq!(
        broken(verify(&path)),
        Broken {
            line: 1,
            why: Why::Version(2)
        }
    );
}

#[test]
fn a_file_of_something_else_is_refused_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    // Without a newline it is a torn record, however long.
    File::create(&path).unwrap().set_len(1 << 22).unwrap();
    assert_eq!(verify(&path).unwrap().torn_bytes, 1 << 22);
    append_bytes(&path, b"\nnext\n");
    assert_eq!(
        broken(verify(&path)),
        Broken {
            line: 1,
            why: Why::TooLong
        }
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        Journal::open(directory.path()),
        Err(Error::Open { .. })
    ));
}

#[test]
fn a_journal_that_is_moved_away_is_continued_in_a_new_file_that_names_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let path = directory.path().join(FILE_NAME);
    let old = directory.path().join("old");
    durable(journal.append(record(1))).unwrap();
    fs::rename(&path, &old).unwrap();
    assert_eq!(durable(journal.append(record(2))).unwrap(), 2);
    assert_eq!(kinds(&path), [Kind::Continued, Kind::Began]);
    let first = &lines(&path)[0];
    assert_eq!(
        first.record.detail["previous_hash"],
        verify(&old).unwrap().head.hash
    );
    assert_eq!(verify(&path).unwrap().records, 2);
}

#[test]
fn a_journal_that_is_changed_from_outside_is_set_aside_as_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let path = directory.path().join(FILE_NAME);
    durable(journal.append(record(1))).unwrap();
    let before = fs::read(&path).unwrap();
    for (tamper, left) in [
        (
            &(|path: &Path| append_bytes(path, b"forged\n")) as &dyn Fn(&Path),
            Some(&b"forged\n"[..]),
        ),
        (&|path: &Path| drop(File::create(path).unwrap()), Some(b"")),
        (
            &|path: &Path| {
                fs::remove_file(path).unwrap();
                fs::write(path, "other").unwrap();
            },
            Some(b"other"),
        ),
        (&|path: &Path| fs::remove_file(path).unwrap(), None),
    ] {
        tamper(&path);
        assert!(durable(journal.append(record(2))).is_ok());
        assert_eq!(kinds(&path), [Kind::Continued, Kind::Began]);
        verify(&path).unwrap();
        let aside = lines(&path)[0]
            .record
            .detail
            .get("set_aside")
            .map(|name| fs::read(directory.path().join(name.as_str().unwrap())).unwrap());
        assert_eq!(aside.is_some(), left.is_some());
        assert!(
            aside
                .unwrap_or_default()
                .ends_with(left.unwrap_or_default())
        );
    }
    assert!(!before.is_empty());
}

/// The variable by which a test of this binary, run again as a child, knows that it is one.
const CHILD: &str = "PHOENIXD_JOURNAL_TEST_CHILD";

/// This test alone, as a child in `directory`, started by a shell after `prelude`.
fn child(test: &str, directory: &Path, prelude: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "{prelude} exec \"$0\" --exact \"journal::{test}\" --nocapture"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .current_dir(directory);
    command
}

#[test]
fn a_full_disk_neither_breaks_the_chain_nor_goes_unnoticed() {
    if std::env::var_os(CHILD).is_some() {
        return fill_and_recover(Path::new("."));
    }
    // A limit on the size of files stands for the full disk: writes become short, then fail, as on one.
    let directory = tempfile::tempdir().unwrap();
    let output = child(
        "a_full_disk_neither_breaks_the_chain_nor_goes_unnoticed",
        directory.path(),
        "trap '' XFSZ; ulimit -S -f 8;",
    )
    .output()
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert!(verify(&directory.path().join(FILE_NAME)).is_ok());
}

fn fill_and_recover(directory: &Path) {
    let path = directory.join(FILE_NAME);
    let (journal, _) = Journal::open(directory).unwrap();
    let mut written = 0;
    let error = loop {
        match durable(journal.append(record(written + 1))) {
            Ok(seq) => written = seq,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, NotDurable::Write(error) if error.kind() == io::ErrorKind::FileTooLarge)
    );
    assert!(written > 1);
    // The half-written line is gone, and everything after it fails and says so.
    for lost in 1..=3 {
        let verified = verify(&path).unwrap();
        assert_eq!((verified.records, verified.torn_bytes), (written, 0));
        assert!(journal.failing().is_some());
        assert_eq!(journal.status().borrow().lost, lost);
        assert!(durable(journal.append(record(0))).is_err());
    }
    // There is room again.
    let limit = rustix::process::Rlimit {
        current: None,
        ..rustix::process::getrlimit(rustix::process::Resource::Fsize)
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    assert_eq!(
        durable(journal.append(record(written + 1))).unwrap(),
        written + 2
    );
    assert_eq!(journal.failing(), None);
    let told = &lines(&path)[usize::try_from(written).unwrap()];
    assert_eq!(told.record.kind, Kind::Lost);
    assert_eq!(told.record.detail["records"], 4);
    assert_eq!(wait(journal.close()).unwrap(), verify(&path).unwrap().head);
}

#[test]
fn what_was_durable_survives_kill_9() {
    if std::env::var_os(CHILD).is_some() {
        let (journal, _) = Journal::open(Path::new(".")).unwrap();
        for n in 1..=u64::MAX {
            let receipt = journal.append(record(n));
            journal.note(record(n));
            let seq = durable(receipt).unwrap();
            if writeln!(io::stdout(), "durable {seq}").is_err() {
                return;
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut killed = child("what_was_durable_survives_kill_9", directory.path(), "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(killed.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("durable 2") {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "{text}");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    let said = text
        .lines()
        .filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok())
        .max()
        .unwrap();

    let (_journal, recovered) = Journal::open(directory.path()).unwrap();
    assert!(recovered.head.seq >= said);
    assert!(verify(&directory.path().join(FILE_NAME)).unwrap().records >= said);
}

/// What a follower gives, read by a thread of its own.
fn following(
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
    for seq in [1, 2] {
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

#[test]
fn a_line_that_cannot_be_read_does_not_hide_the_next() {
    let (_directory, path) = journal_of(2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("{\"v\"", "{v", 1)).unwrap();
    let read: Vec<_> = read_lines(&path).unwrap().collect();
    assert!(matches!(&read[0], Err(Error::Line { source, .. }) if source.line == 1));
    assert!(matches!(&read[1], Ok(line) if line.seq == 2));
}
