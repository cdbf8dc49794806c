//! `phoenixd adopt`: supervises what docker compose made, by its labels; or says what it would do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::context::{Connected, Context, engine_complaint, runtime};
use super::output::{Complaint, Exit, print};
use super::up::{new_status, on_signals, say_left, start_complaint};
use super::{check, plan};
use crate::adopt::{SETTINGS, Surroundings as Around, TTL};
use crate::daemon::{Adoption, Stop, Surroundings, discover, preview, supervise};
use crate::docker::{Docker, EngineFacts};
use crate::report;
use crate::spec::{ENGINE_SOCKETS, ProjectName, ServiceName, host_path_refusal};

pub(super) fn run(
    context: &Context,
    services: &[String],
    dry_run: bool,
) -> Result<Exit, Complaint> {
    context.log(!dry_run);
    let services: BTreeSet<ServiceName> = services
        .iter()
        .map(|name| ServiceName::new(name.clone()))
        .collect();
    runtime()?.block_on(async {
        let connected = context.connect().await?;
        let project = project(context, &connected.docker).await?;
        let adoption = discovered(context, &connected, &project, &services).await?;
        if adoption.units.is_empty() {
            return Err(nothing(&adoption, &project));
        }
        if dry_run {
            print(&told(&adoption, &connected.docker).await?).map_err(super::cannot_print)?;
            return Ok(Exit::Success);
        }
        for (unit, refused) in &adoption.refused {
            warn!(unit = %unit, container = refused.name, why = refused.why.join("; "), "not adopted, and left as it is");
        }
        supervised(context, connected, &adoption).await
    })
}

async fn supervised(
    context: &Context,
    connected: Connected,
    adoption: &Adoption,
) -> Result<Exit, Complaint> {
    let stop = Stop::default();
    let signals = on_signals(stop.clone(), false)?;
    let around = Surroundings {
        engine: Arc::clone(&connected.docker),
        files: context.file_store(&adoption.resolved.project.name, &connected)?,
        identity: connected.identity,
        engine_dir: connected.engine_dir,
        state: context.state(&adoption.resolved.project.name),
        journal: context.journal_settings()?,
        stop,
        command: None,
        status: new_status(),
    };
    tokio::select! {
        ended = supervise(adoption.supervised(), None, around) => {
            let last = ended.map_err(|error| start_complaint(&error))?;
            say_left(&last);
            Ok(Exit::Success)
        }
        never = signals => never,
    }
}

/// The project that the flag names, else the only one there is something to adopt of.
async fn project(context: &Context, docker: &Docker) -> Result<ProjectName, Complaint> {
    if let Some(project) = context.project_flag()? {
        return Ok(project);
    }
    if let Some(project) = context.name_in_files() {
        return Ok(project);
    }
    let found = docker
        .projects_to_adopt()
        .await
        .map_err(|error| engine_complaint(&error))?;
    let names: Vec<&str> = found.iter().map(ProjectName::as_str).collect();
    match names.as_slice() {
        [one] => Ok(ProjectName::new(*one)),
        [] => Err(Complaint::unmet(format!(
            "no container of docker compose carries the label `{TTL}`"
        ))
        .hint(format!(
            "give a service `labels: {{ {TTL}: 6h }}`, and run `docker compose up -d`"
        ))),
        several => Err(Complaint::unmet(format!(
            "several projects have containers to adopt: {}",
            report::escape(&several.join(", "))
        ))
        .hint("name one with `-p PROJECT`")),
    }
}

pub(super) async fn discovered(
    context: &Context,
    connected: &Connected,
    project: &ProjectName,
    services: &BTreeSet<ServiceName>,
) -> Result<Adoption, Complaint> {
    let facts: EngineFacts = connected
        .docker
        .info()
        .await
        .map_err(|error| engine_complaint(&error))?;
    let socket = context.engine_socket();
    let refusal = |path: &str| refusal(path, socket.as_deref());
    let around = Around {
        log_driver: facts.log_driver,
        runtime: facts.runtime,
        host_cgroup_by_default: facts.cgroup_version != Some(2),
        path_refusal: &refusal,
    };
    discover(&*connected.docker, project, services, &around)
        .await
        .map_err(|error| engine_complaint(&error))
}

/// Why a path of the host may not be mounted, as written and as it resolves through symlinks.
fn refusal(path: &str, engine_socket: Option<&Path>) -> Option<String> {
    if let Some(why) = host_path_refusal(path) {
        return Some(why.to_owned());
    }
    let real = Path::new(path).canonicalize().ok()?;
    let leads = engine_socket.is_some_and(|socket| socket.starts_with(&real));
    if leads
        || ENGINE_SOCKETS
            .iter()
            .any(|name| real.join(name).symlink_metadata().is_ok())
    {
        return Some(
            "it leads to a container engine's socket: whoever holds it is root on the host"
                .to_owned(),
        );
    }
    let why = host_path_refusal(real.to_str()?)?;
    Some(format!("it leads to `{}`, and {why}", real.display()))
}

fn nothing(adoption: &Adoption, project: &ProjectName) -> Complaint {
    if adoption.refused.is_empty() {
        return Complaint::unmet(format!(
            "project `{project}` has no running container of docker compose with the label `{TTL}`"
        ))
        .hint(format!("the labels are {}", SETTINGS.join(", ")));
    }
    Complaint::unmet(format!(
        "nothing of project `{project}` can be adopted\n{}",
        refusals(adoption)
    ))
}

fn refusals(adoption: &Adoption) -> String {
    let mut text = String::new();
    for (unit, refused) in &adoption.refused {
        // Writing to a string cannot fail.
        _ = writeln!(
            text,
            "{}: left as it is ({})",
            report::escape(unit.as_str()),
            report::escape(&refused.name)
        );
        for why in &refused.why {
            _ = writeln!(text, "  refused    {}", report::escape(why));
        }
    }
    text
}

/// What would be kept, hardened and refused, and what would be done now.
async fn told(adoption: &Adoption, docker: &Docker) -> Result<String, Complaint> {
    let mut text = check::verdict(&adoption.resolved);
    for (unit, origin) in &adoption.units {
        let what = if origin.has_original {
            "is the container that docker compose made; a replica takes its place, and its name, when its life ends"
        } else {
            "took the place of a container of docker compose"
        };
        _ = writeln!(
            text,
            "{}: `{}` {what}",
            report::escape(unit.as_str()),
            report::escape(&origin.name)
        );
        for note in &origin.notes {
            _ = writeln!(text, "  note       {}", report::escape(note));
        }
    }
    text.push_str(&refusals(adoption));
    let project = &adoption.resolved.project.name;
    let preview = preview(
        docker,
        project,
        &adoption.scope(),
        adoption.wanted(),
        BTreeMap::new(),
    )
    .await
    .map_err(|error| engine_complaint(&error))?;
    text.push_str(&plan::as_text(&preview, false));
    Ok(text)
}
