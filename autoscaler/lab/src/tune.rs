//! Is there a better setting for one's own load? Searched on the first part of a recording, judged on the rest.
//!
//! What is searched are the policy's own knobs ([`Knobs`]); its promise stays what it is. A setting that did well on
//! the part that it was chosen on proves nothing, so that what is said of one is what it did on the part that the
//! search has never seen. Where that is not clearly better than what there is, [`Verdict::Stay`] says so.

mod file;
mod front;
mod knobs;

pub use file::{FileError, edited, fresh};
pub use front::{dominates, front, knee};
pub use knobs::{Knob, Knobs};

use crate::outcome::Clause;
use crate::sweep::{Job, Progress, sweep};
use crate::{Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// The least saving for which another setting than the one in force is proposed: less comes out of the same policy
/// from one week to the next.
pub const WORTH: f64 = 0.02;
/// The share of the promise that a setting may use up on the part that it is chosen on: another part is never quite like
/// it, and whoever just kept it there breaks it on every other one.
const TO_SPARE: f64 = 0.8;
/// How far above its target the mean utilisation of a policy may be: the contract's.
const MEAN_ABOVE: f64 = 0.005;

/// What is searched, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Recordings; each is cut in two, at the same share of its length.
    pub traces: &'a [Trace],
    /// What may be known from before each of them; as many as traces.
    pub histories: &'a [Option<&'a Trace>],
    /// The policy in force: where the search begins, and what its result is compared with.
    pub policy: &'a Policy,
    /// In what world.
    pub setting: &'a Setting,
    /// The share of each recording that is searched on, between 0 and 1.
    pub share: f64,
    /// How many settings are tried at most, the one in force among them.
    pub most: usize,
    /// On how many threads. The result does not depend on it.
    pub threads: NonZeroUsize,
}

/// How a setting did on a part of all recordings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Unit-hours billed, over all recordings.
    pub cost_unit_hours: f64,
    /// Share of the time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// The same above the level of the policy's own objective: what the search goes by.
    pub above_ratio: f64,
    /// The same on the recording that has the most of it.
    pub worst_above_ratio: f64,
    /// Share of the time with demand above the capacity in service.
    pub saturated_ratio: f64,
    /// Scale-ins followed by a scale-out within boot + 5 min.
    pub flips_per_day: f64,
    /// Work served over capacity in service.
    pub mean_utilization: f64,
    /// What was not kept of the contract of the policy in force, on whichever recording; empty: all was kept.
    pub contract_broken: Vec<Clause>,
}

impl Score {
    /// Whether the contract was kept on all recordings.
    pub fn kept(&self) -> bool {
        self.contract_broken.is_empty()
    }
}

/// A setting, and how it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The setting.
    pub knobs: Knobs,
    /// On the part that was searched on.
    pub first: Score,
    /// On the part that the search has not seen; `None` where it was not judged there.
    pub rest: Option<Score>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// The level of the objective, which the promise and breach are about, 0..=1.
    pub objective_above: f64,
    /// The policy in force.
    pub base: Candidate,
    /// What nothing beats in both cost and breach on the part that was searched on, the cheapest first.
    pub front: Vec<Candidate>,
    /// Which of these is the knee: from there on, less cost is bought with much breach and less breach with much cost.
    pub knee: usize,
    /// How many settings were tried.
    pub tried: usize,
    /// What is advised.
    pub verdict: Verdict,
}

/// What is advised.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "advice", rename_all = "snake_case")]
pub enum Verdict {
    /// Take another setting.
    Take {
        /// The setting.
        candidate: Candidate,
        /// What it saves on the part that the search has not seen, as a share of the cost in force; negative where it
        /// costs more, and keeps what the policy in force does not.
        saving: f64,
        /// Why.
        why: Take,
    },
    /// Stay with the setting in force.
    Stay {
        /// The best that was found, where that is another one.
        candidate: Option<Candidate>,
        /// What it would save, as above.
        saving: f64,
        /// Why not.
        why: Stay,
    },
}

