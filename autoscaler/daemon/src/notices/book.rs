//! Which messages are under way here.

use fleet::ports::{MESSAGES_AT_ONCE, Message, Receipt};
use fleet::{MessageId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// Messages that were received and are not deleted, with what deletes them.
///
/// At most as many acknowledged ones as there may be handed-on ones: the oldest beyond that are forgotten, and come
/// again.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<MessageId, Entry>,
    /// Acknowledged, to be deleted, in that order.
    acknowledged: VecDeque<MessageId>,
    room: usize,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    sent: Timestamp,
    acknowledged: bool,
}

impl Book {
    pub(super) const fn new(room: usize) -> Self {
        Self { entries: BTreeMap::new(), acknowledged: VecDeque::new(), room }
    }

    /// Notes a delivery. * returns: whether the message is new here; of one that is not, only the receipt is kept, for
    /// the newest deletes best.
    pub(super) fn receive(&mut self, message: &Message) -> bool {
        let receipt = message.receipt.clone();
        if let Some(known) = self.entries.get_mut(&message.id) {
            known.receipt = receipt;
            return false;
        }
        let entry = Entry { receipt, sent: message.sent, acknowledged: false };
        self.entries.insert(message.id.clone(), entry);
        true
    }

    /// Notes that a message may be deleted. Unknown ones do no harm: they come again.
    pub(super) fn acknowledge(&mut self, message: &MessageId) {
        let Some(entry) = self.entries.get_mut(message).filter(|entry| !entry.acknowledged) else { return };
        entry.acknowledged = true;
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
        self.entries.remove(message);
    }

    /// Messages that are handed on and not acknowledged.
    pub(super) fn outstanding(&self) -> usize {
        self.entries.len() - self.acknowledged.len()
    }
    pub(super) fn has_room(&self) -> bool {
        self.outstanding() < self.room
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

    #[test]
    fn a_message_that_comes_again_is_deleted_by_its_newest_receipt() {
        let mut book = Book::new(10);
        assert!(book.receive(&message(1, "first")));
        assert!(!book.receive(&message(1, "second")));
        assert_eq!((book.outstanding(), book.take_acknowledged()), (1, vec![]));
        book.acknowledge(&"m1".into());
        assert!(!book.receive(&message(1, "third")), "also while it waits for its deletion");
        book.acknowledge(&"m1".into());
        book.acknowledge(&"m2".into());
        assert_eq!(book.take_acknowledged(), [Receipt("third".to_owned())]);
        assert_eq!((book.outstanding(), book.oldest()), (0, None));
        assert!(book.receive(&message(1, "fourth")), "it was not deleted, then");
    }

    #[test]
    fn batches_are_of_ten_and_what_is_beyond_the_bound_is_forgotten() {
        let mut book = Book::new(15);
        for number in 0..20 {
            book.receive(&message(number, &number.to_string()));
        }
        assert!(!book.has_room());
        assert_eq!(book.oldest(), Some(Timestamp::from_secs(0)));
        (0..20).for_each(|number| book.acknowledge(&MessageId::new(format!("m{number}"))));
        assert!(book.has_room());
        let batches: Vec<usize> = (0..3).map(|_| book.take_acknowledged().len()).collect();
        assert_eq!(batches, [10, 5, 0], "the five oldest come again");
    }
}
