//! What the watchman does about notices.

use fleet::wire::{AgentNotice, NoticeBatch, NoticesAccepted, VERSION};
use fleet::{InstanceId, NoticeKind, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// An autoscaler writes a notice to disk before it confirms it, which takes some milliseconds. Who has not confirmed an
/// interruption by then may be gone, and two minutes are short.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// A batch is sent again so often while that time runs: to another autoscaler, where there is one.
const SEND_AGAIN: Duration = Duration::from_millis(500);
/// And so often after that: it may come back, and has a replacement to buy.
const SEND_AGAIN_LATER: Duration = Duration::from_secs(5);

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// An autoscaler has it on disk, perhaps.
    Accepted(NoticesAccepted),
    /// It was refused, or nobody answered.
    Failed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEffect {
    /// Sends a batch to the autoscaler that answered last, or to the next one after a failure or a standby's answer.
    Send(NoticeBatch),
    /// Nobody has confirmed an interruption: the node leaves by itself. Its own Nomad client is stopped gracefully, so
    /// that its work is drained by the deadline. Once.
    Leave {
        /// When the instance goes.
        deadline: Option<Timestamp>,
    },
}

/// Tells the autoscaler of everything that the metadata service announces, and sees that it was heard.
///
/// A node has no right over other nodes in Nomad, and so none to drain itself through the API: who confirms does that.
/// Where nobody does the node can still stop its own client.
#[derive(Clone, Debug)]
pub struct Watch {
    instance: InstanceId,
    /// Of the next batch.
    sequence: u64,
    heard: BTreeMap<NoticeKind, Heard>,
    /// When the last batch went out.
    sent: Option<Duration>,
    left: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    notice: AgentNotice,
    since: Duration,
    /// The first batch that had it as it is.
    first_in: u64,
    confirmed: bool,
}

impl Watch {
    /// Of an instance that nothing is announced of.
    pub const fn new(instance: InstanceId) -> Self {
        Self { instance, sequence: 0, heard: BTreeMap::new(), sent: None, left: false }
    }

    /// Takes in all that the metadata service announces at present; what could not be read is given as it was before.
    ///
    /// * `now`: monotonic, as everywhere here.
    pub fn seen(&mut self, notices: &[AgentNotice], now: Duration) -> Vec<WatchEffect> {
        // A recommendation or an event may be taken back; of an interruption nobody has heard that.
        let goes = NoticeKind::SpotInterruption;
        self.heard.retain(|kind, _| *kind == goes || notices.iter().any(|notice| notice.kind == *kind));
        let mut news = false;
        for notice in notices {
            let known = self.heard.get(&notice.kind);
            if known.is_some_and(|known| known.notice.deadline_ms == notice.deadline_ms) {
                continue;
            }
            let heard = Heard { notice: *notice, since: now, first_in: self.sequence, confirmed: false };
            self.heard.insert(notice.kind, heard);
            news = true;
        }
        let mut effects = Vec::new();
        if news {
            effects.push(self.send(now));
        }
        effects.extend(self.tick(now));
        effects
    }

    /// Takes in what came of the batch of a number.
    pub fn answered(&mut self, sequence: u64, answer: Answered, now: Duration) -> Vec<WatchEffect> {
        let Answered::Accepted(accepted) = answer else { return self.tick(now) };
        // A standby has it on disk, and does nothing about it: the leader has to hear, too.
        if accepted.leader && accepted.confirmed >= self.heard.len() {
            for heard in self.heard.values_mut().filter(|heard| heard.first_in <= sequence) {
                heard.confirmed = true;
            }
        }
        self.tick(now)
    }

    /// Sends again what nobody confirmed, and leaves when it is time to.
    pub fn tick(&mut self, now: Duration) -> Vec<WatchEffect> {
        let mut effects = Vec::new();
        if self.send_at().is_some_and(|at| at <= now) {
            effects.push(self.send(now));
        }
        if self.leave_at().is_some_and(|at| at <= now) {
            self.left = true;
            let heard = self.heard.get(&NoticeKind::SpotInterruption);
            effects.push(WatchEffect::Leave { deadline: heard.and_then(|heard| heard.notice.deadline_ms) });
        }
        effects
    }

    /// The interruption is over, and the instance is still here, as one that was stopped or hibernated: another one is another.
    pub fn stays(&mut self) {
        self.heard.remove(&NoticeKind::SpotInterruption);
        self.left = false;
    }

    /// When [`Watch::tick`] is to be called at the latest; `None`: not before something is announced.
    pub fn next_wake(&self) -> Option<Duration> {
        self.send_at().into_iter().chain(self.leave_at()).min()
    }

    /// Whether the node leaves by itself.
    pub const fn has_left(&self) -> bool {
        self.left
    }

    fn leave_at(&self) -> Option<Duration> {
        let interruption = self.heard.get(&NoticeKind::SpotInterruption);
        interruption.filter(|heard| !heard.confirmed && !self.left).map(|heard| heard.since + CONFIRM_WITHIN)
    }

    fn send_at(&self) -> Option<Duration> {
        let waits = self.heard.values().filter(|heard| !heard.confirmed);
        let since = waits.map(|heard| heard.since).max()?;
        let sent = self.sent?;
        Some(sent + if sent < since + CONFIRM_WITHIN { SEND_AGAIN } else { SEND_AGAIN_LATER })
    }

    fn send(&mut self, now: Duration) -> WatchEffect {
        self.sent = Some(now);
        let sequence = self.sequence;
        self.sequence += 1;
        WatchEffect::Send(NoticeBatch {
            version: VERSION,
            instance: self.instance.clone(),
            sequence: Some(sequence),
            notices: self.heard.values().map(|heard| heard.notice).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: Answered = Answered::Accepted(NoticesAccepted { accepted: 1, confirmed: 1, leader: true });
    const STANDBY: Answered =
        Answered::Accepted(NoticesAccepted { accepted: 1, confirmed: 1, leader: false });

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    fn watch() -> Watch {
        Watch::new(InstanceId::new("i-1"))
    }
    fn notice(kind: NoticeKind, deadline: Option<i64>) -> AgentNotice {
        AgentNotice { kind, at_ms: Timestamp::from_secs(1), deadline_ms: deadline.map(Timestamp::from_secs) }
    }
    fn interruption() -> AgentNotice {
        notice(NoticeKind::SpotInterruption, Some(121))
    }

    /// Lets time pass to `until`, every batch answered with `answer`. * returns: what was sent when, and who left when.
    fn pass(
        watch: &mut Watch,
        until: Duration,
        answer: Option<Answered>,
    ) -> (Vec<Duration>, Option<Duration>) {
        let (mut sent, mut left) = (Vec::new(), None);
        while let Some(now) = watch.next_wake().filter(|at| *at <= until) {
            for effect in watch.tick(now) {
                match effect {
                    WatchEffect::Send(batch) => {
                        sent.push(now);
                        let sequence = batch.sequence.expect("a number");
                        if let Some(answer) = answer {
                            assert_eq!(watch.answered(sequence, answer, now), []);
                        }
                    }
                    WatchEffect::Leave { deadline } => {
                        assert_eq!(deadline, interruption().deadline_ms);
                        assert_eq!(left.replace(now), None, "once");
                    }
                }
            }
        }
        (sent, left)
    }

    #[test]
    fn an_interruption_is_told_at_once_and_a_leaders_word_ends_it() {
        let mut watch = watch();
        assert_eq!(watch.seen(&[], millis(0)), []);
        let effects = watch.seen(&[interruption()], millis(1000));
        assert!(
            matches!(&effects[..], [WatchEffect::Send(batch)] if batch.notices == [interruption()]),
            "{effects:?}"
        );
        assert_eq!(watch.answered(0, LEADER, millis(1020)), []);
        assert_eq!(watch.next_wake(), None);
        assert_eq!(watch.seen(&[interruption()], millis(2000)), [], "it is told once");
        assert!(!watch.has_left());
    }

    #[test]
    fn where_nobody_confirms_the_node_leaves_by_itself_and_goes_on_telling() {
        for answer in [None, Some(Answered::Failed), Some(STANDBY)] {
            let mut watch = watch();
            watch.seen(&[interruption()], millis(1000));
            let (sent, left) = pass(&mut watch, millis(14_000), answer);
            assert_eq!(left, Some(millis(3000)), "{answer:?}");
            let sent: Vec<u128> = sent.iter().map(Duration::as_millis).collect();
            assert_eq!(sent, [1500, 2000, 2500, 3000, 8000, 13_000], "{answer:?}");
        }
    }

    #[test]
    fn nobody_leaves_for_what_only_may_be() {
        for kind in [NoticeKind::RebalanceRecommendation, NoticeKind::ScheduledEvent] {
            let mut watch = watch();
            watch.seen(&[notice(kind, None)], millis(0));
            let (sent, left) = pass(&mut watch, millis(60_000), None);
            assert!(sent.len() > 10 && left.is_none());
        }
    }

    #[test]
    fn a_word_for_what_was_said_before_is_none_for_what_is_said_now() {
        let mut watch = watch();
        watch.seen(&[notice(NoticeKind::RebalanceRecommendation, None)], millis(0));
        let both = [notice(NoticeKind::RebalanceRecommendation, None), interruption()];
        let effects = watch.seen(&both, millis(100));
        assert!(
            matches!(&effects[..], [WatchEffect::Send(batch)] if batch.notices.len() == 2),
            "{effects:?}"
        );
        watch.answered(0, LEADER, millis(150));
        let (_, left) = pass(&mut watch, millis(5000), None);
        assert_eq!(left, Some(millis(2100)), "the first batch did not have it");
    }

    #[test]
    fn a_deadline_that_moves_is_told_again() {
        let mut watch = watch();
        watch.seen(&[interruption()], millis(0));
        watch.answered(0, LEADER, millis(10));
        let sooner = notice(NoticeKind::SpotInterruption, Some(60));
        let effects = watch.seen(&[sooner], millis(1000));
        assert!(
            matches!(&effects[..], [WatchEffect::Send(batch)] if batch.notices == [sooner]),
            "{effects:?}"
        );
        watch.answered(0, LEADER, millis(1005));
        assert_ne!(watch.next_wake(), None, "the first batch had another deadline");
        assert_eq!(watch.answered(1, LEADER, millis(1010)), []);
        assert_eq!(watch.next_wake(), None);
    }

    #[test]
    fn an_interruption_is_not_forgotten_where_the_metadata_service_falls_silent() {
        let mut watch = watch();
        watch.seen(&[interruption()], millis(0));
        watch.seen(&[], millis(1000));
        let (_, left) = pass(&mut watch, millis(5000), None);
        assert_eq!(left, Some(millis(2000)));
        let mut watch = self::watch();
        watch.seen(&[notice(NoticeKind::RebalanceRecommendation, None)], millis(0));
        watch.seen(&[], millis(1000));
        assert_eq!(watch.next_wake(), None, "a recommendation may be taken back");
    }

    #[test]
    fn an_instance_that_is_back_is_told_of_another_interruption_as_of_the_first() {
        let mut watch = watch();
        watch.seen(&[interruption()], millis(0));
        let (_, left) = pass(&mut watch, millis(5000), None);
        assert!(left.is_some() && watch.has_left());
        watch.stays();
        assert_eq!((watch.next_wake(), watch.has_left()), (None, false));
        assert!(!watch.seen(&[interruption()], millis(9000)).is_empty());
        let (_, left) = pass(&mut watch, millis(15_000), None);
        assert_eq!(left, Some(millis(11_000)));
    }

    #[test]
    fn half_a_confirmation_is_none() {
        let mut watch = watch();
        let both = [notice(NoticeKind::RebalanceRecommendation, None), interruption()];
        watch.seen(&both, millis(0));
        watch.answered(0, LEADER, millis(10));
        let (_, left) = pass(&mut watch, millis(5000), None);
        assert_eq!(left, Some(millis(2000)), "one of two is on disk, and nobody says which");
    }
}
