//! What differs on purpose. The README says why, field by field.

use serde_json::{Value, json};

use super::compare::Difference;

/// A field that may differ.
pub(super) struct Intended {
    /// Its path.
    pub(super) path: &'static str,
    /// Whether a difference there is the intended one: compose's value, and ours.
    is: fn(&Value, &Value) -> bool,
}

const fn intended(path: &'static str, is: fn(&Value, &Value) -> bool) -> Intended {
    Intended { path, is }
}

/// The table.
pub(super) const INTENDED: &[Intended] = &[
    intended("Config.Healthcheck", |_, ours| {
        *ours == json!({ "Test": ["NONE"] })
    }),
    intended("Config.StopTimeout", |compose, ours| {
        (compose.is_null() && ours == 10) || (compose == 1 && ours == 2)
    }),
    intended("HostConfig.Binds", |compose, ours| {
        let asked: Vec<&str> = texts(compose).collect();
        let own: Vec<&str> = texts(ours).collect();
        let said =
            |bind: &&str| own.contains(bind) || own.contains(&format!("{bind}{PRIVATE}").as_str());
        let is_known = |bind: &&str| bind.ends_with(PRIVATE) || asked.contains(bind);
        asked.iter().all(said) && own.iter().all(is_known)
    }),
    intended("HostConfig.CapDrop", |_, ours| *ours == json!(["ALL"])),
    intended("HostConfig.CgroupnsMode", |_, ours| ours == "private"),
    intended("HostConfig.CpuQuota", |compose, ours| {
        compose == 0 && ours == 50_000
    }),
    intended("HostConfig.Init", |compose, ours| {
        compose.is_null() && ours == true
    }),
    intended("HostConfig.Memory", |compose, ours| {
        compose == 0 && [512 << 20, 1 << 30].contains(&number(ours))
    }),
    intended("HostConfig.MemorySwap", |compose, ours| {
        compose == 0 || number(compose) == 2 * number(ours)
    }),
    intended("HostConfig.MemorySwappiness", |compose, ours| {
        compose.is_null() && ours == 0
    }),
    intended("HostConfig.Mounts", |compose, ours| {
        let said: Vec<&Value> = items(ours).map(|mount| &mount["Target"]).collect();
        let elsewhere = items(compose).filter(|mount| !said.contains(&&mount["Target"]));
        items(ours).count() < items(compose).count()
            && elsewhere
                .into_iter()
                .all(|one| one["Type"] == "bind" || one["Type"] == "tmpfs")
    }),
    intended("HostConfig.Mounts[].BindOptions", |compose, ours| {
        compose.is_null() && *ours == json!({ "Propagation": "rprivate" })
    }),
    intended(
        "HostConfig.Mounts[].BindOptions.Propagation",
        |compose, ours| compose.is_null() && ours == "rprivate",
    ),
    intended("HostConfig.Mounts[].Source", is_id),
    intended("HostConfig.NanoCpus", |compose, ours| {
        compose == 0 && ours == 1_000_000_000
    }),
    intended("HostConfig.PidsLimit", |compose, ours| {
        number(compose) == 0 && ours == 512
    }),
    intended("HostConfig.PortBindings", |_, ours| ours.is_null()),
    intended("HostConfig.ReadonlyRootfs", |_, ours| ours == true),
    intended("HostConfig.RestartPolicy.Name", |_, ours| ours == "no"),
    intended("HostConfig.SecurityOpt", |compose, ours| {
        let own: Vec<&str> = texts(ours).collect();
        own.split_first().is_some_and(|(first, rest)| {
            *first == "no-new-privileges:true" && rest == texts(compose).collect::<Vec<_>>()
        })
    }),
    intended("HostConfig.Tmpfs", |compose, ours| {
        let own = ours.as_object().into_iter().flatten();
        let asked = |target: &str| compose[target].as_str().unwrap_or_default();
        own.clone().count() > 0
            && own.clone().all(|(target, options)| {
                let has = |option: &str| options.as_str().is_some_and(|all| all.contains(option));
                asked(target).split(',').all(has) && has("nosuid,nodev") && has("size=")
            })
    }),
    intended("HostConfig.Ulimits", |compose, ours| {
        let added = items(ours).filter(|limit| !items(compose).any(|one| one == *limit));
        items(compose).all(|limit| items(ours).any(|one| one == limit))
            && added.into_iter().all(|limit| {
                let is = |name: &str, most: u32| {
                    limit["Name"] == name && limit["Hard"] == most && limit["Soft"] == most
                };
                is("core", 0) || is("nofile", 16_384)
            })
    }),
    intended("Mounts", |compose, ours| {
        let kept: Vec<&Value> = items(compose)
            .filter(|mount| mount["Type"] != "tmpfs")
            .collect();
        kept == items(ours).collect::<Vec<_>>()
    }),
    intended("Mounts[].Mode", |compose, ours| {
        let own = ours.as_str().unwrap_or_default();
        compose.is_null() || own.trim_end_matches(PRIVATE) == compose
    }),
    intended("Mounts[].Name", is_id),
    intended("Networks[].Aliases", |compose, ours| {
        let mut all: Vec<&str> = texts(compose).collect();
        all.dedup();
        all.split_first().is_some_and(|(name, rest)| {
            name.ends_with("-1") && rest == texts(ours).collect::<Vec<_>>()
        })
    }),
    intended("Networks[].IPAddress", |compose, ours| {
        compose.is_string() && ours.is_null()
    }),
];

const PRIVATE: &str = ",rprivate";

fn is_id(compose: &Value, ours: &Value) -> bool {
    let is = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.starts_with("sha256:"))
    };
    is(ours) && !is(compose)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).filter_map(Value::as_str)
}

/// The entry that a difference falls under.
pub(super) fn entry(difference: &Difference) -> Option<usize> {
    INTENDED.iter().position(|one| {
        one.path == difference.path && (one.is)(&difference.compose, &difference.ours)
    })
}
