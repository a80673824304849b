//! Which form is it? Told by the first bytes, never by the name.

use super::steps::Steps;
use super::{Trace, TraceError, cloudwatch};
use crate::packed::{opened, peek};
use fleet::Timestamp;
use fleet_sim::rows::TraceRows;
use std::io::{self, BufRead};
use std::time::Duration;

/// What a recording holds, and what was odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Its demand.
    pub trace: Trace,
    /// The widest hole in it: demand is taken to have gone straight from one side to the other.
    pub hole: Option<Hole>,
}

/// A time without samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The line after it, from 1; 0 where there are no lines.
    pub line: u64,
    /// When it began.
    pub from: Timestamp,
    /// How long it lasted.
    pub lasted: Duration,
}

/// The least time without samples that is worth a word.
const HOLE: Duration = Duration::from_secs(3600);

impl Recording {
    /// Reads a recording.
    ///
    /// * `name`: what it is called, for errors and reports.
    /// * `reader`: CSV with the header `seconds,demand` or `timestamp,demand`, or one or more answers of CloudWatch's
    ///   `get-metric-data` in JSON, with the CPU and the number of instances; plain or gzip.
    ///
    /// Fails with the first thing that is wrong; never panics. CSV takes 8 bytes a step of memory, JSON at most
    /// 256 MiB of text.
    pub fn read(name: &str, reader: impl BufRead) -> Result<Self, TraceError> {
        let (head, text) = opened(reader).and_then(peek).map_err(|error| unreadable(name, &error))?;
        read_text(name, &head, text)
    }
}

fn unreadable(name: &str, error: &io::Error) -> TraceError {
    let problem = fleet_sim::rows::TraceProblem::Read { reason: error.to_string() };
    fleet_sim::rows::TraceError { file: name.to_owned(), line: 0, problem }.into()
}

fn read_text(name: &str, head: &[u8], reader: impl BufRead) -> Result<Recording, TraceError> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => cloudwatch::read(name, reader),
        _ => read_csv(name, reader),
    }
}

fn read_csv(name: &str, reader: impl BufRead) -> Result<Recording, TraceError> {
    let mut rows = TraceRows::new(name, reader);
    let mut steps = Steps::default();
    let mut holes = Holes::default();
    while let Some(row) = rows.next().transpose()? {
        steps.push(row.at, row.demand).map_err(|odd| odd.at(name, rows.line()))?;
        holes.push(row.at, rows.line());
    }
    let too_few = || TraceError::TooFewSamples { file: name.to_owned(), found: 0 };
    Ok(Recording { trace: steps.finish(name).ok_or_else(too_few)?, hole: holes.worth_a_word() })
}

/// Watches for holes in time.
#[derive(Debug, Default)]
pub(super) struct Holes {
    previous: Option<Timestamp>,
    /// The shortest distance of two samples: what is usual, near enough.
    usual: Option<Duration>,
    widest: Option<Hole>,
}

impl Holes {
    /// Adds the time of a sample, later than all before.
    pub(super) fn push(&mut self, at: Timestamp, line: u64) {
        if let Some(from) = self.previous.replace(at) {
            let lasted = at.since(from);
            self.usual = Some(self.usual.map_or(lasted, |usual| usual.min(lasted)));
            if self.widest.is_none_or(|widest| lasted > widest.lasted) {
                self.widest = Some(Hole { line, from, lasted });
            }
        }
    }

    /// The widest, where it is long in itself and for this recording.
    pub(super) fn worth_a_word(self) -> Option<Hole> {
        let usual = self.usual?;
        self.widest.filter(|hole| hole.lasted >= HOLE && hole.lasted >= usual.saturating_mul(3))
    }
}
