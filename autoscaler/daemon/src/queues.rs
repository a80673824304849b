//! The queues that notices come by: read while we lead, one reader a queue.

use crate::idle::Activity;
use crate::metrics::Metrics;
use crate::named::Named;
use crate::notices::{DeadLetters, Delivery, Reader, ReaderConfig};
use crate::queue::{Envelope, Happened};
use fleet::ports::{Clock, Queue};
use fleet::{MessageId, Region};
use std::sync::Arc;
use tokio::sync::mpsc::{self, Receiver, UnboundedSender};

/// Deliveries between a reader and the engine; beyond them the reader waits.
const DELIVERIES: usize = 256;

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
