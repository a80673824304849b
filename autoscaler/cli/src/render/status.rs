//! Fleets at a glance.

use super::rollout::{progress, under_way};
use super::table::Table;
use super::{ago, alarm_text, clock, counted, lasting, until};
use crate::out::Paint;
use autoscaler_core::{Hold, Phase, Remark, TroubleKind};
use autoscaler_engine::{
    ConsulTrouble, Decided, FleetStatus, Going, LeaderRole, Leadership, NodeStatus, PoolStatus, StandIn,
    Status,
};
use fleet::{FleetState, Timestamp};
use std::fmt::{Display, Write as _};

/// A line a fleet, and below what deserves a look; ends with a newline.
pub fn overview(status: &Status, paint: Paint) -> String {
    let mut table = Table::default();
    let heads = ["FLEET", "STATE", "CPU", "GOAL", "TARGET", "RANGE", "SERVING", "COMING", "LAST DECISION"];
    table.row(heads.map(|head| (head.to_owned(), paint.faint(head))));
    for fleet in &status.fleets {
        table.row(row(fleet, status.at, paint));
    }
    let mut text = table.render();
    let mut remark = |who: &str, what: String| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{} {who}{what}", paint.bad("!"));
    };
    if status.stopping {
        remark("", "stopping".to_owned());
    }
    if status.dry_run {
        remark("", "dry run: nothing is changed anywhere".to_owned());
    }
    for words in status.leadership.iter().flat_map(|leadership| leading(leadership, status.at)) {
        remark("", words);
    }
    for raised in &status.alarms {
        remark("", alarm_text(&raised.alarm));
    }
    for fleet in &status.fleets {
        let who = format!("{}: ", fleet.name);
        let going = departures(fleet, status.at).into_iter();
        let stand_in = fleet.fallback.as_ref().map(stand_in_text);
        let rolls = under_way(fleet).into_iter();
        let unusual = conditions(fleet, status.at)
            .into_iter()
            .chain(rolls)
            .chain(going)
            .chain(stand_in)
            .chain(told(fleet));
        for words in unusual {
            remark(&who, words);
        }
        for raised in &fleet.alarms {
            remark(&who, alarm_text(&raised.alarm));
        }
    }
    if status.fleets.is_empty() {
        text.push_str("no policy names a fleet\n");
    }
    text
}

/// Who leads, and what keeps us from knowing.
fn leading(leadership: &Leadership, now: Timestamp) -> Vec<String> {
    let role = match &leadership.role {
        LeaderRole::Leader => "leads".to_owned(),
        LeaderRole::Standby { leader: Some(leader) } => format!("stands by; {leader} leads"),
        LeaderRole::Standby { leader: None } => "stands by; nobody leads".to_owned(),
        LeaderRole::Lost { since } => {
            format!("cannot prove its lease since {}: changes nothing until it can", clock(*since))
        }
        LeaderRole::Resigned => "gave up leadership, to stop".to_owned(),
    };
    let trouble = |trouble: &ConsulTrouble| {
        let ConsulTrouble { operation, since, failures, message } = trouble;
        let times = counted(usize::try_from(*failures).unwrap_or(usize::MAX), "time");
        format!("Consul: {operation} has failed for {}, {times}: {message}", lasting(*since, now))
    };
    std::iter::once(role).chain(leadership.troubles.iter().map(trouble)).collect()
}

fn row(fleet: &FleetStatus, now: Timestamp, paint: Paint) -> [(String, String); 9] {
    let report = fleet.decided.as_ref().map(|decided| &decided.report);
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let plain = |text: String| (text.clone(), text);
    let state = shown(fleet.state.map(|state| state_text(state).to_owned()));
    let painted = match fleet.state {
        Some(FleetState::Active) => paint.good(&state),
        _ => paint.odd(&state),
    };
    let last = fleet.decided.as_ref().map(|d| format!("{}, {}", d.report.one_line(), ago(d.at, now)));
    [
        (fleet.name.to_string(), paint.name(&fleet.name)),
        (state, painted),
        plain(shown(report.and_then(|r| r.utilization).map(|u| u.to_string()))),
        plain(shown(report.and_then(|r| r.goal).map(|u| u.to_string()))),
        plain(shown(fleet.target.map(|target| target.to_string()))),
        plain(format!("{}..{}", fleet.min, fleet.max)),
        plain(shown(report.map(|r| r.serving.to_string()))),
        plain(shown(report.map(|r| r.coming.to_string()))),
        plain(shown(last)),
    ]
}

