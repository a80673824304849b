//! What metrics services answer: points, paired with the power that served in their periods.

use crate::timeline::Served;
use crate::{CompactSample, State};
use fleet::ports::Series;
use fleet::{InstanceId, Power, Sample, Saturation, Source, Timestamp, Utilization};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a series is the mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeanOf {
    /// Of all that runs, booting instances included, each counted alike.
    Running,
    /// Of what serves.
    Serving,
}

/// For whom points are read: what is known already, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Who tells.
    pub source: Source,
    /// The distance of the points where the answer does not show it.
    pub period: Option<Duration>,
    /// The end of the newest sample that is known, of whatever source.
    pub known: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

impl Reading {
    /// The period of a point, if it is over and mostly news.
    fn news(&self, start: Timestamp, period: Duration) -> Option<(Timestamp, Timestamp)> {
        let end = start + period;
        let over = end <= self.now;
        let news = self.known.is_none_or(|known| end > known && start + period / 2 >= known);
        (over && news).then_some((start, end))
    }

    fn sample(&self, end: Timestamp, period: Duration, utilization: f64, power: Power) -> CompactSample {
        CompactSample::of(&Sample {
            source: self.source,
            end,
            period,
            utilization: Utilization::new(utilization),
            power,
            instances: 0,
            saturation: Saturation::default(),
        })
    }

    /// The samples of a series about the whole fleet, oldest first.
    pub fn of_fleet(&self, series: &Series, mean_of: MeanOf, state: &State) -> Vec<CompactSample> {
        let Some(period) = series.period.or(self.period) else { return Vec::new() };
        let points = series.points.iter().filter_map(|(start, utilization)| {
            let (start, end) = self.news(*start, period)?;
            let Served { serving, running, .. } = state.timeline.over(start, end)?;
            if serving == Power::ZERO {
                return None;
            }
            let utilization = match mean_of {
                MeanOf::Serving => utilization.get(),
                // What boots idles: all of the work was done by what served.
                MeanOf::Running => utilization.get() * running.get() / serving.get(),
            };
            Some(self.sample(end, period, utilization, serving))
        });
        in_order(points.collect())
    }

    /// The samples of series about single instances, oldest first: means by power over those that served
    /// throughout. A period waits until nearly all have told about it, or until it is old.
    pub fn of_instances(&self, series: &[(InstanceId, Series)], state: &State) -> Vec<CompactSample> {
        let period = series.iter().find_map(|(_, series)| series.period).or(self.period);
        let Some(period) = period else { return Vec::new() };
        let mut told: BTreeMap<Timestamp, BTreeMap<&InstanceId, f64>> = BTreeMap::new();
        for (instance, series) in series {
            for (start, utilization) in &series.points {
                told.entry(*start).or_default().insert(instance, utilization.get());
            }
        }
        let samples = told.iter().filter_map(|(start, told)| {
            let (start, end) = self.news(*start, period)?;
            let (mut busy, mut heard, mut all, mut count) = (0.0, 0.0, 0.0, 0_u32);
            for (id, power, since) in state.serving(self.now) {
                if since > start {
                    continue;
                }
                all += power.get();
                if let Some(utilization) = told.get(id) {
                    busy += power.get() * utilization;
                    heard += power.get();
                    count += 1;
                }
            }
            let old = end + period * 2 + Duration::from_secs(60) <= self.now;
            let enough = if old { all / 2.0 } else { all * 0.9 };
            if heard <= 0.0 || heard < enough {
                return None;
            }
            let power = state.timeline.over(start, end).map_or(Power::new(all), |served| served.serving);
            let sample = self.sample(end, period, busy / heard, power);
            Some(CompactSample { instances: count, ..sample })
        });
        in_order(samples.collect())
    }
}

/// Answers may be out of order; what is folded is not.
fn in_order(mut samples: Vec<CompactSample>) -> Vec<CompactSample> {
    samples.sort_by_key(|sample| sample.end);
    samples.dedup_by_key(|sample| sample.end);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn reading(now: i64, known: Option<i64>) -> Reading {
        Reading { source: Source::Cloudwatch, period: None, known: known.map(at), now: at(now) }
    }

    fn series(points: &[(i64, f64)]) -> Series {
        let points = points.iter().map(|(start, share)| (at(*start), Utilization::new(*share))).collect();
        Series { period: Some(Duration::from_secs(60)), points }
    }

    fn state() -> State {
        let mut state = State::default();
        let served = |from, serving, running| Served {
            from: at(from),
            serving: Power::new(serving),
            running: Power::new(running),
            instances: 1,
        };
        state.timeline.push(served(0, 4.0, 4.0));
        state.timeline.push(served(120, 4.0, 8.0));
        state.timeline.push(served(180, 8.0, 8.0));
        state
    }

    #[test]
    fn points_are_paired_with_the_power_of_their_own_time() {
        let points = series(&[(120, 0.4), (0, 0.8), (180, 0.5), (240, 0.5)]);
        let samples = reading(270, None).of_fleet(&points, MeanOf::Running, &state());
        let shown: Vec<_> = samples
            .iter()
            .map(|s| (s.end.secs(), s.sample().utilization.get(), s.sample().power.get()))
            .collect();
        // At 120 four booting units idled beside four that were 80 % busy; at 240 the minute is not over.
        assert_eq!(shown, [(60, 0.8, 4.0), (180, 0.8, 4.0), (240, 0.5, 8.0)]);
        let served = reading(270, None).of_fleet(&points, MeanOf::Serving, &state());
        assert_eq!(served[1].sample().utilization.get(), 0.4);
    }

    #[test]
    fn what_is_known_already_is_not_told_twice() {
        let points = series(&[(0, 0.8), (60, 0.8), (120, 0.4)]);
        let ends = |known| -> Vec<i64> {
            let samples = reading(300, Some(known)).of_fleet(&points, MeanOf::Serving, &state());
            samples.iter().map(|s| s.end.secs()).collect()
        };
        assert_eq!(ends(60), [120, 180]);
        assert_eq!(ends(85), [120, 180], "most of that minute is news");
        assert_eq!(ends(100), [180], "most of that minute is known from elsewhere");
        let one = Series { period: None, points: vec![(at(0), Utilization::new(0.5))] };
        assert!(reading(300, None).of_fleet(&one, MeanOf::Serving, &state()).is_empty(), "of unknown length");
    }
}
