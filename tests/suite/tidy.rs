//! The architecture and the documents, held by a test: who may use whom, where the outside world enters, how long a
//! file may be, and that what is written for people names everything that there is.
//!
//! Each check is a function over a path and a text, so that the tests at the end can show that it fails when it should.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use phoenixd::spec::{Allow, Phoenix};

use crate::cli;

/// What a check found: one line for each problem.
type Problems = Vec<String>;
/// Who may use whom, as `ARCHITECTURE.md` has it.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Files that may be longer than the rest, with the reason.
const LONG: [(&str, &str); 2] = [
    (
        "src/edge/mod.rs",
        "the contract of the room and its one loop are read together",
    ),
    (
        "src/cli/mod.rs",
        "one table of the commands, each a line or two",
    ),
];
const FILE_LINES: usize = 500;
const MOD_LINES: usize = 80;

/// What may stand in one place only, with that place. The clock is named by everything that reads one.
const ONLY_IN: [(&str, &str); 9] = [
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
const PURE: [&str; 3] = ["src/spec/", "src/compose/", "src/reconcile/"];
const IMPURE: [&str; 22] = [
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

// ---- The repository ------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below these, by its path from the root.
fn files(places: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if extensions.contains(&extension)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing below {places:?}");
    found
}

fn sources() -> Vec<(String, String)> {
    files(&["src"], &["rs"])
}

/// Runs a check over files, and fails with all that it found.
fn hold(files: &[(String, String)], check: impl Fn(&str, &str) -> Problems) {
    let found: Problems = files
        .iter()
        .flat_map(|(path, text)| check(path, text))
        .collect();
    none(&found);
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Rust without comments and without what stands in quotes: what is left is code. Lines keep their numbers.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            body + rest[body..].find(&end).map_or(0, |at| at + end.len())
        } else if next == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|c| *c == '\n'));
        rest = &rest[skip..];
    }
    out
}

/// The number of `#` of a raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// The length of a character in quotes, if one begins here and not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('\'')?;
    let body = tail.strip_prefix('\\').map_or_else(
        || tail.chars().next().map(char::len_utf8),
        |escape| Some(1 + escape.find('\'').filter(|at| *at > 0).unwrap_or(1)),
    )?;
    tail[body..].starts_with('\'').then_some(body + 2)
}

/// Whether a word stands in code on its own.
fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(is_part)
            && !code[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

// ---- Code ----------------------------------------------------------------------------------------------------------

/// The room of a file: `src/edge/mod.rs` -> `edge`, `src/clock.rs` -> `clock`.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split(['/', '.']).next().unwrap_or_default()
}

