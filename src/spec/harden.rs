//! Hardening: what is forced on every phoenix, what needs a named exception, what is refused for good.
//!
//! `resolve` joins a service with what is known of its image. Everything that it forces is asked for in the create
//! body and read again from the kernel after the start (`policy`). Keys that can never be honoured (`privileged`,
//! `pid: host`, `devices`) are refused where they are read, in `compose`.

use std::collections::BTreeSet;

use super::policy::capability_bit;
use super::{
    Allow, ContainerSpec, Diagnostic, ImageId, MountSource, Policy, Probe, Reach, Service,
    TmpfsMount, Ulimit,
};

/// Processes of a replica, where the file gives no limit.
const PIDS_LIMIT: i64 = 512;
/// Memory of a replica, where the file gives no limit.
const MEMORY_BYTES: i64 = 512 << 20;
/// CPU of a replica, where the file gives no limit: one.
const NANO_CPUS: i64 = 1_000_000_000;
/// Open files of a process. Below the hard limit of small hosts, where asking for more makes the start fail.
const NOFILE: Ulimit = Ulimit {
    soft: 16_384,
    hard: 16_384,
};
/// Size of a tmpfs that the file gives none: without one it may take half of the host's memory.
const TMPFS_SIZE: &str = "size=64m";

/// What the engine knows of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageFacts {
    /// Its id.
    pub id: ImageId,
    /// `USER`; empty means root.
    pub user: String,
    /// `EXPOSE`d TCP ports.
    pub exposed_tcp: BTreeSet<u16>,
    /// It has a `HEALTHCHECK` that runs something.
    pub has_healthcheck: bool,
    /// It has an `ENTRYPOINT` or a `CMD`.
    pub has_command: bool,
    /// `VOLUME`s: each becomes an anonymous volume.
    pub volumes: Vec<String>,
}

/// A service joined with its image, hardened: what replicas are born from.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The service as the file has it.
    pub service: Service,
    /// The hardened definition.
    pub container: ContainerSpec,
    /// What the kernel must say after the start.
    pub policy: Policy,
    /// How readiness is asked for.
    pub probe: Probe,
    /// The image.
    pub image: ImageFacts,
    /// The verdict of `phoenixd check`, line by line.
    pub findings: Vec<Finding>,
}

/// One line of the hardening verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What sort of line it is.
    pub kind: FindingKind,
    /// The line.
    pub text: String,
}

/// What sort of line it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// In force.
    Hardened,
    /// Weakened by a named exception of the file.
    Exception(Allow),
}

/// Joins a service with its image: the hardened definition, the probe, the policy and the verdict; or what is wrong.
///
/// All problems come at once; warnings may come with a result.
pub fn resolve(service: &Service, image: &ImageFacts) -> (Option<Resolved>, Vec<Diagnostic>) {
    let mut hardening = Hardening {
        service,
        image,
        container: service.container.clone(),
        policy: Policy::STRICT,
        findings: Vec::new(),
        diagnostics: Vec::new(),
    };
    hardening.container.identity = service.phoenix.identity;
    hardening.command();
    hardening.user();
    hardening.root_file_system();
    hardening.capabilities();
    hardening.security_options();
    hardening.namespaces();
    hardening.limits();
    hardening.tmpfs();
    hardening.mounts();
    hardening.files();
    hardening.ttl();
    hardening.static_addresses();
    let probe = hardening.probe();
    let Hardening {
        mut container,
        policy,
        findings,
        diagnostics,
        ..
    } = hardening;
    let resolved = match probe {
        Some(probe) if !super::has_errors(&diagnostics) => {
            container.reach = Some(Reach {
                probe: probe.clone(),
                published: service.published.clone(),
                policy,
            });
            Some(Resolved {
                service: service.clone(),
                container,
                policy,
                probe,
                image: image.clone(),
                findings,
            })
        }
        _ => None,
    };
    (resolved, diagnostics)
}

