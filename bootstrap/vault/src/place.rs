//! Putting secrets into files: whole or not at all, with their owner from the first byte on.

use crate::Destination;
use crate::template::Rendered;
use bootstrap_core::Secret;
use fleet::ErrorClass;
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// File systems that are in memory alone: `TMPFS_MAGIC`, `RAMFS_MAGIC`.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why a file is not where it belongs. What was there before is there still, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It would be on a disk.
    #[error("{} would not be in memory: its directory is neither on tmpfs nor on ramfs", path.display())]
    NotInMemory {
        /// The file.
        path: PathBuf,
    },
    /// There is no such user or group.
    #[error("{}: there is no {kind} {name:?}", path.display())]
    Nobody {
        /// The file.
        path: PathBuf,
        /// `user` or `group`.
        kind: &'static str,
        /// As configured.
        name: String,
    },
    /// What stands there is no file, and is left alone.
    #[error("{} is something else than a file", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("could not {doing} {}: {why}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// `write`, `give away`, …
        doing: &'static str,
        /// What to make of it.
        class: ErrorClass,
        /// The system's words.
        why: String,
    },
}

impl PlaceError {
    /// What to make of it. Everything here is safe to repeat.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::NotInMemory { .. } | Self::Nobody { .. } | Self::NoFile { .. } => ErrorClass::Conflict,
            Self::System { class, .. } => *class,
        }
    }

    /// Whether trying again cannot help. A full disk may be emptied, a user may be made by a package a little later.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::NotInMemory { .. } | Self::NoFile { .. })
    }

    fn system(path: &Path, doing: &'static str, error: &io::Error) -> Self {
        let class = match error.kind() {
            io::ErrorKind::NotFound => ErrorClass::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorClass::Denied,
            _ => ErrorClass::Transient,
        };
        Self::System { path: path.to_owned(), doing, class, why: error.to_string() }
    }
}

/// What putting a file in its place came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was as it should be, to the owner.
    Unchanged,
    /// Its contents were right, its mode or owner were not.
    Owner,
    /// Its contents are new, or were before a reload that nobody has told of: its units are due for one.
    Contents,
}

/// Puts what was rendered where it belongs, unless it is there already.
///
/// Where units are to be reloaded, a mark beside the file remembers that from before the file changes until
/// [`reloaded`]: who is killed in between is told again by whoever comes next.
pub fn place(rendered: &Rendered) -> Result<Placed, PlaceError> {
    let Rendered { destination, contents, reload } = rendered;
    let mark = beside(&destination.path, ".due").filter(|_| !reload.is_empty());
    let placed = put(destination, contents, mark.as_deref())?;
    Ok(if mark.is_some_and(|mark| mark.exists()) { Placed::Contents } else { placed })
}

/// Whether the units of a file are due for a reload that nobody has told of.
pub fn is_due(path: &Path) -> bool {
    beside(path, ".due").is_some_and(|mark| mark.exists())
}

/// That the units of a file were reloaded after it was placed.
pub fn reloaded(path: &Path) -> Result<(), PlaceError> {
    // Where another places the file there is none, and its directory may be none that we may write to.
    let mark = beside(path, ".due").filter(|mark| fs::symlink_metadata(mark).is_ok());
    mark.map_or(Ok(()), |mark| delete(&mark))
}

/// Removes files; those that are gone already are no error. Tries all, and tells of the first that would not go.
pub fn remove<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), PlaceError> {
    let mut result = Ok(());
    for path in paths {
        result = result.and(delete(path)).and(reloaded(path));
    }
    result
}

