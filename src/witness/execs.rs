//! The kernel's word that a process became another program, at once and for the whole host: the process connector
//! (`CN_PROC`, `linux/cn_proc.h`, Linux 6.18). With it a program is looked at within a millisecond of its start, also
//! one that no runtime started.
//!
//! It is there only for root in the host's own process and network namespace. Without it the passes over `/proc` find the
//! same, but for what ends between two of them. Not here: looking at the process (`scan`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN` and `PROC_CN_MCAST_IGNORE`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// `PROC_EVENT_EXEC`.
const EXEC: u32 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// Behind `struct nlmsghdr` (16 bytes) and `struct cn_msg` (20): what happened.
const WHAT: usize = 36;
/// Behind that, the processor and the time: the process that became another program, and whose thread it was.
const TGID: usize = 56;
/// Messages that are read in one go: whoever reads must come back to his other work.
const MESSAGES: usize = 256;

/// Listens for programs that are started.
#[derive(Debug)]
pub struct Execs {
    socket: OwnedFd,
}

impl Execs {
    /// Begins to listen.
    ///
    /// # Errors
    /// Not root, not in the host's own namespaces, or a kernel without it.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::DGRAM;
        let connector = Some(netlink::CONNECTOR);
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, connector)?;
        bind(&socket, &SocketAddrNetlink::new(0, PROC))?;
        let execs = Self { socket };
        execs.tell(LISTEN)?;
        Ok(execs)
    }

    fn tell(&self, operation: u32) -> io::Result<()> {
        let mut message = Vec::with_capacity(40);
        // `struct nlmsghdr`: length, type, flags, sequence, sender.
        message.extend_from_slice(&40_u32.to_ne_bytes());
        message.extend_from_slice(&DONE.to_ne_bytes());
        message.extend_from_slice(&[0; 10]);
        // `struct cn_msg`: whom, sequence, acknowledgement, length, flags.
        message.extend_from_slice(&PROC.to_ne_bytes());
        message.extend_from_slice(&PROC.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&4_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 2]);
        message.extend_from_slice(&operation.to_ne_bytes());
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel)?;
        Ok(())
    }

    /// Readable as soon as a program was started.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The processes that became another program since the last call, but for what the kernel had no room to tell. Does
    /// not wait.
    pub fn pids(&mut self) -> Vec<u32> {
        let mut pids = Vec::new();
        let mut message = [0_u8; 512];
        for _ in 0..MESSAGES {
            match recv(&self.socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let told = message.get(..length).unwrap_or_default();
                    pids.extend(pid_of_exec(told).filter(|pid| !pids.contains(pid)));
                }
                // Some were lost; the next is good again.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        pids
    }
}

impl Drop for Execs {
    /// Else the kernel goes on counting a listener (Linux before 6.6).
    fn drop(&mut self) {
        self.tell(IGNORE).unwrap_or_default();
    }
}

fn pid_of_exec(message: &[u8]) -> Option<u32> {
    let word = |at: usize| {
        let bytes = message.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    (word(WHAT)? == EXEC).then(|| word(TGID)).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_program_that_is_started_is_told_where_the_kernel_tells_it() {
        // Elsewhere there is nothing to be told.
        let Ok(mut execs) = Execs::listen() else {
            return;
        };
        execs.pids();
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let told = execs.pids();
        // In a process namespace of its own it may listen, and hears nothing.
        assert!(told.contains(&child.id()) || told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_message_that_is_cut_short_tells_nothing() {
        let mut message = [0; 60];
        message[WHAT] = 2;
        message[TGID] = 7;
        assert_eq!(
            pid_of_exec(&message),
            Some(u32::from_ne_bytes([7, 0, 0, 0]))
        );
        assert_eq!(pid_of_exec(&message[..59]), None);
        assert_eq!(pid_of_exec(&[]), None);
        message[WHAT] = 1;
        assert_eq!(pid_of_exec(&message), None);
    }
}
