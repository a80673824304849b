//! Plans that are carried out: step by step, each only after its intent is on disk.

use crate::calls::{Call, CallKind};
use crate::held::{Backoff, WritePhase};
use crate::lane::begins_drain;
use crate::region::{RegionState, Streak, write_pause};
use crate::{
    Alarm, BatchId, CallCount, CallId, Effect, Engine, NotSent, Now, Operation, Outcome, Permit, Record,
    Write,
};
use autoscaler_core::{Action, DrainCause, Memory, Plan, Removal};
use fleet::{ApiError, ErrorClass, FleetName, InstanceId};
use std::time::Duration;

/// Whether a plan begins to take anything away: such a plan is not carried out unless its intent is on disk.
/// Raising a target, or finishing a removal that an earlier entry holds, is safe to repeat after a crash.
///
/// * `after`: what the plan would remember: whom it chooses may be told nothing yet that could not be taken back.
pub(crate) fn begins_removal(before: &Memory, after: &Memory, plan: &Plan) -> bool {
    let chosen = |(id, removal): (&InstanceId, &Removal)| {
        removal.cause == DrainCause::ScaleIn && !before.removals.contains_key(id)
    };
    let chooses = after.removals.iter().any(chosen);
    chooses
        || plan.actions.iter().any(|action| match action {
            Action::Modify { from, change, .. } => change.target < *from,
            Action::Terminate { instances, .. } => {
                instances.iter().any(|id| !before.removals.contains_key(id))
            }
            Action::Drain { .. } => begins_drain(before, action),
            // All of these can be taken back.
            Action::Cordon { .. } | Action::Restore { .. } | Action::ScaleGroup { .. } => false,
        })
}

impl Engine {
    pub(crate) fn region_of(&mut self, name: &FleetName) -> Option<&mut RegionState> {
        let region = self.fleets.get(name)?.region.as_ref()?;
        self.regions.get_mut(region)
    }

    /// The intent of a plan is on disk, or could not be put there.
    pub(crate) fn intent_recorded(&mut self, name: &FleetName, batch: BatchId, written: bool, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        let Some(writing) = &held.writing else { return };
        if writing.intent != Some(batch) || writing.phase != WritePhase::Recording {
            return;
        }
        if self.stopping.is_some() {
            self.call_off(name, &Outcome::Skipped, now);
        } else if let Some(why) = self.fenced(now) {
            self.call_off(name, &Outcome::NotSent(why), now);
        } else if written || writing.unjournaled {
            self.begin_step(name, now);
        } else {
            self.call_off(name, &Outcome::NotJournaled, now);
            self.make_due(name, now);
        }
    }

    /// Hands out the step that is next.
    fn begin_step(&mut self, name: &FleetName, now: Now) {
        let permit_until = self.permit_until(now);
        let Some(held) = self.fleets.get_mut(name) else { return };
        let (Some(region), Some(writing)) = (held.region.clone(), &mut held.writing) else { return };
        let Some((_, action)) = writing.steps.get(writing.step) else { return };
        let (kind, write) = match action {
            Action::Modify { fleet, from: _, change } => {
                let write = Write::Modify { fleet: fleet.clone(), change: *change };
                (CallKind::Modify { name: name.clone() }, write)
            }
            Action::Terminate { fleet, instances } => {
                let write = Write::Terminate { fleet: fleet.clone(), instances: instances.clone() };
                (CallKind::Terminate { name: name.clone() }, write)
            }
            Action::Cordon { .. }
            | Action::Drain { .. }
            | Action::Restore { .. }
            | Action::ScaleGroup { .. } => return,
        };
        let call = self.calls.open(Call { region: region.clone(), kind, at: now.wall, begun: now.monotonic });
        writing.phase = WritePhase::Sent(call);
        held.writes.push_back(now.monotonic);
        let permit = Permit { not_after: permit_until, intent: writing.intent };
        self.out.push(Effect::Write { call, region, write, permit });
    }

    /// A step has ended as the cloud says.
    pub(crate) fn write_ended(
        &mut self,
        name: &FleetName,
        call: CallId,
        operation: Operation,
        result: Result<(), ApiError>,
        now: Now,
    ) {
        let class = result.as_ref().err().map_or("ok", |error| error.class().label());
        *self.metrics.calls.entry(CallCount { operation: operation.label(), class }).or_default() += 1;
        if !self.is_under_way(name, call) {
            return;
        }
        match result {
            Ok(()) => self.write_done(name, operation, now),
            Err(error) => self.write_failed(name, operation, &error, now),
        }
    }

    /// Whether a call is the one that a plan waits for. A fleet that was let go and taken back does not wait for
    /// what it began before.
    fn is_under_way(&self, name: &FleetName, call: CallId) -> bool {
        let writing = self.fleets.get(name).and_then(|held| held.writing.as_ref());
        writing.is_some_and(|writing| writing.phase == WritePhase::Sent(call))
    }

