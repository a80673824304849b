//! Whether what runs on one node would fit on others.

use super::asks::{self, matches, value};
use super::{AllocFact, ConstraintFact, NodeFact};
use fleet::{NodeId, Resources, WorkKind};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Where each allocation of a node would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// Those with a place, in the order in which they were packed.
    pub moves: Vec<Move>,
    /// Those without, in the same order. Empty: the node can go.
    pub stuck: Vec<Stuck>,
}

/// An allocation with a place to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The allocation.
    pub alloc: String,
    /// Where it would fit. Nomad may choose another.
    pub to: NodeId,
}

/// An allocation without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The allocation.
    pub alloc: String,
    /// Its job's namespace.
    pub namespace: String,
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Why the node that came nearest does not take it.
    pub why: Misfit,
}

/// Why a node does not take an allocation; what comes later in this list came nearer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Misfit {
    /// There is no other node that takes work.
    NoNode,
    /// Another pool, or a datacenter that its job does not run in.
    Elsewhere,
    /// It has devices reserved, which are not counted here.
    Devices,
    /// A constraint that the node does not meet, or that cannot be told to be met.
    Constraint(ConstraintFact),
    /// A static port that is taken.
    Port(u16),
    /// CPU, memory or disk.
    Resources {
        /// What is missing.
        missing: Resources,
    },
}

impl Fit {
    /// Whether everything has a place.
    pub fn fits(&self) -> bool {
        self.stuck.is_empty()
    }
}

/// What is free on a node that takes work.
struct Room<'a> {
    node: &'a NodeFact,
    free: Resources,
    ports: BTreeSet<u16>,
    /// Jobs that are on it: (namespace, job).
    jobs: BTreeSet<(&'a str, &'a str)>,
}

/// Whether what runs on `victim` would fit on those of `others` that take work.
///
/// First fit, largest first: allocations with static ports, then by their largest share of the largest node, ties
/// by id; nodes in the order given. Conservative: what it packs, Nomad can place one by one; what it does not
/// pack, Nomad might.
///
/// * `others`: in any order; the victim itself among them is passed over. Allocations on their way out hold their
///   resources until they have ended. System jobs are everywhere already and need no place.
/// * Constraints: the allocation meets them on the victim, so it does wherever they read the same values. Where
///   they differ, `=`, `!=`, `is_set`, `is_not_set`, `semver` and `set_contains` with its kin are worked out; others
///   count as not met. `distinct_hosts` counts for all of its job; `distinct_property` counts as not met.
/// * Not looked at: affinities, spread, volumes, quotas, priorities (nobody is pushed out).
///
/// Never fails. O(allocations x nodes).
pub fn fits<'a>(victim: &NodeFact, others: impl IntoIterator<Item = &'a NodeFact>) -> Fit {
    let takes = |node: &&NodeFact| node.id != victim.id && node.takes_work();
    let mut rooms: Vec<Room> = others.into_iter().filter(takes).map(Room::of).collect();
    let largest =
        rooms.iter().map(|room| room.node.capacity).fold(Resources::default(), |largest, one| Resources {
            cpu_mhz: largest.cpu_mhz.max(one.cpu_mhz),
            memory_mib: largest.memory_mib.max(one.memory_mib),
            disk_mib: largest.disk_mib.max(one.disk_mib),
        });
    let moves = |alloc: &&AllocFact| {
        !alloc.work.stopping && matches!(alloc.work.kind, WorkKind::Service | WorkKind::Batch)
    };
    let mut allocs: Vec<&AllocFact> = victim.allocs.iter().filter(moves).collect();
    allocs.sort_by_key(|alloc| {
        (Reverse(!alloc.work.ports.is_empty()), Reverse(share(alloc.work.needs, largest)), &alloc.id)
    });
    let mut fit = Fit::default();
    for alloc in allocs {
        let mut why = Misfit::NoNode;
        let place = rooms.iter_mut().find(|room| match room.refuses(alloc, victim) {
            None => true,
            Some(reason) => {
                if rank(&reason) > rank(&why) {
                    why = reason;
                }
                false
            }
        });
        if let Some(room) = place {
            room.take(alloc);
            fit.moves.push(Move { alloc: alloc.id.clone(), to: room.node.id.clone() });
        } else {
            let work = &alloc.work;
            fit.stuck.push(Stuck {
                alloc: alloc.id.clone(),
                namespace: work.namespace.clone(),
                job: work.job.clone(),
                group: work.group.clone(),
                why,
            });
        }
    }
    fit
}

/// The larger of the shares in millionths; all of it where the node has nothing.
fn share(needs: Resources, of: Resources) -> u64 {
    let part = |need: u64, all: u64| need.saturating_mul(1_000_000).checked_div(all).unwrap_or(u64::MAX);
    let larger = part(needs.cpu_mhz, of.cpu_mhz).max(part(needs.memory_mib, of.memory_mib));
    larger.max(part(needs.disk_mib, of.disk_mib))
}

const fn rank(why: &Misfit) -> u8 {
    match why {
        Misfit::NoNode => 0,
        Misfit::Elsewhere => 1,
        Misfit::Devices => 2,
        Misfit::Constraint(_) => 3,
        Misfit::Port(_) => 4,
        Misfit::Resources { .. } => 5,
    }
}

impl<'a> Room<'a> {
    fn of(node: &'a NodeFact) -> Self {
        let mut room =
            Self { node, free: node.capacity, ports: node.reserved_ports.clone(), jobs: BTreeSet::new() };
        for alloc in &node.allocs {
            room.hold(alloc);
            room.jobs.insert((&alloc.work.namespace, &alloc.work.job));
        }
        room
    }

    fn hold(&mut self, alloc: &AllocFact) {
        self.free = self.free.less(alloc.work.needs);
        self.ports.extend(&alloc.work.ports);
    }

    fn take<'b: 'a>(&mut self, alloc: &'b AllocFact) {
        self.hold(alloc);
        self.jobs.insert((&alloc.work.namespace, &alloc.work.job));
    }

    fn refuses(&self, alloc: &AllocFact, victim: &NodeFact) -> Option<Misfit> {
        let node = self.node;
        let in_place = alloc.datacenters.iter().any(|pattern| matches(pattern, &node.datacenter));
        let in_pool = alloc.any_pool || node.pool == victim.pool;
        if !in_pool || !in_place {
            return Some(Misfit::Elsewhere);
        }
        if alloc.devices {
            return Some(Misfit::Devices);
        }
        if let Some(unmet) =
            alloc.constraints.iter().find(|constraint| !self.meets(constraint, alloc, victim))
        {
            return Some(Misfit::Constraint(unmet.clone()));
        }
        if let Some(taken) = alloc.work.ports.iter().find(|port| self.ports.contains(port)) {
            return Some(Misfit::Port(*taken));
        }
        let missing = alloc.work.needs.less(self.free);
        (missing != Resources::default()).then_some(Misfit::Resources { missing })
    }

    fn meets(&self, constraint: &ConstraintFact, alloc: &AllocFact, victim: &NodeFact) -> bool {
        let ConstraintFact { left, operand, right } = constraint;
        match &**operand {
            "distinct_hosts" => {
                right == "false" || !self.jobs.contains(&(&*alloc.work.namespace, &*alloc.work.job))
            }
            "distinct_property" => false,
            _ => {
                let same = |side| value(self.node, side) == value(victim, side);
                (same(left) && same(right)) || asks::is_met(constraint, self.node) == Some(true)
            }
        }
    }
}
