//! What is beside the API: what instances see and send, the truth that no autoscaler sees, and the hand of fate.
//! None of it is counted as a call.

use crate::calls::CallCounts;
use crate::demand::Demand;
use crate::events::WorldEvent;
use crate::faults::{Fault, FaultId};
use crate::fleets::{Deletion, FleetTruth, LONGEST_LAG};
use crate::instances::{InstanceData, InstancePhase, InstanceTruth, Notices, ScheduledCode};
use crate::marks::SpotStatus;
use crate::metrics::{Metric, MetricPoints};
use crate::num::units;
use crate::scores::{ScoreBook, Scores};
use crate::spec::FleetRequest;
use crate::world::World;
use fleet::wire::AgentSample;
use fleet::{
    Backend, FleetId, FleetRef, FleetState, FleetView, Health, Instance, InstanceId, Pool, Timestamp,
};
use std::net::IpAddr;
use std::time::Duration;

/// What instances see and send, and what EventBridge carries.
impl World {
    /// What the instance's metadata service says of its future; `None` for one that does not run.
    pub fn notices(&self, instance: &InstanceId) -> Option<Notices> {
        self.instance(instance)?.notices()
    }
    /// The events from a place in the queue on, oldest first. A reader that lagged too far starts at the oldest
    /// that is kept; the place for next time is the last one's `sequence` + 1.
    pub fn events_since(&self, place: u64) -> impl Iterator<Item = &WorldEvent> {
        self.events.since(place)
    }
    /// Whether there are any.
    pub fn has_events_since(&self, place: u64) -> bool {
        self.events.has_since(place)
    }
    /// The samples that agents can have sent by now and that end after `after`: fleet by fleet, in each by their
    /// ends, then in the order of the instances' requests. Appends to `out`.
    ///
    /// An agent speaks from when its instance serves until its end, of whole steps only.
    pub fn agent_samples(&self, after: Timestamp, out: &mut Vec<(InstanceId, AgentSample)>) {
        for fleet in &self.fleets {
            let members = fleet.members.iter().filter_map(|serial| self.instances.get(serial));
            fleet.metrics.agent_samples(&self.spec.metrics, after, self.now, &members, out);
        }
    }
}

/// What describes and metrics show, for actions that are counted and answered elsewhere.
impl World {
    /// The backend's fleets as a describe shows them now: lagging, deleted ones too for two days.
    pub fn shown_fleets(&self, backend: Backend) -> Vec<FleetView> {
        let of_backend = (0..self.fleets.len()).filter(|place| self.fleets[*place].backend() == backend);
        of_backend.filter_map(|place| self.shown_fleet(place)).collect()
    }
    /// All instances as a describe shows them now: lagging, terminated ones too for a while.
    pub fn shown_instances(&self) -> Vec<Instance> {
        (0..self.fleets.len()).flat_map(|place| self.shown_members(place)).collect()
    }
    /// A series as [`World::read_metrics`] answers it.
    pub fn metric(&self, metric: &Metric, from: Timestamp, to: Timestamp) -> MetricPoints {
        self.series(metric, from, to).unwrap_or_default()
    }
}

