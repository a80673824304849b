//! The ground that a chart over time is drawn on: its columns, its scales, its edges.

use super::envelope::{Columns, Span};
use super::scale::{Upwards, real};
use super::text::{Escaped, fixed};
use crate::{Course, Trace};
use std::fmt::Write as _;

pub(super) const WIDTH: f64 = 1160.0;
/// Where the plots begin: numbers stand to their left.
pub(super) const LEFT: f64 = 48.0;
/// Where they end: names stand to their right.
pub(super) const RIGHT: f64 = 1020.0;
/// Columns at most: one a unit of width.
const COLUMNS: usize = 972;
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

/// What all parts of a chart share.
pub(super) struct Chart<'a> {
    pub course: &'a Course,
    pub columns: Columns,
    pub seconds: f64,
    /// The document so far.
    pub svg: String,
}

impl<'a> Chart<'a> {
    pub fn new(course: &'a Course) -> Self {
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
        let (begin, end) = (self.edge(0), self.edge(self.columns.count - 1));
        let _ =
            write!(path, " {},{ground} {},{ground}Z", place(end), place(begin), ground = place(scale.base));
        path
    }

    /// A line along a value by column.
    pub fn line(&self, values: &[f64], scale: Upwards) -> String {
        let mut path = String::with_capacity(values.len() * 10);
        self.walk(&mut path, values.iter().copied().enumerate(), scale);
        path
    }

    /// Appends a point a column; those within a level stretch are left out.
    fn walk(&self, path: &mut String, values: impl Iterator<Item = (usize, f64)>, scale: Upwards) {
        let mut level: Option<(usize, String)> = None;
        let mut skipped: Option<(usize, String)> = None;
        let mut point = |(column, y): &(usize, String)| {
            let lead = if path.is_empty() { 'M' } else { ' ' };
            let _ = write!(path, "{lead}{},{y}", place(self.edge(*column)));
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
