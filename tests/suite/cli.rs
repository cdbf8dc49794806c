//! Whole runs of the built program, without an engine: stdout, stderr and exit code together, as a person meets them.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::io::pipe;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A file that any engine could run.
const GOOD: &str = "\
services:
  web:
    image: example/web:1
    ports: [\"127.0.0.1:8080:80\"]
    x-phoenix: {}
";

/// A directory with files, where phoenixd is run.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::with_prefix("phoenixd-cli-").expect("a directory");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program with an environment of its own, and no engine within reach.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenixd"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .env("PHOENIXD_STATE_DIR", self.path().join("state"))
            .env("COMPOSE_PROJECT_NAME", "shop");
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("phoenixd runs")
    }

    /// A run as a text: the command, what it said where, and how it ended.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let mut text = format!("$ phoenixd {}\n", arguments.join(" "));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                let said = String::from_utf8_lossy(bytes);
                let said: Vec<&str> = said.lines().map(str::trim_end).collect();
                writeln!(text, "--- {name}\n{}", said.join("\n")).expect("text");
            }
        }
        let code = output.status.code().expect("it ends by itself");
        writeln!(text, "--- exit code {code}").expect("text");
        let here = self.path().to_str().expect("UTF-8");
        text.replace(here, "[HERE]")
            .replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
    }
}

/// The commands that the help names, without `help` itself.
pub(crate) fn commands() -> Vec<String> {
    let names = commands_below(&[]);
    assert!(!names.is_empty(), "a list of commands");
    names
}

/// The commands within a command.
fn commands_below(command: &[&str]) -> Vec<String> {
    let help = help(&[command, &["-h"]].concat());
    let list = help.split("Commands:").nth(1).unwrap_or_default();
    let list = list.split("Options:").next().unwrap_or_default();
    let first = |line: &str| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned());
    let names = list.lines().filter_map(first);
    names
        .filter(|name| !name.is_empty() && name != "help")
        .collect()
}

/// What the program says of itself.
pub(crate) fn help(arguments: &[&str]) -> String {
    String::from_utf8(Place::new(&[]).output(arguments).stdout).expect("UTF-8")
}

/// Compares with `tests/suite/cli/NAME.snap`.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("cli");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn every_command_within_a_command_has_a_man_page() {
    let man = help(&["man"]);
    let has = |name: &str| {
        let title = format!(".TH {name} 1");
        man.lines().filter(|line| line.starts_with(&title)).count() == 1
    };
    assert!(has("phoenixd"), "{man}");
    let mut nested = 0;
    for name in commands() {
        assert!(has(&format!("phoenixd-{name}")), "{name}");
        for below in commands_below(&[&name]) {
            nested += 1;
            assert!(has(&format!("phoenixd-{name}-{below}")), "{name} {below}");
        }
    }
    assert!(nested >= 7, "{nested}");
    assert!(!man.contains("demo-app"), "what is hidden stays so");
}

