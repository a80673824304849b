//! A machine's share of this host's processors: how much it may take, and how much it took.
//!
//! A container's `/proc/stat` and `/proc/loadavg` are its host's. Who is to see how busy the machine is, sees files in their place
//! that say what its control group took, and what of it runs or waits.

use crate::MachineError;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In how long a quota is counted, in microseconds.
const PERIOD: u64 = 100_000;
/// How often a group is tried to be removed, and the pause between.
const TRIES: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// A control group with a quota. Dropped, it is gone, once nothing is in it.
#[derive(Debug)]
pub(crate) struct Share {
    /// Of version 1 the groups of `cpu` and `cpuacct`, of version 2 the one there is.
    groups: Vec<PathBuf>,
    usage: PathBuf,
    unified: bool,
    cpus: f64,
}

impl Share {
    /// * `name`: of the group, which nobody has.
    /// * `cpus`: how many of this host's processors it may take, more than 0.
    pub fn new(name: &str, cpus: f64) -> Result<Self, MachineError> {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let group = |controller: &str| root.join(controller).join(format!("muster-{name}"));
        let groups = if unified { vec![group("")] } else { vec![group("cpu"), group("cpuacct")] };
        let usage = groups[groups.len() - 1].join(if unified { "cpu.stat" } else { "cpuacct.usage" });
        let share = Self { groups, usage, unified, cpus };
        if unified {
            // It may be on already, or be somebody else's to say: then the quota's file is missing, which is told.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
        }
        for path in &share.groups {
            fs::create_dir_all(path).map_err(|source| MachineError::File {
                what: "cannot make",
                path: path.clone(),
                source,
            })?;
        }
        Ok(share)
    }

    /// Has it take no more than its share from now on.
    pub fn limit(&self) -> Result<(), MachineError> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few processors, in microseconds of a period"
        )]
        let quota = (self.cpus * PERIOD as f64) as u64;
        if self.unified {
            return self.write("cpu.max", &format!("{quota} {PERIOD}"));
        }
        self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
        self.write("cpu.cfs_quota_us", &quota.to_string())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), MachineError> {
        let path = self.groups[0].join(name);
        fs::write(&path, text).map_err(|source| MachineError::File { what: "cannot write", path, source })
    }

    /// What a shell does to become a member, with everything that it starts.
    pub fn join(&self) -> String {
        let joins: Vec<String> = self
            .groups
            .iter()
            .map(|group| format!("echo $$ >{}/cgroup.procs && ", group.display()))
            .collect();
        joins.concat()
    }

    /// How much processor time it has taken.
    fn taken(&self) -> Option<Duration> {
        let text = fs::read_to_string(&self.usage).ok()?;
        if !self.unified {
            return text.trim().parse().ok().map(Duration::from_nanos);
        }
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        micros.trim().parse().ok().map(Duration::from_micros)
    }

    /// `/proc/stat` of a machine that has no more than its share: one processor, busy with what was taken of it. Always of
    /// the same length.
    ///
    /// * `up`: how long the machine is up.
    pub fn stat(&self, up: Duration) -> Option<String> {
        const TICKS: f64 = 100.0;
        let host = fs::read_to_string("/proc/stat").ok()?;
        let since = host.lines().find(|line| line.starts_with("btime "))?;
        let busy = self.taken()?.as_secs_f64() / self.cpus;
        let idle = (up.as_secs_f64() - busy).max(0.0);
        let (busy, idle) = ((busy * TICKS).round(), (idle * TICKS).round());
        let times = format!("{busy:<12} 0 0 {idle:<12} 0 0 0 0 0 0");
        Some(format!("cpu  {times}\ncpu0 {times}\n{since}\n"))
    }

    /// `/proc/loadavg` of a machine that has no more than its share: what of it runs or waits just now. Always of the same length.
    pub fn loadavg(&self) -> String {
        let running = running(&self.groups[0]);
        // Whoever reads it counts himself among them.
        let text = format!("{running}.00 {running}.00 {running}.00 {}/{} 1", running + 1, running + 1);
        format!("{text:<60}\n")
    }
}

/// How many processes of a group, and of those beneath it, run or wait for a processor.
fn running(group: &Path) -> usize {
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let is_running = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may have anything in it.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
    };
    let beneath = fs::read_dir(group).into_iter().flatten().flatten();
    let beneath = beneath.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    members.lines().filter(is_running).count() + beneath.map(|entry| running(&entry.path())).sum::<usize>()
}

impl Drop for Share {
    fn drop(&mut self) {
        for group in &self.groups {
            // What was killed in it takes a moment to be gone, on a busy host a long one.
            for _ in 0..TRIES {
                match remove(group) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(PAUSE);
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Groups that the machine made beneath it go first.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::thread::sleep;

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn begun(script: &str) -> Ended {
        Ended(Command::new("sh").args(["-c", script]).spawn().expect("a shell"))
    }

    #[test]
    fn what_runs_in_a_group_and_beneath_it_is_its_queue_and_what_sleeps_is_not() {
        let busy = [begun("while :; do :; done"), begun("while :; do :; done")];
        let asleep = begun("exec sleep 600");
        let place = tempfile::tempdir().expect("a directory");
        let beneath = place.path().join("machine.slice");
        fs::create_dir(&beneath).expect("made");
        let procs = |at: &Path, of: &[&Ended]| {
            let ids: Vec<String> = of.iter().map(|one| one.0.id().to_string()).collect();
            fs::write(at.join("cgroup.procs"), ids.join("\n")).expect("written");
        };
        procs(place.path(), &[&busy[0], &asleep]);
        procs(&beneath, &[&busy[1]]);
        // A process that has just begun may wait for its program to be read.
        let settled = (0..100).any(|_| {
            sleep(Duration::from_millis(50));
            running(place.path()) == 2
        });
        assert!(settled, "{} of two that run and one that sleeps", running(place.path()));
        procs(place.path(), &[&asleep]);
        assert_eq!(running(&beneath), 1);
        // One that has ended meanwhile is none.
        fs::write(beneath.join("cgroup.procs"), "4194305\n").expect("written");
        assert_eq!(running(place.path()), 0);
    }
}
