//! How an engine is set up, and the time it is told.

use autoscaler_core::{Learned, Memory, Planned, Policy, Snapshot};
use fleet::{InstanceId, Region, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The time of an event, on both clocks: stamps are wall time, waiting is monotonic time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Wall time; may jump.
    pub wall: Timestamp,
    /// Time since an arbitrary start; never goes back.
    pub monotonic: Duration,
}

/// What decides: [`autoscaler_core::plan`], unless a test or an experiment says otherwise.
pub type Planner = fn(&Policy, &Snapshot, &Memory, &Learned, Timestamp) -> Planned;

/// How an engine is set up. `Default` is what the daemon runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The region of policies that name none.
    pub region: Option<Region>,
    /// Plan and report for every fleet, change nothing.
    pub dry_run: bool,
    /// The instance that we run on: never removed.
    pub own_instance: Option<InstanceId>,
    /// The distance of cycles. 10 s: as often as agents push.
    pub cycle: Duration,
    /// How long a cycle waits for answers before it plans with what is known.
    pub patience: Duration,
    /// The distance of DescribeFleets while nothing moves.
    pub fleets_every: Duration,
    /// The distance of describes while something moves.
    pub moving_every: Duration,
    /// The distance of DescribeInstances while nothing moves.
    pub instances_every: Duration,
    /// The distance of the question who else scales our fleets.
    pub scalable_every: Duration,
    /// The distance of readings of CloudWatch and Prometheus, for fleets that nothing better tells about.
    pub metrics_every: Duration,
    /// How old pushed samples may be before the next source is asked.
    pub push_fresh: Duration,
    /// How long after the end of a 10 s window pushed samples are waited for.
    pub window_grace: Duration,
    /// How far back the demand history is filled at a start without a journal; zero: not at all.
    pub backfill: Duration,
    /// The distance of checkpoints in the journal, per fleet.
    pub checkpoint_every: Duration,
    /// The most writes to one fleet in a minute (PACE).
    pub writes_per_minute: u32,
    /// The most writes in flight in one region at a time.
    pub writes_in_flight: usize,
    /// How long after it was handed out a write may still be begun. A process that was frozen begins none.
    pub permit: Duration,
    /// Whether writes need a lease ([`crate::Event::Lease`]): one process of several leads. Without, we always do.
    pub lease_needed: bool,
    /// Whether what a leader knows is kept where the next one finds it ([`crate::Ledger`]); a lease is needed then.
    pub shared_ledger: bool,
    /// The distance of a standby's looks at the ledger.
    pub ledgers_every: Duration,
    /// Whether there is a Nomad to be asked.
    pub nomad: bool,
    /// The distance of looks at Nomad's nodes while nothing drains; every cycle while something does.
    pub nodes_every: Duration,
    /// The distance of readings of spot prices; zero: never.
    pub prices_every: Duration,
    /// How long after a notice the answers are waited for before a plan does without them.
    pub notice_patience: Duration,
    /// How long a stop waits for what is in flight.
    pub stop_within: Duration,
    /// What decides.
    pub planner: Planner,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: None,
            dry_run: false,
            own_instance: None,
            cycle: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            // With instances every 10 min, two calls for marks every 15 (a policy's `interruption.poll`) and one reading of
            // metrics a minute: 1.49 calls a minute.
            fleets_every: Duration::from_secs(240),
            moving_every: Duration::from_secs(25),
            instances_every: Duration::from_secs(600),
            scalable_every: Duration::from_secs(600),
            metrics_every: Duration::from_secs(60),
            push_fresh: Duration::from_secs(45),
            window_grace: Duration::from_millis(2500),
            backfill: Duration::from_secs(14 * 86_400),
            checkpoint_every: Duration::from_secs(2 * 3600),
            writes_per_minute: 6,
            writes_in_flight: 20,
            permit: Duration::from_secs(15),
            lease_needed: false,
            shared_ledger: false,
            ledgers_every: Duration::from_secs(30),
            nomad: false,
            nodes_every: Duration::from_secs(30),
            prices_every: Duration::from_secs(7200),
            notice_patience: Duration::from_millis(1500),
            stop_within: Duration::from_secs(8),
            planner: autoscaler_core::plan,
        }
    }
}
