//! Schedules: hours at which a fleet must be larger, in the wall time of a named zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use fleet::{Timestamp, Utilization};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
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
/// moment after the gap; where they show it twice, at the first of the two (a pattern for every hour, whose hour
/// is `*` or a step of it, starts at both). The length is elapsed time: nine hours are nine hours on the day of a
/// change, too.
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
    #[error("{pattern:?} never comes: no month that it names has such a day")]
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
        let local = self.zone.to_datetime(after);
        let first = self.first_shown_after(local, after);
        let again = self.shown_again_after(local, after);
        let start = [first, again].into_iter().flatten().min()?;
        Some(Timestamp::from_millis(start.as_millisecond()))
    }

    /// The first start after a moment among those that the clocks show for the first time, or skip.
    fn first_shown_after(&self, local: DateTime, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut wall = local;
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let shown = self.zone.to_ambiguous_timestamp(wall);
            let start = match shown.offset() {
                AmbiguousOffset::Gap { .. } => {
                    // The end of the gap is the change of the clocks that follows the moment before it.
                    let before = shown.earlier().ok()?;
                    self.zone.following(before).next()?.timestamp()
                }
                AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => shown.earlier().ok()?,
            };
            // Not so in the hour that is shown again: what it shows has been.
            if start > after {
                return Some(start);
            }
        }
    }

    /// The first start after a moment in an hour that the clocks show a second time, for patterns of every hour.
    fn shown_again_after(&self, local: DateTime, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let every_hour = self.text.start.split_whitespace().nth(1)?.starts_with('*');
        let shown = self.zone.to_ambiguous_timestamp(local);
        if !every_hour || !matches!(shown.offset(), AmbiguousOffset::Fold { .. }) {
            return None;
        }
        let first_time = shown.earlier().ok()? == after;
        let wall = if first_time {
            let change = self.zone.following(after).next()?.timestamp();
            self.cron.find_next_occurrence(&self.zone.to_datetime(change), true)
        } else {
            self.cron.find_next_occurrence(&local, false)
        };
        let shown = self.zone.to_ambiguous_timestamp(wall.ok()?);
        matches!(shown.offset(), AmbiguousOffset::Fold { .. }).then(|| shown.later().ok()).flatten()
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

/// The fields of a cron pattern, and what may stand in each.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12, JAN to DEC"),
    ("day of the week", "0 to 7, SUN to SAT"),
];

/// Reads a cron pattern of five fields that comes at all.
pub(crate) fn parse_cron(pattern: &str) -> Result<Cron, ScheduleError> {
    let wrong = |reason: String| ScheduleError::Pattern { pattern: pattern.to_owned(), reason };
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let s = if fields.len() == 1 { "" } else { "s" };
        return Err(wrong(format!("it has {} field{s}, not 5", fields.len())));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(pattern).map_err(|error| {
        // The parser does not say which field it is about; each by itself tells.
        let faulty = (0..FIELDS.len()).find(|at| {
            let mut alone = ["*"; FIELDS.len()];
            alone[*at] = fields[*at];
            parser.parse(&alone.join(" ")).is_err()
        });
        wrong(faulty.map_or_else(
            || error.to_string(),
            |at| format!("the {} {:?} is not made of {}", FIELDS[at].0, fields[at], FIELDS[at].1),
        ))
    })?;
    if comes(&cron) { Ok(cron) } else { Err(ScheduleError::Never { pattern: pattern.to_owned() }) }
}

/// Whether a pattern comes in some year: its day is one that one of its months can have.
fn comes(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    if pattern.days.has_modifiers() || pattern.matches_dom_and_dow() {
        // Rare, and too intricate to be told from the fields: looked for through the years, which takes a tenth of
        // a second where there is nothing to be found.
        let start = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
        return cron.find_next_occurrence(&start, true).is_ok();
    }
    let longest = |month: u16| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let days = pattern.days.values();
    // Otherwise a day of the month or one of the week is enough, and each of the latter is in every month.
    !pattern.is_dow_wildcard()
        || pattern.months.values().into_iter().any(|month| days.iter().any(|day| *day <= longest(month)))
}

/// Finds a zone in the bundled database: the same answer on every machine.
pub(crate) fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| ScheduleError::Zone { zone: name.to_owned() })
}

#[cfg(test)]
mod tests;
