//! What several keys say together, for the services that docker compose takes: what is named is declared, and what
//! excludes each other does not stand together.
//!
//! The rules are compose-go 2.9.1's (`loader/validate.go`). A phoenix is left out where its own binding says the same
//! and more (`compose::service`). Not here: names that nothing is declared for (`references`), and what one key by
//! itself may be (`compose::model`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compose::problems::Problems;
use crate::compose::tree::Node;
use crate::spec::{Place, byte_size};

/// Checks the whole project.
pub(super) fn check(root: &Arc<Node>, enabled: &BTreeSet<String>, out: &mut Problems) {
    let nothing = Node::map(&root.place, Vec::new());
    let section = |name: &str| root.some(name).unwrap_or(&nothing);
    let services = section("services");
    let mut checker = Checker {
        root,
        services,
        enabled,
        container_names: BTreeMap::new(),
        out,
    };
    for entry in services.entries() {
        let is_phoenix = entry.value.entry("x-phoenix").is_some();
        if enabled.contains(&entry.key) && !is_phoenix && entry.value.is_map() {
            Service {
                name: &entry.key,
                key_place: &entry.key_place,
                node: &entry.value,
            }
            .check(&mut checker);
        }
    }
    checker.secrets();
    checker.cycles();
}

pub(super) struct Checker<'a> {
    pub(super) root: &'a Node,
    pub(super) services: &'a Node,
    pub(super) enabled: &'a BTreeSet<String>,
    /// Who has which name.
    container_names: BTreeMap<String, String>,
    pub(super) out: &'a mut Problems,
}

/// One service.
pub(super) struct Service<'n> {
    pub(super) name: &'n str,
    key_place: &'n Place,
    pub(super) node: &'n Node,
}

