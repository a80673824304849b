//! What can be turned, and how far at a time.

use autoscaler_core::Policy;
use fleet::{DurationText, Utilization};
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A setting of what a policy leaves to taste: everything that decides how much is paid for which promise, except the
/// promise itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knobs {
    /// `target.cpu`, in thousandths.
    target: u32,
    /// `capacity.min`.
    min: u32,
    /// `scale_in.hold`.
    in_hold: Duration,
    /// `scale_in.max_step`; `None`: no limit.
    in_step: Option<u32>,
    /// `scale_out.hold`.
    out_hold: Duration,
    /// `scale_out.max_step`; `None`: no limit.
    out_step: Option<u32>,
}

/// One knob: its place in a policy file, and its value as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// The block in the fleet.
    pub block: &'static str,
    /// The attribute in the block.
    pub attribute: &'static str,
    /// Its value as HCL; `None`: not said, which is without limit.
    pub value: Option<String>,
}

/// How far from the target in force other targets are tried, in thousandths.
const TARGETS: [i64; 10] = [-100, -80, -60, -40, -30, -20, -10, 10, 20, 30];
/// How many units above the least in force other minima are tried. Not below: a minimum is somebody's word.
const MINIMA: [u32; 3] = [1, 2, 4];
/// Holds on scale-in, in seconds.
const IN_HOLDS: [u64; 8] = [0, 30, 60, 120, 240, 480, 900, 1800];
/// Holds on scale-out, in seconds. Only those are tried that are shorter than the one in force, and only steps that are
/// larger: what slows growth down costs nothing until the day that is in no recording.
const OUT_HOLDS: [u64; 4] = [0, 30, 60, 120];
/// Largest steps, in units; without a limit is beyond the last.
const STEPS: [u32; 4] = [1, 2, 4, 8];

impl Knobs {
    /// Those of a policy.
    pub fn of(policy: &Policy) -> Self {
        Self {
            target: thousandths(policy.target),
            min: policy.capacity.min,
            in_hold: policy.scale_in.hold,
            in_step: policy.scale_in.max_step,
            out_hold: policy.scale_out.hold,
            out_step: policy.scale_out.max_step,
        }
    }

    /// A policy with these in place of its own.
    pub fn on(&self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        // What was not turned stays to the bit.
        if thousandths(policy.target) != self.target {
            policy.target = Utilization::new(f64::from(self.target) / 1000.0);
        }
        policy.capacity.min = self.min;
        policy.scale_in.hold = self.in_hold;
        policy.scale_in.max_step = self.in_step;
        policy.scale_out.hold = self.out_hold;
        policy.scale_out.max_step = self.out_step;
        policy
    }

    /// Settings in which one knob is one step further, to either side.
    ///
    /// * `base`: the policy in force: what is tried lies around it, never below its minimum, never slower on the way up,
    ///   and below the level of its objective.
    pub fn neighbours(&self, base: &Policy) -> Vec<Self> {
        let of = Self::of(base);
        let level = thousandths(base.objective.above);
        let targets = TARGETS
            .iter()
            .map(|by| u32::try_from(i64::from(of.target) + by).unwrap_or(0))
            .filter(|target| *target >= 50 && *target < level.min(951));
        let minima = MINIMA.iter().map(|by| of.min + by).filter(|min| *min < base.capacity.max);
        let size = |step: &Option<u32>| step.unwrap_or(u32::MAX);
        let steps = || STEPS.iter().map(|step| Some(*step)).chain([None]);
        let in_steps = ladder(steps().chain([of.in_step]), size);
        let out_steps = ladder(steps().filter(|s| size(s) > size(&of.out_step)).chain([of.out_step]), size);
        let seconds = |all: &'static [u64]| all.iter().map(|seconds| Duration::from_secs(*seconds));
        let in_holds = ladder(seconds(&IN_HOLDS).chain([of.in_hold]), |hold| *hold);
        let shorter = seconds(&OUT_HOLDS).filter(|hold| *hold < of.out_hold);
        let out_holds = ladder(shorter.chain([of.out_hold]), |hold| *hold);
        let same = |value: &u32| *value;
        let mut all = Vec::new();
        let mut add = |knobs: Self| all.push(knobs);
        beside(&ladder(targets.chain([of.target]), same), self.target, |target| {
            add(Self { target, ..*self });
        });
        beside(&in_holds, self.in_hold, |in_hold| add(Self { in_hold, ..*self }));
        beside(&ladder(minima.chain([of.min]), same), self.min, |min| add(Self { min, ..*self }));
        beside(&in_steps, self.in_step, |in_step| add(Self { in_step, ..*self }));
        beside(&out_steps, self.out_step, |out_step| add(Self { out_step, ..*self }));
        beside(&out_holds, self.out_hold, |out_hold| add(Self { out_hold, ..*self }));
        all
    }

    /// All of them, as a policy file has them.
    pub fn all(&self) -> [Knob; 6] {
        let knob = |block, attribute, value| Knob { block, attribute, value };
        let hold = |hold| Some(format!("\"{}\"", DurationText(hold)));
        let step = |step: Option<u32>| step.map(|step| step.to_string());
        [
            knob("capacity", "min", Some(self.min.to_string())),
            knob("target", "cpu", Some(format!("\"{}%\"", f64::from(self.target) / 10.0))),
            knob("scale_out", "max_step", step(self.out_step)),
            knob("scale_out", "hold", hold(self.out_hold)),
            knob("scale_in", "max_step", step(self.in_step)),
            knob("scale_in", "hold", hold(self.in_hold)),
        ]
    }

    /// Those that are not as in another setting.
    pub fn beyond(&self, other: &Self) -> Vec<Knob> {
        let pairs = self.all().into_iter().zip(other.all());
        pairs.filter(|(own, other)| own != other).map(|(own, _)| own).collect()
    }
}

impl Serialize for Knobs {
    /// By the names that a policy file has for them: `{"target.cpu": "75%", ...}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = |knob: Knob| {
            let value = knob.value.map(|value| value.trim_matches('"').to_owned());
            (format!("{}.{}", knob.block, knob.attribute), value)
        };
        serializer.collect_map(self.all().map(plain))
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, attribute, value } = self;
        write!(f, "{block}.{attribute} = {}", value.as_deref().unwrap_or("no limit"))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
fn thousandths(share: Utilization) -> u32 {
    (share.get() * 1000.0).round() as u32
}

/// Values in order, each once.
fn ladder<T: PartialEq, K: Ord>(values: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_by_key(|value| key(value));
    values.dedup();
    values
}

/// The rungs below and above a value.
fn beside<T: PartialEq + Copy>(ladder: &[T], value: T, mut take: impl FnMut(T)) {
    if let Some(at) = ladder.iter().position(|rung| *rung == value) {
        at.checked_sub(1).and_then(|below| ladder.get(below)).copied().into_iter().for_each(&mut take);
        ladder.get(at + 1).copied().into_iter().for_each(&mut take);
    }
}
