//! Asking by files: a directory of requests, one of answers.
//!
//! A path unit starts the one who serves whenever there is a request; nothing listens in between. Requests belong to the
//! agent's user, answers to root.

use super::{Answering, Done, Hands, Host, HostError, Request, Units};
use crate::progress::{UNFINISHED, sweep};
use crate::whole::{self, Manner};
use fleet::ErrorClass;
use fleet::ports::Clock;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No configuration of an agent is larger.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024;
/// How often an answer is looked for: what is asked for takes longer.
const LOOKS: Duration = Duration::from_millis(20);
/// A package may take its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The agent's side.
pub struct Spool {
    requests: PathBuf,
    answers: PathBuf,
    clock: Arc<dyn Clock>,
    /// Tells this start's requests from those of the one before.
    start: i64,
    count: AtomicU64,
}

impl Spool {
    /// A spool below a directory; makes what is missing of the agent's part.
    pub fn open(root: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let requests = root.join("requests");
        DirBuilder::new().recursive(true).mode(0o700).create(&requests)?;
        // What was never asked may hold secrets; what was, and not done, nobody waits for any more.
        sweep(&requests, UNFINISHED)?;
        let start = clock.wall().millis();
        Ok(Self { requests, answers: root.join("answers"), clock, start, count: AtomicU64::new(0) })
    }

    async fn asked(&self, request: Request) -> Result<Done, HostError> {
        let name = format!("{}-{:06}.json", self.start, self.count.fetch_add(1, Ordering::Relaxed));
        let there =
            |error: io::Error| HostError::new(&request, ErrorClass::Transient, format_args!("{error}"));
        let text = serde_json::to_vec(&request).map_err(|error| there(error.into()))?;
        let text = zeroize::Zeroizing::new(text);
        let manner = Manner { unfinished: UNFINISHED, mode: None, owner: None, durable: false };
        whole::write(&self.requests.join(&name), &text, manner).map_err(there)?;
        let answer = self.answers.join(&name);
        let until = self.clock.monotonic() + PATIENCE;
        loop {
            match read_file(&answer) {
                Ok(text) => {
                    return serde_json::from_slice::<Result<Done, HostError>>(&text)
                        .map_err(|error| HostError::new(&request, ErrorClass::Malformed, error))?;
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(there(error)),
                Err(_) if self.clock.monotonic() >= until => {
                    // Nobody should do it when nobody waits for it any more.
                    let taken = fs::remove_file(self.requests.join(&name)).is_err();
                    let class = if taken { ErrorClass::Unclear } else { ErrorClass::Transient };
                    let why = "nobody has answered: is muster-host.path active?";
                    return Err(HostError::new(&request, class, why));
                }
                Err(_) => self.clock.sleep_until(self.clock.monotonic() + LOOKS).await,
            }
        }
    }
}

impl Host for Spool {
    fn ask(&self, request: Request) -> Answering<'_> {
        Box::pin(self.asked(request))
    }
}

/// Root's side: answers every request that is there, in their order, and returns.
///
/// * `asker`: the user whose files are taken: the agent's.
/// * returns: how many were answered.
///
/// A request is removed before it is carried out: one that makes this process die is not tried again and again.
/// Answers of earlier starts of the agent are removed.
pub fn serve<U: Units>(root: &Path, asker: u32, hands: &Hands<U>) -> io::Result<usize> {
    let (requests, answers) = (root.join("requests"), root.join("answers"));
    DirBuilder::new().recursive(true).create(&answers)?;
    // The agent finds its answers by their names, whatever the mask is here.
    fs::set_permissions(&answers, fs::Permissions::from_mode(0o711))?;
    let mut answered = 0;
    loop {
        let mut names = Vec::new();
        for entry in fs::read_dir(&requests)? {
            let name = entry?.file_name();
            names.extend(name.to_str().filter(|name| is_request(name)).map(str::to_owned));
        }
        names.sort();
        let Some(name) = names.into_iter().next() else { return Ok(answered) };
        let path = requests.join(&name);
        let request = take(&path, asker);
        fs::remove_file(&path)?;
        let outcome = match request {
            Ok(request) => hands.carry_out(&request),
            Err(why) => {
                tracing::warn!(request = name, why, "refused a request");
                Err(HostError {
                    request: "understand a request".to_owned(),
                    why,
                    class: ErrorClass::Malformed,
                })
            }
        };
        match &outcome {
            Ok(done) => tracing::info!(request = name, ?done, "carried a request out"),
            Err(error) => tracing::warn!(request = name, %error, "did not carry a request out"),
        }
        forget_others(&answers, &name)?;
        answer(&answers, &name, &outcome)?;
        answered += 1;
    }
}

/// `START-COUNT.json`: anything else may be on its way to become one.
fn is_request(name: &str) -> bool {
    let stem = name.strip_suffix(".json").unwrap_or_default();
    !stem.is_empty() && stem.chars().all(|c| c.is_ascii_digit() || c == '-')
}

fn take(path: &Path, asker: u32) -> Result<Request, String> {
    // Never through a symbolic link, and never waiting for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
    if !metadata.is_file() || owner != asker {
        return Err(format!("it is not a file of the agent's: its owner is {owner}"));
    }
    if metadata.len() > MAX_REQUEST_BYTES {
        return Err(format!("it is larger than {MAX_REQUEST_BYTES} bytes"));
    }
    let mut text = zeroize::Zeroizing::new(Vec::new());
    file.take(MAX_REQUEST_BYTES).read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn answer(answers: &Path, name: &str, outcome: &Result<Done, HostError>) -> io::Result<()> {
    // It holds no secret, and the agent is another user.
    let manner = Manner { unfinished: UNFINISHED, mode: Some(0o644), owner: None, durable: false };
    whole::write(&answers.join(name), &serde_json::to_vec(outcome)?, manner)
}

/// Removes answers that nobody waits for: those of other starts of the agent.
fn forget_others(answers: &Path, name: &str) -> io::Result<()> {
    let start = name.split('-').next().unwrap_or_default();
    for entry in fs::read_dir(answers)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(start) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_REQUEST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}
