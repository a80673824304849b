//! Asking by files: a directory of requests, one of answers.
//!
//! A path unit starts the one who serves whenever there is a request; nothing listens in between. Requests belong to the
//! agent's user, answers to root.
//!
//! Requests are carried out one after the other, but for those that cannot wait: a client of Nomad that is to leave has
//! two minutes, and a package, or a unit that is slow to stop, may take as long. Those are done beside what is under way.

use super::{Answering, Done, Hands, Host, HostError, Request, Units};
use crate::progress::{UNFINISHED, sweep};
use crate::whole::{self, Manner};
use bootstrap_vault::Wiped;
use fleet::ErrorClass;
use fleet::ports::Clock;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// So many answers are left: more than an agent waits for at once. It looks at files all day long.
const MOST_ANSWERS: u64 = 64;
/// No configuration of an agent is larger.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024;
/// How often an answer is looked for: what is asked for takes longer. And so does root for what cannot wait.
const LOOKS: Duration = Duration::from_millis(10);
/// A package may take its time.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the name of a request ends with that cannot wait.
const URGENT: &str = "-now";
/// What the name of a request begins with once it is being carried out. The path unit sees it, too: where whoever was at
/// it is killed, another one starts, and says so.
const BEGUN: &str = "begun-";

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
        // What was never asked may hold secrets; what was, and not begun, nobody waits for any more. But a client of Nomad
        // that is to leave is: that it was told stands in a mark.
        sweep(&requests, UNFINISHED)?;
        for name in names(&requests)? {
            if is_request(&name) && !is_urgent(&name) {
                remove(&requests.join(name))?;
            }
        }
        let start = clock.wall().millis();
        Ok(Self { requests, answers: root.join("answers"), clock, start, count: AtomicU64::new(0) })
    }

    async fn asked(&self, request: Request) -> Result<Done, HostError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let urgent = if request.is_urgent() { URGENT } else { "" };
        let name = format!("{}-{count:06}{urgent}.json", self.start);
        let there =
            |error: io::Error| HostError::new(&request, ErrorClass::Transient, format_args!("{error}"));
        // It may hold secrets.
        let mut text = Wiped::new(usize::MAX);
        serde_json::to_writer(&mut text, &request).map_err(|error| there(error.into()))?;
        let manner = Manner { unfinished: UNFINISHED, mode: None, owner: None, durable: false };
        let place = self.requests.join(&name);
        whole::write(&place, text.as_slice(), manner).map_err(there)?;
        let _withdrawn = request.is_question().then(|| Withdrawn(place.clone()));
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
                    let taken = fs::remove_file(&place).is_err();
                    let class = if taken { ErrorClass::Unclear } else { ErrorClass::Transient };
                    let why = "nobody has answered: is muster-host.path active?";
                    return Err(HostError::new(&request, class, why));
                }
                Err(_) => self.clock.sleep_until(self.clock.monotonic() + LOOKS).await,
            }
        }
    }
}

/// A question: once nobody waits for it any more, it is answered by nobody.
struct Withdrawn(PathBuf);

impl Drop for Withdrawn {
    fn drop(&mut self) {
        // Gone already, where root took it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Host for Spool {
    fn ask(&self, request: Request) -> Answering<'_> {
        Box::pin(self.asked(request))
    }
}

/// Root's side: answers every request that is there, and returns. In their order, but for those that cannot wait.
///
/// * `asker`: the user whose files are taken: the agent's.
/// * returns: how many were answered.
///
/// A request is renamed before it is carried out: one that makes this process die is not tried again and again, and whoever
/// comes next answers that it may have been done. Answers of earlier starts of the agent are removed, and those of long ago; and
/// so is what is no request and has the name of one: it would have this started again for ever.
///
/// The names of both directories are the asker's to change. They are opened, never by a link, and looked at before anything is done
/// in them; from then on it is done in what was opened.
pub fn serve<U: Units>(root: &Path, asker: u32, hands: &Hands<U>) -> io::Result<usize> {
    let ours = rustix::process::geteuid().as_raw();
    let within = opened(root.parent().unwrap_or(Path::new("/")), OFlags::empty())?;
    let name = root.file_name().ok_or_else(|| io::Error::other("a spool has a name"))?;
    let root = own(&within, Path::new(name), &[asker, ours])?;
    let requests = own(&root, Path::new("requests"), &[asker, ours])?;
    let answers = answers_in(&root, ours)?;
    // The agent finds its answers by their names, whatever the mask is here.
    rustix::fs::fchmod(&answers, Mode::from_raw_mode(0o711))?;
    let desk = Desk {
        requests: place_of(&requests),
        answers: place_of(&answers),
        asker,
        hands,
        answering: Mutex::default(),
    };
    let mut answered = desk.cut_off()?;
    loop {
        answered += desk.urgent()?;
        let Some(name) = desk.first(|name| !is_urgent(name))? else { return Ok(answered) };
        answered += desk.in_turn(&name)?;
    }
}

