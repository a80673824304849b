//! What served when: samples that come late are paired with the capacity that produced them.

use fleet::{Power, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Five-minute metrics are ten minutes old when they come; the rest is for answers that come late.
const KEEP: Duration = Duration::from_secs(3600);
/// A bound for fleets that never rest.
const MOST: usize = 256;

/// What served from a moment on, until the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// From when.
    pub from: Timestamp,
    /// The power that served.
    pub serving: Power,
    /// The power that ran, booting instances included.
    pub running: Power,
    /// How many instances served.
    pub instances: u32,
}

/// What served lately, oldest first, a step for each change. Bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline(Vec<Served>);

impl Timeline {
    /// Whether nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what serves from a moment on; nothing when that is what served before. What lies ahead of it (the
    /// clock was set back) is forgotten.
    pub fn push(&mut self, served: Served) {
        while self.0.last().is_some_and(|last| last.from > served.from) {
            self.0.pop();
        }
        if let Some(last) = self.0.last() {
            let Served { from: _, serving, running, instances } = *last;
            if (serving, running, instances) == (served.serving, served.running, served.instances) {
                return;
            }
        }
        self.0.push(served);
        let old = served.from - KEEP;
        // The step that began before the horizon and lasts beyond it is kept.
        let drop = self.0.iter().skip(1).take_while(|step| step.from <= old).count();
        let drop = drop.max(self.0.len().saturating_sub(MOST));
        self.0.drain(..drop);
    }

    /// The mean of what served in a period.
    ///
    /// * returns: `None` where the first half of the period, or more, lies before what is known.
    pub fn over(&self, from: Timestamp, to: Timestamp) -> Option<Served> {
        let first = self.0.first()?;
        let known_from = first.from.max(from);
        if to <= known_from || known_from.since(from) * 2 > to.since(from) {
            return None;
        }
        let total = to.since(known_from).as_secs_f64();
        let (mut serving, mut running, mut longest) = (0.0, 0.0, (Duration::ZERO, 0));
        for (index, step) in self.0.iter().enumerate() {
            let begin = step.from.max(known_from);
            let end = self.0.get(index + 1).map_or(to, |next| next.from.min(to));
            if end <= begin {
                continue;
            }
            let lasted = end.since(begin);
            let share = lasted.as_secs_f64() / total;
            serving += share * step.serving.get();
            running += share * step.running.get();
            if lasted >= longest.0 {
                longest = (lasted, step.instances);
            }
        }
        Some(Served {
            from,
            serving: Power::new(serving),
            running: Power::new(running),
            instances: longest.1,
        })
    }

    /// Moves every time, when the clock that stamped them has jumped.
    pub fn shift(&mut self, by_ms: i64) {
        for step in &mut self.0 {
            step.from = Timestamp::from_millis(step.from.millis().saturating_add(by_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn step(from: i64, serving: f64, running: f64) -> Served {
        Served { from: at(from), serving: Power::new(serving), running: Power::new(running), instances: 1 }
    }

    #[test]
    fn a_period_is_paired_with_what_served_in_it_not_with_what_serves_now() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.over(at(0), at(60)), None);
        timeline.push(step(0, 4.0, 4.0));
        timeline.push(step(90, 4.0, 8.0));
        timeline.push(step(150, 8.0, 8.0));
        let over = |from, to| timeline.over(at(from), at(to)).map(|s| (s.serving.get(), s.running.get()));
        assert_eq!(over(0, 60), Some((4.0, 4.0)));
        assert_eq!(over(60, 120), Some((4.0, 6.0)));
        assert_eq!(over(120, 180), Some((6.0, 8.0)));
        assert_eq!(over(1000, 1060), Some((8.0, 8.0)), "the last step goes on");
        assert_eq!(over(-60, 0), None, "before what is known");
        assert_eq!(over(-10, 50), Some((4.0, 4.0)), "mostly known");
        assert_eq!(over(-40, 20), None, "mostly not");
    }

    #[test]
    fn it_stays_bounded_and_survives_a_clock_that_is_set_back() {
        let mut timeline = Timeline::default();
        for second in 0..10_000_i64 {
            timeline.push(step(second, if second % 2 == 0 { 1.0 } else { 2.0 }, 2.0));
        }
        assert!(timeline.0.len() <= MOST);
        timeline.push(step(9_000, 5.0, 5.0));
        assert_eq!(timeline.0.len(), 1, "what lay ahead is forgotten");
        timeline.push(step(9_100, 6.0, 6.0));
        assert_eq!(timeline.over(at(9_000), at(9_010)).map(|s| s.serving.get()), Some(5.0));
        let mut quiet = Timeline::default();
        for second in (0..100_000).step_by(10) {
            quiet.push(step(second, 3.0, 3.0));
        }
        assert_eq!(quiet.0.len(), 1, "what does not change costs nothing");
    }
}
