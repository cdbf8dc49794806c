//! Who can read a secret or config, as far as numbers tell: a warning where the service's own user cannot.

use phoenixd::spec::{FindingKind, ImageFacts, ImageId, resolve};

use super::service;

/// What is warned of, with a user in the file and in the image.
fn warned(user: &str, image_user: &str, file: &str) -> Vec<String> {
    let text = format!(
        "services: {{ web: {{ image: web, user: \"{user}\", group_add: [\"7\"], secrets: [{{ source: pw, {file} }}], \
         x-phoenix: {{ allow: [root], probe: none }} }} }}\nsecrets: {{ pw: {{ file: pw.txt }} }}\n"
    );
    let image = ImageFacts {
        id: ImageId::new("sha256:0"),
        user: image_user.to_owned(),
        exposed_tcp: [].into(),
        has_healthcheck: false,
        has_command: true,
        volumes: Vec::new(),
    };
    let (resolved, diagnostics) = resolve(&service(&text), &image);
    let findings = resolved.unwrap().findings;
    let named = findings.iter().filter(|finding| {
        finding
            .text
            .starts_with("secret pw at /run/secrets/pw, mode ")
    });
    let kinds: Vec<FindingKind> = named.map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Hardened], "{findings:?}");
    diagnostics.into_iter().map(|one| one.message).collect()
}

#[test]
fn a_secret_that_its_service_s_user_cannot_read_is_warned_of() {
    assert_eq!(
        warned("1000:1000", "", "mode: 0400"),
        ["`web` runs as user 1000, who cannot read the secret `pw` (mode 0400, owner 0:0)"]
    );
    for (user, image_user, file) in [
        ("", "1000", "mode: 0600, uid: \"1001\""),
        ("1000:1000", "", "mode: 0440, gid: \"8\""),
        ("1000:1000", "", "mode: 0040, uid: \"1000\""),
        ("1000:1000", "", "mode: 0"),
        // Without capabilities root is nobody special.
        ("0:0", "", "mode: 0400, uid: \"1000\""),
    ] {
        let found = warned(user, image_user, file);
        assert_eq!(found.len(), 1, "{user}{image_user} {file}: {found:?}");
    }
}

#[test]
fn a_secret_that_its_service_s_user_can_or_may_read_is_not_warned_of() {
    for (user, image_user, file) in [
        ("1000:1000", "", "mode: 0444"),
        ("1000:1000", "", "mode: 0400, uid: \"1000\""),
        ("1000:1000", "", "mode: 0440, gid: \"1000\""),
        ("1000:1000", "", "mode: 0440, gid: \"7\""),
        ("", "1000:1000", "mode: 0400, uid: \"1000\""),
        ("0:0", "", "mode: 0400"),
        // What a name or a missing group stands for is in the image's own files.
        ("www-data", "", "mode: 0400"),
        ("1000", "", "mode: 0040"),
        ("1000:www-data", "", "mode: 0040"),
    ] {
        let found = warned(user, image_user, file);
        assert!(found.is_empty(), "{user}{image_user} {file}: {found:?}");
    }
}
