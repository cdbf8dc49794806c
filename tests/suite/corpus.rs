//! Compose files of any kind, read by the built program and by docker compose: both say the same, or phoenixd says why not.
//!
//! `PHOENIXD_COMPOSE_CORPUS=DIR cargo test --test suite corpus -- --nocapture` goes over all Compose files below a directory
//! and prints a table. docker compose is the plugin that `PHOENIXD_DOCKER_COMPOSE` names, else the one that
//! `scripts/engine` has fetched, else an installed one; where there is none, a case's `expected.json` or `expected.error`
//! takes its place. Without the variable the cases of `tests/suite/corpus` are compared with what docker compose 2.40.3
//! said of them; `PHOENIXD_CORPUS_UPDATE=1` asks it again and writes that down.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "corpus_compare.rs"]
mod compare;

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use self::compare::{difference, elsewhere, on_purpose};
use serde_json::Value;

/// The names that need no `-f`.
const DEFAULT_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
/// Where the home directory is for both programs, so that `~` means the same on every machine.
const HOME: &str = "/home/user";
/// Deepest directory that is looked into.
const DEPTH_MAX: usize = 12;

/// A Compose file, or a directory with one.
#[derive(Debug)]
struct Case {
    directory: PathBuf,
    /// A file that is named by `-f`; none where the directory has one that is found by itself.
    file: Option<String>,
}

impl Case {
    fn name(&self, root: &Path) -> String {
        let path = match &self.file {
            Some(file) => self.directory.join(file),
            None => self.directory.clone(),
        };
        path.strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string()
    }

    /// `expected.json` of a directory, `NAME.expected.json` of a file.
    fn expected(&self, kind: &str) -> PathBuf {
        let prefix = self.file.as_ref().map_or(String::new(), |file| {
            format!("{}.", Path::new(file).file_stem().unwrap().display())
        });
        self.directory.join(format!("{prefix}expected.{kind}"))
    }

    /// Whether a phoenix is in it.
    fn has_phoenix(&self) -> bool {
        fs::read_dir(&self.directory)
            .unwrap()
            .flatten()
            .any(|entry| {
                is_yaml(&entry.path())
                    && fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("x-phoenix"))
            })
    }

    fn run(&self, mut command: Command) -> Output {
        if let Some(file) = &self.file {
            command.args(["-f", file]);
        }
        command
            .args(["config", "--format", "json"])
            .current_dir(&self.directory)
            .env_clear()
            .env("HOME", HOME)
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap()
    }
}

/// All cases below a directory.
fn cases(root: &Path) -> Vec<Case> {
    let mut found = Vec::new();
    let mut left = VecDeque::from([(root.to_owned(), 0)]);
    while let Some((directory, depth)) = left.pop_front() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let has_default = DEFAULT_NAMES
            .iter()
            .any(|name| directory.join(name).is_file());
        if has_default {
            let directory = directory.clone();
            found.push(Case {
                directory,
                file: None,
            });
        }
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() && depth < DEPTH_MAX {
                left.push_back((path, depth + 1));
            } else if !has_default && is_yaml(&path) && is_compose(&path) {
                let directory = directory.clone();
                let file = Some(name);
                found.push(Case { directory, file });
            }
        }
    }
    found
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Whether a YAML file is meant for docker compose.
fn is_compose(path: &Path) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .any(|line| line.starts_with("services:") || line.starts_with("include:"))
}

/// docker compose as a program of its own.
fn docker_compose() -> Option<PathBuf> {
    if let Some(path) = env::var_os("PHOENIXD_DOCKER_COMPOSE") {
        return Some(PathBuf::from(path));
    }
    let engines = env::var_os("PHOENIXD_ENGINE_DIR");
    let engines = engines.unwrap_or_else(|| "/var/tmp/phoenixd-engine".into());
    let fetched = fs::read_dir(engines).into_iter().flatten().flatten();
    let fetched = fetched.map(|engine| {
        let root = engine.path().join("cache/root");
        root.join("usr/libexec/docker/cli-plugins/docker-compose")
    });
    let installed = [
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/usr/lib/docker/cli-plugins/docker-compose",
        "/usr/local/lib/docker/cli-plugins/docker-compose",
    ];
    let mut paths: Vec<PathBuf> = fetched.collect();
    paths.sort();
    paths.extend(installed.map(PathBuf::from));
    paths.into_iter().find(|path| path.is_file())
}

/// What docker compose says of a case.
enum Reference {
    Model(Value),
    Refusal(String),
    Unknown,
}

