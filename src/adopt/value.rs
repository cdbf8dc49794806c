//! What the engine says of a container, as a tree of our own: every field that it knows, also those that no model of
//! ours names.
//!
//! Not here: how it is read from the engine (`docker`), and what is concluded from it.

use std::collections::BTreeMap;
use std::fmt;

/// A value as the engine's JSON has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping.
    Map(BTreeMap<String, Value>),
}

/// What [`Value::at`] answers where there is nothing.
const NOTHING: &Value = &Value::Null;

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub fn texts_of<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// A mapping.
    pub fn map_of<K: Into<String>>(fields: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(
            fields
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// The value below these keys; [`Value::Null`] where there is none.
    pub fn at(&self, keys: &[&str]) -> &Self {
        keys.iter().fold(self, |value, key| {
            value
                .fields()
                .and_then(|map| map.get(*key))
                .unwrap_or(NOTHING)
        })
    }

    /// The fields of a mapping.
    pub fn fields(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(map) => Some(map),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The fields of a mapping, none where it is none.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Self)> {
        let fields = self.fields().into_iter().flatten();
        fields.map(|(key, value)| (key.as_str(), value))
    }

    /// The items of a list, none where it is none.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Map(_) => &[],
        }
    }

    /// A text that is not empty.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// A whole number.
    pub fn as_number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.parse().ok(),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// A number other than 0: to the engine 0 means "not set", but for a few fields.
    pub fn as_set_number(&self) -> Option<i64> {
        self.as_number().filter(|number| *number != 0)
    }

    /// Yes or no.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(is) => Some(*is),
            Self::Null | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The texts of a list.
    pub fn texts(&self) -> Vec<String> {
        let items = self.items().iter();
        items
            .filter_map(|item| item.as_text().map(str::to_owned))
            .collect()
    }

    /// The same with the empty ones: an argument may be empty.
    pub fn texts_with_empty(&self) -> Vec<String> {
        let text = |item: &Self| match item {
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Map(_) => None,
        };
        self.items().iter().filter_map(text).collect()
    }

    /// The fields of a mapping that are texts, empty ones too.
    pub fn text_fields(&self) -> BTreeMap<String, String> {
        self.each()
            .filter_map(|(key, value)| match value {
                Self::Text(text) => Some((key.to_owned(), text.clone())),
                Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Map(_) => None,
            })
            .collect()
    }

    /// Nothing is set: the engine writes that as null, as an empty text, list or mapping, as 0 or as false.
    pub fn is_unset(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(is) => !is,
            Self::Number(number) => number == "0",
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(fields) => fields.is_empty(),
        }
    }
}

impl fmt::Display for Value {
    /// Short, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("-"),
            Self::Bool(is) => write!(f, "{is}"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) if text.is_empty() => f.write_str("-"),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", texts.join(", "))
            }
            Self::Map(fields) => {
                let texts: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                write!(f, "{{{}}}", texts.join(", "))
            }
        }
    }
}
