//! One request: finds a replica that takes it, and passes the answer on.
//!
//! It is sent to another replica only when that is safe: as long as nothing of it was written; or when it may be
//! repeated (its method is idempotent, RFC 9110, 9.2.2, and it has no body) and its connection ended without an answer.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use tokio::time::{timeout, timeout_at};
use tracing::debug;

use super::activity::Busy;
use super::answer::{self, Trouble};
use super::body::{AnswerBody, Download, Lease, Upload};
use super::fields::{self, Refusal};
use super::line::Line;
use super::serve::Front;
use super::tunnel::Tunnel;
use crate::edge::connection::{RETRY_PAUSE, dial, dial_failed, tune};
use crate::edge::switch::Claim;
use crate::spec::ContainerId;

/// A request that may be repeated is, so often; then its replicas are not just being replaced.
const REPEATS_MAX: usize = 3;

/// Answers one request: by a replica's answer, or by the edge's own.
pub(super) async fn answer(front: Arc<Front>, request: Request<Incoming>) -> Response<AnswerBody> {
    let mut busy = front.activity.begin();
    let (mut parts, body) = request.into_parts();
    if front.activity.record().names_two_lengths(&parts) {
        return answer::of(Trouble::Refused(Refusal::Framing));
    }
    let upgrade = match fields::prepare(&mut parts, &front.client) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return answer::of(Trouble::Refused(refusal)),
    };
    let idle = front.idle();
    let body = Upload::new(body, idle, &front.activity);
    let exchange = Exchange {
        front: &front,
        idle,
        tried: BTreeSet::new(),
    };
    match exchange.run(Request::from_parts(parts, body)).await {
        Ok((response, taken)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let Some(asked) = upgrade else {
                return answer::of(Trouble::Broken);
            };
            switch_protocols(&front, response, taken, busy, &asked)
        }
        Ok((mut response, Taken { claim, line })) => {
            fields::clean_answer(response.headers_mut());
            front.watch_for_cut(&claim, &response, &mut busy);
            let lease = Lease {
                claim,
                line,
                pool: Arc::clone(&front.turn.pool),
                busy,
            };
            response.map(|body| AnswerBody::Replica(Download::new(body, idle, lease)))
        }
        Err(trouble) => {
            debug!(port = %front.listener, ?trouble, "answered by the edge");
            answer::of(trouble)
        }
    }
}

/// A replica that has taken a request.
struct Taken {
    claim: Claim,
    line: Line,
}

struct Exchange<'f> {
    front: &'f Front,
    idle: Duration,
    tried: BTreeSet<ContainerId>,
}

impl Exchange<'_> {
    async fn run(
        mut self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Taken), Trouble> {
        let ground = &self.front.ground;
        let deadline = ground.now() + ground.limits.patience;
        let progress = request.body().progress();
        let can_repeat = request.method().is_idempotent() && request.body().is_end_stream();
        // A little longer than the body's own, which says better whose fault it is.
        let patience = self.idle + self.idle / 4;
        let mut repeats = 0;
        loop {
            let found = timeout_at(deadline, self.replica(can_repeat)).await;
            let (mut taken, was_kept) = found.map_err(|_| Trouble::NoReplica)?;
            let spare = if can_repeat && repeats < REPEATS_MAX {
                spare(&request)
            } else {
                None
            };
            let asked = taken.line.ask(request, patience, &progress).await;
            let mut error = match asked.ok_or(Trouble::Silent)? {
                Ok(response) => {
                    if !progress.is_over() {
                        taken.line.drive_by(self.front.turn.pool.tasks());
                    }
                    return Ok((response, taken));
                }
                Err(error) => error,
            };
            let backend = taken.claim.backend();
            debug!(
                port = %self.front.listener,
                replica = %backend.replica,
                container_id = backend.container_id.short(),
                error = %error.error(),
                "no answer"
            );
            // A kept connection that has ended says nothing of its replica.
            if !was_kept {
                self.tried.insert(backend.container_id.clone());
            }
            request = match (error.take_message(), spare) {
                (Some(unsent), _) => unsent,
                (None, Some(spare)) if !error.error().is_parse() => {
                    repeats += 1;
                    spare
                }
                (None, _) if progress.was_too_slow() => return Err(Trouble::SlowClient),
                (None, _) => return Err(Trouble::Broken),
            };
        }
    }

    /// A replica of the table in force, with a connection to it, and whether that is one that was kept. While there is
    /// none it waits for a new table, and tries those of the old one again and again. The caller bounds it.
    async fn replica(&mut self, can_repeat: bool) -> (Taken, bool) {
        let Front {
            ground, listener, ..
        } = self.front;
        // Most find one at once.
        let mut applied = None;
        loop {
            let Some(claim) = Claim::take(&ground.switch, listener, &self.tried) else {
                let Some(applied) = &mut applied else {
                    // Once more, now that no table is missed.
                    applied = Some(ground.switch.applied());
                    continue;
                };
                // Whether a new table came or the pause is over, everything may be tried now.
                timeout(RETRY_PAUSE, applied.changed()).await.ok();
                self.tried.clear();
                continue;
            };
            let backend = claim.backend();
            if let Some(line) = self.front.turn.pool.take(backend, can_repeat) {
                // The claim was counted before: a table that comes from now on waits for this request.
                if claim.is_newest() || ground.switch.routes_to(listener, &backend.container_id) {
                    return (Taken { claim, line }, true);
                }
                continue;
            }
            match self.connect(&claim).await {
                Ok(line) => return (Taken { claim, line }, false),
                Err(error) => {
                    dial_failed(listener, &claim, &error);
                    self.tried.insert(backend.container_id.clone());
                }
            }
        }
    }

    async fn connect(&self, claim: &Claim) -> io::Result<Line> {
        let Front {
            ground, listener, ..
        } = self.front;
        let stream = dial(&ground.switch, listener, claim, ground.limits.dial).await?;
        tune(&stream)?;
        Line::open(stream, claim.cut().clone(), self.idle).await
    }
}

/// The same request once more, where it has no body.
fn spare(request: &Request<Upload>) -> Option<Request<Upload>> {
    let mut spare = Request::new(request.body().again()?);
    request.method().clone_into(spare.method_mut());
    request.uri().clone_into(spare.uri_mut());
    request.headers().clone_into(spare.headers_mut());
    Some(spare)
}

/// Answers 101, and lets the bytes through from then on.
fn switch_protocols(
    front: &Front,
    mut response: Response<Incoming>,
    taken: Taken,
    busy: Busy,
    asked: &HeaderValue,
) -> Response<AnswerBody> {
    let protocol = fields::clean_answer(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let protocol = protocol.unwrap_or_else(|| asked.clone());
    let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    headers.insert(UPGRADE, protocol);
    let Taken { claim, line } = taken;
    front.change(Tunnel {
        is_websocket,
        line,
        claim,
        busy,
    });
    response.map(|_| AnswerBody::Own(Full::default()))
}
