//! What binding a tree by hand is made of: a node with its path, and the readers of lists, mappings and scalars that
//! several keys share.
//!
//! A reader gives `None` after it has reported why; the caller goes on with the next key, so that all problems come
//! at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::problems::Problems;
use super::scalar::{self, Typed};
use super::suggest;
use super::tree::{Node, Value};
use crate::spec::{Place, byte_size, go_duration};

/// A node and the keys that lead to it.
#[derive(Clone, Debug)]
pub(super) struct At<'n> {
    /// The node.
    pub(super) node: &'n Node,
    trail: Rc<Trail<'n>>,
}

/// The way to a node, from its end; written out only for a message, as keys may be long and nodes many.
#[derive(Debug)]
enum Trail<'n> {
    Start(String),
    Key(Rc<Self>, &'n str),
    Item(Rc<Self>, usize),
}

impl Trail<'_> {
    /// The last key.
    fn name(&self) -> String {
        match self {
            Self::Start(start) => start.rsplit('.').next().unwrap_or_default().to_owned(),
            Self::Key(_, key) => (*key).to_owned(),
            Self::Item(before, index) => format!("{}[{index}]", before.name()),
        }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => f.write_str(start),
            Self::Key(before, key) => match &**before {
                Self::Start(start) if start.is_empty() => f.write_str(key),
                Self::Start(_) | Self::Key(..) | Self::Item(..) => write!(f, "{before}.{key}"),
            },
            Self::Item(before, index) => write!(f, "{before}[{index}]"),
        }
    }
}

/// A pair of a mapping.
#[derive(Debug)]
pub(super) struct Pair<'n> {
    /// The key.
    pub(super) key: &'n str,
    /// Where the key stands.
    pub(super) key_place: &'n Place,
    /// The value.
    pub(super) value: At<'n>,
}

impl<'n> At<'n> {
    /// A node under a path.
    pub(super) fn new(node: &'n Node, path: impl Into<String>) -> Self {
        Self {
            node,
            trail: Rc::new(Trail::Start(path.into())),
        }
    }

    fn child(&self, key: &'n str, node: &'n Node) -> Self {
        let trail = Rc::new(Trail::Key(Rc::clone(&self.trail), key));
        Self { node, trail }
    }

