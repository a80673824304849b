//! Runs a policy through a trace, in the suite's world: instances of weight 1 whose boots all take equally long, a
//! queue, a metric that comes late.

pub(crate) mod fleet;
pub(crate) mod metric;
pub(crate) mod service;
pub(crate) mod tally;

use crate::bench::Bench;
use crate::number::{short, small};
use crate::outcome::Change;
use crate::{Course, Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;
use fleet::Fleet;
use metric::Seen;
use service::Queue;
use tally::{Rules, Tally};

/// Runs a policy over a trace, and scores it.
///
/// * `history`: what the policy may have learned from before; not scored.
/// * `policy`: bounds, target and objective of all runners, and the knobs of ours.
/// * `course`: whether the run is kept step by step.
///
/// Whoever runs several policies over one trace spares work with a [`Bench`].
pub fn backtest(
    trace: &Trace,
    history: Option<&Trace>,
    runner: Runner,
    policy: &Policy,
    setting: &Setting,
    course: bool,
) -> Outcome {
    Bench::new(trace, policy, setting).run(history, runner, policy, course)
}

/// Somebody who decides how large a fleet should be.
pub(crate) trait Controller {
    /// Sees what a step showed, and says which target is wanted at its end.
    fn decide(&mut self, seen: &Seen) -> u32;

    /// What it would want now if nothing made it wait or keep: for the split of regret.
    fn need(&self) -> u32;

    /// Hears of an instance that begins to serve: the step, and how many steps before it was asked for. Only a world
    /// in which that varies tells.
    fn began_to_serve(&mut self, step: usize, asked: usize) {
        let _ = (step, asked);
    }

    /// Why it wants what it last wanted.
    fn reason(&self) -> String;
}

/// Lets a controller hold a fleet against demand.
///
/// * `first`: instances in service at the start.
pub(crate) fn hold(
    rules: &Rules,
    demand: &[f64],
    first: u32,
    controller: &mut impl Controller,
    mut course: Option<&mut Course>,
) -> Tally {
    let mut fleet = Fleet::new(first, rules.boot);
    let mut queue = Queue::default();
    let mut tally = Tally::default();
    let mut target = first;
    for (step, demand) in demand.iter().copied().enumerate() {
        fleet.begin(step);
        let capacity = f64::from(fleet.serving());
        let billed = f64::from(fleet.billed());
        let done = queue.serve(demand, capacity);
        tally.step(rules, demand, capacity, billed, &done);
        if let Some(course) = course.as_deref_mut() {
            let busy = if capacity > 0.0 { done.served / capacity / f64::from(Trace::STEP) } else { 0.0 };
            course.push(demand, capacity, billed, busy);
        }
        let (serving, pending) = (fleet.serving(), fleet.pending());
        let wanted = controller.decide(&Seen { step, demand, capacity, done, serving, pending, target });
        if wanted == target {
            continue;
        }
        tally.change(rules, step, target, wanted);
        if let Some(course) = course.as_deref_mut() {
            let at = (small(step) + 1) * Trace::STEP;
            course.decisions.push(Change { at, from: target, to: wanted, reason: controller.reason() });
        }
        fleet.resize(step, wanted);
        target = wanted;
    }
    tally.bill(fleet.topped_up());
    tally
}

impl Course {
    pub(crate) fn push(&mut self, demand: f64, capacity: f64, billed: f64, utilization: f64) {
        self.demand.push(short(demand));
        self.capacity.push(short(capacity));
        self.billed.push(short(billed));
        self.utilization.push(short(utilization));
    }
}
