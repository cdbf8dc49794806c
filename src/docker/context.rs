//! A build context as the engine takes it: a tar archive of a directory, written as it is read.
//!
//! As `docker build` sends it (docker/cli v28.5.2, `cli/command/image/build`; moby v28.5.2, `pkg/archive`): in order of
//! names, owned by root, with modes, times and symbolic links as they are, without sockets and devices. Two things are as
//! with `BuildKit`: `DOCKERFILE.dockerignore` comes before `.dockerignore`, and an exception finds what lies in a directory
//! that is left out, which then is sent itself.
//!
//! Deliberately not kept: hard links (they are files of their own) and extended attributes. Not here: the rules of
//! `.dockerignore` (`ignore`), and the request (`build`).

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::dockerfile::here_document;
use super::ignore::{Ignore, Malformed};
use crate::spec::Dockerfile;

/// Where Docker looks for what is left out.
const DOCKERIGNORE: &str = ".dockerignore";
/// The Dockerfile in the archive, where it is none of the context's files.
const OWN_DOCKERFILE: &str = ".dockerfile.phoenixd";
/// The largest Dockerfile and `.dockerignore` that are read: both are text by people.
const TEXT_BYTES: u64 = 1 << 20;

/// A build context, looked through but not read.
#[derive(Debug)]
pub(super) struct Context {
    root: PathBuf,
    ignore: Ignore,
    /// The Dockerfile's name in the archive.
    dockerfile: String,
    /// Its text, where it is none of the context's files.
    own_dockerfile: Option<String>,
    /// What `.dockerignore` says in the archive, where that is not what the context's own says. The engine takes it to
    /// remove Dockerfile and `.dockerignore` from what the steps see, and nothing else.
    own_ignore: Option<String>,
}

