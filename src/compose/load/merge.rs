//! One tree over another: several files, and a service over the one that it extends.
//!
//! The rules are those of the Compose Specification (*Merge*), as compose-go 2.9.1 has them (`override/merge.go`):
//! mappings key by key, lists one behind the other, single values replaced; and the exceptions of [`rule`]. What stands
//! in a list twice afterwards is removed by [`super::unique`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compose::problems::Problems;
use crate::compose::tree::{Entry, Node, Value};

/// Lays one file over those before.
pub(super) fn merge(base: &Arc<Node>, over: &Arc<Node>, out: &mut Problems) -> Arc<Node> {
    let path = Vec::new();
    Merge { path, out }.node(base, over)
}

/// Lays a service over the one that it extends.
pub(super) fn extend(
    base: &Arc<Node>,
    over: &Arc<Node>,
    service: &str,
    out: &mut Problems,
) -> Arc<Node> {
    let path = vec!["services".to_owned(), service.to_owned()];
    Merge { path, out }.node(base, over)
}

/// How two values of one key become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// By their kinds.
    Kind,
    /// The later one.
    Replace,
    /// As lists of `KEY=value`, one behind the other.
    Sequence,
    /// The same, each line once.
    Hosts,
    /// As mappings, where a text is the context.
    Build,
    /// As mappings, where a list has the keys, and the defaults of `depends_on`.
    Dependencies,
    /// As mappings, where a list has the keys.
    Keys,
    /// As mappings where both have one driver, else the later one.
    Logging,
    /// Pool by pool, by their subnets.
    Pools,
}

/// The exceptions.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"]
        | ["services", _, "healthcheck", "test"]
        | ["services", _, "ulimits", _] => Rule::Replace,
        [
            "services",
            _,
            "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file"
            | "environment" | "labels" | "sysctls" | "tmpfs",
        ]
        | [
            "services",
            _,
            "build",
            "args" | "additional_contexts" | "labels",
        ]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "volumes", _, "volume", "labels"]
        | ["networks" | "volumes", _, "labels"] => Rule::Sequence,
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => Rule::Hosts,
        ["services", _, "build"] => Rule::Build,
        ["services", _, "depends_on"] => Rule::Dependencies,
        ["services", _, "networks" | "models"] => Rule::Keys,
        ["services", _, "logging"] => Rule::Logging,
        ["networks", _, "ipam", "config"] => Rule::Pools,
        _ => Rule::Kind,
    }
}

struct Merge<'a> {
    path: Vec<String>,
    out: &'a mut Problems,
}