/// Why another setting is worth taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// It keeps the contract and costs less.
    Cheaper,
    /// It keeps the contract, which the setting in force does not.
    KeepsThePromise,
}

/// Why the setting in force is worth staying with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stay {
    /// Nothing better was found on the part that was searched on.
    NothingBetter,
    /// What was better there saves less than [`WORTH`] on the rest.
    TooLittle,
    /// What was better there does not keep the contract on the rest.
    BreaksThePromise,
}

/// Why there was nothing to search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TuneError {
    /// A recording that cannot be cut in two.
    #[error("{trace} is {seconds} s long; a search needs a day at least, to have something to judge by")]
    TooShort {
        /// Its name.
        trace: String,
        /// Its length.
        seconds: u64,
    },
    /// Stopped before even the setting in force was scored.
    #[error("the search was stopped before anything was known")]
    Stopped,
}

/// The shortest recording that is searched on.
const SHORTEST: u64 = 86_400;

/// Searches for a better setting.
///
/// * `stop`: set it, and what has been found so far is judged and returned.
/// * `progress`: told after every run; the runs in all are as many as there would be if `most` settings were tried, and
///   then those of the settings that are judged.
///
/// Deterministic, whatever the number of threads. Begins with the setting in force and its neighbours, and goes on
/// from whatever lies on the front of cost against breach, the one that would be chosen first (a Pareto local search),
/// until no neighbour is left or `most` have been tried. Chosen is the cheapest that keeps the contract with a fifth of
/// the promise to spare.
pub fn tune(
    search: &Search<'_>,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Tuned, TuneError> {
    let parts = Parts::of(search)?;
    let base = Knobs::of(search.policy);
    let mut tried = Tried { search, parts: &parts, found: Vec::new(), seen: BTreeSet::new() };
    tried.round(vec![base], stop, progress);
    if tried.found.is_empty() {
        return Err(TuneError::Stopped);
    }
    let mut expanded: BTreeSet<Knobs> = BTreeSet::new();
    while tried.found.len() < search.most && !stop.load(Ordering::Relaxed) {
        let Some(from) = tried.next_to_expand(&expanded) else { break };
        expanded.insert(from);
        let mut neighbours = from.neighbours(search.policy);
        neighbours.retain(|knobs| !tried.seen.contains(knobs));
        neighbours.truncate(search.most - tried.found.len());
        tried.round(neighbours, stop, progress);
    }
    Ok(tried.judged(base, progress))
}

/// The two parts of all recordings.
struct Parts<'a> {
    first: Vec<(Trace, Option<&'a Trace>)>,
    /// Each with all that came before it.
    rest: Vec<(Trace, Trace)>,
}

impl<'a> Parts<'a> {
    fn of(search: &Search<'a>) -> Result<Self, TuneError> {
        let mut parts = Self { first: Vec::new(), rest: Vec::new() };
        for (index, trace) in search.traces.iter().enumerate() {
            let too_short = || TuneError::TooShort { trace: trace.name.clone(), seconds: trace.seconds() };
            if trace.seconds() < SHORTEST {
                return Err(too_short());
            }
            let (first, rest) = trace.split_at_share(search.share).ok_or_else(too_short)?;
            let history = search.histories.get(index).copied().flatten();
            parts.rest.push((rest, history.map_or_else(|| first.clone(), |history| joined(history, &first))));
            parts.first.push((first, history));
        }
        Ok(parts)
    }
}

/// What was known before the second part: the first, and what came before that where it ends as the first begins.
fn joined(history: &Trace, first: &Trace) -> Trace {
    if history.at(history.demand.len()) == first.start {
        let demand = [history.demand.as_slice(), first.demand.as_slice()].concat();
        Trace { name: first.name.clone(), start: history.start, demand }
    } else {
        first.clone()
    }
}

/// The settings that have been tried.
struct Tried<'a> {
    search: &'a Search<'a>,
    parts: &'a Parts<'a>,
    found: Vec<Candidate>,
    seen: BTreeSet<Knobs>,
}

