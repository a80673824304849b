//! Long courses on few columns, so that nothing that happened vanishes.

use super::scale::{real, whole};
use std::ops::Range;

/// How steps are laid into columns: each step in exactly one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// How many steps there are; at least 1.
    pub steps: usize,
    /// How many columns they are laid into; at most as many as steps.
    pub count: usize,
}

/// The least and the most within a column.
pub(super) type Span = (f64, f64);

impl Columns {
    pub fn new(steps: usize, most: usize) -> Self {
        let steps = steps.max(1);
        Self { steps, count: steps.min(most.max(1)) }
    }

    /// The steps of a column.
    pub fn range(self, column: usize) -> Range<usize> {
        column * self.steps / self.count..(column + 1) * self.steps / self.count
    }

    /// The column of a step.
    pub fn of_step(self, step: usize) -> usize {
        let guess = whole(real(step) * real(self.count) / real(self.steps)).min(self.count - 1);
        // Rounding may be off by one.
        (guess.saturating_sub(1)..self.count).find(|c| self.range(*c).end > step).unwrap_or(self.count - 1)
    }

    /// The steps of a column, with the last one before: what connects it to its neighbour.
    fn connected(self, column: usize) -> Range<usize> {
        let Range { start, end } = self.range(column);
        start.saturating_sub(1)..end
    }

    /// Least and most by column, drawn without gaps: a column reaches back to where the one before ended.
    pub fn envelope(self, values: &[f32]) -> Vec<Span> {
        let mut last = (0.0, 0.0);
        (0..self.count)
            .map(|column| {
                let values = values.get(self.connected(column)).unwrap_or_default();
                let finite = values.iter().copied().map(f64::from).filter(|v| v.is_finite());
                let span = finite.fold(None, |span: Option<Span>, v| {
                    Some(span.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
                });
                last = span.unwrap_or(last);
                last
            })
            .collect()
    }

    /// Means by column.
    pub fn means(self, values: &[f32]) -> Vec<f64> {
        let mean = |column| {
            let values = values.get(self.range(column)).unwrap_or_default();
            let finite = || values.iter().copied().filter(|v| v.is_finite());
            let count = finite().count();
            if count == 0 { 0.0 } else { finite().map(f64::from).sum::<f64>() / real(count) }
        };
        (0..self.count).map(mean).collect()
    }

    /// The worst of each column.
    pub fn worst<T: Ord + Default>(self, of_step: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.count).map(|column| self.range(column).map(&of_step).max().unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_lies_in_one_column() {
        for (steps, most) in [(1, 970), (7, 3), (970, 970), (971, 970), (242_000, 970)] {
            let columns = Columns::new(steps, most);
            let mut next = 0;
            for column in 0..columns.count {
                let range = columns.range(column);
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                assert_eq!((columns.of_step(range.start), columns.of_step(range.end - 1)), (column, column));
                next = range.end;
            }
            assert_eq!(next, steps);
        }
    }

    #[test]
    fn a_single_step_out_of_the_ordinary_shows() {
        let mut values = vec![3.0_f32; 242_000];
        values[100_003] = 19.0;
        values[200_001] = 0.5;
        let columns = Columns::new(values.len(), 970);
        let envelope = columns.envelope(&values);
        assert_eq!(envelope[columns.of_step(100_003)], (3.0, 19.0));
        assert_eq!(envelope[columns.of_step(200_001)], (0.5, 3.0));
        let worst = columns.worst(|step| u8::from(values[step] > 10.0));
        assert_eq!(worst.iter().map(|w| usize::from(*w)).sum::<usize>(), 1);
    }

    #[test]
    fn what_is_no_number_leaves_the_line_where_it_was() {
        let columns = Columns::new(4, 4);
        assert_eq!(columns.envelope(&[1.0, f32::NAN, f32::INFINITY, 2.0])[2], (1.0, 1.0));
        assert_eq!(columns.envelope(&[]), [(0.0, 0.0); 4]);
        assert_eq!(columns.means(&[1.0, f32::NAN]), [1.0, 0.0, 0.0, 0.0]);
    }
}
