//! How large the fleet should be: what sizing says, within bounds, steps and holds.

use super::draft::Draft;
use super::herd::{Herd, sample_stale_after};
use super::rollout;
use crate::number::units;
use crate::sizing::Sizing;
use crate::{Bound, Hold, Member, Phase, Policy};
use fleet::{CapacityUnits, Source};

/// Where the target should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// The target that is wanted; within `min..=max`.
    pub target: u32,
    /// Whether what runs beyond the target may be given back: load is known, and less is not needed.
    pub may_trim: bool,
    /// Whether load is known: what was begun upon it may be ended.
    pub known: bool,
}

/// Where a target may go next, and why it goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetStep {
    /// The target that is wanted now; within `min..=max`.
    pub target: u32,
    /// What decided.
    pub way: Way,
}

/// What decides where a target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Too little: up to what is to be bought.
    Up,
    /// Too little: up by the largest step, which is not enough yet.
    UpAStep,
    /// Neither too little nor too much.
    Within,
    /// Too much, and nothing is to be given back.
    ScaleInOff,
    /// Too much, as far as is known, which is not well enough.
    LoadUnknown,
    /// Too much, and not known for long enough.
    Held,
    /// Too much: down to what is to be kept.
    Down,
    /// Too much: down by the largest step, which is not enough yet.
    DownAStep,
}

/// Bounds what sizing says by the policy: its least and most, its largest steps, its hold.
///
/// The arithmetic that [`crate::plan`] and the lab share, so that what is tried is what is run.
///
/// * `target`: the target in force.
/// * `load_is_known`: whether it is, well enough to give anything back; asked only where something would be.
///
/// O(1), no allocation. Without sizing only the bounds move the target: `target.clamp(min, max)`.
pub fn step_target(
    policy: &Policy,
    sizing: &Sizing,
    target: u32,
    load_is_known: impl FnOnce() -> bool,
) -> TargetStep {
    let min = policy.capacity.min;
    let max = policy.capacity.max.max(min);
    let bounded = target.clamp(min, max);
    let buy = sizing.buy.clamp(min, max);
    let keep = sizing.keep.clamp(buy, max);
    let to = |target, way| TargetStep { target, way };
    if target < buy {
        // `min` is reached at once, whatever the largest step.
        return match policy.scale_out.max_step.map(|step| target.saturating_add(step.max(1))) {
            Some(reach) if reach < buy => to(reach.max(min), Way::UpAStep),
            _ => to(buy, Way::Up),
        };
    }
    if target <= keep {
        return to(bounded, Way::Within);
    }
    if !policy.scale_in.enabled {
        return to(bounded, Way::ScaleInOff);
    }
    if !load_is_known() {
        return to(bounded, Way::LoadUnknown);
    }
    if sizing.followed < policy.scale_in.hold {
        return to(bounded, Way::Held);
    }
    // `max` is reached at once, too.
    match policy.scale_in.max_step.map(|step| target.saturating_sub(step.max(1))) {
        Some(reach) if reach > keep => to(reach.min(max), Way::DownAStep),
        _ => to(keep, Way::Down),
    }
}

/// Bounds what sizing says by the policy, and says why.
///
/// * `sizing`: `None` without any usable sample: then only the bounds move the target.
/// * `target`: the target in force.
/// * `blocked`: the units that work which Nomad could not place asks for; 0 where there is none.
pub(super) fn wish(
    draft: &mut Draft<'_>,
    sizing: Option<&Sizing>,
    herd: Option<&Herd<'_>>,
    target: u32,
    blocked: u32,
) -> Wish {
    let wish = by_load(draft, sizing, herd, target);
    let max = draft.policy.capacity.max.max(draft.policy.capacity.min);
    if blocked.min(max) <= wish.target {
        return wish;
    }
    if blocked > max {
        draft.report.bounds.push(Bound::Max);
    }
    Wish { target: blocked.min(max), ..wish }
}

/// What load asks for.
fn by_load(draft: &mut Draft<'_>, sizing: Option<&Sizing>, herd: Option<&Herd<'_>>, target: u32) -> Wish {
    let policy = draft.policy;
    let min = policy.capacity.min;
    let max = policy.capacity.max.max(min);
    let Some(sizing) = sizing else {
        draft.hold(Hold::NoSamples);
        return Wish { target: target.clamp(min, max), may_trim: false, known: false };
    };
    let step = step_target(policy, sizing, target, || load_is_known(draft, herd));
    let mut may_trim = false;
    match step.way {
        Way::Up => note_bounds(draft, sizing.buy, min, max),
        Way::UpAStep => {
            note_bounds(draft, sizing.buy, min, max);
            draft.report.bounds.push(Bound::ScaleOutStep);
        }
        Way::Within => {
            explain_band(draft, sizing, target, min, max);
            may_trim = load_is_known(draft, herd);
        }
        Way::ScaleInOff => draft.hold(Hold::ScaleInOff),
        // Said where it was asked.
        Way::LoadUnknown => {}
        Way::Held => {
            let keep = CapacityUnits::new(f64::from(target));
            draft.hold(Hold::ScaleInHeld { keep, hold: policy.scale_in.hold });
        }
        Way::Down => {
            note_bounds(draft, sizing.keep, min, max);
            may_trim = true;
        }
        Way::DownAStep => {
            note_bounds(draft, sizing.keep, min, max);
            draft.report.bounds.push(Bound::ScaleInStep);
            may_trim = true;
        }
    }
    Wish { target: step.target, may_trim, known: may_trim || step.way == Way::Held }
}

fn note_bounds(draft: &mut Draft<'_>, raw: u32, min: u32, max: u32) {
    if raw > max {
        draft.report.bounds.push(Bound::Max);
    } else if raw < min {
        draft.report.bounds.push(Bound::Min);
    }
}

/// Says why the target stays where it is although sizing needs another.
fn explain_band(draft: &mut Draft<'_>, sizing: &Sizing, target: u32, min: u32, max: u32) {
    let needed = units(sizing.needed.get());
    if needed > target {
        // Only `scale_out.hold` keeps what is bought beneath what is needed.
        if target < max {
            draft.hold(Hold::ScaleOutHeld { hold: draft.policy.scale_out.hold });
        } else {
            draft.report.bounds.push(Bound::Max);
        }
    } else if needed < target {
        if target > min {
            let keep = CapacityUnits::new(f64::from(sizing.keep));
            draft.hold(Hold::ScaleInHeld { keep, hold: draft.policy.scale_in.hold });
        } else {
            draft.report.bounds.push(Bound::Min);
        }
    }
}

/// Whether load is known well enough to give anything back: lately, and from enough of the instances.
pub(super) fn load_is_known(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) -> bool {
    let Some(latest) = draft.seen.latest else {
        draft.hold(Hold::NoSamples);
        return false;
    };
    let age = draft.age(latest.end);
    if age > sample_stale_after(latest.period) {
        draft.hold(Hold::SamplesStale { age });
        return false;
    }
    // What was launched in a roll-out and has never been of use has no load to tell of: a version that fails would keep itself alive.
    let serves = |m: &&&Member| m.phase == Phase::InService && rollout::has_been_ready(draft, m);
    let serving = herd.map_or(0, |h| h.alive.iter().filter(serves).count());
    let serving = u32::try_from(serving).unwrap_or(u32::MAX);
    // Agents report one by one: when most are silent, the few that speak do not speak for the fleet.
    if latest.source == Source::Push && latest.instances.saturating_mul(2) < serving {
        draft.hold(Hold::FewReport { reporting: latest.instances, serving });
        return false;
    }
    true
}
