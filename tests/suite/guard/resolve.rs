//! Where paths of the host lead, and how often the host is looked at for it.

use std::cell::Cell;
use std::collections::BTreeMap;

use phoenixd::guard::{Paths, Place};

/// A host where these symlinks are, and everything else but what is called `none`.
fn look<'a>(
    links: &'a [(&'a str, &'a str)],
    looks: &'a Cell<usize>,
) -> impl FnMut(&str) -> Place + use<'a> {
    let links: BTreeMap<&str, &str> = links.iter().copied().collect();
    move |place| {
        looks.set(looks.get() + 1);
        match links.get(place) {
            Some(to) => Place::Link((*to).to_owned()),
            None if place.contains("none") => Place::Missing,
            None => Place::Other,
        }
    }
}

#[test]
fn symlinks_are_followed_one_by_one_as_far_as_there_is_something() {
    let looks = Cell::new(0);
    let links = [
        ("/srv/root", "/"),
        ("/srv/up", "../etc"),
        ("/srv/a", "b/./c"),
        ("/srv/b", "/opt/b"),
        ("/bin", "usr/bin"),
        ("/srv/loop", "loop"),
    ];
    let mut paths = Paths::new(look(&links, &looks));
    for (path, real) in [
        ("/", "/"),
        ("", "/"),
        ("/srv/www", "/srv/www"),
        ("//srv/./www/", "/srv/www"),
        ("/srv/root", "/"),
        ("/srv/root/proc/1", "/proc/1"),
        ("/srv/up/passwd", "/etc/passwd"),
        ("/srv/a/x", "/opt/b/c/x"),
        ("/bin/sh", "/usr/bin/sh"),
        ("/srv/b/../x", "/opt/x"),
        ("/../../srv", "/srv"),
        ("/none/srv/../root", "/none/root"),
    ] {
        assert_eq!(paths.resolve(path).as_deref(), Ok(real), "{path}");
    }
    assert!(paths.resolve("/srv/loop").is_err());
}

#[test]
fn each_place_is_looked_at_once_and_no_request_makes_the_guard_look_without_end() {
    let looks = Cell::new(0);
    let mut paths = Paths::new(look(&[], &looks));
    for at in 0..64 {
        paths.resolve(&format!("/srv/data/app/{at}")).unwrap();
    }
    assert_eq!(looks.get(), 3 + 64);
    // What is not there has nothing below it.
    let before = looks.get();
    paths
        .resolve(&format!("/none{}", "/d".repeat(2_000)))
        .unwrap();
    assert_eq!(looks.get(), before + 1);
    // As many binds of deep directories as it takes.
    let refused = (0..240)
        .map(|at| paths.resolve(&format!("/deep/{at}{}", "/d".repeat(2_000))))
        .filter(Result::is_err)
        .count();
    assert_eq!(refused, 240);
    assert!(looks.get() <= 1024, "{}", looks.get());
}
