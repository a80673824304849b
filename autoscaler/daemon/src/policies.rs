//! Policy files: read, watched, reloaded.
//!
//! Files are looked at every few seconds instead of being watched through the kernel: that works the same for
//! editors that write a new file and rename it, for Kubernetes' and Nomad's directories of symbolic links, for
//! network file systems, and for files that do not exist yet; and the worst that a poll can miss is five seconds.

use crate::config::Connect;
use crate::idle::{Activity, Busy};
use crate::queue::{Envelope, Happened};
use autoscaler_policy::{File, FleetPolicy, Origin, PolicySet, Problem, Problems};
use fleet::ports::Clock;
use fleet::{DurationText, Region};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::sync::oneshot;

/// How long a changed file must stay as it is before it is read: whoever writes it may be in the middle.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Every so many looks the contents are compared even where no date says that anything has changed: dates are
/// coarse, and some copies keep them.
const READ_EVERY: u32 = 12;
/// The largest policy file, as `muster-hcl` has it.
const MOST_BYTES: u64 = 1 << 20;
/// How long a pipe's writer is waited for. Long enough for a program that generates policies; nobody who runs
/// `check` in CI should wait for ever because nobody writes.
const PIPE_PATIENCE: Duration = Duration::from_secs(10);

/// The policies of some files, and what they were read from.
#[derive(Debug)]
pub struct Loaded {
    /// The policies, with what is worth a warning; at least one fleet's.
    pub set: PolicySet,
    /// The files' contents.
    pub files: Vec<File>,
}

/// Policy files as they were read, not judged yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The contents of those that could be read.
    pub files: Vec<File>,
    /// A problem for each that could not.
    pub problems: Problems,
}

/// Reads and validates policies.
///
/// * `paths`: files, and directories whose `*.hcl` files are read in the order of their names; hidden files are
///   left out.
/// * Fails with everything that is wrong, files that cannot be read beside what is wrong in the others. Policies
///   that name no fleet at all are wrong: a directory that was emptied by mistake would let every fleet go.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Problems> {
    let reading = read(paths);
    let set = judge(paths, &reading)?;
    Ok(Loaded { set, files: reading.files })
}

/// Reads policy files without judging them.
///
/// * `paths`: as for [`load`].
pub fn read(paths: &[PathBuf]) -> Reading {
    let mut reading = Reading::default();
    for path in list(paths, &mut reading) {
        match read_one(&path, PIPE_PATIENCE) {
            Ok(text) => reading.files.push(File { name: path.display().to_string(), text }),
            Err(error) => reading.unreadable(&path, &error),
        }
    }
    reading
}

impl Reading {
    fn unreadable(&mut self, path: &Path, error: &Error) {
        let problem = Problem::of_file(path.display().to_string(), self.files.len(), error.to_string());
        self.problems.push(problem);
    }
}

/// Validates what was read of these paths, as [`load`] does.
fn judge(paths: &[PathBuf], Reading { files, problems }: &Reading) -> Result<PolicySet, Problems> {
    let mut found = match autoscaler_policy::load(files) {
        Ok(set) if problems.is_empty() && !set.fleets.is_empty() => return Ok(set),
        Ok(set) if problems.is_empty() => {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let none = Problem::of_file(names.join(", "), files.len(), "no fleet is named")
                .expected("a `fleet` block; of a directory, its *.hcl files are read");
            let mut found = set.warnings;
            found.push(none);
            found
        }
        Ok(set) => set.warnings,
        Err(found) => found,
    };
    found.append(problems.clone());
    Err(found)
}

