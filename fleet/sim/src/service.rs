//! How a fleet serves its demand, step by step: the rules of the world model.

use crate::demand::Demand;
use crate::num::{fraction, seconds, units};
use crate::rng::Rng;
use crate::spec::ServiceSpec;
use fleet::Timestamp;
use std::time::Duration;

/// What serves, and the work that waits.
///
/// What happens within a step (an instance begins to serve, another ends) counts by its share of the step.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) load: Demand,
    cursor: usize,
    chance: Rng,
    now: Running,
    /// `now` x milliseconds, since the step began.
    over: Running,
    settled: Timestamp,
    step_began: Timestamp,
    /// Work that waits, in unit-seconds.
    queue: f64,
    pub(crate) last: Step,
    pub(crate) totals: Totals,
}

/// How many instances run, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    /// Power in service, in millionths.
    pub(crate) power: i64,
    pub(crate) serving: i64,
    pub(crate) booting: i64,
    pub(crate) draining: i64,
}

/// What happened in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) end: Timestamp,
    /// Its length in seconds.
    pub(crate) length: f64,
    /// Mean demand, noise included.
    pub(crate) demand: f64,
    /// Mean capacity in service.
    pub(crate) capacity: f64,
    /// served / capacity; 1 where there is demand and no capacity.
    pub(crate) utilization: f64,
    /// Runnable work per core of the instances in service.
    pub(crate) load_per_core: f64,
    /// PSI `cpu some` of the instances in service.
    pub(crate) psi: f64,
    /// Mean utilisation of all that run, booting ones too; `None` where nothing runs.
    pub(crate) fleet_cpu: Option<f64>,
    /// Work that waits at its end, in unit-seconds.
    pub(crate) queue: f64,
}

/// Sums since the beginning, in unit-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) offered: f64,
    pub(crate) served: f64,
    pub(crate) dropped: f64,
}

