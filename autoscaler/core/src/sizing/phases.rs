//! Minutes of the hour at which demand is known to jump: crontabs.

use super::ratios::{BINS, DOWN, Tails, UP};
use crate::number::short;
use serde::{Deserialize, Serialize};

/// Minutes of an hour.
const MINUTES: usize = 60;
/// Two bins of [`EDGES`] make one here: a phase is seen but 24 times a day.
const PAIR: usize = 2;
const STEPS: usize = UP / PAIR;
/// So many observations of the whole stand behind those of one minute, and of its twin half an hour away.
const SHRINK: f64 = 20.0;
/// What a phase may take away from a tail: never all, for 24 times a day are soon no proof.
const LEAST: f64 = 0.05;
/// Phases are used when they make jumps easier to foretell by this share (of log likelihood).
const WORTH: f64 = 0.1;
/// Jumps that are foretold when phases are judged: steps whose ratios begin at 1.18, 1.54 and 2.25.
const JUMPS: [usize; 3] = [12, 15, 17];

/// How demand came out over its forecast, by the minute of the hour that was forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Phases {
    /// Ratios above 1, by minute and step.
    counts: Vec<f32>,
    totals: Vec<f32>,
    /// Log likelihood of jumps, without and with phases.
    without: f64,
    with: f64,
}

impl Default for Phases {
    fn default() -> Self {
        Self { counts: vec![0.0; MINUTES * STEPS], totals: vec![0.0; MINUTES], without: 0.0, with: 0.0 }
    }
}

impl Phases {
    /// The phase of a time in milliseconds.
    pub fn of(millis: i64) -> u8 {
        u8::try_from(millis.div_euclid(60_000).rem_euclid(60)).unwrap_or(0)
    }

    /// Learns that a forecast for `phase` came out in `bin`.
    ///
    /// * `all`, `here`: the share of ratios at or above an edge, of all errors, and of those in the situation that the
    ///   forecast was made in: what would have been said without phases.
    pub fn learn(
        &mut self,
        phase: u8,
        bin: usize,
        weight: f64,
        keeps: (f64, f64),
        all: &impl Fn(usize) -> f64,
        here: &impl Fn(usize) -> f64,
    ) {
        let (keep, keep_score) = keeps;
        let step = bin.checked_sub(DOWN).map(|up| up / PAIR);
        self.judge(phase, step, keep_score, all, here);
        let row = usize::from(phase) * STEPS;
        let (weight, keep) = (short(weight), short(keep));
        for count in &mut self.counts[row..row + STEPS] {
            *count *= keep;
        }
        let total = &mut self.totals[usize::from(phase)];
        *total = *total * keep + weight;
        if let Some(step) = step {
            self.counts[row + step] += weight;
        }
    }

    /// Whether phases help to foretell jumps.
    pub fn help(&self) -> bool {
        self.with > self.without * (1.0 - WORTH)
    }

    /// What tails become at a phase.
    ///
    /// * `over`: the minutes after `phase` that count, too: the worst of them decides.
    pub fn apply(&self, phase: u8, over: usize, all: &Tails, here: &Tails) -> Tails {
        let mut factors = [0.0_f64; STEPS];
        for minute in 0..=over {
            let tails = self.tails((usize::from(phase) + minute) % MINUTES, 0, &|edge| all[edge]);
            for (factor, (step, tail)) in factors.iter_mut().zip(tails.iter().enumerate()) {
                let whole = all[DOWN + step * PAIR].max(1e-9);
                *factor = factor.max(tail / whole);
            }
        }
        let mut tails = *here;
        for bin in (DOWN..BINS).rev() {
            let factor = factors[(bin - DOWN) / PAIR].max(LEAST);
            tails[bin] = (here[bin] * factor).min(1.0).max(tails[bin + 1]);
        }
        for bin in (0..DOWN).rev() {
            tails[bin] = tails[bin].max(tails[bin + 1]);
        }
        tails
    }

