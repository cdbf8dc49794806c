//! Every short syntax in its long form, so that there is one form to read, to print and to merge.
//!
//! As compose-go 2.9.1 has it (`transform/`). A value that is neither form is left as it is: `model::check` reports it.

use std::sync::Arc;

use super::merge::{dependency, keys};
use super::short::{self, Port, Problem, Volume};
use crate::compose::problems::Problems;
use crate::compose::suggest;
use crate::compose::tree::{Entry, Mapping, Node};

/// The whole file in long form.
pub(super) fn canonical(root: &Arc<Node>, out: &mut Problems) -> Arc<Node> {
    let mut root = Arc::clone(root);
    root.change("services", |services| {
        Some(services.map_values(|entry| service(&entry.key, &entry.value, out)))
    });
    for section in ["networks", "volumes", "secrets", "configs"] {
        root.change(section, |all| {
            all.is_map()
                .then(|| all.map_values(|entry| external(section, entry, out)))
        });
    }
    root
}

/// `external: { name: x }`, the old way of writing `name: x` with `external: true`.
fn external(section: &str, entry: &Entry, out: &mut Problems) -> Arc<Node> {
    let mut node = Arc::clone(&entry.value);
    let Some(old) = node.some("external").filter(|node| node.is_map()).cloned() else {
        return node;
    };
    node.set("external", Node::plain(&old.place, "true"));
    if let Some(name) = old.some("name") {
        let path = format!("{section}.{}.external.name", entry.key);
        match node.some("name") {
            Some(own) if !own.same(name) => out.error_at(
                &name.place,
                &path,
                "conflict",
                "`name` and `external.name` say different things",
                "keep `name`, and write `external: true`",
            ),
            Some(_) => {}
            None => {
                let name = Arc::clone(name);
                node.set("name", name);
            }
        }
    }
    node
}

/// One service in long form.
fn service(name: &str, service: &Arc<Node>, out: &mut Problems) -> Arc<Node> {
    let mut node = Arc::clone(service);
    let path = |key: &str| format!("services.{name}.{key}");
    node.change("build", |value| Some(build(value)));
    node.change("depends_on", depends_on);
    node.change("env_file", |value| Some(env_file(value)));
    for key in ["label_file", "dns"] {
        node.change(key, text_as_list);
    }
    node.change("extends", |value| {
        value.as_text()?;
        Some(Node::map(
            &value.place,
            vec![Entry::made("service", Arc::clone(value))],
        ))
    });
    node.change("gpus", |value| {
        let place = &value.place;
        value.as_text()?;
        let all = Entry::made("count", Node::text(place, "all"));
        Some(Node::list(place, vec![Node::map(place, vec![all])]))
    });
    for key in ["networks", "models"] {
        node.change(key, |value| {
            value
                .is_list()
                .then(|| keys(value, |item| Node::null(&item.place)))
        });
    }
    node.change("volumes", |value| {
        let path = path("volumes");
        Some(each(value, |item| vec![volume(item, &path, out)]))
    });
    node.change("ports", |value| {
        let path = path("ports");
        Some(each(value, |item| port(item, &path, out)))
    });
    node.change("devices", |value| {
        Some(each(value, |item| vec![device(item)]))
    });
    for key in ["secrets", "configs"] {
        node.change(key, |value| {
            Some(each(value, |item| vec![file_mount(item)]))
        });
    }
    node.change("develop", |value| {
        let mut develop = Arc::clone(value);
        develop.change("watch", |watch| {
            Some(each(watch, |item| {
                let mut item = Arc::clone(item);
                for key in ["ignore", "include"] {
                    item.change(key, text_as_list);
                }
                vec![item]
            }))
        });
        Some(develop)
    });
    node
}

/// Each item of a list, which may become several.
fn each(list: &Arc<Node>, mut change: impl FnMut(&Arc<Node>) -> Vec<Arc<Node>>) -> Arc<Node> {
    if list.is_list() {
        list.with_items(list.items().iter().flat_map(&mut change).collect())
    } else {
        Arc::clone(list)
    }
}

fn text_as_list(value: &Arc<Node>) -> Option<Arc<Node>> {
    value.as_text()?;
    Some(Node::list(&value.place, vec![Arc::clone(value)]))
}

fn build(value: &Arc<Node>) -> Arc<Node> {
    if value.as_text().is_some() {
        let context = Entry::made("context", Arc::clone(value));
        return Node::map(&value.place, vec![context]);
    }
    let mut build = Arc::clone(value);
    build.change("secrets", |secrets| {
        Some(each(secrets, |item| vec![file_mount(item)]))
    });
    build.change("additional_contexts", |contexts| {
        contexts.is_list().then(|| pairs(contexts))
    });
    build.change("ssh", |ssh| ssh.is_list().then(|| pairs(ssh)));
    for key in ["provenance", "sbom"] {
        build.change(key, |value| {
            let text = value.printed()?;
            Some(Node::text(&value.place, text))
        });
    }
    build
}

/// A list of `KEY=value` as a mapping.
fn pairs(list: &Arc<Node>) -> Arc<Node> {
    let mut map = Mapping::default();
    for item in list.items() {
        let Some(text) = item.printed() else {
            continue;
        };
        map.put(match text.split_once('=') {
            Some((key, value)) => Entry::made(key, Node::text(&item.place, value)),
            None => Entry::made(text, Node::null(&item.place)),
        });
    }
    map.node(&list.place)
}

