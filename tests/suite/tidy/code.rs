//! What is held of the sources.

use std::collections::BTreeSet;

use super::documents::{documents, table_of_uses};
use super::lexer::{code, has_word};
use super::{Problems, Uses, files, hold, read, sources};

/// Files that may be longer than the rest, with the reason.
pub(super) const LONG: [(&str, &str); 2] = [
    (
        "src/edge/mod.rs",
        "the contract of the room and its one loop are read together",
    ),
    (
        "src/cli/mod.rs",
        "one table of the commands, each a line or two",
    ),
];
pub(super) const FILE_LINES: usize = 500;
pub(super) const MOD_LINES: usize = 80;

/// What may stand in one place only, with that place. The clock is named by everything that reads one.
pub(super) const ONLY_IN: [(&str, &str); 9] = [
    ("bollard", "src/docker/"),
    ("std::env", "src/config.rs"),
    ("env::var", "src/config.rs"),
    ("clock_gettime", "src/clock.rs"),
    ("Instant::now", "src/clock.rs"),
    ("SystemTime::now", "src/clock.rs"),
    ("Timestamp::now", "src/clock.rs"),
    ("Zoned::now", "src/clock.rs"),
    ("clap", "src/cli/"),
];

/// The rooms without any outside, and what would let it in.
pub(super) const PURE: [&str; 5] = [
    "src/spec/",
    "src/compose/",
    "src/adopt/",
    "src/reconcile/",
    "src/guard/policy/",
];
pub(super) const IMPURE: [&str; 22] = [
    "tokio",
    "tokio_util",
    "futures",
    "hyper",
    "rustix",
    "bollard",
    "tracing",
    "serde",
    "serde_json",
    "rand",
    "async",
    "await",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "std::env",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "HashMap",
];

/// The room of a file: `src/edge/mod.rs` -> `edge`, `src/clock.rs` -> `clock`.
pub(super) fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split(['/', '.']).next().unwrap_or_default()
}

/// The rooms that the code of a file names: `crate::spec`, `crate::{spec, clock}`, `super::super::spec`.
pub(super) fn rooms_used(path: &str, code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut used = BTreeSet::new();
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    let out = "super::".repeat(depth.max(1));
    for prefix in ["crate::", out.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let tail = code[at + prefix.len()..].trim_start();
            let Some(group) = tail.strip_prefix('{') else {
                used.insert(word(tail));
                continue;
            };
            let mut level = 0;
            let ends = group.find(|c| {
                level += i32::from(c == '{') - i32::from(c == '}');
                level < 0
            });
            let mut level = 0;
            for part in group[..ends.unwrap_or(group.len())].split(',') {
                if level == 0 {
                    used.insert(word(part.trim_start()));
                }
                level += part.matches('{').count();
                level -= part.matches('}').count().min(level);
            }
        }
    }
    used.remove(room(path));
    used.remove("super");
    used.remove("");
    used
}

pub(super) fn only_what_the_table_allows(uses: &Uses, path: &str, text: &str) -> Problems {
    let room = room(path);
    if ["lib", "main"].contains(&room) {
        return Vec::new();
    }
    let Some(allowed) = uses.get(room) else {
        return vec![format!(
            "{path}: `{room}` is not in the table of ARCHITECTURE.md"
        )];
    };
    rooms_used(path, &code(text))
        .iter()
        .filter(|used| uses.contains_key(*used) && !allowed.contains(*used))
        .map(|used| format!("{path}: `{room}` may not use `{used}` (ARCHITECTURE.md)"))
        .collect()
}

pub(super) fn the_outside_enters_in_one_place(path: &str, text: &str) -> Problems {
    let code = code(text);
    ONLY_IN
        .iter()
        .filter(|(word, place)| !path.starts_with(place) && has_word(&code, word))
        .map(|(word, place)| format!("{path}: `{word}` belongs to {place}"))
        .collect()
}

pub(super) fn pure_rooms_have_no_outside(path: &str, text: &str) -> Problems {
    if !PURE.iter().any(|room| path.starts_with(room)) {
        return Vec::new();
    }
    let code = code(text);
    IMPURE
        .iter()
        .filter(|word| has_word(&code, word))
        .map(|word| format!("{path}: `{word}` in a pure room"))
        .collect()
}

pub(super) fn opens_with_a_sentence(path: &str, text: &str) -> Problems {
    if text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!(
            "{path}: does not open with `//!`, saying what it is for"
        )]
    }
}

