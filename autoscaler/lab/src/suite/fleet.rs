//! Instances as counts: who serves, who boots, and what is billed for them.

use crate::Trace;
use crate::number::{index, wide};

/// Instances of less than this age are billed as if they had it, in steps.
const LEAST_BILLED: usize = (60 / Trace::STEP) as usize;

/// A fleet of weight-1 instances whose boots all take equally long: no need to tell them apart.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    serving: u32,
    pending: u32,
    boot: usize,
    /// Launches by the step at whose end they were requested, modulo the length: as far back as age matters.
    launched: Vec<u32>,
    /// The place of the running step in it: a division less a step.
    slot: usize,
    /// Steps billed beyond those that were lived: the 60 s minimum.
    topped_up: u64,
}

impl Fleet {
    /// Instances that have been serving for long.
    ///
    /// * `boot`: steps from request to serving.
    pub fn new(serving: u32, boot: usize) -> Self {
        let remembered = boot.max(LEAST_BILLED) + 1;
        Self {
            serving,
            pending: 0,
            boot,
            launched: vec![0; remembered],
            slot: boot.max(LEAST_BILLED),
            topped_up: 0,
        }
    }

    /// Instances in service.
    pub fn serving(&self) -> u32 {
        self.serving
    }

    /// Instances on their way.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Instances that are paid for.
    pub fn billed(&self) -> u32 {
        self.serving + self.pending
    }

    /// Steps that were billed without having been lived.
    pub fn topped_up(&self) -> u64 {
        self.topped_up
    }

    /// Begins a step: what is ready serves.
    #[inline]
    pub fn begin(&mut self, step: usize) {
        self.slot = if self.slot + 1 == self.launched.len() { 0 } else { self.slot + 1 };
        if self.pending > 0 && step > self.boot {
            let ready = self.launched[(step - 1 - self.boot) % self.launched.len()];
            self.serving += ready;
            self.pending -= ready;
        }
        // Whoever was launched here a round ago is older now than anybody asks.
        self.launched[self.slot] = 0;
    }

    /// Brings the fleet to a size at the end of a step. What does not serve yet goes first, the youngest first; of
    /// what serves, the oldest.
    pub fn resize(&mut self, step: usize, target: u32) {
        let bought = target.saturating_sub(self.billed());
        self.launched[self.slot] = bought;
        self.pending += bought;
        let mut leaving = self.billed().saturating_sub(target);
        for age in 1..=self.boot.min(step) {
            let gone = self.leave(step, age, leaving);
            self.pending -= gone;
            leaving -= gone;
        }
        let young: u32 = (self.boot + 1..self.launched.len()).map(|age| self.at_age(step, age)).sum();
        let settled = leaving.min(self.serving - young.min(self.serving));
        self.serving -= settled;
        leaving -= settled;
        for age in (self.boot + 1..self.launched.len()).rev() {
            let gone = self.leave(step, age, leaving);
            self.serving -= gone;
            leaving -= gone;
        }
    }

    fn at_age(&self, step: usize, age: usize) -> u32 {
        if age > step { 0 } else { self.launched[(step - age) % self.launched.len()] }
    }

    /// Lets up to so many instances of an age go.
    fn leave(&mut self, step: usize, age: usize, most: u32) -> u32 {
        let gone = most.min(self.at_age(step, age));
        if gone > 0 {
            let slot = (step - age) % self.launched.len();
            self.launched[slot] -= gone;
            self.topped_up += u64::from(gone) * wide(LEAST_BILLED.saturating_sub(age));
        }
        gone
    }
}

/// A span in whole steps, rounded up.
pub(crate) const fn steps(seconds: u32) -> usize {
    index(seconds.div_ceil(Trace::STEP))
}
