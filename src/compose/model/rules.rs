//! Rules between keys that a schema cannot say (compose-go 2.9.1, `validation/`), for a tree in long form.

use std::net::IpAddr;

use super::check::has;
use crate::compose::bind::{At, Pair};
use crate::compose::problems::Problems;

/// Reports what breaks them.
pub(in crate::compose) fn check(root: &At<'_>, out: &mut Problems) {
    for pair in pairs(root, "services") {
        service(&pair.value, out);
    }
    for pair in pairs(root, "volumes") {
        external_volume(&pair, out);
    }
    for pair in pairs(root, "secrets") {
        source(&pair, &["file", "environment"], out);
    }
    for pair in pairs(root, "configs") {
        source(&pair, &["file", "environment", "content"], out);
    }
}

fn pairs<'n>(at: &At<'n>, key: &str) -> Vec<Pair<'n>> {
    at.get(key).and_then(|at| at.as_map()).unwrap_or_default()
}

fn items<'n>(at: &At<'n>, keys: &[&str]) -> Vec<At<'n>> {
    let mut at = at.clone();
    for key in keys {
        match at.get(key) {
            Some(next) => at = next,
            None => return Vec::new(),
        }
    }
    at.as_list().unwrap_or_default()
}

fn service(at: &At<'_>, out: &mut Problems) {
    for port in items(at, &["ports"]) {
        if let Some(address) = port.get("host_ip")
            && let Some(text) = address.as_text()
            && text.parse::<IpAddr>().is_err()
        {
            // In the words of the binding of a phoenix, so that it is said once.
            let message = format!("`{text}` is not an IP address");
            address.invalid(message, "write an address of this host", out);
        }
    }
    for watch in items(at, &["develop", "watch"]) {
        if let Some(path) = watch.get("path").filter(|path| path.as_text() == Some("")) {
            path.invalid("the path is empty", "write the path to watch", out);
        }
    }
    let reserved = ["deploy", "resources", "reservations", "devices"];
    for device in items(at, &reserved).into_iter().chain(items(at, &["gpus"])) {
        if has(device.node, "count") && has(device.node, "device_ids") {
            let message = "`count` and `device_ids` exclude each other";
            out.error(&device, "conflict", message, "remove one of them");
        }
    }
}

/// Whether somebody else makes it.
fn is_external(at: &At<'_>) -> bool {
    at.get("external")
        .is_some_and(|external| match external.as_text() {
            Some(text) => super::scalar::boolean(text).unwrap_or(false),
            None => external.as_map().is_some(),
        })
}

/// What is not made here has no properties.
fn external_volume(pair: &Pair<'_>, out: &mut Problems) {
    if !is_external(&pair.value) {
        return;
    }
    for field in pair.value.as_map().unwrap_or_default() {
        let is_its_own = ["name", "external"].contains(&field.key) || field.key.starts_with("x-");
        if !is_its_own {
            out.error_at(
                field.key_place,
                field.value.path(),
                "conflict",
                format!(
                    "`{}` is set for `{}`, which is external: it is not made here",
                    field.key, pair.key
                ),
                format!("remove `{}` or `external`", field.key),
            );
        }
    }
}

/// Where a secret or a config comes from: from one place.
fn source(pair: &Pair<'_>, keys: &[&str], out: &mut Problems) {
    let node = pair.value.node;
    let words = crate::compose::suggest::list(keys);
    let written: Vec<_> = keys.iter().filter(|key| has(node, key)).collect();
    if written.len() > 1 {
        let message = format!("only one of {words} can be set");
        out.error_at(
            pair.key_place,
            pair.value.path(),
            "conflict",
            message,
            "keep one of them",
        );
    } else if written.is_empty()
        && pair.value.as_map().is_some()
        && !has(node, "driver")
        && !has(node, "external")
    {
        let message = format!("one of {words} must be set");
        let hint = "add one of them, or `external: true` where somebody else makes it";
        out.error_at(
            pair.key_place,
            pair.value.path(),
            "missing-key",
            message,
            hint,
        );
    }
}
