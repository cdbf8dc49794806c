//! `ports`, which the edge binds, and `expose`.

use std::net::IpAddr;

use super::binder::Binder;
use crate::compose::bind::At;
use crate::spec::Published;

/// Most published ports of one service: each is a listener of the edge.
const PUBLISHED_MAX: usize = 500;

/// The first and the last of a row of ports; both are the same for one port.
type Range = (u16, u16);

/// What one entry of `ports` asks for.
#[derive(Debug)]
struct Wanted {
    host_ip: Option<IpAddr>,
    host: Option<Range>,
    target: Range,
    protocol: String,
}

/// Why a text is no port: what is wrong, and what to do.
type Problem = (String, &'static str);

const FORMS: &str =
    "write `HOST:CONTAINER`, such as `8080:80` or `127.0.0.1:8080:80`; an IPv6 address in brackets";

impl Binder<'_, '_> {
    pub(super) fn ports(&mut self, at: &At<'_>) {
        for item in at.list(self.out).unwrap_or_default() {
            if let Some(text) = item.as_text() {
                match parse(text) {
                    Ok(wanted) => self.publish(&wanted, text, &item),
                    Err((message, hint)) => item.invalid(message, hint, self.out),
                }
            } else {
                self.long_port(&item);
            }
        }
    }

    fn long_port(&mut self, at: &At<'_>) {
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
            let mut range = |text: &str| match parse_range(text) {
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
        match wanted.protocol.as_str() {
            "tcp" => {}
            "udp" => {
                let message =
                    format!("the UDP port `{text}` is not supported yet: it comes with the edge");
                let hint = "leave a service with UDP ports to docker compose until then";
                self.out.error(at, "not-supported", message, hint);
                return;
            }
            other => {
                let message = format!("ports of protocol `{other}` are not supported");
                self.out
                    .error(at, "not-supported", message, "the edge forwards TCP");
                return;
            }
        }
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
            });
            self.container.exposed.insert((target, "tcp".to_owned()));
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
            match parse_range(ports) {
                Ok((first, last)) => {
                    let ports = (first..=last).map(|port| (port, protocol.to_owned()));
                    self.container.exposed.extend(ports);
                }
                Err((message, hint)) => item.invalid(message, hint, self.out),
            }
        }
    }
}

/// `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`
fn parse(text: &str) -> Result<Wanted, Problem> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let malformed = || (format!("`{text}` is not a port"), FORMS);
    let (host_ip, rest) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (ip, rest) = bracketed.split_once("]:").ok_or_else(malformed)?;
        (Some(ip), rest)
    } else {
        match rest.matches(':').count() {
            0 | 1 => (None, rest),
            2 => {
                let (ip, rest) = rest.split_once(':').ok_or_else(malformed)?;
                (Some(ip), rest)
            }
            _ => return Err(malformed()),
        }
    };
    let host_ip = match host_ip {
        None | Some("") => None,
        Some(ip) => {
            let parsed: Result<IpAddr, _> = ip.parse();
            Some(parsed.map_err(|_| (format!("`{ip}` is not an IP address"), FORMS))?)
        }
    };
    let (host, target) = match rest.split_once(':') {
        Some(("", target)) => (None, target),
        Some((host, target)) => (Some(parse_range(host)?), target),
        None => (None, rest),
    };
    Ok(Wanted {
        host_ip,
        host,
        target: parse_range(target)?,
        protocol: protocol.to_ascii_lowercase(),
    })
}

/// `80` or `3000-3005`
fn parse_range(text: &str) -> Result<Range, Problem> {
    let port = |text: &str| -> Result<u16, Problem> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err((format!("`{text}` is not a port"), FORMS));
        }
        text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            (
                format!("port {text} does not exist"),
                "ports go from 1 to 65535",
            )
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err((
            format!("`{text}` ends before it begins"),
            "write the smaller port first",
        ));
    }
    Ok((first, last))
}

fn length((first, last): Range) -> usize {
    usize::from(last - first) + 1
}

fn show((first, last): Range) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}
