//! A roll-out at a glance.

use super::{ago, clock, counted};
use crate::out::Paint;
use autoscaler_core::{Course, Observed, Rollout, WatchedAlarm};
use autoscaler_engine::{FleetStatus, RolloutStatus};
use fleet::{AlarmState, Timestamp};
use std::fmt::Write as _;

/// A fleet's roll-out in full; nothing without one; ends with a newline.
pub fn rollout(fleet: &FleetStatus, now: Timestamp, paint: Paint) -> String {
    let Some(status) = &fleet.rollout else { return String::new() };
    let Rollout { template, from, to, image, by, reason, started, halted, .. } = &status.rollout;
    let mut text = String::new();
    let mut line = |label: &str, words: String| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{} {words}", paint.faint(format_args!("{label:<10}")));
    };
    line("fleet", paint.name(&fleet.name));
    let image = image.as_ref().map(|image| format!(" ({image})")).unwrap_or_default();
    line("rollout", format!("version {from} of {template} to {to}{image}"));
    line("ordered", format!("{} by {by}: {reason}", ago(*started, now)));
    line("progress", progress(status));
    if let Some(alarms) = status.alarms.as_ref().filter(|alarms| !alarms.what.is_empty()) {
        line("alarms", watched(alarms, now, paint));
    }
    if let Some(halted) = halted {
        line("halted", paint.bad(format_args!("{}: {}", ago(halted.at, now), halted.why)));
    }
    text
}

/// How the alarms are that it watches, and when that was so.
fn watched(alarms: &Observed<Vec<WatchedAlarm>>, now: Timestamp, paint: Paint) -> String {
    let one = |WatchedAlarm { name, state, since: _ }: &WatchedAlarm| match state {
        Some(AlarmState::Alarm) => paint.bad(format_args!("{name} {}", AlarmState::Alarm.word())),
        Some(state) => format!("{name} {}", state.word()),
        None => paint.bad(format_args!("{name} does not exist")),
    };
    let all: Vec<String> = alarms.what.iter().map(one).collect();
    format!("{}; read {}", all.join(", "), ago(alarms.at, now))
}

/// How far a roll-out is, in one line.
pub fn progress(status: &RolloutStatus) -> String {
    let RolloutStatus { rollout, done, ready, of, protected, alarms: _ } = status;
    let way = if rollout.course == Course::Back { "back to" } else { "to" };
    let mut text = format!("{way} version {}: {done} of {}", rollout.goal(), counted(*of, "instance"));
    // Writing to a `String` cannot fail.
    let _ = write!(text, ", {ready} ready; {}", rollout.stage);
    if *protected > 0 {
        let _ = write!(text, "; {protected} are protected and stay");
    }
    text
}

/// What `status` says of a roll-out that has not ended.
pub fn under_way(fleet: &FleetStatus) -> Option<String> {
    let status = fleet.rollout.as_ref().filter(|status| !status.rollout.is_over())?;
    let halted = status.rollout.halted.as_ref();
    let halted = halted.map(|h| format!("; halted since {}: {}", clock(h.at), h.why)).unwrap_or_default();
    Some(format!("rolls out {}{halted}", progress(status)))
}
