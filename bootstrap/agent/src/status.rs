//! What `status` shows: a file in the run directory, written anew after everything that happened.

use crate::progress::{UNFINISHED, sweep};
use crate::whole::{self, Manner};
use bootstrap_core::{Report, Step};
use fleet::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// When that started, in the kernel's ticks since the boot: with its id it is one process and no later one. `None` where
    /// the kernel does not say.
    #[serde(default)]
    pub process_started: Option<u64>,
    /// How often everything is looked at, and this is written anew at the latest, in seconds; 0: not known.
    #[serde(default)]
    pub verify_seconds: u64,
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
    /// What a step that is under way waits for, in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waits: BTreeMap<Step, String>,
    /// There are last lines of what failed, and whoever reads this may not see them.
    #[serde(skip)]
    pub hides_tails: bool,
    /// The steps.
    #[serde(flatten)]
    pub report: Report,
}

/// The last lines of what failed, by steps.
type Tails = BTreeMap<Step, Vec<String>>;

/// Where those are: what a playbook prints may be for few eyes.
pub fn tails_path(run: &Path) -> PathBuf {
    run.join("tails.json")
}

/// Whether a status still means anything: the file outlives who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// He works, and would say it if anything had changed.
    Works,
    /// He has not written for longer than he ever should.
    Hangs,
    /// He is gone: nobody watches this node.
    Gone,
}

/// When a process started, in the kernel's ticks since the boot; `None` where there is none, or it is not for us to see.
pub fn started_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, whatever that holds; this is the twenty-second.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a process is there, even where `/proc` hides those of others (`hidepid=2`): the kernel tells whoever would send it
/// a signal.
fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // That it may not be told anything is a word about one that is there.
    pid.is_some_and(|pid| {
        matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
    })
}

/// Where it is.
pub fn path(run: &Path) -> PathBuf {
    run.join("status.json")
}

