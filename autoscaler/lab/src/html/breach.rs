//! Where demand was above what served, and the day on which that was worst.

use super::chart::{Chart, LEFT, Panel, RIGHT, place};
use super::scale::real;
use crate::{Course, Trace};
use std::fmt::Write as _;
use std::ops::Range;

/// The level of the score `breach80_ratio`.
const LEVEL: f64 = 0.8;
/// Longer courses than this have their worst day shown closely: a day is what a chart shows well.
const LONG: usize = 3 * DAY;
/// Steps a day.
const DAY: usize = 8640;

/// What was wrong in a step, worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Breach {
    #[default]
    None,
    Above,
    Full,
}

fn of_step(course: &Course, step: usize) -> Breach {
    let at = |values: &[f32]| f64::from(values.get(step).copied().unwrap_or_default());
    let (demand, capacity) = (at(&course.demand), at(&course.capacity));
    if demand > capacity {
        Breach::Full
    } else if demand > LEVEL * capacity {
        Breach::Above
    } else {
        Breach::None
    }
}

/// The shares of time above the level, and of saturation.
pub(super) fn shares(course: &Course) -> (f64, f64) {
    let count =
        |least: Breach| (0..course.demand.len()).filter(|step| of_step(course, *step) >= least).count();
    let steps = real(course.demand.len().max(1));
    (real(count(Breach::Above)) / steps, real(count(Breach::Full)) / steps)
}

/// Marks along the time axis.
pub(super) fn marks(chart: &mut Chart<'_>, panel: Panel) {
    let course = chart.course;
    let worst = chart.columns.worst(|step| of_step(course, step));
    let bottom = panel.bottom();
    let _ = write!(chart.svg, r#"<path class="grid" d="M{LEFT} {bottom}H{RIGHT}"/>"#);
    // Half high and full height, so that they differ in more than colour.
    for (what, class, height) in
        [(Breach::Above, "above", panel.height / 2.0), (Breach::Full, "full", panel.height)]
    {
        let y = bottom - height / 2.0;
        let mut path = String::new();
        for (from, to) in runs(&worst, what) {
            let (x, end) = (chart.edge(from), chart.edge(to));
            let _ = write!(path, "M{} {y}h{}", place(x), place((end - x).max(1.0)));
        }
        let _ = write!(chart.svg, r#"<path class="{class} mark" stroke-width="{height}" d="{path}"/>"#);
    }
    chart.beside(panel.top - 1.0, "name full", "█ saturated");
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

/// The day (by UTC) of a long course on which demand was above what served for longest, saturation counting thrice;
/// `None` for short courses, and where nothing was amiss.
pub(super) fn worst_day(course: &Course) -> Option<Course> {
    let steps = course.demand.len();
    if steps <= LONG {
        return None;
    }
    let of_day = usize::try_from(course.start.secs().rem_euclid(86_400)).unwrap_or(0);
    let first = (DAY - of_day / step_seconds()) % DAY;
    let mut begins: Vec<usize> = (first..steps).step_by(DAY).collect();
    if first > 0 {
        begins.insert(0, 0);
    }
    let ends = begins.iter().copied().skip(1).chain([steps]);
    let badness = |day: &Range<usize>| -> usize {
        day.clone()
            .map(|step| match of_step(course, step) {
                Breach::None => 0,
                Breach::Above => 1,
                Breach::Full => 3,
            })
            .sum()
    };
    let days: Vec<Range<usize>> = begins.iter().copied().zip(ends).map(|(begin, end)| begin..end).collect();
    // Of equally bad days the first.
    let worst = days.into_iter().rev().max_by_key(badness).filter(|day| badness(day) > 0)?;
    Some(cut(course, &worst))
}

const fn step_seconds() -> usize {
    Trace::STEP as usize
}

/// A part of a course, as a course of its own.
fn cut(course: &Course, steps: &Range<usize>) -> Course {
    let part = |values: &[f32]| {
        let end = steps.end.min(values.len());
        values.get(steps.start.min(end)..end).unwrap_or_default().to_vec()
    };
    let seconds = |step: usize| crate::number::small(step.saturating_mul(step_seconds()));
    let (from, to) = (seconds(steps.start), seconds(steps.end));
    let decisions = course.decisions.iter().filter(|change| (from..to).contains(&change.at));
    Course {
        start: course.start + std::time::Duration::from_secs(u64::from(from)),
        demand: part(&course.demand),
        capacity: part(&course.capacity),
        billed: part(&course.billed),
        utilization: part(&course.utilization),
        pools: course.pools.iter().map(|(name, values)| (name.clone(), part(values))).collect(),
        decisions: decisions
            .map(|change| {
                let mut change = change.clone();
                change.at -= from;
                change
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Change;
    use fleet::Timestamp;

    fn calm(days: usize, start: i64) -> Course {
        let steps = days * DAY;
        let change = |at| Change { at, from: 1, to: 2, reason: String::new() };
        Course {
            start: Timestamp::from_secs(start),
            demand: vec![6.0; steps],
            capacity: vec![8.0; steps],
            decisions: (0..28).map(|day| change(day * 86_400 + 600)).collect(),
            ..Course::default()
        }
    }

    #[test]
    fn the_worst_day_is_cut_out_by_the_calendar() {
        assert_eq!(worst_day(&calm(28, 0)), None, "nothing was amiss");
        let mut short = calm(3, 0);
        short.demand[7] = 9.0;
        assert_eq!(worst_day(&short), None, "short courses are shown closely anyway");
        let six_in_the_morning = 6 * 3600;
        let mut long = calm(28, six_in_the_morning);
        long.demand[100] = 9.0;
        // The day that begins 18 hours in: twice above the level weighs less than once saturated.
        let begin = 18 * 360;
        long.demand[begin..begin + 4].fill(7.0);
        let worst = worst_day(&long).expect("a bad day");
        assert_eq!((worst.start.secs(), worst.demand.len()), (86_400, DAY));
        assert_eq!(worst.demand[..5], [7.0, 7.0, 7.0, 7.0, 6.0]);
        assert_eq!(worst.decisions.iter().map(|c| c.at).collect::<Vec<_>>(), [6 * 3600 + 600]);
        long.demand[101] = 9.0;
        assert_eq!(worst_day(&long).map(|day| (day.start.secs(), day.demand.len())), Some((21_600, begin)));
    }

    #[test]
    fn runs_of_columns_are_found() {
        use Breach::{Above as A, Full as F, None as N};
        let found = |what| runs(&[A, A, N, F, A, F, F], what).collect::<Vec<_>>();
        assert_eq!((found(A), found(F)), (vec![(0, 2), (4, 5)], vec![(3, 4), (5, 7)]));
        assert_eq!(runs(&[], A).count(), 0);
    }
}