impl Service {
    pub(crate) fn new(load: Demand, chance: Rng, now: Timestamp) -> Self {
        Self {
            load,
            cursor: 0,
            chance,
            now: Running::default(),
            over: Running::default(),
            settled: now,
            step_began: now,
            queue: 0.0,
            last: Step { end: now, ..Step::default() },
            totals: Totals::default(),
        }
    }
    /// What runs now.
    pub(crate) fn running(&self) -> Running {
        self.now
    }
    /// When the last step ended.
    pub(crate) fn last_end(&self) -> Timestamp {
        self.last.end
    }
    pub(crate) fn queue(&self) -> f64 {
        self.queue
    }
    /// Changes what runs from `at` on.
    pub(crate) fn change(&mut self, at: Timestamp, change: impl FnOnce(&mut Running)) {
        self.settle(at);
        change(&mut self.now);
    }
    fn settle(&mut self, at: Timestamp) {
        let millis = at.millis() - self.settled.millis();
        self.over.power += self.now.power * millis;
        self.over.serving += self.now.serving * millis;
        self.over.booting += self.now.booting * millis;
        self.over.draining += self.now.draining * millis;
        self.settled = at;
    }
    /// Ends the step that lasts until `end`.
    ///
    /// * `start`: of the world, from which the demand's time counts.
    /// * returns: what happened; `None` for a step of no length.
    pub(crate) fn step(&mut self, spec: &ServiceSpec, start: Timestamp, end: Timestamp) -> Option<Step> {
        self.settle(end);
        let over = std::mem::take(&mut self.over);
        let began = std::mem::replace(&mut self.step_began, end);
        let length = seconds(end.millis() - began.millis());
        if length <= 0.0 {
            return None;
        }
        let offset = |at: Timestamp| at.millis() - start.millis();
        let noise = self.noise(spec.noise);
        let demand = self.load.mean_from(&mut self.cursor, offset(began), offset(end)) * noise;
        // Work and capacity of the step, in unit-seconds.
        let (came, could) = (demand * length, seconds(over.power) / 1_000_000.0);
        let waited = self.queue;
        let served = (waited + came).min(could);
        let left = waited + came - served;
        let capacity = could / length;
        self.queue = left.min(capacity * spec.queue.as_secs_f64());
        self.totals.offered += came;
        self.totals.served += served;
        self.totals.dropped += left - self.queue;
        let utilization = match (could > 0.0, came > 0.0) {
            (true, _) => served / could,
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        let load_per_core = load_per_core(utilization, demand, capacity, waited, spec.queue);
        self.last = Step {
            end,
            length,
            demand,
            capacity,
            utilization,
            load_per_core,
            psi: psi(utilization, load_per_core),
            fleet_cpu: fleet_cpu(over, utilization, spec.boot_utilization),
            queue: self.queue,
        };
        Some(self.last)
    }
    /// A lognormal factor of mean 1 and this standard deviation.
    fn noise(&mut self, deviation: f64) -> f64 {
        if !(deviation.is_finite() && deviation > 0.0) {
            return 1.0;
        }
        let variance = libm::log(1.0 + deviation * deviation);
        libm::exp(variance.sqrt() * self.chance.normal() - 0.5 * variance)
    }
    /// What runs serves somebody else from now on.
    pub(crate) fn set_load(&mut self, load: Demand) {
        self.load = load;
        self.cursor = 0;
    }
}

/// Runnable work per core: what keeps the cores busy, or, when they cannot keep up, what comes for each unit of
/// capacity, and up to 1 more as the queue fills.
///
/// So a step of demand to three times the capacity shows as 3 in its first sample and as 4 when the queue is
/// full. Real run queues differ by the length of the tasks; this is what tasks that wait no longer than the queue
/// allows look like.
fn load_per_core(utilization: f64, demand: f64, capacity: f64, waited: f64, queue: Duration) -> f64 {
    if capacity <= 0.0 {
        return 0.0;
    }
    let longest = capacity * queue.as_secs_f64();
    let waiting = if longest > 0.0 { waited / longest } else { 0.0 };
    utilization.max(demand / capacity) + waiting
}

/// Share of time in which some task waited: little while cores are idle often, all of it once work queues.
///
/// The sixth power stands for a machine with a few cores: 18 % at 75 % busy, half at 90 %.
fn psi(utilization: f64, load_per_core: f64) -> f64 {
    if load_per_core > 1.0 {
        return 1.0;
    }
    let square = utilization * utilization;
    square * square * square
}

/// The unweighted mean over what ran, each by the time for which it ran: booting instances as busy as booting
/// makes them, draining ones idle.
fn fleet_cpu(over: Running, utilization: f64, boot_utilization: f64) -> Option<f64> {
    let all = over.serving + over.booting + over.draining;
    let busy = fraction(over.serving) * utilization + fraction(over.booting) * boot_utilization;
    (all > 0).then(|| busy / fraction(all))
}

impl Running {
    /// Power in service, in units.
    pub(crate) fn capacity(self) -> f64 {
        units(self.power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(demand: f64, power: i64) -> Service {
        let mut service = Service::new(Demand::constant(demand), Rng::new(1), Timestamp::EPOCH);
        service.change(Timestamp::EPOCH, |running| {
            (running.power, running.serving) = (power * 1_000_000, power);
        });
        service
    }

    fn step(service: &mut Service, end: i64) -> Step {
        service.step(&ServiceSpec::default(), Timestamp::EPOCH, Timestamp::from_secs(end)).expect("a step")
    }

    #[test]
    fn a_fleet_that_keeps_up_queues_nothing() {
        let mut service = service(3.0, 4);
        let last = step(&mut service, 10);
        assert_eq!((last.utilization, last.load_per_core, last.queue), (0.75, 0.75, 0.0));
        assert!(last.psi < 0.2);
        assert_eq!(service.totals, Totals { offered: 30.0, served: 30.0, dropped: 0.0 });
    }

    #[test]
    fn what_exceeds_thirty_seconds_of_capacity_is_dropped() {
        let mut service = service(6.0, 4);
        let queues: Vec<_> = (1..=8).map(|n| step(&mut service, n * 10).queue).collect();
        assert_eq!(queues, [20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 120.0, 120.0]);
        assert_eq!(service.totals, Totals { offered: 480.0, served: 320.0, dropped: 40.0 });
    }

    #[test]
    fn a_backlog_keeps_the_fleet_busy_after_the_demand_has_gone() {
        let mut service = service(6.0, 4);
        step(&mut service, 10);
        service.set_load(Demand::constant(1.0));
        assert_eq!(step(&mut service, 20).utilization, 0.75, "10 that came and 20 that waited, of 40");
    }

    #[test]
    fn a_fourfold_step_shows_in_its_first_sample() {
        let mut service = service(3.0, 4);
        assert_eq!(step(&mut service, 10).load_per_core, 0.75);
        service.set_load(Demand::constant(12.0));
        let first = step(&mut service, 20);
        assert_eq!((first.utilization, first.load_per_core, first.psi), (1.0, 3.0, 1.0));
        let loads: Vec<_> = (3..=6).map(|n| step(&mut service, n * 10).load_per_core).collect();
        assert!(loads.is_sorted() && loads[3] == 4.0, "the queue adds up to 1: {loads:?}");
    }

    #[test]
    fn capacity_counts_by_its_share_of_the_step() {
        let mut service = service(1.0, 2);
        service.change(Timestamp::from_secs(4), |running| running.power += 1_000_000);
        assert_eq!(step(&mut service, 10).capacity, 2.6);
        assert_eq!(step(&mut service, 20).capacity, 3.0);
    }

    #[test]
    fn without_capacity_everything_is_dropped() {
        let mut service = service(2.0, 0);
        let last = step(&mut service, 10);
        assert_eq!((last.utilization, last.load_per_core, last.fleet_cpu), (1.0, 0.0, None));
        assert_eq!(service.totals.dropped, 20.0);
    }

    #[test]
    fn booting_instances_dilute_the_fleets_mean() {
        let mut service = service(4.0, 4);
        service.change(Timestamp::EPOCH, |running| running.booting = 4);
        assert_eq!(step(&mut service, 10).fleet_cpu, Some(0.6), "four at 100 %, four at 20 %");
    }

    #[test]
    fn noise_leaves_the_mean_as_it_is() {
        let spec = ServiceSpec { noise: 0.3, ..ServiceSpec::default() };
        let mut service = service(1.0, 100);
        let steps = (1..=20_000).map(|n| service.step(&spec, Timestamp::EPOCH, Timestamp::from_secs(n * 10)));
        let demands: Vec<f64> = steps.map(|step| step.map_or(0.0, |step| step.demand)).collect();
        let mean = demands.iter().sum::<f64>() / 20_000.0;
        let deviation = (demands.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 20_000.0).sqrt();
        assert!((mean - 1.0).abs() < 0.01 && (deviation - 0.3).abs() < 0.01, "{mean} +- {deviation}");
    }
}
