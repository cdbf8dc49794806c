//! How a replica is attached to the network: `networks`, `network_mode`, DNS and the lines of `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::problems::Problems;
use crate::compose::suggest;
use crate::spec::{Attachment, INTERFACE_NAME, NetworkMode, NetworkName};

/// One entry of `networks`.
#[derive(Debug)]
pub(super) struct Wanted {
    key: String,
    priority: i64,
    attachment: Attachment,
}

impl Binder<'_, '_> {
    pub(super) fn network_mode(&mut self, at: &At<'_>) {
        let Some(mode) = at.text(self.out) else {
            return;
        };
        let (reason, hint) = match mode {
            "none" => {
                self.network_mode = Some((NetworkMode::None, at.node.place.clone()));
                return;
            }
            "host" => (
                "a phoenix has a network of its own",
                "remove it, and publish what is needed under `ports`",
            ),
            "bridge" | "default" => (
                "the engine's default bridge knows no service names",
                "remove it: the project's own network `default` is used then",
            ),
            _ if mode.starts_with("service:") || mode.starts_with("container:") => (
                "a network that belongs to another container dies with it",
                "attach both to one network under `networks`, and use the service's name",
            ),
            _ => (
                "only `none` is one for a phoenix",
                "name a network under `networks`, with `external: true` if it exists already",
            ),
        };
        let place = at.node.place.clone();
        self.refuse(&place, at, "network_mode", reason, hint);
    }

    pub(super) fn networks(&mut self, at: &At<'_>) {
        let mut wanted: Vec<Wanted> = Vec::new();
        if let Some(pairs) = at.as_map() {
            for pair in pairs {
                wanted.extend(self.attachment(pair.key, &pair.value));
            }
        } else if at.as_list().is_some() {
            for (key, item) in at.texts(self.out).unwrap_or_default() {
                if self.used_networks.contains(key) {
                    let message = format!("`{key}` stands here twice");
                    item.invalid(message, "remove one of them", self.out);
                } else {
                    wanted.extend(self.attach(key, &item));
                }
            }
        } else {
            at.wrong_type("a list or a mapping", self.out);
        }
        self.networks = Some(wanted);
    }

    /// The place on a declared network, with nothing but the service's name.
    fn attach(&mut self, key: &str, at: &At<'_>) -> Option<Wanted> {
        let Some(name) = self.cx.network_name(key) else {
            let known = self.cx.network_keys();
            let hint = match suggest::nearest(key, known.iter().copied()) {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => format!("declare it at the top level: `networks: {{ {key}: }}`"),
            };
            let message = format!(
                "`{}` uses the network `{key}`, which is not declared",
                self.name
            );
            self.out.error(at, "undeclared", message, hint);
            return None;
        };
        self.used_networks.insert(key.to_owned());
        Some(Wanted {
            key: key.to_owned(),
            priority: 0,
            attachment: Attachment {
                network: NetworkName::new(name),
                aliases: vec![self.name.to_string()],
                ipv4: None,
                ipv6: None,
                link_local_ips: Vec::new(),
                driver_opts: BTreeMap::new(),
                gw_priority: None,
            },
        })
    }

    /// The same with the options of the mapping form.
    fn attachment(&mut self, key: &str, at: &At<'_>) -> Option<Wanted> {
        const FIELDS: [&str; 9] = [
            "aliases",
            "ipv4_address",
            "ipv6_address",
            "link_local_ips",
            "driver_opts",
            "priority",
            "gw_priority",
            "mac_address",
            "interface_name",
        ];
        let mut wanted = self.attach(key, at)?;
        if at.is_null() {
            return Some(wanted);
        }
        let attachment = &mut wanted.attachment;
        let mut interface = None;
        for pair in at.fields(&FIELDS, self.out)? {
            let value = &pair.value;
            if value.is_null() {
                continue;
            }
            match pair.key {
                "aliases" => {
                    let aliases = value.unique_texts(self.out).unwrap_or_default();
                    let own = attachment.aliases.first().cloned().unwrap_or_default();
                    let others = aliases.into_iter().filter(|alias| *alias != own);
                    attachment.aliases.extend(others);
                }
                "ipv4_address" => attachment.ipv4 = address(value, "an IPv4 address", self.out),
                "ipv6_address" => attachment.ipv6 = address(value, "an IPv6 address", self.out),
                "link_local_ips" => attachment.link_local_ips = addresses(value, self.out),
                "driver_opts" => {
                    attachment.driver_opts = value.options(self.out).unwrap_or_default();
                }
                "priority" => wanted.priority = priority(value, self.out),
                "gw_priority" => attachment.gw_priority = Some(priority(value, self.out)),
                "mac_address" => {
                    let message = "`mac_address` is refused: a replica and its replacement cannot share one address";
                    let hint = "remove it: the engine gives each an address of its own";
                    self.out.error(value, "refused", message, hint);
                }
                _ => interface = value.some_text(self.out).map(|name| (name, value.clone())),
            }
        }
        if let Some((name, at)) = interface {
            let before = (attachment.driver_opts).insert(INTERFACE_NAME.to_owned(), name.clone());
            if before.is_some_and(|before| before != name) {
                // As docker compose: it takes the key, although it says that it ignores it.
                let message = format!(
                    "`interface_name` is taken, and not `{INTERFACE_NAME}` of `driver_opts`"
                );
                self.out
                    .warning(&at, "conflict", message, "keep one of the two");
            }
        }
        Some(wanted)
    }

