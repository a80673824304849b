//! Reports in words: what `explain` shows.

use crate::report::{Bound, Candidate, Choice, Decision, Hold, Opinion, Remark, Report, Unholdable};
use crate::sizing::{Expert, Headroom, Situation, Tried};
use crate::{
    Course, DrainCause, Halt, Removal, RemovalStep, Replacement, ReplacementCause, ReplacementStep, Stage,
};
use fleet::{DurationText, NoticeKind, Resources, Timestamp, Utilization};
use std::fmt::{self, Display, Formatter, Write as _};
use std::time::Duration;

/// A share as a percentage with one decimal at most, two below one percent.
struct Percent(f64);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let digits = if percent.abs() < 1.0 { 100.0 } else { 10.0 };
        write!(f, "{}%", (percent * digits).round() / digits)
    }
}

/// A duration in whole seconds: ages and horizons need no more.
fn seconds(duration: Duration) -> DurationText {
    DurationText(Duration::from_secs(duration.as_secs()))
}

impl Report {
    /// The decision and what matters most about it, in one line.
    pub fn one_line(&self) -> String {
        let mut line = self.decision.to_string();
        // Writing to a `String` cannot fail.
        if let (Some(utilization), Some(needed)) = (self.utilization, self.needed) {
            let _ = write!(line, ": {utilization} busy, {needed} units needed");
        }
        if let Some(hold) = self.holds.first() {
            let _ = write!(line, "; {hold}");
        } else if let Some(remark) = self.remarks.first() {
            let _ = write!(line, "; {remark}");
        }
        line
    }
}

impl Display for Report {
    /// The arithmetic in words, a line each, without a newline at the end.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            decision,
            utilization: _,
            source: _,
            sample_age: _,
            power: _,
            demand: _,
            saturated: _,
            opinions: _,
            forecast: _,
            horizon: _,
            headroom: _,
            goal: _,
            power_per_unit: _,
            needed: _,
            target,
            serving,
            coming,
            bounds,
            holds,
            removals,
            replacements,
            choice,
            remarks,
        } = self;
        write!(f, "{decision}")?;
        self.write_measured(f)?;
        self.write_forecast(f)?;
        self.write_needed(f)?;
        if let Some(target) = target {
            write!(f, "\ncapacity: {target} units asked for, {serving} serving, {coming} on their way")?;
        }
        list(f, "bound", bounds)?;
        list(f, "hold", holds)?;
        for (victim, step) in removals {
            write!(f, "\nremoval: {victim} {step}")?;
        }
        for (doomed, step) in replacements {
            write!(f, "\nreplacement: {doomed} {step}")?;
        }
        if let Some(Choice { victims, runners_up }) = choice {
            list(f, "chosen", victims)?;
            list(f, "runner-up", runners_up)?;
        }
        list(f, "remark", remarks)
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, what: &str, items: &[T]) -> fmt::Result {
    items.iter().try_for_each(|item| write!(f, "\n{what}: {item}"))
}

impl Report {
    fn write_measured(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let (Some(utilization), Some(power)) = (self.utilization, self.power) {
            write!(f, "\nmeasured: {utilization} of {power} power busy")?;
            if let Some(source) = self.source {
                write!(f, ", by {source}")?;
            }
            if let Some(age) = self.sample_age {
                write!(f, ", {} ago", seconds(age))?;
            }
        }
        if let Some(demand) = self.demand {
            let saturated = if self.saturated { ", at least: the fleet is saturated" } else { "" };
            write!(f, "\ndemand: {demand} power{saturated}")?;
        }
        Ok(())
    }

