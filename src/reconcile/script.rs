//! The plain commands of a shell's script: what a shell that runs it may turn into.
//!
//! Only what needs no shell to be understood: a command with a variable, a pattern or a substitution in it is none of these.
//! Not here: what follows from a match (`checks`).

/// Words that stand before a command and are none of it.
const BEFORE: [&str; 11] = [
    "if", "then", "elif", "else", "while", "until", "do", "!", "{", "exec", "time",
];
/// What ends a command.
const ENDS: &str = "|&;()\n";
/// What only a shell understands.
const EXPANDED: &str = "$`*?[~";

/// Whether a command line, its arguments joined by spaces, is one of the script's commands, whole.
pub(super) fn has_command(script: &str, command: &str) -> bool {
    let mut reader = Reader::default();
    reader.read(script);
    reader.commands.iter().any(|own| own == command)
}

#[derive(Default)]
struct Reader {
    /// Of the command that is being read; `None` for a word that is not plain.
    words: Vec<Option<String>>,
    /// The word that is being read, and whether it is plain.
    word: Option<(String, bool)>,
    /// The next word is a file that something is led to.
    is_file: bool,
    commands: Vec<String>,
}

impl Reader {
    fn read(&mut self, script: &str) {
        let mut chars = script.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\'' => {
                    self.begin();
                    for char in chars.by_ref().take_while(|char| *char != '\'') {
                        self.push(char, true);
                    }
                }
                '"' => {
                    self.begin();
                    while let Some(char) = chars.next().filter(|char| *char != '"') {
                        let is_escape = char == '\\'
                            && chars.peek().is_some_and(|next| "$`\"\\".contains(*next));
                        let escaped = is_escape.then(|| chars.next()).flatten();
                        let is_plain = escaped.is_some() || !"$`".contains(char);
                        self.push(escaped.unwrap_or(char), is_plain);
                    }
                }
                '\\' => {
                    if let Some(char) = chars.next().filter(|char| *char != '\n') {
                        self.push(char, true);
                    }
                }
                '#' if self.word.is_none() => {
                    while chars.next_if(|char| *char != '\n').is_some() {}
                }
                '<' | '>' => {
                    // The number before it says what is led there.
                    let is_number =
                        |(word, _): &(String, bool)| word.bytes().all(|byte| byte.is_ascii_digit());
                    self.word = self.word.take().filter(|word| !is_number(word));
                    self.end_word();
                    while chars.next_if(|char| "<>&".contains(*char)).is_some() {}
                    self.is_file = true;
                }
                char if ENDS.contains(char) => self.end_command(),
                char if char.is_whitespace() => self.end_word(),
                char => self.push(char, !EXPANDED.contains(char)),
            }
        }
        self.end_command();
    }

    fn begin(&mut self) -> &mut (String, bool) {
        self.word.get_or_insert_with(|| (String::new(), true))
    }

    fn push(&mut self, char: char, is_plain: bool) {
        let (word, plain) = self.begin();
        word.push(char);
        *plain &= is_plain;
    }

    fn end_word(&mut self) {
        let Some((word, is_plain)) = self.word.take() else {
            return;
        };
        if std::mem::take(&mut self.is_file) {
            return;
        }
        let is_first = self.words.is_empty();
        if is_first && (BEFORE.contains(&word.as_str()) || is_assignment(&word)) {
            return;
        }
        self.words.push(is_plain.then_some(word));
    }

    fn end_command(&mut self) {
        self.end_word();
        self.is_file = false;
        let words: Option<Vec<String>> = std::mem::take(&mut self.words).into_iter().collect();
        let command = words.filter(|words| !words.is_empty());
        self.commands.extend(command.map(|words| words.join(" ")));
    }
}

/// `NAME=value`
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::has_command;

    #[test]
    fn a_shell_may_turn_into_the_plain_commands_of_its_script_and_into_nothing_else() {
        let script = "A=b exec wget -q -O /dev/null 'http://127.0.0.1:8080/a b' 2>&1 || exit 1\n\
                      if curl -f \"x\\\"y\" >/dev/null; then pg_isready -U $USER & fi # nc -l\n\
                      ls *.log; cat ~/x; (true) | grep -c \\$a";
        for command in [
            "wget -q -O /dev/null http://127.0.0.1:8080/a b",
            "exit 1",
            "curl -f x\"y",
            "true",
            "grep -c $a",
        ] {
            assert!(has_command(script, command), "{command}");
        }
        for command in [
            "wget",
            "wget -q -O -",
            "wget -q -O /dev/null http://127.0.0.1:8080/a b 2",
            "curl -f",
            "pg_isready -U $USER",
            "pg_isready -U root",
            "nc -l",
            "ls *.log",
            "cat ~/x",
            "A=b",
            "/dev/null",
            "",
        ] {
            assert!(!has_command(script, command), "{command}");
        }
        for broken in ["'", "\"", "\\", ">", "a 'b", "$(", "a >"] {
            assert!(!has_command(broken, "b c"), "{broken}");
        }
    }
}
