//! The world.

use crate::calls::{Action, CallCounts};
use crate::demand::Demand;
use crate::events::{FleetRecord, WorldEvent};
use crate::faults::{Fault, FaultId};
use crate::spec::{FleetRequest, WorldSpec};
use fleet::wire::AgentSample;
use fleet::{
    ApiError, Backend, ErrorClass, ExcessCapacity, FleetId, FleetRef, FleetView, Health, Instance,
    InstanceId, InstanceState, InstanceType, Offering, Pool, Timestamp, Weight,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A simulated account in a region. See the crate's documentation.
#[derive(Clone, Debug)]
pub struct World {
    spec: WorldSpec,
    start: Timestamp,
    now: Timestamp,
    calls: CallCounts,
}

/// What ModifySpotFleetRequest and ModifyFleet can change; `None` leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModifyFleet {
    /// The total target.
    pub target: Option<u32>,
    /// The on-demand part of it.
    pub on_demand_target: Option<u32>,
    /// What is done with capacity above the target.
    pub excess: Option<ExcessCapacity>,
}

/// What became of an instance that was told to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Which one.
    pub instance: InstanceId,
    /// Its state before.
    pub previous: InstanceState,
    /// Its state now.
    pub current: InstanceState,
}

/// How a deleted fleet ends: `cancelled_running`, `cancelled_terminating`, `cancelled` in Spot Fleet's words,
/// `deleted_running`, `deleted_terminating`, `deleted` in EC2 Fleet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deletion {
    /// Launches no more; what runs, runs on.
    Running,
    /// Its instances are going.
    Terminating,
    /// Nothing of it is left.
    Gone,
}

/// Where an instance really stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// Asked for; EC2 shows no instance yet.
    Requested,
    /// Exists, does not serve yet.
    Booting,
    /// Serves.
    InService,
    /// Takes no more work, still runs and is billed.
    Draining,
    /// Shutting down or terminated.
    Gone,
}

/// An instance, as it really is now.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceTruth {
    /// EC2's id. Given already when it is asked for.
    pub id: InstanceId,
    /// Its pool.
    pub pool: Pool,
    /// What it counts for in its fleet's target.
    pub weight: Weight,
    /// How much work it does, in units of demand.
    pub power: f64,
    /// Where it stands.
    pub phase: InstancePhase,
    /// When it was asked for: from here it is billed.
    pub requested: Timestamp,
    /// When it began to serve.
    pub in_service: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The interruption that it is marked for.
    pub interruption: Option<Interruption>,
}

/// An end that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// When it was decided (the notice may be late or never come).
    pub marked: Timestamp,
    /// When the instance goes.
    pub deadline: Timestamp,
    /// Whether the fleet itself chose it, to come down to a lowered target.
    pub by_fleet: bool,
}

/// What an instance's metadata service says of its future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// `spot/instance-action`: terminate, at this time.
    pub terminate_at: Option<Timestamp>,
    /// `events/recommendations/rebalance`: its notice time.
    pub rebalance: Option<Timestamp>,
}

/// A fleet, as it really is now, and what it did in the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FleetTruth {
    /// The target in force.
    pub target: u32,
    /// Instances asked for that do not exist yet.
    pub requested: u32,
    /// Instances that exist and do not serve yet.
    pub booting: u32,
    /// Instances in service.
    pub in_service: u32,
    /// Instances that drain.
    pub draining: u32,
    /// Capacity in service now, in units of demand.
    pub capacity: f64,
    /// Capacity that is billed now, in the fleet's units.
    pub billed: f64,
    /// Demand of the last step (with its noise), in units.
    pub demand: f64,
    /// Utilisation of the last step, 0..=1.
    pub utilization: f64,
    /// Work that waits, in unit-seconds.
    pub queue: f64,
    /// Work that came since the start, in unit-seconds.
    pub offered: f64,
    /// Work that was served since the start, in unit-seconds.
    pub served: f64,
    /// Work that was dropped since the start, in unit-seconds.
    pub dropped: f64,
}

