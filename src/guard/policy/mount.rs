//! What a container may mount: no volume of phoenixes, and no path that leads where it must not (`path`).

use super::super::json::Json;
use super::decide::View;
use super::path::{Access, host_path};

/// `SOURCE:TARGET[:MODE]`, or a volume that is made for the target alone.
pub(super) fn bind(view: &View<'_>, text: &str) -> Result<(), String> {
    let Some((source, rest)) = text.split_once(':') else {
        return Ok(());
    };
    if source.starts_with('/') {
        let modes = rest.split_once(':').map_or("", |(_, modes)| modes);
        let is_read_only = modes.split(',').any(|mode| mode == "ro");
        return host_path(view, source, Access::of(is_read_only));
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
        _ if source.starts_with('/') => {
            // What is mounted below it stays writable with `ReadOnlyNonRecursive` (Docker 25 and later).
            let options = mount.field("BindOptions");
            let is_shallow = *options.field("ReadOnlyNonRecursive") == Json::Bool(true);
            let is_read_only = *mount.field("ReadOnly") == Json::Bool(true) && !is_shallow;
            host_path(view, source, Access::of(is_read_only))
        }
        "bind" => Err(odd.to_owned()),
        _ => Err("this type of mount is not known".to_owned()),
    }
}

/// What the driver `local` is asked to make. Other drivers are plugins that the host's owner installed, and what their
/// options mean is not known here.
pub(super) fn volume_driver(view: &View<'_>, driver: &str, options: &Json) -> Result<(), String> {
    if !matches!(driver, "" | "local") {
        return Ok(());
    }
    let (mut kind, mut flags, mut device) = ("", "", "");
    for (name, value) in options.pairs().ok_or("the driver's options are no map")? {
        let value = value.text().ok_or("an option of the driver is no text")?;
        match name.as_str() {
            "type" => kind = value,
            "o" => flags = value,
            "device" => device = value,
            _ => return Err(format!("the volume's option `{name}` is not known")),
        }
    }
    local_volume(view, kind, flags, device)
}

/// dockerd hands the three options to mount(2) (moby 20.10 and 28, `volume/local/local_unix.go`), without mount(8)'s
/// helpers. `bind` among the flags makes it a bind mount whatever the type is, and what is relative is so to a directory
/// of dockerd's. Without type and device nothing is mounted; 20.10 mounts a device without a type.
fn local_volume(view: &View<'_>, kind: &str, flags: &str, device: &str) -> Result<(), String> {
    let refused = |why: &str| {
        Err(format!(
            "a volume of type `{kind}` with the device `{device}` is refused: {why}"
        ))
    };
    if device.split('/').any(|part| part == "..") {
        return refused("the device leads upwards");
    }
    // Values that are paths (`o=lowerdir=/a:/b`), of whatever type.
    for path in flags
        .split([',', '=', ':'])
        .filter(|at| at.starts_with('/'))
    {
        host_path(view, path, Access::Write)?;
    }
    let has = |known: &str| (flags.split(',')).any(|flag| flag.trim().eq_ignore_ascii_case(known));
    if has("remount") {
        return refused("it would change another mount");
    }
    let is_bind = has("bind") || has("rbind");
    // An NFS export (`:/path`) is a path of another host, or of this one; refused all the same where ours would be.
    match kind {
        "" | "none" | "bind" | "tmpfs" | "nfs" | "nfs4" | "cifs" | "smb3" if is_bind => {
            if !device.starts_with('/') {
                return refused("only an absolute path is bound");
            }
            // `ro` or not: it is a container's mount that says whether it is written to.
            host_path(view, device, Access::Write)
        }
        "" if device.is_empty() => Ok(()),
        "" | "none" | "bind" => refused("without `bind` among its flags it is no bind mount"),
        "tmpfs" => Ok(()),
        "nfs" | "nfs4" => match device.split_once(":/") {
            Some((host, path)) if !host.contains('/') => {
                host_path(view, &format!("/{path}"), Access::Read)
            }
            Some(_) | None => refused("the device is no `HOST:/PATH`"),
        },
        "cifs" | "smb3" => {
            let rest = device.strip_prefix("//").unwrap_or_default();
            match rest.split_once('/') {
                Some((host, share)) if !host.is_empty() && !share.is_empty() => Ok(()),
                Some(_) | None => refused("the device is no `//HOST/SHARE`"),
            }
        }
        _ => refused(
            "only tmpfs, nfs, nfs4, cifs, smb3 and bind mounts lead neither into the kernel nor to a disk",
        ),
    }
}
