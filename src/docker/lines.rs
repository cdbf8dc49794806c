//! JSON values one after the other, as the engine streams events and progress.
//!
//! Not here: where the bytes come from.

use serde::de::DeserializeOwned;

use super::Error;

/// The longest line that is taken: an event's labels are in it, and those have no limit of their own.
const LINE_BYTES: usize = 8 << 20;

/// Cuts a stream of bytes into lines and reads each as JSON. Memory is bounded by the longest line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no end of line.
    searched: usize,
}

impl Lines {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line; `None` until there is one.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a line that is too long or is not the JSON that is wanted.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        const MALFORMED: Error = Error::Malformed { field: "stream" };
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(offset) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return if self.searched > LINE_BYTES {
                    Err(MALFORMED)
                } else {
                    Ok(None)
                };
            };
            let end = self.searched + offset;
            self.searched = 0;
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if line.trim_ascii().is_empty() {
                continue;
            }
            return serde_json::from_slice(&line)
                .map(Some)
                .map_err(|_| MALFORMED);
        }
    }
}
