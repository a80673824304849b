//! The journal's thread: SQLite blocks, and nothing may wait for it that need not.

use crate::idle::{Activity, Busy};
use crate::queue::{Envelope, Happened};
use autoscaler_engine::{BatchId, Entry};
use autoscaler_journal::codec::{Encoded, decode};
use autoscaler_journal::{Journal, JournalError, Limits, Opened, SetAside, StateDir};
use fleet::Timestamp;
pub(crate) use fleet::chain;
use fleet::ports::Clock;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Entries that may wait for the disk: an entry is one fleet's share of one cycle. A disk that is four minutes
/// behind a thousand fleets, or two days behind one, has failed.
const MOST_WAITING: usize = 25_000;
/// The distance of rounds of packing and dropping.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How long after a failure a lost journal is looked for again.
const REOPEN_AFTER: Duration = Duration::from_secs(30);
/// Entries on their way from the thread to the engine at a restore: bounds the memory of it.
const RESTORE_AHEAD: usize = 256;

/// Records on their way to the disk.
struct Job {
    batch: BatchId,
    durable: bool,
    entries: Vec<Entry>,
    busy: Busy,
}

/// Where batches of records go.
pub(crate) struct Recorder {
    jobs: Option<mpsc::Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    happened: UnboundedSender<Envelope<Happened>>,
    activity: Arc<Activity>,
}

/// Ends when the thread has: its files are closed and its lock is free.
pub(crate) type ThreadEnd = tokio::sync::oneshot::Receiver<()>;

/// A journal's thread that has just begun: what it read comes out of `restored`.
pub(crate) struct Beginning {
    /// Each fleet's entries in order.
    pub(crate) restored: mpsc::Receiver<Entry>,
    pub(crate) ended: ThreadEnd,
}

impl Recorder {
    /// Takes the state directory and starts the thread. Without a directory records go nowhere, with success.
    ///
    /// Fails when the directory is another process's or cannot be written; a journal that is damaged or has no
    /// space is the thread's business.
    pub(crate) fn start(
        directory: Option<&Path>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        happened: UnboundedSender<Envelope<Happened>>,
        activity: Arc<Activity>,
    ) -> Result<(Self, Beginning), crate::StartError> {
        let (restored_in, restored) = mpsc::sync_channel(RESTORE_AHEAD);
        let (ended_in, ended) = tokio::sync::oneshot::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut recorder = Self { jobs: None, waiting, happened, activity };
        if let Some(directory) = directory {
            let state = StateDir::take(directory)?;
            let opened = open(&state, limits, clock.wall())?;
            let (jobs_in, jobs) = mpsc::channel();
            let thread = Thread {
                journal: opened,
                last_failure: None,
                untold: None,
                tidied: clock.monotonic(),
                state,
                limits,
                clock,
                waiting: Arc::clone(&recorder.waiting),
                happened: recorder.happened.clone(),
                activity: Arc::clone(&recorder.activity),
            };
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || {
                    thread.run(restored_in, &jobs);
                    // Nobody may be left to hear it.
                    let _ = ended_in.send(());
                })
                .map_err(crate::StartError::Thread)?;
            recorder.jobs = Some(jobs_in);
        }
        Ok((recorder, Beginning { restored, ended }))
    }

    /// Hands a batch to the thread; the answer comes as [`Happened::Recorded`].
    pub(crate) fn record(&self, batch: BatchId, durable: bool, entries: Vec<Entry>) {
        let busy = self.activity.begin();
        let Some(jobs) = &self.jobs else { return answer(&self.happened, batch, Ok(()), busy) };
        let count = entries.len();
        if self.waiting.fetch_add(count, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            return answer(&self.happened, batch, Err("the disk does not keep up".to_owned()), busy);
        }
        if let Err(mpsc::SendError(job)) = jobs.send(Job { batch, durable, entries, busy }) {
            answer(&self.happened, job.batch, Err("the journal's thread has ended".to_owned()), job.busy);
        }
    }
}

fn answer(
    happened: &UnboundedSender<Envelope<Happened>>,
    batch: BatchId,
    result: Result<(), String>,
    busy: Busy,
) {
    // Without an engine nobody waits for the answer.
    let _ = happened.send(Envelope { what: Happened::Recorded { batch, result }, busy });
}

