//! Heads in a file: one JSON object a line, only ever appended to, so that the file may be made append-only
//! (`chattr +a`) or lie on another host's file system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::super::file::append_to;
use super::Told;

/// Appends the head and makes it durable. Blocks.
pub(super) fn write(path: &Path, told: &Told) -> io::Result<()> {
    let mut file = append_to(path)?;
    let mut text = serde_json::to_string(told)?;
    text.push('\n');
    if ends_within_a_line(&file)? {
        text.insert(0, '\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

/// Whether a crash or a full disk has left half a line.
fn ends_within_a_line(mut file: &File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}
