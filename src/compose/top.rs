//! Top-level `networks` and `volumes`: what they are called on the engine, and how they are made.

use std::collections::BTreeMap;

use super::bind::{At, Pair};
use super::paths::Paths;
use super::problems::Problems;
use crate::spec::{
    IpamPool, NetworkName, NetworkSpec, Place, READY_NETWORK, VolumeName, VolumeSpec,
};

/// Names that the engine takes for something else than a network of ours.
const RESERVED_NETWORKS: [&str; 5] = ["host", "none", "bridge", "default", "ingress"];

/// Binds one network; `at` is `None` where `default` or `ready` is only implied. An implied `ready` has no way out: nobody's
/// default route moves when he is attached to it.
pub(super) fn network(
    project: &str,
    key: &str,
    at: Option<(&At<'_>, &Place)>,
    out: &mut Problems,
) -> NetworkSpec {
    const FIELDS: [&str; 10] = [
        "name",
        "driver",
        "driver_opts",
        "ipam",
        "external",
        "internal",
        "enable_ipv4",
        "enable_ipv6",
        "attachable",
        "labels",
    ];
    let mut spec = NetworkSpec {
        key: key.to_owned(),
        name: NetworkName::new(format!("{project}_{key}")),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: at.is_none() && key == READY_NETWORK,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        ipam_driver: None,
        ipam_pools: Vec::new(),
        labels: BTreeMap::new(),
        place: at.map(|(_, place)| place.clone()),
    };
    let Some((at, key_place)) = at else {
        return spec;
    };
    if at.is_null() {
        return spec;
    }
    let pairs = at.fields(&FIELDS, out).unwrap_or_default();
    let named = named(key, &pairs, out);
    spec.external = named.external;
    if let Some(name) = named.name {
        spec.name = NetworkName::new(name);
    }
    for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
        network_key(&mut spec, pair, out);
    }
    let reserved = RESERVED_NETWORKS
        .into_iter()
        .find(|name| *name == spec.name.as_str());
    let by_driver = match spec.driver.as_deref() {
        Some("host") => Some("host"),
        Some("null" | "none") => Some("none"),
        Some(_) | None => None,
    };
    if let Some(reserved) = reserved.or(by_driver) {
        out.error_at(
            key_place,
            at.path(),
            "refused",
            format!("the network `{key}` is refused: it would be the engine's own `{reserved}`"),
            "use a network of your own; a phoenix shares none with the host",
        );
    }
    spec
}

fn network_key(spec: &mut NetworkSpec, pair: &Pair<'_>, out: &mut Problems) {
    let value = &pair.value;
    match pair.key {
        "driver" => spec.driver = value.some_text(out),
        "driver_opts" => spec.driver_opts = value.options(out).unwrap_or_default(),
        "ipam" => ipam(value, spec, out),
        "internal" => spec.internal = value.boolean(out).unwrap_or(false),
        "enable_ipv4" => spec.enable_ipv4 = value.boolean(out),
        "enable_ipv6" => spec.enable_ipv6 = value.boolean(out),
        "attachable" => spec.attachable = value.boolean(out).unwrap_or(false),
        "labels" => spec.labels = value.labels(out).unwrap_or_default(),
        // `named` has read the rest.
        _ => {}
    }
}

/// Binds one volume.
pub(super) fn volume(
    project: &str,
    key: &str,
    at: &At<'_>,
    key_place: &Place,
    paths: &Paths<'_>,
    out: &mut Problems,
) -> VolumeSpec {
    const FIELDS: [&str; 5] = ["name", "driver", "driver_opts", "external", "labels"];
    let mut spec = VolumeSpec {
        key: key.to_owned(),
        name: VolumeName::new(format!("{project}_{key}")),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        place: Some(key_place.clone()),
    };
    if at.is_null() {
        return spec;
    }
    let pairs = at.fields(&FIELDS, out).unwrap_or_default();
    let named = named(key, &pairs, out);
    spec.external = named.external;
    if let Some(name) = named.name {
        spec.name = VolumeName::new(name);
    }
    for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
        match pair.key {
            "driver" => spec.driver = pair.value.some_text(out),
            "driver_opts" => {
                spec.driver_opts = pair.value.options(out).unwrap_or_default();
                device(&mut spec, &pair.value, paths, out);
            }
            "labels" => spec.labels = pair.value.labels(out).unwrap_or_default(),
            _ => {}
        }
    }
    spec
}

