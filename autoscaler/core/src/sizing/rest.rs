//! A load that stays where it is: it is given a size, and left alone.

use super::grain::exceeded;
use super::tempo::Tempo;
use crate::Policy;
use crate::number::{real, short, signed, whole};
use serde::{Deserialize, Serialize};

/// Length of a block in milliseconds.
const BLOCK: i64 = 600_000;
/// Blocks that are looked at: six hours, in which hardly a day's course stays within [`RANGE`].
const BLOCKS: usize = 36;
/// So many must be known: an hour, so that a new fleet is at rest well within two.
const ENOUGH: usize = 6;
/// The highest block of a load that comes to rest is so many times its lowest at most, and of one that stays at rest:
/// one that wanders within 10 % has 1.22.
const RANGE: f32 = 1.25;
const RANGE_LEFT: f32 = 1.28;
/// Beyond this range (that of 5 % is 1.105) a wander must be so many times as plain: a day's slopes lie there, too.
const NARROW: f32 = 1.13;
const PLAIN: f64 = 2.0;
/// What is at rest stays so until its course is so much plainer than that of what comes to rest.
const STAYS: f64 = 0.7;
/// Blocks that deviate by less stand still.
const STILL: f64 = 0.01;
/// Squares of the steps between blocks over squares of their deviations: independent blocks have 2, a wander that
/// remembers itself for two hours 0.16, a straight course over `n` blocks `12 / n^2`.
const WANDERS: f64 = 0.06;
const COURSE: f64 = 16.0;
/// The load is no longer at rest when a tick lies so many deviations, and by so much, outside of the blocks.
const OUTSIDE: f64 = 4.0;
const OUTSIDE_LEAST: f64 = 0.1;
/// However far blocks stray, the highest and so much more is all that is kept for them.
const BEYOND: f64 = 1.05;
/// A fleet at rest is too small, or too large, where it leaves so many times the room that keeps the promise: what
/// lies between is left alone, because deviations are known to a tenth at best.
const TOO_SMALL: f64 = 0.8;
const TOO_LARGE: f64 = 1.25;
/// What has been seen of a slow wander may be so much less than what there is of it.
const UNSEEN: f64 = 1.5;
/// What mean utilisation may be above the target: the contract allows half a point.
const MEAN_ABOVE: f64 = 0.0045;
const MEAN_AIMED: f64 = 0.0025;

/// The sizes between which a load at rest leaves its fleet alone, in units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settled {
    /// Fewer are too few.
    pub least: f64,
    /// More are too many.
    pub most: f64,
}

/// Means of the last hours, and how far load strays within them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// Means of blocks, the newest last, and the variance within each as a share of the square of its mean.
    blocks: Vec<(f32, f32)>,
    /// How many of them are known: the last.
    known: usize,
    /// The block under way: ticks, their sum, and that of their squares.
    count: f64,
    sum: f64,
    squares: f64,
    /// Variance within blocks, on average.
    within: f64,
    /// The mean of the blocks, and the deviation of the whole and of the blocks; as shares of the mean.
    mean: f64,
    stray: f64,
    wander: f64,
    resting: bool,
    /// Whether it has come to rest with the newest block.
    fresh: bool,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            blocks: vec![(0.0, 0.0); BLOCKS],
            known: 0,
            count: 0.0,
            sum: 0.0,
            squares: 0.0,
            within: 0.0,
            mean: 0.0,
            stray: 0.0,
            wander: 0.0,
            resting: false,
            fresh: false,
        }
    }
}

impl Rest {
    /// Takes a tick's demand in.
    ///
    /// * `hidden`: the deviation of what its mean hides, as a share of it.
    pub fn see(&mut self, tempo: &Tempo, demand: f64, hidden: f64) {
        if self.resting {
            let away = (OUTSIDE * self.stray).max(OUTSIDE_LEAST);
            if (demand / self.mean - 1.0).abs() > away {
                // What was is no longer.
                self.forget();
            }
        }
        self.count += 1.0;
        self.sum += demand;
        self.squares += demand * demand;
        if self.count * real(tempo.tick) >= real(BLOCK) {
            self.turn(hidden);
        }
    }

    /// Forgets what was: it says nothing of what comes.
    pub fn forget(&mut self) {
        self.known = 0;
        (self.count, self.sum, self.squares) = (0.0, 0.0, 0.0);
        self.resting = false;
    }

