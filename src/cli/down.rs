//! `phoenixd down`: by the supervisor where one runs, else by this process.

use std::sync::Arc;

use super::context::{Context, runtime};
use super::output::{Complaint, Exit, complain};
use super::pods;
use super::recycle::api_complaint;
use super::up::{new_status, on_signals, say_left, start_complaint};
use crate::api::{Client, ClientError};
use crate::daemon::{Stop, Supervised, Surroundings, supervise};
use crate::reconcile::Command;
use crate::report;

pub(super) fn run(context: &Context, volumes: bool) -> Result<Exit, Complaint> {
    context.log(true);
    let project = context.project_name()?;
    let state = context.state(&project);
    runtime()?.block_on(async {
        match Client::connect(state.socket()).await {
            Ok(client) => return by_supervisor(client, volumes).await,
            Err(ClientError::NotRunning { .. }) => {}
            Err(error) => return Err(api_complaint(&error)),
        }
        let connected = context.connect().await?;
        let files = context.file_store(&project, &connected)?;
        let identity = connected.identity.id.clone();
        let stop = Stop::default();
        let around = Surroundings {
            engine: Arc::clone(&connected.docker),
            identity: connected.identity.clone(),
            engine_dir: connected.engine_dir.clone(),
            state,
            journal: context.journal_settings()?,
            files,
            stop: stop.clone(),
            command: Some(Command::Down { volumes }),
            status: new_status(),
        };
        let signals = on_signals(stop, false)?;
        let mut supervised = Supervised::nothing(project.clone());
        supervised.sockets = Some(context.edge_sockets(&project, &identity)?);
        let ended = tokio::select! {
            ended = supervise(supervised, None, around) => ended,
            never = signals => return never,
        };
        let last = ended.map_err(|error| start_complaint(&error))?;
        say_left(&last);
        if last.finished {
            pods::remove_images(&connected, &project).await;
        }
        // What others still use is not ours alone any more: it is named and left, as docker compose does.
        Ok(if last.finished {
            Exit::Success
        } else {
            Exit::Unmet
        })
    })
}

async fn by_supervisor(client: Client, volumes: bool) -> Result<Exit, Complaint> {
    let done = client
        .down(volumes)
        .await
        .map_err(|error| api_complaint(&error))?;
    for left in &done.left {
        complain(&format!(
            "warning: left behind: {}\n",
            report::brief(left, super::up::LEFT_TEXT)
        ));
    }
    Ok(if done.finished {
        Exit::Success
    } else {
        Exit::Unmet
    })
}
