//! Names and values, as a mapping or as a list of `NAME=value`: environment, labels, options, hosts, keys for builds.
//!
//! Sources: compose-go 2.9.1, `types/{mapping,labels,options,hostList,ssh}.go`. Not here: where they are used.

use std::collections::BTreeMap;

use super::printed::{Format, Printed};
use super::scalar::as_go_prints;
use super::shape::Pairs;
use crate::compose::bind::At;
use crate::compose::problems::Problems;
use crate::compose::scalar::{Typed, typed};
use crate::compose::tree::{Node, Value};

/// Reports what is wrong with them.
pub(super) fn check(kind: Pairs, at: &At<'_>, out: &mut Problems) {
    if let Some(pairs) = at.as_map() {
        for pair in pairs {
            if pair.key.is_empty() {
                let hint = "write `NAME: value`";
                let message = "there is no name before `:`";
                out.error_at(
                    pair.key_place,
                    pair.value.path(),
                    "invalid-value",
                    message,
                    hint,
                );
            }
            value(kind, &pair.value, out);
        }
        if kind == Pairs::Hosts {
            for pair in at.as_map().unwrap_or_default() {
                host(pair.key, &pair.value, out);
            }
        }
        return;
    }
    if !takes_list(kind) {
        at.wrong_type("a mapping", out);
        return;
    }
    let Some(items) = at.as_list() else {
        at.wrong_type("a mapping or a list", out);
        return;
    };
    for item in &items {
        if let Typed::Text(text) = typed(item.node) {
            one(kind, text, item, out);
        } else {
            item.wrong_type("a text", out);
        }
    }
    super::check::unique(&items, out);
}

fn takes_list(kind: Pairs) -> bool {
    match kind {
        Pairs::Environment | Pairs::Labels | Pairs::Contexts | Pairs::Hosts | Pairs::Ssh => true,
        Pairs::Options
        | Pairs::OptionsOrNothing
        | Pairs::WholeOptions
        | Pairs::OptionTexts
        | Pairs::OptionsOfAny
        | Pairs::Repeated => false,
    }
}

/// One item of a list.
fn one(kind: Pairs, text: &str, at: &At<'_>, out: &mut Problems) {
    match kind {
        Pairs::Environment => {
            let name = text.split('=').next().unwrap_or_default();
            if name.ends_with(char::is_whitespace) {
                let message = format!("the name `{name}` ends with a space");
                at.invalid(message, "remove the space before `=`", out);
            }
        }
        Pairs::Contexts if !text.contains('=') => {
            at.invalid(format!("`{text}` has no value"), "write `NAME=value`", out);
        }
        Pairs::Ssh if !text.contains('=') && text != "default" => {
            let hint = "write `default`, or `ID=path`";
            at.invalid(format!("`{text}` names no key"), hint, out);
        }
        Pairs::Hosts => match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((name, _)) => host(name, at, out),
            None => at.invalid(
                format!("`{text}` has no address"),
                "write `HOST=address`",
                out,
            ),
        },
        Pairs::Labels
        | Pairs::Contexts
        | Pairs::Ssh
        | Pairs::Options
        | Pairs::OptionsOrNothing
        | Pairs::WholeOptions
        | Pairs::OptionTexts
        | Pairs::OptionsOfAny
        | Pairs::Repeated => {}
    }
}

fn host(name: &str, at: &At<'_>, out: &mut Problems) {
    if name.is_empty() || name.contains([':', '=']) {
        let message = format!("`{name}` is not the name of a host");
        at.invalid(message, "write `HOST=address`", out);
    }
}

/// One value of a mapping.
fn value(kind: Pairs, at: &At<'_>, out: &mut Problems) {
    if let (Pairs::Hosts | Pairs::Repeated, Some(items)) = (kind, at.as_list()) {
        for item in items {
            single(kind, &item, out);
        }
        return;
    }
    single(kind, at, out);
}

fn single(kind: Pairs, at: &At<'_>, out: &mut Problems) {
    let value = typed(at.node);
    let is_allowed = match value {
        Typed::Text(_) => true,
        Typed::Null => match kind {
            Pairs::Environment
            | Pairs::Labels
            | Pairs::Ssh
            | Pairs::OptionsOrNothing
            | Pairs::OptionsOfAny => true,
            Pairs::Contexts
            | Pairs::Options
            | Pairs::WholeOptions
            | Pairs::OptionTexts
            | Pairs::Repeated
            | Pairs::Hosts => false,
        },
        Typed::Bool(_) => match kind {
            Pairs::Environment | Pairs::Labels | Pairs::Ssh | Pairs::Repeated => true,
            Pairs::Contexts
            | Pairs::Options
            | Pairs::OptionsOrNothing
            | Pairs::WholeOptions
            | Pairs::OptionTexts
            | Pairs::OptionsOfAny
            | Pairs::Hosts => false,
        },
        Typed::Int(_) => !matches!(kind, Pairs::OptionTexts | Pairs::Hosts | Pairs::Contexts),
        Typed::Float(_) => !matches!(
            kind,
            Pairs::OptionTexts
                | Pairs::Hosts
                | Pairs::Contexts
                | Pairs::WholeOptions
                | Pairs::OptionsOfAny
        ),
        Typed::Date(_) | Typed::Tree => false,
    };
    if is_allowed {
        return;
    }
    match value {
        Typed::Tree | Typed::Null => at.wrong_type("a single value", out),
        Typed::Date(text) => {
            let message = format!("`{text}` is a date to YAML, and text is expected");
            out.error(at, "wrong-type", message, format!("quote it: `\"{text}\"`"));
        }
        Typed::Bool(_) | Typed::Int(_) | Typed::Float(_) | Typed::Text(_) => {
            let text = as_go_prints(value);
            let message = format!("`{text}` is no text to YAML, and text is expected");
            out.error(at, "wrong-type", message, format!("quote it: `\"{text}\"`"));
        }
    }
}

