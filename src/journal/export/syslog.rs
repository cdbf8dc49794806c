//! Heads to the local syslog, as `syslog(3)` sends them (RFC 3164 over a unix datagram): what rsyslog, syslog-ng,
//! systemd-journald and busybox take at `/dev/log`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Told;
use crate::clock;

/// Facility `authpriv` (10), severity `notice` (5).
const PRIORITY: u8 = 10 * 8 + 5;

/// Sends the head. A socket whose daemon does not read is an error and no wait.
pub(super) fn send(socket: &Path, told: &Told) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to(message(told).as_bytes(), socket)?;
    Ok(())
}

fn message(told: &Told) -> String {
    // Daemons put their own time in its place; without one some of them take the tag for the host.
    let at = clock::wall_now().strftime("%b %e %H:%M:%S");
    format!(
        "<{PRIORITY}>{at} phoenixd[{}]: journal head project={} seq={} head={}",
        std::process::id(),
        told.project,
        told.seq,
        told.head
    )
}