    fn write_done(&mut self, name: &FleetName, operation: Operation, now: Now) {
        for label in ["denied", "malformed"] {
            self.clear(Some(name), label, operation.label(), now);
        }
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.failing = None;
        held.backoff = None;
        let Some(writing) = &mut held.writing else { return };
        let step = writing.steps.get(writing.step).map_or(u16::MAX, |(step, _)| *step);
        writing.step += 1;
        let more = writing.step < writing.steps.len();
        held.record(Record::Outcome { at: now.wall, step, operation, outcome: Outcome::Done });
        let fenced = self.fenced(now);
        if let Some(why) = fenced.filter(|_| more) {
            self.call_off(name, &Outcome::NotSent(why), now);
        } else if more && self.stopping.is_none() {
            self.begin_step(name, now);
        } else {
            self.call_off(name, &Outcome::Skipped, now);
        }
        self.after_write(name, now);
    }

    fn write_failed(&mut self, name: &FleetName, operation: Operation, error: &ApiError, now: Now) {
        let class = error.class();
        let message = error.to_string();
        let alarm = match class {
            ErrorClass::Denied => Some(Alarm::Denied { operation: operation.label().into(), message }),
            ErrorClass::Malformed => Some(Alarm::Malformed { operation: operation.label().into(), message }),
            _ => None,
        };
        if let Some(alarm) = alarm {
            self.raise(Some(name), operation.label(), alarm, now);
        }
        let Some(held) = self.fleets.get_mut(name) else { return };
        let before = held.failing.take().map(|(_, streak)| streak);
        let failures = before.as_ref().map_or(0, |streak| streak.failures).saturating_add(1);
        let pause = write_pause(class, failures);
        held.backoff = (pause > Duration::ZERO).then(|| Backoff { until: now.monotonic + pause, class });
        let since = before.as_ref().map_or(now.wall, |streak| streak.since);
        let began = before.as_ref().map_or(now.monotonic, |streak| streak.began);
        let next = now.monotonic + pause;
        held.failing = Some((operation, Streak { failures, since, began, next, error: error.clone() }));
        self.call_off(name, &Outcome::Failed { class, message: error.to_string() }, now);
        self.after_write(name, now);
    }

    /// A step was not begun: nothing happened.
    pub(crate) fn write_not_sent(&mut self, name: &FleetName, call: CallId, why: NotSent, now: Now) {
        if !self.is_under_way(name, call) {
            return;
        }
        self.call_off(name, &Outcome::NotSent(why), now);
        self.after_write(name, now);
    }

    /// Ends the plan that is being carried out: the step at hand ended like this, those after it are not begun.
    fn call_off(&mut self, name: &FleetName, outcome: &Outcome, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let Some(writing) = held.writing.take() else { return };
        for (place, (step, action)) in writing.steps.iter().enumerate().skip(writing.step) {
            let outcome = if place == writing.step { outcome.clone() } else { Outcome::Skipped };
            let step = *step;
            held.record(Record::Outcome { at: now.wall, step, operation: Operation::of(action), outcome });
        }
        if let Some(region) = self.region_of(name) {
            region.writes_in_flight = region.writes_in_flight.saturating_sub(1);
        }
    }

    /// Whatever came of a write, the picture of the fleet is old now.
    fn after_write(&mut self, name: &FleetName, now: Now) {
        if let Some(held) = self.fleets.get_mut(name) {
            held.moved = now.monotonic;
        }
        self.look_and_plan(name, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_core::RemovalStep;
    use fleet::{Market, Timestamp, Weight};

    #[test]
    fn a_removal_begins_when_it_is_chosen_and_when_its_drain_is() {
        let (instance, until) = (InstanceId::from("i-1"), Timestamp::from_millis(60_000));
        let held = |drain_until| {
            let removal = Removal {
                step: RemovalStep::Draining,
                since: Timestamp::EPOCH,
                weight: Weight::new(1.0),
                market: Market::Spot,
                cause: DrainCause::ScaleIn,
                drain_until,
                deadline: None,
            };
            Memory { removals: [(instance.clone(), removal)].into(), ..Memory::default() }
        };
        let plan = |actions: &[Action]| Plan { actions: actions.to_vec() };
        let cordon = plan(&[Action::Cordon { instance: instance.clone() }]);
        let cause = DrainCause::ScaleIn;
        let drain = plan(&[Action::Drain { instance: instance.clone(), deadline: until, cause }]);
        let (nobody, chosen, asked) = (Memory::default(), held(None), held(Some(until)));
        assert!(
            begins_removal(&nobody, &chosen, &cordon),
            "though nothing is told that could not be taken back"
        );
        assert!(!begins_removal(&chosen, &chosen, &cordon) && !begins_removal(&nobody, &nobody, &cordon));
        assert!(begins_removal(&chosen, &asked, &drain), "it has waited for its drain");
        assert!(!begins_removal(&asked, &asked, &drain), "it is told again");
    }
}
