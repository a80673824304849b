//! Reads a queue.

use super::book::Book;
use super::dead_letters::{DeadLetters, Letter, LettersKept};
use super::{Delivery, QueueCounts, ReaderConfig};
use crate::named::Named;
use fleet::ports::{Clock, MESSAGES_AT_ONCE, Message, Queue};
use fleet::{ErrorClass, MessageId};
use fleet_notices::{Unread, eventbridge};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

/// How long a helper's call waits for a first message: long enough that SQS asks all of its hosts, which it does not
/// when it need not wait at all.
const HELPERS_WAIT: Duration = Duration::from_secs(1);
/// Calls that delete at a time: half of those that receive, at least 1.
const RECEIVERS_A_DELETER: usize = 2;
/// The shortest and the longest pause after calls that failed. The port has repeated what can be repeated by then.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A queue that is being read. Dropping it ends that at once: what was received comes again.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
    /// Ends with the reader.
    tasks: Named,
    running: usize,
}

/// What can be seen of a reader from outside. Clones see the same.
#[derive(Clone, Debug)]
pub struct QueueWatch {
    shared: Arc<Shared>,
}

impl QueueWatch {
    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
    /// What is counted so far. O(n) in what is under way.
    pub fn counts(&self) -> QueueCounts {
        let state = self.shared.locked();
        let mut counts = state.counts.clone();
        let silent = self.shared.clock.monotonic().saturating_sub(state.received);
        counts.silent = state.is_read.then_some(silent);
        counts.outstanding = state.book.outstanding();
        counts.oldest = state.book.oldest();
        counts
    }
    /// What is kept of messages that could not be read, of all queues that share the record.
    pub fn letters(&self) -> LettersKept {
        self.shared.letters.kept()
    }
}

struct Shared {
    /// The queue's name, for people.
    name: String,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    config: ReaderConfig,
    letters: DeadLetters,
    state: Mutex<State>,
    /// Told when messages were acknowledged: there is room, and there is something to delete.
    acknowledged: Notify,
    /// Told when one call received as much as it can: there is more than one can receive.
    plenty: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

struct State {
    book: Book,
    counts: QueueCounts,
    /// When a receive last succeeded, on the monotonic clock; at first, when reading began.
    received: Duration,
    is_read: bool,
}

impl Reader {
    /// Begins to read.
    ///
    /// * `name`: the queue's, for people and metrics.
    /// * `deliveries`: takes the news; when it is full, reading waits, and when nobody listens any more it ends.
    pub fn start(
        name: &str,
        queue: Arc<dyn Queue>,
        clock: Arc<dyn Clock>,
        config: ReaderConfig,
        letters: DeadLetters,
        deliveries: &mpsc::Sender<Delivery>,
    ) -> Self {
        let (stopping, stop) = watch::channel(false);
        let book = Book::new(config.outstanding.max(1), config.visibility);
        let received = clock.monotonic();
        let state = State { book, counts: QueueCounts::default(), received, is_read: true };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            queue,
            clock,
            config,
            letters,
            state: Mutex::new(state),
            acknowledged: Notify::new(),
            plenty: Notify::new(),
        });
        let mut reader = Self { shared, stopping, tasks: Named::default(), running: 0 };
        let receivers = config.receivers.max(1);
        for place in 0..receivers {
            let (deliveries, stop) = (deliveries.clone(), stop.clone());
            reader.spawn("queue receiver", move |shared| {
                let (deliveries, mut stop) = (deliveries.clone(), stop.clone());
                async move {
                    tokio::select! {
                        // What a receive that is cut off had received comes again.
                        () = told(&mut stop) => {}
                        () = shared.receive(place == 0, &deliveries) => {}
                    }
                }
            });
        }
        for _ in 0..receivers.div_ceil(RECEIVERS_A_DELETER) {
            let stop = stop.clone();
            reader.spawn("queue deleter", move |shared| {
                let stop = stop.clone();
                async move { shared.delete(stop).await }
            });
        }
        reader.spawn("queue depth", move |shared| {
            let mut stop = stop.clone();
            async move {
                tokio::select! {
                    () = told(&mut stop) => {}
                    () = shared.watch_depth() => {}
                }
            }
        });
        reader
    }

    fn spawn<F>(&mut self, name: &'static str, begin: impl Fn(Arc<Shared>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (shared, stop) = (Arc::clone(&self.shared), self.stopping.subscribe());
        self.tasks.spawn(name, kept_going(name, shared, stop, begin));
        self.running += 1;
    }

    /// Lets messages be deleted: their effects are on disk, or they are about strangers. Unknown ones do no harm.
    pub fn acknowledge(&self, messages: &[MessageId]) {
        {
            let mut state = self.shared.locked();
            for message in messages {
                state.book.acknowledge(message);
            }
        }
        self.shared.acknowledged.notify_waiters();
    }

    /// A message is about a stranger, and waits for a describe: it takes no room from others. Unknown ones do no harm.
    pub fn put_off(&self, message: &MessageId) {
        self.shared.locked().book.put_off(message);
        // As after an acknowledgement, there may be room now.
        self.shared.acknowledged.notify_waiters();
    }

    /// What metrics read of it. It may outlive the reader.
    pub fn watch(&self) -> QueueWatch {
        QueueWatch { shared: Arc::clone(&self.shared) }
    }

    /// Stops gracefully: receives no more, and deletes what was acknowledged.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        while self.running > 0 {
            self.ended().await;
        }
    }

    /// Waits until one of its tasks has ended, which none does by itself while somebody takes the deliveries.
    ///
    /// * returns: its name.
    pub async fn ended(&mut self) -> &'static str {
        let end = self.tasks.next().await;
        self.running = self.running.saturating_sub(1);
        if let Some(panic) = end.panic {
            tracing::error!(name = end.name, panic, "lost a task to a panic");
        }
        end.name
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.locked().is_read = false;
    }
}

