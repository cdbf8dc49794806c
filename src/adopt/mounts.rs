//! What is mounted in a container, from the three places in which an inspection tells it.
//!
//! `HostConfig.Binds` and `HostConfig.Mounts` are what was asked for, `Mounts` is what came of it: only there an
//! anonymous volume has its name, by which it is carried over with its data.

use std::collections::BTreeMap;

use super::{Surroundings, Value};
use crate::spec::{Mount, MountSource, Recursive, TmpfsMount, VolumeName};

/// What is mounted, by path in the container.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    pub(super) tmpfs: Vec<TmpfsMount>,
}

/// Reads the mounts of an inspection, in the order of their paths.
pub(super) fn read(inspect: &Value, problems: &mut Vec<String>) -> Mounted {
    let host = inspect.at(&["HostConfig"]);
    let names = volume_names(inspect);
    let mut mounts: BTreeMap<String, Mount> = BTreeMap::new();
    let mut tmpfs: BTreeMap<String, TmpfsMount> = BTreeMap::new();
    for text in host.at(&["Binds"]).texts() {
        match bind(&text) {
            Some(mount) => drop(mounts.insert(mount.target.clone(), mount)),
            None => problems.push(format!("its mount `{text}` cannot be carried over")),
        }
    }
    for item in host.at(&["Mounts"]).items() {
        match structured(item, &names) {
            Ok(Either::Mount(mount)) => drop(mounts.insert(mount.target.clone(), mount)),
            Ok(Either::Tmpfs(mount)) => drop(tmpfs.insert(mount.target.clone(), mount)),
            Err(why) => problems.push(why),
        }
    }
    for (target, options) in host.at(&["Tmpfs"]).text_fields() {
        let options = options.split(',').filter(|option| !option.is_empty());
        let options = options.map(str::to_owned).collect();
        tmpfs.insert(target.clone(), TmpfsMount { target, options });
    }
    // What is left are volumes that nobody named: the image's, or those of `volumes: [/path]`.
    for (target, name) in names {
        mounts.entry(target.clone()).or_insert_with(|| Mount {
            source: MountSource::Volume {
                name: VolumeName::new(name),
                nocopy: false,
                subpath: None,
                labels: BTreeMap::new(),
            },
            target,
            read_only: false,
            consistency: None,
        });
    }
    Mounted {
        mounts: mounts.into_values().collect(),
        tmpfs: tmpfs.into_values().collect(),
    }
}

/// Paths of the host that no phoenix may mount, as written and as they resolve.
pub(super) fn refuse(found: &Mounted, around: &Surroundings<'_>, problems: &mut Vec<String>) {
    for mount in &found.mounts {
        let MountSource::Bind {
            path, propagation, ..
        } = &mount.source
        else {
            continue;
        };
        if let Some(why) = (around.path_refusal)(path) {
            problems.push(format!("it mounts `{path}`: {why}"));
        }
        if matches!(
            propagation.as_deref(),
            Some("shared" | "rshared" | "slave" | "rslave")
        ) {
            problems.push(format!(
                "mounts would pass between the host and `{}`",
                mount.target
            ));
        }
    }
}

/// The names of volumes by where they are mounted.
fn volume_names(inspect: &Value) -> BTreeMap<String, String> {
    inspect
        .at(&["Mounts"])
        .items()
        .iter()
        .filter(|mount| mount.at(&["Type"]).as_text() == Some("volume"))
        .filter_map(|mount| {
            let target = mount.at(&["Destination"]).as_text()?;
            Some((target.to_owned(), mount.at(&["Name"]).as_text()?.to_owned()))
        })
        .collect()
}

/// `source:target:options`.
fn bind(text: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return None,
    };
    let (mut read_only, mut nocopy, mut selinux, mut propagation) = (false, false, None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => nocopy = true,
            "z" | "Z" => selinux = Some(option.to_owned()),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                propagation = Some(option.to_owned());
            }
            "cached" | "delegated" | "consistent" => {}
            _ => return None,
        }
    }
    let source = if source.starts_with('/') {
        MountSource::Bind {
            path: source.to_owned(),
            create: true,
            selinux,
            propagation,
            recursive: Recursive::default(),
        }
    } else {
        MountSource::Volume {
            name: VolumeName::new(source),
            nocopy,
            subpath: None,
            labels: BTreeMap::new(),
        }
    };
    Some(Mount {
        source,
        target: target.to_owned(),
        read_only,
        consistency: None,
    })
}

