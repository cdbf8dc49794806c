//! The text of a file -> a tree of nodes, with anchors, aliases and merge keys resolved; or why it is not one.
//!
//! Built from the events of serde-saphyr's parser, not through serde: so every node has its place and tag, every
//! duplicate key is reported at once, and an alias is a shared node, so that a bomb of aliases costs a few additions.
//! Limits come before work: size before parsing, depth and number of nodes while the tree grows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag, options};

use super::problems::Problems;
use super::scalar;
use super::tree::{Entry, Node, Value};
use super::yaml_error;
use crate::spec::{Diagnostic, Place};

/// Largest file in bytes. The largest Compose files that people publish have some tens of kilobytes.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting. A Compose file needs eight levels.
pub(super) const DEPTH_MAX: usize = 64;
/// Most nodes with all aliases written out: what everything after this module may have to walk over.
pub(super) const NODES_MAX: usize = 100_000;
/// Most text of keys and values with all aliases written out, for the same reason.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 20;
/// Longest key. YAML has this limit for keys that are written without a `?`.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// Reads the documents of one file, empty ones left out. What stops reading, and every duplicate key, goes to `found`.
pub(super) fn read(
    file: &Arc<PathBuf>,
    bytes: &[u8],
    found: &mut Problems,
) -> Option<Vec<Arc<Node>>> {
    let text = match yaml_error::text_of(file, bytes) {
        Ok(text) => text,
        Err(problem) => {
            found.push(problem);
            return None;
        }
    };
    let mut builder = Builder {
        file,
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        roots: Vec::new(),
        found,
    };
    match builder.run(text) {
        Ok(()) => {}
        Err(problem) => {
            builder.found.push(problem);
            return None;
        }
    }
    let mut roots = builder.roots;
    roots.retain(|root| !root.is_null());
    if roots.is_empty() {
        let problem =
            Diagnostic::error("empty", Some(Place::file(&**file)), "", "the file is empty")
                .hint("a Compose file has at least `services:` with one service");
        found.push(problem);
        return None;
    }
    Some(roots)
}

struct Builder<'a> {
    file: &'a Arc<PathBuf>,
    frames: Vec<Frame>,
    /// Finished anchors by the parser's number.
    anchors: BTreeMap<usize, Arc<Node>>,
    roots: Vec<Arc<Node>>,
    found: &'a mut Problems,
}

/// A collection that is not closed yet.
struct Frame {
    place: Place,
    tag: Option<String>,
    anchor: usize,
    weight: usize,
    bytes: usize,
    depth: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Arc<Node>>),
    Map(MapFrame),
}

#[derive(Default)]
struct MapFrame {
    entries: Vec<Entry>,
    /// Where each key was first written.
    seen: BTreeMap<String, Place>,
    /// Values of `<<`.
    merges: Vec<Arc<Node>>,
    key: Key,
}

/// What the next node of a mapping is.
#[derive(Default)]
enum Key {
    /// A key.
    #[default]
    Awaited,
    /// The value of this key.
    Of(String, Place),
    /// What is merged in.
    Merge,
    /// The value of a key that was refused.
    Refused,
}

