//! The image of the tests' containers: this very program, which is static, waiting for SIGTERM.
//!
//! No registry is needed, and none is reached from a private engine.

use std::io::Cursor;
use std::sync::{Arc, OnceLock, Weak};

use phoenixd::docker::Docker;
use phoenixd::spec::ImageRef;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::fixture::{detached, unique};

/// Says to the program that it is in a container.
const MARK: &str = "PHOENIXD_TEST_APP";

/// The image, while a test needs it.
pub(crate) struct Image(String);

impl Image {
    pub(crate) fn name(&self) -> ImageRef {
        ImageRef::new(self.0.clone())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let name = self.name();
        detached(async move |docker| {
            // A container of a test that failed may still hold it; the name is gone all the same.
            docker.remove_image(&name).await.expect("remove the image");
        });
    }
}

/// Loads the image, unless another test has it loaded.
pub(crate) async fn shared(docker: &Docker) -> Arc<Image> {
    static SHARED: Mutex<Weak<Image>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(image) = shared.upgrade() {
        return image;
    }
    // A name of its own: that of the last one may be about to be removed.
    let name = format!("phoenixd-test:{}", unique());
    let archive = archive(&name);
    docker
        .load_image(Cursor::new(archive))
        .await
        .expect("load the image");
    let image = Arc::new(Image(name));
    *shared = Arc::downgrade(&image);
    image
}

/// An archive as `docker save` writes it (Docker Image Specification v1.2): one layer with one file.
pub(crate) fn archive(name: &str) -> Vec<u8> {
    static LAYER: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    let (layer, digest) = LAYER.get_or_init(|| {
        let program = std::fs::read("/proc/self/exe").expect("this program");
        let layer = tar_of(&[("app", 0o755, &program)]);
        let digest = hex::encode(Sha256::digest(&layer));
        (layer, digest)
    });
    let config = serde_json::json!({
        "architecture": match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        "os": "linux",
        "config": {
            "User": "65534:65534",
            "Env": [format!("{MARK}=1")],
            "Entrypoint": ["/app", "--exact", "image::app", "--nocapture"],
            "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
            // An id of its own: the engine may be removing the one that was loaded before under another name.
            "Labels": {"phoenixd.test": name},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    })
    .to_string();
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }])
    .to_string();
    tar_of(&[
        ("config.json", 0o644, config.as_bytes()),
        ("layer.tar", 0o644, layer),
        ("manifest.json", 0o644, manifest.as_bytes()),
    ])
}

fn tar_of(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, path, *bytes)
            .expect("append");
    }
    archive.into_inner().expect("archive")
}

/// Not a test: what runs in the containers. Outside of one it ends at once.
#[tokio::test]
async fn app() {
    if std::env::vars_os().any(|(name, _)| name == MARK) {
        let mut terminate = signal(SignalKind::terminate()).expect("signal");
        terminate.recv().await;
    }
}
