//! The checks can fail.

use super::code::*;
use super::documents::*;
use super::lexer::code;

#[test]
fn comments_and_quotes_are_no_code() {
    let text = "a(\"tokio \\\" x\"); // tokio\nlet c = '\"'; b::<'x>(r#\"to\"kio\"#) '\\'' tokio";
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
fn quoted_words_after_a_name_are_read() {
    assert_eq!(
        quoted_after("const KEYS: [&str; 2] = [\"a\", \"b\"];", "const KEYS"),
        ["a", "b"]
    );
}
