//! Carries one action out: one call to the engine, then a look at what is there. Decides nothing. A create writes the
//! copies of secrets and configs first that it mounts.
//!
//! The simulator runs this same code against its own engine.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::adopt::{self, Comparison};
use crate::docker::{Birth, Engine, Error};
use crate::reconcile::{Action, Failure, FailureKind, Observed, Outcome, Sight, Subject, Time};
use crate::spec::{
    ContainerId, ContainerSpec, FileMount, NetworkName, NetworkSpec, ProjectName, ReplicaName,
    ServiceName, VolumeName, VolumeSpec,
};

/// What actions refer to by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The project.
    pub project: ProjectName,
    /// Each service's hardened definition.
    pub containers: BTreeMap<ServiceName, Arc<ContainerSpec>>,
    /// The project's networks.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// The project's volumes.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
}

/// Carries an action out and tells what came of it.
///
/// `write` puts the copy of a secret or config where the engine finds it, before the create that mounts it; done already
/// counts as done. `now` reads the clock: an observation carries the time at which it was asked for.
pub async fn execute<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    action: &Action,
    write: impl Fn(&FileMount) -> io::Result<()> + Send,
    now: impl Fn() -> Time + Send,
) -> Outcome {
    execute_telling(engine, catalog, action, write, now, &mut None).await
}

/// The same; a comparison's result goes into `told`.
pub(super) async fn execute_telling<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    action: &Action,
    write: impl Fn(&FileMount) -> io::Result<()> + Send,
    now: impl Fn() -> Time + Send,
    told: &mut Option<Comparison>,
) -> Outcome {
    if let Action::Compare { id, original, .. } = action {
        return match compare(engine, id, original).await {
            Ok(comparison) => {
                let objection = comparison.as_ref().and_then(Comparison::objection);
                *told = comparison;
                match (objection, look(engine, id, now).await) {
                    (None, sight) => sight.map_or_else(unknown, Outcome::Done),
                    (Some(message), Ok(sight)) => Outcome::Failed {
                        failure: Failure {
                            kind: FailureKind::Differs,
                            message,
                        },
                        sight,
                    },
                    (Some(_), Err(error)) => unknown(error),
                }
            }
            Err(error) => after_failure(engine, catalog, action, error, now).await,
        };
    }
    let called = call(engine, catalog, action, write).await;
    match called {
        Ok(None) => match action {
            Action::CreateNetwork(_)
            | Action::CreateVolume(_)
            | Action::RemoveNetwork(_)
            | Action::RemoveVolume(_)
            | Action::Drain { .. } => Outcome::Done(Sight::Nothing),
            Action::Create { .. }
            | Action::Connect { .. }
            | Action::Disconnect { .. }
            | Action::Start { .. }
            | Action::Compare { .. }
            | Action::Rename { .. }
            | Action::Look { .. }
            | Action::Freeze { .. }
            | Action::Capture { .. }
            | Action::Destroy { .. }
            | Action::Stop { .. }
            | Action::Remove { .. } => match action.container() {
                Some(id) => look(engine, id, now)
                    .await
                    .map_or_else(unknown, Outcome::Done),
                None => Outcome::Done(Sight::Nothing),
            },
        },
        Ok(Some(id)) => look(engine, &id, now)
            .await
            .map_or_else(unknown, Outcome::Done),
        Err(error) => after_failure(engine, catalog, action, error, now).await,
    }
}