impl Tried<'_> {
    /// Tries settings on the first parts.
    fn round(&mut self, knobs: Vec<Knobs>, stop: &AtomicBool, progress: &(dyn Fn(Progress) + Sync)) {
        let parts: Vec<_> = self.parts.first.iter().map(|(trace, history)| (trace, *history)).collect();
        let before = self.seen.len();
        let scores = scores(self.search, &parts, &knobs, stop, &|round: Progress| {
            progress(within(round, before, knobs.len(), self.search.most));
        });
        self.seen.extend(knobs.iter().copied());
        for (knobs, score) in knobs.into_iter().zip(scores) {
            if let Some(first) = score {
                self.found.push(Candidate { knobs, first, rest: None });
            }
        }
    }

    /// The one that would be chosen where it has not been expanded, else the first of the front that has not.
    fn next_to_expand(&self, expanded: &BTreeSet<Knobs>) -> Option<Knobs> {
        let fresh = |candidate: &&Candidate| !expanded.contains(&candidate.knobs);
        let best = self.chosen().filter(fresh);
        let front = front(&self.found, |candidate| &candidate.first);
        best.or_else(|| front.into_iter().map(|index| &self.found[index]).find(fresh))
            .map(|candidate| candidate.knobs)
    }

    /// The cheapest that keeps the contract with something to spare; the setting in force where that keeps it for less.
    fn chosen(&self) -> Option<&Candidate> {
        let spare = TO_SPARE * self.search.policy.objective.at_most;
        // The setting in force was tried first, and needs nothing to spare: nobody has chosen it on this part.
        let safe = |(index, candidate): &(usize, &Candidate)| {
            candidate.first.kept() && (*index == 0 || candidate.first.worst_above_ratio <= spare)
        };
        let cost = |candidate: &Candidate| candidate.first.cost_unit_hours;
        // Of equals the one that was found first, which is nearer to what is in force.
        let all = self.found.iter().enumerate().filter(safe).map(|(_, candidate)| candidate);
        all.min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// Judges what was found by the part that the search has not seen.
    fn judged(self, base: Knobs, progress: &(dyn Fn(Progress) + Sync)) -> Tuned {
        let tried = self.found.len();
        let chosen = self.chosen().map(|candidate| candidate.knobs);
        let on_front: Vec<usize> = front(&self.found, |candidate| &candidate.first);
        let mut judged: Vec<Candidate> = on_front.iter().map(|index| self.found[*index].clone()).collect();
        let knee = knee(&judged.iter().map(|c| c.first.clone()).collect::<Vec<_>>());
        let length = judged.len();
        let chosen = chosen.unwrap_or_else(|| judged[knee].knobs);
        for knobs in [chosen, base] {
            judged.extend(self.found.iter().filter(|candidate| candidate.knobs == knobs).cloned());
        }
        self.judge(&mut judged, progress);
        let find = |knobs: Knobs| judged.iter().find(|candidate| candidate.knobs == knobs);
        // The setting in force was tried first, and the chosen one is one of those that were tried.
        let base = find(base).unwrap_or(&judged[0]).clone();
        let chosen = find(chosen).unwrap_or(&base).clone();
        judged.truncate(length);
        let objective_above = self.search.policy.objective.above.get();
        Tuned { objective_above, verdict: verdict(&base, chosen), base, front: judged, knee, tried }
    }

    /// Runs candidates on the rest. This is not left out when the search is stopped: there is little of it, and
    /// nothing could be said without it.
    fn judge(&self, candidates: &mut [Candidate], progress: &(dyn Fn(Progress) + Sync)) {
        let parts: Vec<_> = self.parts.rest.iter().map(|(trace, history)| (trace, Some(history))).collect();
        let knobs: Vec<Knobs> = candidates.iter().map(|candidate| candidate.knobs).collect();
        let scores = scores(self.search, &parts, &knobs, &AtomicBool::new(false), progress);
        for (candidate, score) in candidates.iter_mut().zip(scores) {
            candidate.rest = score;
        }
    }
}

