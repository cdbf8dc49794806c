//! The top level of a Compose file -> `spec::Project`: its name, which services are phoenixes, and which networks and
//! volumes, secrets and configs these use.
//!
//! What no phoenix uses is left alone: a service without `x-phoenix`, a volume or a secret of such a service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::bind::At;
use super::load::Resolved;
use super::paths::Paths;
use super::phoenix::Settings;
use super::problems::Problems;
use super::top_files::{self, FileKey, FileSpec};
use super::tree::Node;
use super::{Files, Input, ReadError, service, top};
use crate::spec::{
    FileKind, NetworkName, NetworkSpec, Others, Place, Project, ProjectName, READY_NETWORK,
    ServiceName, VolumeName, VolumeSpec,
};

const KEYS: [&str; 10] = [
    "name",
    "services",
    "networks",
    "volumes",
    "secrets",
    "configs",
    "models",
    "include",
    "version",
    "x-phoenix",
];
/// Most published ports of one project: each is a listener of the edge.
const PUBLISHED_MAX: usize = 1000;

/// What the binding of a service may ask for.
pub(super) struct Context<'a> {
    project: &'a ProjectName,
    paths: Paths<'a>,
    networks: &'a BTreeMap<String, Declared<NetworkSpec>>,
    /// The file declares a network `ready`.
    declares_ready: bool,
    volumes: &'a BTreeMap<String, Declared<VolumeSpec>>,
    declared_files: &'a BTreeMap<FileKey, Declared<FileSpec>>,
}

/// Something of the top level, with the problems that count only when a phoenix uses it.
struct Declared<T> {
    spec: T,
    problems: Problems,
}

impl Context<'_> {
    /// The project's name.
    pub(super) fn project(&self) -> &ProjectName {
        self.project
    }

    /// A path of the host.
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf, &'static str> {
        self.paths.resolve(path)
    }

    /// Why a path of the host may not be mounted.
    pub(super) fn refusal(&self, path: &Path) -> Option<String> {
        self.paths.refusal(path)
    }

    /// What is in a file that the Compose file names.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.paths.files.read(path)
    }

    /// A variable of the caller, or one that Compose adds; `None` also for an empty one.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.paths.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// A declared network's name on the engine.
    pub(super) fn network_name(&self, key: &str) -> Option<&str> {
        let is_declared = key != READY_NETWORK || self.declares_ready;
        let network = self.networks.get(key).filter(|_| is_declared);
        network.map(|network| network.spec.name.as_str())
    }

    /// The network of those that are ready, declared or implied.
    pub(super) fn ready_network(&self) -> Option<&NetworkSpec> {
        self.networks
            .get(READY_NETWORK)
            .map(|network| &network.spec)
    }

    /// Whether there is a way out of a network, as far as the file says.
    pub(super) fn has_way_out(&self, name: &str) -> bool {
        let mut all = self.networks.values().map(|network| &network.spec);
        all.any(|network| network.name.as_str() == name && !network.internal)
    }

    /// A declared volume's name on the engine.
    pub(super) fn volume_name(&self, key: &str) -> Option<&str> {
        self.volumes
            .get(key)
            .map(|volume| volume.spec.name.as_str())
    }

    /// The declared networks.
    pub(super) fn network_keys(&self) -> Vec<&str> {
        let keys = self.networks.keys().map(String::as_str);
        keys.filter(|key| self.network_name(key).is_some())
            .collect()
    }

    /// The declared volumes.
    pub(super) fn volume_keys(&self) -> Vec<&str> {
        self.volumes.keys().map(String::as_str).collect()
    }

    /// Whether a secret or config is declared.
    pub(super) fn has_file(&self, kind: FileKind, key: &str) -> bool {
        self.declared_files.contains_key(&(kind, key.to_owned()))
    }

    /// What to do about one that is not.
    pub(super) fn file_hint(&self, kind: FileKind, key: &str) -> String {
        let declared = top_files::keys_of(self.declared_files, kind);
        top_files::undeclared_hint(kind, key, declared.into_iter())
    }
}

