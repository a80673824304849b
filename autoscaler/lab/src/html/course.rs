//! A run over time: demand, capacity and utilisation on one time axis, with breaches and decisions.

use super::envelope::{Columns, Span};
use super::scale::{Upwards, moment, real, ticks, time_ticks};
use super::text::{Escaped, fixed, last_part, percent, plain, word};
use super::{decisions, pools};
use crate::{Course, Outcome, Trace};
use std::fmt::Write as _;

pub(super) const WIDTH: f64 = 1160.0;
/// Where the plots begin: numbers stand to their left.
pub(super) const LEFT: f64 = 48.0;
/// Where they end: names stand to their right.
pub(super) const RIGHT: f64 = 1020.0;
/// Columns at most: one a unit of width.
const COLUMNS: usize = 972;
const UNITS: Panel = Panel { top: 10.0, height: 190.0 };
const MARKS: Panel = Panel { top: 208.0, height: 12.0 };
const BUSY: Panel = Panel { top: 236.0, height: 110.0 };
const DECIDED: Panel = Panel { top: 356.0, height: 22.0 };
const POOLS: Panel = Panel { top: 394.0, height: 110.0 };
/// The level of the score `breach80_ratio`.
const BREACH: f64 = 0.8;

/// A strip of the chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub top: f64,
    pub height: f64,
}

impl Panel {
    pub fn bottom(self) -> f64 {
        self.top + self.height
    }
}

/// What was wrong in a step, worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Breach {
    #[default]
    None,
    Above,
    Full,
}

/// What all parts of a chart share.
pub(super) struct Chart<'a> {
    pub course: &'a Course,
    pub columns: Columns,
    pub seconds: f64,
    /// The document so far.
    pub svg: String,
}

impl<'a> Chart<'a> {
    fn new(course: &'a Course) -> Self {
        let steps = course.demand.len().min(course.capacity.len());
        let columns = Columns::new(steps, COLUMNS);
        let seconds = real(columns.steps) * f64::from(Trace::STEP);
        Self { course, columns, seconds, svg: String::new() }
    }

    /// The left edge of a column.
    pub fn edge(&self, column: usize) -> f64 {
        LEFT + real(column) * (RIGHT - LEFT) / real(self.columns.count)
    }

