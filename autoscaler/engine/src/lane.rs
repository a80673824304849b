//! The node lane: cordons, drains, their way back, and the counts of groups. Each is carried out by itself, at once,
//! beside a modification that hangs; one of a kind about an instance at a time.

use crate::calls::{Call, CallKind};
use crate::held::Held;
use crate::region::doubling;
use crate::{
    Alarm, BatchId, CallCount, CallId, Effect, Engine, NodeRef, NotSent, Now, Operation, Outcome, Permit,
    Record, Withheld, Write,
};
use autoscaler_core::{Action, DrainBy, DrainCause, Memory, Plan};
use fleet::{ApiError, ErrorClass, FleetName, InstanceId, Timestamp};
use std::time::Duration;

/// What was done and has not shown for this long is done again.
const SHOWS_WITHIN: Duration = Duration::from_secs(20);
/// What a look does not show is done again at once; if it is still wanted then, after so long, and each time after twice as
/// long, up to the longest: somebody undoes it, or shows it otherwise than it was asked for, and asking more often helps
/// nobody.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(320);
/// What was not done for so long is done for the first time again.
const REMEMBERED: Duration = Duration::from_secs(900);
/// A drain that is to end sooner than it was told to by more than this is another one.
const ABOUT: Duration = Duration::from_secs(5);

/// What a write of the node lane is about: one is under way of each at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LaneKey {
    /// An instance: a cordon or a drain; `back`: their way back, which a hook that drains must not hold up.
    Node { instance: InstanceId, back: bool },
    /// A service group.
    Group { namespace: String, job: String, group: String },
}

/// A write of the node lane.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub action: Action,
    /// Its place in its plan.
    pub step: u16,
    /// Whether it goes on where its intent cannot be journaled: it begins no removal.
    pub unjournaled: bool,
    pub failures: u32,
    /// How often it was done, as far as that is remembered.
    pub done: u32,
    pub phase: FlightPhase,
}

/// Where a write of the node lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlightPhase {
    /// Its intent is being written, in this batch once it is handed out.
    Recording(Option<BatchId>),
    /// It has been sent.
    Sent(CallId),
    /// It was done, at that wall and monotonic time; not again before a look from after that shows otherwise, or a while
    /// has passed.
    Done { at: Timestamp, since: Duration },
    /// It was done, at that monotonic time, and the nodes were looked at since. Remembered, so that it is not done again and
    /// again.
    Looked { since: Duration },
    /// It failed; not again before a while has passed.
    Failed { until: Duration },
}

impl LaneKey {
    /// What an action is about; `None` for one of the fleet lane.
    pub fn of(action: &Action, by: DrainBy) -> Option<Self> {
        match action {
            Action::Modify { .. } | Action::Terminate { .. } => None,
            Action::Cordon { instance } | Action::Drain { instance, .. } => {
                Some(Self::Node { instance: instance.clone(), back: false })
            }
            Action::Restore { instance } => {
                Some(Self::Node { instance: instance.clone(), back: by == DrainBy::Hook })
            }
            Action::ScaleGroup { namespace, job, group, count: _ } => {
                Some(Self::Group { namespace: namespace.clone(), job: job.clone(), group: group.clone() })
            }
        }
    }
}

impl Flight {
    /// Whether an action that is planned waits for this one, or until it is time to repeat it.
    fn keeps_waiting(&self, action: &Action, now: Now) -> bool {
        match self.phase {
            FlightPhase::Recording(_) | FlightPhase::Sent(_) => true,
            FlightPhase::Done { since, .. } => {
                self.is_for(action) && now.monotonic < since + SHOWS_WITHIN.max(self.pause())
            }
            FlightPhase::Looked { since } => self.is_for(action) && now.monotonic < since + self.pause(),
            FlightPhase::Failed { until } => now.monotonic < until,
        }
    }

    /// Whether an action is this one once more. A drain is, unless it is to end sooner.
    fn is_for(&self, action: &Action) -> bool {
        match (&self.action, action) {
            (
                Action::Drain { instance, deadline, cause: _ },
                Action::Drain { instance: other, deadline: wanted, cause: _ },
            ) => instance == other && *wanted + ABOUT >= *deadline,
            (done, wanted) => done == wanted,
        }
    }

    /// How long after it was done last it may be done again.
    fn pause(&self) -> Duration {
        match self.done {
            0 | 1 => Duration::ZERO,
            often => doubling(FIRST_PAUSE, often - 1, LONGEST_PAUSE),
        }
    }
}

