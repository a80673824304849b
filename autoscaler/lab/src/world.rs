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
    /// The least share of the capacity that was to serve which did, and which could have.
    pub lowest_share: f64,
    pub lowest_possible: f64,
    /// Steps in which less than [`ENOUGH`] of it did, and could have.
    pub short: u64,
    pub possibly_short: u64,
}

/// The share of the capacity that is to serve that shall be there whatever AWS takes back.
const ENOUGH: f64 = 0.6;

impl Losses {
    /// Takes note of what serves, of what is wanted, and of the most that pools could have had.
    fn see(&mut self, serving: u32, wanted: u32, possible: Option<u32>) {
        if wanted < FEW {
            return;
        }
        let share = |units: u32| real(units.min(wanted).into()) / real(wanted.into());
        let (is, could) = (share(serving), share(possible.unwrap_or(wanted)));
        self.lowest_share = self.lowest_share.min(is);
        self.lowest_possible = self.lowest_possible.min(could);
        self.short += u64::from(is < ENOUGH);
        self.possibly_short += u64::from(could < ENOUGH);
    }
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
    let mut losses = Losses { lowest_share: 1.0, lowest_possible: 1.0, ..Losses::default() };
    let mut target = first;
    if let Some(course) = course.as_deref_mut() {
        course.pools = herd.pools().iter().map(|pool| (pool.name(), Vec::new())).collect();
    }
    for (step, demand) in bench.demand.iter().copied().enumerate() {
        herd.begin(step, target, &mut losses);
        herd.each_that_began_to_serve(step, |asked| controller.began_to_serve(step, asked));
        let count = herd.count(step, target);
        losses.gap += u64::from(count.missing);
        losses.see(count.serving, count.serving + count.missing, herd.possible(step));
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
