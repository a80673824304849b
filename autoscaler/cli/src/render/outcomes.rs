//! What came out of backtests: cost and breach side by side, for people and for spreadsheets.

use super::Table;
use crate::lab;
use crate::out::Paint;
use autoscaler_lab::outcome::Clause;
use autoscaler_lab::tune::dominates;
use autoscaler_lab::{Interruptions, Outcome, Runner};
use fleet::{DurationText, Utilization};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// What the columns mean, once below all tables.
const LEGEND: &str = "\
cost: unit-hours billed. x optimum: over the clairvoyant's, who knows demand and never exceeds the target; below 1 is
  another target, not thrift. over 80%: share of time with demand above 80% of the capacity in service; never read
  cost without it. Behind `<`: who costs no more and is over 80% no longer.
";

/// Outcomes as tables, one a trace.
///
/// * `all`: those of one trace one after the other.
pub fn outcomes(all: &[Outcome], paint: Paint) -> String {
    let mut text = String::new();
    for of_trace in all.chunk_by(|a, b| a.trace == b.trace) {
        text += &table(of_trace, paint);
        text.push('\n');
    }
    if !all.is_empty() {
        text += &paint.faint(LEGEND.trim_end());
        text.push('\n');
    }
    text
}

fn table(outcomes: &[Outcome], paint: Paint) -> String {
    let Some(first) = outcomes.first() else { return String::new() };
    let interrupted = outcomes.iter().any(|outcome| outcome.scores.interruptions.is_some());
    let mut head = vec![
        "",
        "cost",
        "x optimum",
        "over 80%",
        "over 100%",
        "unserved",
        "mean CPU",
        "actions/day",
        "flips/day",
    ];
    if interrupted {
        head.extend(["interrupted", "drained", "gap unit-s"]);
    }
    let left = head.len();
    head.extend(["contract", ""]);
    let mut rows = vec![head.into_iter().map(|name| (name.to_owned(), paint.faint(name))).collect()];
    rows.extend(outcomes.iter().map(|outcome| row(outcome, outcomes, interrupted, paint)));
    let optimum = &first.scores.oracle_unit_hours;
    let of_optimum = ["optimum".to_owned(), format!("{optimum:.1}"), "1.000".to_owned()];
    rows.push(of_optimum.into_iter().map(|text| (text.clone(), paint.faint(text))).collect());
    heading(first, paint) + &Table::numbers(rows, left).render()
}

fn heading(outcome: &Outcome, paint: Paint) -> String {
    let config = &outcome.config;
    let setting = &config.setting;
    let mut text = format!(
        "{}: {} days, boot {}, {}",
        paint.name(&outcome.trace),
        days(outcome.seconds.scored),
        DurationText(Duration::from_secs(u64::from(setting.boot))),
        lab::channel(setting.metric),
    );
    if outcome.seconds.simulated > outcome.seconds.scored {
        let _ = write!(
            text,
            ", after {} days of history",
            days(outcome.seconds.simulated - outcome.seconds.scored)
        );
    }
    if setting.interruptions != Interruptions::None {
        let _ = write!(text, ", interruptions: {}", lab::interrupted(setting.interruptions));
    }
    if setting.stochastic {
        text.push_str(", stochastic");
    }
    if setting.noise > 0.0 {
        let _ = write!(text, ", noise {}%", trimmed(setting.noise));
    }
    let _ = writeln!(
        text,
        "\n  {} to {} units at {}; the promise: at most {}% of the time above {}",
        config.min,
        config.max,
        Utilization::new(config.target),
        trimmed(config.objective_at_most),
        Utilization::new(config.objective_above),
    );
    text
}

