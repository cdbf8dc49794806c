//! `phoenixd events`: the journal's records, one JSON object per line; with `--follow` those to come, too.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::context::Context;
use super::output::{Complaint, Exit, complain};
use crate::journal::{self, Line};
use crate::report::{Chain, escape_json};

pub(super) fn run(context: &Context, follow: bool) -> Result<Exit, Complaint> {
    context.log(false);
    if follow {
        let (directory, nothing) = directory(context)?;
        if !directory.is_dir() {
            return Err(nothing);
        }
        // A reader that goes away ends the command, even while nothing is written.
        let until = if io::stdout().is_terminal() {
            None
        } else {
            io::stdout().as_fd().try_clone_to_owned().ok()
        };
        let path = directory.join(journal::FILE_NAME);
        return print_all(
            journal::follow(&path, journal::From::Start, until).map_err(|error| broken(&error))?,
            as_json,
        );
    }
    let directory = existing(context)?;
    print_all(
        journal::read_all(&directory).map_err(|error| broken(&error))?,
        as_json,
    )
}

/// Where the project's journal is, and what to say if there is none.
fn directory(context: &Context) -> Result<(PathBuf, Complaint), Complaint> {
    let project = context.project_name()?;
    let directory = context.state(&project).dir;
    let nothing = Complaint::unmet(format!(
        "there is no journal of project `{project}` in {}",
        directory.display()
    ))
    .hint("`phoenixd up` begins one; name another directory with `--state-dir`");
    Ok((directory, nothing))
}

/// The directory of a journal that has a file.
pub(super) fn existing(context: &Context) -> Result<PathBuf, Complaint> {
    let (directory, nothing) = directory(context)?;
    match journal::files_of(&directory) {
        Ok(files) if !files.is_empty() => Ok(directory),
        Ok(_) => Err(nothing),
        Err(_) if !directory.exists() => Err(nothing),
        Err(error) => Err(broken(&error)),
    }
}

fn as_json(line: &Line) -> Result<String, Complaint> {
    let json = serde_json::to_string(line);
    let json = json.map_err(|error| Complaint::unexpected(error.to_string()))?;
    Ok(escape_json(&json).into_owned())
}

/// Prints lines as they come. One that cannot be read is told, and the next one is printed all the same.
pub(super) fn print_all(
    lines: impl Iterator<Item = Result<Line, journal::Error>>,
    show: impl Fn(&Line) -> Result<String, Complaint>,
) -> Result<Exit, Complaint> {
    let mut exit = Exit::Success;
    let mut stdout = io::stdout().lock();
    for line in lines {
        match line {
            Ok(line) => {
                let text = show(&line)?;
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

pub(super) fn broken(error: &journal::Error) -> Complaint {
    Complaint::unmet(Chain(error).to_string())
}
