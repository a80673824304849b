//! The rows of a trace, one at a time: however long it is, one line of it is in memory.

use crate::num::millis;
use fleet::Timestamp;
use std::io::{BufRead, Read as _};
use std::time::Duration;

/// A row of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceRow {
    /// When; under `seconds` as if the recording had begun with day 0.
    pub at: Timestamp,
    /// Demand, in capacity units: finite, 0 or more.
    pub demand: f64,
}

/// Why a trace cannot be used: says where, and what stood there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file}{place}: {problem}", place = place(*line))]
pub struct TraceError {
    /// The name that the caller gave the trace.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: u64,
    /// What is wrong with it.
    pub problem: TraceProblem,
}

/// What is wrong with a line of a trace, and what would have been right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceProblem {
    /// Nothing in it.
    #[error("the trace is empty; it needs a header `seconds,demand` and at least two rows")]
    Empty,
    /// Bytes that are no text.
    #[error(
        "byte {byte:#04x} in column {column} is not UTF-8; expected CSV text with the header `seconds,demand`"
    )]
    NotText {
        /// The first that cannot be read.
        byte: u8,
        /// Where it stands in its line, from 1.
        column: usize,
    },
    /// A line without an end.
    #[error("a line of more than {LONGEST_LINE} bytes, beginning {line:?}; expected a time and a demand")]
    Long {
        /// Its beginning.
        line: String,
    },
    /// The first line is something else.
    #[error("{header:?} is not a header of a trace; expected `seconds,demand` or `timestamp,demand`")]
    Header {
        /// The line.
        header: String,
    },
    /// Not two cells.
    #[error("{row:?} does not have two cells; expected a time and a demand with a comma between them")]
    Cells {
        /// The line.
        row: String,
    },
    /// A time that is none.
    #[error("{value:?} is not a time; expected seconds from the start, or RFC 3339 under `timestamp`")]
    Time {
        /// The cell.
        value: String,
    },
    /// A demand that is none.
    #[error("{value:?} is not a demand; expected a finite number, 0 or more")]
    Demand {
        /// The cell.
        value: String,
    },
    /// Out of order, or there twice.
    #[error("time {value} is not after {previous}, that of the row before; expected ascending times")]
    Order {
        /// The cell.
        value: String,
        /// The time before, as it would be written there.
        previous: String,
    },
    /// One row has no length.
    #[error("the trace has a single row; it needs at least two")]
    SingleRow,
    /// Could not be read.
    #[error("could not be read: {reason}")]
    Read {
        /// The reader's words.
        reason: String,
    },
}

/// The longest line that is read: a file that is no text must not fill the memory.
const LONGEST_LINE: u64 = 4096;

/// How UTF-8 text from some systems begins.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The last time that counts as one: some days of the year 9999 as seconds of the epoch.
const LATEST: Duration = Duration::from_secs(253_402_207_200);

/// Reads a trace row by row.
///
/// * CSV text with the header `seconds,demand` (seconds from the start, may be fractional) or `timestamp,demand`
///   (RFC 3339). Times strictly ascending, at least two rows; blank lines do not count.
/// * The first thing that is wrong is the last item.
///
/// O(1) memory, whatever is read.
#[derive(Debug)]
pub struct TraceRows<R> {
    file: String,
    reader: R,
    /// The line in hand, reused.
    buffer: Vec<u8>,
    number: u64,
    header: Option<Header>,
    previous: Option<Timestamp>,
    rows: u64,
    ended: bool,
}

/// Which of the two headers a trace has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Header {
    Seconds,
    Timestamp,
}

