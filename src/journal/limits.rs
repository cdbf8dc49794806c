//! How large the journal may get.

/// How large a file of the journal gets before it is rotated, and how much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The size at which a file is rotated, in bytes. It is exceeded by one batch of records at most.
    pub file_bytes: u64,
    /// How large all files together may get, in bytes; the oldest are removed first, the current one never.
    pub total_bytes: u64,
    /// How many files there may be, the current one included.
    pub files: usize,
}

impl Limits {
    /// 64 MiB for a file (some 130,000 records), 1 GiB for all.
    pub const STANDARD: Self = Self {
        file_bytes: 64 << 20,
        total_bytes: 1 << 30,
        files: 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::STANDARD
    }
}