const fn state_text(state: FleetState) -> &'static str {
    match state {
        FleetState::Submitted => "submitted",
        FleetState::Active => "active",
        FleetState::Modifying => "modifying",
        FleetState::Deleted => "deleted",
        FleetState::Failed => "failed",
    }
}

/// What is not the ordinary course of things, without being an alarm.
fn conditions(fleet: &FleetStatus, now: Timestamp) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(pause) = &fleet.pause {
        words.push(format!("paused by {}, ends {}: {}", pause.by, until(pause.until, now), pause.reason));
    }
    if let Some(bent) = &fleet.bent {
        let values = [
            bent.min.map(|min| format!("min {min}")),
            bent.max.map(|max| format!("max {max}")),
            bent.target.map(|target| format!("target {target}")),
        ];
        let values: Vec<_> = values.into_iter().flatten().collect();
        words.push(format!(
            "{} by {}'s override, ends {}: {}",
            values.join(", "),
            bent.by,
            until(bent.until, now),
            bent.reason
        ));
    }
    if fleet.observe_only {
        words.push("the policy says to observe only".to_owned());
    }
    if fleet.dry_run {
        words.push("dry run: nothing is changed".to_owned());
    }
    words
}

/// How many instances are on their way out, where any is.
fn departures(fleet: &FleetStatus, now: Timestamp) -> Option<String> {
    let first = fleet.going.iter().filter_map(|going| going.deadline).min();
    let first = first.map(|at| format!(", the first goes {}", until(at, now))).unwrap_or_default();
    let all = counted(fleet.going.len(), "instance");
    let whose = if fleet.going.len() == 1 { "its" } else { "their" };
    (!fleet.going.is_empty()).then(|| format!("{all} on {whose} way out{first}"))
}

fn stand_in_text(stand_in: &StandIn) -> String {
    let StandIn { units, since, tried: _, cost, extra } = stand_in;
    let cost = cost.map(|cost| format!(", at {cost} USD an hour")).unwrap_or_default();
    let extra = extra.map(|extra| format!(", {extra} more than spot")).unwrap_or_default();
    format!("{units} units on demand stand in for spot since {since}{cost}{extra}")
}

/// What the last report tells of somebody or something in particular, less what its one line says.
fn told(fleet: &FleetStatus) -> Vec<String> {
    let Some(Decided { report, .. }) = &fleet.decided else { return Vec::new() };
    let holds = report.holds.iter().skip(1).filter(|hold| counts_somebody(hold)).map(ToString::to_string);
    let in_line = usize::from(report.holds.is_empty());
    let remarks = report.remarks.iter().skip(in_line).filter(|remark| names_something(remark));
    holds.chain(remarks.map(ToString::to_string)).collect()
}

const fn counts_somebody(hold: &Hold) -> bool {
    matches!(hold, Hold::SurgeFull { .. } | Hold::NoRoom { .. } | Hold::BatchRuns { .. })
}

/// What stands in for spot is told by itself.
const fn names_something(remark: &Remark) -> bool {
    matches!(
        remark,
        Remark::SlowToLeave { .. }
            | Remark::AlarmsMissing { .. }
            | Remark::AlarmsUnread { .. }
            | Remark::NeverEnds { .. }
            | Remark::NodeHidden { .. }
            | Remark::Unaccounted { .. }
            | Remark::LostUnannounced { .. }
            | Remark::NoticeUnheeded { .. }
            | Remark::ProtectedGoes { .. }
            | Remark::TerminatedAgain { .. }
            | Remark::RemovalUndone { .. }
            | Remark::EventCalledOff { .. }
            | Remark::Repaired { .. }
            | Remark::Blocked { .. }
    )
}

