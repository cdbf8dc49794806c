//! How errors and diagnostics look to people.
//!
//! What is shown here comes from outside: input files, container names, an engine's messages. Every text passes
//! [`escape`] on its way, so that none of it can move a terminal's cursor, colour it, or reverse what is read.
//!
//! Not here: deciding what is an error (`spec`, `compose`), and writing to the terminal (`cli`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::spec::{Diagnostic, Place, Severity};

/// Prints an error and what caused it, `: ` between them, escaped. A cause whose text its effect already includes is
/// not said twice: libraries differ in who says it.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// What an engine or a build says may be any length.
        const CHARACTERS: usize = 4096;
        let mut shown = self.0.to_string();
        f.write_str(&brief(&shown, CHARACTERS))?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !mentions(&shown, &text) {
                write!(f, ": {}", brief(&text, CHARACTERS))?;
                shown = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

/// Whether `text` stands in `shown`, as words of its own.
fn mentions(shown: &str, text: &str) -> bool {
    text.is_empty()
        || shown.match_indices(text).any(|(start, found)| {
            let (before, rest) = shown.split_at(start);
            let after = rest.strip_prefix(found).unwrap_or_default();
            !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
        })
}

/// Renders diagnostics as rustc does, in the order given, with a last line that counts them; empty if there are none.
///
/// `sources` holds the text of the input files by their name in [`Place::file`]; what is not there is shown without its
/// line. With `color`, the result holds ANSI escapes (of ours alone).
pub fn render(
    diagnostics: &[Diagnostic],
    sources: &BTreeMap<PathBuf, String>,
    color: bool,
) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    // Lines are cut to length here, where it is known what must stay visible; the renderer need not.
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .term_width(usize::MAX / 2);
    let lines: BTreeMap<&Path, Vec<&str>> = sources
        .iter()
        .map(|(path, text)| (path.as_path(), text.split('\n').collect()))
        .collect();
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, &lines)]));
        out.push_str("\n\n");
    }
    out.push_str(&summary(diagnostics));
    out.push('\n');
    out
}

/// `2 errors, 1 warning`
fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_error())
        .count();
    let warnings = diagnostics.len().saturating_sub(errors);
    let plural = |count| if count == 1 { "" } else { "s" };
    format!(
        "{errors} error{}, {warnings} warning{}",
        plural(errors),
        plural(warnings)
    )
}

/// One diagnostic, as the renderer takes it.
fn group<'a>(diagnostic: &'a Diagnostic, lines: &BTreeMap<&Path, Vec<&str>>) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(escape(&diagnostic.message))
            .id(diagnostic.code),
    );
    // The path of keys is worth its place only where the message does not name it.
    let mut path = Some(diagnostic.path.as_str())
        .filter(|path| !path.is_empty() && !mentions(&diagnostic.message, path));
    if let Some(place) = &diagnostic.place {
        let excerpt = excerpt_of(place, lines);
        // The renderer counts the column in what it is given; where that is not the line itself, the place comes first.
        let exact = excerpt.as_ref().is_some_and(|excerpt| excerpt.exact);
        if !exact {
            group = group.element(origin(place));
        }
        if let Some(excerpt) = excerpt {
            let caret = AnnotationKind::Primary
                .span(excerpt.span)
                .label(path.take().map(escape));
            group = group.element(
                Snippet::source(excerpt.text)
                    .path(exact.then(|| file_name(place)))
                    .line_start(place.line as usize)
                    .annotation(caret),
            );
        }
    }
    if let Some(path) = path {
        group = group.element(Level::NOTE.message(format!("at {}", escape(path))));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(escape(hint)));
    }
    group
}

fn file_name(place: &Place) -> String {
    escape(&place.file.display().to_string()).into_owned()
}

fn origin(place: &Place) -> Origin<'static> {
    if place.line == 0 {
        return Origin::path(file_name(place));
    }
    Origin::path(file_name(place))
        .line(place.line as usize)
        .char_column(place.column as usize)
}

/// A line of source, escaped and cut to length, and the bytes of it that a caret goes under.
#[derive(PartialEq, Eq, Debug)]
struct Excerpt {
    text: String,
    span: Range<usize>,
    /// The caret stands below the column of the line itself: nothing before it was cut or escaped.
    exact: bool,
}

fn excerpt_of(place: &Place, lines: &BTreeMap<&Path, Vec<&str>>) -> Option<Excerpt> {
    let index = (place.line as usize).checked_sub(1)?;
    let line = *lines.get(place.file.as_path())?.get(index)?;
    let column = (place.column as usize).checked_sub(1)?;
    Some(excerpt(line.strip_suffix('\r').unwrap_or(line), column))
}

