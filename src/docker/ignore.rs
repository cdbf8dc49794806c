//! `.dockerignore`: what of a build context is not sent.
//!
//! The rules are Docker's, and no other tool's: github.com/moby/patternmatcher v0.6.0 (`patternmatcher.go`,
//! `ignorefile/ignorefile.go`). They look like those of `.gitignore` and differ: a pattern without a slash matches at the top
//! only, the last pattern that matches decides, and `!` brings back what lies in a directory that is left out.
//!
//! Not here: the walk over the files (`context`).

/// The patterns of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

/// What is wrong with a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Malformed {
    /// The line, from 1.
    pub(super) line: usize,
    /// The pattern as it is written.
    pub(super) pattern: String,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// It begins with `!`.
    is_exception: bool,
    glob: Glob,
    /// The directories that it names without a wildcard, from the top.
    fixed: Vec<String>,
}

#[derive(Clone, Debug)]
enum Glob {
    /// `**` and text without a wildcard: whatever ends so.
    Suffix(String),
    /// Everything else.
    Tokens(Vec<Token>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**` or `**/` before something: any number of directories, none included.
    Directories,
    /// `**` at the end.
    Rest,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut patterns = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in (1..).zip(text.lines()) {
            // Only at the very beginning of a line.
            if line.starts_with('#') {
                continue;
            }
            let written = line.trim();
            if written.is_empty() {
                continue;
            }
            let pattern = Pattern::parse(written).ok_or_else(|| Malformed {
                line: number,
                pattern: written.to_owned(),
            })?;
            patterns.push(pattern);
        }
        Ok(Self { patterns })
    }

    /// Whether a path is left out; relative to the context, with `/` between its parts.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let mut is_out = false;
        for pattern in &self.patterns {
            // An exception has nothing to bring back, another pattern nothing to leave out.
            if pattern.is_exception == is_out && pattern.matches_or_holds(path) {
                is_out = !pattern.is_exception;
            }
        }
        is_out
    }

    /// Whether something below a directory that is left out may be brought back.
    pub(super) fn may_bring_back_below(&self, directory: &str) -> bool {
        let parts: Vec<&str> = directory.split('/').collect();
        self.patterns
            .iter()
            .filter(|pattern| pattern.is_exception)
            // Up to where the exception has its first wildcard, both name the same directories.
            .any(|pattern| {
                pattern
                    .fixed
                    .iter()
                    .zip(&parts)
                    .all(|(own, part)| own == part)
            })
    }
}

impl Pattern {
    fn parse(written: &str) -> Option<Self> {
        let (is_exception, text) = match written.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, written),
        };
        if text.is_empty() {
            return None;
        }
        let cleaned = clean(text);
        let path = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest,
            Some(_) | None => &cleaned,
        };
        let glob = Glob::parse(path)?;
        let is_wild = |part: &&str| part.contains(['*', '?', '[', '\\']);
        let fixed = path.split('/').take_while(|part| !is_wild(part));
        Some(Self {
            is_exception,
            fixed: fixed.map(str::to_owned).collect(),
            glob,
        })
    }

    /// Whether it matches the path, or a directory that holds it.
    fn matches_or_holds(&self, path: &str) -> bool {
        let slashes = path.match_indices('/').map(|(at, _)| at);
        slashes
            .chain([path.len()])
            .any(|end| path.get(..end).is_some_and(|part| self.glob.matches(part)))
    }
}

impl Glob {
    fn parse(path: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = path.chars().peekable();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_some() {
                        Token::Directories
                    } else {
                        Token::Rest
                    }
                }
                '*' => Token::Some,
                '?' => Token::One,
                '[' => class(&mut chars)?,
                // At the end it escapes nothing.
                '\\' => Token::Char(chars.next()?),
                other => Token::Char(other),
            });
        }
        let is_plain = |token: &Token| matches!(token, Token::Char(_));
        let rest = path.strip_prefix("**");
        Some(match (tokens.as_slice(), rest) {
            ([Token::Directories, others @ ..], Some(suffix))
                if others.iter().all(is_plain) && !suffix.contains('\\') =>
            {
                Self::Suffix(suffix.to_owned())
            }
            _ => Self::Tokens(tokens),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path)
            }
            Self::Tokens(tokens) => matches(tokens, path),
        }
    }
}

/// Reads a class after its `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            // An empty class, or the end of a range without its beginning.
            ']' | '-' => return None,
            '\\' => chars.next()?,
            other => other,
        };
        let last = if chars.next_if_eq(&'-').is_some() {
            match chars.next()? {
                ']' | '-' => return None,
                '\\' => chars.next()?,
                other => other,
            }
        } else {
            first
        };
        if last < first {
            return None;
        }
        ranges.push((first, last));
    }
}

/// Which beginnings of the path the first tokens can match, token by token: never more work than one by the other.
fn matches(tokens: &[Token], path: &str) -> bool {
    let chars: Vec<char> = path.chars().collect();
    let mut reached = vec![false; chars.len() + 1];
    if let Some(begin) = reached.first_mut() {
        *begin = true;
    }
    for token in tokens {
        reached = step(token, &chars, &reached);
    }
    reached.last() == Some(&true)
}

