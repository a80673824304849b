//! What `status` shows: a file in the run directory, written anew after everything that happened.

use crate::progress::{UNFINISHED, sweep};
use bootstrap_core::Report;
use fleet::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A status has nine steps, each with a bounded tail.
const MAX_BYTES: u64 = 1024 * 1024;

/// Who this instance is, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The instance.
    pub instance: InstanceId,
    /// Its image.
    pub image: Option<String>,
    /// Its type.
    pub instance_type: Option<String>,
    /// Its region.
    pub region: String,
    /// `spot` or `on-demand`.
    pub life_cycle: Option<String>,
    /// When EC2 began to launch it.
    pub launched: Timestamp,
}

/// A run of AWX's job after the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// When it was last asked for.
    pub at: Timestamp,
    /// How many in a row failed.
    pub failures: u32,
    /// How the last one ended: "ok", or what went wrong.
    pub outcome: String,
}

/// Everything that an operator may want to know of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// The process that wrote this.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// When this was written.
    pub updated: Timestamp,
    /// The instance, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// When it was ready first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Timestamp>,
    /// The notices that hold, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// AWX's last run after the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What an operator has to look at, in words: an open breaker, a file that is damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// The steps.
    #[serde(flatten)]
    pub report: Report,
}

/// Where it is.
pub fn path(run: &Path) -> PathBuf {
    run.join("status.json")
}

impl Status {
    /// Writes it, whole; anybody may read it.
    pub fn write(&self, run: &Path) -> io::Result<()> {
        replace(&path(run), &serde_json::to_vec(self)?, 0o644)
    }

    /// The last one that was written. * returns: `None` where there is none: the agent has not run since the boot.
    pub fn read(run: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path(run)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }
}

/// Removes what an agent that was killed has left half written in the run directory.
pub fn tidy(run: &Path) -> io::Result<()> {
    sweep(run, UNFINISHED)?;
    sweep(&crate::metrics::directory(run), UNFINISHED)
}

/// Puts a file in the place of another: whoever reads sees the one or the other, never a part. Not synchronised: what
/// is in the run directory is gone with a power cut anyway.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write as _;
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        // Others look into it, whatever the agent's own mask is.
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    file.write_all(contents)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
