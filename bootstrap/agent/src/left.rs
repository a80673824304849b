//! That the client of Nomad was told to leave: for the agent's next process, and for the instance's next boot.
//!
//! The mark in the run directory says that nobody starts the client again, until the time in it at least. The one in the
//! state directory outlives a reboot: it says that the node that Nomad has drained itself, and stays ineligible.

use crate::progress::UNFINISHED;
use crate::whole::{self, Manner};
use fleet::Timestamp;
use std::fs;
use std::io;
use std::path::Path;

/// What both are called.
pub(crate) const NAME: &str = "left";

/// Writes one: on disk when this returns, where it is on one. What cannot be written is for the log: the client leaves all the same.
pub(crate) fn write(directory: &Path, until: Timestamp) {
    let text = format!("{}\n", until.millis());
    let manner = Manner { unfinished: UNFINISHED, mode: Some(0o644), owner: None, durable: true };
    let written = fs::create_dir_all(directory)
        .and_then(|()| whole::write(&directory.join(NAME), text.as_bytes(), manner));
    if let Err(error) = written {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::synced;

    #[test]
    fn that_a_client_has_left_outlives_a_power_cut() {
        let state = tempfile::Builder::new().prefix("state").tempdir().expect("a directory");
        let name = state.path().file_name().expect("a name").to_string_lossy().into_owned();
        synced::take();
        write(state.path(), Timestamp::from_millis(12));
        assert_eq!(synced::take(), ["a new file of 3 bytes".to_owned(), format!("{name}: left")]);
        assert_eq!(until(state.path()), Some(Timestamp::from_millis(12)));
    }
}
