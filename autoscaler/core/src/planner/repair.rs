//! A fleet that AWS let drift out of its spread is brought back by replacing, within a budget.

use super::draft::Draft;
use super::ground::Ground;
use super::herd::{Herd, clear_sight};
use super::{drain, replace, victims};
use crate::{Remark, Replacement, ReplacementCause, ReplacementStep};

/// Enters one instance of the fullest zone or pool into the ledger, to be replaced, when nothing else is to be done.
///
/// Where the new one is launched is AWS's choice: the budget bounds what is tried in vain.
///
/// * returns: whether that is this cycle's step.
pub(super) fn step(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, known: bool) -> bool {
    let budget = usize::try_from(draft.policy.diversification.repairs_per_hour).unwrap_or(usize::MAX);
    let quiet = draft.memory.replacements.is_empty() && draft.memory.removals.is_empty();
    if draft.memory.repairs.len() >= budget || !quiet || !known {
        return false;
    }
    let Some(herd) = herd else { return false };
    let Some(member) = victims::out_of_spread(draft, herd) else { return false };
    if !replace::has_place(draft, member.weight, ground.view.target) {
        return false;
    }
    if !clear_sight(draft, Some(herd), ground.view) || !drain::knows_nodes(draft) {
        return false;
    }
    let replacement = Replacement {
        cause: ReplacementCause::Spread,
        step: ReplacementStep::Waiting,
        since: draft.now,
        weight: member.weight,
        market: member.pool.market,
        drain_until: None,
        deadline: None,
    };
    draft.memory.replacements.insert(member.id.clone(), replacement);
    draft.memory.repairs.push(draft.now);
    draft.remark(Remark::Repaired { instance: member.id.clone() });
    draft.look = true;
    true
}
