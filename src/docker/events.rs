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
use std::time::Duration;

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

/// The longest name that is kept: an engine checks of what a name consists, and not how long it is.
const NAME_BYTES: usize = 1024;

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
    /// Which containers of the host were connected to networks or disconnected: such an event has the container's id and
    /// no label of it (moby v20.10.24 to v28.5.2, `daemon/events.go`, `LogNetworkEventWithAttributes`).
    Networks,
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
            Self::Networks => serde_json::json!({
                "type": ["network"],
                "event": ["connect", "disconnect"],
            }),
        }
    }

    /// The engine can ask for a label and another, not for one without another.
    fn wants(&self, event: &Event) -> bool {
        match self {
            Self::Project(_) | Self::Networks => true,
            Self::Dependencies(_, services) => {
                let label = |name: &str| event.actor.attributes.as_ref()?.get(name);
                labels::compose_service(label).is_some_and(|service| services.contains(&service))
            }
        }
    }
}

/// Subscribes; when this returns, what happens from now on will be hinted at, after what happened up to `back` ago.
///
/// The head of the answer comes before the engine has subscribed (moby v28.5.2, `api/server/router/system`,
/// `getEvents`: it flushes first), so it asks for everything since the engine's time of a moment ago. What the engine
/// kept of that comes twice at most, and hints may. How long ago something was is asked by the engine's own clock,
/// which may differ from this host's.
pub(super) async fn subscribe(
    wire: &Wire,
    about: About,
    back: Duration,
) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
    let (response, now) = within("events", calls::LOOK, async {
        let (head, _) = wire
            .exchange("ping", request(Method::GET, "/_ping")?)
            .await?;
        let now = engine_time(&head).map(Timestamp::as_second);
        let since = now
            .map(|now| format!("since={}&", since(now, back)))
            .unwrap_or_default();
        let path = format!(
            "/events?{since}filters={}",
            encoded(&about.filters().to_string())
        );
        let response = wire.open("events", request(Method::GET, &path)?).await?;
        Ok((response, now))
    })
    .await?;
    let (sender, hints) = mpsc::channel(WAITING_MAX);
    let mut reader = JoinSet::new();
    reader.spawn(read(
        response.into_body(),
        (about, now),
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
    (about, now): (About, Option<i64>),
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
            match hints.try_send(event.into_hint(&about, now)) {
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

/// From which second on is asked for what happened up to `back` before the second `now`, which has begun: rounded so that
/// rather more is told. Zero would ask for nothing at all.
fn since(now: i64, back: Duration) -> i64 {
    let up = u64::from(back.subsec_nanos() > 0);
    let seconds = i64::try_from(back.as_secs().saturating_add(up)).unwrap_or(i64::MAX);
    now.saturating_sub(seconds).max(1)
}

/// What is read of an event.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    /// In seconds; 0 where it does not say.
    #[serde(default)]
    time: i64,
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
    fn into_hint(self, about: &About, now: Option<i64>) -> Hint {
        let mut action = self.action;
        action.truncate(action.floor_char_boundary(ACTION_BYTES));
        let attributes = self.actor.attributes.as_ref();
        let id = match about {
            About::Project(_) | About::Dependencies(..) => self.actor.id,
            About::Networks => attributes
                .and_then(|all| all.get("container"))
                .cloned()
                .unwrap_or_default(),
        };
        // moby v20.10.24 to v28.5.2, `daemon/exec.go`.
        let exec = attributes.and_then(|all| all.get("execID")).cloned();
        let exit_code = attributes.and_then(|all| all.get("exitCode")?.parse().ok());
        // Set last of all attributes, so that no label hides it (moby v20.10.24 to v28.5.2, `daemon/events.go`).
        let name = attributes.and_then(|all| all.get("name")).cloned();
        let mut name = name.unwrap_or_default();
        name.truncate(name.floor_char_boundary(NAME_BYTES));
        Hint {
            id: ContainerId::new(id),
            action,
            exec,
            exit_code,
            name,
            before: now.is_some_and(|now| 0 < self.time && self.time < now),
        }
    }
}
