//! The engine against the simulated world: one loop of virtual time, every fault, and the world's own truth as the
//! judge.

mod agents;
mod chance;
mod cluster;
mod crashes;
mod disk;
mod faults;
mod harness;
mod metrics;
mod nomad;
mod notices;
mod operators;
mod reloads;
mod scale;
mod seeds;
mod shell;
mod sight;
mod steady;
mod truth;
