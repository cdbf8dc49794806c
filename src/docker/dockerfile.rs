//! What of a Dockerfile the engine's own builder would get wrong without a word.
//!
//! Docker 28's classic builder reads here-documents as `BuildKit` does, and then runs the instruction without them:
//! `RUN <<EOT` is a step that does nothing and succeeds (measured, 28.5.2; 20.10.24 refuses the file). Everything else that
//! it does not know is an error of the engine's.
//!
//! Not here: any other reading of a Dockerfile.

/// The line, from 1, of the first instruction with a here-document.
pub(super) fn here_document(text: &str) -> Option<usize> {
    let escape = escape(text);
    // The instruction that goes on from the line before may have one.
    let mut goes_on: Option<bool> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim();
        // Also between the lines of one instruction (moby/buildkit v0.26, `frontend/dockerfile/parser`).
        if trimmed.starts_with('#') || (trimmed.is_empty() && goes_on.is_some()) {
            continue;
        }
        let may_have = goes_on.unwrap_or_else(|| may_have_one(trimmed));
        if may_have && words(trimmed).iter().any(|word| begins_one(word)) {
            return Some(number);
        }
        goes_on = trimmed.ends_with(escape).then_some(may_have);
    }
    None
}

/// The character that continues a line, which a directive at the top may change.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    for directive in directives {
        if let Some((key, value)) = directive.split_once('=')
            && key.trim().eq_ignore_ascii_case("escape")
            && value.trim() == "`"
        {
            return '`';
        }
    }
    '\\'
}

fn may_have_one(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut instruction = words.next().unwrap_or_default();
    if instruction.eq_ignore_ascii_case("ONBUILD") {
        instruction = words.next().unwrap_or_default();
    }
    ["RUN", "COPY", "ADD"]
        .iter()
        .any(|known| instruction.eq_ignore_ascii_case(known))
}

/// `<<EOT`, `<<-"EOT"`, `3<<EOT`; not `<<<`, and nothing in quotes.
fn begins_one(word: &str) -> bool {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else {
        return false;
    };
    let name = rest.strip_prefix('-').unwrap_or(rest);
    !name.is_empty() && !name.contains('<')
}

/// The words of a line; what is quoted belongs to its word, quotes included.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if quote.is_none() && char.is_whitespace() {
            words.push(String::new());
            continue;
        }
        if quote == Some(char) {
            quote = None;
        } else if quote.is_none() && matches!(char, '"' | '\'') {
            quote = Some(char);
        }
        let Some(word) = words.last_mut() else {
            continue;
        };
        word.push(char);
        if char == '\\' {
            word.extend(chars.next());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::here_document;

    #[test]
    fn a_here_document_is_found_wherever_the_engine_would_ignore_it() {
        for (text, line) in [
            ("FROM a\nRUN <<EOT\nls\nEOT\n", Some(2)),
            ("FROM a\nrun cat <<-'E' >x\n", Some(2)),
            ("FROM a\nCOPY <<EOF /x\n", Some(2)),
            ("FROM a\nADD 3<<EOF /x\n", Some(2)),
            ("FROM a\nONBUILD RUN <<EOT\n", Some(2)),
            ("FROM a\nRUN ls && \\\n  # why\n\n  cat <<EOT\n", Some(5)),
            ("# escape=`\nFROM a\nRUN ls `\n <<EOT\n", Some(4)),
            ("FROM a\nRUN ls\n", None),
            ("FROM a\nRUN echo \"<<EOT\" '<<EOT' \\<<EOT\n", None),
            ("FROM a\nRUN cat <<< x\n", None),
            ("FROM a\nRUN echo $((1<<3))\n", None),
            ("FROM a\n# RUN <<EOT\nENV A=<<B\nLABEL <<C\n", None),
            ("FROM a\nENV A=1 \\\n <<EOT\nRUN ls\n", None),
        ] {
            assert_eq!(here_document(text), line, "{text}");
        }
    }
}