/// Everything about one fleet; ends with a newline.
pub fn fleet(fleet: &FleetStatus, now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    let mut line = |label: &str, words: &dyn Display| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{} {words}", paint.faint(format_args!("{label:<10}")));
    };
    let id = fleet.id.as_ref().map_or_else(|| fleet.selector.to_string(), ToString::to_string);
    let region = fleet.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    line("fleet", &format_args!("{}: {} {id}{region}", paint.name(&fleet.name), fleet.backend));
    let state = fleet.state.map_or("not seen yet", state_text);
    let seen = fleet.seen.map(|seen| format!(", seen {}", ago(seen, now))).unwrap_or_default();
    line("state", &format_args!("{state}{seen}"));
    let target = fleet.target.map_or_else(|| "-".to_owned(), |target| target.to_string());
    let fulfilled = fleet.fulfilled.map(|units| format!(", {units} fulfilled")).unwrap_or_default();
    line("target", &format_args!("{target} of {}..{}{fulfilled}", fleet.min, fleet.max));
    if !fleet.schedules.is_empty() {
        line("schedules", &fleet.schedules.join(", "));
    }
    if let Some(writing) = &fleet.writing {
        line("writing", &format_args!("{}, begun {}", writing.operation, ago(writing.since, now)));
    }
    line("instances", &instances(fleet));
    for instance in &fleet.instances {
        let phase = phase_text(instance.phase);
        let age = lasting(instance.since, now);
        let protected = if instance.protected { ", protected" } else { "" };
        let health = if instance.health == fleet::Health::Unhealthy { ", unhealthy" } else { "" };
        let node = instance.node.map(node_text).unwrap_or_default();
        let version = instance.launch.as_ref().and_then(|launch| launch.version);
        let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
        line(
            "",
            &format_args!(
                "{} {} weight {}, {phase} for {age}{health}{protected}{node}{version}",
                instance.id, instance.pool, instance.weight
            ),
        );
    }
    let departing = fleet.going.iter().map(|going| going_text(going, now));
    let pools = fleet.pools.iter().map(|pool| pool_text(pool, now));
    let labels = |first| std::iter::once(first).chain(std::iter::repeat(""));
    for (label, words) in labels("going").zip(departing).chain(labels("pools").zip(pools)) {
        line(label, &words);
    }
    if let Some(stand_in) = &fleet.fallback {
        let tried = stand_in.tried.map(|at| format!("; spot asked for again {}", ago(at, now)));
        line("fallback", &format_args!("{}{}", stand_in_text(stand_in), tried.unwrap_or_default()));
    }
    if let Some(rollout) = &fleet.rollout {
        line("rollout", &progress(rollout));
        if let Some(halted) = &rollout.rollout.halted {
            let words = format!("halted {}: {}", ago(halted.at, now), halted.why);
            line("", &paint.bad(words));
        }
    }
    match &fleet.decided {
        Some(decided) => {
            line("decided", &format_args!("{}, {}", decided.report.one_line(), ago(decided.at, now)));
        }
        None => line("decided", &"nothing yet"),
    }
    for words in conditions(fleet, now).into_iter().chain(told(fleet)) {
        line("note", &paint.odd(words));
    }
    for raised in &fleet.alarms {
        let words = format!("since {}: {}", clock(raised.since), alarm_text(&raised.alarm));
        line("alarm", &paint.bad(words));
    }
    text
}

fn node_text(node: NodeStatus) -> String {
    let NodeStatus { eligible, draining, allocations } = node;
    let ineligible = if eligible { "" } else { ", ineligible" };
    let draining = if draining { ", node draining" } else { "" };
    format!(", {}{ineligible}{draining}", counted(allocations, "allocation"))
}

fn going_text(going: &Going, now: Timestamp) -> String {
    let Going { instance, step, since, cause, drain_until, deadline } = going;
    let drains = drain_until.map(|at| format!(", drains until {at}")).unwrap_or_default();
    let goes = deadline.map(|at| format!(", goes at {at}")).unwrap_or_default();
    format!("{instance} {step} for {}, {cause}{drains}{goes}", lasting(*since, now))
}

fn pool_text(pool: &PoolStatus, now: Timestamp) -> String {
    let PoolStatus { pool, interrupted, refused, last_at, last } = pool;
    let what = match last {
        Some(TroubleKind::Interrupted) => "took one back",
        Some(TroubleKind::NoCapacity) => "had no capacity",
        Some(TroubleKind::LaunchFailed) => "failed to launch",
        None => "heard of",
    };
    format!("{pool} took back {interrupted:.1}, refused {refused:.1}; last {what} {}", ago(*last_at, now))
}

fn instances(fleet: &FleetStatus) -> String {
    let phases = [Phase::InService, Phase::Booting, Phase::Requested, Phase::Draining, Phase::Leaving];
    let counts: Vec<String> = phases
        .into_iter()
        .map(|phase| (phase, fleet.instances.iter().filter(|instance| instance.phase == phase).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(phase, count)| format!("{count} {}", phase_text(phase)))
        .collect();
    match counts.is_empty() {
        true if fleet.instances_seen.is_none() => "not seen yet".to_owned(),
        true => "none".to_owned(),
        false => format!("{}: {}", counted(fleet.instances.len(), "instance"), counts.join(", ")),
    }
}

const fn phase_text(phase: Phase) -> &'static str {
    match phase {
        Phase::Requested => "requested",
        Phase::Booting => "booting",
        Phase::InService => "in service",
        Phase::Draining => "draining",
        Phase::Leaving => "leaving",
    }
}
