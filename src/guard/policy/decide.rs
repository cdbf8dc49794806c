//! The way to a verdict: understand the request, see that nothing of it is hidden, ask the rule of its route.
//!
//! Not here: the rules of containers, images, networks and volumes, each in a file of its own.

use std::time::Duration;

use super::super::json::Json;
use super::super::managed::Managed;
use super::super::request::{Authority, Request};
use super::super::routes::{self, Body, Matched, Route};
use super::super::target::Target;

/// What is answered to dockerd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// It may not.
    Deny {
        /// The reason, for whoever asked.
        why: String,
    },
}

/// What the host's owner permits beyond the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Site {
    /// Builds, by both builders.
    pub build: bool,
    /// Loading and importing images while phoenixes run.
    pub load: bool,
}

/// A path of the host, its symlinks followed; as written from where it is not there. `Err`: it is not looked at, and why.
pub type Resolve<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Who made an exec that was seen.
pub(in crate::guard) type ExecOf<'a> = dyn Fn(&str) -> Option<ExecOwner> + 'a;

/// In what an exec was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::guard) enum ExecOwner {
    /// A container that is not managed.
    Other,
    /// A replica that was broken open, by id.
    Glass(String),
}

/// What a verdict is made from, beside the request.
pub(in crate::guard) struct View<'a> {
    /// What is managed.
    pub managed: &'a Managed,
    /// Whether phoenixd asks.
    pub authority: &'a Authority,
    /// Boot time.
    pub now: Duration,
    /// The host's exceptions.
    pub site: Site,
    /// The execs that were seen to be made.
    pub exec: &'a ExecOf<'a>,
    /// Where a path of the host leads.
    pub resolve: &'a Resolve<'a>,
}

impl View<'_> {
    pub(super) fn is_signed(&self) -> bool {
        matches!(self.authority, Authority::Signed(_))
    }

    /// Permits what only phoenixd may do.
    pub(super) fn signed_only(&self, what: &str) -> Result<(), String> {
        match self.authority {
            Authority::Signed(_) => Ok(()),
            Authority::Unsigned => Err(format!("{what}: only phoenixd may do this")),
            Authority::Refused(why) => Err(format!(
                "{what}: only phoenixd may do this, and the signature is not good: {why}"
            )),
        }
    }
}

/// Whether it only reads, and so is everybody's whatever is managed.
pub(in crate::guard) fn is_read(request: &Request) -> bool {
    let target = Target::parse(&request.uri).ok();
    let matched = target.and_then(|target| routes::find(&request.method, &target));
    matched.is_some_and(|matched| reads(request, &matched))
}

fn reads(request: &Request, matched: &Matched) -> bool {
    matches!(matched.route, Route::Free | Route::ContainerRead) && request.method != "POST"
}

/// Decides on one request.
pub(in crate::guard) fn decide(request: &Request, view: &View<'_>) -> Verdict {
    match judge(request, view) {
        Ok(()) => Verdict::Allow,
        Err(why) => Verdict::Deny { why },
    }
}

fn judge(request: &Request, view: &View<'_>) -> Result<(), String> {
    if request.method == "OPTIONS" {
        return Ok(());
    }
    let target = Target::parse(&request.uri).map_err(|odd| odd.to_string())?;
    let matched = routes::find(&request.method, &target)
        .ok_or("this route is not known, and what is not known is denied")?;
    if reads(request, &matched) {
        return Ok(());
    }
    // A signature covers what is shown, and phoenixd sends nothing else.
    if !view.is_signed() {
        body_is_honest(request, &matched, &target)?;
    }
    if matched.route == Route::Free {
        return Ok(());
    }
    if !view.managed.unreadable.is_empty() && !view.is_signed() {
        return Err(
            "what phoenixd manages cannot be read at the moment, so nothing may be changed \
                    (`phoenixd guard status`)"
                .to_owned(),
        );
    }
    let json = if matched.body == Body::Stream {
        Json::Null
    } else {
        Json::parse(&request.body).map_err(|not| not.to_string())?
    };
    let asked = Asked {
        matched: &matched,
        target: &target,
        json: &json,
        view,
    };
    asked.judge()
}

