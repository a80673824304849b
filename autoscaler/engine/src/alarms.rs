//! What is wrong now: raised once, kept while it lasts, cleared once.

use crate::{ActiveAlarm, Alarm, AlarmChange};
use fleet::{FleetName, Timestamp};
use std::collections::BTreeMap;

/// The alarms of one fleet, or of no fleet in particular.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    /// By label, and by what distinguishes alarms of one label (an operation, a region; mostly nothing).
    active: BTreeMap<(&'static str, String), ActiveAlarm>,
}

impl Alarms {
    /// Raises an alarm, or brings its facts up to date.
    ///
    /// * returns: the change that is to be announced, if it was not raised before.
    pub fn raise(
        &mut self,
        fleet: Option<&FleetName>,
        of: &str,
        alarm: Alarm,
        at: Timestamp,
    ) -> Option<AlarmChange> {
        let key = (alarm.label(), of.to_owned());
        if let Some(active) = self.active.get_mut(&key) {
            active.alarm = alarm;
            return None;
        }
        self.active.insert(key, ActiveAlarm { since: at, alarm: alarm.clone() });
        Some(AlarmChange { at, fleet: fleet.cloned(), raised: true, alarm })
    }

    /// Clears an alarm.
    ///
    /// * returns: the change that is to be announced, if it was raised.
    pub fn clear(
        &mut self,
        fleet: Option<&FleetName>,
        label: &'static str,
        of: &str,
        at: Timestamp,
    ) -> Option<AlarmChange> {
        if self.active.is_empty() {
            return None;
        }
        let active = self.active.remove(&(label, of.to_owned()))?;
        Some(AlarmChange { at, fleet: fleet.cloned(), raised: false, alarm: active.alarm })
    }

    /// Whether an alarm is raised.
    pub fn is_raised(&self, label: &'static str, of: &str) -> bool {
        self.active.contains_key(&(label, of.to_owned()))
    }

    /// The facts of an alarm that is the only one of its label, if it is raised.
    pub fn get(&self, label: &'static str) -> Option<Alarm> {
        self.active.get(&(label, String::new())).map(|active| active.alarm.clone())
    }

    /// Those that are raised, by label.
    pub fn active(&self) -> Vec<ActiveAlarm> {
        self.active.values().cloned().collect()
    }

    /// Clears all: what they were about is gone.
    pub fn clear_all(&mut self, fleet: Option<&FleetName>, at: Timestamp) -> Vec<AlarmChange> {
        let changes = std::mem::take(&mut self.active).into_values();
        changes
            .map(|active| AlarmChange { at, fleet: fleet.cloned(), raised: false, alarm: active.alarm })
            .collect()
    }
}
