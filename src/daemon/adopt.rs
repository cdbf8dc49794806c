//! Labels mode: from what the engine has of a project of docker compose to what the core wants.
//!
//! Each running container of docker compose that carries `phoenixd.ttl` is a unit of its own, and so is each replica that
//! once took such a container's place: there is no file, Docker is the state. A unit that cannot be adopted is named with
//! its reasons, and left exactly as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{ResolvedProject, Supervised};
use crate::adopt::{self, Derived, Examined, Surroundings, Unit, Value};
use crate::docker::{self, Engine, Error, Scope};
use crate::reconcile::{Adopted, ContainerState, Desired, Listing, Observed};
use crate::spec::{
    self, ContainerId, Diagnostic, ImageFacts, ImageRef, Project, ProjectName, Published, Resolved,
    ServiceName, SpecHash,
};

/// What is adopted of a project, and what is not.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The units that are adopted, as services.
    pub resolved: ResolvedProject,
    /// Where each of them comes from.
    pub units: BTreeMap<ServiceName, Origin>,
    /// The units that are not, and why.
    pub refused: BTreeMap<ServiceName, Refused>,
}

/// Where a unit comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The container that it was told from.
    pub id: ContainerId,
    /// The name that is handed on.
    pub name: String,
    /// Its service in docker compose's file.
    pub service: ServiceName,
    /// What docker compose made it from, told by its hash.
    pub definition: SpecHash,
    /// The original still runs, and holds its ports.
    pub has_original: bool,
    /// What is worth saying.
    pub notes: Vec<String>,
}

/// A unit that is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its container.
    pub id: ContainerId,
    /// The container's name.
    pub name: String,
    /// Why, one sentence each.
    pub why: Vec<String>,
}

/// Looks for what can be adopted. Changes nothing.
///
/// `services` are those whose originals are wanted, all when empty; replicas of earlier adoptions are always.
///
/// # Errors
/// The engine could not be asked.
pub async fn discover<E: Engine>(
    engine: &E,
    project: &ProjectName,
    services: &BTreeSet<ServiceName>,
    around: &Surroundings<'_>,
) -> Result<Adoption, Error> {
    let listing = engine.list(&scope_of(project)).await?;
    let mut adoption = Adoption {
        resolved: ResolvedProject::of(empty(project), BTreeMap::new()),
        units: BTreeMap::new(),
        refused: BTreeMap::new(),
    };
    for (unit, members) in units(&listing) {
        let Some(source) = source(&members) else {
            continue;
        };
        let Some(examined) = engine.examine(&source.id).await? else {
            continue;
        };
        let labels = examined.inspect.at(&["Config", "Labels"]).text_fields();
        let Some(compose) = adopt::unit(&labels) else {
            continue;
        };
        let is_wanted = services.is_empty() || services.contains(&compose.service);
        if source.is_original() && !is_wanted {
            continue;
        }
        let told = if members.iter().any(|one| is_of_a_file(one)) {
            Err(vec![
                "`phoenixd up` runs replicas of this service: it has one supervisor or the other"
                    .to_owned(),
            ])
        } else {
            resolve(engine, &examined, &labels, &compose, around).await?
        };
        match told {
            Ok((derived, resolved)) => {
                let origin = Origin {
                    id: source.id.clone(),
                    name: derived.name,
                    service: compose.service,
                    definition: SpecHash::new(adopt::definition(&labels)),
                    has_original: source.is_original(),
                    notes: derived.notes,
                };
                adoption.take(unit, origin, resolved);
            }
            Err(why) => adoption.refuse(unit, source, why),
        }
    }
    Ok(adoption)
}

/// The containers of the project, originals included.
fn scope_of(project: &ProjectName) -> Scope {
    Scope {
        project: project.clone(),
        networks: BTreeSet::new(),
        volumes: BTreeSet::new(),
        originals: true,
        dependencies: BTreeSet::new(),
    }
}

