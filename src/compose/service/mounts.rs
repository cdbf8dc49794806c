//! `volumes` and `tmpfs`: what is mounted where.
//!
//! A path of the host is checked as it is written and as it resolves through symlinks, here and in the options of a
//! volume (`volumes`): what leads to secrets of the host or out of the container is refused.

use std::collections::BTreeMap;

use super::binder::Binder;
use crate::compose::bind::{At, Pair};
use crate::compose::image::image_problem;
use crate::compose::suggest;
use crate::spec::{ImageRef, Mount, MountSource, Recursive, TmpfsMount, VolumeName, byte_size};

const PROPAGATION: &str =
    "remove it: what the host mounts later never appears in a phoenix (`rprivate`)";

const PROPAGATIONS: [&str; 6] = [
    "rprivate", "private", "rshared", "shared", "rslave", "slave",
];

const RECURSIVE: [(&str, Recursive); 4] = [
    ("enabled", Recursive::Enabled),
    ("disabled", Recursive::Disabled),
    ("writable", Recursive::Writable),
    ("readonly", Recursive::Readonly),
];

/// What the options of one mount may say.
#[derive(Default)]
struct Options {
    read_only: bool,
    consistency: Option<String>,
    nocopy: bool,
    subpath: Option<String>,
    labels: BTreeMap<String, String>,
    selinux: Option<String>,
    /// `None` where nothing says anything about the bind mount: then a missing directory is made.
    create: Option<bool>,
    recursive: Recursive,
    tmpfs: Vec<String>,
}

impl Binder<'_, '_> {
    pub(super) fn volumes(&mut self, at: &At<'_>) {
        for item in at.list(self.out).unwrap_or_default() {
            self.volume(&item);
        }
    }

    pub(super) fn tmpfs(&mut self, at: &At<'_>) {
        for (text, item) in at.text_or_texts(self.out).unwrap_or_default() {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            let options = options
                .split(',')
                .filter(|option| !option.is_empty())
                .map(str::to_owned)
                .collect();
            self.add_tmpfs(target, options, &item);
        }
    }

    fn add_tmpfs(&mut self, target: &str, options: Vec<String>, at: &At<'_>) {
        let sizes = options
            .iter()
            .filter_map(|option| option.strip_prefix("size="));
        for size in sizes.filter(|size| !is_tmpfs_size(size)) {
            // To the kernel, 0 means no limit: the memory of the whole host.
            let message = format!("`{size}` is not the size of a tmpfs");
            at.invalid(
                message,
                "write a size above zero, such as `size=64m`",
                self.out,
            );
        }
        if let Some(target) = self.target(target, at) {
            self.container.tmpfs.push(TmpfsMount { target, options });
        }
    }

    fn propagation(&mut self, mode: &str, at: &At<'_>) {
        // The first two are in force anyway.
        if !["rprivate", "private"].contains(&mode) {
            self.out.error(
                at,
                "refused",
                format!("`{mode}` is refused: mounts would pass between host and replica"),
                PROPAGATION,
            );
        }
    }

