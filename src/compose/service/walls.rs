//! The walls around a replica, and the ground it stands on: capabilities, security options, namespaces, the runtime.
//!
//! Not here: which of them are forced, and which need an exception (`spec::resolve`).

use std::collections::BTreeMap;

use super::binder::Binder;
use super::compact::{self, Object};
use crate::compose::bind::At;
use crate::compose::suggest;
use crate::compose::yaml::FILE_BYTES_MAX;

impl Binder<'_, '_> {
    pub(super) fn read_only(&mut self, at: &At<'_>) {
        self.container.read_only = at.boolean(self.out);
    }

    pub(super) fn cap_add(&mut self, at: &At<'_>) {
        self.container.cap_add = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn cap_drop(&mut self, at: &At<'_>) {
        self.container.cap_drop = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn security_opt(&mut self, at: &At<'_>) {
        const NAMES: [&str; 5] = [
            "no-new-privileges",
            "seccomp",
            "apparmor",
            "label",
            "systempaths",
        ];
        let mut options = Vec::new();
        for (text, item) in at.texts(self.out).unwrap_or_default() {
            let (name, value) = text.split_once([':', '=']).unwrap_or((text, ""));
            if !NAMES.contains(&name) {
                let message = format!("`{name}` is not a security option");
                item.invalid(message, suggest::hint(name, &NAMES), self.out);
            } else if name == "seccomp" && !["unconfined", "builtin"].contains(&value) {
                options.extend(self.seccomp_profile(value, &item));
            } else {
                options.push(text.to_owned());
            }
        }
        self.container.security_opt = options;
    }

    /// A profile of one's own: docker compose sends what is in the file (v2.40.3, `pkg/compose/create.go`,
    /// `parseSecurityOpts`).
    fn seccomp_profile(&mut self, file: &str, at: &At<'_>) -> Option<String> {
        let mut fail = |message: String, hint: &str| {
            self.out.error(at, "seccomp-profile", message, hint);
        };
        let path = match self.cx.resolve(file.as_ref()) {
            Ok(path) => path,
            Err(problem) => {
                fail(
                    format!("`{file}` cannot be resolved: {problem}"),
                    "write the whole path",
                );
                return None;
            }
        };
        let bytes = match self.cx.read(&path) {
            Ok(bytes) if bytes.len() <= FILE_BYTES_MAX => bytes,
            Ok(_) => {
                let message = format!("`{file}` is larger than {FILE_BYTES_MAX} bytes (1 MiB)");
                fail(message, "is this the file that you mean?");
                return None;
            }
            Err(problem) => {
                let hint = "correct the path; it begins at the project's directory";
                fail(format!("`{file}` cannot be read: {problem}"), hint);
                return None;
            }
        };
        let profile = match compact::object(&bytes) {
            Ok(profile) => profile,
            Err(problem) => {
                fail(
                    format!("`{file}` is not a JSON object: {problem}"),
                    "mend the profile",
                );
                return None;
            }
        };
        if refuses_nothing(&profile) {
            let message = format!(
                "the seccomp profile `{file}` is refused: it lets everything pass, which is `unconfined` by another name"
            );
            let hint =
                "give it the `defaultAction` `SCMP_ACT_ERRNO`, and name what the service needs";
            self.out.error(at, "refused", message, hint);
            return None;
        }
        Some(format!("seccomp={}", profile.text))
    }

    pub(super) fn ipc(&mut self, at: &At<'_>) {
        self.namespace("ipc", at);
        self.container.ipc = Some("private".to_owned());
    }

    pub(super) fn cgroup(&mut self, at: &At<'_>) {
        self.namespace("cgroup", at);
        self.container.cgroup = Some("private".to_owned());
    }

    /// A namespace is private, or refused.
    fn namespace(&mut self, key: &str, at: &At<'_>) {
        if !matches!(at.text(self.out), None | Some("" | "private")) {
            let place = at.node.place.clone();
            let reason = "a phoenix shares no namespace with the host or another container";
            self.refuse(&place, at, key, reason, "remove it");
        }
    }

    pub(super) fn runtime(&mut self, at: &At<'_>) {
        self.container.runtime = at.some_text(self.out);
    }

    pub(super) fn platform(&mut self, at: &At<'_>) {
        let Some(platform) = at.some_text(self.out) else {
            return;
        };
        if platform.starts_with("windows") || platform.split('/').count() > 3 {
            let message = format!("`{platform}` is not a platform that phoenixd runs on");
            at.invalid(message, "write `linux/amd64` or `linux/arm64`", self.out);
        } else {
            self.container.platform = Some(platform);
        }
    }

    pub(super) fn storage_opt(&mut self, at: &At<'_>) {
        self.container.storage_opt = at.options(self.out).unwrap_or_default();
    }

    pub(super) fn sysctls(&mut self, at: &At<'_>) {
        let mut sysctls = BTreeMap::new();
        for (name, (value, item)) in at.key_values(self.out).unwrap_or_default() {
            if let Some(value) = value {
                sysctls.insert(name, value);
            } else {
                let message = format!("`{name}` has no value");
                item.invalid(message, "write `name: value`", self.out);
            }
        }
        self.container.sysctls = sysctls;
    }
}

/// Whether a seccomp profile has no rule, and lets pass what no rule is about.
fn refuses_nothing(profile: &Object) -> bool {
    let passes = ["\"SCMP_ACT_ALLOW\"", "\"SCMP_ACT_LOG\""];
    let action = profile.member("defaultAction");
    let rules = profile.member("syscalls").unwrap_or("null");
    action.is_some_and(|action| passes.contains(&action)) && ["null", "[]"].contains(&rules)
}
