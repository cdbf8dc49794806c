//! A command written as one text, split into words as Compose does it: quotes and backslashes, no shell.

/// Why a command could not be split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SplitError {
    /// A quote, or a backslash at the end.
    Open(char),
    /// A character by which a shell would do something.
    Operator(char),
}

/// Splits as mattn/go-shellwords v1.0.12 does, which Compose uses, with one difference: it stops silently at `;`, `&`,
/// `|`, `<` and `>`, so that half of the command is never run; here they are an error.
pub(super) fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                let escaped = letters.next().ok_or(SplitError::Open('\\'))?;
                word.get_or_insert_default().push(escaped);
            }
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ' | '\t' | '\r' | '\n', None) => words.extend(word.take()),
            (';' | '&' | '|' | '<' | '>' | '(' | ')' | '`', None) => {
                return Err(SplitError::Operator(letter));
            }
            (_, None | Some(_)) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(SplitError::Open(open));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{SplitError, split};

    #[test]
    fn a_command_is_split_at_spaces_outside_of_quotes() {
        for (text, words) in [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            (
                r#"sh -c "echo \"a b\" \\ c""#,
                vec!["sh", "-c", r#"echo "a b" \ c"#],
            ),
            (r"a\ b '' c", vec!["a b", "", "c"]),
            (r"'a\b'", vec![r"a\b"]),
            ("  \n", vec![]),
            (r#"--x="a"'b'c"#, vec!["--x=abc"]),
            // Measured with docker compose 2.40.3: a backslash makes nothing of a letter.
            (r#"a\tb c\nd "e\nf""#, vec!["atb", "cnd", "enf"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_can_run_is_an_error_and_never_cut_off() {
        assert_eq!(split("a && b"), Err(SplitError::Operator('&')));
        assert_eq!(split("a > b"), Err(SplitError::Operator('>')));
        assert_eq!(split("echo `id`"), Err(SplitError::Operator('`')));
        assert_eq!(split("echo 'a"), Err(SplitError::Open('\'')));
        assert_eq!(split("echo \\"), Err(SplitError::Open('\\')));
    }
}