/// A local volume can be a bind mount by another name: `{ type: none, o: bind, device: /etc }`, or an overlay of
/// `lowerdir=/`. Its paths are made absolute as Compose makes them, and checked like any other mount.
fn device(spec: &mut VolumeSpec, at: &At<'_>, paths: &Paths<'_>, out: &mut Problems) {
    let option = |key: &str| spec.driver_opts.get(key).map_or("", String::as_str);
    let is_bind = option("type") == "none"
        || option("o")
            .split(',')
            .any(|flag| matches!(flag, "bind" | "rbind"));
    let device = option("device").to_owned();
    if is_bind && !device.is_empty() {
        match paths.resolve(device.as_ref()) {
            Ok(path) => {
                let path = path.to_string_lossy().into_owned();
                refuse_path(&path, "device", at, paths, out);
                spec.driver_opts.insert("device".to_owned(), path);
            }
            Err(problem) => {
                let message = format!("`{device}` cannot be resolved: {problem}");
                let at = at.get("device").unwrap_or_else(|| at.clone());
                at.invalid(message, "write the whole path", out);
            }
        }
    } else if device.starts_with('/') {
        refuse_path(&device, "device", at, paths, out);
    }
    let flags = spec.driver_opts.get("o").cloned().unwrap_or_default();
    let values = flags.split(',').filter_map(|flag| flag.split_once('='));
    for path in values.flat_map(|(_, value)| value.split(':')) {
        if path.starts_with('/') {
            refuse_path(path, "o", at, paths, out);
        }
    }
}

fn refuse_path(path: &str, key: &str, at: &At<'_>, paths: &Paths<'_>, out: &mut Problems) {
    if let Some(reason) = paths.refusal(path.as_ref()) {
        let at = at.get(key).unwrap_or_else(|| at.clone());
        out.error(
            &at,
            "refused",
            format!("mounting `{path}` is refused: {reason}"),
            "mount a directory that holds only what the service needs; read-only does not help",
        );
    }
}

/// `name` and `external`, which networks and volumes share.
struct Named {
    name: Option<String>,
    external: bool,
}

fn named(key: &str, pairs: &[Pair<'_>], out: &mut Problems) -> Named {
    let mut name = None;
    let mut external = false;
    for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
        let value = &pair.value;
        match pair.key {
            "name" => name = engine_name(value, out).or(name),
            // The old way of writing `external: true` with `name:`.
            "external" if value.as_map().is_some() => {
                external = true;
                for field in value.fields(&["name"], out).unwrap_or_default() {
                    name = engine_name(&field.value, out).or(name);
                }
            }
            "external" => external = value.boolean(out).unwrap_or(false),
            _ => {}
        }
    }
    if external {
        let own = ["name", "external", "labels"];
        for pair in pairs {
            if !own.contains(&pair.key) && !pair.value.is_null() {
                out.error_at(
                    pair.key_place,
                    pair.value.path(),
                    "conflict",
                    format!(
                        "`{}` is set for `{key}`, which is external: it is not made here",
                        pair.key
                    ),
                    format!("remove `{}` or `external`", pair.key),
                );
            }
        }
        name = name.or_else(|| Some(key.to_owned()));
    }
    Named { name, external }
}

/// A name that the engine takes for nothing else: a volume called `/etc` would be a bind mount.
fn engine_name(at: &At<'_>, out: &mut Problems) -> Option<String> {
    let name = at.some_text(out)?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if is_name {
        return Some(name);
    }
    let message = format!("`{name}` is not a name on the engine");
    let hint = "begin with a letter or digit; letters, digits, `_`, `.` and `-` may follow";
    at.invalid(message, hint, out);
    None
}

fn ipam(at: &At<'_>, spec: &mut NetworkSpec, out: &mut Problems) {
    for pair in at
        .fields(&["driver", "config", "options"], out)
        .unwrap_or_default()
    {
        match pair.key {
            _ if pair.value.is_null() => {}
            "driver" => spec.ipam_driver = pair.value.some_text(out),
            "config" => {
                let items = pair.value.list(out).unwrap_or_default();
                spec.ipam_pools = items.iter().map(|item| pool(item, out)).collect();
            }
            // compose-go 2.9.1 has no field for them (`types.IPAMConfig`).
            _ => out.warning(
                &pair.value,
                "no-effect",
                "`ipam.options` has no effect: docker compose passes it to no engine, and neither does phoenixd",
                "remove it, or make the network by hand and name it with `external: true`",
            ),
        }
    }
}

fn pool(at: &At<'_>, out: &mut Problems) -> IpamPool {
    let mut pool = IpamPool::default();
    let known = ["subnet", "ip_range", "gateway", "aux_addresses"];
    for pair in at.fields(&known, out).unwrap_or_default() {
        let value = &pair.value;
        match pair.key {
            _ if value.is_null() => {}
            "subnet" => pool.subnet = value.some_text(out),
            "ip_range" => pool.ip_range = value.some_text(out),
            "gateway" => pool.gateway = value.some_text(out),
            _ => pool.aux_addresses = value.options(out).unwrap_or_default(),
        }
    }
    pool
}
