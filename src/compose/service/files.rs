//! `secrets` and `configs` of a service: which of the top level, where in the container, with which mode and owner.
//!
//! Not here: the contents (`top_files`), and that they are mounted read-only (`spec`, `docker`).

use super::binder::Binder;
use crate::compose::bind::{At, Pair};
use crate::compose::scalar;
use crate::spec::{Content, FileKind, FileMount};

/// As docker compose 2.40.3 has it (`pkg/compose/secrets.go`), whatever the schema's text says.
const MODE: u32 = 0o444;

impl Binder<'_, '_> {
    pub(super) fn secrets(&mut self, at: &At<'_>) {
        self.files(FileKind::Secret, at);
    }

    pub(super) fn configs(&mut self, at: &At<'_>) {
        self.files(FileKind::Config, at);
    }

    fn files(&mut self, kind: FileKind, at: &At<'_>) {
        for item in at.list(self.out).unwrap_or_default() {
            let errors = self.errors();
            let mut file = FileMount {
                kind,
                name: String::new(),
                target: String::new(),
                mode: MODE,
                uid: None,
                gid: None,
                content: Content::default(),
                path: None,
            };
            match item.as_text() {
                Some(text) => text.clone_into(&mut file.name),
                None => self.long_file(&item, &mut file),
            }
            if self.errors() == errors {
                self.add_file(file, &item);
            }
        }
    }

    fn long_file(&mut self, at: &At<'_>, file: &mut FileMount) {
        const FIELDS: [&str; 5] = ["source", "target", "uid", "gid", "mode"];
        for pair in at.fields(&FIELDS, self.out).unwrap_or_default() {
            let value = &pair.value;
            match pair.key {
                _ if value.is_null() => {}
                "source" => file.name = value.some_text(self.out).unwrap_or_default(),
                "target" => file.target = value.some_text(self.out).unwrap_or_default(),
                "uid" => file.uid = self.id(&pair),
                "gid" => file.gid = self.id(&pair),
                _ => {
                    let most = (0o777, "a file of this kind has no bits beyond 0777");
                    file.mode = self.file_mode(value, most).unwrap_or(MODE);
                }
            }
        }
    }

    fn add_file(&mut self, mut file: FileMount, at: &At<'_>) {
        let (kind, name) = (file.kind, file.name.as_str());
        if name.is_empty() {
            let hint = format!(
                "write `source: name`, a key of the top-level `{}`",
                kind.key()
            );
            at.invalid(format!("this {kind} has no `source`"), hint, self.out);
            return;
        }
        if !self.cx.has_file(kind, name) {
            let message = format!(
                "`{}` uses the {kind} `{name}`, which is not declared",
                self.name
            );
            let hint = self.cx.file_hint(kind, name);
            self.out.error(at, "undeclared", message, hint);
            return;
        }
        let target = if file.target.is_empty() {
            name
        } else {
            file.target.as_str()
        };
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{}{target}", kind.directory())
        };
        let Some(target) = self.clean_target(&target, at) else {
            return;
        };
        file.target = target;
        self.used_files.insert((kind, file.name.clone()));
        // Written twice, word for word, as merged files have it: docker compose takes it once.
        if !self.container.files.contains(&file) && self.take_target(&file.target, at) {
            self.container.files.push(file);
        }
    }

    /// The number of a user or a group.
    fn id(&mut self, pair: &Pair<'_>) -> Option<u32> {
        let text = pair.value.text(self.out)?;
        // The largest one means "leave it" to the kernel (chown(2)).
        let number = text.parse().ok().filter(|id| *id < u32::MAX);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        if number.is_none() || !is_plain {
            let message = format!(
                "`{text}` is not the number of a {}",
                if pair.key == "uid" { "user" } else { "group" }
            );
            let hint = format!("write it in digits: `{}: \"1000\"`", pair.key);
            pair.value.invalid(message, hint, self.out);
        }
        number
    }

    /// Permission bits as Compose reads them: an unquoted number by YAML's rules, a text in octal digits
    /// (compose-go 2.9.1, `types.FileMode`). `most` is the largest, and why.
    pub(super) fn file_mode(&mut self, at: &At<'_>, most: (u32, &str)) -> Option<u32> {
        const HINT: &str = "write four octal digits, such as `0440`";
        let text = at.text(self.out)?;
        let mode = if at.node.plain {
            scalar::integer(&text.replace('_', "")).and_then(|number| number.parse().ok())
        } else {
            u32::from_str_radix(text, 8).ok()
        };
        let Some(mode) = mode else {
            at.invalid(format!("`{text}` is not a file mode"), HINT, self.out);
            return None;
        };
        if mode > most.0 {
            let message = format!("`{text}` is the mode {mode:04o}: {}", most.1);
            at.invalid(message, HINT, self.out);
            return None;
        }
        let is_decimal =
            at.node.plain && text.starts_with(|first: char| ('1'..='9').contains(&first));
        if is_decimal {
            let message = format!(
                "`{text}` is a decimal number to YAML, and so the mode {mode:04o}, as docker compose reads it"
            );
            let hint =
                format!("write `0{text}` for octal digits, or `{mode:04o}` if that is meant");
            self.out.warning(at, "decimal-mode", message, hint);
        }
        Some(mode)
    }
}
