//! What happens to fleets and instances when its time has come.

use crate::agenda::Due;
use crate::events::{EventKind, FleetChange, FleetRecord, RecordType};
use crate::fleets::Deletion;
use crate::instances::{InstanceData, InstancePhase, Interruption, ScheduledCode, ScheduledEvent};
use crate::num::scaled;
use crate::pools::wait;
use crate::rng::Rng;
use crate::spec::{Hazard, InterruptionSpec, Replaced};
use crate::world::World;
use fleet::{FleetState, InstanceId, InstanceState, Market, Pool, Timestamp};
use std::time::Duration;

/// By how much a late notice is late.
const LATE: Duration = Duration::from_secs(60);
/// How often a fleet that a fault holds up is looked at again.
const HELD_UP: Duration = Duration::from_secs(5);

impl InterruptionSpec {
    /// Draws whether a notice that will be given at `at` is foretold by a rebalance recommendation, and when.
    pub(crate) fn foretold(&self, at: Timestamp, chance: &mut Rng) -> Option<Timestamp> {
        let happens = chance.chance(self.rebalance_chance);
        let ahead = scaled(self.rebalance_lead, chance.share());
        happens.then_some(at - ahead)
    }
}

impl World {
    pub(crate) fn carry_out(&mut self, due: Due) {
        match due {
            Due::FleetBegins(fleet) => self.begin(fleet),
            Due::FleetModified(fleet) => self.finish_modifying(fleet),
            Due::FleetRetries(fleet) => {
                self.fleets[fleet].retries = false;
                self.replenish(fleet);
            }
            Due::FleetExpires(fleet) => self.expire(fleet),
            Due::Fulfilled(serial) => self.fulfil(serial),
            Due::Runs(serial) => self.run(serial),
            Due::Serves(serial) => self.serve(serial),
            Due::Recommended(serial) => {
                self.recommend(serial);
            }
            Due::Marked(serial) => {
                self.mark(serial, false);
            }
            Due::Noticed(serial) => self.notice(serial),
            Due::Dies(serial) => self.end(serial),
            Due::Terminated(serial) => self.terminated(serial),
            Due::Forgotten(serial) => self.forget(serial),
            Due::PoolRecommended(pool) => {
                for serial in self.alive_in(pool) {
                    self.recommend(serial);
                }
            }
            Due::PoolStruck(pool) => {
                for serial in self.alive_in(pool) {
                    self.mark(serial, false);
                }
                self.foresee_strike(pool);
            }
            Due::Scripted(place) => self.act_out(place),
            Due::Delivered(number) => self.events.deliver_late(number, self.now),
            Due::ScheduledBegins(serial) => self.begin_scheduled(serial),
        }
    }

    // Fleets.

    fn begin(&mut self, fleet: usize) {
        if self.fleets[fleet].state == FleetState::Submitted {
            self.fleets[fleet].state = FleetState::Active;
            self.record_change(fleet, FleetChange::Active);
            self.replenish(fleet);
        }
    }

    /// Ends `modifying`, unless a fault holds it up or the fleet was deleted meanwhile.
    fn finish_modifying(&mut self, fleet: usize) {
        let stuck = self.faults.stuck(self.offset());
        let data = &mut self.fleets[fleet];
        if data.state != FleetState::Modifying {
            return;
        }
        if stuck {
            data.frozen = true;
            self.agenda.put(self.now + HELD_UP, Due::FleetModified(fleet));
            return;
        }
        data.state = FleetState::Active;
        self.record_change(fleet, FleetChange::ModifySucceeded);
        if std::mem::take(&mut self.fleets[fleet].frozen) {
            self.shrink(fleet);
        }
        self.replenish(fleet);
    }

    pub(crate) fn expire_in_time(&mut self, fleet: usize) {
        if let Some(at) = self.fleets[fleet].request.valid_until {
            self.agenda.put(at.max(self.now), Due::FleetExpires(fleet));
        }
    }

    fn expire(&mut self, fleet: usize) {
        if self.fleets[fleet].deletion.is_none() {
            self.record_change(fleet, FleetChange::Expired);
            let terminate = self.fleets[fleet].request.terminate_on_expiry;
            self.delete(fleet, terminate);
        }
    }

