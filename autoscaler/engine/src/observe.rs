//! What is asked of the cloud, and when: as often as its answers can have changed.

use crate::calls::{Call, CallKind};
use crate::held::{Missing, Pace};
use crate::region::RegionState;
use crate::{CallId, Effect, Engine, Now, Read};
use autoscaler_policy::SourcePolicy;
use fleet::{Backend, FleetName, FleetRef, Region};
use std::collections::BTreeSet;
use std::time::Duration;

/// A describe of instances covers so many fleets at most: what EC2 takes as values of one filter.
const FLEETS_A_CALL: usize = 200;
/// How often fleets are looked at whose missing capacity has been missing for long.
const WAITING_EVERY: Duration = Duration::from_secs(60);
/// Instances that are due soon are asked for with those that are due: their calls stay together.
const TOGETHER: Duration = Duration::from_secs(90);
/// Capacity that was asked for and is not there after so long is late: the fleet's history is asked for why.
const LATE_AFTER: Duration = Duration::from_secs(180);
/// How often the history is asked for while capacity is late.
const HISTORY_EVERY: Duration = Duration::from_secs(300);

impl Engine {
    /// Hands out a call. The fleets that it is about, and that wait to be planned for, wait for it.
    pub(crate) fn ask(
        &mut self,
        region: &Region,
        kind: CallKind,
        read: Read,
        names: &[FleetName],
        now: Now,
    ) -> CallId {
        let call = Call { region: region.clone(), kind, at: now.wall, begun: now.monotonic };
        let id = self.calls.open(call);
        for name in names {
            if self.waiting.contains_key(name)
                && let Some(held) = self.fleets.get_mut(name)
            {
                held.awaiting.insert(id);
            }
        }
        if matches!(read, Read::Fleets { .. })
            && let Some(state) = self.regions.get_mut(region)
        {
            state.fleets_call = Some(id);
        }
        if let Read::Instances { .. } = &read {
            for name in names {
                if let Some(held) = self.fleets.get_mut(name) {
                    held.instances_call = Some(id);
                    held.instances_asked = Some(now.monotonic);
                    held.look = false;
                }
            }
        }
        self.out.push(Effect::Read { call: id, region: region.clone(), read });
        id
    }

    /// Asks a region for everything that is due, all fleets together.
    pub(crate) fn observe(&mut self, region: &Region, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.ask_fleets(region, now);
        self.ask_instances(region, now);
        self.ask_scalable_targets(region, now);
        self.ask_metrics(region, now);
        self.ask_history(region, now);
        self.ask_marks(region, now);
        self.ask_prices(region, now);
        self.ask_alarms(region, now);
        self.ask_backfill(region, now);
    }

    /// Something has happened to a fleet that makes its picture old: it is looked at now, and planned for then.
    pub(crate) fn look_at(&mut self, name: &FleetName, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.look = true;
        let Some(region) = held.region.clone() else { return };
        if let Some(state) = self.regions.get_mut(&region) {
            state.look = true;
        }
        self.ask_fleets(&region, now);
        self.ask_instances(&region, now);
    }

    /// A fleet has told of something that makes its picture old: it is looked at soon, once for all that it tells
    /// meanwhile. Its instances are looked at now.
    pub(crate) fn look_soon(&mut self, name: &FleetName, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.look = true;
        let Some(region) = held.region.clone() else { return };
        if let Some(state) = self.regions.get_mut(&region) {
            state.look_soon = true;
        }
        self.ask_fleets(&region, now);
        self.ask_instances(&region, now);
    }

    /// Looks where one that could wait has waited for long enough.
    pub(crate) fn look_where_due(&mut self, now: Now) {
        let due = |state: &RegionState| state.looks_at().is_some_and(|at| at <= now.monotonic);
        let regions = self.regions.iter().filter(|(_, state)| due(state));
        for region in regions.map(|(region, _)| region.clone()).collect::<Vec<_>>() {
            self.ask_fleets(&region, now);
        }
    }