/// The rooms that the code of a file names: `crate::spec`, `crate::{spec, clock}`, `super::super::spec`.
fn rooms_used(path: &str, code: &str) -> BTreeSet<String> {
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

fn only_what_the_table_allows(uses: &Uses, path: &str, text: &str) -> Problems {
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

fn the_outside_enters_in_one_place(path: &str, text: &str) -> Problems {
    let code = code(text);
    ONLY_IN
        .iter()
        .filter(|(word, place)| !path.starts_with(place) && has_word(&code, word))
        .map(|(word, place)| format!("{path}: `{word}` belongs to {place}"))
        .collect()
}

fn pure_rooms_have_no_outside(path: &str, text: &str) -> Problems {
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

fn opens_with_a_sentence(path: &str, text: &str) -> Problems {
    if text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!(
            "{path}: does not open with `//!`, saying what it is for"
        )]
    }
}

fn is_short_enough(path: &str, text: &str) -> Problems {
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

fn nothing_is_left_for_later(path: &str, text: &str) -> Problems {
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

fn no_registry_is_named(path: &str, text: &str) -> Problems {
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
fn every_dependency_has_its_reason(path: &str, text: &str) -> Problems {
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

// ---- Documents -----------------------------------------------------------------------------------------------------

/// What stands in backticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The cells of each row of each table, header and rule left out where they have no backticks.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split(" | ").map(str::trim).collect())
}

/// The text from a heading to the next one of its level or above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no `{heading}`"));
    let body = &text[start + heading.len() + 2..];
    let level = heading.bytes().take_while(|b| *b == b'#').count();
    let end = (1..=level)
        .filter_map(|n| body.find(&format!("\n{} ", "#".repeat(n))))
        .min();
    &body[..end.unwrap_or(body.len())]
}

/// The table *Who may use whom*.
fn table_of_uses(architecture: &str) -> Uses {
    rows(section(architecture, "## Who may use whom"))
        .filter_map(|cells| {
            let [room, may_use] = cells.as_slice() else {
                return None;
            };
            let room = ticked(room).first()?.to_string();
            let may_use = ticked(may_use).iter().map(ToString::to_string).collect();
            Some((room, may_use))
        })
        .collect()
}

/// What a document has to name, in backticks or bold.
fn names_each(document: &str, text: &str, what: &str, names: &[String]) -> Problems {
    let is_there =
        |name: &String| text.contains(&format!("`{name}`")) || text.contains(&format!("`{name} "));
    names
        .iter()
        .filter(|name| !is_there(name))
        .map(|name| format!("{document}: does not name the {what} `{name}`"))
        .collect()
}

/// Paths of this repository that a document names have to be there.
fn paths_exist(document: &str, text: &str) -> Problems {
    let places = [
        "src/",
        "tests/",
        "scripts/",
        "docs/",
        "compose-examples/",
        ".ci/",
        ".cargo/",
    ];
    let linked = text
        .split("](")
        .skip(1)
        .filter_map(|tail| tail.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains("://"));
    let here = Path::new(document).parent().unwrap_or(Path::new(""));
    let linked = linked.map(|link| here.join(link));
    let plain = |token: &&str| {
        token
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let ticked = ticked(text)
        .into_iter()
        .filter_map(|token| token.split([' ', ':']).next())
        .filter(|token| places.iter().any(|place| token.starts_with(place)))
        .filter(plain)
        .map(PathBuf::from);
    linked
        .chain(ticked)
        .filter(|path| !root().join(path).exists())
        .map(|path| format!("{document}: names {}, which is not there", path.display()))
        .collect()
}

/// The texts in quotes between a word and the next `;`.
fn quoted_after(text: &str, word: &str) -> Vec<String> {
    let at = text.find(word).unwrap_or_else(|| panic!("no `{word}`"));
    let body = &text[at + word.len()..];
    let body = &body[body.find(" = ").unwrap_or_default()..];
    let body = &body[..body.find(';').unwrap_or(body.len())];
    body.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// What becomes of each key of a service, by the table of `src/compose/service/keys.rs`.
fn compose_keys(table: &str) -> BTreeMap<&'static str, BTreeSet<String>> {
    let body = &table[table.find("KEYS: &[").unwrap()..];
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let lines: Vec<&str> = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect();
    for entry in lines.join(" ").split('(') {
        let mut parts = entry.trim_start().splitn(3, '"');
        let (Some(""), Some(key), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let group = match rest.trim_start_matches(',').trim() {
            "bound!" => "honoured",
            "refused" => "refused",
            "NotYet" => "not yet",
            rest if rest.starts_with("Treatment::Harmless") => "without effect",
            _ => continue,
        };
        groups.entry(group).or_default().insert(key.to_owned());
    }
    groups
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn documents() -> Vec<(String, String)> {
    files(
        &[
            "README.md",
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "docs",
            "compose-examples",
        ],
        &["md"],
    )
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
    assert_eq!(of("reconcile"), ["spec"]);
    for room in ["edge", "probe", "journal", "api"] {
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

#[test]
fn the_documents_name_only_files_that_are_there() {
    hold(&documents(), paths_exist);
}

#[test]
fn the_architecture_names_every_room_and_every_invariant() {
    let text = read("ARCHITECTURE.md");
    let mut rooms = Vec::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        rooms.push(if entry.path().is_dir() {
            format!("{name}/")
        } else {
            name
        });
    }
    none(&names_each(
        "ARCHITECTURE.md",
        section(&text, "## The rooms"),
        "room",
        &rooms,
    ));
    let invariants: Vec<&str> = rows(section(&text, "## Invariants"))
        .filter_map(|cells| cells.first().copied())
        .filter(|cell| cell.starts_with('I'))
        .collect();
    let expected: Vec<String> = (1..=14).map(|n| format!("I{n}")).collect();
    assert_eq!(invariants, expected);
}

#[test]
fn the_architecture_names_only_tests_that_are_there() {
    let all: String = files(&["src", "tests"], &["rs"])
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let text = read("ARCHITECTURE.md");
    let missing: Problems = ticked(section(&text, "## Invariants"))
        .into_iter()
        .filter(|token| {
            token.contains('_')
                && token
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .filter(|name| !all.contains(&format!("fn {name}(")))
        .map(|name| format!("ARCHITECTURE.md: there is no test `{name}`"))
        .collect();
    none(&missing);
}

#[test]
fn the_readme_names_every_setting_with_its_default() {
    let readme = read("README.md");
    let source = read("src/compose/phoenix.rs");
    let table = section(&readme, "## Every setting");
    let mut keys = quoted_after(&source, "const KEYS");
    keys.retain(|key| !["probe", "backoff"].contains(&key.as_str()));
    keys.extend(
        quoted_after(&source, "const PROBE_KEYS")
            .iter()
            .map(|key| format!("probe.{key}")),
    );
    keys.extend(["base", "cap", "budget"].map(|key| format!("backoff.{key}")));
    none(&names_each("README.md", table, "setting", &keys));
    let exceptions = Allow::ALL.map(|allow| allow.name().to_owned());
    none(&names_each(
        "README.md",
        section(&readme, "## Hardening"),
        "exception",
        &exceptions,
    ));

    let default = Phoenix::default();
    let show = |span| humantime::format_duration(span).to_string();
    let expected = [
        ("ttl", show(default.ttl)),
        ("drain", show(default.drain)),
        ("surge", default.surge.to_string()),
        ("probe.interval", show(default.probe.interval)),
        ("probe.timeout", show(default.probe.timeout)),
        ("probe.successes", default.probe.successes.to_string()),
        ("probe.failures", default.probe.failures.to_string()),
        ("probe.min_ready", show(default.probe.min_ready)),
        ("probe.deadline", show(default.probe.deadline)),
        ("backoff.base", show(default.backoff.base)),
        ("backoff.cap", show(default.backoff.cap)),
        ("backoff.budget", default.backoff.budget.to_string()),
    ];
    let wrong: Problems = expected
        .into_iter()
        .filter(|(key, value)| {
            !rows(table).any(|cells| {
                cells.first() == Some(&format!("`{key}`").as_str())
                    && cells.get(1).is_some_and(|cell| {
                        let cell = cell.trim_matches('`');
                        cell == value
                            || humantime::parse_duration(cell)
                                .is_ok_and(|span| show(span) == *value)
                    })
            })
        })
        .map(|(key, value)| format!("README.md: the default of `{key}` is `{value}`"))
        .collect();
    none(&wrong);
}

#[test]
fn the_readme_says_of_every_compose_key_what_becomes_of_it() {
    let readme = read("README.md");
    let text = section(&readme, "## Which Compose keys");
    let groups = compose_keys(&read("src/compose/service/keys.rs"));
    let all: usize = groups.values().map(BTreeSet::len).sum();
    assert!(all > 90, "only {all} keys were found in the table");
    for (group, keys) in groups {
        let line = rows(text)
            .find(|cells| {
                cells
                    .first()
                    .is_some_and(|cell| cell.trim_matches('*') == group)
            })
            .unwrap_or_else(|| panic!("no row `{group}`"));
        let named: BTreeSet<String> = ticked(line[1]).into_iter().map(str::to_owned).collect();
        let ticks: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        assert_eq!(
            named,
            keys,
            "the row is to be:\n| {group} | {} |\n",
            ticks.join(" ")
        );
    }
}

#[test]
fn the_readme_names_every_command_and_every_flag() {
    let readme = read("README.md");
    let mut names = cli::commands();
    let mut helps = vec![cli::help(&["-h"])];
    helps.extend(names.iter().map(|name| cli::help(&[name, "-h"])));
    let flags = helps.iter().flat_map(|help| help.split_whitespace());
    let flags = flags.map(|word| word.trim_end_matches([',', '.', ')', '\'']));
    let flags: BTreeSet<&str> = flags.filter(|word| word.starts_with("--")).collect();
    names.extend(strings(&flags.into_iter().collect::<Vec<_>>()));
    names.retain(|name| !["--", "--help", "--version"].contains(&name.trim_matches('\'')));
    let is_there = |name: &String| {
        readme.contains(&format!("`{name}")) || readme.contains(&format!(" {name}"))
    };
    let missing: Problems = names
        .iter()
        .filter(|name| !is_there(name))
        .cloned()
        .collect();
    none(&missing);
    let first = readme.lines().next().unwrap();
    assert!(
        first.contains("not the Lightning"),
        "people look for another phoenixd"
    );
}

#[test]
fn the_readme_names_every_variable_of_the_environment() {
    let source = read("src/config.rs");
    let names = source
        .split("get(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let names = strings(&names.collect::<Vec<_>>());
    assert!(names.len() > 8, "{names:?}");
    none(&names_each(
        "README.md",
        section(&read("README.md"), "## Commands"),
        "variable",
        &names,
    ));
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let text = read("CHANGELOG.md");
    assert!(
        section(&text, "## [Unreleased]").contains("\n- "),
        "nothing is said of what comes next"
    );
}

#[test]
fn decisions_are_numbered_and_say_what_they_cost() {
    let all = files(&["docs/decisions"], &["md"]);
    for ((path, text), number) in all.iter().zip(1..) {
        assert!(
            path.starts_with(&format!("docs/decisions/{number:04}-")),
            "{path} is not number {number}"
        );
        for part in [
            "**Context.**",
            "**Decision.**",
            "**Cost.**",
            "**Rejected.**",
        ] {
            assert!(text.contains(part), "{path} has no {part}");
        }
        assert!(text.lines().count() <= 40, "{path} is too long to be read");
    }
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

/// The checks can fail.
mod negative {
    use super::*;

    #[test]
    fn comments_and_quotes_are_no_code() {
        let text =
            "a(\"tokio \\\" x\"); // tokio\nlet c = '\"'; b::<'x>(r#\"to\"kio\"#) '\\'' tokio";
        assert_eq!(code(text), "a(); \nlet c = ; b::<'x>()  tokio");
    }

    #[test]
    fn a_room_that_reaches_too_far_is_found() {
        let uses = table_of_uses(
            "x\n## Who may use whom\n\n| room | may use |\n|---|---|\n| `spec` | nothing |\n| `edge` | `spec` |\n| `docker` | `spec` |\n",
        );
        let check = |path, text| only_what_the_table_allows(&uses, path, text).len();
        assert_eq!(check("src/edge/mod.rs", "use crate::spec::A;"), 0);
        assert_eq!(check("src/edge/mod.rs", "// use crate::docker::A;"), 0);
        assert_eq!(check("src/edge/mod.rs", "use crate::docker::A;"), 1);
        assert_eq!(
            check("src/edge/pump.rs", "use crate::{spec::{A, B}, docker::C};"),
            1
        );
        assert_eq!(
            check("src/edge/pump.rs", "use crate::{spec::{docker, B}};"),
            0
        );
        assert_eq!(check("src/edge/pump.rs", "use super::super::docker::C;"), 1);
        assert_eq!(check("src/edge/mod.rs", "super::docker::C::new()"), 1);
        assert_eq!(check("src/attic/mod.rs", ""), 1);
    }

    #[test]
    fn the_outside_in_the_wrong_place_is_found() {
        let count = |path, text| the_outside_enters_in_one_place(path, text).len();
        assert_eq!(count("src/docker/calls.rs", "use bollard::Docker;"), 0);
        assert_eq!(count("src/daemon/mod.rs", "use bollard::Docker;"), 1);
        assert_eq!(count("src/daemon/mod.rs", "std::time::Instant::now()"), 1);
        assert_eq!(count("src/daemon/mod.rs", "use std::env;"), 1);
        assert_eq!(count("src/daemon/mod.rs", "env!(\"X\")"), 0);
        let count = |path, text| pure_rooms_have_no_outside(path, text).len();
        assert_eq!(
            count("src/reconcile/plan.rs", "async fn f() { tracing::info!() }"),
            2
        );
        assert_eq!(
            count(
                "src/reconcile/plan.rs",
                "use std::net::IpAddr; use std::sync::Arc;"
            ),
            0
        );
        assert_eq!(count("src/compose/yaml.rs", "use serde_saphyr::x;"), 0);
        assert_eq!(count("src/daemon/mod.rs", "use tokio::x;"), 0);
    }

    #[test]
    fn a_file_without_a_sentence_or_too_long_is_found() {
        assert_eq!(opens_with_a_sentence("a.rs", "use x;\n").len(), 1);
        let lines = |n| "x();\n\n// y\n".repeat(n);
        assert_eq!(is_short_enough("src/a/b.rs", &lines(500)).len(), 0);
        assert_eq!(is_short_enough("src/a/b.rs", &lines(501)).len(), 1);
        assert_eq!(is_short_enough("src/a/mod.rs", &lines(81)).len(), 1);
        let tests = format!("x();\n#[cfg(test)]\n{}", lines(600));
        assert_eq!(is_short_enough("src/a/b.rs", &tests).len(), 0);
    }

    #[test]
    fn what_is_unfinished_unexplained_or_elsewhere_is_found() {
        assert_eq!(
            nothing_is_left_for_later("a", concat!("// TO", "DO: x")).len(),
            1
        );
        assert_eq!(
            no_registry_is_named("a", concat!("image: gh", "cr.io/x")).len(),
            1
        );
        let manifest = "[dependencies]\n# Why.\na = 1\nb = 1\n\nc = 1\n[lints]\nd = 1\n";
        assert_eq!(
            every_dependency_has_its_reason("Cargo.toml", manifest).len(),
            1
        );
        assert_eq!(
            paths_exist(
                "README.md",
                "`src/nowhere.rs` [x](docs/nothing.md) [y](https://x/)"
            )
            .len(),
            2
        );
        assert_eq!(
            paths_exist("README.md", "`src/lib.rs` [x](LICENSE) `tests/suite/*.rs`"),
            [""; 0]
        );
        assert_eq!(
            names_each("R", "`a` b `c D`", "key", &strings(&["a", "b", "c"])).len(),
            1
        );
    }

    #[test]
    fn the_table_of_keys_is_read() {
        let table = "KEYS: &[(&str, T)] = &[\n    (\"a\", bound!(a)),\n    // why\n    (\"b\", Treatment::Harmless),\n    (\n        \"c\",\n        refused(\n            False,\n            \"no (never)\",\n            \"x\",\n        ),\n    ),\n    (\"d\", NotYet(\"e\")),\n];";
        let groups = compose_keys(table);
        let of = |group| groups[group].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(
            (
                of("honoured"),
                of("refused"),
                of("not yet"),
                of("without effect")
            ),
            (vec!["a"], vec!["c"], vec!["d"], vec!["b"])
        );
        assert_eq!(
            quoted_after("const KEYS: [&str; 2] = [\"a\", \"b\"];", "const KEYS"),
            ["a", "b"]
        );
    }
}
