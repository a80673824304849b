//! What is due, in the order of time.

use fleet::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that will happen. Instances are named by their serial number, fleets and pools by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A submitted fleet becomes active.
    FleetBegins(usize),
    /// A modification is carried out. There is one at a time: a fleet that is `modifying` refuses another.
    FleetModified(usize),
    /// A fleet that found no capacity tries again.
    FleetRetries(usize),
    /// A fleet's time is over.
    FleetExpires(usize),
    /// A request becomes an instance.
    Fulfilled(u32),
    /// A pending instance runs.
    Runs(u32),
    /// A running instance begins to serve.
    Serves(u32),
    /// An instance is recommended to be rebalanced.
    Recommended(u32),
    /// AWS marks an instance for interruption.
    Marked(u32),
    /// The notice of an interruption comes.
    Noticed(u32),
    /// A marked instance goes.
    Dies(u32),
    /// An instance has shut down.
    Terminated(u32),
    /// An instance is no longer shown.
    Forgotten(u32),
    /// All instances of a pool are recommended to be rebalanced.
    PoolRecommended(usize),
    /// All instances of a pool are marked.
    PoolStruck(usize),
    /// A scripted interruption.
    Scripted(usize),
    /// An event that was held back is delivered, by its number.
    Delivered(u64),
    /// A scheduled event begins.
    ScheduledBegins(u32),
}

/// A heap of what is due. What is due at the same time happens in the order in which it was put in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Timestamp, u64, Due)>>,
    put: u64,
}

impl Agenda {
    pub(crate) fn put(&mut self, at: Timestamp, due: Due) {
        self.heap.push(Reverse((at, self.put, due)));
        self.put += 1;
    }
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
    /// The next that is due at `at` or before.
    pub(crate) fn take(&mut self, until: Timestamp) -> Option<(Timestamp, Due)> {
        if self.next_at()? > until {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, due))| (at, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_one_time_happens_in_the_order_in_which_it_was_put_in() {
        let mut agenda = Agenda::default();
        for (at, due) in [(20, Due::Serves(1)), (10, Due::Serves(2)), (10, Due::Dies(1)), (30, Due::Dies(2))]
        {
            agenda.put(Timestamp::from_secs(at), due);
        }
        let until = Timestamp::from_secs(20);
        let taken: Vec<Due> = std::iter::from_fn(|| agenda.take(until)).map(|(_, due)| due).collect();
        assert_eq!(taken, [Due::Serves(2), Due::Dies(1), Due::Serves(1)]);
        assert_eq!(agenda.next_at(), Some(Timestamp::from_secs(30)));
    }
}
