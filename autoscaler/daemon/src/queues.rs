//! The queues that notices come by: read while we lead, one reader a queue.

use crate::idle::Activity;
use crate::metrics::Metrics;
use crate::named::Named;
use crate::notices::{DeadLetters, Delivery, Reader, ReaderConfig};
use crate::queue::{Envelope, Happened};
use autoscaler_policy::{FleetPolicy, SourcePolicy};
use fleet::ports::{Clock, Queue};
use fleet::{MessageId, Region};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, UnboundedSender};

/// Deliveries between a reader and the engine; beyond them the reader waits.
const DELIVERIES: usize = 256;

/// An interruption that EC2 tells of when it is asked is heard of in time if it is asked so often: half of the two minutes
/// are left.
const IN_TIME: Duration = Duration::from_secs(60);

/// A queue that EventBridge fills.
#[derive(Clone)]
pub struct QueueSource {
    /// Its name, for people and metrics.
    pub name: String,
    /// Whose events it holds.
    pub region: Region,
    /// It.
    pub queue: Arc<dyn Queue>,
}

/// Whether interruptions of a fleet are heard of late, where no queue is read.
fn hears_late(fleet: &FleetPolicy) -> bool {
    let interruption = fleet.base.interruption;
    interruption.replace && interruption.poll > IN_TIME && !fleet.sources.contains(&SourcePolicy::Push)
}

/// The queues, and their readers while they are read.
pub(crate) struct Queues {
    pub(crate) sources: Vec<QueueSource>,
    pub(crate) config: ReaderConfig,
    pub(crate) letters: DeadLetters,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) happened: UnboundedSender<Envelope<Happened>>,
    pub(crate) metrics: Metrics,
    pub(crate) readers: Vec<Reader>,
}

impl Queues {
    /// Says of which fleets interruptions will mostly be heard of by the loss: no queue is read, no agent pushes, and EC2
    /// is asked seldom. To ask it often is the operator's to choose: it is most of what a steady fleet may call.
    pub(crate) fn note_the_deaf(&self, fleets: &[FleetPolicy]) {
        for fleet in fleets.iter().filter(|fleet| self.sources.is_empty() && hears_late(fleet)) {
            let every = fleet.base.interruption.poll.as_secs();
            tracing::warn!(
                fleet = %fleet.name,
                poll_seconds = every,
                "found nobody who would tell of interruptions in time: read a queue, let agents push, or set \
                 interruption.poll to 30s"
            );
        }
    }

    /// Reads from now on, or not: what another leader reads is not ours to take.
    pub(crate) fn read_if(&mut self, leads: bool, tasks: &mut Named) {
        if !leads {
            // What was received and not acknowledged comes again, to whoever leads then.
            self.readers.clear();
            return;
        }
        if !self.readers.is_empty() {
            return;
        }
        for source in &self.sources {
            let (deliveries_in, deliveries) = mpsc::channel(DELIVERIES);
            let (queue, clock) = (Arc::clone(&source.queue), Arc::clone(&self.clock));
            let letters = self.letters.clone();
            let reader = Reader::start(&source.name, queue, clock, self.config, letters, &deliveries_in);
            self.metrics.watch_queue(reader.watch());
            self.readers.push(reader);
            let (happened, activity) = (self.happened.clone(), Arc::clone(&self.activity));
            tasks.spawn("deliveries", hand_on(source.region.clone(), deliveries, happened, activity));
        }
    }

    /// Lets messages be deleted.
    pub(crate) fn acknowledge(&self, messages: &[MessageId]) {
        // Those of another queue are unknown to a reader, and do it no harm.
        self.readers.iter().for_each(|reader| reader.acknowledge(messages));
    }

    /// A message is about a stranger: it takes no room from others while it waits.
    pub(crate) fn put_off(&self, message: &MessageId) {
        self.readers.iter().for_each(|reader| reader.put_off(message));
    }

    /// Ends reading; what is acknowledged is deleted first.
    pub(crate) async fn stop(&mut self) {
        for reader in self.readers.drain(..) {
            reader.stop().await;
        }
    }
}

/// Hands deliveries to the engine. There are never more on their way than a reader hands on without having them
/// acknowledged.
async fn hand_on(
    region: Region,
    mut deliveries: Receiver<Delivery>,
    happened: UnboundedSender<Envelope<Happened>>,
    activity: Arc<Activity>,
) {
    while let Some(Delivery { message, news }) = deliveries.recv().await {
        let what = Happened::Heard { region: region.clone(), message, news };
        if happened.send(Envelope { what, busy: activity.begin() }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_by_nobody_and_asks_seldom_hears_late() {
        let mut fleet = FleetPolicy::of("web", "sfr-1");
        fleet.sources = vec![SourcePolicy::Push];
        assert!(!hears_late(&fleet), "its agents tell");
        fleet.sources.clear();
        assert!(hears_late(&fleet));
        fleet.base.interruption.poll = IN_TIME;
        assert!(!hears_late(&fleet), "it asks");
        fleet.base.interruption =
            autoscaler_core::Interruption { replace: false, poll: IN_TIME * 15, ..fleet.base.interruption };
        assert!(!hears_late(&fleet), "it would do nothing");
    }
}
