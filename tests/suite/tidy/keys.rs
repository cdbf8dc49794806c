//! The README's table of every Compose key and its fate, made from the tables that decide it.
//!
//! `PHOENIXD_README_UPDATE=1 cargo test --test suite tidy::keys` writes it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;

use phoenixd::compose::{Fate, KeyFate, fates};

use super::{read, root};

const BEGIN: &str = "<!-- every Compose key: begin -->\n";
const END: &str = "<!-- every Compose key: end -->\n";

/// The table's text.
fn table(fates: &[KeyFate]) -> String {
    let mut lists: BTreeMap<(usize, bool), (&str, Vec<String>)> = BTreeMap::new();
    let mut refused: BTreeMap<(usize, &str, &str), (&str, Vec<String>)> = BTreeMap::new();
    let sections: Vec<&str> = fates.iter().map(|one| one.of).collect();
    for one in fates {
        let section = sections.iter().position(|of| *of == one.of).unwrap();
        let key = format!("`{}`", one.key);
        let (_, keys) = match one.fate {
            Fate::Honoured => lists
                .entry((section, false))
                .or_insert((one.of, Vec::new())),
            Fate::NoBusiness => lists.entry((section, true)).or_insert((one.of, Vec::new())),
            Fate::Refused { reason, instead } => refused
                .entry((section, reason, instead))
                .or_insert((one.of, Vec::new())),
        };
        keys.push(key);
    }
    let mut text = String::from("\n| of a | becomes | keys |\n|---|---|---|\n");
    let row = |text: &mut String, cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    };
    for ((_, is_none), (of, keys)) in &lists {
        let becomes = if *is_none {
            "not a phoenix's business"
        } else {
            "honoured"
        };
        row(&mut text, &[of, becomes, &keys.join(" ")]);
    }
    text += "\n| of a | refused | because | instead |\n|---|---|---|---|\n";
    for ((_, reason, instead), (of, keys)) in &refused {
        row(&mut text, &[of, &keys.join(" "), reason, instead]);
    }
    text.push('\n');
    text
}

/// A document with what stands between the markers replaced; `None` where there are no markers.
fn replaced(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[test]
fn the_readme_says_of_every_compose_key_what_becomes_of_it() {
    let readme = read("README.md");
    let wanted = replaced(&readme, &table(&fates())).unwrap();
    if env::var_os("PHOENIXD_README_UPDATE").is_some() {
        fs::write(root().join("README.md"), &wanted).unwrap();
        return;
    }
    assert!(
        readme == wanted,
        "run `PHOENIXD_README_UPDATE=1 cargo test --test suite tidy::keys`"
    );
}

#[test]
fn every_key_has_one_fate_and_a_refusal_says_why() {
    let fates = fates();
    let count = |of| fates.iter().filter(|one| one.of == of).count();
    assert_eq!(
        ["service", "network", "volume", "secret", "config"].map(count),
        [92, 10, 5, 8, 7]
    );
    let mut names: Vec<_> = fates.iter().map(|one| (one.of, one.key)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), fates.len());
    for one in &fates {
        match one.fate {
            Fate::Honoured | Fate::NoBusiness => {}
            Fate::Refused { reason, instead } => {
                assert!(!reason.is_empty() && !instead.is_empty(), "{one:?}");
            }
        }
    }
}

#[test]
fn a_table_that_is_not_the_one_in_the_document_is_found() {
    let document = format!("a\n{BEGIN}old\n{END}b\n");
    assert_eq!(
        replaced(&document, "new\n"),
        Some(format!("a\n{BEGIN}new\n{END}b\n"))
    );
    assert_eq!(replaced("a\n", "new\n"), None);
}
