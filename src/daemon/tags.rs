//! Whether the tag that the file names still leads to the image that a service's replicas are made of: asked on a period,
//! and told as a touch of each of them, once.
//!
//! Nothing follows from it but a record: which image births are made of was resolved at start, and stays so.
//!
//! Not here: what is made of a touch (`reconcile`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Catalog;
use crate::api::Snapshot;
use crate::clock;
use crate::docker::Engine;
use crate::reconcile::{Desired, Event, Touch};
use crate::report::Chain;
use crate::spec::{ContainerId, ImageId, ImageRef, ServiceName};

/// Between two looks: as between two listings. An inspection of an image takes a millisecond.
const PERIOD: Duration = Duration::from_secs(15);

/// The image of each service as the file names it, and which one that was at start.
pub(super) type Images = BTreeMap<ServiceName, (ImageRef, ImageId)>;

/// What the services are made of.
pub(super) fn images(catalog: &Catalog, wanted: &BTreeMap<ServiceName, Desired>) -> Images {
    let of = |(name, desired): (&ServiceName, &Desired)| {
        let container = catalog.containers.get(name)?;
        let image = (container.image.clone(), desired.image.clone());
        Some((name.clone(), image))
    };
    wanted.iter().filter_map(of).collect()
}

/// Looks until shutdown.
pub(super) fn run<E: Engine>(
    engine: &Arc<E>,
    images: Images,
    status: &watch::Sender<Arc<Snapshot>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + use<E> {
    let tags = Tags {
        engine: Arc::clone(engine),
        images,
        status: status.subscribe(),
        events,
        shutdown,
    };
    tags.run()
}

#[derive(Debug)]
struct Tags<E> {
    engine: Arc<E>,
    images: Images,
    /// Tells which replicas run.
    status: watch::Receiver<Arc<Snapshot>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
}

impl<E: Engine> Tags<E> {
    async fn run(mut self) {
        let mut period = interval_at(clock::timer_in(PERIOD), PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = BTreeSet::new();
        let shutdown = self.shutdown.clone();
        let looks = async {
            loop {
                period.tick().await;
                self.look(&mut told).await;
            }
        };
        // Cancel safety: it only looks.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = looks => {}
        }
    }

    /// Asks about each tag of what runs, and tells of those that have moved.
    async fn look(&mut self, told: &mut BTreeSet<ContainerId>) {
        let running: Vec<(ContainerId, ServiceName)> = {
            let snapshot = self.status.borrow_and_update();
            let rows = snapshot.status.replicas.iter();
            rows.filter(|row| row.born_at.is_some())
                .filter_map(|row| Some((row.container_id.clone()?, row.replica.service.clone())))
                .collect()
        };
        told.retain(|id| running.iter().any(|(one, _)| one == id));
        let mut now: BTreeMap<&ImageRef, Option<ImageId>> = BTreeMap::new();
        for (id, service) in running {
            let Some((tag, image)) = self.images.get(&service).filter(|_| !told.contains(&id))
            else {
                continue;
            };
            if !now.contains_key(tag) {
                match self.engine.image(tag).await {
                    Ok(facts) => drop(now.insert(tag, facts.map(|facts| facts.id))),
                    // The watch tells of an engine that does not answer.
                    Err(error) => {
                        debug!(error = %Chain(&error), image = %tag, "is not compared");
                        return;
                    }
                }
            }
            // One that is gone names no other image.
            let moved = now.get(tag).and_then(Option::as_ref);
            if moved.is_none_or(|moved| moved == image) {
                continue;
            }
            let touch = Touch::ImageMoved(tag.to_string());
            told.insert(id.clone());
            // A closed channel is the supervisor's end.
            let event = Event::Touched { id, touch };
            self.events.send(event).await.unwrap_or_default();
        }
    }
}
