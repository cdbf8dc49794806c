//! The files that supervisor and guard share: what cannot be read stays managed, and is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use phoenixd::guard::{GuardDir, Hold, Lesson, Store};
use phoenixd::sign::Key;

use super::{ID, NAME, project};

fn place() -> (tempfile::TempDir, GuardDir) {
    let place = tempfile::tempdir().unwrap();
    let dir = GuardDir::of(place.path());
    assert!(dir.make().unwrap(), "a new key");
    (place, dir)
}

fn held(store: &mut Store, reference: &str) -> bool {
    !matches!(store.managed().container(reference), Hold::Free)
}

#[test]
fn key_and_directories_are_for_their_owner_only_and_are_made_once() {
    let (_place, dir) = place();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path()), 0o700);
    assert_eq!(mode(&dir.key()), 0o600);
    let key = Key::read(&dir.key()).unwrap();
    assert!(!dir.make().unwrap());
    assert_eq!(Key::read(&dir.key()).unwrap(), key);
    fs::write(dir.key(), "short").unwrap();
    assert!(
        dir.make().is_err(),
        "a key that is damaged is not replaced in silence"
    );
}

#[test]
fn what_the_supervisor_writes_is_managed_at_the_next_question() {
    let (_place, dir) = place();
    let mut store = Store::open(dir.clone());
    assert!(store.managed().is_empty());
    dir.write_project(&project()).unwrap();
    assert!(held(&mut store, NAME) && held(&mut store, &ID[..4]));
    let mode = fs::metadata(dir.project("shop"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut next = project();
    next.replicas[0].name = "shop-web-4".to_owned();
    next.names.clear();
    dir.write_project(&next).unwrap();
    assert!(held(&mut store, "shop-web-4"));
    assert!(!held(&mut store, "legacy"));
    dir.remove_project("shop").unwrap();
    dir.remove_project("shop").unwrap();
    assert!(!held(&mut store, "shop-web-4"));
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_it_held_and_is_told() {
    let (_place, dir) = place();
    dir.write_project(&project()).unwrap();
    let mut store = Store::open(dir.clone());
    assert!(store.managed().unreadable.is_empty());
    let whole = fs::read_to_string(dir.project("shop")).unwrap();
    for broken in [
        "",
        "{",
        &whole[..whole.len() / 2],
        &whole.replace("\"version\":1", "\"version\":2"),
        &whole.replace(ID, "short"),
        &whole.replace("\"project\":\"shop\"", "\"project\":\"\""),
    ] {
        fs::write(dir.project("shop"), broken).unwrap();
        assert_eq!(store.managed().unreadable.len(), 1, "{broken}");
        assert!(held(&mut store, NAME), "{broken}");
    }
    // A guard that starts then knows nothing, and so permits nothing.
    assert_eq!(Store::open(dir.clone()).managed().unreadable.len(), 1);
    dir.write_project(&project()).unwrap();
    assert!(store.managed().unreadable.is_empty());
    fs::remove_dir_all(dir.path().join("projects")).unwrap();
    assert_eq!(
        store.managed().unreadable.len(),
        1,
        "no directory is not the same as nothing managed"
    );
}

#[test]
fn what_was_learnt_outlives_the_guard_until_it_is_removed() {
    let (_place, dir) = place();
    let id = "d".repeat(64);
    let mut store = Store::open(dir.clone());
    store
        .learn(Lesson::Container(id.clone(), "any-name".to_owned()))
        .unwrap();
    assert!(held(&mut store, "any-name") && held(&mut store, "dd"));
    let mut next = Store::open(dir.clone());
    assert!(held(&mut next, "any-name") && held(&mut next, &id));
    next.learn(Lesson::Gone(id.clone())).unwrap();
    assert!(!held(&mut next, "any-name"));
    assert!(!held(&mut Store::open(dir.clone()), "any-name"));
    fs::write(dir.path().join("learnt.json"), "torn").unwrap();
    assert_eq!(Store::open(dir).managed().unreadable.len(), 1);
}

#[test]
fn without_a_guard_on_the_host_the_supervisor_writes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir = GuardDir::of(place.path());
    dir.write_project(&project()).unwrap();
    assert!(!dir.path().exists());
}