/// Waits for a request. * returns: whether there is one; not, where none has come for so long.
pub fn is_asked(root: &Path, within: Duration) -> bool {
    let requests = root.join("requests");
    let looks = within.as_millis() / LOOKS.as_millis();
    (0..looks).any(|_| {
        thread::sleep(LOOKS);
        names(&requests).is_ok_and(|names| names.iter().any(|name| is_request(name)))
    })
}

/// Opens a directory. * `more`: how.
fn opened(path: &Path, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a directory in another one that one of the owners has. What else has its name, a link say, is removed: not what it leads to.
fn own(parent: &OwnedFd, name: &Path, owners: &[u32]) -> io::Result<OwnedFd> {
    let path = place_of(parent).join(name);
    let what =
        |why: &str| io::Error::other(format!("{}, beneath the agent's run directory: {why}", name.display()));
    let directory = opened(&path, OFlags::NOFOLLOW).map_err(|error| {
        // A directory stays: this removes none.
        let removed = error.kind() != io::ErrorKind::NotFound && fs::remove_file(&path).is_ok();
        if removed { what("it was no directory, and is removed") } else { error }
    })?;
    let owner = rustix::fs::fstat(&directory)?.st_uid;
    if owners.contains(&owner) { Ok(directory) } else { Err(what(&format!("its owner is {owner}"))) }
}

/// Root's own directory of answers. One of somebody else's is removed: refused alone, it would have this started again for ever.
fn answers_in(root: &OwnedFd, ours: u32) -> io::Result<OwnedFd> {
    let name = Path::new("answers");
    let path = place_of(root).join(name);
    if fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir() && there.uid() != ours) {
        tracing::warn!("removed a directory of answers that is not root's");
        remove(&path)?;
    }
    match DirBuilder::new().create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    own(root, name, &[ours])
}

/// A path that leads to what was opened, whatever has its name by now.
fn place_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// Where requests are carried out.
struct Desk<'a, U> {
    requests: PathBuf,
    answers: PathBuf,
    asker: u32,
    hands: &'a Hands<U>,
    /// Held by whoever writes an answer, and clears away others.
    answering: Mutex<()>,
}

