//! `build`: how the service's image is made. What the engine's build API cannot do is kept with its place: it is a problem
//! only when phoenixd has to build, and not when the image is there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::binder::Binder;
use super::keys::Harmless;
use super::{limits, network};
use crate::compose::bind::{At, Pair};
use crate::compose::image::image_problem;
use crate::spec::{Beyond, Build, BuildContext, Dockerfile, ImageRef};

/// The keys of `build` (Compose Specification, *Compose Build Specification*).
const FIELDS: [&str; 24] = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

impl Binder<'_, '_> {
    pub(super) fn build(&mut self, at: &At<'_>) {
        let mut build = Build {
            context: BuildContext::Directory(PathBuf::from(".")),
            dockerfile: Dockerfile::File("Dockerfile".to_owned()),
            args: BTreeMap::new(),
            target: None,
            labels: BTreeMap::new(),
            cache_from: Vec::new(),
            no_cache: false,
            pull: false,
            network: None,
            shm_size_bytes: None,
            ulimits: BTreeMap::new(),
            extra_hosts: Vec::new(),
            platform: None,
            tags: Vec::new(),
            beyond: Vec::new(),
        };
        for pair in at.fields(&FIELDS, self.out).unwrap_or_default() {
            let place = pair.key_place.clone();
            self.places.insert(format!("build.{}", pair.key), place);
            if !pair.value.is_null() {
                self.build_key(&pair, &mut build);
            }
        }
        self.build = Some(build);
    }

    fn build_key(&mut self, pair: &Pair<'_>, build: &mut Build) {
        let at = &pair.value;
        match pair.key {
            "context" => {
                if let Some(context) = at.some_text(self.out) {
                    build.context = context_of(context);
                }
            }
            "dockerfile" => {
                if let Some(path) = at.some_text(self.out) {
                    build.dockerfile = Dockerfile::File(path);
                }
            }
            "dockerfile_inline" => {
                if let Some(text) = at.some_text(self.out) {
                    build.dockerfile = Dockerfile::Inline(text);
                }
            }
            "args" => {
                // One without a value is one that the environment does not have: nothing is passed.
                let args = at.key_values(self.out).unwrap_or_default();
                let args = args.into_iter();
                build.args = args
                    .filter_map(|(key, (value, _))| Some((key, value?)))
                    .collect();
            }
            "target" => build.target = at.some_text(self.out),
            "labels" => build.labels = at.labels(self.out).unwrap_or_default(),
            "cache_from" => build.cache_from = self.each_text(at),
            "no_cache" => build.no_cache = at.boolean(self.out).unwrap_or(false),
            "pull" => build.pull = at.boolean(self.out).unwrap_or(false),
            "network" => build.network = at.some_text(self.out),
            "shm_size" => build.shm_size_bytes = at.bytes(self.out),
            "ulimits" => build.ulimits = limits::ulimits(at, self.out),
            "extra_hosts" => build.extra_hosts = network::extra_hosts(at, self.out),
            "tags" => self.build_tags(at, build),
            "platforms" => self.platforms(pair, build),
            // It says where a container runs on Windows.
            "isolation" if Harmless::Words(&["", "default"]).covers(at) => {}
            "privileged" | "provenance" | "sbom" if Harmless::False.covers(at) => {}
            _ if Harmless::Empty.covers(at) => {}
            _ => beyond(pair, build),
        }
    }

    fn each_text(&mut self, at: &At<'_>) -> Vec<String> {
        let texts = at.text_or_texts(self.out).unwrap_or_default();
        texts.into_iter().map(|(text, _)| text.to_owned()).collect()
    }

    fn build_tags(&mut self, at: &At<'_>, build: &mut Build) {
        for (tag, item) in at.text_or_texts(self.out).unwrap_or_default() {
            match image_problem(tag) {
                Some(problem) => item.invalid(
                    format!("`{tag}` is not an image's name: {problem}"),
                    "write `name:tag` or `registry/name:tag`",
                    self.out,
                ),
                None => build.tags.push(tag.to_owned()),
            }
        }
    }

    /// One is built for; several are one image only to `BuildKit`.
    fn platforms(&mut self, pair: &Pair<'_>, build: &mut Build) {
        let mut platforms = self.each_text(&pair.value);
        match platforms.len() {
            0 => {}
            1 => build.platform = platforms.pop(),
            _ => beyond(pair, build),
        }
    }

    /// What `build`, `image` and `platform` say together.
    pub(super) fn finish_build(&mut self) {
        let Some(build) = &mut self.build else {
            return;
        };
        if let Some(platform) = &self.container.platform {
            // The service's own is the one of several that runs here.
            build.platform = Some(platform.clone());
            build.beyond.retain(|beyond| beyond.key != "platforms");
        }
        if let (BuildContext::Remote(_), Dockerfile::Inline(_)) =
            (&build.context, &build.dockerfile)
            && let Some(place) = self.places.get("build.dockerfile_inline")
        {
            build.beyond.push(Beyond {
                key: "dockerfile_inline".to_owned(),
                place: place.clone(),
            });
        }
        if self.at.get("image").is_none_or(|image| image.is_null()) {
            self.name_built_image();
        }
    }

    /// Compose's name for an image that the file gives none: `PROJECT-SERVICE` (docker/compose v2.40.3,
    /// `api.GetImageNameOrDefault`).
    fn name_built_image(&mut self) {
        let project = self.cx.project();
        let name = format!("{project}-{}", self.name);
        match image_problem(&name) {
            None => self.container.image = ImageRef::new(name),
            Some(problem) => self.missing(
                "missing-key",
                format!(
                    "what `{}` builds would be `{name}`, and {problem}",
                    self.name
                ),
                "name it: `image: my-image`",
            ),
        }
    }
}

fn beyond(pair: &Pair<'_>, build: &mut Build) {
    build.beyond.push(Beyond {
        key: pair.key.to_owned(),
        place: pair.key_place.clone(),
    });
}

/// Directories are absolute by now; everything else is an address.
fn context_of(text: String) -> BuildContext {
    if text.starts_with('/') {
        BuildContext::Directory(PathBuf::from(text))
    } else {
        BuildContext::Remote(text)
    }
}
