//! What stands in the way of pods where this process runs: their control sockets are files that the engine has to find
//! under the same path, and that are given to another user.
//!
//! Told without making anything, so that `plan` says what `up` will do. Not here: what the engine says of itself (`docker`),
//! and what follows from it (`cli`).

use std::path::{Component, Path};

use crate::spec::ContainerId;

/// What an engine mounts into each of its containers from the directory it keeps for that container, which is called by the id
/// (moby v20.10.24 to v28.5.2 `daemon/volumes_unix.go`; podman). A file `/.dockerenv` alone says nothing: hosts are made of
/// images, too.
const MOUNTED: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// The bit of `CAP_CHOWN` (`linux/capability.h`).
const CAP_CHOWN: u32 = 0;

/// Why edges in containers cannot be spoken with from here, in words and with a remedy; `None` where nothing is in the way.
/// `base` is where their control sockets are to be, `gives_away` whether they go to another user.
pub fn obstacle(base: &Path, gives_away: bool) -> Option<(String, &'static str)> {
    in_way(Path::new("/"), base, gives_away)
}

/// The same with another root of the file system.
fn in_way(root: &Path, base: &Path, gives_away: bool) -> Option<(String, &'static str)> {
    let read = |name: &str| std::fs::read_to_string(root.join("proc/self").join(name)).ok();
    let base = std::path::absolute(base).ok()?;
    let mounts = read("mountinfo").unwrap_or_default();
    if is_of_container(&mounts) && !is_shared(&mounts, &base) {
        let text = format!(
            "phoenixd runs in a container, and {} is not the host's",
            base.display()
        );
        return Some((text, "mount it from the host, at the same path"));
    }
    if gives_away && !read("status").is_none_or(|status| may_give_away(&status)) {
        let text = "phoenixd is root without the capability CHOWN, and cannot give their sockets to a user who is not";
        return Some((text.to_owned(), "add that capability"));
    }
    None
}

/// Directory and place of each mount (proc(5), *mountinfo*: the fourth field is the mounted directory in its file system, the
/// fifth where it is mounted).
fn mounted(mounts: &str) -> impl Iterator<Item = (&Path, &Path)> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        Some((Path::new(fields.next()?), Path::new(fields.next()?)))
    })
}

fn is_of_container(mounts: &str) -> bool {
    let is_id = |part: Component<'_>| ContainerId::is_whole(part.as_os_str().as_encoded_bytes());
    mounted(mounts).any(|(directory, point)| {
        MOUNTED.iter().any(|name| Path::new(name) == point) && directory.components().any(is_id)
    })
}

/// Whether a path is in a directory that was mounted from the host under the same name. Only names can be compared: what
/// a host's file system is called outside cannot be seen in here. A volume has another name, a tmpfs has none.
fn is_shared(mounts: &str, base: &Path) -> bool {
    let above = mounted(mounts).filter(|(_, point)| base.starts_with(point));
    // The last of equally deep ones lies on top.
    let deepest = above.max_by_key(|(_, point)| point.components().count());
    deepest.is_some_and(|(directory, point)| {
        let name = point.file_name();
        name.is_some() && name == directory.file_name()
    })
}

/// Whether a process with this status may give files to others (proc(5), *status*: `CapEff`, a mask in hexadecimal).
fn may_give_away(status: &str) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> CAP_CHOWN & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "/run/phoenixd";
    const OVERLAY: &str = "1 0 0:50 / / ro - overlay overlay rw\n";
    const ID: &str = "4a3c1dfe4a3c1dfe4a3c1dfe4a3c1dfe4a3c1dfe4a3c1dfe4a3c1dfe4a3c1dfe";

    fn told(in_container: bool, mounts: &str, capabilities: &str, gives_away: bool) -> String {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("proc/self");
        std::fs::create_dir_all(&own).unwrap();
        let of_engine = format!(
            "9 1 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 d rw\n"
        );
        let of_engine = if in_container { &of_engine } else { "" };
        std::fs::write(own.join("mountinfo"), format!("{mounts}{of_engine}")).unwrap();
        let status = format!("Name:\tx\nCapEff:\t{capabilities}\n");
        std::fs::write(own.join("status"), status).unwrap();
        // A host that was made of an image.
        std::fs::write(root.path().join(".dockerenv"), "").unwrap();
        let found = in_way(root.path(), Path::new(BASE), gives_away);
        found.map(|(text, _)| text).unwrap_or_default()
    }

    #[test]
    fn in_a_container_the_directory_has_to_be_the_host_s_under_the_same_name() {
        let not = "phoenixd runs in a container, and /run/phoenixd is not the host's";
        let of = |line: &str| told(true, &format!("{OVERLAY}{line}"), "0", false);
        assert_eq!(of(""), not);
        // From a host on which /run is a file system of its own, and from one on which it is not.
        assert_eq!(of("2 1 0:25 /phoenixd /run/phoenixd rw - tmpfs t rw\n"), "");
        assert_eq!(
            of("2 1 8:1 /run/phoenixd /run/phoenixd rw - ext4 d rw\n"),
            ""
        );
        // A directory above it, a volume, a tmpfs, one of another name, and one that lies over the right one.
        assert_eq!(of("2 1 8:1 /run /run rw - ext4 d rw\n"), "");
        let volume = "/var/lib/docker/volumes/x/_data";
        assert_eq!(
            of(&format!("2 1 8:1 {volume} /run/phoenixd rw - ext4 d rw\n")),
            not
        );
        assert_eq!(of("2 1 0:60 / /run rw - tmpfs tmpfs rw\n"), not);
        assert_eq!(of("2 1 8:1 /srv/other /run/phoenixd rw - ext4 d rw\n"), not);
        assert_eq!(
            of("2 1 8:1 /run/phoenixd-2 /run/phoenixd-2 rw - ext4 d rw\n"),
            not
        );
        let under = "2 1 8:1 /run/phoenixd /run/phoenixd rw - ext4 d rw\n";
        assert_eq!(
            of(&format!(
                "{under}3 2 0:60 / /run/phoenixd rw - tmpfs t rw\n"
            )),
            not
        );
        // Outside a container nothing is asked.
        assert_eq!(told(false, OVERLAY, "0", false), "");
    }

    #[test]
    fn who_gives_sockets_away_needs_the_capability() {
        let all = "000001ffffffffff";
        assert_eq!(told(false, OVERLAY, all, true), "");
        assert_eq!(told(false, OVERLAY, "0000000000000001", true), "");
        let without = told(false, OVERLAY, "00000000a80425fa", true);
        assert!(
            without.contains("without the capability CHOWN"),
            "{without}"
        );
        assert_eq!(told(false, OVERLAY, "00000000a80425fa", false), "");
    }
}