impl Status {
    /// Writes it, whole; anybody may read it, but for the last lines of what failed: those are for root and the agent.
    pub fn write(&self, run: &Path) -> io::Result<()> {
        let mut shown = self.clone();
        let mut tails = Tails::new();
        for step in &mut shown.report.steps {
            let tail = step.failure.as_mut().map(|failure| std::mem::take(&mut failure.tail));
            tails.extend(tail.filter(|tail| !tail.is_empty()).map(|tail| (step.step, tail)));
        }
        if tails.is_empty() {
            match fs::remove_file(tails_path(run)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            replace(&tails_path(run), &serde_json::to_vec(&tails)?, 0o600)?;
        }
        replace(&path(run), &serde_json::to_vec(&shown)?, 0o644)
    }

    /// Adds the last lines of what failed, where they may be read.
    fn with_tails(mut self, run: &Path) -> io::Result<Self> {
        let text = match bounded(&tails_path(run)) {
            Ok(text) => text,
            Err(error) => {
                self.hides_tails = error.kind() == io::ErrorKind::PermissionDenied;
                return Ok(self);
            }
        };
        let mut tails: Tails = serde_json::from_slice(&text)?;
        for step in &mut self.report.steps {
            if let Some(failure) = &mut step.failure {
                failure.tail = tails.remove(&step.step).unwrap_or_default();
            }
        }
        Ok(self)
    }

    /// Whether who wrote it is still there. * `now`: wall time.
    pub fn author(&self, now: Timestamp) -> Author {
        let is_another = match (started_of(self.pid), self.process_started) {
            (Some(there), Some(own)) => there != own,
            (Some(_), None) => false,
            // One that is hidden may be another, later process: by what it writes it is known.
            (None, _) => !is_there(self.pid),
        };
        if is_another {
            return Author::Gone;
        }
        // A look may take a while itself, and two of them be far apart.
        let patience = std::time::Duration::from_secs(self.verify_seconds * 2 + 60);
        if self.verify_seconds > 0 && now.since(self.updated) > patience {
            Author::Hangs
        } else {
            Author::Works
        }
    }

    /// The last one that was written. * returns: `None` where there is none: the agent has not run since the boot.
    pub fn read(run: &Path) -> io::Result<Option<Self>> {
        let text = match bounded(&path(run)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let status: Self = serde_json::from_slice(&text)?;
        status.with_tails(run).map(Some)
    }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Removes what an agent that was killed has left half written in the run directory.
pub fn tidy(run: &Path) -> io::Result<()> {
    sweep(run, UNFINISHED)?;
    sweep(&crate::metrics::directory(run), UNFINISHED)
}

/// Puts a file in the place of another: whoever reads sees the one or the other, never a part. Not synchronised: what
/// is in the run directory is gone with a power cut anyway.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        // Others look into it, whatever the agent's own mask is.
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    whole::write(
        path,
        contents,
        Manner { unfinished: UNFINISHED, mode: Some(mode), owner: None, durable: false },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootstrap_core::{Condition, Failure, State, StepReport};
    use fleet::ErrorClass;
    use std::time::Duration;

    /// Of no boot in particular.
    fn blank() -> Status {
        let at = Timestamp::from_secs(10_000);
        Status {
            version: String::new(),
            pid: 1,
            process_started: None,
            verify_seconds: 0,
            started: at,
            updated: at,
            who: None,
            ready: None,
            notices: Vec::new(),
            drift: None,
            waits: BTreeMap::new(),
            alarms: Vec::new(),
            hides_tails: false,
            report: Report { condition: Condition::Done, steps: Vec::new() },
        }
    }

    #[test]
    fn the_last_lines_of_what_failed_are_for_root_and_the_agent() {
        let place = tempfile::tempdir().expect("a directory");
        let run = place.path();
        let failure = |tail: &[&str]| Failure {
            tail: tail.iter().map(|line| (*line).to_owned()).collect(),
            ..Failure::lasting(ErrorClass::Conflict, "job 17 of AWX ended as failed")
        };
        let step = |step, failure| StepReport {
            step,
            state: State::Failed,
            began: None,
            ended: None,
            seconds: None,
            failures: 1,
            policy: None,
            failure,
        };
        let of = |steps: Vec<StepReport>| Status {
            report: Report { condition: Condition::Failed, steps },
            ..blank()
        };
        let failed = of(vec![
            step(Step::Vault, Some(failure(&[]))),
            step(Step::Awx, Some(failure(&["fatal: password=hunter2"]))),
            step(Step::Consul, None),
        ]);
        failed.write(run).expect("written");
        let anybodys = fs::read_to_string(path(run)).expect("read");
        assert!(anybodys.contains("job 17 of AWX") && !anybodys.contains("hunter2"), "{anybodys}");
        let mode = fs::metadata(tails_path(run)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(Status::read(run).expect("read"), Some(failed.clone()), "whoever may read both sees all");
        // What stands again has no last lines.
        of(vec![step(Step::Awx, None)]).write(run).expect("written");
        assert!(!tails_path(run).exists());
        of(Vec::new()).write(run).expect("where there are none");
    }

    #[test]
    fn a_status_without_its_author_or_of_one_who_hangs_is_known_as_that() {
        let at = Timestamp::from_secs(10_000);
        let own = started_of(std::process::id());
        assert!(own.is_some(), "Linux tells");
        let of = |pid: u32, process_started: Option<u64>, verify_seconds: u64| Status {
            pid,
            process_started,
            verify_seconds,
            ..blank()
        };
        let pid = std::process::id();
        let later = |seconds: u64| at + Duration::from_secs(seconds);
        assert_eq!(of(pid, own, 300).author(later(600)), Author::Works);
        assert_eq!(of(pid, own, 300).author(later(700)), Author::Hangs);
        assert_eq!(of(pid, own, 0).author(later(7000)), Author::Works);
        assert_eq!(of(pid, own.map(|ticks| ticks + 1), 300).author(at), Author::Gone, "another has its id");
        let mut ended = std::process::Command::new("true").spawn().expect("it starts");
        ended.wait().expect("it ends");
        assert_eq!(of(ended.id(), own, 300).author(at), Author::Gone);
    }
}
