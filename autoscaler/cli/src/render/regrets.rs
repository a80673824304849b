//! The optimum and its distance, for people and for spreadsheets.

use super::Table;
use super::outcomes::days;
use crate::lab;
use crate::out::Paint;
use autoscaler_lab::Runner;
use autoscaler_lab::regret::Regret;
use fleet::{DurationText, Timestamp};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// How many changes of a schedule are shown to people; JSON and CSV have them all.
const SHOWN: usize = 120;
/// How wide the lines of a schedule are.
const WIDTH: usize = 110;

/// What could have been had on a trace.
#[derive(Debug, Serialize)]
pub struct OfTrace {
    /// Its name.
    pub trace: String,
    /// When it begins.
    pub start: Timestamp,
    /// From request to serving, in seconds.
    pub boot: u32,
    /// How long it is.
    pub seconds: u64,
    /// What the optimum bills.
    pub unit_hours: f64,
    /// What others lose against it.
    pub splits: Vec<Split>,
    /// When the optimum has how many units in service.
    pub schedule: Vec<Step>,
}

/// What a runner loses against the optimum.
#[derive(Debug, Serialize)]
pub struct Split {
    /// Who.
    pub runner: Runner,
    /// And to what.
    #[serde(flatten)]
    pub regret: Regret,
}

/// A change of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Seconds from the start.
    pub at: u64,
    /// Units from then on.
    pub units: u32,
}

/// A schedule by the minute as its changes, the first at 0.
pub fn compact(units: &[u32]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, units) in (0_u64..).step_by(60).zip(units) {
        if steps.last().is_none_or(|last| last.units != *units) {
            steps.push(Step { at, units: *units });
        }
    }
    steps
}

/// The optima of traces, as text.
pub fn regrets(all: &[OfTrace], paint: Paint) -> String {
    let texts: Vec<String> = all.iter().map(|of| regret_text(of, paint)).collect();
    texts.join("\n")
}

fn regret_text(of: &OfTrace, paint: Paint) -> String {
    let OfTrace { trace, start, boot, seconds, unit_hours, splits, schedule } = of;
    let boot = DurationText(Duration::from_secs(u64::from(*boot)));
    let mut text = format!(
        "{}: {} days, boot {boot}: {} unit-hours at best, {} changes\n",
        paint.name(trace),
        days(*seconds),
        paint.name(format_args!("{unit_hours:.1}")),
        schedule.len().saturating_sub(1),
    );
    if !splits.is_empty() {
        text += &table(splits, paint);
        text += &paint.faint("unit-hours above the optimum, and what they are lost to; the parts add up");
        text.push('\n');
    }
    text += &schedule_text(schedule, *start, paint);
    text
}

fn table(splits: &[Split], paint: Paint) -> String {
    let head =
        ["", "cost", "above optimum", "delay", "whole instances", "forecast error", "held", "interruptions"];
    let mut rows = vec![head.into_iter().map(|name| (name.to_owned(), paint.faint(name))).collect()];
    for Split { runner, regret } in splits {
        let Regret {
            cost_unit_hours,
            oracle_unit_hours: _,
            regret_unit_hours,
            delay_unit_hours,
            rounding_unit_hours,
            forecast_error_unit_hours,
            hold_down_unit_hours,
            interruptions_unit_hours,
        } = regret;
        let parts = [
            delay_unit_hours,
            rounding_unit_hours,
            forecast_error_unit_hours,
            hold_down_unit_hours,
            interruptions_unit_hours,
        ];
        let name = lab::name(*runner);
        let plain = |text: String| (text.clone(), text);
        let mut row = vec![(name.to_owned(), paint.name(name)), plain(format!("{cost_unit_hours:.1}"))];
        row.push(plain(format!("{regret_unit_hours:+.1}")));
        // So that nothing shows as -0.0.
        row.extend(parts.into_iter().map(|part| plain(format!("{:+.1}", part + 0.0))));
        rows.push(row);
    }
    Table::numbers(rows, usize::MAX).render()
}

