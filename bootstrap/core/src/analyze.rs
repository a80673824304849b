//! What a boot's time went to.

use crate::{Report, Step, StepReport};
use fleet::Timestamp;

/// The steps that were done, slowest first, with their seconds.
pub fn blame(report: &Report) -> Vec<(Step, f64)> {
    let mut steps: Vec<(Step, f64)> =
        report.steps.iter().filter_map(|step| Some((step.step, step.ended.and(step.seconds)?))).collect();
    steps.sort_by(|a, b| b.1.total_cmp(&a.1));
    steps
}

/// A step of the chain that nothing could have been faster than.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The step.
    pub step: Step,
    /// When it stood.
    pub ended: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// From the step that stood last back over those that each one waited for: last first.
pub fn critical_chain(report: &Report) -> Vec<Link> {
    let link = |step: &StepReport| {
        Some(Link { step: step.step, ended: step.ended?, seconds: step.seconds.unwrap_or_default() })
    };
    let last = |of: &[Step]| {
        let steps = report.steps.iter().filter(|step| of.contains(&step.step));
        // Of two that stood at the same time the later one of the graph.
        steps.filter_map(link).max_by_key(|link| (link.ended, link.step))
    };
    let mut chain: Vec<Link> = last(&Step::ALL).into_iter().collect();
    while let Some(next) = chain.last().and_then(|link| last(&needed(report, link.step))) {
        chain.push(next);
    }
    chain
}

/// The steps that were waited for: through those that were left out to those before them.
fn needed(report: &Report, step: Step) -> Vec<Step> {
    let done = |step: Step| report.steps.iter().any(|report| report.step == step && report.ended.is_some());
    let direct = step.after().iter();
    direct.flat_map(|&step| if done(step) { vec![step] } else { needed(report, step) }).collect()
}
