//! The engine against the simulated world: one loop of virtual time, every fault, and the world's own truth as the
//! judge.

mod agents;
mod crashes;
mod ends;
mod fallback;
mod faults;
mod heeded;
mod hooks;
mod ledgers;
mod metrics;
mod notices;
mod operators;
mod protected;
mod reloads;
mod rollouts;
mod scale;
mod seeds;
mod sight;
mod steady;
