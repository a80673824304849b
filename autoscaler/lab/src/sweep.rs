//! Many runs on several threads, with the same results on any number of them.

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
pub fn sweep(
    jobs: &[Job<'_>],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Option<Outcome>> {
    let benches = Benches::of(jobs);
    let total = jobs.iter().map(Job::days).sum();
    let so_far = Progress { jobs: jobs.len(), days: total, ..Progress::default() };
    let done = Mutex::new((so_far, vec![None; jobs.len()]));
    let next = AtomicUsize::new(0);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return };
            let bench = benches.borrow(number, job);
            let outcome = bench.run(job.history, job.runner, job.policy, job.course);
            benches.give_back(number);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.0.done += 1;
            done.0.days_done += job.days();
            done.1[number] = Some(outcome);
            progress(done.0);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// Fills in `soft_cost_ratio`, which takes some tens of times as long as a rival's run: once for all jobs that share a
/// trace, setting, bounds, target and objective.
///
/// * `outcomes`: what [`sweep`] returned for these jobs.
pub fn add_soft_cost(
    jobs: &[Job<'_>],
    outcomes: &mut [Option<Outcome>],
    threads: NonZeroUsize,
    stop: &AtomicBool,
) {
    let benches = Benches::of(jobs);
    let found: Vec<Mutex<Option<f64>>> = benches.benches.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let job = benches.of.iter().position(|of| *of == place).and_then(|first| jobs.get(first));
            let Some(job) = job else { return };
            let bench = Bench::new(job.trace, job.policy, job.setting);
            let soft = bench.soft_unit_hours(job.policy.objective.at_most);
            *found[place].lock().unwrap_or_else(PoisonError::into_inner) = soft;
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(found.len()) {
            scope.spawn(work);
        }
        work();
    });
    for (outcome, place) in outcomes.iter_mut().zip(&benches.of) {
        let soft = *found[*place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = outcome {
            outcome.scores.soft_cost_ratio = soft.map(|soft| outcome.scores.cost_unit_hours / soft);
        }
    }
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
