//! What the log tells of fleets: what was decided, what held it back, how it ended, and what is wrong.
//!
//! A reason that lasts is told once, when it begins; the journal has every cycle. Fields are plain: labels,
//! numbers, times in RFC 3339, words; nobody reads a log in Rust's notation.

use crate::alarm_text;
use autoscaler_core::{Decision, Hold};
use autoscaler_engine::{
    AlarmChange, Command, Decided, Engine, Entry, Operation, Order, Outcome, Record, RolloutOrder, Withheld,
    Write,
};
use fleet::{DurationText, FleetName, Power, Region, Utilization};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::mem::{Discriminant, discriminant};

/// What was last told of each fleet.
#[derive(Debug, Default)]
pub(crate) struct Logbook {
    told: BTreeMap<FleetName, Told>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    decision: Option<Discriminant<Decision>>,
    holds: Vec<Discriminant<Hold>>,
    withheld: Option<Discriminant<Withheld>>,
}

impl Logbook {
    /// Tells of an alarm: most that are raised need an operator.
    pub(crate) fn alarm(change: &AlarmChange) {
        let AlarmChange { at: _, fleet, raised, alarm } = change;
        let fleet = fleet.as_ref().map(FleetName::as_str);
        let (label, detail) = (alarm.label(), alarm_text(alarm));
        if !raised {
            tracing::info!(fleet, alarm = label, "cleared an alarm");
        } else if alarm.is_warning() {
            tracing::warn!(fleet, alarm = label, detail, "raised an alarm");
        } else {
            tracing::error!(fleet, alarm = label, detail, "raised an alarm");
        }
    }

    /// Tells of an order that came in.
    pub(crate) fn order(Command { fleet, order, by, reason }: &Command) {
        let fleet = fleet.as_ref().map(FleetName::as_str);
        match *order {
            Order::Rollout(ref order) => {
                let (order, version) = match order {
                    RolloutOrder::Start { version, .. } => ("rollout_start", Some(*version)),
                    RolloutOrder::Pause => ("rollout_pause", None),
                    RolloutOrder::Resume => ("rollout_resume", None),
                    RolloutOrder::Abort => ("rollout_abort", None),
                };
                tracing::info!(fleet, order, version, by, reason, "received an order");
            }
            Order::Pause { lasts } => {
                let lasts = lasts_text(lasts);
                tracing::info!(fleet, order = "pause", lasts, by, reason, "received an order");
            }
            Order::Override { min, max, target, lasts } => {
                let (lasts, target) = (lasts_text(lasts), target.map(Utilization::get));
                tracing::info!(
                    fleet,
                    order = "override",
                    min,
                    max,
                    target_utilization = target,
                    lasts,
                    by,
                    reason,
                    "received an order"
                );
            }
            Order::Resume => tracing::info!(fleet, order = "resume", by, reason, "received an order"),
            Order::EndOverride => {
                tracing::info!(fleet, order = "end_override", by, reason, "received an order");
            }
        }
    }

    /// Tells of a write that is handed on to be sent.
    pub(crate) fn write(region: &Region, write: &Write) {
        let operation = write.label();
        match write {
            Write::Modify { fleet, change } => {
                let (id, target) = (fleet.id.as_str(), change.target);
                let (on_demand_target, version) = (change.on_demand_target, change.launch);
                tracing::info!(%region, operation, id, target, on_demand_target, version, "began a write");
            }
            Write::Terminate { fleet, instances } => {
                let (id, instances) = (fleet.id.as_str(), joined(instances));
                tracing::info!(%region, operation, id, instances, "began a write");
            }
            Write::Cordon(node) | Write::Drain { node, .. } | Write::Restore(node) => {
                let (fleet, instance) = (&node.fleet, &node.instance);
                tracing::info!(%fleet, operation, %instance, "began a write");
            }
            Write::ScaleGroup { namespace, job, group, count } => {
                tracing::info!(operation, namespace, job, group, count, "began a write");
            }
        }
    }

