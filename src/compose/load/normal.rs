//! What a file leaves out: defaults, the network `default`, names on the engine, dependencies that other keys imply,
//! values of variables that are only named.
//!
//! As compose-go 2.9.1 has it (`transform/defaults.go`, `loader/normalize.go`). Works on the long forms.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::canonical::clean;
use crate::compose::tree::{Entry, Mapping, Node, Value};

/// The defaults that hold for each file, before paths are resolved.
pub(super) fn defaults(root: &Arc<Node>) -> Arc<Node> {
    let mut root = Arc::clone(root);
    root.change("services", |services| {
        Some(services.map_values(|entry| service_defaults(&entry.value)))
    });
    root
}

fn service_defaults(service: &Arc<Node>) -> Arc<Node> {
    let mut node = Arc::clone(service);
    node.change("build", |build| {
        let mut build = Arc::clone(build);
        fill(&mut build, "context", ".");
        Some(build)
    });
    change_items(&mut node, "secrets", |secret| {
        let source = secret.some("source").and_then(|source| source.printed());
        let target = format!("/run/secrets/{}", source.unwrap_or_default());
        fill(secret, "target", &target);
    });
    change_items(&mut node, "ports", |port| {
        fill(port, "protocol", "tcp");
        fill(port, "mode", "ingress");
    });
    change_items(&mut node, "gpus", device_request);
    node.change("deploy", |deploy| {
        let mut deploy = Arc::clone(deploy);
        nested(
            &mut deploy,
            &["resources", "reservations"],
            |reservations| {
                change_items(reservations, "devices", device_request);
            },
        );
        Some(deploy)
    });
    node
}

fn device_request(request: &mut Arc<Node>) {
    if request.get("count").is_none() && request.get("device_ids").is_none() {
        fill(request, "count", "all");
    }
}

/// A value for a key of a mapping that is not there.
fn fill(node: &mut Arc<Node>, key: &str, text: &str) {
    if node.is_map() && node.get(key).is_none() {
        let value = Node::text(&node.place, text);
        node.set(key, value);
    }
}

fn change_items(node: &mut Arc<Node>, key: &str, mut change: impl FnMut(&mut Arc<Node>)) {
    node.change(key, |list| {
        list.is_list().then(|| {
            let items = list.items().iter().map(|item| {
                let mut item = Arc::clone(item);
                change(&mut item);
                item
            });
            list.with_items(items.collect())
        })
    });
}

fn nested(node: &mut Arc<Node>, path: &[&str], change: impl FnOnce(&mut Arc<Node>)) {
    match path {
        [] => change(node),
        [key, rest @ ..] => node.change(key, |child| {
            let mut child = Arc::clone(child);
            nested(&mut child, rest, change);
            Some(child)
        }),
    }
}

/// Variables of the caller.
type Environment = BTreeMap<String, String>;

/// The whole project with what it implies.
pub(super) fn normalize(root: &Arc<Node>, project: &str, environment: &Environment) -> Arc<Node> {
    let mut root = Arc::clone(root);
    let mut uses_default = false;
    root.change("services", |services| {
        Some(services.map_values(|entry| {
            let mut service = Arc::clone(&entry.value);
            if service.is_map() {
                uses_default |= network(&mut service);
                normalize_service(&mut service, environment);
            }
            service
        }))
    });
    if uses_default
        && root
            .some("networks")
            .is_none_or(|all| all.get("default").is_none())
    {
        let place = root.place.clone();
        let mut networks = root
            .some("networks")
            .cloned()
            .unwrap_or_else(|| Node::map(&place, Vec::new()));
        networks.set("default", Node::null(&place));
        root.set("networks", networks);
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        root.change(section, |all| {
            all.is_map()
                .then(|| all.map_values(|entry| named(entry, project)))
        });
    }
    root
}

/// The network `default` for a service that names none; whether it is attached to it.
fn network(service: &mut Arc<Node>) -> bool {
    if service.get("provider").is_some() || service.get("network_mode").is_some() {
        return false;
    }
    let networks = service.some("networks");
    if networks.is_none_or(|networks| networks.entries().is_empty()) {
        let place = service.place.clone();
        let default = Entry::made("default", Node::null(&place));
        service.set("networks", Node::map(&place, vec![default]));
        return true;
    }
    networks.is_some_and(|networks| networks.get("default").is_some())
}

