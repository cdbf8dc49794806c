//! `phoenixd events`: the journal's records, one JSON object per line; with `--follow` those to come, too.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::context::Context;
use super::output::{Complaint, Exit, complain};
use crate::journal::{self, Line};
use crate::report::Chain;

pub(super) fn run(context: &Context, follow: bool) -> Result<Exit, Complaint> {
    context.log(false);
    let project = context.project_name()?;
    let state = context.state(&project);
    let path = state.journal();
    let nothing = || {
        Complaint::unmet(format!(
            "there is no journal of project `{project}` in {}",
            state.dir.display()
        ))
        .hint("`phoenixd up` begins one; name another directory with `--state-dir`")
    };
    if follow {
        if !state.dir.is_dir() {
            return Err(nothing());
        }
        // A reader that goes away ends the command, even while nothing is written.
        let until = if io::stdout().is_terminal() {
            None
        } else {
            io::stdout().as_fd().try_clone_to_owned().ok()
        };
        return print_all(
            journal::follow(&path, journal::From::Start, until).map_err(|error| broken(&error))?,
        );
    }
    if !path.exists() {
        return Err(nothing());
    }
    print_all(journal::read_lines(&path).map_err(|error| broken(&error))?)
}

fn print_all(lines: impl Iterator<Item = Result<Line, journal::Error>>) -> Result<Exit, Complaint> {
    let mut exit = Exit::Success;
    let mut stdout = io::stdout().lock();
    for line in lines {
        match line {
            Ok(line) => {
                let text = serde_json::to_string(&line)
                    .map_err(|error| Complaint::unexpected(error.to_string()))?;
                match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(exit),
                    Err(error) => return Err(super::cannot_print(error)),
                }
            }
            Err(error) => {
                complain(&broken(&error).render());
                exit = Exit::Unmet;
            }
        }
    }
    Ok(exit)
}

fn broken(error: &journal::Error) -> Complaint {
    Complaint::unmet(Chain(error).to_string())
}
