//! `depends_on` of a phoenix, in both of its forms, and who runs what it depends on.
//!
//! Not here: services that wait for each other (`load::references`, for the whole file), and whether a dependency runs
//! (`reconcile`).

use std::collections::BTreeMap;

use super::binder::Binder;
use crate::compose::bind::{At, Pair};
use crate::compose::problems::Problems;
use crate::compose::suggest;
use crate::spec::{Condition, Dependency, Place, RunBy, Service, ServiceName};

const CONDITIONS: [Condition; 3] = [
    Condition::Started,
    Condition::Healthy,
    Condition::CompletedSuccessfully,
];

impl Binder<'_, '_> {
    pub(super) fn depends_on(&mut self, at: &At<'_>) {
        if at.as_list().is_some() {
            // Repetition is an error here, as it is in the schema of the specification.
            let Some(names) = at.unique_texts(self.out) else {
                return;
            };
            for (name, item) in names.iter().zip(at.texts(self.out).unwrap_or_default()) {
                self.depend(name, Dependency::default(), &item.1.node.place);
            }
            return;
        }
        let Some(pairs) = at.as_map() else {
            at.wrong_type("a list or a mapping", self.out);
            return;
        };
        for pair in pairs {
            if let Some(dependency) = self.long_form(&pair) {
                self.depend(pair.key, dependency, pair.key_place);
            }
        }
    }

    fn long_form(&mut self, pair: &Pair<'_>) -> Option<Dependency> {
        let known = ["condition", "required", "restart"];
        let mut dependency = Dependency::default();
        let mut has_condition = false;
        for field in pair.value.fields(&known, self.out)? {
            let value = &field.value;
            match field.key {
                "condition" => {
                    has_condition = true;
                    let names = CONDITIONS.map(Condition::name);
                    let name = value.one_of(&names, self.out);
                    let found = CONDITIONS.into_iter().find(|one| Some(one.name()) == name);
                    dependency.condition = found.unwrap_or(dependency.condition);
                }
                "required" => dependency.required = value.boolean(self.out).unwrap_or(true),
                _ => dependency.restart = value.boolean(self.out).unwrap_or(false),
            }
        }
        if !has_condition {
            let message = format!("the dependency on `{}` has no `condition`", pair.key);
            let hint = format!(
                "add one of {}",
                suggest::list(&CONDITIONS.map(Condition::name))
            );
            self.out.error_at(
                pair.key_place,
                pair.value.path(),
                "missing-key",
                message,
                hint,
            );
            return None;
        }
        Some(dependency)
    }

    fn depend(&mut self, name: &str, dependency: Dependency, place: &Place) {
        self.places.insert(key_of(name), place.clone());
        self.depends_on.insert(ServiceName::new(name), dependency);
    }
}

/// Under which key the place of a dependency is kept.
fn key_of(name: impl std::fmt::Display) -> String {
    format!("depends_on.{name}")
}

/// Looks at the dependencies of all phoenixes together, when every service is known: who runs each of them, and whether it
/// can be what is asked for.
pub(in crate::compose) fn settle(
    phoenixes: &mut BTreeMap<ServiceName, Service>,
    services: &At<'_>,
    out: &mut Problems,
) {
    for service in phoenixes.values_mut() {
        let names: Vec<ServiceName> = service.depends_on.keys().cloned().collect();
        for name in names {
            match services.get(name.as_str()) {
                Some(at) => settle_one(service, &name, &at, out),
                None => undefined(service, &name, services, out),
            }
        }
    }
}

fn settle_one(service: &mut Service, name: &ServiceName, at: &At<'_>, out: &mut Problems) {
    let Some(dependency) = service.depends_on.get_mut(name) else {
        return;
    };
    if at.node.entry("x-phoenix").is_none() {
        dependency.run_by = RunBy::Compose;
        if has_no_container(at) {
            // As docker compose, which does not wait for it either (2.40.3, `shouldWaitForDependency`).
            service.depends_on.remove(name);
        }
        return;
    }
    dependency.run_by = RunBy::Phoenixd;
    if dependency.condition == Condition::CompletedSuccessfully {
        let key = key_of(name);
        let message = format!(
            "`{name}` is a phoenix, and a phoenix never completes: when it ends, it rises anew"
        );
        let hint = format!(
            "write `condition: service_healthy`, or leave `{name}` to docker compose, without `x-phoenix`"
        );
        if let Some(place) = service.place(&key) {
            out.error_at(&place, service.path(&key), "refused", message, hint);
        }
    }
}

/// Whatever its profile is, it has to be in the file; who does not run it by a profile may run it by its name.
fn undefined(service: &Service, name: &ServiceName, services: &At<'_>, out: &mut Problems) {
    let key = key_of(name);
    let message = format!(
        "`{}` needs the service `{name}`, which is not defined",
        service.name
    );
    let names = services
        .node
        .entries()
        .iter()
        .map(|entry| entry.key.as_str());
    let hint = match suggest::nearest(name.as_str(), names) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => "add the service, or remove this".to_owned(),
    };
    if let Some(place) = service.place(&key) {
        out.error_at(&place, service.path(&key), "undeclared", message, hint);
    }
}

/// A service of docker compose that is scaled to nothing, or that something else than a container provides.
fn has_no_container(at: &At<'_>) -> bool {
    let is_zero = |at: Option<At<'_>>| at.is_some_and(|at| at.as_text() == Some("0"));
    let scale = at.get("scale");
    let replicas = || at.get("deploy")?.get("replicas");
    at.get("provider").is_some() || is_zero(scale) || is_zero(replicas())
}
