//! Recorded demand.

use fleet::Timestamp;

/// Demand on the steps of the suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The path as it was given; what reports call the trace.
    pub name: String,
    /// When the first step begins: seconds of the recording are UTC seconds from midnight of day 0 where it does not
    /// say when it was made.
    pub start: Timestamp,
    /// Mean demand of each step of [`Trace::STEP`] seconds, in capacity units; finite, 0 or more, not empty.
    pub demand: Vec<f64>,
}

impl Trace {
    /// The length of a step, in seconds.
    pub const STEP: u32 = 10;
}
