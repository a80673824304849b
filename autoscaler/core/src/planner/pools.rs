//! Pools remember: what took instances back or had none to give is avoided for a while.

use super::draft::Draft;
use crate::{Memory, PoolMemory, PoolTrouble, Remark, TroubleKind};
use fleet::{Pool, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Counts below this say nothing any more, and are forgotten: five half-lives after a single trouble.
const FORGOTTEN: f64 = 0.03;

/// Takes in what pools did since the cycle before.
///
/// A trouble that is not newer than the last one of its kind that was told of its pool was told before: it counts once. What
/// is told late of another kind counts, as what it is: old.
pub(super) fn remember(draft: &mut Draft<'_>) {
    let (now, half_life) = (draft.now, draft.policy.interruption.avoid_pool);
    let seen = draft.seen;
    // Of several troubles of one pool each is compared with what was told before this cycle.
    let known = if seen.troubles.is_empty() { Vec::new() } else { draft.memory.pools.clone() };
    for trouble in &seen.troubles {
        let of_pool = known.iter().find(|known| known.pool == trouble.pool);
        let before = of_pool.and_then(|known| known.told.get(&trouble.kind).copied());
        let at = trouble.at.min(now);
        if before.is_some_and(|before| at <= before) {
            continue;
        }
        note_loss(draft, trouble);
        let entry = hold_against(&mut draft.memory, &trouble.pool, trouble.kind, at, half_life);
        let newest = entry.told.entry(trouble.kind).or_insert(at);
        *newest = at.max(*newest);
    }
    draft.memory.pools.retain(|p| held(p, now, half_life) >= FORGOTTEN);
}

/// An instance that went without a word: the fleet replaces it, and we tell how late we learned.
fn note_loss(draft: &mut Draft<'_>, trouble: &PoolTrouble) {
    let Some(instance) = trouble.instance.clone().filter(|_| trouble.kind == TroubleKind::Interrupted) else {
        return;
    };
    let late = draft.now.since(trouble.at);
    draft.remark(Remark::LostUnannounced { instance, pool: trouble.pool.clone(), late });
}

/// Adds one trouble to what is held against a pool, as far as it has not decayed since.
pub(super) fn hold_against<'a>(
    memory: &'a mut Memory,
    pool: &Pool,
    kind: TroubleKind,
    at: Timestamp,
    half_life: Duration,
) -> &'a mut PoolMemory {
    let index = memory.pools.binary_search_by(|p| p.pool.cmp(pool)).unwrap_or_else(|index| {
        let told = BTreeMap::new();
        let entry = PoolMemory { pool: pool.clone(), interrupted: 0.0, refused: 0.0, at, told };
        memory.pools.insert(index, entry);
        index
    });
    let entry = &mut memory.pools[index];
    let (left, one) = (decay(at.since(entry.at), half_life), decay(entry.at.since(at), half_life));
    entry.interrupted *= left;
    entry.refused *= left;
    entry.at = entry.at.max(at);
    match kind {
        TroubleKind::Interrupted => entry.interrupted += one,
        TroubleKind::NoCapacity | TroubleKind::LaunchFailed => entry.refused += one,
    }
    entry
}

/// What is held against a pool now: 0 where nothing is.
pub(super) fn held_against(draft: &Draft<'_>, pool: &Pool) -> f64 {
    let entry = draft.memory.pools.iter().find(|p| p.pool == *pool);
    entry.map_or(0.0, |entry| held(entry, draft.now, draft.policy.interruption.avoid_pool))
}

fn held(entry: &PoolMemory, now: Timestamp, half_life: Duration) -> f64 {
    (entry.interrupted + entry.refused) * entry.left(now, half_life)
}

impl PoolMemory {
    /// What is left of its counts at a later moment, as a share, 0..=1.
    ///
    /// * `half_life`: the policy's `interruption.avoid_pool`; nothing is left where that is zero.
    pub fn left(&self, now: Timestamp, half_life: Duration) -> f64 {
        decay(now.since(self.at), half_life)
    }
}

/// What is left of a count after some time: half of it after each half-life, nothing without one.
fn decay(after: Duration, half_life: Duration) -> f64 {
    if half_life.is_zero() { 0.0 } else { (-after.as_secs_f64() / half_life.as_secs_f64()).exp2() }
}
