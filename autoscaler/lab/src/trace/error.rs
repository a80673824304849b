//! Why a recording cannot be used.

use super::{Role, Trace};
use fleet::Timestamp;
use std::fmt;

/// Why a recording cannot be used: says where, what stood there, and what would have been right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// A row of a CSV file.
    #[error(transparent)]
    Row(#[from] fleet_sim::rows::TraceError),
    /// A time too far from the first.
    #[error(
        "{}: {at} is {days} days after the first time; a trace may be {} days long",
        place(file, *line), Trace::LONGEST_DAYS
    )]
    Long {
        /// The recording's name.
        file: String,
        /// The line, from 1; 0 where there are no lines.
        line: u64,
        /// The time.
        at: Timestamp,
        /// Days since the first.
        days: i64,
    },
    /// A demand beyond all fleets, or none.
    #[error("{}: {demand} is not a demand; expected a finite number of capacity units, 0 to {:e}",
        place(file, *line), Trace::LARGEST)]
    Demand {
        /// The recording's name.
        file: String,
        /// The line, from 1; 0 where there are no lines.
        line: u64,
        /// What stood there.
        demand: f64,
    },
    /// Less than two samples.
    #[error("{file}: {found} usable samples; a trace needs two at different times at least")]
    TooFewSamples {
        /// The recording's name.
        file: String,
        /// How many there were.
        found: usize,
    },
    /// Not the JSON that CloudWatch writes.
    #[error(
        "{file}:{line}:{column}: {reason}; expected the output of `aws cloudwatch get-metric-data`: \
         {{\"MetricDataResults\": [{{\"Id\", \"Label\", \"Timestamps\", \"Values\"}}, …]}}"
    )]
    Json {
        /// The recording's name.
        file: String,
        /// The line, from 1; 0 where there are no lines.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// More JSON than is held in memory.
    #[error(
        "{file}: more than {mebibytes} MiB of JSON; ask CloudWatch for longer periods, or make it a CSV file"
    )]
    JsonTooLarge {
        /// The recording's name.
        file: String,
        /// The limit.
        mebibytes: u64,
    },
    /// Not as many times as values.
    #[error("{file}: series {series} has {timestamps} timestamps and {values} values; expected as many")]
    Uneven {
        /// The recording's name.
        file: String,
        /// Which.
        series: Series,
        /// How many times.
        timestamps: usize,
        /// How many values.
        values: usize,
    },
    /// A series that demand is made of is not there.
    #[error("{file}: no series of {role} among {}; expected {}", list(found), role.expected())]
    SeriesMissing {
        /// The recording's name.
        file: String,
        /// What it would have said.
        role: Role,
        /// What there is.
        found: Vec<Series>,
    },
    /// Several of a kind.
    #[error(
        "{file}: {} could each be the series of {role}; expected one, that of the whole fleet",
        list(found)
    )]
    SeriesAmbiguous {
        /// The recording's name.
        file: String,
        /// What they say.
        role: Role,
        /// Which.
        found: Vec<Series>,
    },
    /// A series without a value.
    #[error("{file}: series {series} has no values; expected two at least")]
    SeriesEmpty {
        /// The recording's name.
        file: String,
        /// Which.
        series: Series,
    },
    /// Two values of one time.
    #[error("{file}: series {series} has two values for {at}, {first} and {second}; expected one")]
    SeriesTwice {
        /// The recording's name.
        file: String,
        /// Which.
        series: Series,
        /// When.
        at: Timestamp,
        /// One of them.
        first: f64,
        /// The other.
        second: f64,
    },
    /// A value that cannot be.
    #[error("{file}: series {series} says {value} at {at}; expected {}", role.values())]
    SeriesValue {
        /// The recording's name.
        file: String,
        /// Which.
        series: Series,
        /// What it says.
        role: Role,
        /// When.
        at: Timestamp,
        /// What stood there.
        value: f64,
    },
    /// The two series do not meet.
    #[error(
        "{file}: only {found} of {cpu} values of {cpu_series} have a value of {count_series} at most an hour \
         older; expected both over the same time"
    )]
    Unpaired {
        /// The recording's name.
        file: String,
        /// That of CPU.
        cpu_series: Series,
        /// That of instances.
        count_series: Series,
        /// Values of CPU.
        cpu: usize,
        /// Those that have a count.
        found: usize,
    },
}

/// A series by what CloudWatch calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The id of its query.
    pub id: String,
    /// Its label; empty where there is none.
    pub label: String,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, label } = self;
        let short = |text: &str| -> String { text.chars().take(60).collect() };
        if label.is_empty() || label == id {
            write!(f, "`{}`", short(id))
        } else {
            write!(f, "`{}` ({})", short(id), short(label))
        }
    }
}

fn list(series: &[Series]) -> String {
    const SHOWN: usize = 8;
    if series.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = series.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = series.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

fn place(file: &str, line: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}