/// How a run went for one fleet, from the start of the world (or [`World::reset_scores`]) until now. Shares are
/// 0..=1; names as in the world model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// How long it lasted.
    pub hours: f64,
    /// Unit-hours billed, by the fleet's weights.
    pub cost_unit_hours: f64,
    /// What they cost, at their pools' prices.
    pub cost_usd: f64,
    /// What the same hours would have cost on demand; `None` where a pool's on-demand price is not known.
    pub on_demand_usd: Option<f64>,
    /// Unit-hours of `ceil(demand / target)` at every step: exactly enough, always at once.
    pub ideal_unit_hours: f64,
    /// Unit-hours of `ceil(highest demand / target)` all the time: what one would run without an autoscaler.
    pub static_peak_unit_hours: f64,
    /// Share of time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// Share of time with demand above the capacity in service.
    pub saturated_ratio: f64,
    /// Share of the work that was dropped.
    pub unserved_ratio: f64,
    /// Share of time with more than a second of work waiting.
    pub queue_over_1s_ratio: f64,
    /// Work served over capacity in service.
    pub mean_utilization: f64,
    /// Mean distance of utilisation from the target.
    pub mean_abs_error_ratio: f64,
    /// Changes of the target.
    pub actions: u64,
    /// Of these, scale-outs within boot + 5 min of a scale-in.
    pub flips: u64,
    /// Instances that AWS took back.
    pub interruptions: u64,
}

/// A series of the CloudWatch kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `AWS/EC2Spot` (or `AWS/EC2` by fleet) `CPUUtilization`: mean over running instances, in percent.
    FleetCpu(FleetId),
    /// `AWS/EC2` `CPUUtilization` by `InstanceId`, in percent.
    InstanceCpu(InstanceId),
    /// `AWS/EC2Spot` `FulfilledCapacity`.
    FulfilledCapacity(FleetId),
    /// `AWS/EC2Spot` `TargetCapacity`.
    TargetCapacity(FleetId),
}

/// The points of a series that can be seen already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricPoints {
    /// Their distance: 1 or 5 minutes.
    pub period: Duration,
    /// (start of the period, mean), oldest first.
    pub points: Vec<(Timestamp, f64)>,
}

fn not_found(operation: &str, code: &str) -> ApiError {
    ApiError::new(ErrorClass::NotFound, "ec2", operation, Some(code), "does not exist")
}

/// Time.
impl World {
    /// A world that begins at `start`, with the spec's fleets in service. Total: odd values are taken as the
    /// nearest that make sense.
    pub fn new(spec: WorldSpec, seed: u64, start: Timestamp) -> Self {
        let _ = seed;
        Self { spec, start, now: start, calls: CallCounts::default() }
    }
    /// Lets time pass until `to`; everything due by then has happened afterwards. Never goes back.
    pub fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
    }
    /// When something happens next: the end of a service step at the latest. `None` in a world without fleets
    /// in which nothing is due.
    pub fn next_event(&self) -> Option<Timestamp> {
        None
    }
    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }
    /// When the world began.
    pub fn start(&self) -> Timestamp {
        self.start
    }
    /// What it was made of.
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }
}