    /// Tells of what is being recorded.
    pub(crate) fn note(&mut self, entries: &[Entry], engine: &Engine) {
        for entry in entries {
            for record in &entry.records {
                match record {
                    Record::Cycle(_) => {
                        if let Some(decided) = engine.decisions(&entry.fleet).and_then(|mut kept| kept.pop())
                        {
                            self.cycle(&entry.fleet, &decided);
                        }
                    }
                    Record::Outcome { operation, outcome, .. } => {
                        Self::outcome(&entry.fleet, *operation, outcome);
                    }
                    Record::ClockJumped { by_ms } => {
                        tracing::warn!(fleet = %entry.fleet, by_ms, "noticed a jump of the wall clock");
                    }
                    _ => {}
                }
            }
        }
    }

    fn cycle(&mut self, fleet: &FleetName, Decided { at: _, plan, withheld, report }: &Decided) {
        let now = Told {
            decision: Some(discriminant(&report.decision)),
            holds: report.holds.iter().map(discriminant).collect(),
            withheld: withheld.as_ref().map(discriminant),
        };
        let known = self.told.get(fleet);
        let acts = !plan.actions.is_empty() && withheld.is_none();
        if !acts && known == Some(&now) {
            return;
        }
        let span = tracing::info_span!("cycle", %fleet);
        let _inside = span.enter();
        let (decision, from, to) = of(report.decision);
        let (utilization, demand) = (report.utilization.map(Utilization::get), report.demand.map(Power::get));
        let holds = joined(report.holds.iter().map(Hold::label));
        // What is said of the fleet in words, numbers and times included.
        let why = sentences(&report.holds);
        let remarks = sentences(&report.remarks);
        if acts {
            let steps = plan.actions.len();
            tracing::info!(
                decision,
                from,
                to,
                utilization,
                demand,
                steps,
                holds,
                why,
                remarks,
                "decided to act"
            );
        } else {
            let target = report.target;
            let withheld = withheld.as_ref().map(Withheld::label);
            tracing::info!(
                decision,
                from,
                to,
                target,
                utilization,
                demand,
                holds,
                why,
                remarks,
                withheld,
                "decided to wait"
            );
        }
        self.told.insert(fleet.clone(), now);
    }

    fn outcome(fleet: &FleetName, operation: Operation, outcome: &Outcome) {
        let operation = operation.label();
        let (how, class, why) = match outcome {
            Outcome::Done => {
                tracing::info!(%fleet, operation, "carried a step out");
                return;
            }
            Outcome::Failed { class, message } => ("failed", Some(class.label()), Some(message.clone())),
            Outcome::NotSent(why) => ("not_sent", None, Some(why.to_string())),
            Outcome::Skipped => ("skipped", None, None),
            Outcome::NotJournaled => ("not_journaled", None, None),
        };
        tracing::warn!(%fleet, operation, outcome = how, class, why, "could not carry a step out");
    }
}

/// The label of a decision, and the targets before and after it.
const fn of(decision: Decision) -> (&'static str, Option<u32>, Option<u32>) {
    let (from, to) = match decision {
        Decision::ScaleOut { from, to }
        | Decision::ScaleIn { from, to }
        | Decision::Replace { from, to }
        | Decision::LowerBack { from, to } => (Some(from), Some(to)),
        Decision::SetRight { target } => (Some(target), Some(target)),
        Decision::Steady
        | Decision::Trim { .. }
        | Decision::Drain { .. }
        | Decision::Keep { .. }
        | Decision::Shift { .. }
        | Decision::Launch { .. }
        | Decision::Held => (None, None),
    };
    (decision.label(), from, to)
}

fn lasts_text(lasts: std::time::Duration) -> String {
    DurationText(lasts).to_string()
}

fn joined(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// Words, one after the other; `None` where there are none.
fn sentences(items: &[impl Display]) -> Option<String> {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests;
