//! Variables in values, as the Compose Specification has them: `$NAME`, `${NAME}`, `${NAME:-default}`,
//! `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`, `${NAME:+other}`, `${NAME+other}`, nested; `$$` is `$`.
//!
//! A transformation of the tree: keys are left alone, values become text. The whole file is transformed, as docker
//! compose does it: a variable that is required by another service is required by the file. Tags end here: those that
//! have a meaning are gone by now (`load::reset`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bind::At;
use super::problems::{INTERPOLATION, Problems};
use super::tree::{Entry, Node, Value};

/// Most text that variables may become in one tree: a file is not a way to fill the memory.
const RESULT_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of `${A:-${B:-…}}`.
const NESTING_MAX: usize = 16;

/// The tree with all variables replaced.
pub(super) fn interpolate(
    at: &At<'_>,
    environment: &BTreeMap<String, String>,
    out: &mut Problems,
) -> Arc<Node> {
    let mut walk = Walk {
        environment,
        left: RESULT_BYTES_MAX,
        out,
    };
    Arc::new(walk.node(at))
}

struct Walk<'a> {
    environment: &'a BTreeMap<String, String>,
    left: usize,
    out: &'a mut Problems,
}

impl Walk<'_> {
    fn node(&mut self, at: &At<'_>) -> Node {
        if let Some(tag) = &at.node.tag {
            self.out.error(
                at,
                "invalid-value",
                format!("the tag `{tag}` has no meaning in a Compose file"),
                "write `!reset` or `!override`, or quote text that begins with `!`",
            );
        }
        let value = match &at.node.value {
            Value::Null => Value::Null,
            Value::Text(text) => Value::Text(self.text(text, at)),
            Value::List(_) => Value::List(
                at.as_list()
                    .unwrap_or_default()
                    .iter()
                    .map(|item| Arc::new(self.node(item)))
                    .collect(),
            ),
            Value::Map(_) => Value::Map(
                at.as_map()
                    .unwrap_or_default()
                    .iter()
                    .map(|pair| Entry {
                        key: pair.key.to_owned(),
                        key_place: pair.key_place.clone(),
                        value: Arc::new(self.node(&pair.value)),
                    })
                    .collect(),
            ),
        };
        Node {
            place: at.node.place.clone(),
            tag: None,
            value,
            plain: at.node.plain && !at.as_text().is_some_and(|text| text.contains('$')),
            weight: at.node.weight,
            bytes: at.node.bytes,
            depth: at.node.depth,
        }
    }

    fn text(&mut self, text: &str, at: &At<'_>) -> String {
        if !text.contains('$') {
            return text.to_owned();
        }
        let mut unset = Vec::new();
        let lookup = |name: &str| self.environment.get(name).cloned();
        let result = substitute(text, &lookup, &mut unset);
        for name in unset {
            self.out.warning(
                at,
                "unset-variable",
                format!("the variable `{name}` is not set; an empty text takes its place"),
                format!("set it in the environment or in `.env`, or write `${{{name}:-default}}`"),
            );
        }
        match result {
            Ok(result) if result.len() <= self.left => {
                self.left -= result.len();
                result
            }
            Ok(_) => self.refuse(text, at, &Problem::Long),
            Err(problem) => self.refuse(text, at, &problem),
        }
    }

    fn refuse(&mut self, text: &str, at: &At<'_>, problem: &Problem) -> String {
        self.out
            .error(at, INTERPOLATION, problem.message(), problem.hint());
        text.to_owned()
    }
}

/// Why a text with variables could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    /// `${` without `}`.
    Unclosed,
    /// Something else than a name, or an operator that does not exist.
    Malformed(String),
    /// `${NAME?message}` without a value.
    Required(String, String),
    /// Too deep.
    Nested,
    /// Too much.
    Long,
}

impl Problem {
    /// What is wrong.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Unclosed => "`${` without `}`".to_owned(),
            Self::Malformed(text) => format!("`${{{text}}}` is not a variable"),
            Self::Required(name, message) if message.is_empty() => {
                format!("the required variable `{name}` is not set")
            }
            Self::Required(name, message) => {
                format!("the required variable `{name}` is not set: {message}")
            }
            Self::Nested => format!("variables nested deeper than {NESTING_MAX} levels"),
            Self::Long => format!("variables become more than {RESULT_BYTES_MAX} bytes of text"),
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unclosed => "write `$$` for a dollar sign, `$NAME` or `${NAME}` for a variable",
            Self::Malformed(_) => {
                "write `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+other}`; `$$` for a dollar sign"
            }
            Self::Required(..) => "set it in the environment or in `.env`",
            Self::Nested => "use fewer defaults of defaults",
            Self::Long => "use smaller values",
        }
    }
}

/// Where variables come from.
type Lookup<'l> = dyn Fn(&str) -> Option<String> + 'l;

/// The text with all variables replaced; names that have neither value nor default go to `unset`.
pub(super) fn substitute(
    text: &str,
    lookup: &Lookup<'_>,
    unset: &mut Vec<String>,
) -> Result<String, Problem> {
    nested(text, lookup, unset, 0)
}

fn nested(
    text: &str,
    lookup: &Lookup<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Problem> {
    if depth > NESTING_MAX {
        return Err(Problem::Nested);
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if result.len() > RESULT_BYTES_MAX {
            return Err(Problem::Long);
        }
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing_brace(inside).ok_or(Problem::Unclosed)?;
            let (expression, tail) = inside.split_at(end);
            result.push_str(&braced(expression, lookup, unset, depth)?);
            rest = tail.strip_prefix('}').unwrap_or(tail);
        } else {
            let (name, tail) = split_name(after);
            if name.is_empty() {
                // `$(date)`, `$1`: no variable, and taken as it is.
                result.push('$');
            } else {
                result.push_str(&plain(name, lookup, unset));
            }
            rest = tail;
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// What stands between the braces.
fn braced(
    expression: &str,
    lookup: &Lookup<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Problem> {
    let (name, operation) = split_name(expression);
    let malformed = || Problem::Malformed(expression.to_owned());
    if name.is_empty() {
        return Err(malformed());
    }
    let (counts_empty, operator) = match operation.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, operation),
    };
    let value = lookup(name).filter(|value| !(counts_empty && value.is_empty()));
    if let Some(default) = operator.strip_prefix('-') {
        return match value {
            Some(value) => Ok(value),
            None => nested(default, lookup, unset, depth + 1),
        };
    }
    if let Some(message) = operator.strip_prefix('?') {
        let missing = || {
            let message = nested(message, lookup, &mut Vec::new(), depth + 1);
            Problem::Required(name.to_owned(), message.unwrap_or_default())
        };
        return value.ok_or_else(missing);
    }
    if let Some(other) = operator.strip_prefix('+') {
        return match value {
            Some(_) => nested(other, lookup, unset, depth + 1),
            None => Ok(String::new()),
        };
    }
    if operation.is_empty() {
        Ok(plain(name, lookup, unset))
    } else {
        Err(malformed())
    }
}

fn plain(name: &str, lookup: &Lookup<'_>, unset: &mut Vec<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        if !unset.iter().any(|known| known == name) {
            unset.push(name.to_owned());
        }
        String::new()
    })
}

/// Where the brace closes that was opened before the text: braces in between come in pairs; where they do not, the last
/// one of the line closes it.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (index, letter) in text.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(index);
        }
    }
    text.lines().next()?.rfind('}')
}

/// A variable's name, and what follows.
fn split_name(text: &str) -> (&str, &str) {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_start) {
        return ("", text);
    }
    let end = text
        .find(|c: char| !is_start(c) && !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}
