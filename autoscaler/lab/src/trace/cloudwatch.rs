//! CloudWatch's JSON: CPU and the number of instances, of which demand is made.

use super::TraceError;
use super::error::Series;
use super::reading::{Holes, Recording};
use super::steps::Steps;
use fleet::Timestamp;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;
use std::time::Duration;

/// What a series says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Mean CPU utilisation of the fleet, in percent.
    Cpu,
    /// How many instances, or units, served.
    Count,
}

/// The most JSON that is read: three years of minutes, twice, are less.
const LARGEST_MIB: u64 = 256;
/// How old a number of instances may be to go with a CPU: group metrics come by the minute, but stay away for a while
/// when nothing changes hands.
const OLDEST_COUNT: Duration = Duration::from_secs(3600);
/// The most that a CPU shows, in percent: hypervisors round up.
const MOST_CPU: f64 = 105.0;

impl Role {
    /// The names that tell a series of this role, the surest first; letters and digits only.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &["cpuutilization", "cpu"],
            Self::Count => &[
                "groupinservicecapacity",
                "fulfilledcapacity",
                "groupinserviceinstances",
                "inservice",
                "healthyhost",
                "running",
                "count",
                "instances",
                "capacity",
                "hosts",
                "nodes",
                "units",
            ],
        }
    }

    /// What a series of it would be called.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Cpu => "one whose Id or Label says `cpu`, such as CPUUtilization",
            Self::Count => {
                "one whose Id or Label says how many serve, such as GroupInServiceInstances, FulfilledCapacity or \
                 `count`"
            }
        }
    }

    /// What its values would be.
    pub(super) const fn values(self) -> &'static str {
        match self {
            Self::Cpu => "percent, 0 to 100",
            Self::Count => "a number of instances, 0 or more",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU utilisation",
            Self::Count => "the number of instances",
        })
    }
}

/// An answer of `get-metric-data`.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "MetricDataResults")]
    results: Vec<Answered>,
}

/// One series in an answer; a long one comes in several.
#[derive(Deserialize)]
struct Answered {
    #[serde(rename = "Id", default)]
    id: String,
    #[serde(rename = "Label", default)]
    label: Option<String>,
    #[serde(rename = "Timestamps")]
    timestamps: Vec<Stamp>,
    #[serde(rename = "Values")]
    values: Vec<f64>,
}

/// A time: RFC 3339, or seconds of the epoch as on the wire.
struct Stamp(Timestamp);

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StampVisitor)
    }
}

struct StampVisitor;

impl Visitor<'_> for StampVisitor {
    type Value = Stamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in RFC 3339 or in seconds of the epoch")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Stamp, E> {
        Timestamp::parse(text).map(Stamp).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Stamp, E> {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .map(|millis| Stamp(Timestamp::from_millis(millis)))
            .ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Stamp, E> {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| seconds.checked_mul(1000))
            .map(|millis| Stamp(Timestamp::from_millis(millis)))
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(seconds), &self))
    }
}

/// The values of a series, in the order of their times.
type Values = Vec<(Timestamp, f64)>;

/// Reads answers of `get-metric-data`, one after the other, and makes demand of the CPU and the number of instances.
pub(super) fn read(name: &str, reader: impl BufRead) -> Result<Recording, TraceError> {
    read_within(name, reader, LARGEST_MIB)
}

/// The same with another limit on how much is read.
pub(super) fn read_within(name: &str, reader: impl BufRead, mebibytes: u64) -> Result<Recording, TraceError> {
    let mut all = series(name, reader, mebibytes)?;
    let found: Vec<Series> = all.keys().cloned().collect();
    let cpu = choose(name, Role::Cpu, &found, &found)?;
    let others: Vec<Series> =
        found.iter().filter(|series| rank(Role::Cpu, series).is_none()).cloned().collect();
    let count = choose(name, Role::Count, &others, &found)?;
    let cpus = tidy(name, Role::Cpu, &cpu, all.remove(&cpu).unwrap_or_default())?;
    let counts = tidy(name, Role::Count, &count, all.remove(&count).unwrap_or_default())?;
    let demand = paired(&cpus, &counts);
    if demand.len() < 2 {
        return Err(TraceError::Unpaired {
            file: name.to_owned(),
            cpu_series: cpu,
            count_series: count,
            cpu: cpus.len(),
            found: demand.len(),
        });
    }
    trace(name, &demand)
}

