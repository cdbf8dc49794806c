//! What an intruder who already runs code inside a replica would try first, and the walls around it.
//!
//! The attempts are real and harmless: each is what it says, and its outcome is the kernel's answer. They run only
//! where the project switches mischief on.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde::Serialize;

/// The program's own file in the demo image.
const PROGRAM: &str = "/phoenixd";

/// What the kernel says of this process, read once at its start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Walls {
    uid: Option<u32>,
    /// Effective capabilities in hexadecimal; all zeros means none.
    capabilities: Option<String>,
    no_new_privs: bool,
    seccomp: bool,
    read_only_root: bool,
}

impl Walls {
    /// Reads `/proc/self`; what cannot be read counts as missing.
    pub(super) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/status"), &read("/proc/self/mountinfo"))
    }

    fn parse(status: &str, mounts: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(':')?.split_ascii_whitespace().next()
        };
        // proc(5): id, parent, device, root, mount point, options.
        let is_read_only = |line: &str| {
            let mut fields = line.split_ascii_whitespace().skip(4);
            fields.next() == Some("/")
                && fields
                    .next()
                    .is_some_and(|options| options.split(',').any(|option| option == "ro"))
        };
        Self {
            uid: field("Uid").and_then(|uid| uid.parse().ok()),
            capabilities: field("CapEff").map(str::to_owned),
            no_new_privs: field("NoNewPrivs") == Some("1"),
            seccomp: field("Seccomp") == Some("2"),
            read_only_root: mounts.lines().any(is_read_only),
        }
    }
}

/// One attempt and the kernel's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Attempt {
    what: &'static str,
    succeeded: bool,
    answer: String,
}

/// Tries everything once.
pub(super) fn attempts() -> Vec<Attempt> {
    vec![
        attempt("leave a file on the disk", "it is there", || {
            fs::write("/was-here", "an intruder")
        }),
        attempt("replace the running program", "it is open", || {
            OpenOptions::new().write(true).open(PROGRAM).map(drop)
        }),
        attempt("start a shell", "it ran", || {
            Command::new("/bin/sh").args(["-c", "true"]).status()
        }),
        attempt("ask Docker for more", "the socket is here", || {
            UnixStream::connect("/var/run/docker.sock")
        }),
        attempt(
            "hide a file in memory",
            "yes: and it is gone when this replica is",
            || fs::write("/dev/shm/.was-here", "an intruder"),
        ),
    ]
}

fn attempt<T>(what: &'static str, success: &str, act: impl FnOnce() -> io::Result<T>) -> Attempt {
    let outcome = act();
    Attempt {
        what,
        succeeded: outcome.is_ok(),
        answer: outcome.map_or_else(|error| error.to_string(), |_| success.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walls_of_a_hardened_process_are_seen() {
        let status = "Name:\tphoenixd\nUid:\t65534\t65534\t65534\t65534\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let mounts = "512 480 0:61 / / ro,relatime - overlay overlay rw,lowerdir=x\n513 512 0:64 / /proc rw,nosuid - proc proc rw\n";
        let hardened = Walls {
            uid: Some(65534),
            capabilities: Some("0000000000000000".to_owned()),
            no_new_privs: true,
            seccomp: true,
            read_only_root: true,
        };
        assert_eq!(Walls::parse(status, mounts), hardened);
        assert_eq!(Walls::parse("", ""), Walls::default());
        assert!(!Walls::parse(status, "1 0 0:1 / / rw - ext4 x ro\n").read_only_root);
    }
}