/// Binds a whole file. A project comes back also after errors, as far as it goes; the caller drops it then.
pub(super) fn bind(
    input: &Input,
    files: &dyn Files,
    resolved: &Resolved,
    out: &mut Problems,
) -> Option<Project> {
    let root = At::new(&resolved.root, "");
    let pairs = root.fields(&KEYS, out)?;
    for pair in &pairs {
        top_level(pair.key, &pair.value, out);
    }
    let name = resolved.name.clone();
    let environment = &resolved.environment;
    let paths = Paths {
        working_dir: &input.working_dir,
        environment,
        files,
    };
    let mut scope = Scope {
        paths,
        project: &name,
        out,
    };
    let defaults = scope.defaults(&root);
    let networks = scope.networks(&root);
    let declares_ready = root
        .get("networks")
        .is_some_and(|at| at.get(READY_NETWORK).is_some());
    let volumes = scope.volumes(&root);
    let declared_files = scope.files(&root);
    let cx = Context {
        project: &name,
        paths,
        networks: &networks,
        declares_ready,
        volumes: &volumes,
        declared_files: &declared_files,
    };
    let mut found = services(&cx, &defaults, &root, out)?;
    let others = found.others(&cx);
    let used_files = used(declared_files, &found.files, out);
    top_files::fill(&mut found.phoenixes, &used_files, &paths, out);
    let mut project = Project {
        name,
        working_dir: input.working_dir.clone(),
        files: input.files.iter().map(|file| file.path.clone()).collect(),
        services: found.phoenixes,
        foreign: found.foreign,
        networks: used(networks, &found.networks, out),
        volumes: used(volumes, &found.volumes, out),
        others,
    };
    project.foreign.sort();
    ports(&project, out);
    Some(project)
}

fn top_level(key: &str, value: &At<'_>, out: &mut Problems) {
    if key == "version" {
        out.warning(
            value,
            "obsolete",
            "`version` is obsolete and has no meaning any more",
            "remove it",
        );
    }
}

/// Only those that a phoenix uses, with their problems.
fn used<K: Ord, T>(
    declared: BTreeMap<K, Declared<T>>,
    keys: &BTreeSet<K>,
    out: &mut Problems,
) -> Vec<T> {
    let mut specs = Vec::new();
    for (key, one) in declared {
        if keys.contains(&key) {
            out.append(one.problems);
            specs.push(one.spec);
        }
    }
    specs
}

/// Two on one port of the host.
fn ports(project: &Project, out: &mut Problems) {
    let published: usize = project
        .services
        .values()
        .map(|service| service.published.len())
        .sum();
    if published <= PUBLISHED_MAX {
        out.extend(project.port_conflicts());
        return;
    }
    if let Some(service) = project.services.values().next() {
        let place = service.place("ports");
        let problem = crate::spec::Diagnostic::error(
            "invalid-value",
            place,
            service.path("ports"),
            format!("the project publishes {published} ports, and at most {PUBLISHED_MAX} can be"),
        );
        out.push(problem.hint("publish fewer ports"));
    }
}

/// What the top level is read with.
struct Scope<'a> {
    paths: Paths<'a>,
    project: &'a ProjectName,
    out: &'a mut Problems,
}

impl Scope<'_> {
    fn defaults(&mut self, root: &At<'_>) -> Settings {
        let mut settings = Settings::default();
        if let (Some(entry), Some(at)) = (root.node.entry("x-phoenix"), root.get("x-phoenix")) {
            settings.read_defaults(&at, &entry.key_place, self.out);
        }
        settings
    }

    fn networks(&mut self, root: &At<'_>) -> BTreeMap<String, Declared<NetworkSpec>> {
        let mut networks = BTreeMap::new();
        for pair in self.declared("networks", root) {
            let mut problems = Problems::default();
            let at = &pair.value;
            let written = Some((at, pair.key_place));
            let spec = top::network(self.project.as_str(), pair.key, written, &mut problems);
            networks.insert(pair.key.to_owned(), Declared { spec, problems });
        }
        for key in ["default", READY_NETWORK] {
            let implied = || Declared {
                spec: top::network(self.project.as_str(), key, None, &mut Problems::default()),
                problems: Problems::default(),
            };
            networks.entry(key.to_owned()).or_insert_with(implied);
        }
        networks
    }

    fn volumes(&mut self, root: &At<'_>) -> BTreeMap<String, Declared<VolumeSpec>> {
        let mut volumes = BTreeMap::new();
        for pair in self.declared("volumes", root) {
            let mut problems = Problems::default();
            let at = &pair.value;
            let spec = top::volume(
                self.project.as_str(),
                pair.key,
                at,
                pair.key_place,
                &self.paths,
                &mut problems,
            );
            volumes.insert(pair.key.to_owned(), Declared { spec, problems });
        }
        volumes
    }

    fn files(&mut self, root: &At<'_>) -> BTreeMap<FileKey, Declared<FileSpec>> {
        let mut files = BTreeMap::new();
        for kind in [FileKind::Secret, FileKind::Config] {
            for pair in self.declared(kind.key(), root) {
                let mut problems = Problems::default();
                let spec =
                    top_files::file(kind, pair.key, pair.key_place, &pair.value, &mut problems);
                files.insert((kind, pair.key.to_owned()), Declared { spec, problems });
            }
        }
        files
    }

    /// The pairs under a key of the top level, with usable names.
    fn declared<'n>(&mut self, key: &str, root: &At<'n>) -> Vec<super::bind::Pair<'n>> {
        let Some(at) = root.get(key) else {
            return Vec::new();
        };
        let mut pairs = at.map(self.out).unwrap_or_default();
        pairs.retain(|pair| {
            pair.key.starts_with("x-") || check_key(pair.key, pair.key_place, &pair.value, self.out)
        });
        pairs
    }
}

