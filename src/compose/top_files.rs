//! Top-level `secrets` and `configs`: where the content of each comes from, and reading it once a phoenix uses it.
//!
//! One that no phoenix uses is neither read nor judged. The content of a `file:` is asked for through
//! [`Files`](super::Files), and is copied: what may be read may be a secret, so that the refusals of mounts do not
//! hold here (`docs/decisions/0018-secrets-and-configs-are-copies.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::bind::{At, Pair};
use super::paths::Paths;
use super::problems::Problems;
use super::{ReadError, suggest};
use crate::spec::{Content, FileKind, Place, Service, ServiceName};

/// Most bytes of one secret or config: twice what a swarm takes of a secret (swarmkit, `MaxSecretSize`, 500 KiB); docker
/// compose has no limit. The copies lie in memory.
const CONTENT_BYTES_MAX: usize = 1 << 20;

/// A secret or a config by its kind and its key.
pub(super) type FileKey = (FileKind, String);

/// A declared secret or config.
#[derive(Debug)]
pub(super) struct FileSpec {
    kind: FileKind,
    key: String,
    origin: Option<Origin>,
}

/// Where a content comes from.
#[derive(Debug)]
enum Origin {
    File(Written),
    Environment(Written),
    Content(Content),
}

/// A text with its place.
#[derive(Debug)]
struct Written {
    text: String,
    place: Place,
    path: String,
}

impl Written {
    fn of(at: &At<'_>, out: &mut Problems) -> Option<Self> {
        let text = at.some_text(out)?;
        Some(Self {
            text,
            place: at.node.place.clone(),
            path: at.path().to_string(),
        })
    }
}

/// Binds one secret or config.
pub(super) fn file(
    kind: FileKind,
    key: &str,
    key_place: &Place,
    at: &At<'_>,
    out: &mut Problems,
) -> FileSpec {
    let mut spec = FileSpec {
        kind,
        key: key.to_owned(),
        origin: None,
    };
    let errors = out.errors();
    let pairs = fields(kind, key, key_place, at, out);
    for pair in &pairs {
        elsewhere(kind, key, pair, out);
    }
    if out.errors() > errors {
        return spec;
    }
    let origins: Vec<&Pair<'_>> = pairs
        .iter()
        .filter(|pair| ["file", "environment", "content"].contains(&pair.key))
        .collect();
    match origins.as_slice() {
        [one] => spec.origin = origin(one, out),
        [] => {
            let ways = match kind {
                FileKind::Secret => "`file: ./path` or `environment: NAME`",
                FileKind::Config => "`file: ./path`, `environment: NAME` or `content: text`",
            };
            let message = format!("the {kind} `{key}` does not say where its content comes from");
            let hint = format!("write {ways}");
            out.error_at(key_place, at.path(), "missing-key", message, hint);
        }
        [first, second, ..] => {
            let (one, two) = (first.key, second.key);
            let message = format!("the {kind} `{key}` has both `{one}` and `{two}`");
            let (place, path) = (second.key_place, second.value.path());
            out.error_at(place, path, "conflict", message, "keep one of the two");
        }
    }
    spec
}

/// The pairs that have a value, as the schema of compose-go 2.9.1 has them: a secret has no `content`, a config no
/// `driver`.
fn fields<'n>(
    kind: FileKind,
    key: &str,
    key_place: &Place,
    at: &At<'n>,
    out: &mut Problems,
) -> Vec<Pair<'n>> {
    const SECRET: [&str; 8] = [
        "name",
        "environment",
        "file",
        "external",
        "labels",
        "driver",
        "driver_opts",
        "template_driver",
    ];
    const CONFIG: [&str; 7] = [
        "name",
        "content",
        "environment",
        "file",
        "external",
        "labels",
        "template_driver",
    ];
    let known: &[&str] = match kind {
        FileKind::Secret => &SECRET,
        FileKind::Config => &CONFIG,
    };
    if kind == FileKind::Secret
        && let Some(content) = at.get("content")
    {
        // At the key: the excerpt of a diagnostic should not have to show the secret itself.
        let message = format!("the secret `{key}` has a `content`, which only a config can have");
        let hint = "put it in a file or a variable, `file: ./path` or `environment: NAME`, or make it a config";
        out.error_at(key_place, content.path(), "unknown-key", message, hint);
        return Vec::new();
    }
    let mut pairs = at.fields(known, out).unwrap_or_default();
    pairs.retain(|pair| !pair.value.is_null());
    pairs
}

/// What only a swarm can do.
fn elsewhere(kind: FileKind, key: &str, pair: &Pair<'_>, out: &mut Problems) {
    let (what, hint) = match pair.key {
        "external" if pair.value.as_map().is_some() || pair.value.boolean(out) == Some(true) => (
            format!(
                "the {kind} `{key}` is external: those are a swarm's, and phoenixd runs on a plain engine"
            ),
            "write `file: ./path` or `environment: NAME` with its content",
        ),
        "driver" | "driver_opts" => (
            format!(
                "the {kind} `{key}` has a `{}`: drivers are plugins of a swarm",
                pair.key
            ),
            "remove it; let the plugin's own tool write a file or a variable, and name that",
        ),
        "template_driver" => (
            format!("the {kind} `{key}` has a `template_driver`: only a swarm fills in templates"),
            "remove it; variables of Compose such as `${NAME}` are replaced in `content`",
        ),
        // A name and labels are those of a swarm's object: there is none to give them to.
        _ => return,
    };
    out.error_at(
        pair.key_place,
        pair.value.path(),
        "not-supported",
        what,
        hint,
    );
}

