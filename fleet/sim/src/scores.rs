//! What a run cost, and how it went.

use crate::instances::InstanceData;
use crate::num::{ceil, fraction, seconds, whole};
use crate::pools::PoolState;
use crate::service::Step;
use crate::spec::ServiceSpec;
use fleet::{Timestamp, UsdPerHour};
use serde::Serialize;
use std::time::Duration;

/// How a run went for one fleet, from the start of the world (or [`crate::World::reset_scores`]) until now.
/// Shares are 0..=1; names as in the world model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// How long it lasted.
    pub hours: f64,
    /// Unit-hours billed, by the fleet's weights.
    pub cost_unit_hours: f64,
    /// What they cost, at their pools' prices.
    pub cost_usd: f64,
    /// What the same hours would have cost on demand; `None` where a pool's on-demand price is not known.
    pub on_demand_usd: Option<f64>,
    /// Unit-hours of `ceil(demand / target)` at every step: exactly enough, always at once.
    pub ideal_unit_hours: f64,
    /// Unit-hours of `ceil(highest demand / target)` all the time: what one would run without an autoscaler.
    pub static_peak_unit_hours: f64,
    /// Share of time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// Share of time with demand above the capacity in service.
    pub saturated_ratio: f64,
    /// Share of the work that was dropped.
    pub unserved_ratio: f64,
    /// Share of time with more than a second of work waiting.
    pub queue_over_1s_ratio: f64,
    /// Work served over capacity in service.
    pub mean_utilization: f64,
    /// Mean distance of utilisation from the target.
    pub mean_abs_error_ratio: f64,
    /// Changes of the target.
    pub actions: u64,
    /// Of these, scale-outs within boot + 5 min of a scale-in.
    pub flips: u64,
    /// Instances that AWS took back.
    pub interruptions: u64,
}

/// The shortest time that is billed.
const SHORTEST: Duration = Duration::from_secs(60);
/// How long after a scale-in (and boot) a scale-out is still its reversal.
const FLIP: Duration = Duration::from_secs(300);

/// The sums behind [`Scores`].
#[derive(Clone, Debug)]
pub(crate) struct ScoreBook {
    since: Timestamp,
    bill: Bill,
    time: f64,
    breach80: f64,
    saturated: f64,
    queue_over_1s: f64,
    error: f64,
    offered: f64,
    served: f64,
    dropped: f64,
    capacity: f64,
    ideal: f64,
    peak: f64,
    actions: u64,
    flips: u64,
    last_scale_in: Option<Timestamp>,
    pub(crate) interruptions: u64,
}

/// Whole seconds of instances, exactly: millionths of a unit, and of a dollar, times seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bill {
    unit_seconds: i64,
    /// Price per hour x seconds.
    usd: u64,
    on_demand: u64,
    on_demand_unknown: bool,
}

impl Bill {
    fn add(&mut self, weight: i64, pool: &PoolState, billed: i64) {
        let times = |price: UsdPerHour| price.micros().saturating_mul(u64::try_from(billed).unwrap_or(0));
        self.unit_seconds = self.unit_seconds.saturating_add(weight.saturating_mul(billed));
        self.usd = self.usd.saturating_add(times(pool.spec.price));
        match pool.list_price() {
            Some(price) => self.on_demand = self.on_demand.saturating_add(times(price)),
            None => self.on_demand_unknown = true,
        }
    }
}

impl ScoreBook {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self {
            since,
            bill: Bill::default(),
            time: 0.0,
            breach80: 0.0,
            saturated: 0.0,
            queue_over_1s: 0.0,
            error: 0.0,
            offered: 0.0,
            served: 0.0,
            dropped: 0.0,
            capacity: 0.0,
            ideal: 0.0,
            peak: 0.0,
            actions: 0,
            flips: 0,
            last_scale_in: None,
            interruptions: 0,
        }
    }
    /// Notes a step.
    ///
    /// * `dropped`, `served`: in it, in unit-seconds.
    pub(crate) fn note_step(&mut self, spec: &ServiceSpec, step: &Step, served: f64, dropped: f64) {
        let Step { length, demand, capacity, utilization, queue, .. } = *step;
        let when = |condition: bool| if condition { length } else { 0.0 };
        self.time += length;
        self.breach80 += when(demand > 0.8 * capacity);
        self.saturated += when(demand > capacity);
        self.queue_over_1s += when(queue > capacity);
        self.error += (utilization - spec.target).abs() * length;
        self.offered += demand * length;
        self.served += served;
        self.dropped += dropped;
        self.capacity += capacity * length;
        self.ideal += f64::from(ceil(demand / spec.target)) * length;
        self.peak = self.peak.max(demand);
    }
    /// Notes a change of the target.
    pub(crate) fn note_target(&mut self, from: u32, to: u32, boot: Duration, now: Timestamp) {
        if from == to {
            return;
        }
        self.actions += 1;
        if to < from {
            self.last_scale_in = Some(now);
        } else if self.last_scale_in.take().is_some_and(|last| now <= last + boot + FLIP) {
            self.flips += 1;
        }
    }
    /// Notes the end of an instance.
    pub(crate) fn note_end(&mut self, instance: &InstanceData, pool: &PoolState, end: Timestamp) {
        self.bill.add(instance.weight, pool, billed_seconds(instance, end, self.since));
    }
    /// The scores, with what is still running.
    pub(crate) fn scores<'a>(
        &self,
        spec: &ServiceSpec,
        alive: impl Iterator<Item = &'a InstanceData>,
        pools: &[PoolState],
        now: Timestamp,
    ) -> Scores {
        let mut bill = self.bill;
        for instance in alive {
            bill.add(instance.weight, &pools[instance.pool], billed_seconds(instance, now, self.since));
        }
        let of = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
        let usd =
            |micros_hours: u64| fraction(i64::try_from(micros_hours).unwrap_or(i64::MAX)) / 3600.0 / 1e6;
        Scores {
            hours: seconds(now.millis() - self.since.millis()) / 3600.0,
            cost_unit_hours: fraction(bill.unit_seconds) / fraction(whole(1)) / 3600.0,
            cost_usd: usd(bill.usd),
            on_demand_usd: (!bill.on_demand_unknown).then(|| usd(bill.on_demand)),
            ideal_unit_hours: self.ideal / 3600.0,
            static_peak_unit_hours: f64::from(ceil(self.peak / spec.target)) * self.time / 3600.0,
            breach80_ratio: of(self.breach80, self.time),
            saturated_ratio: of(self.saturated, self.time),
            unserved_ratio: of(self.dropped, self.offered),
            queue_over_1s_ratio: of(self.queue_over_1s, self.time),
            mean_utilization: of(self.served, self.capacity),
            mean_abs_error_ratio: of(self.error, self.time),
            actions: self.actions,
            flips: self.flips,
            interruptions: self.interruptions,
        }
    }
}

/// Whole seconds that an instance is billed for from `since` on, when it ends (or is looked at) at `end`: from
/// its request, begun seconds whole, a minute at least.
fn billed_seconds(instance: &InstanceData, end: Timestamp, since: Timestamp) -> i64 {
    let Some(from) = instance.billed_from() else {
        return 0;
    };
    let until = end.max(from + SHORTEST);
    (until.millis() - from.max(since).millis()).max(0).div_euclid(1000)
        + i64::from((until.millis() - from.max(since).millis()).max(0).rem_euclid(1000) > 0)
}
