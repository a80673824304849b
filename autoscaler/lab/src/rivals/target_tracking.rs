//! AWS target tracking: two CloudWatch alarms around a target.

use crate::Trace;
use crate::number::units;
use crate::suite::Controller;
use crate::suite::fleet::steps;
use crate::suite::metric::{Mean, Metric, Rhythm, Seen};
use crate::suite::tally::Rules;

/// The alarms and timings of AWS target tracking.
///
/// What labs and emulators show, not what AWS documents: so they are parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetTracking {
    /// Utilisation to hold, 0..=1.
    pub target: f64,
    /// The length of a period, in seconds; a multiple of the step.
    pub period: u32,
    /// How long after its end a period's mean is seen, in seconds; a multiple of the step.
    pub late: u32,
    /// Periods in a row above the target that raise the high alarm.
    pub periods_out: u32,
    /// Periods in a row below the low mark that raise the low alarm.
    pub periods_in: u32,
    /// The low mark, as a share of the target.
    pub low: f64,
    /// What keeps it from giving back too soon.
    pub quiet: Quiet,
}

/// What keeps target tracking from giving back too soon. Nothing is given back while instances are pending, either.
///
/// On the way up there is nothing to state: what is wanted is reckoned from the capacity that produced the metric, so
/// that what has been bought since counts, and only a larger scale-out passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Application Auto Scaling's cooldown, which is what drives a Spot Fleet: seconds since the last action.
    Cooldown(u32),
    /// An Auto Scaling group's warm-up: seconds since the last scale-out.
    WarmUp(u32),
}

impl TargetTracking {
    /// On one-minute periods, as it drives a Spot Fleet.
    pub const fn one_minute(target: f64) -> Self {
        Self {
            target,
            period: 60,
            late: 60,
            periods_out: 3,
            periods_in: 15,
            low: 0.9,
            quiet: Quiet::Cooldown(300),
        }
    }
    /// On five-minute periods, which come as late as they are long.
    pub const fn five_minutes(target: f64) -> Self {
        Self { period: 300, late: 300, ..Self::one_minute(target) }
    }
    /// On ten-second periods: an assumption on the newer high-resolution mode.
    pub const fn ten_seconds(target: f64) -> Self {
        Self { period: 10, late: 20, periods_in: 90, ..Self::one_minute(target) }
    }
    /// As it drives an Auto Scaling group: a warm-up of boot + 60 s in place of the cooldowns.
    pub const fn of_a_group(target: f64, boot: u32) -> Self {
        Self { quiet: Quiet::WarmUp(boot + 60), ..Self::one_minute(target) }
    }

    pub(crate) fn begin(&self, rules: &Rules) -> Tracker {
        let rhythm = Rhythm { period: steps(self.period).max(1), late: steps(self.late) };
        Tracker {
            rules: *self,
            bounds: (rules.min, rules.max),
            metric: Metric::new(rhythm),
            high: 0,
            low: 0,
            acted: None,
            scaled_out: None,
            newest: Mean::default(),
            need: rules.min,
        }
    }
}

/// Target tracking at work.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    rules: TargetTracking,
    bounds: (u32, u32),
    metric: Metric,
    /// Periods in a row that breach each alarm's threshold.
    high: u32,
    low: u32,
    /// The steps at whose end it last acted, and last scaled out.
    acted: Option<usize>,
    scaled_out: Option<usize>,
    newest: Mean,
    need: u32,
}

impl Tracker {
    /// Whether so little time has passed that nothing may be given back.
    fn is_quiet(&self, seen: &Seen) -> bool {
        let (since, span) = match self.rules.quiet {
            Quiet::Cooldown(span) => (self.acted, span),
            Quiet::WarmUp(span) => (self.scaled_out, span),
        };
        since.is_some_and(|since| seen.step - since < steps(span)) || seen.pending > 0
    }
}

impl Controller for Tracker {
    #[inline]
    fn decide(&mut self, seen: &Seen) -> u32 {
        let Some(mean) = self.metric.take(seen) else { return seen.target };
        let TargetTracking { target, periods_out, periods_in, low, .. } = self.rules;
        self.newest = mean;
        self.high = if mean.utilization > target { self.high + 1 } else { 0 };
        self.low = if mean.utilization < low * target { self.low + 1 } else { 0 };
        let wanted = units(mean.capacity * mean.utilization / target).clamp(self.bounds.0, self.bounds.1);
        self.need = wanted;
        if self.high >= periods_out && wanted > seen.target {
            (self.acted, self.scaled_out) = (Some(seen.step), Some(seen.step));
            return wanted;
        }
        if self.low >= periods_in && wanted < seen.target && !self.is_quiet(seen) {
            self.acted = Some(seen.step);
            return wanted;
        }
        seen.target
    }

    fn need(&self) -> u32 {
        self.need
    }

    fn reason(&self) -> String {
        let Mean { utilization, capacity, .. } = self.newest;
        let (alarm, count) = if self.high > 0 { ("high", self.high) } else { ("low", self.low) };
        format!("{alarm} alarm, {count} periods: {:.0} % of {capacity:.1} units", utilization * 100.0)
    }
}

const _: () = assert!(60 % Trace::STEP == 0, "periods are whole steps");
