//! The decision: what a fleet's capacity should be, and the next step towards it.
//!
//! Pure, synchronous, total: [`plan`] takes a policy, what was seen, what is remembered and the time, and
//! answers with a plan that leaves no choice to execution, a report that says why, and the memory for the next
//! cycle. No I/O, no clock, no randomness, no `Result`: odd input becomes a [`Hold`].

mod checker;
mod memory;
mod number;
mod plan;
mod planner;
mod policy;
mod report;
mod rollout;
pub mod sizing;
mod snapshot;
mod words;

pub use checker::{Breach, Budget, Invariant, check};
pub use memory::{
    Expected, Fallback, Memory, PoolMemory, Removal, RemovalStep, Replacement, ReplacementCause,
    ReplacementStep,
};
pub use plan::{Action, DrainCause, Plan, Planned};
pub use planner::{Prices, RESPITE, TargetStep, Way, cost_of, plan, step_target};
pub use policy::{
    Capacity, Diversification, Drain, DrainBy, FleetBuys, Interruption, Objective, OnDemand, Policy, Protect,
    Rebalance, RolloutPace, ScaleIn, ScaleOut, ScaledGroup, Workload,
};
pub use report::{Bound, Candidate, Choice, Decision, Hold, Opinion, Remark, Report, Unholdable};
pub use rollout::{Asked, Course, Halt, Halted, Rollout, RolloutTrouble, Stage};
pub use sizing::Learned;
pub use snapshot::{
    FailingRead, GroupCount, Member, Observed, Pause, Phase, PoolTrouble, Snapshot, TroubleKind, WatchedAlarm,
};