    /// The sizes between which the fleet is left alone, while load is at rest.
    ///
    /// * `unit`: power of a unit.
    pub fn settled(&self, policy: &Policy, unit: f64) -> Option<Settled> {
        if !self.resting {
            return None;
        }
        let (level, target) = (policy.objective.above.get().max(0.01), policy.target.get().max(0.01));
        let room = exceeded(policy.objective.at_most);
        let units = |times: f64, share: f64| self.mean * (1.0 + times) / share / unit;
        // Ten minutes above the level are too many, however low the mean of six hours is.
        let newest = f64::from(self.blocks[BLOCKS - 1].0);
        let least = (newest * (1.0 + TOO_SMALL * room * self.within.sqrt()) / level / unit)
            .max(newest.min(self.mean) * (1.0 - self.wander) / (target + MEAN_ABOVE) / unit);
        let wide = self.stray.hypot(self.wander * (UNSEEN * UNSEEN - 1.0).sqrt());
        let highest = self.blocks[BLOCKS - self.known..].iter().fold(0.0, |high, b| b.0.max(high));
        let highest = f64::from(highest) / self.mean * BEYOND * (1.0 + TOO_LARGE * room * self.within.sqrt());
        let most = units((TOO_LARGE * room * wide).min(highest - 1.0), level)
            .max(units(2.0 * (self.wander - STILL).max(0.0), target + MEAN_AIMED));
        let round = |units: f64| whole(units - 1e-6);
        let most = round(most.max(least));
        // A size to stay with is chosen with room to either side, once.
        Some(Settled { least: if self.fresh { most } else { round(least) }, most })
    }

    /// Ends a block.
    fn turn(&mut self, hidden: f64) {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0) / (mean * mean);
        (self.count, self.sum, self.squares) = (0.0, 0.0, 0.0);
        self.blocks.rotate_left(1);
        self.blocks[BLOCKS - 1] = (short(mean), short(variance));
        self.known = (self.known + 1).min(BLOCKS);
        let blocks = &self.blocks[BLOCKS - self.known..];
        let count = real(signed(blocks.len()));
        let average = |of: &dyn Fn(&(f32, f32)) -> f64| blocks.iter().map(of).sum::<f64>() / count;
        let mean = average(&|b| f64::from(b.0));
        let between = average(&|b| (f64::from(b.0) / mean - 1.0).powi(2));
        let steps = blocks.windows(2).map(|w| (f64::from(w[1].0 - w[0].0) / mean).powi(2)).sum::<f64>();
        let bends = steps / (between * count).max(f64::MIN_POSITIVE);
        let (low, high) =
            blocks.iter().fold((f32::MAX, 0.0_f32), |(low, high), b| (low.min(b.0), high.max(b.0)));
        self.within = average(&|b| f64::from(b.1)) + hidden * hidden;
        (self.mean, self.wander) = (mean, between.sqrt());
        self.stray = (between + self.within).sqrt();
        let before = self.resting;
        let (range, stays) = if before { (RANGE_LEFT, STAYS) } else { (RANGE, 1.0) };
        let plain = if high > low * NARROW { PLAIN } else { 1.0 };
        // What goes one way all the time, or there and back, is a course and no wander.
        let wanders = self.wander < STILL || bends >= (COURSE / (count * count)).max(WANDERS * plain) * stays;
        self.resting = wanders && self.known >= ENOUGH && high <= low * range;
        self.fresh = self.resting && !before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::{Power, Sample, Saturation, Source, Timestamp, Utilization};
    use std::time::Duration;

    fn minutes() -> Tempo {
        let sample = Sample {
            source: Source::Cloudwatch,
            end: Timestamp::from_secs(0),
            period: Duration::from_secs(60),
            utilization: Utilization::new(0.5),
            power: Power::new(1.0),
            instances: 1,
            saturation: Saturation::default(),
        };
        Tempo::of(&sample, Duration::from_secs(120))
    }

    /// What a load has settled at after some minutes.
    fn settled(minutes_of: usize, load: impl Fn(f64) -> f64) -> Option<Settled> {
        let mut rest = Rest::default();
        for minute in 0..minutes_of {
            rest.see(&minutes(), load(real(signed(minute))), 0.0);
        }
        rest.settled(&Policy::default(), 1.0)
    }

    #[test]
    fn a_load_that_stands_still_has_one_size() {
        assert_eq!(settled(50, |_| 6.0), None, "not yet known for an hour");
        for (demand, size) in [(6.0, 8.0), (6.1, 9.0), (0.3, 1.0), (75.0, 100.0)] {
            let Settled { least, most } = settled(130, |_| demand).expect("at rest");
            assert_eq!((least, most), (size, size), "{demand}");
        }
    }

    #[test]
    fn a_load_that_wanders_has_room_to_either_side() {
        // Two swings of an hour or so that never meet.
        let wander = |t: f64| 6.1 * (1.0 + 0.02 * (t / 9.0).sin() + 0.02 * (t / 23.0).sin());
        let Settled { least, most } = settled(400, wander).expect("at rest");
        assert!(least < most, "{least} to {most}");
        assert!((8.0..=10.0).contains(&least), "{least}");
    }

    #[test]
    fn the_course_of_a_day_is_no_rest_and_a_step_ends_it() {
        assert_eq!(settled(400, |t| 6.0 * (1.0 + t / 4000.0)), None, "one way all the time");
        assert_eq!(settled(400, |t| 6.0 + t / 100.0), None);
        assert_eq!(settled(400, |t| if t < 390.0 { 6.0 } else { 12.0 }), None);
    }
}
