//! The machine that walks the graph.

mod event;

pub use event::{Checked, Effect, Event, Now, Plan, Work};

use crate::{Condition, Entry, Failure, Inputs, OnFailure, Phase, Progress, Report, State, Step, StepReport};
use fleet::{ErrorClass, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is done of it.
    Rests,
    /// Something is.
    Works(Work),
    /// It failed, and waits for its next attempt.
    Pauses { until: Duration },
}

/// What an application that came off said, for [`Entry::note`].
#[derive(Clone, Debug)]
struct Applied {
    note: Option<String>,
}

#[derive(Clone, Debug)]
struct Walk {
    plan: Option<Plan>,
    stage: Stage,
    /// It is to be looked at.
    due: bool,
    /// It is to be looked at once more: that was asked for in the middle of something, which may go by what was before. Those
    /// behind it do not wait for that: looks that are asked for faster than they end would keep them waiting for good.
    due_again: bool,
    /// Those that need it may go on.
    stands: bool,
    attempt: u32,
    failures: u32,
    /// Since when it is being brought about, this time.
    since: Option<Now>,
    /// When it first stood, and how long it had taken.
    stood: Option<(Timestamp, Duration)>,
    began: Option<Timestamp>,
    failure: Option<Failure>,
    acted: Option<OnFailure>,
    /// It was applied, and has not been seen to hold yet.
    applied: Option<Applied>,
    /// It stands, and is applied once more all the same.
    again: bool,
    inputs: Inputs,
}

impl Walk {
    const fn of(plan: Option<Plan>) -> Self {
        Self {
            plan,
            stage: Stage::Rests,
            due: true,
            due_again: false,
            stands: false,
            attempt: 0,
            failures: 0,
            since: None,
            stood: None,
            began: None,
            failure: None,
            acted: None,
            applied: None,
            again: false,
            inputs: Inputs::none(),
        }
    }
    /// It is to be looked at by what is so from now on.
    const fn ask(&mut self) {
        match self.stage {
            Stage::Rests => self.due = true,
            // One that pauses has a look before long, unless its deadline comes first.
            Stage::Works(_) | Stage::Pauses { .. } => self.due_again = true,
        }
    }
    /// Leaves it as it is, until everything is looked at again.
    const fn leave(&mut self) {
        self.stage = Stage::Rests;
        self.due = false;
        self.since = None;
    }
    fn is_wanted(&self) -> bool {
        self.plan.is_some_and(|plan| plan.wanted)
    }
    /// It stands, and nobody is looking whether it still does, or is about to. One that is being mended stands until that
    /// has its consequence: it keeps nobody from being looked at. Nor does one that is only done once more: AWX's job may
    /// take an hour, in which a client of Nomad may die.
    fn is_settled(&self) -> bool {
        self.stands && (self.again || !(self.due || matches!(self.stage, Stage::Works(_))))
    }
    /// It is not wanted any more: whatever was begun of it, or had failed, is nobody's business.
    fn give_up(&mut self) {
        self.leave();
        self.due_again = false;
        self.attempt += 1;
        self.failures = 0;
        (self.failure, self.applied, self.again) = (None, None, false);
    }
}

/// The boot of one instance.
///
/// Each step is looked at (`check`), done where it is not so already (`apply`), and looked at again: that it was applied
/// does not make it so. What is to be applied is written down before.
#[derive(Clone, Debug)]
pub struct Boot {
    walks: BTreeMap<Step, Walk>,
    progress: Progress,
    seed: u64,
    booted: bool,
}

impl Boot {
    /// A boot that has not begun.
    ///
    /// * `plans`: of the steps that are known before the configuration is; the others wait for [`Event::Plans`].
    /// * `seed`: of this node: spreads its pauses among those of the fleet.
    pub fn new(plans: &BTreeMap<Step, Plan>, seed: u64) -> Self {
        let walks = Step::ALL.into_iter().map(|step| (step, Walk::of(plans.get(&step).copied()))).collect();
        Self { walks, progress: Progress::default(), seed, booted: false }
    }

