//! The files that guard and supervisor share, in `STATE/guard`: the key, what each project manages, what was learnt.
//!
//! The guard reads them while no supervisor lives. A file is read again when it is another one (time, size, inode). One
//! that cannot be read keeps what it held before, and is told: the policy denies changes meanwhile.
//! Not here: who decides what is managed (the supervisor), and any rule (`policy`).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::judge::Lesson;
use super::managed::{Managed, Project, VERSION};
use crate::sign::Key;
use crate::spec::ContainerId;

/// No file of a project is longer.
const LONGEST: u64 = 8 << 20;
/// Containers that are kept as learnt; each is forgotten when phoenixd removes it.
const LEARNT: usize = 65_536;

/// `STATE/guard`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardDir(PathBuf);

impl GuardDir {
    /// The guard's directory in a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("guard"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key of the signatures.
    pub fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    fn projects(&self) -> PathBuf {
        self.0.join("projects")
    }

    fn learnt(&self) -> PathBuf {
        self.0.join("learnt.json")
    }

    /// The file of a project.
    pub fn project(&self, project: &str) -> PathBuf {
        self.projects().join(format!("{project}.json"))
    }

    /// Whether there is a guard on this host.
    pub fn is_there(&self) -> bool {
        self.projects().is_dir()
    }

    /// What a project manages, as it was written last; `None` where nothing was, or it cannot be read.
    pub fn read_project(&self, project: &str) -> Option<Project> {
        read_project(&self.project(project)).ok()
    }

    /// Makes directories and key; what is there stays. Whether the key is new.
    ///
    /// # Errors
    /// Something cannot be made, or the key that is there cannot be read.
    pub fn make(&self) -> io::Result<bool> {
        for dir in [self.0.clone(), self.projects()] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        if self.key().exists() {
            Key::read(&self.key())?;
            return Ok(false);
        }
        let text = format!("{}\n", Key::random()?.to_hex());
        write_whole(&self.key(), text.as_bytes(), true)?;
        Ok(true)
    }

