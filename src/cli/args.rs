//! The command line's one definition: it feeds the parser, the help, the man page and the completions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::reconcile::BreakGlass;

/// What a reader of `--help` looks for at its end.
const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 wrong input or an unmet wish, 2 unexpected.
Environment: DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH, DOCKER_API_VERSION,
COMPOSE_FILE, COMPOSE_PATH_SEPARATOR, COMPOSE_ENV_FILES, COMPOSE_DISABLE_ENV_FILE,
COMPOSE_PROFILES, COMPOSE_PROJECT_NAME, PHOENIXD_STATE_DIR, RUST_LOG, NO_COLOR.";

/// Runs the services of a Compose file as phoenixes: immutable, hardened containers that live for a TTL, then a fresh
/// one rises, proves its health, takes the traffic, and the old one is removed.
#[derive(Debug, Parser)]
#[command(
    name = "phoenixd",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
pub(super) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(super) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Where the project is defined.
    #[command(flatten)]
    pub(super) files: Files,
    /// Project name [default: the file's `name`, else its directory's]
    #[arg(short, long, value_name = "PROJECT", global = true)]
    pub(super) project: Option<String>,
    /// File of variables; later ones win [default: `.env` in the project's directory]
    #[arg(long = "env-file", value_name = "FILE", global = true)]
    pub(super) env_files: Vec<PathBuf>,
    /// Where relative paths of the file start [default: the directory of the first file]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) project_directory: Option<PathBuf>,
    /// Active profile; repeat for more. Phoenixes are taken whatever their profiles are
    #[arg(long = "profile", value_name = "PROFILE", global = true)]
    pub(super) profiles: Vec<String>,
    /// Engine to connect to, as `unix:///path` or `tcp://host:port` [default: `DOCKER_HOST`, else /var/run/docker.sock]
    #[arg(long, value_name = "URL", global = true)]
    pub(super) docker_host: Option<String>,
    /// Directory of lock, socket and journal [default: `PHOENIXD_STATE_DIR`, else /var/lib/phoenixd for root]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) state_dir: Option<PathBuf>,
    /// How log lines look; they go to stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(super) log_format: LogFormat,
    /// More log lines; repeat for more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
}

