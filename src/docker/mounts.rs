//! Mounts of a create body: volumes, bind mounts, images.
//!
//! There are two ways to say one: `Binds`, a text, and `Mounts`, a structure. Where a mount means the same in both, the
//! way of docker/compose v2.40.3 is taken (`pkg/compose/create.go`, `buildContainerVolumes`), but for what makes an
//! older engine do less: only `Binds` makes a missing directory of the host on every engine, and relabels for `SELinux`.

use bollard::models::{
    Mount as WireMount, MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions,
    MountType, MountVolumeOptions,
};

use super::body::some_map;
use crate::spec::{FileMount, Mount, MountSource, Recursive};

/// `Binds` and `Mounts`.
pub(super) fn split(mounts: &[Mount]) -> (Vec<String>, Vec<WireMount>) {
    let mut binds = Vec::new();
    let mut others = Vec::new();
    for mount in mounts {
        match bind_text(mount) {
            Some(text) => binds.push(text),
            None => others.push(wire_mount(mount)),
        }
    }
    (binds, others)
}

/// `source:target:ro,z,rprivate`, for what can be said so: no subpath, no labels, no colon in a path, a source.
fn bind_text(mount: &Mount) -> Option<String> {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    let source = match &mount.source {
        MountSource::Bind {
            path,
            create,
            selinux,
            propagation,
            recursive: Recursive::Enabled,
        } => {
            if !create && selinux.is_none() {
                return None;
            }
            options.extend(selinux.as_deref());
            options.extend(propagation.as_deref());
            path.as_str()
        }
        MountSource::Volume {
            name,
            nocopy: false,
            subpath: None,
            labels,
        } if labels.is_empty() => name.as_str(),
        MountSource::Bind { .. }
        | MountSource::Volume { .. }
        | MountSource::Anonymous { .. }
        | MountSource::Image { .. } => return None,
    };
    (!source.contains(':') && !mount.target.contains(':'))
        .then(|| format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn wire_mount(mount: &Mount) -> WireMount {
    let base = WireMount {
        target: Some(mount.target.clone()),
        read_only: mount.read_only.then_some(true),
        consistency: mount.consistency.clone(),
        ..WireMount::default()
    };
    match &mount.source {
        MountSource::Bind {
            path,
            create,
            propagation,
            recursive,
            ..
        } => WireMount {
            typ: Some(MountType::BIND),
            source: Some(path.clone()),
            bind_options: Some(MountBindOptions {
                propagation: propagation.as_deref().map(propagation_of),
                create_mountpoint: create.then_some(true),
                non_recursive: (*recursive == Recursive::Disabled).then_some(true),
                read_only_non_recursive: (*recursive == Recursive::Writable).then_some(true),
                read_only_force_recursive: (*recursive == Recursive::Readonly).then_some(true),
            }),
            ..base
        },
        MountSource::Volume {
            name,
            nocopy,
            subpath,
            labels,
        } => WireMount {
            typ: Some(MountType::VOLUME),
            source: Some(name.to_string()),
            volume_options: Some(MountVolumeOptions {
                no_copy: nocopy.then_some(true),
                subpath: subpath.clone(),
                labels: some_map(labels),
                ..MountVolumeOptions::default()
            }),
            ..base
        },
        MountSource::Anonymous { nocopy, labels } => WireMount {
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                no_copy: nocopy.then_some(true),
                labels: some_map(labels),
                ..MountVolumeOptions::default()
            }),
            ..base
        },
        MountSource::Image { image, id, subpath } => WireMount {
            typ: Some(MountType::IMAGE),
            source: Some(
                id.as_ref()
                    .map_or_else(|| image.to_string(), ToString::to_string),
            ),
            image_options: subpath.clone().map(|subpath| MountImageOptions {
                subpath: Some(subpath),
            }),
            ..base
        },
    }
}

/// A secret or config. By `Mounts`, which makes nothing where the copy is missing, on any engine: that is an error.
pub(super) fn of_file(file: &FileMount) -> WireMount {
    WireMount {
        target: Some(file.target.clone()),
        source: file.path.clone(),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..WireMount::default()
    }
}

fn propagation_of(text: &str) -> MountBindOptionsPropagationEnum {
    use MountBindOptionsPropagationEnum as P;
    match text {
        "private" => P::PRIVATE,
        "shared" => P::SHARED,
        "rshared" => P::RSHARED,
        "slave" => P::SLAVE,
        "rslave" => P::RSLAVE,
        // What Docker takes where nothing is said, and the narrowest.
        _ => P::RPRIVATE,
    }
}
