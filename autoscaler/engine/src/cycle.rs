//! One cycle of one fleet: plan, check, and hand the steps on or say why not.

use crate::held::{Held, Missing, WritePhase, Writing};
use crate::state::contained;
use crate::writes::begins_removal;
use crate::{Alarm, Cause, Checkpoint, Cycle, Decided, Engine, Now, Planner, Record, State, Withheld};
use autoscaler_core::{
    Action, Breach, Budget, Decision, FailingRead, Halt, Hold, Memory, Observed, Plan, Planned, RESPITE,
    Remark, Report, Snapshot, check,
};
use fleet::{ErrorClass, FleetName, FleetState, FleetView, Source, Timestamp};
use std::time::Duration;

/// Capacity that is missing for so long is worth an alarm.
const LATE_ALARM: Duration = Duration::from_secs(300);
/// A fleet about whose utilisation nobody tells anything for so long is worth an alarm.
const QUIET_ALARM: Duration = Duration::from_secs(300);

/// Plans one cycle from a state: what the engine does, and what a replay does again.
///
/// * returns: what the plan was made from, and the plan; or the words of a panic.
pub(crate) fn decide(
    state: &mut State,
    planner: Planner,
    now: Timestamp,
) -> Result<(Snapshot, Planned), String> {
    let seen = state.begin_cycle(now)?;
    let planned = contained(|| planner(&state.policy, &seen, &state.memory, &state.learned, now))?;
    Ok((seen, planned))
}

/// A report as it is shown: with what kept the plan from being carried out.
pub(crate) fn shown(mut report: Report, withheld: Option<&Withheld>) -> Report {
    if let Some(Withheld::Refused { invariants }) = withheld {
        let refused = |invariant: &String| Hold::Refused { invariant: invariant.clone() };
        report.holds.extend(invariants.iter().map(refused));
    }
    if withheld.is_some_and(|why| *why != Withheld::DryRun) {
        report.decision = Decision::Held;
    }
    report
}

/// FNV-1a over the report as the journal would encode it.
pub(crate) fn digest(report: &Report) -> u32 {
    postcard::serialize_with_flavor(report, Fnv(0x811c_9dc5)).unwrap_or_default()
}

/// Hashes what would be written, byte by byte.
struct Fnv(u32);

impl postcard::ser_flavors::Flavor for Fnv {
    type Output = u32;
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<u32> {
        Ok(self.0)
    }
}

/// The changes to the fleet among a plan's steps, each with its place.
fn fleet_steps(plan: &Plan) -> Vec<(u16, Action)> {
    let places = (0..=u16::MAX).zip(&plan.actions);
    places.filter(|(_, action)| action.is_of_fleet()).map(|(step, action)| (step, action.clone())).collect()
}

impl Engine {
    /// Plans for a fleet with what is known.
    pub(crate) fn plan_fleet(&mut self, name: &FleetName, now: Now) {
        self.waiting.remove(name);
        self.put_in_force(name, now);
        self.note_failing(name);
        let planner = self.config.planner;
        let every = self.config.checkpoint_every;
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.awaiting.clear();
        held.planned = Some(now.monotonic);
        held.quiet_since.get_or_insert(now.monotonic);
        held.checkpoint_if_due(self.journal.is_failing(), every, now);
        held.keep_meanwhile();
        self.metrics.cycles += 1;
        match decide(&mut held.state, planner, now.wall) {
            Ok((seen, planned)) => self.check_and_carry_out(name, &seen, planned, now),
            Err(message) => self.contain(name, message, now),
        }
        self.write_soon(name, false);
    }