/// Where the project is defined. Taken before the command and after it; `events` has `-f` for `--follow`, as
/// `docker compose logs` has.
#[derive(Debug, Default, Args)]
pub(super) struct Files {
    /// Compose file; repeat to lay more over it [default: compose.yaml, compose.yml, docker-compose.yml or docker-compose.yaml, with its override file]
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// The same where `-f` means something else.
#[derive(Debug, Default, Args)]
pub(super) struct LongFiles {
    /// Compose file; repeat to lay more over it
    #[arg(long = "file", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What phoenixd does.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Supervise the phoenixes of the file in the foreground until SIGTERM; replicas then keep running
    Up {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// Build every image that has a `build`, also where the engine has it
        #[arg(long)]
        build: bool,
        /// Remove everything at the end instead of leaving the replicas running
        #[arg(long)]
        down_on_exit: bool,
    },
    /// Take over containers of docker compose that carry the label `phoenixd.ttl`, and supervise them in the foreground
    Adopt {
        /// Compose services; all with the label when none is named
        services: Vec<String>,
        /// Print what would be kept, hardened and refused; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Drain, stop and remove everything of the project that phoenixd made, and nothing else
    Down {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// Remove the named volumes that phoenixd made, too
        #[arg(long)]
        volumes: bool,
    },
    /// Validate the file and print the hardening verdict of each service, exceptions by name
    Check {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
    },
    /// Print the file as docker compose understands it, all services included; needs no engine
    Config {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// How it looks
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ConfigFormat::Yaml)]
        format: ConfigFormat,
        /// Print the names of the services only, one on each line
        #[arg(long)]
        services: bool,
    },
    /// Print what would be done now, and why; change nothing
    Plan {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// `json` also has the container-create body of each service
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PlanFormat::Text)]
        format: PlanFormat,
    },
    /// List the replicas with stage, age, time left and what they wait on
    Ps {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// How the list looks
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PsFormat::Table)]
        format: PsFormat,
    },
    /// Replace the replicas of the services now, and return when that is done
    Recycle {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// Services; all phoenixes when none is named
        services: Vec<String>,
    },
    /// Let somebody into one replica for a bounded time: it leaves the traffic once its replacement is ready, and is destroyed
    /// at the end
    BreakGlass(BreakGlassArgs),
    /// Print the journal's records
    Events {
        /// Where the project is defined.
        #[command(flatten)]
        files: LongFiles,
        /// Go on with new records as they come
        #[arg(short, long)]
        follow: bool,
    },
    /// Check, show and export the journal; needs no engine and no supervisor
    Journal {
        /// What is done with it.
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// The plugin that dockerd asks before it acts: nobody gets into a replica
    #[command(subcommand)]
    Guard(GuardCommand),
    /// Try what is set up here; tells what is wrong
    Doctor {
        #[command(flatten)]
        files: Files,
        /// Try the doors into a running replica through every engine socket that can be reached, and tell who refused each.
        /// Nothing is changed behind an open one; an open `export` counts as a touch, though, and the replica is replaced
        #[arg(long, required = true)]
        doors: bool,
        /// The replica to try, by its container's name, of whatever project [default: the first of this project's]
        #[arg(long, value_name = "NAME")]
        replica: Option<String>,
        /// One more socket of an engine; repeat for more
        #[arg(long = "socket", value_name = "PATH")]
        sockets: Vec<PathBuf>,
    },
    /// Run a self-made service before your eyes: 2 replicas, TTL 30 s, recycled under load until Ctrl-C
    Demo(DemoArgs),
    /// Print the JSON Schema of `x-phoenix`, with which editors complete and check it
    Schema,
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man pages, those of commands within commands included
    Man,
    /// The application that runs inside the demo's containers
    #[command(hide = true)]
    DemoApp,
    /// Sleeps: what runs in the container that owns a pod's network
    #[command(hide = true)]
    Pause,
    /// The data plane, as it runs inside the edge's container: forwards the published ports to ready replicas as its
    /// supervisor says, and goes on without it. It needs no engine and no privilege
    #[command(hide = true)]
    Edge(EdgeArgs),
}

/// What an edge takes.
#[derive(Debug, Args)]
pub(super) struct EdgeArgs {
    /// Directory of the control sockets; this one listens on `DIR/N.sock`, and only root and its own user may speak there
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Its number, which no other edge of the project has or had
    #[arg(long, value_name = "N")]
    pub(super) serial: u64,
    /// How long open connections may go on after SIGTERM; a second one ends them at once
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) drain: String,
}

/// What break-glass takes.
#[derive(Debug, Args)]
pub(super) struct BreakGlassArgs {
    /// Where the project is defined.
    #[command(flatten)]
    pub(super) files: Files,
    /// The service
    pub(super) service: String,
    /// How long: `15m`, 4 h at most; counted from when it is open
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_length, required_unless_present = "end")]
    pub(super) length: Option<Duration>,
    /// Why; goes into the journal, and is shown to everybody who asks for the status
    #[arg(long, value_name = "TEXT", value_parser = parse_reason, required_unless_present = "end")]
    pub(super) reason: Option<String>,
    /// Which replica [default: the oldest that gets traffic]
    #[arg(long, value_name = "NAME")]
    pub(super) replica: Option<String>,
    /// End it now: what is broken open of the service is recorded and destroyed
    #[arg(long, conflicts_with_all = ["length", "reason", "replica"])]
    pub(super) end: bool,
}

fn parse_length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let longest = BreakGlass::LONGEST;
    if length < Duration::from_secs(1) || length > longest {
        let longest = humantime::format_duration(longest);
        return Err(format!("it has to be 1s to {longest}"));
    }
    Ok(length)
}

fn parse_reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    let most = BreakGlass::REASON;
    match reason.chars().count() {
        0 => Err("it is empty".to_owned()),
        count if count > most => Err(format!(
            "it has {count} characters, and {most} are the most"
        )),
        _ => Ok(reason.to_owned()),
    }
}

