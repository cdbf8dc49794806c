//! Networks and volumes.

use super::super::managed::Hold;
use super::super::routes::Route;
use super::create::own_label;
use super::{Asked, mount};

impl Asked<'_> {
    pub(super) fn network(&self) -> Result<(), String> {
        let name = &self.matched.name;
        let managed = self.view.managed;
        let ours = |name: &str| {
            let what = format!("`{name}` is a network of phoenixes");
            self.view.signed_only(&what)
        };
        if self.matched.route == Route::NetworkCreate {
            let odd = "the network's name is no text";
            let name = self.json.field("Name").text().ok_or(odd)?;
            if managed.is_network(name) || own_label(self.json.field("Labels"))? {
                return ours(name);
            }
            return Ok(());
        }
        if managed.is_network(name) {
            return ours(name);
        }
        if self.matched.route != Route::NetworkJoin {
            return Ok(());
        }
        let container = self.json.field("Container").text();
        let container = container.ok_or("the body names no container")?;
        match managed.container(container) {
            Hold::Free => Ok(()),
            Hold::Held(why) => self.view.signed_only(&format!("`{container}`: {why}")),
            Hold::Glass { .. } => {
                let what = format!("`{container}`: it is managed by phoenixd");
                self.view.signed_only(&what)
            }
        }
    }

    pub(super) fn volume(&self) -> Result<(), String> {
        let managed = self.view.managed;
        let ours = |name: &str| {
            let what = format!("`{name}` is a volume of phoenixes");
            self.view.signed_only(&what)
        };
        if self.matched.route != Route::VolumeCreate {
            let name = &self.matched.name;
            return if managed.is_volume(name) {
                ours(name)
            } else {
                Ok(())
            };
        }
        let odd = "the volume's name is no text";
        let name = self.json.field("Name").text().ok_or(odd)?;
        if managed.is_volume(name) || own_label(self.json.field("Labels"))? {
            return ours(name);
        }
        if self.view.is_signed() {
            return Ok(());
        }
        let driver = self.json.field("Driver").text();
        let driver = driver.ok_or("the driver is no text")?;
        mount::volume_driver(self.view, driver, self.json.field("DriverOpts"))
    }
}