    /// Records which reads about a fleet fail, where that has changed since its last plan.
    fn note_failing(&mut self, name: &FleetName) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let state = held.region.as_ref().and_then(|region| self.regions.get(region));
        let all = state.into_iter().flat_map(|state| &state.failing);
        let sources = &held.policy.sources;
        let concerns = |operation: &str, of: &str| match operation {
            "prometheus" => of == held.name.as_str(),
            "cloudwatch" => sources.iter().any(|source| source.source() == Source::Cloudwatch),
            _ => true,
        };
        let mut failing: Vec<FailingRead> = all
            .filter(|((operation, of), _)| concerns(operation, of))
            .map(|((operation, _), streak)| FailingRead {
                operation: (*operation).to_owned(),
                class: without_time(streak.error.class()),
            })
            .collect();
        failing.dedup();
        if failing != held.state.failing {
            held.record(Record::Failing(failing));
        }
    }

    /// The planner panicked: the fleet is left as it is, the others go on.
    fn contain(&mut self, name: &FleetName, message: String, now: Now) {
        self.metrics.panics += 1;
        *self.metrics.withheld.entry("panicked").or_default() += 1;
        self.raise(Some(name), "", Alarm::Panicked { message }, now);
        let Some(held) = self.fleets.get_mut(name) else { return };
        let withheld = Some(Withheld::Panicked);
        let plan = Plan::default();
        let cycle = Cycle {
            at: now.wall,
            plan: plan.clone(),
            withheld: withheld.clone(),
            memory: None,
            report_digest: 0,
        };
        held.end_cycle(cycle);
        let report = shown(Report::default(), withheld.as_ref());
        held.remember(Decided { at: now.wall, plan, withheld, report });
    }

    fn check_and_carry_out(&mut self, name: &FleetName, seen: &Snapshot, planned: Planned, now: Now) {
        self.clear(Some(name), "panicked", "", now);
        let Some(before) = self.fleets.get(name).map(|held| held.state.memory.clone()) else { return };
        let Planned { plan, report, memory, due, look } = planned;
        let withheld = self.withhold(name, seen, &before, &memory, &plan, now);
        self.count_decision(&report, withheld.as_ref(), &plan);
        let unjournaled = !begins_removal(&before, &memory, &plan);
        let Some(held) = self.fleets.get_mut(name) else { return };
        // What is not done is not remembered as done. A dry run's memory says so by itself.
        let advances = withheld.as_ref().is_none_or(|why| *why == Withheld::DryRun);
        let cycle = Cycle {
            at: now.wall,
            plan: plan.clone(),
            withheld: withheld.clone(),
            memory: (advances && memory != before).then(|| Box::new(memory)),
            report_digest: digest(&report),
        };
        held.end_cycle(cycle);
        let steps = fleet_steps(&plan);
        let begins = withheld.is_none() && !steps.is_empty();
        if begins {
            held.writing = Some(Writing {
                steps,
                step: 0,
                phase: WritePhase::Recording,
                since: now.wall,
                unjournaled,
                intent: None,
            });
        }
        let begins_nodes = self.line_up_nodes(name, &plan, &before, withheld.as_ref(), now);
        self.raise_what_the_report_says(name, &report, now);
        let report = shown(report, withheld.as_ref());
        if let Some(held) = self.fleets.get_mut(name) {
            held.remember(Decided { at: now.wall, plan, withheld, report });
        }
        if begins && let Some(region) = self.region_of(name) {
            region.writes_in_flight += 1;
        }
        if begins || begins_nodes {
            self.write_soon(name, true);
        }
        if let Some(due) = due.filter(|due| *due > now.wall) {
            let at = now.monotonic + due.since(now.wall);
            let again = self.again.entry(name.clone()).or_insert(at);
            *again = at.min(*again);
        }
        if look {
            self.look_and_plan(name, now);
        }
    }

    /// Looks at a fleet at once, and plans for it when the answers are there. Where nothing may be asked now, the
    /// next tick sees to it.
    pub(crate) fn look_and_plan(&mut self, name: &FleetName, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.make_due(name, now);
        self.look_at(name, now);
        let underway = self.region_of(name).and_then(|region| region.fleets_call);
        let Some(held) = self.fleets.get_mut(name) else { return };
        // A describe that was begun before now is waited for, too: the one that is wanted follows it.
        held.awaiting.extend(underway);
        held.awaiting.extend(held.instances_call);
        if held.awaiting.is_empty() {
            self.waiting.remove(name);
        }
    }

    /// Why a plan's steps are not taken, if anything speaks against it. The independent checker has the last word
    /// on every plan, whatever else speaks against it.
    fn withhold(
        &mut self,
        name: &FleetName,
        seen: &Snapshot,
        before: &Memory,
        after: &Memory,
        plan: &Plan,
        now: Now,
    ) -> Option<Withheld> {
        let standby = self.stands_by(name, now);
        let held = self.fleets.get_mut(name)?;
        let writes_last_minute = held.writes_last_minute(now);
        let writes_per_minute = self.config.writes_per_minute;
        let steps = u32::try_from(fleet_steps(plan).len()).unwrap_or(u32::MAX);
        let over_budget = steps > 0 && writes_last_minute.saturating_add(steps) > writes_per_minute;
        // A fleet that has used its writes up waits; that is no breach.
        let counted = if over_budget { 0 } else { writes_last_minute };
        let budget = Budget { writes_last_minute: counted, writes_per_minute };
        let breaches = check(&held.state.policy, seen, before, after, plan, budget, now.wall);
        if !breaches.is_empty() {
            return Some(self.refuse(name, breaches, now));
        }
        self.clear(Some(name), "refused", "", now);
        if standby.is_some() {
            // Whoever leads remembers, or what was seen is too old: what we would is not so.
            return standby;
        }
        if plan.actions.is_empty() {
            return None;
        }
        let held = self.fleets.get(name)?;
        let backoff = held.backoff.filter(|backoff| now.monotonic < backoff.until);
        let in_flight = held.region.as_ref().and_then(|region| self.regions.get(region));
        let crowded = in_flight.is_some_and(|region| region.writes_in_flight >= self.config.writes_in_flight);
        if held.state.policy.dry_run {
            Some(Withheld::DryRun)
        } else if self.stopping.is_some() {
            Some(Withheld::Stopping)
        } else if steps == 0 {
            let unjournaled = self.journal.is_failing() && begins_removal(before, after, plan);
            unjournaled.then_some(Withheld::JournalFailing)
        } else if held.writing.is_some() {
            Some(Withheld::Busy)
        } else if let Some(backoff) = backoff {
            Some(Withheld::BackingOff { class: backoff.class })
        } else if over_budget || crowded {
            Some(Withheld::Budget)
        } else if self.journal.is_failing() && begins_removal(before, after, plan) {
            Some(Withheld::JournalFailing)
        } else {
            None
        }
    }

    fn refuse(&mut self, name: &FleetName, breaches: Vec<Breach>, now: Now) -> Withheld {
        let mut invariants: Vec<String> = Vec::new();
        for breach in &breaches {
            let id = invariant_label(breach);
            *self.metrics.breaches.entry(id).or_default() += 1;
            if !invariants.iter().any(|known| known == id) {
                invariants.push(id.to_owned());
            }
        }
        self.raise(Some(name), "", Alarm::Refused { breaches }, now);
        Withheld::Refused { invariants }
    }

    fn count_decision(&mut self, report: &Report, withheld: Option<&Withheld>, plan: &Plan) {
        match withheld {
            Some(why) => *self.metrics.withheld.entry(why.label()).or_default() += 1,
            None if plan.actions.is_empty() => {}
            None => *self.metrics.decisions.entry(report.decision.label()).or_default() += 1,
        }
    }

    /// Raises and clears what can be read off a report.
    fn raise_what_the_report_says(&mut self, name: &FleetName, report: &Report, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let missing = report.remarks.iter().find_map(|remark| match remark {
            Remark::Missing { units } => Some(*units),
            _ => None,
        });
        match missing {
            Some(units) => {
                let began = Missing { units, since: now.wall, began: now.monotonic };
                held.missing.get_or_insert(began).units = units;
            }
            // Nobody can tell while it modifies, or is not seen.
            None if is_moving(held, report) => {}
            None => {
                held.missing = None;
                held.history.clear();
            }
        }
        let late = held.missing.filter(|m| now.monotonic.saturating_sub(m.began) >= LATE_ALARM);
        let history = held.history.clone();
        let quiet = held.quiet_since.filter(|since| now.monotonic.saturating_sub(*since) >= QUIET_ALARM);
        let last_sample = held.state.latest.map(|latest| latest.end);
        let withheld = held.last.as_ref().and_then(|last| last.withheld.as_ref());
        let stands_by = matches!(withheld, Some(Withheld::Standby | Withheld::NotLooked));
        let foreign = foreign_write(held, report, now.wall).filter(|_| !stands_by);
        let alarms = [
            (
                "capacity_late",
                late.map(|Missing { units, since, .. }| Alarm::CapacityLate {
                    missing: units,
                    since,
                    history,
                }),
            ),
            ("foreign_write", foreign),
            ("no_samples", quiet.map(|_| Alarm::NoSamples { since: last_sample })),
            (
                "not_holdable",
                report.holds.iter().find_map(|hold| match hold {
                    Hold::NotHoldable { why } => Some(Alarm::NotHoldable { why: *why }),
                    _ => None,
                }),
            ),
            (
                "ceded",
                report.holds.iter().find_map(|hold| match hold {
                    Hold::Ceded { foreign_writes } => Some(Alarm::Ceded { foreign_writes: *foreign_writes }),
                    _ => None,
                }),
            ),
            (
                "rollout_halted",
                report.remarks.iter().find_map(|remark| match remark {
                    // What an operator ordered needs none.
                    Remark::RollsOut { halted: Some(Halt::Ordered { .. }), .. } => None,
                    Remark::RollsOut { version, halted: Some(why), .. } => {
                        Some(Alarm::RolloutHalted { version: *version, why: why.clone() })
                    }
                    _ => None,
                }),
            ),
            (
                "alarms_missing",
                report.remarks.iter().find_map(|remark| match remark {
                    Remark::AlarmsMissing { names } => Some(Alarm::AlarmsMissing { names: names.clone() }),
                    _ => None,
                }),
            ),
            (
                "stuck_modifying",
                report.remarks.iter().find_map(|remark| match remark {
                    Remark::StuckModifying { since } => Some(Alarm::StuckModifying { since: *since }),
                    _ => None,
                }),
            ),
        ];
        for (label, alarm) in alarms {
            match alarm {
                Some(alarm) => self.raise(Some(name), "", alarm, now),
                None => self.clear(Some(name), label, "", now),
            }
        }
    }
}

