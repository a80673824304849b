//! What can go wrong with the journal.

use std::path::PathBuf;

/// A failure of the journal: fits after "failed to ".
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the state directory.
    #[error("lock {}: {}", path.display(), match holder {
        Some(pid) => format!("process {pid} has it"),
        None => "another process has it".to_owned(),
    })]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who has it, as far as the file says.
        holder: Option<u32>,
    },
    /// There is no journal to read.
    #[error("open {}: there is no journal", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The disk, or the journal's own hard limit, is full. Nothing of the call was kept.
    #[error("{action}: no space is left")]
    Full {
        /// What was being done.
        action: &'static str,
    },
    /// What is there is not what was written.
    #[error("{action}: the journal is damaged: {what}")]
    Corrupt {
        /// What was being done.
        action: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A record that has no place in the format: a bug, and no fault of the file's.
    #[error("encode a record: {what}")]
    Unencodable {
        /// Why not.
        what: String,
    },
    /// The file was written by a program of another format.
    #[error("read a journal of format {found}: this program knows format {known}")]
    Format {
        /// The file's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("{action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// Sorts a database error into what the caller can do about it.
    pub(crate) fn of(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| {
            use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
            // Growing the shared-memory file is the one write whose lack of space SQLite reports otherwise.
            let shared_memory = source
                .sqlite_error()
                .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
            match source.sqlite_error_code() {
                Some(DiskFull) => Self::Full { action },
                _ if shared_memory => Self::Full { action },
                Some(DatabaseCorrupt | NotADatabase) => Self::Corrupt { action, what: source.to_string() },
                _ => Self::Database { action, source },
            }
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { action },
            _ => Self::Io { action, path, source },
        }
    }

    /// Whether a fresh file would help: the file is there and cannot be used.
    pub const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Format { .. })
    }
}
