//! Notices: read every second, told at once, and acted upon by the node itself when nobody hears.

use super::{AGAIN, Autoscaler, Told, beat};
use crate::host::{Request, Verb};
use crate::imds::paths;
use crate::node::Node;
use crate::steps;
use bootstrap_core::{Answered, Failure, Watch, WatchEffect};
use fleet::wire::{AgentNotice, NoticeBatch, NoticesAccepted};
use fleet::{NoticeKind, Timestamp};
use fleet_notices::imds;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// Who has not answered by then is asked again, or another one is.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1500);
/// How long before it goes an instance is told, where no time is said.
const NOTICE: Duration = Duration::from_secs(120);
/// A metadata service that does not answer is asked less and less often, as it bounds how often it answers; but an
/// interruption leaves two minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the client is asked to leave, at most, where that does not succeed.
const LEAVES_AGAIN: Duration = Duration::from_secs(10);

/// Watches until it is dropped.
///
/// Nothing that somebody else has to answer is waited for in this loop: it hands on what was read the moment it was read.
pub(super) async fn watch(node: Arc<Node>, told: Arc<Told>) {
    let Some(proved) = node.proved() else { return };
    let mut watchman = Watchman {
        watch: Watch::new(proved.document.instance.clone()),
        known: Known::default(),
        told,
        reading: JoinSet::new(),
        being_read: BTreeSet::new(),
        silences: 0,
        sending: JoinSet::new(),
        leaving: JoinSet::new(),
        node,
    };
    let mut next_look = watchman.node.clock.monotonic();
    loop {
        watchman.node.looked();
        let now = watchman.node.clock.monotonic();
        if now >= next_look {
            next_look = watchman.next_look(now);
            watchman.read(Document::Interruption);
        }
        // Whoever asks whether this loop goes on hears so every second.
        let wake = watchman.watch.next_wake().into_iter().chain([next_look, now + AGAIN]).min();
        let sleep = watchman.node.clock.sleep_until(wake.unwrap_or(next_look));
        tokio::select! {
            Some(read) = watchman.reading.join_next(), if !watchman.reading.is_empty() => {
                watchman.was_read(whole(read));
            }
            Some(answered) = watchman.sending.join_next(), if !watchman.sending.is_empty() => {
                let (sequence, answer) = whole(answered);
                let effects = watchman.watch.answered(sequence, answer, watchman.node.clock.monotonic());
                watchman.carry_out(effects);
            }
            Some(left) = watchman.leaving.join_next(), if !watchman.leaving.is_empty() => whole(left),
            () = sleep => {
                let effects = watchman.watch.tick(watchman.node.clock.monotonic());
                watchman.carry_out(effects);
            }
        }
    }
}

/// What a task of the watch came to. One that panics ends the watch: nobody else would ever know.
pub(super) fn whole<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A document that is looked at, in the order in which they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Document {
    Interruption,
    Rebalance,
    Scheduled,
}

/// What one said: `None` where it cannot be read.
type Said = (Document, Option<Option<AgentNotice>>);

/// What each document said when it was last read.
#[derive(Clone, Debug, Default)]
struct Known {
    interruption: Option<AgentNotice>,
    rebalance: Option<AgentNotice>,
    scheduled: Option<AgentNotice>,
}

struct Watchman {
    node: Arc<Node>,
    watch: Watch,
    known: Known,
    told: Arc<Told>,
    reading: JoinSet<Said>,
    being_read: BTreeSet<Document>,
    /// How often in a row nobody could say whether there is an interruption.
    silences: u32,
    sending: JoinSet<(u64, Answered)>,
    leaving: JoinSet<()>,
}

impl Watchman {
    /// When the documents are looked at again, if they are now: the later, the longer nobody has answered.
    fn next_look(&self, now: Duration) -> Duration {
        let every = self.node.settings().watch.notices;
        let pause = every.saturating_mul(1 << self.silences.min(8)).min(LONGEST_PAUSE.max(every));
        beat(now + pause.saturating_sub(every), every)
    }

