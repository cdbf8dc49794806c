//! `extends`: a service over another one of the same file or of another file.
//!
//! As compose-go 2.9.1 has it (`loader/extends.go`): the other file is read on its own, in long form and with its own
//! paths; its `include` has no meaning then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::reset::{self, KeyPath};
use super::session::{Named, Scope, Session, Source};
use super::{merge, paths};
use crate::compose::bind::At;
use crate::compose::suggest;
use crate::compose::tree::{Entry, Node};

/// Longest chain of `extends`.
const CHAIN_MAX: usize = 64;

/// A file whose services are extended.
#[derive(Debug)]
pub(super) struct Extended {
    services: Arc<Node>,
    resets: Vec<KeyPath>,
    path: PathBuf,
    shown: Arc<PathBuf>,
}

/// The services among which a name without a file is looked for.
struct Origin<'o> {
    services: &'o Arc<Node>,
    resets: &'o [KeyPath],
    path: PathBuf,
    shown: Arc<PathBuf>,
    /// Where relative paths of these services begin.
    scope: Scope<'o>,
    done: BTreeMap<String, Arc<Node>>,
}

/// The services that led here, with their files.
type Chain = Vec<(PathBuf, String)>;

impl Session<'_> {
    /// The document with every `extends` resolved; `None` where one cannot be, which is reported.
    pub(super) fn extend_all(
        &mut self,
        scope: &Scope<'_>,
        source: &Source,
        document: &Arc<Node>,
        resets: &[KeyPath],
    ) -> Option<Arc<Node>> {
        let Some(services) = document.some("services").filter(|all| all.is_map()) else {
            return Some(Arc::clone(document));
        };
        let mut origin = Origin {
            services,
            resets,
            path: source.path.clone(),
            shown: Arc::clone(&source.shown),
            scope: scope.clone(),
            done: BTreeMap::new(),
        };
        let mut entries = Vec::new();
        let mut is_whole = true;
        for entry in services.entries() {
            match self.extended(&mut origin, &entry.key, &mut Vec::new()) {
                Some(value) => entries.push(Entry {
                    value,
                    ..entry.clone()
                }),
                None => is_whole = false,
            }
        }
        let mut document = Arc::clone(document);
        document.set("services", services.with_entries(entries));
        is_whole.then_some(document)
    }

    /// One service with all that it extends below it.
    fn extended(
        &mut self,
        origin: &mut Origin<'_>,
        name: &str,
        chain: &mut Chain,
    ) -> Option<Arc<Node>> {
        if let Some(done) = origin.done.get(name) {
            return Some(Arc::clone(done));
        }
        let service = Arc::clone(origin.services.get(name)?);
        let Some(extends) = service.some("extends") else {
            return Some(service);
        };
        let path = format!("services.{name}.extends");
        let by = Named {
            node: extends,
            path: &path,
        };
        let this = (origin.path.clone(), name.to_owned());
        if chain.contains(&this) || chain.len() >= CHAIN_MAX {
            self.chain_error(by, chain, &this);
            return None;
        }
        let Some(wanted) = extends
            .as_text()
            .or_else(|| extends.some("service").and_then(|node| node.as_text()))
        else {
            let hint =
                "write `extends: { service: NAME }`, with `file: PATH` if it is in another one";
            self.complain(by, "missing-key", "`extends` names no service", hint);
            return None;
        };
        let file = match extends.some("file") {
            Some(node) => Some((node, At::new(node, path.as_str()).text(self.out)?)),
            None => None,
        };
        chain.push(this);
        let base = match file {
            Some((node, file)) => {
                let by = Named { node, path: &path };
                self.base_in_file(origin, file, wanted, by, chain)
            }
            None => self.base_here(origin, wanted, by, chain),
        };
        chain.pop();
        let mut base = base?;
        for reset in origin.resets {
            if let ["services", service, rest @ ..] = reset
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice()
                && *service == name
            {
                let rest: KeyPath = rest.iter().map(|key| (*key).to_owned()).collect();
                reset::apply(&mut base, &[rest]);
            }
        }
        let mut merged = merge::extend(&base, &service, name, self.out);
        merged.remove("extends");
        self.count(&merged)?;
        origin.done.insert(name.to_owned(), Arc::clone(&merged));
        Some(merged)
    }

    fn base_here(
        &mut self,
        origin: &mut Origin<'_>,
        wanted: &str,
        by: Named<'_>,
        chain: &mut Chain,
    ) -> Option<Arc<Node>> {
        if origin.services.get(wanted).is_none() {
            self.no_such_service(by, wanted, &origin.shown, origin.services);
            return None;
        }
        self.extended(origin, wanted, chain)
    }

    fn base_in_file(
        &mut self,
        origin: &Origin<'_>,
        file: &str,
        wanted: &str,
        by: Named<'_>,
        chain: &mut Chain,
    ) -> Option<Arc<Node>> {
        let scope = &origin.scope;
        let path = PathBuf::from(scope.base().path(file));
        // The variables differ between files that are included from different places.
        let key = (path, std::ptr::from_ref(scope.environment).addr());
        let known = if let Some(known) = self.extended.get(&key) {
            known.clone()
        } else {
            let read = self.extended_file(scope, file, by).map(Rc::new);
            self.extended.insert(key, read.clone());
            read
        };
        let known = known?;
        if known.services.get(wanted).is_none() {
            self.no_such_service(by, wanted, &known.shown, &known.services);
            return None;
        }
        let mut other = Origin {
            services: &known.services,
            resets: &known.resets,
            path: known.path.clone(),
            shown: Arc::clone(&known.shown),
            scope: beside(scope, &known.path, &known.shown),
            done: BTreeMap::new(),
        };
        self.extended(&mut other, wanted, chain)
    }

    /// A file by itself, in long form and with absolute paths.
    fn extended_file(&mut self, scope: &Scope<'_>, file: &str, by: Named<'_>) -> Option<Extended> {
        let source = self.open(scope, file, by)?;
        let scope = beside(scope, &source.path, &source.shown);
        let mut all = Vec::new();
        let mut whole: Option<Arc<Node>> = None;
        for document in &source.documents {
            let (document, resets) = self.document(&scope, document)?;
            let mut before = whole
                .take()
                .unwrap_or_else(|| Node::map(&document.place, Vec::new()));
            reset::apply(&mut before, &resets);
            all.extend(resets);
            whole = Some(self.add(&before, &document, false)?);
        }
        let whole = paths::resolve(&whole?, scope.base(), self.out);
        let Some(services) = whole.some("services").filter(|all| all.is_map()) else {
            let message = format!("`{file}` has no services");
            self.complain(by, "missing-key", message, "correct the path");
            return None;
        };
        Some(Extended {
            services: Arc::clone(services),
            resets: all,
            path: source.path,
            shown: source.shown,
        })
    }

    fn no_such_service(&mut self, by: Named<'_>, wanted: &str, file: &Path, services: &Node) {
        let names = services.entries().iter().map(|entry| entry.key.as_str());
        let hint = match suggest::nearest(wanted, names) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => "name a service that stands there, or its `file:`".to_owned(),
        };
        let message = format!("there is no service `{wanted}` in `{}`", file.display());
        self.complain(by, "undeclared", message, &hint);
    }

    fn chain_error(&mut self, by: Named<'_>, chain: &Chain, this: &(PathBuf, String)) {
        let (message, hint) = if chain.contains(this) {
            let names: Vec<&str> = (chain.iter().chain([this]))
                .map(|(_, name)| name.as_str())
                .collect();
            (
                format!("`extends` goes in a circle: {}", names.join(" -> ")),
                "take one `extends` out",
            )
        } else {
            (
                format!("a chain of more than {CHAIN_MAX} `extends`"),
                "extend fewer services that extend others",
            )
        };
        self.complain(by, "cycle", message, hint);
    }
}

/// The scope of a file from which only services are taken: its paths begin where it stands.
fn beside<'s>(scope: &Scope<'s>, path: &Path, shown: &Path) -> Scope<'s> {
    let parent = |path: &Path| path.parent().map(PathBuf::from).unwrap_or_default();
    Scope {
        dir: parent(path),
        shown: parent(shown),
        environment: scope.environment,
        included: scope.included.clone(),
    }
}