/// The services of a file, sorted out.
struct Found {
    phoenixes: BTreeMap<ServiceName, crate::spec::Service>,
    foreign: Vec<ServiceName>,
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    files: BTreeSet<FileKey>,
    /// Networks and volumes that services of docker compose use, by their keys.
    others_networks: BTreeSet<String>,
    others_volumes: BTreeSet<String>,
}

impl Found {
    /// A service that is left to docker compose; whatever is wrong in it is that one's to say.
    fn foreign(&mut self, name: &str, service: &Node) {
        self.foreign.push(ServiceName::new(name));
        if let Some(networks) = service.some("networks") {
            let keys = networks.entries().iter().map(|entry| entry.key.as_str());
            let keys = keys.chain(networks.items().iter().filter_map(|item| item.as_text()));
            self.others_networks.extend(keys.map(str::to_owned));
        }
        let volumes = service.some("volumes").map(|volumes| volumes.items());
        for volume in volumes.unwrap_or_default() {
            let source = match volume.as_text() {
                Some(short) => short.split(':').next(),
                None => volume.some("source").and_then(|source| source.as_text()),
            };
            self.others_volumes.extend(source.map(str::to_owned));
        }
    }

    fn others(&self, cx: &Context<'_>) -> Others {
        let networks = self.others_networks.iter();
        let volumes = self.others_volumes.iter();
        Others {
            networks: (networks.filter_map(|key| cx.network_name(key)))
                .map(NetworkName::new)
                .collect(),
            volumes: (volumes.filter_map(|key| cx.volume_name(key)))
                .map(VolumeName::new)
                .collect(),
        }
    }
}

fn services(
    cx: &Context<'_>,
    defaults: &Settings,
    root: &At<'_>,
    out: &mut Problems,
) -> Option<Found> {
    let Some(at) = root.get("services") else {
        let hint = "add `services:` with at least one service";
        out.error(root, "missing-key", "the file has no services", hint);
        return None;
    };
    let mut found = Found {
        phoenixes: BTreeMap::new(),
        foreign: Vec::new(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        files: BTreeSet::new(),
        others_networks: BTreeSet::new(),
        others_volumes: BTreeSet::new(),
    };
    // A service that is no mapping may have been meant to be one.
    let mut meant = 0;
    for pair in at.map(out)? {
        if pair.value.as_map().is_none() {
            pair.value.wrong_type("a mapping", out);
            meant += 1;
            continue;
        }
        if pair.value.node.entry("x-phoenix").is_none() {
            found.foreign(pair.key, pair.value.node);
            continue;
        }
        meant += 1;
        if !check_key(pair.key, pair.key_place, &pair.value, out) {
            continue;
        }
        let at = &pair.value;
        let bound = service::bind(cx, defaults, pair.key, pair.key_place, at, out);
        found.networks.extend(bound.networks);
        found.volumes.extend(bound.volumes);
        found.files.extend(bound.files);
        let service = bound.service;
        found.phoenixes.insert(service.name.clone(), service);
    }
    service::settle(&mut found.phoenixes, &at, out);
    if meant == 0 {
        no_phoenix(&at, &found.foreign, out);
    }
    Some(found)
}

fn no_phoenix(at: &At<'_>, foreign: &[ServiceName], out: &mut Problems) {
    let file = at.node.place.file.display();
    let (message, hint) = match foreign.first() {
        Some(name) => (
            format!("no service of `{file}` is a phoenix"),
            format!(
                "add `x-phoenix: {{}}` to the services that phoenixd is to run, such as `{name}`"
            ),
        ),
        None => (
            format!("`{file}` has no services"),
            "add a service with `image:` and `x-phoenix: {}`".to_owned(),
        ),
    };
    let place = Place::file(&**at.node.place.file);
    out.error_at(&place, at.path(), "no-phoenix", message, hint);
}

/// Whether a key may name a service, a network or a volume.
fn check_key(key: &str, key_place: &Place, at: &At<'_>, out: &mut Problems) -> bool {
    let is_name = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !is_name {
        out.error_at(
            key_place,
            at.path(),
            "invalid-value",
            format!("`{key}` cannot be a name here"),
            "use letters, digits, `.`, `_` and `-`",
        );
    }
    is_name
}
