//! Records on their way to the disk, and what is done when they do not get there.

use crate::held::WritePhase;
use crate::lane::FlightPhase;
use crate::{Alarm, BatchId, Cause, Checkpoint, Effect, Engine, Entry, JournalStatus, Ledger, Now, Record};
use fleet::{FleetName, MessageId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// A batch that was not answered for so long is taken as not written.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What is on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    next: u64,
    open: BTreeMap<BatchId, Batch>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Batch {
    handed: Duration,
    fleets: Vec<FleetName>,
    /// Those whose writes wait for it.
    writers: Vec<FleetName>,
    /// Messages that are settled with it.
    messages: Vec<MessageId>,
}

impl Batch {
    fn new(now: Now) -> Self {
        let (fleets, writers, messages) = Default::default();
        Self { handed: now.monotonic, fleets, writers, messages }
    }
}

#[derive(Debug)]
struct Failing {
    since: Timestamp,
    error: String,
}

impl Journal {
    /// Whether the last batch that was answered could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.is_some()
    }
    /// The number of the batch that is handed out next.
    pub fn next_batch(&self) -> BatchId {
        BatchId(self.next)
    }
    /// When the oldest batch is given up.
    pub fn next_lost(&self) -> Option<Duration> {
        self.open.first_key_value().map(|(_, batch)| batch.handed + LOST_AFTER)
    }
    /// A batch that was not answered for too long.
    pub fn pop_lost(&self, now: Duration) -> Option<BatchId> {
        let (id, batch) = self.open.first_key_value()?;
        (batch.handed + LOST_AFTER <= now).then_some(*id)
    }
    /// Whether a batch has not been answered yet.
    pub fn is_open(&self, batch: BatchId) -> bool {
        self.open.contains_key(&batch)
    }
    /// How it does.
    pub fn status(&self) -> JournalStatus {
        JournalStatus {
            failing_since: self.failing.as_ref().map(|failing| failing.since),
            error: self.failing.as_ref().map(|failing| failing.error.clone()),
            outstanding: self.open.len(),
        }
    }
}

impl Engine {
    /// A fleet's records are handed out at the end of this event.
    pub(crate) fn write_soon(&mut self, name: &FleetName, durable: bool) {
        *self.to_record.entry(name.clone()).or_default() |= durable;
    }

    /// Hands out the records of all fleets that have any to be written, as one batch.
    pub(crate) fn hand_out_records(&mut self, now: Now) {
        // Most often there is nothing.
        if self.to_record.is_empty() && self.hearsay.settled.is_empty() {
            return;
        }
        let fleets = std::mem::take(&mut self.to_record);
        let mut batch = Batch::new(now);
        let (mut entries, mut durable) = (Vec::new(), false);
        let mut probed = false;
        for (name, must_last) in fleets {
            let Some(held) = self.fleets.get_mut(&name) else { continue };
            if self.journal.is_failing() {
                // One fleet a cycle finds out whether writing works again; what the others say is lost.
                held.gap = true;
                held.records.clear();
                if probed && !must_last {
                    continue;
                }
                probed = true;
            }
            if held.gap {
                // Whatever is written after a gap has to begin with all that is known.
                held.records.clear();
                let checkpoint = Checkpoint { cause: Cause::Gap, state: held.state.clone() };
                held.records.push(Record::Checkpoint(Box::new(checkpoint)));
                held.gap = false;
            }
            if held.records.is_empty() {
                continue;
            }
            durable |= must_last;
            if let Some(writing) = &mut held.writing
                && writing.phase == WritePhase::Recording
                && writing.intent.is_none()
            {
                writing.intent = Some(self.journal.next_batch());
                batch.writers.push(name.clone());
            }
            for flight in held.lane.values_mut() {
                if flight.phase == FlightPhase::Recording(None) {
                    flight.phase = FlightPhase::Recording(Some(self.journal.next_batch()));
                    if batch.writers.last() != Some(&name) {
                        batch.writers.push(name.clone());
                    }
                }
            }
            batch.fleets.push(name.clone());
            entries.push(Entry { fleet: name, at: now.wall, records: std::mem::take(&mut held.records) });
        }
        let messages = std::mem::take(&mut self.hearsay.settled);
        if entries.is_empty() {
            self.settle_with_the_last(messages);
            return;
        }
        batch.messages = messages;
        let ledgers = self.changed_ledgers(&batch.fleets, now);
        self.hand_out(batch, durable, entries, ledgers);
    }

    /// Messages that bring nothing new: they are settled with whatever is still on its way to the disk.
    fn settle_with_the_last(&mut self, messages: Vec<MessageId>) {
        if messages.is_empty() {
            return;
        }
        if let Some(mut last) = self.journal.open.last_entry() {
            last.get_mut().messages.extend(messages);
        } else if !self.journal.is_failing() {
            // Where the journal fails they come again.
            self.out.push(Effect::Acknowledge { messages });
        }
    }

    /// Hands out a batch that may be empty: somebody waits for its answer.
    pub(crate) fn hand_out_empty(&mut self, now: Now) {
        self.hand_out(Batch::new(now), true, Vec::new(), Vec::new());
    }

    fn hand_out(
        &mut self,
        batch: Batch,
        durable: bool,
        entries: Vec<Entry>,
        ledgers: Vec<(FleetName, Box<Ledger>)>,
    ) {
        let id = self.journal.next_batch();
        self.journal.next += 1;
        self.journal.open.insert(id, batch);
        self.out.push(Effect::Record { batch: id, durable, entries, ledgers });
    }

    /// A batch was written, or not: writes that waited for it are begun or called off.
    pub(crate) fn recorded(&mut self, batch: BatchId, result: &Result<(), String>, now: Now) {
        let Some(Batch { fleets, writers, messages, .. }) = self.journal.open.remove(&batch) else { return };
        match result {
            Ok(()) => {
                if self.journal.failing.take().is_some() {
                    self.clear(None, "journal_failing", "", now);
                }
                if !messages.is_empty() {
                    self.out.push(Effect::Acknowledge { messages });
                }
            }
            Err(error) => {
                self.metrics.journal_errors += 1;
                for name in &fleets {
                    if let Some(held) = self.fleets.get_mut(name) {
                        held.gap = true;
                        held.tenure.told = None;
                    }
                }
                let failing =
                    self.journal.failing.get_or_insert(Failing { since: now.wall, error: String::new() });
                failing.error.clone_from(error);
                self.raise(None, "", Alarm::JournalFailing { message: error.clone() }, now);
            }
        }
        for name in writers {
            self.intent_recorded(&name, batch, result.is_ok(), now);
            self.node_intents_recorded(&name, batch, result.is_ok(), now);
        }
    }
}
