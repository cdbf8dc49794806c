//! A container runtime on its way into a container: `runc exec` lives for tens of milliseconds before the program that
//! it starts, and says which program that will be, with its user and its capabilities. So an exec is seen however short
//! it is, with the very arguments that it was started with, which its own command line tells only until it starts
//! another program itself.
//!
//! Not here: what the program does then (`scan`).

use serde::Deserialize;

use super::process::{Process, Stat};
use crate::spec::{ContainerId, capability_bit};

/// What a runtime is about to start in a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Start {
    pub(super) arguments: Vec<String>,
    pub(super) uid: Option<u32>,
    pub(super) cap_bounding: Option<u64>,
    pub(super) terminal: Option<bool>,
}

/// `process` of the OCI runtime specification 1.2, as far as it is used; what it has in its environment is not read.
#[derive(Deserialize)]
struct Specified {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    terminal: bool,
    user: Option<User>,
    capabilities: Option<Capabilities>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    uid: u32,
}

#[derive(Deserialize)]
struct Capabilities {
    #[serde(default)]
    bounding: Vec<String>,
}

/// More than any process has arguments and environment.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// Runtimes with runc's command line.
const NAMES: [&str; 3] = ["runc", "crun", "youki"];

/// Whether a process is a runtime that starts something in a container that is watched, and what. Only root's is
/// believed: anybody may call himself `runc`.
pub(super) fn start(
    process: &Process,
    stat: &Stat,
    is_watched: impl Fn(&ContainerId) -> bool,
) -> Option<(ContainerId, Start)> {
    if !NAMES.contains(&stat.name.as_str()) {
        return None;
    }
    let arguments = process.arguments();
    let (id, file, command) = parse(&arguments, is_watched)?;
    let credentials = process.status()?;
    // Its threads have numbers, too.
    if credentials.uids.get(1) != Some(&0) || credentials.tgid != process.pid {
        return None;
    }
    let Some(file) = file else {
        // By hand: `runc exec ID COMMAND …`.
        let by_hand = Start {
            arguments: command.to_vec(),
            ..Start::default()
        };
        return Some((id, by_hand));
    };
    // As the runtime itself sees it: an engine may have a mount namespace of its own.
    let text = process.read(
        &format!("root/{}", file.trim_start_matches('/')),
        LIMIT_BYTES,
    )?;
    Some((id, specified(&text)?))
}

/// Whether a process is a runtime that was made to enter and has not said so by its name yet: `runc init` (runc 1.0 to 1.3).
/// Its end is another process.
pub(super) fn is_entering(stat: &Stat, arguments: &[String]) -> bool {
    let [program, what] = arguments else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or_default();
    NAMES.contains(&stat.name.as_str()) && NAMES.contains(&program) && what == "init"
}

/// The container, the file of `--process`, and the command after the container's id (`runc exec --help`, 1.1).
fn parse(
    arguments: &[String],
    is_watched: impl Fn(&ContainerId) -> bool,
) -> Option<(ContainerId, Option<&str>, &[String])> {
    let exec = arguments.iter().skip(1).position(|word| word == "exec")? + 1;
    let mut words = arguments.iter().enumerate().skip(exec + 1);
    let (at, id) = words.find_map(|(at, word)| {
        let id = ContainerId::new(word.as_str());
        is_watched(&id).then_some((at, id))
    })?;
    let options = arguments.get(exec + 1..at).unwrap_or_default();
    let file = options.iter().enumerate().find_map(|(at, word)| {
        if let Some(file) = word.strip_prefix("--process=") {
            return Some(file);
        }
        matches!(word.as_str(), "--process" | "-p")
            .then(|| options.get(at + 1).map(String::as_str))
            .flatten()
    });
    Some((id, file, arguments.get(at + 1..).unwrap_or_default()))
}

fn specified(text: &[u8]) -> Option<Start> {
    let specified: Specified = serde_json::from_slice(text).ok()?;
    // One that is not known is one more than any container of ours has.
    let bit = |name: &String| capability_bit(name).unwrap_or(1 << 63);
    let bounding = |capabilities: Capabilities| {
        capabilities
            .bounding
            .iter()
            .fold(0, |all, name| all | bit(name))
    };
    Some(Start {
        arguments: specified.args,
        uid: specified.user.map(|user| user.uid),
        cap_bounding: Some(specified.capabilities.map_or(0, bounding)),
        terminal: Some(specified.terminal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_runtime_s_command_line_tells_the_container_and_what_is_started() {
        let id = "0f".repeat(32);
        let own = ContainerId::new(id.clone());
        let watched = |other: &ContainerId| *other == own;
        let by_docker = words(&format!(
            "runc --root /run/runc/moby --log-format json exec --process /tmp/runc-process7 --detach --pid-file /p {id}"
        ));
        let (found, file, command) = parse(&by_docker, watched).unwrap();
        assert_eq!((&found, file), (&own, Some("/tmp/runc-process7")));
        assert!(command.is_empty());
        let by_hand = words(&format!("runc exec -t {id} sh -c exec"));
        let (_, file, command) = parse(&by_hand, watched).unwrap();
        assert_eq!((file, command), (None, words("sh -c exec").as_slice()));
        for other in ["runc", "runc exec", "runc exec abc sh", "exec"] {
            assert_eq!(parse(&words(other), watched), None, "{other}");
        }
        assert_eq!(parse(&words(&format!("runc kill {id}")), watched), None);
    }

    #[test]
    fn what_is_started_is_read_without_its_environment() {
        let text = br#"{"terminal":true,"user":{"uid":7,"gid":7},"args":["a","b c"],"env":["A=1"],"cwd":"/",
            "capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"]}}"#;
        let start = specified(text).unwrap();
        assert_eq!(start.arguments, ["a", "b c"]);
        assert_eq!((start.uid, start.terminal), (Some(7), Some(true)));
        assert_eq!(start.cap_bounding, Some(0b10_0001));
        assert_eq!(specified(b"{").map(|start| start.arguments), None);
    }
}
