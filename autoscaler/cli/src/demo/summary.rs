//! The closing report: what the day cost, what it was worth, and how often AWS was asked.

use super::frame::clock_time;
use fleet_sim::{CallCounts, Scores};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How the demo went. Shares are 0..=1; as JSON, the names of the world model.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was played.
    pub trace: String,
    /// Whether it was played to its end.
    pub complete: bool,
    /// How long, in hours of the world's time.
    pub hours: f64,
    /// The scores, by the names of the world model.
    #[serde(rename = "scores")]
    pub scores: Scores,
    /// Cost over `ceil(demand / target)` at every step.
    pub cost_over_ideal: f64,
    /// Minutes with demand above 80 % of what served.
    pub minutes_above_80: f64,
    /// Instances bought.
    pub bought: u64,
    /// Instances given back.
    pub given_back: u64,
    /// Calls of the daemon, by action.
    pub calls: BTreeMap<String, u64>,
    /// Calls of the daemon a minute.
    pub calls_per_minute: f64,
}

impl Summary {
    /// Sums up.
    ///
    /// * `caller`: the name under which the cloud counted the daemon's calls.
    pub fn new(
        trace: &str,
        complete: bool,
        scores: Scores,
        moved: [u64; 2],
        counts: &CallCounts,
        caller: &str,
    ) -> Self {
        let calls: BTreeMap<String, u64> = counts
            .iter()
            .filter(|(name, ..)| *name == caller)
            .map(|(_, action, count)| (action.0.to_owned(), count.calls))
            .collect();
        let minutes = scores.hours * 60.0;
        let total = counts.total(caller);
        let total = f64::from(u32::try_from(total).unwrap_or(u32::MAX));
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self {
            trace: trace.to_owned(),
            complete,
            hours: scores.hours,
            cost_over_ideal: ratio(scores.cost_unit_hours, scores.ideal_unit_hours),
            minutes_above_80: scores.breach80_ratio * minutes,
            bought: moved[0],
            given_back: moved[1],
            calls_per_minute: ratio(total, minutes),
            calls,
            scores,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            complete,
            hours,
            scores,
            cost_over_ideal,
            minutes_above_80,
            bought,
            given_back,
            calls,
            calls_per_minute,
        } = self;
        let played = clock_time(Duration::from_secs_f64((hours * 3600.0).max(0.0)));
        let cut = if *complete { "" } else { ", interrupted" };
        let percent = |share: f64| share * 100.0;
        let saved = |than: f64| {
            if than > 0.0 { percent(1.0 - scores.cost_unit_hours / than) } else { 0.0 }
        };
        writeln!(f, "{trace}, {played} hours{cut}")?;
        writeln!(f)?;
        writeln!(
            f,
            "cost          {:>8.1} unit-hours, ${:.2}; {cost_over_ideal:.3} x exactly enough, always at once",
            scores.cost_unit_hours, scores.cost_usd
        )?;
        writeln!(
            f,
            "  static peak {:>8.1} unit-hours; muster saves {:.0} %",
            scores.static_peak_unit_hours,
            saved(scores.static_peak_unit_hours)
        )?;
        if let Some(on_demand) = scores.on_demand_usd.filter(|usd| *usd > 0.0) {
            writeln!(
                f,
                "  on demand     ${on_demand:.2} for the same hours; muster saves {:.0} %",
                percent(1.0 - scores.cost_usd / on_demand)
            )?;
        }
        writeln!(
            f,
            "above 80 %    {minutes_above_80:>8.1} min ({:.2} %); saturated {:.2} %, unserved {:.3} %",
            percent(scores.breach80_ratio),
            percent(scores.saturated_ratio),
            percent(scores.unserved_ratio)
        )?;
        writeln!(f, "utilisation   {:>8.1} % in the mean, target 75 %", percent(scores.mean_utilization))?;
        writeln!(
            f,
            "actions       {:>8} ({} bought, {} given back; {} given back too early)",
            scores.actions, bought, given_back, scores.flips
        )?;
        let total: u64 = calls.values().sum();
        writeln!(f, "API calls     {total:>8} ({calls_per_minute:.2} a minute)")?;
        let width = calls.keys().map(String::len).max().unwrap_or(0);
        for (action, count) in calls {
            writeln!(f, "  {action:<width$} {count:>6}")?;
        }
        Ok(())
    }
}
