//! Reading a journal, which may be in use: whole lines only, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{Broken, Error, Line, Why};

/// The longest line that is read, in bytes, several times what a capped record can become. A file of something else
/// (or of zeros, after a power loss) must not be read into memory whole.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;

/// Reads a journal from its beginning. A last line that has no newline (yet) is left out.
///
/// # Errors
/// The file cannot be opened.
pub fn read_lines(path: &Path) -> Result<Lines, Error> {
    Ok(Lines {
        raw: RawLines::new(open(path)?),
        path: path.to_owned(),
        number: 0,
        failed: false,
    })
}

pub(super) fn open(path: &Path) -> Result<BufReader<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(BufReader::with_capacity(64 * 1024, file)),
        Err(source) => Err(Error::Open {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The lines of a journal, without a check of the chain; see [`read_lines`]. A line that cannot be understood is an
/// error and the next one is read all the same; after a failed read there is no next one.
#[derive(Debug)]
pub struct Lines {
    raw: RawLines<BufReader<File>>,
    path: PathBuf,
    number: u64,
    failed: bool,
}

impl Iterator for Lines {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.number = self.number.saturating_add(1);
        match self.raw.advance() {
            Ok(Step::End | Step::Unfinished { .. }) => None,
            Ok(Step::Line { .. }) => Some(parse(self.raw.line(), self.number, &self.path)),
            Ok(Step::TooLong { .. }) => {
                Some(Err(unreadable(&self.path, self.number, Why::TooLong)))
            }
            Err(source) => {
                self.failed = true;
                let path = self.path.clone();
                Some(Err(Error::Read { path, source }))
            }
        }
    }
}

/// The line that these bytes are.
pub(super) fn parse(line: &[u8], number: u64, path: &Path) -> Result<Line, Error> {
    serde_json::from_slice(line).map_err(|_| unreadable(path, number, Why::NotARecord))
}

pub(super) fn unreadable(path: &Path, line: u64, why: Why) -> Error {
    Error::Line {
        path: path.to_owned(),
        source: Broken { line, why },
    }
}

/// One step through a file of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A line, with the length of it and its newline.
    Line { bytes: u64 },
    /// The same of a line longer than the limit.
    TooLong { bytes: u64 },
    /// The file ends without a newline, this long after the last one.
    Unfinished { bytes: u64 },
    /// The file ends.
    End,
}

/// A file of lines as bytes.
#[derive(Debug)]
pub(super) struct RawLines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> RawLines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
        }
    }

    /// The bytes of the last line, without its newline; of a longer line only its beginning.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Whether nothing follows.
    pub(super) fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.input.fill_buf()?.is_empty())
    }

    /// Reads on to the next newline, or to the end.
    pub(super) fn advance(&mut self) -> io::Result<Step> {
        self.line.clear();
        let mut bytes = 0_u64;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(if bytes == 0 {
                    Step::End
                } else {
                    Step::Unfinished { bytes }
                });
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = available
                .get(..newline.unwrap_or(available.len()))
                .unwrap_or_default();
            let room = LINE_LIMIT_BYTES.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(part.get(..room).unwrap_or(part));
            let length = bytes.saturating_add(part.len() as u64);
            let used = part.len().saturating_add(usize::from(newline.is_some()));
            self.input.consume(used);
            bytes = bytes.saturating_add(used as u64);
            if newline.is_some() {
                return Ok(if length > LINE_LIMIT_BYTES as u64 {
                    Step::TooLong { bytes }
                } else {
                    Step::Line { bytes }
                });
            }
        }
    }
}
