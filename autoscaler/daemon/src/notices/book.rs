//! Which messages are under way here.

use fleet::ports::{MESSAGES_AT_ONCE, Message, Receipt};
use fleet::{MessageId, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Messages that were received and are not deleted, with what deletes them.
///
/// Who takes a message may lose it: a disk was full, a lease had a gap. It says nothing of that; it counts on the queue,
/// which delivers again what is not deleted. So what comes again a while after it was handed on, and was not
/// acknowledged meanwhile, is handed on again; and what does not come again (somebody else has deleted it, or nothing is
/// read because there is no room) is forgotten.
///
/// Messages about strangers wait for a describe, for long where those fail: they take nobody's room, but there are no more of
/// them than of the others. The oldest beyond that are forgotten, and come again.
///
/// Times are monotonic. At most as many acknowledged ones as there may be handed-on ones: the oldest beyond that are forgotten, and come
/// again.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<MessageId, Entry>,
    /// Acknowledged, to be deleted, in that order.
    acknowledged: VecDeque<MessageId>,
    /// Those that are put off, in that order.
    strangers: BTreeMap<u64, MessageId>,
    next: u64,
    room: usize,
    visibility: Duration,
    swept: Duration,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    sent: Timestamp,
    handed_on: Duration,
    delivered: Duration,
    acknowledged: bool,
    /// Its place among the strangers, while it waits for a describe.
    put_off: Option<u64>,
}

