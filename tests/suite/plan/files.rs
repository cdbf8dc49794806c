//! Which copies of secrets and configs stay: those that somebody mounts, or may mount.

use std::collections::BTreeSet;

use phoenixd::reconcile::{Action, Desired, Event};
use phoenixd::spec::{FileDigest, SpecHash};

use super::scenario::{Scenario, secs, web};

fn with_file(name: &str) -> Desired {
    Desired {
        files: files(name),
        ..web()
    }
}

fn files(name: &str) -> BTreeSet<FileDigest> {
    BTreeSet::from([FileDigest::new(name)])
}

#[test]
fn nothing_is_said_of_files_before_the_engine_is_known() {
    let mut scenario = Scenario::of(with_file("one"));
    assert_eq!(scenario.files(), "unknown");
    scenario = scenario.start();
    assert_eq!(scenario.files(), "one", "it may be mounted");
    scenario.apply(Event::Unreachable {
        error: "gone".to_owned(),
    });
    assert_eq!(scenario.files(), "unknown");
}

#[test]
fn a_changed_file_stays_until_the_last_replica_that_mounts_it_is_removed() {
    let mut scenario = Scenario::of(with_file("one")).start();
    scenario.live(secs(5));
    assert_eq!(scenario.files(), "one");
    scenario.change(|desired| {
        desired.spec_hash = SpecHash::new("two");
        desired.files = files("two");
    });
    assert_eq!(scenario.files(), "one two");
    scenario.live(secs(5));
    assert_eq!(scenario.files(), "two");
}

#[test]
fn while_a_container_is_made_no_file_goes() {
    let mut scenario = Scenario::of(with_file("one")).start();
    let planned = scenario.world.plan(scenario.now).actions.remove(0);
    assert!(matches!(planned.action, Action::Create { .. }));
    scenario.apply(Event::Began {
        action: planned.action,
        reason: planned.reason,
    });
    // It is made with what was wanted then.
    scenario.change(|desired| {
        desired.spec_hash = SpecHash::new("two");
        desired.files = files("two");
    });
    assert_eq!(scenario.files(), "unknown");
}

#[test]
fn a_file_of_nobody_s_container_stays_with_it() {
    let mut scenario = Scenario::of(with_file("one")).with_stray("stray");
    for observed in scenario.containers.values_mut() {
        observed.files = files("old");
    }
    let mut scenario = scenario.start();
    assert_eq!(scenario.files(), "old one");
    scenario.live(secs(5));
    assert_eq!(scenario.files(), "one");
}

#[test]
fn after_a_down_no_file_stays() {
    let mut scenario = Scenario::of(with_file("one")).start();
    scenario.live(secs(5));
    scenario.down(false);
    assert_eq!(scenario.files(), "one", "it is still mounted");
    scenario.live(secs(30));
    assert_eq!(scenario.files(), "");
}
