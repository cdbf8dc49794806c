//! Networks: those of phoenixes alone are nobody else's, and on the others nobody has a phoenix's name.

use super::super::json::Json;
use super::super::managed::Hold;
use super::super::routes::Route;
use super::Asked;
use super::create::{before_colon, is_foreign, own_label, text, texts};
use super::decide::View;

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
            return leads_elsewhere(self.view, self.json.field("Options"));
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
            Hold::Free => self.connect(container),
            // Its networks lead nowhere while it does not run.
            Hold::Joining => Ok(()),
            Hold::Held(why) => self.view.signed_only(&format!("`{container}`: {why}")),
            Hold::Glass { .. } => {
                let what = format!("`{container}`: it is managed by phoenixd");
                self.view.signed_only(&what)
            }
        }
    }

    /// A container of somebody else's comes onto a network, or leaves it.
    fn connect(&self, container: &str) -> Result<(), String> {
        if self.view.is_signed() {
            return Ok(());
        }
        let endpoint = self.json.field("EndpointConfig");
        endpoint.pairs().ok_or("`EndpointConfig` is no object")?;
        let mut names = names(self.view, endpoint)?;
        names.push(container);
        let id = text(endpoint, "NetworkID")?;
        has_no_name_of_ours(self.view, &self.matched.name, &names)?;
        has_no_name_of_ours(self.view, id, &names)
    }
}

/// A network of somebody else's whose driver is told to use the bridge of one of phoenixes alone (`parent` of macvlan and
/// ipvlan, with a VLAN after a dot, or `com.docker.network.bridge.name`) would be that network. Bridges are called `br-` and
/// the first digits of the id (moby 20.10 and 28, `libnetwork/drivers/bridge`).
fn leads_elsewhere(view: &View<'_>, options: &Json) -> Result<(), String> {
    for (name, value) in options.pairs().ok_or("the network's options are no map")? {
        let value = value.text().ok_or("an option of the network is no text")?;
        let bridge = value.split('.').next().unwrap_or_default();
        let id = bridge.strip_prefix("br-").unwrap_or_default();
        if !id.is_empty() && view.managed.is_network(id) {
            return Err(format!(
                "`{name}` leads to `{bridge}`, the bridge of a network of phoenixes"
            ));
        }
    }
    Ok(())
}

/// The names that somebody wants to have on a network. No link of theirs leads to what is managed.
pub(super) fn names<'j>(view: &View<'_>, endpoint: &'j Json) -> Result<Vec<&'j str>, String> {
    for link in texts(endpoint, "Links")? {
        is_foreign(view, before_colon(link))?;
    }
    let mut names = texts(endpoint, "Aliases")?;
    names.extend(texts(endpoint, "DNSNames")?);
    Ok(names)
}

/// Whoever has a phoenix's name gets a part of its traffic.
pub(super) fn has_no_name_of_ours(
    view: &View<'_>,
    network: &str,
    names: &[&str],
) -> Result<(), String> {
    let ours = (names.iter()).find(|name| view.managed.is_name_on(network, name));
    ours.map_or(Ok(()), |name| {
        Err(format!(
            "on the network `{network}` the name `{name}` is a phoenix's alone"
        ))
    })
}
