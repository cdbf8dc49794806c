//! What `/proc` says of a container's processes, also of frozen ones: command lines, programs with their digests, open
//! files, maps, namespaces, sockets.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::budget::{Budget, FILE_BYTES};
use crate::spec::ContainerId;
use crate::witness::mounts::Mounts;
use crate::witness::process::Process;

const NAMESPACES: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];
/// Processes that are described at most.
const PROCESSES: usize = 1024;
/// Open files of one process that are named at most.
const OPEN_FILES: usize = 256;
/// The most of `maps` of one process, in bytes.
const MAPS_BYTES: u64 = 128 * 1024;
/// The most of one table of sockets, in bytes.
const SOCKETS_BYTES: u64 = 1024 * 1024;
/// A program that is larger is not hashed.
const PROGRAM_BYTES: u64 = 512 << 20;

/// What was seen of a container's processes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each process, in words.
    pub(super) processes: Vec<Value>,
    /// Programs that are not of the image: whose, and as much of it as there is room for.
    pub(super) programs: Vec<(u32, String, Vec<u8>)>,
    /// The tables of sockets, each as it is.
    pub(super) sockets: Vec<(&'static str, Vec<u8>)>,
    /// Where the container has memory mounted: tmpfs of its own, which nothing of it survives.
    pub(super) tmpfs: Vec<String>,
}

/// Looks at every process in the container's cgroup.
pub(super) fn look(
    proc_root: &Path,
    id: &ContainerId,
    upper: Option<&Path>,
    budget: &mut Budget,
) -> Seen {
    let mut seen = Seen::default();
    let mut hashes = std::collections::BTreeMap::new();
    for pid in crate::witness::scan::pids(proc_root) {
        if seen.processes.len() >= PROCESSES || !budget.has_time() {
            break;
        }
        let Some(process) = Process::open(proc_root, pid) else {
            continue;
        };
        let is_own = process
            .container()
            .is_some_and(|cgroup| cgroup.id() == Some(id));
        if !is_own {
            continue;
        }
        if seen.processes.is_empty() {
            seen.sockets = sockets(&process);
            seen.tmpfs = tmpfs(&process.text("mountinfo").unwrap_or_default());
        }
        let executable = process.executable();
        let mounts = Mounts::parse(&process.text("mountinfo").unwrap_or_default());
        let origin = executable
            .as_ref()
            .and_then(|executable| mounts.origin(executable, upper));
        let digest = executable.as_ref().map(|executable| {
            let key = (executable.device, executable.inode);
            let hash = || hash(&proc_root.join(pid.to_string()).join("exe"), budget);
            hashes.entry(key).or_insert_with(hash).clone()
        });
        let path = executable.map(|executable| executable.path);
        if origin.is_some()
            && let Some(room) = budget.file()
            && let Some(bytes) = process.read("exe", u64::try_from(room).unwrap_or_default())
        {
            budget.spend(bytes.len());
            seen.programs
                .push((pid, path.clone().unwrap_or_default(), bytes));
        }
        let maps = process.read("maps", MAPS_BYTES).unwrap_or_default();
        let namespaces = NAMESPACES.map(|kind| process.link(&format!("ns/{kind}")));
        seen.processes.push(json!({
            "pid": pid,
            "parent": process.stat().map(|stat| stat.parent),
            "arguments": process.arguments(),
            "program": path,
            "program_sha256": digest.flatten(),
            "program_origin": origin.map(|origin| origin.to_string()),
            "working_directory": process.link("cwd"),
            "root": process.link("root"),
            "status": process.text("status"),
            "cgroup": process.text("cgroup"),
            "namespaces": namespaces,
            "open_files": open_files(proc_root, &process),
            "maps": String::from_utf8_lossy(&maps),
        }));
    }
    seen
}

fn sockets(process: &Process) -> Vec<(&'static str, Vec<u8>)> {
    let tables = [
        "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix",
    ];
    tables
        .into_iter()
        .filter_map(|name| Some((name, process.read(&format!("net/{name}"), SOCKETS_BYTES)?)))
        .collect()
}

fn open_files(proc_root: &Path, process: &Process) -> Vec<Value> {
    let directory = proc_root.join(process.pid.to_string()).join("fd");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.truncate(OPEN_FILES);
    names
        .into_iter()
        .map(|name| json!({ "number": name, "to": process.link(&format!("fd/{name}")) }))
        .collect()
}

/// The mounts of a container that are memory of its own: not those that the runtime makes for every container, and not
/// where secrets are.
fn tmpfs(mountinfo: &str) -> Vec<String> {
    let point = |line: &str| {
        let (own, rest) = line.split_once(" - ")?;
        let fields: Vec<&str> = own.split(' ').collect();
        let (root, point) = (*fields.get(3)?, *fields.get(4)?);
        let is_own = rest.starts_with("tmpfs ") && root == "/" && !point.contains('\\');
        let others = ["/proc", "/sys", "/run/secrets"];
        let is_other = others
            .iter()
            .any(|other| point == *other || point.starts_with(&format!("{other}/")));
        (is_own && !is_other).then(|| point.to_owned())
    };
    mountinfo.lines().filter_map(point).collect()
}

/// SHA-256 of a program; `None` when it cannot be read, is too large, or there is no time.
fn hash(program: &Path, budget: &Budget) -> Option<String> {
    let mut file = File::open(program).ok()?;
    if file.metadata().ok()?.len() > PROGRAM_BYTES {
        return None;
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; FILE_BYTES];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex::encode(hasher.finalize())),
            read => hasher.update(buffer.get(..read)?),
        }
        if !budget.has_time() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_container_s_own_is_looked_into_and_secrets_are_not() {
        let mountinfo = "\
1 0 0:1 / / ro - overlay overlay rw
2 1 0:2 / /tmp rw - tmpfs tmpfs rw
3 1 0:3 / /dev rw - tmpfs tmpfs rw
4 1 0:4 / /run/secrets/x ro - tmpfs tmpfs rw
5 1 0:5 /phoenixd/p/files/a /run/config ro - tmpfs tmpfs rw
6 1 0:6 / /proc/acpi ro - tmpfs tmpfs ro
7 1 0:7 / /data rw - ext4 /dev/vda rw
garbled
";
        assert_eq!(tmpfs(mountinfo), ["/tmp", "/dev"]);
    }
}
