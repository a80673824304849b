//! How far forecasts rise within the minutes in which a release would have to be bought back.

use super::errors::Situation;
use super::ratios::{BINS, DOWN, EDGES, Ratios, bin_of};
use super::tempo::{RECENT, Tempo};
use crate::number::short;
use serde::{Deserialize, Serialize};

/// So many observations of the whole stand behind those of a situation.
const SHRINK: f64 = 30.0;
/// Nothing is kept beyond four times what is needed.
const MOST: f64 = 4.0;

/// Distributions of the highest forecast of the coming minutes over the forecast of now. 3 KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rises {
    all: Ratios,
    ordinary: Vec<Ratios>,
    /// Forecasts and their situations, by number of the tick modulo [`RECENT`].
    recent: Vec<(f32, u8)>,
    ticks: usize,
}

/// No ordinary situation.
const NONE: u8 = u8::MAX;

impl Default for Rises {
    fn default() -> Self {
        Self {
            all: Ratios::default(),
            ordinary: vec![Ratios::default(); 9],
            recent: vec![(0.0, NONE); RECENT],
            ticks: 0,
        }
    }
}

impl Rises {
    /// Takes a forecast in, and learns how far those since the one that is old enough have risen.
    pub fn learn(&mut self, tempo: &Tempo, forecast: f64, situation: Situation) {
        self.ticks += 1;
        self.recent[self.ticks % RECENT] = (short(forecast), number(situation));
        if self.ticks <= tempo.flip {
            return;
        }
        let at = |ago: usize| self.recent[(self.ticks + RECENT - ago) % RECENT];
        let (first, situation) = at(tempo.flip);
        if situation == NONE || first <= 0.0 {
            return;
        }
        let highest = (0..tempo.flip).map(|ago| at(ago).0).fold(first, f32::max);
        let bin = bin_of(f64::from(highest / first));
        self.all.add(bin, tempo.weight, tempo.keep.errors);
        self.ordinary[usize::from(situation)].add(bin, tempo.weight, tempo.keep.errors);
    }

    /// Moves on by ticks without forecasts.
    pub fn skip(&mut self, ticks: usize) {
        for _ in 0..ticks.min(RECENT) {
            self.ticks += 1;
            self.recent[self.ticks % RECENT] = (0.0, NONE);
        }
    }

    /// The rises that are exceeded with these probabilities (descending) in a situation; at least 1.
    pub fn exceeded<const N: usize>(&self, situation: Situation, with: &[f64; N]) -> [f64; N] {
        let mut rises = [1.0; N];
        let number = number(situation);
        if number == NONE || self.all.total() <= 0.0 {
            return rises;
        }
        let own = &self.ordinary[usize::from(number)];
        let (whole, share) = (SHRINK / self.all.total(), 1.0 / (own.total() + SHRINK));
        let exceeds = |edge: usize| (own.above(edge) + whole * self.all.above(edge)) * share;
        let mut edge = DOWN;
        for (rise, with) in rises.iter_mut().zip(with) {
            while edge < BINS && exceeds(edge) > *with {
                edge += 1;
            }
            *rise = EDGES[edge].min(MOST);
        }
        rises
    }
}

fn number(situation: Situation) -> u8 {
    match situation {
        Situation::Usual | Situation::AtRest => 4,
        Situation::Ordinary(number) => number.min(8),
        Situation::Surprised | Situation::Saturated | Situation::SaturatedByLoad => NONE,
    }
}
