//! Nodes that are drained and ineligible with nobody to account for it: capacity that serves nobody.

use super::draft::Draft;
use super::drain;
use super::herd::Herd;
use crate::{DrainBy, Phase, Remark};
use fleet::InstanceId;
use std::collections::BTreeMap;
use std::time::Duration;

/// For so long such a node may be somebody's who is about to say so, or what is seen may lag.
const ACCOUNTED_WITHIN: Duration = Duration::from_secs(120);

/// Finds them. They are the first to go when less is enough; see [`reuse`] for the others.
pub(super) fn find(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd.filter(|_| draft.seen.nodes.is_some()) else { return };
    let (now, before) = (draft.now, std::mem::take(&mut draft.memory.unaccounted));
    if draft.policy.drain.by != DrainBy::Nomad {
        return;
    }
    let nodes = draft.nodes();
    let idle = nodes.into_values().filter(|node| {
        !node.eligible
            && !node.draining
            && node.movable(true).next().is_none()
            && is_ours(draft, herd, &node.instance)
    });
    let found: BTreeMap<InstanceId, _> = idle
        .map(|node| (node.instance.clone(), before.get(&node.instance).copied().unwrap_or(now)))
        .collect();
    for (instance, since) in &found {
        draft.remark(Remark::Unaccounted { instance: instance.clone(), since: *since });
    }
    draft.memory.unaccounted = found;
}

/// Whether an instance serves, may be touched, and is in nobody's books. What presses of all that was heard of it has entered it
/// there before; the rest says nothing of its node.
fn is_ours(draft: &Draft<'_>, herd: &Herd<'_>, id: &InstanceId) -> bool {
    let memory = &draft.memory;
    let known = memory.removals.contains_key(id)
        || memory.replacements.contains_key(id)
        || memory.restoring.contains_key(id)
        || drain::is_kept_from_work(draft, id);
    let serves = herd.get(id).is_some_and(|m| m.phase == Phase::InService && !m.protected);
    serves && !known
}

/// Whether an instance has been found idle for long enough to be acted upon.
pub(super) fn is_idle(draft: &Draft<'_>, id: &InstanceId) -> bool {
    draft.memory.unaccounted.get(id).is_some_and(|since| draft.now.since(*since) >= ACCOUNTED_WITHIN)
}

/// Has those take work again that were not let go.
pub(super) fn reuse(draft: &mut Draft<'_>) {
    let idle: Vec<InstanceId> =
        draft.memory.unaccounted.keys().filter(|id| is_idle(draft, id)).cloned().collect();
    for id in idle {
        draft.memory.unaccounted.remove(&id);
        if !draft.memory.removals.contains_key(&id) && draft.node_of(&id).is_some() {
            draft.memory.restoring.insert(id, draft.now);
        }
    }
}
