//! Columns.

/// Rows of cells, aligned. Cells are measured before they are painted.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell: its text, and what it looks like.
#[derive(Debug)]
struct Cell {
    width: usize,
    painted: String,
}

impl Table {
    /// Adds a row of (text, the text painted).
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, String)>) {
        let cell = |(text, painted): (String, String)| Cell { width: text.chars().count(), painted };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// A table of (text, the text painted) whose cells lie at the right of their columns, but for the first column and
    /// those from `left` on.
    pub fn numbers(rows: Vec<Vec<(String, String)>>, left: usize) -> Self {
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count()).max()
        };
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut table = Self::default();
        for row in rows {
            table.row(row.into_iter().enumerate().map(|(column, (text, painted))| {
                if column == 0 || column >= left {
                    return (text, painted);
                }
                let blanks = " ".repeat(widths[column] - text.chars().count());
                (format!("{blanks}{text}"), format!("{blanks}{painted}"))
            }));
        }
        table
    }

    /// The lines, each with its newline, without blanks at their ends.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell: &Cell| cell.width)
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut blanks = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if cell.width > 0 {
                    text.extend(std::iter::repeat_n(' ', blanks));
                    text.push_str(&cell.painted);
                    blanks = 0;
                }
                blanks += width - cell.width.min(*width) + if cell.width > 0 { 2 } else { cell.width + 2 };
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_paint() {
        let mut table = Table::default();
        let plain = |text: &str| (text.to_owned(), text.to_owned());
        table.row([plain("fleet"), plain("cpu"), plain("last")]);
        table.row([("web".to_owned(), "<b>web</b>".to_owned()), plain("71.2%"), plain("steady")]);
        table.row([plain("api"), plain(""), plain("held")]);
        table.row([plain("x"), plain("9%"), plain("")]);
        let expected = "\
fleet  cpu    last
<b>web</b>    71.2%  steady
api           held
x      9%
";
        assert_eq!(table.render(), expected);
    }
}
