//! Policies: which fleets are held, and what is in force for each at the moment.

use crate::answers::about;
use crate::held::{Held, KnownOf};
use crate::{Alarm, Cause, Effect, Engine, FleetDelta, Now, Override, Record, State};
use autoscaler_core::Policy;
use autoscaler_policy::FleetPolicy;
use fleet::{FleetName, FleetSelector, FleetView, Region};
use std::collections::BTreeMap;
use std::time::Duration;

impl Engine {
    /// Policies replace the ones in force: new fleets are begun, removed ones let go, changed ones planned for.
    pub(crate) fn load_policies(&mut self, policies: Vec<FleetPolicy>, now: Now) {
        self.policies.loaded = Some(now.wall);
        self.policies.rejected = None;
        self.policies.problems = None;
        self.clear(None, "policies_rejected", "", now);
        let mut wanted: BTreeMap<FleetName, FleetPolicy> =
            policies.into_iter().map(|policy| (policy.name.clone(), policy)).collect();
        let let_go: Vec<FleetName> =
            self.fleets.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in &let_go {
            self.let_go(name, now);
        }
        let names: Vec<FleetName> = wanted.keys().cloned().collect();
        for name in &names {
            let Some(policy) = wanted.remove(name) else { continue };
            match self.fleets.get(name) {
                Some(held) if held.policy == policy => {}
                Some(held) if is_same_fleet(&held.policy, &policy) => self.change_policy(name, policy, now),
                Some(_) => {
                    self.let_go(name, now);
                    self.begin(policy, now);
                }
                None => self.begin(policy, now),
            }
        }
        for state in self.regions.values_mut() {
            // Whoever was wrong may be right now.
            state.custom_apart = false;
        }
        let regions: Vec<Region> = self.regions.keys().cloned().collect();
        for region in &regions {
            self.observe(region, now);
        }
        self.services.ledgers.look = true;
        self.services.nodes.look = true;
        self.ask_ledgers(now);
        self.ask_nodes(now);
    }

    /// Newer policies are no good: the old ones stay.
    pub(crate) fn reject_policies(&mut self, problems: String, now: Now) {
        self.policies.rejected = Some(now.wall);
        self.policies.problems = Some(problems.clone());
        self.raise(None, "", Alarm::PoliciesRejected { problems }, now);
    }

    fn begin(&mut self, policy: FleetPolicy, now: Now) {
        let region = policy.region.clone().or_else(|| self.config.region.clone());
        let name = policy.name.clone();
        let known = self.known.remove(&name);
        let (state, backfill, gap) = match known {
            Some(KnownOf { state, backfill, gap }) => (state, Some(backfill), gap),
            None => (State::default(), None, true),
        };
        let mut held = Held::new(policy, region.clone(), state);
        held.backfill = backfill.unwrap_or_else(|| crate::backfill::wanted(&held, self.config.backfill));
        if gap {
            held.push_checkpoint(Cause::Gap);
        }
        // Orders, and what was learned, are about the service, whichever fleet carries it. A plan for a fleet that
        // the policy may not mean any more is not made: what is remembered of that one waits for a describe.
        if held.state.fleet.as_ref().is_some_and(|seen| !is_meant(&held.policy, &seen.what)) {
            held.record(Record::Fleet { at: now.wall, delta: FleetDelta::Lost });
        }
        held.moved = now.monotonic;
        held.next_checkpoint = now.monotonic + first_checkpoint(&name, self.config.checkpoint_every);
        for id in held.state.instances.keys() {
            self.owners.insert(id.clone(), name.clone());
        }
        self.fleets.insert(name.clone(), held);
        match region {
            Some(region) => {
                let state = self.regions.entry(region).or_default();
                state.fleets.insert(name.clone());
                // The others' picture may be young, that of this one is not.
                state.look = true;
                state.scalable_asked = None;
            }
            None => self.raise(Some(&name), "", Alarm::NoRegion, now),
        }
        self.make_due(&name, now);
    }

