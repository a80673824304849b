//! One fleet at one moment, made by hand.

use autoscaler_core::{
    Budget, Learned, Member, Memory, Observed, Phase, Planned, Policy, Snapshot, check, plan,
};
use fleet::{
    AllocationStrategy, Backend, CapacityUnits, ExcessCapacity, FleetId, FleetKind, FleetState, FleetView,
    Health, InstanceId, LaunchTemplate, Override, Pool, Power, Sample, Saturation, Source, Timestamp,
    Utilization, Weight,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

/// Two families in two zones.
pub const POOLS: [(&str, &str); 4] = [
    ("m5.large", "eu-west-1a"),
    ("c5.large", "eu-west-1b"),
    ("m5.large", "eu-west-1b"),
    ("c5.large", "eu-west-1a"),
];

/// Noon of some day.
pub const NOON: Timestamp = Timestamp::from_secs(1_790_000_400);

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everything that a plan is made from.
#[derive(Clone)]
pub struct Scene {
    pub policy: Policy,
    pub seen: Snapshot,
    pub memory: Memory,
    pub learned: Learned,
    pub now: Timestamp,
}

impl fmt::Debug for Scene {
    /// Without what is learned, which fills pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, seen, memory, learned: _, now } = self;
        f.debug_struct("Scene")
            .field("capacity", &policy.capacity)
            .field("diversification", &policy.diversification)
            .field("steps", &(policy.scale_out, policy.scale_in))
            .field("seen", seen)
            .field("memory", memory)
            .field("now", now)
            .finish_non_exhaustive()
    }
}

/// What is learned of two hours at each demand from 1 to 20, made once.
static LEARNED: LazyLock<Vec<Learned>> = LazyLock::new(|| (0..=20).map(learn_constant).collect());

fn learn_constant(demand: u32) -> Learned {
    let mut learned = Learned::default();
    let policy = Policy::default();
    for step in 0..720 {
        let end = NOON - seconds(7200) + seconds(step * 10 + 9);
        learned.observe(&policy, &sample(end, f64::from(demand) / 20.0, 20.0));
    }
    learned
}

/// A push sample of one unit of power an instance.
pub fn sample(end: Timestamp, utilization: f64, power: f64) -> Sample {
    Sample {
        source: Source::Push,
        end,
        period: seconds(10),
        utilization: Utilization::new(utilization),
        power: Power::new(power),
        instances: power as u32,
        saturation: Saturation::default(),
    }
}

pub fn member(number: usize, pool: (&str, &str), launched: Timestamp) -> Member {
    Member {
        id: InstanceId::new(format!("i-{number:04}")),
        pool: Pool::spot(pool.0, pool.1),
        weight: Weight::new(1.0),
        power: Power::new(1.0),
        phase: Phase::InService,
        since: launched + seconds(120),
        launched,
        health: Health::Healthy,
        protected: false,
        launch: Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(1) }),
    }
}

pub fn view(target: u32, fulfilled: f64) -> FleetView {
    FleetView {
        id: FleetId::new("sfr-1"),
        backend: Backend::SpotFleet,
        state: FleetState::Active,
        activity: None,
        kind: FleetKind::Maintain,
        target,
        on_demand_target: 0,
        fulfilled: CapacityUnits::new(fulfilled),
        excess: ExcessCapacity::NoTermination,
        strategy: Some(AllocationStrategy::PriceCapacityOptimized),
        capacity_rebalance: false,
        overrides: POOLS
            .iter()
            .map(|(instance_type, zone)| Override {
                instance_type: (*instance_type).into(),
                zone: Some((*zone).into()),
                weight: Weight::new(1.0),
            })
            .collect(),
        launch: Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(1) }),
        tags: BTreeMap::new(),
        created: NOON - seconds(86_400),
        valid_until: None,
    }
}

impl Scene {
    /// A fleet of `count` instances at target `count`, all serving, taken over earlier, under a constant demand.
    pub fn of(count: u32, demand: u32) -> Self {
        let members = (0..count as usize)
            .map(|n| member(n, POOLS[n % POOLS.len()], NOON - seconds(10_000 - n as u64)))
            .collect();
        let mut scene = Self {
            policy: Policy::default(),
            seen: Snapshot {
                fleet: Some(Observed { at: NOON, what: view(count, f64::from(count)) }),
                members: Some(Observed { at: NOON, what: members }),
                latest: Some(sample(
                    NOON - seconds(1),
                    f64::from(demand) / f64::from(count),
                    f64::from(count),
                )),
                ..Snapshot::default()
            },
            memory: Memory::default(),
            learned: LEARNED[demand as usize].clone(),
            now: NOON,
        };
        // The first cycle takes the fleet over.
        scene.memory = Self { learned: Learned::default(), ..scene.clone() }.quiet_plan().memory;
        scene
    }

    /// Plans, and lets the checker look.
    pub fn plan(&self) -> Planned {
        let planned = self.quiet_plan();
        let budget = Budget { writes_last_minute: 0, writes_per_minute: 10 };
        let (before, after) = (&self.memory, &planned.memory);
        let breaches = check(&self.policy, &self.seen, before, after, &planned.plan, budget, self.now);
        assert!(breaches.is_empty(), "{breaches:?}\n{}\n{self:#?}", planned.report);
        planned
    }

    fn quiet_plan(&self) -> Planned {
        plan(&self.policy, &self.seen, &self.memory, &self.learned, self.now)
    }

    /// Lets time pass with everything seen afresh.
    pub fn later(mut self, by: u64) -> Self {
        self.now = self.now + seconds(by);
        let now = self.now;
        if let Some(fleet) = &mut self.seen.fleet {
            fleet.at = now;
        }
        if let Some(members) = &mut self.seen.members {
            members.at = now;
        }
        if let Some(latest) = &mut self.seen.latest {
            latest.end = now - seconds(1);
        }
        self
    }

    pub fn view(&mut self) -> &mut FleetView {
        &mut self.seen.fleet.as_mut().expect("a fleet").what
    }

    pub fn members(&mut self) -> &mut Vec<Member> {
        &mut self.seen.members.as_mut().expect("members").what
    }

    /// Takes what a plan left as the memory of the next.
    pub fn remember(&mut self, planned: &Planned) {
        self.memory = planned.memory.clone();
    }
}
