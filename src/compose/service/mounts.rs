//! `volumes` and `tmpfs`: what is mounted where.
//!
//! A path of the host is checked as it is written and as it resolves through symlinks, here and in the options of a
//! volume (`volumes`): what leads to secrets of the host or out of the container is refused.

use super::binder::Binder;
use crate::compose::bind::{At, Pair};
use crate::compose::suggest;
use crate::spec::{Mount, MountSource, TmpfsMount, VolumeName, byte_size};

const SHORT: &str =
    "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`; a path begins with `.`, `/` or `~`";
const PROPAGATION: &str =
    "remove it: what the host mounts later never appears in a phoenix (`rprivate`)";

const PROPAGATIONS: [&str; 6] = [
    "rprivate", "private", "rshared", "shared", "rslave", "slave",
];

/// What the options of one mount may say.
#[derive(Default)]
struct Options {
    read_only: bool,
    nocopy: bool,
    subpath: Option<String>,
    selinux: Option<String>,
    create: bool,
    tmpfs: Vec<String>,
}

impl Binder<'_, '_> {
    pub(super) fn volumes(&mut self, at: &At<'_>) {
        for item in at.list(self.out).unwrap_or_default() {
            match item.as_text() {
                Some(text) => self.short_volume(text, &item),
                None => self.long_volume(&item),
            }
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

    fn short_volume(&mut self, text: &str, at: &At<'_>) {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, modes) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, modes] => (Some(*source), *target, *modes),
            _ => {
                at.invalid(format!("`{text}` has too many colons"), SHORT, self.out);
                return;
            }
        };
        if source == Some("") || target.is_empty() {
            at.invalid(format!("`{text}` has an empty part"), SHORT, self.out);
            return;
        }
        let mut options = Options {
            // Compose's short syntax makes the directory.
            create: true,
            ..Options::default()
        };
        for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
            self.short_mode(mode, &mut options, at);
        }
        match source {
            None => self.add_mount(MountSource::Anonymous, target, false, at),
            Some(source) if source.starts_with(['.', '/', '~']) => {
                self.add_bind(source, target, &options, at);
            }
            Some(source) => self.add_volume(source, target, options, at),
        }
    }

    fn short_mode(&mut self, mode: &str, options: &mut Options, at: &At<'_>) {
        const MODES: [&str; 8] = [
            "ro",
            "rw",
            "z",
            "Z",
            "nocopy",
            "cached",
            "delegated",
            "consistent",
        ];
        match mode {
            "ro" => options.read_only = true,
            "rw" => options.read_only = false,
            "z" | "Z" => options.selinux = Some(mode.to_owned()),
            "nocopy" => options.nocopy = true,
            // The first three tell Docker Desktop how to keep two copies of a file together, and Linux has one. The
            // others are in force anyway.
            "cached" | "delegated" | "consistent" | "rprivate" | "private" => {}
            "shared" | "rshared" | "slave" | "rslave" => self.out.error(
                at,
                "refused",
                format!("`{mode}` is refused: mounts would pass between host and replica"),
                PROPAGATION,
            ),
            _ => {
                let message = format!("`{mode}` is not an option of a volume");
                at.invalid(message, suggest::hint(mode, &MODES), self.out);
            }
        }
    }

