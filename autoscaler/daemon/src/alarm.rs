//! Alarms in words: what the log and the commands say.

use autoscaler_core::Unholdable;
use autoscaler_engine::Alarm;

/// What is wrong, and where it helps, what to do: fits after "web: ".
pub fn alarm_text(alarm: &Alarm) -> String {
    match alarm {
        Alarm::NoRegion => {
            "the policy names no region and neither does `--region` or AWS's own configuration".to_owned()
        }
        Alarm::FleetNotFound { selector } => format!("no living fleet is {selector}"),
        Alarm::FleetAmbiguous { ids } => {
            format!("{} fleets are what the policy names ({}); none is touched", ids.len(), join(ids))
        }
        Alarm::FleetHeldTwice { by } => format!("the policy of {by} holds the same fleet"),
        Alarm::NotHoldable { why } => format!("the fleet cannot be held: {}", unholdable(*why)),
        Alarm::ForeignWrite { was, found, at } => format!(
            "somebody else set the target from {was} to {found} at {at}: it stands for a while; once more, and the fleet is left to them"
        ),
        Alarm::Ceded { foreign_writes } => format!(
            "somebody else writes to the fleet (seen {foreign_writes} times): hands off until `resume`"
        ),
        Alarm::CapacityLate { missing, since, history } => {
            let last = history.last().map(|event| format!("; the fleet says: {event}")).unwrap_or_default();
            format!("{missing} units that were asked for have been missing since {since}{last}")
        }
        Alarm::RolloutHalted { version, why } => {
            format!("the roll-out of version {version} is halted: {why}; `rollout resume` or `rollout abort`")
        }
        Alarm::AlarmsMissing { names } => format!(
            "the roll-out replaces nobody more: no alarm of CloudWatch is called {}; make it, or take it out of `rollout.alarms`",
            names.join(", ")
        ),
        Alarm::StuckModifying { since } => format!("the fleet has been `modifying` since {since}"),
        Alarm::NoSamples { since } => match since {
            Some(since) => format!("no source has told the utilisation since {since}: nothing is given back"),
            None => "no source has ever told the utilisation: nothing is given back".to_owned(),
        },
        Alarm::AgentsSilent { heard, serving } => {
            format!("only {heard} of {serving} serving instances have an agent that speaks")
        }
        Alarm::Denied { operation, message } => format!("{operation} is not allowed: {message}"),
        Alarm::Malformed { operation, message } => format!("{operation} fails for good: {message}"),
        Alarm::Unreachable { operation, since, message } => {
            format!("{operation} has been failing since {since}: {message}")
        }
        Alarm::Panicked { message } => format!("the planner panicked, the fleet is left as it is: {message}"),
        Alarm::Refused { breaches } => {
            let how: Vec<_> = breaches.iter().map(|breach| breach.how.as_str()).collect();
            format!("the checker refused the plan, the fleet is left as it is: {}", how.join("; "))
        }
        Alarm::JournalFailing { message } => {
            format!("the journal fails; scale-out goes on, removals do not begin: {message}")
        }
        Alarm::PoliciesRejected { problems } => {
            format!("newer policies are wrong, the old ones stay in force:\n{}", problems.trim_end())
        }
    }
}

const fn unholdable(why: Unholdable) -> &'static str {
    match why {
        Unholdable::AsksOnce => "it is of type `request`, which cannot be modified",
        Unholdable::LaunchesOnce => "it is of type `instant`, which cannot be modified",
        Unholdable::Deleted => "it is being deleted, or gone",
        Unholdable::Failed => "it failed, or is in a state that is not known",
        Unholdable::Submitted => "it is not at work yet",
        Unholdable::ScalableTarget => "it is a scalable target of Application Auto Scaling",
    }
}

fn join(ids: &[fleet::FleetId]) -> String {
    ids.iter().map(fleet::FleetId::as_str).collect::<Vec<_>>().join(", ")
}
