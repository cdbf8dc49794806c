//! `phoenixd edge`: the data plane as a process of its own; the supervisor starts it in a container.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::EdgeArgs;
use super::context::Context;
use super::output::{Complaint, Exit};
use crate::clock;
use crate::edge::process::{self, EdgeError, Settings};
use crate::edge::{Limits, Workers};
use crate::reconcile::Time;
use crate::report::Chain;

pub(super) fn run(context: &Context, args: &EdgeArgs) -> Result<Exit, Complaint> {
    context.log(true);
    let drain = humantime::parse_duration(&args.drain)
        .map_err(|error| Complaint::unmet(format!("--drain `{}`: {error}", args.drain)))?;
    let cannot =
        |error: std::io::Error| Complaint::unexpected(format!("cannot start a thread: {error}"));
    let workers = Workers::start().map_err(cannot)?;
    // For what is accepted, said and asked; what is forwarded is the workers'.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    let ended = runtime.block_on(until_told(args.dir.clone(), args.serial, drain, workers));
    // Connections that have not ended are cut here.
    runtime.shutdown_background();
    ended
}

async fn until_told(
    directory: PathBuf,
    serial: u64,
    drain: Duration,
    workers: Workers,
) -> Result<Exit, Complaint> {
    let cannot = |error: std::io::Error| {
        Complaint::unexpected(format!("cannot listen for signals: {error}"))
    };
    let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
    let (terminate, at_once) = (CancellationToken::new(), CancellationToken::new());
    let settings = Settings {
        directory,
        serial,
        limits: Limits::STANDARD,
        drain,
        clock: || Time::from_boot(clock::boot_now()),
    };
    let edge = process::run(settings, workers, terminate.clone(), at_once.clone());
    let signals = async {
        for token in [terminate, at_once] {
            // Cancel safety: a signal that is not taken here comes again with the next call.
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            token.cancel();
        }
        std::future::pending::<std::convert::Infallible>().await
    };
    // Cancel safety: signals only wait; the edge ends by itself.
    let ended = tokio::select! {
        ended = edge => ended,
        never = signals => match never {},
    };
    match ended {
        Ok(_cut) => Ok(Exit::Success),
        Err(error @ EdgeError::Control(_)) => Err(Complaint::unmet(Chain(&error).to_string())
            .hint("`--dir` needs a directory that this user may write to")),
        Err(error @ EdgeError::Stuck(_)) => Err(Complaint::unexpected(Chain(&error).to_string())
            .hint(
                "the supervisor starts another edge; please report it with what was logged before",
            )),
    }
}
