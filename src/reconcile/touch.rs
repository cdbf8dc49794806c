//! What was seen to be done to a replica or in it, as its witnesses tell it: the engine's events, the host's `/proc`, the
//! container's writable layer.
//!
//! Not here: whether that is a taint (`taint`): a witness tells, and the plan judges.

use std::fmt;
use std::net::SocketAddr;

use crate::spec::ContainerId;
pub use crate::spec::Transport;

/// Something that was done to a container or in it. Texts in it are hostile: whoever shows them escapes them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Touch {
    /// A process was started in it through the engine.
    Exec(Exec),
    /// Something else was done to it through the engine.
    Door(Door),
    /// A process runs in its namespaces that its process 1 did not start.
    Intruder(Intruder),
    /// A process of it runs a program that is not of its image.
    Program(Program),
    /// A file of its writable layer changed: the path within the container, if it is known.
    Changed(Option<String>),
    /// It listens on an address; whether its file declares it is judged elsewhere.
    Listens(Socket),
    /// It is connected to an address; whether its file declares it is judged elsewhere.
    Connected(Socket),
    /// What its processes may do is more than it was born with, in words: `CapEff 0000000000000001`.
    Privileges(String),
    /// The kernel killed a process of it for memory.
    OutOfMemory,
    /// The tag of its image names another image now.
    ImageMoved,
}

/// A process started through the engine, as `GET /exec/ID/json` tells of it (moby v20.10.24 to v28.5.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exec {
    /// The engine's id of it.
    pub id: String,
    /// Program and arguments, as the event tells them: joined by spaces.
    pub command: String,
    /// What else is known; `None` when the engine does not know it any more.
    pub facts: Option<ExecFacts>,
}

/// How it was started.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExecFacts {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// With a terminal.
    pub tty: bool,
    /// With an open standard input.
    pub stdin: bool,
    /// As which user; empty for the container's own.
    pub user: String,
}

/// What was done through the engine, by its event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Door {
    /// `attach`: somebody reads and writes the process's own streams.
    Attach,
    /// `extract-to-dir`: files were copied into it.
    CopyIn,
    /// `archive-path`: files were copied out of it.
    CopyOut,
    /// `export`: its whole file system was read.
    Export,
    /// `commit`: an image was made of it.
    Commit,
    /// `update`: its limits were changed.
    Update,
    /// `rename`, by somebody else than phoenixd.
    Rename,
    /// `pause` or `unpause`, by somebody else than phoenixd.
    Pause,
    /// `checkpoint`: its memory was written out.
    Checkpoint,
    /// A network was connected or disconnected by somebody else than phoenixd.
    Network,
}

/// A process in the container's namespaces that its process 1 did not start.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Intruder {
    /// Its number on the host.
    pub pid: u32,
    /// How it is known.
    pub how: Entry,
    /// Its command line, arguments joined by spaces, as far as it could be read.
    pub command: String,
    /// The same, one by one: what a health check is compared with.
    pub arguments: Vec<String>,
    /// As which user, as the host counts it; `None` where it could not be read.
    pub uid: Option<u32>,
    /// Its bounding set, one bit each: with more than the container's own it was started with privileges.
    pub cap_bounding: Option<u64>,
    /// It has a terminal; `None` where it could not be read.
    pub terminal: Option<bool>,
}

/// How a process got into the namespaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Entry {
    /// Its parent is the container's shim: `docker exec`, `ctr tasks exec`, `runc exec`.
    Shim,
    /// Its cgroup is not the container's: `nsenter`, or a container that joined the namespaces.
    OtherCgroup {
        /// Whose cgroup it is in, when that is a container's.
        container: Option<ContainerId>,
    },
}

/// A program that is not of the image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Program {
    /// The process's number on the host.
    pub pid: u32,
    /// Where it came from.
    pub origin: Origin,
    /// What `/proc/PID/exe` leads to.
    pub path: String,
}

/// Where a program came from that is not of the image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// It never had a name: memory alone.
    Memory,
    /// Its file was removed.
    Removed,
    /// A tmpfs of the container, or a mount that is none of its own.
    Mount,
    /// A volume or a directory of the host that it may write to.
    Volume,
    /// The container's writable layer.
    Layer,
}

/// A socket of the container's network namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket {
    /// TCP or UDP.
    pub transport: Transport,
    /// The address listened on, or that of the peer.
    pub address: SocketAddr,
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(exec) => write!(f, "exec of `{}`", exec.command),
            Self::Door(door) => write!(f, "{door}"),
            Self::Intruder(intruder) => write!(
                f,
                "process {} (`{}`) {}",
                intruder.pid, intruder.command, intruder.how
            ),
            Self::Program(program) => write!(
                f,
                "process {} runs `{}`, {}",
                program.pid, program.path, program.origin
            ),
            Self::Changed(Some(path)) => write!(f, "`{path}` changed"),
            Self::Changed(None) => f.write_str("a file changed"),
            Self::Listens(socket) => write!(f, "it listens on {socket}"),
            Self::Connected(socket) => write!(f, "it is connected to {socket}"),
            Self::Privileges(what) => write!(f, "a process has more privileges: {what}"),
            Self::OutOfMemory => f.write_str("a process was killed for memory"),
            Self::ImageMoved => f.write_str("its image's tag names another image"),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attach => "attach to its streams",
            Self::CopyIn => "copy of files into it",
            Self::CopyOut => "copy of files out of it",
            Self::Export => "export of its file system",
            Self::Commit => "commit to an image",
            Self::Update => "update of its limits",
            Self::Rename => "rename",
            Self::Pause => "pause",
            Self::Checkpoint => "checkpoint",
            Self::Network => "change of its networks",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shim => f.write_str("was started in it from outside"),
            Self::OtherCgroup { container: None } => f.write_str("entered its namespaces"),
            Self::OtherCgroup {
                container: Some(id),
            } => write!(f, "of container {} is in its namespaces", id.short()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "which is in memory only",
            Self::Removed => "whose file was removed",
            Self::Mount => "which is not of its image",
            Self::Volume => "which lies where it may write",
            Self::Layer => "which was written after its start",
        })
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.transport)
    }
}
