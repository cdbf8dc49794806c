//! `phoenixd guard`: serves, installs, uninstalls and examines the authorization plugin.
//!
//! Not here: what it decides (`guard`). Neither dockerd nor systemd is started or reloaded from here: what happens to the
//! host's engine is for its owner to do, in the order that is told.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::args::{GuardAllow, GuardCommand, GuardPlaces};
use super::context::{Context, runtime};
use super::output::{Complaint, Exit, print};
use crate::guard::{
    Change, DaemonJson, Guard, GuardDir, Installation, PLUGIN, PROBE, Site, UNITS, listen, serve,
    tell_ready, tell_stopping,
};
use crate::report::{self, Chain};
use crate::sign::Key;

pub(super) fn run(context: &Context, command: &GuardCommand) -> Result<Exit, Complaint> {
    match command {
        GuardCommand::Serve { socket, allow } => {
            context.log(true);
            serve_on(context, socket, allow)
        }
        GuardCommand::Install { places, allow } => install(context, places, allow),
        GuardCommand::Uninstall { places } => uninstall(places),
        GuardCommand::Status => {
            context.log(false);
            runtime()?.block_on(status(context))
        }
    }
}

fn serve_on(context: &Context, socket: &Path, allow: &[GuardAllow]) -> Result<Exit, Complaint> {
    let dir = GuardDir::of(context.state_dir());
    let site = Site {
        build: allow.contains(&GuardAllow::Build),
        load: allow.contains(&GuardAllow::Load),
    };
    let guard = Guard::open(dir.clone(), site).map_err(|error| {
        Complaint::unmet(format!(
            "cannot use the key {}: {error}",
            dir.key().display()
        ))
        .hint("`phoenixd guard install` makes one")
    })?;
    runtime()?.block_on(async {
        let listening = listen(socket).map_err(|error| {
            Complaint::unmet(format!("cannot listen on {}: {error}", socket.display()))
        })?;
        let cannot = |error: std::io::Error| Complaint::unexpected(error.to_string());
        let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
        if let Err(error) = tell_ready() {
            warn!(%error, "systemd cannot be told that the guard is ready");
        }
        info!(socket = %socket.display(), inherited = listening.is_inherited, "the guard answers");
        let shutdown = CancellationToken::new();
        // Cancel safety: the server goes on in the other arm until it has answered what is under way.
        let served = serve(guard, listening.listener, shutdown.clone());
        let ended = async {
            tokio::select! {
                Some(()) = term.recv() => {}
                Some(()) = int.recv() => {}
            }
            if let Err(error) = tell_stopping() {
                warn!(%error, "systemd cannot be told that the guard ends");
            }
            shutdown.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            served = served => served.map_err(cannot)?,
            () = ended => {}
        }
        Ok(Exit::Success)
    })
}

fn install(
    context: &Context,
    places: &GuardPlaces,
    allow: &[GuardAllow],
) -> Result<Exit, Complaint> {
    let settings = read(&places.daemon_json)?;
    let program = Path::new("/proc/self/exe").read_link().map_err(|error| {
        Complaint::unexpected(format!("cannot tell where phoenixd is: {error}"))
    })?;
    let installation = Installation {
        program,
        state_dir: context.state_dir().to_owned(),
        socket: places.socket.clone(),
        allow: allow.iter().map(|what| name(*what).to_owned()).collect(),
    };
    let mut changes = installation.unit_changes(&places.units);
    changes.extend(settings.with_guard());
    let dir = GuardDir::of(context.state_dir());
    if places.dry_run {
        say(&format!(
            "would make {} with a key\n{}",
            dir.path().display(),
            told(&changes)
        ))?;
    } else {
        let is_new = dir.make().map_err(|error| {
            Complaint::unmet(format!("cannot make {}: {error}", dir.path().display()))
                .hint("run it as root, or name another directory with `--state-dir`")
        })?;
        let key = if is_new { "made" } else { "kept" };
        apply(&changes)?;
        say(&format!(
            "{key} {}\n{}",
            dir.key().display(),
            wrote(&changes)
        ))?;
    }
    say(&format!(
        "\nNothing asks the guard yet. In this order, for dockerd must find it listening:\n  \
         systemctl daemon-reload\n  \
         systemctl enable --now {}\n  \
         systemctl start {}\n  \
         # restart every `phoenixd up` that runs: it signs its requests from its next start on\n  \
         systemctl reload docker      # HUP: containers go on; a restart of dockerd does the same\n  \
         phoenixd guard status\n\
         Should dockerd answer nobody then, the guard is not there: `phoenixd guard uninstall`, `systemctl reload docker`.\n\
         dockerd does not start while a plugin of its settings does not answer: uninstall the guard before you remove\n\
         phoenixd.\n",
        UNITS[0], UNITS[1]
    ))?;
    Ok(Exit::Success)
}

