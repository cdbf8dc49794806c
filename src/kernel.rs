//! What the kernel of the engine's host says about a container's process, read from `/proc`, and which kernel that is.
//!
//! A process is believed to be the container's only when its cgroup names the container's id; a number alone may have
//! been given to another process since. All files are opened below one descriptor of `/proc/PID`, which the kernel
//! ties to the process and not to the number: either all of a reading is about one process, or the reading fails.
//!
//! Not here: what a process should be (`spec::Policy`), and asking the engine for the process's number (`docker`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::spec::{ContainerId, FileDigest, KernelFacts};

/// What could be learnt about a container's process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// The process is the container's and this is what it is.
    Read {
        /// What it may do.
        facts: KernelFacts,
        /// When it started, in boot time (see `clock`), to a clock tick (10 ms).
        started: Duration,
    },
    /// It was the container's process, and it has ended: it vanished during the reading, or is a zombie.
    Gone,
    /// Nothing can be said; the process may well be alive.
    Unavailable(Unavailable),
}

/// Why nothing can be said about a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// No such process here: it has ended, or this `/proc` is not the engine host's (phoenixd runs in a container
    /// without `pid: host`, or the engine is remote).
    NoProcess,
    /// There is a process of that number, but it is not the container's.
    OtherProcess,
    /// A file of it could not be read.
    Unreadable {
        /// Its name below `/proc/PID`.
        file: &'static str,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file of it does not say what this kernel interface promises.
    Malformed {
        /// Its name below `/proc/PID`.
        file: &'static str,
        /// The field that is missing, doubled or not a number.
        field: &'static str,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcess => f.write_str("there is no such process in this /proc"),
            Self::OtherProcess => f.write_str("the process of that number is not the container's"),
            Self::Unreadable { file, kind } => write!(f, "/proc/PID/{file} is unreadable: {kind}"),
            Self::Malformed { file, field } => {
                write!(f, "/proc/PID/{file} does not give `{field}` as expected")
            }
        }
    }
}

/// Reads what the kernel says about process `pid` of a container. `proc_root` is `/proc`, or where the engine host's
/// is mounted. `has_files` says that it has secrets or configs, whose mounts are then looked at. Blocks for some
/// microseconds; touches no disk.
pub fn read(proc_root: &Path, pid: u32, container_id: &ContainerId, has_files: bool) -> Reading {
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process = match rustix::fs::open(proc_root.join(pid.to_string()), open, Mode::empty()) {
        Ok(process) => process,
        Err(Errno::NOENT | Errno::SRCH) => return Reading::Unavailable(Unavailable::NoProcess),
        Err(errno) => return failed(".", errno).into(),
    };
    match names_container(&process, container_id) {
        Ok(true) => {}
        Ok(false) => return Reading::Unavailable(Unavailable::OtherProcess),
        // It was never seen to be the container's, so that it "is gone" would say too much.
        Err(Failure::Ended) => return Reading::Unavailable(Unavailable::NoProcess),
        Err(Failure::Unavailable(why)) => return Reading::Unavailable(why),
    }
    read_process(&process, has_files).unwrap_or_else(Reading::from)
}

/// The release of the kernel whose `/proc` this is (`6.1.0-42-amd64`, as `uname -r` prints it); `None` where it cannot
/// be read.
pub fn release(proc_root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(proc_root.join("sys/kernel/osrelease")).ok()?;
    Some(text.trim().to_owned()).filter(|release| !release.is_empty())
}

/// Whether the process's cgroup names the container, whatever stands around the id: `/docker/ID` (v1, or v2 with the
/// cgroupfs driver), `docker-ID.scope` (systemd), `libpod-ID.scope`, `/../ID` (seen from another cgroup namespace).
fn names_container(process: &OwnedFd, container_id: &ContainerId) -> Result<bool, Failure> {
    let id = container_id.as_str();
    // A short or empty id would be found in anything.
    if !ContainerId::is_whole(id.as_bytes()) {
        return Ok(false);
    }
    let text = read_file(process, "cgroup")?;
    Ok(text.lines().any(|line| line.contains(id)))
}