/// The part of a line around a column (in characters, from 0).
fn excerpt(line: &str, column: usize) -> Excerpt {
    /// What is shown of a line, in characters; wider ones wrap on a common terminal and hide the caret.
    const WIDTH: usize = 110;
    /// How much of that stands before the column.
    const LEAD: usize = 40;
    let long = line.chars().nth(WIDTH).is_some();
    let from = if long { column.saturating_sub(LEAD) } else { 0 };
    let mut text = String::new();
    if from > 0 {
        text.push('…');
    }
    let mut span = None;
    let caret_chars = token_length(line, column);
    for (index, char) in line.chars().enumerate().skip(from) {
        if index.saturating_sub(from) >= WIDTH {
            text.push('…');
            break;
        }
        let start = text.len();
        push_visible(&mut text, char);
        if index >= column && index < column.saturating_add(caret_chars) {
            let first = span.map_or(start, |span: Range<usize>| span.start);
            span = Some(first..text.len());
        }
    }
    // A column behind the line's end: the caret stands where something is missing.
    let end = text.len();
    let span = span.unwrap_or(end..end);
    let exact = line
        .char_indices()
        .nth(column)
        .is_some_and(|(at, _)| line.get(..at) == text.get(..span.start));
    Excerpt { text, span, exact }
}

/// How many characters from a column on belong together as a YAML key, scalar or quoted text; at least one.
fn token_length(line: &str, column: usize) -> usize {
    let mut rest = line.chars().skip(column).peekable();
    let Some(first) = rest.next() else {
        return 1;
    };
    let mut length = 1;
    if matches!(first, '"' | '\'') {
        let quoted = rest.take_while(|char| *char != first).count();
        return length.max(quoted.saturating_add(2));
    }
    while let Some(char) = rest.next() {
        let ends_key = char == ':' && rest.peek().is_none_or(|next| next.is_whitespace());
        if ends_key || char.is_whitespace() || matches!(char, ',' | ']' | '}') {
            break;
        }
        length += 1;
    }
    length
}

/// A character as a terminal may be given it. A tab becomes spaces, so that the caret stands below what it means.
fn push_visible(text: &mut String, char: char) {
    if char == '\t' {
        text.push_str("    ");
    } else {
        push_escaped(text, char);
    }
}

/// Text for a terminal or a log line: what would control it is shown as an escape (`\n`, `\u{1b}`).
///
/// Escaped are the control characters of ASCII and Latin-1 (C0, DEL, C1), those that change the direction of writing
/// ("Trojan Source", CVE-2021-42574), the line separators, and what cannot be seen: two texts that look the same are the
/// same. Everything else stays, whatever the language.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len().saturating_add(16));
    for char in text.chars() {
        push_escaped(&mut escaped, char);
    }
    Cow::Owned(escaped)
}

/// The same, cut to so many characters; what is cut is counted.
pub fn brief(text: &str, characters: usize) -> String {
    escape(&cut(text, characters)).into_owned()
}

/// Text cut to so many characters; what is cut is counted.
pub fn cut(text: &str, characters: usize) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(characters) else {
        return Cow::Borrowed(text);
    };
    let (kept, cut) = text.split_at(end);
    Cow::Owned(format!("{kept}… ({} bytes more)", cut.len()))
}

/// JSON text for a terminal or a log line: the same characters as in [`escape`], which JSON may hold as they are, become
/// its own escapes (`\u202e`). It stays the same JSON. A line break between values stays, too.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let hostile = |char| is_hostile(char) && char != '\n';
    if !json.contains(hostile) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len().saturating_add(16));
    for char in json.chars() {
        if hostile(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` cannot fail.
                write!(escaped, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            escaped.push(char);
        }
    }
    Cow::Owned(escaped)
}

fn push_escaped(text: &mut String, char: char) {
    if is_hostile(char) {
        text.extend(char.escape_default());
    } else {
        text.push(char);
    }
}

fn is_hostile(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') || is_unseen(char)
}

/// What is drawn as nothing, or changes how its neighbours are drawn: `Default_Ignorable_Code_Point` (Unicode 16,
/// `DerivedCoreProperties.txt`), in which are the marks of direction.
fn is_unseen(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A duration for people, cut off after its second unit: `3d 4h`, `4m 12s`, `1.2s`, `980ms`.
pub fn duration(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs();
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if seconds == 0 {
        return match duration.as_millis() {
            0 => "<1ms".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    if seconds < 10 {
        return match duration.subsec_millis() / 100 {
            0 => format!("{seconds}s"),
            tenths => format!("{seconds}.{tenths}s"),
        };
    }
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if !text.is_empty() {
            if count > 0 {
                // Writing to a `String` cannot fail.
                write!(text, " {count}{name}").unwrap_or_default();
            }
            break;
        }
        if count > 0 {
            write!(text, "{count}{name}").unwrap_or_default();
        }
    }
    text
}
