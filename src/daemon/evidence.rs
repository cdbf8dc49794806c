//! What a tainted replica looked like, kept for people: a directory for each capture, under `STATE/PROJECT/evidence`, with
//! the engine's answers and the digests of all of them. A capture that was written whole is not done again.
//!
//! What stands in it is hostile, and secret: a container's variables are in it. Nobody but the owner reads it (0700, 0600).
//! Not here: what `/proc` tells, and how long it is kept.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::docker::{Engine, Part};
use crate::spec::{ContainerId, ReplicaName};

/// For the whole capture: a frozen replica is to be gone soon.
const LIMIT: Duration = Duration::from_secs(30);
/// The most that is kept of one part, in bytes.
const PART_BYTES: usize = 16 << 20;
/// The last file that is written: with it the capture is whole.
const MANIFEST: &str = "manifest.json";

/// A capture that is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Evidence {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// SHA-256 of its manifest, in hexadecimal digits: that one has the digests of all others.
    pub(super) digest: String,
    /// What could not be had, and why.
    pub(super) missing: Vec<String>,
}

/// Captures what there is to see of a container, and writes it down.
///
/// # Errors
/// In words: why there is no evidence, or none that is whole. Gives up in bounded time.
pub(super) async fn capture<E: Engine>(
    engine: &E,
    evidence: PathBuf,
    replica: ReplicaName,
    id: ContainerId,
) -> Result<Evidence, String> {
    let captured = tokio::time::timeout(LIMIT, async {
        let parts = engine.evidence(&id).await;
        let written = tokio::task::spawn_blocking(move || write(&evidence, &replica, &id, parts));
        written.await.map_err(|error| error.to_string())?
    });
    let limit = humantime::format_duration(LIMIT);
    captured
        .await
        .unwrap_or_else(|_| Err(format!("the evidence could not be captured within {limit}")))
}

fn write(
    evidence: &Path,
    replica: &ReplicaName,
    id: &ContainerId,
    parts: Vec<Part>,
) -> Result<Evidence, String> {
    if let Some(earlier) = earlier(evidence, replica, id) {
        return Ok(earlier);
    }
    if parts.iter().all(|part| part.content.is_err()) {
        let why = parts.into_iter().find_map(|part| part.content.err());
        return Err(why.unwrap_or_else(|| "there is nothing to see".to_owned()));
    }
    let time = clock::wall_now().strftime("%Y%m%dT%H%M%S%3fZ");
    let directory = evidence.join(format!("{replica}-{time}"));
    let told = |error: io::Error| format!("cannot write {}: {error}", directory.display());
    write_all(&directory, replica, id, parts).map_err(told)
}

fn write_all(
    directory: &Path,
    replica: &ReplicaName,
    id: &ContainerId,
    parts: Vec<Part>,
) -> io::Result<Evidence> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let mut files = Vec::new();
    let mut missing = Vec::new();
    for Part { name, content } in parts {
        match content {
            Ok(mut bytes) => {
                let whole = bytes.len();
                bytes.truncate(PART_BYTES);
                put(&directory.join(name), &bytes)?;
                files.push(json!({ "name": name, "bytes": whole, "sha256": digest(&bytes) }));
                if whole > PART_BYTES {
                    missing.push(format!("{name}: cut after {PART_BYTES} bytes"));
                }
            }
            Err(why) => missing.push(format!("{name}: {why}")),
        }
    }
    let manifest = json!({
        "version": 1,
        "replica": replica.to_string(),
        "container": id.as_str(),
        "captured_at": clock::wall_now().to_string(),
        "files": files,
        "missing": missing,
    });
    let text = format!("{manifest:#}\n");
    put(&directory.join(MANIFEST), text.as_bytes())?;
    // The names are durable, too, before anything is removed.
    File::open(directory)?.sync_all()?;
    if let Some(parent) = directory.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(Evidence {
        directory: directory.to_owned(),
        digest: digest(text.as_bytes()),
        missing,
    })
}

/// The whole capture of this container that an earlier supervisor wrote.
fn earlier(evidence: &Path, replica: &ReplicaName, id: &ContainerId) -> Option<Evidence> {
    let prefix = format!("{replica}-");
    fs::read_dir(evidence).ok()?.flatten().find_map(|entry| {
        let is_of_it = entry.file_name().to_string_lossy().starts_with(&prefix);
        let text = is_of_it.then(|| fs::read(entry.path().join(MANIFEST)).ok())??;
        let manifest: Value = serde_json::from_slice(&text).ok()?;
        let missing = manifest.get("missing")?.as_array()?;
        (manifest.get("container")?.as_str()? == id.as_str()).then(|| Evidence {
            directory: entry.path(),
            digest: digest(&text),
            missing: missing
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    })
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Serial, ServiceName};
    use std::os::unix::fs::PermissionsExt;

    fn parts() -> Vec<Part> {
        vec![
            Part {
                name: "inspect.json",
                content: Ok(b"{}".to_vec()),
            },
            Part {
                name: "top.json",
                content: Err("it does not run".to_owned()),
            },
        ]
    }

    #[test]
    fn evidence_is_for_its_owner_alone_and_is_not_captured_twice() {
        let root = tempfile::tempdir().unwrap();
        let evidence = root.path().join("p/evidence");
        let replica = ReplicaName::new(ServiceName::new("web"), Serial(3));
        let id = ContainerId::new("a".repeat(64));
        let first = write(&evidence, &replica, &id, parts()).unwrap();
        assert_eq!(first.missing, ["top.json: it does not run"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&first.directory), 0o700);
        for file in fs::read_dir(&first.directory).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
        let manifest = fs::read(first.directory.join(MANIFEST)).unwrap();
        assert_eq!(first.digest, digest(&manifest));

        assert_eq!(write(&evidence, &replica, &id, parts()).unwrap(), first);
        let other = ContainerId::new("b".repeat(64));
        let second = write(&evidence, &replica, &other, parts()).unwrap();
        assert_ne!(second.directory, first.directory);
        let nothing = vec![Part {
            name: "inspect.json",
            content: Err("gone".to_owned()),
        }];
        let third = ContainerId::new("c".repeat(64));
        assert_eq!(
            write(&evidence, &replica, &third, nothing),
            Err("gone".to_owned())
        );
    }
}
