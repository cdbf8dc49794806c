//! What a record says, and the line it becomes.
//!
//! Text in a record is hostile: names, reasons and engine messages come from outside. It is kept as plain JSON strings
//! and bounded in length here; escaping it for a terminal is `report`'s work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::{ContainerId, Generation, ReplicaName, ServiceName};

/// The longest text of one field, in bytes; what is longer ends in an ellipsis.
const TEXT_LIMIT_BYTES: usize = 4 * 1024;
/// What all of `detail` may weigh, in bytes; what is beyond becomes an ellipsis.
const DETAIL_LIMIT_BYTES: usize = 16 * 1024;
/// How deep `detail` may nest. A reader's JSON parser has its own limit (`serde_json`: 128), and a record that was
/// written but cannot be read again would break the file.
const DETAIL_LIMIT_DEPTH: usize = 16;
/// What one value of `detail` weighs beside its text.
const VALUE_WEIGHT_BYTES: usize = 16;
const ELLIPSIS: &str = "…";

/// What kind of thing a record tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// phoenixd started.
    Started,
    /// phoenixd stopped in good order.
    Stopped,
    /// An action is about to be called; durable before the call.
    Began,
    /// An action's call has returned, with its outcome.
    Ended,
    /// Something was observed.
    Seen,
    /// A person or program asked for something.
    Asked,
    /// A replica is no longer what was started, with the evidence.
    Tainted,
    /// Something was refused, and why.
    Refused,
    /// A replica was compared with the container whose place it is to take, field by field.
    Compared,
    /// Anything else worth keeping.
    Note,
    /// A torn last record was cut when the journal was opened.
    Cut,
    /// Records could not be written (full disk, full queue), and how many.
    Lost,
    /// The first record of a file that goes on from another one, which was rotated, moved away or changed from outside.
    Continued,
    /// The oldest file is about to be removed by the journal's retention: its first and last number and its head.
    Removed,
    /// The disk is full: this record and those behind it live on the reserve, as long as it lasts.
    Full,
    /// Written by a newer phoenixd; only ever read.
    #[serde(other)]
    Unknown,
}

/// What is recorded. The journal adds number, times and chain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What kind of thing it tells.
    pub kind: Kind,
    /// The service it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The replica it is about: `web-3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The container it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The service's generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Everything else, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, Value>,
}

impl Record {
    /// A record that says nothing yet but its kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            service: None,
            replica: None,
            container_id: None,
            generation: None,
            action: None,
            reason: None,
            outcome: None,
            detail: BTreeMap::new(),
        }
    }

    /// The same about a service.
    #[must_use]
    pub fn service(mut self, service: &ServiceName) -> Self {
        self.service = Some(service.as_str().to_owned());
        self
    }

    /// The same about a replica, and so about its service.
    #[must_use]
    pub fn replica(mut self, replica: &ReplicaName) -> Self {
        self.replica = Some(replica.to_string());
        self.service(&replica.service)
    }

    /// The same about a container.
    #[must_use]
    pub fn container(mut self, container: &ContainerId) -> Self {
        self.container_id = Some(container.as_str().to_owned());
        self
    }

    /// The same about a generation.
    #[must_use]
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = Some(generation.0);
        self
    }

    /// The same with the action's name.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// The same with its reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same with its outcome.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = Some(outcome.into());
        self
    }

    /// The same with one more detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }

    /// The same within the limits of length and depth.
    pub(super) fn capped(self) -> Self {
        let text = |text: Option<String>| text.map(|text| cap_text(text, TEXT_LIMIT_BYTES));
        let mut budget = DETAIL_LIMIT_BYTES;
        Self {
            kind: self.kind,
            service: text(self.service),
            replica: text(self.replica),
            container_id: text(self.container_id),
            generation: self.generation,
            action: text(self.action),
            reason: text(self.reason),
            outcome: text(self.outcome),
            detail: cap_entries(self.detail, DETAIL_LIMIT_DEPTH, &mut budget).collect(),
        }
    }
}

/// One line of the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The version of the format: 1.
    pub v: u64,
    /// Its number in the file, from 1.
    pub seq: u64,
    /// Wall time at which it was recorded: RFC 3339, UTC, milliseconds.
    pub at: String,
    /// The same in boot time, milliseconds.
    pub boot_ms: u64,
    /// SHA-256 of the line before it (of [`GENESIS`](super::GENESIS) for the first), in hexadecimal.
    pub prev: String,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

