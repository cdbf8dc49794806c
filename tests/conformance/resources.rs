//! What containers need: networks, volumes, images.

use std::collections::BTreeMap;

use phoenixd::docker::{Engine, Error};
use phoenixd::reconcile::ContainerState;
use phoenixd::spec::{ContainerSpec, ImageRef, Mount, MountSource, NetworkMode};

use super::{
    Fixture, GRACE, attachment, create, create_with, inspect, list, network, plain, volume,
};

pub(crate) async fn a_network_is_made_and_removed_once<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let project = fixture.project();
    let network = network(fixture, "front");
    let seen = async || {
        let listing = list(fixture, &project).await;
        let networks: Vec<_> = listing.networks.into_iter().collect();
        networks
            .into_iter()
            .map(|seen| (seen.name, seen.ours))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen().await, []);
    for _ in 0..2 {
        engine
            .create_network(&project, &network)
            .await
            .expect("create network");
        assert_eq!(seen().await, [(network.name.clone(), true)]);
    }
    for _ in 0..2 {
        engine
            .remove_network(&network.name)
            .await
            .expect("remove network");
        assert_eq!(seen().await, []);
    }
}

pub(crate) async fn a_network_in_use_is_not_removed<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let network = network(fixture, "front");
    engine
        .create_network(&fixture.project(), &network)
        .await
        .expect("create network");
    let spec = ContainerSpec {
        network: NetworkMode::Networks(vec![attachment(&network)]),
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, spec).await;
    engine.start(&id).await.expect("start");

    let removed = engine.remove_network(&network.name).await;
    assert!(
        matches!(removed, Err(Error::Conflict { .. })),
        "{removed:?}"
    );
    let listing = list(fixture, &fixture.project()).await;
    assert_eq!(listing.networks.len(), 1);

    engine.stop(&id, GRACE).await.expect("stop");
    engine.remove(&id).await.expect("remove");
    engine
        .remove_network(&network.name)
        .await
        .expect("remove network");
}

pub(crate) async fn a_container_whose_network_is_gone_is_made_and_does_not_start<F: Fixture>(
    fixture: &F,
) {
    let engine = fixture.engine();
    let network = network(fixture, "front");
    let spec = ContainerSpec {
        network: NetworkMode::Networks(vec![attachment(&network)]),
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, spec).await;
    let started = engine.start(&id).await;
    assert!(
        matches!(started, Err(Error::NotFound { .. })),
        "{started:?}"
    );
    // It has had its one start.
    let state = inspect(fixture, &id).await.state;
    assert!(
        matches!(&state, ContainerState::Exited { error, .. } if error.contains(network.name.as_str())),
        "{state:?}"
    );
}

pub(crate) async fn a_volume_is_made_and_removed_once<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let project = fixture.project();
    let volume = volume(fixture, "data");
    let seen = async || {
        let listing = list(fixture, &project).await;
        let volumes: Vec<_> = listing.volumes.into_iter().collect();
        volumes
            .into_iter()
            .map(|seen| (seen.name, seen.ours))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen().await, []);
    for _ in 0..2 {
        engine
            .create_volume(&project, &volume)
            .await
            .expect("create volume");
        assert_eq!(seen().await, [(volume.name.clone(), true)]);
    }
    for _ in 0..2 {
        engine
            .remove_volume(&volume.name)
            .await
            .expect("remove volume");
        assert_eq!(seen().await, []);
    }
}

pub(crate) async fn a_volume_in_use_is_not_removed<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let volume = volume(fixture, "data");
    engine
        .create_volume(&fixture.project(), &volume)
        .await
        .expect("create volume");
    let spec = ContainerSpec {
        mounts: vec![Mount {
            source: MountSource::Volume {
                name: volume.name.clone(),
                nocopy: false,
                subpath: None,
                labels: BTreeMap::new(),
            },
            target: "/data".to_owned(),
            read_only: false,
            consistency: None,
        }],
        ..plain(fixture)
    };
    let id = create_with(fixture, 1, spec).await;
    let removed = engine.remove_volume(&volume.name).await;
    assert!(
        matches!(removed, Err(Error::Conflict { .. })),
        "{removed:?}"
    );
    engine.remove(&id).await.expect("remove");
    assert_eq!(list(fixture, &fixture.project()).await.volumes.len(), 1);
    engine
        .remove_volume(&volume.name)
        .await
        .expect("remove volume");
}

pub(crate) async fn an_image_is_told_when_it_is_there<F: Fixture>(fixture: &F) {
    let engine = fixture.engine();
    let unknown = ImageRef::new("phoenixd-test.invalid/nothing:1");
    assert_eq!(engine.image(&unknown).await.expect("image"), None);

    let facts = engine
        .image(&fixture.image())
        .await
        .expect("image")
        .expect("there");
    assert!(
        !["", "0", "root"].contains(&facts.user.as_str()),
        "{facts:?}"
    );
    assert!(facts.has_command);
    assert!(!facts.has_healthcheck);
    let id = create(fixture, 1).await;
    assert_eq!(inspect(fixture, &id).await.image, facts.id);
}
