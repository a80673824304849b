//! When nodes of one image may no longer end themselves.

use fleet::InstanceId;
use serde::{Deserialize, Serialize};

/// The nodes of one image that ended themselves one after the other, with none in between that became ready. Shared by
/// the fleet, changed by compare-and-set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Oldest first.
    pub ended: Vec<InstanceId>,
}

/// Whether a node may end itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, once the record says so.
    May,
    /// So many of its image have: it stays up, without work, and shouts.
    Open {
        /// How many.
        ended: usize,
    },
}

impl Breaker {
    /// Asks for a node, and writes it down where it may.
    ///
    /// * `limit`: how many may, in a row; none with 0.
    ///
    /// Asking again for the same node changes nothing: it may have crashed before it could end itself.
    pub fn ask(&mut self, node: &InstanceId, limit: usize) -> Verdict {
        if self.ended.contains(node) {
            return Verdict::May;
        }
        if self.ended.len() >= limit {
            return Verdict::Open { ended: self.ended.len() };
        }
        self.ended.push(node.clone());
        Verdict::May
    }

    /// A node that was to end lives. * returns: whether that is news.
    pub fn take_back(&mut self, node: &InstanceId) -> bool {
        let before = self.ended.len();
        self.ended.retain(|ended| ended != node);
        self.ended.len() < before
    }

    /// A node of the image became ready: the image is good. * returns: whether that is news.
    pub fn close(&mut self) -> bool {
        let news = !self.ended.is_empty();
        self.ended.clear();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_may_end_themselves_in_a_row_and_the_next_one_stays() {
        let mut breaker = Breaker::default();
        let node = |n: u32| InstanceId::new(format!("i-{n}"));
        assert_eq!(breaker.ask(&node(1), 2), Verdict::May);
        assert_eq!(breaker.ask(&node(1), 2), Verdict::May, "asked again after a crash");
        assert_eq!(breaker.ask(&node(2), 2), Verdict::May);
        assert_eq!(breaker.ask(&node(3), 2), Verdict::Open { ended: 2 });
        assert!(breaker.take_back(&node(1)), "it lives");
        assert!(!breaker.take_back(&node(1)));
        assert_eq!(breaker.ask(&node(3), 2), Verdict::May, "there is room for one");
        assert_eq!(breaker.ask(&node(4), 2), Verdict::Open { ended: 2 });
        assert!(breaker.close());
        assert!(!breaker.close());
        assert_eq!(breaker.ask(&node(3), 2), Verdict::May, "one that became ready closes it");
        assert_eq!(Breaker::default().ask(&node(4), 0), Verdict::Open { ended: 0 });
    }
}
