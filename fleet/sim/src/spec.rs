//! What a simulated world is made of. Every field has a default, so that a test names only what it is about.

use crate::demand::Demand;
use crate::faults::Fault;
use fleet::{
    AllocationStrategy, Backend, ExcessCapacity, FleetId, FleetKind, InstanceType, Market, Override, Pool,
    Region, Timestamp, UsdPerHour, Weight, Zone,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A world: one account in one region.
///
/// The default is a small but complete one: four pools of three families in two zones, no fleet, no demand.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldSpec {
    /// The account's id, twelve digits.
    pub account: String,
    /// The region.
    pub region: Region,
    /// Its zones. Pools may name others; these are what a describe of zones shows.
    pub zones: Vec<Zone>,
    /// Where capacity comes from. A pool that is not listed has nothing to give.
    pub pools: Vec<PoolSpec>,
    /// Fleets that are there when the world begins.
    pub fleets: Vec<FleetSpec>,
    /// The demand on each fleet that is created later, through the API. Its time counts from the start of the
    /// world.
    pub load: Demand,
    /// How work is served.
    pub service: ServiceSpec,
    /// How long things take.
    pub timing: TimingSpec,
    /// What is measured, when it can be seen and how long it is kept.
    pub metrics: MetricsSpec,
    /// What AWS takes back, and what the fleet does about it.
    pub interruptions: InterruptionSpec,
    /// Whether EC2's documented request rates are enforced, per action, for all callers together.
    pub throttling: bool,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// The private address of the first instance; the others follow. A cloud on loopback takes one of
    /// `127.0.0.0/8`, so that agents can really speak from their addresses.
    pub first_address: Ipv4Addr,
    /// How many events of the EventBridge kind are kept for readers that lag; the oldest are dropped first.
    pub event_queue: usize,
}

impl Default for WorldSpec {
    fn default() -> Self {
        let pool = |instance_type: &str, zone: &str, micros, depth| PoolSpec {
            depth,
            ..PoolSpec::spot(instance_type, zone, UsdPerHour::from_micros(micros))
        };
        Self {
            account: "123456789012".to_owned(),
            region: "eu-west-1".into(),
            zones: vec!["eu-west-1a".into(), "eu-west-1b".into()],
            pools: vec![
                pool("m5.large", "eu-west-1a", 41_000, 40),
                pool("m5.large", "eu-west-1b", 40_200, 30),
                pool("c5.large", "eu-west-1a", 37_500, 24),
                pool("r5.large", "eu-west-1b", 44_800, 24),
            ],
            fleets: Vec::new(),
            load: Demand::constant(0.0),
            service: ServiceSpec::default(),
            timing: TimingSpec::default(),
            metrics: MetricsSpec::default(),
            interruptions: InterruptionSpec::default(),
            throttling: true,
            faults: Vec::new(),
            first_address: Ipv4Addr::new(10, 0, 0, 4),
            event_queue: 10_000,
        }
    }
}

/// Where capacity comes from: an instance type in a zone, bought in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// The type.
    pub instance_type: InstanceType,
    /// The zone.
    pub zone: Zone,
    /// Spot or on demand.
    pub market: Market,
    /// What one instance costs.
    pub price: UsdPerHour,
    /// What it would cost on demand, for comparison; `None` where nobody knows.
    pub on_demand_price: Option<UsdPerHour>,
    /// vCPUs of an instance; `None`: by the size in its name, 2 where that says nothing.
    pub vcpus: Option<u32>,
    /// How much work an instance does, in units of demand; `None`: as much as its weight in its fleet says.
    pub power: Option<f64>,
    /// How many instances the pool can give at once, all fleets together.
    pub depth: u32,
    /// Times in which it can give fewer. The shallowest of those that overlap holds.
    pub windows: Vec<DepthWindow>,
    /// Share of its instances that are interrupted in a month (its Spot Advisor band), for
    /// [`Hazard::Band`]. On-demand pools are never interrupted.
    pub monthly_interruptions: f64,
}

impl PoolSpec {
    /// A spot pool of depth 100 without windows.
    pub fn spot(instance_type: impl Into<InstanceType>, zone: impl Into<Zone>, price: UsdPerHour) -> Self {
        Self {
            instance_type: instance_type.into(),
            zone: zone.into(),
            market: Market::Spot,
            price,
            on_demand_price: None,
            vcpus: None,
            power: None,
            depth: 100,
            windows: Vec::new(),
            monthly_interruptions: 0.05,
        }
    }
    /// The pool's name.
    pub fn pool(&self) -> Pool {
        Pool { instance_type: self.instance_type.clone(), zone: self.zone.clone(), market: self.market }
    }
}

