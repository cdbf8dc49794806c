//! A resolved model as it is printed: plain data, in the order of the output.
//!
//! Not here: its text (`json`, `yaml`).

use std::cmp::Ordering;

/// How a model is printed. The two differ in what they leave out, as Go's tags for them do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `docker compose config`
    Yaml,
    /// `docker compose config --format json`
    Json,
}

/// A value of the output.
#[derive(Clone, PartialEq, Debug)]
pub enum Printed {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction; finite.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping, in the order of the output.
    Map(Vec<(String, Self)>),
}

impl Printed {
    /// The value under a key of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => (pairs.iter())
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::List(_) => None,
        }
    }

    /// A mapping of the user's names, in the order in which Go prints one.
    pub(super) fn sorted(mut pairs: Vec<(String, Self)>, format: Format) -> Vec<(String, Self)> {
        match format {
            Format::Json => pairs.sort_by(|(one, _), (other, _)| one.cmp(other)),
            Format::Yaml => pairs.sort_by(|(one, _), (other, _)| natural(one, other)),
        }
        pairs
    }

    /// Whether Go leaves it out as empty.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(number) => *number == 0,
            Self::Float(number) => *number == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
        }
    }

    /// The same with `$$` for every `$`, in keys and values, so that it can be read back.
    pub(super) fn with_dollars_doubled(self) -> Self {
        let doubled = |text: String| text.replace('$', "$$");
        match self {
            Self::Text(text) => Self::Text(doubled(text)),
            Self::List(items) => {
                Self::List(items.into_iter().map(Self::with_dollars_doubled).collect())
            }
            Self::Map(pairs) => Self::Map(
                (pairs.into_iter())
                    .map(|(key, value)| (doubled(key), value.with_dollars_doubled()))
                    .collect(),
            ),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => self,
        }
    }
}

/// The order of keys that go-yaml v3 has: digits as numbers, letters behind everything else.
fn natural(one: &str, other: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut in_digits = false;
    for (index, (x, y)) in a.iter().zip(&b).enumerate() {
        if x == y {
            in_digits = x.is_numeric();
            continue;
        }
        return match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => x.cmp(y),
            (true, false) if in_digits => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if in_digits => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let begun = (*x == '0' || *y == '0')
                    && (a.iter().take(index).rev())
                        .take_while(|c| c.is_ascii_digit())
                        .any(|c| *c != '0');
                let number = |letters: &[char]| {
                    let digits = letters.iter().skip(index).map_while(|c| c.to_digit(10));
                    digits.fold((u64::from(begun), 0), |(number, count), digit| {
                        let number = number.wrapping_mul(10).wrapping_add(digit.into());
                        (number, count + 1)
                    })
                };
                number(&a).cmp(&number(&b)).then(x.cmp(y))
            }
        };
    }
    a.len().cmp(&b.len())
}