/// Refuses a body that dockerd would read and the guard was not shown.
///
/// dockerd shows a plugin a body only when its type is `application/json` (moby 20.10 and 28, `pkg/authorization`), reads
/// a form in place of the query, and shows of a header that is given twice the last one where it uses the first.
fn body_is_honest(request: &Request, matched: &Matched, target: &Target) -> Result<(), String> {
    let kind = request.content_type();
    if kind.as_deref().is_some_and(|kind| kind.contains("form")) {
        return Err("a form can say something else than the request line".to_owned());
    }
    let has_length = request.header("Content-Length").map(str::trim);
    let is_import = matched.route == Route::ImageCreate
        && target
            .query
            .one("fromSrc")
            .map_or(true, |source| !source.is_empty());
    let may_be_hidden = match matched.body {
        Body::Stream => matched.route != Route::ImageCreate || is_import,
        Body::Hidden => true,
        Body::Optional | Body::Json => false,
    };
    if may_be_hidden || !request.body.is_empty() {
        return Ok(());
    }
    if matched.body == Body::Json {
        return Err("the body was not shown to the guard".to_owned());
    }
    let is_empty = match has_length {
        Some(length) => length == "0",
        // No body, or one in chunks, whose type may be the first of two. Where the path alone says what is changed, both
        // are the same; some clients (hyper's) send no length where there is no body.
        None => kind.is_none() || !reads_more_than_the_path(matched.route),
    };
    let is_bodiless = matches!(request.method.as_str(), "GET" | "HEAD" | "DELETE");
    if !is_empty && !is_bodiless {
        return Err("the request has a body that was not shown to the guard".to_owned());
    }
    Ok(())
}

/// Whether parameters or a body decide what is changed, which a form could replace.
fn reads_more_than_the_path(route: Route) -> bool {
    matches!(
        route,
        Route::ContainerRename
            | Route::Commit
            | Route::ImageCreate
            | Route::ImageTag
            | Route::VolumeCreate
    )
}

/// A request that was understood.
pub(super) struct Asked<'a> {
    pub(super) matched: &'a Matched,
    pub(super) target: &'a Target,
    pub(super) json: &'a Json,
    pub(super) view: &'a View<'a>,
}

impl Asked<'_> {
    fn judge(&self) -> Result<(), String> {
        match self.matched.route {
            Route::Free | Route::ContainerRead => Ok(()),
            Route::ContainerChanges
            | Route::ContainerDoor
            | Route::ContainerLife
            | Route::ContainerStart
            | Route::ContainerRename
            | Route::ContainerUpdate
            | Route::ExecCreate
            | Route::ExecUse => self.container(),
            Route::ContainerCreate => self.create(),
            Route::Commit => self.commit(),
            Route::NetworkCreate | Route::NetworkJoin | Route::NetworkRemove => self.network(),
            Route::VolumeCreate | Route::VolumeChange => self.volume(),
            Route::ImageLoad | Route::ImageCreate | Route::ImageTag | Route::ImageRemove => {
                self.image()
            }
            Route::Prune => self
                .view
                .signed_only("a prune takes whatever is not in use at the moment"),
            Route::Build => self.build(),
            Route::BuildSession if self.view.site.build => Ok(()),
            Route::BuildSession => Err(
                "a build session cannot be seen into (`phoenixd guard serve --allow build` permits it)"
                    .to_owned(),
            ),
            Route::Closed => Err("plugins and swarm run containers that no create is seen of".to_owned()),
        }
    }

    /// The one value of a parameter.
    pub(super) fn query(&self, key: &str) -> Result<&str, String> {
        self.target.query.one(key).map_err(|odd| odd.to_string())
    }
}