fn delete(path: &Path) -> Result<(), PlaceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PlaceError::system(path, "remove", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a file that no unit has to be told of.
pub(crate) fn write(to: &Destination, contents: &Secret) -> Result<Placed, PlaceError> {
    put(to, contents, None)
}

/// Writes a file beside its place, gives it away, then renames it: who reads it sees the old one or the new one.
/// On a disk it is on the disk before it is renamed. The mark is made before contents that are new.
fn put(to: &Destination, contents: &Secret, mark: Option<&Path>) -> Result<Placed, PlaceError> {
    let path = &to.path;
    let failed = |doing| move |error: io::Error| PlaceError::system(path, doing, &error);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_memory = is_in_memory(directory).map_err(failed("write"))?;
    if to.require_tmpfs && !in_memory {
        return Err(PlaceError::NotInMemory { path: path.clone() });
    }
    let (uid, gid) = (uid(to)?, gid(to)?);
    let placed = compare(to, contents, uid, gid)?;
    if placed == Placed::Unchanged {
        return Ok(placed);
    }
    let beside = beside(path, ".new").ok_or_else(|| PlaceError::NoFile { path: path.clone() })?;
    let written = (|| {
        // One that a killed agent has left; where it cannot go, the next line says so.
        let _ = fs::remove_file(&beside);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|error| failed("write")(error.into()))?);
        file.write_all(contents.expose().as_bytes()).map_err(failed("write"))?;
        // Whoever has no right to give files away may be refused even to ask for nothing.
        if uid.is_some() || gid.is_some() {
            fchown(&file, uid.map(Uid::as_raw), gid.map(Gid::as_raw)).map_err(failed("give away"))?;
        }
        file.set_permissions(Permissions::from_mode(to.mode & 0o777)).map_err(failed("set the mode of"))?;
        if !in_memory {
            file.sync_all().map_err(failed("write"))?;
        }
        if let Some(mark) = mark.filter(|_| placed == Placed::Contents) {
            File::create(mark).map_err(failed("mark"))?;
        }
        fs::rename(&beside, path).map_err(failed("rename"))
    })();
    if written.is_err() {
        // Half of a secret serves nobody; where it cannot be removed, the next attempt does.
        let _ = fs::remove_file(&beside);
    }
    written.map(|()| placed)
}

/// What would have to be done for a file to be as it should.
fn compare(
    to: &Destination,
    contents: &Secret,
    uid: Option<Uid>,
    gid: Option<Gid>,
) -> Result<Placed, PlaceError> {
    let path = &to.path;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(PlaceError::NoFile { path: path.clone() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Placed::Contents),
        Err(error) => return Err(PlaceError::system(path, "look at", &error)),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What cannot be read is written anew.
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return Ok(Placed::Contents) };
    let mut file = File::from(file);
    let Ok(found) = file.metadata() else { return Ok(Placed::Contents) };
    let wanted = contents.expose().as_bytes();
    if found.len() != u64::try_from(wanted.len()).unwrap_or(u64::MAX) {
        return Ok(Placed::Contents);
    }
    let mut held = Zeroizing::new(vec![0; wanted.len()]);
    if file.read_exact(&mut held).is_err() || *held != wanted {
        return Ok(Placed::Contents);
    }
    let own = |wanted: u32, found: u32| wanted == found;
    let right = found.mode() & 0o7777 == to.mode & 0o777
        && own(uid.unwrap_or_else(Uid::effective).as_raw(), found.uid())
        && gid.is_none_or(|gid| own(gid.as_raw(), found.gid()));
    Ok(if right { Placed::Unchanged } else { Placed::Owner })
}

/// Whether a file is as it was placed: contents, mode and owner. What is not ours to have is the affair of who placed it, and
/// has to be there.
pub(crate) fn stands(to: &Destination, contents: &Secret) -> bool {
    let found = match fs::symlink_metadata(&to.path) {
        Ok(found) => found,
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
    };
    if to.is_of_another() && found.uid() != Uid::effective().as_raw() {
        return true;
    }
    let owners = uid(to).and_then(|uid| Ok((uid, gid(to)?)));
    owners.and_then(|(uid, gid)| compare(to, contents, uid, gid)).is_ok_and(|is| is == Placed::Unchanged)
}

/// `.NAME` with this ending, in the same directory.
fn beside(path: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(ending);
    Some(path.with_file_name(name))
}

/// Whether a file that somebody else writes will be in memory, where it has to be. Its directory need not be there yet.
pub(crate) fn in_memory_if_asked(to: &Destination) -> Result<(), PlaceError> {
    if !to.require_tmpfs {
        return Ok(());
    }
    let directory = to.path.ancestors().skip(1).find(|directory| directory.is_dir());
    match directory.map(is_in_memory) {
        Some(Ok(true)) => Ok(()),
        Some(Err(error)) => Err(PlaceError::system(&to.path, "look at", &error)),
        Some(Ok(false)) | None => Err(PlaceError::NotInMemory { path: to.path.clone() }),
    }
}

fn is_in_memory(directory: &Path) -> io::Result<bool> {
    let found = rustix::fs::statfs(directory)?;
    Ok(IN_MEMORY.contains(&found.f_type))
}

/// The user that is to own a file, by name or number.
fn uid(to: &Destination) -> Result<Option<Uid>, PlaceError> {
    let Some(name) = &to.owner else { return Ok(None) };
    let nobody = || PlaceError::Nobody { path: to.path.clone(), kind: "user", name: name.clone() };
    if let Ok(number) = name.parse() {
        return Ok(Some(Uid::from_raw(number)));
    }
    User::from_name(name).ok().flatten().map(|user| Some(user.uid)).ok_or_else(nobody)
}

