//! One loading: which files were read, how much they may become, and the way of one file through the steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::canonical::{canonical, clean};
use super::extends::Extended;
use super::paths::Base;
use super::reset::{self, KeyPath};
use super::{merge, normal, paths, unique};
use crate::compose::bind::At;
use crate::compose::interpolate::interpolate;
use crate::compose::problems::Problems;
use crate::compose::tree::Node;
use crate::compose::yaml::{FILE_BYTES_MAX, NODES_MAX, TEXT_BYTES_MAX};
use crate::compose::{Files, ReadError, SourceFile, model, yaml};
use crate::spec::Place;

/// Most files that one project may be made of. The largest that people publish have some dozens.
const FILES_MAX: usize = 500;
/// Most nodes that all merges together may make: a chain of `extends` can make much of little.
const MERGED_NODES_MAX: usize = 10 * NODES_MAX;

/// Where a file stands among the others.
#[derive(Clone, Debug)]
pub(super) struct Scope<'s> {
    /// Where its relative paths begin, absolute.
    pub(super) dir: PathBuf,
    /// The same for messages.
    pub(super) shown: PathBuf,
    /// Its variables.
    pub(super) environment: &'s BTreeMap<String, String>,
    /// The files that include it, the outermost first.
    pub(super) included: Vec<PathBuf>,
}

impl Scope<'_> {
    /// Where relative paths begin.
    pub(super) fn base(&self) -> Base<'_> {
        Base {
            dir: &self.dir,
            home: self.environment.get("HOME").map(String::as_str),
        }
    }
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    /// Absolute.
    pub(super) path: PathBuf,
    /// As it is shown in messages.
    pub(super) shown: Arc<PathBuf>,
    /// What is in it.
    pub(super) documents: Vec<Arc<Node>>,
}

/// A value that names a file, and the keys that lead to it.
#[derive(Clone, Copy)]
pub(super) struct Named<'n> {
    pub(super) node: &'n Node,
    pub(super) path: &'n str,
}