/// What is done about the guard.
#[derive(Debug, Subcommand)]
pub(super) enum GuardCommand {
    /// Answer dockerd's questions in the foreground until SIGTERM; systemd runs this
    Serve {
        /// The socket that dockerd finds the plugin by; one that systemd passes is used instead
        #[arg(
            long,
            value_name = "PATH",
            default_value = "/run/docker/plugins/phoenixd.sock"
        )]
        socket: PathBuf,
        /// Permit what cannot be seen into; repeat for more
        #[arg(long, value_name = "WHAT", value_enum)]
        allow: Vec<GuardAllow>,
    },
    /// Write key, units and dockerd's setting, and say what to do then; starts and reloads nothing
    Install {
        /// Where things are.
        #[command(flatten)]
        places: GuardPlaces,
        /// Permit what cannot be seen into; repeat for more
        #[arg(long, value_name = "WHAT", value_enum)]
        allow: Vec<GuardAllow>,
    },
    /// Take units and dockerd's setting away again, and say what to do then
    Uninstall {
        /// Where things are.
        #[command(flatten)]
        places: GuardPlaces,
    },
    /// Tell whether the engine really asks the guard: by a request that only the guard refuses
    Status,
}

/// What the guard's owner may permit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum GuardAllow {
    /// Builds by everybody: their containers and sessions are not seen.
    Build,
    /// `docker load` and `docker import` by everybody: they may move the names that replicas are born from.
    Load,
}

/// Where the files of an installation are.
#[derive(Debug, Args)]
pub(super) struct GuardPlaces {
    /// Print what would be written; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// dockerd's settings
    #[arg(long, value_name = "PATH", default_value = "/etc/docker/daemon.json")]
    pub(super) daemon_json: PathBuf,
    /// Directory of systemd's units
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system")]
    pub(super) units: PathBuf,
    /// The socket that dockerd finds the plugin by
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/docker/plugins/phoenixd.sock"
    )]
    pub(super) socket: PathBuf,
}

/// What the demo takes.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Port on 127.0.0.1 that the demo service is published on
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// End by itself after so many recycled replicas
    #[arg(long, value_name = "N")]
    pub(super) recycles: Option<u64>,
}

/// What is done with the journal.
#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Check that no record was changed, removed or added, over all its files; exit code 1 if one was
    Verify {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// Directories or files of a journal [default: the project's own]
        paths: Vec<PathBuf>,
        /// Head that was exported earlier and is to be in the chain, in hexadecimal; repeat for more
        #[arg(long = "head", value_name = "HEX")]
        heads: Vec<String>,
        /// File that heads were exported to, all of which are to be in the chain; repeat for more
        #[arg(long = "heads", value_name = "FILE")]
        head_files: Vec<PathBuf>,
    },
    /// Print records for people
    Show {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// Of this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
        /// Of this kind, as `ended` or `tainted`; repeat for more
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Since then: `10m`, or `2026-01-31T08:00:00Z`
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The last so many only
        #[arg(long, value_name = "N")]
        tail: Option<usize>,
    },
    /// Print everything as it is written, with the fields of the chain
    Export {
        /// Where the project is defined.
        #[command(flatten)]
        files: Files,
        /// How it looks
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = JournalFormat::Jsonl)]
        format: JournalFormat,
    },
}

impl JournalCommand {
    /// Where the project is defined.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let (Self::Verify { files, .. } | Self::Show { files, .. } | Self::Export { files, .. }) =
            self;
        files.files.clone()
    }
}

/// How an exported journal looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum JournalFormat {
    /// One object on each line; `journal verify` reads it.
    Jsonl,
    /// One array of objects.
    Json,
}

/// How a resolved file looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ConfigFormat {
    /// As `docker compose config`.
    Yaml,
    /// As `docker compose config --format json`.
    Json,
}

/// How a plan looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum PlanFormat {
    /// One line per action.
    Text,
    /// One object with everything.
    Json,
}

/// How the list of replicas looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum PsFormat {
    /// For people.
    Table,
    /// An array of objects.
    Json,
}