impl Held {
    /// Ends a cycle, and keeps its mark.
    fn end_cycle(&mut self, cycle: Cycle) {
        self.state.end_cycle(&cycle);
        self.records.push(Record::Cycle(cycle));
    }

    /// Puts all that is known before this cycle's records, where records before them are missing, or now and then.
    fn checkpoint_if_due(&mut self, journal_fails: bool, every: Duration, now: Now) {
        if self.gap && !journal_fails {
            self.gap = false;
            self.records.clear();
            self.push_checkpoint(Cause::Gap);
            self.next_checkpoint = now.monotonic + every;
        } else if now.monotonic >= self.next_checkpoint {
            self.push_checkpoint(Cause::Periodic);
            self.next_checkpoint = now.monotonic + every;
        }
    }

    pub(crate) fn push_checkpoint(&mut self, cause: Cause) {
        let checkpoint = Checkpoint { cause, state: self.state.clone() };
        self.records.push(Record::Checkpoint(Box::new(checkpoint)));
    }
}

/// Whether a report cannot say what is missing: the fleet is being modified, or has not been seen for long.
fn is_moving(held: &Held, report: &Report) -> bool {
    let modifying = |seen: &Observed<FleetView>| seen.what.state == FleetState::Modifying;
    report.target.is_none() || held.state.fleet.as_ref().is_some_and(modifying)
}

