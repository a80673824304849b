//! Utilisation as a policy sees it: means over periods, some time after their end.

use super::service::Work;
use crate::Channel;
use crate::Trace;
use std::collections::VecDeque;

/// What a policy sees of a step at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The step that has just ended.
    pub step: usize,
    /// Demand, which no real policy sees.
    pub demand: f64,
    /// Units that served.
    pub capacity: f64,
    /// What became of the work.
    pub done: Work,
    /// Instances in service.
    pub serving: u32,
    /// Instances on their way.
    pub pending: u32,
    /// The target in force.
    pub target: u32,
}

/// Means over one period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    /// The number of steps from the start to its end.
    pub end: usize,
    /// Work over what could have been, 0..=1.
    pub utilization: f64,
    /// Units in service, which produced it.
    pub capacity: f64,
    /// Runnable work per core: above 1 by what waits.
    pub load: f64,
    /// Share of the time in which work waited, as pressure stall information shows it, 0..=1.
    pub psi: f64,
    /// Instances in service at its end.
    pub serving: u32,
}

/// Periods and lateness of a metric, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    pub period: usize,
    pub late: usize,
}

impl Rhythm {
    /// The rhythm of a channel. A pushed sample is seen a second after its end: within the step, whose end is the
    /// next moment at which anything is decided.
    pub const fn of(channel: Channel) -> Self {
        match channel {
            Channel::Push => Self { period: 1, late: 0 },
            Channel::Cloudwatch1m => Self { period: 6, late: 6 },
            Channel::Cloudwatch5m => Self { period: 30, late: 30 },
        }
    }
}

/// Gathers steps into means, and holds these back until they can be seen.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    rhythm: Rhythm,
    steps: usize,
    served: f64,
    capacity: f64,
    load: f64,
    waited: f64,
    late: VecDeque<Mean>,
}

impl Metric {
    pub fn new(rhythm: Rhythm) -> Self {
        let waiting = rhythm.late / rhythm.period + 2;
        Self {
            rhythm,
            steps: 0,
            served: 0.0,
            capacity: 0.0,
            load: 0.0,
            waited: 0.0,
            late: VecDeque::with_capacity(waiting),
        }
    }

    /// Takes a step in.
    ///
    /// * returns: the mean that can be seen from now on, if there is one: never more than one a step.
    #[inline]
    pub fn take(&mut self, seen: &Seen) -> Option<Mean> {
        self.steps += 1;
        self.served += seen.done.served;
        self.capacity += seen.capacity;
        self.waited += waited(seen);
        self.load += if seen.capacity > 0.0 { seen.done.offered / seen.capacity } else { 0.0 };
        if self.steps == self.rhythm.period {
            self.close(seen);
        }
        let due = self.late.front().is_some_and(|mean| mean.end + self.rhythm.late <= seen.step + 1);
        if due { self.late.pop_front() } else { None }
    }

    fn close(&mut self, seen: &Seen) {
        let seconds = f64::from(Trace::STEP);
        let steps = crate::number::length(self.steps);
        let could = self.capacity * seconds;
        self.late.push_back(Mean {
            end: seen.step + 1,
            // Nobody there to serve is as busy as can be.
            utilization: if could > 0.0 { self.served / could } else { 1.0 },
            capacity: self.capacity / steps,
            load: self.load / steps / seconds,
            psi: self.waited / steps,
            serving: seen.serving,
        });
        (self.steps, self.served, self.capacity) = (0, 0.0, 0.0);
        (self.load, self.waited) = (0.0, 0.0);
    }
}

/// The share of a step in which work waited: all of it where more came than could be served, else until what had waited
/// at its beginning was done.
#[inline]
fn waited(seen: &Seen) -> f64 {
    let seconds = f64::from(Trace::STEP);
    let spare = (seen.capacity - seen.demand) * seconds;
    let before = seen.done.offered - seen.demand * seconds;
    // What comes of a difference of sums is no queue.
    if before <= 1e-9 * seen.done.offered {
        return f64::from(u8::from(spare < 0.0));
    }
    if spare > before { before / spare } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::service::Queue;

    #[test]
    fn pressure_is_the_share_of_the_time_in_which_work_waits() {
        let mut queue = Queue::default();
        let mut metric = Metric::new(Rhythm { period: 1, late: 0 });
        // Four units: enough; half as much again as they can; then 20 unit-seconds of it are worked off at one a second,
        // and at four; and nobody is there.
        let steps = [
            (3.0, 4.0, 0.0),
            (4.0, 4.0, 0.0),
            (6.0, 4.0, 1.0),
            (3.0, 4.0, 1.0),
            (0.0, 4.0, 0.25),
            (0.0, 0.0, 0.0),
        ];
        for (step, (demand, capacity, psi)) in steps.into_iter().enumerate() {
            let done = queue.serve(demand, capacity);
            let seen = Seen { step, demand, capacity, done, serving: 4, pending: 0, target: 4 };
            let mean = metric.take(&seen).expect("at once");
            assert!((mean.psi - psi).abs() < 1e-9, "{step}: {}", mean.psi);
        }
    }
}
