//! What is remembered from cycle to cycle, and survives a crash: small, and journaled.

use crate::{DrainCause, Member, Rollout, TroubleKind};
use fleet::ports::Change;
use fleet::{InstanceId, Market, NoticeKind, Pool, Timestamp, Weight};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What writes are counted in. One is sent some milliseconds after it was planned.
const MINUTE: Duration = Duration::from_secs(61);

/// A fleet's memory. A plain value: the same memory, snapshot and policy give the same plan.
///
/// Steady cycles leave it as it is, so that a journal which keeps changes alone stays small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What we last set, or found when we took the fleet over: anything else was written by somebody else.
    pub expected: Option<Expected>,
    /// How often somebody else was seen to write, since we took the fleet over.
    pub foreign_writes: u32,
    /// When that was seen last.
    pub foreign_write_at: Option<Timestamp>,
    /// Set from the second foreign write on, until an operator resumes: hands off.
    pub ceded: bool,
    /// Removals in flight, by victim.
    pub removals: BTreeMap<InstanceId, Removal>,
    /// Since when the fleet has been seen carrying out a modification, without a break.
    pub modifying_since: Option<Timestamp>,
    /// When the target was last raised by us.
    pub last_scale_out: Option<Timestamp>,
    /// When the target was last lowered by us.
    pub last_scale_in: Option<Timestamp>,
    /// Since when more has been running than is asked for, without a break and without a removal under way.
    pub excess_since: Option<Timestamp>,
    /// Replacements under way, by the instance that is to be replaced.
    pub replacements: BTreeMap<InstanceId, Replacement>,
    /// Instances that were replaced, and when that was done with: heard of again, they are not replaced again. Kept
    /// for an hour.
    pub replaced: BTreeMap<InstanceId, Timestamp>,
    /// Whether the fleet counts an instance that is marked for interruption, as was seen of the last ones; AWS does not
    /// say.
    pub counts_marked: Option<bool>,
    /// What is held against pools, with the time that it was last brought up to date: it decays.
    pub pools: Vec<PoolMemory>,
    /// Since when spot capacity that was asked for has not come.
    pub spot_short_since: Option<Timestamp>,
    /// On-demand capacity that stands in for spot.
    pub fallback: Option<Fallback>,
    /// When instances were last replaced for the sake of the spread, within the last hour.
    pub repairs: Vec<Timestamp>,
    /// Instances that stay after all, until their nodes have been seen to take work again; and since when.
    pub restoring: BTreeMap<InstanceId, Timestamp>,
    /// Instances whose nodes are drained and ineligible with nobody to account for it, and since when that is seen.
    pub unaccounted: BTreeMap<InstanceId, Timestamp>,
    /// The roll-out that is under way, or the last one. A leader of before there was any left none.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// When the last writes to the fleet were planned, of the minute before the newest: whoever leads next keeps the same budget. A
    /// leader of before it was kept left none.
    #[serde(default)]
    pub writes: Vec<Timestamp>,
    /// Those that are on their way out and protected, so that whoever leads next and cannot look leaves their nodes alone, too.
    #[serde(default)]
    pub protected: BTreeSet<InstanceId>,
}

impl Memory {
    /// Takes back a modification that was refused for certain: the cloud answered that nothing was done.
    ///
    /// To be called for every outcome of a `Modify` but success and `Unclear`. An unclear one is left as it is:
    /// describes will tell. Does nothing when no write is under way.
    pub fn modify_refused(&mut self) {
        let Some(expected) = &mut self.expected else { return };
        if expected.shown {
            return;
        }
        let Some(before) = expected.before.take() else { return };
        *expected = Expected {
            target: before.target,
            on_demand_target: before.on_demand_target,
            written: None,
            shown: true,
            before: None,
        };
        if let Some(rollout) = &mut self.rollout {
            rollout.asked.take_if(|asked| !asked.shown);
        }
        self.take_steps_back();
    }

    /// What was to show with a modification that did not happen is where it was before.
    pub(crate) fn take_steps_back(&mut self) {
        for removal in self.removals.values_mut().filter(|r| r.step == RemovalStep::Lowering) {
            removal.step = RemovalStep::Draining;
        }
        for replacement in self.replacements.values_mut().filter(|r| r.step == ReplacementStep::Raising) {
            replacement.step = ReplacementStep::Waiting;
        }
    }

    /// What was to show with the last modification has shown.
    pub(crate) fn take_steps_on(&mut self) {
        for removal in self.removals.values_mut().filter(|r| r.step == RemovalStep::Lowering) {
            removal.step = RemovalStep::Lowered;
        }
        for replacement in self.replacements.values_mut().filter(|r| r.step == ReplacementStep::Raising) {
            replacement.step = ReplacementStep::Raised;
        }
    }

    /// How many writes to the fleet were planned within the last minute, whoever led.
    pub fn writes_last_minute(&self, now: Timestamp) -> u32 {
        let lately = self.writes.iter().filter(|at| now.since(**at) < MINUTE).count();
        u32::try_from(lately).unwrap_or(u32::MAX)
    }

