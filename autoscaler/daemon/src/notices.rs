//! Notices from a queue that EventBridge fills: read, handed on, and deleted once they are taken care of.
//!
//! * [`Reader`] receives, several calls at a time while there is much, one long poll while there is little. What it
//!   understands it hands on by a bounded channel; what is no news to anybody it deletes.
//! * A message is deleted when it was [acknowledged](Reader::acknowledge), and only then: whoever takes the news has
//!   its effect on disk first, or knows that the instance is a stranger. What is not acknowledged comes again, and is
//!   handed on again.
//! * What cannot be read goes to [`DeadLetters`], a bounded file, and is then deleted.
//!
//! A queue sees the whole account and region, so almost everything in it is about strangers: it has to be read fast,
//! and nothing of a message but its news is kept.

mod book;
mod dead_letters;
mod reader;

pub use dead_letters::{DeadLetters, LettersKept};
pub use reader::{QueueWatch, Reader};

use fleet::ports::Depth;
use fleet::{ErrorClass, MessageId, News, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a queue is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Calls that receive at a time, while there is much; at least 1. Four receive 200 messages a round trip of
    /// 20 ms and 2000 a second.
    pub receivers: usize,
    /// How long a call waits for a first message, while there is little: SQS's longest, so that a quiet queue costs
    /// three calls a minute.
    pub wait: Duration,
    /// For how long a received message is hidden from others. When this process dies, another sees what it had
    /// received only after that time: a quarter of an interruption's notice.
    pub visibility: Duration,
    /// Messages that may be handed on and not acknowledged; then reading pauses. A stranger's message waits for the
    /// next describe and takes no room from others; as many of those are kept in mind beside them. Each takes about 1 KiB.
    pub outstanding: usize,
    /// How often the queue's depth is asked for.
    pub depth_every: Duration,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self {
            receivers: 4,
            wait: Duration::from_secs(20),
            visibility: Duration::from_secs(30),
            outstanding: 12_000,
            depth_every: Duration::from_secs(60),
        }
    }
}

/// What a message says, on its way to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To acknowledge it by.
    pub message: MessageId,
    /// What it says; not empty.
    pub news: Vec<News>,
}

/// What is counted of a queue since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that were received, each time that they were delivered.
    pub received: u64,
    /// Of these, those that were under way here already, and were not handed on again.
    pub duplicates: u64,
    /// Messages that said nothing that matters, and were deleted at once.
    pub idle: u64,
    /// Messages that were deleted.
    pub deleted: u64,
    /// Deletions that failed; these messages come again.
    pub undeleted: u64,
    /// Messages that could not be read, by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Tasks of its reader that were lost to a panic; each was begun anew.
    pub lost_tasks: u64,
    /// Calls that ended, by operation and error class or `ok`.
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
    /// What waits in the queue, when that was last known.
    pub depth: Option<Depth>,
    /// Messages that are handed on and not acknowledged.
    pub outstanding: usize,
    /// When the oldest message that was received and is not deleted was sent.
    pub oldest: Option<Timestamp>,
    /// How long ago a receive last succeeded, with or without a message; from the beginning of reading on. `None` while nobody
    /// reads.
    pub silent: Option<Duration>,
}

impl QueueCounts {
    fn count_call(&mut self, operation: &'static str, failed: Option<ErrorClass>) {
        let class = failed.map_or("ok", ErrorClass::label);
        *self.calls.entry((operation, class)).or_default() += 1;
    }
}
