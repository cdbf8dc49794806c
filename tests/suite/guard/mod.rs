//! The guard without an engine: what is refused, whoever asks, and what is not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bypass;
mod files;
mod install;
mod policy;
mod protocol;
mod reading;
mod resolve;
mod strangers;
mod systemd;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use phoenixd::guard::{
    Joining, Judge, Lesson, Managed, Project, Replica, Request, Shared, Site, VERSION, Verdict,
};
use phoenixd::sign::{self, Key, Signer};
use serde_json::Value;

/// The managed replica.
pub(crate) const ID: &str = "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12";
pub(crate) const NAME: &str = "shop-web-3";
/// A network that phoenixes share, and a container that was made to join the replica.
pub(crate) const SHARED_ID: &str =
    "dd12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12";
pub(crate) const JOINING_ID: &str =
    "77712cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab1";
/// A container of somebody else.
pub(crate) const OTHER: &str = "postgres";

/// One project with one replica.
pub(crate) fn project() -> Project {
    Project {
        version: VERSION,
        project: "shop".to_owned(),
        services: ["web", "web/edge", "web/pause"].map(str::to_owned).to_vec(),
        replicas: vec![Replica {
            id: ID.to_owned(),
            name: NAME.to_owned(),
            exec_until_ms: None,
        }],
        names: vec!["legacy".to_owned()],
        networks: vec!["shop_private".to_owned()],
        volumes: vec!["shop_data".to_owned()],
        images: vec!["shop/web:1".to_owned()],
        paths: vec!["/srv/phoenix".to_owned()],
        shared: vec![Shared {
            network: vec!["shop_default".to_owned(), SHARED_ID.to_owned()],
            names: vec!["web".to_owned(), "www".to_owned()],
        }],
        joining: vec![Joining {
            id: JOINING_ID.to_owned(),
            name: "lurker".to_owned(),
        }],
    }
}

/// A guard with that project.
pub(crate) struct Desk {
    pub(crate) judge: Judge,
    pub(crate) managed: Managed,
    pub(crate) now: Duration,
    signer: Signer,
}

/// A request as dockerd shows it.
pub(crate) fn request(method: &str, uri: &str, kind: Option<&str>, body: &[u8]) -> Request {
    let mut headers = BTreeMap::new();
    if let Some(kind) = kind {
        headers.insert("Content-Type".to_owned(), kind.to_owned());
    }
    if matches!(method, "POST" | "PUT") {
        headers.insert("Content-Length".to_owned(), body.len().to_string());
    }
    Request {
        method: method.to_owned(),
        uri: uri.to_owned(),
        headers,
        body: body.to_owned(),
        ..Request::default()
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(Site::default())
    }

    pub(crate) fn with(site: Site) -> Self {
        let key = Key::of([7; 32]);
        Self {
            judge: Judge::new(key.clone(), site),
            managed: Managed {
                projects: BTreeMap::from([("shop".to_owned(), project())]),
                ..Managed::default()
            },
            now: phoenixd::clock::boot_now(),
            signer: Signer::new(key),
        }
    }

    /// Decides as on a host where `/srv/link` is a symlink to `/`.
    pub(crate) fn decide(&mut self, request: &Request) -> Verdict {
        let resolve = |path: &str| Ok(path.replace("/srv/link", "/"));
        self.now = phoenixd::clock::boot_now();
        self.judge
            .request(request, &self.managed, self.now, &resolve)
    }

    /// The same for a request without signature; a body makes it JSON.
    pub(crate) fn ask(&mut self, method: &str, uri: &str, body: &str) -> Verdict {
        let kind = (!body.is_empty()).then_some("application/json");
        self.decide(&request(method, uri, kind, body.as_bytes()))
    }

    /// Signs a request as phoenixd does.
    pub(crate) fn sign(&self, request: &mut Request) {
        let is_shown = request
            .headers
            .get("Content-Type")
            .is_some_and(|kind| kind == "application/json");
        let body = if is_shown {
            sign::body_hash(&request.body)
        } else {
            sign::UNSEEN.to_owned()
        };
        let value = self
            .signer
            .sign(&request.method, &request.uri, &body)
            .unwrap();
        request.headers.insert(sign::HEADER.to_owned(), value);
    }

    /// phoenixd's own request.
    pub(crate) fn signed(&mut self, method: &str, uri: &str, body: &str) -> Verdict {
        let mut request = request(method, uri, Some("application/json"), body.as_bytes());
        self.sign(&mut request);
        self.decide(&request)
    }

    /// What is learnt when a request that was let through is answered.
    pub(crate) fn answered(
        &mut self,
        request: &Request,
        status: u16,
        answer: &Value,
    ) -> Option<Lesson> {
        let request = Request {
            status,
            answer: answer.to_string().into_bytes(),
            ..request.clone()
        };
        self.judge.response(&request, &self.managed)
    }
}

pub(crate) fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow)
}