fn step(token: &Token, chars: &[char], reached: &[bool]) -> Vec<bool> {
    // Whether the token may go on to here from the place before.
    let mut next = Vec::with_capacity(reached.len());
    // Whether any place so far was reached, and the place before.
    let (mut any_before, mut before, mut next_before) = (false, false, false);
    for (at, here) in reached.iter().copied().enumerate() {
        let char = at.checked_sub(1).and_then(|last| chars.get(last)).copied();
        let takes = |is: bool| before && is;
        let is_reached = match (token, char) {
            (Token::Some | Token::Directories | Token::Rest, None) => here,
            (Token::Char(_) | Token::One | Token::Class { .. }, None) => false,
            (Token::Char(own), Some(char)) => takes(*own == char),
            (Token::One, Some(char)) => takes(char != '/'),
            (Token::Class { negated, ranges }, Some(char)) => {
                let is_in = ranges.iter().any(|(a, b)| (*a..=*b).contains(&char));
                takes(is_in != *negated)
            }
            (Token::Some, Some(char)) => here || (next_before && char != '/'),
            (Token::Directories, Some(char)) => here || (any_before && char == '/'),
            (Token::Rest, Some(_)) => here || any_before,
        };
        next.push(is_reached);
        any_before |= here;
        before = here;
        next_before = is_reached;
    }
    next
}

/// A path without `.`, `..` and double slashes, as Go's `filepath.Clean` makes it.
fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ignore, Malformed};

    /// Patterns, a path, and whether it is left out.
    const TABLE: &[(&str, &str, bool)] = &[
        // Compared with `docker build` of Docker 20.10.24 and 28.5.2 (classic builder), but for what is marked.
        ("a", "a", true),
        ("a", "a/b", true),
        ("a", "b/a", false),
        ("a", "ab", false),
        ("/a", "a", true),
        ("./a/", "a/b", true),
        ("x/../a", "a", true),
        ("*", "a", true),
        ("*", "a/b", true),
        ("*.txt", "a.txt", true),
        ("*.txt", "d/a.txt", false),
        ("*/*.txt", "d/a.txt", true),
        ("*/*.txt", "d/e/a.txt", false),
        ("**/*.txt", "a.txt", true),
        ("**/*.txt", "d/e/a.txt", true),
        ("**/a", "a", true),
        ("**/a", "d/e/a", true),
        ("**/a", "d/ba", false),
        ("**a", "d/ba", true),
        ("a/**", "a/b/c", true),
        ("a/**", "a", false),
        ("**", "a/b", true),
        ("a/**/z", "a/z", true),
        ("a/**/z", "a/b/c/z", true),
        ("a/**/z", "a/bz", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        (r"a\*", "a*", true),
        (r"a\*", "ab", false),
        ("a.b", "aXb", false),
        ("a+(b)|{c}$", "a+(b)|{c}$", true),
        ("é*", "éa", true),
        // Exceptions, and their order.
        ("*\n!a", "a", false),
        ("*\n!a", "b", true),
        ("!a\n*", "a", true),
        ("d\n!d/a", "d/a", false),
        ("d\n!d/a", "d/b", true),
        ("d\n!d", "d/a", false),
        ("*.md\n!README*.md\nREADME-x.md", "README-x.md", true),
        ("*.md\n!README*.md\nREADME-x.md", "README.md", false),
        ("! a\n*\n!  a ", "a", false),
        // As BuildKit; the classic client does not look into `d`.
        ("*\n!**/keep", "d/keep", false),
        // The file itself.
        ("\u{feff}a", "a", true),
        ("# a", "# a", false),
        (" # a", "# a", true),
        ("\n  a  \r\n", "a", true),
        ("..", "a", false),
        (".", "a", false),
        ("/", "a", false),
    ];

    #[test]
    fn patterns_leave_out_what_docker_leaves_out() {
        for (patterns, path, expected) in TABLE {
            let ignore = Ignore::parse(patterns).unwrap_or_else(|bad| unreachable!("{bad:?}"));
            assert_eq!(
                ignore.leaves_out(path),
                *expected,
                "{patterns:?} on {path:?}"
            );
        }
    }

    #[test]
    fn a_directory_that_is_left_out_is_looked_into_where_an_exception_may_lie() {
        for (patterns, directory, expected) in [
            ("d", "d", false),
            ("*\n!d/a", "d", true),
            ("*\n!d/a", "e", false),
            ("*\n!d/e/f", "d/e", true),
            ("*\n!d", "d/e", true),
            ("*\n!**/keep", "d", true),
            ("*\n!*/keep", "d", true),
            ("*\n!d/*.txt", "e", false),
        ] {
            let ignore = Ignore::parse(patterns).unwrap_or_else(|bad| unreachable!("{bad:?}"));
            assert_eq!(
                ignore.may_bring_back_below(directory),
                expected,
                "{patterns:?} in {directory:?}"
            );
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_told_with_its_line() {
        for pattern in ["[a", "[]", "[a-]", "[z-a]", r"a\", "!"] {
            let text = format!("ok\n# no pattern\n\n{pattern}\n");
            let bad = Malformed {
                line: 4,
                pattern: pattern.to_owned(),
            };
            assert_eq!(Ignore::parse(&text).map(|_| ()), Err(bad), "{pattern}");
        }
    }
}