fn normalize_service(service: &mut Arc<Node>, environment: &Environment) {
    service.change("pull_policy", |policy| {
        (policy.as_text() == Some("if_not_present")).then(|| Node::text(&policy.place, "missing"))
    });
    service.change("build", |build| {
        let mut build = Arc::clone(build);
        if build.some("dockerfile_inline").is_none() && build.some("dockerfile").is_none() {
            build.set("dockerfile", Node::text(&build.place.clone(), "Dockerfile"));
        }
        build.change("args", |args| Some(inherit(args, environment, false)));
        Some(build)
    });
    if let Some(scale) = service.some("scale").cloned() {
        // One number under both names (compose-go, `loader/validate.go`); what contradicts is an error there.
        service.change("deploy", |deploy| {
            let mut deploy = Arc::clone(deploy);
            if deploy.is_map() && deploy.some("replicas").is_none() {
                deploy.set("replicas", scale);
            }
            Some(deploy)
        });
    }
    service.change("environment", |variables| {
        Some(inherit(variables, environment, true))
    });
    service.change("volumes", |volumes| {
        let items = volumes.items().iter().map(|item| {
            let mut item = Arc::clone(item);
            item.change("target", |target| {
                let text = target.as_text().filter(|text| !text.is_empty())?;
                Some(Node::text(&target.place, clean(text)))
            });
            item
        });
        volumes
            .is_list()
            .then(|| volumes.with_items(items.collect()))
    });
    implied(service);
}

/// Dependencies that other keys imply.
fn implied(service: &mut Arc<Node>) {
    let texts = |key: &str| {
        service
            .some(key)
            .map_or(&[][..], |list| list.items())
            .iter()
            .filter_map(|item| item.as_text().map(|text| (text, &item.place)))
            .collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for (link, place) in texts("links") {
        let parts: Vec<&str> = link.split(':').collect();
        let name = match parts.as_slice() {
            [name, _] => name,
            _ => link,
        };
        found.push((name.to_owned(), place.clone(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let value = service.some(key);
        let shared = value.and_then(|value| value.as_text()?.strip_prefix("service:"));
        if let (Some(value), Some(shared)) = (value, shared) {
            found.push((shared.to_owned(), value.place.clone(), true));
        }
    }
    for (from, place) in texts("volumes_from") {
        if !from.starts_with("container:") {
            let name = from.split(':').next().unwrap_or(from);
            found.push((name.to_owned(), place.clone(), false));
        }
    }
    if found.is_empty() {
        return;
    }
    let place = service.place.clone();
    let written = service.some("depends_on");
    let mut dependencies = written.map_or_else(Mapping::default, |all| Mapping::of(all));
    for (name, place, restart) in found {
        if dependencies.get(&name).is_none() {
            let fields = vec![
                Entry::made("condition", Node::text(&place, "service_started")),
                Entry::made("restart", Node::plain(&place, restart)),
                Entry::made("required", Node::plain(&place, "true")),
            ];
            dependencies.put(Entry::made(name, Node::map(&place, fields)));
        }
    }
    service.set("depends_on", dependencies.node(&place));
}

/// Values for variables that are only named; without one they stay, or are left out.
fn inherit(node: &Arc<Node>, environment: &Environment, keep: bool) -> Arc<Node> {
    match &node.value {
        Value::Map(entries) => {
            let entries = entries.iter().filter_map(|entry| {
                if !entry.value.is_null() {
                    return Some(entry.clone());
                }
                match environment.get(&entry.key) {
                    Some(value) => Some(Entry {
                        value: Node::text(&entry.value.place, value),
                        ..entry.clone()
                    }),
                    None => keep.then(|| entry.clone()),
                }
            });
            node.with_entries(entries.collect())
        }
        Value::List(items) => {
            let items = items.iter().filter_map(|item| {
                let name = item.as_text().filter(|text| !text.contains('='));
                let Some(name) = name else {
                    return Some(Arc::clone(item));
                };
                match environment.get(name) {
                    Some(value) => Some(Node::text(&item.place, format!("{name}={value}"))),
                    None => keep.then(|| Arc::clone(item)),
                }
            });
            node.with_items(items.collect())
        }
        Value::Null | Value::Text(_) => Arc::clone(node),
    }
}

/// The name on the engine, where the file gives none.
fn named(entry: &Entry, project: &str) -> Arc<Node> {
    let mut node = if entry.value.is_null() {
        Node::map(&entry.key_place, Vec::new())
    } else {
        Arc::clone(&entry.value)
    };
    if node.is_map() && node.some("name").is_none() {
        let external = node.some("external").and_then(|node| node.printed());
        let is_external = external.is_some_and(|text| {
            ["true", "y", "yes", "on"].contains(&text.to_ascii_lowercase().as_str())
        });
        let name = if is_external {
            entry.key.clone()
        } else {
            format!("{project}_{}", entry.key)
        };
        let name = Node::text(&entry.key_place, name);
        node.set("name", name);
    }
    node
}
