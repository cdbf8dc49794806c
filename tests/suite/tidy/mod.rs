//! The architecture and the documents, held by a test: who may use whom, where the outside world enters, how long a
//! file may be, and that what is written for people names everything that there is.
//!
//! Each check is a function over a path and a text, so that `negative` can show that it fails when it should.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]

mod code;
mod documents;
mod keys;
mod lexer;
mod negative;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a check found: one line for each problem.
type Problems = Vec<String>;
/// Who may use whom, as `ARCHITECTURE.md` has it.
type Uses = BTreeMap<String, BTreeSet<String>>;

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