    /// The share of ratios at or above each step at one minute of the hour, with what is known of its twin half
    /// an hour away and of the whole where it has not been seen often.
    ///
    /// * `lowest`: steps below it are not asked for, and stay 0.
    fn tails(&self, minute: usize, lowest: usize, all: &impl Fn(usize) -> f64) -> [f64; STEPS] {
        let twin = (minute + MINUTES / 2) % MINUTES;
        let total = |m: usize| f64::from(self.totals[m]);
        let (of_own, of_both) =
            (1.0 / (total(minute) + SHRINK), 1.0 / (total(minute) + total(twin) + SHRINK));
        let (mut own, mut both) = (0.0, 0.0);
        let mut tails = [0.0; STEPS];
        for step in (lowest..STEPS).rev() {
            own += f64::from(self.counts[minute * STEPS + step]);
            both += f64::from(self.counts[twin * STEPS + step]);
            let whole = all(DOWN + step * PAIR);
            let half = (own + both + SHRINK * whole) * of_both;
            tails[step] = (own + SHRINK * half) * of_own;
        }
        tails
    }

    /// Compares how well jumps were foretold without and with phases.
    fn judge(
        &mut self,
        phase: u8,
        step: Option<usize>,
        keep: f64,
        all: &impl Fn(usize) -> f64,
        here: &impl Fn(usize) -> f64,
    ) {
        let tails = self.tails(usize::from(phase), JUMPS[0], all);
        let likelihood = |share: f64, jumped: bool| {
            let share = share.clamp(1e-4, 1.0 - 1e-4);
            if jumped { share.ln() } else { (1.0 - share).ln() }
        };
        (self.without, self.with) = (self.without * keep, self.with * keep);
        for jump in JUMPS {
            let edge = DOWN + jump * PAIR;
            let jumped = step.is_some_and(|s| s >= jump);
            let factor = (tails[jump] / all(edge).max(1e-9)).max(LEAST);
            self.without += likelihood(here(edge), jumped);
            self.with += likelihood(here(edge) * factor, jumped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizing::ratios::{EDGES, Ratios, bin_of, tail_above};

    #[test]
    fn jumps_are_judged_where_the_constants_say() {
        for (jump, ratio) in JUMPS.into_iter().zip([1.18, 1.54, 2.25]) {
            assert!((EDGES[DOWN + jump * PAIR] - ratio).abs() < 0.01, "{}", EDGES[DOWN + jump * PAIR]);
        }
    }

    #[test]
    fn a_job_on_the_half_hour_is_found_and_other_minutes_are_left_in_peace() {
        let mut phases = Phases::default();
        let mut all = Ratios::default();
        for minute in 0..3 * 1440_i64 {
            let phase = Phases::of(minute * 60_000);
            let bin = bin_of(if phase % 30 == 2 { 3.0 } else { 1.0 });
            let tails = all.tails();
            let at = |edge: usize| tails[edge];
            phases.learn(phase, bin, 1.0, (1.0, 1.0), &at, &at);
            all.add(bin, 1.0, 1.0);
        }
        assert!(phases.help());
        let tails = all.tails();
        let above = |phase, over| tail_above(&phases.apply(phase, over, &tails, &tails), 2.0);
        assert!(above(32, 0) > 0.7, "{}", above(32, 0));
        assert!(above(20, 0) < 0.01, "{}", above(20, 0));
        assert!(above(28, 7) > 0.7, "what comes within the next minutes counts");
    }

    #[test]
    fn where_jumps_come_at_any_minute_phases_are_not_used() {
        let mut phases = Phases::default();
        let mut all = Ratios::default();
        for minute in 0..3 * 1440_i64 {
            let bin = bin_of(if minute % 37 == 0 { 3.0 } else { 1.0 });
            let tails = all.tails();
            let at = |edge: usize| tails[edge];
            phases.learn(Phases::of(minute * 60_000), bin, 1.0, (1.0, 1.0), &at, &at);
            all.add(bin, 1.0, 1.0);
        }
        assert!(!phases.help());
    }
}
