//! The key by which the contents of a project's secrets and configs get their digests.
//!
//! A digest stands in paths and, hashed, in labels, where anybody may read it who may ask the engine. Without a key a
//! short password could be found by trying all of them; with it nobody can try who cannot read the state directory.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;

use crate::spec::{FileDigest, FileMount};

/// Changes when the way of digesting does.
const SCHEME: &[u8] = b"phoenixd-file-1";
const KEY_BYTES: usize = 32;

/// A key of 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey([u8; KEY_BYTES]);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey")
    }
}

impl FileKey {
    /// A new key.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        let mut left: &mut [u8] = &mut bytes;
        while !left.is_empty() {
            let got = getrandom(&mut *left, GetRandomFlags::empty())?;
            left = left.get_mut(got..).unwrap_or_default();
        }
        Ok(Self(bytes))
    }

    /// The key of a file; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no key.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file.take(1024).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; KEY_BYTES];
        match hex::decode_to_slice(text.trim_end(), &mut bytes) {
            Ok(()) => Ok(Some(Self(bytes))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not 64 hexadecimal digits",
            )),
        }
    }

    /// The key of a file (mode 0600), which is made where there is none. Whoever else makes it at the same time gets the
    /// same one.
    ///
    /// # Errors
    /// It cannot be read or made, or is no key.
    pub fn read_or_make(path: &Path) -> io::Result<Self> {
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(directory)?;
        let key = Self::random()?;
        let draft = path.with_extension(format!("key.{}", std::process::id()));
        let made = key
            .write_to(&draft)
            .and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft).ok();
        match made {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path)?.ok_or(io::ErrorKind::NotFound.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Durable before anybody uses it: an empty key after a power failure would be none.
    fn write_to(&self, path: &Path) -> io::Result<()> {
        // That of a process that had this number, and was killed.
        fs::remove_file(path).ok();
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", hex::encode(self.0))?;
        file.sync_all()
    }

    /// The digest of a content with its mode and owner: HMAC-SHA-256 (RFC 2104), of which half is kept.
    pub fn digest(&self, file: &FileMount) -> FileDigest {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(SCHEME);
        mac.update(&file.mode.to_be_bytes());
        for id in [file.uid, file.gid] {
            mac.update(&[u8::from(id.is_some())]);
            mac.update(&id.unwrap_or(0).to_be_bytes());
        }
        // Everything before it has a fixed length, so that no two files feed the same bytes.
        mac.update(file.content.bytes());
        let digest = hex::encode(mac.finalize().into_bytes());
        FileDigest::new(digest.get(..FileDigest::DIGITS).unwrap_or(&digest))
    }
}
