//! The engine against the simulated world: one loop of virtual time, every fault, and the world's own truth as the
//! judge.

mod chance;
mod crashes;
mod disk;
mod faults;
mod harness;
mod metrics;
mod operators;
mod scale;
mod seeds;
mod shell;
mod steady;
mod truth;
