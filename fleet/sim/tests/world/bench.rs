//! A world with one fleet, and the questions that the tests ask of it.

use fleet::{
    Backend, ExcessCapacity, FleetId, FleetView, Instance, InstanceId, InstanceState, Pool, Timestamp,
    UsdPerHour,
};
use fleet_sim::{
    Demand, EventKind, FleetRequest, FleetSpec, InstancePhase, InstanceTruth, ModifyFleet, PoolSpec, World,
    WorldSpec, override_of,
};
use std::time::Duration;

pub const START: Timestamp = Timestamp::from_secs(1_772_409_600);
pub const ME: &str = "muster";

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world with one fleet.
pub struct Bench {
    pub world: World,
    pub fleet: FleetId,
}

/// A pool in `eu-west-1a` whose depth is large enough not to matter.
pub fn pool(instance_type: &str, micros: u64) -> PoolSpec {
    PoolSpec::spot(instance_type, "eu-west-1a", UsdPerHour::from_micros(micros))
}

/// A world of one pool of `m5.large`.
pub fn one_pool() -> WorldSpec {
    WorldSpec { pools: vec![pool("m5.large", 40_000)], ..WorldSpec::default() }
}

/// A fleet of this many instances of weight 1.
pub fn fleet_of(initial: u32) -> FleetSpec {
    FleetSpec { initial: Some(initial), ..FleetSpec::default() }
}

/// A request over these types and weights.
pub fn over(overrides: &[(&str, f64)]) -> FleetRequest {
    let overrides = overrides.iter().map(|(kind, weight)| override_of(*kind, *weight)).collect();
    FleetRequest { overrides, ..FleetRequest::default() }
}

impl Bench {
    pub fn new(mut spec: WorldSpec, fleet: FleetSpec) -> Self {
        spec.fleets = vec![fleet];
        Self::of(World::new(spec, 7, START))
    }
    /// The first fleet of a world.
    pub fn of(world: World) -> Self {
        let fleet = world.fleets()[0].id.clone();
        Self { world, fleet }
    }
    /// A fleet of this many instances in one pool, without demand.
    pub fn simple(initial: u32) -> Self {
        Self::new(one_pool(), fleet_of(initial))
    }
    /// Lets so many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.world.advance(self.world.now() + secs(seconds));
    }
    pub fn view(&mut self) -> FleetView {
        let fleet = self.fleet.clone();
        let backend = self.backend();
        let views = self.world.describe_fleets(ME, backend, &[fleet]).expect("a describe");
        views.into_iter().next().expect("the fleet is shown")
    }
    pub fn backend(&self) -> Backend {
        self.world.fleets()[0].backend
    }
    pub fn shown(&mut self) -> Vec<Instance> {
        self.world.describe_instances(ME, std::slice::from_ref(&self.fleet), &[]).expect("a describe")
    }
    pub fn state_of(&mut self, instance: &InstanceId) -> Option<InstanceState> {
        self.shown().into_iter().find(|shown| shown.id == *instance).map(|shown| shown.state)
    }
    /// The instances in this phase, the oldest first.
    pub fn in_phase(&self, phase: InstancePhase) -> Vec<InstanceTruth> {
        let mut truths = self.world.instance_truths(&self.fleet);
        truths.retain(|instance| instance.phase == phase);
        truths
    }
    /// How many are requested, booting and in service.
    pub fn sizes(&self) -> (u32, u32, u32) {
        let truth = self.world.truth(&self.fleet).expect("the fleet is known");
        (truth.requested, truth.booting, truth.in_service)
    }
    /// The ids of those in service, the oldest first.
    pub fn serving(&self) -> Vec<InstanceId> {
        self.in_phase(InstancePhase::InService).into_iter().map(|instance| instance.id).collect()
    }
    /// Modifies the fleet and waits until it is active again.
    pub fn set(&mut self, target: u32, excess: ExcessCapacity) {
        self.modify(target, excess);
        self.pass(10);
    }
    /// Modifies the fleet.
    pub fn modify(&mut self, target: u32, excess: ExcessCapacity) {
        let change = ModifyFleet {
            target: Some(target),
            on_demand_target: Some(0),
            excess: Some(excess),
            launch: None,
        };
        let backend = self.backend();
        self.world.modify_fleet(ME, backend, &self.fleet.clone(), change).expect("the fleet can be modified");
    }
    pub fn terminate(&mut self, instances: &[InstanceId]) {
        self.world.terminate_instances(ME, instances).expect("they can be terminated");
    }
    /// The sub-types of the fleet's history since the start, with the instances that they name.
    pub fn history(&mut self) -> Vec<(&'static str, Option<InstanceId>)> {
        let (backend, fleet) = (self.backend(), self.fleet.clone());
        let lines = self.world.history(ME, backend, &fleet, START).expect("a history");
        lines.into_iter().map(|line| (line.sub_type, line.instance)).collect()
    }
    /// The instances of which EventBridge carried an interruption warning, in order.
    pub fn warned(&self) -> Vec<InstanceId> {
        let warned = |kind: &EventKind| match kind {
            EventKind::InterruptionWarning { instance, .. } => Some(instance.clone()),
            _ => None,
        };
        self.world.events_since(0).filter_map(|event| warned(&event.kind)).collect()
    }
    /// How many instances live in each of these pools.
    pub fn spread(&self, pools: &[Pool]) -> Vec<usize> {
        let alive = |phase| phase != InstancePhase::Gone;
        let truths = self.world.instance_truths(&self.fleet);
        let of = |pool: &Pool| truths.iter().filter(|i| i.pool == *pool && alive(i.phase)).count();
        pools.iter().map(of).collect()
    }
}

/// A demand that steps once.
pub fn step(before: f64, at: u64, after: f64) -> Demand {
    let just_before = secs(at).saturating_sub(Duration::from_millis(1));
    Demand::points([(secs(0), before), (just_before, before), (secs(at), after)])
}
