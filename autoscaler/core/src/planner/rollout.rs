//! A roll-out in one cycle: what the fleet is to launch, how what is new does, and whom to replace next.

use super::act::looked_lately;
use super::draft::Draft;
use super::ground::{Ground, LAG};
use super::herd::{Herd, clear_sight};
use super::parts::Parts;
use super::{alarms, drain, ledger, replace, victims, wish};
use crate::number::share_of;
use crate::{
    Asked, Course, Decision, DrainBy, DrainCause, Halt, Halted, Hold, Member, Phase, Remark, RemovalStep,
    Replacement, ReplacementCause, ReplacementStep, Rollout, RolloutTrouble, Stage, TroubleKind,
};
use fleet::{FleetView, Health, InstanceId, NodeView, Timestamp};

/// Whether an entry of the ledger is there for a roll-out.
const fn is_ours(cause: ReplacementCause) -> bool {
    matches!(cause, ReplacementCause::Rollout)
}

/// Whether work can be placed on an instance: it serves, and Nomad shows its node ready for it.
fn is_ready(draft: &Draft<'_>, member: &Member) -> bool {
    // What is at risk takes no work because we say so: that is nothing which a version has to be ready for. That it has no room for the
    // work of others is nothing new: as much serves with it as before.
    let kept = || drain::is_kept_from_work(draft, &member.id);
    let is_ready = |node: &NodeView| node.is_up() && (node.eligible || kept());
    let node = || draft.node_of(&member.id).is_some_and(is_ready);
    member.phase == Phase::InService && (draft.policy.drain.by != DrainBy::Nomad || node())
}

/// Whether an instance has been ready once: those that were there before the roll-out count as such, and all once it is over. Not
/// those of the new version: it may have been ordered once more.
pub(super) fn has_been_ready(draft: &Draft<'_>, member: &Member) -> bool {
    let never = |rollout: &Rollout| {
        !rollout.is_over() && is_new(rollout, member) && !rollout.ready.contains(&member.id)
    };
    !draft.memory.rollout.as_ref().is_some_and(never)
}

/// Whether an instance came with the roll-out, or is of the version that it brings.
fn is_new(rollout: &Rollout, member: &Member) -> bool {
    member.launched >= rollout.started || runs(member, &rollout.template, rollout.to)
}

/// Takes account of what was seen since the cycle before: whether the fleet launches what it was told to, who is ready,
/// what has failed, how far all this is. Whom a halt, or the way back, keeps is let be.
pub(super) fn watch(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>) {
    let Some(mut rollout) = draft.memory.rollout.take() else { return };
    if rollout.is_over() && herd.is_some_and(|herd| has_strays(&rollout, ground, herd)) {
        (rollout.stage, rollout.clean_since) = (Stage::Rest, None);
    }
    // Of one that is over, too: it may go on for an instance that comes late.
    if let Some(herd) = herd {
        note_ready(draft, &mut rollout, herd);
    }
    if !rollout.is_over() {
        check_launch(&mut rollout, ground, draft.now);
        if let Some(herd) = herd {
            if rollout.halted.is_none() && rollout.course == Course::Forward {
                let why = trouble(draft, &rollout, herd);
                rollout.halted = why.map(|why| Halted { at: draft.now, why });
                if let Some(unknown) = alarms::unknown(draft, &rollout) {
                    draft.remark(unknown);
                }
            }
            let_stay(draft, &rollout, herd);
            advance(draft, &mut rollout, herd);
            remark(draft, &rollout, herd);
        }
    }
    draft.memory.rollout = Some(rollout);
}

/// Whether the fleet launches what it is to, and an instance of the other version came all the same: ordered before the
/// fleet was told, and launched when there was capacity for it at last.
fn has_strays(rollout: &Rollout, ground: Ground<'_>, herd: &Herd<'_>) -> bool {
    let (goal, other) = match rollout.course {
        Course::Forward => (rollout.to, rollout.from),
        Course::Back => (rollout.from, rollout.to),
    };
    let strays =
        |m: &&Member| !m.protected && m.launched >= rollout.started && runs(m, &rollout.template, other);
    let launches = ground.view.launch.as_ref().is_some_and(|launch| launch.is(&rollout.template, goal));
    launches && herd.alive.iter().any(strays)
}