/// The truth.
impl World {
    fn instance(&self, id: &InstanceId) -> Option<&InstanceData> {
        self.instances.get(self.serials.get(id)?)
    }
    /// The private address of an instance, which calls of its agent come from; `None` for one that is not known.
    pub fn private_address(&self, instance: &InstanceId) -> Option<IpAddr> {
        self.instance(instance).map(|instance| instance.address.into())
    }
    /// Every fleet there was, in the order of their creation.
    pub fn fleets(&self) -> Vec<FleetRef> {
        self.fleets.iter().map(|data| FleetRef { backend: data.backend(), id: data.id.clone() }).collect()
    }
    /// A fleet as it is.
    pub fn truth(&self, fleet: &FleetId) -> Option<FleetTruth> {
        let data = &self.fleets[self.place_of(fleet)?];
        let mut truth = FleetTruth {
            target: data.target,
            capacity: data.service.running().capacity(),
            billed: units(data.billed),
            demand: data.service.last.demand,
            utilization: data.service.last.utilization,
            queue: data.service.queue(),
            offered: data.service.totals.offered,
            served: data.service.totals.served,
            dropped: data.service.totals.dropped,
            ..FleetTruth::default()
        };
        for instance in data.members.iter().filter_map(|serial| self.instances.get(serial)) {
            match instance.phase() {
                InstancePhase::Requested => truth.requested += 1,
                InstancePhase::Booting => truth.booting += 1,
                InstancePhase::InService => truth.in_service += 1,
                InstancePhase::Draining => truth.draining += 1,
                InstancePhase::Gone => {}
            }
        }
        Some(truth)
    }
    /// What each fleet's target is, in the order in which they were made.
    pub fn targets(&self) -> impl Iterator<Item = (&FleetId, u32)> {
        self.fleets.iter().map(|data| (&data.id, data.target))
    }
    /// The on-demand part of a fleet's target as it is; 0 where there is no such fleet.
    pub fn on_demand_target_of(&self, fleet: &FleetId) -> u32 {
        self.place_of(fleet).map_or(0, |place| self.fleets[place].on_demand_target)
    }
    /// A fleet's state as it is: describes may lag.
    pub fn state_of(&self, fleet: &FleetId) -> Option<FleetState> {
        Some(self.fleets[self.place_of(fleet)?].state)
    }
    /// Where its instances stand, in the order of their requests; gone ones too for as long as they are shown.
    pub fn phases(&self, fleet: &FleetId) -> impl Iterator<Item = (&InstanceId, InstancePhase)> {
        self.members(fleet).map(|instance| (&instance.id, instance.phase()))
    }
    /// What the metadata services of its instances say of their future, of those that run; in the order of their
    /// requests.
    pub fn notices_of(&self, fleet: &FleetId) -> impl Iterator<Item = (&InstanceId, Notices)> {
        self.members(fleet).filter_map(|instance| Some((&instance.id, instance.notices()?)))
    }
    fn members(&self, fleet: &FleetId) -> impl Iterator<Item = &InstanceData> {
        let members = self.place_of(fleet).map(|place| self.fleets[place].members.as_slice());
        members.unwrap_or_default().iter().filter_map(|serial| self.instances.get(serial))
    }
    /// Its instances as they are, gone ones too for as long as they are shown, in the order of their requests.
    pub fn instance_truths(&self, fleet: &FleetId) -> Vec<InstanceTruth> {
        self.members(fleet).map(|instance| instance.truth(&self.pools)).collect()
    }
    /// How the fleet was asked for (its tags and targets as they were then).
    pub fn request_of(&self, fleet: &FleetId) -> Option<&FleetRequest> {
        self.place_of(fleet).map(|place| &self.fleets[place].request)
    }
    /// The image that an instance was launched from, by its tags.
    pub fn image_of(&self, instance: &Instance) -> Option<&str> {
        let tag = |name: &str| instance.tags.get(name).cloned().unwrap_or_default();
        let key = (tag("aws:ec2launchtemplate:id"), tag("aws:ec2launchtemplate:version"));
        let known = self.images.get(&key).map(String::as_str);
        known.or_else(|| self.request_of(&instance.fleet).map(|asked| asked.image.as_str()))
    }
    /// What a version of a launch template launches, where a fleet is told to launch it that was made with another one.
    pub fn note_image(&mut self, template: &str, version: u64, image: &str) {
        self.images.insert((template.to_owned(), version.to_string()), image.to_owned());
    }
    /// How a deleted fleet ends; `None` for a living or unknown one.
    pub fn deletion(&self, fleet: &FleetId) -> Option<Deletion> {
        self.fleets[self.place_of(fleet)?].deletion
    }
    /// How the run went so far.
    pub fn scores(&self, fleet: &FleetId) -> Option<Scores> {
        let data = &self.fleets[self.place_of(fleet)?];
        let alive = data.members.iter().filter_map(|serial| self.instances.get(serial));
        let alive = alive.filter(|instance| instance.is_alive());
        Some(data.scores.scores(&self.spec.service, alive, &self.pools, self.now))
    }
    /// Begins to score anew: what is billed from now on, what happens from now on.
    pub fn reset_scores(&mut self) {
        for fleet in &mut self.fleets {
            fleet.scores = ScoreBook::new(self.now);
        }
    }
    /// Who called what how often.
    pub fn calls(&self) -> &CallCounts {
        &self.calls
    }
}

