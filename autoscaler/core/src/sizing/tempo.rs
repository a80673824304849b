//! Time as sizing counts it: the rhythm of samples, and how far ahead a decision must look.

use crate::number::{real, signed};
use fleet::{Sample, Source};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many ticks are remembered one by one; a power of two.
pub(super) const RECENT: usize = 64;
/// The furthest that a decision looks ahead, in ticks: where that is too near, ticks become longer.
pub(super) const LEAD_MAX: usize = 30;
/// Times to serve that are remembered.
const BOOTS: usize = 16;
/// Fewer measured times than this, and the policy's guess is used.
const BOOTS_ENOUGH: usize = 3;
const SHORTEST_TICK: i64 = 10_000;
const LONGEST_TICK: i64 = 300_000;
const MINUTE: f64 = 60_000.0;
const DAY: f64 = 1440.0 * MINUTE;

/// How long this fleet's instances took from request to serving, and its samples from their end to us.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Delays {
    /// In seconds, the newest last.
    boots: Vec<u16>,
}

impl Delays {
    /// Takes note of one time from request to serving. Above 30 min somebody else was at fault.
    pub fn served_after(&mut self, took: Duration) {
        if let Ok(seconds @ 1..=1800) = u16::try_from(took.as_secs()) {
            if self.boots.len() == BOOTS {
                self.boots.remove(0);
            }
            self.boots.push(seconds);
        }
    }

    /// The time from request to serving to reckon with: three of four were faster.
    pub fn boot(&self, guess: Duration) -> Duration {
        let count = self.boots.len();
        if count < BOOTS_ENOUGH {
            return guess;
        }
        let mut sorted = [0_u16; BOOTS];
        sorted[..count].copy_from_slice(&self.boots);
        sorted[..count].sort_unstable();
        Duration::from_secs(u64::from(sorted[(count * 3 / 4).min(count - 1)]))
    }
}

/// How late a source's samples are, from their end.
fn lateness(sample: &Sample) -> Duration {
    match sample.source {
        Source::Push => Duration::from_secs(1),
        Source::Cloudwatch => sample.period,
        Source::Prometheus => sample.period.min(Duration::from_secs(15)),
    }
}

/// The tick that everything is counted in, and what follows from its length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tempo {
    /// Length of a tick in milliseconds; 0 before the first sample.
    pub tick: i64,
    /// How many ticks ahead of the newest known one lies the first that a purchase made now can serve.
    pub lead: usize,
    /// How many ticks ahead of the newest known one lies the first that a release made now takes effect in.
    pub release: usize,
    /// How long a flip-flop takes to be none: instances that are bought again within boot + 5 min of being given
    /// back were drained for nothing; in ticks.
    pub flip: usize,
    /// How far ahead a decision must look.
    pub horizon: Duration,
    /// What the past still counts for after one tick, by what it is kept for.
    pub keep: Rates,
    /// A tick's weight in counts of minutes, at most 1.
    pub weight: f64,
    /// What it was made for.
    basis: Option<(Source, Duration, Duration)>,
}

/// What remains of the past after one tick, each for its own memory span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rates {
    /// 10 min: the level of now.
    pub mean: f64,
    /// 30 min: how restless it has been lately.
    pub restless: f64,
    /// 1 h: the level that demand returns to.
    pub hour: f64,
    /// 12 h: how good the forecasters were.
    pub losses: f64,
    /// 1 day: usual size of the demand; how good cycles and phases were.
    pub day: f64,
    /// 2 days: how restless it usually is; mean utilisation.
    pub usual: f64,
    /// 3 days: distributions of errors; the regression.
    pub errors: f64,
    /// 3 days of a phase that comes once an hour.
    pub phase: f64,
    /// 4 days: how the trials fared.
    pub trials: f64,
    /// 7 days: how the promise was kept.
    pub promise: f64,
}

