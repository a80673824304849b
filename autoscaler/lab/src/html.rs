//! A report of runs as one self-contained HTML file.
//!
//! Charts are drawn here, as SVG; the script in the file only reads values off them. What is longer than a chart is
//! wide is drawn as an envelope, least to most of each column, so that no breach vanishes however long the course.
//! Names of traces and reasons may hold anything: they reach the document escaped, and nowhere else.

mod breach;
mod chart;
mod course;
mod decisions;
mod envelope;
mod palette;
mod pools;
mod scale;
mod scatter;
mod table;
mod text;

use crate::{Course, Outcome};
use std::fmt::Write as _;
use text::{Escaped, percent, plain, word};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The clairvoyant's front of cost against breach on one trace: what could have been had at best.
#[derive(Clone, Debug, PartialEq)]
pub struct Front {
    /// The trace's name, as in [`Outcome::trace`].
    pub trace: String,
    /// (cost over the hard oracle's, share of time above 80 %), in any order.
    pub points: Vec<(f64, f64)>,
}

/// Renders runs, with their courses where they were kept.
///
/// * `outcomes`: in the order of the tables; those of one trace share its charts.
/// * `fronts`: at most one a trace.
/// * returns: a whole HTML document that asks nothing of the network. Its size goes with the number of runs and
///   decisions, not with the length of the courses.
///
/// Never fails: numbers that are none are shown as a dash, or not drawn.
pub fn render(outcomes: &[Outcome], fronts: &[Front]) -> String {
    let mut traces: Vec<(&str, Vec<&Outcome>)> = Vec::new();
    for outcome in outcomes {
        match traces.iter_mut().find(|(name, _)| *name == outcome.trace) {
            Some((_, of_trace)) => of_trace.push(outcome),
            None => traces.push((&outcome.trace, vec![outcome])),
        }
    }
    let mut page = head();
    let _ = write!(page, "<header><h1>Backtest</h1>{}", outcomes.first().map(world).unwrap_or_default());
    contents(&mut page, &traces);
    page.push_str("</header><main>");
    if traces.is_empty() {
        page.push_str("<p>No runs.</p>");
    }
    let runs = outcomes.iter().filter(|outcome| outcome.course.is_some()).count();
    for (number, (name, of_trace)) in traces.iter().enumerate() {
        let front = fronts.iter().find(|front| front.trace == *name);
        page.push_str(&section(number, name, of_trace, front, runs));
    }
    page.push_str("</main>");
    foot(&mut page);
    page
}

fn head() -> String {
    // The policy forbids what is not there anyway: any request.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\
         <title>muster: backtest</title><style>\n{}{STYLE}</style></head><body>",
        palette::rules()
    )
}

/// The world's rules and the promise, in a sentence.
fn world(outcome: &Outcome) -> String {
    let config = &outcome.config;
    let setting = &config.setting;
    let mut text = format!(
        "<p>{} to {} units at {}, at most {} of the time above {}. In service {} s after the request; metric {}; \
         interruptions: {}",
        config.min,
        config.max,
        percent(config.target),
        percent(config.objective_at_most),
        percent(config.objective_above),
        setting.boot,
        Escaped(&word(&setting.metric)),
        Escaped(&word(&setting.interruptions)),
    );
    if setting.stochastic {
        text.push_str("; boots, drains and pools that fail by chance");
    }
    if setting.noise > 0.0 {
        let _ = write!(text, "; noise {}", percent(setting.noise));
    }
    let _ = write!(text, "; seed {}.</p>", setting.seed);
    text
}

/// Links to the traces, where there are several, each with how its first runner fared.
fn contents(page: &mut String, traces: &[(&str, Vec<&Outcome>)]) {
    if traces.len() < 2 {
        return;
    }
    page.push_str("<nav aria-label=\"Traces\"><ul>");
    for (number, (name, _)) in traces.iter().enumerate() {
        let _ = write!(page, "<li><a href=\"#trace-{number}\">{}</a></li>", Escaped(text::last_part(name)));
    }
    page.push_str("</ul></nav>");
}

fn section(number: usize, name: &str, outcomes: &[&Outcome], front: Option<&Front>, runs: usize) -> String {
    let mut page = format!(
        "<section id=\"trace-{number}\" aria-labelledby=\"trace-{number}-name\"><h2 id=\"trace-{number}-name\">{}</h2>",
        Escaped(text::last_part(name))
    );
    let days =
        plain(outcomes.first().map_or(0.0, |outcome| crate::number::real(outcome.seconds.scored) / 86_400.0));
    let _ =
        write!(page, "<p>{}: {days} {} scored</p>", Escaped(name), if days == "1" { "day" } else { "days" });
    page.push_str(&table::tables(outcomes));
    page.push_str(&scatter::figure(outcomes, front, &format!("scatter-{number}")));
    let courses: Vec<&&Outcome> = outcomes.iter().filter(|outcome| outcome.course.is_some()).collect();
    if let Some(course) = courses.first().and_then(|outcome| outcome.course.as_ref()) {
        page.push_str(&how_to_read(course));
    }
    for (run, outcome) in courses.into_iter().enumerate() {
        page.push_str(&course::figures(outcome, &format!("run-{number}-{run}"), runs));
    }
    page.push_str("</section>");
    page
}

/// What the charts over time show, and what a column of them is.
fn how_to_read(course: &Course) -> String {
    let (from, to) = course::extent(course);
    format!(
        "<h3>Over time</h3><p>{from} to {to}, UTC. A column is {} wide and shows the least and the most in it; a mark \
         of breach says that it happened in it at least once. Of courses over three days the day with the most of it \
         follows closely.</p>",
        course::width_of_column(course)
    )
}

fn foot(page: &mut String) {
    let _ = write!(
        page,
        "<footer><p>Cost is over that of a clairvoyant who never goes above the target. The contract: mean utilisation \
         at most the target and half a point, the objective of breach, at most 0.3 % saturated, at most 12 flips a \
         day or as many as aws-tt&#39;s.</p></footer><script>//<![CDATA[\n{SCRIPT}//]]></script></body></html>\n"
    );
}
