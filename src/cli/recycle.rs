//! `phoenixd recycle`: asks the supervisor, and returns when it is done.

use super::context::{Context, runtime};
use super::output::{Complaint, Exit, complain};
use crate::api::{Client, ClientError, RequestOutcome};
use crate::report::Chain;

pub(super) fn run(context: &Context, services: &[String]) -> Result<Exit, Complaint> {
    context.log(false);
    let project = context.project_name()?;
    let socket = context.state(&project).socket();
    runtime()?.block_on(async {
        let client = Client::connect(&socket).await.map_err(|error| api_complaint(&error))?;
        let request = client.recycle(services).await.map_err(|error| api_complaint(&error))?;
        match client.wait_request(request).await.map_err(|error| api_complaint(&error))? {
            RequestOutcome::Done => Ok(Exit::Success),
            RequestOutcome::Failed(why) => {
                complain(&Complaint::unmet(format!("not recycled: {why}")).hint("what ran before still runs").render());
                Ok(Exit::Unmet)
            }
        }
    })
}

/// What went wrong between this process and the supervisor.
pub(super) fn api_complaint(error: &ClientError) -> Complaint {
    let complaint = Complaint::unmet(Chain(error).to_string());
    match error.hint() {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}
