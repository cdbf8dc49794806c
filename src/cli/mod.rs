//! The command line: parses, runs a command, says what went wrong, and ends with an exit code that is a type.

mod adopt;
mod args;
mod check;
mod config;
mod context;
mod demo;
mod doctor;
mod down;
mod edge;
mod events;
mod find;
mod glass;
mod guard;
mod journal;
mod journal_settings;
mod load;
mod logging;
mod output;
mod pause;
mod plan;
mod pods;
mod ps;
mod recycle;
mod schema;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::args::{Cli, Command};
use self::context::Context;
use self::output::{Complaint, Exit, complain, print};

/// Runs phoenixd on the arguments of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(complaint) => {
            complain(&complaint.render());
            complaint.exit.into()
        }
    }
}

/// Help and version are data; everything else is the user's input.
fn not_parsed(error: &clap::Error) -> ExitCode {
    // A closed pipe is all that can go wrong, and then nobody listens.
    drop(error.print());
    if error.use_stderr() {
        Exit::Unmet.into()
    } else {
        Exit::Success.into()
    }
}

/// A command and all below it, each before its own.
fn pages(command: &clap::Command) -> Vec<&clap::Command> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    // What clap adds by itself says no more than `--help`.
    let below = shown.filter(|sub| sub.get_name() != "help").flat_map(pages);
    std::iter::once(command).chain(below).collect()
}

fn dispatch(cli: Cli) -> Result<Exit, Complaint> {
    let Cli { global, command } = cli;
    let context = |files: Vec<_>| Context::new(&global, files);
    match command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "phoenixd", &mut text);
            print_bytes(&text)
        }
        Command::Man => {
            let mut command = Cli::command();
            // Names the pages of the subcommands as the main one refers to them.
            command.build();
            let mut text = Vec::new();
            for page in pages(&command) {
                clap_mangen::Man::new(page.clone())
                    .render(&mut text)
                    .map_err(cannot_print)?;
            }
            print_bytes(&text)
        }
        Command::Schema => schema::run(),
        Command::DemoApp => demo::app(),
        Command::Pause => pause::run(),
        Command::Edge(args) => edge::run(&context(Vec::new()), &args),
        Command::Demo(args) => demo::run(&context(Vec::new()), &args),
        Command::Up {
            files,
            build,
            down_on_exit,
        } => up::run(&context(files.files), build, down_on_exit),
        Command::Adopt { services, dry_run } => {
            adopt::run(&context(Vec::new()), &services, dry_run)
        }
        Command::Down { files, volumes } => down::run(&context(files.files), volumes),
        Command::Check { files } => check::run(&context(files.files)),
        Command::Config {
            files,
            format,
            services,
        } => config::run(&context(files.files), format, services),
        Command::Plan { files, format } => plan::run(&context(files.files), format),
        Command::Ps { files, format } => ps::run(&context(files.files), format),
        Command::Recycle { files, services } => recycle::run(&context(files.files), &services),
        Command::BreakGlass(args) => glass::run(&context(args.files.files.clone()), &args),
        Command::Guard(command) => guard::run(&context(Vec::new()), &command),
        Command::Doctor {
            files,
            doors: _,
            replica,
            sockets,
        } => doctor::run(&context(files.files), replica.as_deref(), &sockets),
        Command::Events { files, follow } => events::run(&context(files.files), follow),
        Command::Journal { command } => journal::run(&context(command.files()), command),
    }
}

fn print_bytes(bytes: &[u8]) -> Result<Exit, Complaint> {
    print(&String::from_utf8_lossy(bytes)).map_err(cannot_print)?;
    Ok(Exit::Success)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of the error"
)]
fn cannot_print(error: std::io::Error) -> Complaint {
    Complaint::unexpected(format!("cannot write to stdout: {error}"))
}
