//! The settings of the journal, from the environment: every command that supervises reads them, however it is started.

use super::output::Complaint;
use crate::config::JournalWords;
use crate::daemon::JournalSettings;
use crate::journal::Limits;
use crate::journal::export::{Export, Words};
use crate::report::Chain;
use crate::spec::byte_size;

/// The smallest file: a batch of ordinary records is some 128 KiB.
const FILE_LEAST: u64 = 64 * 1024;

pub(super) fn read(words: &JournalWords) -> Result<JournalSettings, Complaint> {
    let standard = Limits::STANDARD;
    let file_bytes = size(
        "PHOENIXD_JOURNAL_FILE_SIZE",
        words.file_size.as_deref(),
        standard.file_bytes,
        FILE_LEAST,
    )?;
    let total_bytes = size(
        "PHOENIXD_JOURNAL_SIZE",
        words.size.as_deref(),
        standard.total_bytes.max(file_bytes.saturating_mul(2)),
        file_bytes.saturating_mul(2),
    )?;
    let heads = Export::read(&Words {
        sinks: words.heads.as_deref(),
        every: words.every.as_deref(),
        period: words.period.as_deref(),
        secret_file: words.secret_file.as_deref(),
        ca_file: words.ca_file.as_deref(),
        networks: words.networks.as_deref(),
    })
    .map_err(|error| {
        Complaint::unmet(Chain(&error).to_string()).hint(
            "the variables PHOENIXD_JOURNAL_HEADS… are explained in the README, *Heads elsewhere*",
        )
    })?;
    Ok(JournalSettings {
        limits: Limits {
            file_bytes,
            total_bytes,
            ..standard
        },
        heads,
    })
}

fn size(name: &str, text: Option<&str>, otherwise: u64, least: u64) -> Result<u64, Complaint> {
    let Some(text) = text else {
        return Ok(otherwise);
    };
    let bytes =
        byte_size(text).map_err(|error| Complaint::unmet(format!("{name}: {}", Chain(&error))))?;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes >= least => Ok(bytes),
        Ok(_) | Err(_) => Err(Complaint::unmet(format!(
            "{name} is too small: it is at least {least} bytes"
        ))),
    }
}