    /// The instance is known: takes up what is on disk of it. What was written since the start stays.
    pub fn resume(&mut self, progress: Progress) {
        let written = std::mem::replace(&mut self.progress, progress);
        for step in Step::ALL {
            if let Some(entry) = written.get(step) {
                self.progress.set(entry.clone());
            }
        }
    }

    /// Takes what happened. * returns: what to do, in order. Total: what comes at a wrong time changes nothing.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Plans(plans) => self.plan(&plans, &mut effects),
            Event::Verify => self.verify(),
            Event::Checked { step, attempt, found } => {
                if self.answers(step, Work::Check, attempt) {
                    self.checked(step, found, now, &mut effects);
                }
            }
            Event::Applied { step, attempt, outcome } => {
                if self.answers(step, Work::Apply, attempt) {
                    self.applied(step, outcome, now, &mut effects);
                }
            }
            Event::Noted { step, attempt, note } => {
                if self.answers(step, Work::Apply, attempt) {
                    self.intend(step, Some(note), now, &mut effects);
                }
            }
            Event::Unrecorded { step, failure } => {
                self.progress.doubt(step);
                // A node that works goes on working.
                if !self.booted {
                    self.take_back(step);
                }
                self.failed(step, failure, now, &mut effects);
            }
        }
        self.advance(now, &mut effects);
        effects
    }

    /// When [`Event::Tick`] is to be said at the latest, in monotonic time.
    pub fn next_wake(&self) -> Option<Duration> {
        let pauses = self.walks.values().filter_map(|walk| match walk.stage {
            Stage::Pauses { until } => Some(until),
            Stage::Rests | Stage::Works(_) => None,
        });
        // A step that has not failed yet has its attempt's end to say so.
        let failing = self.walks.values().filter(|walk| walk.failure.is_some() && walk.acted.is_none());
        let deadlines = failing.filter_map(|walk| Some(walk.since?.monotonic + walk.plan?.retry.deadline));
        pauses.chain(deadlines).min()
    }

    /// Whether a step stands: those that need it may go on.
    pub fn stands(&self, step: Step) -> bool {
        self.walks.get(&step).is_some_and(|walk| walk.stands)
    }

    /// Whether a piece of work is waited for: one that was called off before it began is not.
    pub fn awaits(&self, step: Step, work: Work, attempt: u32) -> bool {
        self.answers(step, work, attempt)
    }

    /// A step does not stand after all: those that have just begun upon it have not. Nothing goes on upon what a power cut
    /// would take back.
    fn take_back(&mut self, step: Step) {
        if let Some(walk) = self.walks.get_mut(&step) {
            walk.stands = false;
        }
        for later in step.behind() {
            let Some(walk) = self.walks.get_mut(&later) else { continue };
            if !walk.is_wanted() {
                // One that is left out stands when those before it do.
                (walk.stands, walk.due) = (false, true);
            } else if walk.stage == Stage::Works(Work::Check) {
                (walk.stage, walk.due, walk.since, walk.began) = (Stage::Rests, true, None, None);
            }
        }
    }

    fn plan(&mut self, plans: &BTreeMap<Step, Plan>, effects: &mut Vec<Effect>) {
        for (step, plan) in plans {
            if let Some(walk) = self.walks.get_mut(step)
                && walk.plan != Some(*plan)
            {
                let was_wanted = walk.is_wanted();
                walk.plan = Some(*plan);
                if !plan.wanted {
                    if matches!(walk.stage, Stage::Works(_)) {
                        effects.push(Effect::Stop { step: *step });
                    }
                    walk.give_up();
                    // A step that is left out keeps no work away.
                    if walk.acted.take().is_some() {
                        effects.push(Effect::Recovered { step: *step });
                    }
                }
                walk.due = true;
                walk.stands = walk.stands && plan.wanted && was_wanted;
            }
        }
    }

    fn verify(&mut self) {
        // One that is left out, too: those behind it wait for those before it, which may say something new. One that was just
        // looked at has its turn again after those that have waited for that.
        let expected = self.expected();
        for step in Step::ALL {
            let is_held = self.is_held(step, &expected);
            let Some(walk) = self.walks.get_mut(&step) else { continue };
            if walk.stage == Stage::Rests && is_held {
                walk.due_again |= !walk.due;
            } else {
                walk.ask();
            }
        }
    }

    fn answers(&self, step: Step, work: Work, attempt: u32) -> bool {
        let walk = self.walks.get(&step);
        walk.is_some_and(|walk| walk.stage == Stage::Works(work) && walk.attempt == attempt)
    }

    fn checked(
        &mut self,
        step: Step,
        found: Result<(Checked, Inputs), Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let (checked, inputs) = match found {
            Ok(found) => found,
            Err(failure) => return self.failed(step, failure, now, effects),
        };
        let Some(walk) = self.walks.get_mut(&step) else { return };
        walk.inputs = inputs;
        match (checked, walk.applied.take()) {
            (Checked::Already, None) => self.done(step, None, now, effects),
            (Checked::Again, None) if walk.acted.is_none() => {
                if !walk.stands {
                    // After a restart of the agent this is the first that is heard of it.
                    self.done(step, None, now, effects);
                }
                self.again(step, now, effects);
            }
            (Checked::Already | Checked::Again, Some(Applied { note })) => {
                self.done(step, note, now, effects);
                // What it made may be what those after it stand on.
                for (other, walk) in &mut self.walks {
                    walk.due |= walk.stands && other.after().contains(&step);
                }
            }
            (Checked::Needed | Checked::Again, None) => self.make(step, now, effects),
            (Checked::Needed, Some(_)) => {
                let what = "it was applied, and is not so";
                self.failed(step, Failure::new(ErrorClass::Conflict, what), now, effects);
            }
        }
    }

    /// Has it applied, once that is written down.
    fn make(&mut self, step: Step, now: Now, effects: &mut Vec<Effect>) {
        let note = self.progress.get(step).and_then(|entry| entry.note.clone());
        self.intend(step, note, now, effects);
        self.start(step, Work::Apply, effects);
    }

    /// The same of a step that stands, and goes on to: those after it are not kept waiting.
    fn again(&mut self, step: Step, now: Now, effects: &mut Vec<Effect>) {
        if let Some(walk) = self.walks.get_mut(&step) {
            walk.again = true;
            walk.since.get_or_insert(now);
        }
        self.make(step, now, effects);
    }

    fn applied(
        &mut self,
        step: Step,
        outcome: Result<Option<String>, Failure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Ok(note) => {
                if let Some(walk) = self.walks.get_mut(&step) {
                    walk.applied = Some(Applied { note });
                }
                self.start(step, Work::Check, effects);
            }
            Err(failure) => self.failed(step, failure, now, effects),
        }
    }

    fn done(&mut self, step: Step, note: Option<String>, now: Now, effects: &mut Vec<Effect>) {
        let Some(walk) = self.walks.get_mut(&step) else { return };
        let took = walk.since.map_or(Duration::ZERO, |since| now.monotonic.saturating_sub(since.monotonic));
        walk.stood.get_or_insert((now.wall, took));
        walk.stage = Stage::Rests;
        walk.stands = true;
        walk.failures = 0;
        walk.since = None;
        walk.failure = None;
        walk.again = false;
        if walk.acted.take().is_some() {
            effects.push(Effect::Recovered { step });
        }
        let last = self.progress.get(step);
        let inputs = &self.walks[&step].inputs;
        let news = last.is_none_or(|last| last.phase != Phase::Done || last.inputs != *inputs);
        if news || note.is_some() {
            let note = note.or_else(|| last.and_then(|last| last.note.clone()));
            self.record(step, Phase::Done, note, now, effects);
        }
    }

    fn failed(&mut self, step: Step, failure: Failure, now: Now, effects: &mut Vec<Effect>) {
        let seed = self.seed ^ (step as u64 + 1);
        let Some(walk) = self.walks.get_mut(&step) else { return };
        let Some(plan) = walk.plan else { return };
        walk.failures += 1;
        walk.applied = None;
        walk.again = false;
        let pause = plan.retry.pause_after(&failure, walk.failures, seed);
        walk.stage = Stage::Pauses { until: now.monotonic + pause };
        walk.due_again |= std::mem::take(&mut walk.due);
        let lasting = failure.lasting;
        walk.failure = Some(failure);
        if walk.acted == Some(OnFailure::Ignore) {
            walk.leave();
        } else if lasting {
            self.act(step, effects);
        }
    }

    /// The consequence of a step that is not done; once, until it stands again.
    fn act(&mut self, step: Step, effects: &mut Vec<Effect>) {
        let Some(walk) = self.walks.get_mut(&step) else { return };
        let Some(plan) = walk.plan else { return };
        if walk.acted.is_some() {
            return;
        }
        let failure = walk.failure.clone().unwrap_or_else(|| {
            Failure::new(ErrorClass::Unclear, "it was not done within its deadline, and never answered")
        });
        walk.acted = Some(plan.on_failure);
        walk.stands = plan.on_failure == OnFailure::Ignore;
        if walk.stands {
            // Its next look may come at once, and is not to begin beside it.
            if matches!(walk.stage, Stage::Works(_)) {
                effects.push(Effect::Stop { step });
            }
            walk.leave();
        }
        effects.push(Effect::Act { step, policy: plan.on_failure, failure });
    }

    /// Begins what can begin, wakes what has paused for long enough, and sees to the deadlines.
    fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.begin_due(now, effects);
        if self.ripen() {
            self.begin_due(now, effects);
        }
        self.booted |= self.stands(Step::Ready);
    }

    fn begin_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for step in Step::ALL {
            let walk = &self.walks[&step];
            let Some(plan) = walk.plan else { continue };
            let deadline = walk.since.map(|since| since.monotonic + plan.retry.deadline);
            if deadline.is_some_and(|deadline| deadline <= now.monotonic) && walk.failure.is_some() {
                self.act(step, effects);
            }
            let walk = &self.walks[&step];
            match walk.stage {
                Stage::Pauses { until } if until <= now.monotonic => {
                    self.looks_from_now(step);
                    self.start(step, Work::Check, effects);
                }
                Stage::Rests if walk.due && self.may_begin(step) => {
                    if plan.wanted {
                        self.begin(step, now, effects);
                    } else if let Some(walk) = self.walks.get_mut(&step) {
                        (walk.stands, walk.due) = (true, false);
                    }
                }
                Stage::Rests | Stage::Works(_) | Stage::Pauses { .. } => {}
            }
        }
    }

    /// Makes due what was asked for in the middle of something, and all behind it, once these have had the looks that they
    /// were waiting for.
    ///
    /// * returns: whether anything is due by that.
    fn ripen(&mut self) -> bool {
        let expected = self.expected();
        let is_ripe = |step: &Step| {
            let walk = &self.walks[step];
            walk.due_again && walk.stage == Stage::Rests && !self.is_held(*step, &expected)
        };
        let ripe: Vec<Step> = Step::ALL.into_iter().filter(is_ripe).collect();
        for step in &ripe {
            for later in step.behind() {
                if let Some(walk) = self.walks.get_mut(&later) {
                    walk.ask();
                }
            }
            if let Some(walk) = self.walks.get_mut(step) {
                (walk.due, walk.due_again) = (true, false);
            }
        }
        !ripe.is_empty()
    }

    /// Whether another look at a step waits: for those behind it that are expected, or for its turn after one before it that waits.
    fn is_held(&self, step: Step, expected: &BTreeSet<Step>) -> bool {
        let waits = |first: &Step| {
            let walk = &self.walks[first];
            walk.stage == Stage::Rests && walk.due_again && first.behind().contains(&step)
        };
        step.behind().iter().any(|later| expected.contains(later)) || Step::ALL.iter().any(waits)
    }

    /// Those that are being looked at, or will be as soon as looks that are under way have found that all is well.
    fn expected(&self) -> BTreeSet<Step> {
        let mut expected = BTreeSet::new();
        for (step, walk) in &self.walks {
            let comes = |needed: &Step| expected.contains(needed) || self.walks[needed].is_settled();
            let is_due = walk.stage == Stage::Rests && walk.due && walk.plan.is_some();
            if walk.stage == Stage::Works(Work::Check) || (is_due && step.after().iter().all(comes)) {
                expected.insert(*step);
            }
        }
        expected
    }

    /// Those that it needs stand, and nobody is at them: what they find may be what this one needs.
    fn may_begin(&self, step: Step) -> bool {
        step.after().iter().all(|needed| self.walks[needed].is_settled())
    }

    fn begin(&mut self, step: Step, now: Now, effects: &mut Vec<Effect>) {
        self.looks_from_now(step);
        if let Some(walk) = self.walks.get_mut(&step) {
            walk.since = Some(now);
            walk.began.get_or_insert(now.wall);
        }
        self.start(step, Work::Check, effects);
    }

    /// Whatever makes it due after this is news that the look which begins need not see.
    fn looks_from_now(&mut self, step: Step) {
        if let Some(walk) = self.walks.get_mut(&step) {
            (walk.due, walk.due_again) = (false, false);
        }
    }

    fn start(&mut self, step: Step, work: Work, effects: &mut Vec<Effect>) {
        let last = self.progress.get(step).cloned();
        let Some(walk) = self.walks.get_mut(&step) else { return };
        let Some(plan) = walk.plan else { return };
        walk.attempt += 1;
        walk.stage = Stage::Works(work);
        effects.push(Effect::Start { step, work, attempt: walk.attempt, within: plan.retry.attempt, last });
    }

    /// Writes down that it is about to be applied. An intent that was not seen through keeps the time of its beginning: what
    /// came of it is looked for since then.
    fn intend(&mut self, step: Step, note: Option<String>, now: Now, effects: &mut Vec<Effect>) {
        let last = self.progress.get(step);
        let since = last.filter(|entry| entry.phase == Phase::Intent).map_or(now.wall, |entry| entry.at);
        self.record(step, Phase::Intent, note, Now { wall: since.min(now.wall), ..now }, effects);
    }

    fn record(
        &mut self,
        step: Step,
        phase: Phase,
        note: Option<String>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let inputs = self.walks[&step].inputs.clone();
        let entry = Entry { step, phase, inputs, at: now.wall, note };
        self.progress.set(entry.clone());
        effects.push(Effect::Record(entry));
    }

    /// How far it has come.
    pub fn report(&self, now: Now) -> Report {
        let steps = self.walks.iter().map(|(step, walk)| step_report(*step, walk, now)).collect();
        let mut report = Report { condition: Condition::Running, steps };
        report.condition = report.judge(self.booted);
        report
    }
}