pub(super) struct Hardening<'a> {
    pub(super) service: &'a Service,
    pub(super) image: &'a ImageFacts,
    pub(super) container: ContainerSpec,
    pub(super) policy: Policy,
    pub(super) findings: Vec<Finding>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Hardening<'_> {
    fn allows(&self, allow: Allow) -> bool {
        self.service.phoenix.allow.contains(&allow)
    }

    pub(super) fn hardened(&mut self, text: impl Into<String>) {
        self.findings.push(Finding {
            kind: FindingKind::Hardened,
            text: text.into(),
        });
    }

    fn exception(&mut self, allow: Allow, text: impl Into<String>) {
        self.findings.push(Finding {
            kind: FindingKind::Exception(allow),
            text: text.into(),
        });
    }

    pub(super) fn refuse(
        &mut self,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let diagnostic = Diagnostic::error(
            code,
            self.service.place(key),
            self.service.path(key),
            message,
        )
        .hint(hint);
        self.diagnostics.push(diagnostic);
    }

    /// A weakening that the file asks for: an exception when it is named, else an error that says how to name it.
    fn weaken(&mut self, allow: Allow, key: &str, text: &str) {
        if self.allows(allow) {
            self.exception(allow, text);
        } else {
            self.refuse(
                "not-allowed",
                key,
                format!(
                    "`{}` is weaker than a phoenix may be: {text}",
                    self.service.name
                ),
                format!("remove it, or name the exception: `x-phoenix: {{ allow: [{allow}] }}`"),
            );
        }
    }

    fn command(&mut self) {
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if !self.image.has_command
            && !given(&self.container.command)
            && !given(&self.container.entrypoint)
        {
            self.refuse(
                "no-command",
                "image",
                format!(
                    "image `{}` has no command, and the file gives none",
                    self.container.image
                ),
                "add `command:` or `entrypoint:`",
            );
        }
    }

    fn user(&mut self) {
        let user = self
            .container
            .user
            .clone()
            .unwrap_or_else(|| self.image.user.clone());
        let name = user.split(':').next().unwrap_or_default();
        let is_root = name.is_empty() || name == "root" || name.parse::<u64>() == Ok(0);
        if !is_root {
            self.hardened(format!("user {user} (not root)"));
        } else if self.allows(Allow::Root) {
            self.policy.non_root = false;
            self.exception(Allow::Root, "runs as root");
        } else {
            let whose = if self.container.user.is_some() {
                "the file says"
            } else {
                "image and file both say"
            };
            self.refuse(
                "root-user",
                "user",
                format!("`{}` would run as root: {whose} `{}`", self.service.name, if name.is_empty() { "root" } else { name }),
                "add `user: \"65534:65534\"` or another user, or name the exception: `x-phoenix: { allow: [root] }`",
            );
        }
    }

    fn root_file_system(&mut self) {
        if self.container.read_only == Some(false) {
            self.weaken(
                Allow::WritableRoot,
                "read_only",
                "the root file system is writable",
            );
            if self.allows(Allow::WritableRoot) {
                self.policy.read_only = false;
                return;
            }
        }
        self.container.read_only = Some(true);
        self.hardened("read-only root");
    }

    fn capabilities(&mut self) {
        let added = std::mem::take(&mut self.container.cap_add);
        self.container.cap_drop = vec!["ALL".to_owned()];
        if added.is_empty() {
            self.hardened("no capabilities");
            return;
        }
        self.weaken(
            Allow::CapAdd,
            "cap_add",
            &format!("adds capabilities {}", added.join(", ")),
        );
        for name in &added {
            match capability_bit(name) {
                Some(bit) => self.policy.caps_allowed |= bit,
                None => self.refuse(
                    "unknown-capability",
                    "cap_add",
                    format!("`{name}` is not a capability that can be added"),
                    "name single capabilities, such as `NET_BIND_SERVICE`; `ALL` is refused",
                ),
            }
        }
        self.container.cap_add = added;
    }

    fn security_options(&mut self) {
        let mut kept = Vec::new();
        let mut new_privileges = false;
        for option in std::mem::take(&mut self.container.security_opt) {
            let (name, value) = option
                .split_once([':', '='])
                .unwrap_or((option.as_str(), "true"));
            match (name, value) {
                ("no-new-privileges", "true") => {}
                ("no-new-privileges", _) => {
                    self.weaken(
                        Allow::NewPrivileges,
                        "security_opt",
                        "may gain privileges by a setuid program",
                    );
                    new_privileges = self.allows(Allow::NewPrivileges);
                }
                ("seccomp" | "apparmor" | "systempaths", "unconfined") | ("label", "disable") => {
                    self.refuse(
                        "refused",
                        "security_opt",
                        format!("`{option}` takes a wall away that phoenixd never goes without"),
                        "remove it",
                    );
                }
                ("seccomp", "builtin") | ("apparmor", "docker-default") => kept.push(option),
                ("seccomp", _) => {
                    self.own_profile("a seccomp profile of its own");
                    kept.push(option);
                }
                ("apparmor", profile) => {
                    self.own_profile(&format!("the AppArmor profile `{profile}`"));
                    kept.push(option);
                }
                ("label", label) => {
                    self.own_profile(&format!("the SELinux label `{label}`"));
                    kept.push(option);
                }
                _ => kept.push(option),
            }
        }
        if new_privileges {
            self.policy.no_new_privs = false;
            // The engine's own default may be another.
            kept.insert(0, "no-new-privileges:false".to_owned());
        } else {
            kept.insert(0, "no-new-privileges:true".to_owned());
            self.hardened("no new privileges");
        }
        self.container.security_opt = kept;
        self.hardened("seccomp filter");
    }

    /// Nobody here can tell whether it holds back as much as the engine's own does.
    fn own_profile(&mut self, what: &str) {
        self.weaken(Allow::SecurityProfile, "security_opt", what);
    }

    fn namespaces(&mut self) {
        self.container.ipc = Some("private".to_owned());
        self.container.cgroup = Some("private".to_owned());
        if self.container.init != Some(false) {
            self.container.init = Some(true);
        }
        self.hardened("own namespaces");
    }

    fn limits(&mut self) {
        let service = self.service;
        let unlimited = |value: Option<i64>| value.is_some_and(|value| value <= 0);
        let asked = &service.container;
        for (key, value, what) in [
            ("pids_limit", asked.pids_limit, "no limit of processes"),
            ("mem_limit", asked.memory_bytes, "no limit of memory"),
            ("cpus", asked.nano_cpus, "no limit of CPU"),
        ] {
            if unlimited(value) {
                self.weaken(Allow::Unlimited, key, what);
                self.policy.limited = false;
            }
        }
        let container = &mut self.container;
        let pids = *container.pids_limit.get_or_insert(PIDS_LIMIT);
        // The engine refuses a reservation above the limit.
        let reserved = container.memory_reservation_bytes.unwrap_or_default();
        let memory = *(container.memory_bytes).get_or_insert(MEMORY_BYTES.max(reserved));
        if memory > 0 {
            container.memory_swap_bytes.get_or_insert(memory);
        }
        let has_quota = container.cpu_quota.is_some_and(|quota| quota > 0);
        match (has_quota, container.cpu_period, container.nano_cpus) {
            (true, ..) | (false, _, Some(_)) => {}
            // One CPU; the engine takes a period together with a quota only.
            (false, Some(period), None) if period > 0 => container.cpu_quota = Some(period),
            (false, _, None) => container.nano_cpus = Some(NANO_CPUS),
        }
        container
            .ulimits
            .entry("nofile".to_owned())
            .or_insert(NOFILE);
        container
            .ulimits
            .entry("core".to_owned())
            .or_insert(Ulimit { soft: 0, hard: 0 });
        self.hardened(format!(
            "limits: {pids} processes, {} MiB memory, CPU, open files, no core dumps",
            memory >> 20
        ));
    }

    fn tmpfs(&mut self) {
        let service = self.service;
        let mut mounts = Vec::new();
        for mount in &service.container.tmpfs {
            let weak: Vec<&str> = mount
                .options
                .iter()
                .map(String::as_str)
                .filter(|option| ["exec", "suid", "dev"].contains(option))
                .collect();
            if !weak.is_empty() {
                self.weaken(
                    Allow::TmpfsExec,
                    "tmpfs",
                    &format!("tmpfs {} with {}", mount.target, weak.join(",")),
                );
            }
            let mut options: Vec<String> = ["noexec", "nosuid", "nodev"]
                .iter()
                .filter(|option| !weak.contains(&option.trim_start_matches("no")))
                .map(|option| (*option).to_owned())
                .collect();
            options.extend(
                mount
                    .options
                    .iter()
                    .filter(|option| !["noexec", "nosuid", "nodev"].contains(&option.as_str()))
                    .cloned(),
            );
            if !options.iter().any(|option| option.starts_with("size=")) {
                options.push(TMPFS_SIZE.to_owned());
            }
            mounts.push(TmpfsMount {
                target: mount.target.clone(),
                options,
            });
        }
        if !mounts.is_empty() {
            self.hardened("tmpfs mounts noexec, nosuid, nodev, with a size");
        }
        self.container.tmpfs = mounts;
    }

    fn mounts(&mut self) {
        for mount in &mut self.container.mounts {
            if let MountSource::Bind { propagation, .. } = &mut mount.source {
                *propagation = Some("rprivate".to_owned());
            }
        }
    }

    fn ttl(&mut self) {
        let phoenix = &self.service.phoenix;
        let grace = self.container.stop_grace;
        let minimum = phoenix.minimum_ttl(self.service.replicas, grace);
        let shortest = phoenix.lifetime().shortest;
        if shortest < minimum {
            let lead = phoenix.lead(super::STARTING_ESTIMATE, grace);
            let message = format!(
                "TTL {} is too short: with jitter a replica lives {}, and replacing {} takes {} ({} at a time, {} each: {lead})",
                show(phoenix.ttl),
                show(shortest),
                count(self.service.replicas, "replica"),
                show(minimum),
                phoenix.surge.max(1),
                show(lead.total()),
            );
            self.refuse(
                "ttl-too-short",
                "x-phoenix.ttl",
                message,
                format!(
                    "raise `ttl` to {} or more without jitter, or lower `drain` and `stop_grace_period`, or raise `surge`",
                    show(minimum)
                ),
            );
        }
    }

    fn static_addresses(&mut self) {
        let fixed = self
            .container
            .all_attachments()
            .any(|a| a.ipv4.is_some() || a.ipv6.is_some());
        if !fixed {
            return;
        }
        if self.service.replicas > 1 {
            self.refuse(
                "static-address",
                "networks",
                format!(
                    "one static address cannot serve {} replicas",
                    self.service.replicas
                ),
                "remove `ipv4_address`/`ipv6_address`, or set `deploy: { replicas: 1 }`",
            );
        } else if self.service.phoenix.surge > 0 {
            self.refuse(
                "static-address",
                "networks",
                "a replacement cannot start beside the replica that holds the static address",
                "remove `ipv4_address`/`ipv6_address`, or set `x-phoenix: { surge: 0 }` to stop the old one first",
            );
        }
    }
}

fn show(duration: std::time::Duration) -> String {
    let whole =
        std::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(whole).to_string()
}

fn count(number: u32, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
