//! The JSON Schema of `x-phoenix`: what is shipped is what the types say, and the types say what is read.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{load_text, problems};

fn printed() -> String {
    let phoenixd = Command::new(env!("CARGO_BIN_EXE_phoenixd"))
        .arg("schema")
        .output()
        .unwrap();
    assert!(phoenixd.status.success(), "{phoenixd:?}");
    String::from_utf8(phoenixd.stdout).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&printed()).unwrap()
}

/// The keys of a definition.
fn keys(definition: &str) -> BTreeSet<String> {
    let schema = schema();
    let properties = schema
        .pointer(&format!("/$defs/{definition}/properties"))
        .unwrap_or_else(|| panic!("no {definition} in {schema:#}"));
    properties.as_object().unwrap().keys().cloned().collect()
}

/// The keys that the loader lists as known where it meets one that is not.
fn known(settings: &str) -> BTreeSet<String> {
    let text = format!("services: {{ web: {{ image: nginx, x-phoenix: {settings} }} }}");
    let found = problems(&text);
    let (_, list) = found
        .split_once("known here: ")
        .unwrap_or_else(|| panic!("{found}"));
    let list = list.lines().next().unwrap();
    (list.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_shipped_schema_is_the_one_that_the_types_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/x-phoenix.schema.json");
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        shipped == printed(),
        "write it anew: cargo run -q -- schema > docs/x-phoenix.schema.json"
    );
}

#[test]
fn the_schema_knows_the_keys_that_are_read() {
    let not_yet = ["keep"].map(str::to_owned);
    let mut read = known("{ zzzzzzzz: 1 }");
    read.retain(|key| !not_yet.contains(key));
    assert_eq!(keys("Phoenix"), read);
    read.remove("allow");
    assert_eq!(keys("Defaults"), read);
    assert_eq!(keys("ProbeSettings"), known("{ probe: { zzzzzzzz: 1 } }"));
    assert_eq!(keys("Backoff"), known("{ backoff: { zzzzzzzz: 1 } }"));
    assert_eq!(keys("Network"), known("{ network: { zzzzzzzz: 1 } }"));
    assert_eq!(keys("Edge"), known("{ edge: { zzzzzzzz: 1 } }"));
    assert_eq!(
        keys("RateSettings"),
        known("{ edge: { rate: { zzzzzzzz: 1 } } }")
    );
}

#[test]
fn a_file_with_every_default_written_out_is_the_file_without_them() {
    let schema = schema();
    let defaults = |definition: &str| {
        let properties = schema.pointer(&format!("/$defs/{definition}/properties"));
        let properties = properties.and_then(Value::as_object).unwrap();
        let pairs = properties
            .iter()
            .filter_map(|(key, property)| Some(format!("{key}: {}", property.get("default")?)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "services: {{ web: {{ image: nginx, x-phoenix: {{ {}, probe: {{ {} }}, backoff: {{ {} }}, network: {{ {} }}, edge: {{ {} }} }} }} }}",
        defaults("Phoenix"),
        defaults("ProbeSettings"),
        defaults("Backoff"),
        defaults("Network"),
        defaults("Edge")
    );
    let phoenix = |text: &str| {
        let (project, diagnostics) = load_text(text);
        let project = project.unwrap_or_else(|| panic!("{text}\n{diagnostics:?}"));
        project.services.into_values().next().unwrap().phoenix
    };
    let bare = phoenix("services: { web: { image: nginx, x-phoenix: } }");
    assert_eq!(phoenix(&text), bare, "{text}");
}
