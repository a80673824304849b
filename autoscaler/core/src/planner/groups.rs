//! Service groups that grow and shrink with their fleet.

use super::draft::Draft;
use super::drain;
use super::herd::Herd;
use crate::number::full_units;
use crate::{Action, DrainBy, GroupCount, Member, Phase, ScaledGroup, Workload};

/// Sets the counts of the policy's groups to what serves, where Nomad shows another.
///
/// What is being emptied serves no more, so that its allocations are not placed anew where there is no room; never
/// fewer than `capacity.min` asks for. Who goes because less is enough is done without before its work is asked to leave. The
/// drain of one that is pressed, or for whom others come, is over first: a group that became smaller meanwhile would lose those whom
/// Nomad likes on nodes that stay, and at once all on those that are drained. Where Nomad's nodes are known, an instance serves a
/// group once its node takes work: counted before, its allocations would land on the others, and stay there.
pub(super) fn scale(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd else { return };
    for (group, seen, count) in wanted(draft, herd) {
        if seen.count != count {
            draft.actions.push(Action::ScaleGroup {
                namespace: group.namespace.clone(),
                job: group.job.clone(),
                group: group.group.clone(),
                count,
            });
        }
    }
}

/// Whether each group has been asked to have as many as is wanted of it, and whatever is too much has been told to end.
///
/// Before that, Nomad counts on what is about to end: it stops whom it likes of a group that becomes smaller, on nodes that stay as
/// well, and at once all of those on a node that is drained, for the others are healthy still. Then nobody serves.
pub(super) fn are_settled(draft: &Draft<'_>, herd: &Herd<'_>) -> bool {
    let nodes = || draft.seen.nodes.iter().flat_map(|nodes| &nodes.what);
    wanted(draft, herd).into_iter().all(|(group, seen, count)| {
        let ours = nodes().flat_map(|node| node.work.iter()).filter(|work| {
            work.namespace == group.namespace && work.job == group.job && work.group == group.group
        });
        let stay = ours.filter(|work| !work.stopping).count();
        // What is too much may be on nodes of others alone: Nomad counts all of them, the listing of nodes those of the fleet.
        let placed = seen.placed.is_none_or(|placed| placed <= count);
        seen.count == count && placed && u32::try_from(stay).is_ok_and(|stay| stay <= count)
    })
}

/// The policy's groups that Nomad shows, with the counts that they should have.
fn wanted<'a>(draft: &Draft<'a>, herd: &Herd<'_>) -> Vec<(&'a ScaledGroup, &'a GroupCount, u32)> {
    let policy = draft.policy;
    let Workload::Service(groups) = &policy.workload else { return Vec::new() };
    let goes = |m: &Member| {
        let removal = draft.memory.removals.contains_key(&m.id);
        removal || draft.memory.replacements.get(&m.id).is_some_and(|r| r.drain_until.is_some())
    };
    let takes = |m: &Member| {
        let known = policy.drain.by == DrainBy::Nomad && draft.seen.nodes.is_some();
        // One that somebody has closed keeps what runs there.
        !known || draft.node_of(&m.id).is_some_and(|node| node.ready && !node.unproved)
    };
    let serves = || herd.alive.iter().filter(|m| m.phase == Phase::InService && takes(m));
    let units = |weight: f64| full_units(weight).max(policy.capacity.min);
    let stay: f64 = serves().filter(|m| !goes(m)).map(|m| m.weight.get()).sum();
    let leave = serves().filter(|m| goes(m) && drain::is_yet_to_let_go(draft, &m.id));
    let there = units(stay + leave.map(|m| m.weight.get()).sum::<f64>());
    let units = units(stay);
    let with_counts = groups.iter().filter_map(|group| {
        let seen = draft.seen.groups.iter().find(|seen| {
            seen.namespace == group.namespace && seen.job == group.job && seen.group == group.group
        });
        let seen = seen?;
        let count = |units: u32| group.per_unit.saturating_mul(units);
        Some((group, seen, count(units).max(count(there).min(seen.count))))
    });
    with_counts.collect()
}