/// The EC2 face. Every method counts the call under its caller's name, refuses it where EC2's rates or a fault
/// say so, and answers in the model's types. Errors carry EC2's codes.
impl World {
    /// Counts, throttles and fails a call as the world's own methods do: for actions that are answered
    /// elsewhere.
    pub fn admit(&mut self, caller: &str, action: Action) -> Result<(), ApiError> {
        self.calls.of_mut(caller, action).calls += 1;
        Ok(())
    }
    /// How long the answer to a call of this action takes, by the faults in force.
    pub fn latency(&self, action: Action) -> Duration {
        let _ = action;
        Duration::ZERO
    }
    /// RequestSpotFleet, CreateFleet.
    pub fn create_fleet(&mut self, caller: &str, request: FleetRequest) -> Result<FleetId, ApiError> {
        let _ = (caller, request);
        Err(not_found("CreateFleet", "InvalidFleetId.NotFound"))
    }
    /// CancelSpotFleetRequests, DeleteFleets: one fleet a call here; `terminate` ends its instances.
    pub fn delete_fleet(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        terminate: bool,
    ) -> Result<Deletion, ApiError> {
        let _ = (caller, backend, fleet, terminate);
        Err(not_found("DeleteFleets", "InvalidFleetId.NotFound"))
    }
    /// DescribeSpotFleetRequests, DescribeFleets.
    ///
    /// * `ids`: which; empty: all of the backend, deleted ones too for a while.
    pub fn describe_fleets(
        &mut self,
        caller: &str,
        backend: Backend,
        ids: &[FleetId],
    ) -> Result<Vec<FleetView>, ApiError> {
        let _ = (caller, backend, ids);
        Ok(Vec::new())
    }
    /// DescribeInstances of fleets' instances, terminated ones too for a while, by id.
    ///
    /// * `fleets`, `ids`: which; both empty: all. An id that is not there (yet) is `InvalidInstanceID.NotFound`.
    pub fn describe_instances(
        &mut self,
        caller: &str,
        fleets: &[FleetId],
        ids: &[InstanceId],
    ) -> Result<Vec<Instance>, ApiError> {
        let _ = (caller, fleets, ids);
        Ok(Vec::new())
    }
    /// DescribeSpotFleetInstances, DescribeFleetInstances: what the fleet counts as its own.
    pub fn fleet_instances(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
    ) -> Result<Vec<Instance>, ApiError> {
        let _ = (caller, backend, fleet);
        Ok(Vec::new())
    }
    /// ModifySpotFleetRequest, ModifyFleet.
    pub fn modify_fleet(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        change: ModifyFleet,
    ) -> Result<(), ApiError> {
        let _ = (caller, backend, fleet, change);
        Err(not_found("ModifyFleet", "InvalidFleetId.NotFound"))
    }
    /// TerminateInstances: all, or none when one is unknown.
    pub fn terminate_instances(
        &mut self,
        caller: &str,
        instances: &[InstanceId],
    ) -> Result<Vec<Terminated>, ApiError> {
        let _ = (caller, instances);
        Err(not_found("TerminateInstances", "InvalidInstanceID.NotFound"))
    }
    /// DescribeSpotFleetRequestHistory, DescribeFleetHistory: since a time, oldest first, at most 1000.
    pub fn history(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        since: Timestamp,
    ) -> Result<Vec<FleetRecord>, ApiError> {
        let _ = (caller, backend, fleet, since);
        Ok(Vec::new())
    }
    /// DescribeSpotPriceHistory, the prices of now.
    ///
    /// * `types`: which; empty: all.
    pub fn spot_prices(&mut self, caller: &str, types: &[InstanceType]) -> Result<Vec<Offering>, ApiError> {
        let _ = (caller, types);
        Ok(Vec::new())
    }
    /// CreateTags on fleets and instances, by id.
    pub fn create_tags(
        &mut self,
        caller: &str,
        resources: &[&str],
        tags: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let _ = (caller, resources, tags);
        Ok(())
    }
    /// DescribeScalableTargets of Application Auto Scaling.
    pub fn scalable_targets(&mut self, caller: &str) -> Result<Vec<FleetRef>, ApiError> {
        let _ = caller;
        Ok(Vec::new())
    }
    /// GetMetricData: one answer a metric, in order, each at its own period; empty where there is nothing.
    pub fn read_metrics(
        &mut self,
        caller: &str,
        metrics: &[Metric],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<MetricPoints>, ApiError> {
        let _ = (caller, from, to);
        Ok(metrics.iter().map(|_| MetricPoints::default()).collect())
    }
}

/// What instances see and send, and what EventBridge carries. Not counted: none of it is an API call.
impl World {
    /// What the instance's metadata service says of its future; `None` for one that does not run.
    pub fn notices(&self, instance: &InstanceId) -> Option<Notices> {
        let _ = instance;
        None
    }
    /// The events from a place in the queue on, oldest first. A reader that lagged too far starts at the oldest
    /// that is kept; the place for next time is the last one's `sequence` + 1.
    pub fn events_since(&self, place: u64) -> impl Iterator<Item = &WorldEvent> {
        let _ = place;
        [].iter()
    }
    /// The samples that agents of instances in service can have sent by now and that end after `after`, in the
    /// order of their ends, then of the instances' launches. Appends to `out`.
    pub fn agent_samples(&self, after: Timestamp, out: &mut Vec<(InstanceId, AgentSample)>) {
        let _ = (after, out);
    }
}

/// The truth, which no autoscaler sees. Not counted.
impl World {
    /// Every fleet that the world still knows, in the order of their creation.
    pub fn fleets(&self) -> Vec<FleetRef> {
        Vec::new()
    }
    /// A fleet as it is.
    pub fn truth(&self, fleet: &FleetId) -> Option<FleetTruth> {
        let _ = fleet;
        None
    }
    /// Its instances as they are, gone ones too for a while, in the order of their requests.
    pub fn instance_truths(&self, fleet: &FleetId) -> Vec<InstanceTruth> {
        let _ = fleet;
        Vec::new()
    }
    /// How the fleet was asked for (its tags and targets as they were then).
    pub fn request_of(&self, fleet: &FleetId) -> Option<&FleetRequest> {
        let _ = fleet;
        None
    }
    /// How a deleted fleet ends; `None` for a living or unknown one.
    pub fn deletion(&self, fleet: &FleetId) -> Option<Deletion> {
        let _ = fleet;
        None
    }
    /// How the run went so far.
    pub fn scores(&self, fleet: &FleetId) -> Option<Scores> {
        let _ = fleet;
        None
    }
    /// Begins to score anew.
    pub fn reset_scores(&mut self) {}
    /// Who called what how often.
    pub fn calls(&self) -> &CallCounts {
        &self.calls
    }
    /// A hash of everything that can still make a difference: equal worlds have equal hashes.
    pub fn state_hash(&self) -> u64 {
        0
    }
}

/// The hand of fate: changes that nobody asks EC2 for.
impl World {
    /// What a fleet has to serve from now on; time counts from the start of the world.
    pub fn set_load(&mut self, fleet: &FleetId, load: Demand) {
        let _ = (fleet, load);
    }
    /// Makes describes show the world as it was this long ago, up to 15 minutes.
    pub fn set_describe_lag(&mut self, lag: Duration) {
        self.spec.timing.describe_lag = lag;
    }
    /// How many instances a pool can give from now on, windows apart.
    pub fn set_depth(&mut self, pool: &Pool, depth: u32) {
        let _ = (pool, depth);
    }
    /// Marks an instance for interruption now: its notice comes now, its end after the notice's time. `false`
    /// when it does not run, is on demand or is marked already.
    pub fn interrupt(&mut self, instance: &InstanceId) -> bool {
        let _ = instance;
        false
    }
    /// Recommends to rebalance an instance. `false` when it does not run or was recommended already.
    pub fn recommend_rebalance(&mut self, instance: &InstanceId) -> bool {
        let _ = instance;
        false
    }
    /// Lets an instance take no more work, as its scheduler's drain does. `false` when it does not serve.
    pub fn drain(&mut self, instance: &InstanceId) -> bool {
        let _ = instance;
        false
    }
    /// What EC2's status checks say of an instance from now on. `false` when it is not there.
    pub fn set_health(&mut self, instance: &InstanceId, health: Health) -> bool {
        let _ = (instance, health);
        false
    }
    /// Registers a fleet as a scalable target of Application Auto Scaling, as a second writer does.
    pub fn register_scalable_target(&mut self, fleet: &FleetId) {
        let _ = fleet;
    }
    /// Lets something go wrong. Its times count from the start of the world.
    pub fn inject(&mut self, fault: Fault) -> FaultId {
        self.spec.faults.push(fault);
        FaultId(self.spec.faults.len() - 1)
    }
    /// Ends a fault now.
    pub fn clear(&mut self, fault: FaultId) {
        let _ = fault;
    }
}
