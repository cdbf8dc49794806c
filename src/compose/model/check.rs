//! What is wrong with a merged tree, by the table: unknown and missing keys, types, values.
//!
//! What docker compose does with its JSON schema and, for what the schema cannot say, in its decoder. Not here: rules
//! between keys (`rules`), and whether what is named exists (`load`).

use std::collections::BTreeMap;

use super::scalar::{self, Wrong};
use super::shape::{
    Accepts, CAST_BOOL, Dict, Keys, List, Object, Others, Scalar, Shape, TEXT, TEXT_OR_WHOLE, To,
    key,
};
use super::top::ROOT;
use super::{pairs, words};
use crate::compose::bind::At;
use crate::compose::problems::Problems;
use crate::compose::scalar::{Typed, typed};
use crate::compose::suggest;
use crate::compose::tree::{Node, Value};

/// Reports everything that docker compose would refuse a merged tree for, short forms and long ones alike.
pub(in crate::compose) fn check(root: &At<'_>, out: &mut Problems) {
    object(&ROOT, root, out);
}

fn value(shape: &Shape, at: &At<'_>, out: &mut Problems) {
    match shape {
        Shape::Scalar(scalar) => single(scalar, at, out),
        Shape::Object(shape) => object(shape, at, out),
        Shape::Dict(shape) => dict(shape, at, out),
        Shape::List(shape) => list(shape, at, out),
        Shape::Pairs(kind) => pairs::check(*kind, at, out),
        Shape::Texts => {
            texts(at, out);
            unique(&at.as_list().unwrap_or_default(), out);
        }
        Shape::HealthTest => texts(at, out),
        Shape::Numbers => numbers(at, out),
        Shape::Command => command(at, out),
        Shape::Either(short, long) => {
            let is_short = match &at.node.value {
                Value::Text(_) => matches!(short, Shape::Scalar(_)),
                Value::List(_) => matches!(short, Shape::List(_)),
                Value::Null | Value::Map(_) => false,
            };
            value(if is_short { short } else { long }, at, out);
        }
        Shape::Ulimit { cast } => ulimit(*cast, at, out),
        Shape::External { closed } => external(*closed, at, out),
    }
}

fn single(scalar: &Scalar, at: &At<'_>, out: &mut Problems) {
    match scalar::read(scalar, at.node) {
        Ok(_) => {}
        Err(Wrong::Kind(wanted)) => at.wrong_type(wanted, out),
        Err(Wrong::Type(message, hint)) => out.error(at, "wrong-type", message, hint),
        Err(Wrong::Value(message, hint)) => at.invalid(message, hint, out),
    }
}

fn object(shape: &Object, at: &At<'_>, out: &mut Problems) {
    if at.is_null() && shape.nullable {
        return;
    }
    let Some(pairs) = at.map(out) else { return };
    for pair in &pairs {
        if let Some(field) = shape.field(pair.key) {
            value(&field.shape, &pair.value, out);
            continue;
        }
        let is_allowed = match shape.others {
            Others::Extensions | Others::Unshown => pair.key.starts_with("x-"),
            Others::Ignored => true,
            Others::None => false,
        };
        if !is_allowed {
            let whose = match at.path().to_string().as_str() {
                "" => "a Compose file".to_owned(),
                path => format!("`{path}`"),
            };
            let message = format!("`{}` is not a key of {whose}", pair.key);
            let hint = suggest::hint(pair.key, &shape.keys());
            out.error_at(
                pair.key_place,
                pair.value.path(),
                "unknown-key",
                message,
                hint,
            );
        }
    }
    for field in shape.fields.iter().filter(|field| field.needed) {
        if at.node.entry(field.key).is_none() {
            let message = format!("`{}` is missing", field.key);
            let hint = format!("add `{}:`", field.key);
            out.error(at, "missing-key", message, hint);
        }
    }
}