    /// Begins to read a document, unless that is under way.
    fn read(&mut self, document: Document) {
        if self.being_read.insert(document) {
            let node = Arc::clone(&self.node);
            self.reading.spawn(async move { (document, said(&node, document).await) });
        }
    }

    /// A document was read: what it says is handed on now, and the next one is begun. So they are read one after the other,
    /// by one connection, and one that hangs keeps none of the others waiting for longer than its own time.
    fn was_read(&mut self, (document, said): Said) {
        self.being_read.remove(&document);
        match document {
            Document::Interruption => {
                self.silences = if said.is_some() { 0 } else { self.silences.saturating_add(1) };
                if said == Some(None) {
                    self.see_whether_it_stays(self.node.clock.wall());
                }
                self.known.interruption = earliest(self.known.interruption, said.flatten());
                self.node.set_interrupted(self.known.interruption.is_some());
                self.read(Document::Rebalance);
            }
            Document::Rebalance => {
                self.known.rebalance = said.unwrap_or(self.known.rebalance);
                self.read(Document::Scheduled);
            }
            Document::Scheduled => {
                let before = self.known.scheduled;
                self.known.scheduled = said.map_or(before, |said| said.map(|said| begun(before, said)));
            }
        }
        let Known { interruption, rebalance, scheduled } = self.known.clone();
        let notices: Vec<AgentNotice> = [interruption, rebalance, scheduled].into_iter().flatten().collect();
        let effects = self.watch.seen(&notices, self.node.clock.monotonic());
        self.carry_out(effects);
        self.say(&notices);
    }

    /// Nothing is announced any more, and the time of what was is over: the instance was stopped or hibernated, and is back.
    fn see_whether_it_stays(&mut self, now: Timestamp) {
        let known = self.known.interruption.map(|notice| goes_at(&notice));
        let until = known.into_iter().chain(self.node.left_until()).max();
        if until.is_some_and(|until| until <= now) {
            tracing::info!("the interruption is over, and the instance is still here");
            self.known.interruption = None;
            self.watch.stays();
            self.node.stays();
        }
    }

    fn say(&self, notices: &[AgentNotice]) {
        let words: Vec<String> = notices.iter().map(in_words).collect();
        if self.node.notices() != words {
            for notice in &words {
                tracing::warn!(notice, "the metadata service announces");
            }
            self.node.set_notices(words);
        }
    }

    fn carry_out(&mut self, effects: Vec<WatchEffect>) {
        for effect in effects {
            match effect {
                WatchEffect::Send(batch) => self.send(batch),
                WatchEffect::Leave { deadline } => self.leave(deadline),
            }
        }
    }

    fn send(&mut self, batch: NoticeBatch) {
        let (node, told) = (Arc::clone(&self.node), Arc::clone(&self.told));
        // Who has not answered the last one yet may hang: another one is asked meanwhile.
        let elsewhere = !self.sending.is_empty();
        self.sending.spawn(async move {
            let sequence = batch.sequence.unwrap_or_default();
            let answer = match tell(&node, &told, &batch, elsewhere).await {
                Ok(accepted) => {
                    tracing::info!(
                        sequence,
                        confirmed = accepted.confirmed,
                        leader = accepted.leader,
                        "told the autoscaler"
                    );
                    Answered::Accepted(accepted)
                }
                Err(failure) => {
                    tracing::warn!(sequence, %failure, "could not tell the autoscaler");
                    Answered::Failed
                }
            };
            (sequence, answer)
        });
    }

    /// Nobody hears: the client of Nomad drains its own node as it stops. Where it is not known yet whether there is to be one,
    /// none is begun, and one that runs is told as soon as that is known.
    fn leave(&mut self, deadline: Option<Timestamp>) {
        if !may_have_client(&self.node) || self.node.has_left() {
            // A process of the agent before this one may have told it to: a second signal would cut its drain.
            return;
        }
        tracing::error!(
            ?deadline,
            "nobody confirmed the interruption: the client of Nomad leaves, and drains this node"
        );
        let until = deadline.unwrap_or_else(|| self.node.clock.wall() + NOTICE);
        self.node.set_left(until);
        // Draining takes its time; the looks go on.
        self.leaving.spawn(have_it_leave(Arc::clone(&self.node), until));
    }
}

