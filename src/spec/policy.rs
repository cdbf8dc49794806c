//! What a replica's process may be, compared with what the kernel says it is (invariant I8).
//!
//! Not here: reading `/proc` (`kernel`), and asking for the hardening in the first place (`harden`).

use std::fmt;

/// What the kernel says about a replica's process 1, from `/proc/PID/status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelFacts {
    /// Effective capabilities, one bit each.
    pub cap_effective: u64,
    /// Bounding set: what a setuid program could still gain.
    pub cap_bounding: u64,
    /// `NoNewPrivs`.
    pub no_new_privs: bool,
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub seccomp: u8,
    /// Effective user, as the host counts it.
    pub uid: u32,
    /// Every secret and config in its mounts is read-only.
    pub files_read_only: bool,
}

/// What a replica's process must be at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one wall that stands or not"
)]
pub struct Policy {
    /// The only capabilities that it may have, one bit each; 0 by default.
    pub caps_allowed: u64,
    /// `no-new-privileges` is required.
    pub no_new_privs: bool,
    /// User 0 is refused.
    pub non_root: bool,
    /// The root file system is read-only.
    pub read_only: bool,
    /// Processes and memory are limited.
    pub limited: bool,
}

/// One way in which the process is weaker than the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    /// It has capabilities that it must not have.
    Effective(u64),
    /// It could gain capabilities that it must not have.
    Bounding(u64),
    /// It may gain privileges by a setuid program.
    NewPrivileges,
    /// No seccomp filter.
    Seccomp(u8),
    /// It runs as root.
    Root,
    /// A secret or a config is mounted writable.
    WritableFile,
}

impl Policy {
    /// Everything of `DESIGN.md`, *Hardening*, without an exception.
    pub const STRICT: Self = Self {
        caps_allowed: 0,
        no_new_privs: true,
        non_root: true,
        read_only: true,
        limited: true,
    };

    /// How the process is weaker than the policy; empty when it is not.
    pub fn weaknesses(&self, facts: &KernelFacts) -> Vec<Weakness> {
        let mut found = Vec::new();
        let effective = facts.cap_effective & !self.caps_allowed;
        if effective != 0 {
            found.push(Weakness::Effective(effective));
        }
        let bounding = facts.cap_bounding & !self.caps_allowed;
        if bounding != 0 {
            found.push(Weakness::Bounding(bounding));
        }
        if self.no_new_privs && !facts.no_new_privs {
            found.push(Weakness::NewPrivileges);
        }
        if facts.seccomp != 2 {
            found.push(Weakness::Seccomp(facts.seccomp));
        }
        if self.non_root && facts.uid == 0 {
            found.push(Weakness::Root);
        }
        if !facts.files_read_only {
            found.push(Weakness::WritableFile);
        }
        found
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effective(bits) => write!(f, "has capabilities {}", Capabilities(*bits)),
            Self::Bounding(bits) => write!(f, "could gain capabilities {}", Capabilities(*bits)),
            Self::NewPrivileges => f.write_str("may gain privileges (NoNewPrivs 0)"),
            Self::Seccomp(mode) => write!(f, "has no seccomp filter (Seccomp {mode})"),
            Self::Root => f.write_str("runs as root (uid 0)"),
            Self::WritableFile => f.write_str("can write a secret or config"),
        }
    }
}

/// Capabilities by their bit (linux/capability.h, Linux 6.18).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The bit of a capability, by its name with or without `CAP_`, in either case.
pub fn capability_bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == bare)
        .map(|bit| 1 << bit)
}

/// A set of capabilities by name.
struct Capabilities(u64);

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for bit in (0..64).filter(|bit| self.0 & (1 << bit) != 0) {
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            match NAMES.get(bit) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{bit}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDENED: KernelFacts = KernelFacts {
        cap_effective: 0,
        cap_bounding: 0,
        no_new_privs: true,
        seccomp: 2,
        uid: 65534,
        files_read_only: true,
    };

    #[test]
    fn a_hardened_process_has_no_weakness() {
        assert_eq!(Policy::STRICT.weaknesses(&HARDENED), []);
    }

    #[test]
    fn each_weakness_is_found_and_named() {
        let plain = KernelFacts {
            cap_effective: 1 << 10,
            cap_bounding: 3,
            no_new_privs: false,
            seccomp: 0,
            uid: 0,
            files_read_only: false,
        };
        let text: Vec<String> = Policy::STRICT
            .weaknesses(&plain)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            text,
            [
                "has capabilities NET_BIND_SERVICE",
                "could gain capabilities CHOWN, DAC_OVERRIDE",
                "may gain privileges (NoNewPrivs 0)",
                "has no seccomp filter (Seccomp 0)",
                "runs as root (uid 0)",
                "can write a secret or config",
            ]
        );
    }

    #[test]
    fn an_allowed_capability_is_no_weakness() {
        let allowed = capability_bit("cap_net_bind_service").unwrap();
        let policy = Policy {
            caps_allowed: allowed,
            ..Policy::STRICT
        };
        assert_eq!(
            policy.weaknesses(&KernelFacts {
                cap_bounding: allowed,
                ..HARDENED
            }),
            []
        );
        assert_eq!(
            policy.weaknesses(&KernelFacts {
                cap_bounding: allowed | 1,
                ..HARDENED
            }),
            [Weakness::Bounding(1)]
        );
    }
}