/// Compares what the fleet shows that it launches with what it was told.
fn check_launch(rollout: &mut Rollout, ground: Ground<'_>, now: Timestamp) {
    let shown = ground.view.launch.as_ref();
    let shows = |version| shown.is_some_and(|launch| launch.is(&rollout.template, version));
    let foreign = Halt::Foreign {
        found: shown.filter(|launch| launch.id == rollout.template).and_then(|launch| launch.version),
    };
    let same_template = shown.is_some_and(|launch| launch.id == rollout.template);
    let mut somebody_else = !same_template;
    // What has not shown for longer than describes lag did not happen.
    let lost = |asked: &mut Asked| !asked.shown && !shows(asked.version) && ground.at > asked.at + LAG;
    rollout.asked.take_if(lost);
    match &mut rollout.asked {
        Some(asked) if shows(asked.version) => asked.shown |= ground.at > asked.at,
        // Describes lag: what they show for a while may be from before.
        Some(asked) if asked.shown => somebody_else |= ground.at > asked.at + LAG,
        Some(_) | None => {}
    }
    if rollout.asked.is_none()
        && let Some(version) = rollout.launches().filter(|version| shows(*version))
    {
        rollout.asked = Some(Asked { version, at: now, shown: true });
    }
    let known = rollout.halted.as_ref().is_some_and(|halted| matches!(halted.why, Halt::Foreign { .. }));
    if somebody_else && !known {
        rollout.halted = Some(Halted { at: now, why: foreign });
    }
}

fn note_ready(draft: &Draft<'_>, rollout: &mut Rollout, herd: &Herd<'_>) {
    rollout.ready.retain(|id| herd.get(id).is_some());
    let new = herd.alive.iter().filter(|m| is_new(rollout, m) && is_ready(draft, m));
    let new: Vec<InstanceId> = new.map(|m| m.id.clone()).collect();
    rollout.ready.extend(new);
}

/// Whether an instance runs this version.
fn runs(member: &Member, template: &str, version: u64) -> bool {
    member.launch.as_ref().is_some_and(|launch| launch.is(template, version))
}

/// Whether an instance of the new version has had its time and is not ready, or is broken; whoever goes anyway is not
/// judged.
fn has_failed(draft: &Draft<'_>, rollout: &Rollout, member: &Member) -> Option<Halt> {
    let pace = &draft.policy.rollout;
    let goes =
        draft.memory.removals.contains_key(&member.id) || draft.memory.replacements.contains_key(&member.id);
    if goes || !runs(member, &rollout.template, rollout.to) {
        return None;
    }
    let instance = member.id.clone();
    let in_time = pace.ready_within.unwrap_or(draft.policy.boot.saturating_mul(2));
    let late = draft.now > member.launched.max(rollout.since) + in_time;
    if late && !rollout.ready.contains(&member.id) && pace.pause_on.contains(&RolloutTrouble::NotReady) {
        return Some(Halt::NotReady { instance });
    }
    let broken = member.health == Health::Unhealthy && pace.pause_on.contains(&RolloutTrouble::Unhealthy);
    broken.then_some(Halt::Unhealthy { instance })
}

/// What speaks against going on.
fn trouble(draft: &Draft<'_>, rollout: &Rollout, herd: &Herd<'_>) -> Option<Halt> {
    let failed = herd.alive.iter().find_map(|m| has_failed(draft, rollout, m));
    if let Some(halt) = failed.or_else(|| alarms::off(draft, rollout)) {
        return Some(halt);
    }
    // One pool that refuses says nothing of the version, as long as any of it was launched anywhere.
    let launched = herd.alive.iter().any(|m| runs(m, &rollout.template, rollout.to));
    let asked = rollout.asked.filter(|asked| asked.shown && !launched)?;
    let failed = |t: &&crate::PoolTrouble| t.kind == TroubleKind::LaunchFailed && t.at > asked.at;
    let halts = draft.policy.rollout.pause_on.contains(&RolloutTrouble::LaunchFailed);
    let pool = draft.seen.troubles.iter().filter(|_| halts).find(failed)?.pool.clone();
    Some(Halt::LaunchFailed { pool })
}

