//! Where traffic is forwarded, and the image of the containers that do it.
//!
//! Not here: what a pod is (`daemon`).

use std::io;
use std::path::Path;

use tokio::net::unix::pipe::Receiver;
use tracing::{debug, info, warn};

use super::context::{Connected, Context, engine_complaint};
use super::output::Complaint;
use crate::daemon::{EdgeSockets, POD_IMAGE, PodGround, ResolvedProject, obstacle};
use crate::docker::Engine;
use crate::own_image;
use crate::report::Chain;
use crate::spec::{ImageId, ImageRef, ProjectName};

/// The user of an edge where phoenixd is root: `nobody`, as everywhere.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// A project whose services have their pods.
pub(super) struct Placed {
    pub(super) resolved: ResolvedProject,
    /// The pods' image, where the engine has it for this only since then.
    imported: Option<ImageRef>,
}

impl Placed {
    fn without(resolved: ResolvedProject) -> Self {
        Self {
            resolved,
            imported: None,
        }
    }

    /// Nothing was started: what the engine was given for that goes again.
    pub(super) async fn forget(&self, connected: &Connected) {
        if let Some(image) = &self.imported {
            remove_image(connected, image).await;
        }
    }
}

/// Where traffic is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forwarding {
    /// By containers of their own.
    Pods,
    /// By the supervisor's process.
    Inside,
}

impl Context {
    /// Gives the services their pods, where they have any. With `import` the engine has the image then.
    pub(super) async fn place_pods(
        &self,
        mut resolved: ResolvedProject,
        connected: &Connected,
        import: bool,
    ) -> Result<Placed, Complaint> {
        let project = resolved.project.name.clone();
        let sockets = self.edge_sockets(&project, &connected.identity.id)?;
        match (self.forwarding()?, self.why_no_pods(connected, &sockets)) {
            (Some(Forwarding::Inside), _) => return Ok(Placed::without(resolved)),
            (Some(Forwarding::Pods), Some((why, remedy))) => {
                let text = format!(
                    "edges in containers need an engine that shares files and users with phoenixd: {why}"
                );
                let hint = format!("{remedy}, or set PHOENIXD_EDGE to `inside`");
                return Err(Complaint::unmet(text).hint(hint));
            }
            (None, Some((why, remedy))) => {
                let mut services = resolved.services.values();
                if import && services.any(|one| !one.service.published.is_empty()) {
                    warn!(
                        why,
                        remedy,
                        "this process forwards by itself: while it does not run, published ports are closed"
                    );
                }
                return Ok(Placed::without(resolved));
            }
            (Some(Forwarding::Pods) | None, None) => {}
        }
        let archive = own_image::archive(Path::new(OWN_BINARY), POD_IMAGE, Some(&project))
            .map_err(|error| {
                Complaint::unmet(format!(
                    "cannot make the image of the edge: {}",
                    Chain(&error)
                ))
            })?;
        let (image, id) = (archive.reference.clone(), archive.id.clone());
        let mut known = known_id(connected, &image).await?;
        let imported = (known.is_none() && import).then(|| image.clone());
        if known.is_none() && import {
            let tagged = connected.docker.tag_image(&id, &image).await;
            // Another project's pods may be of the same binary.
            if !tagged.map_err(|error| engine_complaint(&error))? {
                info!(%image, "importing");
                import_image(connected, archive).await?;
            }
            known = known_id(connected, &image).await?;
        }
        resolved.place_pods(PodGround {
            image,
            image_id: known.unwrap_or(id),
            user: self.edge_user(),
            sockets,
        });
        Ok(Placed { resolved, imported })
    }

    /// Where the control sockets of a project's edges are.
    pub(super) fn edge_sockets(
        &self,
        project: &ProjectName,
        engine: &str,
    ) -> Result<EdgeSockets, Complaint> {
        EdgeSockets::new(&self.runtime_base(), project, engine).map_err(|error| {
            Complaint::unexpected(format!("cannot tell the working directory: {error}"))
        })
    }

