//! Policy files: read, watched, reloaded.
//!
//! Files are looked at every few seconds instead of being watched through the kernel: that works the same for
//! editors that write a new file and rename it, for Kubernetes' and Nomad's directories of symbolic links, for
//! network file systems, and for files that do not exist yet; and the worst that a poll can miss is five seconds.

use crate::idle::{Activity, Busy};
use crate::queue::{Envelope, Happened};
use autoscaler_policy::{File, PolicySet};
use fleet::ports::Clock;
use std::io::{ErrorKind, Read};
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

/// The policies of some files, and what they were read from.
#[derive(Debug)]
pub struct Loaded {
    /// The policies, with what is worth a warning.
    pub set: PolicySet,
    /// The files' contents.
    pub files: Vec<File>,
}

/// Reads and validates policies.
///
/// * `paths`: files, and directories whose `*.hcl` files are read in the order of their names; hidden files are
///   left out.
/// * Fails with everything that is wrong, rendered for people.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, String> {
    let files = read(paths)?;
    match autoscaler_policy::load(&files) {
        Ok(set) => Ok(Loaded { set, files }),
        Err(problems) => Err(problems.to_string()),
    }
}

/// Reads policy files without judging them.
///
/// * `paths`: as for [`load`].
/// * Fails with every file that cannot be read, a line each.
pub fn read(paths: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in list(paths, &mut problems) {
        match read_one(&path) {
            Ok(text) => files.push(File { name: path.display().to_string(), text }),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems.join("\n")) }
}

fn read_one(path: &Path) -> std::io::Result<String> {
    // Not by the length that the file system tells: a pipe has none.
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let why = "larger than 1 MiB; fleets may be spread over several files";
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}

/// The files that are meant, directories resolved.
fn list(paths: &[PathBuf], problems: &mut Vec<String>) -> Vec<PathBuf> {
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
            Err(error) => problems.push(format!("{}: {error}", path.display())),
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
    list(paths, &mut Vec::new()).into_iter().map(with_date).collect()
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
    pub(crate) judged: Result<Vec<File>, String>,
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

    async fn read(&self) -> Result<Vec<File>, String> {
        let paths = self.paths.clone();
        // Files may lie on a network.
        match tokio::task::spawn_blocking(move || read(&paths)).await {
            Ok(read) => read,
            Err(error) => Err(error.to_string()),
        }
    }

    async fn judge(&mut self, read: Result<Vec<File>, String>, busy: Busy) -> Result<usize, String> {
        let judged = read.clone();
        let set = match read {
            Ok(files) => {
                let judging =
                    move || autoscaler_policy::load(&files).map_err(|problems| problems.to_string());
                match tokio::task::spawn_blocking(judging).await {
                    Ok(judged) => judged,
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(problems) => Err(problems),
        };
        self.judged = judged;
        let (happened, result) = match set {
            Ok(PolicySet { fleets, warnings }) => {
                warn(&warnings);
                let count = fleets.len();
                tracing::info!(fleets = count, "loaded policies");
                (Happened::PoliciesLoaded(fleets), Ok(count))
            }
            Err(problems) => {
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
pub(crate) fn warn(warnings: &autoscaler_policy::Problems) {
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
        read(&[file.path().to_owned()]).expect_err("it is no policy file")
    }

    #[test]
    fn what_is_too_large_or_no_text_is_named() {
        // Cut anywhere, this is no valid text any more: it is its size that counts.
        let large = "\u{e4}".repeat(600_000);
        assert!(told(large.as_bytes()).ends_with("larger than 1 MiB; fleets may be spread over several files"));
        assert!(told(b"fleet \"\xff\" {}").ends_with("not UTF-8 text"));
    }

    #[test]
    fn a_pipe_that_never_ends_is_not_read_for_ever() {
        let endless = read(&[PathBuf::from("/dev/zero")]).expect_err("it is no policy file");
        assert!(endless.starts_with("/dev/zero: larger than 1 MiB"), "{endless}");
    }
}
