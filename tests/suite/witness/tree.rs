//! A `/proc` made of files: processes that the test invents.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use phoenixd::spec::ContainerId;
use phoenixd::witness::Watched;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use tempfile::TempDir;

/// A `/proc`.
pub(super) struct Tree {
    folder: TempDir,
    /// The mount that everything here lies on.
    mount: u64,
}

/// A process of it.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) started: u64,
    pub(super) name: &'static str,
    pub(super) state: char,
    /// The container whose cgroup it is in.
    pub(super) container: Option<ContainerId>,
    /// Mount, process and network namespace.
    pub(super) namespaces: [u64; 3],
    pub(super) arguments: Vec<&'static str>,
    pub(super) uid: u32,
    pub(super) capabilities: u64,
    pub(super) thread_of: Option<u32>,
}

pub(super) const HOST: [u64; 3] = [1, 2, 3];
pub(super) const INSIDE: [u64; 3] = [11, 12, 13];

pub(super) fn id(of: &str) -> ContainerId {
    ContainerId::new(of.repeat(32))
}

/// A process of the host.
pub(super) fn of_host(pid: u32, parent: u32, name: &'static str) -> Made {
    Made {
        pid,
        parent,
        started: u64::from(pid),
        name,
        state: 'S',
        container: None,
        namespaces: HOST,
        arguments: vec![name],
        uid: 0,
        capabilities: 0xff,
        thread_of: None,
    }
}

/// A process of the container `0f…`.
pub(super) fn of_container(pid: u32, parent: u32, name: &'static str) -> Made {
    Made {
        container: Some(id("0f")),
        namespaces: INSIDE,
        uid: 65534,
        capabilities: 0,
        ..of_host(pid, parent, name)
    }
}

/// The container `0f…`, whose process 1 is number 100, below the shim 50.
pub(super) fn watched() -> Watched {
    Watched {
        id: id("0f"),
        pid: 100,
        upper: None,
        in_pod: false,
    }
}

impl Tree {
    /// With `init`, a shim (50), and a container's process 1 (100) with one child (101).
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app"), "").expect("write");
        let told = statx(
            CWD,
            folder.path().join("app"),
            AtFlags::empty(),
            StatxFlags::MNT_ID,
        );
        let tree = Self {
            mount: told.expect("statx").stx_mnt_id,
            folder,
        };
        tree.make(&of_host(1, 0, "init"));
        tree.make(&of_host(50, 1, "containerd-shim"));
        tree.make(&of_container(100, 50, "docker-init"));
        tree.make(&of_container(101, 100, "app"));
        tree.last(101);
        tree
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Which number was given last.
    pub(super) fn last(&self, pid: u32) {
        let text = format!("0.00 0.01 0.05 1/164 {pid}\n");
        fs::write(self.folder.path().join("loadavg"), text).expect("write");
    }

    /// Makes a process, or changes it.
    pub(super) fn make(&self, made: &Made) {
        let directory = self.folder.path().join(made.pid.to_string());
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(directory.join("ns")).expect("create");
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("write");
        write(
            "stat",
            &format!(
                "{} ({}) {} {} 1 1 0 1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {} 1 1\n",
                made.pid, made.name, made.state, made.parent, made.started
            ),
        );
        let cgroup = match &made.container {
            None => "0::/system.slice\n".to_owned(),
            Some(id) => format!("1:cpu:/docker/{id}\n0::/docker/{id}\n"),
        };
        write("cgroup", &cgroup);
        let mut arguments = String::new();
        for argument in &made.arguments {
            write!(arguments, "{argument}\0").expect("a string");
        }
        write("cmdline", &arguments);
        write("status", &status(made));
        let mounts = format!("{} 1 0:50 / / ro - overlay overlay rw\n", self.mount);
        write("mountinfo", &mounts);
        for (kind, inode) in ["mnt", "pid", "net"].into_iter().zip(made.namespaces) {
            symlink(format!("{kind}:[{inode}]"), directory.join("ns").join(kind)).expect("link");
        }
        let file = self.folder.path().join("app");
        symlink(file, directory.join("exe")).expect("link");
    }

    /// What the kernel tells in a file of `/proc/PID/net`.
    pub(super) fn sockets(&self, pid: u32, name: &str, text: &str) {
        let directory = self.path(pid).join("net");
        fs::create_dir_all(&directory).expect("create");
        fs::write(directory.join(name), text).expect("write");
    }

    pub(super) fn end(&self, pid: u32) {
        fs::remove_dir_all(self.path(pid)).expect("remove");
    }

    pub(super) fn path(&self, pid: u32) -> PathBuf {
        self.folder.path().join(pid.to_string())
    }

    /// Makes it run something else.
    pub(super) fn runs(&self, pid: u32, program: &Path) {
        fs::remove_file(self.path(pid).join("exe")).expect("remove");
        symlink(program, self.path(pid).join("exe")).expect("link");
    }
}

fn status(made: &Made) -> String {
    let (uid, capabilities) = (made.uid, made.capabilities);
    let walls = u8::from(made.container.is_some());
    format!(
        "Name:\t{}\nTgid:\t{}\nPid:\t{}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n\
         CapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\nCapBnd:\t{capabilities:016x}\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t{walls}\nSeccomp:\t{}\n",
        made.name,
        made.thread_of.unwrap_or(made.pid),
        made.pid,
        walls * 2
    )
}
