//! From samples to steps: the mean of each step, with straight lines between samples.

use super::{Trace, TraceError};
use fleet::Timestamp;

const STEP_MS: i64 = Trace::STEP as i64 * 1000;
const LONGEST_MS: i64 = Trace::LONGEST_DAYS as i64 * 86_400_000;

/// Collects samples, in the order of their times, into steps.
#[derive(Debug, Default)]
pub(super) struct Steps {
    start: i64,
    previous: Option<(i64, f64)>,
    /// Of the step that is not complete: its part of the mean, and the share of it that is covered.
    part: f64,
    covered: f64,
    demand: Vec<f64>,
}

/// What is wrong with a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Odd {
    Long { at: Timestamp, days: i64 },
    Demand { demand: f64 },
}

impl Odd {
    /// As an error, with its place.
    pub(super) fn at(self, file: &str, line: u64) -> TraceError {
        let file = file.to_owned();
        match self {
            Self::Long { at, days } => TraceError::Long { file, line, at, days },
            Self::Demand { demand } => TraceError::Demand { file, line, demand },
        }
    }
}

impl Steps {
    /// Adds a sample that is later than all before. One that is odd is not added.
    pub(super) fn push(&mut self, at: Timestamp, demand: f64) -> Result<(), Odd> {
        if !(0.0..=Trace::LARGEST).contains(&demand) {
            return Err(Odd::Demand { demand });
        }
        let time = at.millis();
        let Some((from, before)) = self.previous else {
            self.start = time;
            self.previous = Some((time, demand));
            return Ok(());
        };
        let length = time.saturating_sub(self.start);
        if length > LONGEST_MS {
            return Err(Odd::Long { at, days: length / 86_400_000 });
        }
        self.line((from, before), (time, demand));
        self.previous = Some((time, demand));
        Ok(())
    }

    /// Adds the straight line between two samples.
    fn line(&mut self, (from, before): (i64, f64), (to, after): (i64, f64)) {
        let value = |at: i64| before + (after - before) * (float(at - from) / float(to - from));
        let (mut at, mut left) = (from, before);
        while at < to {
            let end = to.min((at - (at - self.start) % STEP_MS).saturating_add(STEP_MS));
            let right = value(end);
            let share = float(end - at) / float(STEP_MS);
            self.part += 0.5 * (left + right) * share;
            self.covered += share;
            if (end - self.start) % STEP_MS == 0 {
                self.complete();
            }
            (at, left) = (end, right);
        }
    }

    fn complete(&mut self) {
        // A step that rows lie in is covered but for rounding.
        self.demand.push((self.part / self.covered).clamp(0.0, Trace::LARGEST));
        (self.part, self.covered) = (0.0, 0.0);
    }

    /// The trace; `None` where there were not two samples. The last step is the mean over what there is of it.
    pub(super) fn finish(mut self, name: &str) -> Option<Trace> {
        if self.covered > 0.0 {
            self.complete();
        }
        let start = Timestamp::from_millis(self.start);
        (!self.demand.is_empty()).then(|| Trace { name: name.to_owned(), start, demand: self.demand })
    }
}

/// Milliseconds within a trace as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "a trace has less than 2^37 milliseconds")]
fn float(millis: i64) -> f64 {
    millis as f64
}
