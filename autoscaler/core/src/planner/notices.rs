//! What a notice means: depends on what is planned for its instance.

use super::draft::Draft;
use super::drain;
use super::herd::{Herd, LEEWAY, units};
use super::{pools, replace};
use crate::{
    DrainBy, DrainCause, Member, Memory, Rebalance, Remark, Removal, RemovalStep, Replacement,
    ReplacementCause, ReplacementStep, TroubleKind,
};
use fleet::{ExcessCapacity, FleetView, InstanceId, Market, Notice, NoticeKind, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long before its deadline AWS announces an interruption: what holds where a source does not say the time.
const INTERRUPTED_AFTER: Duration = Duration::from_secs(120);
/// Scheduled events are announced days ahead: an instance is replaced when no more than this, a boot and a drain are
/// left, which leaves room to try again for as long.
pub(super) const IN_TIME: Duration = Duration::from_secs(3600);

/// A recommendation for an instance of a pool that as much is held against is believed: one instance taken back, or one
/// launch refused, within the last half-life of that memory.
const RISKY: f64 = 0.5;

/// All that was heard of an instance, as one word: the most serious, and the earliest deadline.
#[derive(Clone, Copy)]
struct Word {
    kind: NoticeKind,
    deadline: Option<Timestamp>,
}

/// Enters what was heard into the ledger: each instance once, whatever is heard of it and however often.
///
/// * `view`: the fleet, where it was seen lately: only then its own scale-in can be told from an interruption.
pub(super) fn heed(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>, view: Option<&FleetView>) {
    let_be(draft);
    for (id, word) in words(&draft.seen.notices, draft.now) {
        if draft.is_unseen(id)
            && let Some(word) = pressing(draft, None, word)
        {
            hasten_removal(draft, id, word);
            hasten_replacement(draft, id, word);
        }
    }
    let Some(herd) = herd else { return };
    for (id, word) in words(&draft.seen.notices, draft.now) {
        let Some(member) = herd.get(id) else { continue };
        let Some(word) = pressing(draft, Some(member), word) else { continue };
        let word = view.map_or(word, |view| whose(draft, herd, view, member, word));
        if word.kind == NoticeKind::FleetScaleIn {
            take_back(draft, id);
        }
        if draft.memory.removals.contains_key(id) {
            hasten_removal(draft, id, word);
        } else if draft.memory.replacements.contains_key(id) {
            hasten_replacement(draft, id, word);
        } else {
            enter(draft, member, word);
        }
    }
    note_protected(draft, herd);
}

/// A scheduled event that was called off, or put off until later, is nobody's reason to go any more. Whoever was entered
/// for it and has nobody asked for in its place stays; what was asked for is taken back with a modification, see
/// [`replace::advance`]. One that was put off is entered anew when its time comes.
fn let_be(draft: &mut Draft<'_>) {
    let asked = |step| matches!(step, ReplacementStep::Raising | ReplacementStep::Raised);
    let over =
        |id: &InstanceId, r: &Replacement| !asked(r.step) && !still_comes(draft, id, r.cause, r.deadline);
    let entered = draft.memory.replacements.iter();
    let over: Vec<InstanceId> = entered.filter(|(id, r)| over(id, r)).map(|(id, _)| id.clone()).collect();
    for id in over {
        stay(draft, &id);
    }
    // Victims go all the same; nothing presses any more, and those that were spare are what they were.
    let over = |id: &InstanceId, removal: &Removal| match removal.cause {
        DrainCause::Replaced(cause) => !still_comes(draft, id, cause, removal.deadline),
        DrainCause::ScaleIn => false,
    };
    let victims = draft.memory.removals.iter();
    let over: Vec<InstanceId> = victims.filter(|(id, r)| over(id, r)).map(|(id, _)| id.clone()).collect();
    for id in over {
        let was_spare = !draft.memory.replaced.contains_key(&id);
        let Some(removal) = draft.memory.removals.get_mut(&id) else { continue };
        removal.deadline = None;
        if was_spare && removal.step == RemovalStep::Draining {
            removal.cause = DrainCause::ScaleIn;
        }
    }
}

/// Whether what somebody was entered for is still to come: all but scheduled events always is. One that was put off by
/// so little that it presses as before still does.
pub(super) fn still_comes(
    draft: &Draft<'_>,
    id: &InstanceId,
    cause: ReplacementCause,
    deadline: Option<Timestamp>,
) -> bool {
    let kind = NoticeKind::ScheduledEvent;
    if cause != ReplacementCause::Notice(kind) {
        return true;
    }
    let mut told = draft.seen.notices.iter().filter(|n| n.instance == *id && n.kind == kind);
    told.any(|n| {
        n.deadline <= deadline || pressing(draft, None, Word { kind, deadline: n.deadline }).is_some()
    })
}

/// One that was to be replaced stays: its node takes work again.
pub(super) fn stay(draft: &mut Draft<'_>, id: &InstanceId) {
    draft.memory.replacements.remove(id);
    if draft.policy.drain.by != DrainBy::Nobody {
        draft.memory.restoring.insert(id.clone(), draft.now);
    }
    draft.remark(Remark::EventCalledOff { instance: id.clone() });
}

/// Says of fleets that are not ours to change what is known and not acted upon.
pub(super) fn leave_unheeded(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd else { return };
    for (id, word) in words(&draft.seen.notices, draft.now) {
        if herd.get(id).is_some() && word.kind != NoticeKind::RebalanceRecommendation {
            draft.remark(Remark::NoticeUnheeded { instance: id.clone(), kind: word.kind });
        }
    }
}

/// One word an instance, whatever the order and the number of its notices.
fn words(notices: &[Notice], now: Timestamp) -> BTreeMap<&InstanceId, Word> {
    let mut words: BTreeMap<&InstanceId, Word> = BTreeMap::new();
    for notice in notices {
        let deadline = match notice.kind {
            NoticeKind::SpotInterruption | NoticeKind::FleetScaleIn => {
                Some(notice.deadline.unwrap_or(notice.at + INTERRUPTED_AFTER))
            }
            NoticeKind::ScheduledEvent => notice.deadline,
            NoticeKind::RebalanceRecommendation => None,
        };
        let heard = Word { kind: notice.kind, deadline };
        words.entry(&notice.instance).and_modify(|word| *word = word.and(heard, now)).or_insert(heard);
    }
    words
}

impl Word {
    /// Both: the more serious kind, the earlier deadline. A scheduled event whose time is over says nothing of when AWS takes
    /// the instance for another reason: it has survived that.
    fn and(self, other: Self, now: Timestamp) -> Self {
        let serious = |kind| match kind {
            NoticeKind::RebalanceRecommendation => 0,
            NoticeKind::ScheduledEvent => 1,
            NoticeKind::SpotInterruption => 2,
            NoticeKind::FleetScaleIn => 3,
        };
        let (more, less) =
            if serious(self.kind) >= serious(other.kind) { (self, other) } else { (other, self) };
        let deadline = less.deadline.filter(|at| !is_survived(less.kind, *at, more.kind, now));
        Self { kind: more.kind, deadline: earlier(more.deadline, deadline) }
    }
}

/// Whether a word asks for anything now, by the policy, its time and, of a recommendation, the pool of its member.
fn pressing(draft: &Draft<'_>, member: Option<&Member>, word: Word) -> Option<Word> {
    let policy = draft.policy;
    let presses = match word.kind {
        NoticeKind::SpotInterruption | NoticeKind::FleetScaleIn => true,
        NoticeKind::ScheduledEvent => {
            let ahead = IN_TIME + policy.boot + policy.drain.deadline;
            word.deadline.is_none_or(|deadline| deadline <= draft.now + ahead)
        }
        NoticeKind::RebalanceRecommendation => match policy.interruption.rebalance {
            Rebalance::Ignore | Rebalance::Cordon => false,
            Rebalance::Replace => true,
            Rebalance::ByRisk => member.is_some_and(|m| pools::held_against(draft, &m.pool) >= RISKY),
        },
    };
    presses.then_some(word)
}

/// A fleet that terminates what it has above its target gives the same notice as an interruption.
fn whose(draft: &Draft<'_>, herd: &Herd<'_>, view: &FleetView, member: &Member, word: Word) -> Word {
    let beyond = units(herd.kept(draft)).sum() - f64::from(view.target);
    let gives_back = view.excess == ExcessCapacity::Termination && member.weight.get() <= beyond + LEEWAY;
    if word.kind == NoticeKind::SpotInterruption && gives_back {
        return Word { kind: NoticeKind::FleetScaleIn, ..word };
    }
    word
}

/// A victim of ours goes anyway: only its time may be shorter. One that is about to be taken cannot be kept.
fn hasten_removal(draft: &mut Draft<'_>, id: &InstanceId, word: Word) {
    if word.kind == NoticeKind::RebalanceRecommendation {
        return;
    }
    let until = word.deadline.map(|deadline| drain::latest(draft, id, deadline).max(draft.now));
    let Some(removal) = draft.memory.removals.get_mut(id) else { return };
    // One that is rolled out works on until another serves, but not if AWS takes it: no new work comes there from now on.
    let by_choice = [DrainCause::ScaleIn, DrainCause::Replaced(ReplacementCause::Rollout)];
    if by_choice.contains(&removal.cause) {
        removal.cause = DrainCause::Replaced(ReplacementCause::Notice(word.kind));
        if removal.step != RemovalStep::Terminating {
            // AWS has it from now on: by a clock that is wrong its time may seem to be long over.
            removal.since = draft.now;
        }
    }
    let before = removal.deadline.filter(|at| !gives_way(removal.cause, *at, word, draft.now));
    removal.deadline = earlier(before, word.deadline);
    removal.drain_until = hastened(removal.drain_until, until);
}

/// The warning of an interruption was heard first, and the fleet's own word that it gives the instance back after
/// it: while nothing was asked for in its place, nothing is.
fn take_back(draft: &mut Draft<'_>, id: &InstanceId) {
    let asked = |step| matches!(step, ReplacementStep::Raising | ReplacementStep::Raised);
    if draft.memory.replacements.get(id).is_some_and(|replacement| !asked(replacement.step)) {
        draft.memory.replacements.remove(id);
    }
}

/// One that is being replaced already: its time may be shorter, and its cause more serious.
fn hasten_replacement(draft: &mut Draft<'_>, id: &InstanceId, word: Word) {
    let until = word.deadline.map(|deadline| drain::latest(draft, id, deadline).max(draft.now));
    let Some(replacement) = draft.memory.replacements.get_mut(id) else { return };
    let cause = DrainCause::Replaced(replacement.cause);
    if word.kind != NoticeKind::RebalanceRecommendation {
        replacement.cause = ReplacementCause::Notice(word.kind);
    }
    let before = replacement.deadline.filter(|at| !gives_way(cause, *at, word, draft.now));
    // Its event left no time to ask for another; what is heard now does.
    let survived =
        word.kind != NoticeKind::ScheduledEvent && replacement.deadline.is_some() && before.is_none();
    if replacement.step == ReplacementStep::LeftToFleet && survived && draft.policy.interruption.replace {
        replacement.step = ReplacementStep::Waiting;
    }
    replacement.deadline = earlier(before, word.deadline);
    replacement.drain_until = hastened(replacement.drain_until, until);
}

/// First heard of an instance that we keep.
fn enter(draft: &mut Draft<'_>, member: &Member, word: Word) {
    let cause = ReplacementCause::Notice(word.kind);
    let taken = matches!(word.kind, NoticeKind::SpotInterruption | NoticeKind::FleetScaleIn);
    let done_before = draft.memory.replaced.contains_key(&member.id);
    if !taken && (member.protected || done_before) {
        return;
    }
    // One that was dealt with and that AWS has left to us after all is not taken again by the same word.
    let dealt_with = draft.memory.replaced.get(&member.id).copied();
    if dealt_with.is_some_and(|at| replace::has_outlived(draft.now, word.deadline, at)) {
        return;
    }
    // Nobody was asked for in place of one that was left to its event, and has survived that.
    let survived = dealt_with.is_some_and(|at| has_survived(draft, &member.id, at));
    if survived {
        draft.memory.replaced.remove(&member.id);
    }
    let done_before = done_before && !survived;
    if word.kind == NoticeKind::SpotInterruption && member.pool.market == Market::Spot {
        let half_life = draft.policy.interruption.avoid_pool;
        pools::hold_against(&mut draft.memory, &member.pool, TroubleKind::Interrupted, draft.now, half_life);
    }
    if word.kind == NoticeKind::FleetScaleIn {
        // The target does not count it any more, and nobody is to replace it.
        let removal = Removal {
            step: RemovalStep::Lowered,
            deadline: word.deadline,
            ..Removal::of(member, DrainCause::Replaced(cause), draft.now)
        };
        draft.memory.removals.insert(member.id.clone(), removal);
        return;
    }
    let ahead = draft.policy.interruption.replace && !done_before;
    let replacement = Replacement {
        cause,
        step: if ahead { ReplacementStep::Waiting } else { ReplacementStep::LeftToFleet },
        since: draft.now,
        weight: member.weight,
        market: member.pool.market,
        drain_until: None,
        deadline: word.deadline,
    };
    draft.memory.replacements.insert(member.id.clone(), replacement);
}

fn note_protected(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    let protected = |id: &&InstanceId| herd.get(id).is_some_and(|m| m.protected);
    let Memory { removals, replacements, .. } = &draft.memory;
    let going: Vec<InstanceId> = replacements.keys().filter(protected).cloned().collect();
    let victims = removals.keys().filter(protected).cloned();
    draft.memory.protected = going.iter().cloned().chain(victims).collect();
    for instance in going {
        draft.remark(Remark::ProtectedGoes { instance });
    }
}

/// Whether a deadline may move away: of an instance of which nothing more serious is known than a scheduled event, whose
/// last word counts; and that of an event which it has survived.
fn gives_way(cause: DrainCause, deadline: Timestamp, word: Word, now: Timestamp) -> bool {
    let scheduled = NoticeKind::ScheduledEvent;
    let was_scheduled = cause == DrainCause::Replaced(ReplacementCause::Notice(scheduled));
    was_scheduled && (word.kind == scheduled || is_survived(scheduled, deadline, word.kind, now))
}

/// Whether an instance was dealt with when it had outlived a scheduled event.
fn has_survived(draft: &Draft<'_>, id: &InstanceId, dealt_with: Timestamp) -> bool {
    let kind = NoticeKind::ScheduledEvent;
    let mut events = draft.seen.notices.iter().filter(|n| n.instance == *id && n.kind == kind);
    events.any(|n| n.deadline.is_some_and(|deadline| deadline <= dealt_with))
}

/// Whether a deadline is that of a scheduled event which is over, where something else has been heard as well.
fn is_survived(kind: NoticeKind, deadline: Timestamp, other: NoticeKind, now: Timestamp) -> bool {
    kind == NoticeKind::ScheduledEvent && other != kind && deadline <= now
}

/// The earlier of two times that may not be known.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A drain that was begun ends sooner where less time is left for it; not before now: it is told first.
fn hastened(drain: Option<Timestamp>, until: Option<Timestamp>) -> Option<Timestamp> {
    drain.map(|drain| until.map_or(drain, |until| drain.min(until)))
}
