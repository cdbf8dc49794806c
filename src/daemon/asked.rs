//! What the API passes on, as commands with a number under which the status tells how they went.

use tokio::sync::oneshot;

use super::supervise::Supervisor;
use super::watch::now;
use crate::api::{CommandRequest, Problem};
use crate::docker::Engine;
use crate::journal::Receipt;
use crate::reconcile::{Command, RequestId};

impl<E: Engine> Supervisor<E> {
    /// Does what the API passes on. Whoever asked may be gone by the time of the answer.
    pub(super) fn ask(&mut self, asked: CommandRequest) {
        match asked {
            CommandRequest::Recycle { services, reply } => {
                self.ask_by_number(reply, |request| Command::Recycle { request, services });
            }
            CommandRequest::BreakGlass { asked, reply } => {
                self.ask_by_number(reply, |request| Command::BreakGlass { request, asked });
            }
            CommandRequest::EndGlass { service, reply } => {
                let request = self.by_number(|request| Command::EndGlass { request, service });
                self.told
                    .answers
                    .spawn(answer(self.told.glass_ended.take(), request, reply));
                // Those that are given.
                while self.told.answers.try_join_next().is_some() {}
            }
            CommandRequest::Down { volumes, reply } => {
                self.command(Command::Down { volumes });
                drop(reply.send(Ok(())));
            }
        }
    }

    fn ask_by_number(
        &mut self,
        reply: oneshot::Sender<Result<RequestId, Problem>>,
        command: impl FnOnce(RequestId) -> Command,
    ) {
        drop(reply.send(Ok(self.by_number(command))));
    }

    fn by_number(&mut self, command: impl FnOnce(RequestId) -> Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.command(command(request));
        // The status knows the number before whoever asks for it does.
        let step = self.world.plan(now());
        self.publish(&step);
        request
    }
}

/// Answers once the record is on the disk, from where the next supervisor has it if this one is killed. Where nothing can
/// be written it holds all the same, as long as this one lives; the journal says that it fails.
async fn answer(
    record: Option<Receipt>,
    request: RequestId,
    reply: oneshot::Sender<Result<RequestId, Problem>>,
) {
    if let Some(record) = record {
        drop(record.durable().await);
    }
    drop(reply.send(Ok(request)));
}