    /// What is in the way of edges in containers, and what to do about it.
    fn why_no_pods(
        &self,
        connected: &Connected,
        sockets: &EdgeSockets,
    ) -> Option<(String, &'static str)> {
        if let Some(why) = connected.hides_files() {
            return Some((why.to_owned(), "run phoenixd on the engine's host"));
        }
        if connected.maps_users() {
            let text = "it maps users".to_owned();
            return Some((text, "use an engine that does not"));
        }
        if !sockets.have_room() {
            let base = self.runtime_base();
            let text = format!(
                "below {} the paths of their control sockets are longer than the kernel takes",
                base.display()
            );
            return Some((text, "set PHOENIXD_RUNTIME_DIR to a shorter directory"));
        }
        let gives_away = self.environment.user().0 == 0;
        obstacle(&self.runtime_base(), gives_away)
    }

    fn forwarding(&self) -> Result<Option<Forwarding>, Complaint> {
        match self.environment.edge() {
            None => Ok(None),
            Some("pod") => Ok(Some(Forwarding::Pods)),
            Some("inside") => Ok(Some(Forwarding::Inside)),
            Some(other) => {
                let text = format!("PHOENIXD_EDGE is `{}`", crate::report::escape(other));
                Err(Complaint::unmet(text).hint("it may be `pod` or `inside`"))
            }
        }
    }

    /// Whoever may open the directories of the control sockets besides root.
    fn edge_user(&self) -> (u32, u32) {
        match self.environment.user() {
            (0, _) => NOBODY,
            own => own,
        }
    }
}

/// This binary, even if its file was replaced or removed since.
const OWN_BINARY: &str = "/proc/self/exe";

/// The image's id on the engine, where it is there.
async fn known_id(connected: &Connected, image: &ImageRef) -> Result<Option<ImageId>, Complaint> {
    let known = connected.docker.image(image).await;
    let facts = known.map_err(|error| engine_complaint(&error))?;
    Ok(facts.map(|facts| facts.id))
}

/// Through a pipe, as an archive is read by blocking: so it needs no space on any disk, which may be full.
pub(super) async fn import_image(
    connected: &Connected,
    archive: own_image::Archive,
) -> Result<(), Complaint> {
    let cannot = |error: io::Error| {
        Complaint::unmet(format!("cannot send the image to the engine: {error}"))
    };
    let (from, mut to) = io::pipe().map_err(cannot)?;
    let from = Receiver::from_owned_fd(from.into()).map_err(cannot)?;
    let sent = tokio::task::spawn_blocking(move || io::copy(&mut archive.into_reader(), &mut to));
    // Whoever takes no more of it ends the sending, too.
    let loaded = connected.docker.load_image(from).await;
    loaded.map_err(|error| engine_complaint(&error))?;
    let sent = sent.await.map_err(|error| {
        Complaint::unexpected(format!("cannot send the image to the engine: {error}"))
    })?;
    sent.map(drop).map_err(cannot)
}

/// Removes the images of a project's pods, those of earlier versions of phoenixd among them. What somebody still uses the
/// engine keeps.
pub(super) async fn remove_images(connected: &Connected, project: &ProjectName) {
    let label = format!("{}={}", own_image::LABEL, POD_IMAGE.label);
    let named = match connected.docker.images_labelled(&label).await {
        Ok(named) => named,
        Err(error) => {
            debug!(error = %Chain(&error), "the edge's images stay");
            return;
        }
    };
    for image in named
        .iter()
        .filter(|image| own_image::is_of(image, POD_IMAGE, project))
    {
        remove_image(connected, image).await;
    }
}

async fn remove_image(connected: &Connected, image: &ImageRef) {
    if let Err(error) = connected.docker.remove_image(image).await {
        debug!(%image, error = %Chain(&error), "the edge's image stays");
    }
}
