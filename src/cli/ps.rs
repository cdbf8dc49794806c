//! `phoenixd ps`: the replicas, from the supervisor where one runs, else from the engine alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, TableStyle};

use super::adopt::discovered;
use super::args::PsFormat;
use super::context::{Connected, Context, engine_complaint, runtime};
use super::output::{Complaint, Exit, complain, print};
use super::recycle::api_complaint;
use crate::api::{Client, ClientError, Row, rows};
use crate::daemon::{self, preview};
use crate::docker::Scope;
use crate::reconcile::Desired;
use crate::report;
use crate::spec::{ProjectName, ServiceName};

/// The most that is shown of one text, in characters.
const TEXT: usize = 400;
/// How many lines about what somebody else did.
const MEDDLING_LINES: usize = 4;

pub(super) fn run(context: &Context, format: PsFormat) -> Result<Exit, Complaint> {
    context.log(false);
    let project = context.project_name()?;
    let state = context.state(&project);
    let rows = runtime()?.block_on(async {
        let client = match Client::connect(state.socket()).await {
            Ok(client) => client,
            Err(ClientError::NotRunning { .. }) => {
                complain(&format!(
                    "note: no supervisor runs for project `{project}`: what is not probed counts as not ready\n"
                ));
                return unsupervised(context, &project).await;
            }
            Err(error) => return Err(api_complaint(&error)),
        };
        let status = client.status().await.map_err(|error| api_complaint(&error))?;
        if let Some(error) = &status.engine_error {
            complain(&format!("warning: the engine does not answer: {}\n", report::brief(error, TEXT)));
        }
        if let Some(error) = &status.journal_error {
            complain(&format!(
                "warning: the journal cannot be written: {}; nothing is replaced until it can\n",
                report::brief(error, TEXT)
            ));
        }
        if !status.unverified.is_empty() {
            complain(&format!(
                "note: hardening not verified in the kernel for {}: /proc is not the engine's host's\n",
                report::brief(&status.unverified.join(", "), TEXT)
            ));
        }
        for line in meddling(&status.outside) {
            complain(&line);
        }
        Ok(status.replicas)
    })?;
    let text = match format {
        PsFormat::Table => table(&rows),
        PsFormat::Json => as_json(&rows)?,
    };
    print(&text).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

/// The newest of what somebody else did.
fn meddling(outside: &[String]) -> Vec<String> {
    let more = outside.len().saturating_sub(MEDDLING_LINES);
    let mut lines = Vec::new();
    if more > 0 {
        lines.push(format!(
            "note: {more} more things were done from outside: `phoenixd events`\n"
        ));
    }
    let newest = outside.iter().skip(more);
    lines.extend(newest.map(|line| format!("note: {}\n", report::brief(line, TEXT))));
    lines
}

/// What the engine alone knows. The file, where there is one, tells how long each replica may live; of what was adopted
/// its labels do.
async fn unsupervised(context: &Context, project: &ProjectName) -> Result<Vec<Row>, Complaint> {
    let connected = context.connect().await?;
    let adoption = discovered(context, &connected, project, &BTreeSet::new()).await?;
    let (supervisor, scope, wanted, refused) = if adoption.has_begun() {
        let refused = adoption.left_alone();
        ("adopt", adoption.scope(), adoption.wanted(), refused)
    } else {
        let (scope, wanted) = by_file(context, &connected, project).await;
        ("up", scope, wanted, BTreeMap::new())
    };
    let preview = preview(&*connected.docker, project, &scope, wanted, refused)
        .await
        .map_err(|error| engine_complaint(&error))?;
    let mut rows = rows(&preview.status, preview.now);
    for row in rows.iter_mut().filter(|row| row.waiting_on.is_some()) {
        // What was refused waits for nobody.
        let unit = ServiceName::new(row.service.clone());
        if !preview.status.refused.contains_key(&unit) {
            row.waiting_on = Some(format!("a supervisor: `phoenixd {supervisor}`"));
        }
    }
    Ok(rows)
}

/// What the file asks for; nothing where there is none that can be read.
async fn by_file(
    context: &Context,
    connected: &Connected,
    project: &ProjectName,
) -> (Scope, BTreeMap<ServiceName, Desired>) {
    let nothing = Scope {
        project: project.clone(),
        networks: [].into(),
        volumes: [].into(),
        originals: false,
        dependencies: [].into(),
    };
    let Some(loaded) = context.load_quietly() else {
        return (nothing, BTreeMap::new());
    };
    let placed = async {
        let resolved = context.resolve(connected, &loaded).await?;
        context.place_pods(resolved, connected, false).await
    };
    let wanted = match placed.await {
        Ok(placed) => placed.resolved.wanted(),
        Err(_) => BTreeMap::new(),
    };
    (daemon::scope(&loaded.project), wanted)
}

fn as_json(rows: &[Row]) -> Result<String, Complaint> {
    let mut text = serde_json::to_string_pretty(rows).map_err(|error| {
        Complaint::unexpected(format!("cannot write the list as JSON: {error}"))
    })?;
    text.push('\n');
    Ok(report::escape_json(&text).into_owned())
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "SERVICE",
        "REPLICA",
        "CONTAINER",
        "STAGE",
        "READY",
        "AGE",
        "LEFT",
        "GEN",
        "WAITING ON",
    ]);
    for row in rows {
        let text = |value: &Option<String>| {
            value
                .as_deref()
                .map_or("-".to_owned(), |text| report::brief(text, TEXT))
        };
        let short = row
            .container_id
            .as_deref()
            .and_then(|id| id.get(..12))
            .unwrap_or("-")
            .to_owned();
        table.add_row([
            report::brief(&row.service, TEXT),
            text(&row.replica),
            short,
            report::brief(&stage(row), TEXT),
            if row.ready { "yes" } else { "no" }.to_owned(),
            row.age_seconds.map_or("-".to_owned(), |age| {
                report::duration(Duration::from_secs(age))
            }),
            row.ttl_remaining_seconds.map_or("-".to_owned(), left),
            row.generation
                .map_or("-".to_owned(), |generation| generation.to_string()),
            match (&row.tainted, &row.waiting_on) {
                (Some(_), _) => text(&row.tainted),
                (None, on) => text(on),
            },
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// Where it is in its life; one that was tainted stands out.
fn stage(row: &Row) -> String {
    if row.tainted.is_some() {
        row.stage.to_uppercase()
    } else {
        row.stage.clone()
    }
}

fn left(seconds: i64) -> String {
    let span = report::duration(Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 {
        format!("{span} overdue")
    } else {
        span
    }
}
