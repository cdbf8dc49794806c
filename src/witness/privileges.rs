//! What a process may do, compared with what its container was born with.
//!
//! Not here: whether the container was born hard enough (`spec::Policy`).

use super::process::Status;

/// `CAP_SETUID`: whoever has it may become any user.
const SETUID: u64 = 1 << 7;

/// What a process has more than process 1 was born with, in words; nothing when it has no more.
pub(super) fn gained(born: &Status, now: &Status) -> Vec<String> {
    let masks = [
        ("CapPrm", born.cap_permitted, now.cap_permitted),
        ("CapEff", born.cap_effective, now.cap_effective),
        ("CapBnd", born.cap_bounding, now.cap_bounding),
        ("CapAmb", born.cap_ambient, now.cap_ambient),
    ];
    // A process may raise what it is permitted, and its ambient set within that: it was born with the means.
    let own = |name: &str, mask: u64| match name {
        "CapBnd" => mask,
        _ => mask | born.cap_permitted | born.cap_bounding,
    };
    let mut found: Vec<String> = masks
        .into_iter()
        .filter(|(name, before, after)| after & !own(name, *before) != 0)
        .map(|(name, _, after)| format!("{name} {after:016x}"))
        .collect();
    if born.no_new_privs && !now.no_new_privs {
        found.push("NoNewPrivs 0".to_owned());
    }
    if born.seccomp != 0 && now.seccomp == 0 {
        found.push("Seccomp 0".to_owned());
    }
    let is_root = born.uids.contains(&0) || born.cap_permitted & SETUID != 0;
    let other = now.uids.iter().find(|uid| !born.uids.contains(uid));
    if let Some(uid) = other.filter(|_| !is_root) {
        found.push(format!("Uid {uid}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn born() -> Status {
        Status {
            tgid: 7,
            uids: [65534; 4],
            cap_permitted: 0,
            cap_effective: 0,
            cap_bounding: 0,
            cap_ambient: 0,
            no_new_privs: true,
            seccomp: 2,
        }
    }

    #[test]
    fn each_privilege_that_was_gained_is_named() {
        assert_eq!(gained(&born(), &born()), [""; 0]);
        let all = Status {
            uids: [65534, 0, 0, 0],
            cap_permitted: 1,
            cap_effective: 1,
            cap_bounding: 1 << 21,
            cap_ambient: 2,
            no_new_privs: false,
            seccomp: 0,
            ..born()
        };
        assert_eq!(
            gained(&born(), &all),
            [
                "CapPrm 0000000000000001",
                "CapEff 0000000000000001",
                "CapBnd 0000000000200000",
                "CapAmb 0000000000000002",
                "NoNewPrivs 0",
                "Seccomp 0",
                "Uid 0",
            ]
        );
    }

    #[test]
    fn a_container_of_root_may_become_another_user_and_use_what_it_is_permitted() {
        let root = Status {
            uids: [0; 4],
            cap_permitted: 0xff,
            cap_bounding: 0xff,
            ..born()
        };
        let worker = Status {
            uids: [33; 4],
            cap_effective: 0x80,
            ..root.clone()
        };
        assert_eq!(gained(&root, &worker), [""; 0]);
    }
}