/// Whether an instance that was entered is to stay after all: the new version has failed, or is taken back.
fn is_to_stay(rollout: &Rollout, member: &Member) -> bool {
    let failed = rollout.halted.as_ref().is_some_and(|halted| halted.why.is_failure());
    match rollout.course {
        Course::Forward => failed && !runs(member, &rollout.template, rollout.to),
        Course::Back => runs(member, &rollout.template, rollout.from),
    }
}

/// Lets those stay whose work has not been asked to leave yet; for whom more was asked for already, see [`take_back`].
fn let_stay(draft: &mut Draft<'_>, rollout: &Rollout, herd: &Herd<'_>) {
    let stays = |id: &InstanceId| herd.get(id).is_some_and(|m| is_to_stay(rollout, m));
    let waits = draft.memory.replacements.iter().filter(|(id, r)| {
        is_ours(r.cause) && r.step == ReplacementStep::Waiting && r.drain_until.is_none() && stays(id)
    });
    for id in waits.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        draft.memory.replacements.remove(&id);
    }
    let lowered = draft.memory.removals.iter().filter(|(id, r)| {
        r.cause == DrainCause::Replaced(ReplacementCause::Rollout)
            && r.step == RemovalStep::Lowered
            && r.drain_until.is_none()
            && stays(id)
    });
    for id in lowered.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        ledger::keep(draft, &id);
    }
}

/// What was asked for in place of one that is to stay is not wanted any more: the target comes down with this cycle's
/// modification.
pub(super) fn take_back(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    let Some(rollout) = &draft.memory.rollout else { return };
    let over = draft.memory.replacements.iter().filter(|(id, r)| {
        is_ours(r.cause)
            && r.step == ReplacementStep::Raised
            && r.drain_until.is_none()
            && herd.get(id).is_some_and(|m| is_to_stay(rollout, m))
    });
    for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        draft.memory.replacements.remove(&id);
    }
}

/// Whether anybody is on the way out for the sake of a roll-out.
fn is_under_way(draft: &Draft<'_>) -> bool {
    let removed = DrainCause::Replaced(ReplacementCause::Rollout);
    draft.memory.replacements.values().any(|r| is_ours(r.cause))
        || draft.memory.removals.values().any(|r| r.cause == removed)
}

/// How many of the fleet are to be of the new version before the others follow.
fn canary(draft: &Draft<'_>, herd: &Herd<'_>) -> usize {
    match draft.policy.rollout.canary {
        share if share > 0.0 => share_of(herd.alive.len(), share).max(1),
        _ => 0,
    }
}

/// Takes a roll-out from one stage to the next.
fn advance(draft: &Draft<'_>, rollout: &mut Rollout, herd: &Herd<'_>) {
    let rests = rollout.halted.is_none() && !is_under_way(draft);
    let new = || herd.alive.iter().filter(|m| runs(m, &rollout.template, rollout.to));
    let all_ready = new().all(|m| rollout.ready.contains(&m.id));
    let launches = rollout.asked.is_some_and(|asked| asked.shown && asked.version == rollout.goal());
    match rollout.stage {
        Stage::Canary if rests && launches && all_ready && new().count() >= canary(draft, herd) => {
            let watched = draft.policy.rollout.canary > 0.0;
            rollout.stage = if watched { Stage::Watched { since: draft.now } } else { Stage::Rest };
        }
        Stage::Watched { since }
            if rests
                && all_ready
                && alarms::unknown(draft, rollout).is_none()
                && draft.now.since(since.max(rollout.since)) >= draft.policy.rollout.canary_for =>
        {
            rollout.stage = Stage::Rest;
        }
        Stage::Rest => {
            let goal = rollout.goal();
            let left = herd.alive.iter().any(|m| !m.protected && !runs(m, &rollout.template, goal));
            let ready = rollout.course == Course::Back || all_ready;
            if rests && launches && ready && !left {
                let since = *rollout.clean_since.get_or_insert(draft.now);
                // What was launched before the fleet was told may show late.
                if draft.now.since(since) >= LAG {
                    rollout.stage = Stage::Ended { at: draft.now };
                }
            } else {
                rollout.clean_since = None;
            }
        }
        Stage::Canary | Stage::Watched { .. } | Stage::Ended { .. } => {}
    }
}

