//! What a container has in its own root file system that its image has not: it would be lost with it.
//!
//! docker compose copies `configs:` and `secrets:` with `content:` or `environment:` into the container instead of
//! mounting them (docker/compose v2.40.3, `pkg/compose/secrets.go`), and nothing else tells of them.

use std::collections::BTreeSet;

use super::{Change, ChangeKind, Examined};
use crate::spec::ContainerSpec;

/// Where the engine mounts its init (moby v28.5.2, `daemon/oci_linux.go`, `inContainerInitPath`).
const INIT: &str = "/sbin/docker-init";
/// How many paths are named.
const NAMED: usize = 5;

pub(super) fn refuse(examined: &Examined, container: &ContainerSpec, problems: &mut Vec<String>) {
    let left = left_in(examined, container);
    let Some(first) = left
        .get(..NAMED.min(left.len()))
        .filter(|first| !first.is_empty())
    else {
        return;
    };
    let more = match left.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    problems.push(format!(
        "its own root file system differs from its image ({}{more}), and that would be lost: mount a volume or a tmpfs \
         there, or mount the file instead of letting docker compose copy it in (`configs` with `file:`), or say by the \
         label `phoenixd.discard_layer: true` that it may go",
        first.join(", ")
    ));
}

/// The paths that a container with these mounts would lose.
pub(super) fn left_in(examined: &Examined, container: &ContainerSpec) -> Vec<String> {
    let targets = container.mounts.iter().map(|mount| mount.target.as_str());
    let targets = targets.chain(container.tmpfs.iter().map(|mount| mount.target.as_str()));
    let has_init = examined.inspect.at(&["HostConfig", "Init"]).as_bool() == Some(true);
    let targets = targets.chain(has_init.then_some(INIT));
    left(&examined.changes, &targets.collect())
}

/// The paths that were really changed: not the directories above them, nor the places of mounts.
fn left(changes: &[Change], targets: &BTreeSet<&str>) -> Vec<String> {
    let is_above = |path: &str, other: &str| {
        path == "/"
            || other
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    changes
        .iter()
        .filter(|change| {
            let path = change.path.as_str();
            let of_mount = targets
                .iter()
                .any(|target| *target == path || is_above(path, target) || is_above(target, path));
            let above_change = match change.kind {
                ChangeKind::Modified | ChangeKind::Added => {
                    changes.iter().any(|other| is_above(path, &other.path))
                }
                ChangeKind::Deleted => false,
            };
            !of_mount && !above_change
        })
        .map(|change| change.path.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        let (kind, path) = text.split_once(' ').unwrap();
        let kind = match kind {
            "A" => ChangeKind::Added,
            "C" => ChangeKind::Modified,
            _ => ChangeKind::Deleted,
        };
        Change {
            kind,
            path: path.to_owned(),
        }
    }

    fn left_of(changes: &[&str], targets: &[&str]) -> Vec<String> {
        let changes: Vec<Change> = changes.iter().map(|text| change(text)).collect();
        left(&changes, &targets.iter().copied().collect())
    }

    #[test]
    fn the_places_of_mounts_and_what_is_above_them_are_no_change() {
        let changes = [
            "C /var",
            "C /var/lib",
            "A /var/lib/app",
            "A /tmp",
            "A /etc/app.conf",
            "C /etc",
        ];
        let targets = ["/var/lib/app/data", "/tmp", "/etc/app.conf"];
        assert_eq!(left_of(&changes, &targets), [""; 0]);
    }

    #[test]
    fn a_file_that_was_copied_in_is_one() {
        assert_eq!(left_of(&["A /conf"], &["/data"]), ["/conf"]);
        assert_eq!(
            left_of(&["C /etc", "C /etc/passwd", "D /srv/x"], &[]),
            ["/etc/passwd", "/srv/x"]
        );
        // A directory in which only a file was removed.
        assert_eq!(
            left_of(&["C /run", "A /run/app", "A /run/app/pid"], &[]),
            ["/run/app/pid"]
        );
    }
}
