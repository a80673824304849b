//! The engine: what happens goes in, what is to be done comes out.

use crate::alarms::Alarms;
use crate::calls::{Call, Calls};
use crate::held::{Held, KnownOf, Missing};
use crate::journal::Journal;
use crate::lane::FlightPhase;
use crate::news::{Hearsay, Strangers};
use crate::nodes::Services;
use crate::region::RegionState;
use crate::stop::Stopping;
use crate::{
    Alarm, Config, Decided, Effect, EngineMetrics, Entry, Event, FleetStatus, Now, PolicyStatus, Record,
    State, Status,
};
use fleet::{FleetName, InstanceId, Region, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wall time that differs from monotonic time by more than this, from one event to the next, has jumped.
const JUMP: i64 = 2000;

/// Holds any number of fleets at their target. See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) metrics: EngineMetrics,
    pub(crate) fleets: BTreeMap<FleetName, Held>,
    pub(crate) regions: BTreeMap<Region, RegionState>,
    /// What is known of fleets that no policy names: what the journal held, and what was let go.
    pub(crate) known: BTreeMap<FleetName, KnownOf>,
    /// Whose instance is whose.
    pub(crate) owners: BTreeMap<InstanceId, FleetName>,
    /// Instances that spoke and that no describe has shown, and when that was first noticed.
    pub(crate) strangers: BTreeMap<InstanceId, Duration>,
    pub(crate) calls: Calls,
    pub(crate) journal: Journal,
    /// Fleets that wait for answers before they are planned for, and until when.
    pub(crate) waiting: BTreeMap<FleetName, Duration>,
    /// Fleets that are planned for now.
    pub(crate) ready: BTreeSet<FleetName>,
    /// Fleets whose records are handed out now, and whether they must reach the disk.
    pub(crate) to_record: BTreeMap<FleetName, bool>,
    /// Alarms of no fleet in particular.
    pub(crate) alarms: Alarms,
    pub(crate) policies: PolicyStatus,
    pub(crate) stopping: Option<Stopping>,
    /// Until when we lead, where a lease is needed.
    pub(crate) lease: Option<Duration>,
    /// Whether we led when that was last looked at.
    pub(crate) led: bool,
    /// The instances on which autoscalers run, as was told last.
    pub(crate) peers: BTreeSet<InstanceId>,
    /// What is asked of no region: Nomad's nodes, and the ledgers.
    pub(crate) services: Services,
    /// What was heard of instances that nobody knows yet, and of messages that wait for the disk.
    pub(crate) hearsay: Hearsay,
    /// Fleets that are planned for again at a time, whatever has been answered by then.
    pub(crate) again: BTreeMap<FleetName, Duration>,
    pub(crate) out: Vec<Effect>,
    next_tick: Duration,
    /// Wall time less monotonic time, in milliseconds, at the last event.
    offset: Option<i64>,
    woken_at: Option<Duration>,
}

impl Engine {
    /// An engine that goes on from what the journal holds.
    ///
    /// * `restored`: each fleet's entries in order, from its last checkpoint on; folded one by one, so that an
    ///   iterator over the journal needs no memory.
    ///
    /// Does nothing until [`Event::PoliciesLoaded`].
    pub fn new(config: Config, restored: impl IntoIterator<Item = Entry>) -> Self {
        let mut states: BTreeMap<FleetName, State> = BTreeMap::new();
        for Entry { fleet, at: _, records } in restored {
            let state = states.entry(fleet).or_default();
            for record in records {
                match record {
                    // Moved, not cloned: a start with a thousand fleets is mostly this.
                    Record::Checkpoint(checkpoint) => *state = checkpoint.state,
                    record => state.apply(&record),
                }
            }
        }
        Self {
            config,
            metrics: EngineMetrics::default(),
            fleets: BTreeMap::new(),
            regions: BTreeMap::new(),
            known: states.into_iter().map(|(name, state)| (name, KnownOf::journaled(state))).collect(),
            owners: BTreeMap::new(),
            strangers: BTreeMap::new(),
            calls: Calls::default(),
            journal: Journal::default(),
            waiting: BTreeMap::new(),
            ready: BTreeSet::new(),
            to_record: BTreeMap::new(),
            alarms: Alarms::default(),
            policies: PolicyStatus::default(),
            stopping: None,
            lease: None,
            led: false,
            peers: BTreeSet::new(),
            services: Services::default(),
            hearsay: Hearsay::default(),
            again: BTreeMap::new(),
            out: Vec::new(),
            next_tick: Duration::ZERO,
            offset: None,
            woken_at: None,
        }
    }

