//! The files of `env_file`: `NAME=value` lines with comments, quotes, escapes and variables.
//!
//! As the Compose Specification describes them (under `env_file`). Not here: which file, and what is
//! done with its variables (`service::environment`).

use super::interpolate::substitute;

/// What is wrong with a file, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DotenvError {
    /// Line, from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: &'static str,
}

/// A file's variables, in its order, and the names that are used in it without a value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Dotenv {
    /// Name and value.
    pub(super) variables: Vec<(String, String)>,
    /// Name and line.
    pub(super) unset: Vec<(String, usize)>,
}

/// Reads a file. Variables in values come from `lookup`, then from the lines above.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Dotenv, DotenvError> {
    let mut found = Dotenv::default();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (consumed, statement) = statement(rest, line)?;
        if let Some(statement) = statement {
            found.add(statement, line, lookup)?;
        }
        let (used, tail) = rest.split_at(consumed);
        line += used.matches('\n').count();
        rest = tail;
    }
    Ok(found)
}

/// Reads a file in which everything after the first `=` of a line is the value (`format: raw`).
pub(super) fn parse_raw(text: &str) -> Result<Dotenv, DotenvError> {
    let mut found = Dotenv::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| no_assignment(index + 1))?;
        check_name(name, index + 1)?;
        found.variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}

/// One statement of a file.
enum Statement<'t> {
    /// `NAME`: taken from the environment.
    Inherit(&'t str),
    /// `NAME='text'`
    Literal(&'t str, String),
    /// `NAME=text` or `NAME="text"`, with variables.
    Template(&'t str, String),
}

impl Dotenv {
    fn add(
        &mut self,
        statement: Statement<'_>,
        line: usize,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), DotenvError> {
        let (name, value) = match statement {
            Statement::Inherit(name) => match lookup(name) {
                Some(value) => (name, value),
                None => return Ok(()),
            },
            Statement::Literal(name, value) => (name, value),
            Statement::Template(name, template) => {
                let above = |name: &str| {
                    let known = self.variables.iter().rev().find(|(known, _)| known == name);
                    lookup(name).or_else(|| known.map(|(_, value)| value.clone()))
                };
                let mut unset = Vec::new();
                let value =
                    substitute(&template, &above, &mut unset).map_err(|problem| DotenvError {
                        line,
                        message: problem.message(),
                        hint: "put the value in single quotes to take `$` literally",
                    })?;
                self.unset
                    .extend(unset.into_iter().map(|name| (name, line)));
                (name, value)
            }
        };
        self.variables.push((name.to_owned(), value));
        Ok(())
    }
}

/// The statement at the beginning of the text, and how many bytes it takes.
fn statement(text: &str, line: usize) -> Result<(usize, Option<Statement<'_>>), DotenvError> {
    let line_end = text.find('\n').map_or(text.len(), |at| at + 1);
    let (this_line, _) = text.split_at(line_end);
    let content = this_line.trim();
    if content.is_empty() || content.starts_with('#') {
        return Ok((line_end, None));
    }
    let start = content
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .unwrap_or(content)
        .trim_start();
    let Some(equals) = start.find(['=', ':']) else {
        check_name(start, line)?;
        return Ok((line_end, Some(Statement::Inherit(start))));
    };
    let (name, value) = start.split_at(equals);
    let name = name.trim_end();
    check_name(name, line)?;
    let value = value.get(1..).unwrap_or_default().trim_start();
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let statement = Statement::Template(name, without_comment(value).to_owned());
        return Ok((line_end, Some(statement)));
    };
    // A quoted value may go on over several lines: look for its end in the whole text.
    let offset = this_line.find(quote).unwrap_or_default() + 1;
    let (value, length) = quoted(text.get(offset..).unwrap_or_default(), quote, line)?;
    // What follows on the line is the next statement, as docker compose has it: `A="b" C=d`.
    let after = offset + length;
    let statement = if quote == '"' {
        Statement::Template(name, value)
    } else {
        Statement::Literal(name, value)
    };
    Ok((after, Some(statement)))
}

/// A value without quotes ends at a `#` with a space before it. One that begins with `#` is a value to docker compose.
fn without_comment(value: &str) -> &str {
    value
        .split_once(" #")
        .map_or(value, |(value, _)| value)
        .trim_end()
}

/// The text up to the closing quote with its escapes resolved, and how many bytes that took, the quote included.
/// In double quotes a `$` behind a backslash becomes `$$`, so that it survives as one.
fn quoted(body: &str, quote: char, line: usize) -> Result<(String, usize), DotenvError> {
    let mut value = String::new();
    let mut letters = body.char_indices();
    while let Some((index, letter)) = letters.next() {
        if letter == quote {
            return Ok((value, index + 1));
        }
        if letter != '\\' {
            value.push(letter);
            continue;
        }
        let Some((_, escaped)) = letters.next() else {
            break;
        };
        match (quote, escaped) {
            ('"', 'n') => value.push('\n'),
            ('"', 'r') => value.push('\r'),
            ('"', 't') => value.push('\t'),
            ('"', 'a') => value.push('\u{07}'),
            ('"', 'b') => value.push('\u{08}'),
            ('"', 'f') => value.push('\u{0c}'),
            ('"', 'v') => value.push('\u{0b}'),
            ('"', '$') => value.push_str("$$"),
            ('"', '"' | '\\') | ('\'', '\'') => value.push(escaped),
            _ => value.extend(['\\', escaped]),
        }
    }
    Err(DotenvError {
        line,
        message: "a quote that is never closed begins here".to_owned(),
        hint: "close the quote",
    })
}

fn check_name(name: &str, line: usize) -> Result<(), DotenvError> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    if name.is_empty() {
        return Err(no_assignment(line));
    }
    if name.chars().all(is_name) {
        return Ok(());
    }
    Err(DotenvError {
        line,
        message: "this is not the name of a variable".to_owned(),
        hint: "write `NAME=value`; a comment begins with `#`",
    })
}