/// Why a context cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It is none.
    #[error("the build context `{}` is not a directory", .0.display())]
    NoDirectory(PathBuf),
    /// There is no Dockerfile.
    #[error("there is no Dockerfile `{}`", .0.display())]
    NoDockerfile(PathBuf),
    /// A pattern of `.dockerignore`.
    #[error("{}:{line}: `{pattern}` is not a pattern", file.display())]
    Pattern {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// As it is written.
        pattern: String,
    },
    /// What the engine's builder would ignore without a word.
    #[error(
        "{file}:{line}: a here-document needs BuildKit, and the engine's builder would ignore it"
    )]
    HereDocument {
        /// The Dockerfile, as the file names it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A file that cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that was written to meanwhile.
    #[error("`{}` changed while it was sent", .0.display())]
    Changed(PathBuf),
    /// Nobody takes the archive any more.
    #[error("the engine does not take the build context")]
    NotTaken(#[source] io::Error),
}

impl Context {
    /// Looks at a directory, its Dockerfile and what it leaves out.
    ///
    /// # Errors
    /// All but [`ContextError::Changed`] and [`ContextError::NotTaken`].
    pub(super) fn open(directory: &Path, dockerfile: &Dockerfile) -> Result<Self, ContextError> {
        let root = directory
            .canonicalize()
            .ok()
            .filter(|root| root.is_dir())
            .ok_or_else(|| ContextError::NoDirectory(directory.to_owned()))?;
        let (name, text, beside) = match dockerfile {
            Dockerfile::Inline(text) => (OWN_DOCKERFILE.to_owned(), Some(text.clone()), None),
            Dockerfile::File(path) => {
                let (inside, path) = find(&root, path)?;
                let beside = path.with_file_name({
                    let mut name = path.file_name().unwrap_or_default().to_owned();
                    name.push(DOCKERIGNORE);
                    name
                });
                if let Some(name) = inside {
                    (name, None, Some(beside))
                } else {
                    let text = read_text(&path)?.unwrap_or_default();
                    (OWN_DOCKERFILE.to_owned(), Some(text), Some(beside))
                }
            }
        };
        let steps = match &text {
            Some(text) => Some(text.clone()),
            None => read_text(&root.join(&name))?,
        };
        if let Some(line) = steps.as_deref().and_then(here_document) {
            let file = match dockerfile {
                Dockerfile::File(path) => path.clone(),
                Dockerfile::Inline(_) => "dockerfile_inline".to_owned(),
            };
            return Err(ContextError::HereDocument { file, line });
        }
        let general = read_text(&root.join(DOCKERIGNORE))?;
        let special = match &beside {
            Some(file) => read_text(file)?.map(|text| (file.clone(), text)),
            None => None,
        };
        let (ignore, is_special) = match (&special, &general) {
            (Some((file, text)), _) => (parse(file, text)?, true),
            (None, Some(text)) => (parse(&root.join(DOCKERIGNORE), text)?, false),
            (None, None) => (Ignore::default(), false),
        };
        let mut context = Self {
            root,
            ignore,
            dockerfile: name,
            own_dockerfile: text,
            own_ignore: None,
        };
        context.own_ignore = context.ignore_to_send(general, is_special);
        Ok(context)
    }

    /// The Dockerfile's name in the archive.
    pub(super) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// What the engine has to read in `.dockerignore` so that it removes what the steps are not to see.
    fn ignore_to_send(&self, general: Option<String>, is_special: bool) -> Option<String> {
        let mut removed = Vec::new();
        if self.own_dockerfile.is_some() || (is_special && self.leaves_out(&self.dockerfile)) {
            removed.push(self.dockerfile.as_str());
        }
        // Of the general file the engine makes what it says itself.
        let is_kept = general.is_some() && !(is_special && self.leaves_out(DOCKERIGNORE));
        if removed.is_empty() && (is_kept || general.is_none()) {
            return None;
        }
        let kept = if is_kept {
            general.unwrap_or_default()
        } else {
            DOCKERIGNORE.to_owned()
        };
        Some(format!("{kept}\n{}\n", removed.join("\n")))
    }

    fn leaves_out(&self, path: &str) -> bool {
        self.ignore.leaves_out(path)
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// [`ContextError::Read`], [`ContextError::Changed`], [`ContextError::NotTaken`].
    pub(super) fn write(&self, out: impl Write) -> Result<(), ContextError> {
        let mut archive = Archive {
            builder: Builder::new(out),
            pending: Vec::new(),
        };
        if let Some(text) = &self.own_ignore {
            archive.text(DOCKERIGNORE, text)?;
        }
        if let Some(text) = &self.own_dockerfile {
            archive.text(&self.dockerfile, text)?;
        }
        self.directory(&self.root, "", &mut archive)?;
        archive
            .builder
            .into_inner()
            .and_then(|mut out| out.flush())
            .map_err(ContextError::NotTaken)
    }

    /// Everything of one directory, in the order of names.
    fn directory(
        &self,
        directory: &Path,
        inside: &str,
        archive: &mut Archive<impl Write>,
    ) -> Result<(), ContextError> {
        let failed = |source| read_error(directory, source);
        let mut entries = fs::read_dir(directory)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let path = entry.path();
            let inside = match inside {
                "" => name.to_string_lossy().into_owned(),
                parent => format!("{parent}/{}", name.to_string_lossy()),
            };
            let meta = path
                .symlink_metadata()
                .map_err(|source| read_error(&path, source))?;
            // The engine needs these two, whatever the patterns say.
            let is_needed = inside == self.dockerfile || inside == DOCKERIGNORE;
            let is_out = !is_needed && self.leaves_out(&inside);
            if meta.is_dir() {
                let needs_below = self.dockerfile.starts_with(&format!("{inside}/"));
                if is_out && !needs_below && !self.ignore.may_bring_back_below(&inside) {
                    continue;
                }
                archive.pending.push((path.clone(), meta));
                if !is_out {
                    archive.begin_directories(&self.root)?;
                }
                self.directory(&path, &inside, archive)?;
                archive.pending.pop();
            } else if !is_out && (inside != DOCKERIGNORE || self.own_ignore.is_none()) {
                archive.begin_directories(&self.root)?;
                archive.entry(&self.root, &path, &meta)?;
            }
        }
        Ok(())
    }
}

/// The archive while it is written.
struct Archive<W: Write> {
    builder: Builder<W>,
    /// Directories that are sent once something below them is, from the top.
    pending: Vec<(PathBuf, Metadata)>,
}

impl<W: Write> Archive<W> {
    /// Sends the directories that are still to be sent. They stay in the list, with nothing left to send.
    fn begin_directories(&mut self, root: &Path) -> Result<(), ContextError> {
        for (path, meta) in std::mem::take(&mut self.pending) {
            if !path.as_os_str().is_empty() {
                let mut header = header(EntryType::Directory, &meta, 0);
                self.builder
                    .append_data(&mut header, below(root, &path), io::empty())
                    .map_err(ContextError::NotTaken)?;
            }
            self.pending.push((PathBuf::new(), meta));
        }
        Ok(())
    }

    fn entry(&mut self, root: &Path, path: &Path, meta: &Metadata) -> Result<(), ContextError> {
        let kind = meta.file_type();
        let name = below(root, path);
        let failed = |source| read_error(path, source);
        if kind.is_symlink() {
            let target = fs::read_link(path).map_err(failed)?;
            let mut header = header(EntryType::Symlink, meta, 0);
            return self
                .builder
                .append_link(&mut header, name, target)
                .map_err(ContextError::NotTaken);
        }
        if kind.is_fifo() {
            let mut header = header(EntryType::Fifo, meta, 0);
            return self
                .builder
                .append_data(&mut header, name, io::empty())
                .map_err(ContextError::NotTaken);
        }
        if !kind.is_file() {
            // Sockets cannot be in an archive, and devices are none of a build's business.
            return Ok(());
        }
        let file = File::open(path).map_err(failed)?;
        // Of what was opened: the name may lead elsewhere by now.
        let meta = file.metadata().map_err(failed)?;
        let mut exact = Exact {
            left: meta.len(),
            path,
            file,
            error: None,
        };
        let mut header = header(EntryType::Regular, &meta, meta.len());
        let sent = self.builder.append_data(&mut header, name, &mut exact);
        match exact.error {
            Some(error) => Err(error),
            None => sent.map_err(ContextError::NotTaken),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), ContextError> {
        let mut header = empty_header(EntryType::Regular, 0o644);
        header.set_size(text.len() as u64);
        self.builder
            .append_data(&mut header, name, text.as_bytes())
            .map_err(ContextError::NotTaken)
    }
}

/// A file of which exactly as much is read as its header says.
struct Exact<'a> {
    left: u64,
    path: &'a Path,
    file: File,
    /// What kept it from being read to its end.
    error: Option<ContextError>,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = Read::by_ref(&mut self.file).take(self.left).read(buffer);
        let error = match &read {
            Ok(0) if self.left > 0 && !buffer.is_empty() => {
                ContextError::Changed(self.path.to_owned())
            }
            Ok(bytes) => {
                self.left = self.left.saturating_sub(*bytes as u64);
                return read;
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => return read,
            Err(source) => read_error(self.path, io::Error::from(source.kind())),
        };
        self.error = Some(error);
        Err(io::Error::other("the file cannot be read to its end"))
    }
}

/// Owned by root, as `docker build` sends it: who built it is nobody's business.
fn header(kind: EntryType, meta: &Metadata, size: u64) -> Header {
    let mut header = empty_header(kind, meta.mode() & 0o7777);
    header.set_size(size);
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}

fn empty_header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn below<'a>(root: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(path)
}