/// The one call. A create answers with the id of what it made.
async fn call<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    action: &Action,
    write: impl Fn(&FileMount) -> io::Result<()> + Send,
) -> Result<Option<ContainerId>, Error> {
    match action {
        Action::CreateNetwork(name) => match catalog.networks.get(name) {
            Some(network) => engine.create_network(&catalog.project, network).await,
            None => Err(Error::NotFound {
                message: format!("network {name} is not in the file"),
            }),
        },
        Action::CreateVolume(name) => match catalog.volumes.get(name) {
            Some(volume) => engine.create_volume(&catalog.project, volume).await,
            None => Err(Error::NotFound {
                message: format!("volume {name} is not in the file"),
            }),
        },
        Action::RemoveNetwork(name) => engine.remove_network(name).await,
        Action::RemoveVolume(name) => engine.remove_volume(name).await,
        Action::Create {
            replica,
            generation,
            spec_hash,
            image,
            born_after,
            joins,
        } => {
            let Some(container) = catalog.containers.get(&replica.service) else {
                return Err(Error::NotFound {
                    message: format!("service {} is not in the file", replica.service),
                });
            };
            for file in &container.files {
                write(file).map_err(|error| not_written(file, &error))?;
            }
            let birth = Birth {
                project: catalog.project.clone(),
                replica: replica.clone(),
                generation: *generation,
                spec_hash: spec_hash.clone(),
                container: Arc::clone(container),
                image: image.clone(),
                born_after: born_after.clone(),
                joins: joins.clone(),
            };
            let created = engine.create(&birth).await;
            return created.map(Some).map_err(|error| unseen(container, error));
        }
        Action::Connect {
            replica,
            id,
            network,
        } => connect(engine, catalog, (replica, id), network).await,
        Action::Disconnect { id, network, .. } => engine.disconnect(id, network).await,
        Action::Start { id, .. } => engine.start(id).await,
        Action::Freeze { id, .. } => engine.pause(id).await,
        Action::Destroy { subject } => engine.destroy(&subject.id).await,
        Action::Stop { subject, grace } => engine.stop(&subject.id, *grace).await,
        Action::Remove { subject } => remove(engine, subject).await,
        Action::Rename { id, name, .. } => engine.rename(id, name).await,
        // What is written down of it is the caller's (`evidence`).
        Action::Capture { .. }
        | Action::Look { .. }
        | Action::Drain { .. }
        | Action::Compare { .. } => Ok(()),
    }
    .map(|()| None)
}

async fn connect<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    (replica, id): (&ReplicaName, &ContainerId),
    network: &NetworkName,
) -> Result<(), Error> {
    let container = catalog.containers.get(&replica.service);
    let attachments = container.map(|container| container.all_attachments());
    let attachment = attachments
        .into_iter()
        .flatten()
        .find(|attachment| attachment.network == *network);
    match attachment {
        Some(attachment) => engine.connect(id, attachment).await,
        None => Err(Error::NotFound {
            message: format!("network {network} is not in the file"),
        }),
    }
}

/// What docker compose made is removed without its anonymous volumes: its replacement goes on with them.
async fn remove<E: Engine>(engine: &E, subject: &Subject) -> Result<(), Error> {
    let replica = subject.replica.as_ref();
    if replica.is_some_and(ReplicaName::is_original) {
        engine.remove_original(&subject.id).await
    } else {
        engine.remove(&subject.id).await
    }
}

/// Both containers with every field; `None` when the original is gone, and nothing is left to be equal to.
async fn compare<E: Engine>(
    engine: &E,
    id: &ContainerId,
    original: &ContainerId,
) -> Result<Option<Comparison>, Error> {
    let Some(new) = engine.examine(id).await? else {
        return Err(Error::NotFound {
            message: format!("container {} is gone", id.short()),
        });
    };
    let old = engine.examine(original).await?;
    Ok(old.map(|old| adopt::compare(&old, &new)))
}

fn not_written(file: &FileMount, error: &io::Error) -> Error {
    let (kind, name) = (file.kind, &file.name);
    Error::Unusable {
        message: format!("the copy of the {kind} `{name}` cannot be written: {error}"),
        hint: None,
    }
}

