//! That the client of Nomad was told to leave: for the agent's next process, and for the instance's next boot.
//!
//! The mark in the run directory says that nobody starts the client again, until the time in it at least. The one in the
//! state directory outlives a reboot: it says that the node that Nomad has drained itself, and stays ineligible.

use crate::status::replace;
use fleet::Timestamp;
use std::fs;
use std::io;
use std::path::Path;

/// What both are called.
pub(crate) const NAME: &str = "left";

/// Writes one. What cannot be written is for the log: the client leaves all the same.
pub(crate) fn write(directory: &Path, until: Timestamp) {
    let text = format!("{}\n", until.millis());
    if let Err(error) = replace(&directory.join(NAME), text.as_bytes(), 0o644) {
        tracing::warn!(%error, "could not write down that Nomad's client leaves");
    }
}

/// Until when it holds; `None` where there is none. One that cannot be read holds from the beginning of time.
pub(crate) fn until(directory: &Path) -> Option<Timestamp> {
    let text = fs::read_to_string(directory.join(NAME)).ok()?;
    Some(text.trim().parse().map_or(Timestamp::EPOCH, Timestamp::from_millis))
}

/// Removes one.
pub(crate) fn forget(directory: &Path) {
    match fs::remove_file(directory.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "could not forget that Nomad's client has left");
        }
        _ => {}
    }
}
