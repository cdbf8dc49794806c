//! What stands in a list twice after a merge: the later one takes the place of the earlier.
//!
//! Which lists, and what makes two items the same, is compose-go 2.9.1's (`override/uncity.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::short;
use crate::compose::tree::{Node, Value};

/// The tree with every item once.
pub(super) fn unique(root: &Arc<Node>) -> Arc<Node> {
    node(root, &mut Vec::new())
}

/// What makes two items of a list the same.
#[derive(Clone, Copy)]
enum Index {
    /// What stands before `=`.
    Name,
    /// Where a volume is mounted.
    Volume,
    /// What a device is called in the container.
    Device,
    /// Where a file is mounted; by default below this.
    File(&'static str),
    /// The text itself.
    Text,
    /// Address, published port, target and protocol.
    Port,
    /// The path.
    EnvFile,
}

fn index(path: &[&str]) -> Option<Index> {
    let index = match path {
        ["services", _, "volumes"] => Index::Volume,
        ["services", _, "devices"] => Index::Device,
        ["services", _, "configs"] => Index::File(""),
        ["services", _, "secrets"] => Index::File("/run/secrets"),
        ["services", _, "env_file"] => Index::EnvFile,
        ["services", _, "expose"] => Index::Text,
        ["services", _, "ports"] => Index::Port,
        [
            "services",
            _,
            "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search"
            | "environment" | "labels" | "links" | "profiles" | "sysctls" | "tmpfs",
        ]
        | [
            "services",
            _,
            "build",
            "args" | "additional_contexts" | "platform" | "tags" | "labels",
        ]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "networks", _, "aliases" | "link_local_ips"]
        | ["networks", _, "labels"]
        | ["networks", _, "ipam", "options"] => Index::Name,
        _ => return None,
    };
    Some(index)
}

fn node(this: &Arc<Node>, path: &mut Vec<String>) -> Arc<Node> {
    match &this.value {
        Value::Null | Value::Text(_) => Arc::clone(this),
        Value::Map(_) => {
            // Below are only the values of single keys.
            if path.len() > 4 {
                return Arc::clone(this);
            }
            this.map_values(|entry| {
                path.push(entry.key.clone());
                let value = node(&entry.value, path);
                path.pop();
                value
            })
        }
        Value::List(items) => {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            match index(&keys) {
                Some(index) => this.with_items(once(items, index)),
                None => Arc::clone(this),
            }
        }
    }
}

fn once(items: &[Arc<Node>], index: Index) -> Vec<Arc<Node>> {
    let mut kept: Vec<Arc<Node>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let known = key(item, index).map(|key| *places.entry(key).or_insert(kept.len()));
        match known.and_then(|at| kept.get_mut(at)) {
            Some(earlier) => *earlier = Arc::clone(item),
            None => kept.push(Arc::clone(item)),
        }
    }
    kept
}

/// What the item is known by; `None` where it is not what it should be, which is reported elsewhere.
fn key(item: &Node, index: Index) -> Option<String> {
    let printed = |node: &Node| node.printed().map(String::from);
    let field = |name: &str| item.some(name).and_then(|node| printed(node));
    let text = printed(item);
    match (index, text) {
        (Index::Name, Some(text)) => {
            let name = text.split_once('=').map(|(name, _)| name.to_owned());
            Some(name.unwrap_or(text))
        }
        (Index::Text | Index::EnvFile | Index::Port, Some(text)) => Some(text),
        (Index::Volume, Some(text)) => short::volume(&text).ok().map(|volume| volume.target),
        (Index::Device, Some(text)) => {
            let mut parts = text.split(':');
            let source = parts.next()?;
            Some(parts.next().unwrap_or(source).to_owned())
        }
        (Index::File(below), Some(text)) => Some(format!("{below}/{text}")),
        (Index::Volume | Index::Device, None) => field("target"),
        (Index::File(below), None) => {
            field("target").or_else(|| Some(format!("{below}/{}", field("source")?)))
        }
        (Index::EnvFile, None) => field("path"),
        (Index::Port, None) => {
            let target = field("target")?;
            let host = field("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
            let published = field("published").unwrap_or_default();
            let protocol = field("protocol").unwrap_or_else(|| "tcp".to_owned());
            Some(format!("{host}:{published}:{target}/{protocol}"))
        }
        (Index::Name | Index::Text, None) => None,
    }
}
