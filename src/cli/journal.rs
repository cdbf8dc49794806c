//! `phoenixd journal`: checks the chain, shows records to people, exports them as they stand. The files are enough.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::args::{JournalCommand, JournalFormat};
use super::context::Context;
use super::events::{broken, existing, print_all};
use super::output::{Complaint, Exit, complain, print};
use crate::clock;
use crate::journal::{self, Broken, Checked, Error, Heads, Kind, Line, Why, files_of, raw_lines};
use crate::report::{brief, escape, escape_json};

/// The most that is shown of one text, in characters; `export` has all of it.
const TEXT: usize = 200;

pub(super) fn run(context: &Context, command: JournalCommand) -> Result<Exit, Complaint> {
    context.log(false);
    match command {
        JournalCommand::Verify {
            paths,
            heads,
            head_files,
            ..
        } => verify(context, &paths, &heads, &head_files),
        JournalCommand::Show {
            service,
            kinds,
            since,
            tail,
            ..
        } => {
            let wanted = Wanted::of(service, &kinds, since.as_deref())?;
            show(&existing(context)?, &wanted, tail)
        }
        JournalCommand::Export { format, .. } => export(&existing(context)?, format),
    }
}

fn verify(
    context: &Context,
    paths: &[PathBuf],
    heads: &[String],
    head_files: &[PathBuf],
) -> Result<Exit, Complaint> {
    let mut expected = Heads::default();
    for head in heads {
        let is_hash = head.len() == 64 && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            let head = brief(head, TEXT);
            return Err(Complaint::unmet(format!("`{head}` is not a head"))
                .hint("a head is 64 hexadecimal digits, as `phoenixd journal verify` prints it"));
        }
        expected.add(head);
    }
    for file in head_files {
        expected
            .add_file(file)
            .map_err(|error| not_verified(&error))?;
    }
    let files = if paths.is_empty() {
        files(&existing(context)?)?
    } else {
        let mut files = Vec::new();
        for path in paths {
            files.extend(self::files(path)?);
        }
        files
    };
    if files.is_empty() {
        return Err(
            Complaint::unmet("there is no journal").hint("name its directory, or its files")
        );
    }
    let checked = journal::verify_all(&files, expected).map_err(|error| not_verified(&error))?;
    print(&report(&checked)).map_err(super::cannot_print)?;
    for note in &checked.notes {
        complain(&format!("note: {}\n", escape(note)));
    }
    Ok(Exit::Success)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Complaint> {
    if path.is_dir() {
        files_of(path).map_err(|error| broken(&error))
    } else {
        Ok(vec![path.to_owned()])
    }
}

/// Where a chain is broken, and what to do.
fn not_verified(error: &Error) -> Complaint {
    match error {
        Error::Broken { path, source } => {
            let file = path.display().to_string();
            let file = escape(&file);
            let hint = match source.why {
                Why::Version(_) => "use the phoenixd that wrote it, or a newer one".to_owned(),
                Why::Missing { .. } => format!(
                    "if the files of these records are elsewhere, name them too; else keep {file} as evidence: they were removed by somebody else"
                ),
                Why::Taken { .. } => format!(
                    "name a copy of them too, if there is one; keep {file}, and `journal.aside-N.jsonl` beside it, as evidence"
                ),
                Why::NotARecord | Why::TooLong | Why::Seq { .. } | Why::Changed | Why::Unlinked | Why::Forked => {
                    format!(
                        "keep it as evidence and compare it with a copy; what stands before line {} holds. `mv {file} {file}.broken` lets the next `phoenixd up` begin a new file",
                        source.line
                    )
                }
            };
            let Broken { line, why } = source;
            Complaint::unmet(format!("{file}:{line}: the line {why}")).hint(hint)
        }
        Error::Rewritten { .. } => broken(error).hint(
            "keep all files as evidence, and trust what was exported; a head older than the oldest record that is kept cannot be proved",
        ),
        Error::CreateDirectory { .. }
        | Error::Open { .. }
        | Error::NotAFile { .. }
        | Error::Locked { .. }
        | Error::Read { .. }
        | Error::Line { .. }
        | Error::Repair { .. }
        | Error::StartWriter { .. }
        | Error::Watch { .. } => broken(error),
    }
}

fn report(checked: &Checked) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a `String` cannot fail.
        writeln!(text, "{name:<9}{value}").unwrap_or_default();
    };
    row("chain", "holds");
    for (path, records) in &checked.files {
        row(
            "file",
            &format!(
                "{} ({records} records)",
                escape(&path.display().to_string())
            ),
        );
    }
    let first = checked.base.seq.saturating_add(1);
    row(
        "records",
        &match checked.records {
            0 => "0".to_owned(),
            records => format!("{records}, number {first} to {}", checked.head.seq),
        },
    );
    if checked.base.seq > 0 && checked.notes.is_empty() {
        row(
            "removed",
            &format!("1 to {}, by the journal's own retention", checked.base.seq),
        );
    }
    for (name, at) in [("from", &checked.from), ("to", &checked.to)] {
        if let Some(at) = at {
            row(name, &brief(at, TEXT));
        }
    }
    row("head", &checked.head.hash);
    if checked.heads_found > 0 {
        row(
            "exported",
            &format!("{} heads, all found", checked.heads_found),
        );
    }
    if checked.heads_too_old > 0 {
        row(
            "too old",
            &format!(
                "{} heads of records that were removed",
                checked.heads_too_old
            ),
        );
    }
    if checked.torn_bytes > 0 {
        row(
            "torn",
            &format!(
                "{} bytes at the end: being written, or cut and recorded by the next `up`",
                checked.torn_bytes
            ),
        );
    }
    text
}

