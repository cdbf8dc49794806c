//! Whether a text can name an image: `[registry[:port]/]path[:tag][@algorithm:digest]` (distribution/reference v0.6,
//! `reference.go`), so that a slip of the pen is found with its place and not by the engine.

/// Why it cannot; `None` when it can.
pub(super) fn image_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.contains(char::is_whitespace) {
        return Some("it contains a space");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("what follows `@` is not a digest");
    }
    // An image's id.
    if digest.is_none() && is_digest(text) {
        return None;
    }
    let last_slash = name.rfind('/').map_or(0, |at| at + 1);
    let last = name.get(last_slash..).unwrap_or_default();
    let (path, tag) = match last.find(':') {
        Some(colon) => {
            let (path, tag) = name.split_at(last_slash + colon);
            (path, tag.strip_prefix(':'))
        }
        None => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("what follows the last `:` is not a tag");
    }
    path_problem(path)
}

fn path_problem(path: &str) -> Option<&'static str> {
    let path = match path.split_once('/') {
        Some((registry, rest)) if is_registry(registry) => {
            let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
            if !registry.chars().all(is_host) {
                return Some("the registry's name is malformed");
            }
            rest
        }
        _ => path,
    };
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return Some("a repository's name is lower case");
    }
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    if path.split('/').all(is_part) {
        None
    } else {
        Some("its name is malformed")
    }
}

/// Docker takes the first part for a registry when it can be no directory of Docker Hub.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(|c| c.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128))
            && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    })
}

#[cfg(test)]
mod tests {
    use super::image_problem;

    #[test]
    fn what_names_an_image_is_accepted_and_what_does_not_is_explained() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for image in [
            "nginx",
            "nginx:1.29",
            "library/nginx:latest",
            "ghcr.io/acme/web:1.4",
            "localhost:5000/web",
            "registry.example:5000/a/b_c.d-e:V1.0_x",
            digest.as_str(),
            &format!("nginx:1.29@{digest}"),
            &format!("ghcr.io/acme/web@{digest}"),
        ] {
            assert_eq!(image_problem(image), None, "{image}");
        }
        for image in [
            "",
            "ngi nx",
            "Nginx",
            "nginx:",
            "nginx:a b",
            "nginx@sha256:12",
            "/nginx",
            "a//b",
            "nginx:-x",
            "https://nginx",
            "a/b:c:d",
            "-a",
        ] {
            assert!(image_problem(image).is_some(), "{image}");
        }
    }
}
