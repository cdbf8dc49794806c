//! One process as `/proc` tells of it, read through one descriptor of `/proc/PID`: the kernel ties that to the process
//! and not to the number, so that all of a reading is about one process.
//!
//! Everything that cannot be read is `None`: a process that vanishes is no finding. Not here: what it means (`find`).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::spec::ContainerId;

/// More than any of the files that are read to their end; a command line may be longer, and is cut.
const LIMIT_BYTES: u64 = 64 * 1024;
/// `PF_KTHREAD` (linux/sched.h, Linux 6.18).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, opened.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    directory: OwnedFd,
}

/// What is used of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) state: char,
    pub(super) parent: u32,
    /// The controlling terminal; 0 is none.
    pub(super) terminal: i64,
    pub(super) started: u64,
    pub(super) is_kernel_thread: bool,
}

/// Its namespaces, by their inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Namespaces {
    pub(super) mnt: Option<u64>,
    pub(super) pid: Option<u64>,
    pub(super) net: Option<u64>,
}

/// What is used of `/proc/PID/status` (`proc_pid_status(5)`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Status {
    /// The process that a thread belongs to; itself for a process.
    pub(super) tgid: u32,
    /// Real, effective, saved, and that of the file system.
    pub(super) uids: [u32; 4],
    pub(super) cap_permitted: u64,
    pub(super) cap_effective: u64,
    pub(super) cap_bounding: u64,
    pub(super) cap_ambient: u64,
    pub(super) no_new_privs: bool,
    pub(super) seccomp: u8,
}

/// The program that it runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Executable {
    /// Where `/proc/PID/exe` leads to.
    pub(super) path: String,
    /// The mount that it was opened through; `None` before Linux 5.8.
    pub(super) mount: Option<u64>,
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    pub(super) links: u32,
}

impl Process {
    /// Opens a process; `None` when there is none of that number.
    pub(super) fn open(proc_root: &Path, pid: u32) -> Option<Self> {
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(proc_root.join(pid.to_string()), open, Mode::empty()).ok()?;
        Some(Self { pid, directory })
    }

    /// A file below it, as far as the limit.
    pub(super) fn read(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let open = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(self.directory.as_fd(), name, open, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let bytes = self.read(name, LIMIT_BYTES)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn link(&self, name: &str) -> Option<String> {
        let target = rustix::fs::readlinkat(self.directory.as_fd(), name, Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    pub(super) fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.text("stat")?)
    }

    pub(super) fn status(&self) -> Option<Status> {
        Status::parse(&self.text("status")?)
    }

    /// The container whose cgroup it is in: the innermost whose id its path names.
    pub(super) fn container(&self) -> Option<Cgroup> {
        Some(Cgroup::parse(&self.text("cgroup")?))
    }

    pub(super) fn namespaces(&self) -> Namespaces {
        let inode = |name: &str| {
            let link = self.link(name)?;
            link.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
        };
        Namespaces {
            mnt: inode("ns/mnt"),
            pid: inode("ns/pid"),
            net: inode("ns/net"),
        }
    }

    /// Its arguments; none for a kernel thread, a zombie, and in the moment of its `execve`.
    pub(super) fn arguments(&self) -> Vec<String> {
        let bytes = self.read("cmdline", LIMIT_BYTES).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        if bytes.is_empty() {
            return Vec::new();
        }
        let texts = bytes.split(|byte| *byte == 0);
        texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    pub(super) fn executable(&self) -> Option<Executable> {
        let path = self.link("exe")?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat =
            rustix::fs::statx(self.directory.as_fd(), "exe", AtFlags::empty(), wanted).ok()?;
        let told = StatxFlags::from_bits_retain(stat.stx_mask);
        Some(Executable {
            path,
            mount: told.contains(StatxFlags::MNT_ID).then_some(stat.stx_mnt_id),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            links: stat.stx_nlink,
        })
    }
}

impl Stat {
    /// `1 (name) S …`. The name is the process's own choice and may hold anything; nothing after it can, so the last
    /// parenthesis ends it.
    fn parse(text: &str) -> Option<Self> {
        let (head, fields) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        // The first of these is field 3.
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: u32::try_from(number(4)?).ok()?,
            terminal: fields.get(7 - 3)?.parse().ok()?,
            is_kernel_thread: number(9)? & KERNEL_THREAD != 0,
            started: number(22)?,
        })
    }

    /// A dead process keeps its lines until its parent asks.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// runc, on its way into a container: it has entered, and has not become the program yet (runc 1.0 to 1.3,
    /// `libcontainer/nsenter/nsexec.c`: `runc:[0:PARENT]`, `runc:[1:CHILD]`, `runc:[2:INIT]`).
    pub(super) fn is_runtime_entering(&self) -> bool {
        self.name.starts_with("runc:[")
    }
}

impl Status {
    /// `None` when a field is missing: none can be guessed.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key == name).then(|| value.trim())
            })
        };
        let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
        let mut uids = field("Uid")?.split_ascii_whitespace();
        let mut uid = || uids.next()?.parse().ok();
        Some(Self {
            tgid: field("Tgid")?.parse().ok()?,
            uids: [uid()?, uid()?, uid()?, uid()?],
            cap_permitted: mask("CapPrm")?,
            cap_effective: mask("CapEff")?,
            cap_bounding: mask("CapBnd")?,
            cap_ambient: mask("CapAmb")?,
            no_new_privs: field("NoNewPrivs")? == "1",
            seccomp: field("Seccomp")?.parse().ok()?,
        })
    }
}

/// Where a process is accounted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Cgroup(Option<ContainerId>);

impl Cgroup {
    /// `/docker/ID` (v1, or v2 with the cgroupfs driver), `docker-ID.scope` (systemd), `libpod-ID.scope`, `/../ID`
    /// (seen from another cgroup namespace); of several, the last in the path is the innermost.
    fn parse(text: &str) -> Self {
        let id = text.lines().find_map(|line| {
            let mut parts = line.rsplit(|byte: char| !byte.is_ascii_hexdigit());
            parts.find(|part| part.len() == 64)
        });
        Self(id.map(ContainerId::new))
    }

    pub(super) fn id(&self) -> Option<&ContainerId> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_move_the_fields() {
        let tail = "S 7 1 1 34816 1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 4242 1 1";
        let stat = Stat::parse(&format!("9 (a) b (c) {tail}")).unwrap();
        assert_eq!((stat.parent, stat.started), (7, 4242));
        assert_eq!((stat.name.as_str(), stat.state), ("a) b (c", 'S'));
        assert_eq!(stat.terminal, 34816);
        assert!(!stat.is_kernel_thread && !stat.is_dead());
        for cut in ["", "9 (a", "9 (a)", "9 (a) S 7 1"] {
            assert_eq!(Stat::parse(cut), None, "{cut}");
        }
    }

    #[test]
    fn the_innermost_container_of_a_cgroup_is_found_in_every_layout() {
        let (outer, inner) = ("a1".repeat(32), "0f".repeat(32));
        for text in [
            format!("12:pids:/docker/{inner}\n0::/\n"),
            format!("0::/system.slice/docker-{inner}.scope\n"),
            format!("0::/docker/{outer}/docker/{inner}/nested\n"),
            format!("0::/../{inner}\n"),
        ] {
            let expected = ContainerId::new(inner.clone());
            assert_eq!(Cgroup::parse(&text).id(), Some(&expected), "{text}");
        }
        for text in [
            "0::/\n".to_owned(),
            format!("0::/{inner}0\n"),
            String::new(),
        ] {
            assert_eq!(Cgroup::parse(&text).id(), None, "{text}");
        }
    }
}