/// Which records are shown.
struct Wanted {
    service: Option<String>,
    kinds: Vec<Kind>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn of(
        service: Option<String>,
        kinds: &[String],
        since: Option<&str>,
    ) -> Result<Self, Complaint> {
        let kinds = kinds
            .iter()
            .map(|name| kind(name))
            .collect::<Result<_, _>>()?;
        let since = since.map(time).transpose()?;
        Ok(Self {
            service,
            kinds,
            since,
        })
    }

    fn has(&self, line: &Line) -> bool {
        let record = &line.record;
        let of_service = |name: &String| record.service.as_ref() == Some(name);
        // A time that cannot be read is shown rather than hidden.
        let is_since =
            |since: &Timestamp| line.at.parse().map_or(true, |at: Timestamp| at >= *since);
        self.service.as_ref().is_none_or(of_service)
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && self.since.as_ref().is_none_or(is_since)
    }
}

fn kind(name: &str) -> Result<Kind, Complaint> {
    match serde_json::from_value(name.into()) {
        Ok(Kind::Unknown) | Err(_) => Err(Complaint::unmet(format!(
            "there is no kind of record `{}`",
            brief(name, TEXT)
        ))
        .hint("started, stopped, began, ended, seen, asked, tainted, refused, compared, note, cut, lost, continued, removed, full")),
        Ok(kind) => Ok(kind),
    }
}

/// A time, or how long ago.
fn time(text: &str) -> Result<Timestamp, Complaint> {
    if let Ok(ago) = humantime::parse_duration(text)
        && let Ok(ago) = SignedDuration::try_from(ago)
        && let Ok(time) = clock::wall_now().checked_sub(ago)
    {
        return Ok(time);
    }
    text.parse().map_err(|_| {
        Complaint::unmet(format!("`{}` is not a time", brief(text, TEXT))).hint(
            "write how long ago, `10m` or `2h`, or a time with its zone, `2026-01-31T08:00:00Z`",
        )
    })
}

fn show(directory: &Path, wanted: &Wanted, tail: Option<usize>) -> Result<Exit, Complaint> {
    let lines = journal::read_all(directory).map_err(|error| broken(&error))?;
    let lines = lines.filter(|line| line.as_ref().map_or(true, |line| wanted.has(line)));
    let Some(tail) = tail else {
        return print_all(lines, |line| Ok(for_people(line)));
    };
    let mut last = VecDeque::new();
    for line in lines {
        last.push_back(line);
        if last.len() > tail {
            last.pop_front();
        }
    }
    print_all(last.into_iter(), |line| Ok(for_people(line)))
}

/// One line for people: when, number, what; of nothing more than is worth reading.
fn for_people(line: &Line) -> String {
    let record = &line.record;
    let kind = serde_json::to_value(record.kind).ok();
    let kind = kind
        .as_ref()
        .and_then(|kind| kind.as_str())
        .unwrap_or_default();
    let mut text = format!("{}  {:>6}  {kind:<9}", brief(&line.at, 40), line.seq);
    let mut say = |words: &str| {
        text.push(' ');
        text.push_str(words);
    };
    let parts = [
        record.replica.as_ref().or(record.service.as_ref()),
        record.action.as_ref(),
        record.outcome.as_ref(),
    ];
    for part in parts.into_iter().flatten() {
        say(&brief(part, TEXT));
    }
    if let Some(id) = &record.container_id {
        say(&format!("({})", escape(id.get(..12).unwrap_or(id))));
    }
    if let Some(generation) = record.generation {
        say(&format!("generation {generation}"));
    }
    if let Some(reason) = &record.reason {
        say(&format!("- {}", brief(reason, TEXT)));
    }
    for (name, value) in &record.detail {
        let value = match value {
            serde_json::Value::String(text) => brief(text, TEXT),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => brief(&value.to_string(), TEXT),
        };
        say(&format!("{}={value}", brief(name, TEXT)));
    }
    text
}

/// Why an export ended.
enum Stopped {
    Journal(Error),
    Output(io::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Journal(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn export(directory: &Path, format: JournalFormat) -> Result<Exit, Complaint> {
    let files = files_of(directory).map_err(|error| broken(&error))?;
    let mut stdout = BufWriter::new(io::stdout().lock());
    let (open, between, close) = match format {
        JournalFormat::Jsonl => ("", "\n", "\n"),
        JournalFormat::Json => ("[\n", ",\n", "\n]\n"),
    };
    let mut begun = false;
    let mut write = || -> Result<(), Stopped> {
        stdout.write_all(open.as_bytes())?;
        raw_lines(&files, |line| {
            if std::mem::replace(&mut begun, true) {
                stdout.write_all(between.as_bytes())?;
            }
            // What phoenixd wrote has nothing to escape: its bytes stay, and with them the chain.
            stdout.write_all(escape_json(&String::from_utf8_lossy(line)).as_bytes())?;
            Ok::<(), Stopped>(())
        })?;
        if begun || format == JournalFormat::Json {
            stdout.write_all(close.as_bytes())?;
        }
        stdout.flush()?;
        Ok(())
    };
    match write() {
        Ok(()) => Ok(Exit::Success),
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Success)
        }
        Err(Stopped::Output(error)) => Err(super::cannot_print(error)),
        Err(Stopped::Journal(error)) => Err(broken(&error)),
    }
}
