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

/// What makes a distance within a bin a share of it.
static NARROW: LazyLock<[f64; BINS]> =
    LazyLock::new(|| std::array::from_fn(|bin| 1.0 / (EDGES[bin + 1] - EDGES[bin])));

/// The bin that a ratio falls into; the outermost for what lies beyond.
pub(super) fn bin_of(ratio: f64) -> usize {
    EDGES.partition_point(|edge| *edge <= ratio).saturating_sub(1).min(BINS - 1)
}

/// A histogram of ratios that forgets slowly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ratios {
    /// How many lie at or above each edge but the last, which none does.
    above: Vec<f32>,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { above: vec![0.0; BINS] }
    }
}

impl Ratios {
    /// A prior: `weight` observations, spread as `below` says (the share of ratios below a value, ascending).
    pub fn prior(weight: f64, below: impl Fn(f64) -> f64) -> Self {
        let mut ratios = Self::default();
        let mut sum = 0.0;
        for (above, edges) in ratios.above.iter_mut().zip(EDGES.windows(2)).rev() {
            sum += (below(edges[1]) - below(edges[0])).max(0.0) * weight;
            *above = short(sum);
        }
        ratios
    }

    /// Adds an observation and forgets a little of the others.
    pub fn add(&mut self, bin: usize, weight: f64, keep: f64) {
        let (weight, keep) = (short(weight), short(keep));
        let (reached, beyond) = self.above.split_at_mut(bin + 1);
        for above in reached {
            *above = *above * keep + weight;
        }
        for above in beyond {
            *above *= keep;
        }
    }

    /// How many observations are remembered.
    pub fn total(&self) -> f64 {
        self.above(0)
    }

    /// How many of them lie at or above an edge.
    pub fn above(&self, edge: usize) -> f64 {
        f64::from(self.above[edge])
    }

    /// The share of ratios at or above an edge but the last, with `weight` observations behind them that are spread as
    /// `backing`: for who asks for a few.
    pub fn share_above(&self, weight: f64, backing: impl Fn(usize) -> f64) -> impl Fn(usize) -> f64 {
        let share = 1.0 / (self.total() + weight).max(f64::MIN_POSITIVE);
        move |edge| (self.above(edge) + weight * backing(edge)) * share
    }

    /// The share of ratios at or above each edge: 1 at the lowest, 0 at the highest.
    pub fn tails(&self) -> Tails {
        self.backed_by(0.0, &[0.0; BINS + 1])
    }

    /// The same, with `weight` observations behind them that are spread as `backing`.
    pub fn backed_by(&self, weight: f64, backing: &Tails) -> Tails {
        let share = 1.0 / (self.total() + weight).max(f64::MIN_POSITIVE);
        let mut tails = [0.0; BINS + 1];
        for ((tail, above), back) in tails.iter_mut().zip(&self.above).zip(backing) {
            *tail = (f64::from(*above) + weight * back) * share;
        }
        tails
    }
}

/// The share of ratios at or above each of [`EDGES`]: never ascending.
pub(super) type Tails = [f64; BINS + 1];

/// The edges at hand: who asks for them often spares a look at whether they have been made.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub edges: &'static [f64; BINS + 1],
    narrow: &'static [f64; BINS],
}

impl Scale {
    pub fn get() -> Self {
        Self { edges: &EDGES, narrow: &NARROW }
    }

    /// How far `ratio` lies into its bin, 0..=1.
    ///
    /// * `bin`: a bin at or below the one sought; moved up to it, so that ascending questions cost O(1) each. [`BINS`]
    ///   for what lies beyond.
    #[inline]
    pub fn into(self, ratio: f64, bin: &mut usize) -> f64 {
        let mut at = *bin;
        while at < BINS && self.edges[at + 1] <= ratio {
            at += 1;
        }
        *bin = at;
        if at >= BINS {
            return 0.0;
        }
        ((ratio - self.edges[at]) * self.narrow[at]).clamp(0.0, 1.0)
    }
}

/// The share of ratios above `ratio`, linear between the edges.
pub(super) fn tail_above(tails: &Tails, ratio: f64) -> f64 {
    let mut bin = bin_of(ratio);
    let share = Scale::get().into(ratio, &mut bin);
    if bin >= BINS { 0.0 } else { tails[bin] + (tails[bin + 1] - tails[bin]) * share }
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
            assert!((tail_above(&tails, above) - share).abs() < 1e-6, "{above}");
        }
    }

    #[test]
    fn what_was_seen_long_ago_counts_less() {
        let mut ratios = Ratios::default();
        ratios.add(bin_of(3.0), 1.0, 0.9);
        for _ in 0..50 {
            ratios.add(bin_of(1.0), 1.0, 0.9);
        }
        assert!(tail_above(&ratios.tails(), 2.0) < 0.001);
    }
}
