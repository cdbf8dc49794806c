//! The image of the journeys: the built binary as its demo application, and nothing else. No registry is needed.

use std::io::Read;
use std::process::Command;
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
    let name = format!("phoenixd-journey:{}", unique());
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

/// An archive of one file: the binary, without its debug symbols where `strip` is here.
fn root() -> &'static [u8] {
    static ROOT: OnceLock<Vec<u8>> = OnceLock::new();
    ROOT.get_or_init(|| {
        let binary = env!("CARGO_BIN_EXE_phoenixd");
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
            binary.as_ref()
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
        archive.into_inner().expect("archive")
    })
}