fn no_assignment(line: usize) -> DotenvError {
    DotenvError {
        line,
        message: "this line sets no variable".to_owned(),
        hint: "write `NAME=value`; a comment begins with `#`",
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_raw};

    fn read(text: &str) -> Vec<(String, String)> {
        let lookup = |name: &str| (name == "HOST").then(|| "outside".to_owned());
        parse(text, &lookup).unwrap().variables
    }

    fn one(text: &str) -> String {
        read(text).pop().unwrap().1
    }

    #[test]
    fn a_value_is_read_as_compose_reads_it() {
        for (text, value) in [
            ("A=b", "b"),
            ("A = b c ", "b c"),
            ("A=", ""),
            ("A: b", "b"),
            ("export A=b", "b"),
            ("A=b # comment", "b"),
            ("A=b#no comment", "b#no comment"),
            ("A=#comment", "#comment"),
            ("A=   # comment", "# comment"),
            ("A=b\t# c", "b\t# c"),
            ("A[0]=b", "b"),
            ("1A=b", "b"),
            ("A=\"b\" C=d", "d"),
            ("A=\"\\a\\v\\c\"", "\u{7}\u{b}\\c"),
            ("A='$HOST # \\n'", "$HOST # \\n"),
            ("A='it\\'s'", "it's"),
            ("A=\"$HOST\\t\\\"x\\\"\\n\" # c", "outside\t\"x\"\n"),
            ("A=\"\\$HOST\"", "$HOST"),
            ("A=$HOST/${B:-x}", "outside/x"),
            ("A='one\ntwo'\r\n", "one\ntwo"),
            ("A=b\r\n", "b"),
            ("HOST", "outside"),
        ] {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn a_value_may_use_the_lines_above_and_the_environment_wins() {
        assert_eq!(one("B=1\nA=$B"), "1");
        assert_eq!(one("HOST=inside\nA=$HOST"), "outside");
    }

    #[test]
    fn a_name_that_nobody_sets_is_left_out() {
        assert_eq!(read("NOBODY\n# x\n\nA=1").len(), 1);
    }

    #[test]
    fn an_error_names_its_line() {
        let none = |_: &str| None;
        for (text, line) in [("A=1\n\n=2", 3), ("A='\n\nB=1", 1), ("A=1\nB C=2", 2)] {
            assert_eq!(parse(text, &none).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn a_raw_file_is_taken_literally() {
        let raw = parse_raw("# c\nA='$B' # d\n").unwrap().variables;
        assert_eq!(raw, [("A".to_owned(), "'$B' # d".to_owned())]);
        assert!(parse_raw("A").is_err());
    }
}
