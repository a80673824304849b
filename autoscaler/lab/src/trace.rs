//! Recorded demand, from every form in which an operator may have it.
//!
//! [`Trace::read`] takes CSV and CloudWatch's JSON, either of them plain or compressed, and tells them apart by
//! their first bytes; [`Trace::from_samples`] takes what a journal holds. Whatever the form, demand is linear between
//! two samples, and a trace is its mean over steps of ten seconds. Rows are read one at a time: however large the
//! file, what stays in memory is a number a step.

mod cloudwatch;
mod error;
mod reading;
mod steps;

pub use cloudwatch::Role;
pub use error::{Series, TraceError};
pub use reading::Recording;

use fleet::Timestamp;
use std::io::BufRead;
use steps::Steps;

/// Demand on the steps of the suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The path as it was given; what reports call the trace.
    pub name: String,
    /// When the first step begins: seconds of the recording are UTC seconds from the midnight in which day 0 began, a
    /// Thursday, where it does not say when it was made.
    pub start: Timestamp,
    /// Mean demand of each step of [`Trace::STEP`] seconds, in capacity units; finite, 0 or more, not empty.
    pub demand: Vec<f64>,
}

impl Trace {
    /// The length of a step, in seconds.
    pub const STEP: u32 = 10;
    /// The longest trace, in days: three years. A time beyond it is one in other units more likely than not.
    pub const LONGEST_DAYS: u32 = 1100;
    /// The largest demand, in capacity units: more than any fleet, and little enough to be added up.
    pub const LARGEST: f64 = 1e9;

    /// Reads a recording of any form; see [`Recording::read`].
    pub fn read(name: &str, reader: impl BufRead) -> Result<Self, TraceError> {
        Recording::read(name, reader).map(|recording| recording.trace)
    }

    /// A trace of samples, linear between them.
    ///
    /// * `samples`: (when, demand in capacity units), in any order; of several at one time the last holds.
    ///
    /// Fails where there are not two times, where a demand is negative or not finite, and where the samples lie more
    /// than [`Trace::LONGEST_DAYS`] apart.
    pub fn from_samples(
        name: &str,
        samples: impl IntoIterator<Item = (Timestamp, f64)>,
    ) -> Result<Self, TraceError> {
        let mut sorted: Vec<_> = samples.into_iter().collect();
        // Stable: of equal times the later one comes second, and holds.
        sorted.sort_by_key(|(at, _)| *at);
        let mut steps = Steps::default();
        for (index, (at, demand)) in sorted.iter().enumerate() {
            if sorted.get(index + 1).is_none_or(|(next, _)| next > at) {
                steps.push(*at, *demand).map_err(|problem| problem.at(name, 0))?;
            }
        }
        let found = sorted.len();
        steps.finish(name).ok_or_else(|| TraceError::TooFewSamples { file: name.to_owned(), found })
    }

    /// How long it is, in seconds.
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.demand.len()).unwrap_or(u64::MAX).saturating_mul(u64::from(Self::STEP))
    }

    /// When the step of an index begins.
    pub fn at(&self, step: usize) -> Timestamp {
        let seconds = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(i64::from(Self::STEP));
        Timestamp::from_millis(self.start.millis().saturating_add(seconds.saturating_mul(1000)))
    }

    /// The first part and the rest, each a trace of its own at its own time.
    ///
    /// * `step`: where the rest begins; kept within the trace, so that neither part is empty.
    /// * returns: `None` where the trace has a single step.
    pub fn split(&self, step: usize) -> Option<(Self, Self)> {
        let last = self.demand.len().checked_sub(1).filter(|last| *last > 0)?;
        let step = step.clamp(1, last);
        let (first, rest) = self.demand.split_at(step);
        let part = |start, demand: &[f64]| Self { name: self.name.clone(), start, demand: demand.to_vec() };
        Some((part(self.start, first), part(self.at(step), rest)))
    }

    /// The first part and the rest, the first being a share of it, 0..=1: as [`Trace::split`].
    pub fn split_at_share(&self, share: f64) -> Option<(Self, Self)> {
        let first = crate::number::length(self.demand.len()) * share.clamp(0.0, 1.0);
        self.split(usize::try_from(crate::number::whole(first.round())).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests;
