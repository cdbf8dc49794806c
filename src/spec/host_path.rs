//! Which paths of the host a replica may not mount, read-only included: they lead to secrets or out of the container.

const SOCKETS: [&str; 4] = ["docker.sock", "containerd.sock", "podman.sock", "crio.sock"];
// Whoever can mount one of these, or a parent, can read secrets of the host or leave the container.
const SENSITIVE: [&str; 16] = [
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/root",
    "/run",
    "/var/run",
    "/lib",
    "/lib64",
    "/usr",
    "/bin",
    "/sbin",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/phoenixd",
];
// Below these only sockets and the engine's own directories are dangerous; their children are often wanted
// (`/etc/localtime`, `/usr/share/zoneinfo`).
const WHOLE_TREE: [&str; 17] = [
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/root",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/phoenixd",
    "/run/phoenixd",
    "/etc/docker",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/crontab",
    "/etc/ld.so.preload",
    "/var/spool/cron",
    "/run/user",
];
const SECRET_FILES: [&str; 7] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/kubernetes",
    "/etc/systemd",
];

/// The names by which container engines' sockets are known.
pub const ENGINE_SOCKETS: [&str; 4] = SOCKETS;

/// Why a path of the host may not be mounted, read-only included; `None` when it may. The caller asks for the path as
/// written and again as resolved through symlinks.
pub fn host_path_refusal(path: &str) -> Option<&'static str> {
    let normal = normalize(path);
    let last = normal.rsplit('/').next().unwrap_or_default();
    if SOCKETS.contains(&last) {
        return Some("it is a container engine's socket: whoever holds it is root on the host");
    }
    if normal == "/" {
        return Some("it is the whole host");
    }
    if [
        "/run/docker",
        "/run/containerd",
        "/var/run/docker",
        "/var/run/containerd",
    ]
    .iter()
    .any(|dir| is_within(&normal, dir))
    {
        return Some(
            "it leads to a container engine's socket: whoever holds it is root on the host",
        );
    }
    if SENSITIVE.contains(&normal.as_str())
        || is_within_any(&normal, &WHOLE_TREE)
        || is_within_any(&normal, &SECRET_FILES)
    {
        return Some("it is a sensitive path of the host");
    }
    // A parent of the engine's directories leads to them: `/var`, `/var/lib`.
    if SENSITIVE
        .iter()
        .chain(&WHOLE_TREE)
        .any(|dir| is_within(dir, &normal))
    {
        return Some("a sensitive path of the host lies below it");
    }
    None
}

fn is_within_any(path: &str, dirs: &[&str]) -> bool {
    dirs.iter().any(|dir| is_within(path, dir))
}

/// Whether a path is a directory or below it; both without `.`, `..`, double and trailing slashes.
pub fn is_within(path: &str, dir: &str) -> bool {
    path == dir
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// An absolute path without `.`, `..`, double and trailing slashes; textual only.
pub fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::host_path_refusal;

    #[test]
    fn a_path_that_leads_out_of_the_container_is_refused() {
        for path in [
            "/",
            "/var/run/docker.sock",
            "/run/user/1000/docker.sock",
            "/run/containerd",
            "/var/run/../run/docker",
            "/var",
            "/var/lib",
            "/var/lib/docker/volumes/x",
            "/etc",
            "/etc/",
            "//etc",
            "/etc/shadow",
            "/etc/ssh/keys",
            "/proc/1",
            "/sys/fs/cgroup",
            "/dev/mem",
            "/root/.ssh",
            "/usr",
            "/srv/../etc",
            "/etc/cron.d",
            "/run/user/1000",
            "/run/phoenixd/shop",
            "/var/spool",
        ] {
            assert!(host_path_refusal(path).is_some(), "{path}");
        }
    }

    #[test]
    fn an_ordinary_path_may_be_mounted() {
        for path in [
            "/srv/www",
            "/etc/localtime",
            "/home/me/site",
            "/usr/share/zoneinfo",
            "/opt/docker.socket.d",
            "/etcetera",
        ] {
            assert_eq!(host_path_refusal(path), None, "{path}");
        }
    }
}