    fn long_volume(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 9] = [
            "type",
            "source",
            "target",
            "read_only",
            "bind",
            "volume",
            "tmpfs",
            "image",
            // As `cached` above.
            "consistency",
        ];
        let errors = self.errors();
        let Some(pairs) = at.fields(&FIELDS, self.out) else {
            return;
        };
        let mut kind = None;
        let mut source = None;
        let mut target = None;
        let mut options = Options {
            create: true,
            ..Options::default()
        };
        for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
            match pair.key {
                "type" => kind = self.mount_type(&pair.value),
                "source" => source = pair.value.some_text(self.out),
                "target" => target = pair.value.some_text(self.out),
                "read_only" => options.read_only = pair.value.boolean(self.out).unwrap_or(false),
                "bind" | "volume" | "tmpfs" => self.mount_options(pair, &mut options),
                _ => {}
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
            (Some("volume"), Some(source)) => self.add_volume(&source, target, options, at),
            (Some("volume"), None) => {
                self.add_mount(MountSource::Anonymous, target, options.read_only, at);
            }
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
                "write `type: bind`, `type: volume` or `type: tmpfs`",
                self.out,
            ),
        }
    }

    fn mount_type(&mut self, at: &At<'_>) -> Option<&'static str> {
        const TYPES: [&str; 6] = ["bind", "volume", "tmpfs", "image", "cluster", "npipe"];
        let kind = at.one_of(&TYPES, self.out)?;
        if ["image", "cluster", "npipe"].contains(&kind) {
            let message = format!("mounts of type `{kind}` are not supported yet");
            let hint = "use `bind`, `volume` or `tmpfs`";
            self.out.error(at, "not-supported", message, hint);
        }
        Some(kind)
    }

    /// The mapping under `bind`, `volume` or `tmpfs` of the long syntax.
    fn mount_options(&mut self, pair: &Pair<'_>, options: &mut Options) {
        let known: &[&str] = match pair.key {
            "bind" => &["propagation", "create_host_path", "recursive", "selinux"],
            "volume" => &["nocopy", "subpath", "labels"],
            _ => &["size", "mode"],
        };
        let fields = pair.value.fields(known, self.out).unwrap_or_default();
        for field in fields.iter().filter(|field| !field.value.is_null()) {
            let value = &field.value;
            match field.key {
                "propagation" => {
                    if let Some(mode) = value.one_of(&PROPAGATIONS, self.out) {
                        self.short_mode(mode, &mut Options::default(), value);
                    }
                }
                "create_host_path" => options.create = value.boolean(self.out).unwrap_or(true),
                "recursive" => {
                    if value.text(self.out).is_some_and(|mode| mode != "enabled") {
                        self.not_yet(value, "recursive");
                    }
                }
                "selinux" => {
                    options.selinux = value.one_of(&["z", "Z"], self.out).map(str::to_owned);
                }
                "nocopy" => options.nocopy = value.boolean(self.out).unwrap_or(false),
                "subpath" => options.subpath = value.some_text(self.out),
                "labels" => self.not_yet(value, "labels"),
                "size" => {
                    let size = value.bytes(self.out);
                    options
                        .tmpfs
                        .extend(size.map(|size| format!("size={size}")));
                }
                _ => options.tmpfs.extend(self.tmpfs_mode(value)),
            }
        }
    }

    /// The file mode of a tmpfs, in octal digits.
    fn tmpfs_mode(&mut self, at: &At<'_>) -> Option<String> {
        let text = at.text(self.out)?;
        let digits = text.trim_start_matches("0o").trim_start_matches('0');
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o7777 => Some(format!("mode={mode:o}")),
            Ok(_) | Err(_) => {
                let message = format!("`{text}` is not a file mode");
                at.invalid(message, "write octal digits, such as `1777`", self.out);
                None
            }
        }
    }

    pub(super) fn not_yet(&mut self, at: &At<'_>, key: &str) {
        let message = format!("`{key}` is not supported yet here");
        self.out.error(at, "not-supported", message, "remove it");
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
                "mount a directory that holds only what the service needs; read-only does not help",
            );
            return;
        }
        let source = MountSource::Bind {
            path: path.to_string_lossy().into_owned(),
            create: options.create,
            selinux: options.selinux.clone(),
            propagation: None,
        };
        self.add_mount(source, target, options.read_only, at);
    }

    fn add_volume(&mut self, key: &str, target: &str, options: Options, at: &At<'_>) {
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
            subpath: options.subpath,
        };
        self.add_mount(source, target, options.read_only, at);
    }

    fn add_mount(&mut self, source: MountSource, target: &str, read_only: bool, at: &At<'_>) {
        if let Some(target) = self.target(target, at) {
            self.container.mounts.push(Mount {
                source,
                target,
                read_only,
            });
        }
    }

    /// A path in the container where nothing else is mounted.
    fn target(&mut self, target: &str, at: &At<'_>) -> Option<String> {
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
        let target = format!("/{}", parts.join("/"));
        if let Some(first) = self.targets.get(&target) {
            let message = format!("`{target}` is mounted twice");
            let hint = format!("the first one is at line {}; keep one of them", first.line);
            self.out.error(at, "duplicate-target", message, hint);
            return None;
        }
        self.targets.insert(target.clone(), at.node.place.clone());
        Some(target)
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
