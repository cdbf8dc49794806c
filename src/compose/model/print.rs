//! The resolved tree as `docker compose config` prints it, by the table: types, what is left out, order.
//!
//! Measured against docker compose 2.40.3. Extensions (`x-…`) of the top level are in both formats, those of other
//! mappings in YAML only; `models` of the top level is in YAML only. Not here: JSON and YAML as texts.

use super::pairs;
use super::printed::{Format, Printed};
use super::scalar::{self, as_go_prints};
use super::service::SERVICE;
use super::shape::{CAST_BOOL, CAST_INT, Field, Object, Others, Shape, Shown, To};
use super::top::ROOT;
use super::words;
use crate::compose::scalar::{Typed, typed};
use crate::compose::tree::{Node, Value};

/// What is printed for a resolved tree that [`check`](super::check()) has found nothing wrong with.
pub(in crate::compose) fn print(root: &Node, format: Format) -> Printed {
    let mut pairs = fields(&ROOT, root, format);
    match format {
        Format::Json => {
            pairs.extend(extensions(root, format));
            pairs = Printed::sorted(pairs, format);
        }
        // `fields` has added them.
        Format::Yaml => {}
    }
    Printed::Map(pairs).with_dollars_doubled()
}

/// A service by itself in JSON, as it is.
pub(super) fn service(node: &Node) -> Printed {
    Printed::Map(fields(&SERVICE, node, Format::Json))
}

/// A mapping's keys, in the order of the table, then its extensions.
fn fields(object: &Object, node: &Node, format: Format) -> Vec<(String, Printed)> {
    let mut pairs: Vec<(String, Printed)> = (object.fields.iter())
        .filter_map(|field| {
            let value = one(field, node, format)?;
            Some((name(field, format), value))
        })
        .collect();
    if object.others == Others::Extensions && format == Format::Yaml {
        pairs.extend(extensions(node, format));
    }
    pairs
}

/// Go prints a field without a tag under its own name in JSON, and in small letters in YAML.
fn name(field: &Field, format: Format) -> String {
    let mut letters = field.key.chars();
    match (field.shown, format, letters.next()) {
        (Shown::Untagged, Format::Json, Some(first)) => {
            first.to_uppercase().chain(letters).collect()
        }
        _ => field.key.to_owned(),
    }
}

/// What is printed for a key, if anything.
fn one(field: &Field, node: &Node, format: Format) -> Option<Printed> {
    let written = node
        .entry(field.key)
        .map(|entry| &*entry.value)
        .filter(|value| !matches!(value.value, Value::Null));
    let value = || written.map(|node| value(&field.shape, node, format));
    let not_empty = || value().filter(|value| !is_empty(&field.shape, value));
    match field.shown {
        Shown::Never => None,
        Shown::NotEmpty => not_empty(),
        Shown::Written => value(),
        Shown::Always | Shown::Untagged => value().or_else(|| Some(zero(&field.shape, format))),
        Shown::Struct => match format {
            Format::Json => value().or_else(|| Some(zero(&field.shape, format))),
            Format::Yaml => not_empty(),
        },
        Shown::Command => match format {
            Format::Json => value().or(Some(Printed::Null)),
            Format::Yaml => value(),
        },
        Shown::YamlOnly => match format {
            Format::Json => None,
            Format::Yaml => not_empty(),
        },
    }
}

/// Whether Go takes a value for an empty one.
fn is_empty(shape: &Shape, value: &Printed) -> bool {
    let zero = match shape {
        Shape::Scalar(scalar) => match scalar.to {
            To::Bytes => Some("0"),
            To::Duration => Some("0s"),
            To::Text
            | To::Printed
            | To::Bool
            | To::Int
            | To::Whole
            | To::Natural
            | To::Float
            | To::Cpus
            | To::Count
            | To::Mode => None,
        },
        Shape::Object(_)
        | Shape::Dict(_)
        | Shape::List(_)
        | Shape::Pairs(_)
        | Shape::Texts
        | Shape::Numbers
        | Shape::Command
        | Shape::HealthTest
        | Shape::Either(..)
        | Shape::Ulimit { .. }
        | Shape::External { .. } => None,
    };
    match (zero, value) {
        (Some(zero), Printed::Text(text)) => text == zero,
        (_, value) => value.is_empty(),
    }
}

/// What Go prints where nothing is written.
fn zero(shape: &Shape, format: Format) -> Printed {
    match shape {
        Shape::Scalar(scalar) => match scalar.to {
            To::Text | To::Printed | To::Mode => Printed::Text(String::new()),
            To::Bool => Printed::Bool(false),
            To::Int | To::Whole | To::Natural | To::Float | To::Cpus | To::Count => Printed::Int(0),
            To::Bytes => Printed::Text("0".to_owned()),
            To::Duration => Printed::Text("0s".to_owned()),
        },
        Shape::Object(object) => {
            let place = crate::spec::Place::file("");
            let nothing = Node::leaf(place, None, Value::Map(Vec::new()));
            Printed::Map(fields(object, &nothing, format))
        }
        Shape::Dict(_) | Shape::Pairs(_) | Shape::Either(..) => Printed::Map(Vec::new()),
        Shape::List(_) | Shape::Texts | Shape::Numbers | Shape::HealthTest => {
            Printed::List(Vec::new())
        }
        Shape::Command | Shape::Ulimit { .. } => Printed::Null,
        Shape::External { .. } => Printed::Bool(false),
    }
}

