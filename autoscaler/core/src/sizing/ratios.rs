//! Distributions of ratios: what came over what was forecast.

use crate::number::short;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Bins for ratios above 1: from 0.06 % wide near 1 to 15 % wide near 8.
pub(super) const UP: usize = 40;
/// Bins for ratios below 1, which matter little: what comes out lower than forecast breaks no promise.
pub(super) const DOWN: usize = 16;
/// All bins.
pub(super) const BINS: usize = UP + DOWN;

/// The edges between bins, ascending; bin `k` holds `EDGES[k] <= ratio < EDGES[k + 1]`.
///
/// Fine near 1, where smooth services live, and coarse far from it, where only the size of a jump matters:
/// `ln ratio = 0.004 (e^(k a) - 1)` upwards to 8, and downwards to an eighth.
pub(super) static EDGES: LazyLock<[f64; BINS + 1]> = LazyLock::new(|| {
    let reach = 8.0_f64.ln();
    let side = |step: usize, steps: usize| {
        let (step, steps) =
            (f64::from(u8::try_from(step).unwrap_or(0)), f64::from(u8::try_from(steps).unwrap_or(1)));
        0.004 * ((step / steps * (reach / 0.004).ln_1p()).exp() - 1.0)
    };
    std::array::from_fn(|k| if k >= DOWN { side(k - DOWN, UP).exp() } else { (-side(DOWN - k, DOWN)).exp() })
});

/// The bin that a ratio falls into; the outermost for what lies beyond.
pub(super) fn bin_of(ratio: f64) -> usize {
    EDGES.partition_point(|edge| *edge <= ratio).saturating_sub(1).min(BINS - 1)
}

/// A histogram of ratios that forgets slowly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ratios {
    counts: Vec<f32>,
    total: f32,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { counts: vec![0.0; BINS], total: 0.0 }
    }
}

impl Ratios {
    /// A prior: `weight` observations, spread as `below` says (the share of ratios below a value, ascending).
    pub fn prior(weight: f64, below: impl Fn(f64) -> f64) -> Self {
        let mut ratios = Self::default();
        for (count, edges) in ratios.counts.iter_mut().zip(EDGES.windows(2)) {
            *count = short((below(edges[1]) - below(edges[0])).max(0.0) * weight);
            ratios.total += *count;
        }
        ratios
    }

    /// Adds an observation and forgets a little of the others.
    pub fn add(&mut self, bin: usize, weight: f64, keep: f64) {
        let (weight, keep) = (short(weight), short(keep));
        for count in &mut self.counts {
            *count *= keep;
        }
        self.counts[bin] += weight;
        self.total = self.total * keep + weight;
    }

    /// How many observations are remembered.
    pub fn total(&self) -> f64 {
        f64::from(self.total)
    }

    /// The observations in a bin.
    pub fn count(&self, bin: usize) -> f64 {
        f64::from(self.counts[bin])
    }

    /// The share of ratios at or above each edge: 1 at the lowest, 0 at the highest.
    pub fn tails(&self) -> Tails {
        let mut tails = [0.0; BINS + 1];
        let mut sum = 0.0;
        let share = 1.0 / self.total().max(f64::MIN_POSITIVE);
        for bin in (0..BINS).rev() {
            sum += self.count(bin);
            tails[bin] = (sum * share).min(1.0);
        }
        tails
    }
}

/// The share of ratios at or above each of [`EDGES`]: never ascending.
pub(super) type Tails = [f64; BINS + 1];

/// The share of ratios above `ratio`, linear between the edges.
///
/// * `from`: a bin at or below the one sought; moved up to it, so that ascending questions cost O(1) each.
pub(super) fn tail_above(tails: &Tails, ratio: f64, from: &mut usize) -> f64 {
    let edges = &*EDGES;
    while *from < BINS && edges[*from + 1] <= ratio {
        *from += 1;
    }
    if *from >= BINS {
        return 0.0;
    }
    let (low, high) = (edges[*from], edges[*from + 1]);
    let share = ((ratio - low) / (high - low)).clamp(0.0, 1.0);
    tails[*from] + (tails[*from + 1] - tails[*from]) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bins_reach_from_an_eighth_to_eightfold_and_meet_at_one() {
        assert!((EDGES[0] - 0.125).abs() < 1e-9 && (EDGES[BINS] - 8.0).abs() < 1e-9);
        assert_eq!(EDGES[DOWN], 1.0);
        assert!(EDGES.is_sorted());
        for (ratio, bin) in [(0.0, 0), (1.0, DOWN), (0.9999, DOWN - 1), (8.0, BINS - 1), (f64::MAX, BINS - 1)]
        {
            assert_eq!(bin_of(ratio), bin, "{ratio}");
        }
    }

    #[test]
    fn tails_say_how_much_lies_above() {
        let mut ratios = Ratios::default();
        for ratio in [0.5, 0.9, 1.5, 3.0] {
            ratios.add(bin_of(ratio), 1.0, 1.0);
        }
        let tails = ratios.tails();
        for (above, share) in [(0.1, 1.0), (0.7, 0.75), (1.2, 0.5), (2.0, 0.25), (5.0, 0.0), (100.0, 0.0)] {
            assert!((tail_above(&tails, above, &mut 0) - share).abs() < 1e-6, "{above}");
        }
    }

    #[test]
    fn what_was_seen_long_ago_counts_less() {
        let mut ratios = Ratios::default();
        ratios.add(bin_of(3.0), 1.0, 0.9);
        for _ in 0..50 {
            ratios.add(bin_of(1.0), 1.0, 0.9);
        }
        assert!(tail_above(&ratios.tails(), 2.0, &mut 0) < 0.001);
    }
}
