//! Where capacity came from: a stack of pools over time.

use super::chart::{Chart, Panel};
use super::envelope::Columns;
use super::palette::POOL_COLOURS;
use super::scale::{Upwards, ticks};
use super::text::{Escaped, plain};
use crate::Course;
use std::fmt::Write as _;

/// The patterns that tell apart pools of one colour.
const PATTERNS: [&str; 3] = ["plain", "stripes", "dots"];

/// How a pool is drawn: a colour and a pattern, and never a colour alone for the first eighteen.
fn style(pool: usize) -> (usize, usize) {
    (pool % POOL_COLOURS, pool / POOL_COLOURS % PATTERNS.len())
}

/// The stack is drawn on columns of this many of the chart's: pools are many, and their means are smooth.
const COARSER: usize = 3;

/// Draws the stack, means by column; nothing in a world without pools.
pub(super) fn stack(chart: &mut Chart<'_>, panel: Panel, id: &str) {
    let pools = &chart.course.pools;
    if pools.is_empty() {
        return;
    }
    let columns = Columns::new(chart.columns.steps, chart.columns.count.div_ceil(COARSER));
    let mut coarse = Chart { course: chart.course, columns, seconds: chart.seconds, svg: String::new() };
    let mut top = vec![0.0; columns.count];
    let mut tops: Vec<Vec<f64>> = Vec::new();
    for (_, values) in pools {
        top.iter_mut().zip(columns.means(values)).for_each(|(top, mean)| *top += mean);
        tops.push(top.clone());
    }
    let rows = ticks(top.iter().copied().fold(0.0, f64::max), 3);
    let scale = Upwards::new(panel.bottom(), panel.height, rows.last().copied().unwrap_or(1.0));
    coarse.rows(scale, &rows, plain);
    // From the whole stack down to its lowest pool, each painted over the one before.
    for (pool, tops) in tops.iter().enumerate().rev() {
        fill(&mut coarse, pool, id);
        let path = coarse.area(tops, scale);
        let _ = write!(
            coarse.svg,
            r#"<path class="pool" data-name="{}" data-unit="units" data-columns="{}" data-base="{}" data-per="{}" fill="url(#{id}-pool-{pool})" d="{path}"/>"#,
            Escaped(&pools[pool].0),
            columns.count,
            scale.base,
            scale.per_unit
        );
    }
    coarse.beside(panel.top + 5.0, "name", "capacity by pool");
    coarse.beside(panel.top + 20.0, "name muted", "(means)");
    chart.svg.push_str(&coarse.svg);
}

/// A pool's colour, with paper-coloured stripes or dots over it where colours come round again.
fn fill(chart: &mut Chart<'_>, pool: usize, id: &str) {
    let (colour, pattern) = style(pool);
    let over = match PATTERNS[pattern] {
        "stripes" => r#"<path class="over" d="M0 6L6 0M-1 1L1 -1M5 7L7 5"/>"#,
        "dots" => r#"<circle class="over dot" cx="3" cy="3" r="1.3"/>"#,
        _ => "",
    };
    let _ = write!(
        chart.svg,
        r#"<pattern id="{id}-pool-{pool}" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="var(--pool-{colour})"/>{over}</pattern>"#
    );
}

/// What the colours and patterns stand for, from the top of the stack down.
pub(super) fn legend(course: &Course) -> String {
    if course.pools.is_empty() {
        return String::new();
    }
    let mut text = "<ul class=\"legend\" aria-label=\"Pools, from the top of the stack down\">".to_owned();
    for (pool, (name, _)) in course.pools.iter().enumerate().rev() {
        let (colour, pattern) = style(pool);
        let _ = write!(
            text,
            r#"<li><span class="swatch {}" style="--of:var(--pool-{colour})"></span>{}</li>"#,
            PATTERNS[pattern],
            Escaped(name)
        );
    }
    text.push_str("</ul>");
    text
}
