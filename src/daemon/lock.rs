//! One supervisor per project (invariant I11): a file lock in the state directory, and a name of the host's that a
//! supervisor with another state directory meets too.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use crate::spec::ProjectName;

/// Held as long as the supervisor lives; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    _name: UnixDatagram,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another supervisor of the project runs.
    #[error("another phoenixd already supervises project `{project}`{}", holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Taken {
        /// The project.
        project: ProjectName,
        /// The other's process, where it is known.
        holder: Option<u32>,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}", path.display())]
    StateDir {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the project's lock, making its state directory (mode 0700) if there is none.
    ///
    /// `engine` tells engines apart: the same project name may be supervised on two of them.
    ///
    /// # Errors
    /// Another supervisor has it, or the directory cannot be used.
    pub fn take(
        dir: &Path,
        lock: &Path,
        project: &ProjectName,
        engine: &str,
    ) -> Result<Self, Error> {
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::StateDir { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(cannot(dir))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(lock)
            .map_err(cannot(lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Taken {
                    project: project.clone(),
                    holder: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(cannot(lock)(source)),
        }
        let name = format!("phoenixd/{engine}/{project}");
        let address = SocketAddr::from_abstract_name(name.as_bytes()).map_err(cannot(lock))?;
        let name = match UnixDatagram::bind_addr(&address) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(Error::Taken {
                    project: project.clone(),
                    holder: None,
                });
            }
            Err(source) => return Err(cannot(lock)(source)),
        };
        write_pid(&mut file).map_err(cannot(lock))?;
        Ok(Self {
            _file: file,
            _name: name,
        })
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