impl<U: Units> Desk<'_, U> {
    /// Answers for those that somebody was at who was killed. * returns: how many.
    fn cut_off(&self) -> io::Result<usize> {
        for entry in fs::read_dir(&self.requests)? {
            let name = entry?.file_name();
            // The path unit sees it, and nobody here could name it.
            if name.to_str().is_none() && name.as_bytes().ends_with(b".json") {
                remove(&self.requests.join(name))?;
            }
        }
        let mut answered = 0;
        for name in names(&self.requests)? {
            let Some(request) = name.strip_prefix(BEGUN).filter(|name| is_request(name)) else {
                if name.strip_suffix(".json").is_some() && !is_request(&name) {
                    tracing::warn!(name, "removed what is no request");
                    remove(&self.requests.join(name))?;
                }
                continue;
            };
            let begun = self.requests.join(&name);
            if !fs::exists(self.answers.join(request))? {
                let why = "whoever did it was ended in the middle of it";
                let outcome = Err(take(&begun, self.asker).map_or_else(
                    |_| misunderstood(why.to_owned()),
                    |asked| HostError::new(&asked, ErrorClass::Unclear, why),
                ));
                self.answer(request, &outcome)?;
                answered += 1;
            }
            remove(&begun)?;
        }
        Ok(answered)
    }

    /// Carries out what cannot wait. * returns: how many.
    fn urgent(&self) -> io::Result<usize> {
        let mut answered = 0;
        while let Some(name) = self.first(is_urgent)? {
            answered += self.one(&name)?;
        }
        Ok(answered)
    }

    /// Carries one out, and whatever comes meanwhile that cannot wait. * returns: how many.
    fn in_turn(&self, name: &str) -> io::Result<usize> {
        thread::scope(|scope| {
            let (end, ended) = channel::<()>();
            let work = scope.spawn(move || {
                let _end = end;
                self.one(name)
            });
            let mut urgent: io::Result<usize> = Ok(0);
            while ended.recv_timeout(LOOKS) == Err(RecvTimeoutError::Timeout) {
                urgent = urgent.and_then(|before| Ok(before + self.urgent()?));
            }
            let own = work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(own + urgent?)
        })
    }

    /// The first request of some.
    fn first(&self, of: impl Fn(&str) -> bool) -> io::Result<Option<String>> {
        let names = names(&self.requests)?.into_iter();
        Ok(names.filter(|name| is_request(name) && of(name)).min())
    }

    /// Carries one out, and answers. * returns: 0 where its asker has just given up.
    fn one(&self, name: &str) -> io::Result<usize> {
        let begun = self.requests.join(format!("{BEGUN}{name}"));
        match fs::rename(self.requests.join(name), &begun) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            renamed => renamed?,
        }
        let request = take(&begun, self.asker).and_then(|request| {
            // Others are done in their order.
            let is_due = request.is_urgent() || !is_urgent(name);
            is_due.then_some(request).ok_or_else(|| "it is none that cannot wait".to_owned())
        });
        let outcome = match request {
            Ok(request) => self.hands.carry_out(&request),
            Err(why) => {
                tracing::warn!(request = name, why, "refused a request");
                Err(misunderstood(why))
            }
        };
        match &outcome {
            Ok(done) => tracing::info!(request = name, ?done, "carried a request out"),
            Err(error) => tracing::warn!(request = name, %error, "did not carry a request out"),
        }
        self.answer(name, &outcome)?;
        remove(&begun)?;
        Ok(1)
    }

    fn answer(&self, name: &str, outcome: &Result<Done, HostError>) -> io::Result<()> {
        let _alone = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        forget_others(&self.answers, name)?;
        // It holds no secret, and the agent is another user.
        let manner = Manner { unfinished: UNFINISHED, mode: Some(0o644), owner: None, durable: false };
        whole::write(&self.answers.join(name), &serde_json::to_vec(outcome)?, manner)
    }
}

fn misunderstood(why: String) -> HostError {
    HostError { request: "understand a request".to_owned(), why, class: ErrorClass::Malformed }
}

/// What is in a directory, as far as it is text.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Removes whatever has a name. * returns: without a word where there is nothing.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// `START-COUNT.json`, or `START-COUNT-now.json`: anything else may be on its way to become one.
fn is_request(name: &str) -> bool {
    let stem = name.strip_suffix(".json").unwrap_or_default();
    let stem = stem.strip_suffix(URGENT).unwrap_or(stem);
    !stem.is_empty() && stem.chars().all(|c| c.is_ascii_digit() || c == '-')
}

fn is_urgent(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|stem| stem.ends_with(URGENT))
}

fn take(path: &Path, asker: u32) -> Result<Request, String> {
    // Never through a symbolic link, and never waiting for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let owner = metadata.uid();
    if !metadata.is_file() || owner != asker {
        return Err(format!("it is not a file of the agent's: its owner is {owner}"));
    }
    if metadata.len() > MAX_REQUEST_BYTES {
        return Err(format!("it is larger than {MAX_REQUEST_BYTES} bytes"));
    }
    let room = usize::try_from(metadata.len()).unwrap_or(0) + 64;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.take(metadata.len()).read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Removes answers that nobody waits for: those of other starts of the agent, and this one's of long ago.
fn forget_others(answers: &Path, name: &str) -> io::Result<()> {
    let (start, number) = parts(name);
    for entry in fs::read_dir(answers)? {
        let entry = entry?;
        let other = entry.file_name();
        let other = other.to_string_lossy();
        let (of, earlier) = parts(&other);
        if of != start || earlier.saturating_add(MOST_ANSWERS) <= number {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whose start a request is of, and its number there.
fn parts(name: &str) -> (&str, u64) {
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let mut parts = stem.split('-');
    let start = parts.next().unwrap_or_default();
    (start, parts.next().and_then(|number| number.parse().ok()).unwrap_or_default())
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_REQUEST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}