/// Whether what holds up a plan's changes to the fleet does not hold up what nodes are told. A quarrel of planner and checker
/// about the fleet's size or spread does not either: what AWS takes goes whoever is right.
fn concerns_the_fleet_lane_alone(withheld: &Withheld) -> bool {
    match withheld {
        Withheld::Busy
        | Withheld::BackingOff { .. }
        | Withheld::Budget
        | Withheld::JournalFailing
        | Withheld::NotLooked => true,
        Withheld::Refused { invariants } => {
            // What is wrong about a node action is of DRAIN, OWN or ONCE.
            let of_size = |id: &String| ["CAP", "DATA", "MODIFY", "SPREAD", "PACE"].contains(&&**id);
            invariants.iter().all(of_size)
        }
        Withheld::DryRun | Withheld::Stopping | Withheld::Standby | Withheld::Panicked => false,
    }
}

/// Whether a drain begins a removal that nothing on disk accounts for. Who was chosen in an earlier plan may have waited for its drain.
pub(crate) fn begins_drain(before: &Memory, action: &Action) -> bool {
    match action {
        Action::Drain { instance, cause: DrainCause::ScaleIn, .. } => {
            before.removals.get(instance).is_none_or(|removal| removal.drain_until.is_none())
        }
        _ => false,
    }
}

impl Held {
    /// Writes of the node lane that have been sent and are not hooks, which may take long.
    pub fn lane_is_under_way(&self) -> bool {
        let by_hook = self.state.policy.drain.by == DrainBy::Hook;
        self.lane.values().any(|flight| {
            let hook = by_hook && matches!(flight.action, Action::Drain { .. });
            matches!(flight.phase, FlightPhase::Sent(_)) && !hook
        })
    }

    /// Whether nodes are told nothing now, whatever is planned for them; or, upon an old look, not all that they should be.
    pub fn withholds_nodes(&self) -> bool {
        let withheld = self.last.as_ref().and_then(|last| last.withheld.as_ref());
        let all =
            |withheld: &Withheld| concerns_the_fleet_lane_alone(withheld) && *withheld != Withheld::NotLooked;
        withheld.is_some_and(|withheld| !all(withheld))
    }

    /// Whether an instance's node could not be told what it was to be told last, or no node may be.
    pub fn fails_to_tell(&self, instance: &InstanceId) -> bool {
        let of_it = LaneKey::Node { instance: instance.clone(), back: false };
        let failed = |flight: &Flight| matches!(flight.phase, FlightPhase::Failed { .. });
        let denied = |operation: Operation| self.alarms.is_raised("denied", operation.label());
        self.lane.get(&of_it).is_some_and(failed) || denied(Operation::Cordon) || denied(Operation::Drain)
    }

    /// Whether anything of the node lane is under way, or has not been looked at since it was done.
    pub fn lane_is_busy(&self) -> bool {
        self.lane.values().any(|flight| !matches!(flight.phase, FlightPhase::Looked { .. }))
    }

    /// A look that was begun at `at` has shown what was done before. * returns: whether anything waited for that.
    pub fn settle_lane(&mut self, at: Timestamp, now: Now) -> bool {
        let mut waited = false;
        for flight in self.lane.values_mut() {
            if let FlightPhase::Done { at: done, since } = flight.phase
                && at >= done
            {
                flight.phase = FlightPhase::Looked { since };
                waited = true;
            }
        }
        let old = |since: Duration| now.monotonic >= since + REMEMBERED;
        self.lane.retain(|_, flight| !matches!(flight.phase, FlightPhase::Looked { since } if old(since)));
        waited
    }

    /// Whether a node action may be taken though the plan's memory is not kept for this reason: it is accounted for
    /// otherwise. Of a plan that was refused only what goes anyway is emptied.
    fn is_accounted_for(&self, before: &Memory, action: &Action, withheld: &Withheld) -> bool {
        let goes = |instance: &InstanceId| {
            before.removals.contains_key(instance)
                || before.replacements.contains_key(instance)
                || self.state.notices.iter().any(|notice| notice.instance == *instance)
        };
        let unjournaled = matches!(withheld, Withheld::JournalFailing);
        // Upon an old look nobody is chosen, and nobody taken back.
        let blind = *withheld == Withheld::NotLooked;
        match action {
            _ if blind && !matches!(action, Action::Drain { .. } | Action::Cordon { .. }) => false,
            Action::Drain { instance, .. } => {
                goes(instance) && !((unjournaled || blind) && begins_drain(before, action))
            }
            Action::Cordon { instance }
                if unjournaled || blind || matches!(withheld, Withheld::Refused { .. }) =>
            {
                goes(instance)
            }
            // Less of a group is wanted because somebody goes, who does not.
            Action::ScaleGroup { .. } if unjournaled => false,
            _ => !matches!(withheld, Withheld::Refused { .. }),
        }
    }
}

