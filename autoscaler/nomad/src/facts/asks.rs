//! What work asks of a node beside resources and ports, as words that nodes are compared by.
//!
//! The planner knows nothing of constraints: work carries the words of what it asks for ([`fleet::Work::asks`]), a node
//! those of them that it does not give ([`fleet::NodeView::refuses`]). So what is kept grows with the jobs, not with jobs
//! times nodes.

use super::{AllocFact, ConstraintFact, NodeFact, NodeStatus};
use fleet::NodeView;
use std::collections::BTreeMap;

/// One thing that an allocation asks of whichever node it moves to.
enum Ask<'a> {
    Pool(&'a str),
    /// One of these, names with `*` in them.
    Datacenters(&'a [String]),
    /// Devices are not counted here: nobody is known to have one free.
    Devices,
    /// A constraint, and what its sides read where it is met: on the node that the allocation is on.
    Constraint(&'a ConstraintFact, [Option<&'a str>; 2]),
    /// Another value than any other of its job has: who else has which is not known here.
    DistinctProperty,
}

impl Ask<'_> {
    fn is_met(&self, node: &NodeFact) -> bool {
        match self {
            Self::Pool(pool) => node.pool == *pool,
            Self::Datacenters(patterns) => patterns.iter().any(|pattern| matches(pattern, &node.datacenter)),
            Self::Devices | Self::DistinctProperty => false,
            Self::Constraint(constraint, [left, right]) => {
                let same = value(node, &constraint.left) == *left && value(node, &constraint.right) == *right;
                same || is_met(constraint, node) == Some(true)
            }
        }
    }

    /// The same word for the same thing.
    fn word(&self) -> String {
        match self {
            Self::Pool(pool) => format!("pool {pool}"),
            Self::Datacenters(patterns) => format!("datacenter {}", patterns.join(",")),
            Self::Devices => "devices".to_owned(),
            Self::DistinctProperty => "distinct_property".to_owned(),
            Self::Constraint(ConstraintFact { left, operand, right }, [a, b]) => {
                // Where it cannot be worked out, what it is met with is part of it.
                let met_with = if can_be_worked_out(operand) {
                    String::new()
                } else {
                    format!(" as with {} {}", a.unwrap_or_default(), b.unwrap_or_default())
                };
                format!("{left} {operand} {right}{met_with}")
            }
        }
    }
}

/// What an allocation on this node asks of another.
fn asks<'a>(alloc: &'a AllocFact, node: &'a NodeFact) -> Vec<Ask<'a>> {
    let mut asks = Vec::new();
    if !alloc.any_pool {
        asks.push(Ask::Pool(&node.pool));
    }
    if !alloc.datacenters.iter().any(|pattern| pattern == "*") {
        asks.push(Ask::Datacenters(&alloc.datacenters));
    }
    if alloc.devices {
        asks.push(Ask::Devices);
    }
    for constraint in &alloc.constraints {
        match &*constraint.operand {
            "distinct_hosts" => {}
            "distinct_property" => asks.push(Ask::DistinctProperty),
            _ => {
                let sides = [value(node, &constraint.left), value(node, &constraint.right)];
                asks.push(Ask::Constraint(constraint, sides));
            }
        }
    }
    asks
}

/// Whether an allocation goes to no node that has another of its job.
fn is_alone(alloc: &AllocFact) -> bool {
    alloc.constraints.iter().any(|asked| asked.operand == "distinct_hosts" && asked.right != "false")
}

/// The planner's views of nodes that are not down and on an instance, in the order given: what their work asks for, and
/// what of all that each of them refuses.
///
/// Where all nodes give what is asked for, nothing of it is in the views. O(nodes x different things asked for).
pub fn views(nodes: &[NodeFact]) -> Vec<NodeView> {
    let living = || nodes.iter().filter(|node| node.status != NodeStatus::Down && node.instance.is_some());
    let mut asked: BTreeMap<String, Ask<'_>> = BTreeMap::new();
    for node in living() {
        for ask in node.allocs.iter().flat_map(|alloc| asks(alloc, node)) {
            asked.entry(ask.word()).or_insert(ask);
        }
    }
    asked.retain(|_, ask| living().any(|node| !ask.is_met(node)));
    let view = |node: &NodeFact| {
        let mut view = node.view()?;
        for (work, alloc) in view.work.iter_mut().zip(&node.allocs) {
            let words = asks(alloc, node).into_iter().map(|ask| ask.word());
            work.asks = words.filter(|word| asked.contains_key(word)).collect();
            work.asks.sort();
            work.asks.dedup();
            work.distinct_hosts = is_alone(alloc);
        }
        let refused = asked.iter().filter(|(_, ask)| !ask.is_met(node));
        view.refuses = refused.map(|(word, _)| word.clone()).collect();
        Some(view)
    };
    living().filter_map(view).collect()
}

fn can_be_worked_out(operand: &str) -> bool {
    matches!(
        operand,
        "=" | "=="
            | "is"
            | "!="
            | "not"
            | "is_set"
            | "is_not_set"
            | "semver"
            | "set_contains"
            | "set_contains_all"
            | "set_contains_any"
    )
}

/// Whether a node meets a constraint, where that can be worked out.
pub(super) fn is_met(constraint: &ConstraintFact, node: &NodeFact) -> Option<bool> {
    let (left, right) = (value(node, &constraint.left), value(node, &constraint.right));
    Some(match &*constraint.operand {
        "=" | "==" | "is" => left.is_some() && left == right,
        "!=" | "not" => left != right,
        "is_set" => left.is_some(),
        "is_not_set" => left.is_none(),
        // Nomad asks these by itself, of whatever has a signal of its own, Vault or Consul. A set is in another order on each node.
        "set_contains" | "set_contains_all" => {
            items(right?).all(|item| items(left.unwrap_or_default()).any(|has| has == item))
        }
        "set_contains_any" => {
            items(right?).any(|item| items(left.unwrap_or_default()).any(|has| has == item))
        }
        "semver" => {
            let asked = semver::VersionReq::parse(right?).ok()?;
            left.and_then(|has| semver::Version::parse(has).ok()).is_some_and(|has| asked.matches(&has))
        }
        _ => return None,
    })
}

/// What is in a set, as Nomad writes it.
fn items(set: &str) -> impl Iterator<Item = &str> {
    set.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// One side of a constraint on a node: what it names, or itself.
pub(super) fn value<'a>(node: &'a NodeFact, side: &'a str) -> Option<&'a str> {
    if side.starts_with("${") { node.properties.get(side).map(|text| &**text) } else { Some(side) }
}

/// Whether a name matches a pattern in which each `*` stands for any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}
