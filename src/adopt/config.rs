//! The fields of a container that an image may have set: what of them is the container's own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Examined, Value, labels};
use crate::spec::{ContainerSpec, HealthTest, Healthcheck, ImageRef};

/// Fields that are the image's as a whole or the container's as a whole, as inspection names them.
const WHOLE: [&str; 5] = ["Cmd", "Entrypoint", "User", "WorkingDir", "StopSignal"];

/// What of the container's configuration is its own. Of an original that is what differs from the image; of a replica,
/// what its marks say: a newer image may have the same value by chance.
pub(super) struct Said<'a> {
    config: &'a Value,
    image: &'a Value,
    id: &'a str,
    /// Which of [`WHOLE`] are the container's own.
    pub(super) whole: BTreeSet<String>,
    /// The names of its own variables.
    pub(super) env: BTreeSet<String>,
    /// The names of its own labels.
    pub(super) labels: BTreeSet<String>,
    /// Its own exposed ports.
    pub(super) exposed: BTreeSet<String>,
}

impl<'a> Said<'a> {
    pub(super) fn new(examined: &'a Examined) -> Self {
        let config = examined.inspect.at(&["Config"]);
        let image = &examined.image;
        let id = examined.inspect.at(&["Id"]).as_text().unwrap_or_default();
        let mut said = Self {
            config,
            image,
            id,
            whole: BTreeSet::new(),
            env: BTreeSet::new(),
            labels: BTreeSet::new(),
            exposed: BTreeSet::new(),
        };
        if examined.marks == Value::Null {
            said.differing();
        } else {
            let marked = |key: &str| examined.marks.at(&[key]).texts().into_iter().collect();
            said.whole = marked("set");
            said.env = marked("env");
            said.labels = marked("labels");
            said.exposed = marked("exposed");
        }
        said
    }

    fn differing(&mut self) {
        let (config, image) = (self.config, self.image);
        let differs = |key: &str| {
            let (own, theirs) = (config.at(&[key]), image.at(&[key]));
            own != theirs && !(own.is_unset() && theirs.is_unset())
        };
        self.whole = WHOLE
            .into_iter()
            .filter(|key| differs(key))
            .map(str::to_owned)
            .collect();
        // An entrypoint of its own hides the image's command, and is the only way to have none where the image has one
        // (moby v28.5.2, `daemon/commit.go`, `merge`).
        let has_lost_command = config.at(&["Cmd"]).is_unset() && !image.at(&["Cmd"]).is_unset();
        if has_lost_command {
            self.whole.insert("Entrypoint".to_owned());
        }
        if self.whole.contains("Entrypoint") {
            self.whole.insert("Cmd".to_owned());
        }
        let (own, theirs) = (variables(config), variables(image));
        let differing = own
            .iter()
            .filter(|(name, value)| theirs.get(*name) != Some(value));
        let lost = theirs.keys().filter(|name| !own.contains_key(*name));
        self.env = differing
            .map(|(name, _)| name)
            .chain(lost)
            .cloned()
            .collect();
        let theirs = image.at(&["Labels"]).text_fields();
        self.labels = config
            .at(&["Labels"])
            .text_fields()
            .into_iter()
            .filter(|(name, value)| theirs.get(name) != Some(value))
            .map(|(name, _)| name)
            .collect();
        self.exposed = &exposed_ports(config) - &exposed_ports(image);
    }

    fn own(&self, key: &str) -> Option<&Value> {
        self.whole.contains(key).then(|| self.config.at(&[key]))
    }

    fn own_text(&self, key: &str) -> Option<String> {
        self.own(key)?.as_text().map(str::to_owned)
    }
}

