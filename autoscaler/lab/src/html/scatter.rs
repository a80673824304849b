//! Cost against breach: every runner as a mark, the clairvoyant's front as a line.

use super::Front;
use super::chart::place;
use super::scale::{real, ticks, whole};
use super::text::{Escaped, last_part, percent, plain, word};
use crate::{Outcome, Runner};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 350.0;
/// Shares of time that are marked where they fit.
const SHARES: [f64; 11] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0];

/// From cost and breach to places. Breach goes by its root: what matters lies near nothing, and nothing itself
/// must be on the chart.
struct Plane {
    from: f64,
    to: f64,
    root_of_most: f64,
}

impl Plane {
    fn over(points: &[(f64, f64)], promised: f64) -> Self {
        let finite = |value: &f64| value.is_finite();
        let costs = || points.iter().map(|p| p.0).filter(finite);
        let (low, high) = (costs().fold(1.0, f64::min), costs().fold(1.0, f64::max));
        let room = ((high - low) * 0.08).max(0.02);
        let most = points.iter().map(|p| p.1).filter(finite).fold(promised.max(0.01), f64::max);
        Self { from: low - room, to: high + room, root_of_most: (most * 1.15).min(1.0).sqrt() }
    }
    fn x(&self, cost: f64) -> f64 {
        LEFT + (cost - self.from) / (self.to - self.from) * (RIGHT - LEFT)
    }
    fn y(&self, share: f64) -> f64 {
        BOTTOM - share.max(0.0).sqrt() / self.root_of_most * (BOTTOM - TOP)
    }
}

/// The chart of one trace's outcomes.
///
/// * `id`: unique in the document.
pub(super) fn figure(outcomes: &[&Outcome], front: Option<&Front>, id: &str) -> String {
    let Some(first) = outcomes.first() else { return String::new() };
    let points: Vec<(f64, f64)> =
        outcomes.iter().map(|o| (o.scores.cost_ratio, o.scores.above_ratio)).collect();
    let plane = Plane::over(&points, first.config.objective_at_most);
    let mut svg = format!(
        r#"<figure class="scatter"><figcaption><h3>Cost against breach</h3><p>Further left is cheaper, further down breaches less. A filled mark kept the contract, a hollow one did not.</p></figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">Cost against breach on {}</title><desc id="{id}-desc">{}</desc>"#,
        Escaped(last_part(&first.trace)),
        Escaped(&in_words(outcomes, front)),
    );
    axes(&mut svg, &plane, first.config.objective_above);
    promise(&mut svg, &plane, first.config.objective_at_most);
    let along = front.map_or_else(Vec::new, |front| clairvoyant(&mut svg, &plane, front, id));
    let mut labels = Labels::default();
    labels.taken.extend(along.iter().map(|(x, y)| Place::around(*x, *y, 3.0)));
    labels.taken.extend(points.iter().map(|(x, y)| Place::around(plane.x(*x), plane.y(*y), 8.0)));
    for (outcome, (cost, share)) in outcomes.iter().zip(&points) {
        if cost.is_finite() && share.is_finite() {
            mark(&mut svg, outcome, plane.x(*cost), plane.y(*share), &mut labels);
        }
    }
    name_front(&mut svg, &along, &labels);
    svg.push_str("</svg></figure>");
    svg
}

fn in_words(outcomes: &[&Outcome], front: Option<&Front>) -> String {
    let one = |o: &&Outcome| {
        let kept = if o.scores.contract_kept { "contract kept" } else { "contract broken" };
        let (cost, breach) = (plain(o.scores.cost_ratio), percent(o.scores.above_ratio));
        let level = level(o.config.objective_above);
        format!("{}: cost {cost}, above {level} {breach}, {kept}. ", word(&o.runner))
    };
    let front =
        front.map_or("", |_| "The line is the least cost that anybody could have had who knew the future.");
    outcomes.iter().map(one).collect::<Vec<_>>().concat() + front
}

/// The level of the objective, in words.
fn level(above: f64) -> String {
    format!("{} %", plain(above * 100.0))
}