/// The group that is to own a file, by name or number.
fn gid(to: &Destination) -> Result<Option<Gid>, PlaceError> {
    let Some(name) = &to.group else { return Ok(None) };
    let nobody = || PlaceError::Nobody { path: to.path.clone(), kind: "group", name: name.clone() };
    if let Ok(number) = name.parse() {
        return Ok(Some(Gid::from_raw(number)));
    }
    Group::from_name(name).ok().flatten().map(|group| Some(group.gid)).ok_or_else(nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(path: PathBuf) -> Destination {
        Destination { require_tmpfs: false, ..Destination::private(path) }
    }

    #[test]
    fn a_file_is_written_once_and_again_only_when_it_changes() {
        let place = tempfile::tempdir().expect("a directory");
        let mut to = destination(place.path().join("secret"));
        // A half that a killed process left is in nobody's way.
        fs::write(place.path().join(".secret.new"), "half").expect("a file");
        assert_eq!(write(&to, &Secret::new("one")), Ok(Placed::Contents));
        let written = fs::metadata(&to.path).expect("it is there").ino();
        assert_eq!(write(&to, &Secret::new("one")), Ok(Placed::Unchanged));
        assert_eq!(
            fs::metadata(&to.path).expect("it is there").ino(),
            written,
            "not even replaced by the same"
        );
        assert_eq!(fs::metadata(&to.path).expect("it is there").mode() & 0o7777, 0o600);
        to.mode = 0o640;
        assert_eq!(write(&to, &Secret::new("one")), Ok(Placed::Owner));
        assert_eq!(fs::metadata(&to.path).expect("it is there").mode() & 0o7777, 0o640);
        assert_eq!(write(&to, &Secret::new("two")), Ok(Placed::Contents));
        assert_eq!(fs::read_to_string(&to.path).expect("it is there"), "two");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_reload_that_nobody_has_told_of_stays_due() {
        let place_of = tempfile::tempdir().expect("a directory");
        let destination = destination(place_of.path().join("secret"));
        let path = destination.path.clone();
        let mut rendered =
            Rendered { destination, contents: Secret::new("one"), reload: vec!["web.service".to_owned()] };
        assert_eq!(place(&rendered), Ok(Placed::Contents));
        // Killed before the reload: whoever comes next has it due, though the file is as it should be.
        assert_eq!(place(&rendered), Ok(Placed::Contents));
        assert_eq!(reloaded(&path), Ok(()));
        assert_eq!(place(&rendered), Ok(Placed::Unchanged));
        rendered.destination.mode = 0o640;
        assert_eq!(place(&rendered), Ok(Placed::Owner));
        rendered.contents = Secret::new("two");
        assert_eq!(place(&rendered), Ok(Placed::Contents));
        assert_eq!(remove([path.as_path()]), Ok(()));
        assert_eq!(fs::read_dir(place_of.path()).expect("a directory").count(), 0, "the mark goes with it");
    }

    #[test]
    fn a_link_or_a_directory_in_its_place_is_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let (target, link) = (place.path().join("target"), place.path().join("link"));
        fs::write(&target, "of somebody else").expect("a file");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        for path in [link, place.path().to_owned()] {
            let refused = write(&destination(path.clone()), &Secret::new("secret"));
            assert_eq!(refused, Err(PlaceError::NoFile { path }));
        }
        assert_eq!(fs::read_to_string(&target).expect("it is there"), "of somebody else");
    }

    #[test]
    fn users_and_groups_are_known_by_name_and_number() {
        let place = tempfile::tempdir().expect("a directory");
        let with = |owner: &str, group: &str| Destination {
            owner: Some(owner.to_owned()),
            group: Some(group.to_owned()),
            ..destination(place.path().join("file"))
        };
        assert_eq!(uid(&with("root", "0")), Ok(Some(Uid::from_raw(0))));
        assert_eq!(gid(&with("17", "root")), Ok(Some(Gid::from_raw(0))));
        let nobody = uid(&with("nobody-of-that-name", "0")).expect_err("there is none");
        assert!(!nobody.is_lasting() && nobody.to_string().contains("no user"), "{nobody}");
    }

    #[test]
    fn a_directory_that_is_missing_is_said_to_be() {
        let place = tempfile::tempdir().expect("a directory");
        let error =
            write(&destination(place.path().join("no/file")), &Secret::new("x")).expect_err("no directory");
        assert_eq!(error.class(), ErrorClass::NotFound);
        assert_eq!(remove([place.path().join("gone").as_path()]), Ok(()));
    }
}