/// What is known of a process whose identity is settled.
fn read_process(process: &OwnedFd, has_files: bool) -> Result<Reading, Failure> {
    let files_read_only = !has_files || are_files_read_only(&read_file(process, "mountinfo")?);
    let facts = KernelFacts {
        files_read_only,
        ..parse_status(&read_file(process, "status")?)?
    };
    let stat = parse_stat(&read_file(process, "stat")?)?;
    // A dead process keeps its lines until its parent asks; what they say is history.
    if matches!(stat.state, 'Z' | 'X' | 'x') {
        return Ok(Reading::Gone);
    }
    Ok(Reading::Read {
        facts,
        started: ticks(
            stat.started_ticks,
            rustix::param::clock_ticks_per_second().max(1),
        ),
    })
}

/// Why a reading stopped.
#[derive(Debug)]
enum Failure {
    Ended,
    Unavailable(Unavailable),
}

impl From<Failure> for Reading {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ended => Self::Gone,
            Failure::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

fn failed(file: &'static str, errno: Errno) -> Failure {
    match errno {
        Errno::NOENT | Errno::SRCH => Failure::Ended,
        errno => Failure::Unavailable(Unavailable::Unreadable {
            file,
            kind: errno.kind(),
        }),
    }
}

fn malformed(file: &'static str, field: &'static str) -> Failure {
    Failure::Unavailable(Unavailable::Malformed { file, field })
}

/// A file of the process as text. A process may name itself with any bytes, so what is not UTF-8 is replaced; the
/// fields that matter are ASCII.
fn read_file(process: &OwnedFd, name: &'static str) -> Result<String, Failure> {
    /// Some hundred times what these files hold.
    const LIMIT_BYTES: u64 = 256 * 1024;
    let open = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(process.as_fd(), name, open, Mode::empty())
        .map_err(|errno| failed(name, errno))?;
    let mut bytes = Vec::new();
    File::from(file)
        .take(LIMIT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(name, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads `/proc/PID/status` (`proc_pid_status(5)`). Each field must be there exactly once: none can be guessed.
fn parse_status(text: &str) -> Result<KernelFacts, Failure> {
    let field = |name: &'static str| {
        let mut found = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        });
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (None, _) | (Some(_), Some(_)) => Err(malformed("status", name)),
        }
    };
    let mask = |name| hex_mask(field(name)?).ok_or_else(|| malformed("status", name));
    // Four numbers: real, effective, saved, file system.
    let uid = field("Uid")?
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|effective| effective.parse().ok())
        .ok_or_else(|| malformed("status", "Uid"))?;
    Ok(KernelFacts {
        cap_effective: mask("CapEff")?,
        cap_bounding: mask("CapBnd")?,
        no_new_privs: match field("NoNewPrivs")? {
            "0" => false,
            "1" => true,
            _ => return Err(malformed("status", "NoNewPrivs")),
        },
        seccomp: field("Seccomp")?
            .parse()
            .map_err(|_| malformed("status", "Seccomp"))?,
        uid,
        files_read_only: true,
    })
}

/// Whether every copy of a secret or config among the mounts (`proc_pid_mountinfo(5)`) is read-only. It is known by the
/// path within its file system, the fourth field; the sixth has the options of the mount.
fn are_files_read_only(mountinfo: &str) -> bool {
    let mut lines = mountinfo.lines();
    lines.all(|line| {
        let mut fields = line.split(' ').skip(3);
        let (Some(root), Some(_), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            return true;
        };
        // A copy whose name was removed since is still the one that is mounted.
        let root = root.strip_suffix("//deleted").unwrap_or(root);
        FileDigest::in_path(root).is_none() || options.split(',').any(|option| option == "ro")
    })
}

fn hex_mask(digits: &str) -> Option<u64> {
    // `from_str_radix` alone would also take a sign.
    let all_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| all_hex)
}

/// What is used of `/proc/PID/stat`.
#[derive(PartialEq, Eq, Debug)]
struct Stat {
    state: char,
    started_ticks: u64,
}

/// When a process began, in clock ticks since the boot, by the text of its `/proc/PID/stat`; `None` for one that is cut short.
pub fn started_ticks(stat: &str) -> Option<u64> {
    parse_stat(stat).ok().map(|stat| stat.started_ticks)
}

