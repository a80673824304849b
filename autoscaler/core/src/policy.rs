//! What is wanted, at this moment: schedules and overrides are already applied.

use crate::RolloutTrouble;
use fleet::{InstanceId, InstanceType, Power, UsdPerHour, Utilization};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A fleet's policy in force. `Default` is the documentation of the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Plan and report, change nothing, and leave the fleet to others.
    pub observe_only: bool,
    /// Plan and report as if, change nothing.
    pub dry_run: bool,
    /// How small and how large.
    pub capacity: Capacity,
    /// The mean CPU utilisation to hold.
    pub target: Utilization,
    /// The promise that sizing keeps.
    pub objective: Objective,
    /// Limits on the way up.
    pub scale_out: ScaleOut,
    /// Limits on the way down.
    pub scale_in: ScaleIn,
    /// How capacity must be spread.
    pub diversification: Diversification,
    /// Who is never a victim, beside those that are tagged so and the one that we run on.
    pub protect: Protect,
    /// Relative computing power by instance type, where vCPUs do not tell it.
    pub power: BTreeMap<InstanceType, Power>,
    /// From request to serving, until this fleet's own times have been measured.
    pub boot: Duration,
    /// How load spreads over more nodes.
    pub workload: Workload,
    /// How a node is emptied.
    pub drain: Drain,
    /// What is done about interruptions.
    pub interruption: Interruption,
    /// On-demand capacity in place of spot capacity that does not come.
    pub on_demand: OnDemand,
    /// How another version of the launch template reaches the fleet.
    pub rollout: RolloutPace,
}

/// How small and how large a fleet may be, in its own units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Never below. At least 1.
    pub min: u32,
    /// Never above, `surge` aside.
    pub max: u32,
    /// How far above `max` replacements of doomed instances may reach for a while. More than 0.
    pub surge: u32,
}

/// How much of the time utilisation may be above which level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The level; above the target.
    pub above: Utilization,
    /// The share of time, 0..=1.
    pub at_most: f64,
    /// The rolling window that the share is counted over.
    pub over: Duration,
}

/// Limits on scale-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleOut {
    /// The largest single step, in fleet units; `None`: up to `max` at once.
    pub max_step: Option<u32>,
    /// How long need must last before it is acted upon.
    pub hold: Duration,
}

/// Limits on scale-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleIn {
    /// Whether muster gives anything back at all.
    pub enabled: bool,
    /// The largest single step, in fleet units; `None`: no limit but safety.
    pub max_step: Option<u32>,
    /// How long capacity must have been superfluous before it is given back.
    pub hold: Duration,
}

/// How capacity must be spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diversification {
    /// Over at least so many instance families. At least 2.
    pub families: u32,
    /// The largest share of the fleet that one pool should hold, 0..=1; judged from 4 instances up.
    pub max_pool_share: f64,
    /// The largest share of the fleet that one availability zone should hold, 0..=1; judged from 4 instances up.
    pub max_zone_share: f64,
    /// How many instances an hour may be replaced to bring a fleet back that AWS let drift out of these bounds; 0:
    /// none, only victims are chosen by it.
    pub repairs_per_hour: u32,
}

/// Instances that are never removed by us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protect {
    /// These.
    pub instances: BTreeSet<InstanceId>,
    /// Those with any of these tags, with that value.
    pub tags: BTreeMap<String, String>,
}

impl Protect {
    /// Whether any of an instance's tags is one of these.
    pub fn is_tagged(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tags.iter().any(|(key, value)| tags.get(key) == Some(value))
    }
}

/// How load gets onto new nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Nobody has said; `check` warns.
    Unknown,
    /// A Nomad system job runs on every node.
    System,
    /// Service groups whose count muster scales with the fleet.
    Service(Vec<ScaledGroup>),
    /// Workers that fetch their work themselves.
    Spreads,
}

/// A service group that grows and shrinks with its fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScaledGroup {
    /// Its namespace.
    pub namespace: String,
    /// Its job's id.
    pub job: String,
    /// Its name.
    pub group: String,
    /// Allocations for each unit of the fleet that serves. At least 1.
    pub per_unit: u32,
}

/// How a node is emptied before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Who empties a node.
    pub by: DrainBy,
    /// The longest that work may take to leave on a scale-in.
    pub deadline: Duration,
    /// Time kept back before an interruption's deadline.
    pub margin: Duration,
    /// Whether system jobs stay until the node goes.
    pub ignore_system_jobs: bool,
    /// Whether a node with batch work on it may be given back: `false` waits until it has ended. Interruptions do not
    /// ask.
    pub interrupt_batch: bool,
}

/// Who empties a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainBy {
    /// Nobody: work is told by the instance's own shutdown.
    Nobody,
    /// Nomad.
    Nomad,
    /// A command or webhook of the operator's.
    Hook,
}

