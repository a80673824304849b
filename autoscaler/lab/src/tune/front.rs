//! Fronts: what nothing beats in both cost and breach, which is time above the level of the objective.

use super::Score;

/// Whether `a` is at least as good as `b` in both cost and breach, and better in one.
pub fn dominates(a: (f64, f64), b: (f64, f64)) -> bool {
    a.0 <= b.0 && a.1 <= b.1 && a != b
}

/// The indexes of those that nothing dominates in (cost, breach), the cheapest first; of equals the first.
pub fn front<T>(all: &[T], score: impl Fn(&T) -> &Score) -> Vec<usize> {
    let point = |index: usize| {
        let score = score(&all[index]);
        (score.cost_unit_hours, score.above_ratio)
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (point(*a), point(*b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let mut least = f64::INFINITY;
    order.retain(|index| {
        let breach = point(*index).1;
        let better = breach < least;
        least = least.min(breach);
        better
    });
    order
}

/// The knee of a front: the point that lies furthest below the straight line between its ends, cost and breach each
/// measured in the span of the front.
///
/// * `front`: the cheapest first, not empty.
/// * returns: an index; the first where there is no knee, as on a front of two.
pub fn knee(front: &[Score]) -> usize {
    let (Some(first), Some(last)) = (front.first(), front.last()) else { return 0 };
    let span = |from: f64, to: f64, at: f64| if to > from { (at - from) / (to - from) } else { 0.0 };
    let depth = |score: &Score| {
        let cost = span(first.cost_unit_hours, last.cost_unit_hours, score.cost_unit_hours);
        let breach = span(last.above_ratio, first.above_ratio, score.above_ratio);
        1.0 - cost - breach
    };
    let mut best = (0, 0.0);
    for (index, score) in front.iter().enumerate() {
        let depth = depth(score);
        if depth > best.1 {
            best = (index, depth);
        }
    }
    best.0
}