/// A copy that was just written and that the engine does not find: it looks on another host, or in another container.
fn unseen(container: &ContainerSpec, error: Error) -> Error {
    let text = error.to_string();
    let missing = |file: &&FileMount| {
        let path = file.path.as_deref().unwrap_or_default();
        text.contains("bind source path does not exist") && text.contains(path)
    };
    let Some(file) = container.files.iter().find(missing) else {
        return error;
    };
    let (kind, name, path) = (
        file.kind,
        &file.name,
        file.path.as_deref().unwrap_or_default(),
    );
    Error::Unusable {
        message: format!(
            "the engine does not see the copy of the {kind} `{name}` at {path}: where phoenixd runs in a container, mount the \
             directory at the same path (`-v /run/phoenixd:/run/phoenixd`); where the engine is on another host, run \
             phoenixd there"
        ),
        hint: None,
    }
}

/// What is there now, after a call that failed.
async fn after_failure<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    action: &Action,
    error: Error,
    now: impl Fn() -> Time + Send,
) -> Outcome {
    let failure = error.failure();
    if let Action::Create {
        replica, spec_hash, ..
    } = action
    {
        let asked_at = now();
        return match engine.find(&replica.container_name(&catalog.project)).await {
            // An earlier attempt made it: the name says which replica, the hash that it is the same birth (I7).
            Ok(Some(observed)) if is_born_from(&observed, action, spec_hash.as_str()) => {
                Outcome::Done(Sight::Container {
                    asked_at,
                    observed: Box::new(observed),
                })
            }
            Ok(Some(stranger)) => Outcome::Failed {
                failure: Failure {
                    kind: FailureKind::NameTaken,
                    message: format!(
                        "the name `{}` belongs to container {}, which phoenixd did not make for it",
                        stranger.name,
                        stranger.id.short()
                    ),
                },
                sight: Sight::Gone { asked_at },
            },
            // It may still be made after the engine's answer was lost: only a listing can tell.
            Ok(None) if error.is_retryable() => Outcome::Unknown { failure },
            Ok(None) => Outcome::Failed {
                failure,
                sight: Sight::Gone { asked_at },
            },
            Err(_) => Outcome::Unknown { failure },
        };
    }
    match action.container() {
        None => Outcome::Failed {
            failure,
            sight: Sight::Nothing,
        },
        Some(id) => match look(engine, id, now).await {
            Ok(sight) => Outcome::Failed { failure, sight },
            Err(_) => Outcome::Unknown { failure },
        },
    }
}

fn is_born_from(observed: &Observed, action: &Action, spec_hash: &str) -> bool {
    observed.identity.as_ref().is_some_and(|identity| {
        Some(&identity.replica) == action.replica() && identity.spec_hash.as_str() == spec_hash
    })
}

async fn look<E: Engine>(
    engine: &E,
    id: &ContainerId,
    now: impl Fn() -> Time + Send,
) -> Result<Sight, Error> {
    let asked_at = now();
    Ok(match engine.inspect(id).await? {
        Some(observed) => Sight::Container {
            asked_at,
            observed: Box::new(observed),
        },
        None => Sight::Gone { asked_at },
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of the error"
)]
fn unknown(error: Error) -> Outcome {
    Outcome::Unknown {
        failure: error.failure(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Content, FileKind, ImageRef};

    #[test]
    fn a_copy_that_the_engine_does_not_find_is_told_with_what_to_do() {
        let mut container = ContainerSpec::of_image(ImageRef::new("web:1"));
        container.files.push(FileMount {
            kind: FileKind::Secret,
            name: "pw".to_owned(),
            target: "/run/secrets/pw".to_owned(),
            mode: 0o444,
            uid: None,
            gid: None,
            content: Content::new(*b"hunter2"),
            path: Some("/run/phoenixd/shop/files/e/d".to_owned()),
        });
        // As 20.10.24 and 28.5.2 say it.
        let of = |path: &str| {
            let message = format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            );
            let error = Error::Refused {
                status: 400,
                message,
            };
            unseen(&container, error).to_string()
        };
        let told = of("/run/phoenixd/shop/files/e/d");
        assert!(told.contains("the secret `pw`") && told.contains("-v /run/phoenixd"));
        assert!(of("/srv/www").starts_with("the engine refused (status 400)"));
    }
}