    /// Joins what `networks` and `network_mode` say; the network `default` where both say nothing.
    pub(super) fn finish_network(&mut self) {
        let mode = self.network_mode.take();
        let networks = self.networks.take();
        if let Some((none, place)) = mode {
            if networks.is_some_and(|networks| !networks.is_empty()) {
                self.conflict("networks", "a service without a network has no `networks`");
            }
            if !self.published.is_empty() {
                self.conflict("ports", "a service without a network publishes no `ports`");
            }
            self.places.insert("network_mode".to_owned(), place);
            self.container.network = none;
            return;
        }
        let mut wanted = match networks {
            Some(networks) if !networks.is_empty() => networks,
            Some(_) | None => {
                let at = self.at.clone();
                self.attach("default", &at).into_iter().collect()
            }
        };
        // As Compose orders them: the higher priority first, then by name.
        wanted.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.key.cmp(&b.key)));
        let attachments = wanted.into_iter().map(|one| one.attachment).collect();
        self.container.network = NetworkMode::Networks(attachments);
    }

    fn conflict(&mut self, key: &str, message: &str) {
        let place = self.places.get(key).unwrap_or(&self.key_place).clone();
        let path = format!("{}.{key}", self.at.path());
        let hint = format!("remove `network_mode: none` or `{key}`");
        self.out.error_at(&place, &path, "conflict", message, hint);
    }

    pub(super) fn dns(&mut self, at: &At<'_>) {
        self.container.dns = addresses(at, self.out);
    }

    pub(super) fn dns_search(&mut self, at: &At<'_>) {
        let texts = at.text_or_texts(self.out).unwrap_or_default();
        self.container.dns_search = texts.into_iter().map(|(text, _)| text.to_owned()).collect();
    }

    pub(super) fn dns_opt(&mut self, at: &At<'_>) {
        self.container.dns_opt = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn extra_hosts(&mut self, at: &At<'_>) {
        self.container.extra_hosts = extra_hosts(at, self.out);
    }
}

/// Lines of `/etc/hosts` as the engine takes them.
pub(super) fn extra_hosts(at: &At<'_>, out: &mut Problems) -> Vec<String> {
    let mut hosts = Vec::new();
    if let Some(pairs) = at.as_map() {
        for pair in pairs {
            for (address, item) in pair.value.text_or_texts(out).unwrap_or_default() {
                hosts.extend(host_line(pair.key, address, &item, out));
            }
        }
        return hosts;
    }
    for (text, item) in at.texts(out).unwrap_or_default() {
        if let Some((name, address)) = text.split_once('=').or_else(|| text.split_once(':')) {
            hosts.extend(host_line(name, address, &item, out));
        } else {
            let message = format!("`{text}` names no address");
            item.invalid(message, "write `name=address`", out);
        }
    }
    hosts
}

/// One line of `/etc/hosts` as the engine takes it: `name:address`.
fn host_line(name: &str, address: &str, at: &At<'_>, out: &mut Problems) -> Option<String> {
    let name = name.trim();
    let address = address.trim().trim_matches(['[', ']']);
    let is_address = address == "host-gateway" || address.parse::<IpAddr>().is_ok();
    if name.is_empty() || name.contains(char::is_whitespace) || !is_address {
        let message = format!("`{name}` and `{address}` are not a host name and an IP address");
        at.invalid(message, "write `name=address`, or `name=host-gateway`", out);
        return None;
    }
    Some(format!("{name}:{address}"))
}

fn priority(at: &At<'_>, out: &mut Problems) -> i64 {
    let range = (i64::from(i32::MIN), i64::from(i32::MAX));
    at.integer(range.0, range.1, out).unwrap_or_default()
}

fn address<T: FromStr>(at: &At<'_>, what: &str, out: &mut Problems) -> Option<T> {
    let text = at.text(out)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message = format!("`{text}` is not {what}");
        at.invalid(
            message,
            "write the address by itself, without a port or a mask",
            out,
        );
    }
    parsed
}

fn addresses(at: &At<'_>, out: &mut Problems) -> Vec<IpAddr> {
    let texts = at.text_or_texts(out).unwrap_or_default();
    texts
        .into_iter()
        .filter_map(|(_, item)| address(&item, "an IP address", out))
        .collect()
}