    fn ask_fleets(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        if state.fleets.is_empty()
            || state.fleets_call.is_some()
            || !state.may("describe_fleets", now.monotonic)
        {
            return;
        }
        let soon = state.looks_at().is_some_and(|at| at <= now.monotonic);
        let due = state.look || soon || self.is_due(state.fleets_asked, self.fleets_every(region, now), now);
        if !due {
            return;
        }
        let names: Vec<FleetName> = state.fleets.iter().cloned().collect();
        let backends: BTreeSet<Backend> =
            names.iter().filter_map(|name| self.fleets.get(name)).map(|held| held.policy.backend).collect();
        if let Some(state) = self.regions.get_mut(region) {
            state.look = false;
            state.look_soon = false;
            state.fleets_asked = Some(now.monotonic);
        }
        let read = Read::Fleets { backends: backends.into_iter().collect() };
        self.ask(region, CallKind::Fleets, read, &names, now);
    }

    /// Whether the time has come again. A tenth of a cycle early is in time: ticks are not quite regular.
    pub(crate) fn is_due(&self, asked: Option<Duration>, every: Duration, now: Now) -> bool {
        asked.is_none_or(|asked| now.monotonic + self.config.cycle / 10 >= asked + every)
    }

    /// How often the fleets of a region are asked for: as the one that moves most needs it.
    fn fleets_every(&self, region: &Region, now: Now) -> Duration {
        let Some(state) = self.regions.get(region) else { return self.config.fleets_every };
        let held = state.fleets.iter().filter_map(|name| self.fleets.get(name));
        let every = |pace| match pace {
            Pace::Unsettled => self.config.cycle,
            Pace::Moving => self.config.moving_every,
            Pace::Waiting => WAITING_EVERY,
            Pace::Steady => self.config.fleets_every,
        };
        held.map(|held| every(held.pace(now.wall, now.monotonic))).min().unwrap_or(self.config.fleets_every)
    }

    fn ask_instances(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        if !state.may("describe_instances", now.monotonic) {
            return;
        }
        let mut due = Vec::new();
        let mut soon = Vec::new();
        for name in &state.fleets {
            let Some(held) = self.fleets.get(name).filter(|held| held.instances_call.is_none()) else {
                continue;
            };
            let Some(fleet) = held.fleet_ref() else { continue };
            let every = match held.pace(now.wall, now.monotonic) {
                Pace::Unsettled | Pace::Moving => self.config.moving_every,
                Pace::Waiting => WAITING_EVERY,
                Pace::Steady => self.config.instances_every,
            };
            if held.look || self.is_due(held.instances_asked, every, now) {
                due.push((name.clone(), fleet));
            } else if every == self.config.instances_every
                && self.is_due(held.instances_asked, every.saturating_sub(TOGETHER), now)
            {
                soon.push((name.clone(), fleet));
            }
        }
        if due.is_empty() {
            return;
        }
        // Only the ten-minute round is brought together; a look is about few fleets, and urgent.
        let round = due.iter().any(|(name, _)| self.fleets.get(name).is_some_and(|held| !held.look));
        if round {
            due.extend(soon);
        }
        for chunk in due.chunks(FLEETS_A_CALL) {
            let fleets: Vec<(FleetName, FleetRef)> = chunk.to_vec();
            let names: Vec<FleetName> = fleets.iter().map(|(name, _)| name.clone()).collect();
            let read = Read::Instances { fleets: fleets.iter().map(|(_, fleet)| fleet.clone()).collect() };
            self.ask(region, CallKind::Instances { fleets }, read, &names, now);
        }
    }

    /// The fleet's own list decides whether an instance that a describe does not show is gone.
    pub(crate) fn ask_fleet_instances(&mut self, name: &FleetName, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        let (Some(region), Some(fleet)) = (held.region.clone(), held.fleet_ref()) else { return };
        if self.regions.get(&region).is_some_and(|state| state.may("fleet_instances", now.monotonic)) {
            let kind = CallKind::FleetInstances { name: name.clone() };
            self.ask(&region, kind, Read::FleetInstances { fleet }, std::slice::from_ref(name), now);
        }
    }

