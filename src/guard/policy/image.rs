//! Images: a name that replicas are born from is moved by phoenixd alone. A replacement is born from what its name means.

use super::super::routes::Route;
use super::Asked;

impl Asked<'_> {
    pub(super) fn image(&self) -> Result<(), String> {
        let managed = self.view.managed;
        match self.matched.route {
            Route::ImageLoad => self.opaque("an archive can move any image's name"),
            Route::ImageCreate => {
                if !self.query("fromSrc")?.is_empty() {
                    return self.opaque("an import can move any image's name");
                }
                self.image_name_is_free("fromImage", "tag")
            }
            Route::ImageTag => self.image_name_is_free("repo", "tag"),
            Route::ImageRemove => {
                let name = &self.matched.name;
                if managed.is_image(name, false) {
                    return self
                        .view
                        .signed_only(&format!("phoenixes are born from `{name}`"));
                }
                Ok(())
            }
            Route::Free
            | Route::ContainerRead
            | Route::ContainerChanges
            | Route::ContainerDoor
            | Route::ContainerLife
            | Route::ContainerStart
            | Route::ContainerRename
            | Route::ContainerUpdate
            | Route::ContainerCreate
            | Route::ExecCreate
            | Route::ExecUse
            | Route::Commit
            | Route::Prune
            | Route::NetworkCreate
            | Route::NetworkJoin
            | Route::NetworkRemove
            | Route::VolumeCreate
            | Route::VolumeChange
            | Route::Build
            | Route::BuildSession
            | Route::Closed => self.opaque("this is no request for an image"),
        }
    }

    /// What can move any name is phoenixd's while there are names to move, unless the host's owner says otherwise.
    fn opaque(&self, what: &str) -> Result<(), String> {
        if !self.view.managed.has_images() || self.view.site.load {
            return Ok(());
        }
        let hint = "`phoenixd guard serve --allow load` permits it";
        self.view.signed_only(&format!("{what} ({hint})"))
    }

    /// The name that two parameters make is none that replicas are born from.
    pub(super) fn image_name_is_free(&self, repository: &str, tag: &str) -> Result<(), String> {
        let (name, tag) = (self.query(repository)?, self.query(tag)?);
        if name.is_empty() {
            return Ok(());
        }
        // 20.10 takes a digest in front of a tag, and forgets it (measured: `repo=app@sha256:…&tag=1` names `app:1`).
        if name.contains('@') && !tag.is_empty() && !tag.contains(':') {
            return Err(format!("`{name}` has a digest, and is given a tag besides"));
        }
        // A digest moves no name. Without any tag dockerd pulls them all.
        let full = format!("{name}:{tag}");
        let is_ours = if tag.contains(':') {
            false
        } else if tag.is_empty() {
            self.view.managed.is_image(name, !name.contains('@'))
        } else {
            // Either of two tags may be the one that counts.
            self.view.managed.is_image(&full, false)
                || self.view.managed.is_image(name, false)
                || self.view.managed.is_image(without_tag(name), false) && tag == "latest"
                || self.is_tag_of(name, tag)
        };
        if is_ours {
            return self
                .view
                .signed_only(&format!("phoenixes are born from `{name}`"));
        }
        Ok(())
    }

    /// A name that has a tag already, with another in its place.
    fn is_tag_of(&self, name: &str, tag: &str) -> bool {
        let again = format!("{}:{tag}", without_tag(name));
        self.view.managed.is_image(&again, false)
    }

    pub(super) fn build(&self) -> Result<(), String> {
        if self.view.site.build || self.view.is_signed() {
            return Ok(());
        }
        Err(
            "a build runs containers that no create is seen of (`phoenixd guard serve --allow build` permits it)"
                .to_owned(),
        )
    }
}

/// The repository of a name.
fn without_tag(name: &str) -> &str {
    let last = name.rfind('/').map_or(0, |at| at + 1);
    match name.get(last..).and_then(|component| component.find(':')) {
        Some(colon) => name.get(..last + colon).unwrap_or(name),
        None => name,
    }
}
