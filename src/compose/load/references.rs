//! Names of one part of the file in another: networks, volumes, secrets, configs, services; and services that wait for
//! each other.
//!
//! The rules are compose-go 2.9.1's (`loader/validate.go`, `graph/`).

use std::collections::BTreeSet;

use super::consistency::{Checker, Service};
use crate::compose::suggest;
use crate::compose::tree::Entry;
use crate::spec::Place;

impl Service<'_> {
    pub(super) fn networks(&self, checker: &mut Checker<'_>) {
        let networks = self
            .node
            .some("networks")
            .map_or(&[][..], |all| all.entries());
        if let Some(mode) = self.node.some("network_mode") {
            if !networks.is_empty() && mode.as_text().is_some_and(|mode| !mode.is_empty()) {
                let message = "`network_mode` and `networks` exclude each other";
                self.error(
                    checker,
                    &mode.place,
                    "network_mode",
                    "conflict",
                    message,
                    "keep one of them",
                );
            }
            let shared = mode
                .as_text()
                .and_then(|mode| mode.strip_prefix("service:"));
            if let Some(shared) = shared {
                self.known_service(checker, shared, &mode.place, "network_mode", true);
            }
        }
        for entry in networks {
            self.declared(
                checker,
                "networks",
                &entry.key,
                &entry.value.place,
                "network",
            );
        }
    }

    /// Something of the top level.
    pub(super) fn declared(
        &self,
        checker: &mut Checker<'_>,
        section: &str,
        name: &str,
        place: &Place,
        what: &str,
    ) {
        let all = checker.root.some(section);
        if all.is_some_and(|all| all.get(name).is_some()) {
            return;
        }
        let names = all
            .map_or(&[][..], |all| all.entries())
            .iter()
            .map(|entry| entry.key.as_str());
        let hint = match suggest::nearest(name, names) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => format!("declare it at the top level: `{section}: {{ {name}: … }}`"),
        };
        let message = format!(
            "`{}` uses the {what} `{name}`, which is not declared",
            self.name
        );
        self.error(checker, place, section, "undeclared", message, hint);
    }

    pub(super) fn references(&self, checker: &mut Checker<'_>) {
        let list = |key: &str| self.node.some(key).map_or(&[][..], |list| list.items());
        let build = self
            .node
            .some("build")
            .and_then(|build| build.some("secrets"));
        let build = build.map_or(&[][..], |list| list.items());
        let groups = [
            (list("secrets"), "secrets", "secret"),
            (build, "secrets", "build secret"),
            (list("configs"), "configs", "config"),
        ];
        for (items, section, what) in groups {
            for item in items {
                if let Some(source) = item.some("source").and_then(|node| node.as_text()) {
                    self.declared(checker, section, source, &item.place, what);
                }
            }
        }
        for volume in list("volumes") {
            let is_volume = volume.some("type").and_then(|kind| kind.as_text()) == Some("volume");
            let source = volume.some("source").and_then(|node| node.as_text());
            if let Some(source) = source.filter(|source| is_volume && !source.is_empty()) {
                self.declared(checker, "volumes", source, &volume.place, "volume");
            }
        }
        for entry in self
            .node
            .some("models")
            .map_or(&[][..], |all| all.entries())
        {
            self.declared(checker, "models", &entry.key, &entry.value.place, "model");
        }
    }

    pub(super) fn dependencies(&self, checker: &mut Checker<'_>) {
        for entry in self
            .node
            .some("depends_on")
            .map_or(&[][..], |all| all.entries())
        {
            let required = entry.value.some("required").and_then(|node| node.as_text());
            let is_required = required.is_none_or(|text| text != "false");
            self.known_service(
                checker,
                &entry.key,
                &entry.key_place,
                "depends_on",
                is_required,
            );
        }
    }

    /// A service that docker compose takes, or a phoenix, which phoenixd takes whatever its profiles are.
    fn known_service(
        &self,
        checker: &mut Checker<'_>,
        name: &str,
        place: &Place,
        key: &str,
        is_required: bool,
    ) {
        let service = checker.services.get(name);
        let is_phoenix = service.is_some_and(|service| service.entry("x-phoenix").is_some());
        if checker.enabled.contains(name) || is_phoenix || (service.is_some() && !is_required) {
            return;
        }
        let (message, hint) = if service.is_some() {
            (
                format!(
                    "`{}` needs the service `{name}`, whose profiles are not active",
                    self.name
                ),
                "activate one with `--profile`, or write `required: false`".to_owned(),
            )
        } else {
            let names = checker
                .services
                .entries()
                .iter()
                .map(|entry| entry.key.as_str());
            let hint = match suggest::nearest(name, names) {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => "add the service, or remove this".to_owned(),
            };
            (
                format!(
                    "`{}` needs the service `{name}`, which is not defined",
                    self.name
                ),
                hint,
            )
        };
        self.error(checker, place, key, "undeclared", message, hint);
    }
}

impl Checker<'_> {
    pub(super) fn secrets(&mut self) {
        for entry in self
            .root
            .some("secrets")
            .map_or(&[][..], |all| all.entries())
        {
            let has = |key: &str| entry.value.some(key).is_some();
            if !has("external") && !has("file") && !has("environment") {
                let path = format!("secrets.{}", entry.key);
                let message = format!(
                    "the secret `{}` has neither `file` nor `environment`",
                    entry.key
                );
                let hint = "say where it comes from: `file: ./secret.txt`";
                self.out
                    .error_at(&entry.key_place, path, "missing-key", message, hint);
            }
        }
    }

    /// Services that wait for each other.
    pub(super) fn cycles(&mut self) {
        let mut done = BTreeSet::new();
        for entry in self.services.entries() {
            if !done.contains(entry.key.as_str())
                && let Some(cycle) = self.cycle_from(entry, &mut done)
            {
                let path = format!("services.{}.depends_on", entry.key);
                let message = format!("these services wait for each other: {}", cycle.join(" -> "));
                let hint = "take one of these dependencies out";
                self.out
                    .error_at(&entry.key_place, path, "cycle", message, hint);
                return;
            }
        }
    }

    /// The names of a circle that can be reached from a service; walks without recursion, as the chain may be long.
    fn cycle_from<'n>(
        &'n self,
        start: &'n Entry,
        done: &mut BTreeSet<&'n str>,
    ) -> Option<Vec<String>>
    where
        Self: 'n,
    {
        let dependencies = |name: &str| {
            let service = self.services.get(name);
            let all = service.and_then(|service| service.some("depends_on"));
            all.map_or(&[][..], |all| all.entries()).iter()
        };
        let mut way = vec![(start.key.as_str(), dependencies(&start.key))];
        let mut on_way = BTreeSet::from([start.key.as_str()]);
        while let Some((name, rest)) = way.last_mut() {
            let name = *name;
            let Some(next) = rest.next() else {
                done.insert(name);
                on_way.remove(name);
                way.pop();
                continue;
            };
            let next = next.key.as_str();
            if on_way.contains(next) {
                let mut names: Vec<String> = way
                    .iter()
                    .map(|(name, _)| (*name).to_owned())
                    .skip_while(|name| name != next)
                    .collect();
                names.push(next.to_owned());
                return Some(names);
            }
            if !done.contains(next) && self.services.get(next).is_some() {
                on_way.insert(next);
                way.push((next, dependencies(next)));
            }
        }
        None
    }
}
