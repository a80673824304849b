//! The past, planned again.

use crate::cycle::{decide, digest, shown};
use crate::{Cause, Cycle, Decided, Entry, Planner, Record, State, Withheld};
use autoscaler_core::Plan;
use fleet::{FleetName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Cycles that were planned again.
    pub cycles: u64,
    /// Records that could not be used, because no checkpoint came before them.
    pub skipped: u64,
    /// Checkpoints that were compared with what the records before them fold to.
    pub checkpoints: u64,
    /// Where it came out differently; empty when the journal was made by this very code.
    pub divergences: Vec<Divergence>,
}

/// What comes out differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Which fleet.
    pub fleet: FleetName,
    /// Which cycle, or when the checkpoint was written.
    pub at: Timestamp,
    /// What differs.
    pub what: Differs,
    /// The plan in the journal.
    pub recorded: Plan,
    /// The plan that is made now.
    pub replayed: Plan,
}

/// What a replay compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Differs {
    /// The steps.
    Plan,
    /// The memory afterwards.
    Memory,
    /// The explanation.
    Report,
    /// What the records fold to.
    Checkpoint,
    /// It panics now, or no longer.
    Panic,
}

/// Plans every recorded cycle again and compares, byte for byte.
///
/// * `entries`: of any number of fleets, each fleet's in order. A fleet's records before its first checkpoint are
///   left out.
/// * `planner`: [`autoscaler_core::plan`], or what is to be compared with what was.
pub fn replay(entries: impl IntoIterator<Item = Entry>, planner: Planner) -> Replayed {
    let mut replayed = Replayed::default();
    let mut states: BTreeMap<FleetName, State> = BTreeMap::new();
    for Entry { fleet, at, records } in entries {
        for record in records {
            match (states.get_mut(&fleet), record) {
                (None, Record::Checkpoint(checkpoint)) => _ = states.insert(fleet.clone(), checkpoint.state),
                (None, _) => replayed.skipped += 1,
                (Some(state), Record::Checkpoint(checkpoint)) => {
                    if checkpoint.cause == Cause::Periodic {
                        replayed.checkpoints += 1;
                        if *state != checkpoint.state {
                            replayed.differs(&fleet, at, Differs::Checkpoint, None);
                        }
                    }
                    *state = checkpoint.state;
                }
                (Some(state), Record::Cycle(cycle)) => {
                    replayed.cycles += 1;
                    if let Some((what, plan)) = plan_again(state, &cycle, planner) {
                        replayed.differs(&fleet, cycle.at, what, Some((cycle.plan.clone(), plan)));
                    }
                    state.end_cycle(&cycle);
                }
                (Some(state), record) => state.apply(&record),
            }
        }
    }
    replayed
}

impl Replayed {
    fn differs(&mut self, fleet: &FleetName, at: Timestamp, what: Differs, plans: Option<(Plan, Plan)>) {
        let (recorded, replayed) = plans.unwrap_or_default();
        self.divergences.push(Divergence { fleet: fleet.clone(), at, what, recorded, replayed });
    }
}

/// Plans a recorded cycle again.
///
/// * returns: what differs, with the plan that is made now.
fn plan_again(state: &mut State, recorded: &Cycle, planner: Planner) -> Option<(Differs, Plan)> {
    let Cycle { at, plan, withheld, memory, report_digest } = recorded;
    let panicked = *withheld == Some(Withheld::Panicked);
    let Ok((_, planned)) = decide(state, planner, *at) else {
        return (!panicked).then(|| (Differs::Panic, Plan::default()));
    };
    let advanced = memory.as_deref().unwrap_or(&state.memory);
    let stayed = withheld.as_ref().is_some_and(|why| *why != Withheld::DryRun);
    let differs = if panicked {
        Differs::Panic
    } else if planned.plan != *plan {
        Differs::Plan
    } else if !stayed && planned.memory != *advanced {
        Differs::Memory
    } else if digest(&planned.report) != *report_digest {
        Differs::Report
    } else {
        return None;
    };
    Some((differs, planned.plan))
}

/// The decision of the last cycle at or before a moment, with its whole arithmetic, made again from the journal.
///
/// * `entries`: of one fleet, in order, from a checkpoint before that moment on. What is later is not read.
/// * returns: `None` where no cycle is that old.
pub fn explain_at(
    entries: impl IntoIterator<Item = Entry>,
    at: Timestamp,
    planner: Planner,
) -> Option<Decided> {
    let mut state: Option<State> = None;
    let mut last = None;
    for Entry { records, .. } in entries {
        for record in records {
            match (&mut state, record) {
                (state, Record::Checkpoint(checkpoint)) => *state = Some(checkpoint.state),
                (None, _) => {}
                (Some(_), Record::Cycle(cycle)) if cycle.at > at => return last,
                (Some(state), Record::Cycle(cycle)) => {
                    let report = decide(state, planner, cycle.at).map(|(_, planned)| planned.report);
                    state.end_cycle(&cycle);
                    let report = shown(report.unwrap_or_default(), cycle.withheld.as_ref());
                    let Cycle { at, plan, withheld, .. } = cycle;
                    last = Some(Decided { at, plan, withheld, report });
                }
                (Some(state), record) => state.apply(&record),
            }
        }
    }
    last
}