fn remark(draft: &mut Draft<'_>, rollout: &Rollout, herd: &Herd<'_>) {
    let goal = rollout.goal();
    let done = herd.alive.iter().filter(|m| runs(m, &rollout.template, goal)).count();
    let protected = herd.alive.iter().filter(|m| m.protected && !runs(m, &rollout.template, goal)).count();
    draft.remark(Remark::RollsOut {
        version: goal,
        course: rollout.course,
        stage: rollout.stage,
        done,
        of: herd.alive.len(),
        protected,
        halted: rollout.halted.as_ref().map(|halted| halted.why.clone()),
    });
}

/// The version that the fleet is to be told with the next modification; `None` where it launches what it is to, or has
/// been told and has not shown it yet.
pub(super) fn to_tell(draft: &Draft<'_>, view: &FleetView) -> Option<u64> {
    let rollout = draft.memory.rollout.as_ref()?;
    let version = rollout.launches()?;
    let launch = view.launch.as_ref().filter(|launch| launch.id == rollout.template)?;
    let told = rollout
        .asked
        .is_some_and(|asked| asked.version == version && (asked.shown || draft.age(asked.at) <= LAG));
    (launch.version != Some(version) && !told).then_some(version)
}

/// Remembers what the fleet is told with this cycle's modification.
pub(super) fn note_told(draft: &mut Draft<'_>, version: u64) {
    let now = draft.now;
    if let Some(rollout) = &mut draft.memory.rollout {
        rollout.asked = Some(Asked { version, at: now, shown: false });
    }
}

/// Tells the fleet what to launch where nothing else is written in this cycle.
pub(super) fn tell(draft: &mut Draft<'_>, ground: Ground<'_>) {
    let view = ground.view;
    let Some(version) = to_tell(draft, view).filter(|_| ground.settled) else { return };
    let bounds = draft.policy.capacity.min..=replace::most(draft);
    let writes = draft.actions.iter().any(crate::Action::is_of_fleet);
    if writes || !bounds.contains(&view.target) || !looked_lately(draft, ground) {
        return;
    }
    draft.report.decision = Decision::Launch { version };
    draft.modify(view, Parts::shown(view).change());
}

/// Enters those into the ledger that are to be replaced next, when nothing else is to be done.
///
/// The next few wait until the few before have gone, so that no more than `rollout.surge` are on their way at once.
///
/// * returns: whether that is this cycle's step.
pub(super) fn step(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>) -> bool {
    let quiet = draft.memory.removals.is_empty() && replace::hold_up_nobody(draft, ground.view.target);
    let Some(rollout) = draft.memory.rollout.clone().filter(|r| quiet && !r.is_over()) else { return false };
    let Some(herd) = herd else { return false };
    let launches = rollout.launches();
    let tells = launches
        .is_some_and(|version| rollout.asked.is_some_and(|asked| asked.shown && asked.version == version));
    if !tells {
        return false;
    }
    let going = next(draft, &rollout, herd, ground.view.target);
    if going.is_empty() {
        return false;
    }
    if !clear_sight(draft, Some(herd), ground.view) || !drain::knows_nodes(draft) {
        return true;
    }
    for member in going {
        let replacement = Replacement {
            cause: ReplacementCause::Rollout,
            step: ReplacementStep::Waiting,
            since: draft.now,
            weight: member.weight,
            market: member.pool.market,
            drain_until: None,
            deadline: None,
        };
        draft.memory.replacements.insert(member.id.clone(), replacement);
        // Whoever was replaced once and stayed is replaced for another reason now.
        draft.memory.replaced.remove(&member.id);
        if let Some(rollout) = &mut draft.memory.rollout {
            rollout.entered = rollout.entered.saturating_add(1);
        }
    }
    draft.look = true;
    true
}