    fn write_forecast(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (Some(forecast), Some(horizon)) = (self.forecast, self.horizon) else { return Ok(()) };
        write!(f, "\nforecast: {forecast} power in {}", seconds(horizon))?;
        let mut opinions: Vec<&Opinion> = self.opinions.iter().filter(|o| o.weight >= 0.005).collect();
        opinions.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        for (index, opinion) in opinions.into_iter().enumerate() {
            write!(f, "{}{opinion}", if index == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }

    fn write_needed(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(needed) = self.needed else { return Ok(()) };
        write!(f, "\nheadroom: {}", self.headroom)?;
        write!(f, "\nneeded: {needed} units")?;
        if let Some(per_unit) = self.power_per_unit {
            write!(f, " of {per_unit} power")?;
        }
        let busy = |forecast: fleet::Power, per_unit: fleet::Power| {
            Utilization::new(forecast.get() / (needed.get() * per_unit.get()))
        };
        if let (Some(forecast), Some(per_unit)) = (self.forecast, self.power_per_unit)
            && needed.get() > 0.0
        {
            write!(f, ", which the forecast would keep {} busy", busy(forecast, per_unit))?;
        }
        self.goal.map_or(Ok(()), |goal| write!(f, "; the goal is {goal}"))
    }
}

impl Display for Opinion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { expert, forecast, weight } = self;
        write!(f, "{expert} {forecast} ({})", Percent((weight * 100.0).round() / 100.0))
    }
}

impl Display for Expert {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Level => "level",
            Self::Mean => "mean",
            Self::Trend => "trend",
            Self::Regression => "regression",
            Self::Cycle => "cycle",
            Self::Yesterday => "yesterday",
            Self::LastWeek => "last week",
        })
    }
}

impl Display for Headroom {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { share, situation, tried, seen } = self;
        write!(f, "{} above the forecast before the level is reached ({situation})", Percent(*share))?;
        write!(f, "\nsetting: {tried}; it really was above it for {}", Percent(*seen))
    }
}

impl Display for Tried {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { price, patience, days, breach, saturated, flips_per_day } = self;
        let share = |share: f32| Percent(f64::from(share));
        write!(f, "a minute above the level counts as {price} minutes of the whole fleet, and ")?;
        write!(f, "what is superfluous is given back after {patience} unit-minutes; ")?;
        if *days < 1.0 {
            return f.write_str("not tried on a whole day of demand yet");
        }
        write!(f, "on {days:.1} days of demand it would have been above the level for {}, ", share(*breach))?;
        write!(f, "saturated for {}, with {flips_per_day:.1} flip-flops a day", share(*saturated))
    }
}

impl Display for Situation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let number = match self {
            Self::Usual => 4,
            Self::Ordinary(number) => *number,
            Self::Surprised => return f.pad("far more came than was forecast, and it goes on rising"),
            Self::Saturated => return f.pad("saturated"),
            Self::SaturatedByLoad => return f.pad("saturated; what waits is known"),
            Self::AtRest => return f.pad("at rest, so that the fleet is left alone"),
        };
        let restless = match number / 3 {
            0 => "calmer than usual",
            1 => "as restless as usual",
            _ => "more restless than usual",
        };
        let slope = match number % 3 {
            0 => "falling",
            1 => "level",
            _ => "rising",
        };
        write!(f, "{slope}, {restless}")
    }
}

impl Display for Decision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.pad("steady"),
            Self::ScaleOut { from, to } => write!(f, "scale out from {from} to {to}"),
            Self::ScaleIn { from, to } => write!(f, "scale in from {from} to {to}"),
            Self::SetRight { target } => write!(f, "set the fleet's settings right at {target}"),
            Self::Trim { instances } => write!(f, "give back {instances} beyond the target"),
            Self::Replace { from, to } => write!(f, "replace what goes: from {from} to {to}"),
            Self::LowerBack { from, to } => write!(f, "lower the target by what goes: from {from} to {to}"),
            Self::Drain { instances } => write!(f, "let go of {instances} once they are empty"),
            Self::Keep { instances } => write!(f, "keep {instances} that were being emptied"),
            Self::Shift { from, to } => write!(f, "on-demand part from {from} to {to}"),
            Self::Launch { version } => write!(f, "launch version {version} from now on"),
            Self::Held => f.pad("held"),
        }
    }
}

