//! A decision in words.

use super::clock;
use crate::out::Paint;
use autoscaler_core::{Action, DrainCause};
use autoscaler_engine::{Decided, Withheld};
use fleet::{FleetName, InstanceId};
use std::fmt::Write as _;

/// What was decided for a fleet, the arithmetic of it, and the steps; ends with a newline.
pub fn decision(name: &FleetName, decided: &Decided, paint: Paint) -> String {
    let Decided { at, plan, withheld, report } = decided;
    let mut text = format!("{} at {}\n", paint.name(name), clock(*at));
    for line in report.to_string().lines() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    for (number, action) in (1..).zip(&plan.actions) {
        let _ = writeln!(text, "  step {number}: {}", step(action));
    }
    if let Some(withheld) = withheld
        && !plan.actions.is_empty()
    {
        let _ = writeln!(text, "  {}", paint.odd(format_args!("not carried out: {}", why_not(withheld))));
    }
    text
}

fn step(action: &Action) -> String {
    match action {
        Action::Modify { fleet, from, change } if *from == change.target => {
            let launch = launch_text(change.launch);
            format!("set {} to its target {from} again, with NoTermination{launch}", fleet.id)
        }
        Action::Modify { fleet, from, change } => {
            let on_demand = match change.on_demand_target {
                0 => String::new(),
                units => format!(", {units} of it on demand"),
            };
            let launch = launch_text(change.launch);
            format!("set the target of {} from {from} to {}{on_demand}{launch}", fleet.id, change.target)
        }
        Action::Terminate { instances, .. } => {
            let ids: Vec<_> = instances.iter().map(InstanceId::as_str).collect();
            format!("terminate {}", ids.join(", "))
        }
        Action::Cordon { instance } => format!("let no new work onto {instance}"),
        Action::Drain { instance, deadline, cause: DrainCause::ScaleIn } => {
            format!("drain {instance}, which is given back, until {deadline}")
        }
        Action::Drain { instance, deadline, cause: DrainCause::Replaced(_) } => {
            format!("drain {instance}, which is replaced, until {deadline}")
        }
        Action::Restore { instance } => format!("keep {instance}, and let work onto it again"),
        Action::ScaleGroup { namespace, job, group, count } => {
            format!("set the count of {namespace}/{job}/{group} to {count}")
        }
    }
}

fn launch_text(version: Option<u64>) -> String {
    version.map(|version| format!(", and launch version {version} from now on")).unwrap_or_default()
}

fn why_not(withheld: &Withheld) -> String {
    match withheld {
        Withheld::DryRun => "dry run".to_owned(),
        Withheld::Refused { invariants } => format!("the checker refused it ({})", invariants.join(", ")),
        Withheld::Busy => "the write before has not ended yet".to_owned(),
        Withheld::BackingOff { class } => format!("the last write failed ({})", class.label()),
        Withheld::Budget => "too many writes are in flight".to_owned(),
        Withheld::JournalFailing => "the journal fails, and this would begin a removal".to_owned(),
        Withheld::Stopping => "the daemon is stopping".to_owned(),
        Withheld::Standby => "another process leads, or we have only begun to".to_owned(),
        Withheld::NotLooked => "we have not looked at the fleet since we lead".to_owned(),
        Withheld::Panicked => "the planner panicked".to_owned(),
    }
}
