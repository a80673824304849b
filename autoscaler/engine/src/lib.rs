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

mod alarms;
mod answers;
mod backfill;
mod calls;
mod compact;
mod config;
mod cycle;
mod delta;
mod effect;
mod engine;
mod event;
mod held;
mod journal;
mod lane;
mod lead;
mod metrics;
mod news;
mod nodes;
mod observe;
mod operate;
mod peers;
mod phases;
mod policies;
mod push;
mod record;
mod region;
mod replay;
mod rollouts;
mod series;
mod sources;
mod state;
mod status;
mod stop;
mod timeline;
mod view;
mod windows;
mod writes;

pub use compact::CompactSample;
pub use config::{Config, Now, Planner};
pub use effect::{BatchId, CallId, Effect, MetricsRequest, NodeRef, Permit, PrometheusQuery, Read, Write};
pub use engine::Engine;
pub use event::{
    Answer, Blocked, Command, CommandError, Event, LedgerLeft, NodesSeen, NotSent, Order, Rejection,
    RolloutOrder,
};
pub use metrics::{CallCount, EngineMetrics, NoticeCount};
pub use news::NoticesHeard;
pub use phases::Phases;
pub use record::{
    Cause, Checkpoint, Cycle, Entry, FleetDelta, InstanceSeen, Ledger, Operation, Outcome, Override, Record,
    Withheld,
};
pub use replay::{Differs, Divergence, Replayed, explain_at, replay};
pub use state::{Known, State};
pub use status::{
    ActiveAlarm, Alarm, AlarmChange, ConsulTrouble, Decided, FailingOperation, FleetStatus, Going, GoingStep,
    InstanceStatus, JournalStatus, LeaderRole, Leadership, NodeStatus, PolicyStatus, PoolStatus,
    RolloutStatus, StandIn, Status, WriteStatus,
};
pub use timeline::{Served, Timeline};