fn row(outcome: &Outcome, all: &[Outcome], interrupted: bool, paint: Paint) -> Vec<(String, String)> {
    let scores = &outcome.scores;
    let plain = |text: String| (text.clone(), text);
    let name = lab::name(outcome.runner);
    let shown = if outcome.runner == Runner::Muster { paint.name(name) } else { name.to_owned() };
    let breach = percent(scores.breach80_ratio);
    let painted = if scores.contract_broken.contains(&Clause::Breach) {
        paint.bad(&breach)
    } else {
        paint.good(&breach)
    };
    let mut cells = vec![
        (name.to_owned(), shown),
        plain(format!("{:.1}", scores.cost_unit_hours)),
        plain(format!("{:.3}", scores.cost_ratio)),
        (breach, painted),
        plain(percent(scores.saturated_ratio)),
        plain(percent(scores.unserved_ratio)),
        plain(format!("{:.1}%", 100.0 * scores.mean_utilization)),
        plain(format!("{:.1}", scores.actions_per_day)),
        plain(format!("{:.1}", scores.flips_per_day)),
    ];
    if interrupted {
        let or_nothing = |text: Option<String>| plain(text.unwrap_or_else(|| "-".to_owned()));
        cells.push(or_nothing(scores.interruptions.map(|count| count.to_string())));
        cells.push(or_nothing(scores.drained_in_time_ratio.map(percent)));
        cells.push(or_nothing(scores.capacity_gap_unit_seconds.map(|gap| format!("{gap:.0}"))));
    }
    cells.push(contract(&scores.contract_broken, paint));
    cells.push(beaten_by(outcome, all, paint));
    cells
}

/// Whether the contract was kept, and what of it was not.
fn contract(broken: &[Clause], paint: Paint) -> (String, String) {
    if broken.is_empty() {
        return ("kept".to_owned(), paint.good("kept"));
    }
    let clauses: Vec<&str> = broken.iter().copied().map(clause).collect();
    let text = format!("broken: {}", clauses.join(", "));
    (text.clone(), paint.bad(text))
}

/// A clause in a word.
pub(super) const fn clause(clause: Clause) -> &'static str {
    match clause {
        Clause::MeanUtilization => "mean CPU",
        Clause::Breach => "promise",
        Clause::Saturated => "saturation",
        Clause::Flips => "flips",
    }
}

/// Who is at least as good in both cost and breach, and better in one.
fn beaten_by(outcome: &Outcome, all: &[Outcome], paint: Paint) -> (String, String) {
    let point = |outcome: &Outcome| (outcome.scores.cost_unit_hours, outcome.scores.breach80_ratio);
    let better: Vec<&str> = all
        .iter()
        .filter(|other| dominates(point(other), point(outcome)))
        .map(|other| lab::name(other.runner))
        .collect();
    if better.is_empty() {
        return (String::new(), String::new());
    }
    let text = format!("< {}", better.join(", "));
    (text.clone(), paint.odd(text))
}

/// A share as percent, with two decimals.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// A share in percent, with as many decimals as it needs, six at most.
fn trimmed(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// Days with one decimal, none where none is needed.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn days(seconds: u64) -> f64 {
    (seconds as f64 / 8640.0).round() / 10.0
}

/// The columns of the CSV: dotted paths into the JSON, in order.
const COLUMNS: [&str; 50] = [
    "trace",
    "runner",
    "seconds.simulated",
    "seconds.scored",
    "cost_unit_hours",
    "oracle_unit_hours",
    "cost_ratio",
    "soft_cost_ratio",
    "breach80_ratio",
    "above_ratio",
    "saturated_ratio",
    "unserved_ratio",
    "queue_over_1s_ratio",
    "actions_per_day",
    "flips_per_day",
    "under_accuracy",
    "over_accuracy",
    "under_timeshare",
    "over_timeshare",
    "instability",
    "mean_utilization",
    "mean_abs_error_ratio",
    "interruptions",
    "drained_in_time_ratio",
    "capacity_gap_unit_seconds",
    "lowest_serving_ratio",
    "lowest_possible_ratio",
    "serving_below_60_ratio",
    "possible_below_60_ratio",
    "contract_kept",
    "contract_broken",
    "config.boot",
    "config.metric",
    "config.interruptions",
    "config.stochastic",
    "config.noise",
    "config.seed",
    "config.min",
    "config.max",
    "config.target",
    "config.objective_above",
    "config.objective_at_most",
    "config.surge",
    "config.scale_out_hold",
    "config.scale_out_max_step",
    "config.scale_in_enabled",
    "config.scale_in_hold",
    "config.scale_in_max_step",
    "config.schedules",
    "config.history",
];

/// Outcomes as CSV: a header, and a row an outcome. What was not measured is empty; lists are joined by blanks, and what has
/// a name stands there by it.
pub fn outcomes_csv(all: &[Outcome]) -> Result<String, serde_json::Error> {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for outcome in all {
        let value = serde_json::to_value(outcome)?;
        let at = |path: &str| path.split('.').try_fold(&value, |value, key| value.get(key));
        let cells: Vec<String> = COLUMNS.iter().map(|path| at(path).map(cell).unwrap_or_default()).collect();
        text += &cells.join(",");
        text.push('\n');
    }
    Ok(text)
}

