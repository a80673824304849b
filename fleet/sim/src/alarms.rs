//! CloudWatch's alarms: what tests set them to; nothing in here watches a metric.

use crate::calls::Action;
use crate::world::World;
use fleet::{AlarmState, AlarmView, ApiError, Timestamp};

/// An alarm of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What it says.
    pub state: AlarmState,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is made of other alarms.
    pub composite: bool,
}

impl World {
    /// DescribeAlarms: those of the names that exist, by name, metric alarms and composite ones.
    pub fn alarms(&mut self, caller: &str, names: &[String]) -> Result<Vec<(String, Alarm)>, ApiError> {
        self.call(caller, Action::DESCRIBE_ALARMS, |world| {
            let asked = |name: &String| names.contains(name);
            let found = world.alarms.iter().filter(|(name, _)| asked(name));
            Ok(found.map(|(name, alarm)| (name.clone(), *alarm)).collect())
        })
    }

    /// Makes an alarm, or puts one that is there in a state. No call.
    pub fn set_alarm(&mut self, name: &str, state: AlarmState, composite: bool) {
        let now = self.now;
        let alarm = self.alarms.entry(name.to_owned()).or_insert(Alarm { state, since: now, composite });
        if alarm.state != state {
            (alarm.state, alarm.since) = (state, now);
        }
    }

    /// Removes an alarm. No call.
    pub fn delete_alarm(&mut self, name: &str) {
        self.alarms.remove(name);
    }
}

impl Alarm {
    /// As the port shows it.
    pub fn view(self, name: String) -> AlarmView {
        AlarmView { name, state: self.state, since: Some(self.since) }
    }
}
