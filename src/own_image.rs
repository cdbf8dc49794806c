//! Makes an image out of this static binary, in the format of `docker load`: nothing is downloaded.
//!
//! The archive has three members (`moby/docker-image-spec`, `v1.2.md`, *Combined Image JSON + Filesystem Changeset
//! Format*): `manifest.json`, the image's configuration, named by its hash, and one uncompressed layer. The same binary
//! gives the same image: times are zero, owners are root, keys are sorted.
//!
//! The binary is read twice and never held: once for the layer's hash, which the configuration needs, once for the
//! archive. The file stays open in between, so that both are of the same one even if its path is replaced.
//!
//! Not here: what it is for (`demo`, `daemon`), and sending it to an engine (`docker`).

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::spec::{ImageId, ImageRef, ProjectName};

/// The label that says what an image is for.
pub const LABEL: &str = "phoenixd.image";

/// What an image is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Purpose {
    /// Its name; the tag is the start of its id, and whose it is.
    pub name: &'static str,
    /// The value of its label.
    pub label: &'static str,
    /// The program's first argument, where it always has the same one.
    pub argument: Option<&'static str>,
    /// The port that it listens on.
    pub port: Option<u16>,
}

/// The binary's architecture by Go's name, which images use.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else {
    "unknown"
};
/// Where the program is in the image.
const PROGRAM: &str = "phoenixd";
/// Everything in a tar archive is a multiple of this.
const BLOCK_BYTES: u64 = 512;
/// Two empty blocks end a tar archive.
const TRAILER_BYTES: u64 = 2 * BLOCK_BYTES;
/// So many digits of its id are in an image's tag.
const TAG_DIGITS: usize = 12;
/// A tag has at most 128 characters (`distribution/reference`, v0.6.0): a longer project's name is in it by its hash.
const PROJECT_LENGTH_MAX: usize = 100;
/// Of one read while hashing.
const BUFFER_BYTES: usize = 64 << 10;

/// An image, ready to be loaded.
#[derive(Debug)]
pub struct Archive {
    /// The name, `:`, the first twelve digits of the id, and the project where it is one project's.
    pub reference: ImageRef,
    /// Its id on an engine that names images by their configuration: all but those with the containerd image store.
    /// What holds everywhere is the reference.
    pub id: ImageId,
    /// The archive's length in bytes.
    pub length: u64,
    /// Everything before the binary.
    head: Vec<u8>,
    binary: File,
    binary_length: u64,
    /// The blocks' padding and the trailers after the binary.
    tail_length: u64,
}

/// Why no image can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The binary.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The archive's own parts cannot be put together; this would be a bug.
    #[error("the image's archive cannot be written")]
    Write(#[source] io::Error),
}

/// Makes an image of a static binary for this machine's architecture. With a project its name is that project's alone, so
/// that nobody else's `down` takes it away: the engine keeps an image until its last name is removed.
///
/// # Errors
/// The binary cannot be read.
pub fn archive(
    binary: &Path,
    purpose: Purpose,
    project: Option<&ProjectName>,
) -> Result<Archive, Error> {
    let failed = |source| Error::Read {
        path: binary.to_owned(),
        source,
    };
    let mut file = File::open(binary).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let program = header(PROGRAM, length, 0o555).map_err(Error::Write)?;
    let after_program = padding(length) + TRAILER_BYTES;
    let layer_length = BLOCK_BYTES + length + after_program;

    let layer = program
        .as_bytes()
        .chain(file.by_ref().take(length))
        .chain(io::repeat(0).take(after_program));
    let diff_id = hash(layer, layer_length).map_err(failed)?;
    file.rewind().map_err(failed)?;

    let config = config(&diff_id, purpose);
    let id = hex::encode(Sha256::digest(&config));
    let of_project = project.map(|project| format!("-{}", short(project)));
    let reference = format!(
        "{}:{}{}",
        purpose.name,
        id.get(..TAG_DIGITS).unwrap_or(&id),
        of_project.unwrap_or_default()
    );
    let layer_path = format!("{diff_id}.tar");
    let manifest = json!([{
        "Config": format!("{id}.json"),
        "RepoTags": [&reference],
        "Layers": [&layer_path],
    }]);

    let mut head = Vec::new();
    for (path, content) in [
        ("manifest.json", manifest.to_string()),
        (&*format!("{id}.json"), config),
    ] {
        let content_length = content.len() as u64;
        let member = header(path, content_length, 0o444).map_err(Error::Write)?;
        head.extend_from_slice(member.as_bytes());
        head.extend_from_slice(content.as_bytes());
        head.resize(head.len().next_multiple_of(program.as_bytes().len()), 0);
    }
    let member = header(&layer_path, layer_length, 0o444).map_err(Error::Write)?;
    head.extend_from_slice(member.as_bytes());
    head.extend_from_slice(program.as_bytes());

    // A layer is a whole number of blocks: no padding between it and the archive's own trailer.
    let tail_length = after_program + TRAILER_BYTES;
    Ok(Archive {
        reference: ImageRef::new(reference),
        id: ImageId::new(format!("sha256:{id}")),
        length: head.len() as u64 + length + tail_length,
        head,
        binary: file,
        binary_length: length,
        tail_length,
    })
}

/// Whether an image's name is that of an image of this purpose and project, made of whichever binary.
pub fn is_of(reference: &ImageRef, purpose: Purpose, project: &ProjectName) -> bool {
    let tag = reference.as_str().strip_prefix(purpose.name);
    let tag = tag.and_then(|rest| rest.strip_prefix(':'));
    let parts = tag.and_then(|tag| tag.split_once('-'));
    parts.is_some_and(|(id, of)| id.len() == TAG_DIGITS && of == short(project))
}

