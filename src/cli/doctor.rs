//! `phoenixd doctor --doors`: tries the doors into a running replica, and tells who refused each.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::context::{Context, engine_complaint, runtime};
use super::output::{Complaint, Exit, print};
use crate::docker::{Door, Refused, doors, knows, try_door};
use crate::report;
use crate::spec::ProjectName;

/// Where engines and containerd listen.
const ENGINES: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];
const CONTAINERD: [&str; 2] = [
    "/run/containerd/containerd.sock",
    "/var/run/docker/containerd/containerd.sock",
];

pub(super) fn run(
    context: &Context,
    replica: Option<&str>,
    sockets: &[PathBuf],
) -> Result<Exit, Complaint> {
    context.log(false);
    runtime()?.block_on(async {
        let (name, id) = chosen(context, replica).await?;
        let mut engines: Vec<PathBuf> = Vec::new();
        let known = context.engine_socket().into_iter();
        let more = ENGINES.iter().map(PathBuf::from).chain(sockets.iter().cloned());
        for socket in known.chain(more) {
            if let Ok(socket) = socket.canonicalize()
                && !engines.contains(&socket)
            {
                engines.push(socket);
            }
        }
        let mut open = 0;
        for socket in &engines {
            open += through(socket, &name, &id).await?;
        }
        containerd()?;
        if open == 0 {
            return Ok(Exit::Success);
        }
        Err(Complaint::unmet(format!("{open} doors into `{name}` are open"))
            .hint("`phoenixd guard install` shuts them, `phoenixd guard status` tells whether it is asked"))
    })
}

/// A replica: its container's name and id.
type Replica = (String, String);

/// The replica whose doors are tried: the one that is named, of whatever project, else the first of this project's.
async fn chosen(context: &Context, wanted: Option<&str>) -> Result<Replica, Complaint> {
    // Before the engine is asked: without a file there is nothing to ask for.
    let project = match wanted {
        Some(_) => None,
        None => Some(context.project_name()?),
    };
    let connected = context.connect().await?;
    let running = connected.docker.running_replicas(project.as_ref()).await;
    let running = running.map_err(|error| engine_complaint(&error))?;
    match (project, wanted) {
        (Some(project), _) => first_of(&project, running),
        (None, wanted) => named(wanted.unwrap_or_default(), running),
    }
}

fn first_of(
    project: &ProjectName,
    mut running: BTreeMap<String, String>,
) -> Result<Replica, Complaint> {
    let count = running.len();
    let first = running.pop_first().ok_or_else(|| {
        Complaint::unmet(format!(
            "no replica of the project `{project}` runs on this engine, so there is no door to try"
        ))
        .hint("`phoenixd up` starts some; `-f`, `-p` and `--replica NAME` choose others")
    })?;
    let of = if count == 1 {
        "its only replica".to_owned()
    } else {
        format!("the first of its {count} replicas")
    };
    say(&format!(
        "project `{project}`: trying `{}`, {of}\n",
        first.0
    ))?;
    Ok(first)
}

fn named(wanted: &str, mut running: BTreeMap<String, String>) -> Result<Replica, Complaint> {
    running.remove_entry(wanted).ok_or_else(|| {
        let complaint = Complaint::unmet(format!(
            "no running replica on this engine is named `{}`",
            report::escape(wanted)
        ));
        let known: Vec<String> = running
            .into_keys()
            .map(|name| report::escape(&name).into_owned())
            .collect();
        complaint.hint(if known.is_empty() {
            "none runs at all: `phoenixd up` starts some".to_owned()
        } else {
            format!("these run: {}", known.join(", "))
        })
    })
}

/// Tries every door through one socket; how many were open.
async fn through(socket: &Path, name: &str, id: &str) -> Result<usize, Complaint> {
    let place = socket.display();
    match knows(socket, name).await {
        Ok(true) => say(&format!("{place}: `{name}`\n"))?,
        Ok(false) => {
            say(&format!(
                "{place}: another engine, it does not know `{name}`\n"
            ))?;
            return Ok(0);
        }
        Err(error) => {
            say(&format!("{place}: cannot be used: {error}\n"))?;
            return Ok(0);
        }
    }
    let mut open = 0;
    for door in doors(name, id) {
        let outcome = try_door(socket, &door).await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            // Who closes the door in one's face refuses, too.
            Err(error) => Refused::ByEngine(error.to_string()),
        };
        if matches!(outcome, Refused::ByNobody(_)) {
            open += 1;
        }
        say(&line(&door, &outcome))?;
    }
    Ok(open)
}

fn line(door: &Door, outcome: &Refused) -> String {
    let by = match outcome {
        Refused::ByGuard => "refused by the guard".to_owned(),
        Refused::ByPlugin(plugin) => format!("refused by the plugin {}", report::escape(plugin)),
        Refused::ByEngine(why) => format!("refused by the engine: {}", report::escape(why)),
        Refused::ByNobody(what) if door.is_seen => format!(
            "OPEN: refused by nobody ({}); this try was seen: the replica counts as touched",
            report::escape(what)
        ),
        Refused::ByNobody(what) => format!("OPEN: refused by nobody ({})", report::escape(what)),
    };
    format!("  {:<32} {by}\n", door.name)
}

/// containerd has no plugin to ask: whoever can open its socket gets into every container.
fn containerd() -> Result<(), Complaint> {
    for place in CONTAINERD {
        let said = match UnixStream::connect(place) {
            Ok(_) => "open to this user: nobody refuses; what is done through it is seen, not shut",
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "refused by the kernel: its permissions"
            }
            Err(_) => continue,
        };
        say(&format!("{place}: {said}\n"))?;
    }
    Ok(())
}

fn say(text: &str) -> Result<(), Complaint> {
    print(text).map_err(super::cannot_print)
}
