//! Carries one action out: one call to the engine, then a look at what is there. Decides nothing.
//!
//! The simulator runs this same code against its own engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::docker::{Birth, Engine, Error};
use crate::reconcile::{Action, Failure, FailureKind, Observed, Outcome, Sight, Time};
use crate::spec::{
    ContainerId, ContainerSpec, NetworkName, NetworkSpec, ProjectName, ServiceName, VolumeName,
    VolumeSpec,
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
/// `now` reads the clock: an observation carries the time at which it was asked for.
pub async fn execute<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    action: &Action,
    now: impl Fn() -> Time + Send,
) -> Outcome {
    let called = call(engine, catalog, action).await;
    match called {
        Ok(None) => match action {
            Action::CreateNetwork(_)
            | Action::CreateVolume(_)
            | Action::RemoveNetwork(_)
            | Action::RemoveVolume(_)
            | Action::Drain { .. } => Outcome::Done(Sight::Nothing),
            Action::Create { .. }
            | Action::Connect { .. }
            | Action::Start { .. }
            | Action::Look { .. }
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
        } => {
            let Some(container) = catalog.containers.get(&replica.service) else {
                return Err(Error::NotFound {
                    message: format!("service {} is not in the file", replica.service),
                });
            };
            let birth = Birth {
                project: catalog.project.clone(),
                replica: replica.clone(),
                generation: *generation,
                spec_hash: spec_hash.clone(),
                container: Arc::clone(container),
                image: image.clone(),
            };
            return engine.create(&birth).await.map(Some);
        }
        Action::Connect {
            replica,
            id,
            network,
        } => {
            let attachment = catalog
                .containers
                .get(&replica.service)
                .and_then(|container| {
                    container
                        .attachments()
                        .iter()
                        .find(|a| a.network == *network)
                });
            match attachment {
                Some(attachment) => engine.connect(id, attachment).await,
                None => Err(Error::NotFound {
                    message: format!("network {network} is not in the file"),
                }),
            }
        }
        Action::Start { id, .. } => engine.start(id).await,
        Action::Stop { subject, grace } => engine.stop(&subject.id, *grace).await,
        Action::Remove { subject } => engine.remove(&subject.id).await,
        Action::Look { .. } | Action::Drain { .. } => Ok(()),
    }
    .map(|()| None)
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
