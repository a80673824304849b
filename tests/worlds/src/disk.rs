//! A disk that keeps what was flushed, and forgets the rest when the process dies.

use autoscaler_engine::{BatchId, Entry};
use fleet::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a flush takes.
const FLUSH: Duration = Duration::from_millis(5);
/// How long what need not last may wait.
const LAZY: Duration = Duration::from_millis(1500);

/// Bytes of most entries.
const USUAL: usize = 256;

/// A journal in memory: entries as the real one would encode them.
#[derive(Debug, Default)]
pub struct Disk {
    written: Vec<Vec<u8>>,
    waiting: VecDeque<(Timestamp, BatchId, Vec<Vec<u8>>)>,
    /// While set, nothing can be written.
    pub full: bool,
    /// Bytes that were written, checkpoints aside.
    pub bytes: usize,
    /// Bytes of entries with checkpoints.
    pub checkpoint_bytes: usize,
}

impl Disk {
    /// Takes a batch; it is written when its time has come, never after a later one.
    pub fn take(&mut self, batch: BatchId, durable: bool, entries: &[Entry], now: Timestamp) {
        let encoded = entries.iter().map(|entry| {
            let bytes = postcard::to_extend(entry, Vec::with_capacity(USUAL)).expect("an entry encodes");
            *(if entry.is_checkpoint() { &mut self.checkpoint_bytes } else { &mut self.bytes }) +=
                bytes.len();
            bytes
        });
        let encoded = encoded.collect();
        let at = now + if durable { FLUSH } else { LAZY };
        for (earlier, ..) in &mut self.waiting {
            *earlier = (*earlier).min(at);
        }
        self.waiting.push_back((at, batch, encoded));
    }
    /// When the next batch is written.
    pub fn next(&self) -> Option<Timestamp> {
        self.waiting.front().map(|(at, ..)| *at)
    }
    /// Writes the next batch if its time has come.
    pub fn write(&mut self, now: Timestamp) -> Option<(BatchId, Result<(), String>)> {
        let (_, batch, entries) = self.waiting.pop_front_if(|(at, ..)| *at <= now)?;
        if self.full {
            return Some((batch, Err("no space left on device".to_owned())));
        }
        self.written.extend(entries);
        Some((batch, Ok(())))
    }
    /// The process died: what was not flushed is gone.
    pub fn crash(&mut self) {
        self.waiting.clear();
    }
    /// What a new process finds.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.written.iter().map(|bytes| postcard::from_bytes(bytes).expect("what was written reads back"))
    }
}