impl Engine {
    /// Lines up a plan's node actions, to be begun when their intent is on disk.
    ///
    /// * `withheld`: why the plan's changes to the fleet are not carried out. What holds up the fleet lane alone
    ///   does not hold up this one; but what only the plan's memory would account for is not begun then.
    /// * returns: whether there is any.
    pub(crate) fn line_up_nodes(
        &mut self,
        name: &FleetName,
        plan: &Plan,
        before: &Memory,
        withheld: Option<&Withheld>,
        now: Now,
    ) -> bool {
        let fleet_lane_only = withheld.is_none_or(concerns_the_fleet_lane_alone);
        let Some(held) = self.fleets.get_mut(name).filter(|_| fleet_lane_only) else { return false };
        let by = held.state.policy.drain.by;
        let mut any = false;
        for (step, action) in plan.actions.iter().enumerate() {
            let Some(key) = LaneKey::of(action, by) else { continue };
            if withheld.is_some_and(|withheld| !held.is_accounted_for(before, action, withheld)) {
                continue;
            }
            let known = held.lane.get(&key);
            if known.is_some_and(|flight| flight.keeps_waiting(action, now)) {
                continue;
            }
            let flight = Flight {
                action: action.clone(),
                step: u16::try_from(step).unwrap_or(u16::MAX),
                unjournaled: !begins_drain(before, action),
                failures: known.map_or(0, |flight| flight.failures),
                done: known.filter(|flight| flight.is_for(action)).map_or(0, |flight| flight.done),
                phase: FlightPhase::Recording(None),
            };
            held.lane.insert(key, flight);
            any = true;
        }
        any
    }

    /// The batch that holds the intent of node actions is on disk, or could not be put there.
    pub(crate) fn node_intents_recorded(
        &mut self,
        name: &FleetName,
        batch: BatchId,
        written: bool,
        now: Now,
    ) {
        let Some(held) = self.fleets.get(name) else { return };
        let recording = |flight: &Flight| flight.phase == FlightPhase::Recording(Some(batch));
        let keys: Vec<LaneKey> =
            held.lane.iter().filter(|(_, flight)| recording(flight)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.begin_node(name, &key, written.then_some(batch), now);
        }
    }

    fn begin_node(&mut self, name: &FleetName, key: &LaneKey, intent: Option<BatchId>, now: Now) {
        let refused = if self.stopping.is_some() {
            Some(Outcome::Skipped)
        } else {
            self.fenced(now).map(Outcome::NotSent)
        };
        let not_after = self.permit_until(now);
        let region = self.some_region();
        let Some(held) = self.fleets.get_mut(name) else { return };
        let Some(flight) = held.lane.get(key) else { return };
        let unwritten = (intent.is_none() && !flight.unjournaled).then_some(Outcome::NotJournaled);
        if let Some(outcome) = refused.or(unwritten) {
            self.node_called_off(name, key, outcome, now);
            return;
        }
        let Some(write) = write_of(held, &flight.action) else { return };
        let operation = Operation::of(&flight.action);
        let mut begun = now.monotonic;
        if let Write::Drain { node: NodeRef { by: DrainBy::Hook, .. }, deadline, .. } = &write {
            // A hook may take as long as the drain.
            begun += deadline.since(now.wall);
        }
        let region = held.region.clone().unwrap_or(region);
        let kind = CallKind::Lane { name: name.clone(), operation, key: key.clone() };
        let call = self.calls.open(Call { region: region.clone(), kind, at: now.wall, begun });
        if let Some(flight) = held.lane.get_mut(key) {
            flight.phase = FlightPhase::Sent(call);
        }
        self.out.push(Effect::Write { call, region, write, permit: Permit { not_after, intent } });
    }

