//! "Did you mean": the nearest of the known words.

/// The nearest known word, if it is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate, limit), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// More than these nobody reads in a message.
const LISTED_MAX: usize = 16;

/// "did you mean `x`?", or the list of what is known.
pub(super) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.len() > LISTED_MAX => {
            format!("remove it, or call it `x-{word}` if another tool reads it")
        }
        None => format!("known here: {}", list(known)),
    }
}

/// `` `a`, `b` and `c` ``
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// How many letters are to be put in, left out, exchanged or swapped with their neighbour; more than `limit` is said
/// early for words of very different length. `-` and `_` are one letter here: Compose has both kinds of names.
fn distance(one: &str, other: &str, limit: usize) -> usize {
    let fold = |c: char| {
        if c == '-' {
            '_'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let other: Vec<char> = other.chars().map(fold).collect();
    let one: Vec<char> = one.chars().map(fold).collect();
    if one.len().abs_diff(other.len()) > limit {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut other_last = None;
        for (column, wanted) in other.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let mut best = at(&above, column) + usize::from(letter != wanted);
            best = best
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            if last == Some(*wanted) && other_last == Some(*letter) && column > 0 {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
            other_last = Some(*wanted);
        }
        before = std::mem::replace(&mut above, current);
        last = Some(*letter);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_misspelt_word_is_found_and_a_different_one_is_not() {
        let known = [
            "image",
            "volumes",
            "networks",
            "network_mode",
            "tmpfs",
            "ttl",
        ];
        for (word, meant) in [
            ("imgae", Some("image")),
            ("volume", Some("volumes")),
            ("network-mode", Some("network_mode")),
            ("Image", Some("image")),
            ("tll", Some("ttl")),
            ("restart", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_swap_counts_once() {
        assert_eq!(distance("imgae", "image", 3), 1);
        assert_eq!(distance("ab", "ba", 3), 1);
        assert_eq!(distance("abc", "abc", 3), 0);
        assert_eq!(distance("kitten", "sitting", 3), 3);
    }
}