enum Either {
    Mount(Mount),
    Tmpfs(TmpfsMount),
}

/// The options of a bind mount about what is mounted below it.
const RECURSION: [&str; 3] = [
    "NonRecursive",
    "ReadOnlyNonRecursive",
    "ReadOnlyForceRecursive",
];

fn recursive(options: &Value) -> Recursive {
    match RECURSION.map(|key| options.at(&[key]).as_bool() == Some(true)) {
        [true, _, _] => Recursive::Disabled,
        [_, true, _] => Recursive::Writable,
        [_, _, true] => Recursive::Readonly,
        [false, false, false] => Recursive::Enabled,
    }
}

/// An entry of `HostConfig.Mounts`.
fn structured(item: &Value, names: &BTreeMap<String, String>) -> Result<Either, String> {
    let target = item
        .at(&["Target"])
        .as_text()
        .unwrap_or_default()
        .to_owned();
    let read_only = item.at(&["ReadOnly"]).as_bool().unwrap_or(false);
    let source = item.at(&["Source"]).as_text();
    let cannot = |what: &str| {
        Err(format!(
            "its mount of `{target}` {what}, which cannot be carried over"
        ))
    };
    match item.at(&["Type"]).as_text() {
        Some("bind") => {
            let options = item.at(&["BindOptions"]);
            let known = ["Propagation", "CreateMountpoint"];
            for (key, value) in options.each() {
                if !known.contains(&key) && !RECURSION.contains(&key) && !value.is_unset() {
                    return cannot(&format!("has the option {key}"));
                }
            }
            let source = MountSource::Bind {
                path: source.unwrap_or_default().to_owned(),
                create: options.at(&["CreateMountpoint"]).as_bool().unwrap_or(false),
                selinux: None,
                propagation: options.at(&["Propagation"]).as_text().map(str::to_owned),
                recursive: recursive(options),
            };
            Ok(Either::Mount(Mount {
                source,
                target,
                read_only,
                consistency: item.at(&["Consistency"]).as_text().map(str::to_owned),
            }))
        }
        Some("volume") => {
            let options = item.at(&["VolumeOptions"]);
            let Some(name) = source
                .map(str::to_owned)
                .or_else(|| names.get(&target).cloned())
            else {
                return cannot("has a volume without a name");
            };
            let source = MountSource::Volume {
                name: VolumeName::new(name),
                nocopy: options.at(&["NoCopy"]).as_bool().unwrap_or(false),
                subpath: options.at(&["Subpath"]).as_text().map(str::to_owned),
                labels: options.at(&["Labels"]).text_fields().into_iter().collect(),
            };
            Ok(Either::Mount(Mount {
                source,
                target,
                read_only,
                consistency: item.at(&["Consistency"]).as_text().map(str::to_owned),
            }))
        }
        Some("tmpfs") => Ok(Either::Tmpfs(TmpfsMount {
            options: tmpfs_options(item, read_only),
            target,
        })),
        Some(other) => cannot(&format!("is of type {other}")),
        None => cannot("has no type"),
    }
}

fn tmpfs_options(item: &Value, read_only: bool) -> Vec<String> {
    let options = item.at(&["TmpfsOptions"]);
    let size = options
        .at(&["SizeBytes"])
        .as_set_number()
        .map(|size| format!("size={size}"));
    let mode = options
        .at(&["Mode"])
        .as_set_number()
        .map(|mode| format!("mode={mode:o}"));
    // Each is a list of a name and perhaps a value.
    let others = options
        .at(&["Options"])
        .items()
        .iter()
        .map(|pair| pair.texts().join("="));
    let read_only = read_only.then(|| "ro".to_owned());
    read_only
        .into_iter()
        .chain(size)
        .chain(mode)
        .chain(others)
        .collect()
}
