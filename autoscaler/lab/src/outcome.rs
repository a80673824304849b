//! What came out of a run.

use crate::{Runner, Setting};
use autoscaler_policy::Schedule;
use fleet::Timestamp;
use serde::Serialize;

/// A run of one policy over one trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The trace's name: its path as given.
    pub trace: String,
    /// Who decided.
    pub runner: Runner,
    /// How much time went by.
    pub seconds: Seconds,
    /// How well it went.
    #[serde(flatten)]
    pub scores: Scores,
    /// The settings in force.
    pub config: Config,
    /// The run step by step, where it was asked for.
    #[serde(skip)]
    pub course: Option<Course>,
}

/// Simulated and scored time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seconds {
    /// With the history that came before.
    pub simulated: u64,
    /// Without it.
    pub scored: u64,
}

/// The settings that a run was made with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// The world's.
    #[serde(flatten)]
    pub setting: Setting,
    /// Least capacity, units.
    pub min: u32,
    /// Most capacity, units.
    pub max: u32,
    /// Utilisation to hold, 0..=1.
    pub target: f64,
    /// The level that utilisation should stay below, 0..=1.
    pub objective_above: f64,
    /// The share of time that it may be above it, 0..=1.
    pub objective_at_most: f64,
    /// How far above `max` replacements may reach for a while, units.
    pub surge: u32,
    /// How long need must last before more is bought, seconds.
    pub scale_out_hold: u64,
    /// The largest single step up, units; `None`: no limit.
    pub scale_out_max_step: Option<u32>,
    /// Whether anything is given back at all.
    pub scale_in_enabled: bool,
    /// How long capacity must have been superfluous before it is given back, seconds.
    pub scale_in_hold: u64,
    /// The largest single step down, units; `None`: no limit.
    pub scale_in_max_step: Option<u32>,
    /// The schedules that our own policy heeds; nobody else's.
    pub schedules: Vec<Schedule>,
    /// The name of what was known from before; `None`: nothing was.
    pub history: Option<String>,
}

/// How a run went; names, units and rules as in the world model. Ratios are 0..=1 unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Unit-hours billed.
    pub cost_unit_hours: f64,
    /// Unit-hours of the clairvoyant optimum.
    pub oracle_unit_hours: f64,
    /// The first over the second.
    pub cost_ratio: f64,
    /// Cost over the clairvoyant optimum under the same contract; `None` where it was not computed.
    pub soft_cost_ratio: Option<f64>,
    /// Share of time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// Share of time with demand above the policy's own level (`objective.above`) of the capacity in service: the breach
    /// that the contract is about.
    pub above_ratio: f64,
    /// Share of time with demand above the capacity in service.
    pub saturated_ratio: f64,
    /// Share of the work that was dropped.
    pub unserved_ratio: f64,
    /// Share of time with more than a second of work waiting.
    pub queue_over_1s_ratio: f64,
    /// Changes of the target.
    pub actions_per_day: f64,
    /// Scale-ins followed by a scale-out within boot + 5 min.
    pub flips_per_day: f64,
    /// Capacity missing, in percent of what was needed, over time.
    pub under_accuracy: f64,
    /// Capacity too many, in percent of what was needed, over time.
    pub over_accuracy: f64,
    /// Percent of time with too little.
    pub under_timeshare: f64,
    /// Percent of time with too much.
    pub over_timeshare: f64,
    /// Percent of time in which supply and demand move apart.
    pub instability: f64,
    /// Work served over capacity in service.
    pub mean_utilization: f64,
    /// Mean distance of utilisation from the target.
    pub mean_abs_error_ratio: f64,
    /// Instances that AWS took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruptions: Option<u64>,
    /// Of these, those that were empty in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained_in_time_ratio: Option<f64>,
    /// Unit-seconds of capacity that interruptions left missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_gap_unit_seconds: Option<f64>,
    /// The least share of the capacity that was to serve which did, at any time at which that was 4 units or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowest_serving_ratio: Option<f64>,
    /// The same of a clairvoyant, who has at every moment what any pool could have had serving then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowest_possible_ratio: Option<f64>,
    /// Share of time in which less than 60 % of the capacity that was to serve did, where that was 4 units or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving_below_60_ratio: Option<f64>,
    /// The same of the clairvoyant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible_below_60_ratio: Option<f64>,
    /// Whether the contract was kept.
    pub contract_kept: bool,
    /// What was not kept of it.
    pub contract_broken: Vec<Clause>,
}

/// A clause of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clause {
    /// Mean utilisation at most target + 0.5 points.
    MeanUtilization,
    /// Time above the level within the objective.
    Breach,
    /// Time in saturation at most 0.3 %, or what the delay costs even a clairvoyant.
    Saturated,
    /// At most 12 flips a day, or as many as aws-tt's.
    Flips,
}

/// A run step by step: all rows have one entry a step of the trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Course {
    /// When the first step begins, as [`crate::Trace::start`] has it.
    pub start: Timestamp,
    /// Demand, units.
    pub demand: Vec<f32>,
    /// Capacity in service, units.
    pub capacity: Vec<f32>,
    /// Capacity that is paid for, units.
    pub billed: Vec<f32>,
    /// Utilisation, 0..=1.
    pub utilization: Vec<f32>,
    /// (pool, capacity in service by step); empty in a world without pools.
    pub pools: Vec<(String, Vec<f32>)>,
    /// Every change of the target.
    pub decisions: Vec<Change>,
}

/// A change of the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Seconds from the start of the trace.
    pub at: u32,
    /// Units before.
    pub from: u32,
    /// Units after.
    pub to: u32,
    /// Why, in words.
    pub reason: String,
}