/// A time in which a pool gives less. What runs is not taken back; only launches fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthWindow {
    /// From here on, counted from the start of the world.
    pub from: Duration,
    /// Up to here, not included.
    pub until: Duration,
    /// How many instances the pool can have given out; 0: it is out of capacity.
    pub depth: u32,
}

/// A fleet that is there when the world begins, and what it has to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSpec {
    /// Its id; `None`: one that the seed makes.
    pub id: Option<FleetId>,
    /// How it was asked for.
    pub request: FleetRequest,
    /// The capacity that is in service at the start, in the fleet's units; `None`:
    /// `ceil(demand(0) / 0.75)`, at least 1. It is also the target where the request's target is 0.
    pub initial: Option<u32>,
    /// What it has to serve. Time counts from the start of the world.
    pub load: Demand,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self { id: None, request: FleetRequest::default(), initial: None, load: Demand::constant(0.0) }
    }
}

/// What a fleet is asked to be (RequestSpotFleet, CreateFleet).
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRequest {
    /// Spot Fleet or EC2 Fleet.
    pub backend: Backend,
    /// Kept, or asked for once.
    pub kind: FleetKind,
    /// Total target in the fleet's units.
    pub target: u32,
    /// The on-demand part of it.
    pub on_demand_target: u32,
    /// How it spreads its spot part. Its on-demand part is always bought by the lowest price.
    pub strategy: AllocationStrategy,
    /// What it does with capacity above a lowered target.
    pub excess: ExcessCapacity,
    /// Shown in describes; the world does not rebalance by itself.
    pub capacity_rebalance: bool,
    /// Its shopping list; an override without a zone takes every zone that has a pool of its type. Empty: every
    /// pool of the world, with weight 1.
    pub overrides: Vec<Override>,
    /// The launch template: id (or name) and version, as instances and describes show them.
    pub launch_template: (String, String),
    /// The image that its instances show.
    pub image: String,
    /// The fleet's own tags.
    pub tags: BTreeMap<String, String>,
    /// Tags of its instances, besides those that AWS sets.
    pub instance_tags: BTreeMap<String, String>,
    /// When it ends by itself.
    pub valid_until: Option<Timestamp>,
    /// Whether its instances go when it ends by itself.
    pub terminate_on_expiry: bool,
    /// Metrics of one minute in place of five (the launch template's `monitoring`).
    pub detailed_monitoring: bool,
}

impl Default for FleetRequest {
    fn default() -> Self {
        Self {
            backend: Backend::SpotFleet,
            kind: FleetKind::Maintain,
            target: 0,
            on_demand_target: 0,
            strategy: AllocationStrategy::PriceCapacityOptimized,
            excess: ExcessCapacity::NoTermination,
            capacity_rebalance: false,
            overrides: Vec::new(),
            launch_template: ("lt-0123456789abcdef0".to_owned(), "1".to_owned()),
            image: "ami-0123456789abcdef0".to_owned(),
            tags: BTreeMap::new(),
            instance_tags: BTreeMap::new(),
            valid_until: None,
            terminate_on_expiry: false,
            detailed_monitoring: true,
        }
    }
}

/// An override of weight `weight` for a type in every zone that has it.
pub fn override_of(instance_type: impl Into<InstanceType>, weight: f64) -> Override {
    Override { instance_type: instance_type.into(), zone: None, weight: Weight::new(weight) }
}

/// How work is served: the rules of the world model, in steps of [`ServiceSpec::STEP`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceSpec {
    /// The longest queue, in seconds of the capacity of the moment; what exceeds it is dropped.
    pub queue: Duration,
    /// The standard deviation of a lognormal factor (mean 1) on the demand of each step; 0: none.
    pub noise: f64,
    /// How busy an instance is that runs and does not serve yet, 0..=1.
    pub boot_utilization: f64,
    /// The utilisation that scores are counted against.
    pub target: f64,
}

