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

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_engine::{CompactSample, Entry, InstanceSeen};
    use autoscaler_journal::{Journal, Limits, Opened, StateDir, codec::Encoded};
    use fleet::{Health, InstanceId, InstanceState, Pool, Power, Sample, Saturation, Utilization};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn sample(source: Source, end: i64, period: u64, utilization: f64) -> CompactSample {
        CompactSample::of(&Sample {
            source,
            end: at(end),
            period: Duration::from_secs(period),
            utilization: Utilization::new(utilization),
            // Four instances of two vCPUs.
            power: Power::new(8.0),
            instances: 4,
            saturation: Saturation::default(),
        })
    }

    fn instance(number: u32) -> InstanceSeen {
        InstanceSeen {
            id: InstanceId::new(format!("i-{number}")),
            pool: Pool::spot("m5.large", "eu-west-1a"),
            state: InstanceState::Running,
            health: Health::Healthy,
            launched: at(0),
            vcpus: Some(2),
            private_ip: None,
            protected: false,
            launch: None,
        }
    }

    /// A journal in which web's agents were heard for ten minutes, and CloudWatch once.
    fn journal(fleets: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::take(directory.path()).expect("it is ours");
        let Opened { mut journal, .. } = Journal::open(&state, Limits::default(), at(0)).expect("it opens");
        for fleet in fleets {
            let seen = (0..4).map(instance).collect();
            let instances = Record::Instances { at: at(0), seen, missing: Vec::new(), gone: Vec::new() };
            let pushed = |n: i64| sample(Source::Push, 10 * (n + 1), 10, if n < 30 { 0.5 } else { 0.75 });
            let samples = Record::Samples((0..60).map(pushed).collect());
            let other = Record::Samples(vec![sample(Source::Cloudwatch, 60, 60, 0.9)]);
            for records in [vec![instances], vec![samples, other]] {
                let entry = Entry { fleet: FleetName::new(*fleet), at: at(0), records };
                let encoded = Encoded::of(&entry).expect("it encodes");
                journal.append(&[encoded.entry()], true).expect("it is written");
            }
        }
        directory
    }

    #[test]
    fn a_journal_has_demand_in_units_by_the_source_that_saw_the_most() {
        let directory = journal(&["web"]);
        let path = directory.path().to_str().expect("letters");
        let trace = open(path, None).expect("a trace");
        // Samples stand in the middle of their ten seconds: from 5 to 595.
        assert_eq!((trace.start.millis(), trace.demand.len()), (5000, 59));
        assert_eq!(
            (trace.demand[0], trace.demand[58]),
            (2.0, 3.0),
            "half, then three quarters, of four units"
        );
        let file = directory.path().join(JOURNAL_FILE);
        let by_file = open(file.to_str().expect("letters"), None).expect("a trace");
        assert_eq!(by_file.demand, trace.demand);
    }

    #[test]
    fn a_journal_of_several_fleets_needs_a_name() {
        let directory = journal(&["api", "web"]);
        let path = directory.path().to_str().expect("letters");
        assert_eq!(open(path, None).expect_err("which?").exit, Exit::Usage);
        assert_eq!(open(path, Some(&FleetName::new("web"))).expect("a trace").demand.len(), 59);
        assert_eq!(open(path, Some(&FleetName::new("db"))).expect_err("nobody").exit, Exit::Usage);
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(
            open(empty.path().to_str().expect("letters"), None).expect_err("none").exit,
            Exit::Configuration
        );
    }
}