impl Display for Candidate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { instance, pool, held_against_pool, price, allocations, launched } = self;
        write!(f, "{instance} ({pool}, {allocations} allocations, launched {launched}")?;
        if let Some(price) = price {
            write!(f, ", {price} a unit")?;
        }
        if *held_against_pool >= 0.05 {
            write!(f, ", {held_against_pool:.1} held against its pool")?;
        }
        f.write_str(")")
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Min => "capacity.min",
            Self::Max => "capacity.max",
            Self::ScaleOutStep => "scale_out.max_step",
            Self::ScaleInStep => "scale_in.max_step",
        })
    }
}

impl Display for Hold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::FleetUnseen => f.pad("no describe has shown the fleet yet"),
            Self::FleetStale { age } => write!(f, "the fleet was last seen {} ago", seconds(*age)),
            Self::LookFirst { age } => {
                write!(f, "last seen {} ago: looked at again before anything is written", seconds(*age))
            }
            Self::Modifying { since } => write!(f, "the fleet has been modifying since {since}"),
            Self::MembersUnseen => f.pad("no describe has shown the instances yet"),
            Self::Contradictory { fulfilled, seen } => {
                write!(f, "the fleet counts {fulfilled} units, and {seen} were seen: no victim is chosen")
            }
            Self::WriteNotShown { written } => write!(f, "the write of {written} has not shown yet"),
            Self::Unsettled { found } => {
                write!(f, "target {found} is neither ours nor the one before: lag, or somebody else")
            }
            Self::NoSamples => f.pad("no usable sample of utilisation"),
            Self::SamplesStale { age } => {
                write!(f, "the newest sample is {} old: nothing is given back on it", seconds(*age))
            }
            Self::Paused { until } => write!(f, "paused until {until}"),
            Self::ObserveOnly => f.pad("the policy says to observe only"),
            Self::Ceded { foreign_writes } => {
                write!(f, "somebody else wrote {foreign_writes} times: hands off until resumed")
            }
            Self::ScaleInHeld { keep, hold } => {
                write!(
                    f,
                    "{keep} units are kept: less has not been enough for {} and more",
                    DurationText(*hold)
                )
            }
            Self::ScaleOutHeld { hold } => {
                write!(f, "the need has not lasted for {} yet", DurationText(*hold))
            }
            Self::FewReport { reporting, serving } => {
                write!(
                    f,
                    "only {reporting} of {serving} serving instances report: nothing is given back on that"
                )
            }
            Self::ExcessHeld { since } => {
                write!(f, "more runs than is asked for since {since}: describes may lag")
            }
            Self::ScaleInOff => f.pad("the policy forbids scale-in"),
            Self::ForeignWrite { until } => {
                write!(f, "somebody else wrote: what they set is not lowered before {until}")
            }
            Self::RemovalsInFlight { count: 1 } => f.pad("a removal is under way"),
            Self::RemovalsInFlight { count } => write!(f, "{count} removals are under way"),
            Self::NoVictim => f.pad("no whole instance fits into what may be given back, or none may go"),
            Self::NodesUnseen => f.pad("Nomad has not shown the nodes: no victim is chosen"),
            Self::NodesStale { age } => {
                write!(f, "the nodes were last seen {} ago: nothing is given back on that", seconds(*age))
            }
            Self::NoRoom { instances } => {
                write!(f, "what runs on {instances} that might go has no place on those that stay")
            }
            Self::BatchRuns { instances } => {
                write!(f, "batch work runs on {instances} that might go: its end is waited for")
            }
            Self::SurgeFull { waiting: 1 } => {
                f.pad("a replacement waits: no more than capacity.max and surge is asked for")
            }
            Self::SurgeFull { waiting } => {
                write!(f, "{waiting} replacements wait: no more than capacity.max and surge is asked for")
            }
            Self::NotHoldable { why } => write!(f, "cannot be held: {why}"),
            Self::Refused { invariant } => write!(f, "refused by the checker: {invariant}"),
        }
    }
}

impl Display for Unholdable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AsksOnce => "a fleet of type request asks once and cannot be modified",
            Self::LaunchesOnce => "a fleet of type instant launches once and cannot be modified",
            Self::Deleted => "the fleet is being deleted, or gone",
            Self::Failed => "the fleet has failed, or is in a state that is not known",
            Self::Submitted => "the fleet is not at work yet",
            Self::ScalableTarget => "it is a scalable target of Application Auto Scaling: two would write",
        })
    }
}

