//! What a container may mount of the host: nothing that leads to a managed container, or to the host itself.

use super::super::json::Json;
use super::decide::View;
use crate::spec::{host_path_refusal, is_within, normalize};

/// A path of the host, as written and as resolved. What is swapped for a symlink between this look and dockerd's is not
/// noticed here; the witnesses of a replica notice what is done through it.
pub(super) fn host_path(view: &View<'_>, path: &str) -> Result<(), String> {
    let resolved = (view.resolve)(path);
    for path in [path, resolved.as_str()] {
        let refused = |why: &str| Err(format!("the path `{path}` may not be mounted: {why}"));
        if let Some(why) = host_path_refusal(path) {
            return refused(why);
        }
        let normal = normalize(path);
        if normal.rsplit('.').next() == Some("sock") {
            return refused("it is a socket");
        }
        if is_within(&normal, "/run") || is_within(&normal, "/var/run") {
            return refused("it is where sockets and process ids of the host are");
        }
        let is_related = |dir: &str| {
            let dir = normalize(dir);
            is_within(&normal, &dir) || is_within(&dir, &normal)
        };
        if view.managed.paths().any(is_related) {
            return refused("it is phoenixd's own");
        }
    }
    Ok(())
}

/// `SOURCE:TARGET[:MODE]`, or a volume that is made for the target alone.
pub(super) fn bind(view: &View<'_>, text: &str) -> Result<(), String> {
    let Some((source, _)) = text.split_once(':') else {
        return Ok(());
    };
    if source.starts_with('/') {
        return host_path(view, source);
    }
    volume(view, source)
}

/// A volume by its name.
pub(super) fn volume(view: &View<'_>, name: &str) -> Result<(), String> {
    if view.managed.is_volume(name) {
        return Err(format!("`{name}` is a volume of phoenixes"));
    }
    Ok(())
}

/// One of `HostConfig.Mounts`.
pub(super) fn mount(view: &View<'_>, mount: &Json) -> Result<(), String> {
    let odd = "a mount is not what dockerd takes";
    let kind = mount.field("Type").text().ok_or(odd)?;
    let source = mount.field("Source").text().ok_or(odd)?;
    match kind {
        "tmpfs" | "image" => Ok(()),
        "volume" => {
            volume(view, source)?;
            let driver = mount.field("VolumeOptions").field("DriverConfig");
            let name = driver.field("Name").text().ok_or(odd)?;
            volume_driver(view, name, driver.field("Options"))
        }
        // `bind`, and whatever comes later.
        _ if source.starts_with('/') => host_path(view, source),
        "bind" => Err(odd.to_owned()),
        _ => Err("this type of mount is not known".to_owned()),
    }
}

/// The options of the driver `local` are those of mount(8), and so are its ways to the host.
pub(super) fn volume_driver(view: &View<'_>, driver: &str, options: &Json) -> Result<(), String> {
    if !matches!(driver, "" | "local") {
        return Ok(());
    }
    let pairs = options.pairs().ok_or("the driver's options are no map")?;
    for (_, value) in pairs {
        let value = value.text().ok_or("an option of the driver is no text")?;
        for path in value
            .split([',', '=', ':'])
            .filter(|part| part.starts_with('/'))
        {
            // An NFS export (`:/path`) is a path of another host; refused all the same where ours would be.
            host_path(view, path)?;
        }
    }
    Ok(())
}
