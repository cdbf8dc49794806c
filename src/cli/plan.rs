//! `phoenixd plan`: what would be done now, and why. Changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::PlanFormat;
use super::context::{Context, engine_complaint, runtime};
use super::output::{Complaint, Exit, print};
use crate::api::Client;
use crate::daemon::{Preview, ResolvedProject, ToBuild, preview, to_build};
use crate::docker::{Birth, body_json, connect_json};
use crate::reconcile::Action;
use crate::report::{brief, escape_json};
use crate::spec::{
    BornAfter, ContainerSpec, FileMount, Generation, Project, ReplicaName, Serial, ServiceName,
};

pub(super) fn run(context: &Context, format: PlanFormat) -> Result<Exit, Complaint> {
    context.log(false);
    let loaded = context.load()?;
    let socket = context.state(&loaded.project.name).socket();
    let text = runtime()?.block_on(async {
        // What its replicas wait on is known to the supervisor alone: it probes them.
        let is_supervised = Client::connect(socket).await.is_ok();
        let connected = context.connect().await?;
        let builds = to_build(&*connected.docker, &loaded.project)
            .await
            .map_err(|error| engine_complaint(&error))?;
        if builds.iter().any(|one| one.is_missing) {
            return Ok(match format {
                PlanFormat::Text => builds_as_text(&builds) + UNKNOWN,
                PlanFormat::Json => nothing_but_builds(&loaded.project, &builds),
            });
        }
        let resolved = context.resolve(&connected, &loaded).await?;
        let placed = context.place_pods(resolved, &connected, false).await?;
        let resolved = placed.resolved;
        let preview = preview(
            &*connected.docker,
            &resolved.project.name,
            &resolved.scope(),
            resolved.wanted(),
            BTreeMap::new(),
        )
        .await
        .map_err(|error| engine_complaint(&error))?;
        Ok(match format {
            PlanFormat::Text => builds_as_text(&builds) + &as_text(&preview, is_supervised),
            PlanFormat::Json => as_json(&preview, &resolved, &builds),
        })
    })?;
    print(&text).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

/// The longest line of a plan, in characters: engines' errors may be any length.
const LINE: usize = 2000;
/// What a plan says where an image is not built yet.
const UNKNOWN: &str = "what follows depends on what is built\n";

fn builds_as_text(builds: &[ToBuild<'_>]) -> String {
    let mut text = String::new();
    for one in builds {
        let (name, image) = (&one.service.name, &one.service.container.image);
        // Writing to a string cannot fail.
        let line = format!("{name}: would build image {image}: {}", why(one));
        _ = writeln!(text, "{}", brief(&line, LINE));
    }
    text
}

fn why(one: &ToBuild<'_>) -> &'static str {
    if one.is_missing {
        "the engine does not have it"
    } else {
        "`pull_policy: build`"
    }
}

fn builds_as_json(builds: &[ToBuild<'_>]) -> Vec<Value> {
    let one = |one: &ToBuild<'_>| {
        json!({
            "service": one.service.name.as_str(),
            "image": one.service.container.image.as_str(),
            "reason": why(one),
        })
    };
    builds.iter().map(one).collect()
}

fn nothing_but_builds(project: &Project, builds: &[ToBuild<'_>]) -> String {
    let plan = json!({
        "project": project.name.as_str(),
        "builds": builds_as_json(builds),
        "actions": [],
        "create": {},
        "connect": {},
    });
    escape_json(&format!("{plan:#}\n")).into_owned()
}

pub(super) fn as_text(preview: &Preview, is_supervised: bool) -> String {
    let mut text = String::new();
    for planned in &preview.actions {
        // Writing to a string cannot fail.
        let line = format!("{}: {}", planned.action, planned.reason);
        _ = writeln!(text, "{}", brief(&line, LINE));
    }
    for row in preview.status.replicas.iter().filter(|_| !is_supervised) {
        if let Some(waits) = &row.waiting_on {
            let line = waits.sentence(&row.replica, preview.now);
            _ = writeln!(text, "{}", brief(&line, LINE));
        }
    }
    for (name, service) in &preview.status.services {
        if let Some(waits) = &service.waiting_on
            && preview
                .actions
                .iter()
                .all(|planned| planned.action.service() != Some(name))
        {
            let line = waits.sentence(name, preview.now);
            _ = writeln!(text, "{}", brief(&line, LINE));
        }
    }
    if text.is_empty() {
        text.push_str("nothing to do\n");
    }
    text
}

fn as_json(preview: &Preview, resolved: &ResolvedProject, builds: &[ToBuild<'_>]) -> String {
    let actions: Vec<Value> = preview
        .actions
        .iter()
        .map(|planned| {
            json!({
                "action": planned.action.name(),
                "service": planned.action.service().map(ServiceName::as_str),
                "replica": planned.action.replica().map(ToString::to_string),
                "container_id": planned.action.container().map(crate::spec::ContainerId::as_str),
                "reason": planned.reason.to_string(),
                "text": planned.action.to_string(),
            })
        })
        .collect();
    let bodies: BTreeMap<&str, Value> = resolved
        .services
        .keys()
        .map(|name| (name.as_str(), body_of(name, preview, resolved)))
        .collect();
    let connects: BTreeMap<&str, BTreeMap<String, Value>> = resolved
        .services
        .iter()
        .map(|(name, service)| (name.as_str(), connect_json(&service.container)))
        .collect();
    let files: BTreeMap<&str, Vec<Value>> = resolved
        .services
        .iter()
        .filter(|(_, service)| !service.container.files.is_empty())
        .map(|(name, service)| (name.as_str(), files_of(&service.container)))
        .collect();
    let plan = json!({
        "project": resolved.project.name.as_str(),
        "builds": builds_as_json(builds),
        "actions": actions,
        "files": files,
        "create": bodies,
        "connect": connects,
    });
    escape_json(&format!("{plan:#}\n")).into_owned()
}

/// What a service's secrets and configs are called and where they are seen; never what is in them.
fn files_of(container: &ContainerSpec) -> Vec<Value> {
    let one = |file: &FileMount| {
        json!({
            "kind": file.kind.to_string(),
            "name": file.name,
            "target": file.target,
            "mode": format!("{:04o}", file.mode),
            "uid": file.uid,
            "gid": file.gid,
        })
    };
    container.files.iter().map(one).collect()
}

/// The body of the service's next birth: of the planned one, else of the one that would come next.
fn body_of(name: &ServiceName, preview: &Preview, resolved: &ResolvedProject) -> Value {
    let planned = preview.actions.iter().find_map(|planned| {
        let Action::Create {
            replica,
            generation,
            born_after,
            joins,
            ..
        } = &planned.action
        else {
            return None;
        };
        let rest = || (*generation, born_after.clone(), joins.clone());
        (replica.service == *name).then(|| (replica.clone(), rest()))
    });
    let rows = || {
        preview
            .status
            .replicas
            .iter()
            .filter(|row| row.replica.service == *name)
    };
    let (replica, (generation, born_after, joins)) = planned.unwrap_or_else(|| {
        let last = rows()
            .map(|row| row.replica.serial)
            .max()
            .unwrap_or(Serial(0));
        let generation = preview
            .status
            .services
            .get(name)
            .and_then(|service| service.generation);
        (
            ReplicaName::new(name.clone(), last.next()),
            (
                generation.unwrap_or(Generation(1)),
                BornAfter::default(),
                None,
            ),
        )
    });
    let wanted = resolved.wanted();
    let Some((service, desired)) = resolved.services.get(name).zip(wanted.get(name)) else {
        return Value::Null;
    };
    body_json(&Birth {
        project: resolved.project.name.clone(),
        replica,
        generation,
        spec_hash: desired.spec_hash.clone(),
        container: Arc::new(service.container.clone()),
        image: None,
        born_after,
        joins,
    })
}
