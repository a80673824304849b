//! The demo's screen: load and capacity, utilisation against its target, pools, the last decisions and why.

use super::frame::{Frame, Past, clock_time};
use anyhow::{Context, Result};
use ratatui::Frame as Canvas;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, List, ListItem, Paragraph};
use std::time::Duration;

/// A full screen, given back when dropped.
pub struct Screen {
    terminal: ratatui::DefaultTerminal,
}

/// What is drawn.
pub struct Scenery<'a> {
    /// What is played.
    pub title: &'a str,
    /// Now.
    pub frame: &'a Frame,
    /// Before.
    pub past: &'a Past,
    /// How long it all lasts.
    pub length: Duration,
    /// The last decisions, oldest first.
    pub decisions: &'a [String],
    /// Where the daemon's HTTP interface is.
    pub address: &'a str,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> Result<Self> {
        let terminal = ratatui::try_init().context("failed to take over the terminal")?;
        Ok(Self { terminal })
    }

    /// Draws.
    pub fn draw(&mut self, scenery: &Scenery<'_>) -> Result<()> {
        self.terminal.draw(|canvas| paint(canvas, scenery)).context("failed to draw")?;
        Ok(())
    }

    /// Whether somebody pressed q, Esc or Ctrl-C since the last time.
    pub fn wants_to_quit() -> Result<bool> {
        while event::poll(Duration::ZERO).context("failed to read the keyboard")? {
            let Event::Key(key) = event::read().context("failed to read the keyboard")? else { continue };
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn paint(canvas: &mut Canvas<'_>, scenery: &Scenery<'_>) {
    let [head, load, utilization, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(8),
        Constraint::Min(6),
        Constraint::Length(12),
    ])
    .areas(canvas.area());
    let [pools, decisions] = Layout::horizontal([Constraint::Length(44), Constraint::Min(20)]).areas(foot);
    paint_head(canvas, head, scenery);
    paint_load(canvas, load, scenery);
    paint_utilization(canvas, utilization, scenery);
    paint_pools(canvas, pools, scenery.frame);
    paint_decisions(canvas, decisions, scenery.decisions);
}

fn paint_head(canvas: &mut Canvas<'_>, area: Rect, scenery: &Scenery<'_>) {
    let truth = &scenery.frame.truth;
    let scores = &scenery.frame.scores;
    let coming = truth.requested + truth.booting;
    let first = Line::from(vec![
        Span::styled("muster", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {}  ", scenery.title)),
        Span::styled(clock_time(scenery.frame.elapsed), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!(
            "   load {:.2}   serving {}  coming {coming}   utilisation {:.0} %   above 80 % {:.2} %   ${:.2}",
            truth.demand,
            truth.in_service,
            truth.utilization * 100.0,
            scores.breach80_ratio * 100.0,
            scores.cost_usd
        )),
    ]);
    let second = Line::from(Span::styled(
        format!("http://{}  (status, explain and /metrics work)   q quits", scenery.address),
        Style::new().add_modifier(Modifier::DIM),
    ));
    canvas.render_widget(Paragraph::new(vec![first, second]), area);
}

fn hours(length: Duration) -> (f64, Vec<String>) {
    let hours = length.as_secs_f64() / 3600.0;
    let marks = (0..=4).map(|quarter| clock_time(length * quarter / 4)).collect();
    (hours, marks)
}

fn paint_load(canvas: &mut Canvas<'_>, area: Rect, scenery: &Scenery<'_>) {
    let points = &scenery.past.points;
    let demand: Vec<(f64, f64)> = points.iter().map(|p| (p.hour, p.demand)).collect();
    let capacity: Vec<(f64, f64)> = points.iter().map(|p| (p.hour, p.capacity)).collect();
    let top = capacity.iter().chain(&demand).map(|(_, y)| *y).fold(4.0, f64::max).ceil();
    let (until, marks) = hours(scenery.length);
    let line = |name: &'static str, color, data| {
        Dataset::default()
            .name(name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(color)
            .data(data)
    };
    let chart =
        Chart::new(vec![line("load", Color::Cyan, &demand), line("serving", Color::Green, &capacity)])
            .block(Block::bordered().title("load and capacity, in instances"))
            .x_axis(Axis::default().bounds([0.0, until]).labels(marks))
            .y_axis(Axis::default().bounds([0.0, top]).labels([
                "0".to_owned(),
                format!("{:.0}", top / 2.0),
                format!("{top:.0}"),
            ]));
    canvas.render_widget(chart, area);
}

fn paint_utilization(canvas: &mut Canvas<'_>, area: Rect, scenery: &Scenery<'_>) {
    let points = &scenery.past.points;
    let busy: Vec<(f64, f64)> = points.iter().map(|p| (p.hour, p.utilization * 100.0)).collect();
    let (until, marks) = hours(scenery.length);
    let goal = [(0.0, 75.0), (until, 75.0)];
    let level = [(0.0, 80.0), (until, 80.0)];
    let line = |name: &'static str, color, data| {
        Dataset::default()
            .name(name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(color)
            .data(data)
    };
    let chart = Chart::new(vec![
        line("80 %", Color::Red, &level),
        line("75 %", Color::Yellow, &goal),
        line("utilisation", Color::Cyan, &busy),
    ])
    .block(Block::bordered().title("utilisation, in percent"))
    .x_axis(Axis::default().bounds([0.0, until]).labels(marks))
    .y_axis(Axis::default().bounds([0.0, 100.0]).labels(["0", "50", "100"]));
    canvas.render_widget(chart, area);
}

fn paint_pools(canvas: &mut Canvas<'_>, area: Rect, frame: &Frame) {
    let mut lines = Vec::new();
    for (pool, [serving, coming, leaving]) in &frame.pools {
        let bar = |count: u32, sign: &str| sign.repeat(usize::try_from(count).unwrap_or(0));
        let dry = frame.dry.contains(pool);
        let style = if dry { Style::new().fg(Color::Red) } else { Style::new() };
        lines.push(Line::from(vec![
            Span::styled(format!("{:<20}", pool.to_string()), style),
            Span::styled(bar(*serving, "\u{25a0}"), Style::new().fg(Color::Green)),
            Span::styled(bar(*coming, "\u{25a1}"), Style::new().fg(Color::Yellow)),
            Span::styled(bar(*leaving, "\u{25b3}"), Style::new().fg(Color::Magenta)),
            Span::styled(if dry { " no capacity" } else { "" }, style),
        ]));
    }
    lines.push(Line::default());
    lines.push(Line::from(Span::styled(
        "\u{25a0} serves  \u{25a1} on its way  \u{25b3} leaves",
        Style::new().add_modifier(Modifier::DIM),
    )));
    canvas.render_widget(Paragraph::new(lines).block(Block::bordered().title("capacity by pool")), area);
}

fn paint_decisions(canvas: &mut Canvas<'_>, area: Rect, decisions: &[String]) {
    let room = usize::from(area.height.saturating_sub(2));
    let items = decisions.iter().rev().take(room).map(|line| ListItem::new(line.as_str()));
    canvas.render_widget(List::new(items).block(Block::bordered().title("decisions, newest first")), area);
}
