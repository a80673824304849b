//! A run over time: demand, capacity and utilisation on one time axis, with breaches and decisions.

use super::chart::{Chart, LEFT, Panel, RIGHT, WIDTH, place};
use super::envelope::Span;
use super::scale::{Upwards, moment, real, ticks, time_ticks};
use super::text::{Escaped, last_part, percent, plain, word};
use super::{breach, decisions, pools, scale};
use crate::{Course, Outcome, Trace};
use std::fmt::Write as _;

const UNITS: Panel = Panel { top: 10.0, height: 190.0 };
const MARKS: Panel = Panel { top: 208.0, height: 12.0 };
const BUSY: Panel = Panel { top: 236.0, height: 110.0 };
const DECIDED: Panel = Panel { top: 356.0, height: 22.0 };
const POOLS: Panel = Panel { top: 394.0, height: 110.0 };

/// A run's charts with its decisions: the whole of it, and its worst day where it is long. Nothing where its course
/// was not kept.
///
/// * `id`: unique in the document; `runs`: how many runs there are in it.
pub(super) fn figures(outcome: &Outcome, id: &str, runs: usize) -> String {
    let Some(course) = outcome.course.as_ref().filter(|course| !course.demand.is_empty()) else {
        return String::new();
    };
    let name = word(&outcome.runner);
    let mut text = figure(outcome, course, &name, id, decisions::Room::of_runs(runs));
    if let Some(day) = breach::worst_day(course) {
        let name = format!("{name}, its worst day: {}", scale::day(day.start.secs()));
        text.push_str(&figure(outcome, &day, &name, &format!("{id}-day"), decisions::Room::of_days(runs)));
    }
    text
}