fn read_one(path: &Path, patience: Duration) -> std::io::Result<String> {
    // A pipe would be opened when somebody begins to write to it: never, perhaps.
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, how, Mode::empty())?);
    // Not by the length that the file system tells: a pipe has none.
    let mut source = (&file).take(MOST_BYTES + 1);
    let mut bytes = Vec::new();
    loop {
        wait_for_data(&file, patience)?;
        match source.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if bytes.len() as u64 > MOST_BYTES {
        let why = "larger than 1 MiB; fleets may be spread over several files";
        return Err(Error::new(ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Waits until something can be read, or the end has come; what is no pipe does not let anybody wait.
fn wait_for_data(file: &std::fs::File, patience: Duration) -> std::io::Result<()> {
    let within = Timespec::try_from(patience).map_err(Error::other)?;
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&within)) {
            Ok(0) => {
                let why = format!("nobody has written to it for {}", DurationText(patience));
                return Err(Error::new(ErrorKind::TimedOut, why));
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the policies that name no region the one that is meant then.
///
/// * `given`: what whoever started the daemon said; the engine knows it, too.
/// * `connect`: is asked where nobody said so, and only if a policy needs it.
/// * Fails, naming the policies, where nobody knows.
pub(crate) async fn settle_regions(
    fleets: &mut [FleetPolicy],
    given: Option<&Region>,
    connect: &dyn Connect,
) -> Result<(), Problems> {
    if given.is_some() || fleets.iter().all(|fleet| fleet.region.is_some()) {
        return Ok(());
    }
    let (region, why) = match connect.default_region().await {
        Ok(Some(region)) => (Some(region), String::new()),
        Ok(None) => (None, "nor does AWS's own configuration".to_owned()),
        Err(error) => (None, format!("and AWS's own configuration could not be read: {error}")),
    };
    let mut problems = Problems::default();
    for (order, fleet) in fleets.iter_mut().filter(|fleet| fleet.region.is_none()).enumerate() {
        fleet.region.clone_from(&region);
        if region.is_none() {
            let file = fleet.origins.values().find_map(|origin| match origin {
                Origin::File { file, .. } => Some(file.as_str()),
                _ => None,
            });
            let what = format!("the policy of {} names no region, {why}", fleet.name);
            let problem = Problem::of_file(file.unwrap_or_default(), order, what);
            problems.push(problem.expected("`region` in the policy, or `--region` at the start"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The files that are meant, directories resolved.
///
/// * `reading`: where directories that cannot be listed are told of.
fn list(paths: &[PathBuf], reading: &mut Reading) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => {
                let mut inside: Vec<PathBuf> =
                    entries.iter().map(std::fs::DirEntry::path).filter(|path| is_policy(path)).collect();
                inside.sort();
                files.extend(inside);
            }
            Err(error) => reading.unreadable(path, &error),
        }
    }
    files
}

fn is_policy(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "hcl") && path.is_file()
}

/// What a look at the files shows without reading them.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

fn stamp(paths: &[PathBuf]) -> Stamp {
    let with_date = |path: PathBuf| {
        let seen = std::fs::metadata(&path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
        (path, seen)
    };
    list(paths, &mut Reading::default()).into_iter().map(with_date).collect()
}

/// What somebody who ordered a reload is told: how many fleets there are, or what is wrong.
pub(crate) type ReloadReply = oneshot::Sender<Result<usize, String>>;

/// Watches policy files for as long as the daemon lives.
pub(crate) struct Watcher {
    pub(crate) paths: Vec<PathBuf>,
    /// Zero: only when ordered.
    pub(crate) every: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) orders: Receiver<Envelope<ReloadReply>>,
    pub(crate) happened: UnboundedSender<Envelope<Happened>>,
    /// What was last judged, good or bad: it is not judged again.
    pub(crate) judged: Reading,
    /// The region of policies that name none, where whoever started the daemon said so.
    pub(crate) region: Option<Region>,
    /// Knows it otherwise.
    pub(crate) connect: Arc<dyn Connect>,
}

impl Watcher {
    /// Runs until nobody can order anything any more.
    pub(crate) async fn run(mut self) {
        let mut looks = 0_u32;
        let mut seen = stamp(&self.paths);
        loop {
            let order = if self.every.is_zero() {
                self.orders.recv().await
            } else {
                let wake = self.activity.sleep(&*self.clock, self.clock.monotonic() + self.every);
                tokio::select! {
                    order = self.orders.recv() => order,
                    busy = wake => {
                        looks = looks.wrapping_add(1);
                        let now = stamp(&self.paths);
                        if now != seen || looks.is_multiple_of(READ_EVERY) {
                            seen = now;
                            self.look(busy).await;
                        }
                        continue;
                    }
                }
            };
            let Some(Envelope { what: reply, busy }) = order else { return };
            let read = self.read().await;
            let result = self.judge(read, busy).await;
            // Whoever asked may have gone.
            let _ = reply.send(result);
        }
    }

    /// Judges the files if their contents have changed and stay as they are for a moment.
    async fn look(&mut self, busy: Busy) {
        let before = self.read().await;
        if before == self.judged {
            return;
        }
        let settled = self.activity.sleep(&*self.clock, self.clock.monotonic() + SETTLED_AFTER);
        drop(busy);
        let busy = settled.await;
        let after = self.read().await;
        // What is still changing is met again by the next look: its date is new, or its turn comes.
        if after == before {
            let _ = self.judge(after, busy).await;
        }
    }

    async fn read(&self) -> Reading {
        let paths = self.paths.clone();
        // Files may lie on a network.
        match tokio::task::spawn_blocking(move || read(&paths)).await {
            Ok(reading) => reading,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn judge(&mut self, reading: Reading, busy: Busy) -> Result<usize, String> {
        let (paths, judging) = (self.paths.clone(), reading.clone());
        let judged = tokio::task::spawn_blocking(move || judge(&paths, &judging)).await;
        let mut set = judged.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.judged = reading;
        if let Ok(PolicySet { fleets, .. }) = &mut set
            && let Err(problems) = settle_regions(fleets, self.region.as_ref(), &*self.connect).await
        {
            set = Err(problems);
        }
        let (happened, result) = match set {
            Ok(PolicySet { fleets, warnings }) => {
                warn(&warnings);
                let count = fleets.len();
                tracing::info!(fleets = count, "loaded policies");
                (Happened::PoliciesLoaded(fleets), Ok(count))
            }
            Err(problems) => {
                let problems = problems.to_string();
                tracing::error!(%problems, "kept the policies of before, as the newer ones are wrong");
                (Happened::PoliciesRejected { problems: problems.clone() }, Err(problems))
            }
        };
        // Without an engine there is nobody to tell.
        let _ = self.happened.send(Envelope { what: happened, busy });
        result
    }
}

/// Logs what is allowed but likely not meant.
pub(crate) fn warn(warnings: &Problems) {
    if !warnings.is_empty() {
        tracing::warn!(%warnings, "loaded policies that may not mean what they say");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("it is written");
        read(&[file.path().to_owned()]).problems.to_string()
    }

    #[test]
    fn what_is_too_large_or_no_text_is_named() {
        // Cut anywhere, this is no valid text any more: it is its size that counts.
        let large = "\u{e4}".repeat(600_000);
        assert!(
            told(large.as_bytes()).ends_with("larger than 1 MiB; fleets may be spread over several files")
        );
        assert!(told(b"fleet \"\xff\" {}").ends_with("not UTF-8 text"));
    }

    #[test]
    fn a_pipe_that_never_ends_is_not_read_for_ever() {
        let endless = read(&[PathBuf::from("/dev/zero")]).problems.to_string();
        assert!(endless.starts_with("/dev/zero: larger than 1 MiB"), "{endless}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_when_nobody_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe.hcl");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("`mkfifo` runs");
        assert!(made.success());
        let error = read_one(&path, Duration::from_millis(20)).expect_err("nobody writes");
        assert_eq!(error.to_string(), "nobody has written to it for 20ms");

        let text = "# policies\n".repeat(20_000);
        let (to, what) = (path.clone(), text.clone());
        let writer = std::thread::spawn(move || std::fs::write(to, what));
        assert_eq!(read_one(&path, Duration::from_secs(60)).expect("it is read"), text);
        writer.join().expect("no panic").expect("it is written");
    }

    #[test]
    fn a_file_that_cannot_be_read_hides_no_problem_of_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("good.hcl"), "fleet \"web\" {\n id = \"sfr-1\"\n}\n").expect("a file");
        std::fs::write(at("odd.hcl"), "fleet \"api\" {\n di = 7\n}\n").expect("a file");
        let problems = load(&[at("good.hcl"), at("gone.hcl"), at("odd.hcl")]).expect_err("two are wrong");
        let errors: Vec<_> = problems
            .iter()
            .filter(|problem| problem.severity == autoscaler_policy::Severity::Error)
            .map(|problem| (problem.file.rsplit('/').next().unwrap_or_default(), problem.line))
            .collect();
        assert_eq!(errors, [("gone.hcl", 0), ("odd.hcl", 2)], "{problems}");
        assert!(load(&[at("good.hcl"), at("gone.hcl")]).is_err(), "a file that is missing is missed");
        assert!(load(&[at("good.hcl")]).is_ok());
    }

    #[test]
    fn policies_without_any_fleet_are_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        let problems = load(&[directory.path().to_owned()]).expect_err("nothing is named");
        assert!(problems.to_string().contains(": no fleet is named; expected a `fleet` block"), "{problems}");
        std::fs::write(directory.path().join("web.hcl"), "# all gone\n").expect("a file");
        assert!(load(&[directory.path().to_owned()]).is_err(), "nor by a file of comments");
    }
}
