//! `phoenixd recycle`: asks the supervisor, and returns when it is done.

use std::path::PathBuf;

use super::context::{Context, runtime};
use super::output::{Complaint, Exit};
use crate::api::{Client, ClientError, RequestPhase};
use crate::report::{Chain, brief};

pub(super) fn run(context: &Context, services: &[String]) -> Result<Exit, Complaint> {
    context.log(false);
    let project = context.project_name()?;
    let socket = context.state(&project).socket();
    runtime()?.block_on(async {
        let client = supervisor(socket).await?;
        let request = client
            .recycle(services)
            .await
            .map_err(|error| api_complaint(&error))?;
        let ended = client
            .wait_request(request)
            .await
            .map_err(|error| api_complaint(&error))?;
        match ended.state {
            RequestPhase::Done => Ok(Exit::Success),
            RequestPhase::Pending | RequestPhase::Failed => {
                let why = ended
                    .error
                    .unwrap_or_else(|| "the supervisor ended before it was done".to_owned());
                Err(
                    Complaint::unmet(format!("not recycled: {}", brief(&why, 1000)))
                        .hint("what ran before still runs"),
                )
            }
        }
    })
}

/// A connection to the supervisor that listens there.
pub(super) async fn supervisor(socket: PathBuf) -> Result<Client, Complaint> {
    let connected = Client::connect(socket).await;
    connected.map_err(|error| api_complaint(&error))
}

/// What went wrong between this process and the supervisor.
pub(super) fn api_complaint(error: &ClientError) -> Complaint {
    let complaint = Complaint::unmet(Chain(error).to_string());
    match error.hint() {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}
