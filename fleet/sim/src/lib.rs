//! The simulated EC2 world: pure, in virtual integer time, seeded, bit-identical.
//!
//! A [`World`] holds pools, fleets, instances and the work that they serve. Time moves only by
//! [`World::advance`]; between two moves the world is asked and changed through the synchronous methods of its
//! EC2 face, each with the name of its caller. [`port::SimCloud`] puts the same world behind
//! `fleet::ports::{Cloud, Metrics}`. No clock, no threads, no I/O besides reading a trace from a reader.
//!
//! What EC2 does not document (which pool exactly, how long exactly) is decided here in one plausible way, and
//! the decision is written at the function that takes it.

mod calls;
pub mod demand;
mod events;
mod faults;
pub mod port;
mod rng;
mod spec;
mod world;

pub use calls::{Action, CallCount, CallCounts};
pub use demand::Demand;
pub use events::{EventKind, FleetChange, FleetRecord, RecordType, WorldEvent};
pub use faults::{Effect, Fault, FaultId};
pub use spec::*;
pub use world::{
    Deletion, FleetTruth, InstancePhase, InstanceTruth, Interruption, Metric, MetricPoints, ModifyFleet,
    Notices, Scores, Terminated, World,
};
