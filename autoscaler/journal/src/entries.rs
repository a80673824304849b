//! The engine's entries, read back.

use crate::{JournalError, Reader, Start, codec};
use autoscaler_engine::Entry;
use fleet::FleetName;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// How many records are read at a time.
const PAGE: usize = 512;

/// The entries of one fleet, in order. Reads on as it goes, so that a journal of any size can be walked.
///
/// Ends after the first error.
#[derive(Debug)]
pub struct Entries<'a> {
    reader: &'a Reader,
    fleet: FleetName,
    start: Start,
    page: VecDeque<Result<Entry, JournalError>>,
    done: bool,
}

impl Reader {
    /// The entries of a fleet from `start` on; none for an unknown fleet.
    pub fn entries(&self, fleet: &FleetName, start: Start) -> Entries<'_> {
        Entries { reader: self, fleet: fleet.clone(), start, page: VecDeque::new(), done: false }
    }
}

impl Entries<'_> {
    fn read_on(&mut self) {
        let mut last = None;
        let (fleet, page) = (self.fleet.as_str(), &mut self.page);
        let visited = self.reader.visit(fleet, self.start, |stored| {
            last = Some(stored.seq);
            let decoded = codec::decode(fleet, &stored);
            let sound = decoded.is_ok();
            page.push_back(decoded);
            if sound && page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.done = page.len() < PAGE;
        if let Err(error) = visited {
            page.push_back(Err(error));
            self.done = true;
        }
        if let Some(last) = last {
            self.start = Start::After(last);
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.done {
            self.read_on();
        }
        let next = self.page.pop_front();
        if matches!(next, Some(Err(_))) {
            self.page.clear();
            self.done = true;
        }
        next
    }
}