impl ServiceSpec {
    /// The length of a step. Steps end at multiples of it since 1970.
    pub const STEP: Duration = Duration::from_secs(10);
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self { queue: Duration::from_secs(30), noise: 0.0, boot_utilization: 0.2, target: 0.75 }
    }
}

/// A delay: always the same, or drawn for each instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Always this long.
    Constant(Duration),
    /// Lognormal by its median and its 95th percentile (not below the median).
    Lognormal {
        /// Half of the draws are shorter.
        median: Duration,
        /// One draw of twenty is longer.
        p95: Duration,
    },
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimingSpec {
    /// From a new fleet's request to its first purchase.
    pub submitted: Duration,
    /// From the request of an instance to when it exists (`pending`). Part of `boot`.
    pub fulfilment: Delay,
    /// From `pending` to `running`. Part of `boot`.
    pub pending: Duration,
    /// The whole delay, from the request of an instance until it serves.
    pub boot: Delay,
    /// From the end of an instance's life to `terminated`.
    pub shutting_down: Duration,
    /// How long a terminated instance is still shown.
    pub terminated_visible: Duration,
    /// How long a modification keeps a fleet in `modifying`. What it asks for is begun at once.
    pub modifying: Duration,
    /// How old the world is that describes show. Adjusted at run time by [`crate::World::set_describe_lag`].
    pub describe_lag: Duration,
    /// After how long a fleet tries again when no pool had anything to give.
    pub retry: Duration,
}

impl Default for TimingSpec {
    fn default() -> Self {
        Self {
            submitted: Duration::from_secs(2),
            fulfilment: Delay::Constant(Duration::from_secs(5)),
            pending: Duration::from_secs(5),
            boot: Delay::Constant(Duration::from_secs(120)),
            shutting_down: Duration::from_secs(30),
            terminated_visible: Duration::from_secs(3600),
            modifying: Duration::from_secs(10),
            describe_lag: Duration::ZERO,
            retry: Duration::from_secs(30),
        }
    }
}

/// What is measured, when it can be seen and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSpec {
    /// How long after the end of its step an agent's sample is there.
    pub push_delay: Duration,
    /// For how long agents' samples are kept, for readers that lag.
    pub steps_kept: Duration,
    /// For how long CloudWatch keeps its series.
    pub kept: Duration,
}

impl Default for MetricsSpec {
    fn default() -> Self {
        Self {
            push_delay: Duration::from_secs(1),
            steps_kept: Duration::from_secs(3600),
            kept: Duration::from_secs(15 * 86_400),
        }
    }
}

/// When a fleet replaces an instance that AWS takes back: AWS does not say, so both worlds can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replaced {
    /// As soon as it is marked for interruption: it no longer counts as fulfilled.
    AtMarking,
    /// When it is gone.
    #[default]
    AtDeath,
}

/// How often AWS takes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hazard {
    /// Never, except by script.
    #[default]
    None,
    /// By each pool's monthly share: half of an instance's risk is its own, half hits its whole pool at once.
    Band,
}

/// What AWS takes back, and what is heard of it before.
#[derive(Clone, Debug, PartialEq)]
pub struct InterruptionSpec {
    /// When the fleet replaces.
    pub replaced: Replaced,
    /// How often it happens by chance.
    pub hazard: Hazard,
    /// From the notice to the end.
    pub notice: Duration,
    /// How often a rebalance recommendation comes before the notice, 0..=1.
    pub rebalance_chance: f64,
    /// How long before the notice at most; drawn evenly.
    pub rebalance_lead: Duration,
    /// Share of the notices that never come, 0..=1.
    pub notice_lost: f64,
    /// Share of the notices that come a minute late, 0..=1.
    pub notice_late: f64,
    /// Interruptions at given times.
    pub script: Vec<ScriptedInterruption>,
}

impl Default for InterruptionSpec {
    fn default() -> Self {
        Self {
            replaced: Replaced::default(),
            hazard: Hazard::default(),
            notice: Duration::from_secs(120),
            rebalance_chance: 0.5,
            rebalance_lead: Duration::from_secs(900),
            notice_lost: 0.0,
            notice_late: 0.0,
            script: Vec::new(),
        }
    }
}

/// An interruption at a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedInterruption {
    /// When its notice is given, counted from the start of the world.
    pub at: Duration,
    /// The pool that it hits.
    pub pool: Pool,
    /// How many instances of the pool, the oldest first; `None`: all.
    pub count: Option<u32>,
}