#[test]
fn help_is_data_and_names_everything() {
    let place = Place::new(&[]);
    snapshot("help", &place.run(&["--help"]));
    snapshot("help_short", &place.run(&["-h"]));
    snapshot("version", &place.run(&["--version"]));
    // Not in the list: a supervisor starts it.
    snapshot("help_edge", &place.run(&["edge", "--help"]));
    for name in commands() {
        snapshot(&format!("help_{name}"), &place.run(&[&name, "--help"]));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_says_what_would() {
    let place = Place::new(&[("compose.yaml", GOOD)]);
    let runs = [
        vec![],
        vec!["recyle"],
        vec!["up", "--down-on-exti"],
        vec!["plan", "--format", "yaml"],
        vec!["up", "-f"],
        vec!["completions"],
        vec!["check", "--docker-host", "ftp://x"],
        vec!["check", "--docker-host", "unix://"],
    ];
    let text: Vec<String> = runs.iter().map(|arguments| place.run(arguments)).collect();
    snapshot("command_line", &text.join("\n"));
}

#[test]
fn a_bad_file_is_explained_with_place_and_hint() {
    let bad = "\
services:
  web:
    image: example/web:1
    privileged: true
    volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]
    ports: [\"8080:80\"]
    x-phoenix: { tll: 1h, drain: soon }
  api:
    image: example/api:1
    links: [db]
    ports: [\"8080:90\"]
    x-phoenix: {}
  db:
    image: example/db:1
    anything: goes
";
    let huge = format!("{GOOD}# {}\n", "x".repeat(5 << 20));
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in [
        ("b", "a"),
        ("c", "b"),
        ("d", "c"),
        ("e", "d"),
        ("f", "e"),
        ("g", "f"),
    ] {
        let all = vec![format!("*{before}"); 10].join(", ");
        writeln!(bomb, "{name}: &{name} [{all}]").expect("text");
    }
    bomb += GOOD;
    let place = Place::new(&[
        ("bad.yaml", bad),
        ("text.yaml", "hello\n"),
        ("broken.yaml", "services:\n  web: [\n"),
        ("huge.yaml", &huge),
        ("bomb.yaml", &bomb),
        ("other.yaml", "services:\n  db:\n    image: example/db:1\n"),
        ("old.yaml", "version: '3'\nservices:\n  web: { iamge: a }\n"),
        ("good.yaml", GOOD),
    ]);
    fs::create_dir(place.path().join("folder")).expect("a directory");
    for name in ["bad", "text", "broken", "huge", "bomb", "other", "old"] {
        let file = format!("{name}.yaml");
        snapshot(&format!("file_{name}"), &place.run(&["check", "-f", &file]));
    }
    let runs = [
        vec!["check", "-f", "missing.yaml"],
        vec!["check", "-f", "folder"],
        vec!["check", "-f", "good.yaml", "-f", "other.yaml"],
        vec!["-f", "missing.yaml", "up"],
    ];
    let text: Vec<String> = runs.iter().map(|arguments| place.run(arguments)).collect();
    snapshot("file_cannot_be_used", &text.join("\n"));
}

#[test]
fn without_a_file_every_command_says_so() {
    let place = Place::new(&[]);
    let text: Vec<String> = [
        "up", "down", "check", "config", "plan", "ps", "recycle", "events",
    ]
    .iter()
    .map(|command| place.run(&[command]))
    .collect();
    snapshot("no_file", &text.join("\n"));
}

#[test]
fn config_shows_every_service_and_needs_no_engine() {
    let file = "\
name: shop
services:
  web:
    image: example/web:${TAG:-1}
    profiles: [phoenix]
    ports: [\"127.0.0.1:8080:80\"]
    environment: { PRICE: 5$$, DEBUG: True }
    x-phoenix: {}
  db:
    image: example/db:1
    volumes: [data:/data]
    healthcheck: { test: exit 0, interval: 90s }
  tools:
    image: example/tools:1
    profiles: [tools]
volumes: { data: {}, unused: {} }
";
    let place = Place::new(&[
        ("compose.yaml", file),
        ("other.yaml", "services: { db: { image: a } }\n"),
        ("bad.yaml", "services: { db: { image: 5, prots: [] } }\n"),
    ]);
    let runs = [
        vec!["config"],
        vec!["config", "--format", "json", "--profile", "tools"],
        vec!["config", "--services"],
        vec!["config", "-f", "other.yaml", "-p", "named"],
        vec!["config", "-f", "bad.yaml"],
    ];
    let text: Vec<String> = runs.iter().map(|arguments| place.run(arguments)).collect();
    snapshot("config", &text.join("\n"));
}

#[test]
fn without_an_engine_every_command_says_so_and_leaves_nothing_behind() {
    let place = Place::new(&[("compose.yaml", GOOD)]);
    let text: Vec<String> = ["up", "down", "check", "plan", "ps"]
        .iter()
        .map(|command| place.run(&[command]))
        .collect();
    snapshot("no_engine", &text.join("\n"));
    assert!(!place.path().join("state").exists(), "nothing was started");
}

#[test]
fn without_a_supervisor_there_is_nobody_to_ask() {
    let place = Place::new(&[("compose.yaml", GOOD)]);
    let runs = [
        vec!["recycle"],
        vec!["recycle", "nobody"],
        vec!["events"],
        vec!["events", "-f"],
        vec!["events", "-p", "other", "--state-dir", "elsewhere"],
    ];
    let text: Vec<String> = runs.iter().map(|arguments| place.run(arguments)).collect();
    snapshot("no_supervisor", &text.join("\n"));
}

#[test]
fn a_project_name_from_the_command_line_is_checked() {
    let place = Place::new(&[("compose.yaml", GOOD)]);
    snapshot("project_name", &place.run(&["check", "-p", "../Shop"]));
}

#[test]
fn what_asks_about_a_project_needs_its_name_and_no_more_of_its_file() {
    let file = "name: bazaar
services:
  web: { image: a, environment: { A: \"${NEEDED:?}\" }, x-phoenix: {} }
secrets: { missing: { file: ./missing } }
";
    let place = Place::new(&[("compose.yaml", file)]);
    for (command, says) in [
        ("ps", "project `bazaar`"),
        ("events", "project `bazaar`"),
        ("recycle", "state/bazaar/api.sock"),
        ("down", "nowhere/docker.sock"),
    ] {
        let mut command = place.command(&[command]);
        let output = command.env_remove("COMPOSE_PROJECT_NAME").output();
        let output = output.expect("phoenixd runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(says) && !said.contains("NEEDED"), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}

#[test]
fn a_named_pipe_is_refused_and_not_waited_for() {
    let file = "services:
  web: { image: a, env_file: ./pipe, x-phoenix: {} }
";
    let place = Place::new(&[("compose.yaml", file)]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path().join("pipe"), mode).expect("a pipe");
    let said = place.run(&["check"]);
    assert!(said.contains("it is a named pipe"), "{said}");
    assert!(said.contains("exit code 1"), "{said}");
}

#[test]
fn completions_and_the_man_page_come_from_the_same_definition() {
    let place = Place::new(&[]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = place.output(&["completions", shell]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}"
        );
        for word in ["recycle", "state-dir"] {
            assert!(text.contains(word), "{shell} does not complete {word}");
        }
    }
    let output = place.output(&["man"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && text.contains(".TH phoenixd") && text.contains("recycle"));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::new(&[("compose.yaml", GOOD)]);
    for arguments in [
        vec!["--help"],
        vec!["--version"],
        vec!["man"],
        vec!["completions", "bash"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let output = place
            .command(&arguments)
            .stdout(writer)
            .output()
            .expect("phoenixd runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