fn step_report(step: Step, walk: &Walk, now: Now) -> StepReport {
    let state = match (walk.stage, walk.acted) {
        _ if walk.plan.is_some_and(|plan| !plan.wanted) => State::Skipped,
        (_, Some(OnFailure::Ignore)) => State::Ignored,
        (_, Some(OnFailure::Quarantine | OnFailure::Unhealthy | OnFailure::Terminate)) => State::Failed,
        (Stage::Works(_), None) if !walk.stands => State::Running,
        (Stage::Pauses { .. }, _) if !walk.stands => State::Retrying,
        (Stage::Pauses { .. }, _) => State::Repairing,
        (_, Some(OnFailure::Retry)) => State::Retrying,
        (Stage::Rests | Stage::Works(_), None) if walk.stands => State::Done,
        (Stage::Rests | Stage::Works(_), None) => State::Waiting,
    };
    let running = walk.since.map(|since| now.monotonic.saturating_sub(since.monotonic));
    StepReport {
        step,
        state,
        began: walk.began,
        ended: walk.stood.map(|(at, _)| at),
        seconds: walk.stood.map(|(_, took)| took).or(running).map(|took| took.as_secs_f64()),
        failures: walk.failures,
        policy: walk.acted,
        failure: walk.failure.clone(),
    }
}