impl Adoption {
    fn take(&mut self, unit: ServiceName, origin: Origin, resolved: Resolved) {
        self.resolved
            .project
            .services
            .insert(unit.clone(), resolved.service.clone());
        self.resolved.services.insert(unit.clone(), resolved);
        self.units.insert(unit, origin);
    }

    fn refuse(&mut self, unit: ServiceName, source: &Observed, why: Vec<String>) {
        let refused = Refused {
            id: source.id.clone(),
            name: source.name.clone(),
            why,
        };
        self.refused.insert(unit, refused);
    }

    /// What the core wants.
    pub fn wanted(&self) -> BTreeMap<ServiceName, Desired> {
        let mut wanted = self.resolved.wanted();
        for (unit, desired) in &mut wanted {
            desired.adopted = self.units.get(unit).map(|origin| Adopted {
                name: origin.name.clone(),
                service: origin.service.clone(),
                definition: origin.definition.clone(),
            });
        }
        wanted
    }

    /// What a listing is about: its containers, originals included, and the networks and volumes that they need.
    pub fn scope(&self) -> Scope {
        let containers = || self.resolved.services.values().map(|unit| &unit.container);
        let networks = containers().flat_map(spec::ContainerSpec::attachments);
        let mounts = containers().flat_map(|container| &container.mounts);
        Scope {
            networks: networks
                .map(|attachment| attachment.network.clone())
                .collect(),
            volumes: mounts
                .filter_map(|mount| match &mount.source {
                    spec::MountSource::Volume { name, .. } => Some(name.clone()),
                    spec::MountSource::Bind { .. }
                    | spec::MountSource::Anonymous { .. }
                    | spec::MountSource::Image { .. } => None,
                })
                .collect(),
            ..scope_of(&self.resolved.project.name)
        }
    }

    /// Something of the project has been adopted already.
    pub fn has_begun(&self) -> bool {
        self.units.values().any(|origin| !origin.has_original)
    }

    /// What is only shown: the units that are left as they are, and why.
    pub fn left_alone(&self) -> BTreeMap<ServiceName, String> {
        let refused = self.refused.iter();
        refused
            .map(|(unit, refused)| (unit.clone(), refused.why.join("; ")))
            .collect()
    }

    /// What is supervised.
    pub fn supervised(&self) -> Supervised {
        let ports = |is_held: bool| -> BTreeSet<Published> {
            let units = self.resolved.services.iter();
            units
                .filter(|(unit, _)| {
                    self.units
                        .get(*unit)
                        .is_some_and(|origin| origin.has_original == is_held)
                })
                .flat_map(|(_, resolved)| resolved.service.published.iter().copied())
                .collect()
        };
        let (free, held) = (ports(false), ports(true));
        Supervised {
            wanted: self.wanted(),
            scope: self.scope(),
            later: held.difference(&free).copied().collect(),
            ports: free,
            refused: self.left_alone(),
            ..Supervised::of(&self.resolved)
        }
    }
}

/// The containers of each unit, originals first.
fn units(listing: &Listing) -> BTreeMap<ServiceName, Vec<&Observed>> {
    let mut units: BTreeMap<ServiceName, Vec<&Observed>> = BTreeMap::new();
    for container in &listing.containers {
        if let Some(identity) = &container.identity {
            let unit = identity.replica.service.clone();
            units.entry(unit).or_default().push(container);
        }
    }
    units
}

/// The container that a unit is told from: its running original, which is what docker compose made last; else its newest
/// replica.
fn source<'a>(members: &[&'a Observed]) -> Option<&'a Observed> {
    let runs = |one: &&Observed| {
        matches!(
            one.state,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
        )
    };
    let original = members.iter().find(|one| one.is_original() && runs(one));
    let serial = |one: &&Observed| {
        one.identity
            .as_ref()
            .map(|identity| identity.replica.serial)
    };
    let replicas = members.iter().filter(|one| is_adopted(one));
    original
        .or_else(|| replicas.max_by_key(|one| serial(one)))
        .copied()
}