    fn volume(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 9] = [
            "type",
            "source",
            "target",
            "read_only",
            "bind",
            "volume",
            "tmpfs",
            "image",
            "consistency",
        ];
        let errors = self.errors();
        let Some(pairs) = at.fields(&FIELDS, self.out) else {
            return;
        };
        let mut kind = None;
        let mut source = None;
        let mut target = None;
        let mut options = Options::default();
        for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
            match pair.key {
                "type" => kind = self.mount_type(&pair.value),
                "source" => source = pair.value.some_text(self.out),
                "target" => target = pair.value.some_text(self.out),
                "read_only" => options.read_only = pair.value.boolean(self.out).unwrap_or(false),
                "bind" | "volume" | "tmpfs" | "image" => self.mount_options(pair, &mut options),
                _ => options.consistency = pair.value.some_text(self.out),
            }
        }
        if self.errors() != errors {
            return;
        }
        match target {
            Some(target) => self.typed_mount(kind, source, &target, options, at),
            None => at.invalid(
                "this mount has no `target`",
                "write `target: /path`",
                self.out,
            ),
        }
    }

    fn typed_mount(
        &mut self,
        kind: Option<&str>,
        source: Option<String>,
        target: &str,
        mut options: Options,
        at: &At<'_>,
    ) {
        match (kind, source) {
            (Some("bind"), Some(source)) => self.add_bind(&source, target, &options, at),
            (Some("volume"), Some(source)) => self.add_volume(&source, target, &mut options, at),
            (Some("volume"), None) => self.add_anonymous(target, &mut options, at),
            (Some("image"), Some(source)) => self.add_image(&source, target, &mut options, at),
            (Some("image"), None) => at.invalid(
                "this mount names no image",
                "write `source: name:tag`",
                self.out,
            ),
            (Some("tmpfs"), None) => {
                if options.read_only {
                    options.tmpfs.push("ro".to_owned());
                }
                self.add_tmpfs(target, options.tmpfs, at);
            }
            (Some("bind"), None) => at.invalid(
                "this bind mount has no `source`",
                "write `source: ./path`, the path on the host",
                self.out,
            ),
            (Some(_), Some(_)) => at.invalid(
                "a tmpfs has no `source`",
                "remove it, or write `type: bind`",
                self.out,
            ),
            (Some(_) | None, _) => at.invalid(
                "this mount has no `type`",
                "write `type: bind`, `type: volume`, `type: tmpfs` or `type: image`",
                self.out,
            ),
        }
    }

    fn mount_type(&mut self, at: &At<'_>) -> Option<&'static str> {
        const TYPES: [&str; 6] = ["bind", "volume", "tmpfs", "image", "cluster", "npipe"];
        let kind = at.one_of(&TYPES, self.out)?;
        let reason = match kind {
            "cluster" => "a cluster volume belongs to a swarm",
            "npipe" => "a named pipe belongs to Windows",
            _ => return Some(kind),
        };
        let message = format!("a mount of type `{kind}` is refused: {reason}");
        let hint = "use `bind`, `volume`, `tmpfs` or `image`";
        self.out.error(at, "refused", message, hint);
        None
    }

    /// The mapping under `bind`, `volume`, `tmpfs` or `image` of the long syntax.
    fn mount_options(&mut self, pair: &Pair<'_>, options: &mut Options) {
        let known: &[&str] = match pair.key {
            "bind" => &["propagation", "create_host_path", "recursive", "selinux"],
            "volume" => &["nocopy", "subpath", "labels"],
            "image" => &["subpath"],
            _ => &["size", "mode"],
        };
        if pair.key == "bind" {
            // Where something is said of a bind mount, but not this, nothing is made (compose-go 2.9.1).
            options.create = Some(false);
        }
        let fields = pair.value.fields(known, self.out).unwrap_or_default();
        for field in fields.iter().filter(|field| !field.value.is_null()) {
            let value = &field.value;
            match field.key {
                "propagation" => {
                    if let Some(mode) = value.one_of(&PROPAGATIONS, self.out) {
                        self.propagation(mode, value);
                    }
                }
                "create_host_path" => options.create = value.boolean(self.out),
                "recursive" => {
                    let mode = value.one_of(&RECURSIVE.map(|(word, _)| word), self.out);
                    let known = RECURSIVE.iter().find(|(word, _)| Some(*word) == mode);
                    options.recursive = known.map(|(_, mode)| *mode).unwrap_or_default();
                }
                "selinux" => {
                    options.selinux = value.one_of(&["z", "Z"], self.out).map(str::to_owned);
                }
                "nocopy" => options.nocopy = value.boolean(self.out).unwrap_or(false),
                "subpath" => options.subpath = value.some_text(self.out),
                "labels" => options.labels = value.labels(self.out).unwrap_or_default(),
                "size" => {
                    let size = value.bytes(self.out);
                    options
                        .tmpfs
                        .extend(size.map(|size| format!("size={size}")));
                }
                _ => {
                    let mode = self.file_mode(value, (0o7777, "there are no bits beyond 7777"));
                    options
                        .tmpfs
                        .extend(mode.map(|mode| format!("mode={mode:o}")));
                }
            }
        }
    }

    fn add_bind(&mut self, source: &str, target: &str, options: &Options, at: &At<'_>) {
        let path = match self.cx.resolve(source.as_ref()) {
            Ok(path) => path,
            Err(problem) => {
                let message = format!("`{source}` cannot be resolved: {problem}");
                at.invalid(message, "write the whole path", self.out);
                return;
            }
        };
        if let Some(reason) = self.cx.refusal(&path) {
            let message = format!("mounting `{source}` is refused: {reason}");
            self.out.error(
                at,
                "refused",
                message,
                "mount a directory that holds only what the service needs (read-only does not help); a service that has to \
                 speak to the engine stays with docker compose",
            );
            return;
        }
        let source = MountSource::Bind {
            path: path.to_string_lossy().into_owned(),
            create: options.create.unwrap_or(true),
            selinux: options.selinux.clone(),
            propagation: None,
            recursive: options.recursive,
        };
        self.add_mount(source, target, options, at);
    }

    fn add_volume(&mut self, key: &str, target: &str, options: &mut Options, at: &At<'_>) {
        let Some(name) = self.cx.volume_name(key) else {
            let hint = if key.contains('/') {
                format!("for a path of the host write `./{key}`")
            } else {
                let known = self.cx.volume_keys();
                match suggest::nearest(key, known.iter().copied()) {
                    Some(candidate) => format!("did you mean `{candidate}`?"),
                    None => format!("declare it at the top level: `volumes: {{ {key}: }}`"),
                }
            };
            let message = format!(
                "`{}` uses the volume `{key}`, which is not declared",
                self.name
            );
            self.out.error(at, "undeclared", message, hint);
            return;
        };
        self.used_volumes.insert(key.to_owned());
        let source = MountSource::Volume {
            name: VolumeName::new(name),
            nocopy: options.nocopy,
            subpath: options.subpath.take(),
            labels: std::mem::take(&mut options.labels),
        };
        self.add_mount(source, target, options, at);
    }

    fn add_anonymous(&mut self, target: &str, options: &mut Options, at: &At<'_>) {
        if options.subpath.is_some() {
            let hint = "name the volume under `source`, or remove `subpath`";
            at.invalid(
                "a volume without a name is new, and has no directory inside",
                hint,
                self.out,
            );
            return;
        }
        let source = MountSource::Anonymous {
            nocopy: options.nocopy,
            labels: std::mem::take(&mut options.labels),
        };
        self.add_mount(source, target, options, at);
    }

    fn add_image(&mut self, image: &str, target: &str, options: &mut Options, at: &At<'_>) {
        if let Some(problem) = image_problem(image) {
            let message = format!("`{image}` is not an image: {problem}");
            at.invalid(message, "write `source: name:tag`", self.out);
            return;
        }
        let source = MountSource::Image {
            image: ImageRef::new(image),
            id: None,
            subpath: options.subpath.take(),
        };
        self.add_mount(source, target, options, at);
    }

    fn add_mount(&mut self, source: MountSource, target: &str, options: &Options, at: &At<'_>) {
        if let Some(target) = self.target(target, at) {
            self.container.mounts.push(Mount {
                source,
                target,
                read_only: options.read_only,
                consistency: options.consistency.clone(),
            });
        }
    }

    /// A path in the container where nothing else is mounted.
    fn target(&mut self, target: &str, at: &At<'_>) -> Option<String> {
        let target = self.clean_target(target, at)?;
        self.take_target(&target, at).then_some(target)
    }

    /// A path in the container, in its one spelling.
    pub(super) fn clean_target(&mut self, target: &str, at: &At<'_>) -> Option<String> {
        let parts: Vec<&str> = target
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if !target.starts_with('/') || parts.contains(&"..") {
            let message = format!("`{target}` is not an absolute path");
            at.invalid(
                message,
                "write the path inside the container, from `/`",
                self.out,
            );
            return None;
        }
        if parts.is_empty() {
            let hint = "mount it on a directory below";
            at.invalid("nothing can be mounted on `/`", hint, self.out);
            return None;
        }
        Some(format!("/{}", parts.join("/")))
    }

    /// Whether nothing else is mounted there; from now on something is.
    pub(super) fn take_target(&mut self, target: &str, at: &At<'_>) -> bool {
        let Some(first) = self.targets.get(target) else {
            self.targets
                .insert(target.to_owned(), at.node.place.clone());
            return true;
        };
        let message = format!("`{target}` is mounted twice");
        let first = if first.file == at.node.place.file {
            format!("line {}", first.line)
        } else {
            first.to_string()
        };
        let hint = format!("the first one is at {first}; keep one of them");
        self.out.error(at, "duplicate-target", message, hint);
        false
    }
}

/// A number of bytes, or a part of the memory, above zero.
fn is_tmpfs_size(size: &str) -> bool {
    match size.strip_suffix('%') {
        Some(percent) => percent
            .parse()
            .is_ok_and(|part: u8| (1..=100).contains(&part)),
        None => byte_size(size).is_ok_and(|bytes| bytes > 0),
    }
}