    /// So many writes to the fleet are planned now.
    pub(crate) fn note_writes(&mut self, count: usize, now: Timestamp) {
        if count > 0 {
            self.writes.retain(|at| now.since(*at) < MINUTE);
            self.writes.extend(std::iter::repeat_n(now, count));
        }
    }

    /// When one that is on its way out goes, whatever we do; `None` where nothing says so.
    pub fn deadline_of(&self, id: &InstanceId) -> Option<Timestamp> {
        let replacement = || self.replacements.get(id).and_then(|r| r.deadline);
        self.removals.get(id).map_or_else(replacement, |r| r.deadline)
    }

    /// Visits every time that is remembered.
    ///
    /// * `past`: sees when something happened, or was begun; `ahead`: sees deadlines.
    pub fn visit_times(
        &mut self,
        mut past: impl FnMut(&mut Timestamp),
        mut ahead: impl FnMut(&mut Timestamp),
    ) {
        let Self {
            expected,
            foreign_writes: _,
            foreign_write_at,
            ceded: _,
            removals,
            modifying_since,
            last_scale_out,
            last_scale_in,
            excess_since,
            replacements,
            replaced,
            counts_marked: _,
            pools,
            spot_short_since,
            fallback,
            repairs,
            restoring,
            unaccounted,
            rollout,
            writes,
            protected: _,
        } = self;
        writes.iter_mut().for_each(&mut past);
        expected.iter_mut().filter_map(|e| e.written.as_mut()).for_each(&mut past);
        [foreign_write_at, modifying_since, last_scale_out, last_scale_in, excess_since, spot_short_since]
            .into_iter()
            .flatten()
            .for_each(&mut past);
        for Removal { step: _, since, weight: _, market: _, cause: _, drain_until, deadline } in
            removals.values_mut()
        {
            past(since);
            drain_until.iter_mut().chain(deadline).for_each(&mut ahead);
        }
        for Replacement { cause: _, step: _, since, weight: _, market: _, drain_until, deadline } in
            replacements.values_mut()
        {
            past(since);
            drain_until.iter_mut().chain(deadline).for_each(&mut ahead);
        }
        let stamps = replaced.values_mut().chain(restoring.values_mut()).chain(unaccounted.values_mut());
        let of_pools = pools.iter_mut().flat_map(|pool| pool.told.values_mut().chain([&mut pool.at]));
        stamps.chain(repairs).chain(of_pools).for_each(&mut past);
        if let Some(Fallback { units: _, since, tried }) = fallback {
            past(since);
            tried.iter_mut().for_each(&mut past);
        }
        if let Some(rollout) = rollout {
            rollout.visit_times(&mut past);
        }
    }

    /// Takes over what another leader wrote, by a clock that may have been wrong by an hour: when a drain ends by that clock says
    /// nothing, how long it was given does. It is given as much again, for how much of it was over when this was written is not known
    /// either: never more than the policy gives, and never less than is left of what Nomad was told. When an instance goes is
    /// AWS's word, by AWS's clock, and stays.
    ///
    /// * `longest`: what the policy gives a drain.
    pub fn take_over(&mut self, longest: Duration, now: Timestamp) {
        let removals = self.removals.values_mut().map(|r| (r.since, &mut r.drain_until));
        let replacements = self.replacements.values_mut().map(|r| (r.since, &mut r.drain_until));
        for (since, until) in removals.chain(replacements) {
            if let Some(until) = until {
                // One that was over before the step was begun stays so.
                *until = now + until.since(since).min(longest) - since.since(*until);
            }
        }
        self.forget_the_future(now);
    }

    /// Brings times that lie ahead back to now: by a clock that was set back, or by another's, waiting for them would take as long as
    /// the two are apart. A deadline that lies ahead is where it belongs.
    pub fn forget_the_future(&mut self, now: Timestamp) {
        self.visit_times(|at| *at = (*at).min(now), |_| {});
    }

    /// An operator's `resume`: the fleet is taken over again as it is found.
    pub fn resume(&mut self) {
        self.expected = None;
        self.foreign_writes = 0;
        self.foreign_write_at = None;
        self.ceded = false;
    }
}

/// A target that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The total target.
    pub target: u32,
    /// The on-demand part of it.
    pub on_demand_target: u32,
    /// When we last wrote; `None` when the target was found, not written.
    pub written: Option<Timestamp>,
    /// Whether a describe from after the write has shown it. Nothing else is written before that.
    pub shown: bool,
    /// What was there before the write: seeing that one for a while is lag, not somebody else.
    pub before: Option<Change>,
}