    /// `services.web.ports[0]`
    pub(super) fn path(&self) -> impl fmt::Display + use<'n> {
        Rc::clone(&self.trail)
    }

    /// Whether there is nothing: `key:`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The text of a scalar.
    pub(super) fn as_text(&self) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The items of a list.
    pub(super) fn as_list(&self) -> Option<Vec<At<'n>>> {
        match &self.node.value {
            Value::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| At {
                        node,
                        trail: Rc::new(Trail::Item(Rc::clone(&self.trail), index)),
                    })
                    .collect(),
            ),
            Value::Null | Value::Text(_) | Value::Map(_) => None,
        }
    }

    /// The pairs of a mapping.
    pub(super) fn as_map(&self) -> Option<Vec<Pair<'n>>> {
        match &self.node.value {
            Value::Map(entries) => Some(
                entries
                    .iter()
                    .map(|entry| Pair {
                        key: &entry.key,
                        key_place: &entry.key_place,
                        value: self.child(&entry.key, &entry.value),
                    })
                    .collect(),
            ),
            Value::Null | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The value under a key of a mapping; `None` where it is not written, or written without a value.
    pub(super) fn get(&self, key: &str) -> Option<At<'n>> {
        self.node
            .entry(key)
            .map(|entry| self.child(&entry.key, &entry.value))
            .filter(|at| !at.is_null())
    }

    /// The text of a scalar, or an error.
    pub(super) fn text(&self, out: &mut Problems) -> Option<&'n str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong_type("a single value", out);
        }
        text
    }

    /// The text of a value that is passed on as text whatever it is, as docker compose would write it.
    fn passed_on(&self, out: &mut Problems) -> Option<Cow<'n, str>> {
        let text = self.text(out)?;
        let resolved = if self.node.plain {
            scalar::resolved(text)
        } else {
            None
        };
        Some(resolved.map_or(Cow::Borrowed(text), Cow::Owned))
    }

    /// The items of a list, or an error.
    pub(super) fn list(&self, out: &mut Problems) -> Option<Vec<At<'n>>> {
        let items = self.as_list();
        if items.is_none() {
            self.wrong_type("a list", out);
        }
        items
    }

    /// The pairs of a mapping, or an error.
    pub(super) fn map(&self, out: &mut Problems) -> Option<Vec<Pair<'n>>> {
        let pairs = self.as_map();
        if pairs.is_none() {
            self.wrong_type("a mapping", out);
        }
        pairs
    }

    /// The pairs of a mapping with a fixed set of keys, those of other tools (`x-…`) left out; unknown keys and
    /// anything but a mapping are errors.
    pub(super) fn fields(&self, known: &[&str], out: &mut Problems) -> Option<Vec<Pair<'n>>> {
        let pairs = self.map(out)?;
        let (pairs, unknown): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .filter(|pair| !pair.key.starts_with("x-") || known.contains(&pair.key))
            .partition(|pair| known.contains(&pair.key));
        for pair in unknown {
            let whose = match self.path().to_string().as_str() {
                "" => "a Compose file".to_owned(),
                path => format!("`{path}`"),
            };
            out.error_at(
                pair.key_place,
                pair.value.path(),
                "unknown-key",
                format!("`{}` is not a key of {whose}", pair.key),
                suggest::hint(pair.key, known),
            );
        }
        Some(pairs)
    }

    /// Reports that it should have been something else.
    pub(super) fn wrong_type(&self, wanted: &str, out: &mut Problems) {
        let name = match self.trail.name().as_str() {
            "" => "the file".to_owned(),
            key => format!("`{key}`"),
        };
        let hint = if wanted == "a single value" {
            "write the value on the same line, and quote it if it looks like something else"
        } else if wanted.contains("mapping") {
            "write `key: value` on lines of their own, indented"
        } else {
            "write `[one, two]`, or each item on a line of its own after `- `"
        };
        let message = format!("{name} must be {wanted}, not {}", self.node.kind());
        out.error(self, "wrong-type", message, hint);
    }

    /// Reports that the value is none of those that it may have.
    pub(super) fn invalid(
        &self,
        message: impl Into<String>,
        hint: impl Into<String>,
        out: &mut Problems,
    ) {
        out.error(self, "invalid-value", message, hint);
    }
}

/// Scalars.
impl At<'_> {
    /// A text; `None` also for an empty one, which means "not given".
    pub(super) fn some_text(&self, out: &mut Problems) -> Option<String> {
        self.text(out)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// `true` or `false`, in YAML 1.1's spellings as well, as Compose takes them.
    pub(super) fn boolean(&self, out: &mut Problems) -> Option<bool> {
        let text = self.text(out)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
            _ => {
                let message = format!("`{text}` is neither true nor false");
                self.invalid(message, "write `true` or `false`", out);
                None
            }
        }
    }

    /// A whole number between the two.
    pub(super) fn integer(&self, min: i64, max: i64, out: &mut Problems) -> Option<i64> {
        let text = self.text(out)?;
        // As docker compose reads it: without quotes by YAML's rules (`010` is eight), in quotes in decimal digits.
        let number = match scalar::typed(self.node) {
            Typed::Int(number) => i64::try_from(number).ok(),
            Typed::Text(text) => text.parse().ok(),
            Typed::Null | Typed::Bool(_) | Typed::Float(_) | Typed::Date(_) | Typed::Tree => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Some(number),
            Some(number) => {
                let hint = if max == i64::MAX {
                    format!("write a number of {min} or more")
                } else {
                    format!("write a number from {min} to {max}")
                };
                self.invalid(format!("{number} is out of range"), hint, out);
                None
            }
            None => {
                let message = format!("`{text}` is not a whole number");
                self.invalid(message, "write decimal digits only", out);
                None
            }
        }
    }

    /// A number of bytes: `64m`.
    pub(super) fn bytes(&self, out: &mut Problems) -> Option<i64> {
        let text = self.text(out)?;
        let read = match scalar::typed(self.node) {
            Typed::Int(number) => i64::try_from(number).ok().filter(|number| *number >= 0),
            Typed::Text(_) | Typed::Float(_) => byte_size(text).ok(),
            Typed::Null | Typed::Bool(_) | Typed::Date(_) | Typed::Tree => None,
        };
        if read.is_none() {
            let message = format!("`{text}` is not a size");
            let hint = "write a number with one of b, k, m, g, t (powers of 1024), such as `512m`";
            self.invalid(message, hint, out);
        }
        read
    }

    /// A duration of Compose's own keys: `1m30s`.
    pub(super) fn go_duration(&self, out: &mut Problems) -> Option<Duration> {
        let text = self.text(out)?;
        let read = go_duration(text).ok();
        if read.is_none() {
            let message = format!("`{text}` is not a duration");
            let hint = "write numbers with units h, m, s, ms, us, such as `1m30s`";
            self.invalid(message, hint, out);
        }
        read
    }

    /// One of a few words.
    pub(super) fn one_of<'w>(&self, words: &[&'w str], out: &mut Problems) -> Option<&'w str> {
        let text = self.text(out)?;
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let name = self.trail.name();
            let message = format!("`{text}` is not a value of `{name}`");
            self.invalid(message, suggest::hint(text, words), out);
        }
        found.copied()
    }
}

