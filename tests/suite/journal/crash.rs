//! Crashes, full disks, kill -9: what was durable stays, what was torn is cut and told.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use phoenixd::journal::{FILE_NAME, Journal, Kind, NotDurable, verify};

use super::{append_bytes, durable, journal_of, kinds, lines, record, wait};

/// Invariant I10. What a crash leaves of an append is a beginning of it, whatever was in one write.
#[test]
fn a_crash_at_any_byte_leaves_a_journal_that_verifies_once_the_torn_record_is_cut() {
    let (directory, path) = journal_of(3);
    let whole = fs::read(&path).unwrap();
    for end in 0..=whole.len() {
        let left = &whole[..end];
        fs::write(&path, left).unwrap();
        let records = left.split(|byte| *byte == b'\n').count() as u64 - 1;
        let torn = left.rsplit(|byte| *byte == b'\n').next().unwrap();

        let (journal, recovered) = Journal::open(directory.path()).unwrap();
        let cuts = u64::from(!torn.is_empty());
        assert_eq!(recovered.head.seq, records + cuts, "{end}");
        match recovered.cut {
            None => assert!(torn.is_empty(), "{end}"),
            Some(cut) => {
                assert_eq!(cut.bytes, torn.len() as u64);
                assert_eq!(fs::read(&cut.kept_in).unwrap(), torn);
                let line = lines(&path).pop().unwrap();
                assert_eq!(line.record.kind, Kind::Cut);
                assert_eq!(line.record.detail["bytes"], cut.bytes);
            }
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

/// The variable by which a test of this binary, run again as a child, knows that it is one.
const CHILD: &str = "PHOENIXD_JOURNAL_TEST_CHILD";

/// This test alone, as a child in `directory`, started by a shell after `prelude`.
fn child(test: &str, directory: &Path, prelude: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "{prelude} exec \"$0\" --exact \"journal::crash::{test}\" --nocapture"
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
