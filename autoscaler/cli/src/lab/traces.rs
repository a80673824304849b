//! Opening recordings: files, standard input, samples and journals.

use super::sample;
use crate::exit::{Exit, Failure, OrExit};
use crate::{journal, out};
use autoscaler_engine::{Record, State};
use autoscaler_journal::{JOURNAL_FILE, Start};
use autoscaler_lab::Trace;
use autoscaler_lab::trace::Recording;
use fleet::{DurationText, FleetName, Source, Timestamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// The first bytes of a journal's file.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// How much of a file is read at a time.
const CHUNK: usize = 1 << 16;

/// Reads a recording of any form.
///
/// * `name`: a path, `-`, or `sample:NAME`.
/// * `fleet`: which, where a journal has several.
pub fn open(name: &str, fleet: Option<&FleetName>) -> Result<Trace, Failure> {
    if let Some(trace) = sample::open(name) {
        return trace;
    }
    if name == "-" {
        return read(name, io::stdin().lock());
    }
    let path = Path::new(name);
    if path.is_dir() {
        return read_journal(name, path, fleet);
    }
    let failed = || format!("read {name}");
    let mut file = BufReader::with_capacity(CHUNK, File::open(path).or_exit(Exit::Data, failed())?);
    let head = file.fill_buf().or_exit(Exit::Data, failed())?;
    match path.parent() {
        Some(folder) if head.starts_with(SQLITE) && path.file_name() == Some(JOURNAL_FILE.as_ref()) => {
            read_journal(name, folder, fleet)
        }
        _ => read(name, file),
    }
}

/// Reads what is no journal.
pub fn read(name: &str, reader: impl BufRead) -> Result<Trace, Failure> {
    let Recording { trace, hole } =
        Recording::read(name, reader).map_err(|error| Failure::new(Exit::Data, error))?;
    if let Some(hole) = hole {
        let place = if hole.line > 0 { format!("{name}:{}", hole.line) } else { name.to_owned() };
        out::say(format_args!(
            "{place}: nothing was recorded for {} from {}; demand is taken to have gone straight across",
            DurationText(hole.lasted),
            hole.from
        ));
    }
    Ok(trace)
}

/// Demand as the journal of a daemon has it.
fn read_journal(name: &str, directory: &Path, fleet: Option<&FleetName>) -> Result<Trace, Failure> {
    let reader = journal::open(directory)?;
    let fleets = journal::fleets(&reader, directory, fleet)?;
    let [fleet] = fleets.as_slice() else {
        let known: Vec<String> = fleets.iter().map(ToString::to_string).collect();
        let message = format!("{name} has several fleets, {}; name one with --fleet", known.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    };
    let mut heard = Heard::default();
    for entry in reader.entries(fleet, Start::Oldest) {
        let entry = entry.or_exit(Exit::Data, format_args!("read the journal of {fleet} to its end"))?;
        entry.records.iter().for_each(|record| heard.fold(record));
    }
    Trace::from_samples(name, heard.best()).map_err(|error| Failure::new(Exit::Data, error))
}

/// The demand that a journal tells of, by who measured it.
#[derive(Default)]
struct Heard {
    /// What instances there were: a unit's power follows from them.
    state: State,
    samples: BTreeMap<Source, Measured>,
}

/// What one source measured.
#[derive(Default)]
struct Measured {
    covered: Duration,
    /// (the middle of its time, demand in units).
    demand: Vec<(Timestamp, f64)>,
}

impl Heard {
    fn fold(&mut self, record: &Record) {
        match record {
            Record::Samples(samples) => {
                let unit = self.power_per_unit();
                for sample in samples {
                    let period = sample.period();
                    let sample = sample.sample();
                    let measured = self.samples.entry(sample.source).or_default();
                    measured.covered = measured.covered.saturating_add(period);
                    let demand = sample.utilization.get() * sample.power.get() / unit;
                    measured.demand.push((sample.end - period / 2, demand));
                }
            }
            // Enough to know the instances; what was learned and planned is not needed here.
            Record::Policy(_)
            | Record::Fleet { .. }
            | Record::Instances { .. }
            | Record::Serves { .. }
            | Record::Checkpoint(_) => self.state.apply(record),
            _ => {}
        }
    }

    /// What a unit of the fleet buys, by the instances that are there.
    fn power_per_unit(&self) -> f64 {
        let all = self.state.instances.values();
        let (power, weight) = all.fold((0.0, 0.0), |(power, weight), known| {
            (power + self.state.power(known).get(), weight + self.state.weight(known).get())
        });
        if power > 0.0 && weight > 0.0 { power / weight } else { 1.0 }
    }

    /// The samples of the source that covers the most: two sources of one load, mixed, would be a load of its own.
    fn best(self) -> Vec<(Timestamp, f64)> {
        let best = self.samples.into_values().max_by_key(|measured| measured.covered);
        best.map(|measured| measured.demand).unwrap_or_default()
    }
}
