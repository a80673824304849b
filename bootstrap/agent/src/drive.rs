//! Doing what the boot decides: one loop, in which everything that happens becomes an event.

use crate::progress::{Damaged, Store, StoreError};
use bootstrap_core::{
    Boot, Checked, Condition, Effect, Entry, Event, Failure, Inputs, Now, OnFailure, Plan, Report, Step, Work,
};
use fleet::ports::Clock;
use fleet::{ErrorClass, InstanceId};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// What has just been made may still be overtaken by what was under way before, such as the last word of a client that was
/// restarted: everything is looked at again so soon after the boot.
const FIRST_VERIFY: Duration = Duration::from_secs(20);

/// How soon a beat that was held back is thought of again: whoever waits for it does not wait for two.
const HELD_BACK: Duration = Duration::from_secs(1);

/// What a check answers.
pub type Looked = Result<(Checked, Inputs), Failure>;
/// What an application answers: what [`Entry::note`] is to keep.
pub type Made = Result<Option<String>, Failure>;

/// Whoever does the steps.
pub trait Works: Send + Sync + 'static {
    /// Looks at a step, and changes nothing.
    fn check(&self, step: Step, last: Option<Entry>) -> impl Future<Output = Looked> + Send;
    /// Makes it so. May be cut off anywhere; the next look finds out how far it came.
    fn apply(&self, step: Step, last: Option<Entry>, notes: Notes) -> impl Future<Output = Made> + Send;
    /// What a step that is under way waits for, in words.
    fn waits_for(&self, step: Step) -> Option<String>;
    /// Which instance this is, once that stands.
    fn instance(&self) -> Option<InstanceId>;
    /// How the steps are repeated, as far as that is known.
    fn plans(&self) -> BTreeMap<Step, Plan>;
    /// How often everything that stands is looked at again.
    fn verify_every(&self) -> Duration;
    /// A step could not be done: what that means is begun, and not waited for.
    fn act(&self, step: Step, policy: OnFailure, failure: &Failure);
    /// A step that had a consequence stands after all.
    fn recovered(&self, step: Step);
    /// The disk holds lines that are none, or progress of another instance.
    fn found_on_disk(&self, damaged: &[Damaged], others: &[InstanceId]);
    /// How far it is; said after everything that happened.
    fn report(&self, report: &Report);
}

/// What is noted of an application while it is under way.
#[derive(Debug)]
struct Noted {
    step: Step,
    attempt: u32,
    note: String,
    kept: oneshot::Sender<()>,
}

/// Keeps what an application must find again if it is cut short.
#[derive(Clone, Debug)]
pub struct Notes {
    step: Step,
    attempt: u32,
    to: mpsc::Sender<Noted>,
}

impl Notes {
    /// Notes that nobody keeps: for who applies a step by hand.
    #[doc(hidden)]
    pub fn nobody() -> Self {
        let (to, _) = mpsc::channel(1);
        Self { step: Step::Time, attempt: 0, to }
    }

    /// Writes a note, in place of the one before. It is on disk when this returns.
    ///
    /// Fails where the disk does not take it: then the step has failed already, and what was begun goes on by itself.
    pub async fn keep(&self, note: &str) -> Result<(), Failure> {
        let (kept, heard) = oneshot::channel();
        let noted = Noted { step: self.step, attempt: self.attempt, note: note.to_owned(), kept };
        let lost = || Failure::new(ErrorClass::Unclear, "what it must find again could not be written down");
        self.to.send(noted).await.map_err(|_| lost())?;
        heard.await.map_err(|_| lost())
    }
}

/// What somebody outside wants of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Everything is looked at now.
    Verify,
    /// It ends: what is under way is cut off.
    Stop,
}

/// The loop.
pub struct Driver<W> {
    boot: Boot,
    works: Arc<W>,
    store: Store,
    clock: Arc<dyn Clock>,
    running: JoinSet<Event>,
    /// What each task is at.
    under_way: BTreeMap<Id, UnderWay>,
    /// Whose progress is on disk, too: it is forgotten once everything stands, and so nothing of theirs is left.
    others: Vec<InstanceId>,
    instance: Option<InstanceId>,
    /// What was to be written before the instance was known.
    unwritten: Vec<Entry>,
    /// What each step failed with last, as the log has it.
    said: BTreeMap<Step, String>,
    next_verify: Duration,
    is_booted: bool,
    notes: mpsc::Sender<Noted>,
    noted: mpsc::Receiver<Noted>,
    pulse: Option<Pulse>,
}

/// What a task is at, and how it is cut off.
struct UnderWay {
    step: Step,
    work: Work,
    attempt: u32,
    since: Duration,
    task: AbortHandle,
}

/// Says that the loop is alive, so often.
struct Pulse {
    every: Duration,
    next: Duration,
    beat: Box<dyn Fn() -> bool + Send>,
}