/// Whether this node has a client of Nomad, as far as that is known.
fn may_have_client(node: &Node) -> bool {
    node.loaded().is_none() || node.settings().nomad.is_some()
}

/// Has the client leave. Whoever is to do it may be out of order himself: it is asked for until it was done, or the instance is
/// gone, or stays.
async fn have_it_leave(node: Arc<Node>, until: Timestamp) {
    let (mut pause, mut again) = (AGAIN, false);
    while node.has_left() && may_have_client(&node) {
        if let Some(nomad) = node.settings().nomad {
            steps::fit_drain(&node, until, again).await;
            again = true;
            let is_started = node.client.try_lock().is_err();
            // Before it is asked for: whoever is killed in between has told it, or is about to have.
            node.keep_left(until);
            let request = Request::Unit { verb: Verb::Terminate, unit: nomad.unit };
            match node.host.ask(request).await {
                Ok(_) if is_started => {
                    // What comes up has not heard it.
                    tracing::warn!(
                        "the client of Nomad was being started as it was told to leave: it is told again"
                    );
                    drop(node.client.lock().await);
                    continue;
                }
                Ok(_) => return,
                Err(error) => {
                    node.was_not_told();
                    tracing::error!(%error, "could not have the client of Nomad leave");
                }
            }
        }
        node.clock.sleep_until(node.clock.monotonic() + pause).await;
        pause = (pause * 2).min(LEAVES_AGAIN);
    }
}

/// What a document says now: `None` where it cannot be read.
async fn said(node: &Node, document: Document) -> Option<Option<AgentNotice>> {
    let seen = node.clock.wall();
    match document {
        Document::Interruption => {
            let text = text(node, paths::INSTANCE_ACTION).await?;
            let notice =
                text.and_then(|text| told(paths::INSTANCE_ACTION, imds::instance_action(&text, seen)));
            if notice.is_some() {
                return Some(notice);
            }
            // The older document stands where an older service has no newer one.
            let text = self::text(node, paths::TERMINATION_TIME).await?;
            Some(text.and_then(|text| imds::termination_time(&text, seen)))
        }
        Document::Rebalance => {
            let text = text(node, paths::REBALANCE).await?;
            Some(text.and_then(|text| told(paths::REBALANCE, imds::rebalance(&text, seen))))
        }
        Document::Scheduled => {
            let text = text(node, paths::SCHEDULED).await?;
            Some(text.and_then(|text| told(paths::SCHEDULED, imds::scheduled(&text, seen)).flatten()))
        }
    }
}

/// A document's text: `None` where it cannot be read, `Some(None)` where there is none.
async fn text(node: &Node, path: &str) -> Option<Option<String>> {
    match node.imds.get(path).await {
        Ok(found) => Some(found.map(|found| found.text)),
        Err(failure) => {
            tracing::debug!(path, %failure, "could not look for notices");
            None
        }
    }
}

/// Of an interruption nobody has heard that it was taken back; its deadline is the earliest that was said.
fn earliest(known: Option<AgentNotice>, said: Option<AgentNotice>) -> Option<AgentNotice> {
    let (Some(known), Some(said)) = (known, said) else { return known.or(said) };
    let deadline = known.deadline_ms.into_iter().chain(said.deadline_ms).min();
    Some(AgentNotice { deadline_ms: deadline, ..known })
}

/// An event that says no time begins whenever it is read: that is no news of one that had begun.
fn begun(known: Option<AgentNotice>, said: AgentNotice) -> AgentNotice {
    known.filter(|known| said.deadline_ms == Some(said.at_ms) && goes_at(known) <= said.at_ms).unwrap_or(said)
}

