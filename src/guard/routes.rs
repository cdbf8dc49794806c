//! Every route of dockerd, and what kind of request it is. What is not here is unknown, and denied.
//!
//! Source: moby `api/server/router` at v20.10.24 and v28.5.2, `daemon/server/router` since. There a name may have slashes
//! (`{name:.*}`); here only an image's may: a container's slash is a legacy link (`P/alias`), which leads to another
//! container. Not here: who may do what (`policy`).

use super::target::Target;

/// What kind of request it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Only reads, or has nothing to do with containers.
    Free,
    /// Reads of one container (`json`, `logs`, `top`, `stats`).
    ContainerRead,
    /// The walk over a container's files.
    ContainerChanges,
    /// Attach, archive, export, resize, checkpoints: ways in and out.
    ContainerDoor,
    /// Stop, kill, restart, pause, unpause, wait, remove.
    ContainerLife,
    /// Start, which once took a configuration.
    ContainerStart,
    /// Rename, which has a second name.
    ContainerRename,
    /// Limits and restart policy.
    ContainerUpdate,
    /// Create.
    ContainerCreate,
    /// An exec is made.
    ExecCreate,
    /// An exec is started or resized.
    ExecUse,
    /// An image of a container.
    Commit,
    /// Removes whatever is not used, of all kinds.
    Prune,
    /// A network is made.
    NetworkCreate,
    /// Connect, disconnect.
    NetworkJoin,
    /// A network is removed.
    NetworkRemove,
    /// A volume is made.
    VolumeCreate,
    /// A volume is changed or removed.
    VolumeChange,
    /// Images out of an archive, under any name.
    ImageLoad,
    /// Pull or import.
    ImageCreate,
    /// A name for an image.
    ImageTag,
    /// An image or a name is removed.
    ImageRemove,
    /// The classic builder.
    Build,
    /// What cannot be seen any more once it is open: `session`, `grpc`; and the builder's cancel.
    BuildSession,
    /// Plugins and swarm: they run containers that no create is seen of.
    Closed,
}

/// What a request's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// None is read, or an optional JSON.
    Optional,
    /// JSON; without it the request makes no sense.
    Json,
    /// Anything, which plugins are not shown.
    Stream,
    /// JSON that plugins are not shown (dockerd leaves out what ends in `/auth`).
    Hidden,
}

/// A request whose route is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// What kind.
    pub route: Route,
    /// Its body.
    pub body: Body,
    /// The name in its path; empty where it has none.
    pub name: String,
}

type Row = (&'static str, &'static str, Route, Body);

