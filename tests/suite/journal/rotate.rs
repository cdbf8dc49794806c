//! Many files, one chain: rotated by size, removed after a record, and verifiable whatever step was the last.

use std::fs;
use std::path::{Path, PathBuf};

use phoenixd::journal::{
    Checked, Error, FILE_NAME, From, Heads, Journal, Kind, Limits, Why, files_of, read_all, verify,
    verify_all,
};

use super::follow::following;
use super::{DEADLINE, append_bytes, durable, record, wait};

/// A file of some ten records.
const SMALL: Limits = Limits {
    file_bytes: 4096,
    total_bytes: u64::MAX / 2,
    files: 1000,
};

/// A directory with a closed journal of several files.
fn rotated_journal(records: u64, limits: Limits) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open_with(directory.path(), limits).unwrap();
    for n in 1..=records {
        durable(journal.append(record(n))).unwrap();
    }
    wait(journal.close()).unwrap();
    directory
}

fn check(directory: &Path) -> Result<Checked, Error> {
    verify_all(&files_of(directory).unwrap(), Heads::default())
}

fn why(result: Result<Checked, Error>) -> (String, u64, Why) {
    match result {
        Err(Error::Broken { path, source }) => {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, source.line, source.why)
        }
        other => panic!("{other:?}"),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files_of(directory).unwrap().into_iter().map(name).collect()
}