/// One removal: let its work go, lower the target, wait until the fleet shows it, terminate, see it gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The step that is under way.
    pub step: RemovalStep,
    /// Since when; for `Terminating`, when the call was last sent.
    pub since: Timestamp,
    /// What the victim counts for in the target.
    pub weight: Weight,
    /// Whose part of the target that is.
    pub market: Market,
    /// Why.
    pub cause: DrainCause,
    /// The deadline of its drain, once that was begun.
    pub drain_until: Option<Timestamp>,
    /// When it goes, whatever we do.
    pub deadline: Option<Timestamp>,
}

impl Removal {
    /// A removal that begins now.
    pub fn of(victim: &Member, cause: DrainCause, now: Timestamp) -> Self {
        Self {
            step: RemovalStep::Draining,
            since: now,
            weight: victim.weight,
            market: victim.pool.market,
            cause,
            drain_until: None,
            deadline: None,
        }
    }
}

/// One replacement: ask for capacity in its place, let that serve, then let the old one go as a [`Removal`].
///
/// In the ledger from the first word of its going to its removal; what becomes of each step is written down in
/// docs/removals.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replacement {
    /// Why.
    pub cause: ReplacementCause,
    /// The step that is under way.
    pub step: ReplacementStep,
    /// Since when.
    pub since: Timestamp,
    /// What it counts for in the target.
    pub weight: Weight,
    /// Whose part of the target that is.
    pub market: Market,
    /// The deadline of its drain, once that was begun.
    pub drain_until: Option<Timestamp>,
    /// When it goes, whatever we do.
    pub deadline: Option<Timestamp>,
}

/// Why an instance is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacementCause {
    /// AWS announced it.
    Notice(NoticeKind),
    /// The fleet has drifted out of its spread.
    Spread,
    /// It runs another version of the launch template than is rolled out.
    Rollout,
}

/// The steps of a replacement, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacementStep {
    /// There is no room to ask for more yet (`max + surge`); those with the earliest deadline come first.
    Waiting,
    /// The target is being raised by its weight; the fleet has not shown that yet.
    Raising,
    /// The target is raised by its weight.
    Raised,
    /// The fleet buys one by itself, because it does not count the old one any more: the target stays.
    BoughtByFleet,
    /// The fleet buys one by itself when the old one has gone: it goes so soon that a raise could not be taken back
    /// before, or the policy wants none.
    LeftToFleet,
}

/// What is held against a pool: counts that halve with every `interruption.avoid_pool`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolMemory {
    /// Which pool.
    pub pool: Pool,
    /// How often it took instances back, decayed up to `at`.
    pub interrupted: f64,
    /// How often it had nothing to give, or could not launch, decayed up to `at`.
    pub refused: f64,
    /// When the counts were last brought up to date.
    pub at: Timestamp,
    /// When the newest trouble of each kind was that it was told of; what notices say is not among them. A leader of before
    /// there was any left none.
    #[serde(default)]
    pub told: BTreeMap<TroubleKind, Timestamp>,
}

/// On-demand capacity that stands in for spot capacity which did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Units by which the on-demand part of the target was raised.
    pub units: u32,
    /// Since when.
    pub since: Timestamp,
    /// When spot was last asked for again in its place.
    pub tried: Option<Timestamp>,
}

/// The steps of a removal, in order. Each is journaled before it is begun; none is skipped, but a victim beyond
/// what the target asks for anyway has no target to lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalStep {
    /// Its work is asked to leave (nothing to wait for where there is no drain); the target counts it.
    Draining,
    /// The target is being lowered by its weight; the fleet has not shown that yet.
    Lowering,
    /// The target does not count it any more; it may be that its work has not left yet.
    Lowered,
    /// It is being terminated.
    Terminating,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a drain when it is taken over ten hours in, of one whose step was begun `since` and that was to end at
    /// `until`, both in minutes by the clock of whoever wrote it.
    fn left(since: u64, until: u64) -> i64 {
        let minute = |at: u64| Timestamp::from_millis(0) + Duration::from_secs(at * 60);
        let removal = Removal {
            step: RemovalStep::Draining,
            since: minute(since),
            weight: Weight::new(1.0),
            market: Market::Spot,
            cause: DrainCause::ScaleIn,
            drain_until: Some(minute(until)),
            deadline: Some(minute(630)),
        };
        let mut memory = Memory { removals: [("i-1".into(), removal)].into(), ..Memory::default() };
        memory.take_over(Duration::from_secs(300), minute(600));
        let removal = &memory.removals[&InstanceId::from("i-1")];
        assert_eq!(removal.deadline, Some(minute(630)), "that is AWS's");
        assert!(removal.since <= minute(600));
        let until = removal.drain_until.expect("it drains");
        (until.millis() - minute(600).millis()) / 60_000
    }

    #[test]
    fn a_drain_that_is_taken_over_has_as_long_as_it_was_given_whatever_clock_wrote_that_down() {
        for since in [599, 565, 635] {
            assert_eq!(left(since, since + 4), 4, "begun at {since}");
        }
        assert_eq!(left(500, 604), 5, "it waited for long before it was begun");
        assert_eq!(left(590, 587), -3, "its time was over when its step was begun");
    }
}
