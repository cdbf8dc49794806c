//! `deploy`: how many replicas, and what they may use. What belongs to a swarm has no effect, and is said so.

use super::binder::Binder;
use super::keys::{DEVICE, Harmless, REMOVE};
use crate::compose::bind::{At, Pair};

impl Binder<'_, '_> {
    pub(super) fn deploy(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 9] = [
            "mode",
            "replicas",
            "resources",
            "endpoint_mode",
            "labels",
            "placement",
            "restart_policy",
            "rollback_config",
            "update_config",
        ];
        for pair in at.fields(&FIELDS, self.out).unwrap_or_default() {
            if pair.value.is_null() {
                continue;
            }
            let place = pair.key_place.clone();
            self.places.insert(format!("deploy.{}", pair.key), place);
            match pair.key {
                "mode" => self.deploy_mode(&pair.value),
                "replicas" => self.bind_replicas(&pair.value, "deploy.replicas"),
                "resources" => self.resources(&pair.value),
                "restart_policy" => self.deploy_ignored(
                    &pair,
                    "phoenixd replaces what has ended; `x-phoenix: { backoff: … }` sets the delays",
                ),
                "update_config" | "rollback_config" => self.deploy_ignored(
                    &pair,
                    "phoenixd starts the new replica first; `x-phoenix: { surge: N }` sets how many at a time",
                ),
                // These are about the nodes of a swarm; there is one host.
                "endpoint_mode" | "placement" => {
                    self.deploy_ignored(&pair, "it belongs to a swarm; phoenixd has one host");
                }
                // Of the swarm's service; docker compose gives them to no container.
                _ => self.deploy_ignored(&pair, "write labels of the containers under `labels` of the service"),
            }
        }
    }

    /// docker compose does nothing about the mode: on one host `global` is as many replicas as anything else is.
    fn deploy_mode(&mut self, at: &At<'_>) {
        const MODES: [&str; 4] = ["replicated", "global", "replicated-job", "global-job"];
        let Some(mode) = at.one_of(&MODES, self.out) else {
            return;
        };
        if mode.ends_with("-job") {
            let place = at.node.place.clone();
            let reason = "a job ends, and phoenixd replaces what has ended";
            let hint = "leave the job to docker compose: remove `x-phoenix` here";
            self.refuse(&place, at, "deploy.mode", reason, hint);
        }
    }

    fn deploy_ignored(&mut self, pair: &Pair<'_>, why: &str) {
        let message = format!("`deploy.{}` has no effect on a phoenix", pair.key);
        self.out
            .warning(&pair.value, "deploy-ignored", message, why);
    }

    fn resources(&mut self, at: &At<'_>) {
        for pair in at
            .fields(&["limits", "reservations"], self.out)
            .unwrap_or_default()
        {
            if pair.value.is_null() {
                continue;
            }
            let is_limit = pair.key == "limits";
            let known: &[&str] = if is_limit {
                &["cpus", "memory", "pids"]
            } else {
                &["cpus", "memory", "generic_resources", "devices"]
            };
            for field in pair.value.fields(known, self.out).unwrap_or_default() {
                if field.value.is_null() {
                    continue;
                }
                match (is_limit, field.key) {
                    (true, "cpus") => self.cpus(&field.value),
                    (true, "memory") => self.mem_limit(&field.value),
                    (true, _) => self.pids_limit(&field.value),
                    (false, "memory") => self.mem_reservation(&field.value),
                    (false, "devices") => {
                        if !Harmless::Empty.covers(&field.value) {
                            let key = "deploy.resources.reservations.devices";
                            self.refuse(field.key_place, &field.value, key, DEVICE, REMOVE);
                        }
                    }
                    // Docker Engine has no such thing either: compose passes it over (v2.40.3).
                    (false, key) => {
                        let message = format!(
                            "`deploy.resources.reservations.{key}` has no effect on one host"
                        );
                        let hint = "remove it, or set a limit";
                        self.out
                            .warning(&field.value, "deploy-ignored", message, hint);
                    }
                }
            }
        }
    }
}
