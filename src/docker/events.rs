//! What happens to a project's containers, as hints.
//!
//! A task of its own reads the engine's stream and never waits for the reader: an engine whose events are not taken
//! gets slow for everybody (20.10 to 28.5: 0.1 s per event after some 1200 of them). A reader that falls behind loses
//! the subscription, with an error that says so, and starts over with a listing.
//!
//! A stream may be silent for hours, so silence is no failure. That the engine died is seen at once on a Unix socket,
//! after a minute on TCP (keep-alive); that it hangs is seen only by asking: [`super::Docker::ping`].
//!
//! Not here: what a hint means. Nothing may be concluded from one but "look".

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::{HeaderMap, Method, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connect::within;
use super::lines::Lines;
use super::transport::{Wire, encoded, request};
use super::{Error, Hint, calls, error, labels};
use crate::spec::{ContainerId, ProjectName, ServiceName};

/// Hints that wait for a reader: some hundred recycles at ten events each.
const WAITING_MAX: usize = 1024;
/// The longest action that is kept: an exec's whole command stands in it.
const ACTION_BYTES: usize = 4096;

/// What happens to a container of docker compose that can matter to its dependents. Of a health check only the status: the
/// engine matches `health_status` by its beginning, and each check makes three further events (moby v28.5.2,
/// `daemon/events/filter.go`).
const OF_DEPENDENCIES: [&str; 9] = [
    "create",
    "start",
    "restart",
    "die",
    "pause",
    "unpause",
    "destroy",
    "update",
    "health_status",
];

/// Whose events are asked for.
#[derive(Debug)]
pub(super) enum About {
    /// What carries phoenixd's label for the project.
    Project(ProjectName),
    /// What docker compose made of the project for these services.
    Dependencies(ProjectName, BTreeSet<ServiceName>),
}

impl About {
    fn filters(&self) -> serde_json::Value {
        match self {
            Self::Project(project) => serde_json::json!({
                "type": ["container"],
                "label": [labels::project_filter(project)],
            }),
            Self::Dependencies(project, _) => serde_json::json!({
                "type": ["container"],
                "label": [labels::compose_filter(project)],
                "event": OF_DEPENDENCIES,
            }),
        }
    }

    /// The engine can ask for a label and another, not for one without another.
    fn wants(&self, event: &Event) -> bool {
        match self {
            Self::Project(_) => true,
            Self::Dependencies(_, services) => {
                let label = |name: &str| event.actor.attributes.as_ref()?.get(name);
                labels::compose_service(label).is_some_and(|service| services.contains(&service))
            }
        }
    }
}

/// Subscribes; when this returns, what happens from now on will be hinted at.
///
/// The head of the answer comes before the engine has subscribed (moby v28.5.2, `api/server/router/system`,
/// `getEvents`: it flushes first), so it asks for everything since the engine's time of a moment ago. What the engine
/// kept of that comes twice at most, and hints may.
pub(super) async fn subscribe(
    wire: &Wire,
    about: About,
) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
    let response = within("events", calls::LOOK, async {
        let (head, _) = wire
            .exchange("ping", request(Method::GET, "/_ping")?)
            .await?;
        let since = engine_time(&head)
            .map(|time| format!("since={}&", time.as_second()))
            .unwrap_or_default();
        let path = format!(
            "/events?{since}filters={}",
            encoded(&about.filters().to_string())
        );
        wire.open("events", request(Method::GET, &path)?).await
    })
    .await?;
    let (sender, hints) = mpsc::channel(WAITING_MAX);
    let mut reader = JoinSet::new();
    reader.spawn(read(
        response.into_body(),
        about,
        sender,
        wire.address().to_owned(),
    ));
    let subscription = Subscription { hints, reader };
    Ok(futures::stream::unfold(Some(subscription), next).boxed())
}

/// Dropping it ends the task and the connection.
struct Subscription {
    hints: mpsc::Receiver<Hint>,
    reader: JoinSet<Error>,
}

type Item = Result<Hint, Error>;

async fn next(subscription: Option<Subscription>) -> Option<(Item, Option<Subscription>)> {
    let mut subscription = subscription?;
    if let Some(hint) = subscription.hints.recv().await {
        return Some((Ok(hint), Some(subscription)));
    }
    let error = match subscription.reader.join_next().await? {
        Ok(error) => error,
        Err(panic) => Error::Unavailable {
            address: "the reader of events".to_owned(),
            message: panic.to_string(),
        },
    };
    Some((Err(error), None))
}

/// Reads until the connection is lost or the reader falls behind, and says which.
async fn read(
    mut body: Incoming,
    about: About,
    hints: mpsc::Sender<Hint>,
    address: String,
) -> Error {
    let lost = |message: String| Error::Unavailable {
        address: address.clone(),
        message,
    };
    let mut lines = Lines::default();
    while !body.is_end_stream() {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return lost(error::deepest(&error)),
            None => break,
        };
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        lines.push(&bytes);
        loop {
            let event: Event = match lines.next() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return error,
            };
            if !about.wants(&event) {
                continue;
            }
            match hints.try_send(event.into_hint()) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return lost(format!("more than {WAITING_MAX} events were not taken"));
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    return lost("nobody reads the events".to_owned());
                }
            }
        }
    }
    lost("the stream of events ended".to_owned())
}

/// The engine's clock, to a second downwards: every answer of its HTTP server has it.
fn engine_time(head: &HeaderMap) -> Option<Timestamp> {
    let text = head.get(header::DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text).ok()
}

/// What is read of an event.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    /// The container's labels, and its name.
    #[serde(rename = "Attributes")]
    attributes: Option<BTreeMap<String, String>>,
}

impl Event {
    fn into_hint(self) -> Hint {
        let mut action = self.action;
        action.truncate(action.floor_char_boundary(ACTION_BYTES));
        let attributes = self.actor.attributes.as_ref();
        // moby v20.10.24 to v28.5.2, `daemon/exec.go`.
        let exec = attributes.and_then(|all| all.get("execID")).cloned();
        Hint {
            id: ContainerId::new(self.actor.id),
            action,
            exec,
        }
    }
}