/// Reads `/proc/PID/stat` (`proc_pid_stat(5)`): `1 (name) S …`. The name is the process's own choice and may hold
/// spaces, parentheses and newlines; nothing after it can, so the last parenthesis ends it.
fn parse_stat(text: &str) -> Result<Stat, Failure> {
    let (_, fields) = text
        .rsplit_once(')')
        .ok_or_else(|| malformed("stat", "comm"))?;
    // The first of these is field 3.
    let mut fields = fields.split_ascii_whitespace();
    let mut state = fields.next().unwrap_or_default().chars();
    let (Some(letter), None) = (state.next(), state.next()) else {
        return Err(malformed("stat", "state"));
    };
    let started_ticks = fields
        .nth(22 - 4)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| malformed("stat", "starttime"))?;
    Ok(Stat {
        state: letter,
        started_ticks,
    })
}

/// Clock ticks as a duration, exact to the nanosecond. Not an overflow for any count.
fn ticks(count: u64, per_second: u64) -> Duration {
    let nanos = (count % per_second).saturating_mul(1_000_000_000) / per_second;
    Duration::from_secs(count / per_second).saturating_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STATUS: &str = "Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\n\
        Uid:\t1000\t65534\t1000\t1000\nGid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\n\
        CapEff:\t0000000000000400\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    const STAT: &str = "7 (a) (b\nc)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";

    fn id() -> ContainerId {
        ContainerId::new("0123456789abcdef".repeat(4))
    }

    /// A `/proc` with process 7 in it.
    fn fixture(cgroup: &str, status: &str, stat: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("7");
        fs::create_dir(&process).unwrap();
        fs::write(process.join("cgroup"), cgroup).unwrap();
        fs::write(process.join("status"), status).unwrap();
        fs::write(process.join("stat"), stat).unwrap();
        root
    }

    fn of_container() -> String {
        format!("0::/system.slice/docker-{}.scope\n", id())
    }

    fn malformed_field(reading: &Reading) -> Option<&'static str> {
        match reading {
            Reading::Unavailable(Unavailable::Malformed { field, .. }) => Some(field),
            Reading::Unavailable(
                Unavailable::NoProcess | Unavailable::OtherProcess | Unavailable::Unreadable { .. },
            )
            | Reading::Read { .. }
            | Reading::Gone => None,
        }
    }

    #[test]
    fn a_process_of_the_container_is_read_from_every_layout_of_cgroups() {
        let id = id();
        for cgroup in [
            format!("12:pids:/docker/{id}\n11:cpu:/docker/{id}\n0::/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/machine.slice/libpod-{id}.scope/container\n"),
            format!("0::/../{id}\n"),
        ] {
            let root = fixture(&cgroup, STATUS, STAT);
            assert_eq!(
                read(root.path(), 7, &id, false),
                Reading::Read {
                    facts: KernelFacts {
                        cap_effective: 0x400,
                        cap_bounding: 0xa804_25fb,
                        no_new_privs: true,
                        seccomp: 2,
                        uid: 65534,
                        files_read_only: true,
                    },
                    started: ticks(123_456, rustix::param::clock_ticks_per_second()),
                },
                "{cgroup}"
            );
        }
    }

    #[test]
    fn a_process_that_is_not_the_container_s_is_not_believed() {
        let other = Reading::Unavailable(Unavailable::OtherProcess);
        for cgroup in ["0::/\n", "", "0::/docker/0123456789ab\n"] {
            let root = fixture(cgroup, STATUS, STAT);
            assert_eq!(read(root.path(), 7, &id(), false), other, "{cgroup}");
        }
        let root = fixture(&of_container(), STATUS, STAT);
        for short in ["", "0123", "docker"] {
            assert_eq!(read(root.path(), 7, &ContainerId::new(short), false), other);
        }
    }

    #[test]
    fn a_secret_that_is_mounted_writable_is_seen() {
        let copy = format!(
            "/phoenixd/shop/files/{}/{}",
            "a1".repeat(6),
            "0f".repeat(16)
        );
        let line = |root: &str, options: &str| {
            format!("512 480 0:24 {root} /run/secrets/pw {options} - tmpfs tmpfs rw,size=1k\n")
        };
        for (mounts, expected) in [
            (line(&copy, "ro,nosuid,relatime"), true),
            (line(&copy, "rw,nosuid,relatime"), false),
            (line(&format!("{copy}//deleted"), "rw,relatime"), false),
            (line(&format!("{copy}//deleted"), "ro"), true),
            (line(&copy, "ro") + &line(&copy, "rw"), false),
            // Somebody else's.
            (line("/srv/files/a/b", "rw"), true),
            (line(&format!("{copy}/more"), "rw"), true),
            (String::from("garbled\n"), true),
        ] {
            assert_eq!(are_files_read_only(&mounts), expected, "{mounts}");
        }
        let root = fixture(&of_container(), STATUS, STAT);
        assert_eq!(read(root.path(), 7, &id(), true), Reading::Gone);
        fs::write(root.path().join("7/mountinfo"), line(&copy, "rw")).unwrap();
        let Reading::Read { facts, .. } = read(root.path(), 7, &id(), true) else {
            panic!("it is alive");
        };
        assert!(!facts.files_read_only);
    }

    #[test]
    fn a_missing_process_is_unavailable_and_not_gone() {
        let root = fixture(&of_container(), STATUS, STAT);
        let none = Reading::Unavailable(Unavailable::NoProcess);
        assert_eq!(read(root.path(), 8, &id(), false), none);
        assert_eq!(read(&root.path().join("absent"), 7, &id(), false), none);
    }

    #[test]
    fn a_process_that_ends_during_the_reading_is_gone() {
        let root = fixture(&of_container(), STATUS, STAT);
        fs::remove_file(root.path().join("7/stat")).unwrap();
        assert_eq!(read(root.path(), 7, &id(), false), Reading::Gone);
        let root = fixture(&of_container(), STATUS, &STAT.replace(") S ", ") Z "));
        assert_eq!(read(root.path(), 7, &id(), false), Reading::Gone);
    }

    #[test]
    fn a_status_that_lacks_doubles_or_garbles_a_field_is_not_believed() {
        for (field, from, to) in [
            ("CapEff", "CapEff:\t0000000000000400\n", ""),
            ("CapEff", "CapEff:\t0", "CapEff:\t+"),
            ("CapBnd", "CapBnd:\t00000000a80425fb", "CapBnd:\t"),
            ("NoNewPrivs", "NoNewPrivs:\t1", "NoNewPrivs:\t2"),
            ("NoNewPrivs", "Umask:\t0022", "NoNewPrivs:\t1"),
            ("Seccomp", "Seccomp:\t2", "Seccomp:\ttwo"),
            ("Uid", "Uid:\t1000\t65534\t1000\t1000", "Uid:\t1000"),
        ] {
            let status = STATUS.replace(from, to);
            assert_ne!(status, STATUS);
            let root = fixture(&of_container(), &status, STAT);
            let reading = read(root.path(), 7, &id(), false);
            assert_eq!(malformed_field(&reading), Some(field), "{reading:?}");
        }
    }

    #[test]
    fn a_stat_that_is_cut_short_is_not_believed() {
        for (stat, field) in [
            ("", "comm"),
            ("7 (a)", "state"),
            ("7 (a) S 1 2 3\n", "starttime"),
        ] {
            let root = fixture(&of_container(), STATUS, stat);
            assert_eq!(
                malformed_field(&read(root.path(), 7, &id(), false)),
                Some(field),
                "{stat}"
            );
        }
    }

    #[test]
    fn the_running_kernel_is_read() {
        let this = rustix::fs::open(
            "/proc/self",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
        let Ok(Reading::Read { facts, started }) = read_process(&this, true) else {
            panic!("this process is alive");
        };
        assert_eq!(facts.uid, rustix::process::geteuid().as_raw());
        assert!(started > Duration::ZERO && started <= crate::clock::boot_now());
        let pid = std::process::id();
        assert_eq!(
            read(Path::new("/proc"), pid, &id(), false),
            Reading::Unavailable(Unavailable::OtherProcess)
        );
    }

    #[test]
    fn ticks_are_exact() {
        assert_eq!(ticks(123_456, 100), Duration::from_millis(1_234_560));
        assert_eq!(ticks(1, 1024), Duration::from_nanos(976_562));
        assert_eq!(ticks(u64::MAX, 1), Duration::from_secs(u64::MAX));
    }
}