/// A schedule in lines of changes: `00:00 6  05:12 5`, each day beginning a line.
fn schedule_text(schedule: &[Step], start: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    let (mut day, mut width) = (None, 0);
    for Step { at, units } in schedule.iter().take(SHOWN) {
        let seconds = start.secs().saturating_add(i64::try_from(*at).unwrap_or(i64::MAX));
        let (of_day, minute) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) / 60);
        if day != Some(of_day) || width > WIDTH {
            let date = if day == Some(of_day) { " ".repeat(10) } else { date(of_day) };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{}{}", if day.is_some() { "\n" } else { "" }, paint.faint(&date));
            width = date.len();
            day = Some(of_day);
        }
        let step = format!("  {:02}:{:02} {units}", minute / 60, minute % 60);
        width += step.len();
        text += &step;
    }
    if schedule.len() > SHOWN {
        let _ = write!(text, "\n… and {} more changes: --format csv has all", schedule.len() - SHOWN);
    }
    text.push('\n');
    text
}

/// The date of a day since 1970; one that was not recorded at a date is a day by number.
fn date(day: i64) -> String {
    /// Recordings without dates begin at day 0; ten years of them are hardly ever played.
    const UNDATED: i64 = 3650;
    if (0..UNDATED).contains(&day) {
        return format!("{:<10}", format!("day {day}"));
    }
    let midnight = Timestamp::from_secs(day.saturating_mul(86_400)).to_string();
    midnight.split('T').next().unwrap_or_default().to_owned()
}

/// Schedules as CSV: a row a change.
pub fn schedules_csv(all: &[OfTrace]) -> String {
    let mut text = "trace,seconds,units\n".to_owned();
    for of in all {
        for Step { at, units } in &of.schedule {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{},{at},{units}", super::outcomes::quoted(&of.trace));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_trace(units: &[u32]) -> OfTrace {
        OfTrace {
            trace: "load.csv".to_owned(),
            start: Timestamp::from_secs(86_400 - 120),
            boot: 120,
            seconds: 86_400,
            unit_hours: 12.34,
            splits: vec![Split {
                runner: Runner::Muster,
                regret: Regret {
                    cost_unit_hours: 13.0,
                    oracle_unit_hours: 12.34,
                    regret_unit_hours: 0.66,
                    delay_unit_hours: 0.5,
                    rounding_unit_hours: 0.2,
                    forecast_error_unit_hours: 0.06,
                    hold_down_unit_hours: -0.1,
                    interruptions_unit_hours: 0.0,
                },
            }],
            schedule: compact(units),
        }
    }

    #[test]
    fn a_schedule_is_its_changes_by_day() {
        let of = of_trace(&[3, 3, 4, 4, 4, 2]);
        assert_eq!(
            of.schedule.iter().map(|s| (s.at, s.units)).collect::<Vec<_>>(),
            [(0, 3), (120, 4), (300, 2)]
        );
        let text = regrets(&[of], Paint::default());
        let expected = "\
load.csv: 1 days, boot 2m: 12.3 unit-hours at best, 2 changes
        cost  above optimum  delay  whole instances  forecast error  held  interruptions
muster  13.0           +0.7   +0.5             +0.2            +0.1  -0.1           +0.0
unit-hours above the optimum, and what they are lost to; the parts add up
day 0       23:58 3
day 1       00:00 4  00:03 2
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_long_schedule_is_cut_for_people_alone() {
        let units: Vec<u32> = (0..500).map(|minute| minute % 2).collect();
        let of = of_trace(&units);
        let text = regrets(std::slice::from_ref(&of), Paint::default());
        assert!(text.ends_with("… and 380 more changes: --format csv has all\n"), "{text}");
        assert!(text.lines().all(|line| line.len() < 130), "{text}");
        assert_eq!(schedules_csv(&[of]).lines().count(), 501);
        assert_eq!(compact(&[]), []);
    }
}
