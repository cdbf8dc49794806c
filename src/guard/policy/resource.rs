//! Networks and volumes.

use super::super::managed::Hold;
use super::super::routes::Route;
use super::create::own_label;
use super::{Asked, mount};

impl Asked<'_> {
    pub(super) fn resource(&self) -> Result<(), String> {
        let name = &self.matched.name;
        let managed = self.view.managed;
        match self.matched.route {
            Route::NetworkJoin => {
                let container = self.json.field("Container").text();
                let container = container.ok_or("the body names no container")?;
                if managed.is_network(name) {
                    return self
                        .view
                        .signed_only(&format!("`{name}` is a network of phoenixes"));
                }
                match managed.container(container) {
                    Hold::Free => Ok(()),
                    Hold::Held(why) => self.view.signed_only(&format!("`{container}`: {why}")),
                    Hold::Glass { .. } => self
                        .view
                        .signed_only(&format!("`{container}`: it is managed by phoenixd")),
                }
            }
            Route::NetworkRemove if managed.is_network(name) => self
                .view
                .signed_only(&format!("`{name}` is a network of phoenixes")),
            Route::VolumeChange if managed.is_volume(name) => self
                .view
                .signed_only(&format!("`{name}` is a volume of phoenixes")),
            Route::NetworkCreate => {
                let name = self
                    .json
                    .field("Name")
                    .text()
                    .ok_or("the network's name is no text")?;
                if managed.is_network(name) || own_label(self.json.field("Labels"))? {
                    return self
                        .view
                        .signed_only(&format!("`{name}` is a network of phoenixes"));
                }
                Ok(())
            }
            Route::VolumeCreate => {
                let name = self
                    .json
                    .field("Name")
                    .text()
                    .ok_or("the volume's name is no text")?;
                if managed.is_volume(name) || own_label(self.json.field("Labels"))? {
                    return self
                        .view
                        .signed_only(&format!("`{name}` is a volume of phoenixes"));
                }
                if self.view.is_signed() {
                    return Ok(());
                }
                let driver = self
                    .json
                    .field("Driver")
                    .text()
                    .ok_or("the driver is no text")?;
                mount::volume_driver(self.view, driver, self.json.field("DriverOpts"))
            }
            Route::NetworkRemove | Route::VolumeChange => Ok(()),
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
            | Route::ImageLoad
            | Route::ImageCreate
            | Route::ImageTag
            | Route::ImageRemove
            | Route::Build
            | Route::BuildSession
            | Route::Closed => Err("this is no request for a network or a volume".to_owned()),
        }
    }
}