fn depends_on(value: &Arc<Node>) -> Option<Arc<Node>> {
    if value.is_list() {
        return Some(keys(value, dependency));
    }
    value.is_map().then(|| {
        value.map_values(|entry| {
            let mut node = Arc::clone(&entry.value);
            for default in dependency(&node).entries() {
                if node.get(&default.key).is_none() {
                    node.set(&default.key, Arc::clone(&default.value));
                }
            }
            node
        })
    })
}

fn env_file(value: &Arc<Node>) -> Arc<Node> {
    let long = |item: &Arc<Node>| {
        let mut node = if item.as_text().is_some() {
            Node::map(&item.place, vec![Entry::made("path", Arc::clone(item))])
        } else {
            Arc::clone(item)
        };
        if node.is_map() && node.get("required").is_none() {
            node.set("required", Node::plain(&item.place, "true"));
        }
        node
    };
    if value.as_text().is_some() {
        return Node::list(&value.place, vec![long(value)]);
    }
    each(value, |item| vec![long(item)])
}

fn file_mount(item: &Arc<Node>) -> Arc<Node> {
    if item.as_text().is_none() {
        return Arc::clone(item);
    }
    Node::map(&item.place, vec![Entry::made("source", Arc::clone(item))])
}

fn device(item: &Arc<Node>) -> Arc<Node> {
    let Some(text) = item.as_text() else {
        return Arc::clone(item);
    };
    let mut parts = text.splitn(3, ':');
    let source = parts.next().unwrap_or_default();
    let target = parts.next().filter(|target| !target.is_empty());
    let permissions = parts.next().unwrap_or("rwm");
    let field = |key: &str, text: &str| Entry::made(key, Node::text(&item.place, text));
    Node::map(
        &item.place,
        vec![
            field("source", source),
            field("target", target.unwrap_or(source)),
            field("permissions", permissions),
        ],
    )
}

fn complain(item: &Node, path: &str, (message, hint): Problem, out: &mut Problems) {
    out.error_at(&item.place, path, "invalid-value", message, hint);
}

fn port(item: &Arc<Node>, path: &str, out: &mut Problems) -> Vec<Arc<Node>> {
    let Some(text) = item.printed() else {
        return vec![Arc::clone(item)];
    };
    match short::ports(&text) {
        Ok(ports) => ports.iter().map(|port| long_port(item, port)).collect(),
        Err(problem) => {
            complain(item, path, problem, out);
            Vec::new()
        }
    }
}

fn long_port(item: &Node, port: &Port) -> Arc<Node> {
    let place = &item.place;
    let mut fields = vec![Entry::made("mode", Node::text(place, "ingress"))];
    if let Some(ip) = &port.host_ip {
        fields.push(Entry::made("host_ip", Node::text(place, ip)));
    }
    fields.push(Entry::made("target", Node::plain(place, port.target)));
    if let Some(published) = &port.published {
        fields.push(Entry::made("published", Node::text(place, published)));
    }
    fields.push(Entry::made("protocol", Node::text(place, &port.protocol)));
    Node::map(place, fields)
}

fn volume(item: &Arc<Node>, path: &str, out: &mut Problems) -> Arc<Node> {
    const MODES: [&str; 8] = [
        "ro",
        "rw",
        "z",
        "Z",
        "nocopy",
        "cached",
        "delegated",
        "consistent",
    ];
    let Some(text) = item.as_text() else {
        return Arc::clone(item);
    };
    match short::volume(text) {
        Ok(volume) => {
            for mode in &volume.unknown {
                let message = format!("`{mode}` is not an option of a volume, and has no effect");
                let hint = suggest::hint(mode, &MODES);
                out.warning_at(&item.place, path, "unknown-option", message, hint);
            }
            long_volume(item, &volume)
        }
        Err(problem) => {
            complain(item, path, problem, out);
            Arc::clone(item)
        }
    }
}

fn long_volume(item: &Node, volume: &Volume) -> Arc<Node> {
    let place = &item.place;
    let text = |key: &str, text: &str| Entry::made(key, Node::text(place, text));
    let yes = |key: &str| Entry::made(key, Node::plain(place, "true"));
    let is_bind = volume.is_bind();
    let mut fields = vec![text("type", if is_bind { "bind" } else { "volume" })];
    if let Some(source) = &volume.source {
        fields.push(text("source", source));
    }
    fields.push(text("target", &clean(&volume.target)));
    if volume.read_only {
        fields.push(yes("read_only"));
    }
    let mut bind = Vec::new();
    if is_bind {
        // The short syntax makes the directory.
        bind.push(yes("create_host_path"));
    }
    bind.extend(
        volume
            .propagation
            .as_ref()
            .map(|one| text("propagation", one)),
    );
    bind.extend(volume.selinux.as_ref().map(|one| text("selinux", one)));
    if !bind.is_empty() {
        fields.push(Entry::made("bind", Node::map(place, bind)));
    }
    if (!is_bind && !volume.is_bare) || volume.nocopy {
        let options = volume.nocopy.then(|| yes("nocopy"));
        let options = Node::map(place, options.into_iter().collect());
        fields.push(Entry::made("volume", options));
    }
    Node::map(place, fields)
}

/// A path without `.`, `..` and double slashes, as Go's `path.Clean` makes it.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
