//! What is fuzzed: the ways of foreign text into phoenixd. Each function takes any bytes, and must neither panic nor
//! take long, and what it accepts must hold together.
//!
//! Used by the fuzz targets, and by tests/suite/compose/fuzz.rs, which runs the seeds and simple mutations of them in
//! every test run. Not here: the compiler and the engine behind it (scripts/fuzz).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenixd::compose::{
    DotenvFile, Files, Format, Input, Printed, ReadError, SourceFile, add_dotenv, config, load,
};

use phoenixd::edge::control::wire::{self, Asked, Said};
use phoenixd::guard::{Judge, Managed, Project, Replica, Request, Site, Target, VERSION, Verdict};
use phoenixd::journal::{Error, Head, Heads, Line, verify_from};
use phoenixd::sign::Key;

/// Stands between the files of one input: `%%%% name` on a line of its own.
const SEPARATOR: &str = "%%%% ";

/// Files that exist only in the input.
struct Given(BTreeMap<PathBuf, Vec<u8>>);

impl Files for Given {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.0.get(path).cloned().ok_or(ReadError::NotFound)
    }

    fn canonicalize(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn engine_socket(&self) -> Option<PathBuf> {
        None
    }
}

fn input(files: Vec<SourceFile>) -> Input {
    Input {
        files,
        project_name: None,
        working_dir: PathBuf::from("/p"),
        current_dir: PathBuf::from("/p"),
        environment: BTreeMap::from([
            ("HOME".to_owned(), "/home/me".to_owned()),
            ("SET".to_owned(), "value".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]),
        profiles: vec!["active".to_owned()],
    }
}

/// A whole project: the text before the first separator and files called `over…` are laid over each other, the others
/// are there to be included, extended or read as variables.
pub fn load_project(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split(SEPARATOR);
    let first = parts.next().unwrap_or_default();
    // Bytes that are no text reach the reader as they are.
    let first = if data.len() == first.len() {
        data
    } else {
        first.as_bytes()
    };
    let mut files = vec![SourceFile {
        path: PathBuf::from("compose.yaml"),
        text: first.to_vec(),
    }];
    let mut others = BTreeMap::new();
    for part in parts.take(8) {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        let path = Path::new("/p").join(name.trim());
        if name.starts_with("over") {
            files.push(SourceFile {
                path: path.clone(),
                text: text.into(),
            });
        }
        others.insert(path, text.as_bytes().to_vec());
    }
    let input = input(files);
    let given = Given(others);
    let (project, problems) = load(&input, &given);
    let has_errors = phoenixd::spec::has_errors(&problems);
    assert!(
        project.is_some() != has_errors,
        "a project, or a reason: {problems:?}"
    );
    for problem in &problems {
        assert!(problem.hint.is_some(), "what to do? {problem:?}");
    }
    let (printed, _) = config(&input, &given, &mut Vec::new(), Format::Json);
    // docker compose doubles the dollars of keys, too, and does not take them back; so do we.
    if let Some(printed) = printed.filter(|printed| !has_dollar_key(printed)) {
        again(&printed.to_json());
    }
}

fn has_dollar_key(printed: &Printed) -> bool {
    match printed {
        Printed::Map(pairs) => pairs
            .iter()
            .any(|(key, value)| key.contains('$') || has_dollar_key(value)),
        Printed::List(items) => items.iter().any(has_dollar_key),
        Printed::Null
        | Printed::Bool(_)
        | Printed::Int(_)
        | Printed::Float(_)
        | Printed::Text(_) => false,
    }
}

/// What is printed is read as the same again.
fn again(json: &str) {
    let source = SourceFile {
        path: PathBuf::from("compose.yaml"),
        text: json.as_bytes().to_vec(),
    };
    let given = Given(BTreeMap::new());
    let (printed, problems) = config(&input(vec![source]), &given, &mut Vec::new(), Format::Json);
    if let Some(printed) = printed {
        assert_eq!(
            printed.to_json(),
            json,
            "printing is not stable: {problems:?}"
        );
    }
}

/// Each line as the value of keys that have a syntax of their own.
pub fn value(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let quoted: Vec<String> = text
        .lines()
        .take(16)
        .map(|line| format!("'{}'", line.replace('\'', "''")))
        .collect();
    let list = quoted.join(", ");
    let one = quoted.first().map_or("''", String::as_str);
    let project = format!(
        "services:\n  web:\n    image: {one}\n    ports: [{list}]\n    volumes: [{list}]\n    \
         environment: [{list}]\n    command: {one}\n    devices: [{list}]\n    extra_hosts: [{list}]\n    \
         tmpfs: [{list}]\n    mem_limit: {one}\n    stop_grace_period: {one}\n    expose: [{list}]\n    \
         x-phoenix: {{ ttl: {one}, jitter: {one}, allow: [{list}] }}\n"
    );
    load_project(project.as_bytes());
    for line in &quoted {
        for key in [
            "ports",
            "volumes",
            "environment",
            "extra_hosts",
            "labels",
            "dns",
        ] {
            let project = format!("services: {{ web: {{ image: a, {key}: [{line}] }} }}");
            load_project(project.as_bytes());
        }
    }
}

/// A file of variables.
pub fn dotenv(data: &[u8]) {
    let mut environment = BTreeMap::from([("SET".to_owned(), "value".to_owned())]);
    let file = DotenvFile {
        path: PathBuf::from(".env"),
        text: data.to_vec(),
    };
    let mut problems = Vec::new();
    add_dotenv(&mut environment, &[file], &mut |one| problems.push(one));
    assert_eq!(environment.get("SET").map(String::as_str), Some("value"));
    for problem in &problems {
        assert!(
            problem.place.is_some() && problem.hint.is_some(),
            "{problem:?}"
        );
    }
}

/// A journal, and a file of exported heads.
pub fn journal(data: &[u8]) {
    let path = Path::new("journal.jsonl");
    let mut heads = Heads::default();
    match heads.add_from(data, path) {
        Ok(()) | Err(Error::Line { .. } | Error::Rewritten { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let verified = match verify_from(data, path) {
        Ok(verified) => verified,
        Err(Error::Broken { source, .. }) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!((1..=lines as u64).contains(&source.line), "{source}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(verified.records, verified.head.seq - verified.base.seq);
    let torn = usize::try_from(verified.torn_bytes).unwrap_or(usize::MAX);
    let (whole, _) = data.split_at(data.len() - torn);
    let again = match verify_from(whole, path) {
        Ok(again) => again,
        Err(error) => panic!("what holds, holds without what is torn: {error}"),
    };
    assert_eq!(
        (again.records, &again.head, again.torn_bytes),
        (verified.records, &verified.head, 0)
    );
    if verified.records == 0 {
        assert_eq!(verified.head, Head::genesis());
        return;
    }
    for line in whole
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        // Of another phoenixd a line may say what this one cannot read, but its number is never another one.
        if let Ok(line) = serde_json::from_slice::<Line>(line) {
            assert!(line.seq > verified.base.seq && line.seq <= verified.head.seq);
        }
    }
    // Whatever becomes of a byte before the last line, it is noticed.
    let Some(last) = whole
        .strip_suffix(b"\n")
        .and_then(|all| all.iter().rposition(|byte| *byte == b'\n'))
    else {
        return;
    };
    let mut changed = whole.to_vec();
    let at = data.iter().fold(7_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add((*byte).into())
    }) % last;
    changed[at] ^= 1;
    match verify_from(changed.as_slice(), path) {
        Err(Error::Broken { .. }) => {}
        other => panic!("a changed byte {at}: {other:?}"),
    }
}
/// A request to the guard: `METHOD TARGET` on the first line, headers, an empty line, the body. Whatever it is, the guard
/// decides, decides the same again, and lets nobody into the container `shop-web-3`.
pub fn guard(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, _) = text.split_once("\n\n").unwrap_or((&text, ""));
    let at = data.windows(2).position(|two| two == b"\n\n");
    let body = at.map_or(&[][..], |at| &data[at + 2..]);
    let mut lines = head.lines();
    let (method, uri) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .unwrap_or_default();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let request = Request {
        method: method.to_owned(),
        uri: uri.to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: body.to_vec(),
        ..Request::default()
    };
    let id = "ab12".repeat(16);
    let managed = managed(&id);
    let mut judge = Judge::new(Key::of([7; 32]), Site::default());
    let mut decide = || {
        let now = Duration::from_secs(100);
        judge.request(&request, &managed, now, &|path| Ok(path.to_owned()))
    };
    let verdict = decide();
    assert_eq!(verdict, decide(), "another verdict on the same request");
    if verdict != Verdict::Allow || method == "OPTIONS" {
        return;
    }
    let Ok(target) = Target::parse(uri) else {
        unreachable!("what is allowed was understood: {uri}");
    };
    let reads = ["json", "top", "logs", "stats"];
    let is_read = method == "GET"
        && target
            .segments
            .last()
            .is_some_and(|last| reads.contains(&last.as_str()));
    let names = |segment: &String| segment == "shop-web-3" || *segment == id;
    if target
        .segments
        .first()
        .is_some_and(|first| first == "containers")
        && !is_read
    {
        assert!(
            !target.segments.iter().any(names),
            "a way in: {method} {uri}"
        );
    }
    if target.segments == ["containers", "create"] {
        assert!(!joins(body), "a way in: {text}");
    }
}

/// A project with one replica of this id.
fn managed(id: &str) -> Managed {
    Managed {
        projects: BTreeMap::from([(
            "shop".to_owned(),
            Project {
                version: VERSION,
                project: "shop".to_owned(),
                services: vec!["web".to_owned()],
                replicas: vec![Replica {
                    id: id.to_owned(),
                    name: "shop-web-3".to_owned(),
                    exec_until_ms: None,
                }],
                ..Project::default()
            },
        )]),
        ..Managed::default()
    }
}

/// Whether another reader of JSON sees a container that joins the managed one.
fn joins(body: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(top)) = serde_json::from_slice(body) else {
        return false;
    };
    let is_join = |object: &serde_json::Map<String, serde_json::Value>| {
        object.iter().any(|(key, value)| {
            let is_mode =
                ["pidmode", "ipcmode", "networkmode"].contains(&&*key.to_ascii_lowercase());
            is_mode && value == "container:shop-web-3"
        })
    };
    let inner = top
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case("hostconfig"));
    is_join(&top)
        || inner
            .filter_map(|(_, value)| value.as_object())
            .any(is_join)
}

/// Lines of an edge's control socket: what is understood is said again as the same, and keeps the bounds.
pub fn control(data: &[u8]) {
    fn again<T: wire::Line + PartialEq + std::fmt::Debug>(line: &[u8]) {
        let Ok(value) = wire::decode::<T>(line) else {
            return;
        };
        let said = match wire::encode(&value) {
            Ok(said) => said,
            // Escapes may make it longer than what was heard.
            Err(wire::WireError::TooMany { .. }) => return,
            Err(error) => panic!("heard, and cannot be said: {error}"),
        };
        let (text, end) = said.split_at(said.len() - 1);
        assert!(!text.contains(&b'\n') && end == b"\n");
        match wire::decode::<T>(text) {
            Ok(heard) => assert_eq!(heard, value),
            Err(error) => panic!("said, and not understood: {error}"),
        }
    }
    for line in data.split(|byte| *byte == b'\n').take(16) {
        if let Ok((version, _)) = wire::decode_hello(line) {
            assert!((wire::OLDEST..=wire::VERSION).contains(&version));
        }
        again::<Asked>(line);
        again::<Said>(line);
    }
}