/// All series, those that come in several parts put together.
fn series(
    name: &str,
    mut reader: impl BufRead,
    mebibytes: u64,
) -> Result<BTreeMap<Series, Values>, TraceError> {
    let mut mark = [0; 3];
    let marked = reader.fill_buf().is_ok_and(|head| head.starts_with(b"\xef\xbb\xbf"));
    if marked {
        // It is in the buffer; a reader that fails now fails again below.
        let _ = reader.read_exact(&mut mark);
    }
    let mut text = reader.take(mebibytes << 20);
    let mut all: BTreeMap<Series, Values> = BTreeMap::new();
    let mut failure = None;
    for answer in serde_json::Deserializer::from_reader(&mut text).into_iter::<Answer>() {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        for Answered { id, label, timestamps, values } in answer.results {
            let series = Series { id, label: label.unwrap_or_default() };
            if timestamps.len() != values.len() {
                return Err(TraceError::Uneven {
                    file: name.to_owned(),
                    series,
                    timestamps: timestamps.len(),
                    values: values.len(),
                });
            }
            let pairs = timestamps.into_iter().map(|stamp| stamp.0).zip(values);
            all.entry(series).or_default().extend(pairs);
        }
    }
    match failure {
        None => Ok(all),
        Some(_) if text.limit() == 0 => Err(TraceError::JsonTooLarge { file: name.to_owned(), mebibytes }),
        Some(error) => Err(TraceError::Json {
            file: name.to_owned(),
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        }),
    }
}

/// What is wrong, without the place, which is said before it.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// How surely a series is of a role: 0 is surest.
fn rank(role: Role, series: &Series) -> Option<usize> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (id, label) = (plain(&series.id), plain(&series.label));
    role.names().iter().position(|name| id.contains(name) || label.contains(name))
}

/// The series of a role.
fn choose(name: &str, role: Role, among: &[Series], found: &[Series]) -> Result<Series, TraceError> {
    let best = among.iter().filter_map(|series| rank(role, series)).min();
    let chosen: Vec<Series> =
        among.iter().filter(|series| best.is_some() && rank(role, series) == best).cloned().collect();
    let file = name.to_owned();
    match <[Series; 1]>::try_from(chosen) {
        Ok([series]) => Ok(series),
        Err(none) if none.is_empty() => Err(TraceError::SeriesMissing { file, role, found: found.to_vec() }),
        Err(several) => Err(TraceError::SeriesAmbiguous { file, role, found: several }),
    }
}

/// Sorts a series, CloudWatch gives the newest first, and refuses values that cannot be.
fn tidy(name: &str, role: Role, series: &Series, mut values: Values) -> Result<Values, TraceError> {
    let most = if role == Role::Cpu { MOST_CPU } else { f64::MAX };
    let odd = |value: f64| !(0.0..=most).contains(&value);
    let file = || name.to_owned();
    if let Some((at, value)) = values.iter().copied().find(|(_, value)| odd(*value)) {
        return Err(TraceError::SeriesValue { file: file(), series: series.clone(), role, at, value });
    }
    if values.is_empty() {
        return Err(TraceError::SeriesEmpty { file: file(), series: series.clone() });
    }
    values.sort_by_key(|(at, _)| *at);
    // The same value twice is an overlap of two questions; two values are a contradiction.
    values.dedup();
    if let Some(twice) = values.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let (at, first, second) = (twice[0].0, twice[0].1, twice[1].1);
        return Err(TraceError::SeriesTwice { file: file(), series: series.clone(), at, first, second });
    }
    Ok(values)
}

/// Demand by the beginning of its period: each CPU with the number of instances of then, or the last known before.
fn paired(cpus: &[(Timestamp, f64)], counts: &[(Timestamp, f64)]) -> Values {
    let mut next = 0;
    let mut demand = Vec::with_capacity(cpus.len());
    for (at, cpu) in cpus {
        while counts.get(next).is_some_and(|(counted, _)| counted <= at) {
            next += 1;
        }
        let last = next.checked_sub(1).and_then(|index| counts.get(index));
        if let Some((_, count)) = last.filter(|(counted, _)| at.since(*counted) <= OLDEST_COUNT) {
            demand.push((*at, cpu / 100.0 * count));
        }
    }
    demand
}

/// Demand as a trace. CloudWatch's times are the beginnings of periods, its values their means, so that a value
/// stands in the middle of its period, and the two ends are flat.
fn trace(name: &str, demand: &[(Timestamp, f64)]) -> Result<Recording, TraceError> {
    let too_few = || TraceError::TooFewSamples { file: name.to_owned(), found: demand.len() };
    let distances = demand.windows(2).map(|pair| pair[1].0.since(pair[0].0));
    let period = distances.min().ok_or_else(too_few)?;
    let (first, last) = demand.first().zip(demand.last()).ok_or_else(too_few)?;
    let middles = demand.iter().map(|(at, units)| (*at + period / 2, *units));
    let samples = std::iter::once(*first).chain(middles).chain([(last.0 + period, last.1)]);
    let mut steps = Steps::default();
    let mut holes = Holes::default();
    for (at, units) in samples {
        steps.push(at, units).map_err(|odd| odd.at(name, 0))?;
    }
    for (at, _) in demand {
        holes.push(*at, 0);
    }
    Ok(Recording { trace: steps.finish(name).ok_or_else(too_few)?, hole: holes.worth_a_word() })
}
