//! What the cloud answered: from answers to records.

use crate::calls::{Call, CallKind};
use crate::delta::InstancesDelta;
use crate::held::Held;
use crate::region::Streak;
use crate::sources::CUSTOM;
use crate::{Alarm, Answer, CallCount, CallId, Engine, FleetDelta, InstanceSeen, Now, Operation, Record};
use autoscaler_core::{PoolTrouble, TroubleKind};
use fleet::{
    ApiError, Backend, EndedBy, ErrorClass, FleetName, FleetRef, FleetSelector, FleetState, FleetView,
    Health, HistoryEvent, HistoryKind, Instance, InstanceId, Region,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads that have failed for this long are worth an alarm.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(60);
/// So many describes in a row must not show a fleet before it is believed to be gone.
const UNSEEN: u32 = 2;
/// Lines of a fleet's history that are kept for the alarm.
const HISTORY_LINES: usize = 5;

impl Engine {
    pub(crate) fn answered(&mut self, id: CallId, answer: Answer, now: Now) {
        if let Some(call) = self.calls.take(id) {
            self.answer_of(id, call, answer, now);
        }
    }

    /// Takes an answer to what it was asked for. One of the wrong kind is as good as none.
    pub(crate) fn answer_of(&mut self, id: CallId, call: Call, answer: Answer, now: Now) {
        let region = call.region.clone();
        let asked = Asked { region: &region, operation: call.kind.label(), of: call.kind.of().to_owned() };
        self.release(id, &call, now);
        match (call.kind.clone(), answer) {
            (CallKind::Fleets, Answer::Fleets(result)) => {
                match self.read_ended(&asked, result, now) {
                    Some(views) => self.fleets_described(&region, &views, call.at, now),
                    None => self.ask_again(&region, &[]),
                }
                if self.regions.get(&region).is_some_and(|state| state.look) {
                    self.observe(&region, now);
                }
            }
            (CallKind::Instances { fleets }, Answer::Instances(result)) => {
                let shown = self.read_ended(&asked, result, now);
                let told = shown.is_some();
                match shown {
                    Some(instances) => self.instances_described(&fleets, &instances, call.at, now),
                    None => self.ask_again(&region, &fleets),
                }
                self.strangers_looked_for(&region, id, told, now);
            }
            (CallKind::FleetInstances { name }, Answer::FleetInstances(result)) => {
                if let Some(listed) = self.read_ended(&asked, result, now) {
                    self.fleet_instances_listed(&name, &listed, call.at, now);
                }
            }
            (CallKind::History { name }, Answer::History(result)) => {
                if let Some(events) = self.read_ended(&asked, result, now) {
                    self.history_told(&name, &events);
                }
            }
            (CallKind::ScalableTargets { fleets }, Answer::ScalableTargets(result)) => {
                if let Some(scaled) = self.read_ended(&asked, result, now) {
                    self.scalable_targets_told(&fleets, &scaled, now);
                }
            }
            (CallKind::Metrics { source, wanted, .. }, Answer::Metrics(result)) => {
                if let Some(series) = self.read_ended(&asked, result, now) {
                    self.metrics_told(source, &wanted, series, now);
                }
            }
            (CallKind::Backfill { fleets }, Answer::Metrics(result)) => {
                let series = self.read_ended(&asked, result, now);
                self.backfill_told(&fleets, series, now);
            }
            (CallKind::Modify { name }, Answer::Modified(result)) => {
                self.write_ended(&name, id, Operation::Modify, result, now);
            }
            (CallKind::Terminate { name }, Answer::Terminated(result)) => {
                self.write_ended(&name, id, Operation::Terminate, result.map(|_| ()), now);
            }
            (CallKind::Modify { name } | CallKind::Terminate { name }, Answer::NotSent(why)) => {
                self.write_not_sent(&name, id, why, now);
            }
            (CallKind::Lane { name, key, .. }, Answer::Done(result)) => {
                self.node_ended(&name, &key, id, result, now);
            }
            (CallKind::Lane { name, key, .. }, Answer::NotSent(why)) => {
                self.node_not_sent(&name, &key, id, why, now);
            }
            (CallKind::Nodes { fleets }, Answer::Nodes(result)) => {
                self.nodes_told(&fleets, result, call.at, now);
            }
            (CallKind::Marks, Answer::Marks(result)) => {
                if let Some(notices) = self.read_ended(&asked, result, now) {
                    self.marks_told(&region, &notices, call.at, now);
                }
            }
            (CallKind::Prices, Answer::Prices(result)) => {
                if let Some(offerings) = self.read_ended(&asked, result, now) {
                    self.prices_told(&region, &offerings);
                }
            }
            (CallKind::Alarms { fleets, names }, Answer::Alarms(result)) => {
                if let Some(found) = self.read_ended(&asked, result, now) {
                    self.alarms_told(&fleets, &names, &found, call.at, now);
                }
            }
            (CallKind::Ledgers { fleets }, Answer::Ledgers(result)) => {
                self.ledgers_told(&fleets, result, call.at, now);
            }
            (kind, _) => {
                let lost = Call::lost(&kind);
                self.answer_of(id, call, lost, now);
            }
        }
        self.settle_waiting(now);
    }

    /// Whoever waited for this call does no longer.
    fn release(&mut self, id: CallId, call: &Call, _now: Now) {
        let names: Vec<FleetName> = match &call.kind {
            CallKind::Fleets => {
                let Some(state) = self.regions.get_mut(&call.region) else { return };
                if state.fleets_call == Some(id) {
                    state.fleets_call = None;
                }
                state.fleets.iter().cloned().collect()
            }
            CallKind::Instances { fleets } | CallKind::ScalableTargets { fleets } => {
                fleets.iter().map(|(name, _)| name.clone()).collect()
            }
            CallKind::Metrics { wanted, .. } => {
                let mut names: Vec<FleetName> = wanted.iter().map(|wanted| wanted.fleet.clone()).collect();
                names.dedup();
                names
            }
            CallKind::FleetInstances { name } => vec![name.clone()],
            CallKind::Backfill { .. } => {
                if let Some(state) = self.regions.get_mut(&call.region) {
                    state.backfill_call = None;
                }
                return;
            }
            CallKind::Nodes { fleets } => fleets.clone(),
            CallKind::History { .. }
            | CallKind::Modify { .. }
            | CallKind::Terminate { .. }
            | CallKind::Lane { .. }
            | CallKind::Marks
            | CallKind::Prices
            | CallKind::Alarms { .. }
            | CallKind::Ledgers { .. } => return,
        };
        for name in names {
            let Some(held) = self.fleets.get_mut(&name) else { continue };
            held.awaiting.remove(&id);
            if held.instances_call == Some(id) {
                held.instances_call = None;
            }
        }
    }

    /// A describe failed, of a region's fleets or of some fleets' instances: it is due again as soon as it may be
    /// tried, not only when its time comes round.
    fn ask_again(&mut self, region: &Region, fleets: &[(FleetName, FleetRef)]) {
        for (name, _) in fleets {
            if let Some(held) = self.fleets.get_mut(name) {
                held.look = true;
            }
        }
        if fleets.is_empty()
            && let Some(state) = self.regions.get_mut(region)
        {
            state.look = true;
        }
    }

    /// Keeps account of how a read ended.
    fn read_ended<T>(&mut self, asked: &Asked<'_>, result: Result<T, ApiError>, now: Now) -> Option<T> {
        let Asked { region, operation, of } = asked;
        let class = result.as_ref().err().map_or("ok", |error| error.class().label());
        *self.metrics.calls.entry(CallCount { operation, class }).or_default() += 1;
        // A region that policies left meanwhile does not mind.
        let state = self.regions.get_mut(*region)?;
        let about = &about(region, operation, of);
        match result {
            Ok(answer) => {
                if state.succeeded(operation, of) {
                    self.read_recovered(about, now);
                }
                Some(answer)
            }
            Err(error) => {
                if of == CUSTOM && error.class() == ErrorClass::Malformed {
                    // One of them is wrong; each by itself, the others are not.
                    state.custom_apart = true;
                }
                let streak = state.failed(operation, of, error, now.wall, now.monotonic);
                if let Some(alarm) = alarm_of(about, streak, now) {
                    self.raise(None, about, alarm, now);
                }
                None
            }
        }
    }

    /// A read works again, or is not made any more.
    pub(crate) fn read_recovered(&mut self, about: &str, now: Now) {
        for label in ["denied", "malformed", "unreachable"] {
            self.clear(None, label, about, now);
        }
    }

    /// A describe of a region's fleets: finds out which is whose.
    fn fleets_described(&mut self, region: &Region, views: &[FleetView], at: fleet::Timestamp, now: Now) {
        let found = Found::of(views);
        let names: Vec<FleetName> =
            self.regions.get(region).map(|state| state.fleets.iter().cloned().collect()).unwrap_or_default();
        let mut taken: BTreeMap<&str, FleetName> = BTreeMap::new();
        for name in names {
            let Some(held) = self.fleets.get(&name) else { continue };
            let matches = found.matching(&held.policy.selector, held.policy.backend);
            let [view] = matches[..] else {
                self.fleet_not_found(&name, &matches, now);
                continue;
            };
            if let Some(by) = taken.get(view.id.as_str()) {
                let alarm = Alarm::FleetHeldTwice { by: by.clone() };
                self.raise(Some(&name), "", alarm, now);
                self.lose_fleet(&name, at, now);
                continue;
            }
            taken.insert(view.id.as_str(), name.clone());
            for label in ["fleet_not_found", "fleet_ambiguous", "fleet_held_twice"] {
                self.clear(Some(&name), label, "", now);
            }
            self.fleet_seen(&name, view, at, now);
        }
        // What was found for the first time, or moves, has instances to be asked for at once.
        self.observe(region, now);
    }

    fn fleet_seen(&mut self, name: &FleetName, view: &FleetView, at: fleet::Timestamp, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.unseen = 0;
        if held.state.fleet.as_ref().is_some_and(|seen| seen.at > at) {
            // An answer that overtook this one is younger.
            return;
        }
        let delta = FleetDelta::between(held.state.fleet.as_ref().map(|seen| &seen.what), view);
        let changed = delta != FleetDelta::Same;
        let counts = |seen: &FleetView| (seen.target, seen.fulfilled);
        let recounts = held.state.fleet.as_ref().is_some_and(|seen| counts(&seen.what) != counts(view));
        // Instances came or went: those that were seen before this are not all, or too many.
        let underway = held.instances_call.and_then(|id| self.calls.asked_at(id));
        let younger = held.state.instances_at.max(underway).is_some_and(|asked| asked >= at);
        let another = held.state.held.as_ref().is_some_and(|id| *id != view.id);
        held.record(Record::Fleet { at, delta });
        if another {
            self.owners.retain(|_, owner| owner != name);
            if let Some(held) = self.fleets.get_mut(name) {
                held.instances_asked = None;
                held.windows.reset();
            }
        }
        if changed {
            if let Some(held) = self.fleets.get_mut(name) {
                held.moved = now.monotonic;
                held.look |= recounts && !younger;
            }
            self.make_due(name, now);
        }
    }

    /// No fleet is what the policy names, or more than one is.
    fn fleet_not_found(&mut self, name: &FleetName, matches: &[&FleetView], now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        held.unseen = held.unseen.saturating_add(1);
        let known = held.state.fleet.is_some();
        let selector = held.policy.selector.clone();
        if matches.is_empty() {
            // Describes lag: a fleet that was there a moment ago may be there in the next one.
            if known && held.unseen < UNSEEN {
                return;
            }
            self.raise(Some(name), "", Alarm::FleetNotFound { selector }, now);
        } else {
            let ids = matches.iter().map(|view| view.id.clone()).collect();
            self.raise(Some(name), "", Alarm::FleetAmbiguous { ids }, now);
        }
        self.lose_fleet(name, now.wall, now);
    }

    fn lose_fleet(&mut self, name: &FleetName, at: fleet::Timestamp, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        if held.state.fleet.is_some() {
            held.record(Record::Fleet { at, delta: FleetDelta::Lost });
            self.make_due(name, now);
        }
    }

    /// A describe of some fleets' instances.
    fn instances_described(
        &mut self,
        fleets: &[(FleetName, FleetRef)],
        instances: &[Instance],
        at: fleet::Timestamp,
        now: Now,
    ) {
        let taken = self.taken();
        let mut by_fleet: BTreeMap<&str, Vec<&Instance>> =
            fleets.iter().map(|(_, fleet)| (fleet.id.as_str(), Vec::new())).collect();
        for instance in instances {
            if let Some(shown) = by_fleet.get_mut(instance.fleet.as_str()) {
                shown.push(instance);
            }
        }
        for (name, fleet) in fleets {
            let shown = by_fleet.remove(fleet.id.as_str()).unwrap_or_default();
            let Some(held) = self.fleets.get(name) else { continue };
            let ends = |instance: &&Instance| Some((instance.id.clone(), instance.ended_by?));
            let ends = shown.iter().filter_map(ends).collect();
            let protect = &held.policy.base.protect;
            let shown =
                shown.into_iter().map(|instance| InstanceSeen::of(instance, &taken, protect)).collect();
            let older = held.state.instances_at.is_some_and(|seen| seen > at);
            if older || held.state.held.as_ref() != Some(&fleet.id) {
                continue;
            }
            let first = held.state.instances_at.is_none();
            let delta = InstancesDelta::between(&held.state, shown, at);
            self.apply_instances(name, delta, &ends, at, first, now);
        }
    }

    /// * `ends`: whose doing it was, of those whose end EC2 gives a reason for.
    fn apply_instances(
        &mut self,
        name: &FleetName,
        delta: InstancesDelta,
        ends: &BTreeMap<InstanceId, EndedBy>,
        at: fleet::Timestamp,
        first: bool,
        now: Now,
    ) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let changed = first || !delta.is_empty();
        let InstancesDelta { seen, missing, gone } = delta;
        for instance in &seen {
            self.owners.insert(instance.id.clone(), name.clone());
            self.strangers.remove(&instance.id);
        }
        for id in &gone {
            self.owners.remove(id);
            held.agents.remove(id);
        }
        let doubtful = !missing.is_empty();
        let lost = held.lost(&seen, &gone, ends, at);
        held.record(Record::Instances { at, seen, missing, gone });
        if !lost.is_empty() {
            held.record(Record::Troubles(lost));
        }
        if changed {
            held.moved = now.monotonic;
            self.make_due(name, now);
        }
        if doubtful {
            self.ask_fleet_instances(name, now);
        }
    }

    /// The fleet's own list: instances that a describe did not show, and that are not on it either, are gone.
    fn fleet_instances_listed(
        &mut self,
        name: &FleetName,
        listed: &[(InstanceId, Health)],
        at: fleet::Timestamp,
        now: Now,
    ) {
        let Some(held) = self.fleets.get(name) else { return };
        let gone: Vec<InstanceId> = held
            .state
            .instances
            .iter()
            .filter(|(id, known)| {
                known.missing_since.is_some() && !listed.iter().any(|(other, _)| other == *id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        let at = held.state.instances_at.map_or(at, |seen| seen.min(at));
        let delta = InstancesDelta { gone, ..InstancesDelta::default() };
        self.apply_instances(name, delta, &BTreeMap::new(), at, false, now);
    }

    fn history_told(&mut self, name: &FleetName, events: &[HistoryEvent]) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let telling = events
            .iter()
            .filter(|event| {
                use HistoryKind::{Error, LaunchFailed, NoCapacity};
                matches!(event.kind, NoCapacity { .. } | LaunchFailed { .. } | Error)
            })
            .map(describe_event);
        let mut lines: Vec<String> = telling.collect();
        lines.dedup();
        held.history = lines.split_off(lines.len().saturating_sub(HISTORY_LINES));
        let troubles = events.iter().flat_map(|event| troubles_of(held, event)).collect();
        self.trouble_told(name, troubles, false);
    }

    fn scalable_targets_told(&mut self, asked: &[(FleetName, FleetRef)], scaled: &[FleetRef], now: Now) {
        for (name, fleet) in asked {
            let is = scaled.contains(fleet);
            let Some(held) = self.fleets.get_mut(name) else { continue };
            if held.state.scalable_target != is {
                held.record(Record::ScalableTarget(is));
                self.make_due(name, now);
            }
        }
    }
}

/// What a read was about.
struct Asked<'a> {
    region: &'a Region,
    operation: &'static str,
    of: String,
}

/// What distinguishes the alarms of reads.
pub(crate) fn about(region: &Region, operation: &str, of: &str) -> String {
    format!("{region} {operation} {of}").trim_end().to_owned()
}

/// The alarm that a read's failures are worth, if they are worth one yet.
pub(crate) fn alarm_of(of: &str, streak: &Streak, now: Now) -> Option<Alarm> {
    let (operation, message) = (of.to_owned(), streak.error.to_string());
    match streak.error.class() {
        ErrorClass::Denied => Some(Alarm::Denied { operation, message }),
        ErrorClass::Malformed => Some(Alarm::Malformed { operation, message }),
        _ if now.monotonic.saturating_sub(streak.began) >= UNREACHABLE_AFTER => {
            Some(Alarm::Unreachable { operation, since: streak.since, message })
        }
        _ => None,
    }
}

/// What speaks against pools, where the fleet's history names them.
fn troubles_of(held: &Held, event: &HistoryEvent) -> Vec<PoolTrouble> {
    match &event.kind {
        HistoryKind::NoCapacity { instance_type: Some(instance_type), zone, price: _ } => {
            held.troubles(TroubleKind::NoCapacity, instance_type, zone.as_ref(), event.at)
        }
        HistoryKind::LaunchFailed { instance_type, zone } => {
            held.troubles(TroubleKind::LaunchFailed, instance_type, zone.as_ref(), event.at)
        }
        _ => Vec::new(),
    }
}

/// A line for people.
fn describe_event(event: &HistoryEvent) -> String {
    match &event.kind {
        HistoryKind::NoCapacity { instance_type, zone, price: _ } => {
            let instance_type = instance_type.as_ref().map_or("?", |t| t.as_str());
            let zone = zone.as_ref().map_or("?", |z| z.as_str());
            format!("no capacity in {instance_type}/{zone}")
        }
        _ => event.description.clone(),
    }
}

/// What a describe showed, ready to be searched.
struct Found<'a> {
    by_id: BTreeMap<&'a str, &'a FleetView>,
    by_tag: BTreeMap<(&'a str, &'a str), Vec<&'a FleetView>>,
}

impl<'a> Found<'a> {
    fn of(views: &'a [FleetView]) -> Self {
        let mut by_tag: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for view in views.iter().filter(|view| view.state != FleetState::Deleted) {
            for (key, value) in &view.tags {
                by_tag.entry((key.as_str(), value.as_str())).or_default().push(view);
            }
        }
        Self { by_id: views.iter().map(|view| (view.id.as_str(), view)).collect(), by_tag }
    }

    /// The fleets that are meant: by id also one that is being deleted, by tag the living ones.
    fn matching(&self, selector: &FleetSelector, backend: Backend) -> Vec<&'a FleetView> {
        let mut found: Vec<&FleetView> = match selector {
            FleetSelector::Id(id) => self.by_id.get(id.as_str()).copied().into_iter().collect(),
            FleetSelector::Tag { key, value } => {
                self.by_tag.get(&(key.as_str(), value.as_str())).cloned().unwrap_or_default()
            }
        };
        found.retain(|view| view.backend == backend);
        found
    }
}