    fn ask_scalable_targets(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        let due = self.is_due(state.scalable_asked, self.config.scalable_every, now);
        if !due || !state.may("scalable_targets", now.monotonic) {
            return;
        }
        let fleets: Vec<(FleetName, FleetRef)> = state
            .fleets
            .iter()
            .filter_map(|name| Some((name.clone(), self.fleets.get(name)?.fleet_ref()?)))
            .collect();
        if fleets.is_empty() {
            return;
        }
        if let Some(state) = self.regions.get_mut(region) {
            state.scalable_asked = Some(now.monotonic);
        }
        let names: Vec<FleetName> = fleets.iter().map(|(name, _)| name.clone()).collect();
        let read = Read::ScalableTargets { fleets: fleets.iter().map(|(_, fleet)| fleet.clone()).collect() };
        self.ask(region, CallKind::ScalableTargets { fleets }, read, &names, now);
    }

    /// Asks for the history of fleets whose capacity is late: it says which pools have nothing to give.
    fn ask_history(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region).filter(|state| state.may("history", now.monotonic)) else {
            return;
        };
        let late: Vec<_> = state
            .fleets
            .iter()
            .filter_map(|name| {
                let held = self.fleets.get(name)?;
                let Missing { since, began, .. } = held.missing?;
                let late = now.monotonic.saturating_sub(began) >= LATE_AFTER;
                let due = self.is_due(held.history_asked, HISTORY_EVERY, now);
                (late && due).then_some((name.clone(), held.fleet_ref()?, since))
            })
            .collect();
        for (name, fleet, since) in late {
            if let Some(held) = self.fleets.get_mut(&name) {
                held.history_asked = Some(now.monotonic);
            }
            // A little earlier, so that the first refusal is in it.
            let read = Read::History { fleet, since: since - Duration::from_secs(60) };
            self.ask(region, CallKind::History { name }, read, &[], now);
        }
    }

    /// Asks EC2 itself who is to go: what no agent and no queue has told. As often as the fleet of the region wants it
    /// that wants it most: the answer is about all of them.
    fn ask_marks(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        let held = state.fleets.iter().filter_map(|name| self.fleets.get(name));
        let found = held.filter(|held| held.state.fleet.is_some());
        let Some(every) = found.map(|held| held.policy.base.interruption.poll).min() else { return };
        if !self.is_due(state.marks_asked, every, now) || !state.may("marks", now.monotonic) {
            return;
        }
        if let Some(state) = self.regions.get_mut(region) {
            state.marks_asked = Some(now.monotonic);
        }
        self.ask(region, CallKind::Marks, Read::Marks, &[], now);
    }

    /// Asks what pools cost: of all that the region's fleets may buy.
    fn ask_prices(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        let every = self.config.prices_every;
        if every.is_zero()
            || !self.is_due(state.prices_asked, every, now)
            || !state.may("spot_prices", now.monotonic)
        {
            return;
        }
        let held = state.fleets.iter().filter_map(|name| self.fleets.get(name));
        let seen = held.filter_map(|held| held.state.fleet.as_ref());
        let types: BTreeSet<_> =
            seen.flat_map(|seen| &seen.what.overrides).map(|line| line.instance_type.clone()).collect();
        if types.is_empty() {
            return;
        }
        if let Some(state) = self.regions.get_mut(region) {
            state.prices_asked = Some(now.monotonic);
        }
        self.ask(region, CallKind::Prices, Read::Prices { types: types.into_iter().collect() }, &[], now);
    }

    /// Whether pushed samples are one of a fleet's sources.
    pub(crate) fn is_pushed(sources: &[SourcePolicy]) -> bool {
        sources.contains(&SourcePolicy::Push)
    }
}