fn reference(case: &Case, docker_compose: Option<&Path>) -> Reference {
    if let Some(path) = docker_compose {
        // A file may name one of the network, which may never answer.
        let mut command = Command::new("timeout");
        command.arg("60").arg(path);
        let output = case.run(command);
        return match serde_json::from_slice(&output.stdout) {
            Ok(model) if output.status.success() => Reference::Model(model),
            _ => Reference::Refusal(String::from_utf8_lossy(&output.stderr).into_owned()),
        };
    }
    if let Ok(text) = fs::read(case.expected("json")) {
        return Reference::Model(serde_json::from_slice(&text).unwrap());
    }
    match fs::read_to_string(case.expected("error")) {
        Ok(text) => Reference::Refusal(text),
        Err(_) => Reference::Unknown,
    }
}

/// How a case ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Equal,
    /// Different, and the README says why.
    OnPurpose(String),
    BothRefuse,
    /// phoenixd alone refuses: the code of its reason.
    Refused(String),
    /// docker compose alone refuses.
    Accepted(String),
    /// Nothing to compare with.
    Alone,
    /// A failure: with the first path that differs.
    Different(String),
    /// A failure: refused without a code, a place or a remedy.
    NoReason(String),
    /// A failure: it ended otherwise than by an answer.
    Broken(String),
}

impl Verdict {
    fn heading(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::OnPurpose(_) => "different on purpose",
            Self::BothRefuse => "refused by both",
            Self::Refused(_) => "refused by phoenixd only, with a reason",
            Self::Accepted(_) => "refused by docker compose only",
            Self::Alone => "nothing to compare with",
            Self::Different(_) => "DIFFERENT",
            Self::NoReason(_) => "REFUSED WITHOUT A REASON",
            Self::Broken(_) => "BROKEN",
        }
    }

    fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Different(_) | Self::NoReason(_) | Self::Broken(_)
        )
    }

    fn detail(&self) -> &str {
        match self {
            Self::Equal | Self::BothRefuse | Self::Alone => "",
            Self::OnPurpose(text)
            | Self::Refused(text)
            | Self::Accepted(text)
            | Self::Different(text)
            | Self::NoReason(text)
            | Self::Broken(text) => text,
        }
    }
}

fn verdict(case: &Case, docker_compose: Option<&Path>) -> Verdict {
    let output = case.run(Command::new(env!("CARGO_BIN_EXE_phoenixd")));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let reference = reference(case, docker_compose);
    match output.status.code() {
        Some(0) => {}
        Some(1) => {
            return match reason(&said) {
                None => Verdict::NoReason(said),
                Some(code) => match reference {
                    Reference::Model(_) => Verdict::Refused(code),
                    Reference::Refusal(_) => Verdict::BothRefuse,
                    Reference::Unknown => Verdict::Alone,
                },
            };
        }
        _ => return Verdict::Broken(format!("{}: {said}", output.status)),
    }
    let Ok(mut have) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Verdict::Broken("what it prints is no JSON".to_owned());
    };
    match reference {
        Reference::Unknown => Verdict::Alone,
        Reference::Refusal(why) => {
            let last = why.trim().lines().last().unwrap_or_default();
            Verdict::Accepted(last.chars().take(160).collect())
        }
        Reference::Model(mut want) => {
            if docker_compose.is_none() {
                elsewhere(&mut want, &have, &case.directory);
            }
            if let Some(why) = on_purpose(case.has_phoenix(), &mut want, &mut have) {
                return match difference("", &want, &have) {
                    None => Verdict::OnPurpose(why.to_owned()),
                    Some(path) => Verdict::Different(path),
                };
            }
            difference("", &want, &have).map_or(Verdict::Equal, Verdict::Different)
        }
    }
}

/// The code of the first error that has a code, a place and a remedy; every error must have them.
fn reason(said: &str) -> Option<String> {
    let said = format!("\n{said}");
    let mut code = None;
    for error in said.split("\nerror").skip(1) {
        let (found, _) = error.strip_prefix('[')?.split_once(']')?;
        let has_place = error.contains("--> ");
        let has_remedy = error.contains("= help: ") || error.contains("hint: ");
        if !has_place || !has_remedy {
            return None;
        }
        code.get_or_insert_with(|| found.to_owned());
    }
    code
}

