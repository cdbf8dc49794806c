//! A JSON file that is passed on: whether it is an object, and its text without white space, as Go's `json.Compact`
//! makes it (RFC 8259).
//!
//! Not here: what is in it. The pure rooms have no serde, and nothing has to be built of it.

use std::fmt;

/// Deepest nesting that is read; a seccomp profile has five levels.
const DEPTH_MAX: usize = 64;

/// An object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Object {
    /// The whole text without white space.
    pub(super) text: String,
    /// Its own members, as they are written.
    members: Vec<(String, String)>,
}

impl Object {
    /// The value of a member, as it is written: a text has its quotes. The last one, where there are several.
    pub(super) fn member(&self, key: &str) -> Option<&str> {
        let mut found = self.members.iter().rev();
        found
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Where a text is no JSON object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    /// From 1.
    line: usize,
    what: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads an object.
pub(super) fn object(bytes: &[u8]) -> Result<Object, Problem> {
    let mut reader = Reader {
        rest: bytes,
        line: 1,
        out: Vec::with_capacity(bytes.len()),
        members: Vec::new(),
    };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.problem("it does not begin with `{`"));
    }
    reader.value(0)?;
    reader.space();
    if reader.peek().is_some() {
        return Err(reader.problem("something follows its end"));
    }
    let members = std::mem::take(&mut reader.members);
    match String::from_utf8(std::mem::take(&mut reader.out)) {
        Ok(text) => Ok(Object { text, members }),
        Err(_) => Err(reader.problem("it is not UTF-8 text")),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
    out: Vec<u8>,
    members: Vec<(String, String)>,
}

impl Reader<'_> {
    fn problem(&self, what: &'static str) -> Problem {
        let line = self.line;
        Problem { line, what }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Drops white space.
    fn space(&mut self) {
        while let Some((first @ (b' ' | b'\t' | b'\r' | b'\n'), rest)) = self.rest.split_first() {
            self.line += usize::from(*first == b'\n');
            self.rest = rest;
        }
    }

    /// Takes a byte into the text.
    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.out.push(*first);
        Some(*first)
    }

    /// Takes this byte, after white space.
    fn take_if(&mut self, wanted: u8) -> bool {
        self.space();
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.take();
        }
        is_there
    }

    /// What was taken since the text had this length.
    fn since(&self, start: usize) -> String {
        let taken = self.out.get(start..).unwrap_or_default();
        String::from_utf8_lossy(taken).into_owned()
    }

    fn value(&mut self, depth: usize) -> Result<(), Problem> {
        self.space();
        if depth > DEPTH_MAX {
            return Err(self.problem("it is nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.members(depth),
            Some(b'[') => self.items(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.problem("it ends too early")),
        }
    }

    fn members(&mut self, depth: usize) -> Result<(), Problem> {
        self.take();
        if self.take_if(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let start = self.out.len();
            if self.peek() != Some(b'"') {
                return Err(self.problem("a name in double quotes is missing"));
            }
            self.string()?;
            let name = self.since(start);
            if !self.take_if(b':') {
                return Err(self.problem("a `:` is missing"));
            }
            let start = self.out.len();
            self.value(depth + 1)?;
            if depth == 0 {
                let name = name.trim_matches('"').to_owned();
                let value = self.since(start);
                self.members.push((name, value));
            }
            if self.take_if(b'}') {
                return Ok(());
            }
            if !self.take_if(b',') {
                return Err(self.problem("a `,` or `}` is missing"));
            }
        }
    }

    fn items(&mut self, depth: usize) -> Result<(), Problem> {
        self.take();
        if self.take_if(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take_if(b']') {
                return Ok(());
            }
            if !self.take_if(b',') {
                return Err(self.problem("a `,` or `]` is missing"));
            }
        }
    }

    fn string(&mut self) -> Result<(), Problem> {
        self.take();
        loop {
            match self.take() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                Some(0..=0x1F) => return Err(self.problem("a text has a control character")),
                Some(_) => {}
                None => return Err(self.problem("a text is never closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Problem> {
        let is_known = match self.take() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
            Some(b'u') => (0..4).all(|_| self.take().is_some_and(|c| c.is_ascii_hexdigit())),
            Some(_) | None => false,
        };
        if is_known {
            Ok(())
        } else {
            Err(self.problem("a text has an unknown escape"))
        }
    }

    fn digits(&mut self) -> usize {
        let mut count = 0;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.take();
            count += 1;
        }
        count
    }

    /// `-0.5e+10`
    fn number(&mut self) -> Result<(), Problem> {
        if self.peek() == Some(b'-') {
            self.take();
        }
        let starts_with_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        let mut is_number = whole == 1 || (whole > 1 && !starts_with_zero);
        if self.peek() == Some(b'.') {
            self.take();
            is_number &= self.digits() > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.take();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.take();
            }
            is_number &= self.digits() > 0;
        }
        if is_number {
            Ok(())
        } else {
            Err(self.problem("a number is not written as one"))
        }
    }

    fn word(&mut self) -> Result<(), Problem> {
        let start = self.out.len();
        while self.peek().is_some_and(|c| c.is_ascii_lowercase()) {
            self.take();
        }
        if ["true", "false", "null"].contains(&self.since(start).as_str()) {
            Ok(())
        } else {
            Err(self.problem("this is no value"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_and_everything_else_stays() {
        let text = r#" { "a b" : [ 1 , -0.5e+10, "x \" \u00e9 y" ,true ,null, { } ] ,
            "c":{"d":[]} } "#;
        let read = object(text.as_bytes()).unwrap();
        let compact = r#"{"a b":[1,-0.5e+10,"x \" \u00e9 y",true,null,{}],"c":{"d":[]}}"#;
        assert_eq!(read.text, compact);
        assert_eq!(read.member("c"), Some(r#"{"d":[]}"#));
        assert_eq!(read.member("d"), None);
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_line() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(70), "]".repeat(70));
        for (text, expected) in [
            ("", "line 1: it does not begin with `{`"),
            ("[1]", "line 1: it does not begin with `{`"),
            ("{", "line 1: a name in double quotes is missing"),
            ("{\n\n'a': 1}", "line 3: a name in double quotes is missing"),
            ("{\"a\" 1}", "line 1: a `:` is missing"),
            ("{\"a\":1,}", "line 1: a name in double quotes is missing"),
            ("{\"a\":1 \"b\":2}", "line 1: a `,` or `}` is missing"),
            ("{\"a\":[1 2]}", "line 1: a `,` or `]` is missing"),
            ("{\"a\":", "line 1: it ends too early"),
            ("{\"a\":tru}", "line 1: this is no value"),
            ("{\"a\":01}", "line 1: a number is not written as one"),
            ("{\"a\":1.}", "line 1: a number is not written as one"),
            ("{\"a\":\"x", "line 1: a text is never closed"),
            ("{\"a\":\"\\x\"}", "line 1: a text has an unknown escape"),
            (
                "{\"a\":\"\u{1}\"}",
                "line 1: a text has a control character",
            ),
            ("{} {}", "line 1: something follows its end"),
            (deep.as_str(), "line 1: it is nested too deeply"),
        ] {
            let problem = object(text.as_bytes()).unwrap_err();
            assert_eq!(problem.to_string(), expected, "{text}");
        }
        assert!(object(b"{\"a\":\"\xFF\"}").is_err());
    }
}