/// A project's name as a part of a tag.
fn short(project: &ProjectName) -> String {
    let name = project.as_str();
    if name.len() <= PROJECT_LENGTH_MAX {
        return name.to_owned();
    }
    hex::encode(Sha256::digest(name))
}

impl Archive {
    /// The archive's bytes, [`Archive::length`] of them, read from the binary as they are asked for. Reading blocks.
    ///
    /// A binary that has become shorter since gives a shorter archive, which an engine refuses.
    pub fn into_reader(self) -> impl Read + Send + 'static {
        Cursor::new(self.head)
            .chain(self.binary.take(self.binary_length))
            .chain(io::repeat(0).take(self.tail_length))
    }
}

fn header(path: &str, length: u64, mode: u32) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_size(length);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK_BYTES) - length
}

/// The hash of a reader that must give `length` bytes.
fn hash(mut reader: impl Read, length: u64) -> io::Result<String> {
    let mut sha = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        sha.update(buffer.get(..count).unwrap_or_default());
    }
    if total != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(hex::encode(sha.finalize()))
}

/// The image's configuration (`v1.2.md`, *Image JSON Description*).
fn config(diff_id: &str, purpose: Purpose) -> String {
    let program = std::iter::once(format!("/{PROGRAM}"));
    let entrypoint: Vec<String> = program.chain(purpose.argument.map(str::to_owned)).collect();
    let ports = purpose.port.map(|port| (format!("{port}/tcp"), json!({})));
    let ports: serde_json::Map<String, serde_json::Value> = ports.into_iter().collect();
    json!({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": entrypoint,
            "User": "65534:65534",
            "ExposedPorts": ports,
            "WorkingDir": "/",
            "Labels": { LABEL: purpose.label },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": format!("phoenixd {}", purpose.label) }],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const DEMO: Purpose = Purpose {
        name: "phoenixd-demo",
        label: "demo",
        argument: Some("demo-app"),
        port: Some(8080),
    };

    fn read(binary: &Path) -> (Archive, Vec<u8>) {
        let mut bytes = Vec::new();
        archive(binary, DEMO, None)
            .unwrap()
            .into_reader()
            .read_to_end(&mut bytes)
            .unwrap();
        (archive(binary, DEMO, None).unwrap(), bytes)
    }

    fn binary(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn an_archive_holds_what_it_says() {
        for length in [0, 1, 511, 512, 513, 100_000] {
            let content = vec![7; length];
            let file = binary(&content);
            let (archive, bytes) = read(file.path());
            assert_eq!(archive.length, bytes.len() as u64, "{length}");
            let mut members = Vec::new();
            for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                members.push((path, content));
            }
            let [(_, manifest), (config_path, config), (layer_path, layer)] = members.as_slice()
            else {
                unreachable!("three members: {members:?}");
            };
            let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
            assert_eq!(manifest[0]["Config"], **config_path);
            assert_eq!(manifest[0]["Layers"][0], **layer_path);
            assert_eq!(manifest[0]["RepoTags"][0], archive.reference.as_str());
            let id = hex::encode(Sha256::digest(config));
            assert_eq!(archive.id.as_str(), format!("sha256:{id}"));
            let config: serde_json::Value = serde_json::from_slice(config).unwrap();
            let diff_id = hex::encode(Sha256::digest(layer));
            assert_eq!(
                config["rootfs"]["diff_ids"][0],
                format!("sha256:{diff_id}").as_str()
            );
            let mut layer = tar::Archive::new(layer.as_slice());
            let mut entries = layer.entries().unwrap();
            let mut program = entries.next().unwrap().unwrap();
            assert_eq!(program.path().unwrap(), Path::new("phoenixd"));
            assert_eq!(program.header().mode().unwrap(), 0o555);
            let mut found = Vec::new();
            program.read_to_end(&mut found).unwrap();
            assert_eq!(found, content);
            assert!(entries.next().is_none());
        }
    }

    #[test]
    fn the_same_binary_gives_the_same_image_and_another_one_does_not() {
        let (one, bytes) = read(binary(b"phoenix").path());
        let (two, same) = read(binary(b"phoenix").path());
        assert_eq!((&one.id, &bytes), (&two.id, &same));
        let (other, _) = read(binary(b"phoenixes").path());
        assert_ne!(one.id, other.id);
        assert_ne!(one.reference, other.reference);
    }

    #[test]
    fn an_image_of_a_project_has_a_name_that_no_other_project_s_down_removes() {
        let file = binary(b"phoenix");
        let long = "a".repeat(200);
        for name in ["a", "b-a", "a-b", &long] {
            let project = ProjectName::new(name);
            let made = archive(file.path(), DEMO, Some(&project)).unwrap();
            assert!(is_of(&made.reference, DEMO, &project), "{}", made.reference);
            assert!(made.reference.as_str().len() < 128, "{}", made.reference);
            for other in ["a", "b-a", "a-b", "b", &long] {
                let is_its_own = is_of(&made.reference, DEMO, &ProjectName::new(other));
                assert_eq!(is_its_own, other == name, "{} of {other}", made.reference);
            }
        }
        let of_nobody = archive(file.path(), DEMO, None).unwrap().reference;
        assert!(!is_of(&of_nobody, DEMO, &ProjectName::new("a")));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = archive(Path::new("/nowhere/phoenixd"), DEMO, None).unwrap_err();
        assert_eq!(error.to_string(), "`/nowhere/phoenixd` cannot be read");
    }
}
