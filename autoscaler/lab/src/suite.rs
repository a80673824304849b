//! Runs a policy through a trace.

use crate::{Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;

/// Runs a policy over a trace, and scores it.
///
/// * `history`: what the policy may have learned from before; not scored.
/// * `policy`: bounds, target and objective of all runners, and the knobs of ours.
/// * `course`: whether the run is kept step by step.
pub fn backtest(
    trace: &Trace,
    history: Option<&Trace>,
    runner: Runner,
    policy: &Policy,
    setting: &Setting,
    course: bool,
) -> Outcome {
    let _ = (trace, history, runner, policy, setting, course);
    unreachable!("replaced by the first slice")
}