    /// Where a time lies, in seconds from the start.
    pub fn at(&self, seconds: f64) -> f64 {
        LEFT + (seconds / self.seconds).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// A band between two values by column, as a closed path: the way there along the top, back along the bottom.
    pub fn band(&self, spans: &[Span], scale: Upwards) -> String {
        let mut path = String::with_capacity(spans.len() * 24);
        self.walk(&mut path, spans.iter().map(|span| span.1).enumerate(), scale);
        self.walk(&mut path, spans.iter().map(|span| span.0).enumerate().rev(), scale);
        path.push('Z');
        path
    }

    /// An area from the ground up to a value by column.
    pub fn area(&self, tops: &[f64], scale: Upwards) -> String {
        let mut path = String::with_capacity(tops.len() * 12);
        self.walk(&mut path, tops.iter().copied().enumerate(), scale);
        let (begin, end) = (self.middle(0), self.middle(self.columns.count - 1));
        let _ =
            write!(path, " {},{ground} {},{ground}Z", place(end), place(begin), ground = place(scale.base));
        path
    }

    fn middle(&self, column: usize) -> f64 {
        f64::midpoint(self.edge(column), self.edge(column + 1))
    }

    /// Appends a point a column; those within a level stretch are left out.
    fn walk(&self, path: &mut String, values: impl Iterator<Item = (usize, f64)>, scale: Upwards) {
        let mut level: Option<(usize, String)> = None;
        let mut skipped: Option<(usize, String)> = None;
        let mut point = |(column, y): &(usize, String)| {
            let lead = if path.is_empty() { 'M' } else { ' ' };
            let _ = write!(path, "{lead}{},{y}", place(self.middle(*column)));
        };
        for (column, value) in values {
            let here = (column, place(scale.at(value)));
            if level.as_ref().is_some_and(|(_, y)| *y == here.1) {
                skipped = Some(here);
                continue;
            }
            skipped.take().iter().for_each(&mut point);
            point(&here);
            level = Some(here);
        }
        skipped.iter().for_each(point);
    }

    /// A text beside the right edge.
    pub fn beside(&mut self, y: f64, class: &str, text: &str) {
        let (x, y) = (place(RIGHT + 8.0), place(y));
        let _ =
            write!(self.svg, r#"<text class="{class}" x="{x}" y="{y}" dy=".32em">{}</text>"#, Escaped(text));
    }

    /// Lines across with numbers to their left.
    pub fn rows(&mut self, scale: Upwards, values: &[f64], label: impl Fn(f64) -> String) {
        for value in values {
            let y = place(scale.at(*value));
            let _ = write!(
                self.svg,
                r#"<path class="grid" d="M{LEFT} {y}H{RIGHT}"/><text class="tick end" x="{}" y="{y}" dy=".32em">{}</text>"#,
                LEFT - 7.0,
                label(*value)
            );
        }
    }
}

/// A place on the chart, to a tenth.
pub(super) fn place(value: f64) -> String {
    let text = fixed(value, 1);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A run's chart with its decisions; nothing where its course was not kept.
///
/// * `id`: unique in the document; `runs`: how many such charts there are in it.
pub(super) fn figure(outcome: &Outcome, id: &str, runs: usize) -> String {
    let Some(course) = outcome.course.as_ref().filter(|course| !course.demand.is_empty()) else {
        return String::new();
    };
    let mut chart = Chart::new(course);
    let bottom = if course.pools.is_empty() { DECIDED.bottom() } else { POOLS.bottom() };
    let spoken = summary(outcome, course);
    let name = word(&outcome.runner);
    let _ = write!(
        chart.svg,
        r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-labelledby="{id}-title {id}-desc" data-left="{LEFT}" data-right="{RIGHT}" data-start="{}" data-seconds="{}" data-columns="{}"><title id="{id}-title">{} on {}</title><desc id="{id}-desc">{}</desc>"#,
        bottom + 26.0,
        course.start.secs(),
        chart.seconds,
        chart.columns.count,
        Escaped(&name),
        Escaped(last_part(&outcome.trace)),
        Escaped(&spoken),
    );
    time_axis(&mut chart, bottom);
    units(&mut chart);
    breaches(&mut chart);
    busy(&mut chart, outcome);
    decisions::lanes(&mut chart, DECIDED);
    pools::stack(&mut chart, POOLS, id);
    let _ = write!(chart.svg, r#"<path class="cross" d="M0 {}V{bottom}"/></svg>"#, UNITS.top);
    format!(
        r#"<figure class="course" id="{id}"><figcaption><h4>{}</h4><p>{}</p></figcaption><div class="plot">{}<div class="tip" hidden="hidden"></div></div>{}{}</figure>"#,
        Escaped(&name),
        Escaped(&spoken),
        chart.svg,
        pools::legend(course),
        decisions::list(outcome, course, runs),
    )
}

/// The chart in words.
fn summary(outcome: &Outcome, course: &Course) -> String {
    let reach = |values: &[f32]| {
        let finite = || values.iter().copied().map(f64::from).filter(|v| v.is_finite());
        let (low, high) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        format!("{} to {}", plain(low), plain(high))
    };
    let scores = &outcome.scores;
    format!(
        "Demand {} units, capacity {} units, mean utilisation {}. Above 80 % {} of the time, saturated {}. {} \
         decisions.",
        reach(&course.demand),
        reach(&course.capacity),
        percent(scores.mean_utilization),
        percent(scores.breach80_ratio),
        percent(scores.saturated_ratio),
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
        let highest: Vec<Span> = paid.iter().map(|(_, high)| (*high, *high)).collect();
        series(chart, "paid", "paid for", "units", &highest, scale);
        names.push((paid.last().map_or(0.0, |span| span.1), "paid", "paid for (dashed)"));
    }
    series(chart, "demand", "demand", "units", &demand, scale);
    series(chart, "capacity", "capacity", "units", &capacity, scale);
    names.push((demand.last().map_or(0.0, |span| span.0), "demand", "demand (area)"));
    names.push((capacity.last().map_or(0.0, |span| span.1), "capacity", "capacity (line)"));
    beside_each(chart, UNITS, scale, names);
    chart.beside(UNITS.top, "unit", "units");
}

/// One line of a chart, with what the pointer needs to read values off it.
fn series(chart: &mut Chart<'_>, class: &str, name: &str, unit: &str, spans: &[Span], scale: Upwards) {
    let band = chart.band(spans, scale);
    let _ = write!(
        chart.svg,
        r#"<path class="{class} line" data-name="{name}" data-unit="{unit}" data-base="{}" data-per="{}" d="{band}"/>"#,
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

/// Where demand was above 80 % of what served, and above all of it.
fn breaches(chart: &mut Chart<'_>) {
    let Course { demand, capacity, .. } = chart.course;
    let of_step = |step: usize| {
        let (demand, capacity) = (f64::from(demand[step]), f64::from(capacity[step]));
        if demand > capacity {
            Breach::Full
        } else if demand > BREACH * capacity {
            Breach::Above
        } else {
            Breach::None
        }
    };
    let worst = chart.columns.worst(of_step);
    let (top, bottom) = (MARKS.top, MARKS.bottom());
    let _ = write!(chart.svg, r#"<path class="grid" d="M{LEFT} {bottom}H{RIGHT}"/>"#);
    // Half high and full height, so that they differ in more than colour.
    for (what, class, height) in
        [(Breach::Above, "above", MARKS.height / 2.0), (Breach::Full, "full", MARKS.height)]
    {
        let path = runs(&worst, what)
            .map(|(from, to)| {
                let (x, end) = (chart.edge(from), chart.edge(to).max(chart.edge(from) + 1.0));
                format!("M{} {bottom}v-{height}H{}V{bottom}Z", place(x), place(end))
            })
            .collect::<Vec<_>>()
            .concat();
        let _ = write!(chart.svg, r#"<path class="{class} mark" d="{path}"/>"#);
    }
    chart.beside(top - 1.0, "name full", "█ saturated");
    chart.beside(bottom, "name above", "▄ above 80 %");
}

/// Runs of columns of one kind: (first, one past the last).
fn runs(of_column: &[Breach], what: Breach) -> impl Iterator<Item = (usize, usize)> {
    let mut column = 0;
    std::iter::from_fn(move || {
        let from = column + of_column.get(column..)?.iter().position(|c| *c == what)?;
        let length = of_column[from..].iter().take_while(|c| **c == what).count();
        column = from + length;
        Some((from, column))
    })
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
        format!("{} s", plain(seconds))
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
