//! The tags `!reset` and `!override`: what they stand on is taken out of the files before, and `!reset` is nothing in
//! its own file either.
//!
//! As compose-go 2.9.1 has it (`loader/reset.go`; Compose Specification, *Merge*): the tags are found before the merge
//! and the places remembered; the files before lose what stands there. Nothing is ever taken out of a list.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::compose::tree::{Entry, Node, Value};

/// The keys that lead to a value; the items of a list are `[]`.
pub(super) type KeyPath = Vec<String>;

/// The tree without the tags, and where they were.
pub(super) fn take(root: &Arc<Node>) -> (Arc<Node>, Vec<KeyPath>) {
    let mut taker = Taker {
        path: Vec::new(),
        found: Vec::new(),
    };
    let root = taker
        .node(root)
        .unwrap_or_else(|| Node::map(&root.place, Vec::new()));
    (root, taker.found)
}

struct Taker {
    path: KeyPath,
    found: Vec<KeyPath>,
}

impl Taker {
    fn node(&mut self, node: &Arc<Node>) -> Option<Arc<Node>> {
        match node.tag.as_deref() {
            Some("!reset") => {
                self.found.push(self.path.clone());
                return None;
            }
            Some("!override") => {
                self.found.push(self.path.clone());
                let mut untagged = Node::clone(node);
                untagged.tag = None;
                return Some(Arc::new(untagged));
            }
            Some(_) | None => {}
        }
        match &node.value {
            Value::Null | Value::Text(_) => Some(Arc::clone(node)),
            Value::List(items) => {
                self.path.push("[]".to_owned());
                let kept = items.iter().filter_map(|item| self.node(item)).collect();
                self.path.pop();
                Some(Self::rebuilt(node, Value::List(kept)))
            }
            Value::Map(entries) => {
                let mut kept = Vec::new();
                for entry in entries {
                    self.path.push(entry.key.clone());
                    let value = self.node(&entry.value);
                    self.path.pop();
                    kept.extend(value.map(|value| Entry {
                        key: entry.key.clone(),
                        key_place: entry.key_place.clone(),
                        value,
                    }));
                }
                Some(Self::rebuilt(node, Value::Map(kept)))
            }
        }
    }

    fn rebuilt(node: &Node, value: Value) -> Arc<Node> {
        Arc::new(Node {
            value,
            ..node.clone()
        })
    }
}

/// Takes what stands at the places out of a tree.
pub(super) fn apply(root: &mut Arc<Node>, paths: &[KeyPath]) {
    if paths.is_empty() {
        return;
    }
    let places: BTreeSet<Vec<&str>> = paths
        .iter()
        .map(|path| path.iter().map(String::as_str).collect())
        .collect();
    *root = without(root, &mut Vec::new(), &places);
}

fn without<'n>(
    node: &'n Arc<Node>,
    path: &mut Vec<&'n str>,
    places: &BTreeSet<Vec<&str>>,
) -> Arc<Node> {
    let is_on_the_way =
        (places.range(path.clone()..).next()).is_some_and(|place| place.starts_with(path));
    if !node.is_map() || !is_on_the_way {
        return Arc::clone(node);
    }
    let mut kept = Vec::new();
    for entry in node.entries() {
        path.push(&entry.key);
        if !places.contains(path) {
            kept.push(Entry {
                value: without(&entry.value, path, places),
                ..entry.clone()
            });
        }
        path.pop();
    }
    node.with_entries(kept)
}
