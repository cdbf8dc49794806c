//! A reader of JSON bodies that refuses whatever Go's decoder and another one could read differently.
//!
//! Go (`encoding/json`) compares names of fields without regard to case, folding `ſ` to `s` and the Kelvin sign to `k`;
//! of a field given twice it takes the later value, but merges objects; dockerd 20.10 ignores what follows the first
//! document. Here names are compared in lower case, and a second one, a name beyond ASCII and anything that follows are
//! refused. Below the maps that belong to the user (`Labels`, ...) names are data, and may be anything, once.
//!
//! Not here: what the fields mean (`policy`).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Fields whose value is a map with names that are the user's.
const USER_MAPS: [&str; 9] = [
    "labels",
    "exposedports",
    "volumes",
    "portbindings",
    "tmpfs",
    "sysctls",
    "storageopt",
    "annotations",
    "driveropts",
];

/// A value, its objects in the order of the document.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number; nothing here depends on which.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object; names as written.
    Object(Vec<(String, Json)>),
}

/// Why a body is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the body is not JSON that can be read in one way only: {why}")]
pub struct NotStrict {
    /// What is wrong with it, without text of the body.
    pub why: &'static str,
}

const TWICE: &str = "a name is given twice";
const BEYOND_ASCII: &str = "a name has characters beyond ASCII";

impl Json {
    /// Reads a whole body; nothing at all is `Null`.
    ///
    /// # Errors
    /// See [`NotStrict`].
    pub fn parse(body: &[u8]) -> Result<Self, NotStrict> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::Null);
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let value = Seed {
            names: Names::Fields,
        }
        .deserialize(&mut reader)
        .map_err(|error| {
            let text = error.to_string();
            let known = [TWICE, BEYOND_ASCII]
                .into_iter()
                .find(|why| text.starts_with(why));
            NotStrict {
                why: known.unwrap_or("it is broken"),
            }
        })?;
        reader.end().map_err(|_| NotStrict {
            why: "something follows the document",
        })?;
        Ok(value)
    }

    /// A field, by its name in any case; `Null` where it is not there or this is no object.
    pub fn field(&self, name: &str) -> &Self {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map_or(&Self::Null, |(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => {
                &Self::Null
            }
        }
    }

    /// The text; empty for `null`, `None` for anything else.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some(""),
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The items of a list; none for `null`, `None` for anything else.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Null => Some(&[]),
            Self::List(items) => Some(items),
            Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => None,
        }
    }

    /// The pairs of an object; none for `null`, `None` for anything else.
    pub fn pairs(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Null => Some(&[]),
            Self::Object(pairs) => Some(pairs),
            Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// `null`, `false`, an empty text, list or object: what Go leaves as it was.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(pairs) => pairs.is_empty(),
            Self::Bool(true) | Self::Number(_) => false,
        }
    }
}

/// Whose names an object has.
#[derive(Clone, Copy)]
enum Names {
    Fields,
    TheUsers,
}

#[derive(Clone, Copy)]
struct Seed {
    names: Names,
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "which number it is does not matter"
    )]
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "which number it is does not matter"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        let seed = Seed {
            names: Names::Fields,
        };
        while let Some(item) = list.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        let mut known = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let (folded, below) = match self.names {
                Names::Fields if !name.is_ascii() => return Err(A::Error::custom(BEYOND_ASCII)),
                Names::Fields => {
                    let folded = name.to_ascii_lowercase();
                    let is_user_map = USER_MAPS.contains(&folded.as_str());
                    let below = if is_user_map {
                        Names::TheUsers
                    } else {
                        Names::Fields
                    };
                    (folded, below)
                }
                Names::TheUsers => (name.clone(), Names::Fields),
            };
            if !known.insert(folded) {
                return Err(A::Error::custom(TWICE));
            }
            pairs.push((name, map.next_value_seed(Seed { names: below })?));
        }
        Ok(Json::Object(pairs))
    }
}
