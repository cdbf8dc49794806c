//! The tree that every Compose file becomes: nodes with place and tag, before anything is known of their meaning.
//!
//! Not here: how it is read (`yaml`), what is done with it as a tree (`interpolate`, `load`), and its meaning
//! (`project`, `service`, `phoenix`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::scalar;

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

    /// Text that was made on the way; it is never taken for a number or a boolean.
    pub(super) fn text(place: &Place, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self::leaf(place.clone(), None, Value::Text(text.into())))
    }

    /// A scalar without quotes: `true`, `80`.
    pub(super) fn plain(place: &Place, text: impl fmt::Display) -> Arc<Self> {
        let value = Value::Text(format!("{text}"));
        Arc::new(Self {
            plain: true,
            ..Self::leaf(place.clone(), None, value)
        })
    }

    /// Nothing.
    pub(super) fn null(place: &Place) -> Arc<Self> {
        Arc::new(Self::leaf(place.clone(), None, Value::Null))
    }

    /// A list that was made on the way.
    pub(super) fn list(place: &Place, items: Vec<Arc<Self>>) -> Arc<Self> {
        Self::of(place, Value::List(items))
    }

    /// A mapping that was made on the way.
    pub(super) fn map(place: &Place, entries: Vec<Entry>) -> Arc<Self> {
        Self::of(place, Value::Map(entries))
    }

    fn of(place: &Place, value: Value) -> Arc<Self> {
        let mut node = Self::leaf(place.clone(), None, value);
        node.weigh();
        Arc::new(node)
    }

    /// Counts again what stands below, after a change.
    fn weigh(&mut self) {
        let (mut weight, mut bytes, mut depth) = (1_usize, 0_usize, 0_usize);
        let mut add = |child: &Self, key: usize| {
            weight = weight.saturating_add(child.weight);
            bytes = bytes.saturating_add(child.bytes).saturating_add(key);
            depth = depth.max(child.depth + 1);
        };
        match &self.value {
            Value::Null | Value::Text(_) => return,
            Value::List(items) => items.iter().for_each(|item| add(item, 0)),
            Value::Map(entries) => {
                for entry in entries {
                    add(&entry.value, entry.key.len());
                }
            }
        }
        (self.weight, self.bytes, self.depth) = (weight, bytes, depth);
    }

    /// The same node with other pairs.
    pub(super) fn with_entries(&self, entries: Vec<Entry>) -> Arc<Self> {
        Self::map(&self.place, entries)
    }

    /// The same node with other items.
    pub(super) fn with_items(&self, items: Vec<Arc<Self>>) -> Arc<Self> {
        Self::list(&self.place, items)
    }

    /// Puts a value under a key, in the place of the one that is there.
    pub(super) fn set(self: &mut Arc<Self>, key: &str, value: Arc<Self>) {
        let node = Arc::make_mut(self);
        let Value::Map(entries) = &mut node.value else {
            return;
        };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry {
                key: key.to_owned(),
                key_place: value.place.clone(),
                value,
            }),
        }
        node.weigh();
    }

    /// Takes a pair out.
    pub(super) fn remove(self: &mut Arc<Self>, key: &str) -> Option<Entry> {
        let at = (self.entries().iter()).position(|entry| entry.key == key)?;
        let node = Arc::make_mut(self);
        let Value::Map(entries) = &mut node.value else {
            return None;
        };
        let entry = entries.remove(at);
        node.weigh();
        Some(entry)
    }

    /// Changes the value under a key, where there is one.
    pub(super) fn change(
        self: &mut Arc<Self>,
        key: &str,
        change: impl FnOnce(&Arc<Self>) -> Option<Arc<Self>>,
    ) {
        if let Some(changed) = self.get(key).and_then(change) {
            self.set(key, changed);
        }
    }

    /// Changes every value of a mapping.
    pub(super) fn map_values(&self, mut change: impl FnMut(&Entry) -> Arc<Self>) -> Arc<Self> {
        let entries = self.entries().iter().map(|entry| Entry {
            key: entry.key.clone(),
            key_place: entry.key_place.clone(),
            value: change(entry),
        });
        self.with_entries(entries.collect())
    }

    /// The value under a key of a mapping, `key:` included.
    pub(super) fn get(&self, key: &str) -> Option<&Arc<Self>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The same, where something is written behind the key.
    pub(super) fn some(&self, key: &str) -> Option<&Arc<Self>> {
        self.get(key).filter(|node| !node.is_null())
    }

    /// Whether there is nothing: `key:`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Whether it is a mapping.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    /// The text of a scalar, as it is written.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a scalar that is passed on as text whatever it is, as docker compose would write it.
    pub(super) fn printed(&self) -> Option<Cow<'_, str>> {
        let text = self.as_text()?;
        let resolved = self.plain.then(|| scalar::resolved(text)).flatten();
        Some(resolved.map_or(Cow::Borrowed(text), Cow::Owned))
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self) -> &[Arc<Self>] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Text(_) | Value::Map(_) => &[],
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

    /// Whether it says the same, wherever it is written.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Text(_), Value::Text(_)) => self.printed() == other.printed(),
            (Value::List(own), Value::List(others)) => {
                own.len() == others.len() && own.iter().zip(others).all(|(a, b)| a.same(b))
            }
            (Value::Map(own), Value::Map(others)) => {
                own.len() == others.len()
                    && own.iter().all(|entry| {
                        other
                            .get(&entry.key)
                            .is_some_and(|value| entry.value.same(value))
                    })
            }
            (Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_), _) => false,
        }
    }
}

impl Entry {
    /// A pair that was made on the way.
    pub(super) fn made(key: impl Into<String>, value: Arc<Node>) -> Self {
        Self {
            key: key.into(),
            key_place: value.place.clone(),
            value,
        }
    }
}

/// A mapping in the making, which knows its keys: many of them cost no more than a few.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    entries: Vec<Entry>,
    places: BTreeMap<String, usize>,
}

impl Mapping {
    /// Beginning with the pairs of a mapping.
    pub(super) fn of(node: &Node) -> Self {
        let mut mapping = Self::default();
        for entry in node.entries() {
            mapping.put(entry.clone());
        }
        mapping
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Arc<Node>> {
        let place = self.places.get(key)?;
        self.entries.get(*place).map(|entry| &entry.value)
    }

    /// Puts a pair in the place of the one with its key, or at the end.
    pub(super) fn put(&mut self, entry: Entry) {
        let known = self.places.get(&entry.key);
        if let Some(earlier) = known.and_then(|place| self.entries.get_mut(*place)) {
            *earlier = entry;
        } else {
            self.places.insert(entry.key.clone(), self.entries.len());
            self.entries.push(entry);
        }
    }

    /// The mapping.
    pub(super) fn node(self, place: &Place) -> Arc<Node> {
        Node::map(place, self.entries)
    }
}
