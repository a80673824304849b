//! Scores as tables.

use super::scatter::shape;
use super::text::{Escaped, fixed, percent, plain, word};
use crate::outcome::{Clause, Scores};
use crate::{Outcome, Runner};
use std::fmt::Write as _;

/// A column: its name, what it means, and what stands in it.
struct Column {
    name: &'static str,
    means: &'static str,
    cell: fn(&Scores) -> String,
}

const SCORES: &[Column] = &[
    Column {
        name: "unit-hours",
        means: "Capacity billed: one unit for an hour is one",
        cell: |s| fixed(s.cost_unit_hours, 1),
    },
    Column {
        name: "cost",
        means: "Over what the clairvoyant pays who never goes above the target",
        cell: |s| fixed(s.cost_ratio, 3),
    },
    Column {
        name: "cost, contract",
        means: "Over what the clairvoyant pays under the same contract",
        cell: |s| s.soft_cost_ratio.map_or_else(|| "–".to_owned(), |ratio| fixed(ratio, 3)),
    },
    Column { name: "above 80\u{a0}%", means: "Share of time", cell: |s| percent(s.breach80_ratio) },
    Column { name: "saturated", means: "Share of time", cell: |s| percent(s.saturated_ratio) },
    Column {
        name: "unserved",
        means: "Share of the work that was dropped",
        cell: |s| percent(s.unserved_ratio),
    },
    Column { name: "waits > 1\u{a0}s", means: "Share of time", cell: |s| percent(s.queue_over_1s_ratio) },
    Column {
        name: "mean busy",
        means: "Work served over capacity in service",
        cell: |s| percent(s.mean_utilization),
    },
    Column { name: "actions a day", means: "Changes of the target", cell: |s| fixed(s.actions_per_day, 1) },
    Column {
        name: "flips a day",
        means: "Scale-ins taken back within boot and five minutes",
        cell: |s| fixed(s.flips_per_day, 1),
    },
];

const INTERRUPTED: &[Column] = &[
    Column {
        name: "interruptions",
        means: "Instances that were taken back",
        cell: |s| s.interruptions.map_or_else(|| "–".to_owned(), |count| count.to_string()),
    },
    Column {
        name: "drained in time",
        means: "Of these",
        cell: |s| s.drained_in_time_ratio.map_or_else(|| "–".to_owned(), percent),
    },
    Column {
        name: "least serving",
        means: "The least share of the capacity that was to serve which did",
        cell: |s| s.lowest_serving_ratio.map_or_else(|| "–".to_owned(), percent),
    },
    Column {
        name: "capacity gap",
        means: "Unit-seconds that interruptions left missing",
        cell: |s| s.capacity_gap_unit_seconds.map_or_else(|| "–".to_owned(), |gap| fixed(gap, 0)),
    },
];

const ELASTICITY: &[Column] = &[
    Column { name: "under, amount", means: "Percent of the need", cell: |s| plain(s.under_accuracy) },
    Column { name: "over, amount", means: "Percent of the need", cell: |s| plain(s.over_accuracy) },
    Column { name: "under, time", means: "Percent of time", cell: |s| plain(s.under_timeshare) },
    Column { name: "over, time", means: "Percent of time", cell: |s| plain(s.over_timeshare) },
    Column {
        name: "instability",
        means: "Percent of time in which supply and demand move apart",
        cell: |s| plain(s.instability),
    },
    Column {
        name: "distance from target",
        means: "Mean, of utilisation",
        cell: |s| percent(s.mean_abs_error_ratio),
    },
];

/// The tables of one trace.
pub(super) fn tables(outcomes: &[&Outcome]) -> String {
    let interrupted = outcomes.iter().any(|o| o.scores.interruptions.is_some());
    // A column that nobody fills says nothing.
    let filled = |column: &&Column| outcomes.iter().any(|o| (column.cell)(&o.scores) != "–");
    let columns: Vec<&Column> =
        SCORES.iter().chain(INTERRUPTED.iter().filter(|_| interrupted)).filter(filled).collect();
    let mut text = table("Scores", &columns, outcomes, true);
    text.push_str("<details><summary>Elasticity metrics</summary>");
    text.push_str(&table("Elasticity", &ELASTICITY.iter().collect::<Vec<_>>(), outcomes, false));
    text.push_str("</details>");
    text
}

fn table(caption: &str, columns: &[&Column], outcomes: &[&Outcome], verdicts: bool) -> String {
    let mut text = format!(
        r#"<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption><thead><tr><th scope="col">runner</th>"#
    );
    if verdicts {
        text.push_str(
            r#"<th scope="col" class="words">contract</th><th scope="col" class="words">beaten in both by</th>"#,
        );
    }
    for column in columns {
        let _ = write!(
            text,
            r#"<th scope="col" title="{}">{}</th>"#,
            Escaped(column.means),
            Escaped(column.name)
        );
    }
    text.push_str("</tr></thead><tbody>");
    for outcome in outcomes {
        let own = if outcome.runner == Runner::Muster { " class=\"own\"" } else { "" };
        let _ = write!(
            text,
            r#"<tr{own}><th scope="row"><svg class="key" viewBox="-9 -9 18 18" aria-hidden="true"><path d="{}"/></svg>{}</th>"#,
            shape(outcome.runner, 0.0, 0.0),
            Escaped(&word(&outcome.runner))
        );
        if verdicts {
            let (contract, beaten) = (contract(&outcome.scores), beaten_by(outcome, outcomes));
            let _ = write!(text, "{contract}<td class=\"words\">{beaten}</td>");
        }
        for column in columns {
            let _ = write!(text, "<td>{}</td>", Escaped(&(column.cell)(&outcome.scores)));
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table></div>");
    text
}

fn contract(scores: &Scores) -> String {
    if scores.contract_kept {
        return "<td class=\"words good\">✓ kept</td>".to_owned();
    }
    let clause = |clause: &Clause| match clause {
        Clause::MeanUtilization => "mean",
        Clause::Breach => "breach",
        Clause::Saturated => "saturation",
        Clause::Flips => "flips",
    };
    let broken: Vec<&str> = scores.contract_broken.iter().map(clause).collect();
    format!("<td class=\"words full\">✗ {}</td>", broken.join(", "))
}

/// Who is no worse in cost and breach, and better in one of them.
fn beaten_by(outcome: &Outcome, all: &[&Outcome]) -> String {
    let (cost, breach) = (outcome.scores.cost_ratio, outcome.scores.breach80_ratio);
    let beats = |other: &&&Outcome| {
        let (c, b) = (other.scores.cost_ratio, other.scores.breach80_ratio);
        c <= cost && b <= breach && (c < cost || b < breach)
    };
    let names: Vec<String> = all.iter().filter(beats).map(|other| word(&other.runner)).collect();
    if names.is_empty() { "–".to_owned() } else { Escaped(&names.join(", ")).to_string() }
}
