//! `phoenixd journal`, as a person meets it: on a copy of the files, without an engine and without a supervisor.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use phoenixd::journal::{FILE_NAME, Journal, Kind, Limits, Record, files_of, verify};
use phoenixd::spec::ServiceName;

use super::{durable, record, wait};

/// What a terminal must never be given: colour, a cursor's move, a reversed text, a bell, a C1 escape.
const HOSTILE: &str = "a\u{1b}[31mred\u{202e}gpj.exe\u{2066}\u{7}\u{9b}2J\r\nforged line\u{85}";

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phoenixd"))
        .args(["journal"])
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .env("PHOENIXD_STATE_DIR", directory)
        .output()
        .unwrap()
}

fn text(output: &Output, directory: &Path) -> String {
    let name = directory.display().to_string();
    format!(
        "{}{}= {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap()
    )
    .replace(&name, "<dir>")
}

/// A state directory with the journal of project `shop`: some files, and a hostile record at the end.
fn state() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits {
        file_bytes: 2048,
        ..Limits::STANDARD
    };
    let (journal, _) = Journal::open_with(&state.path().join("shop"), limits).unwrap();
    for n in 1..=8 {
        durable(journal.append(record(n))).unwrap();
    }
    let hostile = Record::new(Kind::Seen)
        .service(&ServiceName::new(HOSTILE))
        .action(HOSTILE)
        .reason(HOSTILE.repeat(30_000))
        .detail(HOSTILE, HOSTILE);
    durable(journal.append(hostile)).unwrap();
    wait(journal.close()).unwrap();
    state
}

/// Characters that control a terminal or the direction of text; a newline may end a line.
fn controls(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    let hostile = |char: &char| {
        (char.is_control() && *char != '\n')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(hostile).collect()
}

#[test]
fn verify_says_what_is_there_on_any_copy() {
    let state = state();
    let copy = tempfile::tempdir().unwrap();
    for file in files_of(&state.path().join("shop")).unwrap() {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let directory = copy.path().to_str().unwrap();
    let output = run(copy.path(), &["verify", directory]);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output, copy.path());
    let files = files_of(copy.path()).unwrap();
    let head = verify(files.last().unwrap()).unwrap().head;
    assert!(said.starts_with("chain    holds\n"), "{said}");
    assert!(
        said.contains(&format!("number 1 to {}", head.seq)),
        "{said}"
    );
    assert!(said.contains(&format!("head     {}", head.hash)), "{said}");
    // The project's own, by its name.
    let own = run(state.path(), &["verify", "-p", "shop"]);
    assert!(own.status.success(), "{own:?}");

    // A head that was exported is found; one that is not of this chain is not.
    let found = run(copy.path(), &["verify", directory, "--head", &head.hash]);
    assert!(
        text(&found, copy.path()).contains("exported 1 heads, all found"),
        "{found:?}"
    );
    let other = "ab".repeat(32);
    let missed = run(copy.path(), &["verify", directory, "--head", &other]);
    assert_eq!(missed.status.code(), Some(1), "{missed:?}");
    let bad = run(copy.path(), &["verify", directory, "--head", "abc"]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
}

#[test]
fn verify_names_the_file_and_the_line_and_what_to_do() {
    let state = state();
    let shop = state.path().join("shop");
    let second = files_of(&shop).unwrap()[1].clone();
    let text_before = fs::read_to_string(&second).unwrap();
    fs::write(
        &second,
        text_before.replacen("\"attempt\":7", "\"attempt\":6", 1),
    )
    .unwrap();
    let output = run(state.path(), &["verify", shop.to_str().unwrap()]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), &b""[..])
    );
    let said = text(&output, &shop);
    let name = second.file_name().unwrap().to_str().unwrap();
    assert!(
        said.contains(&format!("error: <dir>/{name}:2: the line was changed")),
        "{said}"
    );
    assert!(said.contains("hint: keep it as evidence"), "{said}");
}

#[test]
fn what_is_shown_is_escaped_and_capped() {
    let state = state();
    for arguments in [
        vec!["show", "-p", "shop"],
        vec!["export", "-p", "shop"],
        vec!["export", "-p", "shop", "--format", "json"],
    ] {
        let output = run(state.path(), &arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(controls(&output.stdout), "", "{arguments:?}");
        assert!(output.stdout.len() < 128 * 1024);
    }
    // The file itself, as `tail -f` shows it.
    for file in files_of(&state.path().join("shop")).unwrap() {
        assert_eq!(controls(&fs::read(file).unwrap()), "");
    }
    let events = Command::new(env!("CARGO_BIN_EXE_phoenixd"))
        .args(["events", "-p", "shop"])
        .env_clear()
        .env("PHOENIXD_STATE_DIR", state.path())
        .output()
        .unwrap();
    assert!(events.status.success() && controls(&events.stdout).is_empty());

    // One line for each record, none of them long.
    let shown = run(state.path(), &["show", "-p", "shop"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let records: u64 = files_of(&state.path().join("shop"))
        .unwrap()
        .iter()
        .map(|file| verify(file).unwrap().records)
        .sum();
    assert_eq!(shown.lines().count() as u64, records);
    assert!(shown.lines().all(|line| line.len() < 4096));
    assert!(shown.contains("bytes more)"), "{shown}");
}

#[test]
fn show_filters_and_an_export_verifies() {
    let state = state();
    let show = |arguments: &[&str]| {
        let all = [&["show", "-p", "shop"], arguments].concat();
        let output = run(state.path(), &all);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(show(&["--kind", "began"]).lines().count(), 8);
    assert_eq!(show(&["--service", "web"]).lines().count(), 8);
    assert_eq!(show(&["--kind", "began", "--tail", "2"]).lines().count(), 2);
    assert_eq!(
        show(&["--since", "1h", "--kind", "began"]).lines().count(),
        8
    );
    assert_eq!(show(&["--since", "2999-01-01T00:00:00Z"]), "");
    let last = show(&["--kind", "began", "--tail", "1"]);
    let (_, last) = last.split_at(24);
    insta::assert_snapshot!(last.trim(), @"9  began     web-8 create (abababababab) generation 2 - the ttl of web-1 ends in 12s attempt=8");
    for bad in [["--kind", "nonsense"], ["--since", "yesterday"]] {
        let output = run(state.path(), &[&["show", "-p", "shop"][..], &bad].concat());
        assert_eq!(output.status.code(), Some(1));
    }

    let output = run(state.path(), &["export", "-p", "shop"]);
    let exported = state.path().join("exported.jsonl");
    fs::write(&exported, &output.stdout).unwrap();
    let checked = verify(&exported).unwrap();
    let own = files_of(&state.path().join("shop")).unwrap();
    assert_eq!(checked.head, verify(own.last().unwrap()).unwrap().head);
    let json = run(state.path(), &["export", "-p", "shop", "--format", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(all.len() as u64, checked.records);
    assert!(
        all.iter()
            .all(|line| line["prev"].is_string() && line["seq"].is_u64())
    );
}

#[test]
fn without_a_journal_it_says_so() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["verify", "show", "export"] {
        let output = run(empty.path(), &[command, "-p", "shop"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output, empty.path()).contains("there is no journal of project `shop`"));
    }
    let output = run(empty.path(), &["verify", FILE_NAME]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
