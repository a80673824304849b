//! What means hide: load that jumps within a sample's period.

use super::promise::BAND;
use super::tempo::Tempo;
use crate::number::real;
use serde::{Deserialize, Serialize};

/// The promise is kept or broken by steps of so many milliseconds.
const STEP: f64 = 10_000.0;
/// A median is followed in steps of this share, and larger ones at first: found within half an hour, and steady to
/// a tenth later on.
const FOLLOW: f64 = 0.01;
/// Below this share there is no noise to speak of.
const LEAST: f64 = 1e-3;
/// More than this is taken for something else than noise: a curve, seen in samples that are too long.
const MOST: f64 = 0.06;
/// So much of the objective's breach is aimed at.
const AIM: f64 = 0.85;
/// A straight course ends half its slope above its mean.
const HALF: f64 = 0.5;
/// The mean of the highest third of a normal variable is so many deviations above that of all.
const OUTER_THIRD: f64 = 1.1;
/// The median of the absolute value of a normal variable is so much of its deviation.
const MEDIAN: f64 = 0.6745;

/// How noisy load is within the period of a sample.
///
/// Noise without memory bends a row of means as a smooth course does not: the median of their second differences
/// shows it, whatever bursts there are beside it, and the mean of `n` steps shows the root of an `n`-th of what the
/// steps have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Grain {
    last: [f64; 2],
    /// The median of the second differences, as a share of the level.
    bend: f64,
    /// How many have been seen.
    seen: f64,
}

impl Default for Grain {
    fn default() -> Self {
        Self { last: [0.0; 2], bend: LEAST, seen: 0.0 }
    }
}

impl Grain {
    /// Takes a tick's mean in.
    pub fn see(&mut self, demand: f64) {
        let [before, then] = self.last;
        self.last = [then, demand];
        if before <= 0.0 || then <= 0.0 {
            return;
        }
        let bend = (demand - 2.0 * then + before).abs() / then;
        self.seen += 1.0;
        let follow = 1.0 + FOLLOW.max(1.0 / self.seen);
        let step = if bend > self.bend { follow } else { 1.0 / follow };
        self.bend = (self.bend * step).clamp(LEAST, 1.0);
    }

    /// Forgets the last ticks: what comes next does not follow upon them.
    pub fn skip(&mut self) {
        self.last = [0.0; 2];
    }

    /// The deviation of what a tick's mean hides, as a share of the mean.
    pub fn deviation(&self, tempo: &Tempo) -> f64 {
        let steps = real(tempo.tick) / STEP;
        if steps < 2.0 || self.bend <= LEAST {
            return 0.0;
        }
        // The second difference of independent means has six times their variance.
        (self.bend / MEDIAN * (steps / 6.0).sqrt()).min(MOST)
    }

    /// How far the first and the last third of a tick lie from its mean, by its slope and by what it hides.
    ///
    /// To be asked before the tick is taken in.
    pub fn spread(&self, tempo: &Tempo, demand: f64) -> f64 {
        let slope = if self.last[1] > 0.0 { demand - self.last[1] } else { 0.0 };
        (slope * HALF).hypot(self.deviation(tempo) * demand * OUTER_THIRD)
    }

    /// The highest mean utilisation with which what means hide stays below the level all but a share of the time.
    pub fn level_for_means(&self, tempo: &Tempo, level: f64, share: f64) -> f64 {
        let deviation = self.deviation(tempo);
        if deviation <= 0.0 {
            return level;
        }
        level / (1.0 + deviation * exceeded(share * AIM)) / (1.0 + BAND)
    }
}

/// The normal deviate that is exceeded with a small probability (Abramowitz and Stegun, 26.2.22: to 0.003).
pub(super) fn exceeded(share: f64) -> f64 {
    let t = (-2.0 * share.clamp(1e-6, 0.5).ln()).sqrt();
    t - (2.30753 + 0.27061 * t) / (1.0 + 0.99229 * t + 0.04481 * t * t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::{Power, Sample, Saturation, Source, Timestamp, Utilization};
    use std::time::Duration;

    fn tempo(seconds: u64) -> Tempo {
        let sample = Sample {
            source: Source::Cloudwatch,
            end: Timestamp::from_secs(0),
            period: Duration::from_secs(seconds),
            utilization: Utilization::new(0.5),
            power: Power::new(1.0),
            instances: 1,
            saturation: Saturation::default(),
        };
        Tempo::of(&sample, Duration::from_secs(120))
    }

    #[test]
    fn normal_deviates_are_those_of_the_tables() {
        for (share, deviate) in [(0.05, 1.645), (0.01, 2.326), (0.001, 3.090)] {
            assert!((exceeded(share) - deviate).abs() < 0.004, "{share}: {}", exceeded(share));
        }
    }

    #[test]
    fn noise_within_a_minute_is_told_by_the_minutes_means() {
        let mut grain = Grain::default();
        let mut state = 7_u64;
        // Twelve uniform numbers are as good as a normal one.
        let mut normal = || {
            let mut sum = -6.0;
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += f64::from(u32::try_from(state >> 32).expect("32 bits")) / 4_294_967_296.0;
            }
            sum
        };
        for minute in 0..1000 {
            let course = 8.0 + 3.0 * (f64::from(minute) / 200.0).sin();
            let mean = (0..6).map(|_| course * (1.0 + 0.03 * normal())).sum::<f64>() / 6.0;
            grain.see(mean);
        }
        let deviation = grain.deviation(&tempo(60));
        assert!((0.025..0.035).contains(&deviation), "{deviation}");
        let level = grain.level_for_means(&tempo(60), 0.8, 0.01);
        assert!((0.72..0.75).contains(&level), "{level}: 3 % x 2.33 = 7 % below 80 %, and the band");
    }

    #[test]
    fn a_smooth_course_hides_nothing_and_steps_are_not_split() {
        let mut grain = Grain::default();
        for minute in 0..1000 {
            // Straight for five minutes at a time, as recordings are.
            let (knot, part) = (minute / 5, f64::from(minute % 5) / 5.0);
            let at = |knot: i32| f64::from((knot * 7) % 11) + 2.0;
            grain.see(at(knot) + (at(knot + 1) - at(knot)) * part);
        }
        assert_eq!(grain.level_for_means(&tempo(60), 0.8, 0.01), 0.8);
        grain.bend = 0.1;
        assert_eq!(grain.deviation(&tempo(10)), 0.0, "10 s are all there is to see");
    }
}
