//! A root file system over another one, which stays as it is.

use crate::{MachineError, succeed};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A root file system over another one. Dropped, what was written is gone.
#[derive(Debug)]
pub struct Overlay {
    place: TempDir,
}

impl Overlay {
    /// * `original`: a directory that is not written to. No `:` or `,` may be in its name.
    pub fn new(original: &Path) -> Result<Self, MachineError> {
        Self::within(&std::env::temp_dir(), original)
    }

    /// The same, with what is written in a directory of the caller's. It may be on no overlay itself.
    pub fn within(directory: &Path, original: &Path) -> Result<Self, MachineError> {
        Self::over(directory, &[original.to_owned()])
    }

    /// The same over several that lie over each other.
    ///
    /// * `layers`: the upmost first: what [`Overlay::keep`] kept, and what that was written over.
    pub fn over(directory: &Path, layers: &[PathBuf]) -> Result<Self, MachineError> {
        let make = |source| MachineError::File { what: "cannot make", path: directory.to_owned(), source };
        let place = tempfile::Builder::new().prefix("muster-image-").tempdir_in(directory).map_err(make)?;
        let overlay = Self { place };
        for part in ["upper", "work", "root"] {
            let path = overlay.place.path().join(part);
            fs::create_dir(&path).map_err(cannot("cannot make", &path))?;
        }
        let part = |name: &str| overlay.place.path().join(name).display().to_string();
        let layers: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        if let Some(name) = layers.iter().find(|name| name.contains([':', ','])) {
            let said = format!("the name {name} has a character that mount takes for its own");
            return Err(MachineError::Failed { what: "mount".into(), said });
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), part("upper"), part("work"));
        succeed("mount", "mount", &["-t", "overlay", "overlay", "-o", &options, &part("root")])?;
        Ok(overlay)
    }

    /// The directory.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// Takes it down, and keeps what was written. Nothing may run in it any more.
    ///
    /// * `layer`: where: nothing may be there yet, and it is on the same disk.
    pub(crate) fn keep(&self, layer: &Path) -> Result<(), MachineError> {
        succeed("umount", "mount", &[&self.root().display().to_string()])?;
        fs::rename(self.place.path().join("upper"), layer).map_err(cannot("cannot make", layer))
    }

    /// Where everything of it is.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Where the console of a machine that boots it is written.
    pub(crate) fn console(&self) -> PathBuf {
        self.place.path().join("console.log")
    }

    /// Writes a file, with the directories above it.
    ///
    /// * `path`: without the first `/`.
    pub fn write(&self, path: &str, mode: u32, text: &str) -> Result<(), MachineError> {
        let path = self.root().join(path);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(cannot("cannot make", above))?;
        }
        fs::write(&path, text).map_err(cannot("cannot write", &path))?;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).map_err(cannot("cannot write", &path))
    }

    /// The file that a machine sees as one of `/proc`.
    pub(crate) fn of_proc(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes that file in place, as it is mounted: who reads it just now sees the one text or the other.
    ///
    /// * `text`: as long as what stands there.
    pub(crate) fn show(&self, name: &str, text: &str) -> Result<(), MachineError> {
        let path = self.of_proc(name);
        let file = fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let written = file.and_then(|file| file.write_all_at(text.as_bytes(), 0));
        written.map_err(cannot("cannot write", &path))
    }

    /// Runs a program in it as root, to its end, which nothing has booted.
    pub fn chroot(&self, words: &[&str]) -> Result<Output, MachineError> {
        let mut command = Command::new("chroot");
        command.arg(self.root()).args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let missing = |source| MachineError::Missing { program: "chroot", package: "coreutils", source };
        command.stdin(Stdio::null()).output().map_err(missing)
    }
}

fn cannot(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MachineError {
    let path = path.to_owned();
    move |source| MachineError::File { what, path, source }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // One that a machine still ends in is let go of by whoever ends last.
        let _ = Command::new("umount").arg("--lazy").arg(self.root()).output();
    }
}