fn uninstall(places: &GuardPlaces) -> Result<Exit, Complaint> {
    let settings = read(&places.daemon_json)?;
    let mut changes: Vec<Change> = settings.without_guard().into_iter().collect();
    let units = UNITS.iter().map(|name| places.units.join(name));
    changes.extend(units.filter(|path| path.exists()).map(Change::removal));
    if places.dry_run {
        say(&told(&changes))?;
    } else {
        apply(&changes)?;
        say(&wrote(&changes))?;
    }
    say(&format!(
        "\nIn this order, for dockerd waits for a guard that it still asks:\n  \
         systemctl reload docker      # HUP: the guard is not asked any more\n  \
         systemctl stop {} {}\n  \
         systemctl daemon-reload\n\
         The key stays in the state directory; without a guard it opens nothing.\n",
        UNITS[1], UNITS[0]
    ))?;
    Ok(Exit::Success)
}

async fn status(context: &Context) -> Result<Exit, Complaint> {
    let dir = GuardDir::of(context.state_dir());
    let key = Key::read(&dir.key()).map_err(|error| {
        Complaint::unmet(format!(
            "cannot read the key {}: {error}",
            dir.key().display()
        ))
        .hint("run it as root; without a key there is no guard: `phoenixd guard install`")
    })?;
    let connected = context.connect().await?;
    let unexpected = |error: std::io::Error| Complaint::unexpected(error.to_string());
    let asked = Key::random().map_err(unexpected)?.to_hex();
    let answer = connected
        .docker
        .probe_guard(&format!("{PROBE}{asked}"))
        .await;
    let answer = answer.map_err(|error| Complaint::unmet(Chain(&error).to_string()))?;
    let Some(state) = proven(&key, &asked, &answer.said) else {
        return Err(not_asked(answer.is_listed, &answer.said));
    };
    say(&format!("the guard answers, and has this key: {state}\n"))?;
    if state.starts_with("projects=0 ") {
        say(
            "it knows of no replica: a `phoenixd up` that runs and is not told of here was started before the guard; restart it\n",
        )?;
    }
    if state.ends_with(" unreadable=0") {
        return Ok(Exit::Success);
    }
    Err(Complaint::unmet(
        "the guard cannot read all that is managed, and lets nobody but phoenixd change anything",
    )
    .hint(format!(
        "look into {}, and restart `phoenixd up`",
        dir.path().display()
    )))
}

/// Whoever installs it is somewhere on this way.
fn not_asked(is_listed: bool, said: &str) -> Complaint {
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" (the engine said: {})", report::escape(said))
    };
    // dockerd 20.10 and 28 list what they were started with; a reload asks the plugin and does not list it.
    let listed = if is_listed {
        format!(
            "the engine lists the plugin `{PLUGIN}`: does another guard answer, of another `--state-dir`?"
        )
    } else {
        format!(
            "the engine does not list the plugin `{PLUGIN}`: do its settings name it, does it listen, and was dockerd reloaded then? \
             `phoenixd guard install` tells the order"
        )
    };
    Complaint::unmet(format!(
        "the guard was not asked: nobody refused what it refuses{said}"
    ))
    .hint(listed)
}

/// What the guard said of itself, where it proved to have the key.
fn proven<'s>(key: &Key, asked: &str, said: &'s str) -> Option<&'s str> {
    let (_, said) = said.split_once("phoenixd guard: ")?;
    let (state, rest) = said.split_once(" proof=")?;
    let proof: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    (proof == key.proof(&format!("{asked} {state}"))).then_some(state)
}

fn name(what: GuardAllow) -> &'static str {
    match what {
        GuardAllow::Build => "build",
        GuardAllow::Load => "load",
    }
}

fn read(path: &Path) -> Result<DaemonJson, Complaint> {
    DaemonJson::read(path).map_err(|error| {
        Complaint::unmet(Chain(&error).to_string())
            .hint("mend it, or name another file with `--daemon-json`")
    })
}

fn apply(changes: &[Change]) -> Result<(), Complaint> {
    for change in changes {
        change
            .apply()
            .map_err(|error| Complaint::unmet(Chain(&error).to_string()).hint("run it as root"))?;
    }
    Ok(())
}

fn told(changes: &[Change]) -> String {
    let one = |change: &Change| match &change.text {
        Some(text) => {
            let kept = change.backup.as_ref();
            let kept = kept.map_or_else(String::new, |path| {
                format!(", keeping the old one as {}", path.display())
            });
            let text: Vec<String> = text
                .lines()
                .map(|line| format!("    {line}").trim_end().to_owned())
                .collect();
            format!(
                "would write {}{kept}:\n{}\n",
                change.path.display(),
                text.join("\n")
            )
        }
        None => format!("would remove {}\n", change.path.display()),
    };
    changes.iter().map(one).collect()
}

fn wrote(changes: &[Change]) -> String {
    let one = |change: &Change| {
        let done = if change.text.is_some() {
            "wrote"
        } else {
            "removed"
        };
        format!("{done} {}\n", change.path.display())
    };
    changes.iter().map(one).collect()
}

fn say(text: &str) -> Result<(), Complaint> {
    print(text).map_err(super::cannot_print)
}
