//! Schedules: hours at which a fleet must be larger, in the wall time of a named zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use fleet::{Timestamp, Utilization};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Zoned};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that one start may last. Longer needs are the base policy's.
pub const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// Overlapping windows of one schedule that are followed to find the end of a run of them.
///
/// Far beyond sensible schedules (hourly starts for six weeks); a run that is longer gets looked at again when
/// its last followed window ends, which costs one needless look.
const FOLLOWED: usize = 1000;

/// From each start, for a fixed time, capacity is raised: `min`, the CPU target, or both.
///
/// Starts follow the wall clock of the zone. Where the clocks skip the start, the window begins at the first
/// moment after the gap; where they show it twice, at the first of the two. (A pattern whose minute or hour is
/// `*` or a step, such as `*/30`, starts at both.) The length is elapsed time: nine hours are nine hours on the
/// day of a change, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleText", into = "ScheduleText")]
pub struct Schedule {
    text: ScheduleText,
    cron: Cron,
    zone: TimeZone,
}

/// What a schedule is made from, and journaled as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ScheduleText {
    name: String,
    start: String,
    zone: String,
    lasts: Duration,
    min: Option<u32>,
    target: Option<Utilization>,
}

/// Why a schedule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The start is not a cron pattern of five fields.
    #[error("{pattern:?} is not a cron pattern: {reason}")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The start names a day that no year has.
    #[error("{pattern:?} never comes: no month it names has such a day")]
    Never {
        /// The pattern as it was given.
        pattern: String,
    },
    /// The zone is not in the time zone database.
    #[error("{zone:?} is not a time zone")]
    Zone {
        /// The name as it was given.
        zone: String,
    },
    /// The length is zero or above [`LONGEST`].
    #[error("a window of {} cannot be", fleet::DurationText(*lasts))]
    Length {
        /// The length as it was given.
        lasts: Duration,
    },
}

impl Schedule {
    /// Makes a schedule.
    ///
    /// * `start`: a cron pattern of five fields (minute, hour, day of month, month, day of week).
    /// * `zone`: a name of the IANA database, such as `Europe/Berlin`.
    /// * `lasts`: above zero, at most [`LONGEST`].
    pub fn new(
        name: &str,
        start: &str,
        zone: &str,
        lasts: Duration,
        min: Option<u32>,
        target: Option<Utilization>,
    ) -> Result<Self, ScheduleError> {
        let text =
            ScheduleText { name: name.into(), start: start.into(), zone: zone.into(), lasts, min, target };
        Self::try_from(text)
    }

    /// Its name, unique in its fleet.
    pub fn name(&self) -> &str {
        &self.text.name
    }
    /// The cron pattern of its starts.
    pub fn start(&self) -> &str {
        &self.text.start
    }
    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        &self.text.zone
    }
    /// How long each start lasts, in elapsed time.
    pub fn lasts(&self) -> Duration {
        self.text.lasts
    }
    /// The least capacity while it is active, where it raises that.
    pub fn min(&self) -> Option<u32> {
        self.text.min
    }
    /// The CPU target while it is active, where it changes that.
    pub fn target(&self) -> Option<Utilization> {
        self.text.target
    }

    /// Whether one of its windows `[start, start + lasts)` holds `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        // All windows are equally long, so a start within the last `lasts` is all that is needed.
        self.start_after(now - self.text.lasts).is_some_and(|start| start <= now)
    }

    /// The next moment after `now` at which it becomes active or ceases to be.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let mut start = self.start_after(now - self.text.lasts)?;
        if start > now {
            return Some(start);
        }
        for _ in 0..FOLLOWED {
            match self.start_after(start) {
                Some(next) if next <= start + self.text.lasts => start = next,
                _ => break,
            }
        }
        Some(start + self.text.lasts)
    }

    /// The first start after a moment; `None` at the ends of time.
    fn start_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(after.millis()).ok()?;
        let mut from = Zoned::new(after, self.zone.clone());
        loop {
            let start = self.cron.find_next_occurrence(&from, false).ok()?;
            // The search works in whole seconds of wall time: what it finds within the second it began in, or
            // (across a change of the clocks) before it, is not ahead.
            if start.timestamp() > after {
                return Some(Timestamp::from_millis(start.timestamp().as_millisecond()));
            }
            from = from.checked_add(SignedDuration::from_secs(1)).ok()?;
        }
    }
}

impl TryFrom<ScheduleText> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: ScheduleText) -> Result<Self, ScheduleError> {
        let cron = parse_cron(&text.start)?;
        let zone = find_zone(&text.zone)?;
        if text.lasts.is_zero() || text.lasts > LONGEST {
            return Err(ScheduleError::Length { lasts: text.lasts });
        }
        Ok(Self { text, cron, zone })
    }
}

impl From<Schedule> for ScheduleText {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

/// Reads a cron pattern of five fields that comes at least once in any 400 years.
pub(crate) fn parse_cron(pattern: &str) -> Result<Cron, ScheduleError> {
    let wrong = |reason: String| ScheduleError::Pattern { pattern: pattern.to_owned(), reason };
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(pattern).map_err(|error| wrong(error.to_string()))?;
    Ok(cron)
}

/// Finds a zone in the bundled database: the same answer on every machine.
pub(crate) fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| ScheduleError::Zone { zone: name.to_owned() })
}