/// One chart.
fn figure(outcome: &Outcome, course: &Course, name: &str, id: &str, room: decisions::Room) -> String {
    let mut chart = Chart::new(course);
    let bottom = if course.pools.is_empty() { DECIDED.bottom() } else { POOLS.bottom() };
    let spoken = summary(course);
    let _ = write!(
        chart.svg,
        r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-labelledby="{id}-title {id}-desc" data-left="{LEFT}" data-right="{RIGHT}" data-start="{}" data-seconds="{}" data-columns="{}"><title id="{id}-title">{} on {}</title><desc id="{id}-desc">{}</desc>"#,
        bottom + 26.0,
        course.start.secs(),
        chart.seconds,
        chart.columns.count,
        Escaped(name),
        Escaped(last_part(&outcome.trace)),
        Escaped(&spoken),
    );
    time_axis(&mut chart, bottom);
    units(&mut chart);
    breach::marks(&mut chart, MARKS);
    busy(&mut chart, outcome);
    decisions::lanes(&mut chart, DECIDED);
    pools::stack(&mut chart, POOLS, id);
    let _ = write!(chart.svg, r#"<path class="cross" d="M0 {}V{bottom}"/></svg>"#, UNITS.top);
    format!(
        r#"<figure class="course" id="{id}"><figcaption><h4>{}</h4><p>{}</p></figcaption><div class="plot">{}<div class="tip" hidden="hidden"></div></div>{}{}</figure>"#,
        Escaped(name),
        Escaped(&spoken),
        chart.svg,
        pools::legend(course),
        decisions::list(outcome, course, id, room),
    )
}

/// The chart in words.
fn summary(course: &Course) -> String {
    let reach = |values: &[f32]| {
        let finite = || values.iter().copied().map(f64::from).filter(|v| v.is_finite());
        let (low, high) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        format!("{} to {}", plain(low), plain(high))
    };
    let (above, full) = breach::shares(course);
    format!(
        "Demand {} units, capacity {} units. Above 80 % {} of the time, saturated {}. {} decisions.",
        reach(&course.demand),
        reach(&course.capacity),
        percent(above),
        percent(full),
        course.decisions.len(),
    )
}

fn time_axis(chart: &mut Chart<'_>, bottom: f64) {
    // As wide as "Mon 28 Sep", with room between.
    let marks = time_ticks(
        chart.course.start,
        i64::from(crate::number::small(chart.columns.steps)) * i64::from(Trace::STEP),
        15,
    );
    let days_only = marks.iter().all(|mark| mark.midnight);
    for mark in marks {
        let x = place(chart.at(crate::number::real(mark.at.unsigned_abs())));
        let class = if mark.midnight && !days_only { "grid day" } else { "grid" };
        let _ = write!(
            chart.svg,
            r#"<path class="{class}" d="M{x} {}V{bottom}"/><text class="tick mid" x="{x}" y="{}">{}</text>"#,
            UNITS.top,
            bottom + 17.0,
            mark.label
        );
    }
}

/// Demand and capacity.
fn units(chart: &mut Chart<'_>) {
    let Course { demand, capacity, billed, .. } = chart.course;
    let columns = chart.columns;
    let (demand, capacity) = (columns.envelope(demand), columns.envelope(capacity));
    let paid = if billed.is_empty() { Vec::new() } else { columns.envelope(billed) };
    let highest = |spans: &[Span]| spans.iter().map(|span| span.1).fold(0.0, f64::max);
    let rows = ticks(highest(&demand).max(highest(&capacity)).max(highest(&paid)), 5);
    let scale = Upwards::new(UNITS.bottom(), UNITS.height, rows.last().copied().unwrap_or(1.0));
    chart.rows(scale, &rows, plain);
    let highest: Vec<f64> = demand.iter().map(|span| span.1).collect();
    let _ = write!(chart.svg, r#"<path class="demand area" d="{}"/>"#, chart.area(&highest, scale));
    let mut names = Vec::new();
    if paid.iter().zip(&capacity).any(|(paid, serving)| paid.1 > serving.1 + 1e-6) {
        // What is paid for and does not serve yet, or any more: a line along the highest of each column.
        let highest: Vec<f64> = paid.iter().map(|span| span.1).collect();
        let line = chart.line(&highest, scale);
        path(chart, "paid", "paid for", "units", &line, scale);
        names.push((paid.last().map_or(0.0, |span| span.1), "paid", "paid for (dashed)"));
    }
    series(chart, "demand", "demand", "units", &demand, scale);
    series(chart, "capacity", "capacity", "units", &capacity, scale);
    names.push((demand.last().map_or(0.0, |span| span.0), "demand", "demand (area)"));
    names.push((capacity.last().map_or(0.0, |span| span.1), "capacity", "capacity (line)"));
    beside_each(chart, UNITS, scale, names);
    chart.beside(UNITS.top, "unit", "units");
}

/// A band from the least to the most of each column.
fn series(chart: &mut Chart<'_>, class: &str, name: &str, unit: &str, spans: &[Span], scale: Upwards) {
    let band = chart.band(spans, scale);
    path(chart, class, name, unit, &band, scale);
}

/// A path, with what the pointer needs to read values off it.
fn path(chart: &mut Chart<'_>, class: &str, name: &str, unit: &str, d: &str, scale: Upwards) {
    let _ = write!(
        chart.svg,
        r#"<path class="{class} line" data-name="{name}" data-unit="{unit}" data-base="{}" data-per="{}" d="{d}"/>"#,
        scale.base, scale.per_unit
    );
}

/// Names beside the right ends of lines, pushed apart where they would overlap.
fn beside_each(chart: &mut Chart<'_>, panel: Panel, scale: Upwards, mut names: Vec<(f64, &str, &str)>) {
    const APART: f64 = 14.0;
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut below = panel.bottom() - 1.0 + APART;
    let mut placed = Vec::new();
    for (value, class, text) in names {
        let y = scale.at(value).min(below - APART);
        below = y;
        placed.push((y, class, text));
    }
    // The topmost may have been pushed into the panel's own title.
    let over = (panel.top + APART - below).max(0.0);
    for (y, class, text) in placed {
        chart.beside((y + over).min(panel.bottom()), &format!("name {class}"), text);
    }
}

/// Utilisation, with the target and the level.
fn busy(chart: &mut Chart<'_>, outcome: &Outcome) {
    let scale = Upwards::new(BUSY.bottom(), BUSY.height, 1.0);
    chart.rows(scale, &[0.0, 0.5, 1.0], |share| format!("{} %", plain(share * 100.0)));
    let envelope = chart.columns.envelope(&chart.course.utilization);
    for (class, level) in [("level target", outcome.config.target), ("level", outcome.config.objective_above)]
    {
        let y = place(scale.at(level));
        let _ = write!(chart.svg, r#"<path class="{class}" d="M{LEFT} {y}H{RIGHT}"/>"#);
    }
    let percents = Upwards { base: scale.base, per_unit: scale.per_unit / 100.0 };
    let in_percent: Vec<Span> = envelope.iter().map(|(low, high)| (low * 100.0, high * 100.0)).collect();
    series(chart, "busy", "utilisation", "%", &in_percent, percents);
    let whole = |share: f64| format!("{} %", plain(share * 100.0));
    let (level, target) = (
        format!("level {} (dotted)", whole(outcome.config.objective_above)),
        format!("target {} (dashed)", whole(outcome.config.target)),
    );
    let last = envelope.last().map_or(0.0, |span| span.1);
    let names = vec![
        (outcome.config.target, "muted", target.as_str()),
        (outcome.config.objective_above, "muted", level.as_str()),
        (last, "busy", "utilisation"),
    ];
    beside_each(chart, BUSY, scale, names);
}

/// What one column is wide, in words.
pub(super) fn width_of_column(course: &Course) -> String {
    let chart = Chart::new(course);
    let seconds = chart.seconds / real(chart.columns.count);
    if seconds < 120.0 {
        format!("{} s", plain(seconds.round()))
    } else {
        format!("{} min", plain((seconds / 6.0).round() / 10.0))
    }
}

/// When the course begins and ends, in words.
pub(super) fn extent(course: &Course) -> (String, String) {
    let begin = course.start.secs();
    let seconds = i64::from(crate::number::small(course.demand.len())) * i64::from(Trace::STEP);
    (moment(begin), moment(begin + seconds))
}