/// One loading.
pub(super) struct Session<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) out: &'a mut Problems,
    texts: &'a mut Vec<SourceFile>,
    /// Files that are extended, by their path and the variables they were read with.
    pub(super) extended: BTreeMap<(PathBuf, usize), Option<Rc<Extended>>>,
    reads: usize,
    merged: usize,
    is_too_large: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        files: &'a dyn Files,
        texts: &'a mut Vec<SourceFile>,
        out: &'a mut Problems,
    ) -> Self {
        Self {
            files,
            out,
            texts,
            extended: BTreeMap::new(),
            reads: 0,
            merged: 0,
            is_too_large: false,
        }
    }

    /// Several files as one, with defaults and absolute paths.
    pub(super) fn model(&mut self, scope: &Scope<'_>, sources: &[Source]) -> Option<Arc<Node>> {
        let mut whole: Option<Arc<Node>> = None;
        for source in sources {
            let mut scope = scope.clone();
            scope.included.push(source.path.clone());
            for document in &source.documents {
                let (document, resets) = self.document(&scope, document)?;
                let document = self.extend_all(&scope, source, &document, &resets)?;
                let document = self.include_all(&scope, document)?;
                let mut before = whole
                    .take()
                    .unwrap_or_else(|| Node::map(&document.place, Vec::new()));
                reset::apply(&mut before, &resets);
                whole = Some(self.add(&before, &document, true)?);
            }
        }
        let whole = normal::defaults(&whole?);
        model::check_rules(&At::new(&whole, ""), self.out);
        Some(paths::resolve(&whole, scope.base(), self.out))
    }

    /// One document with its variables replaced, and what it resets.
    pub(super) fn document(
        &mut self,
        scope: &Scope<'_>,
        document: &Arc<Node>,
    ) -> Option<(Arc<Node>, Vec<KeyPath>)> {
        let (document, resets) = reset::take(document);
        if !document.is_map() {
            At::new(&document, "").wrong_type("a mapping", self.out);
            return None;
        }
        let at = At::new(&document, "");
        let document = interpolate(&at, scope.environment, self.out);
        Some((document, resets))
    }

    /// Lays a document over what there is, in long form; `is_whole` where it must be a whole Compose file by then.
    pub(super) fn add(
        &mut self,
        before: &Arc<Node>,
        document: &Arc<Node>,
        is_whole: bool,
    ) -> Option<Arc<Node>> {
        let merged = merge::merge(before, document, self.out);
        self.count(&merged)?;
        let merged = unique::unique(&merged);
        if is_whole {
            let mut found = Problems::default();
            model::check(&At::new(&merged, ""), &mut found);
            self.out.append_second(found);
        }
        let long = canonical(&merged, self.out);
        Some(unique::unique(&without_empty(&long)))
    }

    /// Counts what a merge has made; `None` where it is too much, which is reported.
    pub(super) fn count(&mut self, node: &Node) -> Option<()> {
        self.merged = self.merged.saturating_add(node.weight);
        let fits = node.weight <= NODES_MAX
            && node.bytes <= TEXT_BYTES_MAX
            && self.merged <= MERGED_NODES_MAX;
        if !fits && !self.is_too_large {
            self.is_too_large = true;
            self.out.error_at(
                &node.place,
                "",
                "too-large",
                format!("the files together have more than {NODES_MAX} values, or make them in the course of merging"),
                "use fewer files, or less `extends` of `extends`",
            );
        }
        fits.then_some(())
    }

    /// Reads a Compose file that another one names.
    pub(super) fn open(&mut self, scope: &Scope<'_>, name: &str, by: Named<'_>) -> Option<Source> {
        let is_remote = name.contains("://")
            || ["oci:", "git@", "github.com/"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        if is_remote {
            self.complain(
                by,
                "not-supported",
                format!("`{name}` is not a file of this host"),
                "fetch it first: what runs must not depend on what a server answers at that moment",
            );
            return None;
        }
        let path = PathBuf::from(scope.base().path(name));
        let shown = shown(&scope.shown, name);
        let bytes = self.read(&path, name, by)?;
        let shown = Arc::new(shown);
        self.texts.push(SourceFile {
            path: PathBuf::clone(&shown),
            text: bytes.clone(),
        });
        let documents = yaml::read(&shown, &bytes, self.out)?;
        Some(Source {
            path,
            shown,
            documents,
        })
    }

    /// What is in a file that another one names.
    pub(super) fn read(&mut self, path: &Path, name: &str, by: Named<'_>) -> Option<Vec<u8>> {
        self.reads += 1;
        if self.reads > FILES_MAX {
            let message = format!("more than {FILES_MAX} files");
            self.complain(by, "too-large", message, "use fewer files");
            return None;
        }
        match self.files.read(path) {
            Ok(bytes) if bytes.len() <= FILE_BYTES_MAX => Some(bytes),
            Ok(_) => {
                let message = format!("`{name}` is larger than {FILE_BYTES_MAX} bytes (1 MiB)");
                self.complain(by, "too-large", message, "is this the file that you mean?");
                None
            }
            Err(problem) => {
                let message = format!("`{name}` cannot be read: {problem}");
                let hint = match problem {
                    ReadError::NotFound => {
                        format!("correct the path; it is looked for at `{}`", path.display())
                    }
                    ReadError::Other(_) => "correct the path, or its permissions".to_owned(),
                };
                self.complain(by, "unreadable", message, &hint);
                None
            }
        }
    }

    /// An error at a value.
    pub(super) fn complain(
        &mut self,
        at: Named<'_>,
        code: &'static str,
        message: impl Into<String>,
        hint: &str,
    ) {
        let place: &Place = &at.node.place;
        self.out.error_at(place, at.path, code, message, hint);
    }
}

/// What the reference leaves out where it is empty.
fn without_empty(root: &Arc<Node>) -> Arc<Node> {
    let mut root = Arc::clone(root);
    root.change("services", |services| {
        Some(services.map_values(|entry| {
            let mut service = Arc::clone(&entry.value);
            service.change("dns", |list| {
                let kept = list
                    .items()
                    .iter()
                    .filter(|item| item.as_text() != Some(""));
                list.is_list()
                    .then(|| list.with_items(kept.cloned().collect()))
            });
            service
        }))
    });
    root
}

/// A path for messages.
pub(super) fn shown(dir: &Path, name: &str) -> PathBuf {
    if name.starts_with(['/', '~']) {
        return PathBuf::from(name);
    }
    match dir.to_str() {
        Some("") | None => PathBuf::from(clean(name)),
        Some(dir) => PathBuf::from(clean(&format!("{dir}/{name}"))),
    }
}