impl Builder<'_> {
    fn run(&mut self, text: &str) -> Result<(), Diagnostic> {
        let options = options! {
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let place = self.place(&span.start);
            self.event(event, place)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), Diagnostic> {
        match event {
            Event::DocumentStart(..) => {
                // An anchor ends with its document.
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_untyped = tag.is_none();
                let (value, tag) = scalar(text.into_owned(), style, tag.as_deref());
                let plain = style == ScalarStyle::Plain && is_untyped;
                let node = Arc::new(Node {
                    plain,
                    ..Node::leaf(place, tag, value)
                });
                self.complete(anchor, node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let tag = tag.as_deref().and_then(meaningless);
                self.open(place, anchor, tag, Kind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let tag = tag.as_deref().and_then(meaningless);
                self.open(place, anchor, tag, Kind::Map(MapFrame::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, place),
            // The last two are not asked for in the options.
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | _ => Ok(()),
        }
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Diagnostic> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(yaml_error::recursive_anchor(place, self.path()));
        };
        if self.frames.len() + node.depth > DEPTH_MAX {
            return Err(yaml_error::too_deep(place, self.path()));
        }
        self.add(node, &place)
    }

    fn open(
        &mut self,
        place: Place,
        anchor: usize,
        tag: Option<String>,
        kind: Kind,
    ) -> Result<(), Diagnostic> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(yaml_error::too_deep(place, self.path()));
        }
        self.frames.push(Frame {
            place,
            tag,
            anchor,
            weight: 1,
            bytes: 0,
            depth: 0,
            kind,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let value = match frame.kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(map) => Value::Map(self.merged(map)),
        };
        let node = Node {
            place: frame.place,
            tag: frame.tag,
            value,
            plain: false,
            weight: frame.weight,
            bytes: frame.bytes,
            depth: frame.depth,
        };
        self.complete(frame.anchor, Arc::new(node))
    }

    /// The entries with those of `<<` behind them: what stands in the mapping itself wins, then the earlier merge.
    fn merged(&mut self, map: MapFrame) -> Vec<Entry> {
        let MapFrame {
            mut entries,
            mut seen,
            merges,
            ..
        } = map;
        for merge in merges {
            let sources = match &merge.value {
                Value::List(items) => items.clone(),
                Value::Map(_) | Value::Null | Value::Text(_) => vec![merge],
            };
            for source in sources {
                let Value::Map(merged) = &source.value else {
                    let path = self.path();
                    self.found
                        .push(yaml_error::merge_of_no_mapping(source.place.clone(), path));
                    continue;
                };
                for entry in merged {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.key_place.clone());
                        entries.push(entry.clone());
                    }
                }
            }
        }
        entries
    }

    fn complete(&mut self, anchor: usize, node: Arc<Node>) -> Result<(), Diagnostic> {
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        let place = node.place.clone();
        self.add(node, &place)
    }

    /// Puts a finished node where it belongs; `place` is where it is used.
    fn add(&mut self, node: Arc<Node>, place: &Place) -> Result<(), Diagnostic> {
        let Some(frame) = self.frames.last_mut() else {
            let weight: usize = self.roots.iter().map(|root| root.weight).sum();
            if weight.saturating_add(node.weight) > NODES_MAX {
                return Err(yaml_error::too_much(place.clone(), String::new()));
            }
            self.roots.push(node);
            return Ok(());
        };
        frame.weight = frame.weight.saturating_add(node.weight);
        frame.depth = frame.depth.max(node.depth + 1);
        frame.bytes = frame.bytes.saturating_add(node.bytes);
        if frame.weight > NODES_MAX || frame.bytes > TEXT_BYTES_MAX {
            return Err(yaml_error::too_much(place.clone(), self.path()));
        }
        match &mut frame.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(map) => match std::mem::take(&mut map.key) {
                Key::Awaited => {
                    if let Err(mut problem) = map.take_key(&node, place) {
                        problem.path = join(self.path(), &problem.path);
                        self.found.push(problem);
                    }
                }
                Key::Of(key, key_place) => map.entries.push(Entry {
                    key,
                    key_place,
                    value: node,
                }),
                Key::Merge => map.merges.push(node),
                Key::Refused => {}
            },
        }
        Ok(())
    }

    /// The keys that lead to where the parser is.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match &frame.kind {
                Kind::List(items) => path.extend(["[", &items.len().to_string(), "]"]),
                Kind::Map(MapFrame {
                    key: Key::Of(key, _),
                    ..
                }) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Kind::Map(_) => {}
            }
        }
        path
    }

    fn place(&self, marker: &Marker) -> Place {
        yaml_error::place(self.file, marker.line(), marker.col())
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        yaml_error::syntax(self.place(error.marker()), self.path(), error)
    }
}

impl MapFrame {
    /// Takes a node as the key of what follows.
    fn take_key(&mut self, node: &Node, place: &Place) -> Result<(), Diagnostic> {
        let text = match &node.value {
            Value::Text(text) if node.plain && scalar::resolved(text).is_some() => {
                self.key = Key::Refused;
                return Err(yaml_error::key_is_no_text(
                    place.clone(),
                    &format!("`{text}`"),
                ));
            }
            Value::Text(text) => text.clone(),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.key = Key::Refused;
                return Err(yaml_error::key_is_no_text(place.clone(), node.kind()));
            }
        };
        if text.len() > KEY_BYTES_MAX {
            self.key = Key::Refused;
            return Err(yaml_error::key_too_long(place.clone()));
        }
        if let Some(first) = self.seen.get(&text) {
            self.key = Key::Refused;
            return Err(yaml_error::duplicate(place.clone(), &text, first));
        }
        self.seen.insert(text.clone(), place.clone());
        self.key = if text == "<<" {
            Key::Merge
        } else {
            Key::Of(text, place.clone())
        };
        Ok(())
    }
}

/// The path of a key below another.
fn join(path: String, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else if key.is_empty() {
        path
    } else {
        format!("{path}.{key}")
    }
}

/// A scalar and the tag that is left.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> (Value, Option<String>) {
    let core = tag.and_then(Tag::core_suffix);
    let looks_null = matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    let is_null = match (core, tag) {
        (Some("null"), _) => true,
        // A tag of any kind but a type of YAML's own makes it text, as quotes do.
        (Some("str"), _) => false,
        (Some(_), _) | (None, None) => style == ScalarStyle::Plain && looks_null,
        (None, Some(_)) => style == ScalarStyle::Plain && looks_null && !is_bare(tag),
    };
    let value = if is_null {
        Value::Null
    } else {
        Value::Text(text)
    };
    (value, tag.and_then(meaningless))
}

/// A tag that YAML itself gives no meaning, as it is written.
fn meaningless(tag: &Tag) -> Option<String> {
    (tag.core_suffix().is_none() && !is_bare(Some(tag))).then(|| tag.original())
}

/// The tag `!`, which means text.
fn is_bare(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.original() == "!")
}
