//! Service groups that grow and shrink with their fleet.

use super::draft::Draft;
use super::drain::node_of;
use super::herd::Herd;
use crate::number::full_units;
use crate::{Action, DrainBy, Member, Phase, Workload};

/// Sets the counts of the policy's groups to what serves, where Nomad shows another.
///
/// What is being emptied serves no more, so that its allocations are not placed anew where there is no room; never
/// fewer than `capacity.min` asks for. Where Nomad's nodes are known, an instance serves a group once its node takes work: counted
/// before, its allocations would land on the others, and stay there.
pub(super) fn scale(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let policy = draft.policy;
    let (Workload::Service(groups), Some(herd)) = (&policy.workload, herd) else { return };
    let drains = |m: &Member| {
        let removal = draft.memory.removals.contains_key(&m.id);
        removal || draft.memory.replacements.get(&m.id).is_some_and(|r| r.drain_until.is_some())
    };
    let takes = |m: &Member| {
        let known = policy.drain.by == DrainBy::Nomad && draft.seen.nodes.is_some();
        // One that somebody has closed keeps what runs there.
        !known || node_of(draft, &m.id).is_some_and(|node| node.ready && !node.unproved)
    };
    let serves = herd.alive.iter().filter(|m| m.phase == Phase::InService && !drains(m) && takes(m));
    let units = full_units(serves.map(|m| m.weight.get()).sum()).max(policy.capacity.min);
    for group in groups {
        let seen = draft.seen.groups.iter().find(|seen| {
            seen.namespace == group.namespace && seen.job == group.job && seen.group == group.group
        });
        let count = group.per_unit.saturating_mul(units);
        if seen.is_some_and(|seen| seen.count != count) {
            draft.actions.push(Action::ScaleGroup {
                namespace: group.namespace.clone(),
                job: group.job.clone(),
                group: group.group.clone(),
                count,
            });
        }
    }
}
