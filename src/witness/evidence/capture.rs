//! Writes a capture: everything below a name that says that it is not whole, on the disk, then renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::budget::Budget;
use super::files::{self, Brought};
use super::host;
use super::redact::Secrets;
use super::retain::{self, PARTIAL, Retention};
use crate::clock;
use crate::spec::{ContainerId, ReplicaName};

/// The most that is kept of one piece, in bytes.
const PIECE_BYTES: usize = 16 << 20;
/// The last file that is written: it has the digests of all others.
const MANIFEST: &str = "manifest.json";

/// What a capture is about.
#[derive(Clone, Debug)]
pub struct Request {
    /// `STATE/PROJECT/evidence`.
    pub directory: PathBuf,
    /// Whose evidence.
    pub replica: ReplicaName,
    /// Its container.
    pub id: ContainerId,
    /// `/proc`, where that is the engine host's.
    pub proc_root: Option<PathBuf>,
    /// The container's writable layer, where it can be looked at.
    pub upper: Option<PathBuf>,
    /// Blotted out of everything that is kept.
    pub secrets: Secrets,
    /// How much is kept besides.
    pub retention: Retention,
    /// How long looking at the host may take.
    pub limit: Duration,
}

/// A piece of evidence that the caller has: an answer of the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The name of its file: `inspect.json`. One that ends with `.json` is read as that.
    pub name: &'static str,
    /// Its content, or why there is none.
    pub content: Result<Vec<u8>, String>,
}

/// A capture that is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Its directory.
    pub directory: PathBuf,
    /// SHA-256 of its manifest, in hexadecimal digits.
    pub digest: String,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// Captures what there is to see of a container, and writes it down; one that was captured whole is not captured again.
/// Blocks: run it where that is allowed.
///
/// # Errors
/// Nothing was written that is whole: the disk is full, or the directory cannot be used.
pub fn capture(request: &Request, pieces: Vec<Piece>) -> io::Result<Captured> {
    create(&request.directory)?;
    if let Some(earlier) = earlier(request) {
        return Ok(earlier);
    }
    let time = clock::wall_now().strftime("%Y%m%dT%H%M%S%3fZ");
    let name = format!("{}-{time}", request.replica);
    let whole = request.directory.join(&name);
    // Others may be written at the same time: nobody touches what is not his own.
    let partial = request.directory.join(name + PARTIAL);
    let written = write(request, pieces, &partial).and_then(|written| {
        fs::rename(&partial, &whole)?;
        Ok(written)
    });
    let (digest, missing) = written.inspect_err(|_| {
        // On a full disk what is half written takes the space of what is to be recorded. What cannot be removed here the
        // next start removes.
        fs::remove_dir_all(&partial).unwrap_or_default();
    })?;
    File::open(&request.directory)?.sync_all()?;
    // What is too much is tried again with the next capture; this one is there.
    retain::keep(&request.directory, &request.retention, &whole).unwrap_or_default();
    Ok(Captured {
        directory: whole,
        digest,
        missing,
    })
}

/// The digest of the manifest, and what is missing.
fn write(
    request: &Request,
    pieces: Vec<Piece>,
    partial: &Path,
) -> io::Result<(String, Vec<String>)> {
    let mut folder = Folder::new(partial.to_owned(), &request.secrets)?;
    for piece in pieces {
        folder.piece(piece)?;
    }
    look_at_host(request, &mut folder)?;
    folder.finish(request)
}

fn look_at_host(request: &Request, folder: &mut Folder<'_>) -> io::Result<()> {
    let Some(proc_root) = &request.proc_root else {
        folder
            .missing
            .push("processes.json: the engine's host is another one".to_owned());
        return Ok(());
    };
    let mut budget = Budget::new(request.limit);
    let upper = request.upper.as_deref();
    let seen = host::look(proc_root, &request.id, upper, &mut budget);
    if seen.processes.is_empty() {
        folder
            .missing
            .push("processes.json: it has no process".to_owned());
    }
    let mut brought = Vec::new();
    for tmpfs in &seen.tmpfs {
        let pid = seen.processes.first().and_then(|first| first.get("pid"));
        let root = proc_root.join(pid.map(ToString::to_string).unwrap_or_default());
        brought.extend(files::inside(&root.join("root"), tmpfs, &mut budget));
    }
    if let Some(upper) = upper {
        brought.extend(files::below(upper, "", &mut budget));
    }
    let processes = serde_json::to_vec(&seen.processes).unwrap_or_default();
    folder.piece(Piece {
        name: "processes.json",
        content: Ok(processes),
    })?;
    for (name, table) in seen.sockets {
        folder.put(&format!("sockets-{name}.txt"), table, &Value::Null)?;
    }
    for (pid, path, program) in seen.programs {
        let about = json!({ "pid": pid, "path": path });
        folder.put(&format!("program-{pid}"), program, &about)?;
    }
    for (number, file) in brought.into_iter().enumerate() {
        folder.brought(number, file)?;
    }
    if budget.file().is_none() {
        folder
            .missing
            .push("files: the rest, beyond what is kept of one capture".to_owned());
    }
    Ok(())
}

