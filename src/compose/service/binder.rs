//! A service while it is bound: key by key, then what several keys say together.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{KEYS, Treatment};
use super::network;
use crate::compose::bind::{At, Pair};
use crate::compose::model;
use crate::compose::phoenix::Settings;
use crate::compose::problems::Problems;
use crate::compose::project::Context;
use crate::compose::suggest;
use crate::compose::top_files::FileKey;
use crate::spec::{
    Build, ContainerSpec, Dependency, ImageRef, NetworkMode, Phoenix, Place, Published, PullPolicy,
    Service, ServiceName,
};

/// Most replicas of one service. A host of the size that Docker runs on holds fewer.
const REPLICAS_MAX: i64 = 1000;

/// A bound service, and what of the top level it uses.
#[derive(Debug)]
pub(in crate::compose) struct Bound {
    /// The service, as far as it could be read.
    pub(in crate::compose) service: Service,
    /// Keys of top-level networks.
    pub(in crate::compose) networks: BTreeSet<String>,
    /// Keys of top-level volumes.
    pub(in crate::compose) volumes: BTreeSet<String>,
    /// Top-level secrets and configs.
    pub(in crate::compose) files: BTreeSet<FileKey>,
}

/// Binds one phoenix.
pub(in crate::compose) fn bind(
    cx: &Context<'_>,
    defaults: &Settings,
    name: &str,
    key_place: &Place,
    at: &At<'_>,
    out: &mut Problems,
) -> Bound {
    let mut binder = Binder {
        cx,
        out,
        name: ServiceName::new(name),
        key_place: key_place.clone(),
        at,
        container: ContainerSpec::of_image(ImageRef::new("")),
        places: BTreeMap::from([(String::new(), key_place.clone())]),
        published: Vec::new(),
        depends_on: BTreeMap::new(),
        replicas: None,
        pull: None,
        networks: None,
        network_mode: None,
        targets: BTreeMap::new(),
        build: None,
        used_networks: BTreeSet::new(),
        used_volumes: BTreeSet::new(),
        used_files: BTreeSet::new(),
    };
    if let Some(pairs) = at.as_map() {
        for pair in &pairs {
            binder.key(pair);
        }
    }
    binder.finish(defaults)
}

/// A service while it is bound.
pub(super) struct Binder<'a, 'n> {
    pub(super) cx: &'a Context<'a>,
    pub(super) out: &'a mut Problems,
    pub(super) name: ServiceName,
    pub(super) key_place: Place,
    pub(super) at: &'a At<'n>,
    pub(super) container: ContainerSpec,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) published: Vec<Published>,
    pub(super) depends_on: BTreeMap<ServiceName, Dependency>,
    /// How many replicas, and which key says so.
    pub(super) replicas: Option<(i64, String)>,
    /// `pull_policy`, and where it stands.
    pub(super) pull: Option<(PullPolicy, Place)>,
    pub(super) networks: Option<Vec<network::Wanted>>,
    pub(super) network_mode: Option<(NetworkMode, Place)>,
    /// What is mounted where in the container.
    pub(super) targets: BTreeMap<String, Place>,
    /// How the image is made.
    pub(super) build: Option<Build>,
    pub(super) used_networks: BTreeSet<String>,
    pub(super) used_volumes: BTreeSet<String>,
    pub(super) used_files: BTreeSet<FileKey>,
}

impl Binder<'_, '_> {
    pub(super) fn errors(&self) -> usize {
        self.out.errors()
    }

    fn key(&mut self, pair: &Pair<'_>) {
        if pair.key.starts_with("x-") {
            return;
        }
        let Some((key, treatment)) = KEYS.iter().find(|(key, _)| *key == pair.key) else {
            self.unknown(pair);
            return;
        };
        self.places
            .insert((*key).to_owned(), pair.key_place.clone());
        if pair.value.is_null() {
            return;
        }
        match treatment {
            Treatment::Bound(bind) => bind(self, &pair.value),
            Treatment::Loaded | Treatment::NotOurs => {}
            Treatment::Refused {
                harmless,
                reason,
                hint,
            } => {
                if !harmless.covers(&pair.value) {
                    self.refuse(pair.key_place, &pair.value, key, reason, hint);
                }
            }
        }
    }