/// A document that cannot be understood is worth a line, and no more.
fn told<T>(path: &str, read: Result<T, fleet_notices::Unread>) -> Option<T> {
    read.map_err(
        |error| tracing::warn!(path, %error, "could not understand a document of the metadata service"),
    )
    .ok()
}

/// When the instance goes, at the latest.
fn goes_at(notice: &AgentNotice) -> Timestamp {
    notice.deadline_ms.unwrap_or(notice.at_ms + NOTICE)
}

fn in_words(notice: &AgentNotice) -> String {
    let kind = match notice.kind {
        NoticeKind::SpotInterruption => "interruption",
        NoticeKind::RebalanceRecommendation => "rebalance recommendation",
        NoticeKind::ScheduledEvent => "scheduled event",
        // The metadata service calls none of these one.
        NoticeKind::FleetScaleIn => "scale-in",
    };
    notice.deadline_ms.map_or_else(|| kind.to_owned(), |deadline| format!("{kind} at {deadline}"))
}

/// * `elsewhere`: another process than the last one is told, where there is one.
async fn tell(
    node: &Node,
    told: &Told,
    batch: &NoticeBatch,
    elsewhere: bool,
) -> Result<NoticesAccepted, Failure> {
    let settings = node.settings().watch.autoscaler;
    let Some(settings) = settings else {
        return Err(Failure::new(fleet::ErrorClass::NotFound, "no autoscaler is configured"));
    };
    let autoscaler = told.of(&settings)?;
    let mut address = autoscaler.current(node).await?;
    if elsewhere {
        autoscaler.turn_from(&address);
        address = autoscaler.current(node).await?;
    }
    let accepted = accepted(node, &autoscaler, &address, batch).await;
    if !accepted.as_ref().is_ok_and(|accepted| accepted.leader) {
        autoscaler.turn_from(&address);
    }
    accepted
}

async fn accepted(
    node: &Node,
    autoscaler: &Autoscaler,
    address: &str,
    batch: &NoticeBatch,
) -> Result<NoticesAccepted, Failure> {
    let body = serde_json::json!(batch);
    let reply = autoscaler.post(node, address, "/v1/notices", &body, ANSWERS_WITHIN).await?;
    if reply.is_success() {
        reply.json("the autoscaler")
    } else {
        Err(reply.failure("the autoscaler", "take the notices"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_says_no_time_has_begun_once() {
        let event = |at: i64, begins: i64| AgentNotice {
            kind: NoticeKind::ScheduledEvent,
            at_ms: Timestamp::from_secs(at),
            deadline_ms: Some(Timestamp::from_secs(begins)),
        };
        for (known, said, expected) in [
            (None, event(1, 1), event(1, 1)),
            (Some(event(1, 1)), event(2, 2), event(1, 1)),
            (Some(event(1, 9)), event(2, 2), event(2, 2)),
            (Some(event(1, 1)), event(2, 9), event(2, 9)),
            (Some(event(1, 9)), event(2, 8), event(2, 8)),
        ] {
            assert_eq!(begun(known, said), expected, "{known:?} {said:?}");
        }
    }

    #[test]
    fn an_interruption_has_the_earliest_deadline_that_was_said_and_stays() {
        let notice = |at: i64, deadline: Option<i64>| AgentNotice {
            kind: NoticeKind::SpotInterruption,
            at_ms: Timestamp::from_secs(at),
            deadline_ms: deadline.map(Timestamp::from_secs),
        };
        for (known, said, expected) in [
            (None, None, None),
            (None, Some(notice(1, Some(9))), Some(notice(1, Some(9)))),
            (Some(notice(1, Some(9))), None, Some(notice(1, Some(9)))),
            (Some(notice(1, Some(9))), Some(notice(2, Some(5))), Some(notice(1, Some(5)))),
            (Some(notice(1, Some(9))), Some(notice(2, Some(12))), Some(notice(1, Some(9)))),
            (Some(notice(1, None)), Some(notice(2, Some(5))), Some(notice(1, Some(5)))),
        ] {
            assert_eq!(earliest(known, said), expected, "{known:?} {said:?}");
        }
    }
}
