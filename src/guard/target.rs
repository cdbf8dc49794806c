//! The request line, read as dockerd's router reads it, and refused wherever two readers could differ.
//!
//! dockerd decodes the path before it matches (`gorilla/mux` on `URL.Path`), and takes any `/v[0-9.]+` for a version; a
//! plugin is shown the raw line. So: decoded once, and nothing odd may be left.
//! Not here: what a path means (`routes`).

use std::collections::BTreeMap;

/// The oldest API that is let through: below it `start` takes a configuration and `copy` exists.
const OLDEST: (u32, u32) = (1, 24);
/// No request of Docker's is longer.
const LONGEST: usize = 64 << 10;

/// A request line that can be understood in one way only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The decoded segments of the path, without version; `/` has none.
    pub segments: Vec<String>,
    /// The query, keys and values decoded; every value of a key.
    pub query: Query,
}

/// A decoded query.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// The one value of a key, empty where it is not there.
    ///
    /// # Errors
    /// It is there more than once.
    pub fn one(&self, key: &str) -> Result<&str, Odd> {
        match self.0.get(key).map(Vec::as_slice) {
            None | Some([]) => Ok(""),
            Some([value]) => Ok(value),
            Some(_) => Err(Odd::TwiceInQuery),
        }
    }
}

/// Why a request line is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Odd {
    /// Longer than any request of Docker's.
    #[error("the request line is too long")]
    TooLong,
    /// An absolute URI, an authority, `*`.
    #[error("the request target does not begin with `/`")]
    NotAPath,
    /// A `%` that is not followed by two hex digits.
    #[error("the request target has a broken percent-encoding")]
    BrokenEncoding,
    /// Encoded twice.
    #[error("the path is encoded twice")]
    EncodedTwice,
    /// `//`, `.`, `..`, or a slash at the end.
    #[error("the path has empty or dotted segments")]
    NotPlain,
    /// A backslash, a control character, a blank or something beyond ASCII.
    #[error("the path has a character that no path of Docker's has")]
    OddCharacter,
    /// Not `/v1.NN`.
    #[error("the version in the path is not one of Docker's")]
    OddVersion,
    /// Before 1.24.
    #[error("the API's version in the path is older than 1.24")]
    OldVersion,
    /// `;` separated parameters in older versions of Go.
    #[error("the query has a `;`")]
    Semicolon,
    /// A key that matters is given twice.
    #[error("a parameter of the query is given twice")]
    TwiceInQuery,
}

impl Target {
    /// Reads a request line's target.
    ///
    /// # Errors
    /// See [`Odd`].
    pub fn parse(raw: &str) -> Result<Self, Odd> {
        if raw.len() > LONGEST {
            return Err(Odd::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(Odd::NotAPath);
        }
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let decoded = decode(path, false)?;
        if decoded.contains('%') {
            return Err(Odd::EncodedTwice);
        }
        if decoded
            .chars()
            .any(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '#' | '?'))
        {
            return Err(Odd::OddCharacter);
        }
        let mut segments: Vec<String> = decoded.split('/').skip(1).map(str::to_owned).collect();
        // `GET /networks/` is a route of its own.
        if segments.len() > 1
            && segments.last().is_some_and(String::is_empty)
            && is_networks(&segments)
        {
            segments.pop();
        }
        if segments == [""] {
            segments.clear();
        }
        if segments
            .iter()
            .any(|one| matches!(one.as_str(), "" | "." | ".."))
        {
            return Err(Odd::NotPlain);
        }
        if segments.first().is_some_and(|first| is_like_version(first)) {
            check_version(&segments.remove(0))?;
        }
        Ok(Self {
            segments,
            query: parse_query(query)?,
        })
    }
}

fn is_networks(segments: &[String]) -> bool {
    let plain: Vec<&str> = segments.iter().map(String::as_str).collect();
    matches!(plain.as_slice(), ["networks", ""] | [_, "networks", ""])
}

/// What dockerd's router takes for a version (`/v{version:[0-9.]+}`, moby 20.10 and 28, `api/server/server.go`).
fn is_like_version(segment: &str) -> bool {
    let rest = segment.strip_prefix(['v', 'V']);
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

fn check_version(segment: &str) -> Result<(), Odd> {
    let (major, minor) = segment
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .ok_or(Odd::OddVersion)?;
    let number = |text: &str| -> Result<u32, Odd> {
        let is_plain = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        if !is_plain {
            return Err(Odd::OddVersion);
        }
        text.parse().map_err(|_| Odd::OddVersion)
    };
    let version = (number(major)?, number(minor)?);
    if version.0 != OLDEST.0 {
        return Err(Odd::OddVersion);
    }
    if version < OLDEST {
        return Err(Odd::OldVersion);
    }
    Ok(())
}

fn parse_query(raw: &str) -> Result<Query, Odd> {
    if raw.contains(';') {
        return Err(Odd::Semicolon);
    }
    let mut query = Query::default();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values = query.0.entry(decode(key, true)?).or_default();
        values.push(decode(value, true)?);
    }
    Ok(query)
}

/// Percent-decodes once; what is not UTF-8 becomes a replacement character, which no name has.
fn decode(text: &str, plus: bool) -> Result<String, Odd> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(Odd::BrokenEncoding);
                };
                out.push(u8::try_from(high * 16 + low).map_err(|_| Odd::BrokenEncoding)?);
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
