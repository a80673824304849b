//! The world with pools: instances one by one, some of which AWS takes back.
//!
//! It serves, measures, bills and scores as the suite does; what differs is where instances come from, how long they
//! take and how they go. What EC2 does not document is decided here in one plausible way, and said where it is done.

mod hazard;
mod instances;

use crate::bench::Bench;
use crate::number::{index, real, small, wide};
use crate::outcome::{Change, Course};
use crate::suite::Controller;
use crate::suite::metric::Seen;
use crate::suite::service::Queue;
use crate::suite::tally::{Rules, Tally};
use crate::{Interruptions, Setting, Trace};
use autoscaler_core::Policy;
use instances::Herd;

/// From so many units up the least share that serves is watched: of fewer, one that goes unannounced is too large a
/// part, whoever decides.
const FEW: u32 = 4;

/// What came of interruptions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Losses {
    /// Instances that were taken back.
    pub interruptions: u64,
    /// Of these, those that were empty in time.
    pub drained: u64,
    /// Unit-steps of capacity that were missing because of them.
    pub gap: u64,
    /// The least share of the capacity that was to serve which did.
    pub lowest_share: f64,
}

/// Whether a setting needs this world.
pub(crate) fn is_needed(setting: &Setting) -> bool {
    setting.interruptions != Interruptions::None || setting.stochastic
}

/// Lets a controller hold a fleet of this world against demand.
///
/// * `reacts`: whether it replaces and drains what is noticed, as ours does; else the fleet replaces what is gone.
pub(crate) fn hold(
    bench: &Bench<'_>,
    policy: &Policy,
    reacts: bool,
    controller: &mut impl Controller,
    mut course: Option<&mut Course>,
) -> (Tally, Losses) {
    let rules: &Rules = &bench.rules;
    let first = bench.first();
    let mut herd = Herd::new(bench, policy, reacts, first);
    let mut queue = Queue::default();
    let mut tally = Tally::default();
    let mut losses = Losses { lowest_share: 1.0, ..Losses::default() };
    let mut target = first;
    if let Some(course) = course.as_deref_mut() {
        course.pools = herd.pools().iter().map(|pool| (pool.name(), Vec::new())).collect();
    }
    for (step, demand) in bench.demand.iter().copied().enumerate() {
        herd.begin(step, target, &mut losses);
        herd.each_that_began_to_serve(step, |asked| controller.began_to_serve(step, asked));
        let count = herd.count(step, target);
        losses.gap += u64::from(count.missing);
        let wanted = count.serving + count.missing;
        if wanted >= FEW {
            losses.lowest_share = losses.lowest_share.min(real(count.serving.into()) / real(wanted.into()));
        }
        let (capacity, billed) = (f64::from(count.serving), f64::from(count.billed));
        let done = queue.serve(demand, capacity);
        tally.step(rules, demand, capacity, billed, &done);
        if let Some(course) = course.as_deref_mut() {
            let busy = if capacity > 0.0 { done.served / capacity / f64::from(Trace::STEP) } else { 0.0 };
            course.push(demand, capacity, billed, busy);
            herd.note_pools(step, &mut course.pools);
        }
        let (serving, pending) = (count.serving, count.pending);
        let wanted = controller.decide(&Seen { step, demand, capacity, done, serving, pending, target });
        if wanted != target {
            tally.change(rules, step, target, wanted);
            if let Some(course) = course.as_deref_mut() {
                let at = (small(step) + 1) * Trace::STEP;
                course.decisions.push(Change { at, from: target, to: wanted, reason: controller.reason() });
            }
            herd.resize(step, target, wanted);
            target = wanted;
        }
    }
    tally.bill(herd.topped_up());
    (tally, losses)
}

/// Seconds from the start to the beginning of a step.
fn second(step: usize) -> u64 {
    wide(step) * u64::from(Trace::STEP)
}

/// A span in whole steps, rounded up: at least one.
fn steps(seconds: f64) -> usize {
    index(crate::number::units(seconds / f64::from(Trace::STEP))).max(1)
}
