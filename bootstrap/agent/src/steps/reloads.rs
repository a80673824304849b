//! Which units have not been told yet that a file of theirs is another one.
//!
//! Root writes the file, and root reloads its units; in between the agent may be killed. So it marks before the one what
//! is due until the other: on tmpfs, since units that start after a reboot find the new file.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The marks, below the run directory: a file for each `file` of the `host` block.
pub(super) struct Reloads {
    directory: PathBuf,
}

impl Reloads {
    pub(super) fn new(run: &Path) -> Self {
        Self { directory: run.join("reloads") }
    }

    /// Whether the units of a file are to be reloaded, as far as is known.
    pub(super) fn is_due(&self, file: &str) -> bool {
        self.mark(file).exists()
    }

    /// A file is about to be written. * returns: whether its units had not been told of the one before.
    pub(super) fn intend(&self, file: &str) -> io::Result<bool> {
        let was_due = self.is_due(file);
        if !was_due {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            File::create(self.mark(file))?;
        }
        Ok(was_due)
    }

    /// Its units know of it, or there was nothing to know.
    pub(super) fn settle(&self, file: &str) -> io::Result<()> {
        match fs::remove_file(self.mark(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn mark(&self, file: &str) -> PathBuf {
        // Names are those of a block's label: no path is among them.
        self.directory.join(format!("{file}.due"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_due_from_before_the_file_is_written_until_it_is_settled() {
        let run = tempfile::tempdir().expect("a directory");
        let reloads = || Reloads::new(run.path());
        assert!(!reloads().is_due("web"));
        assert!(!reloads().intend("web").expect("marked"), "nothing was due before");
        assert!(reloads().intend("web").expect("marked"), "whoever was cut off left it");
        assert!(reloads().is_due("web") && !reloads().is_due("other"));
        reloads().settle("web").expect("settled");
        reloads().settle("web").expect("there is nothing more");
        assert!(!reloads().is_due("web"));
    }
}
