//! `ports`, which the edge binds, and `expose`.

use std::net::IpAddr;

use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::load::{Range, length, port_range, show};
use crate::spec::{Published, Transport};

/// Most published ports of one service: each is a listener of the edge.
const PUBLISHED_MAX: usize = 500;

const ONLY: &str = "phoenixd forwards TCP and UDP only, and a replica publishes no port of its own";
const LEAVE: &str = "leave the service to docker compose; within a network other containers reach the port without `ports`";

/// What one entry of `ports` asks for.
#[derive(Debug)]
struct Wanted {
    host_ip: Option<IpAddr>,
    host: Option<Range>,
    target: Range,
    protocol: String,
}

impl Binder<'_, '_> {
    pub(super) fn ports(&mut self, at: &At<'_>) {
        for item in at.list(self.out).unwrap_or_default() {
            self.port(&item);
        }
    }

    fn port(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 7] = [
            "target",
            "published",
            "host_ip",
            "protocol",
            "mode",
            // These two only describe the port.
            "name",
            "app_protocol",
        ];
        let errors = self.errors();
        let Some(pairs) = at.fields(&FIELDS, self.out) else {
            return;
        };
        let mut host_ip = None;
        let mut host = None;
        let mut target = None;
        let mut protocol = "tcp".to_owned();
        for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
            let value = &pair.value;
            let Some(text) = value.text(self.out) else {
                continue;
            };
            let mut range = |text: &str| match port_range(text) {
                Ok(range) => Some(range),
                Err((message, hint)) => {
                    value.invalid(message, hint, self.out);
                    None
                }
            };
            match pair.key {
                "target" => target = range(text),
                "published" => host = range(text),
                "host_ip" => {
                    host_ip = text.trim_matches(['[', ']']).parse().ok();
                    if host_ip.is_none() {
                        let message = format!("`{text}` is not an IP address");
                        value.invalid(message, "write an address of this host", self.out);
                    }
                }
                "protocol" => text.clone_into(&mut protocol),
                "mode" => {
                    value.one_of(&["ingress", "host"], self.out);
                }
                _ => {}
            }
        }
        if self.errors() != errors {
            return;
        }
        let Some(target) = target else {
            let hint = "write `target: PORT`, the port inside the container";
            at.invalid("this port has no `target`", hint, self.out);
            return;
        };
        let wanted = Wanted {
            host_ip,
            host,
            target,
            protocol,
        };
        let text = show(target);
        self.publish(&wanted, &text, at);
    }

    /// Adds what one entry asks for, port by port.
    fn publish(&mut self, wanted: &Wanted, text: &str, at: &At<'_>) {
        let transport = match wanted.protocol.as_str() {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            other => {
                let message = format!("a port of protocol `{other}` is refused: {ONLY}");
                self.out.error(at, "refused", message, LEAVE);
                return;
            }
        };
        let Some(host) = wanted.host else {
            self.no_host_port(wanted, text, at);
            return;
        };
        if length(host) != length(wanted.target) {
            self.out.error(
                at,
                "invalid-value",
                format!(
                    "`{}` and `{}` are not equally many ports",
                    show(host),
                    show(wanted.target)
                ),
                "give each port of the container one port of the host",
            );
            return;
        }
        if self.published.len() + length(host) > PUBLISHED_MAX {
            let message = format!("more than {PUBLISHED_MAX} published ports");
            self.out
                .error(at, "invalid-value", message, "publish fewer ports");
            return;
        }
        for (host_port, target) in (host.0..=host.1).zip(wanted.target.0..=wanted.target.1) {
            self.published.push(Published {
                host_ip: wanted.host_ip,
                host_port,
                target,
                transport,
            });
            let exposed = (target, transport.name().to_owned());
            self.container.exposed.insert(exposed);
        }
    }

    fn no_host_port(&mut self, wanted: &Wanted, text: &str, at: &At<'_>) {
        let target = show(wanted.target);
        let address = match wanted.host_ip {
            None => String::new(),
            Some(IpAddr::V4(ip)) => format!("{ip}:"),
            Some(IpAddr::V6(ip)) => format!("[{ip}]:"),
        };
        let message = format!(
            "`{text}` names no port of the host; the engine would choose another one at each start"
        );
        let hint = format!(
            "write `{address}8080:{target}`, or `expose: [\"{target}\"]` if only other containers connect to it"
        );
        self.out.error(at, "no-host-port", message, hint);
    }

    pub(super) fn expose(&mut self, at: &At<'_>) {
        for (text, item) in at.texts(self.out).unwrap_or_default() {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            if !["tcp", "udp", "sctp"].contains(&protocol) {
                let message = format!("`{protocol}` is not a protocol");
                item.invalid(message, "write `80/tcp` or `80/udp`", self.out);
                continue;
            }
            match port_range(ports) {
                Ok((first, last)) => {
                    let ports = (first..=last).map(|port| (port, protocol.to_owned()));
                    self.container.exposed.extend(ports);
                }
                Err((message, hint)) => item.invalid(message, hint, self.out),
            }
        }
    }
}
