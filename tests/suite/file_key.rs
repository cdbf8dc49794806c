//! The key of the digests of secrets and configs: kept, private, and what a digest tells.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use phoenixd::daemon::FileKey;
use phoenixd::spec::{Content, FileDigest, FileKind, FileMount};

fn file(content: &[u8]) -> FileMount {
    FileMount {
        kind: FileKind::Secret,
        name: "pw".to_owned(),
        target: "/run/secrets/pw".to_owned(),
        mode: 0o444,
        uid: None,
        gid: None,
        content: Content::new(content),
        path: None,
    }
}

/// The key of 32 bytes of 0x0b.
fn fixed() -> FileKey {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("key");
    fs::write(&path, "0b".repeat(32)).unwrap();
    FileKey::read(&path).unwrap().unwrap()
}

#[test]
fn a_key_is_made_once_and_is_for_its_owner_only() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state/shop/files.key");
    assert_eq!(FileKey::read(&path).unwrap(), None, "reading makes nothing");
    assert!(!place.path().join("state").exists());
    // What a process of this number left that was killed.
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let draft = format!("files.key.{}", std::process::id());
    fs::write(path.with_file_name(draft), "half a k").unwrap();

    let key = FileKey::read_or_make(&path).unwrap();
    assert_eq!(FileKey::read_or_make(&path).unwrap(), key);
    assert_eq!(FileKey::read(&path).unwrap(), Some(key.clone()));
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no draft is left"
    );
    assert_eq!(format!("{key:?}"), "FileKey");
    assert_ne!(FileKey::random().unwrap(), key);
}

#[test]
fn a_damaged_key_is_an_error_and_stays() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("files.key");
    for damaged in ["", "\n", "0b0b", "not hexadecimal", &"0b".repeat(33)] {
        fs::write(&path, damaged).unwrap();
        let error = FileKey::read_or_make(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is not 64 hexadecimal digits",
            "{damaged}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}

/// A change of this value replaces every replica that has a secret or a config: it needs a note in the changelog.
///
/// By another implementation: `printf 'phoenixd-file-1\0\0\1\44\0\0\0\0\0\0\0\0\0\0hunter2' | openssl dgst -sha256 -mac HMAC
/// -macopt hexkey:0b0b…`, the first half.
#[test]
fn a_digest_is_the_same_in_every_run_and_release() {
    let digest = fixed().digest(&file(b"hunter2"));
    insta::assert_snapshot!(digest, @"4cc2ea583537ce60ceb505e0230aef0f");
    let path = format!("/run/phoenixd/shop/files/0123456789ab/{digest}");
    assert_eq!(FileDigest::in_path(&path), Some(digest));
}

#[test]
fn a_digest_tells_contents_modes_owners_and_keys_apart_and_nothing_else() {
    let digest = |change: fn(&mut FileMount)| {
        let mut file = file(b"hunter2");
        change(&mut file);
        fixed().digest(&file)
    };
    let plain = digest(|_| {});
    assert_eq!(digest(|file| file.name = "other".to_owned()), plain);
    assert_eq!(digest(|file| file.target = "/other".to_owned()), plain);
    assert_eq!(digest(|file| file.kind = FileKind::Config), plain);
    let all = [
        plain,
        digest(|file| file.content = Content::new(*b"hunter3")),
        digest(|file| file.content = Content::default()),
        digest(|file| file.mode = 0o400),
        digest(|file| file.uid = Some(0)),
        digest(|file| file.gid = Some(0)),
        digest(|file| file.uid = Some(1)),
        FileKey::random().unwrap().digest(&file(b"hunter2")),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
}