/// Variables of a configuration by name.
pub(super) fn variables(config: &Value) -> BTreeMap<String, String> {
    let texts = config.at(&["Env"]).texts();
    let pairs = texts
        .iter()
        .map(|text| text.split_once('=').unwrap_or((text, "")));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The container's definition, as far as `Config` has it.
pub(super) fn container(
    said: &Said<'_>,
    image: ImageRef,
    problems: &mut Vec<String>,
) -> ContainerSpec {
    let config = said.config;
    for (key, what) in [
        ("Tty", "a terminal"),
        ("OpenStdin", "an open standard input"),
    ] {
        if config.at(&[key]).as_bool() == Some(true) {
            problems.push(format!("it has {what}: nobody works inside a phoenix"));
        }
    }
    if let Some(mac) = config.at(&["MacAddress"]).as_text() {
        problems.push(format!(
            "it has the MAC address {mac} of its own, which cannot be carried over: remove `mac_address`"
        ));
    }
    if config.at(&["NetworkDisabled"]).as_bool() == Some(true) {
        problems.push("its network is disabled, which cannot be carried over".to_owned());
    }
    let values = variables(config);
    let environment = said
        .env
        .iter()
        .map(|name| (name.clone(), values.get(name).cloned()))
        .collect();
    let all_labels = config.at(&["Labels"]).text_fields();
    let own_labels = said
        .labels
        .iter()
        .filter(|name| !labels::is_own(name))
        .filter_map(|name| Some((name.clone(), all_labels.get(name)?.clone())))
        .collect();
    let grace = config
        .at(&["StopTimeout"])
        .as_number()
        .and_then(|seconds| u64::try_from(seconds).ok());
    let base = ContainerSpec::of_image(image);
    ContainerSpec {
        entrypoint: said.own("Entrypoint").map(Value::texts_with_empty),
        // Nothing is not an empty command: the image's is hidden by the entrypoint.
        command: said
            .own("Cmd")
            .map(Value::texts_with_empty)
            .filter(|command| !command.is_empty()),
        environment,
        labels: own_labels,
        user: said.own_text("User"),
        working_dir: said.own_text("WorkingDir"),
        stop_signal: said.own_text("StopSignal"),
        stop_grace: grace.map_or(base.stop_grace, Duration::from_secs),
        // The engine names a container by the first twelve digits of its id where nobody does.
        hostname: config
            .at(&["Hostname"])
            .as_text()
            .filter(|name| !said.id.starts_with(*name))
            .map(str::to_owned),
        domainname: config.at(&["Domainname"]).as_text().map(str::to_owned),
        healthcheck: healthcheck(config.at(&["Healthcheck"]), said.image.at(&["Healthcheck"])),
        exposed: said
            .exposed
            .iter()
            .filter_map(|port| exposed(port))
            .collect(),
        ..base
    }
}

/// Exposed ports with their protocol: docker compose leaves out that of `expose: ["9000"]`, which is TCP.
pub(super) fn exposed_ports(config: &Value) -> BTreeSet<String> {
    let ports = config.at(&["ExposedPorts"]).each();
    ports
        .map(|(port, _)| {
            if port.contains('/') {
                port.to_owned()
            } else {
                format!("{port}/tcp")
            }
        })
        .collect()
}

fn exposed(port: &str) -> Option<(u16, String)> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    Some((number.parse().ok()?, protocol.to_owned()))
}

/// The health check, where it is not the image's own.
fn healthcheck(own: &Value, image: &Value) -> Option<Healthcheck> {
    if own.is_unset() || own == image {
        return None;
    }
    let test = own.at(&["Test"]).texts_with_empty();
    let test = if own.at(&["Test"]) == image.at(&["Test"]) {
        HealthTest::Inherit
    } else {
        match test.split_first() {
            Some((kind, _)) if kind == "NONE" => HealthTest::None,
            Some((kind, script)) if kind == "CMD-SHELL" => {
                HealthTest::CmdShell(script.first().cloned().unwrap_or_default())
            }
            Some((_, command)) => HealthTest::Cmd(command.to_vec()),
            None => HealthTest::Inherit,
        }
    };
    let time = |key: &str| {
        let own = own.at(&[key]);
        let nanos = own.as_set_number().filter(|_| own != image.at(&[key]))?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    };
    Some(Healthcheck {
        test,
        interval: time("Interval"),
        timeout: time("Timeout"),
        retries: own
            .at(&["Retries"])
            .as_set_number()
            .filter(|_| own.at(&["Retries"]) != image.at(&["Retries"])),
        start_period: time("StartPeriod"),
        start_interval: time("StartInterval"),
    })
}
