//! Files that are there whole or not at all: written beside their place, then renamed.

use nix::unistd::{Gid, Uid};
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::Path;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// What its name begins with until it is whole: see [`crate::progress::sweep`].
    pub unfinished: &'static str,
    /// Its mode; `None`: for its owner alone.
    pub mode: Option<u32>,
    /// Whom it belongs to; `None`: to whoever writes it.
    pub owner: Option<(Uid, Gid)>,
    /// Whether it is on disk, with its directory's entry, when it is written: what is on tmpfs need not be.
    pub durable: bool,
}

/// Writes a file in place of the one before. Whoever reads it sees the one or the other, with its owner and its mode.
///
/// Fails with the one before still there; but for a directory that cannot be synchronised, which may show either later.
pub(crate) fn write(path: &Path, contents: &[u8], manner: Manner) -> io::Result<()> {
    let Manner { unfinished, mode, owner, durable } = manner;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(unfinished).tempfile_in(directory)?;
    file.write_all(contents)?;
    if let Some((user, group)) = owner {
        fchown(file.as_file(), Some(user.as_raw()), Some(group.as_raw()))?;
    }
    if let Some(mode) = mode {
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    if durable {
        on_disk(file.as_file())?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durable { sync(directory) } else { Ok(()) }
}

/// Has a directory's entries on disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    on_disk(&File::open(directory)?)
}

/// Has what was written to a file, or the entries of a directory, on disk when it returns: fsync(2). What is to survive a power
/// cut comes through here.
fn on_disk(file: &File) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    synced::note(file);
    Ok(())
}

/// What was had on disk, and how it was then: for tests of what a power cut leaves.
#[cfg(test)]
pub(crate) mod synced {
    use std::cell::RefCell;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd as _;
    use std::path::Path;

    thread_local! {
        static SYNCED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(file: &File) {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("Linux tells");
        let what = if path.is_dir() {
            format!("{}: {}", name(&path), names(&path).join(" "))
        } else {
            format!("a new file of {} bytes", fs::metadata(&path).expect("it is there").len())
        };
        SYNCED.with_borrow_mut(|synced| synced.push(what));
    }

    /// Takes what this thread has had on disk: files with their size, directories with what they hold.
    pub(crate) fn take() -> Vec<String> {
        SYNCED.with_borrow_mut(std::mem::take)
    }

    fn name(path: &Path) -> String {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn names(directory: &Path) -> Vec<String> {
        let listed = fs::read_dir(directory).expect("it is there").flatten();
        let mut names: Vec<String> = listed.map(|entry| name(&entry.path())).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_had_on_disk_is_asked_of_the_kernel() {
        // It has nothing of this one to write, and says so.
        let null = File::open("/dev/null").expect("Linux has it");
        let refused = on_disk(&null).expect_err("it is no file of a disk");
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EINVAL), "{refused}");
    }

    #[test]
    fn a_file_is_on_disk_before_it_has_its_name_and_its_name_before_it_counts_as_written() {
        let place = tempfile::Builder::new().prefix("place").tempdir().expect("a directory");
        let name = place.path().file_name().expect("a name").to_string_lossy().into_owned();
        let manner = Manner { unfinished: ".new-", mode: None, owner: None, durable: true };
        synced::take();
        write(&place.path().join("file"), b"12345", manner).expect("written");
        assert_eq!(synced::take(), ["a new file of 5 bytes".to_owned(), format!("{name}: file")]);
        write(&place.path().join("other"), b"1", Manner { durable: false, ..manner }).expect("written");
        assert_eq!(synced::take(), [""; 0], "what is on tmpfs need not be");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_one_before_and_nothing_beside_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file");
        let manner = Manner { unfinished: ".new-", mode: Some(0o640), owner: None, durable: true };
        write(&path, b"one", manner).expect("written");
        write(&path, b"two", manner).expect("written again");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((fs::read_to_string(&path).expect("read").as_str(), mode), ("two", 0o640));
        let directory = place.path().join("directory");
        fs::create_dir(&directory).expect("made");
        write(&directory, b"three", manner).expect_err("a directory is in its place");
        assert!(directory.is_dir());
        assert_eq!(fs::read_dir(place.path()).expect("listed").count(), 2, "nothing half written is left");
    }
}