pub(super) fn is_short_enough(path: &str, text: &str) -> Problems {
    let code = code(text);
    let tests = code.find("#[cfg(test)]").unwrap_or(code.len());
    let lines = code[..tests]
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let limit = if path.ends_with("/mod.rs") {
        MOD_LINES
    } else {
        FILE_LINES
    };
    if lines <= limit || LONG.iter().any(|(long, _)| *long == path) {
        return Vec::new();
    }
    vec![format!(
        "{path}: {lines} lines of code, more than {limit}: divide it, or name the reason in `tidy`"
    )]
}

pub(super) fn nothing_is_left_for_later(path: &str, text: &str) -> Problems {
    // Not as one word, or this file would find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimple", "mented!"),
        concat!("to", "do!"),
        concat!("#[ig", "nore"),
        concat!("dbg", "!("),
    ];
    words
        .iter()
        .filter(|word| text.contains(*word))
        .map(|word| format!("{path}: `{word}`"))
        .collect()
}

pub(super) fn no_registry_is_named(path: &str, text: &str) -> Problems {
    let hosts = [
        concat!("gh", "cr.io"),
        concat!("qu", "ay.io"),
        concat!("g", "cr.io"),
        concat!("mcr.", "microsoft.com"),
        concat!("public.", "ecr.aws"),
        concat!("registry-1.", "docker.io"),
        concat!("index.", "docker.io"),
        concat!("hub.", "docker.com"),
        concat!("docker.io", "/"),
    ];
    hosts
        .iter()
        .filter(|host| text.contains(*host))
        .map(|host| format!("{path}: names the registry `{host}`"))
        .collect()
}

/// Dependencies that follow each other without a blank line may share the comment above them.
pub(super) fn every_dependency_has_its_reason(path: &str, text: &str) -> Problems {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut has_reason = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]" || line == "[build-dependencies]";
            has_reason = false;
        } else if line.trim().is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if in_dependencies && !has_reason {
            let name = line.split('=').next().unwrap_or_default().trim();
            found.push(format!("{path}: nothing says why `{name}` is needed"));
        }
    }
    found
}

#[test]
fn each_room_uses_only_what_the_table_of_the_architecture_allows() {
    let uses = table_of_uses(&read("ARCHITECTURE.md"));
    hold(&sources(), |path, text| {
        only_what_the_table_allows(&uses, path, text)
    });
}

#[test]
fn the_table_of_the_architecture_keeps_the_rules_of_the_design() {
    let uses = table_of_uses(&read("ARCHITECTURE.md"));
    let of = |room: &str| -> Vec<&str> { uses[room].iter().map(String::as_str).collect() };
    assert_eq!(of("spec"), [""; 0]);
    assert_eq!(of("compose"), ["spec"]);
    assert_eq!(of("adopt"), ["spec"]);
    assert_eq!(of("reconcile"), ["spec"]);
    for room in ["edge", "probe", "journal", "api", "guard"] {
        assert!(
            !uses[room].contains("docker"),
            "{room} must not know the engine"
        );
    }
    for (room, may_use) in &uses {
        assert!(!may_use.contains("cli"), "nobody uses cli, and {room} does");
    }
}

#[test]
fn the_outside_world_enters_where_the_architecture_says() {
    hold(&sources(), the_outside_enters_in_one_place);
    hold(&sources(), pure_rooms_have_no_outside);
}

#[test]
fn every_file_says_what_it_is_for_and_is_short_enough_to_read() {
    let all = files(&["src", "tests"], &["rs"]);
    hold(&all, opens_with_a_sentence);
    hold(&sources(), is_short_enough);
}

#[test]
fn nothing_unfinished_and_no_registry_is_in_the_repository() {
    let code = files(
        &["src", "tests", "scripts", "Cargo.toml", "Dockerfile"],
        &["rs", "toml", "", "yaml"],
    );
    hold(&code, nothing_is_left_for_later);
    // Names of images in tests of such names; nothing is asked of these hosts.
    let tests_of_names = [
        "src/compose/image.rs",
        "tests/suite/compose/valid/design.yaml",
        "tests/suite/docker/rich.rs",
    ];
    let mut all = code;
    all.extend(documents());
    all.retain(|(path, _)| !tests_of_names.contains(&path.as_str()));
    hold(&all, no_registry_is_named);
}

#[test]
fn every_dependency_says_why_it_is_needed() {
    hold(
        &files(&["Cargo.toml"], &["toml"]),
        every_dependency_has_its_reason,
    );
}

/// `.dockerignore` keeps everything out but what the Dockerfile needs.
#[test]
fn the_build_context_is_small() {
    let text = read(".dockerignore");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.first(), Some(&"*"));
    for wanted in [
        "!src",
        "!.cargo",
        "!Cargo.toml",
        "!Cargo.lock",
        "!LICENSE",
        "!dist/phoenixd",
    ] {
        assert!(lines.contains(&wanted), "{wanted}");
    }
}