#[test]
fn a_file_of_its_size_is_rotated_and_one_chain_goes_through_all() {
    let directory = rotated_journal(40, SMALL);
    let checked = check(directory.path()).unwrap();
    assert!(checked.files.len() > 3, "{checked:?}");
    assert_eq!(checked.base.seq, 0);
    let mut next = 1;
    for (path, records) in &checked.files {
        let verified = verify(path).unwrap();
        assert_eq!((verified.base.seq + 1, verified.records), (next, *records));
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != FILE_NAME {
            assert_eq!(name, format!("journal-{next:012}.jsonl"));
        }
        next += records;
    }
    // Every record is there once, and each file but the first begins with the head of the one before it.
    let lines: Vec<_> = read_all(directory.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let began = lines
        .iter()
        .filter(|line| line.record.kind == Kind::Began)
        .count();
    assert_eq!((began, lines.len() as u64), (40, checked.records));
    assert_eq!(lines.len() as u64, checked.head.seq);
    let continued = lines
        .iter()
        .filter(|line| line.record.kind == Kind::Continued);
    assert_eq!(continued.count(), checked.files.len() - 1);

    // The next supervisor goes on with it.
    let (journal, recovered) = Journal::open_with(directory.path(), SMALL).unwrap();
    assert_eq!(recovered.head, checked.head);
    wait(journal.close()).unwrap();
}

#[test]
fn a_follower_goes_over_rotations_and_misses_nothing() {
    let directory = rotated_journal(25, SMALL);
    let path = directory.path().join(FILE_NAME);
    let before = check(directory.path()).unwrap().head.seq;
    let all = following(&path, From::Start, None);
    let new = following(&path, From::End, None);
    let (journal, _) = Journal::open_with(directory.path(), SMALL).unwrap();
    for n in 0..60 {
        durable(journal.append(record(n))).unwrap();
    }
    let head = wait(journal.close()).unwrap().seq;
    assert!(names(directory.path()).len() > 6);
    for seq in 1..=head {
        assert_eq!(all.recv_timeout(DEADLINE).unwrap(), Some(seq));
    }
    for seq in before + 1..=head {
        assert_eq!(new.recv_timeout(DEADLINE).unwrap(), Some(seq));
    }
}

#[test]
fn the_oldest_files_go_after_a_record_of_what_they_were() {
    let few = Limits { files: 3, ..SMALL };
    let directory = rotated_journal(80, few);
    let checked = check(directory.path()).unwrap();
    assert_eq!(checked.files.len(), 3);
    assert!(checked.base.seq > 40, "{checked:?}");

    let small = Limits {
        total_bytes: 3 * 4096 + 2048,
        ..SMALL
    };
    let directory = rotated_journal(80, small);
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let total: u64 = files_of(directory.path()).unwrap().iter().map(bytes).sum();
    assert!(total <= 4 * 4096, "{total}");
    assert!(check(directory.path()).unwrap().base.seq > 30);
}

#[test]
fn files_that_go_without_a_record_are_missed() {
    let oldest = rotated_journal(40, SMALL);
    let files = files_of(oldest.path()).unwrap();
    let removed = verify(&files[0]).unwrap().records;
    fs::remove_file(&files[0]).unwrap();
    let (first, last) = (1, removed);
    let second = names(oldest.path())[0].clone();
    assert_eq!(
        why(check(oldest.path())),
        (second, 1, Why::Missing { first, last })
    );

    let middle = rotated_journal(40, SMALL);
    let files = files_of(middle.path()).unwrap();
    let gone = verify(&files[1]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let (first, last) = (gone.base.seq + 1, gone.head.seq);
    let next = names(middle.path())[1].clone();
    assert_eq!(
        why(check(middle.path())),
        (next, 1, Why::Missing { first, last })
    );

    // Of another journal, with the same numbers.
    let (one, other) = (rotated_journal(40, SMALL), rotated_journal(40, SMALL));
    let name = names(one.path())[1].clone();
    fs::copy(other.path().join(&name), one.path().join(&name)).unwrap();
    assert_eq!(why(check(one.path())), (name, 1, Why::Forked));
}

#[test]
fn a_changed_byte_in_any_file_is_found_there() {
    let directory = rotated_journal(40, SMALL);
    for path in files_of(directory.path()).unwrap() {
        let whole = fs::read(&path).unwrap();
        let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for at in (end + 1..2 * end).step_by(23) {
            let mut changed = whole.clone();
            changed[at] ^= 0x02;
            fs::write(&path, changed).unwrap();
            let (name, line, _) = why(check(directory.path()));
            assert_eq!(
                (name.as_str(), line),
                (path.file_name().unwrap().to_str().unwrap(), 2)
            );
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(check(directory.path()).is_ok());
}

#[test]
fn a_crash_between_any_two_steps_of_a_rotation_leaves_what_verifies_and_goes_on() {
    let end = |directory: &Path| check(directory).unwrap().head;
    let go_on = |directory: &Path, before: u64| {
        let (journal, _) = Journal::open_with(directory, SMALL).unwrap();
        let seq = durable(journal.append(record(99))).unwrap();
        assert!(seq > before);
        wait(journal.close()).unwrap();
        let checked = check(directory).unwrap();
        assert_eq!((checked.head.seq, checked.base.seq), (seq, 0));
        assert_eq!(checked.notes, Vec::<String>::new());
    };
    let ready = || {
        let directory = rotated_journal(9, Limits::STANDARD);
        let rotated = directory.path().join("journal-000000000001.jsonl");
        fs::rename(directory.path().join(FILE_NAME), rotated).unwrap();
        directory
    };
    // Renamed, and nothing more.
    let directory = ready();
    assert_eq!(end(directory.path()).seq, 9);
    go_on(directory.path(), 9);

    // The new file is there and empty.
    let directory = ready();
    fs::write(directory.path().join(FILE_NAME), "").unwrap();
    assert_eq!(end(directory.path()).seq, 9);
    go_on(directory.path(), 9);

    // Its first record is torn, at any byte.
    let whole = {
        let directory = ready();
        go_on(directory.path(), 9);
        fs::read(directory.path().join(FILE_NAME)).unwrap()
    };
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in (1..=line).step_by(13) {
        let directory = ready();
        fs::write(directory.path().join(FILE_NAME), &whole[..cut]).unwrap();
        let checked = check(directory.path()).unwrap();
        assert_eq!((checked.head.seq, checked.torn_bytes), (9, cut as u64));
        go_on(directory.path(), 9);
    }

    // A removal is recorded, and the file is still there: it is put back, as if it had never gone.
    let directory = rotated_journal(30, SMALL);
    let files = files_of(directory.path()).unwrap();
    let kept = fs::read(&files[0]).unwrap();
    let fewer = Limits {
        files: files.len() - 1,
        ..SMALL
    };
    let (journal, _) = Journal::open_with(directory.path(), fewer).unwrap();
    durable(journal.append(record(1))).unwrap();
    wait(journal.close()).unwrap();
    assert!(!files[0].exists() && files[1].exists());
    assert_eq!(
        check(directory.path()).unwrap().base,
        verify(&files[1]).unwrap().base
    );
    fs::write(&files[0], kept).unwrap();
    assert_eq!(check(directory.path()).unwrap().base.seq, 0);
}

#[test]
fn a_torn_rotated_file_is_not_built_upon() {
    let directory = rotated_journal(9, Limits::STANDARD);
    let rotated = directory.path().join("journal-000000000001.jsonl");
    fs::rename(directory.path().join(FILE_NAME), &rotated).unwrap();
    append_bytes(&rotated, b"{\"v\":1");
    assert!(matches!(
        Journal::open(directory.path()),
        Err(Error::Broken { source, .. }) if source.why == Why::NotARecord && source.line == 10
    ));
}

#[test]
fn an_exported_head_shows_that_a_chain_was_rewritten_or_cut_off() {
    let directory = rotated_journal(40, SMALL);
    let checked = check(directory.path()).unwrap();
    let files = files_of(directory.path()).unwrap();
    let ends: Vec<_> = files
        .iter()
        .map(|path| verify(path).unwrap().head)
        .collect();
    let heads = |hash: &str| {
        let mut heads = Heads::default();
        heads.add(hash);
        heads
    };
    for head in &ends {
        let found = verify_all(&files, heads(&head.hash)).unwrap();
        assert_eq!((found.heads_found, &found.head), (1, &checked.head));
    }
    let line = |head: &phoenixd::journal::Head| {
        format!(
            "{{\"seq\":{},\"head\":\"{}\",\"at\":\"x\"}}\n",
            head.seq, head.hash
        )
    };
    let text = ends.iter().map(line).collect::<Vec<_>>().concat();
    let exported = directory.path().join("heads");
    fs::write(&exported, text).unwrap();
    let numbered = || {
        let mut heads = Heads::default();
        heads.add_file(&exported).unwrap();
        heads
    };
    assert_eq!(
        verify_all(&files, numbered()).unwrap().heads_found,
        ends.len()
    );

    // The same deeds, written anew by somebody who may do everything: the chain holds, the heads tell.
    let forged = rotated_journal(40, SMALL);
    let all = files_of(forged.path()).unwrap();
    assert!(verify_all(&all, Heads::default()).is_ok());
    assert!(matches!(
        verify_all(&all, heads(&ends[0].hash)),
        Err(Error::Rewritten { .. })
    ));
    assert!(matches!(
        verify_all(&all, numbered()),
        Err(Error::Rewritten { .. })
    ));
    // The end is cut off, at the border of a record.
    fs::remove_file(files.last().unwrap()).unwrap();
    let cut = files_of(directory.path()).unwrap();
    assert!(verify_all(&cut, Heads::default()).is_ok());
    assert!(matches!(
        verify_all(&cut, numbered()),
        Err(Error::Rewritten { .. })
    ));
}

#[test]
fn heads_older_than_what_is_kept_are_counted_and_not_complained_of() {
    let few = Limits { files: 3, ..SMALL };
    let directory = rotated_journal(80, few);
    let files = files_of(directory.path()).unwrap();
    let base = verify(&files[0]).unwrap().base;
    let exported = directory.path().join("heads");
    let text = format!(
        "{{\"seq\":3,\"head\":\"{}\"}}\n{{\"seq\":{},\"head\":\"{}\"}}\n",
        "ab".repeat(32),
        base.seq,
        base.hash
    );
    fs::write(&exported, text).unwrap();
    let mut heads = Heads::default();
    heads.add_file(&exported).unwrap();
    let checked = verify_all(&files, heads).unwrap();
    assert_eq!((checked.heads_found, checked.heads_too_old), (1, 1));
}

#[test]
fn a_file_that_was_moved_away_is_noted_with_the_record_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    durable(journal.append(record(1))).unwrap();
    let path = directory.path().join(FILE_NAME);
    let away = directory.path().join("kept-elsewhere");
    fs::rename(&path, &away).unwrap();
    durable(journal.append(record(2))).unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!(
        checked.notes,
        ["records 1 to 1 are not here: the file was moved away, as record 2 says"]
    );
    let both = verify_all(&[path, away], Heads::default()).unwrap();
    assert_eq!((both.records, both.notes.len()), (3, 0));
}
