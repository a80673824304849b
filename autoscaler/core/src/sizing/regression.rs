//! A small regression that is learned as samples come.

use serde::{Deserialize, Serialize};

/// How many features it looks at.
pub(super) const FEATURES: usize = 6;
/// Uncertainty of each coefficient at first: a change of a quarter for a slope of one is nothing unusual.
const AT_FIRST: f64 = 1.0;
/// Uncertainty beyond which forgetting has nothing left to forget: a constant load teaches nothing, and must not
/// make the regression jumpy.
const MOST: f64 = 1e3;

/// Recursive least squares with forgetting: learns how slopes go on and how far levels return to the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Regression {
    coefficients: [f64; FEATURES],
    /// The inverse correlation of the features, row by row.
    uncertainty: [[f64; FEATURES]; FEATURES],
}

impl Default for Regression {
    fn default() -> Self {
        let uncertainty =
            std::array::from_fn(|i| std::array::from_fn(|k| if i == k { AT_FIRST } else { 0.0 }));
        Self { coefficients: [0.0; FEATURES], uncertainty }
    }
}

impl Regression {
    /// The change to expect.
    pub fn predict(&self, features: &[f64; FEATURES]) -> f64 {
        dot(&self.coefficients, features)
    }

    /// Learns what change followed. O(features^2).
    pub fn learn(&mut self, features: &[f64; FEATURES], change: f64, keep: f64) {
        let weighed: [f64; FEATURES] = std::array::from_fn(|i| dot(&self.uncertainty[i], features));
        let denominator = keep + dot(&weighed, features);
        let error = change - self.predict(features);
        for (coefficient, w) in self.coefficients.iter_mut().zip(&weighed) {
            *coefficient += w / denominator * error;
        }
        let spread: f64 = (0..FEATURES).map(|i| self.uncertainty[i][i]).sum();
        let keep = if spread > MOST { 1.0 } else { keep };
        for (row, wi) in self.uncertainty.iter_mut().zip(&weighed) {
            for (entry, wk) in row.iter_mut().zip(&weighed) {
                *entry = (*entry - wi * wk / denominator) / keep;
            }
        }
    }
}

fn dot(a: &[f64; FEATURES], b: &[f64; FEATURES]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_coefficients_that_made_the_changes() {
        let truth = [0.5, -0.25, 0.0, -0.4, 0.1, 0.9];
        let mut regression = Regression::default();
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 16) / 65_536.0 - 0.5
        };
        for _ in 0..500 {
            let features = std::array::from_fn(|_| random());
            regression.learn(&features, dot(&truth, &features), 0.999);
        }
        let probe = std::array::from_fn(|_| random());
        assert!((regression.predict(&probe) - dot(&truth, &probe)).abs() < 0.02);
    }

    #[test]
    fn a_load_that_stands_still_does_not_make_it_jumpy() {
        let mut regression = Regression::default();
        for _ in 0..100_000 {
            regression.learn(&[0.0; FEATURES], 0.0, 0.99);
        }
        regression.learn(&[0.01; FEATURES], 0.01, 0.99);
        assert!(regression.predict(&[1.0; FEATURES]).abs() < 10.0);
    }
}
