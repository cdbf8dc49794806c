//! Gathers what there is to see of a tainted replica: the engine's answers, and with them what the host shows.
//!
//! Not here: how it is written down and how much is kept (`witness::evidence`), and when (`reconcile`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Catalog;
use crate::docker::{Engine, Part};
use crate::spec::{ContainerId, FileKind, ReplicaName};
use crate::witness::evidence::{self, Captured, Piece, Request, Retention, Secrets};

/// For the whole capture: a frozen replica is to be gone soon.
const LIMIT: Duration = Duration::from_secs(30);
/// Of that, for the host's part.
const HOST_LIMIT: Duration = Duration::from_secs(10);
/// Where this host shows its processes. Of a container on another host there are none here, which the capture says.
const PROC: &str = "/proc";

/// Captures what there is to see of a container, and writes it down.
///
/// # Errors
/// In words: why there is no evidence, or none that is whole. Gives up in bounded time.
pub(super) async fn capture<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    directory: &Path,
    replica: &ReplicaName,
    id: &ContainerId,
) -> Result<Captured, String> {
    let captured = tokio::time::timeout(LIMIT, async {
        let parts = engine.evidence(id).await;
        if parts.iter().all(|part| part.content.is_err()) {
            let why = parts.into_iter().find_map(|part| part.content.err());
            return Err(why.unwrap_or_else(|| "there is nothing to see".to_owned()));
        }
        // Without its layer there is less to see, which is no reason to keep nothing.
        let vitals = engine.vitals(id).await.ok().flatten();
        let request = Request {
            directory: directory.to_owned(),
            replica: replica.clone(),
            id: id.clone(),
            proc_root: Some(PathBuf::from(PROC)),
            upper: vitals.and_then(|vitals| vitals.upper),
            secrets: secrets(catalog),
            retention: Retention::STANDARD,
            limit: HOST_LIMIT,
        };
        let pieces = parts.into_iter().map(piece).collect();
        let written = tokio::task::spawn_blocking(move || evidence::capture(&request, pieces));
        let written = written.await.map_err(|error| error.to_string())?;
        written.map_err(|error| format!("cannot write {}: {error}", directory.display()))
    });
    let limit = humantime::format_duration(LIMIT);
    captured
        .await
        .unwrap_or_else(|_| Err(format!("the evidence could not be captured within {limit}")))
}

fn piece(part: Part) -> Piece {
    Piece {
        name: part.name,
        content: part.content,
    }
}

/// What the project's secrets hold: it is not kept.
fn secrets(catalog: &Catalog) -> Secrets {
    let files = catalog.containers.values().flat_map(|spec| &spec.files);
    let secrets = files.filter(|file| file.kind == FileKind::Secret);
    Secrets::new(secrets.map(|file| file.content.bytes().to_vec()))
}
