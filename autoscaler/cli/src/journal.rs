//! Reading a state directory, beside the daemon that writes it or after its end.

use crate::exit::{Exit, Failure, OrExit};
use autoscaler_engine::Decided;
use autoscaler_journal::Reader;
use fleet::{FleetName, Timestamp};
use std::path::Path;

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
        // Later than whatever is in there.
        if let Some(decided) = decision_at(directory, &name, Timestamp::from_millis(i64::MAX))? {
            last.push((name, decided));
        }
    }
    Ok(last)
}

/// The decision of a fleet that was in force at a moment, made again; `None` where no cycle is that old.
pub fn decision_at(directory: &Path, fleet: &FleetName, at: Timestamp) -> Result<Option<Decided>, Failure> {
    autoscaler::explain(directory, fleet, at, autoscaler_core::plan)
        .or_exit(Exit::Unavailable, "read the journal")
}