impl Tempo {
    /// The tempo of a source, for a fleet whose instances take `boot` to serve.
    pub fn of(sample: &Sample, boot_time: Duration) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX).min(86_400_000);
        let (late, boot) = (millis(lateness(sample)), millis(boot_time));
        let mut tick = millis(sample.period).clamp(SHORTEST_TICK, LONGEST_TICK);
        // The reach is bounded: slow boots are sized in longer ticks.
        let reach = (late + boot) / tick + 2;
        tick *= reach.div_euclid(signed(LEAD_MAX)) + 1;
        // A tick that is reached by a third counts as reached: capacity comes within it.
        let ticks = |span: i64| usize::try_from((span - tick / 3 + tick - 1).max(0) / tick).unwrap_or(0);
        let of_days = |days: f64| (-(real(tick)) / (days * DAY)).exp();
        let of_minutes = |minutes: f64| (-(real(tick)) / (minutes * MINUTE)).exp();
        Self {
            tick,
            lead: (ticks(late + boot) + 1).min(LEAD_MAX),
            release: (ticks(late) + 1).min(LEAD_MAX),
            flip: usize::try_from((boot + 300_000) / tick).unwrap_or(RECENT).clamp(1, RECENT - 2),
            horizon: Duration::from_millis(u64::try_from(late + boot + tick).unwrap_or(0)),
            keep: Rates {
                mean: of_minutes(10.0),
                restless: of_minutes(30.0),
                hour: of_minutes(60.0),
                losses: of_days(0.5),
                day: of_days(1.0),
                usual: of_days(2.0),
                errors: of_days(3.0),
                phase: of_days(3.0).powi(60),
                trials: of_days(4.0),
                promise: of_days(7.0),
            },
            weight: (real(tick) / MINUTE).min(1.0),
            basis: Some((sample.source, sample.period, boot_time)),
        }
    }

    /// Whether this is what [`Tempo::of`] would answer.
    pub fn fits(&self, sample: &Sample, boot: Duration) -> bool {
        self.basis == Some((sample.source, sample.period, boot))
    }

    /// How many ticks a span takes, rounded up, at least 1.
    pub fn ticks(&self, span: Duration) -> usize {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2);
        usize::try_from((millis + self.tick - 1) / self.tick.max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// The length of so many ticks.
    pub fn span(&self, ticks: usize) -> Duration {
        let millis = self.tick.saturating_mul(signed(ticks));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// How many minutes lie between now and the first tick that a purchase can serve, rounded.
    pub fn lead_minutes(&self) -> i64 {
        (i64::try_from(self.lead).unwrap_or(0) * self.tick + 30_000) / 60_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::{Power, Saturation, Timestamp, Utilization};

    fn sample(source: Source, seconds: u64) -> Sample {
        Sample {
            source,
            end: Timestamp::from_secs(0),
            period: Duration::from_secs(seconds),
            utilization: Utilization::new(0.5),
            power: Power::new(1.0),
            instances: 1,
            saturation: Saturation::default(),
        }
    }

    #[test]
    fn the_lead_is_the_metrics_delay_and_the_boot() {
        for (source, period, boot, tick, lead, release) in [
            // A sample that ends at 0 is seen at 1 s; what is bought serves at 121 s.
            (Source::Push, 10, 120, 10_000, 13, 1),
            // A minute that ends at 0 is seen at 60 s; what is bought serves from 180 s on: in the fourth minute.
            (Source::Cloudwatch, 60, 120, 60_000, 4, 2),
            (Source::Cloudwatch, 300, 120, 300_000, 3, 2),
            (Source::Push, 10, 600, 30_000, 21, 1),
        ] {
            let tempo = Tempo::of(&sample(source, period), Duration::from_secs(boot));
            assert_eq!((tempo.tick, tempo.lead, tempo.release), (tick, lead, release), "{source} {period}");
        }
    }

    #[test]
    fn measured_boots_replace_the_guess() {
        let guess = Duration::from_secs(120);
        let mut delays = Delays::default();
        for took in [60, 70] {
            delays.served_after(Duration::from_secs(took));
            assert_eq!(delays.boot(guess), guess);
        }
        delays.served_after(Duration::from_secs(7200));
        assert_eq!(delays.boot(guess), guess, "two hours are somebody's mistake");
        for took in [80, 90] {
            delays.served_after(Duration::from_secs(took));
        }
        assert_eq!(delays.boot(guess), Duration::from_secs(90));
    }
}
