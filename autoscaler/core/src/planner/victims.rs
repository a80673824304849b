//! Whom to let go.

use super::draft::Draft;
use super::herd::{ByMarket, Herd, LEEWAY};
use crate::number::millionths;
use crate::{Diversification, Member, Phase};
use fleet::{Health, InstanceId, NoticeKind};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// From so many instances up the spread is watched.
const SPREAD_FROM: usize = 4;

/// Chooses whom to let go, whole instances only and never more than is spare.
///
/// The spread comes first; then those that are no loss (unhealthy, doomed, not serving yet), those at risk, the
/// fullest pools, the youngest. Protected ones never.
///
/// * `spare`: the units that may go, by market.
/// * returns: the victims, in the order of choice; their weights sum to at most `spare`.
pub(super) fn choose<'a>(draft: &Draft<'_>, herd: &Herd<'a>, mut spare: ByMarket) -> Vec<&'a Member> {
    let ranks = Ranks::of(draft);
    let staying: Vec<&Member> = herd.kept(draft).collect();
    let mut pools = Spread::over(staying.iter().copied().filter(|m| ranks.counts(m)));
    let mut candidates: Vec<&Member> = staying.iter().copied().filter(|m| may_go(m)).collect();
    let mut chosen: Vec<&Member> = Vec::new();
    let before = pools.lack(&draft.policy.diversification);
    loop {
        let fits = |m: &Member| m.weight.get() <= spare.of(m.pool.market) + LEEWAY;
        let best = candidates
            .iter()
            .enumerate()
            .filter(|(_, m)| fits(m))
            .map(|(index, m)| (index, pools.without(m, ranks.counts(m), &draft.policy.diversification), *m))
            .min_by(|(_, lack_a, a), (_, lack_b, b)| {
                lack_a
                    .lack
                    .cmp(&lack_b.lack)
                    .then_with(|| ranks.compare(a, lack_a.largest, b, lack_b.largest))
            });
        let Some((index, _, victim)) = best else { break };
        candidates.remove(index);
        *spare.of_mut(victim.pool.market) -= victim.weight.get();
        pools.take(victim, ranks.counts(victim));
        chosen.push(victim);
    }
    swap_for_spread(draft, &ranks, &mut pools, &mut chosen, &mut candidates, before);
    chosen
}

/// Whether an instance may be chosen at all. One that drains is somebody else's victim.
fn may_go(member: &Member) -> bool {
    !member.protected && member.weight.get() > 0.0 && member.phase != Phase::Draining
}

/// One victim after the other may end in a worse spread than the best exchange of one for another: makes those
/// exchanges, as long as they help.
fn swap_for_spread<'a>(
    draft: &Draft<'_>,
    ranks: &Ranks<'_>,
    pools: &mut Spread<'a>,
    chosen: &mut [&'a Member],
    candidates: &mut [&'a Member],
    before: Lack,
) {
    let rule = &draft.policy.diversification;
    // Each exchange strictly improves a finite measure, so that this ends; the bound is for the reader.
    for _ in 0..10_000 {
        let now = pools.lack(rule);
        if now <= before {
            return;
        }
        let mut found = None;
        'search: for (i, victim) in chosen.iter().enumerate() {
            pools.give_back(victim, ranks.counts(victim));
            for (j, other) in candidates.iter().enumerate() {
                let same = other.pool.market == victim.pool.market
                    && other.weight.get() <= victim.weight.get() + LEEWAY;
                if same && pools.without(other, ranks.counts(other), rule).lack < now {
                    found = Some((i, j));
                    pools.take(other, ranks.counts(other));
                    break 'search;
                }
            }
            pools.take(victim, ranks.counts(victim));
        }
        let Some((i, j)) = found else { return };
        std::mem::swap(&mut chosen[i], &mut candidates[j]);
    }
}

/// What decides among victims beside the spread.
struct Ranks<'a> {
    doomed: BTreeSet<&'a InstanceId>,
    at_risk: BTreeSet<&'a InstanceId>,
    begun: BTreeSet<&'a InstanceId>,
}