fn read_error(path: &Path, source: io::Error) -> ContextError {
    ContextError::Read {
        path: path.to_owned(),
        source,
    }
}

fn parse(file: &Path, text: &str) -> Result<Ignore, ContextError> {
    Ignore::parse(text).map_err(|Malformed { line, pattern }| ContextError::Pattern {
        file: file.to_owned(),
        line,
        pattern,
    })
}

/// The text of a file; `None` where there is none.
fn read_text(path: &Path) -> Result<Option<String>, ContextError> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(TEXT_BYTES).read_to_end(&mut text)) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read_error(path, source)),
    }
}

/// The Dockerfile: its name within the context where it lies there, and its path.
fn find(root: &Path, named: &str) -> Result<(Option<String>, PathBuf), ContextError> {
    let path = root.join(named);
    let missing = || ContextError::NoDockerfile(path.clone());
    // The directory may be a link; the file itself may be one, too, which the engine then follows in the context.
    let directory = path.parent().unwrap_or(root);
    let directory = directory.canonicalize().map_err(|_| missing())?;
    let real = directory.join(path.file_name().ok_or_else(missing)?);
    if !real.is_file() {
        return Err(missing());
    }
    let inside = real.strip_prefix(root).ok().map(|inside| {
        let parts = inside.components().filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        });
        parts.collect::<Vec<_>>().join("/")
    });
    // A link that leads out of the context means nothing to the engine.
    let leads_out = real
        .canonicalize()
        .is_ok_and(|target| !target.starts_with(root));
    Ok((inside.filter(|_| !leads_out), real))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{Read, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{Context, ContextError, Exact};
    use crate::spec::Dockerfile;

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// A folder of these files, each of which holds its own name.
    fn folder(names: &[&str]) -> Outcome<TempDir> {
        let folder = TempDir::new()?;
        for name in names {
            write(folder.path(), name, name)?;
        }
        Ok(folder)
    }

    fn write(folder: &Path, name: &str, text: &str) -> Outcome {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, text)?)
    }

    fn named(dockerfile: &str) -> Dockerfile {
        Dockerfile::File(dockerfile.to_owned())
    }

    /// `PATH`, `PATH/` for a directory, `PATH -> TARGET` for a link: everything that is sent, in order.
    fn sent(folder: &Path, dockerfile: &Dockerfile) -> Outcome<Vec<String>> {
        let context = Context::open(folder, dockerfile)?;
        let mut archive = Vec::new();
        context.write(&mut archive)?;
        let mut lines = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let header = entry.header();
            assert_eq!((header.uid()?, header.gid()?), (0, 0), "{path}");
            lines.push(match entry.link_name()? {
                Some(target) => format!("{path} -> {}", target.display()),
                None if header.entry_type().is_dir() => format!("{}/", path.trim_end_matches('/')),
                None => path,
            });
        }
        Ok(lines)
    }

    /// What a file says in the archive.
    fn text_of(folder: &Path, dockerfile: &Dockerfile, name: &str) -> Outcome<String> {
        let mut archive = Vec::new();
        Context::open(folder, dockerfile)?.write(&mut archive)?;
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let mut entry = entry?;
            if entry.path()? == Path::new(name) {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                return Ok(text);
            }
        }
        Err(format!("no {name}").into())
    }

    #[test]
    fn files_are_sent_in_order_with_their_modes_and_links_and_without_sockets() -> Outcome {
        let folder = folder(&["Dockerfile", "b", "a/z", "a/b/c"])?;
        let path = folder.path();
        fs::create_dir(path.join("empty"))?;
        symlink("../b", path.join("a/link"))?;
        symlink("/nowhere", path.join("dangling"))?;
        fs::set_permissions(path.join("b"), Permissions::from_mode(0o4751))?;
        let _socket = UnixListener::bind(path.join("socket"))?;
        let long = "long/".repeat(40) + "name";
        write(path, &long, "deep")?;
        let all = sent(path, &named("Dockerfile"))?;
        let short: Vec<&str> = (all.iter().map(String::as_str))
            .filter(|line| !line.starts_with("long"))
            .collect();
        assert_eq!(
            short,
            [
                "Dockerfile",
                "a/",
                "a/b/",
                "a/b/c",
                "a/link -> ../b",
                "a/z",
                "b",
                "dangling -> /nowhere",
                "empty/",
            ]
        );
        assert!(all.contains(&long), "{all:?}");
        assert_eq!(text_of(path, &named("Dockerfile"), &long)?, "deep");

        let mut archive = Vec::new();
        Context::open(path, &named("Dockerfile"))?.write(&mut archive)?;
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let entry = entry?;
            if entry.path()? == Path::new("b") {
                assert_eq!(entry.header().mode()?, 0o4751);
                let mtime = u64::try_from(fs::metadata(path.join("b"))?.mtime())?;
                assert_eq!(entry.header().mtime()?, mtime);
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_left_out_is_not_sent_and_what_the_engine_needs_is() -> Outcome {
        let folder = folder(&[
            "Dockerfile",
            "log/a",
            "log/keep/b",
            "log/keep/c",
            "x/y/z",
            "k",
        ])?;
        let path = folder.path();
        write(path, ".dockerignore", "*\n!k\n!log/keep/b\nx\n")?;
        assert_eq!(
            sent(path, &named("Dockerfile"))?,
            [
                ".dockerignore",
                "Dockerfile",
                "k",
                "log/",
                "log/keep/",
                "log/keep/b"
            ]
        );
        // Read as it is: the engine makes of it what the steps do not see.
        assert_eq!(
            text_of(path, &named("Dockerfile"), ".dockerignore")?,
            "*\n!k\n!log/keep/b\nx\n"
        );
        // A Dockerfile below what is left out.
        write(path, "x/y/Dockerfile", "FROM scratch\n")?;
        let all = sent(path, &named("x/y/Dockerfile"))?;
        assert!(
            all.ends_with(&["x/".into(), "x/y/".into(), "x/y/Dockerfile".into()]),
            "{all:?}"
        );
        Ok(())
    }

    #[test]
    fn the_ignore_file_of_a_dockerfile_comes_before_the_general_one() -> Outcome {
        let folder = folder(&["web.Dockerfile", "a", "b"])?;
        let path = folder.path();
        let web = named("web.Dockerfile");
        write(path, ".dockerignore", "a\n")?;
        assert_eq!(sent(path, &web)?, [".dockerignore", "b", "web.Dockerfile"]);
        write(path, "web.Dockerfile.dockerignore", "b\n")?;
        assert_eq!(
            sent(path, &web)?,
            [
                ".dockerignore",
                "a",
                "web.Dockerfile",
                "web.Dockerfile.dockerignore"
            ]
        );
        // It leaves out what the engine needs: sent, and removed by the engine.
        write(path, "web.Dockerfile.dockerignore", "*\n!b\n")?;
        assert_eq!(sent(path, &web)?, [".dockerignore", "b", "web.Dockerfile"]);
        assert_eq!(
            text_of(path, &web, ".dockerignore")?,
            ".dockerignore\nweb.Dockerfile\n"
        );
        Ok(())
    }

    #[test]
    fn a_dockerfile_that_is_no_file_of_the_context_is_sent_beside_it_and_hidden_from_the_steps()
    -> Outcome {
        let folder = folder(&["Dockerfile", "app/a", "other/Dockerfile"])?;
        let app = folder.path().join("app");
        let own = ".dockerfile.phoenixd";
        let inline = Dockerfile::Inline("FROM scratch\n".to_owned());
        assert_eq!(sent(&app, &inline)?, [".dockerignore", own, "a"]);
        assert_eq!(text_of(&app, &inline, own)?, "FROM scratch\n");
        assert_eq!(
            text_of(&app, &inline, ".dockerignore")?,
            ".dockerignore\n.dockerfile.phoenixd\n"
        );
        assert_eq!(text_of(&app, &named("../Dockerfile"), own)?, "Dockerfile");
        let absolute = folder.path().join("other/Dockerfile");
        let absolute = named(&absolute.to_string_lossy());
        assert_eq!(text_of(&app, &absolute, own)?, "other/Dockerfile");
        // The general file goes on to say what it said.
        write(&app, ".dockerignore", "b")?;
        assert_eq!(sent(&app, &inline)?, [".dockerignore", own, "a"]);
        assert_eq!(
            text_of(&app, &inline, ".dockerignore")?,
            "b\n.dockerfile.phoenixd\n"
        );
        // A link out of the context means nothing to the engine; one within it does.
        symlink("../Dockerfile", app.join("out"))?;
        assert_eq!(text_of(&app, &named("out"), own)?, "Dockerfile");
        symlink("a", app.join("in"))?;
        assert_eq!(Context::open(&app, &named("in"))?.dockerfile(), "in");
        Ok(())
    }

    #[test]
    fn what_cannot_be_sent_is_named() -> Outcome {
        let folder = folder(&["Dockerfile"])?;
        let path = folder.path();
        let problem = |dockerfile: &Dockerfile, at: &Path| match Context::open(at, dockerfile) {
            Ok(_) => String::new(),
            Err(error) => error.to_string().replace(&*path.to_string_lossy(), "."),
        };
        let named = named("Dockerfile");
        assert_eq!(
            problem(&named, &path.join("nope")),
            "the build context `./nope` is not a directory"
        );
        assert_eq!(
            problem(&super::Dockerfile::File("nope".to_owned()), path),
            "there is no Dockerfile `./nope`"
        );
        assert_eq!(
            problem(&super::Dockerfile::File("..".to_owned()), path),
            "there is no Dockerfile `./..`"
        );
        write(path, ".dockerignore", "ok\n[x\n")?;
        assert_eq!(
            problem(&named, path),
            "./.dockerignore:2: `[x` is not a pattern"
        );
        write(path, "Dockerfile", "FROM a\nRUN <<EOT\nEOT\n")?;
        assert_eq!(
            problem(&named, path),
            "Dockerfile:2: a here-document needs BuildKit, and the engine's builder would ignore it"
        );
        Ok(())
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_sent_is_an_error_and_one_that_grows_is_cut() -> Outcome {
        let folder = folder(&[])?;
        let path = folder.path().join("log");
        File::create(&path)?.write_all(b"12345")?;
        let read = |left| {
            let mut exact = Exact {
                left,
                path: &path,
                file: File::open(&path)?,
                error: None,
            };
            let mut text = String::new();
            let read = exact.read_to_string(&mut text);
            Outcome::Ok((read.is_ok(), text, exact.error))
        };
        let (is_read, text, _) = read(3)?;
        assert_eq!((is_read, text.as_str()), (true, "123"));
        let (is_read, _, error) = read(8)?;
        assert!(!is_read);
        assert!(matches!(error, Some(ContextError::Changed(of)) if of == path));
        Ok(())
    }
}
