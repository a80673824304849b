//! Reading a state directory, beside the daemon that writes it or after its end.

mod past;

use crate::exit::{Exit, Failure, OrExit};
use autoscaler_engine::{Decided, Entry, Record, State, Status};
use autoscaler_journal::{Reader, Start};
use fleet::{FleetName, Timestamp};
use std::path::Path;

/// Later than whatever is in a journal.
const END: Timestamp = Timestamp::from_millis(i64::MAX);

/// Opens the journal of a state directory, changing nothing in it.
pub fn open(directory: &Path) -> Result<Reader, Failure> {
    Reader::open(directory).or_exit(Exit::Configuration, "read the journal")
}

/// The fleets that a journal knows, by name; at least one.
///
/// * `only`: no other than this.
pub fn fleets(
    reader: &Reader,
    directory: &Path,
    only: Option<&FleetName>,
) -> Result<Vec<FleetName>, Failure> {
    let streams = reader.streams().or_exit(Exit::Unavailable, "read the journal")?;
    let names = streams.into_iter().map(|stream| FleetName::new(stream.name));
    let names: Vec<FleetName> = names.filter(|name| only.is_none_or(|only| only == name)).collect();
    if names.is_empty() {
        let whom = only.map_or_else(|| "any fleet".to_owned(), |only| format!("a fleet {only}"));
        let message = format!("the journal in {} knows nothing of {whom}", directory.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(names)
}

/// The last decision of every fleet in a journal, by name, made again; only of `only` where that is given.
pub fn last_decisions(
    directory: &Path,
    only: Option<&FleetName>,
) -> Result<Vec<(FleetName, Decided)>, Failure> {
    let mut last = Vec::new();
    for name in fleets(&open(directory)?, directory, only)? {
        if let Some(decided) = decision_at(directory, &name, END)? {
            last.push((name, decided));
        }
    }
    Ok(last)
}

/// What a journal knows of every fleet, as the daemon would tell it: at the time of the newest record, because
/// nobody may have been running since. What no journal holds (schedules, a write under way, most alarms) is left out.
///
/// * `only`: of no other fleet than this.
pub fn status(directory: &Path, only: Option<&FleetName>) -> Result<Status, Failure> {
    let reader = open(directory)?;
    let mut known = Vec::new();
    for name in fleets(&reader, directory, only)? {
        if let Some((state, at)) = fold(&reader, &name)? {
            known.push((state, at, decision_at(directory, &name, END)?, name));
        }
    }
    let at = known.iter().map(|(_, at, ..)| *at).max().unwrap_or_default();
    let fleets =
        known.iter().map(|(state, _, last, name)| past::fleet(name, state, last.as_ref(), at)).collect();
    Ok(Status { fleets, ..Status::empty(at) })
}

/// What a fleet's records fold to, and when the last of them was written; `None` without a checkpoint to begin at.
fn fold(reader: &Reader, fleet: &FleetName) -> Result<Option<(State, Timestamp)>, Failure> {
    let mut folded: Option<(State, Timestamp)> = None;
    for entry in reader.entries(fleet, Start::CheckpointBefore(END)) {
        let Entry { at, records, .. } = entry.or_exit(Exit::Unavailable, "read the journal")?;
        for record in &records {
            match (&mut folded, record) {
                (Some((state, last)), record) => {
                    state.apply(record);
                    *last = at;
                }
                (None, Record::Checkpoint(checkpoint)) => folded = Some((checkpoint.state.clone(), at)),
                (None, _) => {}
            }
        }
    }
    Ok(folded)
}

/// The decision of a fleet that was in force at a moment, made again; `None` where no cycle is that old.
pub fn decision_at(directory: &Path, fleet: &FleetName, at: Timestamp) -> Result<Option<Decided>, Failure> {
    autoscaler::explain(directory, fleet, at, autoscaler_core::plan)
        .or_exit(Exit::Unavailable, "read the journal")
}