/// One that was entered is in the ledger no more, and is chosen anew when there is a place for it.
pub(super) fn leave(draft: &mut Draft<'_>) {
    if let Some(rollout) = &mut draft.memory.rollout {
        rollout.entered = rollout.entered.saturating_sub(1);
    }
}

/// Whether somebody who is to be replaced may serve. What has failed, and what was never ready and is taken back, serves nobody and
/// tells of no load: where most of a fleet is of that kind, load would never be known.
fn is_of_use(draft: &Draft<'_>, rollout: &Rollout, member: &Member) -> bool {
    let taken_back = rollout.course == Course::Back && !has_been_ready(draft, member);
    rollout.halted.is_none() && !taken_back
}

/// Whom to replace now.
///
/// * `target`: the units that are wanted. Beside them each needs a place: those that have none wait for less to be wanted.
fn next<'a>(draft: &mut Draft<'_>, rollout: &Rollout, herd: &Herd<'a>, target: u32) -> Vec<&'a Member> {
    let failed = rollout.halted.is_some();
    let wrong = |m: &&Member| {
        if failed {
            has_failed(draft, rollout, m).is_some()
        } else {
            !runs(m, &rollout.template, rollout.goal())
        }
    };
    let room = usize::try_from(draft.policy.rollout.surge).unwrap_or(usize::MAX);
    let room = match (failed, rollout.course) {
        (false, Course::Forward) => room.min(reach(draft, rollout, herd)),
        _ => room,
    };
    let mut going: Vec<&Member> = herd.alive.iter().copied().filter(wrong).collect();
    going.retain(|m| !m.protected && m.weight.get() > 0.0 && m.phase != Phase::Draining);
    going.retain(|m| !draft.memory.replacements.contains_key(&m.id));
    victims::leave_batch_work(draft, &mut going);
    // Before it is cut to what there is room for: who may not go yet takes nobody's place.
    if going.iter().any(|m| is_of_use(draft, rollout, m)) && !wish::load_is_known(draft, Some(herd)) {
        going.retain(|m| !is_of_use(draft, rollout, m));
    }
    victims::sort(draft, herd, &mut going);
    let of_all = going.len();
    going.retain(|m| !has_been_ready(draft, m) || replace::has_place(draft, m.weight, target));
    if room > 0 && going.is_empty() && of_all > 0 {
        draft.hold(Hold::SurgeFull { waiting: of_all });
    }
    going.truncate(room);
    going
}

/// How many more may follow on the way forward: what is new is to be ready first, and the canary and the alarms watched.
fn reach(draft: &Draft<'_>, rollout: &Rollout, herd: &Herd<'_>) -> usize {
    let new = || herd.alive.iter().filter(|m| runs(m, &rollout.template, rollout.to));
    if !new().all(|m| rollout.ready.contains(&m.id)) || alarms::unknown(draft, rollout).is_some() {
        return 0;
    }
    match rollout.stage {
        Stage::Canary => canary(draft, herd).saturating_sub(new().count()),
        Stage::Watched { .. } | Stage::Ended { .. } => 0,
        Stage::Rest => usize::MAX,
    }
}

/// Whether an instance would be replaced anyway before long: where less is enough, it goes first.
pub(super) fn goes_anyway(draft: &Draft<'_>, member: &Member) -> bool {
    let rollout = draft.memory.rollout.as_ref().filter(|r| !r.is_over() && r.halted.is_none());
    rollout.is_some_and(|rollout| !runs(member, &rollout.template, rollout.goal()))
}