fn dict(shape: &Dict, at: &At<'_>, out: &mut Problems) {
    let Some(pairs) = at.map(out) else { return };
    for pair in pairs {
        let is_name = match shape.keys {
            Keys::Name => is_name(pair.key),
            Keys::Any => true,
        };
        if !is_name {
            out.error_at(
                pair.key_place,
                pair.value.path(),
                "invalid-value",
                format!("`{}` cannot be a name here", pair.key),
                "use letters, digits, `.`, `_` and `-`",
            );
        }
        if !(shape.nullable && pair.value.is_null()) {
            value(&shape.value, &pair.value, out);
        }
    }
}

/// Whether a key may name a service, a network and so on.
fn is_name(key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !key.is_empty() && key.chars().all(is_part)
}

fn list(shape: &List, at: &At<'_>, out: &mut Problems) {
    let Some(items) = at.list(out) else { return };
    for item in &items {
        value(&shape.item, item, out);
    }
    if shape.unique {
        unique(&items, out);
    }
}

/// Reports what stands in a list twice. Only single values are compared.
pub(super) fn unique(items: &[At<'_>], out: &mut Problems) {
    let mut seen: BTreeMap<&str, Typed<'_>> = BTreeMap::new();
    for item in items {
        let Some(text) = item.as_text() else { continue };
        let value = typed(item.node);
        if seen.get(text) == Some(&value) {
            let message = format!("`{text}` stands here twice");
            item.invalid(message, "remove one of them", out);
        } else {
            seen.insert(text, value);
        }
    }
}

/// A text, or a list of texts.
fn texts(at: &At<'_>, out: &mut Problems) {
    if let Some(items) = at.as_list() {
        for item in &items {
            text(item, out);
        }
        return;
    }
    match typed(at.node) {
        Typed::Null | Typed::Tree => at.wrong_type("a text or a list", out),
        Typed::Text(_) => {}
        Typed::Bool(_) | Typed::Int(_) | Typed::Float(_) | Typed::Date(_) => text(at, out),
    }
}

fn text(at: &At<'_>, out: &mut Problems) {
    value(&TEXT, at, out);
}

/// Texts and whole numbers.
fn numbers(at: &At<'_>, out: &mut Problems) {
    const NUMBER: Shape = Shape::scalar(TEXT_OR_WHOLE, To::Text);
    let Some(items) = at.list(out) else { return };
    for item in &items {
        value(&NUMBER, item, out);
    }
    unique(&items, out);
}

fn command(at: &At<'_>, out: &mut Problems) {
    if at.is_null() {
        return;
    }
    texts(at, out);
    if let Typed::Text(line) = typed(at.node)
        && words::split(line).is_none()
    {
        at.invalid(
            "the command cannot be split into words",
            "close its quotes and brackets, or write it as a list: `[\"sh\", \"-c\", \"…\"]`",
            out,
        );
    }
}

fn ulimit(cast: bool, at: &At<'_>, out: &mut Problems) {
    const CAST: Shape = Shape::cast(TEXT_OR_WHOLE, To::Whole);
    const UNCAST: Shape = Shape::scalar(Accepts::WHOLE, To::Whole);
    static PAIR: Object = Object::new(&[key("soft", CAST).needed(), key("hard", CAST).needed()]);
    static UNCAST_PAIR: Object =
        Object::new(&[key("soft", UNCAST).needed(), key("hard", UNCAST).needed()]);
    if at.as_map().is_some() {
        object(if cast { &PAIR } else { &UNCAST_PAIR }, at, out);
    } else {
        value(if cast { &CAST } else { &UNCAST }, at, out);
    }
}

fn external(closed: bool, at: &At<'_>, out: &mut Problems) {
    static CLOSED: Object = Object::new(&[key("name", TEXT)]);
    static OPEN: Object = Object {
        others: Others::Ignored,
        ..Object::new(&[key("name", TEXT)])
    };
    if at.as_map().is_some() {
        object(if closed { &CLOSED } else { &OPEN }, at, out);
    } else {
        value(&CAST_BOOL, at, out);
    }
}

/// Whether a key of a mapping is written, with a value or without.
pub(super) fn has(node: &Node, key: &str) -> bool {
    node.entry(key).is_some()
}