    /// Writes what a project manages, durably, in one step. Nothing where there is no guard on this host.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_project(&self, project: &Project) -> io::Result<()> {
        if !self.is_there() {
            return Ok(());
        }
        let text = serde_json::to_vec(project).map_err(io::Error::other)?;
        write_whole(&self.project(&project.project), &text, true)
    }

    /// Removes a project: it manages nothing any more.
    ///
    /// # Errors
    /// It cannot be removed. That it is not there is no error.
    pub fn remove_project(&self, project: &str) -> io::Result<()> {
        match fs::remove_file(self.project(project)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Replaces a file in one step: whoever reads it sees the old one or the new one. `durable`: also after a loss of power.
fn write_whole(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) if durable => File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

/// What sets two versions of a file apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

#[derive(Debug)]
struct Held {
    /// `None` after a failure: it is read again each time.
    stamp: Option<Stamp>,
    project: Option<Project>,
}

/// What was learnt, as it is kept.
#[derive(Default, Serialize, Deserialize)]
struct Learnt {
    version: u32,
    #[serde(default)]
    containers: BTreeMap<String, String>,
    #[serde(default)]
    networks: BTreeMap<String, String>,
}

/// What is managed, kept up with its files.
#[derive(Debug)]
pub struct Store {
    dir: GuardDir,
    held: BTreeMap<PathBuf, Held>,
    managed: Managed,
    /// The trouble with the directory itself or with what was learnt, which no file of a project can mend.
    trouble: Option<String>,
}

impl Store {
    /// Reads what is there.
    pub fn open(dir: GuardDir) -> Self {
        let mut store = Self {
            held: BTreeMap::new(),
            managed: Managed::default(),
            trouble: None,
            dir,
        };
        match read_learnt(&store.dir.learnt()) {
            Ok(learnt) => {
                store.managed.learnt = learnt.containers;
                store.managed.learnt_networks = learnt.networks;
            }
            Err(error) => store.trouble = Some(told(&store.dir.learnt(), &error)),
        }
        store.refresh();
        store
    }

    /// What is managed now.
    pub fn managed(&mut self) -> &Managed {
        self.refresh();
        &self.managed
    }

    /// Looks at every file, and reads those that are new.
    fn refresh(&mut self) {
        let mut unreadable: Vec<String> = self.trouble.iter().cloned().collect();
        match list(&self.dir.projects()) {
            Ok(paths) => {
                self.held.retain(|path, _| paths.contains(path));
                for path in paths {
                    if let Err(error) = self.look(&path) {
                        unreadable.push(told(&path, &error));
                    }
                }
            }
            Err(error) => unreadable.push(told(&self.dir.projects(), &error)),
        }
        self.managed.unreadable = unreadable;
        let known = self.managed.projects.keys();
        let gone: Vec<String> = known
            .filter(|path| !self.held.contains_key(Path::new(path)))
            .cloned()
            .collect();
        for path in gone {
            self.managed.projects.remove(&path);
        }
    }

    fn look(&mut self, path: &Path) -> io::Result<()> {
        let held = self.held.entry(path.to_owned()).or_insert(Held {
            stamp: None,
            project: None,
        });
        let stamp = stamp(path)?;
        if held.stamp == Some(stamp) {
            return Ok(());
        }
        held.stamp = None;
        let project = read_project(path)?;
        held.stamp = Some(stamp);
        held.project = Some(project.clone());
        let key = path.to_string_lossy().into_owned();
        self.managed.projects.insert(key, project);
        Ok(())
    }

    /// Remembers what an answer taught, for the next guard, too. Not synced: what is lost with the host's power was
    /// stopped with it.
    ///
    /// # Errors
    /// It cannot be kept; this guard knows it all the same.
    pub fn learn(&mut self, lesson: Lesson) -> io::Result<()> {
        match lesson {
            Lesson::Container(id, name) if self.managed.learnt.len() < LEARNT => {
                self.managed.learnt.insert(id, name);
            }
            Lesson::Network(id, name) if self.managed.learnt_networks.len() < LEARNT => {
                self.managed
                    .learnt_networks
                    .retain(|_, known| *known != name);
                self.managed.learnt_networks.insert(id, name);
            }
            Lesson::Container(..) | Lesson::Network(..) => {}
            Lesson::Gone(reference) => {
                let is_it = |id: &str, name: &str| {
                    name == reference || (reference.len() >= 12 && id.starts_with(&reference))
                };
                self.managed.learnt.retain(|id, name| !is_it(id, name));
            }
        }
        let learnt = Learnt {
            version: VERSION,
            containers: self.managed.learnt.clone(),
            networks: self.managed.learnt_networks.clone(),
        };
        let text = serde_json::to_vec(&learnt).map_err(io::Error::other)?;
        write_whole(&self.dir.learnt(), &text, false)
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The files of projects.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let about = fs::metadata(path)?;
    Ok(Stamp {
        modified: (about.mtime(), about.mtime_nsec()),
        size: about.size(),
        inode: about.ino(),
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(invalid("it is longer than any such file"));
    }
    Ok(bytes)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn read_project(path: &Path) -> io::Result<Project> {
    let bytes = read_bounded(path)?;
    let project: Project = serde_json::from_slice(&bytes)?;
    if project.version != VERSION {
        return Err(invalid("it is of another version of phoenixd"));
    }
    let mut ids = project.replicas.iter().map(|replica| replica.id.as_bytes());
    if project.project.is_empty() || !ids.all(ContainerId::is_whole) {
        return Err(invalid("it does not say what it is for"));
    }
    Ok(project)
}

fn read_learnt(path: &Path) -> io::Result<Learnt> {
    match read_bounded(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Learnt::default()),
        Err(error) => Err(error),
        Ok(bytes) => {
            let learnt: Learnt = serde_json::from_slice(&bytes)?;
            if learnt.version != VERSION {
                return Err(invalid("it is of another version of phoenixd"));
            }
            Ok(learnt)
        }
    }
}