impl Display for Remark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted { target } => write!(f, "taken over as found, at target {target}"),
            Self::OutOfBounds { target, min, max } => {
                write!(f, "target {target} lies outside {min} to {max}")
            }
            Self::WouldTerminate => {
                f.pad("the fleet would terminate instances of its own choice: set to NoTermination")
            }
            Self::ForeignWrite { was, found, count } => {
                write!(f, "somebody else wrote: target {was} became {found} (seen {count} times)")
            }
            Self::StuckModifying { since } => {
                write!(f, "stuck in modifying since {since}: it can only be waited for")
            }
            Self::WriteLost { written, target } => {
                write!(f, "the write of {written} to target {target} has not shown and is taken as lost")
            }
            Self::Missing { units } => {
                write!(f, "{units} units that were asked for are not there: the fleet goes on trying")
            }
            Self::Excess { units } => write!(f, "{units} units run beyond the target"),
            Self::RemovalUndone { instance } => write!(f, "{instance} stays: its removal is undone"),
            Self::EventCalledOff { instance } => {
                write!(f, "{instance} stays: its scheduled event was called off, or put off")
            }
            Self::TerminatedAgain { instance } => {
                write!(f, "{instance} is still there although it was terminated: told again")
            }
            Self::Ends { at } => write!(f, "the fleet ends by itself at {at}"),
            Self::FewFamilies { configured, wanted } => {
                write!(f, "configured over {configured} instance families; the policy asks for {wanted}")
            }
            Self::FewZones { configured, largest } => {
                let zones = if *configured == 1 { "zone" } else { "zones" };
                write!(
                    f,
                    "configured over {configured} {zones}; the policy lets one hold {largest} of the fleet"
                )
            }
            Self::CapacityRebalanceOn => {
                f.pad("capacity rebalancing is on: EC2 replaces instances beside us")
            }
            Self::DryRun => f.pad("dry run: nothing of this is done"),
            Self::NoticeUnheeded { instance, kind } => {
                let cause = ReplacementCause::Notice(*kind);
                write!(f, "{cause} of {instance} is known: nothing is done about it")
            }
            Self::LostUnannounced { instance, pool, late } => {
                write!(f, "{instance} ({pool}) is gone without a notice; known {} later", seconds(*late))
            }
            Self::ProtectedGoes { instance } => {
                write!(f, "{instance} goes and is protected: it is replaced, its work is not asked to leave")
            }
            Self::Blocked { needs: Resources { cpu_mhz, memory_mib, disk_mib }, units } => {
                write!(
                    f,
                    "Nomad waits for room: {cpu_mhz} MHz, {memory_mib} MiB and {disk_mib} MiB of disk, or {units} units"
                )
            }
            Self::StandsIn { units, since, extra } => {
                write!(f, "{units} units on demand stand in for spot since {since}")?;
                extra.map_or(Ok(()), |extra| write!(f, ", for {extra} more than spot"))
            }
            Self::Repaired { instance } => write!(f, "{instance} is replaced for a better spread"),
            Self::RollsOut { version, course, stage, done, of, protected, halted } => {
                let way = if *course == Course::Back { "back to" } else { "to" };
                write!(f, "rolls out {way} version {version}: {done} of {of} instances run it, {stage}")?;
                if *protected > 0 {
                    write!(f, "; {protected} are protected and stay as they are")?;
                }
                halted.as_ref().map_or(Ok(()), |why| write!(f, "; halted: {why}"))
            }
            Self::AlarmsMissing { names } => alarms_missing(f, names),
            Self::AlarmsUnread { since } => alarms_unread(f, *since),
            Self::Unaccounted { instance, since } => {
                write!(f, "{instance} is drained and ineligible since {since}, and nobody accounts for it")
            }
            Self::NodeHidden { instance } => write!(
                f,
                "{instance} serves, and nomad shows no node of it, or more than one: it cannot be emptied"
            ),
            Self::NeverEnds { instance, work } => {
                write!(
                    f,
                    "{instance} goes though {work} allocations on it have not ended in the time they were given"
                )
            }
            Self::SlowToLeave { job, group, grace } => {
                write!(
                    f,
                    "{group} of {job} may take {} to end: longer than an interruption leaves",
                    seconds(*grace)
                )
            }
            Self::ReadFails { operation, class } => {
                write!(f, "{operation} fails ({}): what it told before is all that is known", class.label())
            }
        }
    }
}