/// How far a whole search is, given how far a round of it is.
///
/// * `before`: settings that were tried before the round; `tries`: those in it; `most`: those of the search.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn within(round: Progress, before: usize, tries: usize, most: usize) -> Progress {
    let jobs = round.jobs / tries.max(1);
    let days = round.days / tries.max(1) as f64;
    Progress {
        done: round.done + before * jobs,
        jobs: most * jobs,
        days_done: round.days_done + before as f64 * days,
        days: most as f64 * days,
    }
}

/// Runs each setting over all traces; `None` where it was stopped before.
fn scores(
    search: &Search<'_>,
    parts: &[(&Trace, Option<&Trace>)],
    knobs: &[Knobs],
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Option<Score>> {
    let policies: Vec<Policy> = knobs.iter().map(|knobs| knobs.on(search.policy)).collect();
    let jobs: Vec<Job<'_>> = policies
        .iter()
        .flat_map(|policy| {
            parts.iter().map(move |(trace, history)| Job {
                trace,
                history: *history,
                runner: Runner::Muster,
                policy,
                setting: search.setting,
                course: false,
            })
        })
        .collect();
    let outcomes = sweep(&jobs, search.threads, stop, progress);
    let whole = |outcomes: &[Option<Outcome>]| -> Option<Score> {
        let outcomes: Option<Vec<&Outcome>> = outcomes.iter().map(Option::as_ref).collect();
        outcomes.map(|outcomes| together(&outcomes, search.policy))
    };
    outcomes.chunks(parts.len().max(1)).map(whole).collect()
}

/// The score over several recordings, by the contract of the policy in force: a setting that lowers the bar has not
/// jumped higher.
fn together(outcomes: &[&Outcome], policy: &Policy) -> Score {
    let mut score = Score::default();
    let mut broken = BTreeSet::new();
    let seconds: f64 = outcomes.iter().map(|outcome| weight(outcome)).sum();
    for outcome in outcomes {
        let share = weight(outcome) / seconds;
        let scores = &outcome.scores;
        score.cost_unit_hours += scores.cost_unit_hours;
        score.breach80_ratio += share * scores.breach80_ratio;
        score.above_ratio += share * scores.above_ratio;
        score.worst_above_ratio = score.worst_above_ratio.max(scores.above_ratio);
        score.saturated_ratio += share * scores.saturated_ratio;
        score.flips_per_day += share * scores.flips_per_day;
        score.mean_utilization += share * scores.mean_utilization;
        broken.extend(scores.contract_broken.iter().filter(|clause| **clause != Clause::MeanUtilization));
        if scores.mean_utilization > policy.target.get() + MEAN_ABOVE {
            broken.insert(Clause::MeanUtilization);
        }
    }
    score.contract_broken = broken.into_iter().collect();
    score
}

/// How much a recording weighs among several.
#[expect(clippy::cast_precision_loss, reason = "three years of seconds are exact")]
fn weight(outcome: &Outcome) -> f64 {
    outcome.seconds.scored.max(1) as f64
}

/// What is advised, given what is in force and the best that was found, both judged on the rest.
fn verdict(base: &Candidate, best: Candidate) -> Verdict {
    let (Some(now), Some(then)) = (&base.rest, &best.rest) else {
        return Verdict::Stay { candidate: None, saving: 0.0, why: Stay::NothingBetter };
    };
    if best.knobs == base.knobs {
        return Verdict::Stay { candidate: None, saving: 0.0, why: Stay::NothingBetter };
    }
    let saving = 1.0 - then.cost_unit_hours / now.cost_unit_hours.max(f64::MIN_POSITIVE);
    match (now.kept(), then.kept()) {
        (_, false) => Verdict::Stay { candidate: Some(best), saving, why: Stay::BreaksThePromise },
        (false, true) => Verdict::Take { candidate: best, saving, why: Take::KeepsThePromise },
        (true, true) if saving >= WORTH => Verdict::Take { candidate: best, saving, why: Take::Cheaper },
        (true, true) => Verdict::Stay { candidate: Some(best), saving, why: Stay::TooLittle },
    }
}

#[cfg(test)]
mod tests;
