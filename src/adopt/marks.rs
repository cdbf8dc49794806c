//! The marks: what a replica carries of its original in one label, so that its definition can be told again when the
//! original is gone. Docker is the state.
//!
//! They say *which* fields are the container's own, and hold values only of what a replica does not show itself: its name
//! to come, and its networks. Labels are shown in listings and exported by monitors, so no variable's value is in them.

use super::Value;
use super::config::Said;
use super::networks;
use crate::spec::{ContainerSpec, NetworkMode};

pub(super) fn write(name: &str, said: &Said<'_>, container: &ContainerSpec) -> Value {
    let list = |names: &std::collections::BTreeSet<String>| Value::texts_of(names.iter().cloned());
    let networks = match &container.network {
        // Nobody is adopted into a pod.
        NetworkMode::None | NetworkMode::Pod => Value::Null,
        NetworkMode::Networks(attachments) => networks::marks(attachments),
    };
    Value::map_of([
        ("env", list(&said.env)),
        ("exposed", list(&said.exposed)),
        ("labels", list(&said.labels)),
        ("name", Value::text(name)),
        ("networks", networks),
        ("set", list(&said.whole)),
    ])
}