fn alarms_missing(f: &mut Formatter<'_>, names: &[String]) -> fmt::Result {
    write!(f, "nobody more is replaced: no alarm of CloudWatch is called {}", names.join(", "))
}

fn alarms_unread(f: &mut Formatter<'_>, since: Option<Timestamp>) -> fmt::Result {
    f.write_str("nobody more is replaced until CloudWatch says how the watched alarms are")?;
    since.map_or(Ok(()), |since| write!(f, "; they were last read at {since}"))
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.pad("the first are replaced"),
            Self::Watched { since } => write!(f, "the first are watched since {since}"),
            Self::Rest => f.pad("the others are replaced"),
            Self::Ended { at } => write!(f, "ended at {at}"),
        }
    }
}

impl Display for Halt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordered { by, reason } => write!(f, "{by} said so: {reason}"),
            Self::NotReady { instance } => write!(f, "{instance} was not ready in time"),
            Self::Unhealthy { instance } => write!(f, "{instance} fails its status checks"),
            Self::LaunchFailed { pool } => write!(f, "nothing could be launched (tried in {pool})"),
            Self::Foreign { found: Some(found) } => {
                write!(f, "somebody else has set version {found}: hands off until resumed")
            }
            Self::Foreign { found: None } => {
                f.pad("somebody else has set another launch template: hands off until resumed")
            }
            Self::Alarm { name, since } => {
                write!(f, "alarm {name} is off")?;
                since.map_or(Ok(()), |since| write!(f, " since {since}"))
            }
        }
    }
}

impl Display for RemovalStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Draining => "draining",
            Self::Lowering => "waits for the lowered target to show",
            Self::Lowered => "is not counted by the target any more",
            Self::Terminating => "was terminated, and is waited for",
        })
    }
}

impl Display for ReplacementStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waits for the target to be raised",
            Self::Raising => "waits for the raised target to show",
            Self::Raised => "waits for the one that is bought in its place",
            Self::BoughtByFleet => "is being replaced by the fleet itself",
            Self::LeftToFleet => "will be replaced by the fleet itself",
        })
    }
}

impl Display for ReplacementCause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Notice(NoticeKind::SpotInterruption) => "spot interruption",
            Self::Notice(NoticeKind::RebalanceRecommendation) => "rebalance recommendation",
            Self::Notice(NoticeKind::ScheduledEvent) => "scheduled event",
            Self::Notice(NoticeKind::FleetScaleIn) => "scale-in by the fleet itself",
            Self::Spread => "spread",
            Self::Rollout => "roll-out",
        })
    }
}

impl Display for DrainCause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScaleIn => f.pad("scale-in"),
            Self::Replaced(cause) => Display::fmt(cause, f),
        }
    }
}

impl Display for Removal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { step, since, weight, market: _, cause, drain_until, deadline } = self;
        write!(f, "{cause}: {step} (weight {weight}, since {since}")?;
        ahead(f, *drain_until, *deadline)
    }
}

impl Display for Replacement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { cause, step, since, weight, market: _, drain_until, deadline } = self;
        write!(f, "{cause}: {step} (weight {weight}, since {since}")?;
        ahead(f, *drain_until, *deadline)
    }
}

/// The deadlines of an entry in the ledger, and the closing bracket.
fn ahead(f: &mut Formatter<'_>, drain: Option<Timestamp>, goes: Option<Timestamp>) -> fmt::Result {
    if let Some(drain) = drain {
        write!(f, ", drains until {drain}")?;
    }
    if let Some(goes) = goes {
        write!(f, ", goes at {goes}")?;
    }
    f.write_str(")")
}
