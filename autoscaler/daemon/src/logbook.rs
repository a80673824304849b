//! What the log tells of fleets: what was decided, what held it back, how it ended, and what is wrong.
//!
//! A reason that lasts is told once, when it begins; the journal has every cycle.

use autoscaler_core::{Decision, Hold};
use autoscaler_engine::{AlarmChange, Decided, Engine, Entry, Operation, Outcome, Record, Withheld};
use fleet::{FleetName, Power, Utilization};
use std::collections::BTreeMap;
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
    /// Tells of an alarm: raised ones need an operator.
    pub(crate) fn alarm(change: &AlarmChange) {
        let AlarmChange { at: _, fleet, raised, alarm } = change;
        let fleet = fleet.as_ref().map(FleetName::as_str);
        let (label, detail) = (alarm.label(), alarm);
        if *raised {
            tracing::error!(fleet, alarm = label, ?detail, "raised an alarm");
        } else {
            tracing::info!(fleet, alarm = label, "cleared an alarm");
        }
    }

    /// Tells of what is being recorded.
    pub(crate) fn note(&mut self, entries: &[Entry], engine: &Engine) {
        for entry in entries {
            for record in &entry.records {
                match record {
                    Record::Cycle(_) => self.cycle(&entry.fleet, engine),
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

    fn cycle(&mut self, fleet: &FleetName, engine: &Engine) {
        let Some(decided) = engine.decisions(fleet).and_then(|mut kept| kept.pop()) else { return };
        let Decided { at: _, plan, withheld, report } = &decided;
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
        let (decision, target) = (&report.decision, report.target);
        let (utilization, demand) = (report.utilization.map(Utilization::get), report.demand.map(Power::get));
        let (holds, remarks) = (&report.holds, &report.remarks);
        if acts {
            let steps = plan.actions.len();
            tracing::info!(?decision, target, utilization, demand, steps, ?holds, ?remarks, "decided to act");
        } else {
            tracing::info!(?decision, target, utilization, demand, ?holds, ?withheld, "decided to wait");
        }
        self.told.insert(fleet.clone(), now);
    }

    fn outcome(fleet: &FleetName, operation: Operation, outcome: &Outcome) {
        match outcome {
            Outcome::Done => tracing::info!(%fleet, ?operation, "carried a step out"),
            other => tracing::warn!(%fleet, ?operation, outcome = ?other, "could not carry a step out"),
        }
    }
}