fn is_adopted(one: &Observed) -> bool {
    one.identity
        .as_ref()
        .is_some_and(|identity| identity.adopted.is_some())
}

/// A replica that `phoenixd up` made.
fn is_of_a_file(one: &Observed) -> bool {
    !one.is_original() && !is_adopted(one)
}

type Told = Result<(Derived, Resolved), Vec<String>>;

/// Joins a unit with its image, hardened.
async fn resolve<E: Engine>(
    engine: &E,
    examined: &Examined,
    labels: &BTreeMap<String, String>,
    compose: &Unit,
    around: &Surroundings<'_>,
) -> Result<Told, Error> {
    let mut derived = match adopt::derive(examined, around) {
        Ok(derived) => derived,
        Err(why) => return Ok(Err(why)),
    };
    if !derived.service.container.labels.contains_key(adopt::TTL) {
        return Ok(Err(vec![format!(
            "its label `{}` is the image's: consent is given by the service's own `labels:`",
            adopt::TTL
        )]));
    }
    let Some(image) = image(engine, &derived.service.container.image, examined).await? else {
        return Ok(Err(vec![
            "its image is not on the engine any more".to_owned(),
        ]));
    };
    let own = &mut derived.service.container.labels;
    own.insert(
        adopt::ADOPTED.to_owned(),
        docker::write_value(&derived.marks),
    );
    // What a replica is made from: `docker compose up` makes a container anew whose label names another image.
    if labels.contains_key(adopt::COMPOSE_IMAGE) {
        own.insert(adopt::COMPOSE_IMAGE.to_owned(), image.id.to_string());
    }
    let (resolved, diagnostics) = spec::resolve(&derived.service, &image);
    for diagnostic in diagnostics.iter().filter(|one| !one.is_error()) {
        derived.notes.push(diagnostic.message.clone());
    }
    Ok(match resolved {
        Some(resolved) => Ok((derived, resolved)),
        None => Err(diagnostics
            .iter()
            .filter(|one| one.is_error())
            .map(|one| sentence(one, compose))
            .collect()),
    })
}

/// The image by its name, which may lead to a newer one; else by the id that the container was made from.
async fn image<E: Engine>(
    engine: &E,
    name: &ImageRef,
    examined: &Examined,
) -> Result<Option<ImageFacts>, Error> {
    if let Some(facts) = engine.image(name).await? {
        return Ok(Some(facts));
    }
    match examined.inspect.at(&["Image"]) {
        Value::Text(id) => engine.image(&ImageRef::new(id.clone())).await,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
            Ok(None)
        }
    }
}

/// A problem of hardening in words of labels: there is no file here.
fn sentence(diagnostic: &Diagnostic, compose: &Unit) -> String {
    let message = &diagnostic.message;
    let service = &compose.service;
    match diagnostic.code {
        "root-user" => format!(
            "{message}; give `{service}` a `user:`, or name the exception by the label `phoenixd.allow: root`"
        ),
        "not-allowed" => {
            let allow = diagnostic.hint.as_deref().and_then(|hint| {
                let (_, rest) = hint.split_once("allow: [")?;
                rest.split_once(']').map(|(name, _)| name)
            });
            format!(
                "{message}; name the exception by the label `phoenixd.allow: {}`",
                allow.unwrap_or("…")
            )
        }
        "no-probe" => format!("{message}; add a label such as `phoenixd.probe.port: 8080`"),
        "ttl-too-short" => format!("{message}; raise the label `{}`", adopt::TTL),
        _ => match &diagnostic.hint {
            Some(hint) => format!("{message}; {hint}"),
            None => message.clone(),
        },
    }
}

/// The project: networks and volumes are docker compose's, and exist.
fn empty(name: &ProjectName) -> Project {
    Project {
        name: name.clone(),
        working_dir: std::path::PathBuf::new(),
        files: Vec::new(),
        services: BTreeMap::new(),
        foreign: Vec::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        others: spec::Others::default(),
    }
}