    /// Deletes a fleet: it buys no more, and its instances go or run on.
    pub(crate) fn delete(&mut self, fleet: usize, terminate: bool) {
        let deletion = if terminate { Deletion::Terminating } else { Deletion::Running };
        self.fleets[fleet].state = FleetState::Deleted;
        self.fleets[fleet].deletion = Some(deletion);
        self.record_change(fleet, deletion.change());
        for serial in self.fleets[fleet].members.clone() {
            match self.instances.get(&serial).map(InstanceData::phase) {
                Some(InstancePhase::Requested) => self.close_request(serial),
                Some(phase) if terminate && phase != InstancePhase::Gone => self.end(serial),
                _ => {}
            }
        }
        self.bury(fleet);
    }

    /// Ends a deleted fleet of which nothing is left: all its instances are terminated.
    fn bury(&mut self, fleet: usize) {
        let data = &self.fleets[fleet];
        let ended =
            |serial: &u32| self.instances.get(serial).is_none_or(|instance| instance.terminated.is_some());
        let deleted = matches!(data.deletion, Some(Deletion::Running | Deletion::Terminating));
        if deleted && data.members.iter().all(ended) {
            self.fleets[fleet].deletion = Some(Deletion::Gone);
            self.record_change(fleet, Deletion::Gone.change());
        }
        self.fleets[fleet].note_version(self.now);
    }

    // An instance's life.

    /// A request has come through: an instance exists, unless the pool has run out meanwhile.
    fn fulfil(&mut self, serial: u32) {
        let offset = self.offset();
        // A request that was closed is no longer known, and an initial instance exists already.
        let Some(instance) = self.instances.get(&serial).filter(|instance| instance.created.is_none()) else {
            return;
        };
        let (fleet, pool) = (instance.fleet, instance.pool);
        if self.faults.withheld(&self.pools[pool].pool, offset) {
            self.agenda.put(self.now + HELD_UP, Due::Fulfilled(serial));
        } else if self.pools[pool].used > self.pools[pool].depth(offset) {
            self.report_shortage(fleet, pool);
            self.close_request(serial);
            self.replenish(fleet);
        } else {
            self.become_instance(serial);
            let Some(instance) = self.instances.get(&serial) else { return };
            let boot = instance.boot.saturating_sub(instance.fulfilment);
            let pending = self.spec.timing.pending.min(boot);
            self.agenda.put(self.now + pending, Due::Runs(serial));
            self.agenda.put(self.now + boot, Due::Serves(serial));
            self.fleets[fleet].note_version(self.now);
        }
    }