impl<W: Works> Driver<W> {
    /// A loop that has not begun. * `seed`: of this node: spreads its pauses among those of the fleet.
    pub fn new(works: Arc<W>, store: Store, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let boot = Boot::new(&works.plans(), seed);
        let next_verify = clock.monotonic() + works.verify_every();
        // One at a time is under way of each step.
        let (notes, noted) = mpsc::channel(Step::ALL.len());
        Self {
            boot,
            works,
            store,
            clock,
            running: JoinSet::new(),
            under_way: BTreeMap::new(),
            others: Vec::new(),
            instance: None,
            unwritten: Vec::new(),
            said: BTreeMap::new(),
            next_verify,
            is_booted: false,
            notes,
            noted,
            pulse: None,
        }
    }

    /// Has the loop say that it is alive: from where everything is decided, so that one that hangs is missed.
    ///
    /// * `beat`: whether it was said: what was held back is said as soon as it can be.
    #[must_use]
    pub fn with_pulse(mut self, every: Duration, beat: impl Fn() -> bool + Send + 'static) -> Self {
        self.pulse = Some(Pulse { every, next: Duration::ZERO, beat: Box::new(beat) });
        self
    }

    fn beat(&mut self) {
        let now = self.clock.monotonic();
        if let Some(pulse) = self.pulse.as_mut().filter(|pulse| pulse.next <= now) {
            let pause = if (pulse.beat)() { pulse.every } else { pulse.every.min(HELD_BACK) };
            pulse.next = now + pause;
        }
    }

    /// When something has to be done at the latest.
    fn wake(&self) -> Duration {
        let pulse = self.pulse.as_ref().map(|pulse| pulse.next);
        self.boot.next_wake().into_iter().chain(pulse).fold(self.next_verify, Duration::min)
    }

