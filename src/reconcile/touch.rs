//! What was seen to be done to a replica or in it, as its witnesses tell it: the engine's events, the host's `/proc`, the
//! container's writable layer.
//!
//! Not here: whether that is a taint (`taint`): a witness tells, and the plan judges.

use std::fmt;
use std::net::SocketAddr;

use crate::spec::ContainerId;
pub use crate::spec::Transport;

/// The longest text of a touch, in characters: a command may be as long as the kernel allows.
const TEXT: usize = 300;

/// Something that was done to a container or in it. Texts in it are hostile: whoever shows them escapes them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Touch {
    /// A process was started in it through the engine.
    Exec(Exec),
    /// That process ended.
    ExecEnded {
        /// The engine's id of it.
        id: String,
        /// Its exit code, where the engine told it.
        code: Option<i64>,
    },
    /// Something else was done to it through the engine.
    Door(Door),
    /// It was given this name, by whomever.
    Renamed(String),
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
    /// This tag, by which its file names its image, names another image now.
    ImageMoved(String),
    /// A supervisor before this one has judged it tainted, as the journal says: by what, in its words.
    Recorded(String),
}

/// A process started through the engine, as `GET /exec/ID/json` tells of it (moby v20.10.24 to v28.5.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exec {
    /// The engine's id of it.
    pub id: String,
    /// Program and arguments, as the event tells them: joined by spaces, and not more than [`Self::COMMAND_BYTES`] of them.
    pub command: String,
    /// What else is known; `None` when the engine does not know it any more.
    pub facts: Option<ExecFacts>,
}

impl Exec {
    /// As much of a command as is kept.
    pub const COMMAND_BYTES: usize = 4000;

    /// Whether more of it may have been told than was kept: a cut never goes through a character.
    pub fn may_be_cut(&self) -> bool {
        self.command.len() + 4 > Self::COMMAND_BYTES
    }
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
    /// `pause` or `unpause`, by somebody else than phoenixd.
    Pause,
    /// `checkpoint`: its memory was written out.
    Checkpoint,
    /// A network was connected or disconnected by somebody else than phoenixd.
    Network,
    /// It had ended, and was started again: `restart`, or `stop` and `start`.
    Restart,
    /// `phoenixd break-glass`.
    Glass,
    /// `phoenixd break-glass --end`.
    GlassEnd,
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
    /// The same, one by one, as its runtime was told to start it; none where that was not seen.
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
    /// The same, in nothing but the network that the containers of a pod share.
    Network {
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
            Self::Exec(exec) => {
                write!(f, "exec of `{}`", exec.command)?;
                exec.facts.iter().try_for_each(|facts| write!(f, "{facts}"))
            }
            Self::ExecEnded { id, code } => {
                let id = id.get(..12).unwrap_or(id);
                match code {
                    Some(code) => write!(f, "exec {id} ended with code {code}"),
                    None => write!(f, "exec {id} ended"),
                }
            }
            Self::Door(door) => write!(f, "{door}"),
            Self::Renamed(name) => write!(f, "rename to `{name}`"),
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
            Self::ImageMoved(tag) => write!(f, "its image's tag `{tag}` names another image"),
            Self::Recorded(words) => write!(f, "{words}, as the journal says"),
        }
    }
}

/// Behind the command: as whom, and with what.
impl fmt::Display for ExecFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user.as_str() {
            "" => f.write_str(" as its own user")?,
            user => write!(f, " as `{user}`")?,
        }
        let with = [
            (self.privileged, ", with all capabilities"),
            (self.tty, ", with a terminal"),
            (self.stdin, ", with input"),
        ];
        let mut with = with.into_iter().filter(|(is, _)| *is);
        with.try_for_each(|(_, what)| f.write_str(what))
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
            // Of that of a commit is told only when it is done, if the replica is there by then.
            Self::Pause => "pause, as `docker commit` does as well",
            Self::Checkpoint => "checkpoint",
            Self::Network => "change of its networks",
            Self::Restart => "restart",
            Self::Glass => "break-glass",
            Self::GlassEnd => "break-glass was ended before its time",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shim => f.write_str("was started in it from outside"),
            Self::OtherCgroup { container: None } => f.write_str("entered its namespaces"),
            Self::Network { container: None } => f.write_str("entered its pod's network"),
            Self::Network {
                container: Some(id),
            } => write!(f, "entered its pod's network from container {}", id.short()),
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

/// A text that can be shown: what is not printable is escaped, and what is long is cut.
pub(super) fn shown(text: &str) -> String {
    let mut words = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == TEXT {
            words.push('…');
            break;
        }
        // Also what turns the direction of text around, or cannot be seen.
        let is_unseen = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
        let shown = c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() && !is_unseen;
        if shown {
            words.push(c);
        } else {
            words.extend(c.escape_default());
        }
    }
    words
}
