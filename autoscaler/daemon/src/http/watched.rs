//! Files that somebody else replaces while we run: certificates, keys.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What some files hold, read again when they change.
///
/// Looked at whenever it is asked for (a `stat` of each file), so that no signal is needed: Consul's and Vault's agents
/// replace files and tell nobody. What cannot be read, or does not fit together (a certificate was replaced and its key
/// not yet), changes nothing; it is tried again at the next call.
pub(super) struct Watched<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T, Unusable> + Send + Sync>,
    last: Mutex<Last<T>>,
}

struct Last<T> {
    stamps: Vec<Stamp>,
    value: Arc<T>,
    /// The stamps whose content was refused, so that it is said once.
    refused: Option<Vec<Stamp>>,
}

/// What tells one content of a file from another. `None`: there is no such file.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

/// Why files cannot be used. Never says what they hold.
#[derive(Debug, thiserror::Error)]
#[error("use {}", path.display())]
pub struct Unusable {
    /// The file.
    path: PathBuf,
    /// Why.
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Unusable {
    pub(super) fn new(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { path: path.to_owned(), source: why.into() }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl<T> Watched<T> {
    /// * `what`: what the log calls it.
    /// * `paths`: the files; a directory counts by the files that it lists.
    /// * Fails where they cannot be used now.
    pub(super) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, Unusable> + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        // Before they are read: a change in between is seen at the next look.
        let stamps = stamps(&paths);
        let value = Arc::new(load()?);
        Ok(Self {
            what,
            paths,
            load: Box::new(load),
            last: Mutex::new(Last { stamps, value, refused: None }),
        })
    }

    /// What they hold now, or held when they last were fit for use.
    pub(super) fn current(&self) -> Arc<T> {
        let stamps = stamps(&self.paths);
        // A panic elsewhere cannot have left it half changed.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.stamps != stamps {
            match (self.load)() {
                Ok(value) => {
                    tracing::info!(what = self.what, "took over changed files");
                    *last = Last { stamps, value: Arc::new(value), refused: None };
                }
                Err(error) if last.refused.as_ref() != Some(&stamps) => {
                    let error = crate::recorder::chain(&error);
                    tracing::warn!(what = self.what, error, "kept what changed files held before");
                    last.refused = Some(stamps);
                }
                Err(_) => {}
            }
        }
        Arc::clone(&last.value)
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths
        .iter()
        .flat_map(|path| {
            let listed = std::fs::read_dir(path).ok().map(|entries| {
                let mut listed: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                listed.sort();
                listed
            });
            listed.unwrap_or_default().into_iter().chain([path.clone()])
        })
        .map(|path| stamp(&path))
        .collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}