/// Lists and mappings of scalars.
impl<'n> At<'n> {
    /// A list of single values; each with its place.
    pub(super) fn texts(&self, out: &mut Problems) -> Option<Vec<(&'n str, At<'n>)>> {
        let items = self.list(out)?;
        let texts = items
            .into_iter()
            .filter_map(|item| item.text(out).map(|text| (text, item)));
        Some(texts.collect())
    }

    /// A list of single values, or one of them by itself.
    pub(super) fn text_or_texts(&self, out: &mut Problems) -> Option<Vec<(&'n str, At<'n>)>> {
        match self.as_text() {
            Some(text) => Some(vec![(text, self.clone())]),
            None if self.as_list().is_none() => {
                self.wrong_type("a single value or a list", out);
                None
            }
            None => self.texts(out),
        }
    }

    /// A list of single values without repetition.
    pub(super) fn unique_texts(&self, out: &mut Problems) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for (text, item) in self.texts(out)? {
            if seen.insert(text) {
                texts.push(text.to_owned());
            } else {
                let message = format!("`{text}` stands here twice");
                item.invalid(message, "remove one of them", out);
            }
        }
        Some(texts)
    }

    /// `KEY: value`, or a list of `KEY=value`; a key without a value is `None`.
    pub(super) fn key_values(
        &self,
        out: &mut Problems,
    ) -> Option<BTreeMap<String, (Option<String>, At<'n>)>> {
        let mut found = BTreeMap::new();
        let mut add = |key: &str, value: Option<&str>, at: At<'n>, out: &mut Problems| {
            if key.is_empty() {
                at.invalid("there is no name before `=`", "write `NAME=value`", out);
            } else if found.contains_key(key) {
                let message = format!("`{key}` stands here twice");
                at.invalid(message, "remove one of them", out);
            } else {
                found.insert(key.to_owned(), (value.map(str::to_owned), at));
            }
        };
        if let Some(pairs) = self.as_map() {
            for pair in pairs {
                if pair.value.is_null() {
                    add(pair.key, None, pair.value, out);
                } else if let Some(text) = pair.value.passed_on(out) {
                    add(pair.key, Some(&text), pair.value, out);
                }
            }
            return Some(found);
        }
        if self.as_list().is_none() {
            self.wrong_type("a mapping or a list", out);
            return None;
        }
        for (text, item) in self.texts(out)? {
            match text.split_once('=') {
                Some((key, value)) => add(key, Some(value), item, out),
                None => add(text, None, item, out),
            }
        }
        Some(found)
    }

    /// The same where a key without a value has an empty one: labels, annotations.
    pub(super) fn labels(&self, out: &mut Problems) -> Option<BTreeMap<String, String>> {
        let pairs = self.key_values(out)?;
        Some(
            pairs
                .into_iter()
                .map(|(key, (value, _))| (key, value.unwrap_or_default()))
                .collect(),
        )
    }

    /// A mapping of single values: the options of a driver.
    pub(super) fn options(&self, out: &mut Problems) -> Option<BTreeMap<String, String>> {
        let mut options = BTreeMap::new();
        for pair in self.map(out)? {
            if pair.value.is_null() {
                options.insert(pair.key.to_owned(), String::new());
            } else if let Some(text) = pair.value.passed_on(out) {
                options.insert(pair.key.to_owned(), text.into_owned());
            }
        }
        Some(options)
    }
}
