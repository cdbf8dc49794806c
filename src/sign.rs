//! Signatures of phoenixd's own requests to the engine, by which the guard tells them from everybody else's: on a Unix
//! socket dockerd names nobody (`AuthZReq` has no user there, Docker 20.10 and 28).
//!
//! The header's value is `v1 NONCE HEX`: HMAC-SHA256 over method, request target as sent, nonce and the SHA-256 of the
//! body, with a newline between two. Not here: which nonce was seen before, and what a signature is good for (`guard`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::clock;

/// The header that carries the signature.
pub const HEADER: &str = "X-Phoenixd-Signature";
/// Stands for a body that plugins are not shown: a stream.
pub const UNSEEN: &str = "-";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// No file of a key is longer.
const KEY_FILE_BYTES: u64 = 256;

/// What signs and verifies. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of exactly these bytes, for tests.
    pub fn of(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key from the kernel's random numbers.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads a file of hex digits.
    ///
    /// # Errors
    /// The file cannot be read, or is not 64 hex digits.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        File::open(path)?
            .take(KEY_FILE_BYTES)
            .read_to_string(&mut text)?;
        let mut bytes = [0; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "want 64 hex digits"))?;
        Ok(Self(bytes))
    }

    /// As it is written to a file.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    fn mac(&self, parts: [&str; 4]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(parts.join("\n").as_bytes());
        Some(mac)
    }

    /// The header's value for a request.
    fn header(&self, method: &str, target: &str, nonce: &str, body: &str) -> Option<String> {
        let mac = self.mac([method, target, nonce, body])?;
        Some(format!(
            "v1 {nonce} {}",
            hex::encode(mac.finalize().into_bytes())
        ))
    }

    /// Whether a header's value is this key's for the request; constant in time. The nonce, if it is.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(
        &self,
        method: &str,
        target: &str,
        body: &str,
        value: &str,
    ) -> Result<Nonce, Unverified> {
        let mut words = value.split(' ');
        let (Some("v1"), Some(nonce), Some(tag), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Unverified::NotASignature);
        };
        let tag = hex::decode(tag).map_err(|_| Unverified::NotASignature)?;
        let made = Nonce::parse(nonce).ok_or(Unverified::NotASignature)?;
        let mac = self
            .mac([method, target, nonce, body])
            .ok_or(Unverified::NotASignature)?;
        mac.verify_slice(&tag)
            .map_err(|_| Unverified::AnotherKeyOrRequest)?;
        Ok(made)
    }

    /// What only a holder of the key can say about a text; 32 hex digits.
    pub fn proof(&self, text: &str) -> String {
        let mac = self.mac(["proof", text, "", ""]);
        let mut hex = mac.map_or_else(String::new, |mac| hex::encode(mac.finalize().into_bytes()));
        hex.truncate(KEY_BYTES);
        hex
    }
}

/// Why a header's value is no signature of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unverified {
    /// Not `v1 NONCE HEX`.
    #[error("it is not `v1 NONCE HEX`")]
    NotASignature,
    /// Made with another key, or for another request.
    #[error("it was made with another key or for another request")]
    AnotherKeyOrRequest,
}

/// The part of a signature that is there once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Nonce {
    /// When it was made, in boot time.
    pub made: Duration,
    /// What sets two of one instant apart.
    pub random: String,
}

impl Nonce {
    /// `NANOSECONDS-RANDOM`, sixteen hex digits at the end.
    fn parse(text: &str) -> Option<Self> {
        let (nanoseconds, random) = text.split_once('-')?;
        let is_plain = nanoseconds.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == 16
            && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_plain.then_some(())?;
        Some(Self {
            made: Duration::from_nanos(nanoseconds.parse().ok()?),
            random: random.to_owned(),
        })
    }
}

/// Makes signatures; its nonces only grow.
#[derive(Debug)]
pub struct Signer {
    key: Key,
    last: AtomicU64,
}

impl Signer {
    /// Signs with this key.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            last: AtomicU64::new(0),
        }
    }

    /// The header's value for a request. `target` is what stands in the request line; `body` is [`body_hash`].
    ///
    /// # Errors
    /// Where the kernel has no random numbers.
    pub fn sign(&self, method: &str, target: &str, body: &str) -> io::Result<String> {
        let mut random = [0; 8];
        fill(&mut random)?;
        let now = u64::try_from(clock::boot_now().as_nanos()).unwrap_or(u64::MAX);
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .unwrap_or_default();
        let made = now.max(last.saturating_add(1));
        let nonce = format!("{made}-{}", hex::encode(random));
        self.key
            .header(method, target, &nonce, body)
            .ok_or_else(|| io::Error::other("the key cannot be used"))
    }
}

/// What stands for a body that the guard is shown.
pub fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_request_only() {
        let signer = Signer::new(Key::of([7; 32]));
        let body = body_hash(b"{}");
        let value = signer.sign("POST", "/v1.41/x?y=1", &body).unwrap();
        let key = Key::of([7; 32]);
        assert!(key.verify("POST", "/v1.41/x?y=1", &body, &value).is_ok());
        let no = Err(Unverified::AnotherKeyOrRequest);
        assert_eq!(key.verify("PUT", "/v1.41/x?y=1", &body, &value), no);
        assert_eq!(key.verify("POST", "/v1.41/x?y=2", &body, &value), no);
        assert_eq!(key.verify("POST", "/v1.41/x?y=1", UNSEEN, &value), no);
        let other = Key::of([8; 32]);
        assert_eq!(other.verify("POST", "/v1.41/x?y=1", &body, &value), no);
        for bad in [
            "",
            "v1",
            "v2 1-0000000000000000 00",
            "v1 1 00",
            &format!("{value} x"),
        ] {
            let found = key.verify("POST", "/v1.41/x?y=1", &body, bad);
            assert_eq!(found, Err(Unverified::NotASignature), "{bad}");
        }
    }

    #[test]
    fn nonces_only_grow() {
        let key = Key::of([7; 32]);
        let signer = Signer::new(key.clone());
        let mut last = Duration::ZERO;
        for _ in 0..1000 {
            let value = signer.sign("GET", "/", UNSEEN).unwrap();
            let nonce = key.verify("GET", "/", UNSEEN, &value).unwrap();
            assert!(nonce.made > last);
            last = nonce.made;
        }
    }
}
