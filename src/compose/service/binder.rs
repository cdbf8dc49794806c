//! A service while it is bound: key by key, then what several keys say together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::keys::{KEYS, Treatment};
use super::network;
use crate::compose::bind::{At, Pair};
use crate::compose::phoenix::Settings;
use crate::compose::problems::Problems;
use crate::compose::project::Context;
use crate::compose::suggest;
use crate::spec::{
    ContainerSpec, ImageRef, NetworkMode, Phoenix, Place, Published, Service, ServiceName,
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
        own_environment: BTreeMap::new(),
        env_files: Vec::new(),
        published: Vec::new(),
        replicas: None,
        networks: None,
        network_mode: None,
        targets: BTreeMap::new(),
        used_networks: BTreeSet::new(),
        used_volumes: BTreeSet::new(),
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
    pub(super) own_environment: BTreeMap<String, Option<String>>,
    pub(super) env_files: Vec<EnvFile>,
    pub(super) published: Vec<Published>,
    /// How many replicas, and which key says so.
    pub(super) replicas: Option<(i64, String)>,
    pub(super) networks: Option<Vec<network::Wanted>>,
    pub(super) network_mode: Option<(NetworkMode, Place)>,
    /// What is mounted where in the container.
    pub(super) targets: BTreeMap<String, Place>,
    pub(super) used_networks: BTreeSet<String>,
    pub(super) used_volumes: BTreeSet<String>,
}

/// One file of `env_file`.
pub(super) struct EnvFile {
    /// As the file names it, from the working directory.
    pub(super) path: PathBuf,
    pub(super) required: bool,
    pub(super) raw: bool,
    pub(super) place: Place,
    pub(super) path_in_file: String,
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
            Treatment::Harmless => {}
            Treatment::NotYet(hint) => self.out.error_at(
                pair.key_place,
                pair.value.path(),
                "not-supported",
                format!("`{key}` is not supported yet"),
                *hint,
            ),
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
    fn missing(&mut self, code: &'static str, message: String, hint: &str) {
        self.out
            .error_at(&self.key_place, self.at.path(), code, message, hint);
    }

    fn finish(mut self, defaults: &Settings) -> Bound {
        if self.container.image.as_str().is_empty() && self.at.get("image").is_none() {
            let (message, hint) = if self.at.get("build").is_some() {
                (
                    format!(
                        "`{}` has `build` and no `image`: phoenixd builds nothing",
                        self.name
                    ),
                    "build the image elsewhere (`docker compose build`), and name it with `image:`",
                )
            } else {
                (
                    format!("`{}` has no `image`", self.name),
                    "name one: `image: nginx:1.29`",
                )
            };
            self.missing("missing-key", message, hint);
        }
        self.finish_environment();
        self.finish_network();
        let replicas = self.replicas.as_ref().map_or(1, |(number, _)| *number);
        let replicas = u32::try_from(replicas).unwrap_or(1);
        let phoenix = self.phoenix(defaults, replicas);
        Bound {
            service: Service {
                name: self.name,
                replicas,
                container: self.container,
                phoenix,
                published: self.published,
                places: self.places,
            },
            networks: self.used_networks,
            volumes: self.used_volumes,
        }
    }

    /// The project's defaults with the service's own settings on top.
    fn phoenix(&mut self, defaults: &Settings, replicas: u32) -> Phoenix {
        let mut settings = defaults.clone();
        if let Some(entry) = self.at.node.entry("x-phoenix") {
            let path = format!("{}.x-phoenix", self.at.path());
            let own = At::new(&entry.value, path);
            settings.read_service(&own, &entry.key_place, replicas, self.out);
        }
        self.places.extend(settings.places);
        settings.phoenix
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
