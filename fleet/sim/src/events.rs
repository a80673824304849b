//! What the world says by itself: events of the EventBridge kind, and the fleets' own histories.

use crate::agenda::Due;
use crate::instances::ScheduledEvent;
use crate::num::scaled;
use crate::world::World;
use fleet::{
    Backend, FleetId, HistoryEvent, HistoryKind, InstanceId, InstanceState, Pool, Timestamp, UsdPerHour,
};
use std::collections::{BTreeMap, VecDeque};

/// An event as EventBridge would deliver it. Rendering it as JSON is the HTTP face's business.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldEvent {
    /// Counts the deliveries from 0: a reader's place in the queue.
    pub sequence: u64,
    /// Counts the events from 0: the same in every delivery of one.
    pub id: u64,
    /// When it happened.
    pub at: Timestamp,
    /// When it was delivered.
    pub delivered: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// Kinds of events, by their `detail-type`.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// `EC2 Spot Instance Interruption Warning`, action `terminate`.
    InterruptionWarning {
        /// Whom it concerns.
        instance: InstanceId,
        /// Where it runs.
        pool: Pool,
    },
    /// `EC2 Instance Rebalance Recommendation`.
    RebalanceRecommendation {
        /// Whom it concerns.
        instance: InstanceId,
        /// Where it runs.
        pool: Pool,
    },
    /// `EC2 Instance State-change Notification`.
    StateChange {
        /// Whom it concerns.
        instance: InstanceId,
        /// Its new state.
        state: InstanceState,
    },
    /// `AWS Health Event` of category `scheduledChange`.
    Scheduled {
        /// Whom it concerns.
        instance: InstanceId,
        /// What is planned.
        event: ScheduledEvent,
    },
    /// `EC2 Spot Fleet State Change`, `… Instance Change`, `… Information` or `… Error`, or their EC2 Fleet
    /// kin: what the fleet's history says at the same time.
    Fleet {
        /// Whose service.
        backend: Backend,
        /// Which fleet.
        fleet: FleetId,
        /// The line of its history.
        record: FleetRecord,
        /// Where the instance runs, in an instance change.
        pool: Option<Pool>,
    },
}

/// EC2's four types of history records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// `instanceChange`: launched, terminated, termination_notified.
    InstanceChange,
    /// `fleetRequestChange`: see [`FleetChange`].
    FleetRequestChange,
    /// `error`: `spotFleetRequestConfigurationInvalid` when a pool had nothing to give.
    Error,
    /// `information`: `fleetProgressHalted` when no pool had anything to give.
    Information,
}

/// Sub-types of `fleetRequestChange`, in Spot Fleet's words (EC2 Fleet says `deleted` for `cancelled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetChange {
    /// Accepted.
    Submitted,
    /// At work.
    Active,
    /// A modification is being carried out.
    ModifyInProgress,
    /// It was carried out (`modify_successful` in the history, `modify_succeeded` on EventBridge).
    ModifySucceeded,
    /// Deleted, its instances run on.
    CancelledRunning,
    /// Deleted, its instances are going.
    CancelledTerminating,
    /// Deleted, and nothing of it is left.
    Cancelled,
    /// Ended by itself.
    Expired,
}

impl FleetChange {
    /// EC2's word in a Spot Fleet's history.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Active => "active",
            Self::ModifyInProgress => "modify_in_progress",
            Self::ModifySucceeded => "modify_successful",
            Self::CancelledRunning => "cancelled_running",
            Self::CancelledTerminating => "cancelled_terminating",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// A line of a fleet's history, as EC2 writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRecord {
    /// When.
    pub at: Timestamp,
    /// Its type.
    pub record_type: RecordType,
    /// EC2's sub-type: `launched`, `modify_in_progress`, …
    pub sub_type: &'static str,
    /// Whom it concerns, where it is one instance.
    pub instance: Option<InstanceId>,
    /// The pool that had nothing to give, with its price, where that is what is reported.
    pub no_capacity: Option<(Pool, UsdPerHour)>,
    /// EC2's words.
    pub description: String,
}

