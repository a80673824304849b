//! News.

use crate::{BatchId, Effect, Engine, Now, Record, Rejection};
use fleet::wire::NoticeBatch;
use fleet::{MessageId, News, Notice, Region};
use std::net::IpAddr;

/// How an agent's notices were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticesHeard {
    /// The batch that has to be written before the agent is answered: then all of them are on disk.
    pub batch: BatchId,
    /// How many of them were news.
    pub accepted: usize,
    /// Whether we lead: a standby keeps them and acts when it leads.
    pub leads: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Hearsay;

impl Engine {
    /// Takes in an agent's notices of its own instance. Repeating them changes nothing.
    ///
    /// * `peer`: the address that the call came from; must be the claimed instance's private address.
    /// * returns: what to answer once the batch is written, and what is to be done.
    pub fn accept_notices(
        &mut self,
        _peer: IpAddr,
        _batch: &NoticeBatch,
        now: Now,
    ) -> (Result<NoticesHeard, Rejection>, Vec<Effect>) {
        self.note_time(now);
        (Err(Rejection::Stopping), self.finish(now))
    }
    pub(crate) fn heard(&mut self, _region: &Region, message: Option<MessageId>, news: Vec<News>, now: Now) {
        for news in news {
            if let News::Notice(notice) = news {
                self.notice(notice, now);
            }
        }
        self.out.extend(message.map(|message| Effect::Acknowledge { messages: vec![message] }));
    }
    fn notice(&mut self, notice: Notice, now: Now) {
        let Some(name) = self.owners.get(&notice.instance).cloned() else { return };
        let Some(held) = self.fleets.get_mut(&name) else { return };
        let known = |known: &&Notice| known.instance == notice.instance && known.kind == notice.kind;
        if held.state.notices.iter().find(known).is_some_and(|known| known.deadline <= notice.deadline) {
            return;
        }
        held.record(Record::Notice(notice));
        self.make_due(&name, now);
    }
}
