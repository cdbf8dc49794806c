//! Two inspections, made comparable, and what differs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// One field that differs.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// `HostConfig.Mounts[].Source`, without the names of networks.
    pub(super) path: String,
    pub(super) compose: Value,
    pub(super) ours: Value,
}

/// The parts of an inspection that a file decides, without what is another for each container.
pub(super) fn comparable(inspect: &Value) -> Value {
    let id = inspect["Id"].as_str().unwrap_or_default();
    let mut value = json!({
        "Config": inspect["Config"],
        "HostConfig": inspect["HostConfig"],
        "Mounts": inspect["Mounts"],
        "Networks": inspect["NetworkSettings"]["Networks"],
    });
    // The engine's own choice is the beginning of the id.
    let hostname = value["Config"]["Hostname"].as_str().unwrap_or_default();
    if !hostname.is_empty() && id.starts_with(hostname) {
        value["Config"]["Hostname"] = json!("ID");
    }
    if let Some(labels) = value["Config"]["Labels"].as_object_mut() {
        labels.retain(|key, _| {
            !key.starts_with("com.docker.compose.") && !key.starts_with("phoenixd.")
        });
    }
    for mount in value["Mounts"].as_array_mut().into_iter().flatten() {
        let is_random = |name: &str| name.len() == 64 && !name.contains(':');
        if mount["Type"] == "image" || mount["Name"].as_str().is_some_and(is_random) {
            mount["Source"] = json!("ANONYMOUS");
        }
        if mount["Name"].as_str().is_some_and(is_random) {
            mount["Name"] = json!("ANONYMOUS");
        }
    }
    for network in value["Networks"].as_object_mut().into_iter().flatten() {
        // The engine's own list: it has it from the moment of the attachment.
        network.1["DNSNames"] = Value::Null;
        // The beginning of the id, which older engines add.
        if let Some(aliases) = network.1["Aliases"].as_array_mut() {
            aliases.retain(|alias| alias.as_str().is_none_or(|alias| !id.starts_with(alias)));
        }
    }
    tidy(&mut value, "");
    value
}

/// Drops what says nothing, and sorts what has no order.
fn tidy(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in &mut *fields {
                tidy(field, key);
            }
            let is_empty = |value: &Value| {
                value.is_null()
                    || value == ""
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
            };
            fields.retain(|_, field| !is_empty(field));
        }
        Value::Array(items) => {
            for item in &mut *items {
                tidy(item, "");
            }
            // Maps and sets to docker compose, whose order is another each time.
            if ["Env", "ExtraHosts", "Ulimits", "Binds", "Mounts"].contains(&key) {
                items.sort_by_key(|item| {
                    let name = ["Target", "Destination", "Name"]
                        .iter()
                        .find_map(|field| item[*field].as_str());
                    (name.map(str::to_owned), item.to_string())
                });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every field that differs.
pub(super) fn differences(compose: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect("", compose, ours, &mut found);
    found
}

/// Fields that are judged as a whole.
const WHOLE: [&str; 2] = ["Config.Healthcheck", "HostConfig.Tmpfs"];

fn collect(path: &str, compose: &Value, ours: &Value, found: &mut Vec<Difference>) {
    match (compose, ours) {
        _ if compose == ours => {}
        (Value::Object(theirs), Value::Object(own)) if !WHOLE.contains(&path) => {
            let keys: BTreeSet<&String> = theirs.keys().chain(own.keys()).collect();
            for key in keys {
                let below = match path {
                    "" => key.clone(),
                    // The name of a network is no field.
                    "Networks" => "Networks[]".to_owned(),
                    _ => format!("{path}.{key}"),
                };
                collect(&below, &compose[key], &ours[key], found);
            }
        }
        (Value::Array(theirs), Value::Array(own))
            if theirs.len() == own.len() && theirs.iter().chain(own).all(Value::is_object) =>
        {
            for (theirs, own) in theirs.iter().zip(own) {
                collect(&format!("{path}[]"), theirs, own, found);
            }
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => found.push(Difference {
            path: path.to_owned(),
            compose: compose.clone(),
            ours: ours.clone(),
        }),
    }
}

#[test]
fn each_difference_is_found_and_what_is_no_difference_is_not() {
    let inspect = |host: Value| {
        comparable(&json!({
            "Id": "abcdef", "Config": { "Hostname": "abc", "Labels": { "phoenixd.serial": "1" } },
            "HostConfig": host, "Mounts": [],
            "NetworkSettings": { "Networks": { "a": { "Aliases": ["web", "abc"] } } },
        }))
    };
    let base = json!({ "Memory": 1, "Dns": ["a", "b"], "Binds": ["a:/a", "b:/b"], "Links": null, "Mounts": [{ "Target": "/a", "Source": "x" }] });
    let found = |changed: Value| {
        let found = differences(&inspect(base.clone()), &inspect(changed));
        found.into_iter().map(|one| one.path).collect::<Vec<_>>()
    };
    let changed = |key: &str, value: Value| {
        let mut changed = base.clone();
        changed[key] = value;
        found(changed)
    };
    assert!(changed("Links", json!([])).is_empty());
    assert!(changed("Binds", json!(["b:/b", "a:/a"])).is_empty());
    assert_eq!(changed("Memory", json!(2)), ["HostConfig.Memory"]);
    assert_eq!(changed("Memory", Value::Null), ["HostConfig.Memory"]);
    assert_eq!(changed("CpuShares", json!(0)), ["HostConfig.CpuShares"]);
    assert_eq!(changed("Dns", json!(["b", "a"])), ["HostConfig.Dns"]);
    assert_eq!(changed("Binds", json!(["a:/a"])), ["HostConfig.Binds"]);
    let source = json!([{ "Target": "/a", "Source": "y" }]);
    assert_eq!(changed("Mounts", source), ["HostConfig.Mounts[].Source"]);
}