/// The alarm of a foreign write, from when it is seen until what was set may be lowered again. From the second one
/// on the fleet is ceded, which is another alarm.
fn foreign_write(held: &Held, report: &Report, now: Timestamp) -> Option<Alarm> {
    let memory = &held.state.memory;
    let lasts = memory.foreign_write_at.is_some_and(|at| now.since(at) < RESPITE);
    if memory.ceded || !lasts {
        return None;
    }
    let seen_now = report.remarks.iter().find_map(|remark| match *remark {
        Remark::ForeignWrite { was, found, count: _ } => Some(Alarm::ForeignWrite { was, found, at: now }),
        _ => None,
    });
    seen_now.or_else(|| held.alarms.get("foreign_write"))
}

/// What kind of failure it was; when to come back differs each time, and says nothing more.
const fn without_time(class: ErrorClass) -> ErrorClass {
    match class {
        ErrorClass::Throttled { .. } => ErrorClass::Throttled { retry_after: None },
        other => other,
    }
}

/// The metric label, and the id that people know.
fn invariant_label(breach: &Breach) -> &'static str {
    use autoscaler_core::Invariant;
    match breach.invariant {
        Invariant::Cap => "CAP",
        Invariant::Data => "DATA",
        Invariant::Drain => "DRAIN",
        Invariant::Own => "OWN",
        Invariant::Once => "ONCE",
        Invariant::Modify => "MODIFY",
        Invariant::Spread => "SPREAD",
        Invariant::Pace => "PACE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_hashed_as_it_would_be_encoded() {
        let report = Report { holds: vec![Hold::NoVictim], ..Report::default() };
        let bytes = postcard::to_stdvec(&report).expect("it encodes");
        let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        assert_eq!(digest(&report), bytes.iter().fold(0x811c_9dc5, fnv));
        assert_ne!(digest(&report), digest(&Report::default()));
    }
}