    /// A node action has ended.
    pub(crate) fn node_ended(
        &mut self,
        name: &FleetName,
        key: &LaneKey,
        call: CallId,
        result: Result<(), ApiError>,
        now: Now,
    ) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let Some(flight) = held.lane.get_mut(key).filter(|flight| flight.phase == FlightPhase::Sent(call))
        else {
            return;
        };
        let (operation, step) = (Operation::of(&flight.action), flight.step);
        let class = result.as_ref().err().map_or("ok", |error| error.class().label());
        *self.metrics.calls.entry(CallCount { operation: operation.label(), class }).or_default() += 1;
        let outcome = match &result {
            Ok(()) => {
                flight.failures = 0;
                flight.done = flight.done.saturating_add(1);
                flight.phase = FlightPhase::Done { at: now.wall, since: now.monotonic };
                Outcome::Done
            }
            Err(error) => {
                flight.failures = flight.failures.saturating_add(1);
                let pause = pause_of(error.class(), flight.failures);
                flight.phase = FlightPhase::Failed { until: now.monotonic + pause };
                self.again.insert(name.clone(), now.monotonic + pause);
                Outcome::Failed { class: error.class(), message: error.to_string() }
            }
        };
        let by_hook = held.state.policy.drain.by == DrainBy::Hook;
        let emptied = match &flight.action {
            Action::Drain { instance, .. } if by_hook && result.is_ok() => Some(instance.clone()),
            _ => None,
        };
        held.record(Record::Outcome { at: now.wall, step, operation, outcome });
        if let Some(instance) = emptied {
            held.record(Record::Emptied { instance, at: now.wall });
            self.write_soon(name, true);
        }
        self.tell_of_node(name, operation, result.err(), now);
        self.after_node(name, now);
    }

    /// Raises or clears what an operator has to act upon.
    fn tell_of_node(&mut self, name: &FleetName, operation: Operation, error: Option<ApiError>, now: Now) {
        let label = operation.label();
        match error {
            None => {
                for alarm in ["denied", "malformed"] {
                    self.clear(Some(name), alarm, label, now);
                }
            }
            Some(error) => {
                let (operation, message) = (label.to_owned(), error.to_string());
                let alarm = match error.class() {
                    ErrorClass::Denied => Alarm::Denied { operation, message },
                    ErrorClass::Malformed => Alarm::Malformed { operation, message },
                    _ => return,
                };
                self.raise(Some(name), label, alarm, now);
            }
        }
    }

    /// A node action was not begun: nothing happened.
    pub(crate) fn node_not_sent(
        &mut self,
        name: &FleetName,
        key: &LaneKey,
        call: CallId,
        why: NotSent,
        now: Now,
    ) {
        let sent = |flight: &Flight| flight.phase == FlightPhase::Sent(call);
        if self.fleets.get(name).and_then(|held| held.lane.get(key)).is_some_and(sent) {
            self.node_called_off(name, key, Outcome::NotSent(why), now);
            self.after_node(name, now);
        }
    }

    fn node_called_off(&mut self, name: &FleetName, key: &LaneKey, outcome: Outcome, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let Some(Flight { action, step, .. }) = held.lane.remove(key) else { return };
        let operation = Operation::of(&action);
        held.record(Record::Outcome { at: now.wall, step, operation, outcome });
    }

    /// Whatever came of it, the picture of the nodes is old now.
    fn after_node(&mut self, name: &FleetName, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.make_due(name, now);
        self.services.nodes.look = true;
        self.ask_nodes(now);
        let underway = self.services.nodes.call;
        if let Some(held) = self.fleets.get_mut(name).filter(|held| super::nodes::uses_nomad(held)) {
            held.awaiting.extend(underway);
        }
    }
}

/// The call that an action is carried out with.
fn write_of(held: &Held, action: &Action) -> Option<Write> {
    let policy = &held.state.policy;
    let node = |instance: &InstanceId| NodeRef {
        fleet: held.name.clone(),
        instance: instance.clone(),
        node: held.state.node_of(instance).map(|node| node.id.clone()),
        by: policy.drain.by,
    };
    Some(match action {
        Action::Modify { .. } | Action::Terminate { .. } => return None,
        Action::Cordon { instance } => Write::Cordon(node(instance)),
        Action::Drain { instance, deadline, cause } => Write::Drain {
            node: node(instance),
            deadline: *deadline,
            ignore_system_jobs: policy.drain.ignore_system_jobs,
            cause: *cause,
        },
        Action::Restore { instance } => Write::Restore(node(instance)),
        Action::ScaleGroup { namespace, job, group, count } => Write::ScaleGroup {
            namespace: namespace.clone(),
            job: job.clone(),
            group: group.clone(),
            count: *count,
        },
    })
}

/// How long a node action that failed is not tried again. Two minutes is all there is, so not for long; none of them
/// does harm when it is repeated.
fn pause_of(class: ErrorClass, failures: u32) -> Duration {
    match class {
        ErrorClass::Throttled { retry_after } => {
            retry_after.unwrap_or_default().clamp(Duration::from_secs(1), Duration::from_secs(20))
        }
        ErrorClass::Denied | ErrorClass::Malformed => Duration::from_secs(30),
        _ => doubling(Duration::from_secs(1), failures, Duration::from_secs(10)),
    }
}
