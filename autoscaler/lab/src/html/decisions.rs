//! What was decided, when, and why: marks on the chart, and a list that is also what the pointer reads.

use super::chart::{Chart, Panel, place};
use super::scale::{moment, whole};
use super::text::{Escaped, last_part, word};
use crate::outcome::Change;
use crate::{Course, Outcome, Trace};
use std::fmt::Write as _;

/// Bytes that the lists of all runs of a report may take, those of all their worst days, and one list at least: a
/// report must stay small enough to be sent around.
const OF_RUNS: usize = 750_000;
const OF_DAYS: usize = 120_000;
const LEAST: usize = 20_000;

/// How long a list may be, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Room(usize);

impl Room {
    /// For the list of a run, of so many.
    pub fn of_runs(runs: usize) -> Self {
        Self((OF_RUNS / runs.max(1)).max(LEAST))
    }
    /// For that of a day of a run.
    pub fn of_days(runs: usize) -> Self {
        Self((OF_DAYS / runs.max(1)).max(LEAST))
    }
}

/// Single decisions are marked up to so many; more are counted.
const MARKED: usize = 150;
/// The width of a bar that counts, in columns.
const BAR: usize = 6;

/// Scale-outs above, scale-ins below: a mark each, or where they are many a bar that counts them.
pub(super) fn lanes(chart: &mut Chart<'_>, panel: Panel) {
    let (out, back): (Vec<&Change>, Vec<&Change>) =
        chart.course.decisions.iter().partition(|change| change.to > change.from);
    let middle = f64::midpoint(panel.top, panel.bottom());
    if out.len().max(back.len()) > MARKED {
        bars(chart, panel, &[out, back]);
        return;
    }
    for (changes, class, y, shape) in
        [(out, "decided", panel.top, "l4 8h-8z"), (back, "decided hollow", panel.bottom(), "l4 -8h-8z")]
    {
        let marks: Vec<String> = changes
            .iter()
            .map(|change| format!("M{} {y}{shape}", place(chart.at(f64::from(change.at)))))
            .collect();
        let _ = write!(chart.svg, r#"<path class="{class}" d="{}"/>"#, marks.concat());
    }
    chart.beside(middle - 6.0, "name", "▲ more");
    chart.beside(middle + 7.0, "name", "▽ less");
}

/// Bars up for scale-outs and down for scale-ins, as high as they are many.
fn bars(chart: &mut Chart<'_>, panel: Panel, kinds: &[Vec<&Change>; 2]) {
    let middle = f64::midpoint(panel.top, panel.bottom());
    let bars = chart.columns.count.div_ceil(BAR);
    let counts = kinds.each_ref().map(|changes| {
        let mut counts = vec![0_u32; bars];
        for change in changes {
            let step = whole(f64::from(change.at / Trace::STEP)).min(chart.columns.steps - 1);
            counts[chart.columns.of_step(step) / BAR] += 1;
        }
        counts
    });
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    for (counts, class, sign) in [(&counts[0], "decided", "-"), (&counts[1], "decided hollow", "")] {
        let mut path = String::new();
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let height = place(f64::from(*count) / f64::from(most) * panel.height / 2.0);
            let (x, end) = (chart.edge(bar * BAR), chart.edge(((bar + 1) * BAR).min(chart.columns.count)));
            let _ =
                write!(path, "M{} {middle}v{sign}{height}H{}V{middle}Z", place(x + 0.5), place(end - 0.5));
        }
        let _ = write!(chart.svg, r#"<path class="{class}" d="{path}"/>"#);
    }
    chart.beside(middle - 6.0, "name", &format!("▲ more (up to {most})"));
    chart.beside(middle + 7.0, "name", "▽ less");
}

/// The list of decisions, and the control that walks through it.
///
/// * `id`: that of the chart; `room`: how long the list may be.
pub(super) fn list(outcome: &Outcome, course: &Course, id: &str, room: Room) -> String {
    let count = course.decisions.len();
    if count == 0 {
        return "<p class=\"note\">No decision: the target never changed.</p>".to_owned();
    }
    let mut items = String::new();
    let mut shown = 0;
    for change in &course.decisions {
        if items.len() >= room.0 {
            break;
        }
        let when = moment(course.start.secs() + i64::from(change.at));
        let Change { at, from, to, reason } = change;
        let _ = write!(items, r#"<li data-t="{at}"><b>{when}</b> {from} → {to}: {}</li>"#, Escaped(reason));
        shown += 1;
    }
    let mut text = format!(
        r#"<div class="walk" tabindex="0" role="slider" aria-label="Decisions of {} on {}" aria-describedby="{id}-title" aria-valuemin="1" aria-valuemax="{shown}" aria-valuenow="1" aria-valuetext="not begun: use the arrow keys">{count} decisions: point at the chart, or come here and press ← and →.</div><details><summary>List of decisions</summary>"#,
        Escaped(&word(&outcome.runner)),
        Escaped(last_part(&outcome.trace)),
    );
    if shown < count {
        let _ = write!(
            text,
            "<p class=\"note\">The first {shown} of {count}: a report is kept small. The chart marks all of them.</p>"
        );
    }
    let _ = write!(text, "<ol class=\"decisions\">{items}</ol></details>");
    text
}
