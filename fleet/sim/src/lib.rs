//! The simulated EC2 world: pure, in virtual integer time, seeded, bit-identical.
//!
//! A [`World`] holds pools, fleets, instances and the work that they serve. Time moves only by
//! [`World::advance`]; between two moves the world is asked and changed through the synchronous methods of its
//! EC2 face, each with the name of its caller. [`port::SimCloud`] puts the same world behind
//! `fleet::ports::{Cloud, Metrics}`. No clock, no threads, no I/O besides reading a trace from a reader.
//!
//! What EC2 does not document (which pool exactly, how long exactly) is decided here in one plausible way, and
//! the decision is written at the function that takes it.

mod agenda;
mod alarms;
mod calls;
pub mod demand;
mod events;
mod face;
mod faults;
mod fleets;
mod instances;
mod lifecycle;
mod marks;
mod metrics;
mod num;
mod pools;
pub mod port;
mod purchasing;
mod rng;
pub mod rows;
mod scores;
mod service;
mod spec;
mod truth;
mod world;

pub use alarms::Alarm;
pub use calls::{Action, CallCount, CallCounts};
pub use demand::Demand;
pub use events::{EventKind, FleetChange, FleetRecord, RecordType, WorldEvent};
pub use face::Terminated;
pub use faults::{Delivery, Effect, Fault, FaultId};
pub use fleets::{Deletion, FleetTruth, ModifyFleet};
pub use instances::{InstancePhase, InstanceTruth, Interruption, Notices, ScheduledCode, ScheduledEvent};
pub use marks::SpotStatus;
pub use metrics::{Metric, MetricPoints};
pub use rng::Rng;
pub use scores::Scores;
pub use spec::*;
pub use world::World;