/// What is printed for them: a mapping with sorted keys, or a list where Go's type prints one.
pub(super) fn print(kind: Pairs, node: &Node, format: Format) -> Printed {
    let found = collect(kind, node);
    match kind {
        Pairs::Hosts => {
            let mut lines: Vec<String> = found
                .iter()
                .flat_map(|(host, addresses)| {
                    addresses.iter().map(move |address| {
                        let address = address.as_deref().unwrap_or_default();
                        format!("{host}={}", without_brackets(address))
                    })
                })
                .collect();
            lines.sort();
            Printed::List(lines.into_iter().map(Printed::Text).collect())
        }
        Pairs::Ssh => Printed::List(
            (found.into_iter())
                .map(|(id, paths)| match paths.into_iter().flatten().next() {
                    Some(path) if !path.is_empty() => Printed::Text(format!("{id}: {path}")),
                    Some(_) | None => Printed::Text(id),
                })
                .collect(),
        ),
        Pairs::Repeated => Printed::Map(Printed::sorted(
            (found.into_iter())
                .map(|(key, values)| {
                    let values = values.into_iter().flatten().map(Printed::Text).collect();
                    (key, Printed::List(values))
                })
                .collect(),
            format,
        )),
        Pairs::Environment
        | Pairs::Labels
        | Pairs::Contexts
        | Pairs::Options
        | Pairs::OptionsOrNothing
        | Pairs::WholeOptions
        | Pairs::OptionTexts
        | Pairs::OptionsOfAny => Printed::Map(Printed::sorted(
            (found.into_iter())
                .map(|(key, values)| {
                    let value = match values.into_iter().flatten().next() {
                        Some(text) => Printed::Text(text),
                        None if kind == Pairs::Environment => Printed::Null,
                        None => Printed::Text(String::new()),
                    };
                    (key, value)
                })
                .collect(),
            format,
        )),
    }
}

/// `[::1]` is `::1`.
fn without_brackets(address: &str) -> &str {
    (address.strip_prefix('['))
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|inside| !inside.is_empty())
        .unwrap_or(address)
}

/// The values of each name; the last one of a list wins, but for hosts, which have them all.
fn collect(kind: Pairs, node: &Node) -> BTreeMap<String, Vec<Option<String>>> {
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let values = match &entry.value.value {
                    Value::List(items) => items.iter().map(|item| scalar(item)).collect(),
                    Value::Null | Value::Text(_) | Value::Map(_) => vec![scalar(&entry.value)],
                };
                found.insert(entry.key.clone(), values);
            }
        }
        Value::List(items) => {
            for item in items {
                let text = scalar(item).unwrap_or_default();
                let halves = match kind {
                    Pairs::Hosts => text.split_once('=').or_else(|| text.split_once(':')),
                    Pairs::Environment
                    | Pairs::Labels
                    | Pairs::Contexts
                    | Pairs::Ssh
                    | Pairs::Options
                    | Pairs::OptionsOrNothing
                    | Pairs::WholeOptions
                    | Pairs::OptionTexts
                    | Pairs::OptionsOfAny
                    | Pairs::Repeated => text.split_once('='),
                };
                let (key, value) = match halves {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text.clone(), None),
                };
                if kind == Pairs::Hosts {
                    let all = value.unwrap_or_default();
                    let addresses = all.split(',').map(|address| Some(address.to_owned()));
                    found.entry(key).or_default().extend(addresses);
                } else {
                    found.insert(key, vec![value]);
                }
            }
        }
        Value::Null | Value::Text(_) => {}
    }
    found
}

fn scalar(node: &Node) -> Option<String> {
    match typed(node) {
        Typed::Null => None,
        value @ (Typed::Bool(_)
        | Typed::Int(_)
        | Typed::Float(_)
        | Typed::Date(_)
        | Typed::Text(_)
        | Typed::Tree) => Some(as_go_prints(value)),
    }
}