    /// A fleet is nobody's business any more. A write that is under way is not waited for: what it does was meant.
    ///
    /// What is known of it is kept: a policy file that is replaced is away for a moment, and an operator's pause, a
    /// removal that has begun and what was learned must outlast that.
    fn let_go(&mut self, name: &FleetName, now: Now) {
        self.write_soon(name, false);
        self.hand_out_records(now);
        let Some(mut held) = self.fleets.remove(name) else { return };
        let backfill = std::mem::take(&mut held.backfill);
        let known = KnownOf { state: std::mem::take(&mut held.state), backfill, gap: true };
        self.known.insert(name.clone(), known);
        let cleared = held.alarms.clear_all(Some(name), now.wall);
        self.out.extend(cleared.into_iter().map(Effect::Alarm));
        self.waiting.remove(name);
        self.ready.remove(name);
        self.again.remove(name);
        self.owners.retain(|_, owner| owner != name);
        let Some(region) = held.region else { return };
        let Some(state) = self.regions.get_mut(&region) else { return };
        state.fleets.remove(name);
        if held.writing.is_some() {
            state.writes_in_flight = state.writes_in_flight.saturating_sub(1);
        }
        let empty = state.fleets.is_empty();
        // What nobody asks for any more does not fail any more.
        let mut gone = Vec::new();
        let over: Vec<_> =
            state.failing.keys().filter(|(_, of)| empty || of == name.as_str()).cloned().collect();
        for (operation, of) in over {
            state.failing.remove(&(operation, of.clone()));
            gone.push(about(&region, operation, &of));
        }
        if empty {
            self.regions.remove(&region);
        }
        for about in gone {
            self.read_recovered(&about, now);
        }
    }

    fn change_policy(&mut self, name: &FleetName, policy: FleetPolicy, now: Now) {
        if let Some(held) = self.fleets.get_mut(name) {
            held.policy = policy;
            held.in_force = None;
        }
        self.make_due(name, now);
    }

    /// Puts what files, schedules and overrides say together in force, where that has changed.
    pub(crate) fn put_in_force(&mut self, name: &FleetName, now: Now) {
        let dry_run = self.config.dry_run;
        let Some(held) = self.fleets.get_mut(name) else { return };
        let still = held
            .in_force
            .is_some_and(|(from, until)| from <= now.wall && until.is_none_or(|until| now.wall < until));
        if still {
            return;
        }
        let (mut policy, schedules) = held.policy.at(now.wall);
        held.schedules = schedules.into_iter().map(str::to_owned).collect();
        policy.dry_run |= dry_run;
        let bent = held.state.bent.as_ref().filter(|bent| bent.until > now.wall);
        if let Some(bent) = bent {
            bend(&mut policy, bent);
        }
        let changes = [held.policy.next_change(now.wall), bent.map(|bent| bent.until)];
        held.in_force = Some((now.wall, changes.into_iter().flatten().min()));
        if held.state.policy != policy {
            let looked = held.state.instances_at.is_some();
            held.record(Record::Policy(Box::new(policy)));
            // Whom it protects is to be known soon: without that nothing is planned.
            if looked && held.state.instances_at.is_none() {
                held.instances_asked = None;
            }
        }
    }
}

/// Whether two policies of one name are about the same fleet.
fn is_same_fleet(a: &FleetPolicy, b: &FleetPolicy) -> bool {
    (&a.region, a.backend, &a.selector) == (&b.region, b.backend, &b.selector)
}

/// Whether a fleet can be the one that a policy means.
fn is_meant(policy: &FleetPolicy, view: &FleetView) -> bool {
    let named = match &policy.selector {
        FleetSelector::Id(id) => view.id == *id,
        FleetSelector::Tag { key, value } => view.tags.get(key) == Some(value),
    };
    named && view.backend == policy.backend
}

/// Bends a policy as an operator ordered. Where the bounds have come to contradict each other since then, the
/// upper one holds.
pub(crate) fn bend(policy: &mut Policy, bent: &Override) {
    let Override { min, max, target, until: _, by: _, reason: _ } = bent;
    let capacity = &mut policy.capacity;
    capacity.max = max.unwrap_or(capacity.max).max(1);
    capacity.min = min.unwrap_or(capacity.min).clamp(1, capacity.max);
    if let Some(target) = target {
        policy.target = *target;
    }
}

/// When the first checkpoint is due: spread over the second half of the distance, so that a thousand fleets which
/// were begun together do not write theirs together.
fn first_checkpoint(name: &FleetName, every: Duration) -> Duration {
    let hash =
        name.as_str().bytes().fold(17_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    every / 2 + every / 2 * (hash % 1000) / 1000
}
