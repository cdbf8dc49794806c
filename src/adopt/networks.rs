//! A container's places on its networks: what it was given, without what the engine added.

use std::collections::BTreeMap;

use super::Value;
use crate::spec::{Attachment, NetworkName};

/// How a container is attached.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Attached {
    /// To nothing.
    None,
    /// To these, the first at create.
    To(Vec<Attachment>),
}

/// The networks of an inspection.
pub(super) fn of_inspect(inspect: &Value, problems: &mut Vec<String>) -> Attached {
    let mode = inspect
        .at(&["HostConfig", "NetworkMode"])
        .as_text()
        .unwrap_or("default");
    match mode {
        "none" => return Attached::None,
        "host" => {
            problems.push("it has the host's network, and a phoenix has one of its own".to_owned());
        }
        "bridge" | "default" => problems.push(
            "it is on the engine's default bridge, which knows no names: give it a network"
                .to_owned(),
        ),
        container if container.starts_with("container:") => problems
            .push("it has another container's network, which goes with that container".to_owned()),
        _ => {}
    }
    let mut attachments: Vec<Attachment> = inspect
        .at(&["NetworkSettings", "Networks"])
        .each()
        .map(|(name, endpoint)| attachment(name, endpoint, inspect, problems))
        .collect();
    // By name, but for the one that it was made with.
    attachments.sort_by_key(|one| (one.network.as_str() != mode, one.network.clone()));
    if attachments.is_empty() {
        problems.push("it is on no network any more".to_owned());
    }
    Attached::To(attachments)
}

fn attachment(
    name: &str,
    endpoint: &Value,
    inspect: &Value,
    problems: &mut Vec<String>,
) -> Attachment {
    let ipam = endpoint.at(&["IPAMConfig"]);
    let mut unreadable =
        |text: &str| problems.push(format!("its address `{text}` on {name} cannot be read"));
    let mut address = |key: &str| -> Option<std::net::IpAddr> {
        let text = ipam.at(&[key]).as_text()?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            unreadable(text);
        }
        parsed
    };
    let (ipv4, ipv6) = (address("IPv4Address"), address("IPv6Address"));
    let link_local = ipam.at(&["LinkLocalIPs"]).texts();
    if !endpoint.at(&["Links"]).is_unset() {
        problems.push(format!(
            "it has links on {name}, which cannot be carried over"
        ));
    }
    Attachment {
        network: NetworkName::new(name),
        aliases: aliases(endpoint, inspect),
        ipv4: ipv4.and_then(|ip| match ip {
            std::net::IpAddr::V4(ip) => Some(ip),
            std::net::IpAddr::V6(_) => None,
        }),
        ipv6: ipv6.and_then(|ip| match ip {
            std::net::IpAddr::V6(ip) => Some(ip),
            std::net::IpAddr::V4(_) => None,
        }),
        link_local_ips: link_local.iter().filter_map(|ip| ip.parse().ok()).collect(),
        driver_opts: endpoint.at(&["DriverOpts"]).text_fields(),
        gw_priority: endpoint.at(&["GwPriority"]).as_set_number(),
    }
}

/// Its names there. Engines below 25 add the short id, and the host name (20.10.24); later ones answer to both without
/// saying so.
pub(super) fn aliases(endpoint: &Value, inspect: &Value) -> Vec<String> {
    let id = inspect.at(&["Id"]).as_text().unwrap_or_default();
    let hostname = inspect.at(&["Config", "Hostname"]).as_text();
    let mut aliases = endpoint.at(&["Aliases"]).texts();
    aliases.retain(|alias| {
        let is_id = alias.len() == 12 && id.starts_with(alias.as_str());
        !is_id && Some(alias.as_str()) != hostname
    });
    aliases
}

/// The same as its marks tell it: a replica that was only just made is on the first of its networks alone.
pub(super) fn of_marks(marks: &Value) -> Attached {
    let networks = marks.at(&["networks"]);
    if *networks == Value::Null {
        return Attached::None;
    }
    let one = |item: &Value| Attachment {
        network: NetworkName::new(item.at(&["name"]).as_text().unwrap_or_default()),
        aliases: item.at(&["aliases"]).texts(),
        ipv4: item.at(&["ipv4"]).as_text().and_then(|ip| ip.parse().ok()),
        ipv6: item.at(&["ipv6"]).as_text().and_then(|ip| ip.parse().ok()),
        link_local_ips: item
            .at(&["link_local"])
            .texts()
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        driver_opts: item.at(&["driver_opts"]).text_fields(),
        gw_priority: item.at(&["gw_priority"]).as_set_number(),
    };
    Attached::To(networks.items().iter().map(one).collect())
}

/// What the marks tell of them.
pub(super) fn marks(attachments: &[Attachment]) -> Value {
    let one = |attachment: &Attachment| {
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        let mut set = |key: &str, value: Value| {
            if !value.is_unset() {
                fields.insert(key.to_owned(), value);
            }
        };
        let ip = |ip: Option<String>| ip.map_or(Value::Null, Value::Text);
        set("name", Value::text(attachment.network.as_str()));
        set(
            "aliases",
            Value::texts_of(attachment.aliases.iter().cloned()),
        );
        set("ipv4", ip(attachment.ipv4.map(|ip| ip.to_string())));
        set("ipv6", ip(attachment.ipv6.map(|ip| ip.to_string())));
        set(
            "link_local",
            Value::texts_of(attachment.link_local_ips.iter().map(ToString::to_string)),
        );
        let options = attachment.driver_opts.iter();
        set(
            "driver_opts",
            Value::map_of(options.map(|(key, value)| (key.clone(), Value::text(value.clone())))),
        );
        let priority = attachment.gw_priority;
        set(
            "gw_priority",
            priority.map_or(Value::Null, |number| Value::Number(number.to_string())),
        );
        Value::Map(fields)
    };
    Value::List(attachments.iter().map(one).collect())
}
