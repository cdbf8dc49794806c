//! Names of images, compared as dockerd means them: the default registry, `library/` and `:latest` may be left out.
//!
//! Not here: names of containers (`managed`).

/// The default registry under its two names (distribution/reference v0.6.0, `normalize.go`).
const DEFAULT: [&str; 2] = [
    concat!("docker.io", "/"),
    concat!("index.", "docker.io", "/"),
];

/// A name without what may be left out: repository and tag; `None` as a tag where a digest stands instead.
fn parts(name: &str) -> (&str, Option<&str>) {
    let name = DEFAULT
        .iter()
        .find_map(|registry| name.strip_prefix(registry))
        .unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    if let Some((repository, _)) = name.split_once('@') {
        let repository = split_tag(repository).0;
        return (repository, None);
    }
    let (repository, tag) = split_tag(name);
    (repository, Some(tag.unwrap_or("latest")))
}

/// The tag is what follows a colon of the last component; before it, it is a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let last = name.rfind('/').map_or(0, |at| at + 1);
    match name
        .get(last..)
        .and_then(|component| component.split_once(':'))
    {
        Some((component, tag)) => (
            name.get(..last + component.len()).unwrap_or(name),
            Some(tag),
        ),
        None => (name, None),
    }
}

/// Whether a name, as a request has it, moves or removes what another name means.
pub(super) fn is_same_image(ours: &str, theirs: &str, any_tag: bool) -> bool {
    let (ours, theirs) = (parts(ours), parts(theirs));
    ours.0 == theirs.0 && (any_tag || (ours.1.is_some() && ours.1 == theirs.1))
}

#[cfg(test)]
mod tests {
    use super::is_same_image;

    #[test]
    fn a_name_means_the_same_with_and_without_what_may_be_left_out() {
        for (ours, theirs) in [
            ("web", "web:latest"),
            ("web:1", concat!("docker.io", "/library/web:1")),
            ("host:5000/a/web", "host:5000/a/web:latest"),
        ] {
            assert!(is_same_image(ours, theirs, false), "{ours} {theirs}");
            assert!(is_same_image(theirs, ours, false), "{ours} {theirs}");
        }
        for (ours, theirs) in [
            ("web:1", "web:2"),
            ("web", "a/web"),
            ("web:1", "web:1@sha256:00"),
            ("host:5000/web", "host/web"),
        ] {
            assert!(!is_same_image(ours, theirs, false), "{ours} {theirs}");
        }
        assert!(is_same_image("web:1", "web", true));
    }
}
