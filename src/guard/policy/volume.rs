//! Volumes.

use super::super::routes::Route;
use super::create::own_label;
use super::{Asked, mount};

impl Asked<'_> {
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
