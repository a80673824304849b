//! Many runs on several threads, with the same results on any number of them.

use crate::regret::{Regret, regret};
use crate::suite::tally::days;
use crate::{Bench, Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One run of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The load.
    pub trace: &'a Trace,
    /// What may be learned from before.
    pub history: Option<&'a Trace>,
    /// Who decides.
    pub runner: Runner,
    /// By what policy.
    pub policy: &'a Policy,
    /// In what world.
    pub setting: &'a Setting,
    /// Whether the run is kept step by step: 16 bytes a step.
    pub course: bool,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Runs that are finished.
    pub done: usize,
    /// Runs in all.
    pub jobs: usize,
    /// Days that these runs simulated.
    pub days_done: f64,
    /// Days in all.
    pub days: f64,
}

/// Runs jobs on several threads.
///
/// Jobs on the same trace, setting, bounds, target and objective share what they are compared with; jobs that lie
/// side by side in the list share it at the least memory.
///
/// * `stop`: set it, and what is running is finished, what is not begun is left out.
/// * `progress`: told after every run, from whichever thread made it, one at a time.
/// * returns: one entry a job, in the order of the jobs, whatever the number of threads; `None` for what was left out.
pub fn sweep<'a>(
    jobs: &[Job<'a>],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Option<Outcome>> {
    let benches = Benches::of(jobs);
    let numbered: Vec<(usize, &Job<'a>)> = jobs.iter().enumerate().collect();
    let of = |(number, job): &(usize, &Job<'a>)| {
        let bench = benches.borrow(*number, job);
        let outcome = bench.run(job.history, job.runner, job.policy, job.course);
        benches.give_back(*number);
        outcome
    };
    each(&numbered, of, |(_, job)| job.days(), threads, stop, progress)
}

/// Fills in `soft_cost_ratio`, which takes some tens of times as long as a rival's run: once for all jobs that share a
/// trace, setting, bounds, target and objective.
///
/// * `outcomes`: what [`sweep`] returned for these jobs.
/// * `stop`, `progress`: as in [`sweep`]; what it is told of are these optima, by the days of their traces.
pub fn add_soft_cost(
    jobs: &[Job<'_>],
    outcomes: &mut [Option<Outcome>],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) {
    let benches = Benches::of(jobs);
    let firsts: Vec<&Job<'_>> = (0..benches.benches.len())
        .filter_map(|place| jobs.get(benches.of.iter().position(|of| *of == place)?))
        .collect();
    let soft = |job: &&Job<'_>| {
        let bench = Bench::new(job.trace, job.policy, job.setting);
        bench.soft_unit_hours(job.policy.objective.at_most)
    };
    let of_days = |job: &&Job<'_>| days(job.trace.demand.len());
    let found = each(&firsts, soft, of_days, threads, stop, progress);
    for (outcome, place) in outcomes.iter_mut().zip(&benches.of) {
        let soft = found.get(*place).copied().flatten().flatten();
        if let Some(outcome) = outcome {
            outcome.scores.soft_cost_ratio = soft.map(|soft| outcome.scores.cost_unit_hours / soft);
        }
    }
}

/// Splits regrets on several threads, as [`sweep`] runs jobs.
///
/// * returns: one entry a job, in the order of the jobs; `None` for what was left out.
pub fn regrets(
    jobs: &[Job<'_>],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Option<Regret>> {
    let of = |job: &Job<'_>| regret(job.trace, job.history, job.runner, job.policy, job.setting);
    each(jobs, of, Job::days, threads, stop, progress)
}

/// Does something with each of some things, on several threads.
///
/// * `days`: how much there is to do for one.
/// * `stop`, `progress`: as in [`sweep`].
/// * returns: in the order of the things; `None` for what was left out.
pub fn each<T: Sync, R: Send>(
    all: &[T],
    of: impl Fn(&T) -> R + Sync,
    days: impl Fn(&T) -> f64 + Sync,
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Option<R>> {
    let so_far = Progress { jobs: all.len(), days: all.iter().map(&days).sum(), ..Progress::default() };
    let done = Mutex::new((so_far, all.iter().map(|_| None).collect::<Vec<_>>()));
    let next = AtomicUsize::new(0);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(number) else { return };
            let found = of(one);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.0.done += 1;
            done.0.days_done += days(one);
            done.1[number] = Some(found);
            progress(done.0);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(all.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

impl Job<'_> {
    fn days(&self) -> f64 {
        days(self.trace.demand.len() + self.history.map_or(0, |history| history.demand.len()))
    }

    /// Whether two jobs are compared with the same.
    fn shares(&self, other: &Self) -> bool {
        std::ptr::eq(self.trace, other.trace)
            && self.policy.capacity == other.policy.capacity
            && self.policy.target == other.policy.target
            && self.policy.objective == other.policy.objective
            && self.setting == other.setting
    }
}

/// The benches of a sweep, each made when its first job begins and dropped when its last is done.
struct Benches<'a> {
    /// The bench of each job.
    of: Vec<usize>,
    benches: Vec<Mutex<Slot<'a>>>,
}

struct Slot<'a> {
    bench: Option<Arc<Bench<'a>>>,
    jobs_left: usize,
}

impl<'a> Benches<'a> {
    fn of(jobs: &[Job<'a>]) -> Self {
        let mut firsts: Vec<&Job<'a>> = Vec::new();
        let mut of = Vec::with_capacity(jobs.len());
        let mut counts: Vec<usize> = Vec::new();
        for job in jobs {
            // The latest are looked at first: jobs that share lie near each other.
            let place = firsts.iter().rposition(|first| first.shares(job)).unwrap_or_else(|| {
                firsts.push(job);
                counts.push(0);
                firsts.len() - 1
            });
            counts[place] += 1;
            of.push(place);
        }
        let slot = |jobs_left| Mutex::new(Slot { bench: None, jobs_left });
        Self { of, benches: counts.into_iter().map(slot).collect() }
    }

    fn borrow(&self, number: usize, job: &Job<'a>) -> Arc<Bench<'a>> {
        let mut slot = self.slot(number);
        Arc::clone(slot.bench.get_or_insert_with(|| Arc::new(Bench::new(job.trace, job.policy, job.setting))))
    }

    fn give_back(&self, number: usize) {
        let mut slot = self.slot(number);
        slot.jobs_left -= 1;
        if slot.jobs_left == 0 {
            slot.bench = None;
        }
    }

    fn slot(&self, number: usize) -> std::sync::MutexGuard<'_, Slot<'a>> {
        self.benches[self.of[number]].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
