//! What will happen, in the order of time.

use fleet::Timestamp;
use std::collections::VecDeque;

/// What is due at a time; what is due at the same time comes in the order in which it was put in.
///
/// A row, not a tree: it is asked at every step of a world, and holds a handful.
#[derive(Debug)]
pub struct Later<T>(VecDeque<(Timestamp, T)>);

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Later<T> {
    pub fn put(&mut self, at: Timestamp, what: T) {
        let place = self.0.partition_point(|(other, _)| *other <= at);
        self.0.insert(place, (at, what));
    }
    /// When the next is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.0.front().map(|(at, _)| *at)
    }
    /// The next that is due at `now` or before.
    pub fn take(&mut self, now: Timestamp) -> Option<T> {
        self.0.pop_front_if(|(at, _)| *at <= now).map(|(_, what)| what)
    }
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_one_time_comes_in_the_order_in_which_it_was_put_in() {
        let mut later = Later::default();
        for (at, what) in [(20, 'c'), (10, 'a'), (30, 'e'), (10, 'b'), (20, 'd')] {
            later.put(Timestamp::from_secs(at), what);
        }
        assert_eq!(later.next(), Some(Timestamp::from_secs(10)));
        let until = Timestamp::from_secs(20);
        let taken: String = std::iter::from_fn(|| later.take(until)).collect();
        assert_eq!(taken, "abcd");
        assert_eq!(later.next(), Some(Timestamp::from_secs(30)));
    }
}
