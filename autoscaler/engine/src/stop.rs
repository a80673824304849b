//! The end: what is in flight is finished or journaled, then nothing more is wanted.

use crate::{BatchId, Effect, Engine, Now};
use fleet::FleetName;
use std::time::Duration;

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Waits for writes that were sent, until a deadline.
    Writes(Duration),
    /// Waits for the last records, until a deadline.
    Records(BatchId, Duration),
    /// Nothing more is wanted.
    Stopped,
}

impl Stopping {
    /// Until when it waits.
    pub const fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Writes(deadline) | Self::Records(_, deadline) => Some(*deadline),
            Self::Stopped => None,
        }
    }
}

impl Engine {
    /// Begins to stop: no more plans, no more writes.
    pub(crate) fn stop(&mut self, now: Now) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping::Writes(now.monotonic + self.config.stop_within));
            self.waiting.clear();
            self.ready.clear();
            self.again.clear();
        }
    }

    /// Goes on stopping as far as it can.
    pub(crate) fn go_on_stopping(&mut self, now: Now) {
        if let Some(Stopping::Writes(deadline)) = self.stopping {
            let in_flight =
                self.fleets.values().any(|held| held.writing.is_some() || held.lane_is_under_way());
            if in_flight && now.monotonic < deadline {
                return;
            }
            let names: Vec<FleetName> = self.fleets.keys().cloned().collect();
            for name in &names {
                self.write_soon(name, true);
            }
            let last = self.journal.next_batch();
            self.hand_out_records(now);
            if self.journal.next_batch() == last {
                // Nothing was left to say; whatever was said before still has to arrive.
                self.hand_out_empty(now);
            }
            self.stopping = Some(Stopping::Records(last, deadline));
        }
        if let Some(Stopping::Records(last, deadline)) = self.stopping
            && (!self.journal.is_open(last) || now.monotonic >= deadline)
        {
            self.stopping = Some(Stopping::Stopped);
            self.out.push(Effect::Stopped);
        }
    }
}