/// All verdicts, by as many hands as there are processors.
fn verdicts(cases: &[Case], docker_compose: Option<&Path>) -> Vec<Verdict> {
    let left = Mutex::new((0..cases.len()).collect::<VecDeque<usize>>());
    let found = Mutex::new(BTreeMap::new());
    let hands = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..hands {
            scope.spawn(|| {
                while let Some(index) = { left.lock().unwrap().pop_front() } {
                    let verdict = verdict(cases.get(index).unwrap(), docker_compose);
                    found.lock().unwrap().insert(index, verdict);
                }
            });
        }
    });
    found.into_inner().unwrap().into_values().collect()
}

/// The table, and below it what is worth a look.
fn table(root: &Path, cases: &[Case], verdicts: &[Verdict]) -> String {
    let mut counts: BTreeMap<&Verdict, (usize, Vec<String>)> = BTreeMap::new();
    let mut headings: Vec<(&str, usize)> = Vec::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        let (count, names) = counts.entry(verdict).or_default();
        *count += 1;
        names.push(case.name(root));
        match headings
            .iter_mut()
            .find(|(heading, _)| *heading == verdict.heading())
        {
            Some((_, count)) => *count += 1,
            None => headings.push((verdict.heading(), 1)),
        }
    }
    headings.sort_unstable();
    let mut text = format!(
        "\n{} Compose files below {}\n\n",
        cases.len(),
        root.display()
    );
    for (heading, count) in headings {
        writeln!(text, "{count:>6}  {heading}").unwrap();
    }
    for (verdict, (count, names)) in counts {
        let detail = verdict.detail();
        if detail.is_empty() {
            continue;
        }
        let names: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
        let heading = verdict.heading();
        writeln!(
            text,
            "\n{heading}: {detail}\n{count:>6}  {}",
            names.join(", ")
        )
        .unwrap();
    }
    text
}

#[test]
fn phoenixd_and_docker_compose_understand_a_file_alike_or_phoenixd_says_why_not() {
    let given = env::var_os("PHOENIXD_COMPOSE_CORPUS").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/corpus");
    let root = given.as_deref().unwrap_or(&own);
    let cases = cases(root);
    assert!(
        !cases.is_empty(),
        "no Compose file below {}",
        root.display()
    );
    let docker_compose = given.as_ref().and_then(|_| docker_compose());
    if given.is_none() {
        update(root, &cases);
        assert!(cases.len() >= 30, "only {} cases of our own", cases.len());
    }
    let verdicts = verdicts(&cases, docker_compose.as_deref());
    let table = table(root, &cases, &verdicts);
    #[expect(clippy::print_stdout, reason = "the table is what the run is for")]
    {
        println!("{table}");
    }
    let failures = verdicts
        .iter()
        .filter(|verdict| verdict.is_failure())
        .count();
    assert!(failures == 0, "{failures} failures\n{table}");
    let known = verdicts
        .iter()
        .filter(|one| **one != Verdict::Alone)
        .count();
    assert!(
        known > 0,
        "there is nothing to compare with: name docker compose by PHOENIXD_DOCKER_COMPOSE"
    );
    if given.is_none() {
        assert_eq!(known, cases.len(), "run it with PHOENIXD_CORPUS_UPDATE=1");
    }
}

/// Writes down what docker compose says of our own cases.
fn update(root: &Path, cases: &[Case]) {
    if env::var_os("PHOENIXD_CORPUS_UPDATE").is_none() {
        return;
    }
    let docker_compose = docker_compose().unwrap();
    for case in cases {
        for kind in ["json", "error"] {
            drop(fs::remove_file(case.expected(kind)));
        }
        match reference(case, Some(&docker_compose)) {
            Reference::Model(model) => {
                let text = format!("{model:#}\n").replace(&*root.to_string_lossy(), "/srv");
                fs::write(case.expected("json"), text).unwrap();
            }
            Reference::Refusal(text) => {
                let here = case.directory.to_string_lossy();
                let lines = text.lines().filter(|line| !line.contains("level=warning"));
                let text: Vec<String> = lines.map(|line| line.replace(&*here, ".")).collect();
                fs::write(case.expected("error"), text.join("\n") + "\n").unwrap();
            }
            Reference::Unknown => {}
        }
    }
}

#[test]
fn a_refusal_counts_only_with_code_place_and_remedy() {
    let whole = "error[unknown-key]: no\n --> a.yaml:1:2\n  = help: remove it\n";
    assert_eq!(reason(whole).as_deref(), Some("unknown-key"));
    for text in [
        "error: no\n",
        "error[unknown-key]: no\n  = help: remove it\n",
        "error[unknown-key]: no\n --> a.yaml:1:2\n",
        "",
    ] {
        assert_eq!(reason(text), None, "{text}");
    }
}
