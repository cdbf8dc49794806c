//! Opening: the chain is checked, and what a crash tore is cut, kept and recorded.
//!
//! Each step can be repeated, so that a crash between any two loses nothing: the torn bytes are durable in
//! `journal.torn` before they are cut off, and as long as that file has that name, its `cut` record is still owed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::chain::{Scan, scan};
use super::file::{LockedFile, append_to, sync_directory};
use super::files::{Rotated, rotated};
use super::writer::{Entry, Writer};
use super::{Error, FILE_NAME, Head, Kind, Limits, NotDurable, Record};

/// Where torn bytes are kept until their cut is recorded.
const TORN_NAME: &str = "journal.torn";

/// What opening found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The end of the chain, a `cut` record included.
    pub head: Head,
    /// What was cut, if anything.
    pub cut: Option<Cut>,
}

/// A torn record that was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// How many bytes.
    pub bytes: u64,
    /// Where they are kept.
    pub kept_in: PathBuf,
}

/// Opens the journal of `directory` and brings it into order.
pub(super) fn recover(directory: &Path, limits: Limits) -> Result<(Writer, Recovered), Error> {
    let path = directory.join(FILE_NAME);
    let file = open(directory, &path)?;
    let scan = scan(BufReader::with_capacity(64 * 1024, &*file), |_| {})
        .map_err(|error| error.of(&path))?;
    let repair = |source| Error::Repair {
        path: path.clone(),
        source,
    };
    if scan.torn_bytes > 0 {
        cut_off(directory, &file, &scan).map_err(repair)?;
    }
    let before = match scan.good_bytes {
        0 => newest_rotated(directory)?,
        _ => None,
    };
    let ends = (&scan.base, scan.head);
    let mut writer = Writer::new(directory, file, ends, scan.good_bytes, limits);
    if let Some((head, file)) = before {
        writer.resume(head, file.first);
    }
    writer.make_reserve();
    let cut = record_cut(directory, &mut writer).map_err(repair)?;
    let head = writer.head().clone();
    Ok((writer, Recovered { head, cut }))
}

/// The newest rotated file, and its head. Its whole chain is checked: it is what is built upon.
fn newest_rotated(directory: &Path) -> Result<Option<(Head, Rotated)>, Error> {
    let all = rotated(directory).map_err(|source| Error::Read {
        path: directory.to_owned(),
        source,
    })?;
    let Some(newest) = all.into_iter().next_back() else {
        return Ok(None);
    };
    let verified = super::verify(&newest.path)?;
    if verified.torn_bytes > 0 {
        let line = verified.records.saturating_add(1);
        return Err(Error::Broken {
            path: newest.path,
            source: super::Broken {
                line,
                why: super::Why::NotARecord,
            },
        });
    }
    Ok(Some((verified.head, newest)))
}

fn open(directory: &Path, path: &Path) -> Result<LockedFile, Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| Error::CreateDirectory {
            path: directory.to_owned(),
            source,
        })?;
    let error = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let file = match LockedFile::open(path) {
        Ok(file) => file,
        Err(busy) if busy.kind() == io::ErrorKind::WouldBlock => {
            let path = path.to_owned();
            return Err(Error::Locked { path });
        }
        Err(source) => return Err(error(source)),
    };
    if !file.metadata().map_err(error)?.is_file() {
        let path = path.to_owned();
        return Err(Error::NotAFile { path });
    }
    sync_directory(directory).map_err(error)?;
    Ok(file)
}

/// Keeps the torn bytes in `journal.torn` and cuts them off.
fn cut_off(directory: &Path, mut file: &File, scan: &Scan) -> io::Result<()> {
    let mut kept = append_to(&directory.join(TORN_NAME))?;
    let kept_bytes = kept.metadata()?.len();
    // A crash after the copy and before the cut leaves a copy that need not be made again.
    let copied = kept_bytes >= scan.torn_bytes && {
        kept.seek(SeekFrom::Start(kept_bytes.saturating_sub(scan.torn_bytes)))?;
        file.seek(SeekFrom::Start(scan.good_bytes))?;
        same(&mut kept, &mut file)?
    };
    if !copied {
        file.seek(SeekFrom::Start(scan.good_bytes))?;
        io::copy(&mut file, &mut kept)?;
    }
    kept.flush()?;
    kept.sync_all()?;
    sync_directory(directory)?;
    file.set_len(scan.good_bytes)?;
    file.sync_all()
}

/// Whether both hold the same to their ends.
fn same(left: &mut impl Read, right: &mut impl Read) -> io::Result<bool> {
    Ok(digest(left)? == digest(right)?)
}

fn digest(input: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut input = BufReader::new(input);
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hasher.finalize().into());
        }
        hasher.update(bytes);
        let used = bytes.len();
        input.consume(used);
    }
}

/// Records the cut that is owed, if one is.
fn record_cut(directory: &Path, writer: &mut Writer) -> io::Result<Option<Cut>> {
    let torn = directory.join(TORN_NAME);
    let mut file = match File::open(&torn) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    let seq = writer.head().seq.saturating_add(1);
    let kept_in = directory.join(format!("{TORN_NAME}-{seq}"));
    let record = Record::new(Kind::Cut)
        .reason("the last record was torn when the journal was last written")
        .detail("bytes", bytes)
        .detail("sha256", hex::encode(digest(&mut file)?))
        .detail("kept_in", kept_in.display().to_string());
    let (done, mut answer) = tokio::sync::oneshot::channel();
    writer.commit(vec![Entry::new(record, Some(done))]);
    match answer.try_recv() {
        Ok(Ok(_)) => {}
        Ok(Err(NotDurable::Write(error))) => return Err(io::Error::new(error.kind(), error)),
        Ok(Err(NotDurable::Full | NotDurable::Closed)) | Err(_) => {
            return Err(io::Error::other("the writer gave no answer"));
        }
    }
    fs::rename(&torn, &kept_in)?;
    sync_directory(directory)?;
    Ok(Some(Cut { bytes, kept_in }))
}
