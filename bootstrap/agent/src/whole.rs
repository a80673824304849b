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
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durable { sync(directory) } else { Ok(()) }
}

/// Has a directory's entries on disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
