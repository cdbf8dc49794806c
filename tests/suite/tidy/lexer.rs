//! As much of Rust as is needed to tell code from what stands in comments and quotes.

/// Rust without comments and without what stands in quotes: what is left is code. Lines keep their numbers.
pub(super) fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            body + rest[body..].find(&end).map_or(0, |at| at + end.len())
        } else if next == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|c| *c == '\n'));
        rest = &rest[skip..];
    }
    out
}

/// The number of `#` of a raw string that begins here.
pub(super) fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

pub(super) fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// The length of a character in quotes, if one begins here and not a lifetime.
pub(super) fn character(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('\'')?;
    let body = tail.strip_prefix('\\').map_or_else(
        || tail.chars().next().map(char::len_utf8),
        |escape| Some(1 + escape.find('\'').filter(|at| *at > 0).unwrap_or(1)),
    )?;
    tail[body..].starts_with('\'').then_some(body + 2)
}

/// Whether a word stands in code on its own.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(is_part)
            && !code[at + word.len()..].chars().next().is_some_and(is_part)
    })
}
