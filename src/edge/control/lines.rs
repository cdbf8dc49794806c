//! Cuts what arrives into lines of bounded length, wherever the pieces end.

use super::wire::LINE_BYTES;

/// What stays allocated between two lines.
const KEPT_BYTES: usize = 64 << 10;

/// Why no more lines can be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum LineError {
    /// Longer than anybody needs.
    #[error("a line of more than {LINE_BYTES} bytes")]
    TooLong,
}

/// What has arrived, and is not read yet.
#[derive(Debug, Default)]
pub(in crate::edge) struct LineBuffer {
    bytes: Vec<u8>,
    /// So many have no end of a line among them.
    searched: usize,
}

impl LineBuffer {
    /// Where more goes.
    pub(in crate::edge) fn space(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether nothing waits: the other side has ended between two lines.
    pub(in crate::edge) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next line, without its end; `None` when it has not arrived whole.
    pub(in crate::edge) fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let new = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(found) = new.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > LINE_BYTES {
                Err(LineError::TooLong)
            } else {
                Ok(None)
            };
        };
        let end = self.searched + found;
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.truncate(end);
        self.searched = 0;
        self.bytes.shrink_to(KEPT_BYTES);
        if line.len() > LINE_BYTES {
            return Err(LineError::TooLong);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_pieces_end() {
        let text = b"one\n\ntwo\nthree\nrest";
        for size in 1..text.len() {
            let mut buffer = LineBuffer::default();
            let mut lines = Vec::new();
            for piece in text.chunks(size) {
                buffer.space().extend_from_slice(piece);
                while let Some(line) = buffer.next().unwrap() {
                    lines.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(lines, ["one", "", "two", "three"]);
            assert!(!buffer.is_empty());
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up_at_the_bound() {
        let mut buffer = LineBuffer::default();
        buffer.space().resize(LINE_BYTES, b'x');
        assert!(buffer.next().unwrap().is_none());
        buffer.space().push(b'x');
        assert!(buffer.next().is_err());
        let mut buffer = LineBuffer::default();
        buffer.space().resize(LINE_BYTES + 1, b'x');
        buffer.space().push(b'\n');
        assert!(buffer.next().is_err());
    }
}