fn origin(pair: &Pair<'_>, out: &mut Problems) -> Option<Origin> {
    let value = &pair.value;
    match pair.key {
        "content" => value
            .text(out)
            .map(|text| Origin::Content(Content::new(text.as_bytes()))),
        key => {
            let errors = out.errors();
            let Some(written) = Written::of(value, out) else {
                if out.errors() == errors {
                    let message = format!("`{key}` is empty");
                    value.invalid(
                        message,
                        "write the path of a file, or a variable's name",
                        out,
                    );
                }
                return None;
            };
            Some(if key == "file" {
                Origin::File(written)
            } else {
                Origin::Environment(written)
            })
        }
    }
}

/// Reads the content of each that a phoenix uses, and hands it to the services.
pub(super) fn fill<'a>(
    services: &mut BTreeMap<ServiceName, Service>,
    used: impl IntoIterator<Item = &'a FileSpec>,
    paths: &Paths<'_>,
    out: &mut Problems,
) {
    let mut contents: BTreeMap<FileKey, Content> = BTreeMap::new();
    for spec in used {
        if let Some(content) = spec.read(paths, out) {
            contents.insert((spec.kind, spec.key.clone()), content);
        }
    }
    for file in services
        .values_mut()
        .flat_map(|service| &mut service.container.files)
    {
        if let Some(content) = contents.get(&(file.kind, file.name.clone())) {
            file.content = content.clone();
        }
    }
}

impl FileSpec {
    fn read(&self, paths: &Paths<'_>, out: &mut Problems) -> Option<Content> {
        let (content, written) = match self.origin.as_ref()? {
            Origin::Content(content) => (content.clone(), None),
            Origin::File(written) => (self.read_file(written, paths, out)?, Some(written)),
            Origin::Environment(written) => {
                (self.read_variable(written, paths, out)?, Some(written))
            }
        };
        let length = content.bytes().len();
        if length <= CONTENT_BYTES_MAX {
            return Some(content);
        }
        // What stands in the file itself is bounded with it.
        if let Some(written) = written {
            let message = format!(
                "the {} `{}` is larger than {CONTENT_BYTES_MAX} bytes (1 MiB)",
                self.kind, self.key
            );
            let hint =
                "mount it under `volumes`, read-only; secrets and configs are copied into memory";
            out.error_at(&written.place, &written.path, "too-large", message, hint);
        }
        None
    }

    fn read_file(
        &self,
        written: &Written,
        paths: &Paths<'_>,
        out: &mut Problems,
    ) -> Option<Content> {
        let mut error = |problem: &str, hint: &str| {
            let message = format!(
                "`{}`, the {} `{}`, {problem}",
                written.text, self.kind, self.key
            );
            out.error_at(&written.place, &written.path, "unreadable", message, hint);
        };
        let path = match paths.resolve(PathBuf::from(&written.text).as_path()) {
            Ok(path) => path,
            Err(problem) => {
                error(
                    &format!("cannot be resolved: {problem}"),
                    "write the whole path",
                );
                return None;
            }
        };
        match paths.files.read(&path) {
            Ok(bytes) => Some(Content::new(bytes)),
            Err(problem @ ReadError::NotFound) => {
                let hint = format!(
                    "make it, or correct the path; it leads to `{}`",
                    path.display()
                );
                error(&format!("cannot be read: {problem}"), &hint);
                None
            }
            Err(problem @ ReadError::Other(_)) => {
                let hint = "name one file that phoenixd itself may read; mount a directory under `volumes`";
                error(&format!("cannot be read: {problem}"), hint);
                None
            }
        }
    }

    fn read_variable(
        &self,
        written: &Written,
        paths: &Paths<'_>,
        out: &mut Problems,
    ) -> Option<Content> {
        let name = &written.text;
        if let Some(value) = paths.environment.get(name) {
            return Some(Content::new(value.as_bytes()));
        }
        let message = format!(
            "the {} `{}` takes the variable `{name}`, which is not set",
            self.kind, self.key
        );
        let hint = format!("set it where phoenixd runs: `{name}=… phoenixd up`");
        out.error_at(
            &written.place,
            &written.path,
            "unset-variable",
            message,
            hint,
        );
        None
    }
}

/// What to write instead of a key that is not declared.
pub(super) fn undeclared_hint<'k>(
    kind: FileKind,
    key: &str,
    declared: impl Iterator<Item = &'k str>,
) -> String {
    match suggest::nearest(key, declared) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!(
            "declare it at the top level: `{}: {{ {key}: {{ file: ./path }} }}`",
            kind.key()
        ),
    }
}

/// The keys that are declared of one kind.
pub(super) fn keys_of<T>(declared: &BTreeMap<FileKey, T>, kind: FileKind) -> BTreeSet<&str> {
    declared
        .keys()
        .filter(|(one, _)| *one == kind)
        .map(|(_, key)| key.as_str())
        .collect()
}