/// A member of a list, in a word.
fn word(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("name")?.as_str())
}

/// A value as a cell.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(word).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    quoted(&text)
}

/// A text as a cell of CSV, quoted where it must be.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_lab::Setting;
    use autoscaler_lab::outcome::{Config, Scores, Seconds};
    use std::collections::BTreeSet;

    fn outcome(runner: Runner, cost: f64, breach: f64) -> Outcome {
        let broken = if breach > 0.01 { vec![Clause::Breach, Clause::Flips] } else { Vec::new() };
        Outcome {
            trace: "a, \"b\".csv".to_owned(),
            runner,
            seconds: Seconds { simulated: 3 * 86_400, scored: 2 * 86_400 },
            scores: Scores {
                cost_unit_hours: cost,
                oracle_unit_hours: 100.0,
                cost_ratio: cost / 100.0,
                breach80_ratio: breach,
                above_ratio: breach,
                mean_utilization: 0.7,
                contract_kept: broken.is_empty(),
                contract_broken: broken,
                ..Scores::default()
            },
            config: Config {
                setting: Setting::default(),
                min: 1,
                max: 20,
                target: 0.75,
                objective_above: 0.8,
                objective_at_most: 0.01,
                ..Config::default()
            },
            course: None,
        }
    }

    #[test]
    fn a_table_shows_cost_beside_breach_and_who_is_beaten_by_whom() {
        let all = [
            outcome(Runner::Muster, 101.0, 0.004),
            outcome(Runner::AwsTt, 104.0, 0.08),
            outcome(Runner::Hpa, 99.0, 0.09),
        ];
        let text = outcomes(&all, Paint::default());
        let expected = "\
a, \"b\".csv: 2 days, boot 2m, cloudwatch-1m, after 1 days of history
  1 to 20 units at 75%; the promise: at most 1% of the time above 80%
          cost  x optimum  over 80%  over 100%  unserved  mean CPU  actions/day  flips/day  contract
muster   101.0      1.010     0.40%      0.00%     0.00%     70.0%          0.0        0.0  kept
aws-tt   104.0      1.040     8.00%      0.00%     0.00%     70.0%          0.0        0.0  broken: promise, flips  < muster
hpa       99.0      0.990     9.00%      0.00%     0.00%     70.0%          0.0        0.0  broken: promise, flips
optimum  100.0      1.000

";
        assert_eq!(text.strip_suffix(LEGEND), Some(expected), "{text}");
        assert_eq!(outcomes(&[], Paint::default()), "");
    }

    #[test]
    fn csv_and_documentation_have_every_field_of_the_json() {
        let mut all = outcome(Runner::Lag, 1.0, 0.5);
        all.scores.interruptions = Some(3);
        all.scores.drained_in_time_ratio = Some(1.0);
        all.scores.capacity_gap_unit_seconds = Some(0.5);
        all.scores.lowest_serving_ratio = Some(0.5);
        all.scores.lowest_possible_ratio = Some(0.75);
        all.scores.serving_below_60_ratio = Some(0.01);
        all.scores.possible_below_60_ratio = Some(0.0);
        let value = serde_json::to_value(&all).expect("JSON");
        let mut paths = BTreeSet::new();
        for (key, value) in value.as_object().expect("an object") {
            match value.as_object() {
                Some(inner) => paths.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
                None => _ = paths.insert(key.clone()),
            }
        }
        assert_eq!(paths, COLUMNS.iter().map(|column| (*column).to_owned()).collect());
        let page = include_str!("../../../../docs/backtest.md");
        for column in COLUMNS {
            assert!(page.contains(&format!("`{column}`")), "docs/backtest.md does not explain {column}");
        }
        let text = outcomes_csv(&[all]).expect("CSV");
        let row = text.lines().nth(1).expect("a row");
        assert!(row.starts_with("\"a, \"\"b\"\".csv\",lag-3+1,259200,172800,1.0,100.0,0.01,,0.5,"), "{row}");
        assert!(row.contains(",false,breach flips,120,cloudwatch-1m,none,"), "{row}");
    }
}