/// Begins a task, and begins it anew whenever it is lost to a panic, until the stop: a queue that nobody reads any more
/// would be missed by nobody.
async fn kept_going<F>(
    name: &'static str,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
    begin: impl Fn(Arc<Shared>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        // Dropped with this one, it ends what runs in it.
        let mut task = JoinSet::new();
        task.spawn(begin(Arc::clone(&shared)));
        let Some(Err(error)) = task.join_next().await else { return };
        let queue = shared.name.as_str();
        tracing::error!(queue, name, panic = %error, "lost a task to a panic, and begins it anew");
        shared.locked().counts.lost_tasks += 1;
        tokio::select! {
            () = shared.sleep(FIRST_PAUSE) => {}
            () = told(&mut stop) => return,
        }
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the reader is gone: so must its tasks be.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, pause: Duration) {
        self.clock.sleep_until(self.clock.monotonic() + pause).await;
    }

    /// Receives for ever.
    ///
    /// * `first`: always has a call waiting; the others help while there is plenty.
    async fn receive(&self, first: bool, deliveries: &mpsc::Sender<Delivery>) {
        let wait = if first { self.config.wait } else { HELPERS_WAIT.min(self.config.wait) };
        let mut pause = Duration::ZERO;
        loop {
            if !first && pause.is_zero() {
                self.plenty.notified().await;
            }
            loop {
                self.room().await;
                let asked = self.clock.monotonic();
                let received = self.queue.receive(wait, self.config.visibility).await;
                {
                    let mut state = self.locked();
                    state.counts.count_call("receive", received.as_ref().err().map(|error| error.class));
                    if received.is_ok() {
                        state.received = self.clock.monotonic();
                    }
                }
                match received {
                    Ok(messages) => {
                        pause = Duration::ZERO;
                        let count = messages.len();
                        if count >= MESSAGES_AT_ONCE {
                            self.plenty.notify_waiters();
                        }
                        if self.take_in(messages, deliveries).await.is_none() {
                            return;
                        }
                        if count == 0 && !first {
                            break;
                        }
                        let waited = self.clock.monotonic().saturating_sub(asked);
                        if count == 0 && waited < HELPERS_WAIT {
                            // Something between us and the queue does not wait: it must not be asked in circles.
                            self.sleep(HELPERS_WAIT).await;
                        }
                    }
                    Err(error) => {
                        let (queue, class) = (self.name.as_str(), error.class.label());
                        tracing::warn!(queue, class, %error, "failed to receive messages");
                        pause = longer(pause, error.class);
                        self.sleep(pause).await;
                    }
                }
            }
        }
    }

    /// Waits until there is room for what a call may receive: something was acknowledged, or is lost.
    async fn room(&self) {
        loop {
            let acknowledged = self.acknowledged.notified();
            tokio::pin!(acknowledged);
            // Listening begins before looking: what changes in between is not missed.
            acknowledged.as_mut().enable();
            {
                let mut state = self.locked();
                state.book.sweep(self.clock.monotonic());
                if state.book.has_room() {
                    return;
                }
            }
            tokio::select! {
                () = acknowledged => {}
                // What is lost makes room, too.
                () = self.sleep(self.config.visibility.max(FIRST_PAUSE)) => {}
            }
        }
    }

    /// Hands on what was received. * returns: `None` when nobody takes it any more.
    async fn take_in(&self, messages: Vec<Message>, deliveries: &mpsc::Sender<Delivery>) -> Option<()> {
        let mut dead = Vec::new();
        let mut idle = Vec::new();
        for message in messages {
            {
                let mut state = self.locked();
                state.counts.received += 1;
                if !state.book.receive(&message, self.clock.monotonic()) {
                    state.counts.duplicates += 1;
                    continue;
                }
            }
            match eventbridge::read(&message.body, message.sent) {
                Ok(news) if news.is_empty() => idle.push(message.id),
                Ok(news) => deliveries.send(Delivery { message: message.id, news }).await.ok()?,
                Err(unread) => dead.push((message, unread)),
            }
        }
        let buried = self.bury(&dead).await;
        let mut state = self.locked();
        state.counts.idle += idle.len() as u64;
        for message in &idle {
            state.book.acknowledge(message);
        }
        for (message, unread) in &dead {
            if buried {
                *state.counts.dead_letters.entry(unread.label()).or_default() += 1;
                state.book.acknowledge(&message.id);
            } else {
                state.book.forget(&message.id);
            }
        }
        drop(state);
        self.acknowledged.notify_waiters();
        Some(())
    }

    /// Keeps what could not be read. * returns: whether it is kept.
    async fn bury(&self, dead: &[(Message, Unread)]) -> bool {
        if dead.is_empty() {
            return true;
        }
        let at = self.clock.wall();
        let letters: Vec<Letter> =
            dead.iter().map(|(message, unread)| Letter::new(at, &self.name, message, unread)).collect();
        let record = self.letters.clone();
        let put = tokio::task::spawn_blocking(move || record.put(&letters)).await;
        let (queue, count) = (self.name.as_str(), dead.len());
        let first = dead.first().map(|(_, unread)| unread.to_string());
        match put {
            Ok(Ok(())) => {
                tracing::warn!(queue, count, first, "kept messages that cannot be read");
                true
            }
            Ok(Err(error)) => {
                tracing::error!(queue, count, first, %error, "failed to keep messages that cannot be read");
                false
            }
            Err(panic) => {
                tracing::error!(queue, count, first, error = %panic, "lost the record of dead letters to a panic");
                false
            }
        }
    }

    /// Deletes what is acknowledged, until the stop and until nothing is left.
    async fn delete(&self, mut stop: watch::Receiver<bool>) {
        let mut pause = Duration::ZERO;
        loop {
            let acknowledged = self.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            let batch = self.locked().book.take_acknowledged();
            if batch.is_empty() {
                if *stop.borrow() || stop.has_changed().is_err() {
                    return;
                }
                tokio::select! {
                    () = acknowledged => {}
                    () = told(&mut stop) => {}
                }
                continue;
            }
            let deleted = self.queue.delete(&batch).await;
            {
                let counts = &mut self.locked().counts;
                counts.count_call("delete", deleted.as_ref().err().map(|error| error.class));
                let left = deleted.as_ref().map_or(batch.len(), Vec::len) as u64;
                counts.undeleted += left;
                counts.deleted += (batch.len() as u64).saturating_sub(left);
            }
            match deleted {
                Ok(_) => pause = Duration::ZERO,
                Err(error) => {
                    let (queue, class) = (self.name.as_str(), error.class.label());
                    tracing::warn!(queue, class, %error, "failed to delete messages");
                    if *stop.borrow() {
                        return;
                    }
                    pause = longer(pause, error.class);
                    tokio::select! {
                        () = self.sleep(pause) => {}
                        () = told(&mut stop) => {}
                    }
                }
            }
        }
    }

    /// Asks for the queue's depth, now and then.
    async fn watch_depth(&self) {
        loop {
            let depth = self.queue.depth().await;
            {
                let counts = &mut self.locked().counts;
                counts.count_call("depth", depth.as_ref().err().map(|error| error.class));
                counts.depth = depth.ok();
            }
            self.sleep(self.config.depth_every.max(FIRST_PAUSE)).await;
        }
    }
}

/// The pause after another failure: doubled, or at once the longest where only an operator can help.
fn longer(pause: Duration, class: ErrorClass) -> Duration {
    match class {
        ErrorClass::Denied | ErrorClass::NotFound | ErrorClass::Malformed => LONGEST_PAUSE,
        ErrorClass::Throttled { retry_after: Some(after) } => after.clamp(FIRST_PAUSE, LONGEST_PAUSE),
        _ => (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