impl Service<'_> {
    fn check(&self, checker: &mut Checker<'_>) {
        self.source(checker);
        self.build(checker);
        self.watches(checker);
        self.networks(checker);
        self.references(checker);
        self.dependencies(checker);
        self.health(checker);
        self.scale(checker);
        self.limits(checker);
        self.mounts(checker);
    }

    pub(super) fn error(
        &self,
        checker: &mut Checker<'_>,
        place: &Place,
        key: &str,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let dot = if key.is_empty() { "" } else { "." };
        let path = format!("services.{}{dot}{key}", self.name);
        checker.out.error_at(place, path, code, message, hint);
    }

    /// What it runs.
    fn source(&self, checker: &mut Checker<'_>) {
        let has = |key: &str| self.node.some(key).is_some();
        let image = self.node.some("image").and_then(|image| image.as_text());
        if !has("build") && !has("provider") && image.is_none_or(str::is_empty) {
            let message = format!("`{}` has no `image` and no `build`", self.name);
            let hint = "name an image: `image: nginx:1.29`";
            self.error(checker, self.key_place, "", "missing-key", message, hint);
        }
    }

    /// What `docker compose watch` copies needs a place in the container.
    fn watches(&self, checker: &mut Checker<'_>) {
        let develop = self.node.some("develop");
        let watches = develop.and_then(|develop| develop.some("watch"));
        for watch in watches.map_or(&[][..], |all| all.items()) {
            let text = |key: &str| watch.some(key).and_then(|value| value.as_text());
            let copies = !matches!(text("action"), Some("rebuild" | "restart"));
            if copies && text("target").is_none_or(str::is_empty) {
                self.error(
                    checker,
                    &watch.place,
                    "develop.watch",
                    "missing-key",
                    "this watch copies files and has no `target`",
                    "write `target: PATH`, where they go in the container",
                );
            }
        }
    }

    fn build(&self, checker: &mut Checker<'_>) {
        let Some(build) = self.node.some("build") else {
            return;
        };
        if let (Some(_), Some(inline)) = (build.some("dockerfile"), build.some("dockerfile_inline"))
        {
            let message = "`dockerfile` and `dockerfile_inline` exclude each other";
            let place = &inline.place;
            self.error(
                checker,
                place,
                "build",
                "conflict",
                message,
                "keep one of them",
            );
        }
        for context in build
            .some("additional_contexts")
            .map_or(&[][..], |all| all.entries())
        {
            let text = context.value.as_text().unwrap_or_default();
            let Some(other) = text.strip_prefix("service:") else {
                continue;
            };
            let service = checker.services.some(other);
            if service.is_none_or(|service| service.some("build").is_none()) {
                let message = format!(
                    "the context `{}` is the service `{other}`, which builds nothing",
                    context.key
                );
                let hint = "name a service with `build:`";
                let place = &context.value.place;
                self.error(
                    checker,
                    place,
                    "build.additional_contexts",
                    "undeclared",
                    message,
                    hint,
                );
            }
        }
        let platforms = build.some("platforms").map_or(&[][..], |list| list.items());
        if let Some(platform) = self.node.some("platform")
            && !platforms.is_empty()
            && !platforms.iter().any(|one| one.same(platform))
        {
            let message = "`build.platforms` lacks the service's own `platform`";
            let place = &platform.place;
            self.error(
                checker,
                place,
                "platform",
                "conflict",
                message,
                "add it there",
            );
        }
    }

    fn health(&self, checker: &mut Checker<'_>) {
        let test = self
            .node
            .some("healthcheck")
            .and_then(|check| check.some("test"));
        let Some(first) = test.and_then(|test| test.items().first()) else {
            return;
        };
        if !["CMD", "CMD-SHELL", "NONE"].contains(&first.as_text().unwrap_or_default()) {
            let message = "a health check's list begins with `CMD`, `CMD-SHELL` or `NONE`";
            let hint = "write `[CMD, program, argument]`, or one text for a shell";
            self.error(
                checker,
                &first.place,
                "healthcheck.test",
                "invalid-value",
                message,
                hint,
            );
        }
    }

    fn scale(&self, checker: &mut Checker<'_>) {
        let scale = self.node.some("scale");
        let replicas = self
            .node
            .some("deploy")
            .and_then(|deploy| deploy.some("replicas"));
        let number =
            |node: Option<&Arc<Node>>| node.and_then(|node| node.as_text()?.parse::<i64>().ok());
        if let (Some(a), Some(b), Some(node)) = (number(scale), number(replicas), scale)
            && a != b
        {
            let message = format!("`scale: {a}` contradicts `deploy.replicas: {b}`");
            self.error(
                checker,
                &node.place,
                "scale",
                "conflict",
                message,
                "keep one of the two",
            );
        }
        for (node, key) in [(scale, "scale"), (replicas, "deploy.replicas")] {
            if let Some(node) =
                node.filter(|node| number(Some(node)).is_some_and(|count| count < 0))
            {
                let message = "there cannot be fewer than 0 replicas";
                self.error(
                    checker,
                    &node.place,
                    key,
                    "invalid-value",
                    message,
                    "write 0 or more",
                );
            }
        }
        let count = number(scale).or_else(|| number(replicas)).unwrap_or(1);
        let Some(name) = self.node.some("container_name") else {
            return;
        };
        let text = name.as_text().unwrap_or_default();
        if text.is_empty() {
            return;
        }
        if count > 1 {
            let message = format!("{count} containers cannot all be called `{text}`");
            self.error(
                checker,
                &name.place,
                "container_name",
                "conflict",
                message,
                "remove `container_name`",
            );
        }
        if let Some(other) = checker
            .container_names
            .insert(text.to_owned(), self.name.to_owned())
        {
            let message = format!("`{other}` calls its container `{text}`, too");
            self.error(
                checker,
                &name.place,
                "container_name",
                "conflict",
                message,
                "give one of them another name",
            );
        }
    }

    /// The old keys beside those of `deploy.resources`.
    fn limits(&self, checker: &mut Checker<'_>) {
        let resources = self
            .node
            .some("deploy")
            .and_then(|deploy| deploy.some("resources"));
        let Some(resources) = resources else {
            return;
        };
        let pairs = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ];
        for (key, group, name) in pairs {
            let (Some(own), Some(group_node)) = (self.node.some(key), resources.some(group)) else {
                continue;
            };
            let zero = Node::plain(&own.place, 0);
            let other = group_node.some(name).unwrap_or(&zero);
            let (a, b) = (amount(own), amount(other));
            if a.is_some_and(|a| a != 0.0) && a != b {
                let message =
                    format!("`{key}` and `deploy.resources.{group}.{name}` say different things");
                self.error(
                    checker,
                    &own.place,
                    key,
                    "conflict",
                    message,
                    "keep one of the two",
                );
            }
        }
    }

    fn mounts(&self, checker: &mut Checker<'_>) {
        let mut targets: BTreeMap<&str, &Place> = BTreeMap::new();
        let tmpfs = self.node.some("tmpfs");
        let tmpfs_items = match tmpfs {
            Some(node) if node.is_list() => node.items(),
            Some(node) => std::slice::from_ref(node),
            None => &[],
        };
        let tmpfs = tmpfs_items.iter().filter_map(|item| {
            let text = item.as_text()?;
            Some((text.split(':').next().unwrap_or(text), &item.place))
        });
        let volumes = self
            .node
            .some("volumes")
            .map_or(&[][..], |list| list.items());
        let volumes = volumes
            .iter()
            .filter_map(|item| Some((item.some("target")?.as_text()?, &item.place)));
        for (target, place) in tmpfs.chain(volumes) {
            if let Some(first) = targets.insert(target, place) {
                let message = format!("`{target}` is mounted twice");
                let hint = format!("the first one is at line {}; keep one of them", first.line);
                self.error(checker, place, "volumes", "duplicate-target", message, hint);
            }
        }
    }
}

/// A number, or a number of bytes.
fn amount(node: &Node) -> Option<f64> {
    let text = node.printed()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "only compared with another amount"
    )]
    let bytes = || byte_size(&text).ok().map(|bytes| bytes as f64);
    text.parse().ok().or_else(bytes)
}