    /// Takes in what happened; answers with what is to be done, in order. Never fails, never waits.
    ///
    /// Events that fit nothing (an answer to a call that was given up, say) are harmless.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        self.note_time(now);
        match event {
            Event::Timer => {}
            Event::PoliciesLoaded(policies) => self.load_policies(policies, now),
            Event::PoliciesRejected { problems } => self.reject_policies(problems, now),
            Event::Answered { call, answer } => self.answered(call, answer, now),
            Event::Recorded { batch, result } => self.recorded(batch, &result, now),
            Event::Heard { region, message, news } => self.heard(&region, message, news, now),
            Event::NodesMoved => self.nodes_moved(now),
            Event::Lease { until } => self.lease_told(until, now),
            Event::Peers(peers) => self.peers_told(peers, now),
            Event::Operator(command) => {
                // Nobody waits for the answer: an order that makes no sense changes nothing.
                let _ = self.order(command, now);
            }
            Event::Stop => self.stop(now),
        }
        self.finish(now)
    }

    /// Does what is due, and hands out what has gathered.
    pub(crate) fn finish(&mut self, now: Now) -> Vec<Effect> {
        self.watch_the_lease(now);
        self.give_up_lost(now);
        if self.stopping.is_none() {
            if now.monotonic >= self.next_tick && !self.fleets.is_empty() {
                self.tick(now);
            }
            self.plan_again(now);
            self.look_where_due(now);
            self.look_for_strangers(now);
            self.plan_what_is_ready(now);
        }
        self.hand_out_records(now);
        self.go_on_stopping(now);
        self.wake(now);
        std::mem::take(&mut self.out)
    }

    /// One step of the clock: windows are closed, every fleet is due, and what is old is asked for again.
    fn tick(&mut self, now: Now) {
        self.next_tick = now.monotonic + self.until_next_tick(now.wall);
        let names: Vec<FleetName> = self.fleets.keys().cloned().collect();
        let half = self.config.cycle / 2;
        for name in &names {
            self.close_windows(name, now);
            let Some(held) = self.fleets.get(name) else { continue };
            // Who was planned for just now, because something arrived, is not planned for again.
            if held.planned.is_none_or(|planned| now.monotonic.saturating_sub(planned) >= half) {
                self.make_due(name, now);
            }
        }
        let regions: Vec<Region> = self.regions.keys().cloned().collect();
        for region in &regions {
            self.observe(region, now);
        }
        self.ask_nodes(now);
        self.ask_ledgers(now);
        self.settle_waiting(now);
    }

    /// The time to the next tick: a little after the windows of pushed samples end, so that a cycle finds them
    /// closed. Between half a cycle and one and a half, whatever the wall clock does.
    fn until_next_tick(&self, wall: Timestamp) -> Duration {
        let cycle = self.config.cycle.max(Duration::from_secs(1));
        let phase = wall - self.config.window_grace;
        let into = phase.since(phase.floor(cycle));
        let wait = cycle.saturating_sub(into);
        if wait < cycle / 2 { wait + cycle } else { wait }
    }

    /// A fleet is to be planned for: when what is asked about it has been answered, or patience ends.
    pub(crate) fn make_due(&mut self, name: &FleetName, now: Now) {
        if !self.ready.contains(name) {
            self.waiting.entry(name.clone()).or_insert(now.monotonic + self.config.patience);
        }
    }

    /// Moves the fleets on that wait for nothing any more, or have waited for too long.
    pub(crate) fn settle_waiting(&mut self, now: Now) {
        let fleets = &mut self.fleets;
        let ready = &mut self.ready;
        self.waiting.retain(|name, until| {
            let Some(held) = fleets.get_mut(name) else { return false };
            if *until <= now.monotonic {
                held.awaiting.clear();
            }
            if held.awaiting.is_empty() {
                ready.insert(name.clone());
                return false;
            }
            true
        });
    }

    fn plan_what_is_ready(&mut self, now: Now) {
        if !self.waiting.is_empty() {
            self.settle_waiting(now);
        }
        // A plan may ask for a look, which is answered later: this ends.
        while let Some(name) = self.ready.pop_first() {
            self.plan_fleet(&name, now);
        }
    }

    /// Notices when wall time jumps: everything that it stamped is moved along. Comes before anything else, or
    /// what is stamped meanwhile would be moved, too.
    pub(crate) fn note_time(&mut self, now: Now) {
        let monotonic = i64::try_from(now.monotonic.as_millis()).unwrap_or(i64::MAX);
        let offset = now.wall.millis().saturating_sub(monotonic);
        let before = self.offset.replace(offset);
        let Some(by_ms) = before.map(|before| offset.saturating_sub(before)).filter(|by| by.abs() > JUMP)
        else {
            return;
        };
        self.metrics.clock_jumps += 1;
        self.calls.shift(by_ms);
        for held in self.fleets.values_mut() {
            held.windows.reset();
            held.agents.clear();
            held.told.clear();
            held.in_force = None;
            let shift = |at: &mut Timestamp| *at = Timestamp::from_millis(at.millis().saturating_add(by_ms));
            if let Some(Missing { since, .. }) = &mut held.missing {
                shift(since);
            }
            held.tenure.since.iter_mut().for_each(shift);
            held.lane.values_mut().for_each(|flight| {
                if let FlightPhase::Done { at, .. } = &mut flight.phase {
                    shift(at);
                }
            });
            held.record(Record::ClockJumped { by_ms });
        }
        for KnownOf { state, gap, .. } in self.known.values_mut() {
            *gap = true;
            state.apply(&Record::ClockJumped { by_ms });
        }
    }

    /// Asks to be woken when something is due, if nothing happens before.
    fn wake(&mut self, now: Now) {
        let mut at = (!self.fleets.is_empty() && self.stopping.is_none()).then_some(self.next_tick);
        let mut sooner = |other: Option<Duration>| {
            at = other.map_or(at, |other| Some(at.map_or(other, |at| at.min(other))));
        };
        sooner(self.waiting.values().min().copied());
        sooner(self.again.values().min().copied());
        if self.stopping.is_none() {
            sooner(self.regions.values().filter_map(RegionState::looks_at).min());
        }
        sooner(self.hearsay.strangers.values().filter_map(Strangers::due).min());
        sooner(self.calls.next_lost());
        sooner(self.journal.next_lost());
        sooner(self.stopping.as_ref().and_then(Stopping::deadline));
        let Some(at) = at else { return };
        let at = at.max(now.monotonic);
        let asked_and_ahead = self.woken_at == Some(at) && at > now.monotonic;
        if !asked_and_ahead {
            self.woken_at = Some(at);
            self.out.push(Effect::WakeAt { at });
        }
    }

    /// Calls and batches that nobody answered are taken as failed: a shell that forgets must not stop the loop.
    fn give_up_lost(&mut self, now: Now) {
        while let Some((id, call)) = self.calls.pop_lost(now.monotonic) {
            let answer = Call::lost(&call.kind);
            self.answer_of(id, call, answer, now);
        }
        while let Some(batch) = self.journal.pop_lost(now.monotonic) {
            self.recorded(batch, &Err("not written within 30 s".to_owned()), now);
        }
    }

    /// Raises a fleet's alarm, or one of no fleet in particular.
    pub(crate) fn raise(&mut self, fleet: Option<&FleetName>, of: &str, alarm: Alarm, now: Now) {
        let alarms = match fleet {
            Some(name) => self.fleets.get_mut(name).map(|held| &mut held.alarms),
            None => Some(&mut self.alarms),
        };
        let change = alarms.and_then(|alarms| alarms.raise(fleet, of, alarm, now.wall));
        self.out.extend(change.map(Effect::Alarm));
    }

    /// Clears an alarm, if it is raised.
    pub(crate) fn clear(&mut self, fleet: Option<&FleetName>, label: &'static str, of: &str, now: Now) {
        let alarms = match fleet {
            Some(name) => self.fleets.get_mut(name).map(|held| &mut held.alarms),
            None => Some(&mut self.alarms),
        };
        let change = alarms.and_then(|alarms| alarms.clear(fleet, label, of, now.wall));
        self.out.extend(change.map(Effect::Alarm));
    }

    /// Everything at a glance.
    pub fn status(&self, now: Now) -> Status {
        Status {
            at: now.wall,
            fleets: self.fleets.values().map(|held| self.show(held, now)).collect(),
            alarms: self.alarms.active(),
            failing: self.failing(),
            policies: self.policies.clone(),
            journal: self.journal.status(),
            dry_run: self.config.dry_run,
            stopping: self.stopping.is_some(),
            leads: self.leads(now),
            leadership: None,
        }
    }

    /// One fleet at a glance; `None` when no policy names it.
    pub fn fleet_status(&self, fleet: &FleetName, now: Now) -> Option<FleetStatus> {
        self.fleets.get(fleet).map(|held| self.show(held, now))
    }

    /// The last decisions of a fleet that differed from the one before, oldest first, and the very last one;
    /// `None` when no policy names it. Older ones are in the journal.
    pub fn decisions(&self, fleet: &FleetName) -> Option<Vec<Decided>> {
        let held = self.fleets.get(fleet)?;
        let mut decisions: Vec<Decided> = held.decisions.iter().cloned().collect();
        let newer = |last: &&Decided| decisions.last().is_none_or(|kept| kept.at != last.at);
        let last = held.last.as_ref().filter(newer).cloned();
        decisions.extend(last);
        Some(decisions)
    }

    /// What was counted.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }
}
