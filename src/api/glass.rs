//! Break glass over the socket: what is asked for, checked for its bounds, and handed to the supervisor.
//!
//! Not here: whether it can be done (`reconcile`).

use std::time::Duration;

use axum::extract::{self, Request};
use axum::http::StatusCode;

use super::json::Json;
use super::server::{Failure, Server, body};
use super::{BreakGlassAsked, CommandRequest, EndGlassAsked, Problem, RecycleAccepted};
use crate::reconcile::BreakGlass;
use crate::spec::ServiceName;

/// `POST /v1/break-glass`
pub(super) async fn begin(
    extract::State(server): extract::State<Server>,
    request: Request,
) -> Result<(StatusCode, Json<RecycleAccepted>), Failure> {
    let asked: BreakGlassAsked = body(request).await?;
    server.know(std::slice::from_ref(&asked.service))?;
    let asked = within_bounds(asked)?;
    server
        .accepted(|reply| CommandRequest::BreakGlass { asked, reply })
        .await
}

/// `POST /v1/break-glass/end`
pub(super) async fn end(
    extract::State(server): extract::State<Server>,
    request: Request,
) -> Result<(StatusCode, Json<RecycleAccepted>), Failure> {
    let asked: EndGlassAsked = body(request).await?;
    server.know(std::slice::from_ref(&asked.service))?;
    let service = ServiceName::new(asked.service);
    server
        .accepted(|reply| CommandRequest::EndGlass { service, reply })
        .await
}

fn within_bounds(asked: BreakGlassAsked) -> Result<BreakGlass, Failure> {
    let refused = |text: String| Failure(StatusCode::BAD_REQUEST, Problem::new(text));
    let length = Duration::from_secs(asked.for_seconds);
    if length.is_zero() || length > BreakGlass::LONGEST {
        let longest = humantime::format_duration(BreakGlass::LONGEST);
        return Err(refused(format!("the time has to be 1s to {longest}")));
    }
    let reason = asked.reason.trim();
    if reason.is_empty() {
        return Err(refused("the reason is empty".to_owned()));
    }
    if reason.chars().count() > BreakGlass::REASON {
        let most = BreakGlass::REASON;
        return Err(refused(format!(
            "the reason has more than {most} characters"
        )));
    }
    Ok(BreakGlass {
        service: ServiceName::new(asked.service),
        replica: asked.replica,
        length,
        reason: reason.to_owned(),
    })
}