    /// A value that no phoenix can have, whatever comes later.
    pub(super) fn refuse(
        &mut self,
        place: &Place,
        at: &At<'_>,
        key: &str,
        reason: &str,
        hint: &str,
    ) {
        let what = match at.as_text() {
            Some(text) => format!("{key}: {text}"),
            None => key.to_owned(),
        };
        self.out.error_at(
            place,
            at.path(),
            "refused",
            format!("`{what}` is refused: {reason}"),
            hint,
        );
    }

    fn unknown(&mut self, pair: &Pair<'_>) {
        let known = KEYS.iter().map(|(key, _)| *key).chain(["x-phoenix"]);
        let hint = match suggest::nearest(pair.key, known) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => format!(
                "remove it, or call it `x-{}` if another tool reads it",
                pair.key
            ),
        };
        self.out.error_at(
            pair.key_place,
            pair.value.path(),
            "unknown-key",
            format!("`{}` is not a key of a service", pair.key),
            hint,
        );
    }

    /// An error about the whole service.
    pub(super) fn missing(&mut self, code: &'static str, message: String, hint: &str) {
        self.out
            .error_at(&self.key_place, self.at.path(), code, message, hint);
    }

    fn finish(mut self, defaults: &Settings) -> Bound {
        let has_none = |key: &str| self.at.get(key).is_none();
        let is_nameless = self.container.image.as_str().is_empty() && has_none("image");
        if is_nameless && has_none("provider") && has_none("build") {
            let message = format!("`{}` has no `image`", self.name);
            self.missing("missing-key", message, "name one: `image: nginx:1.29`");
        }
        self.finish_network();
        let replicas = self.replicas.as_ref().map_or(1, |(number, _)| *number);
        let replicas = u32::try_from(replicas).unwrap_or(1);
        let (phoenix, pull) = self.phoenix(defaults, replicas);
        self.finish_edge(phoenix.edge);
        self.platform_of_environment();
        self.finish_build();
        Bound {
            service: Service {
                name: self.name,
                replicas,
                container: self.container,
                build: self.build,
                pull,
                phoenix,
                published: self.published,
                depends_on: self.depends_on,
                // A project with errors is dropped, and its hash may cost a lot.
                compose_hash: (self.out.errors() == 0).then(|| model::service_hash(self.at.node)),
                places: self.places,
            },
            networks: self.used_networks,
            volumes: self.used_volumes,
            files: self.used_files,
        }
    }

    /// The project's defaults with the service's own settings on top.
    fn phoenix(&mut self, defaults: &Settings, replicas: u32) -> (Phoenix, PullPolicy) {
        let mut settings = defaults.clone();
        let mut own_latest = None;
        if let Some(entry) = self.at.node.entry("x-phoenix") {
            let path = format!("{}.x-phoenix", self.at.path());
            let own = At::new(&entry.value, path);
            settings.read_service(&own, &entry.key_place, replicas, self.out);
            own_latest = own.get("pull").filter(|_| settings.pull_latest);
        }
        let pull = self.pull(settings.pull_latest, own_latest.as_ref());
        self.places.extend(settings.places);
        (settings.phoenix, pull)
    }

    /// When the registry is asked: what `pull_policy` says, else what `x-phoenix` does.
    fn pull(&mut self, latest: bool, own_latest: Option<&At<'_>>) -> PullPolicy {
        let Some((policy, place)) = self.pull.take() else {
            return if latest {
                PullPolicy::Latest
            } else {
                PullPolicy::Missing
            };
        };
        if let Some(at) = own_latest {
            let message = format!(
                "`pull: latest` and `pull_policy` (line {}) both say when the image is asked for",
                place.line
            );
            self.out
                .error(at, "conflict", message, "keep one of the two");
        }
        policy
    }

    /// The platform of everything that names none, as docker compose has it (v2.40.3, `pkg/compose/convergence.go`).
    fn platform_of_environment(&mut self) {
        if self.container.platform.is_none() {
            let platform = self.cx.variable("DOCKER_DEFAULT_PLATFORM");
            self.container.platform = platform.map(str::to_owned);
        }
    }

    /// How many replicas, from `scale` or `deploy.replicas`.
    pub(super) fn bind_replicas(&mut self, at: &At<'_>, key: &str) {
        let Some(number) = at.integer(0, REPLICAS_MAX, self.out) else {
            return;
        };
        match &self.replicas {
            Some((other, other_key)) if *other != number => {
                let message = format!("`{key}: {number}` contradicts `{other_key}: {other}`");
                self.out
                    .error(at, "conflict", message, "keep one of the two");
            }
            Some(_) | None => self.replicas = Some((number, key.to_owned())),
        }
    }
}
