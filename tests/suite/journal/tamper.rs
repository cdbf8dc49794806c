//! Curious hands: what was changed is found, with its line, and is never built upon.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use phoenixd::journal::{
    Broken, Error, FILE_NAME, Heads, Journal, Kind, Why, files_of, read_lines, verify, verify_all,
};

use super::{append_bytes, durable, journal_of, kinds, lines, record, wait};

fn broken(result: Result<impl std::fmt::Debug, Error>) -> Broken {
    let Err(Error::Broken { source, .. }) = result else {
        panic!("{result:?}");
    };
    source
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
fn a_flipped_bit_anywhere_before_the_last_record_is_refused_with_what_to_do() {
    let (directory, path) = journal_of(4);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for at in 0..ends[2] {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, changed).unwrap();
        let line = ends.iter().filter(|end| **end < at).count() as u64 + 1;
        let found = broken(verify(&path));
        assert!(
            found.line == line || found.line == line + 1,
            "byte {at}: {found}"
        );
        if at % 97 == 0 {
            let error = Journal::open(directory.path()).unwrap_err();
            let message = phoenixd::report::Chain(&error).to_string();
            assert!(message.contains("`mv "), "{message}");
        }
    }
    fs::write(&path, whole).unwrap();
    assert!(Journal::open(directory.path()).is_ok());
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
    assert_eq!(durable(journal.append(record(2))).unwrap(), 3);
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

/// As `sed -i` does it.
fn edited(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let other = path.with_extension("new");
    fs::write(&other, text.replacen("began", "ended", 1)).unwrap();
    fs::rename(&other, path).unwrap();
}

#[test]
fn what_replaces_or_removes_the_file_costs_no_record_and_is_told_by_verify() {
    for (tamper, told) in [
        (
            &edited as &dyn Fn(&Path),
            "the file was replaced by another",
        ),
        (
            &|path: &Path| fs::remove_file(path).unwrap(),
            "the file was removed",
        ),
        (
            &|path: &Path| append_bytes(path, b"forged\n"),
            "the file was changed from outside",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        durable(journal.append(record(1))).unwrap();
        let before = fs::read(&path).unwrap();
        tamper(&path);
        durable(journal.append(record(2))).unwrap();
        let files = files_of(directory.path()).unwrap();
        let checked = verify_all(&files, Heads::default()).unwrap();
        assert_eq!(checked.records, 3, "{told}");
        assert_eq!(fs::read(&files[0]).unwrap(), before, "{told}");
        assert_eq!(checked.notes.len(), 1, "{told}");
        assert!(checked.notes[0].contains(told), "{:?}", checked.notes);
        assert!(
            checked.notes[0].contains("record 2 "),
            "{:?}",
            checked.notes
        );
    }
}

#[test]
fn a_file_that_is_replaced_while_nothing_is_written_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let path = directory.path().join(FILE_NAME);
    durable(journal.append(record(1))).unwrap();
    let mut status = journal.status();
    status.borrow_and_update();
    edited(&path);
    wait(status.changed()).unwrap();
    assert_eq!(kinds(&path), [Kind::Continued]);
}

#[test]
fn records_that_were_lost_to_who_changed_the_file_fail_verify_until_a_copy_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let path = directory.path().join(FILE_NAME);
    durable(journal.append(record(1))).unwrap();
    let copy = directory.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    drop(File::create(&path).unwrap());
    durable(journal.append(record(2))).unwrap();
    let mut files = files_of(directory.path()).unwrap();
    let lost = verify_all(&files, Heads::default()).unwrap_err();
    assert_eq!(
        broken(Err::<(), _>(lost)).to_string(),
        "line 1 comes after the records 1 to 1, which are not here: it says that the file was changed from outside"
    );
    files.push(copy);
    assert_eq!(verify_all(&files, Heads::default()).unwrap().records, 3);
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

/// Where `up` and `down` open it. A panic would hide which line it is, and what to do.
#[test]
fn a_changed_journal_is_an_error_inside_a_runtime_too() {
    let (directory, path) = journal_of(6);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"seq\":2", "\"seq\":9", 1)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let found = broken(runtime.block_on(async { Journal::open(directory.path()) }));
    assert!((2..=4).contains(&found.line), "{found}");
}