/// * `above`: the level that breach is about.
fn axes(svg: &mut String, plane: &Plane, above: f64) {
    let mut below = f64::INFINITY;
    for share in SHARES {
        let y = plane.y(share);
        // Numbers need room between them.
        if y < TOP - 1.0 || below - y < 16.0 {
            continue;
        }
        below = y;
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {0}H{RIGHT}"/><text class="tick end" x="{1}" y="{0}" dy=".32em">{2} %</text>"#,
            place(y),
            LEFT - 8.0,
            plain(share * 100.0)
        );
    }
    let step = ticks(plane.to - plane.from, 8).get(1).copied().unwrap_or(1.0);
    let first = whole((plane.from / step).ceil());
    for cost in (first..first + 20).map(|i| real(i) * step).take_while(|cost| *cost <= plane.to) {
        let x = place(plane.x(cost));
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{x} {TOP}V{BOTTOM}"/><text class="tick mid" x="{x}" y="{}">{}</text>"#,
            BOTTOM + 17.0,
            plain(cost)
        );
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = write!(
        svg,
        r#"<text class="axis mid" x="{middle}" y="{}">cost over the clairvoyant's</text><text class="axis mid" transform="translate(14 {}) rotate(-90)">time above {} (root scale)</text>"#,
        BOTTOM + 38.0,
        f64::midpoint(TOP, BOTTOM),
        level(above)
    );
}

/// The share of time that the objective allows.
fn promise(svg: &mut String, plane: &Plane, at_most: f64) {
    let y = plane.y(at_most);
    let _ = write!(
        svg,
        r#"<path class="level" d="M{LEFT} {0}H{RIGHT}"/><text class="name above end" x="{RIGHT}" y="{1}">objective: at most {2}</text>"#,
        place(y),
        place(y - 5.0),
        percent(at_most)
    );
}

