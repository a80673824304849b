//! What CloudWatch's alarms say of a roll-out.

use super::draft::Draft;
use crate::{Halt, Observed, Remark, Rollout, WatchedAlarm};
use fleet::AlarmState;
use std::time::Duration;

/// How old a reading may be on which somebody is replaced. They are asked for every 30 s, and CloudWatch evaluates most
/// alarms once a minute: four that failed in a row are no passing weather.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// The reading that counts: one that was asked for since the roll-out goes on. What was seen before somebody resumed it
/// is why it was halted.
fn reading<'a>(draft: &Draft<'a>, rollout: &Rollout) -> Option<&'a Observed<Vec<WatchedAlarm>>> {
    draft.seen.alarms.as_ref().filter(|seen| seen.at >= rollout.since)
}

fn found<'a>(reading: &'a Observed<Vec<WatchedAlarm>>, name: &str) -> Option<&'a WatchedAlarm> {
    reading.what.iter().find(|alarm| alarm.name == name)
}

/// The halt that an alarm is worth which is off.
pub(super) fn off(draft: &Draft<'_>, rollout: &Rollout) -> Option<Halt> {
    let reading = reading(draft, rollout)?;
    let watched = draft.policy.rollout.watched().iter();
    let off = watched
        .filter_map(|name| found(reading, name))
        .find(|alarm| alarm.state == Some(AlarmState::Alarm))?;
    Some(Halt::Alarm { name: off.name.clone(), since: off.since })
}

/// What keeps a roll-out from replacing more: alarms of which nobody knows what they say. What is not known is not taken
/// for well.
pub(super) fn unknown(draft: &Draft<'_>, rollout: &Rollout) -> Option<Remark> {
    let watched = draft.policy.rollout.watched();
    if watched.is_empty() || !rollout.advances() {
        return None;
    }
    let unread = || Some(Remark::AlarmsUnread { since: draft.seen.alarms.as_ref().map(|seen| seen.at) });
    let Some(reading) = reading(draft, rollout).filter(|seen| draft.age(seen.at) <= READ_WITHIN) else {
        return unread();
    };
    let missing = |name: &&String| found(reading, name).is_some_and(|alarm| alarm.state.is_none());
    let missing: Vec<String> = watched.iter().filter(missing).cloned().collect();
    if !missing.is_empty() {
        return Some(Remark::AlarmsMissing { names: missing });
    }
    // A policy that names more since the last reading.
    if watched.iter().any(|name| found(reading, name).is_none()) { unread() } else { None }
}