/// The hand of fate: changes that nobody asks EC2 for.
impl World {
    /// What a fleet has to serve from now on; its time counts from the start of the world.
    pub fn set_load(&mut self, fleet: &FleetId, load: Demand) {
        if let Some(place) = self.place_of(fleet) {
            self.fleets[place].service.set_load(load);
        }
    }
    /// Makes describes show the world as it was this long ago, up to 15 minutes.
    pub fn set_describe_lag(&mut self, lag: Duration) {
        self.spec.timing.describe_lag = lag.min(LONGEST_LAG);
    }
    /// How many instances a pool can give from now on, windows apart.
    pub fn set_depth(&mut self, pool: &Pool, depth: u32) {
        for state in self.pools.iter_mut().filter(|state| state.pool == *pool) {
            state.spec.depth = depth;
        }
        for spec in self.spec.pools.iter_mut().filter(|spec| spec.pool() == *pool) {
            spec.depth = depth;
        }
    }
    /// Marks an instance for interruption now: its notice comes now, its end after the notice's time. `false`
    /// when it does not run, is on demand or is marked already.
    pub fn interrupt(&mut self, instance: &InstanceId) -> bool {
        let serial = self.serials.get(instance).copied();
        let marked = serial.is_some_and(|serial| self.mark(serial, false));
        // The notice is due now: let it be heard at once.
        self.advance(self.now);
        marked
    }
    /// Recommends to rebalance an instance. `false` when it does not run or was recommended already.
    pub fn recommend_rebalance(&mut self, instance: &InstanceId) -> bool {
        let serial = self.serials.get(instance).copied();
        serial.is_some_and(|serial| self.recommend(serial))
    }
    /// Plans maintenance of an instance: announced now, it begins after a while, and a stop or a retirement ends
    /// the instance. `false` when it does not run.
    pub fn schedule(&mut self, instance: &InstanceId, code: ScheduledCode, after: Duration) -> bool {
        let serial = self.serials.get(instance).copied();
        serial.is_some_and(|serial| self.schedule_event(serial, code, self.now + after))
    }
    /// Calls an instance's maintenance off: EC2 lists it no more, and tells nobody. `false` when none lies ahead.
    pub fn call_off(&mut self, instance: &InstanceId) -> bool {
        let serial = self.serials.get(instance);
        let instance = serial.and_then(|serial| self.instances.get_mut(serial));
        instance.is_some_and(|instance| instance.scheduled.take().is_some())
    }
    /// Where the spot request behind an instance stands, as describes show it now; `None` for one that is not
    /// shown.
    pub fn spot_status(&self, instance: &InstanceId) -> Option<SpotStatus> {
        self.instance(instance)?.spot_status_at(self.shown())
    }
    /// Lets an instance take no more work, as its scheduler's drain does. `false` when it does not serve.
    pub fn drain(&mut self, instance: &InstanceId) -> bool {
        let serial = self.serials.get(instance).copied();
        serial.is_some_and(|serial| self.drain_now(serial))
    }
    /// What EC2's status checks say of an instance from now on; the fleet does not replace it for that (it was not
    /// asked to: `ReplaceUnhealthyInstances`). `false` when it is not there.
    pub fn set_health(&mut self, instance: &InstanceId, health: Health) -> bool {
        let serial = self.serials.get(instance).copied();
        let found = serial.and_then(|serial| self.instances.get_mut(&serial));
        found.is_some_and(|instance| {
            instance.health = health;
            true
        })
    }
    /// Registers a fleet as a scalable target of Application Auto Scaling, as a second writer does.
    pub fn register_scalable_target(&mut self, fleet: &FleetId) {
        self.scalable.insert(fleet.clone());
    }
    /// Lets something go wrong. Its times count from the start of the world.
    pub fn inject(&mut self, fault: Fault) -> FaultId {
        self.faults.add(fault)
    }
    /// Ends a fault now.
    pub fn clear(&mut self, fault: FaultId) {
        let offset = self.offset();
        self.faults.clear(fault, offset);
    }
}
