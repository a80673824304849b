//! Worlds in virtual time for tests: the simulated cloud, one autoscaler or several with all that is around them, and
//! a judge that knows the truth.
//!
//! * [`harness::Harness`]: one engine, its disk and its agents.
//! * [`cluster::Cluster`]: several, with the lock and the ledger that they share, a queue, Nomad and agents.
//! * [`fate::run`]: a cluster by chance, in which everything goes wrong that can; [`shrink::shrink`] finds what of it
//!   was needed. The program of this crate runs as many as one likes.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "for tests alone, whose parts are named for what they are"
)]

pub mod chance;
pub mod cluster;
pub mod disk;
pub mod fate;

pub mod harness;
pub mod later;
pub mod nomad;
pub mod rolling;
pub mod seat;
pub mod setting;
pub mod shell;
pub mod shrink;

pub mod truth;