/// The front, as far as it lies on the chart.
///
/// * returns: places along it, close to each other.
fn clairvoyant(svg: &mut String, plane: &Plane, front: &Front, id: &str) -> Vec<(f64, f64)> {
    const BETWEEN: usize = 12;
    let mut points: Vec<(f64, f64)> =
        front.points.iter().copied().filter(|(cost, share)| cost.is_finite() && share.is_finite()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.is_empty() {
        return Vec::new();
    }
    let places: Vec<(f64, f64)> =
        points.iter().map(|(cost, share)| (plane.x(*cost), plane.y(*share))).collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{} {}", place(*x), place(*y))).collect();
    let _ = write!(
        svg,
        r#"<clipPath id="{id}-clip"><rect x="{LEFT}" y="{TOP}" width="{}" height="{}"/></clipPath><path class="front" clip-path="url(#{id}-clip)" d="M{}"/>"#,
        RIGHT - LEFT,
        BOTTOM - TOP,
        path.join("L")
    );
    let along = places.windows(2).flat_map(|pair| {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        (0..=BETWEEN).map(move |i| {
            let share = real(i) / real(BETWEEN);
            (x + (to_x - x) * share, y + (to_y - y) * share)
        })
    });
    along.filter(|(x, y)| (LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y)).collect()
}

/// Names the front where there is most room along it.
fn name_front(svg: &mut String, along: &[(f64, f64)], labels: &Labels) {
    const NAME: &str = "clairvoyant's front";
    let spots = along.iter().map(|(x, y)| labels.best(*x, *y, NAME));
    let Some((_, _, (x, y, anchor))) = spots.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
    let _ = write!(
        svg,
        r#"<text class="name capacity {anchor}" x="{}" y="{}" dy=".32em">{}</text>"#,
        place(x),
        place(y),
        Escaped(NAME)
    );
}

/// One runner: a shape of its own, with its name beside it.
fn mark(svg: &mut String, outcome: &Outcome, x: f64, y: f64, labels: &mut Labels) {
    let kept = if outcome.scores.contract_kept { "" } else { " hollow" };
    let own = if outcome.runner == Runner::Muster { " own" } else { "" };
    let name = word(&outcome.runner);
    let (cost, breach) = (plain(outcome.scores.cost_ratio), percent(outcome.scores.above_ratio));
    let level = level(outcome.config.objective_above);
    let (tx, ty, anchor) = labels.place(x, y, &name);
    let _ = write!(
        svg,
        r#"<g class="runner{kept}{own}"><path d="{}"><title>{name}: cost {cost}, above {level} {breach}</title></path><text class="{anchor}" x="{}" y="{}" dy=".32em">{name}</text></g>"#,
        shape(outcome.runner, x, y),
        place(tx),
        place(ty)
    );
}

/// A runner's shape, about fourteen wide.
pub(super) fn shape(runner: Runner, x: f64, y: f64) -> String {
    let at = format!("M{} {}", place(x), place(y));
    let body = match runner {
        Runner::Muster => "m-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0z",
        Runner::AwsTt => "m-6 -6h12v12h-12z",
        Runner::AwsTt5m => "m-6 -4h12v8h-12z",
        Runner::AwsTt10s => "m-4 -6h8v12h-8z",
        Runner::AwsAsgTt => "m-6 -6h12l-3 12h-6z",
        Runner::NomadTv => "m0 -7l7 12h-14z",
        Runner::Hpa => "m0 -7l7 7l-7 7l-7 -7z",
        Runner::StaticPeak => "m0 7l7 -12h-14z",
        Runner::Lag => "m-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    };
    at + body
}

/// A rectangle on the chart.
#[derive(Clone, Copy)]
struct Place {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Place {
    fn around(x: f64, y: f64, reach: f64) -> Self {
        Self { left: x - reach, right: x + reach, top: y - reach, bottom: y + reach }
    }
    fn overlap(&self, other: &Self) -> f64 {
        let wide = self.right.min(other.right) - self.left.max(other.left);
        let high = self.bottom.min(other.bottom) - self.top.max(other.top);
        wide.max(0.0) * high.max(0.0)
    }
}

/// Where a name stands, and which end of it is there.
type Spot = (f64, f64, &'static str);

/// Where names stand, so that they overlap neither marks nor each other.
#[derive(Default)]
struct Labels {
    taken: Vec<Place>,
}

impl Labels {
    /// Takes the best place for the name of the mark at (x, y).
    ///
    /// * returns: the place, and the anchor.
    fn place(&mut self, x: f64, y: f64, name: &str) -> Spot {
        let (_, place, spot) = self.best(x, y, name);
        self.taken.push(place);
        spot
    }

    /// * returns: how bad the best place is, what it covers, and where it is.
    fn best(&self, x: f64, y: f64, name: &str) -> (f64, Place, Spot) {
        let wide = real(name.chars().count()) * 7.4;
        let spots = [
            (13.0, 0.0, "start"),
            (-13.0, 0.0, "end"),
            (0.0, -17.0, "mid"),
            (0.0, 17.0, "mid"),
            (11.0, -14.0, "start"),
            (11.0, 14.0, "start"),
            (-11.0, -14.0, "end"),
            (-11.0, 14.0, "end"),
            (13.0, -28.0, "start"),
            (13.0, 28.0, "start"),
        ];
        let judged = spots.map(|(dx, dy, anchor)| {
            let (tx, ty) = (x + dx, y + dy);
            let left = match anchor {
                "start" => tx,
                "end" => tx - wide,
                _ => tx - wide / 2.0,
            };
            let place = Place { left, right: left + wide, top: ty - 8.0, bottom: ty + 8.0 };
            let beyond = [LEFT - left, place.right - RIGHT, place.bottom - BOTTOM, TOP - 8.0 - place.top];
            let outside: f64 = beyond.iter().map(|beyond| beyond.max(0.0)).sum();
            let covered: f64 = self.taken.iter().map(|taken| taken.overlap(&place)).sum();
            (covered + outside * 20.0, place, (tx, ty, anchor))
        });
        judged.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((
            f64::INFINITY,
            Place::around(x, y, 0.0),
            (x, y, "start"),
        ))
    }
}
