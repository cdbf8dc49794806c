//! What `edge: none` and `edge: external` of `x-phoenix` mean for a service's ports and networks.
//!
//! Not here: how phoenixd's own edge forwards (`compose::edge`), and when replicas are attached (`reconcile`).

use std::collections::BTreeMap;

use super::binder::Binder;
use crate::spec::{Attachment, Edge, NetworkMode, Place, READY_NETWORK};

impl Binder<'_, '_> {
    /// After the networks and all settings are read.
    pub(super) fn finish_edge(&mut self, edge: Edge) {
        match edge {
            Edge::Forward(_) => {}
            Edge::None => self.without_ports(
                "`ports` are published by the edge, and `edge: none` says that there is none",
                "remove `ports`, or `edge: none`",
            ),
            Edge::External => {
                self.without_ports(
                    "`edge: external` publishes no `ports`: those of the host are your proxy's",
                    "move `ports` to the proxy, and name what the replicas listen on in `expose`; or remove `edge: external`",
                );
                self.name_when_ready();
            }
        }
    }

    fn without_ports(&mut self, message: &str, hint: &str) {
        if self.published.is_empty() {
            return;
        }
        let place = self.place_of("ports");
        let hint = format!("{hint} (line {})", self.place_of("x-phoenix.edge").line);
        let path = format!("{}.ports", self.at.path());
        self.out.error_at(&place, &path, "conflict", message, hint);
    }

    /// Its names are on the network `ready` alone, on which it is only while it is ready.
    fn name_when_ready(&mut self) {
        let Some(ready) = self.cx.ready_network() else {
            return;
        };
        let NetworkMode::Networks(attachments) = &mut self.container.network else {
            let message = "`edge: external` needs networks: a proxy reaches its replicas by them";
            let place = self.place_of("network_mode");
            let path = format!("{}.network_mode", self.at.path());
            let hint = "remove `network_mode`, or write `edge: none`";
            self.out.error_at(&place, &path, "conflict", message, hint);
            return;
        };
        let names = attachments.iter().flat_map(|one| one.aliases.clone());
        let mut aliases: Vec<String> = Vec::new();
        for name in names {
            if !aliases.contains(&name) {
                aliases.push(name);
            }
        }
        if aliases.is_empty() {
            aliases.push(self.name.to_string());
        }
        let own = attachments.iter().position(|one| one.network == ready.name);
        let own = own.map(|index| attachments.remove(index));
        for one in attachments.iter_mut() {
            one.aliases.clear();
        }
        let births: Vec<String> = attachments
            .iter()
            .map(|one| one.network.to_string())
            .collect();
        let unnamed = || Attachment {
            network: ready.name.clone(),
            aliases: Vec::new(),
            ipv4: None,
            ipv6: None,
            link_local_ips: Vec::new(),
            driver_opts: BTreeMap::new(),
            gw_priority: None,
        };
        let on_ready = own.unwrap_or_else(unnamed);
        self.container.on_ready = Some(Attachment {
            aliases,
            ..on_ready
        });
        self.used_networks.insert(READY_NETWORK.to_owned());
        self.check_births(&births);
    }

    /// It needs a network before it is ready, and its way out should not move when it is.
    fn check_births(&mut self, births: &[String]) {
        let path = format!("{}.networks", self.at.path());
        let place = self.place_of("networks");
        if births.is_empty() {
            let message = "a replica of `edge: external` is attached to `ready` only when it is ready, and has no network before";
            let hint = "name another one as well: `networks: [default, ready]`";
            self.out.error_at(&place, &path, "conflict", message, hint);
            return;
        }
        let Some(ready) = self.cx.ready_network() else {
            return;
        };
        // The engine's default route is by the first network by name (20.10.24, 28.5.2; measured).
        let ways_out = births.iter().filter(|name| self.cx.has_way_out(name));
        let has_way_out = !ready.internal && !ready.external;
        let first = ways_out.min();
        let moves = has_way_out && first.is_some_and(|first| ready.name.as_str() < first.as_str());
        if moves {
            let message = format!(
                "the way out of a replica moves to `{}` when it is attached there, and its connections to the outside break",
                ready.name
            );
            let hint = "write `internal: true` on the network `ready`";
            let place = ready.place.clone().unwrap_or(place);
            self.out
                .warning_at(&place, "networks.ready", "way-out", message, hint);
        }
    }

    fn place_of(&self, key: &str) -> Place {
        let place = self.places.get(key).unwrap_or(&self.key_place);
        place.clone()
    }
}
