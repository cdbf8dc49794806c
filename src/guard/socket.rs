//! The guard's socket, from systemd or made here, and what systemd is told.
//!
//! Not here: what is answered on it (`serve`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::UnixListener;

/// A socket that dockerd can ask.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: UnixListener,
    /// systemd holds it, and keeps it while the guard restarts.
    pub is_inherited: bool,
}

/// Takes systemd's socket where there is one, else makes one that only this user can open.
///
/// # Errors
/// It cannot be made, or something that is no socket is in its place.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn listen(path: &Path) -> io::Result<Listening> {
    let (listener, is_inherited) = match ListenFd::from_env().take_unix_listener(0)? {
        Some(listener) => (listener, true),
        None => (bind(path)?, false),
    };
    listener.set_nonblocking(true)?;
    Ok(Listening {
        listener: UnixListener::from_std(listener)?,
        is_inherited,
    })
}

/// In place of a socket that an earlier guard left, in one step: dockerd finds the old one or the new one.
fn bind(path: &Path) -> io::Result<StdListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("what is there is no socket"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = StdListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Tells systemd that questions are answered. Nothing where systemd did not start this.
///
/// # Errors
/// systemd's socket cannot be used.
pub fn tell_ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Tells systemd that questions under way are answered, and no more. Nothing where systemd did not start this.
///
/// # Errors
/// systemd's socket cannot be used.
pub fn tell_stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// How often systemd wants to hear of a guard that lives; `None` where it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells systemd that the guard lives.
pub(super) fn tell_alive() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}