/// The directory of a capture that is being written.
struct Folder<'a> {
    path: PathBuf,
    secrets: &'a Secrets,
    files: Vec<Value>,
    missing: Vec<String>,
}

impl<'a> Folder<'a> {
    fn new(path: PathBuf, secrets: &'a Secrets) -> io::Result<Self> {
        create(&path)?;
        Ok(Self {
            path,
            secrets,
            files: Vec::new(),
            missing: Vec::new(),
        })
    }

    fn piece(&mut self, piece: Piece) -> io::Result<()> {
        let Piece { name, content } = piece;
        match content {
            Err(why) => self.missing.push(format!("{name}: {why}")),
            Ok(bytes) if is_json(name) => {
                let bytes = self.secrets.blot_json(bytes);
                self.write(name, bytes, &Value::Null)?;
            }
            Ok(bytes) => self.put(name, bytes, &Value::Null)?,
        }
        Ok(())
    }

    fn brought(&mut self, number: usize, file: Brought) -> io::Result<()> {
        let kept = file.content.as_ref().map_or(0, Vec::len);
        let about = json!({
            "path": file.path, "kind": file.kind, "mode": format!("{:o}", file.mode), "uid": file.uid,
            "whole_bytes": file.bytes, "cut": u64::try_from(kept).unwrap_or_default() < file.bytes,
        });
        if let Some(content) = file.content {
            return self.put(&format!("file-{number}"), content, &about);
        }
        self.files.push(json!({ "about": about }));
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: Vec<u8>, about: &Value) -> io::Result<()> {
        let bytes = self.secrets.blot(bytes);
        self.write(name, bytes, about)
    }

    fn write(&mut self, name: &str, mut bytes: Vec<u8>, about: &Value) -> io::Result<()> {
        if bytes.len() > PIECE_BYTES {
            bytes.truncate(PIECE_BYTES);
            self.missing
                .push(format!("{name}: what is beyond {PIECE_BYTES} bytes"));
        }
        durable(&self.path.join(name), &bytes)?;
        self.files.push(json!({
            "name": name, "bytes": bytes.len(), "sha256": digest(&bytes), "about": about,
        }));
        Ok(())
    }

    fn finish(self, request: &Request) -> io::Result<(String, Vec<String>)> {
        let manifest = json!({
            "version": 1,
            "replica": request.replica.to_string(),
            "container": request.id.as_str(),
            "captured_at": clock::wall_now().to_string(),
            "files": self.files,
            "missing": self.missing,
        });
        let text = self.secrets.blot(format!("{manifest:#}\n").into_bytes());
        durable(&self.path.join(MANIFEST), &text)?;
        File::open(&self.path)?.sync_all()?;
        Ok((digest(&text), self.missing))
    }
}

fn is_json(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|kind| kind == "json")
}

fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

/// The whole capture of this container that was written before.
fn earlier(request: &Request) -> Option<Captured> {
    let entries = fs::read_dir(&request.directory).ok()?.flatten();
    let prefix = format!("{}-", request.replica);
    entries
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && !name.ends_with(PARTIAL)
        })
        .find_map(|entry| {
            let text = fs::read(entry.path().join(MANIFEST)).ok()?;
            let manifest: Value = serde_json::from_slice(&text).ok()?;
            let missing = manifest.get("missing")?.as_array()?.iter();
            (manifest.get("container")?.as_str()? == request.id.as_str()).then(|| Captured {
                directory: entry.path(),
                digest: digest(&text),
                missing: missing
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            })
        })
}