impl FleetRecord {
    /// The same in the model's words.
    pub fn to_event(&self) -> HistoryEvent {
        let Self { at, record_type, sub_type, instance, no_capacity, description } = self;
        let kind = match (record_type, no_capacity) {
            (_, Some((pool, price))) => HistoryKind::NoCapacity {
                instance_type: Some(pool.instance_type.clone()),
                zone: Some(pool.zone.clone()),
                price: Some(*price),
            },
            (RecordType::InstanceChange, None) if *sub_type == "launched" => HistoryKind::Launched,
            (RecordType::InstanceChange, None) => HistoryKind::Terminated,
            (RecordType::FleetRequestChange, None) => HistoryKind::FleetChange,
            (RecordType::Error, None) => HistoryKind::Error,
            (RecordType::Information, None) => HistoryKind::Other,
        };
        HistoryEvent { at: *at, kind, instance: instance.clone(), description: description.clone() }
    }
}

impl World {
    /// Says something on EventBridge now; faults may lose it, double it or hold it back.
    pub(crate) fn emit(&mut self, kind: EventKind) {
        let (now, id) = (self.now, self.events.new_id());
        if !self.events.listens() {
            return;
        }
        let Some(delivery) = self.faults.delivery(self.offset()) else {
            self.events.deliver(id, now, now, kind);
            return;
        };
        let chance = &mut self.event_chance;
        let copies =
            if chance.chance(delivery.lost) { 0 } else { 1 + u8::from(chance.chance(delivery.doubled)) };
        for _ in 0..copies {
            let late = chance.chance(delivery.late);
            let by = scaled(delivery.by, chance.share());
            if late && !by.is_zero() {
                let number = self.events.hold_back(id, now, kind.clone());
                self.agenda.put(now + by, Due::Delivered(number));
            } else {
                self.events.deliver(id, now, now, kind.clone());
            }
        }
    }
}

/// The events that are kept for readers, the newest at the end.
#[derive(Clone, Debug)]
pub(crate) struct EventLog {
    events: VecDeque<WorldEvent>,
    room: usize,
    next: u64,
    next_id: u64,
    /// On their way, by a number of their own.
    late: BTreeMap<u64, (u64, Timestamp, EventKind)>,
    next_late: u64,
}

impl EventLog {
    pub(crate) fn new(room: usize) -> Self {
        Self { events: VecDeque::new(), room, next: 0, next_id: 0, late: BTreeMap::new(), next_late: 0 }
    }
    /// Whether anything is kept at all.
    pub(crate) const fn listens(&self) -> bool {
        self.room > 0
    }
    /// The id of another event.
    pub(crate) const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
    /// Delivers an event.
    pub(crate) fn deliver(&mut self, id: u64, at: Timestamp, delivered: Timestamp, kind: EventKind) {
        if self.events.len() >= self.room {
            self.events.pop_front();
        }
        if self.room > 0 {
            self.events.push_back(WorldEvent { sequence: self.next, id, at, delivered, kind });
        }
        self.next += 1;
    }
    /// Holds an event back. * returns: the number by which it is delivered later.
    pub(crate) fn hold_back(&mut self, id: u64, at: Timestamp, kind: EventKind) -> u64 {
        self.late.insert(self.next_late, (id, at, kind));
        self.next_late += 1;
        self.next_late - 1
    }
    /// Delivers an event that was held back.
    pub(crate) fn deliver_late(&mut self, number: u64, now: Timestamp) {
        if let Some((id, at, kind)) = self.late.remove(&number) {
            self.deliver(id, at, now, kind);
        }
    }
    pub(crate) fn since(&self, place: u64) -> impl Iterator<Item = &WorldEvent> {
        // A reader that has read all asks most often.
        let unread = || self.events.partition_point(|event| event.sequence < place);
        let first = if self.has_since(place) { unread() } else { self.events.len() };
        self.events.range(first..)
    }
    pub(crate) fn has_since(&self, place: u64) -> bool {
        self.events.back().is_some_and(|newest| newest.sequence >= place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_lags_too_far_starts_at_the_oldest_that_is_kept() {
        let mut log = EventLog::new(3);
        let state = |n| EventKind::StateChange {
            instance: InstanceId::new(format!("i-{n}")),
            state: InstanceState::Running,
        };
        for n in 0..5 {
            let id = log.new_id();
            log.deliver(id, Timestamp::from_secs(n), Timestamp::from_secs(n), state(n));
        }
        let read = |place| log.since(place).map(|event| event.sequence).collect::<Vec<_>>();
        assert_eq!((read(0), read(3), read(5)), (vec![2, 3, 4], vec![3, 4], vec![]));
    }
}