impl Merge<'_> {
    fn node(&mut self, base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match rule(&path) {
            Rule::Kind => self.by_kind(base, over),
            Rule::Replace => Arc::clone(over),
            Rule::Sequence => {
                let mut items = self.sequence(base);
                items.extend(self.sequence(over));
                Node::list(&over.place, items)
            }
            Rule::Hosts => {
                let mut items = self.sequence(base);
                let more = self.sequence(over);
                let known: BTreeSet<_> = items.iter().filter_map(|item| item.printed()).collect();
                let more: Vec<_> = (more.into_iter())
                    .filter(|line| !line.printed().is_some_and(|text| known.contains(&text)))
                    .collect();
                drop(known);
                items.extend(more);
                Node::list(&over.place, items)
            }
            Rule::Build => self.mappings(&build(base), &build(over)),
            Rule::Dependencies => self.mappings(&keys(base, dependency), &keys(over, dependency)),
            Rule::Keys => self.mappings(
                &keys(base, |item| Node::null(&item.place)),
                &keys(over, |item| Node::null(&item.place)),
            ),
            Rule::Logging => {
                let (own, other) = (base.some("driver"), over.some("driver"));
                match (own, other) {
                    (Some(own), Some(other)) if !own.same(other) => Arc::clone(over),
                    _ => self.mappings(base, over),
                }
            }
            Rule::Pools => self.pools(base, over),
        }
    }

    fn by_kind(&mut self, base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
        if over.is_null() {
            return Arc::clone(base);
        }
        match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) => self.mappings(base, over),
            (Value::List(first), Value::List(then)) => {
                let items = first.iter().chain(then).cloned().collect();
                Node::list(&over.place, items)
            }
            (Value::Map(_) | Value::List(_), _) => {
                self.mismatch(base, over);
                Arc::clone(base)
            }
            (Value::Null | Value::Text(_), _) => Arc::clone(over),
        }
    }

    /// Key by key. What is no mapping adds nothing.
    fn mappings(&mut self, base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
        if !base.is_map() && !base.is_null() {
            return self.wrong(base, over);
        }
        if !over.is_map() && !over.is_null() {
            return self.wrong(over, base);
        }
        let mut entries = base.entries().to_vec();
        let places: BTreeMap<&str, usize> = base
            .entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.key.as_str(), index))
            .collect();
        for entry in over.entries() {
            let known = places.get(entry.key.as_str()).copied();
            let Some(first) = known.and_then(|index| entries.get_mut(index)) else {
                entries.push(entry.clone());
                continue;
            };
            self.path.push(entry.key.clone());
            let value = self.node(&first.value, &entry.value);
            self.path.pop();
            *first = Entry {
                key: entry.key.clone(),
                key_place: entry.key_place.clone(),
                value,
            };
        }
        Node::map(&over.place, entries)
    }

    /// Something that should be a mapping; `model::check` says so where it is written, or it is said here.
    fn wrong(&mut self, wrong: &Arc<Node>, kept: &Arc<Node>) -> Arc<Node> {
        self.mismatch(kept, wrong);
        Arc::clone(kept)
    }

    fn mismatch(&mut self, base: &Node, over: &Node) {
        let path = self.path.join(".");
        let key = self.path.last().map_or("the file", String::as_str);
        let message = format!(
            "`{key}` is {} here, and {} in what it is merged with",
            over.kind(),
            base.kind()
        );
        let hint = format!(
            "write it as {}, or put `!override` before it; the other one is at {}:{}",
            base.kind(),
            base.place.file.display(),
            base.place.line
        );
        self.out
            .error_at(&over.place, path, "wrong-type", message, hint);
    }

    /// A mapping as the lines `KEY=value`, sorted; a list as it is.
    fn sequence(&mut self, node: &Arc<Node>) -> Vec<Arc<Node>> {
        match &node.value {
            Value::Null => Vec::new(),
            Value::Text(_) => vec![Arc::clone(node)],
            Value::List(items) => items.clone(),
            Value::Map(entries) => {
                let mut lines: Vec<(String, &Entry)> = Vec::new();
                for entry in entries {
                    if entry.value.is_null() {
                        lines.push((entry.key.clone(), entry));
                        continue;
                    }
                    let values = match &entry.value.value {
                        Value::List(items) => items.as_slice(),
                        Value::Null | Value::Text(_) | Value::Map(_) => {
                            std::slice::from_ref(&entry.value)
                        }
                    };
                    for value in values {
                        match value.printed() {
                            Some(text) => lines.push((format!("{}={text}", entry.key), entry)),
                            None => self.no_line(&entry.key, value),
                        }
                    }
                }
                lines.sort_by(|(a, _), (b, _)| a.cmp(b));
                lines
                    .into_iter()
                    .map(|(line, entry)| Node::text(&entry.value.place, line))
                    .collect()
            }
        }
    }

    fn no_line(&mut self, key: &str, value: &Node) {
        let path = format!("{}.{key}", self.path.join("."));
        let message = format!("`{key}` must be a single value, not {}", value.kind());
        let hint = "write the value on the same line";
        self.out
            .error_at(&value.place, path, "wrong-type", message, hint);
    }

    /// IPAM pools: those of one subnet are merged, others are added.
    fn pools(&mut self, base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
        if !base.is_list() || !over.is_list() {
            return self.by_kind(base, over);
        }
        let subnet = |pool: &Node| {
            pool.some("subnet")
                .and_then(|node| node.printed().map(String::from))
        };
        let mut pools: Vec<Arc<Node>> = Vec::new();
        for first in base.items() {
            for then in over.items() {
                let wanted = subnet(then);
                let known = pools.iter_mut().find(|pool| subnet(pool) == wanted);
                match known {
                    None if subnet(first) != wanted => pools.push(Arc::clone(then)),
                    None => pools.push(self.mappings(first, then)),
                    Some(known) => *known = self.mappings(first, then),
                }
            }
        }
        Node::list(&over.place, pools)
    }
}

/// A context by itself as a mapping.
fn build(node: &Arc<Node>) -> Arc<Node> {
    if node.as_text().is_some() {
        return Node::map(&node.place, vec![Entry::made("context", Arc::clone(node))]);
    }
    Arc::clone(node)
}

/// What a name in the list of `depends_on` stands for.
pub(super) fn dependency(item: &Arc<Node>) -> Arc<Node> {
    let place = &item.place;
    Node::map(
        place,
        vec![
            Entry::made("condition", Node::text(place, "service_started")),
            Entry::made("required", Node::plain(place, "true")),
        ],
    )
}

/// A list of names as a mapping.
pub(super) fn keys(node: &Arc<Node>, value: impl Fn(&Arc<Node>) -> Arc<Node>) -> Arc<Node> {
    if !node.is_list() {
        return Arc::clone(node);
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut known = BTreeSet::new();
    for item in node.items() {
        let Some(name) = item.printed() else {
            continue;
        };
        if known.insert(name.clone()) {
            entries.push(Entry {
                key: name.into_owned(),
                key_place: item.place.clone(),
                value: value(item),
            });
        }
    }
    Node::map(&node.place, entries)
}
