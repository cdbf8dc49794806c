//! From the status with its instants to what people and scripts read, as of now. Plain functions: `phoenixd ps` uses
//! them also where no supervisor runs.

use std::time::Duration;

use super::{About, EngineBody, GlassBody, Row, ServiceBody, Snapshot, StatusBody, SupervisorBody};
use crate::reconcile::{ReplicaStatus, ServiceStatus, Stage, Status, Time};
use crate::report;
use crate::spec::{PodPart, ServiceName};

/// Every replica in the order of service and serial; after those of its service, one row for every missing one.
pub fn rows(status: &Status, now: Time) -> Vec<Row> {
    let mut rows: Vec<(&ServiceName, Row)> = status
        .replicas
        .iter()
        .map(|replica| (&replica.replica.service, existing(replica, now)))
        .collect();
    for (name, service) in &status.services {
        let row = missing(name, service, now);
        rows.extend((0..service.missing).map(|_| (name, row.clone())));
    }
    rows.extend(
        status
            .refused
            .iter()
            .map(|(unit, why)| (unit, refused(unit, why))),
    );
    // Stable: the order within a service stays.
    rows.sort_by_key(|(service, _)| *service);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The answer to `GET /v1/status`.
pub fn status_body(about: &About, snapshot: &Snapshot, now: Time) -> StatusBody {
    let status = &snapshot.status;
    StatusBody {
        project: about.project.to_string(),
        phase: snapshot.phase.to_owned(),
        engine: snapshot.engine.as_ref().map(|engine| EngineBody {
            version: engine.version.clone(),
            api_version: engine.api_version.clone(),
        }),
        engine_error: status.engine_error.as_deref().map(text),
        journal_error: status.journal_error.as_deref().map(text),
        replicas: rows(status, now),
        unverified: status
            .replicas
            .iter()
            .filter(|replica| replica.is_unverified())
            .map(|replica| replica.replica.to_string())
            .collect(),
        outside: outside(status, now),
        services: status
            .services
            .iter()
            .map(|(name, service)| (name.to_string(), service_body(service, now)))
            .collect(),
        supervisor: SupervisorBody {
            pid: about.pid,
            version: about.version.clone(),
            since: about.since.to_string(),
            uptime_seconds: now.since(about.started_at).as_secs(),
        },
    }
}

/// What somebody else did, the oldest first.
fn outside(status: &Status, now: Time) -> Vec<String> {
    let meddling = status
        .outside
        .iter()
        .map(|meddling| (meddling.at, meddling.what.to_string()));
    let touched = status.touched.iter().map(|touched| {
        let (replica, judged) = (&touched.replica, touched.judged.name());
        let text = format!("{replica} was {judged}, {},", touched.touch.words());
        (touched.at, text)
    });
    let mut all: Vec<(Time, String)> = meddling.chain(touched).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter()
        .map(|(at, text)| {
            let ago = report::duration(Duration::from_secs(now.since(at).as_secs()));
            format!("{text} {ago} ago")
        })
        .collect()
}

fn existing(replica: &ReplicaStatus, now: Time) -> Row {
    Row {
        service: replica.replica.service.to_string(),
        replica: Some(replica.replica.to_string()),
        container_id: replica.container_id.as_ref().map(ToString::to_string),
        stage: replica.stage.name().to_owned(),
        ready: replica.ready,
        age_seconds: replica.born_at.map(|born_at| now.since(born_at).as_secs()),
        ttl_remaining_seconds: replica
            .deadline
            // Nothing bounds a pause's life.
            .filter(|_| !replica.replica.service.is_pod(PodPart::Pause))
            .filter(|_| !has_ended(replica.stage))
            .map(|deadline| remaining(deadline, now)),
        generation: Some(replica.generation.0),
        waiting_on: replica
            .waiting_on
            .as_ref()
            .map(|on| text(&on.describe(now))),
        tainted: replica.tainted.as_deref().map(text),
        glass: replica.glass.as_ref().map(|glass| GlassBody {
            container: replica.container_name.clone().unwrap_or_default(),
            open: glass.open,
            remaining_seconds: remaining(glass.until, now),
            reason: glass.reason.as_deref().map(text),
        }),
    }
}

fn missing(name: &ServiceName, service: &ServiceStatus, now: Time) -> Row {
    Row {
        service: name.to_string(),
        replica: None,
        container_id: None,
        stage: Stage::Missing.name().to_owned(),
        ready: false,
        age_seconds: None,
        ttl_remaining_seconds: None,
        generation: service.generation.map(|generation| generation.0),
        waiting_on: service
            .waiting_on
            .as_ref()
            .map(|on| text(&on.describe(now))),
        tainted: None,
        glass: None,
    }
}

/// A container of docker compose that is left as it is.
fn refused(unit: &ServiceName, why: &str) -> Row {
    Row {
        service: unit.to_string(),
        replica: None,
        container_id: None,
        stage: "refused".to_owned(),
        ready: false,
        age_seconds: None,
        ttl_remaining_seconds: None,
        generation: None,
        waiting_on: Some(text(why)),
        tainted: None,
        glass: None,
    }
}

fn service_body(service: &ServiceStatus, now: Time) -> ServiceBody {
    ServiceBody {
        wanted: service.wanted,
        ready: service.ready,
        missing: service.missing,
        generation: service.generation.map(|generation| generation.0),
        failures: service.failures,
        last_failure: service.last_failure.as_deref().map(text),
        waiting_on: service
            .waiting_on
            .as_ref()
            .map(|on| text(&on.describe(now))),
    }
}

/// What somebody else said, within bounds: an engine's error may be any length.
fn text(text: &str) -> String {
    const CHARACTERS: usize = 4096;
    report::cut(text, CHARACTERS).into_owned()
}

/// Its process is no more: it cannot be overdue.
fn has_ended(stage: Stage) -> bool {
    match stage {
        Stage::Exited | Stage::Removing => true,
        Stage::Missing
        | Stage::Creating
        | Stage::Created
        | Stage::Starting
        | Stage::Ready
        | Stage::Unready
        | Stage::Tainted
        | Stage::BrokenGlass
        | Stage::Draining
        | Stage::Stopping => false,
    }
}

/// Whole seconds until then, rounded down: what is overdue by anything is negative.
fn remaining(deadline: Time, now: Time) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    if deadline >= now {
        whole(deadline.since(now))
    } else {
        let over = now.since(deadline);
        -whole(over) - i64::from(over.subsec_nanos() > 0)
    }
}
