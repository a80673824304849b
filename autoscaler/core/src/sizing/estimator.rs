//! From utilisation to demand.

use fleet::Sample;
use serde::{Deserialize, Serialize};

/// Above this share a CPU cannot show how much more work there is. Below 1 because means hide moments, and
/// because load is never spread quite evenly.
const SATURATED: f64 = 0.95;
/// From this share on, tasks that wait for most of the period are taken as saturation, too.
const BUSY: f64 = 0.85;
/// Share of the period in which some task waited (PSI) that counts as waiting for most of it.
const WAITING: f64 = 0.6;
/// The most that load per core is believed: queues grow far beyond what new capacity would have to do.
const LOAD_BELIEVED: f64 = 8.0;

/// From this share on a CPU was busy all the time: less of a mean hides idle moments.
const FULL: f64 = 0.995;
/// Demand over power that saturation is taken to prove: just more than there was.
const HIDDEN: f64 = 1.001;

/// Demand of one sample's period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Estimate {
    /// What would have been busy if nothing had had to wait, in power.
    pub demand: f64,
    /// What was busy, in power: no more than there was.
    pub served: f64,
    /// What there was to be busy, in power.
    pub power: f64,
    /// Whether `demand` is a lower bound (or, by load, a guess).
    pub saturated: bool,
    /// Whether load per core told more than utilisation could.
    pub by_load: bool,
}

impl Estimate {
    /// Demand as the fleets on paper meet it: one that is no larger than what was saturated would have been, too.
    pub fn at_least(&self) -> f64 {
        if self.is_full() { self.demand.max(self.power * HIDDEN) } else { self.demand }
    }

    /// Whether all that there was has been busy all the time.
    pub fn is_full(&self) -> bool {
        self.served >= self.power * FULL
    }
}

/// Estimates the demand of a sample's period: utilisation x the power that produced it.
///
/// Where that power was saturated, runnable work per core says how much waited, as far as agents report it;
/// without them what was served is a lower bound, and is marked as one.
///
/// * returns: `None` for a sample that says nothing: no power, or no period.
pub(super) fn estimate(sample: &Sample) -> Option<Estimate> {
    let power = sample.power.get();
    if power <= 0.0 || sample.period.is_zero() {
        return None;
    }
    let served = sample.served().get();
    let shows = |share: Option<f64>, from: f64| share.is_some_and(|s| s.is_finite() && s >= from);
    let busy = sample.utilization.get();
    let saturated = busy >= SATURATED
        || shows(sample.saturation.saturated_share, 0.5)
        || (busy >= BUSY && shows(sample.saturation.psi, WAITING));
    let load = sample.saturation.load_per_core.filter(|l| saturated && l.is_finite());
    let by_load = load.unwrap_or(0.0).min(LOAD_BELIEVED) * power;
    Some(Estimate { demand: served.max(by_load), served, power, saturated, by_load: by_load > served })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::{Power, Saturation, Source, Timestamp, Utilization};
    use std::time::Duration;

    fn sample(utilization: f64, power: f64, saturation: Saturation) -> Sample {
        Sample {
            source: Source::Push,
            end: Timestamp::from_secs(10),
            period: Duration::from_secs(10),
            utilization: Utilization::new(utilization),
            power: Power::new(power),
            instances: 1,
            saturation,
        }
    }

    #[test]
    fn demand_is_utilization_times_the_power_that_produced_it() {
        let told = estimate(&sample(0.5, 8.0, Saturation::default())).expect("usable");
        assert_eq!((told.demand, told.saturated), (4.0, false));
    }

    #[test]
    fn a_saturated_fleet_is_asked_what_waits() {
        let load = |l| Saturation { load_per_core: Some(l), ..Saturation::default() };
        for (utilization, load_per_core, demand, by_load) in [
            (1.0, 3.0, 12.0, true),
            (1.0, 0.5, 4.0, false),
            (1.0, 1e9, 32.0, true),
            (1.0, f64::NAN, 4.0, false),
            (0.7, 3.0, 2.8, false),
        ] {
            let told = estimate(&sample(utilization, 4.0, load(load_per_core))).expect("usable");
            assert!((told.demand - demand).abs() < 1e-9, "{utilization} {load_per_core}: {told:?}");
            assert_eq!(told.by_load, by_load, "{utilization} {load_per_core}");
        }
    }

    #[test]
    fn saturation_shows_in_more_than_the_mean() {
        let uneven = Saturation { saturated_share: Some(0.6), ..Saturation::default() };
        let waiting = Saturation { psi: Some(0.7), ..Saturation::default() };
        assert!(estimate(&sample(0.8, 4.0, uneven)).expect("usable").saturated);
        assert!(estimate(&sample(0.9, 4.0, waiting)).expect("usable").saturated);
        assert!(!estimate(&sample(0.5, 4.0, waiting)).expect("usable").saturated);
        assert!(estimate(&sample(1.0, 4.0, Saturation::default())).expect("usable").saturated);
    }

    #[test]
    fn a_sample_without_power_or_period_says_nothing() {
        assert_eq!(estimate(&sample(0.5, 0.0, Saturation::default())), None);
        let instant = Sample { period: Duration::ZERO, ..sample(0.5, 4.0, Saturation::default()) };
        assert_eq!(estimate(&instant), None);
    }
}