/// What is done about a rebalance recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rebalance {
    /// Nothing.
    Ignore,
    /// No new work on the node.
    Cordon,
    /// Replaced before the notice comes.
    Replace,
    /// Replaced where its pool is known for trouble, else no new work on the node.
    ByRisk,
}

/// When the fleet itself buys in the place of an instance that is marked for interruption: AWS does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetBuys {
    /// Seen of the first interruption, which may be replaced twice.
    Unknown,
    /// At the marking: from then on the instance does not count.
    AtMarking,
    /// When it is gone.
    AtDeath,
}

/// What is done about interruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// Whether replacements are bought at the notice, not after the loss.
    pub replace: bool,
    /// What is done about a rebalance recommendation.
    pub rebalance: Rebalance,
    /// How long a pool that interrupted or had nothing to give is avoided: the half-life of that memory.
    pub avoid_pool: Duration,
    /// When the fleet itself buys in its place, before that was seen; what was seen goes before it.
    pub fleet_buys: FleetBuys,
    /// How often EC2 itself is asked which instances are marked or have maintenance ahead: what nobody else told.
    pub poll: Duration,
}

/// On-demand capacity in place of spot capacity that does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemand {
    /// The most units of it beyond the fleet's own on-demand part; 0: never.
    pub fallback: u32,
    /// How long no spot pool must have delivered what was asked for, with the objective at risk.
    pub after: Duration,
    /// How long it is kept before spot is tried again.
    pub keep: Duration,
    /// What an instance of a type costs on demand: EC2's own interface tells spot prices alone.
    pub prices: BTreeMap<InstanceType, UsdPerHour>,
}

/// How another version of the launch template reaches a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPace {
    /// How many instances are replaced at once. At least 1; above `capacity.max` no more than `capacity.surge` units
    /// of them.
    pub surge: u32,
    /// How many units less than are wanted may serve meanwhile; 0: whoever is replaced is emptied when others are
    /// ready in its place.
    pub unavailable: u32,
    /// The share of the instances that is replaced first, 0..=1; one instance at least, none of it with 0.
    pub canary: f64,
    /// How long that share must run without trouble before the others follow.
    pub canary_for: Duration,
    /// The longest from launch to ready; `None`: twice `boot`.
    pub ready_within: Option<Duration>,
    /// What halts it.
    pub pause_on: Vec<RolloutTrouble>,
    /// The names of the alarms of CloudWatch that are watched meanwhile, in the fleet's region; at most 100.
    pub alarms: Vec<String>,
}

impl RolloutPace {
    /// The alarms that matter: none where they would halt nothing.
    pub fn watched(&self) -> &[String] {
        if self.pause_on.contains(&RolloutTrouble::Alarm) { &self.alarms } else { &[] }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            observe_only: false,
            dry_run: false,
            capacity: Capacity { min: 1, max: 20, surge: 2 },
            target: Utilization::new(0.75),
            objective: Objective {
                above: Utilization::new(0.80),
                at_most: 0.01,
                over: Duration::from_secs(7 * 86_400),
            },
            scale_out: ScaleOut { max_step: None, hold: Duration::ZERO },
            scale_in: ScaleIn { enabled: true, max_step: None, hold: Duration::from_secs(120) },
            diversification: Diversification {
                families: 2,
                max_pool_share: 0.6,
                max_zone_share: 0.75,
                repairs_per_hour: 0,
            },
            protect: Protect::default(),
            power: BTreeMap::new(),
            boot: Duration::from_secs(120),
            workload: Workload::Unknown,
            drain: Drain {
                by: DrainBy::Nobody,
                deadline: Duration::from_secs(300),
                margin: Duration::from_secs(15),
                ignore_system_jobs: true,
                interrupt_batch: true,
            },
            interruption: Interruption {
                replace: true,
                rebalance: Rebalance::Cordon,
                avoid_pool: Duration::from_secs(1800),
                fleet_buys: FleetBuys::Unknown,
                poll: Duration::from_secs(900),
            },
            on_demand: OnDemand {
                fallback: 0,
                after: Duration::from_secs(300),
                keep: Duration::from_secs(1800),
                prices: BTreeMap::new(),
            },
            rollout: RolloutPace {
                surge: 1,
                unavailable: 0,
                canary: 0.1,
                canary_for: Duration::from_secs(600),
                ready_within: None,
                pause_on: vec![
                    RolloutTrouble::NotReady,
                    RolloutTrouble::Unhealthy,
                    RolloutTrouble::LaunchFailed,
                    RolloutTrouble::Alarm,
                ],
                alarms: Vec::new(),
            },
        }
    }
}
