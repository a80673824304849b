//! The progress of boots on disk: a directory an instance, a file a step.
//!
//! A file is written whole, to disk, under another name, and then renamed: whatever happens, what is read is the line
//! before or the line after. The directory's own change is on disk, too, when [`Store::record`] returns.

use crate::whole::{self, Manner};
use bootstrap_core::{Entry, Progress, Step};
use fleet::{ErrorClass, InstanceId};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A line has a digest, a time and a note.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system says no.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// `create`, `write`, …
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An id that is none of an instance, and no name for a directory either.
    #[error("keep progress of {id:?}: expected the id of an instance, such as \"i-0123456789abcdef0\"")]
    NotAnInstance {
        /// What it was.
        id: String,
    },
}

impl StoreError {
    /// What to make of it: a full disk may be emptied, a file system that is read-only is for an operator.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorClass::Denied,
                _ => ErrorClass::Transient,
            },
            Self::NotAnInstance { .. } => ErrorClass::Malformed,
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// A file that holds no line: its step is as if nothing was known of it, and is looked at as any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// The directory that holds the progress of instances: of this one, and of one whose disk this image was made of.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Makes the directory (0700) where there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        make(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// What is known of an instance.
    ///
    /// * returns: its progress, and the files that cannot be read as a line of it.
    pub fn load(&self, instance: &InstanceId) -> Result<(Progress, Vec<Damaged>), StoreError> {
        let directory = self.directory(instance)?;
        sweep(&directory, UNFINISHED).map_err(StoreError::io("sweep", &directory))?;
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for step in Step::ALL {
            let path = file_of(&directory, step);
            match read(&path, step) {
                Ok(entry) => entries.extend(entry),
                Err(why) => damaged.push(Damaged { path, why }),
            }
        }
        Ok((Progress::of(entries), damaged))
    }

    /// Writes a line in place of the one before. It is on disk when this returns: a power cut does not undo it.
    ///
    /// Fails with nothing changed, but for the last: a directory that cannot be synchronised may show either line later.
    pub fn record(&self, instance: &InstanceId, entry: &Entry) -> Result<(), StoreError> {
        let directory = self.directory(instance)?;
        make(&directory)?;
        let path = file_of(&directory, entry.step);
        let manner = Manner { unfinished: UNFINISHED, mode: None, owner: None, durable: true };
        let line = serde_json::to_vec(entry).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            whole::write(&path, &line, manner)
        });
        written.map_err(StoreError::io("write", &path))
    }

    /// Forgets a step, so that it is looked at as if nothing was known of it. * returns: whether anything was.
    pub fn reset(&self, instance: &InstanceId, step: Step) -> Result<bool, StoreError> {
        let directory = self.directory(instance)?;
        let path = file_of(&directory, step);
        match fs::remove_file(&path) {
            Ok(()) => sync(&directory).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &path)(error)),
        }
    }

    /// The other instances that left progress here: this disk is a copy of one of theirs, and so is what Consul and Nomad
    /// keep of themselves on it.
    pub fn others(&self, instance: &InstanceId) -> Result<Vec<InstanceId>, StoreError> {
        let listed = fs::read_dir(&self.root).map_err(StoreError::io("list", &self.root))?;
        let mut others = Vec::new();
        for entry in listed {
            let name = entry.map_err(StoreError::io("list", &self.root))?.file_name();
            let other = name.to_str().map(InstanceId::new);
            others.extend(other.filter(|other| other.is_well_formed() && other != instance));
        }
        others.sort();
        Ok(others)
    }

    /// Forgets an instance altogether: once nothing of it is left on this disk.
    pub fn forget(&self, instance: &InstanceId) -> Result<(), StoreError> {
        let directory = self.directory(instance)?;
        match fs::remove_dir_all(&directory) {
            Ok(()) => sync(&self.root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("remove", &directory)(error)),
        }
    }

    fn directory(&self, instance: &InstanceId) -> Result<PathBuf, StoreError> {
        // What comes out of a signed document is one; nothing else may become a path.
        if instance.is_well_formed() {
            Ok(self.root.join(instance.as_str()))
        } else {
            Err(StoreError::NotAnInstance { id: instance.to_string() })
        }
    }
}

fn file_of(directory: &Path, step: Step) -> PathBuf {
    directory.join(format!("{step}.json"))
}

fn make(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(StoreError::io("create", directory))?;
    directory.parent().map_or(Ok(()), sync)
}

fn sync(directory: &Path) -> Result<(), StoreError> {
    whole::sync(directory).map_err(StoreError::io("synchronise", directory))
}

/// What a file is called until it is whole.
pub(crate) const UNFINISHED: &str = ".new-";

/// Removes what was never finished: who was cut off in the middle of a write left it. Nobody else writes there.
pub(crate) fn sweep(directory: &Path, prefix: &str) -> io::Result<()> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in listed {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A step's line; `None` where there is none.
fn read(path: &Path, step: Step) -> Result<Option<Entry>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    let entry: Entry = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if entry.step == step { Ok(Some(entry)) } else { Err(format!("it is the line of {}", entry.step)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::synced;
    use bootstrap_core::{Inputs, Phase};
    use fleet::Timestamp;

    #[test]
    fn progress_is_on_disk_with_the_names_that_lead_to_it_before_anything_goes_on_upon_it() {
        let place = tempfile::tempdir().expect("a directory");
        let parent = place.path().file_name().expect("a name").to_string_lossy().into_owned();
        let instance = InstanceId::new("i-0123456789abcdef0");
        synced::take();
        let store = Store::open(&place.path().join("muster")).expect("a store");
        assert_eq!(synced::take(), [format!("{parent}: muster")]);
        let entry = Entry {
            step: Step::Time,
            phase: Phase::Intent,
            inputs: Inputs::none(),
            at: Timestamp::EPOCH,
            note: None,
        };
        let bytes = serde_json::to_vec(&entry).expect("JSON").len() + 1;
        store.record(&instance, &entry).expect("written");
        let line = [format!("a new file of {bytes} bytes"), format!("{instance}: time.json")];
        assert_eq!(synced::take(), [vec![format!("muster: {instance}")], line.to_vec()].concat());
        store.record(&instance, &entry).expect("written in its place");
        assert_eq!(synced::take(), line);
        assert!(store.reset(&instance, Step::Time).expect("forgotten"));
        assert_eq!(synced::take(), [format!("{instance}: ")]);
        store.forget(&instance).expect("forgotten");
        assert_eq!(synced::take(), ["muster: "]);
    }
}