impl<'a> Ranks<'a> {
    fn of(draft: &'a Draft<'_>) -> Self {
        let of_kind = |interruption: bool| {
            let notices = draft.seen.notices.iter();
            notices
                .filter(|n| (n.kind == NoticeKind::SpotInterruption) == interruption)
                .map(|n| &n.instance)
                .collect()
        };
        Self { doomed: of_kind(true), at_risk: of_kind(false), begun: draft.memory.removals.keys().collect() }
    }

    /// Whether an instance counts for the spread: what is broken or about to go does not.
    fn counts(&self, member: &Member) -> bool {
        member.health == Health::Healthy && !self.doomed.contains(&member.id)
    }

    fn compare(&self, a: &Member, largest_a: f64, b: &Member, largest_b: f64) -> Ordering {
        let class = |m: &Member| {
            (
                !self.begun.contains(&m.id),
                m.health == Health::Healthy,
                !self.doomed.contains(&m.id),
                match m.phase {
                    Phase::Requested | Phase::Leaving => 0,
                    Phase::Booting => 1,
                    Phase::InService | Phase::Draining => 2,
                },
                !self.at_risk.contains(&m.id),
            )
        };
        class(a)
            .cmp(&class(b))
            .then_with(|| largest_a.total_cmp(&largest_b))
            .then_with(|| b.launched.cmp(&a.launched))
            .then_with(|| a.id.cmp(&b.id))
    }
}

/// How much a spread falls short of the policy, worst first: families missing, then share beyond the largest
/// allowed, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Lack {
    families: usize,
    share_millionths: u64,
}

/// A spread with one instance less.
struct Without {
    lack: Lack,
    /// The share of the largest pool, 0..=1.
    largest: f64,
}

/// How instances are spread over pools and families.
struct Spread<'a> {
    /// Units and instances by pool.
    pools: BTreeMap<&'a fleet::Pool, (f64, usize)>,
    /// Whether there are instances enough, before anything goes, to speak of a spread.
    watched: bool,
}

impl<'a> Spread<'a> {
    fn over(members: impl Iterator<Item = &'a Member>) -> Self {
        let mut spread = Self { pools: BTreeMap::new(), watched: false };
        members.for_each(|m| spread.give_back(m, true));
        spread.watched = spread.pools.values().map(|(_, count)| count).sum::<usize>() >= SPREAD_FROM;
        spread
    }

    fn give_back(&mut self, member: &'a Member, counts: bool) {
        if counts {
            let pool = self.pools.entry(&member.pool).or_default();
            *pool = (pool.0 + member.weight.get(), pool.1 + 1);
        }
    }

    fn take(&mut self, member: &Member, counts: bool) {
        if let Some(pool) = self.pools.get_mut(&member.pool).filter(|_| counts) {
            *pool = (pool.0 - member.weight.get(), pool.1.saturating_sub(1));
        }
    }

    fn lack(&self, rule: &Diversification) -> Lack {
        self.measure(None, rule).lack
    }

    fn without(&self, member: &Member, counts: bool, rule: &Diversification) -> Without {
        self.measure(Some(member).filter(|_| counts), rule)
    }

    /// Measures the spread, with one instance left out.
    fn measure(&self, left_out: Option<&Member>, rule: &Diversification) -> Without {
        let mut families: Vec<&str> = Vec::with_capacity(self.pools.len());
        let (mut largest, mut total) = (0.0_f64, 0.0_f64);
        for (pool, (weight, count)) in &self.pools {
            let less = left_out.filter(|m| m.pool == **pool);
            let weight = weight - less.map_or(0.0, |m| m.weight.get());
            if count - usize::from(less.is_some()) == 0 {
                continue;
            }
            let name = pool.instance_type.as_str();
            families.push(name.split_once('.').map_or(name, |(family, _)| family));
            largest = largest.max(weight);
            total += weight;
        }
        families.sort_unstable();
        families.dedup();
        let largest = if total > 0.0 { largest / total } else { 0.0 };
        if !self.watched {
            return Without { lack: Lack { families: 0, share_millionths: 0 }, largest };
        }
        let wanted = usize::try_from(rule.families).unwrap_or(usize::MAX);
        let beyond = (largest - rule.max_pool_share).max(0.0);
        Without {
            lack: Lack {
                families: wanted.saturating_sub(families.len()),
                share_millionths: millionths(beyond),
            },
            largest,
        }
    }
}