/// Opens the journal; a full disk is no reason not to start.
fn open(state: &StateDir, limits: Limits, now: Timestamp) -> Result<Option<Journal>, JournalError> {
    match Journal::open(state, limits, now) {
        Ok(Opened { journal, set_aside }) => {
            report(set_aside.as_ref());
            Ok(Some(journal))
        }
        Err(error @ (JournalError::Full { .. } | JournalError::Database { .. })) => {
            tracing::error!(error = %chain(&error), "started without a journal");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn report(set_aside: Option<&SetAside>) {
    if let Some(SetAside { path, why }) = set_aside {
        tracing::error!(path = %path.display(), %why, "set a damaged journal aside and began a fresh one");
    }
}

/// What lives on the thread.
struct Thread {
    /// `None` while there is none to be had.
    journal: Option<Journal>,
    last_failure: Option<Duration>,
    /// A loss that the engine has not been told of: the next batch fails with it, and the engine begins anew with
    /// checkpoints.
    untold: Option<String>,
    tidied: Duration,
    state: StateDir,
    limits: Limits,
    clock: Arc<dyn Clock>,
    waiting: Arc<AtomicUsize>,
    happened: UnboundedSender<Envelope<Happened>>,
    activity: Arc<Activity>,
}

impl Thread {
    fn run(mut self, restored: mpsc::SyncSender<Entry>, jobs: &mpsc::Receiver<Job>) {
        self.restore(&restored);
        // The engine begins once nothing more can come.
        drop(restored);
        let mut more_to_tidy = false;
        loop {
            // While there is packing to do, it is done between jobs and not instead of them.
            let first = if more_to_tidy { jobs.try_recv().ok() } else { jobs.recv().ok() };
            match first {
                // Everything that waits goes into one transaction: one fsync serves all.
                Some(first) => self.write(std::iter::once(first).chain(jobs.try_iter()).collect()),
                None if more_to_tidy => {}
                None => return,
            }
            more_to_tidy = self.tidy(more_to_tidy);
        }
    }

    fn restore(&mut self, restored: &mpsc::SyncSender<Entry>) {
        let Some(journal) = &self.journal else { return };
        let outcome = journal.restore(|stream, stored| {
            // An engine that is gone wants nothing more.
            let _ = restored.send(decode(stream, &stored)?);
            Ok(())
        });
        if let Err(error) = outcome {
            // What came before the damage is worth having: orders, removals under way, the load. It is as if the
            // daemon had died then. The engine begins the fresh journal with what it makes of it.
            tracing::error!(error = %chain(&error), "could not restore all of the journal");
            self.untold = Some(chain(&error));
            self.failed(&error);
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        let count: usize = jobs.iter().map(|job| job.entries.len()).sum();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = match self.untold.take() {
            Some(lost) => Err(lost),
            None => self.append_contained(&jobs),
        };
        for Job { batch, busy, .. } in jobs {
            answer(&self.happened, batch, result.clone(), busy);
        }
    }

    /// Appends; a failure or a panic in here concerns these jobs alone.
    fn append_contained(&mut self, jobs: &[Job]) -> Result<(), String> {
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.append(jobs))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.failed(&error);
                Err(chain(&error))
            }
            Err(_) => {
                self.journal = None;
                Err("the journal panicked".to_owned())
            }
        }
    }

    fn append(&mut self, jobs: &[Job]) -> Result<(), JournalError> {
        let durable = jobs.iter().any(|job| job.durable);
        // Encoded one by one: a thousand checkpoints at once are not in memory twice.
        self.reopened()?.append_with(durable, |tick| {
            let mut entries = jobs.iter().flat_map(|job| &job.entries);
            entries.try_for_each(|entry| tick.push(Encoded::of(entry)?.entry()))
        })
    }

    /// The journal; looked for again where it was lost, but not all the time.
    fn reopened(&mut self) -> Result<&mut Journal, JournalError> {
        let now = self.clock.monotonic();
        let soon = self.last_failure.is_some_and(|at| now < at + REOPEN_AFTER);
        if self.journal.is_none() && !soon {
            self.last_failure = Some(now);
            let Opened { journal, set_aside } = Journal::open(&self.state, self.limits, self.clock.wall())?;
            report(set_aside.as_ref());
            self.journal = Some(journal);
        }
        self.journal.as_mut().ok_or(JournalError::Full { action: "open the journal" })
    }

    /// Deals with a failure: a damaged file is replaced at once, so that the next batch finds a sound one.
    fn failed(&mut self, error: &JournalError) {
        self.last_failure = Some(self.clock.monotonic());
        if !error.is_unreadable() {
            return;
        }
        let Some(damaged) = self.journal.take() else { return };
        match damaged.replace_damaged(self.clock.wall(), error) {
            Ok(Opened { journal, set_aside }) => {
                report(set_aside.as_ref());
                self.journal = Some(journal);
            }
            Err(error) => tracing::error!(error = %chain(&error), "could not replace a damaged journal"),
        }
    }

    /// A round of packing and dropping now and then; at once again while there is more.
    fn tidy(&mut self, more: bool) -> bool {
        let now = self.clock.monotonic();
        if !more && now < self.tidied + TIDY_EVERY {
            return false;
        }
        self.tidied = now;
        let Some(journal) = &mut self.journal else { return false };
        // Counts as work: a simulated day packs what a real one would.
        let _busy = self.activity.begin();
        match journal.tidy(self.clock.wall()) {
            Ok(tidied) => {
                if tidied.over_limit {
                    tracing::warn!("the journal is over its limit and may drop nothing more");
                }
                tidied.more
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "could not tidy the journal");
                if error.is_unreadable() {
                    self.untold = Some(chain(&error));
                }
                self.failed(&error);
                false
            }
        }
    }
}
