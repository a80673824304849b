//! The engine.

use crate::{
    BatchId, Command, CommandError, Config, Decided, Effect, EngineMetrics, Entry, Event, FleetStatus, Now,
    Rejection, Status,
};
use fleet::FleetName;
use fleet::wire::{SampleBatch, SamplesAccepted};
use std::net::IpAddr;

/// Holds any number of fleets at their target. See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    metrics: EngineMetrics,
}

impl Engine {
    /// An engine that goes on from what the journal holds.
    ///
    /// * `restored`: each fleet's entries in order, from its last checkpoint on; folded one by one.
    ///
    /// Does nothing until [`Event::PoliciesLoaded`].
    pub fn new(config: Config, restored: impl IntoIterator<Item = Entry>) -> Self {
        for _ in restored {}
        Self { config, metrics: EngineMetrics::default() }
    }

    /// Takes in what happened; answers with what is to be done, in order. Never fails, never waits.
    pub fn handle(&mut self, _event: Event, _now: Now) -> Vec<Effect> {
        Vec::new()
    }

    /// Takes in an agent's samples.
    ///
    /// * `peer`: the address that the call came from; must be the claimed instance's private address.
    /// * returns: what to answer, and what is to be done.
    pub fn accept_samples(
        &mut self,
        _peer: IpAddr,
        _batch: &SampleBatch,
        _now: Now,
    ) -> (Result<SamplesAccepted, Rejection>, Vec<Effect>) {
        (Err(Rejection::Stopping), Vec::new())
    }

    /// Takes an operator's order.
    ///
    /// * returns: the batch that has to be written before the order is safe (answer the operator then), and what
    ///   is to be done. Nothing has changed on an error.
    pub fn operate(&mut self, command: Command, _now: Now) -> (Result<BatchId, CommandError>, Vec<Effect>) {
        let name = command.fleet.unwrap_or_else(|| FleetName::new(""));
        (Err(CommandError::UnknownFleet { name, nearest: None }), Vec::new())
    }

    /// Everything at a glance.
    pub fn status(&self, now: Now) -> Status {
        Status {
            at: now.wall,
            fleets: Vec::new(),
            alarms: Vec::new(),
            policies: crate::PolicyStatus::default(),
            journal: crate::JournalStatus::default(),
            dry_run: self.config.dry_run,
            stopping: false,
        }
    }

    /// One fleet at a glance; `None` when no policy names it.
    pub fn fleet_status(&self, _fleet: &FleetName, _now: Now) -> Option<FleetStatus> {
        None
    }

    /// The last decisions of a fleet that were worth keeping in mind, oldest first, the very last one included;
    /// `None` when no policy names it. Older ones are in the journal.
    pub fn decisions(&self, _fleet: &FleetName) -> Option<Vec<Decided>> {
        None
    }

    /// What was counted.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }
}