impl Book {
    /// * `room`: messages that may be handed on and not acknowledged.
    /// * `visibility`: after which the queue delivers again what is not deleted.
    pub(super) const fn new(room: usize, visibility: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            acknowledged: VecDeque::new(),
            strangers: BTreeMap::new(),
            next: 0,
            room,
            visibility,
            swept: Duration::ZERO,
        }
    }

    /// Notes a delivery. * returns: whether the message is to be handed on: it is new here, or nobody has acknowledged it
    /// in all the time until the queue delivered it again. Of every other only the receipt is kept, for the newest
    /// deletes best.
    pub(super) fn receive(&mut self, message: &Message, now: Duration) -> bool {
        let receipt = message.receipt.clone();
        let Some(known) = self.entries.get_mut(&message.id) else {
            let (sent, acknowledged) = (message.sent, false);
            let entry = Entry { receipt, sent, handed_on: now, delivered: now, acknowledged, put_off: None };
            self.entries.insert(message.id.clone(), entry);
            return true;
        };
        known.receipt = receipt;
        known.delivered = now;
        // Answers are not equally fast, so the queue's own time may seem a little shorter here. A copy that comes sooner
        // is none of that: standard queues deliver twice now and then.
        let lost = !known.acknowledged && now.saturating_sub(known.handed_on) >= self.visibility / 2;
        if lost {
            known.handed_on = now;
            known.put_off.take().and_then(|place| self.strangers.remove(&place));
        }
        lost
    }

    /// Notes that a message is about a stranger, and waits for a describe.
    pub(super) fn put_off(&mut self, message: &MessageId) {
        let waits = |entry: &&mut Entry| !entry.acknowledged && entry.put_off.is_none();
        let Some(entry) = self.entries.get_mut(message).filter(waits) else { return };
        entry.put_off = Some(self.next);
        self.strangers.insert(self.next, message.clone());
        self.next += 1;
        if self.strangers.len() > self.room
            && let Some((_, oldest)) = self.strangers.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Forgets what was neither acknowledged nor delivered again in twice the time that it should have taken. Once in
    /// that time, O(n).
    pub(super) fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) < self.visibility {
            return;
        }
        self.swept = now;
        let since = now.saturating_sub(self.visibility * 2);
        let strangers = &mut self.strangers;
        self.entries.retain(|_, entry| {
            let stays = entry.acknowledged || entry.delivered >= since;
            if !stays {
                entry.put_off.and_then(|place| strangers.remove(&place));
            }
            stays
        });
    }

    /// Notes that a message may be deleted. Unknown ones do no harm: they come again.
    pub(super) fn acknowledge(&mut self, message: &MessageId) {
        let Some(entry) = self.entries.get_mut(message).filter(|entry| !entry.acknowledged) else { return };
        entry.acknowledged = true;
        entry.put_off.take().and_then(|place| self.strangers.remove(&place));
        self.acknowledged.push_back(message.clone());
        if self.acknowledged.len() > self.room
            && let Some(oldest) = self.acknowledged.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Takes messages out of the book to delete them: what is not deleted comes again, as new.
    pub(super) fn take_acknowledged(&mut self) -> Vec<Receipt> {
        let count = self.acknowledged.len().min(MESSAGES_AT_ONCE);
        let batch = self.acknowledged.drain(..count);
        batch.filter_map(|message| self.entries.remove(&message)).map(|entry| entry.receipt).collect()
    }

    /// Forgets a message that nobody takes: it comes again.
    pub(super) fn forget(&mut self, message: &MessageId) {
        let forgotten = self.entries.remove(message);
        forgotten.and_then(|entry| self.strangers.remove(&entry.put_off?));
    }

    /// Messages that are handed on and not acknowledged.
    pub(super) fn outstanding(&self) -> usize {
        self.entries.len() - self.acknowledged.len()
    }
    pub(super) fn has_room(&self) -> bool {
        self.outstanding() - self.strangers.len() < self.room
    }
    /// When the oldest was sent. O(n).
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.entries.values().map(|entry| entry.sent).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: i64, receipt: &str) -> Message {
        Message {
            id: MessageId::new(format!("m{number}")),
            receipt: Receipt(receipt.to_owned()),
            body: String::new(),
            sent: Timestamp::from_secs(number),
            deliveries: 1,
        }
    }

    const VISIBILITY: Duration = Duration::from_secs(30);

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_nobody_acknowledges_is_handed_on_again_each_time_that_the_queue_delivers_it() {
        let mut book = Book::new(10, VISIBILITY);
        assert!(book.receive(&message(1, "first"), secs(0)));
        assert!(!book.receive(&message(1, "copy"), secs(2)), "a copy of the same delivery");
        assert!(book.receive(&message(1, "second"), secs(30)));
        assert!(!book.receive(&message(1, "copy"), secs(32)));
        assert!(book.receive(&message(1, "third"), secs(60)));
        assert_eq!(book.outstanding(), 1);
        book.acknowledge(&"m1".into());
        assert!(!book.receive(&message(1, "fourth"), secs(90)), "it is taken care of");
        assert_eq!(book.take_acknowledged(), [Receipt("fourth".to_owned())]);
    }

    #[test]
    fn what_does_not_come_again_makes_room() {
        let mut book = Book::new(2, VISIBILITY);
        assert!((0..2).all(|number| book.receive(&message(number, "r"), secs(0))));
        book.sweep(secs(59));
        assert!(!book.has_room());
        book.receive(&message(1, "r"), secs(60));
        book.sweep(secs(89));
        assert_eq!(
            (book.has_room(), book.outstanding()),
            (true, 1),
            "the other one is known to be in the queue"
        );
        assert!(book.receive(&message(0, "r"), secs(90)), "as new");
    }

    #[test]
    fn a_message_that_comes_again_is_deleted_by_its_newest_receipt() {
        let mut book = Book::new(10, VISIBILITY);
        assert!(book.receive(&message(1, "first"), secs(0)));
        assert!(!book.receive(&message(1, "second"), secs(0)));
        assert_eq!((book.outstanding(), book.take_acknowledged()), (1, vec![]));
        book.acknowledge(&"m1".into());
        assert!(!book.receive(&message(1, "third"), secs(0)), "also while it waits for its deletion");
        book.acknowledge(&"m1".into());
        book.acknowledge(&"m2".into());
        assert_eq!(book.take_acknowledged(), [Receipt("third".to_owned())]);
        assert_eq!((book.outstanding(), book.oldest()), (0, None));
        assert!(book.receive(&message(1, "fourth"), secs(0)), "it was not deleted, then");
    }

    #[test]
    fn strangers_take_nobody_s_room_and_are_bounded_themselves() {
        let mut book = Book::new(2, VISIBILITY);
        assert!((0..2).all(|number| book.receive(&message(number, "r"), secs(0))));
        assert!(!book.has_room());
        book.put_off(&"m0".into());
        book.put_off(&"m0".into());
        assert!(book.has_room() && book.outstanding() == 2, "one of two is a stranger's");
        assert!(book.receive(&message(2, "r"), secs(1)));
        assert!(!book.has_room());
        for number in 1..3 {
            book.put_off(&MessageId::new(format!("m{number}")));
        }
        assert_eq!(book.outstanding(), 2, "the oldest of three is forgotten");
        assert!(book.receive(&message(0, "r"), secs(2)), "and comes again as new");
        assert!(book.receive(&message(1, "again"), secs(30)), "one that was put off is handed on again");
        assert!(!book.has_room(), "until it is known again what it is");
        book.put_off(&"m1".into());
        assert!(book.has_room() && book.outstanding() == 3, "two strangers are no more than there may be");
        (0..3).for_each(|number| book.acknowledge(&MessageId::new(format!("m{number}"))));
        assert_eq!((book.outstanding(), book.strangers.len()), (0, 0));
        book.receive(&message(3, "r"), secs(40));
        book.put_off(&"m3".into());
        book.sweep(secs(200));
        assert_eq!((book.outstanding(), book.strangers.len()), (0, 0));
    }

    #[test]
    fn batches_are_of_ten_and_what_is_beyond_the_bound_is_forgotten() {
        let mut book = Book::new(15, VISIBILITY);
        for number in 0..20 {
            book.receive(&message(number, &number.to_string()), secs(0));
        }
        assert!(!book.has_room());
        assert_eq!(book.oldest(), Some(Timestamp::from_secs(0)));
        (0..20).for_each(|number| book.acknowledge(&MessageId::new(format!("m{number}"))));
        assert!(book.has_room());
        let batches: Vec<usize> = (0..3).map(|_| book.take_acknowledged().len()).collect();
        assert_eq!(batches, [10, 5, 0], "the five oldest come again");
    }
}