    pub(crate) fn become_instance(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial) else { return };
        instance.created = Some(now);
        let fleet = &mut self.fleets[instance.fleet];
        fleet.billed += instance.weight;
        fleet.fulfilled += if instance.counted { instance.weight } else { 0 };
        let (place, pool) = (instance.fleet, instance.pool);
        let mean = self.pools[pool].mean_time_between();
        if let (Hazard::Band, Some(mean)) = (self.spec.interruptions.hazard, mean) {
            let at = now + wait(mean, &mut instance.chance);
            if let Some(foretold) = self.spec.interruptions.foretold(at, &mut instance.chance) {
                self.agenda.put(foretold.max(now), Due::Recommended(serial));
            }
            self.agenda.put(at, Due::Marked(serial));
        }
        self.announce(serial, InstanceState::Pending);
        self.record_instance(place, serial, "launched");
    }

    pub(crate) fn run(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial).filter(|instance| instance.is_alive()) else {
            return;
        };
        instance.running = Some(now);
        self.fleets[instance.fleet].service.change(now, |running| running.booting += 1);
        self.announce(serial, InstanceState::Running);
    }

    pub(crate) fn serve(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial) else { return };
        if instance.phase() == InstancePhase::Booting {
            instance.in_service = Some(now);
            let power = instance.power;
            self.fleets[instance.fleet].service.change(now, |running| {
                running.booting -= 1;
                running.serving += 1;
                running.power += power;
            });
        }
    }

    /// Takes no more work from now on.
    pub(crate) fn drain_now(&mut self, serial: u32) -> bool {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial) else {
            return false;
        };
        let serves = instance.phase() == InstancePhase::InService;
        if serves {
            instance.drained = Some(now);
            let power = instance.power;
            self.fleets[instance.fleet].service.change(now, |running| {
                running.serving -= 1;
                running.draining += 1;
                running.power -= power;
            });
        }
        serves
    }

    /// Recommends to rebalance an instance that runs, once.
    pub(crate) fn recommend(&mut self, serial: u32) -> bool {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial) else {
            return false;
        };
        let applies = instance.is_alive() && instance.recommended.is_none();
        if applies {
            instance.recommended = Some(now);
            let (instance, pool) = (instance.id.clone(), self.pools[instance.pool].pool.clone());
            self.emit(EventKind::RebalanceRecommendation { instance, pool });
        }
        applies
    }

    /// Marks a spot instance for its end after the time of a notice.
    ///
    /// * `by_fleet`: the fleet's own choice; then the notice always comes, and it is never replaced.
    pub(crate) fn mark(&mut self, serial: u32, by_fleet: bool) -> bool {
        let now = self.now;
        let spec = &self.spec.interruptions;
        let Some(instance) = self.instances.get_mut(&serial) else {
            return false;
        };
        let spot = self.pools[instance.pool].spec.market == Market::Spot;
        if !spot || !instance.is_alive() || instance.interruption.is_some() {
            return false;
        }
        let deadline = now + spec.notice;
        instance.interruption = Some(Interruption { marked: now, deadline, by_fleet });
        let draw = if by_fleet { 1.0 } else { instance.chance.share() };
        let (lost, late) = (draw < spec.notice_lost, draw < spec.notice_lost + spec.notice_late);
        let fleet = instance.fleet;
        let replaced = by_fleet || spec.replaced == Replaced::AtMarking;
        if !lost {
            self.agenda.put(if late { now + LATE } else { now }, Due::Noticed(serial));
        }
        self.agenda.put(deadline, Due::Dies(serial));
        if by_fleet {
            self.fleets[fleet].leaving += 1;
        } else {
            self.fleets[fleet].scores.interruptions += 1;
        }
        if replaced {
            self.discount(serial);
        }
        self.replenish(fleet);
        true
    }

    fn notice(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial).filter(|instance| instance.is_alive()) else {
            return;
        };
        instance.noticed = Some(now);
        let (fleet, by_fleet) = (instance.fleet, instance.interruption.is_some_and(|end| end.by_fleet));
        let (instance, pool) = (instance.id.clone(), self.pools[instance.pool].pool.clone());
        self.emit(EventKind::InterruptionWarning { instance, pool });
        if by_fleet {
            self.record_instance(fleet, serial, "termination_notified");
        }
    }

    /// Plans an event for an instance that exists, in place of one that was planned before.
    pub(crate) fn schedule_event(&mut self, serial: u32, code: ScheduledCode, not_before: Timestamp) -> bool {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial).filter(|instance| instance.is_alive()) else {
            return false;
        };
        let event = ScheduledEvent { code, announced: now, not_before };
        instance.scheduled = Some(event);
        let instance = instance.id.clone();
        self.agenda.put(not_before.max(now), Due::ScheduledBegins(serial));
        self.emit(EventKind::Scheduled { instance, event });
        true
    }

    /// A stop or a retirement ends the instance: a fleet's does not come back. A reboot is over at once.
    fn begin_scheduled(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial) else { return };
        // Another one may have taken its place meanwhile.
        let Some(event) = instance.scheduled.take_if(|event| event.not_before <= now) else { return };
        if event.code.ends_the_instance() {
            self.end(serial);
        }
    }

    /// Gives an instance back by the fleet's own choice: a spot instance with a notice, another at once.
    pub(crate) fn let_go(&mut self, serial: u32) {
        let marked = self.mark(serial, true);
        if !marked {
            // On demand, or marked by AWS already: it no longer counts either way.
            self.discount(serial);
            let unmarked =
                self.instances.get(&serial).is_some_and(|instance| instance.interruption.is_none());
            if unmarked {
                self.end(serial);
            }
        }
    }

    /// Ends an instance's life now, whoever wants it. It serves no more at once.
    pub(crate) fn end(&mut self, serial: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&serial).filter(|instance| instance.is_alive()) else {
            return;
        };
        let phase = instance.phase();
        let (fleet, pool, power, weight) = (instance.fleet, instance.pool, instance.power, instance.weight);
        let by_fleet = instance.interruption.is_some_and(|end| end.by_fleet);
        let runs = instance.running.is_some();
        instance.ended = Some(now);
        let data = &mut self.fleets[fleet];
        data.service.change(now, |running| match phase {
            InstancePhase::InService => {
                running.serving -= 1;
                running.power -= power;
            }
            InstancePhase::Draining => running.draining -= 1,
            _ => running.booting -= i64::from(runs),
        });
        data.scores.note_end(instance, &self.pools[pool], now);
        data.billed -= weight;
        data.leaving -= u32::from(by_fleet);
        self.pools[pool].used -= 1;
        self.discount(serial);
        self.announce(serial, InstanceState::ShuttingDown);
        self.record_instance(fleet, serial, "terminated");
        self.agenda.put(now + self.spec.timing.shutting_down, Due::Terminated(serial));
        self.replenish(fleet);
    }

    fn terminated(&mut self, serial: u32) {
        if let Some(instance) = self.instances.get_mut(&serial) {
            instance.terminated = Some(self.now);
            let fleet = instance.fleet;
            self.bury(fleet);
            self.announce(serial, InstanceState::Terminated);
            self.agenda.put(self.now + self.spec.timing.terminated_visible, Due::Forgotten(serial));
        }
    }

    fn forget(&mut self, serial: u32) {
        if let Some(instance) = self.instances.remove(&serial) {
            self.serials.remove(&instance.id);
            self.fleets[instance.fleet].members.retain(|member| *member != serial);
        }
    }

    /// Closes a request that has not become an instance: nothing is left of it, and nothing is billed.
    pub(crate) fn close_request(&mut self, serial: u32) {
        self.discount(serial);
        if let Some(instance) = self.instances.get(&serial) {
            self.pools[instance.pool].used -= 1;
            self.forget(serial);
        }
    }

    /// Counts an instance or request towards the target no longer.
    fn discount(&mut self, serial: u32) {
        let Some(instance) = self.instances.get_mut(&serial) else { return };
        if std::mem::replace(&mut instance.counted, false) {
            let market = self.pools[instance.pool].spec.market;
            let fleet = &mut self.fleets[instance.fleet];
            fleet.discount(market, instance.pool, instance.weight);
            fleet.fulfilled -= if instance.created.is_some() { instance.weight } else { 0 };
        }
    }

    // Interruptions by hand.

    fn act_out(&mut self, place: usize) {
        let script = &self.spec.interruptions.script[place];
        let (count, wanted) = (script.count, script.pool.clone());
        let Some(pool) = self.pools.iter().position(|state| state.pool == wanted) else {
            return;
        };
        let mut left = count.unwrap_or(u32::MAX);
        for serial in self.alive_in(pool) {
            if left > 0 && self.mark(serial, false) {
                left -= 1;
            }
        }
    }

    /// The serial numbers of a pool's living instances, the oldest first.
    fn alive_in(&self, pool: usize) -> Vec<u32> {
        let alive =
            self.instances.iter().filter(|(_, instance)| instance.pool == pool && instance.is_alive());
        alive.map(|(serial, _)| *serial).collect()
    }

    // What is heard of it.

    fn announce(&mut self, serial: u32, state: InstanceState) {
        if let Some(instance) = self.instances.get(&serial) {
            let instance = instance.id.clone();
            self.emit(EventKind::StateChange { instance, state });
        }
    }

    fn record_instance(&mut self, fleet: usize, serial: u32, sub_type: &'static str) {
        let Some(instance) = self.instances.get(&serial) else { return };
        let (id, pool) = (instance.id.clone(), self.pools[instance.pool].pool.clone());
        let image = &self.fleets[fleet].request.image;
        let description = format!(
            r#"{{"instanceType":"{}","image":"{image}","productDescription":"Linux/UNIX","availabilityZone":"{}"}}"#,
            pool.instance_type, pool.zone
        );
        self.record(
            fleet,
            self.line(RecordType::InstanceChange, sub_type, Some(id), description),
            Some(pool),
        );
    }

    pub(crate) fn record_change(&mut self, fleet: usize, change: FleetChange) {
        let data = &self.fleets[fleet];
        let description = match change {
            FleetChange::ModifyInProgress | FleetChange::ModifySucceeded => {
                format!("targetCapacity: {}, onDemandTargetCapacity: {}", data.target, data.on_demand_target)
            }
            _ => String::new(),
        };
        self.record(fleet, self.line(RecordType::FleetRequestChange, change.word(), None, description), None);
    }

    fn line(
        &self,
        record_type: RecordType,
        sub_type: &'static str,
        instance: Option<InstanceId>,
        description: String,
    ) -> FleetRecord {
        FleetRecord { at: self.now, record_type, sub_type, instance, no_capacity: None, description }
    }

    /// Writes a line of a fleet's history, and says the same on EventBridge.
    pub(crate) fn record(&mut self, fleet: usize, record: FleetRecord, pool: Option<Pool>) {
        let data = &mut self.fleets[fleet];
        data.record(record.clone());
        let (backend, fleet) = (data.backend(), data.id.clone());
        self.emit(EventKind::Fleet { backend, fleet, record, pool });
    }
}
