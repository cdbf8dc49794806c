//! `phoenixd break-glass`: asks the supervisor, and returns when somebody may get in, or when what was open is gone.
//!
//! Not here: what it does (`reconcile`), and who is let in (`guard`).

use std::time::Duration;

use super::args::BreakGlassArgs;
use super::context::{Context, runtime};
use super::output::{Complaint, Exit, print};
use super::recycle::{api_complaint, supervisor};
use crate::api::{BreakGlassAsked, Client, GlassBody, RequestPhase, Row};
use crate::clock;
use crate::report::{self, brief};

/// The most that is shown of one text, in characters.
const TEXT: usize = 1000;

pub(super) fn run(context: &Context, args: &BreakGlassArgs) -> Result<Exit, Complaint> {
    context.log(false);
    let project = context.project_name()?;
    let socket = context.state(&project).socket();
    runtime()?.block_on(async {
        let client = supervisor(socket).await?;
        if args.end {
            return end(&client, &args.service).await;
        }
        begin(&client, args).await
    })
}

async fn begin(client: &Client, args: &BreakGlassArgs) -> Result<Exit, Complaint> {
    let asked = BreakGlassAsked {
        service: args.service.clone(),
        replica: args.replica.clone(),
        for_seconds: args.length.unwrap_or_default().as_secs(),
        reason: args.reason.clone().unwrap_or_default(),
    };
    let asked = client.break_glass(&asked).await;
    let request = asked.map_err(|error| api_complaint(&error))?;
    if let Err(why) = ended(client, request).await? {
        let text = format!("not broken open: {}", brief(&why, TEXT));
        return Err(match open_of(client, &args.service).await? {
            Some((row, glass)) => Complaint::unmet(format!("{text}; {}", told(&row, &glass)))
                .hint("`phoenixd break-glass SERVICE --end` ends it"),
            None => Complaint::unmet(text).hint("what ran before still runs"),
        });
    }
    let Some((row, glass)) = open_of(client, &args.service).await? else {
        return Err(Complaint::unmet(
            "it was broken open, and is over already; `phoenixd events` tells why",
        ));
    };
    let id = row.container_id.as_deref().unwrap_or_default();
    let name = brief(&glass.container, TEXT);
    let text = format!(
        "{}\ncontainer {name} ({})\n\n    docker exec -it {name} sh\n\nAt the end it is recorded and destroyed; \
         `phoenixd break-glass {} --end` ends it now.\n",
        told(&row, &glass),
        brief(id.get(..12).unwrap_or(id), TEXT),
        brief(&args.service, TEXT),
    );
    print(&text).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

async fn end(client: &Client, service: &str) -> Result<Exit, Complaint> {
    let asked = client.end_glass(service).await;
    let request = asked.map_err(|error| api_complaint(&error))?;
    match ended(client, request).await? {
        Ok(()) => Ok(Exit::Success),
        Err(why) => Err(Complaint::unmet(brief(&why, TEXT))),
    }
}

/// Waits until a request is over; why it came to nothing, if it did.
async fn ended(client: &Client, request: u64) -> Result<Result<(), String>, Complaint> {
    let ended = client.wait_request(request).await;
    let ended = ended.map_err(|error| api_complaint(&error))?;
    Ok(match ended.state {
        RequestPhase::Done => Ok(()),
        RequestPhase::Pending | RequestPhase::Failed => Err(ended
            .error
            .unwrap_or_else(|| "the supervisor ended before it was done".to_owned())),
    })
}

/// What is broken open of a service.
async fn open_of(client: &Client, service: &str) -> Result<Option<(Row, GlassBody)>, Complaint> {
    let status = client
        .status()
        .await
        .map_err(|error| api_complaint(&error))?;
    let of = |row: &Row| row.service == service || row.service.starts_with(&format!("{service}-"));
    let mut open = (status.replicas.into_iter()).filter_map(|row| {
        let glass = row.glass.clone()?;
        Some((row, glass))
    });
    Ok(open.find(|(row, _)| of(row)))
}

/// Until when, by the clock on the wall and as a span.
fn told(row: &Row, glass: &GlassBody) -> String {
    let replica = brief(row.replica.as_deref().unwrap_or_default(), TEXT);
    let Ok(left) = u64::try_from(glass.remaining_seconds) else {
        return format!("{replica} is broken open, and its time is over");
    };
    let span = Duration::from_secs(left);
    let until = jiff::SignedDuration::try_from(span)
        .ok()
        .and_then(|span| clock::wall_now().checked_add(span).ok());
    let until = until.map(|until| until.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let until = until.unwrap_or_default();
    format!(
        "{replica} is broken open until {until} (for {})",
        report::duration(span)
    )
}
