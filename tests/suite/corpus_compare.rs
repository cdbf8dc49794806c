//! Two models as JSON: where they differ, and what of that is on purpose.

use std::path::{Path, PathBuf};

use serde_json::{Number, Value};

/// What was written down on another machine lies in another directory there: its paths become those of this one.
pub(super) fn elsewhere(want: &mut Value, have: &Value, directory: &Path) {
    let here = directory.canonicalize().unwrap();
    let here = here.to_string_lossy();
    let mut there = None;
    root_of(want, have, &here, &mut there);
    let Some(there) = there else { return };
    // Also what lies beside it.
    let (mut there, mut here) = (PathBuf::from(there), PathBuf::from(&*here));
    while there.file_name() == here.file_name() && there.pop() && here.pop() {}
    each_text(want, &mut |text| {
        if let Ok(rest) = Path::new(text.as_str()).strip_prefix(&there) {
            // Joining nothing would add a slash.
            let parts = here.components().chain(rest.components());
            *text = parts.collect::<PathBuf>().display().to_string();
        }
    });
}

/// The directory of the other machine: what stands there where this directory stands here.
fn root_of(want: &Value, have: &Value, here: &str, found: &mut Option<String>) {
    match (want, have) {
        (Value::String(want), Value::String(have)) if found.is_none() => {
            let rest = have.strip_prefix(here);
            *found = rest
                .and_then(|rest| want.strip_suffix(rest))
                .map(str::to_owned);
        }
        (Value::Array(want), Value::Array(have)) => {
            for (want, have) in want.iter().zip(have) {
                root_of(want, have, here, found);
            }
        }
        (Value::Object(want), Value::Object(have)) => {
            for (key, want) in want {
                if let Some(have) = have.get(key) {
                    root_of(want, have, here, found);
                }
            }
        }
        _ => {}
    }
}

fn each_text(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(map) => map.values_mut().for_each(|value| each_text(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Takes out what differs on purpose, and says why; the README's table has the same reasons.
pub(super) fn on_purpose(
    has_phoenix: bool,
    want: &mut Value,
    have: &mut Value,
) -> Option<&'static str> {
    let before = (want.clone(), have.clone());
    names_with_x(want, have);
    if (&before.0, &before.1) != (&*want, &*have) {
        return Some("names that begin with `x-` are kept");
    }
    if has_phoenix {
        for section in ["services", "networks", "volumes", "secrets", "configs"] {
            let known: Vec<String> = match want.get(section).and_then(Value::as_object) {
                Some(known) => known.keys().cloned().collect(),
                None => Vec::new(),
            };
            if let Some(all) = have.get_mut(section).and_then(Value::as_object_mut) {
                all.retain(|key, _| known.contains(key));
            }
        }
        let have = have.as_object_mut()?;
        have.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
        if before.1 != Value::Object(have.clone()) {
            return Some("phoenixes are shown whatever their profiles are");
        }
    }
    None
}

/// docker compose takes a variable or label that is called `x-…` for an extension, and prints Go's map for it.
fn names_with_x(want: &mut Value, have: &mut Value) {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => {
            if want.remove("#extensions").is_some() {
                have.retain(|key, _| !key.starts_with("x-"));
            }
            for (key, want) in want {
                if let Some(have) = have.get_mut(key) {
                    names_with_x(want, have);
                }
            }
        }
        (Value::Array(want), Value::Array(have)) => {
            for (want, have) in want.iter_mut().zip(have) {
                names_with_x(want, have);
            }
        }
        _ => {}
    }
}

/// The first path where two values differ.
pub(super) fn difference(path: &str, want: &Value, have: &Value) -> Option<String> {
    let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
    match (want, have) {
        (Value::Object(wanted), Value::Object(had)) => {
            for (key, want) in wanted {
                let path = format!("{path}.{key}");
                match had.get(key) {
                    Some(have) => {
                        if let Some(found) = difference(&path, want, have) {
                            return Some(found);
                        }
                    }
                    None => return Some(format!("{path}: {} is missing", short(want))),
                }
            }
            let (key, have) = had.iter().find(|(key, _)| !wanted.contains_key(*key))?;
            Some(format!("{path}.{key}: {} is too much", short(have)))
        }
        (Value::Array(wanted), Value::Array(had)) if wanted.len() == had.len() => {
            let mut pairs = wanted.iter().zip(had).enumerate();
            pairs.find_map(|(index, (want, have))| {
                difference(&format!("{path}[{index}]"), want, have)
            })
        }
        (Value::Number(want), Value::Number(have)) if same(want, have) => None,
        _ if want == have => None,
        _ => Some(format!(
            "{path}: {} instead of {}",
            short(have),
            short(want)
        )),
    }
}

/// `1` and `1.0` are one number to JSON.
fn same(one: &Number, other: &Number) -> bool {
    one == other || one.as_f64() == other.as_f64()
}

#[test]
fn what_differs_is_found_and_named() {
    let want = serde_json::json!({"a": [1, {"b": "x"}], "c": null});
    for (have, found) in [
        (serde_json::json!({"a": [1.0, {"b": "x"}], "c": null}), None),
        (
            serde_json::json!({"a": [1, {"b": "y"}], "c": null}),
            Some(".a[1].b: \"y\" instead of \"x\""),
        ),
        (
            serde_json::json!({"a": [1, {"b": "x"}]}),
            Some(".c: null is missing"),
        ),
        (
            serde_json::json!({"a": [1, {"b": "x"}], "c": null, "d": 0}),
            Some(".d: 0 is too much"),
        ),
    ] {
        assert_eq!(difference("", &want, &have).as_deref(), found);
    }
}
