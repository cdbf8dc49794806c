//! What is held of the documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use phoenixd::spec::{Allow, Phoenix};

use super::{Problems, Uses, files, hold, none, read, root};
use crate::cli;

/// What stands in backticks.
pub(super) fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The cells of each row of each table, header and rule left out where they have no backticks.
pub(super) fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split(" | ").map(str::trim).collect())
}

/// The text from a heading to the next one of its level or above.
pub(super) fn section<'a>(text: &'a str, heading: &str) -> &'a str {
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
pub(super) fn table_of_uses(architecture: &str) -> Uses {
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
pub(super) fn names_each(document: &str, text: &str, what: &str, names: &[String]) -> Problems {
    let is_there =
        |name: &String| text.contains(&format!("`{name}`")) || text.contains(&format!("`{name} "));
    names
        .iter()
        .filter(|name| !is_there(name))
        .map(|name| format!("{document}: does not name the {what} `{name}`"))
        .collect()
}

/// Paths of this repository that a document names have to be there.
pub(super) fn paths_exist(document: &str, text: &str) -> Problems {
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
pub(super) fn quoted_after(text: &str, word: &str) -> Vec<String> {
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

pub(super) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

pub(super) fn documents() -> Vec<(String, String)> {
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
    keys.retain(|key| !["probe", "backoff", "network", "edge"].contains(&key.as_str()));
    keys.extend(
        quoted_after(&source, "const PROBE_KEYS")
            .iter()
            .map(|key| format!("probe.{key}")),
    );
    keys.extend(["base", "cap", "budget"].map(|key| format!("backoff.{key}")));
    keys.extend(["listen", "connect", "enforce"].map(|key| format!("network.{key}")));
    let edge = quoted_after(&read("src/compose/edge.rs"), "const KEYS");
    keys.extend(edge.iter().map(|key| format!("edge.{key}")));
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
fn the_readme_names_every_label_of_an_original() {
    none(&names_each(
        "README.md",
        section(&read("README.md"), "## Adopting what docker compose made"),
        "label",
        &strings(&phoenixd::adopt::SETTINGS),
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
