//! The loop that holds fleets at their target, without I/O: [`Engine::handle`] takes what happened and answers
//! with what is to be done.
//!
//! A shell carries the [`Effect`]s out (calls, records, timers) and hands their outcomes back as [`Event`]s.
//! Nothing in here waits, reads a clock or talks to anybody, so that a test drives a day in a second, reaches
//! every interleaving, and crashes an engine between any two effects by dropping it.
//!
//! Everything that a plan can look at is changed by [`Record`]s alone, and records are what the journal keeps:
//! [`replay`] folds them through the same code and must come to the same plans, byte for byte; a restart folds
//! them from the last checkpoint on.

mod config;
mod effect;
mod engine;
mod event;
mod metrics;
mod record;
mod replay;
mod state;
mod status;

pub use config::{Config, Now, Planner};
pub use effect::{BatchId, CallId, Effect, MetricsRequest, Permit, PrometheusQuery, Read, Write};
pub use engine::Engine;
pub use event::{Answer, Command, CommandError, Event, NotSent, Order, Rejection};
pub use metrics::{CallCount, EngineMetrics};
pub use record::{
    Cause, Checkpoint, CompactSample, Cycle, Entry, FleetDelta, InstanceSeen, Outcome, Override, Record,
    Withheld,
};
pub use replay::{Divergence, Replayed, explain_at, replay};
pub use state::{Known, Served};
pub use status::{
    ActiveAlarm, Alarm, AlarmChange, Decided, FleetStatus, InstanceStatus, JournalStatus, PolicyStatus,
    Status, WriteStatus,
};