/// `*` is one segment, `**` one or more.
const ROUTES: [Row; 103] = {
    use Body::{Hidden, Json, Optional, Stream};
    use Route as R;
    [
        ("GET", "_ping", R::Free, Optional),
        ("HEAD", "_ping", R::Free, Optional),
        ("GET", "events", R::Free, Optional),
        ("GET", "info", R::Free, Optional),
        ("GET", "version", R::Free, Optional),
        ("GET", "system/df", R::Free, Optional),
        ("POST", "auth", R::Free, Hidden),
        ("GET", "distribution/**/json", R::Free, Optional),
        ("GET", "containers/json", R::Free, Optional),
        ("GET", "containers/*/json", R::ContainerRead, Optional),
        ("GET", "containers/*/top", R::ContainerRead, Optional),
        ("GET", "containers/*/logs", R::ContainerRead, Optional),
        ("GET", "containers/*/stats", R::ContainerRead, Optional),
        ("GET", "containers/*/changes", R::ContainerChanges, Optional),
        ("GET", "containers/*/export", R::ContainerDoor, Optional),
        ("GET", "containers/*/attach/ws", R::ContainerDoor, Optional),
        ("GET", "containers/*/archive", R::ContainerDoor, Optional),
        ("HEAD", "containers/*/archive", R::ContainerDoor, Optional),
        ("PUT", "containers/*/archive", R::ContainerDoor, Stream),
        ("POST", "containers/*/attach", R::ContainerDoor, Optional),
        ("POST", "containers/*/resize", R::ContainerDoor, Optional),
        (
            "GET",
            "containers/*/checkpoints",
            R::ContainerDoor,
            Optional,
        ),
        (
            "POST",
            "containers/*/checkpoints",
            R::ContainerDoor,
            Optional,
        ),
        (
            "DELETE",
            "containers/*/checkpoints/*",
            R::ContainerDoor,
            Optional,
        ),
        ("POST", "containers/create", R::ContainerCreate, Json),
        ("POST", "containers/*/kill", R::ContainerLife, Optional),
        ("POST", "containers/*/pause", R::ContainerLife, Optional),
        ("POST", "containers/*/unpause", R::ContainerLife, Optional),
        ("POST", "containers/*/restart", R::ContainerLife, Optional),
        ("POST", "containers/*/stop", R::ContainerLife, Optional),
        ("POST", "containers/*/wait", R::ContainerLife, Optional),
        ("DELETE", "containers/*", R::ContainerLife, Optional),
        ("POST", "containers/*/start", R::ContainerStart, Optional),
        ("POST", "containers/*/rename", R::ContainerRename, Optional),
        ("POST", "containers/*/update", R::ContainerUpdate, Json),
        ("POST", "containers/*/exec", R::ExecCreate, Json),
        ("POST", "exec/*/start", R::ExecUse, Optional),
        ("POST", "exec/*/resize", R::ExecUse, Optional),
        ("GET", "exec/*/json", R::Free, Optional),
        ("POST", "containers/prune", R::Prune, Optional),
        ("POST", "commit", R::Commit, Optional),
        ("GET", "images/json", R::Free, Optional),
        ("GET", "images/search", R::Free, Optional),
        ("GET", "images/get", R::Free, Optional),
        ("GET", "images/**/get", R::Free, Optional),
        ("GET", "images/**/history", R::Free, Optional),
        ("GET", "images/**/json", R::Free, Optional),
        ("POST", "images/load", R::ImageLoad, Stream),
        ("POST", "images/create", R::ImageCreate, Stream),
        ("POST", "images/prune", R::Prune, Optional),
        ("POST", "images/**/push", R::Free, Optional),
        ("POST", "images/**/tag", R::ImageTag, Optional),
        ("DELETE", "images/**", R::ImageRemove, Optional),
        ("GET", "networks", R::Free, Optional),
        ("GET", "networks/*", R::Free, Optional),
        ("POST", "networks/create", R::NetworkCreate, Json),
        ("POST", "networks/*/connect", R::NetworkJoin, Json),
        ("POST", "networks/*/disconnect", R::NetworkJoin, Json),
        ("POST", "networks/prune", R::Prune, Optional),
        ("DELETE", "networks/*", R::NetworkRemove, Optional),
        ("GET", "volumes", R::Free, Optional),
        ("GET", "volumes/*", R::Free, Optional),
        ("POST", "volumes/create", R::VolumeCreate, Optional),
        ("POST", "volumes/prune", R::Prune, Optional),
        ("PUT", "volumes/*", R::VolumeChange, Optional),
        ("DELETE", "volumes/*", R::VolumeChange, Optional),
        ("POST", "build", R::Build, Stream),
        ("POST", "build/prune", R::Prune, Optional),
        ("POST", "build/cancel", R::BuildSession, Optional),
        ("POST", "session", R::BuildSession, Stream),
        ("POST", "grpc", R::BuildSession, Stream),
        ("GET", "plugins", R::Free, Optional),
        ("GET", "plugins/**/json", R::Free, Optional),
        ("GET", "plugins/privileges", R::Closed, Optional),
        ("POST", "plugins/**", R::Closed, Stream),
        ("DELETE", "plugins/**", R::Closed, Optional),
        ("GET", "swarm", R::Free, Optional),
        ("GET", "swarm/unlockkey", R::Closed, Optional),
        ("POST", "swarm/*", R::Closed, Optional),
        ("GET", "services", R::Free, Optional),
        ("GET", "services/*", R::Free, Optional),
        ("GET", "services/*/logs", R::Free, Optional),
        ("POST", "services/create", R::Closed, Json),
        ("POST", "services/*/update", R::Closed, Json),
        ("DELETE", "services/*", R::Closed, Optional),
        ("GET", "nodes", R::Free, Optional),
        ("GET", "nodes/*", R::Free, Optional),
        ("POST", "nodes/*/update", R::Closed, Json),
        ("DELETE", "nodes/*", R::Closed, Optional),
        ("GET", "tasks", R::Free, Optional),
        ("GET", "tasks/*", R::Free, Optional),
        ("GET", "tasks/*/logs", R::Free, Optional),
        ("GET", "secrets", R::Free, Optional),
        ("GET", "secrets/*", R::Free, Optional),
        ("POST", "secrets/create", R::Closed, Json),
        ("POST", "secrets/*/update", R::Closed, Json),
        ("DELETE", "secrets/*", R::Closed, Optional),
        ("GET", "configs", R::Free, Optional),
        ("GET", "configs/*", R::Free, Optional),
        ("POST", "configs/create", R::Closed, Json),
        ("POST", "configs/*/update", R::Closed, Json),
        ("DELETE", "configs/*", R::Closed, Optional),
        ("GET", "debug/**", R::Closed, Optional),
    ]
};

/// The routes as rows of method and pattern, for tests.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str, Route)> {
    ROUTES
        .iter()
        .map(|(method, pattern, route, _)| (*method, *pattern, *route))
}

/// The route of a request; `None` where dockerd has none that is known here. The first row that fits, as in dockerd.
pub fn find(method: &str, target: &Target) -> Option<Matched> {
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    ROUTES.iter().find_map(|(of, pattern, route, body)| {
        if *of != method {
            return None;
        }
        let pattern: Vec<&str> = pattern.split('/').collect();
        let name = fits(&pattern, &segments)?;
        Some(Matched {
            route: *route,
            body: *body,
            name,
        })
    })
}

/// The name where the segments fit.
fn fits(pattern: &[&str], segments: &[&str]) -> Option<String> {
    let wild = pattern.iter().position(|one| one.starts_with('*'));
    let Some(at) = wild else {
        return (pattern == segments).then(String::new);
    };
    let (head, tail) = (pattern.get(..at)?, pattern.get(at + 1..)?);
    let taken = segments.len().checked_sub(head.len() + tail.len())?;
    let is_many = pattern.get(at) == Some(&"**");
    if taken == 0 || (taken > 1 && !is_many) {
        return None;
    }
    let middle = segments.get(at..at + taken)?;
    let rest = segments.get(at + taken..)?;
    let is_tail = tail
        .iter()
        .zip(rest)
        .all(|(want, is)| want == is || *want == "*");
    (segments.starts_with(head) && is_tail).then(|| middle.join("/"))
}
