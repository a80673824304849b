//! A recording with its days in another order: whether what holds of it is luck of the order.

use crate::number::{index, small, wide};
use crate::sweep::{Job, Progress, sweep};
use crate::{Runner, Setting, Trace};
use autoscaler_core::Policy;
use fleet_sim::Rng;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

/// Steps of a day.
const DAY: usize = (86_400 / Trace::STEP) as usize;
/// Shuffles that are in memory at a time, for each thread.
const AT_A_TIME: usize = 4;

/// How our policy fared against AWS target tracking on shuffles of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shuffled {
    /// Shuffles that both were run on.
    pub shuffles: usize,
    /// Those on which ours cost more and breached more.
    pub worse_in_both: usize,
    /// Those on which ours did not keep the contract.
    pub contract_broken: usize,
}

/// A trace with its whole days in an order by chance; what is left of the last day stays at the end.
pub fn by_days(trace: &Trace, seed: u64) -> Trace {
    let days: Vec<&[f64]> = trace.demand.chunks_exact(DAY).collect();
    let mut order: Vec<usize> = (0..days.len()).collect();
    let mut chance = Rng::new(seed);
    for place in (1..order.len()).rev() {
        let other = chance.bits() % (wide(place) + 1);
        order.swap(place, usize::try_from(other).unwrap_or(place));
    }
    let rest = &trace.demand[days.len() * DAY..];
    let demand = order.iter().flat_map(|day| days[*day]).chain(rest).copied().collect();
    Trace { name: format!("{}, shuffle {seed}", trace.name), start: trace.start, demand }
}

/// Runs our policy and AWS target tracking on shuffles of a trace, by seeds from 0 up.
///
/// * `stop`, `progress`: as in [`sweep`]; progress begins again with every few shuffles, so that memory stays bounded.
pub fn against_tracking(
    trace: &Trace,
    policy: &Policy,
    setting: &Setting,
    shuffles: u32,
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Shuffled {
    let mut found = Shuffled::default();
    let some = small(AT_A_TIME.saturating_mul(threads.get()));
    for from in (0..shuffles).step_by(index(some.max(1))) {
        let until = shuffles.min(from.saturating_add(some));
        let shuffled: Vec<Trace> = (from..until).map(|seed| by_days(trace, seed.into())).collect();
        let job = |(trace, runner)| Job { trace, history: None, runner, policy, setting, course: false };
        let both = |trace| [(trace, Runner::Muster), (trace, Runner::AwsTt)];
        let jobs: Vec<Job<'_>> = shuffled.iter().flat_map(both).map(job).collect();
        for pair in sweep(&jobs, threads, stop, progress).chunks_exact(2) {
            let [Some(ours), Some(theirs)] = pair else { continue };
            let (ours, theirs) = (&ours.scores, &theirs.scores);
            let dearer = ours.cost_unit_hours > theirs.cost_unit_hours;
            found.shuffles += 1;
            found.worse_in_both += usize::from(dearer && ours.breach80_ratio > theirs.breach80_ratio);
            found.contract_broken += usize::from(!ours.contract_kept);
        }
    }
    found
}
