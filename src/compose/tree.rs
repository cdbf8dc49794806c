//! The tree that every Compose file becomes: nodes with place and tag, before anything is known of their meaning.
//!
//! Not here: how it is read (`yaml`), what is done with it as a tree (`interpolate`), and its meaning (`project`,
//! `service`, `phoenix`).

use std::sync::Arc;

use crate::spec::Place;

/// A value of the file. Shared where an anchor is used several times, so that aliases cost nothing.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is written; for what comes from an anchor, the anchor's text.
    pub(super) place: Place,
    /// A tag that YAML itself gives no meaning: `!reset`.
    pub(super) tag: Option<String>,
    /// What it is.
    pub(super) value: Value,
    /// A scalar without quotes and without a type of its own, and no text that was put in for a variable.
    pub(super) plain: bool,
    /// How many nodes it stands for, with all aliases written out.
    pub(super) weight: usize,
    /// How much text it holds, with all aliases written out.
    pub(super) bytes: usize,
    /// How many levels lie below it.
    pub(super) depth: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing: `key:`, `~`, `null`.
    Null,
    /// A scalar, as it is written (quotes and escapes resolved). Numbers and booleans are read from it where one is
    /// expected: `22:22`, `0440` and `1.10` are never turned into something else on the way.
    Text(String),
    /// A sequence.
    List(Vec<Arc<Node>>),
    /// A mapping, in the order of the file, merged entries last.
    Map(Vec<Entry>),
}

/// A pair of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key is written.
    pub(super) key_place: Place,
    /// The value.
    pub(super) value: Arc<Node>,
}

impl Node {
    /// A node that stands for one.
    pub(super) fn leaf(place: Place, tag: Option<String>, value: Value) -> Self {
        let bytes = match &value {
            Value::Text(text) => text.len(),
            Value::Null | Value::List(_) | Value::Map(_) => 0,
        };
        Self {
            place,
            tag,
            value,
            plain: false,
            weight: 1,
            bytes,
            depth: 0,
        }
    }

    /// The pairs of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// The pair of a mapping with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// What it is, for messages: `a list`.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
