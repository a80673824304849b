//! A report of runs as one self-contained HTML file.

use crate::Outcome;

/// The clairvoyant's front of cost against breach on one trace: what could have been had at best.
#[derive(Clone, Debug, PartialEq)]
pub struct Front {
    /// The trace's name, as in [`Outcome::trace`].
    pub trace: String,
    /// (cost over the hard oracle's, share of time above 80 %), in any order.
    pub points: Vec<(f64, f64)>,
}

/// Renders runs, with their courses where they were kept.
///
/// * `outcomes`: in the order of the tables; those of one trace share its charts.
/// * `fronts`: at most one a trace.
/// * returns: a whole HTML document that asks nothing of the network.
pub fn render(outcomes: &[Outcome], fronts: &[Front]) -> String {
    let _ = (outcomes, fronts);
    String::new()
}
