//! What is counted of one fleet.

use autoscaler_core::Action;
use autoscaler_engine::{Outcome, Record};

/// Counts of a fleet since the process began, or since a policy first named it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Plans that were made.
    pub cycles: u64,
    /// Modifications that raised the target.
    pub raised: u64,
    /// Modifications that lowered the target.
    pub lowered: u64,
    /// Modifications that left it, to set other settings right.
    pub set_right: u64,
    /// Instances that were told to go.
    pub terminated: u64,
    /// Steps that failed, or whose outcome is unclear.
    pub failed_steps: u64,
    /// Samples of utilisation, of the whole fleet.
    pub samples: u64,
}

impl FleetCounts {
    /// Counts a record that is about to be written.
    pub(super) fn count(&mut self, record: &Record) {
        match record {
            Record::Cycle(cycle) => {
                self.cycles += 1;
                if cycle.withheld.is_none() {
                    cycle.plan.actions.iter().for_each(|action| self.act(action));
                }
            }
            Record::Outcome { outcome: Outcome::Failed { .. }, .. } => self.failed_steps += 1,
            Record::Samples(samples) => self.samples += samples.len() as u64,
            _ => {}
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Modify { from, change, .. } => match change.target.cmp(from) {
                std::cmp::Ordering::Greater => self.raised += 1,
                std::cmp::Ordering::Less => self.lowered += 1,
                std::cmp::Ordering::Equal => self.set_right += 1,
            },
            Action::Terminate { instances, .. } => self.terminated += instances.len() as u64,
            Action::Cordon { .. }
            | Action::Drain { .. }
            | Action::Restore { .. }
            | Action::ScaleGroup { .. } => {}
        }
    }
}