    /// Runs until it is told to stop. * `commands`: whose end is a stop, too.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.tell(Event::Tick);
        loop {
            self.beat();
            let sleep = self.clock.sleep_until(self.wake());
            tokio::select! {
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => self.ended(ended),
                Some(noted) = self.noted.recv() => self.note(noted),
                () = sleep => {
                    if self.clock.monotonic() >= self.next_verify {
                        self.verify();
                    } else {
                        self.tell(Event::Tick);
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Verify) => self.verify(),
                    Some(Command::Stop) | None => break,
                },
            }
        }
        self.running.shutdown().await;
    }

    fn verify(&mut self) {
        self.next_verify = self.clock.monotonic() + self.works.verify_every();
        self.tell(Event::Verify);
    }

    fn note(&mut self, noted: Noted) {
        let Noted { step, attempt, note, kept } = noted;
        let failed = self.tell(Event::Noted { step, attempt, note });
        if !failed.contains(&step) {
            // Whoever noted it may have been cut off since.
            let _ = kept.send(());
        }
    }

    fn ended(&mut self, ended: Result<(Id, Event), JoinError>) {
        let event = match ended {
            Ok((id, event)) => {
                if let Some(UnderWay { step, work, attempt, since, .. }) = self.under_way.remove(&id) {
                    tracing::debug!(%step, ?work, "work on a step ended");
                    if matches!(event, Event::Applied { outcome: Ok(_), .. }) {
                        let seconds = self.clock.monotonic().saturating_sub(since).as_secs_f64();
                        tracing::info!(%step, attempt, seconds, "a step was done");
                    }
                }
                self.say(&event);
                self.learn(event)
            }
            Err(error) => {
                let Some(UnderWay { step, work, attempt, .. }) = self.under_way.remove(&error.id()) else {
                    return;
                };
                tracing::debug!(%step, ?work, "work on a step ended");
                // Who was cut off has nothing to say.
                if error.is_cancelled() {
                    return;
                }
                tracing::error!(%step, %error, "a step ended in a panic");
                let failure = || Failure::new(ErrorClass::Unclear, "it ended in a panic, which is a bug");
                match work {
                    Work::Check => Event::Checked { step, attempt, found: Err(failure()) },
                    Work::Apply => Event::Applied { step, attempt, outcome: Err(failure()) },
                }
            }
        };
        self.tell(event);
    }

    /// Logs what a step failed with, once as long as it is the same.
    fn say(&mut self, event: &Event) {
        let (step, failure) = match event {
            Event::Checked { step, found, .. } => (step, found.as_ref().err()),
            Event::Applied { step, outcome, .. } => (step, outcome.as_ref().err()),
            _ => return,
        };
        let words = failure.map(ToString::to_string);
        if let Some(failure) = &words
            && self.said.get(step) != Some(failure)
        {
            tracing::warn!(%step, failure, "a step failed");
        }
        match words {
            Some(words) => self.said.insert(*step, words),
            None => self.said.remove(step),
        };
    }

    /// The identity says whose progress is on disk; the configuration, how the steps are repeated.
    ///
    /// * returns: the event, or what it comes to: an instance whose progress cannot be taken up is not known yet. What was
    ///   done before it is known has to be on disk, or a crash has it done twice.
    fn learn(&mut self, event: Event) -> Event {
        let Event::Checked { step, attempt, found: Ok(_) } = event else { return event };
        if step == Step::Identity
            && self.instance.is_none()
            && let Some(instance) = self.works.instance()
        {
            if let Err(error) = self.take_up(&instance) {
                tracing::error!(%error, "could not take up the progress of this instance");
                let failure = Failure::new(error.class(), error);
                return Event::Checked { step, attempt, found: Err(failure) };
            }
            self.instance = Some(instance);
        }
        if step == Step::Configuration {
            let effects = self.boot.handle(Event::Plans(self.works.plans()), self.now());
            self.carry(effects);
        }
        event
    }

    fn take_up(&mut self, instance: &InstanceId) -> Result<(), StoreError> {
        let (progress, damaged) = self.store.load(instance)?;
        let others = self.store.others(instance)?;
        for entry in &self.unwritten {
            // What is on disk already is not worth a disk that takes nothing.
            let there = progress.get(entry.step);
            if there.is_none_or(|there| Entry { at: there.at, ..entry.clone() } != *there) {
                self.store.record(instance, entry)?;
            }
        }
        self.unwritten.clear();
        self.works.found_on_disk(&damaged, &others);
        self.others = others;
        self.boot.resume(progress);
        Ok(())
    }

    /// * returns: the steps whose lines could not be written.
    fn tell(&mut self, event: Event) -> Vec<Step> {
        let effects = self.boot.handle(event, self.now());
        let failed = self.carry(effects);
        if !self.is_booted && self.boot.stands(Step::Ready) {
            self.is_booted = true;
            self.next_verify = self.next_verify.min(self.clock.monotonic() + FIRST_VERIFY);
        }
        let report = self.boot.report(self.now());
        self.works.report(&report);
        if report.condition == Condition::Done {
            self.forget_others();
        }
        failed
    }

    fn forget_others(&mut self) {
        for other in std::mem::take(&mut self.others) {
            match self.store.forget(&other) {
                Ok(()) => tracing::info!(instance = %other, "forgot what another instance had left"),
                Err(error) => {
                    tracing::warn!(instance = %other, %error, "could not forget what another instance left");
                }
            }
        }
    }

    fn carry(&mut self, effects: Vec<Effect>) -> Vec<Step> {
        let mut failed = Vec::new();
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Record(entry) => {
                    let step = entry.step;
                    if let Err(error) = self.record(entry) {
                        tracing::error!(%step, %error, "could not write progress");
                        failed.push(step);
                        effects.retain(|later| step_of(later) != step);
                        let failure = Failure::new(error.class(), error);
                        effects.extend(self.boot.handle(Event::Unrecorded { step, failure }, self.now()));
                    }
                }
                // What it was to stand on may not be on disk.
                Effect::Start { step, work, attempt, .. } if !self.boot.awaits(step, work, attempt) => {}
                Effect::Start { step, work, attempt, within, last } => {
                    self.start(step, work, attempt, within, last);
                }
                Effect::Stop { step } => self.cut_off(step),
                Effect::Act { step, policy, failure } => self.works.act(step, policy, &failure),
                Effect::Recovered { step } => self.works.recovered(step),
            }
        }
        failed
    }

    fn record(&mut self, entry: Entry) -> Result<(), StoreError> {
        if let Some(instance) = &self.instance {
            return self.store.record(instance, &entry);
        }
        self.unwritten.push(entry);
        Ok(())
    }

    fn start(&mut self, step: Step, work: Work, attempt: u32, within: Duration, last: Option<Entry>) {
        let works = Arc::clone(&self.works);
        let clock = Arc::clone(&self.clock);
        let notes = Notes { step, attempt, to: self.notes.clone() };
        tracing::debug!(%step, ?work, attempt, "work on a step began");
        let task = self.running.spawn(async move {
            let until = clock.monotonic() + within;
            let late = |works: &W| {
                let within = bootstrap_config::duration_text(within);
                let waits = works.waits_for(step).map_or_else(String::new, |what| format!(": {what}"));
                Failure::new(ErrorClass::Unclear, format_args!("it did not end within {within}{waits}"))
            };
            match work {
                Work::Check => {
                    let looked = caught(works.check(step, last), &*clock, until).await;
                    Event::Checked { step, attempt, found: looked.unwrap_or_else(|| Err(late(&works))) }
                }
                Work::Apply => {
                    let made = caught(works.apply(step, last, notes), &*clock, until).await;
                    Event::Applied { step, attempt, outcome: made.unwrap_or_else(|| Err(late(&works))) }
                }
            }
        });
        let since = self.clock.monotonic();
        self.under_way.insert(task.id(), UnderWay { step, work, attempt, since, task });
    }

    fn cut_off(&self, step: Step) {
        self.under_way.values().filter(|at| at.step == step).for_each(|at| at.task.abort());
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), monotonic: self.clock.monotonic() }
    }
}

/// Work with an end: `None` when its time was over.
async fn caught<T>(work: impl Future<Output = T>, clock: &dyn Clock, until: Duration) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = clock.sleep_until(until) => None,
    }
}

const fn step_of(effect: &Effect) -> Step {
    match effect {
        Effect::Record(entry) => entry.step,
        Effect::Start { step, .. }
        | Effect::Stop { step }
        | Effect::Act { step, .. }
        | Effect::Recovered { step } => *step,
    }
}
