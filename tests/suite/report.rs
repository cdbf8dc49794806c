//! What people are shown is short, points at the place, and cannot take over their terminal.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use phoenixd::report::{Chain, duration, escape, escape_json, render};
use phoenixd::spec::{Diagnostic, Place};

const COMPOSE: &str = "services:
  web:
    image: \"nginx:1.27\"
    x-phoenix:
      ttll: 1h
      allow: [root, docker]
";

fn place(line: u32, column: u32) -> Place {
    Place {
        file: Arc::new(PathBuf::from("compose.yaml")),
        line,
        column,
    }
}

fn sources(text: &str) -> BTreeMap<PathBuf, String> {
    BTreeMap::from([(PathBuf::from("compose.yaml"), text.to_owned())])
}

fn unknown_key(line: u32, column: u32) -> Diagnostic {
    let path = "services.web.x-phoenix.ttll";
    Diagnostic::error(
        "unknown-key",
        Some(place(line, column)),
        path,
        "`ttll` is not a setting",
    )
}

#[test]
fn a_diagnostic_shows_its_place_its_line_and_what_to_do() {
    let diagnostics = [
        unknown_key(5, 7).hint("did you mean `ttl`?"),
        Diagnostic::warning(
            "no-digest",
            Some(place(3, 12)),
            "services.web.image",
            "the image is not pinned",
        ),
        Diagnostic::error(
            "refused",
            Some(place(6, 21)),
            "",
            "`docker` is not an exception",
        ),
    ];
    insta::assert_snapshot!(render(&diagnostics, &sources(COMPOSE), false), @r#"
error[unknown-key]: `ttll` is not a setting
 --> compose.yaml:5:7
  |
5 |       ttll: 1h
  |       ^^^^ services.web.x-phoenix.ttll
  |
  = help: did you mean `ttl`?

warning[no-digest]: the image is not pinned
 --> compose.yaml:3:12
  |
3 |     image: "nginx:1.27"
  |            ^^^^^^^^^^^^ services.web.image

error[refused]: `docker` is not an exception
 --> compose.yaml:6:21
  |
6 |       allow: [root, docker]
  |                     ^^^^^^

2 errors, 1 warning
"#);
}

#[test]
fn a_diagnostic_without_its_source_still_names_its_place() {
    let diagnostics = [
        unknown_key(5, 7).hint("did you mean `ttl`?"),
        Diagnostic::error(
            "empty",
            Some(Place::file("other.yaml")),
            "",
            "the file is empty",
        ),
        Diagnostic::warning(
            "no-edge",
            None,
            "services.web",
            "nothing reaches the service",
        ),
    ];
    insta::assert_snapshot!(render(&diagnostics, &BTreeMap::new(), false), @r#"
error[unknown-key]: `ttll` is not a setting
--> compose.yaml:5:7
 = note: at services.web.x-phoenix.ttll
 = help: did you mean `ttl`?

error[empty]: the file is empty
--> other.yaml

warning[no-edge]: nothing reaches the service
 |
 = note: at services.web

2 errors, 1 warning
"#);
}

#[test]
fn a_place_beyond_the_source_is_no_reason_to_fail() {
    for (line, column) in [
        (0, 0),
        (1, 0),
        (1, 999),
        (6, 1),
        (7, 1),
        (999, 1),
        (u32::MAX, u32::MAX),
    ] {
        let shown = render(&[unknown_key(line, column)], &sources(COMPOSE), false);
        assert!(
            shown.starts_with("error[unknown-key]: `ttll` is not a setting"),
            "{shown}"
        );
        assert!(shown.ends_with("1 error, 0 warnings\n"), "{shown}");
    }
    assert_eq!(render(&[], &sources(COMPOSE), true), "");
}

#[test]
fn a_long_line_is_cut_around_its_caret() {
    let line = format!("a: {}{{bad: 1}}{}", "x".repeat(5000), "y".repeat(5000));
    insta::assert_snapshot!(render(&[unknown_key(1, 5005)], &sources(&line), false), @r#"
error[unknown-key]: `ttll` is not a setting
 --> compose.yaml:1:5005
  |
 ::: 
1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{bad: 1}yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
  |                                          ^^^ services.web.x-phoenix.ttll

1 error, 0 warnings
"#);
}

#[test]
fn nothing_in_an_input_file_reaches_the_terminal_raw() {
    let text = "\ta: \u{1b}[31m\u{202e}é\0 \u{9b}2J \u{7f}bad: 1\r\n";
    let mut diagnostic = Diagnostic::error(
        "hostile",
        Some(place(1, 14)),
        "services.\u{1b}]0;owned\u{7}",
        "`\u{1b}[2J\n\u{2066}` is not a key",
    )
    .hint("remove \u{1b}[31m");
    let shown = render(&[diagnostic.clone()], &sources(text), false);
    assert!(shown.chars().all(|char| char == '\n' || !char.is_control()));
    insta::assert_snapshot!(shown, @r#"
error[hostile]: `\u{1b}[2J\n\u{2066}` is not a key
 --> compose.yaml:1:14
  |
 ::: 
1 |     a: \u{1b}[31m\u{202e}é\u{0} \u{9b}2J \u{7f}bad: 1
  |                                 ^^^^^^^^ services.\u{1b}]0;owned\u{7}
  |
  = help: remove \u{1b}[31m

1 error, 0 warnings
"#);

    // In colour, the only escapes are those that would be there for a harmless file.
    diagnostic.place = Some(Place::file("\u{1b}[31m.yaml"));
    let coloured = render(&[diagnostic], &sources(text), true);
    assert!(coloured.contains("\u{1b}["));
    for part in coloured.split("\u{1b}[").skip(1) {
        let (style, _) = part.split_once('m').unwrap();
        assert!(
            style
                .chars()
                .all(|char| char.is_ascii_digit() || char == ';'),
            "{style}"
        );
    }
    assert!(!coloured.contains("\u{1b}[31m") && !coloured.contains("\u{1b}]"));
}

#[derive(Debug)]
struct Failed(&'static str, Option<Box<Failed>>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.1.as_deref()?)
    }
}

fn chain(texts: &[&'static str]) -> String {
    let error = texts
        .iter()
        .rev()
        .fold(None, |cause, text| Some(Box::new(Failed(text, cause))))
        .unwrap();
    Chain(&*error).to_string()
}

#[test]
fn a_chain_of_errors_says_each_thing_once() {
    for (texts, shown) in [
        (
            &["cannot start web-3", "no such image"][..],
            "cannot start web-3: no such image",
        ),
        (
            &["cannot start: no such image", "no such image"],
            "cannot start: no such image",
        ),
        (
            &["no such image", "no such image", "404"],
            "no such image: 404",
        ),
        (&["a (b)", "b", "c"], "a (b): c"),
        (&["exit code 15", "5"], "exit code 15: 5"),
        (&["a", "", "b"], "a: b"),
        (&["x\n\u{1b}[31m", "y"], "x\\n\\u{1b}[31m: y"),
    ] {
        assert_eq!(chain(texts), shown);
    }
}

#[test]
fn control_characters_are_shown_and_languages_are_left_alone() {
    for (text, shown) in [
        (
            "web-3 ist tot: é 日本語 مرحبا 👩🚒",
            "web-3 ist tot: é 日本語 مرحبا 👩🚒",
        ),
        (
            "a\tb\r\n\0\u{1b}[0m\u{7f}",
            "a\\tb\\r\\n\\u{0}\\u{1b}[0m\\u{7f}",
        ),
        ("\u{85}\u{9b}1m", "\\u{85}\\u{9b}1m"),
        (
            "\u{202a}\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}",
            "\\u{202a}\\u{202e}\\u{2066}\\u{2069}\\u{200f}\\u{61c}",
        ),
        ("a\u{2028}b", "a\\u{2028}b"),
        // What cannot be seen would make two texts look the same.
        (
            "c\u{200b}u\u{200d}r\u{2060}l\u{feff}\u{ad}\u{3164}\u{fe0f}\u{e0041}",
            "c\\u{200b}u\\u{200d}r\\u{2060}l\\u{feff}\\u{ad}\\u{3164}\\u{fe0f}\\u{e0041}",
        ),
    ] {
        assert_eq!(escape(text), shown);
    }
    let json = "\"c\u{200b}\u{e0041}\"";
    assert_eq!(escape_json(json), "\"c\\u200b\\udb40\\udc41\"");
    let same: String = serde_json::from_str(&escape_json(json)).unwrap();
    assert_eq!(same, "c\u{200b}\u{e0041}");
}

#[test]
fn a_duration_has_at_most_two_units() {
    for (millis, shown) in [
        (0, "0s"),
        (1, "1ms"),
        (980, "980ms"),
        (1_000, "1s"),
        (1_250, "1.2s"),
        (9_999, "9.9s"),
        (12_900, "12s"),
        (60_000, "1m"),
        (252_000, "4m 12s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),
        (3_900_000, "1h 5m"),
        (86_400_000, "1d"),
        (86_400_000 * 400 + 3_600_000 * 4, "400d 4h"),
    ] {
        assert_eq!(duration(Duration::from_millis(millis)), shown);
    }
    assert_eq!(duration(Duration::from_micros(999)), "<1ms");
    assert!(duration(Duration::MAX).ends_with('h'));
}
