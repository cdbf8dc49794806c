//! Relative paths, made absolute from the directory that they are written for: the project's, or that of a file which
//! is extended or included.
//!
//! Which values are paths is compose-go 2.9.1's (`paths/resolve.go`). Works on the long forms. Not here: whether a path
//! may be mounted (`compose::paths`).

use std::path::Path;
use std::sync::Arc;

use super::canonical::clean;
use crate::compose::problems::Problems;
use crate::compose::tree::Node;

/// What is not a path but an address: of a repository, an image, another service.
const REMOTE: [&str; 6] = [
    "https://",
    "http://",
    "git://",
    "ssh://",
    "github.com/",
    "git@",
];

/// Where relative paths begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a> {
    /// The directory, absolute.
    pub(super) dir: &'a Path,
    /// What `~` stands for.
    pub(super) home: Option<&'a str>,
}

/// The tree with absolute paths.
pub(super) fn resolve(root: &Arc<Node>, base: Base<'_>, out: &mut Problems) -> Arc<Node> {
    let mut root = Arc::clone(root);
    root.change("services", |services| {
        Some(services.map_values(|entry| service(&entry.value, base, out)))
    });
    for section in ["configs", "secrets"] {
        root.change(section, |all| {
            Some(all.map_values(|entry| {
                let mut node = Arc::clone(&entry.value);
                node.change("file", |file| Some(base.joined(file)));
                node
            }))
        });
    }
    root.change("volumes", |volumes| {
        Some(volumes.map_values(|entry| volume(&entry.value, base)))
    });
    root
}

fn service(service: &Arc<Node>, base: Base<'_>, out: &mut Problems) -> Arc<Node> {
    let mut node = Arc::clone(service);
    node.change("build", |build| {
        let mut build = Arc::clone(build);
        build.change("context", |context| Some(base.context(context)));
        build.change("additional_contexts", |contexts| {
            Some(contexts.map_values(|entry| base.context(&entry.value)))
        });
        build.change("ssh", |keys| {
            Some(keys.map_values(|entry| base.joined(&entry.value)))
        });
        Some(build)
    });
    node.change("env_file", |files| {
        Some(each_map(files, |file| {
            file.change("path", |path| Some(base.absolute(path)));
        }))
    });
    node.change("label_file", |files| {
        let items = files.items().iter().map(|file| base.absolute(file));
        Some(files.with_items(items.collect()))
    });
    node.change("extends", |extends| {
        let mut extends = Arc::clone(extends);
        extends.change("file", |file| Some(base.absolute(file)));
        Some(extends)
    });
    node.change("develop", |develop| {
        let mut develop = Arc::clone(develop);
        develop.change("watch", |watch| {
            Some(each_map(watch, |item| {
                item.change("path", |path| Some(base.absolute(path)));
            }))
        });
        Some(develop)
    });
    node.change("volumes", |volumes| {
        Some(each_map(volumes, |volume| mount(volume, base, out)))
    });
    node
}

/// Each mapping of a list.
fn each_map(list: &Arc<Node>, mut change: impl FnMut(&mut Arc<Node>)) -> Arc<Node> {
    if !list.is_list() {
        return Arc::clone(list);
    }
    let items = list.items().iter().map(|item| {
        let mut item = Arc::clone(item);
        if item.is_map() {
            change(&mut item);
        }
        item
    });
    list.with_items(items.collect())
}

fn mount(volume: &mut Arc<Node>, base: Base<'_>, out: &mut Problems) {
    if volume.some("type").and_then(|kind| kind.as_text()) != Some("bind") {
        return;
    }
    if volume.some("source").is_none() {
        out.error_at(
            &volume.place,
            "volumes",
            "missing-key",
            "this bind mount has no `source`",
            "write `source: ./path`, the path on the host",
        );
    }
    volume.change("source", |source| Some(base.joined(source)));
}

/// A volume of the driver `local` can be a bind mount by another name.
fn volume(volume: &Arc<Node>, base: Base<'_>) -> Arc<Node> {
    let mut node = Arc::clone(volume);
    if node.some("driver").and_then(|driver| driver.as_text()) != Some("local") {
        return node;
    }
    node.change("driver_opts", |options| {
        let is_bind = options.some("o").and_then(|o| o.as_text()) == Some("bind");
        is_bind.then(|| {
            let mut options = Arc::clone(options);
            options.change("device", |device| Some(base.joined(device)));
            options
        })
    });
    node
}

impl Base<'_> {
    /// The absolute path of a text; anything else stays as it is.
    fn absolute(self, node: &Arc<Node>) -> Arc<Node> {
        match node.as_text() {
            Some("") | None => Arc::clone(node),
            Some(path) => Node::text(&node.place, self.path(path)),
        }
    }

    /// The same where an empty text is the directory itself.
    fn joined(self, node: &Arc<Node>) -> Arc<Node> {
        match node.as_text() {
            Some("") => Node::text(&node.place, clean(&self.dir.to_string_lossy())),
            Some(_) | None => self.absolute(node),
        }
    }

    /// The absolute path.
    pub(super) fn path(self, path: &str) -> String {
        if let Some(rest) = path.strip_prefix('~') {
            // Without a home directory the reference leaves the path alone, and warns.
            return match self.home {
                Some(home) => clean(&format!("{home}/{rest}")),
                None => path.to_owned(),
            };
        }
        let is_windows = path.starts_with("\\\\")
            || (path.get(1..2) == Some(":") && path.starts_with(|c: char| c.is_ascii_alphabetic()));
        if path.starts_with('/') || is_windows {
            return path.to_owned();
        }
        clean(&format!("{}/{path}", self.dir.display()))
    }

    /// The same for a build context, which may be an address.
    fn context(self, node: &Arc<Node>) -> Arc<Node> {
        let Some(text) = node.as_text() else {
            return Arc::clone(node);
        };
        let is_remote = text.contains("://")
            || text.starts_with("service:")
            || REMOTE.iter().any(|prefix| text.starts_with(prefix));
        if is_remote {
            Arc::clone(node)
        } else {
            self.absolute(node)
        }
    }
}
