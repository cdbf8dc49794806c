//! A command written as one text, split into words exactly as docker compose splits it, its silences included: it stops at
//! `;`, `&`, `|`, `<` and `>` (mattn/go-shellwords v1.0.12 without variables and backticks).
//!
//! What a phoenix runs is split by `compose::shell`, which refuses what would be cut off.

/// The words; `None` where docker compose refuses to split it.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut state = State::default();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if !state.is_in("'") => {
                let escaped = letters.next()?;
                state.push(escaped);
            }
            ' ' | '\t' | '\r' | '\n' if !state.open.is_empty() => state.word.push(letter),
            ' ' | '\t' | '\r' | '\n' => state.end(),
            '`' if !state.is_in("'\"$") => {
                state.turn('`');
                state.push(letter);
            }
            ')' if !state.is_in("'\"`") => {
                state.turn('$');
                state.push(letter);
            }
            '(' if !state.is_in("'\"`") => {
                if state.is_in("$") || !state.word.ends_with('$') {
                    return None;
                }
                state.turn('$');
                state.word.push(letter);
            }
            '"' if !state.is_in("'$") => state.quote('"'),
            '\'' if !state.is_in("\"$") => state.quote('\''),
            ';' | '&' | '|' | '<' | '>' if state.open.is_empty() => {
                // `2>`: the number of the descriptor is no word.
                if letter == '>' && state.word.starts_with(|c: char| c.is_ascii_digit()) {
                    state.begun = false;
                }
                break;
            }
            other => state.push(other),
        }
    }
    state.end();
    state.open.is_empty().then_some(state.words)
}

#[derive(Default)]
struct State {
    words: Vec<String>,
    word: String,
    /// Whether there is a word, though it may be empty.
    begun: bool,
    /// What is open: quotes, and `$` for `$(`.
    open: Vec<char>,
}

impl State {
    /// Whether one of these is open.
    fn is_in(&self, quotes: &str) -> bool {
        self.open.iter().any(|open| quotes.contains(*open))
    }

    /// Opens or closes.
    fn turn(&mut self, quote: char) {
        match self.open.iter().position(|open| *open == quote) {
            Some(index) => drop(self.open.remove(index)),
            None => self.open.push(quote),
        }
    }

    /// The same; a closed quote makes a word, though it be empty.
    fn quote(&mut self, quote: char) {
        self.begun |= self.open.contains(&quote);
        self.turn(quote);
    }

    fn push(&mut self, letter: char) {
        self.word.push(letter);
        self.begun = true;
    }

    fn end(&mut self) {
        if self.begun {
            self.words.push(std::mem::take(&mut self.word));
            self.begun = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_command_is_split_as_docker_compose_splits_it_up_to_its_silences() {
        for (line, words) in [
            ("", Some(vec![])),
            ("a && b", Some(vec!["a"])),
            ("make 2>err x", Some(vec!["make"])),
            ("a>b", Some(vec!["a"])),
            ("echo `id -u` x", Some(vec!["echo", "`id -u`", "x"])),
            ("echo $(id -u)", Some(vec!["echo", "$(id -u)"])),
            ("sh -c 'a | b'", Some(vec!["sh", "-c", "a | b"])),
            ("a '' \"\"", Some(vec!["a", "", ""])),
            (r"a\nb", Some(vec!["anb"])),
            ("(a)", None),
            ("a 'b", None),
            ("a )", None),
            ("a \\", None),
        ] {
            let words = words.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(split(line), words, "{line}");
        }
    }
}