fn cap_text(mut text: String, limit_bytes: usize) -> String {
    if text.len() > limit_bytes {
        let mut end = limit_bytes.saturating_sub(ELLIPSIS.len());
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}

/// The entries that fit the budget; the first that does not is named and empty, the others are dropped.
fn cap_entries(
    entries: impl IntoIterator<Item = (String, Value)>,
    depth: usize,
    budget_bytes: &mut usize,
) -> impl Iterator<Item = (String, Value)> {
    let mut full = false;
    entries.into_iter().map_while(move |(name, value)| {
        if full {
            return None;
        }
        full = *budget_bytes == 0;
        let name = cap_text(name, TEXT_LIMIT_BYTES.min(*budget_bytes));
        *budget_bytes = budget_bytes.saturating_sub(name.len());
        Some((name, cap_value(value, depth, budget_bytes)))
    })
}

fn cap_value(value: Value, depth: usize, budget_bytes: &mut usize) -> Value {
    if depth == 0 || *budget_bytes == 0 {
        return Value::from(ELLIPSIS);
    }
    *budget_bytes = budget_bytes.saturating_sub(VALUE_WEIGHT_BYTES);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(text) => {
            let text = cap_text(text, TEXT_LIMIT_BYTES.min(*budget_bytes));
            *budget_bytes = budget_bytes.saturating_sub(text.len());
            Value::String(text)
        }
        Value::Array(items) => {
            let mut kept = Vec::new();
            for item in items {
                let full = *budget_bytes == 0;
                kept.push(cap_value(item, depth - 1, budget_bytes));
                if full {
                    break;
                }
            }
            Value::Array(kept)
        }
        Value::Object(entries) => {
            Value::Object(cap_entries(entries, depth - 1, budget_bytes).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(record: &Record) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis_within_the_limit() {
        let record = Record::new(Kind::Note).reason("é".repeat(5000)).capped();
        let reason = record.reason.unwrap();
        assert!(reason.len() <= TEXT_LIMIT_BYTES && reason.ends_with("é…"));
        assert_eq!(
            cap_text("x".repeat(TEXT_LIMIT_BYTES), TEXT_LIMIT_BYTES).len(),
            TEXT_LIMIT_BYTES
        );
        assert_eq!(cap_text("éé".to_owned(), 1), ELLIPSIS);
    }

    #[test]
    fn a_record_is_bounded_whatever_its_detail_holds() {
        let mut deep = Value::from("bottom");
        for _ in 0..1000 {
            deep = Value::Array(vec![deep]);
        }
        let wide: Vec<Value> = (0..100_000).map(Value::from).collect();
        let named: serde_json::Map<String, Value> =
            (0..100_000).map(|n| (n.to_string(), Value::Null)).collect();
        for hostile in [
            deep,
            Value::from(wide),
            Value::from(named),
            Value::from("\0".repeat(1 << 20)),
        ] {
            let record = Record::new(Kind::Seen)
                .detail("hostile", hostile)
                .detail("z", 1)
                .capped();
            let text = json(&record);
            assert!(text.len() < 7 * DETAIL_LIMIT_BYTES, "{}", text.len());
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
            // Dropping a `Value` of any depth recurses; a shallow one is what is kept.
            assert!(record.detail.contains_key("hostile"));
        }
        let many = (0..100_000).fold(Record::new(Kind::Seen), |record, n| {
            record.detail(n.to_string(), n)
        });
        assert!(json(&many.capped()).len() < 7 * DETAIL_LIMIT_BYTES);
    }

    #[test]
    fn an_ordinary_record_is_kept_as_it_is() {
        let record = Record::new(Kind::Ended)
            .replica(&ReplicaName::new(
                ServiceName::new("web"),
                crate::spec::Serial(3),
            ))
            .generation(Generation(2))
            .detail("exit_code", 137)
            .detail("routes", vec!["a", "b"]);
        assert_eq!(record.clone().capped(), record);
        insta::assert_snapshot!(json(&record), @r#"{"kind":"ended","service":"web","replica":"web-3","generation":2,"detail":{"exit_code":137,"routes":["a","b"]}}"#);
    }

    #[test]
    fn a_kind_of_a_newer_phoenixd_is_read_as_unknown() {
        let record: Record =
            serde_json::from_str(r#"{"kind":"reincarnated","mood":"good"}"#).unwrap();
        assert_eq!(record.kind, Kind::Unknown);
    }
}
