//! The spec hash: what a replica is born from, in 32 hexadecimal digits.
//!
//! Not here: when a hash is taken and what a change of it means (`daemon`, `reconcile`).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::body::{body_of, endpoint_settings, to_json};
use crate::spec::{ContainerSpec, ImageId, SpecHash};

/// Changes when the way of hashing does, so that hashes of two ways never meet.
const SCHEME: &str = "phoenixd-spec-1";
/// Bytes of the digest that are kept: half of SHA-256, as hard to meet by chance as a UUID, and fit for a label.
const KEPT_BYTES: usize = 16;

/// The hash over everything that a replica is born from: the create body without the labels that phoenixd adds, the
/// image's id, the platform, the further networks, and the one that it is on while it is ready. The same on every engine and in every run; an upgrade of
/// phoenixd changes it only when it changes what is sent.
pub fn spec_hash(container: &ContainerSpec, image: &ImageId) -> SpecHash {
    let further: Vec<Value> = container
        .attachments()
        .iter()
        .skip(1)
        .map(|attachment| {
            json!([
                attachment.network.as_str(),
                to_json(&endpoint_settings(attachment))
            ])
        })
        .collect();
    let mut birth = vec![
        json!(SCHEME),
        json!(image.as_str()),
        json!(container.platform),
        json!(container.identity),
        to_json(&body_of(container)),
        json!(further),
    ];
    // Only where there is one: the others are hashed as ever.
    birth.extend(container.on_ready.as_ref().map(|attachment| {
        json!([
            "on_ready",
            attachment.network.as_str(),
            to_json(&endpoint_settings(attachment))
        ])
    }));
    let birth = Value::Array(birth);
    let mut digest = Sha256::new();
    feed(&mut digest, &birth);
    let digest = digest.finalize();
    SpecHash::new(hex::encode(digest.get(..KEPT_BYTES).unwrap_or(&digest)))
}

/// Feeds a value so that two different values never feed the same bytes: a kind, a length, the content. Keys are
/// sorted here and not left to `serde_json`, whose order another crate's feature can change.
fn feed(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Null => digest.update(b"n"),
        Value::Bool(true) => digest.update(b"t"),
        Value::Bool(false) => digest.update(b"f"),
        Value::Number(number) => feed_bytes(digest, b'd', number.to_string().as_bytes()),
        Value::String(text) => feed_bytes(digest, b's', text.as_bytes()),
        Value::Array(items) => {
            feed_length(digest, b'a', items.len());
            for item in items {
                feed(digest, item);
            }
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            feed_length(digest, b'o', fields.len());
            for (key, value) in fields {
                feed_bytes(digest, b's', key.as_bytes());
                feed(digest, value);
            }
        }
    }
}

fn feed_bytes(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
    feed_length(digest, kind, bytes.len());
    digest.update(bytes);
}

fn feed_length(digest: &mut Sha256, kind: u8, length: usize) {
    digest.update([kind]);
    digest.update((length as u64).to_be_bytes());
}
