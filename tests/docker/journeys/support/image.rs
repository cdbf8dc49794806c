//! The image of the journeys: the built binary as its demo application, and nothing else. No registry is needed.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::Engine;
use crate::fixture::unique;

/// An image on the engine, for as long as a journey needs it.
pub(crate) struct Image {
    engine: Engine,
    pub(crate) name: String,
}

impl Drop for Image {
    fn drop(&mut self) {
        // A container of a test that failed may still hold it; the name is gone all the same.
        drop(
            self.engine
                .call("DELETE", &format!("/images/{}?force=1", self.name), None),
        );
    }
}

/// The image, made unless another journey has it.
pub(crate) fn shared(engine: &Engine) -> Arc<Image> {
    static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().expect("no test panics in here");
    if let Some(image) = shared.upgrade() {
        return image;
    }
    // A name of its own: that of the last one may be about to be removed.
    let name = name_of("phoenixd-journey");
    let changes = [
        r#"ENTRYPOINT ["/phoenixd","demo-app"]"#,
        "USER 65534:65534",
        "EXPOSE 8080",
    ];
    engine.import(&name, &changes, root());
    let image = Arc::new(Image {
        engine: engine.clone(),
        name,
    });
    *shared = Arc::downgrade(&image);
    image
}

/// An image of this very program, which then plays a replica: see `edge_replica`.
pub(crate) fn of_this_program(engine: &Engine, test: &str) -> Image {
    let name = name_of("phoenixd-journey-replica");
    let entrypoint = format!(r#"ENTRYPOINT ["/phoenixd","{test}","--exact","--nocapture"]"#);
    let changes = [entrypoint.as_str(), "USER 65534:65534", "EXPOSE 8080"];
    let own = std::env::current_exe().expect("this program's path");
    engine.import(&name, &changes, &archive(&own));
    Image {
        engine: engine.clone(),
        name,
    }
}

/// The image with this host's shell and `sleep` in it, what they need, and a script `/check`.
pub(crate) fn with_shell(engine: &Engine) -> Image {
    let name = name_of("phoenixd-journey-shell");
    let changes = [
        r#"ENTRYPOINT ["/phoenixd","demo-app"]"#,
        "USER 65534:65534",
        "ENV PATH=/bin",
    ];
    let mut archive = tar::Builder::new(root_of(env!("CARGO_BIN_EXE_phoenixd").as_ref()));
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        let path = path.trim_start_matches('/');
        archive
            .append_data(&mut header, path, bytes)
            .expect("append");
    };
    add("/check", b"#!/bin/sh\nexec sleep 0.2\n");
    let mut libraries = std::collections::BTreeSet::new();
    for program in ["/bin/sh", "/bin/sleep"] {
        add(program, &std::fs::read(program).expect("a program"));
        let told = Command::new("ldd").arg(program).output().expect("ldd");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let paths = told.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(paths.map(str::to_owned));
    }
    for library in &libraries {
        add(library, &std::fs::read(library).expect("a library"));
    }
    engine.import(&name, &changes, &archive.into_inner().expect("archive"));
    Image {
        engine: engine.clone(),
        name,
    }
}

/// Two tests may ask in the same millisecond.
fn name_of(repository: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{repository}:{}-{number}", unique())
}

fn root() -> &'static [u8] {
    static ROOT: OnceLock<Vec<u8>> = OnceLock::new();
    ROOT.get_or_init(|| archive(env!("CARGO_BIN_EXE_phoenixd").as_ref()))
}

/// An archive of one file: the binary, without its debug symbols where `strip` is here.
fn archive(binary: &Path) -> Vec<u8> {
    let archive = tar::Builder::new(root_of(binary));
    archive.into_inner().expect("archive")
}

/// The same before its end.
fn root_of(binary: &Path) -> Vec<u8> {
    let mut program = Vec::new();
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("phoenixd");
    let is_stripped = Command::new("strip")
        .args(["--strip-all", "-o"])
        .arg(&stripped)
        .arg(binary)
        .status()
        .is_ok_and(|status| status.success());
    let path = if is_stripped {
        stripped.as_path()
    } else {
        binary
    };
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut program))
        .expect("the built binary");
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "phoenixd", program.as_slice())
        .expect("append");
    archive.get_ref().clone()
}
