//! How long a node takes to be left by its work, and when it has to begin.

use super::{AllocFact, NodeFact};
use fleet::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// When a drain tells what is left to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DrainDeadline {
    /// At once: everything is told to stop now (Nomad's -1).
    AtOnce,
    /// This long after the drain began. What is shorter than a millisecond is sent as [`DrainDeadline::AtOnce`]:
    /// Nomad's 0 would mean never.
    Within(Duration),
    /// Never (Nomad's 0).
    Never,
}

/// A task group that cannot leave a node in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlowGroup {
    /// The job's namespace.
    pub namespace: String,
    /// The job.
    pub job: String,
    /// The group.
    pub group: String,
    /// How long one of it takes to end once it is told to.
    pub grace: Duration,
    /// How long all of it on the node takes when they are moved `max_parallel` at a time.
    pub in_turn: Duration,
}

/// The latest time at which what is on a node may be told to stop, so that it has ended `margin` before the
/// instance goes.
///
/// Nomad's drain deadline is when the last allocations are told to stop, not when they have: each still gets its
/// `grace`. All that are left are told at the same moment, whatever their `max_parallel`, so the longest counts
/// and not the sum.
pub fn latest_deadline(leaves_at: Timestamp, margin: Duration, grace: Duration) -> Timestamp {
    leaves_at - margin.saturating_add(grace)
}

/// The deadline of a drain that begins now, for an instance that goes at `leaves_at`: see [`latest_deadline`].
/// [`DrainDeadline::AtOnce`] when that has passed.
pub fn drain_deadline(
    now: Timestamp,
    leaves_at: Timestamp,
    margin: Duration,
    grace: Duration,
) -> DrainDeadline {
    let left = latest_deadline(leaves_at, margin, grace).since(now);
    if left.is_zero() { DrainDeadline::AtOnce } else { DrainDeadline::Within(left) }
}

impl NodeFact {
    /// How long what is on the node may take to end once all of it is told to: the longest `grace`.
    ///
    /// Conservative in what it counts: a group's `shutdown_delay`, then its leader's delay and `kill_timeout`,
    /// then the longest of its other tasks. A client's `max_kill_timeout` (30 s unless set) may cut that short;
    /// no API shows it. Tasks that run after the others (`poststop`) have no bound and are not counted.
    pub fn grace(&self, ignore_system_jobs: bool) -> Duration {
        self.movable(ignore_system_jobs).map(|alloc| alloc.work.grace).max().unwrap_or_default()
    }

    /// How long an orderly drain takes at most, when nothing else hinders it: the slowest group, its allocations
    /// moved `max_parallel` at a time, each batch given its grace and then its replacements' `min_healthy_time`.
    ///
    /// An estimate: how long a replacement takes to start is not in it, nor that other nodes are drained, too.
    pub fn in_turn(&self, ignore_system_jobs: bool) -> Duration {
        self.groups(ignore_system_jobs).into_values().map(|group| in_turn(&group)).max().unwrap_or_default()
    }

    /// The groups that take longer than `limit` to end once they are told to, in order.
    ///
    /// No deadline helps them: on a notice of that length they are cut off.
    pub fn cannot_leave_within(&self, limit: Duration, ignore_system_jobs: bool) -> Vec<SlowGroup> {
        let groups = self.groups(ignore_system_jobs).into_iter().map(|((namespace, job, group), allocs)| {
            let grace = allocs.iter().map(|alloc| alloc.work.grace).max().unwrap_or_default();
            let [namespace, job, group] = [namespace, job, group].map(str::to_owned);
            SlowGroup { namespace, job, group, grace, in_turn: in_turn(&allocs) }
        });
        groups.filter(|group| group.grace > limit).collect()
    }

    fn groups(&self, ignore_system_jobs: bool) -> BTreeMap<(&str, &str, &str), Vec<&AllocFact>> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for alloc in self.movable(ignore_system_jobs) {
            let work = &alloc.work;
            groups.entry((&*work.namespace, &*work.job, &*work.group)).or_default().push(alloc);
        }
        groups
    }
}

fn in_turn(group: &[&AllocFact]) -> Duration {
    let parallel = group.iter().map(|alloc| alloc.max_parallel).min().unwrap_or(1).max(1);
    let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
    let one = group.iter().map(|alloc| alloc.work.grace.saturating_add(alloc.min_healthy_time)).max();
    one.unwrap_or_default().saturating_mul(count.div_ceil(parallel))
}
