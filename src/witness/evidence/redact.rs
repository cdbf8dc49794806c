//! Secrets are blotted out of what is kept: by their value where it is known, and variables by how their name sounds.

use serde_json::Value;

/// What stands in the place of a secret.
const BLOT: &str = "[redacted]";
/// A shorter value would be found in anything.
const SHORTEST: usize = 6;
/// A variable whose name has one of these in it is taken for a secret.
const WORDS: [&str; 13] = [
    "PASS", "SECRET", "TOKEN", "KEY", "CRED", "AUTH", "PRIVATE", "CERT", "SALT", "DSN", "URL",
    "URI", "CONN",
];

/// The values of known secrets. Shown as nothing.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// Takes the values of secrets; also without the newline that a file of one often ends with.
    pub fn new(values: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut secrets: Vec<Vec<u8>> = values
            .into_iter()
            .map(|value| value.trim_ascii().to_vec())
            .filter(|value| value.len() >= SHORTEST)
            .collect();
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(secrets)
    }

    /// The same bytes without the secrets in them.
    pub(super) fn blot(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0
            .iter()
            .fold(bytes, |bytes, secret| replace(bytes, secret))
    }

    /// JSON of the engine's without secrets: by value in every text, by name in every list `Env`.
    pub(super) fn blot_json(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
            return self.blot(bytes);
        };
        self.walk(&mut value, false);
        format!("{value:#}\n").into_bytes()
    }

    fn walk(&self, value: &mut Value, is_environment: bool) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if is_environment
                    && let Some((name, _)) = text.split_once('=')
                    && sounds_secret(name)
                {
                    *text = format!("{name}={BLOT}");
                }
                let blotted = self.blot(std::mem::take(text).into_bytes());
                *text = String::from_utf8_lossy(&blotted).into_owned();
            }
            Value::Array(items) => {
                for item in items {
                    self.walk(item, is_environment);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.walk(field, name == "Env");
                }
            }
        }
    }
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    WORDS.iter().any(|word| name.contains(word))
}

fn replace(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(at) = find(rest, secret) {
        let (before, from) = rest.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(BLOT.as_bytes());
        rest = from.get(secret.len()..).unwrap_or_default();
    }
    if clean.is_empty() && rest.len() == bytes.len() {
        return bytes;
    }
    clean.extend_from_slice(rest);
    clean
}

fn find(bytes: &[u8], secret: &[u8]) -> Option<usize> {
    let first = *secret.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes.get(from + at..)?.starts_with(secret) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out_by_value_and_by_name() {
        let secrets = Secrets::new([
            b"hunter22\n".to_vec(),
            b"hunter22-and-more".to_vec(),
            b"ab".to_vec(),
        ]);
        let blot = |text: &str| String::from_utf8(secrets.blot(text.as_bytes().to_vec())).unwrap();
        assert_eq!(
            blot("x hunter22 y hunter22-and-more ab"),
            "x [redacted] y [redacted] ab"
        );
        assert_eq!(blot("hunter2"), "hunter2");
        let json = br#"{"Config":{"Env":["A=1","DB_PASSWORD=x=y","db_token=z","B=hunter22"],"Cmd":["hunter22"]},"n":1}"#;
        let clean: Value = serde_json::from_slice(&secrets.blot_json(json.to_vec())).unwrap();
        let expected = serde_json::json!({
            "Config": {
                "Env": ["A=1", "DB_PASSWORD=[redacted]", "db_token=[redacted]", "B=[redacted]"],
                "Cmd": ["[redacted]"],
            },
            "n": 1,
        });
        assert_eq!(clean, expected);
        assert_eq!(
            secrets.blot_json(b"no json hunter22".to_vec()),
            b"no json [redacted]"
        );
        assert_eq!(format!("{secrets:?}"), "2 secrets");
    }
}