/// What is printed for a value.
fn value(shape: &Shape, node: &Node, format: Format) -> Printed {
    match (shape, &node.value) {
        (Shape::Object(object), _) => Printed::Map(fields(object, node, format)),
        (Shape::Dict(dict), Value::Map(entries)) => {
            let pairs: Vec<(String, Printed)> = (entries.iter())
                .map(|entry| {
                    let printed = match entry.value.value {
                        Value::Null => Printed::Null,
                        Value::Text(_) | Value::List(_) | Value::Map(_) => {
                            value(&dict.value, &entry.value, format)
                        }
                    };
                    (entry.key.clone(), printed)
                })
                .collect();
            Printed::Map(Printed::sorted(pairs, format))
        }
        (Shape::List(list), Value::List(items)) => Printed::List(
            (items.iter())
                .map(|item| value(&list.item, item, format))
                .collect(),
        ),
        (Shape::Pairs(kind), _) => pairs::print(*kind, node, format),
        (Shape::Scalar(scalar), _) => {
            scalar::read(scalar, node).unwrap_or_else(|_| any(node, format))
        }
        (Shape::Command, Value::Text(line)) => {
            let words = words::split(line).unwrap_or_default();
            Printed::List(words.into_iter().map(Printed::Text).collect())
        }
        (Shape::HealthTest, Value::Text(line)) => Printed::List(vec![
            Printed::Text("CMD-SHELL".to_owned()),
            Printed::Text(line.clone()),
        ]),
        (Shape::Texts | Shape::Numbers, Value::Text(_)) => Printed::List(vec![text(node)]),
        (
            Shape::Texts | Shape::Numbers | Shape::Command | Shape::HealthTest,
            Value::List(items),
        ) => Printed::List(items.iter().map(|item| text(item)).collect()),
        (Shape::Either(short, _), Value::Text(_)) => value(short, node, format),
        (Shape::Either(_, long), _) => value(long, node, format),
        (Shape::Ulimit { .. }, _) => ulimit(node, format),
        (Shape::External { .. }, Value::Map(_)) => Printed::Bool(true),
        (Shape::External { .. }, _) => value(&CAST_BOOL, node, format),
        (
            Shape::Dict(_)
            | Shape::List(_)
            | Shape::Texts
            | Shape::Numbers
            | Shape::Command
            | Shape::HealthTest,
            _,
        ) => any(node, format),
    }
}

fn text(node: &Node) -> Printed {
    Printed::Text(as_go_prints(typed(node)))
}

/// One number for both limits, or a mapping, of which JSON leaves out a zero.
fn ulimit(node: &Node, format: Format) -> Printed {
    let read = |node: &Node| value(&CAST_INT, node, format);
    if let Value::Text(_) = node.value {
        let both = read(node);
        if !both.is_empty() {
            return both;
        }
    }
    let pairs = ["soft", "hard"].into_iter().filter_map(|key| {
        let limit = node
            .entry(key)
            .map_or(Printed::Int(0), |entry| read(&entry.value));
        (format == Format::Yaml || !limit.is_empty()).then(|| (key.to_owned(), limit))
    });
    Printed::Map(pairs.collect())
}

/// `x-…` of a mapping, sorted.
fn extensions(node: &Node, format: Format) -> Vec<(String, Printed)> {
    let pairs = (node.entries().iter())
        .filter(|entry| entry.key.starts_with("x-"))
        .map(|entry| (entry.key.clone(), any(&entry.value, format)))
        .collect();
    Printed::sorted(pairs, format)
}

/// What YAML makes of a value that the table says nothing about. An empty list is a nil slice of Go's by then, which JSON
/// prints as `null`.
fn any(node: &Node, format: Format) -> Printed {
    match &node.value {
        Value::List(items) if items.is_empty() && format == Format::Json => Printed::Null,
        Value::List(items) => Printed::List(items.iter().map(|item| any(item, format)).collect()),
        Value::Map(entries) => {
            let pairs = (entries.iter())
                .map(|entry| (entry.key.clone(), any(&entry.value, format)))
                .collect();
            Printed::Map(Printed::sorted(pairs, format))
        }
        Value::Null | Value::Text(_) => match typed(node) {
            Typed::Null | Typed::Tree => Printed::Null,
            Typed::Bool(value) => Printed::Bool(value),
            Typed::Int(number) => Printed::Int(number),
            Typed::Float(number) if number.is_finite() => Printed::Float(number),
            Typed::Date(text) if text.len() == 10 => Printed::Text(format!("{text}T00:00:00Z")),
            other @ (Typed::Float(_) | Typed::Date(_) | Typed::Text(_)) => {
                Printed::Text(as_go_prints(other))
            }
        },
    }
}