impl<R: BufRead> TraceRows<R> {
    /// Begins to read.
    ///
    /// * `file`: the trace's name, for errors.
    pub fn new(file: &str, reader: R) -> Self {
        Self {
            file: file.to_owned(),
            reader,
            buffer: Vec::new(),
            number: 0,
            header: None,
            previous: None,
            rows: 0,
            ended: false,
        }
    }
    /// The number of the line that was read last, from 1; 0 before the first.
    pub fn line(&self) -> u64 {
        self.number
    }
    /// Whether rows say when they were recorded; `false` before the first.
    pub fn dated(&self) -> bool {
        self.header == Some(Header::Timestamp)
    }
    /// The next row; `None` at the end of the text.
    fn next_row(&mut self) -> Result<Option<TraceRow>, TraceProblem> {
        if !self.next_line()? {
            return Ok(None);
        }
        let header = if let Some(header) = self.header {
            header
        } else {
            let header = header(text(&self.buffer)?)?;
            self.header = Some(header);
            if !self.next_line()? {
                return Ok(None);
            }
            header
        };
        let row = text(&self.buffer)?;
        let cells = row.split_once(',').filter(|(_, demand)| !demand.contains(','));
        let Some((time, demand)) = cells else {
            return Err(TraceProblem::Cells { row: shortened(row) });
        };
        let (time, demand) = (time.trim(), demand.trim());
        let at = when(header, time)?;
        if let Some(previous) = self.previous.filter(|previous| at <= *previous) {
            return Err(TraceProblem::Order { value: shortened(time), previous: written(header, previous) });
        }
        self.previous = Some(at);
        let units: Option<f64> = demand.parse().ok();
        match units {
            Some(units) if units.is_finite() && units >= 0.0 => Ok(Some(TraceRow { at, demand: units })),
            _ => Err(TraceProblem::Demand { value: shortened(demand) }),
        }
    }
    /// Reads the next line that is not blank into the buffer; `false` where there is none.
    fn next_line(&mut self) -> Result<bool, TraceProblem> {
        loop {
            self.buffer.clear();
            let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| TraceProblem::Read { reason: error.to_string() })?;
            if read == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.buffer.len() as u64 >= LONGEST_LINE && !self.buffer.ends_with(b"\n") {
                return Err(TraceProblem::Long { line: shortened(text(&self.buffer)?) });
            }
            if !self.buffer.strip_prefix(MARK).unwrap_or(&self.buffer).trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
    /// Whether the text that has ended was a trace.
    fn complete(&self) -> Result<(), (u64, TraceProblem)> {
        match self.rows {
            0 => Err((0, TraceProblem::Empty)),
            1 => Err((self.number, TraceProblem::SingleRow)),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Iterator for TraceRows<R> {
    type Item = Result<TraceRow, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let (line, problem) = match self.next_row() {
            Ok(Some(row)) => {
                self.rows += 1;
                return Some(Ok(row));
            }
            Ok(None) => {
                self.ended = true;
                self.complete().err()?
            }
            Err(problem) => (self.number, problem),
        };
        self.ended = true;
        Some(Err(TraceError { file: self.file.clone(), line, problem }))
    }
}

/// A line as text, without what surrounds it.
fn text(line: &[u8]) -> Result<&str, TraceProblem> {
    match std::str::from_utf8(line) {
        Ok(text) => Ok(text.trim_start_matches('\u{feff}').trim()),
        Err(error) => {
            let at = error.valid_up_to();
            Err(TraceProblem::NotText { byte: line.get(at).copied().unwrap_or_default(), column: at + 1 })
        }
    }
}

fn header(line: &str) -> Result<Header, TraceProblem> {
    match line.split_once(',').map(|(time, demand)| (time.trim(), demand.trim())) {
        Some(("seconds", "demand")) => Ok(Header::Seconds),
        Some(("timestamp", "demand")) => Ok(Header::Timestamp),
        _ => Err(TraceProblem::Header { header: shortened(line) }),
    }
}

/// A cell's time.
fn when(header: Header, cell: &str) -> Result<Timestamp, TraceProblem> {
    let wrong = || TraceProblem::Time { value: shortened(cell) };
    match header {
        Header::Seconds => {
            let seconds: f64 = cell.parse().map_err(|_| wrong())?;
            // A duration cannot be negative, infinite or no number; and no calendar goes further than this.
            match Duration::try_from_secs_f64(seconds) {
                Ok(since) if since <= LATEST => Ok(Timestamp::from_millis(millis(since))),
                _ => Err(wrong()),
            }
        }
        Header::Timestamp => Timestamp::parse(cell).map_err(|_| wrong()),
    }
}

/// A time as its cell would have it.
fn written(header: Header, at: Timestamp) -> String {
    match header {
        Header::Seconds => crate::num::seconds(at.millis()).to_string(),
        Header::Timestamp => at.to_string(),
    }
}

fn place(line: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

/// The beginning of a text, enough to recognise it.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &[u8]) -> String {
        let rows: Result<Vec<_>, _> = TraceRows::new("load.csv", text).collect();
        rows.expect_err("not a trace").to_string()
    }

    #[test]
    fn what_is_wrong_with_a_trace_is_said_with_file_line_and_value() {
        for (text, expected) in [
            ("", "load.csv: the trace is empty"),
            ("seconds,demand\n", "load.csv: the trace is empty"),
            ("seconds,demand\n0,1\n", "load.csv:2: the trace has a single row"),
            ("time,load\n0,1\n", "load.csv:1: \"time,load\" is not a header"),
            ("0,1\n60,1\n", "load.csv:1: \"0,1\" is not a header"),
            ("seconds,demand\n0,1\n60,-2\n", "load.csv:3: \"-2\" is not a demand"),
            ("seconds,demand\n0,1\n60,NaN\n", "load.csv:3: \"NaN\" is not a demand"),
            ("seconds,demand\n0,1\n60,inf\n", "load.csv:3: \"inf\" is not a demand"),
            ("seconds,demand\n0,1\n60,\n", "load.csv:3: \"\" is not a demand"),
            ("seconds,demand\n0,1\n,2\n", "load.csv:3: \"\" is not a time"),
            ("seconds,demand\n-5,1\n", "load.csv:2: \"-5\" is not a time"),
            ("seconds,demand\n1e300,1\n", "load.csv:2: \"1e300\" is not a time"),
            ("seconds,demand\nNaN,1\n", "load.csv:2: \"NaN\" is not a time"),
            ("seconds,demand\n60,1\n60,2\n", "load.csv:3: time 60 is not after 60"),
            ("seconds,demand\n60,1\n\n30,2\n", "load.csv:4: time 30 is not after 60"),
            ("seconds,demand\n0,1,2\n", "load.csv:2: \"0,1,2\" does not have two cells"),
            ("seconds,demand\n0;1\n", "load.csv:2: \"0;1\" does not have two cells"),
            ("timestamp,demand\nyesterday,1\n", "load.csv:2: \"yesterday\" is not a time"),
            (
                "timestamp,demand\n2026-03-01T08:00:00Z,1\n2026-03-01T07:00:00Z,1\n",
                "load.csv:3: time 2026-03-01T07:00:00Z is not after 2026-03-01T08:00:00",
            ),
        ] {
            let error = refused(text.as_bytes());
            assert!(error.starts_with(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_refused_by_its_beginning() {
        let error = refused(&vec![0xff; 1 << 20]);
        assert!(error.starts_with("load.csv:1: byte 0xff in column 1 is not UTF-8"), "{error}");
        let error = refused(b"seconds,demand\n0,1\n60,\xe9\n");
        assert!(error.starts_with("load.csv:3: byte 0xe9 in column 4 is not UTF-8"), "{error}");
        let error = refused(&vec![b'7'; 1 << 20]);
        assert!(error.starts_with("load.csv:1: a line of more than 4096 bytes, beginning \"777"), "{error}");
        assert!(error.len() < 300, "{error}");
    }

    #[test]
    fn nothing_follows_what_is_wrong() {
        let mut rows = TraceRows::new("load.csv", "seconds,demand\n0,1\n0,2\n60,3\n".as_bytes());
        assert!(rows.next().is_some_and(|row| row.is_ok()));
        assert!(rows.next().is_some_and(|row| row.is_err()));
        assert_eq!(rows.next(), None);
    }
}
