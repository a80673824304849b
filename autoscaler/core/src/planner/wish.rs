//! How large the fleet should be: what sizing says, within bounds, steps and holds.

use super::draft::Draft;
use super::herd::{Herd, sample_stale_after};
use crate::number::units;
use crate::sizing::Sizing;
use crate::{Bound, Hold, Phase};
use fleet::{CapacityUnits, Source};

/// Where the target should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// The target that is wanted; within `min..=max`.
    pub target: u32,
    /// Whether what runs beyond the target may be given back: load is known, and less is not needed.
    pub may_trim: bool,
}

/// Bounds what sizing says by the policy.
///
/// * `sizing`: `None` without any usable sample: then only the bounds move the target.
/// * `target`: the target in force.
pub(super) fn wish(
    draft: &mut Draft<'_>,
    sizing: Option<&Sizing>,
    herd: Option<&Herd<'_>>,
    target: u32,
) -> Wish {
    let min = draft.policy.capacity.min;
    let max = draft.policy.capacity.max.max(min);
    let bounded = target.clamp(min, max);
    let Some(sizing) = sizing else {
        draft.hold(Hold::NoSamples);
        return Wish { target: bounded, may_trim: false };
    };
    let buy = sizing.buy.clamp(min, max);
    let keep = sizing.keep.clamp(buy, max);
    if target < buy {
        note_bounds(draft, sizing.buy, min, max);
        return Wish { target: step_up(draft, target, buy, min), may_trim: false };
    }
    if target <= keep {
        explain_band(draft, sizing, target, min, max);
        let may_trim = load_is_known(draft, herd);
        return Wish { target: bounded, may_trim };
    }
    if !draft.policy.scale_in.enabled {
        draft.hold(Hold::ScaleInOff);
        return Wish { target: bounded, may_trim: false };
    }
    if !load_is_known(draft, herd) {
        return Wish { target: bounded, may_trim: false };
    }
    if sizing.followed < draft.policy.scale_in.hold {
        let keep = CapacityUnits::new(f64::from(target));
        draft.hold(Hold::ScaleInHeld { keep, hold: draft.policy.scale_in.hold });
        return Wish { target: bounded, may_trim: false };
    }
    note_bounds(draft, sizing.keep, min, max);
    Wish { target: step_down(draft, target, keep, max), may_trim: true }
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

/// Up by the largest step at most; `min` is reached at once.
fn step_up(draft: &mut Draft<'_>, target: u32, buy: u32, min: u32) -> u32 {
    match draft.policy.scale_out.max_step.map(|step| target.saturating_add(step.max(1))) {
        Some(reach) if reach < buy => {
            draft.report.bounds.push(Bound::ScaleOutStep);
            reach.max(min)
        }
        _ => buy,
    }
}

/// Down by the largest step at most; `max` is reached at once.
fn step_down(draft: &mut Draft<'_>, target: u32, keep: u32, max: u32) -> u32 {
    match draft.policy.scale_in.max_step.map(|step| target.saturating_sub(step.max(1))) {
        Some(reach) if reach > keep => {
            draft.report.bounds.push(Bound::ScaleInStep);
            reach.min(max)
        }
        _ => keep,
    }
}

/// Whether load is known well enough to give anything back: lately, and from enough of the instances.
fn load_is_known(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) -> bool {
    let Some(latest) = draft.seen.latest else {
        draft.hold(Hold::NoSamples);
        return false;
    };
    let age = draft.age(latest.end);
    if age > sample_stale_after(latest.period) {
        draft.hold(Hold::SamplesStale { age });
        return false;
    }
    let serving = herd.map_or(0, |h| h.alive.iter().filter(|m| m.phase == Phase::InService).count());
    let serving = u32::try_from(serving).unwrap_or(u32::MAX);
    // Agents report one by one: when most are silent, the few that speak do not speak for the fleet.
    if latest.source == Source::Push && latest.instances.saturating_mul(2) < serving {
        draft.hold(Hold::FewReport { reporting: latest.instances, serving });
        return false;
    }
    true
}
