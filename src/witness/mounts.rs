//! The mounts of a container, and whether a program that it runs is of its image.
//!
//! A program is of the image when it lies on the root mount and not in the writable layer, or on a mount that is
//! read-only: that is the operator's (`docker-init` and volumes of images come so). Everything else was brought, or lies on a
//! volume, where the operator may have put it.
//! Not here: who runs it (`scan`).

use std::collections::BTreeMap;
use std::path::Path;

use super::process::Executable;
use crate::reconcile::Origin;

/// The mounts of a mount namespace, by their number (`proc_pid_mountinfo(5)`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Mounts(BTreeMap<u64, Mounted>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Mounted {
    is_root: bool,
    writable: bool,
    in_memory: bool,
}

impl Mounts {
    /// Reads `mountinfo`: `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`.
    pub(super) fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let options = *fields.get(5)?;
            let mounted = Mounted {
                is_root: *fields.get(4)? == "/",
                writable: options.split(',').any(|option| option == "rw"),
                in_memory: matches!(kind(&fields), Some("tmpfs" | "ramfs")),
            };
            Some((fields.first()?.parse().ok()?, mounted))
        };
        Self(text.lines().filter_map(mount).collect())
    }

    pub(super) fn knows(&self, executable: &Executable) -> bool {
        executable
            .mount
            .is_none_or(|mount| self.0.contains_key(&mount))
    }

    /// Where a program came from; `None` when it is of the image, or when that cannot be told (before Linux 5.8 a
    /// program does not tell its mount).
    pub(super) fn origin(&self, executable: &Executable, upper: Option<&Path>) -> Option<Origin> {
        if executable.path.starts_with("/memfd:") {
            return Some(Origin::Memory);
        }
        if executable.links == 0 || executable.path.ends_with(" (deleted)") {
            return Some(Origin::Removed);
        }
        match self.0.get(&executable.mount?) {
            Some(mounted) if mounted.is_root => {
                let below = executable.path.trim_start_matches('/');
                // The path is the kernel's: it has no `..`, and its last part is no link.
                let in_layer = upper.map(|upper| upper.join(below).symlink_metadata());
                let is_file = in_layer?.is_ok_and(|found| found.is_file());
                is_file.then_some(Origin::Layer)
            }
            Some(mounted) if mounted.in_memory => mounted.writable.then_some(Origin::Mount),
            Some(mounted) => mounted.writable.then_some(Origin::Volume),
            // Not a mount of the container at all.
            None => Some(Origin::Mount),
        }
    }
}

/// The kind of file system: what follows the `-`, behind a number of optional fields.
fn kind<'l>(fields: &[&'l str]) -> Option<&'l str> {
    let dash = fields.iter().position(|field| *field == "-")?;
    fields.get(dash + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
500 400 0:50 / / ro,relatime master:1 - overlay overlay rw,lowerdir=a
501 500 0:51 / /tmp rw,nosuid - tmpfs tmpfs rw
502 500 8:1 /usr/bin/docker-init /sbin/docker-init ro,relatime - ext4 /dev/vda rw
503 500 8:1 /srv /data rw,relatime - ext4 /dev/vda rw
garbled
";

    fn executable(path: &str, mount: Option<u64>, links: u32) -> Executable {
        Executable {
            path: path.to_owned(),
            mount,
            device: (0, 50),
            inode: 1,
            links,
        }
    }

    #[test]
    fn a_program_is_of_the_image_or_is_told_where_it_came_from() {
        let upper = tempfile::tempdir().unwrap();
        std::fs::create_dir(upper.path().join("bin")).unwrap();
        std::fs::write(upper.path().join("bin/new"), "").unwrap();
        let mounts = Mounts::parse(MOUNTS);
        for (path, mount, links, expected) in [
            ("/app", Some(500), 1, None),
            ("/bin/new", Some(500), 1, Some(Origin::Layer)),
            ("/bin", Some(500), 1, None),
            ("/sbin/docker-init", Some(502), 1, None),
            ("/tmp/x", Some(501), 1, Some(Origin::Mount)),
            ("/data/x", Some(503), 1, Some(Origin::Volume)),
            ("/usr/bin/nsenter", Some(25), 1, Some(Origin::Mount)),
            ("/tmp/x (deleted)", Some(501), 0, Some(Origin::Removed)),
            ("/memfd:x (deleted)", Some(9), 0, Some(Origin::Memory)),
            ("/tmp/x", None, 1, None),
        ] {
            let executable = executable(path, mount, links);
            let origin = mounts.origin(&executable, Some(upper.path()));
            assert_eq!(origin, expected, "{path}");
        }
        let new = executable("/bin/new", Some(500), 1);
        assert_eq!(mounts.origin(&new, None), None);
    }
}
