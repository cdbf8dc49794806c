//! Which paths of the host a container that is not phoenixd's may mount: none that leads to a managed container, or to the
//! host itself. What is written there is run by root, or says who is root, may not be mounted to be written to.
//!
//! Not here: where in a request a path stands (`mount`), and where it leads (`guard/resolve.rs`).

use super::decide::View;
use crate::spec::{host_path_refusal, is_within, normalize};

/// The longest path that the kernel takes (`PATH_MAX`).
const LONGEST: usize = 4096;
/// More directories than any path of a host has below each other.
const DEEPEST: usize = 64;

/// What a container may do with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    pub(super) fn of(is_read_only: bool) -> Self {
        if is_read_only {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// Programs, libraries and settings of the host: root runs or believes what is there.
const OF_ROOT: [&str; 19] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/boot",
    "/root",
    "/nix",
    "/snap",
    "/opt/cni",
    "/opt/containerd",
    "/var/lib/cloud",
    "/var/lib/dpkg",
    "/var/lib/kubelet",
    "/var/lib/snapd",
    "/var/lib/systemd",
];
/// Below these, and yet nobody runs or believes them: what hosts give to containers to tell the time by.
const HARMLESS: [&str; 3] = ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];
/// What lies below is often a container's own; they themselves are many people's.
const PARENTS: [&str; 2] = ["/home", "/opt"];

/// A path of the host, as written and as dockerd finds it: cleaned of `..`, then its symlinks followed (moby 20.10 and 28,
/// `volume/mounts/linux_parser.go`). What is swapped for a symlink between this look and dockerd's is not noticed here; the
/// witnesses of a replica notice what is done through it.
pub(super) fn host_path(view: &View<'_>, path: &str, access: Access) -> Result<(), String> {
    if path.len() > LONGEST || path.split('/').count() > DEEPEST {
        return Err("a path that is so long or deep is not looked at".to_owned());
    }
    let cleaned = normalize(path);
    let mut known = vec![path.to_owned(), (view.resolve)(&cleaned)?];
    if cleaned != path {
        known.push((view.resolve)(path)?);
    }
    for path in known {
        if let Some(why) = refusal(view, &path, access) {
            return Err(format!("the path `{path}` may not be mounted: {why}"));
        }
    }
    Ok(())
}

fn refusal(view: &View<'_>, path: &str, access: Access) -> Option<&'static str> {
    if let Some(why) = host_path_refusal(path) {
        return Some(why);
    }
    let normal = normalize(path);
    if normal.rsplit('.').next() == Some("sock") {
        return Some("it is a socket");
    }
    if is_within(&normal, "/run") || is_within(&normal, "/var/run") {
        return Some("it is where sockets and process ids of the host are");
    }
    let is_related = |dir: &str| {
        let dir = normalize(dir);
        is_within(&normal, &dir) || is_within(&dir, &normal)
    };
    if view.managed.paths().any(is_related) {
        return Some("it is phoenixd's own");
    }
    match access {
        Access::Read => None,
        Access::Write => written(&normal),
    }
}

/// Why nobody may write there.
fn written(normal: &str) -> Option<&'static str> {
    let within = |dirs: &[&str]| dirs.iter().any(|dir| is_within(normal, dir));
    if within(&OF_ROOT) && !within(&HARMLESS) {
        return Some("root runs or believes what is written there; read-only it may be");
    }
    // A parent of one of them, such as `/var/lib`.
    if PARENTS.contains(&normal) || OF_ROOT.iter().any(|dir| is_within(dir, normal)) {
        return Some("what root or others run lies below it");
    }
    let home = normal.strip_prefix("/home/")?;
    match home.split_once('/') {
        // With all that begins with a dot.
        None => Some("it is somebody's home; a directory below it may be"),
        Some((_, below)) if below.starts_with('.') => {
            Some("what begins with a dot says what somebody runs, and who may log in")
        }
        Some(_) => None,
    }
}
