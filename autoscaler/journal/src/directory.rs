//! The state directory: belongs to one process at a time.

use crate::JournalError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The journal's file in the state directory; SQLite keeps `-wal` and `-shm` beside it.
pub const JOURNAL_FILE: &str = "journal.db";
/// The file whose lock says whose the directory is.
pub const LOCK_FILE: &str = "lock";

/// A state directory that is ours until this value is dropped or the process ends, however it ends.
///
/// The lock is the kernel's (`flock`): a killed process leaves none behind. The file itself stays and names the
/// last holder, for the message that a second process prints.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory (0700) where there is none, and takes it.
    ///
    /// An existing directory keeps its mode: it may be systemd's or an operator's. What is put into it is
    /// readable by its owner alone (0600).
    ///
    /// * Fails with [`JournalError::Locked`] while another process has it.
    pub fn take(path: &Path) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(JournalError::io("create directory", path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = private(OpenOptions::new().read(true), &lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Locked { holder: read_holder(&mut lock), path: lock_path });
            }
            Err(TryLockError::Error(source)) => {
                return Err(JournalError::Io { action: "lock", path: lock_path, source });
            }
        }
        // Who holds it is a courtesy: a full disk is no reason not to start.
        let _ = write_holder(&mut lock);
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens for writing, made with 0600 where there is none.
pub(crate) fn private(options: &mut OpenOptions, path: &Path) -> Result<File, JournalError> {
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(JournalError::io("open", path))
}

fn read_holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_belongs_to_one_and_says_to_whom() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("state/of/muster");
        let taken = StateDir::take(&path).expect("the first takes it");
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK_FILE)), 0o600);
        match StateDir::take(&path) {
            Err(JournalError::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("the second got {other:?}"),
        }
        drop(taken);
        StateDir::take(&path).expect("free again");
    }
}
