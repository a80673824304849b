//! What the commands of the lab share: which load, in which world, by which policy.

mod names;
mod policy;
mod pools;
mod sample;
mod traces;
mod watch;

pub use names::{Who, channel, interrupted, name, runners};
pub use policy::Chosen;
pub use watch::Watch;

use crate::exit::{Exit, Failure};
use crate::out::{self, Terminal};
use autoscaler_lab::sweep::Job;
use autoscaler_lab::{Channel, Interruptions, Runner, Setting, Trace};
use clap::ValueEnum;
use fleet::{FleetName, parse_duration};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
    /// For spreadsheets: a header, and a row an entry.
    Csv,
}

/// What is played, and what may be known of before.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Recorded demand: CSV, CloudWatch's get-metric-data JSON, either gzipped; a journal; `sample:NAME`; `-` for
    /// standard input.
    ///
    /// CSV has the header `seconds,demand` or `timestamp,demand` (RFC 3339); demand is in capacity units, of which one
    /// is an instance of weight 1 fully busy. In CloudWatch's JSON there are the CPU and the number of instances, and
    /// demand is made of both. A journal is the state directory of `run`. Samples: asgcpu, elb, flash, nasa, taxi,
    /// wc98, wiki. Without this, two days of `sample:taxi` are played.
    #[arg(long = "trace", value_name = "FILE", num_args = 1.., action = clap::ArgAction::Append)]
    traces: Vec<String>,
    /// What the policy may know from before the trace begins: it learns from it and is not scored on it. Given once it
    /// holds for all traces, else for each in turn; a share such as `60%` is that much of each trace itself, from its
    /// start.
    #[arg(long = "history", value_name = "FILE|SHARE", value_parser = parse_before)]
    histories: Vec<Before>,
    /// Policy file, or directory whose *.hcl files are policy files; without it, all defaults.
    #[arg(long, value_name = "FILE|DIR")]
    policy: Option<PathBuf>,
    /// Which fleet, where the policy or the journal has several.
    #[arg(long, value_name = "NAME")]
    fleet: Option<FleetName>,
}

/// What is known from before a trace.
#[derive(Clone, Debug, PartialEq)]
enum Before {
    /// A recording of its own.
    File(String),
    /// The first part of the trace, as a share of it.
    Share(f64),
}

/// The load, read.
pub struct Loaded {
    /// The traces.
    pub traces: Vec<Trace>,
    /// What came before: none, one for all, or one for each.
    histories: Vec<Trace>,
    /// The policy.
    pub chosen: Chosen,
}

impl Load {
    /// Reads everything that is named; a hole in a trace is told on standard error.
    pub fn read(&self, terminal: Terminal) -> Result<Loaded, Failure> {
        let (traces, histories) = (self.traces.len().max(1), self.histories.len());
        if histories > 1 && histories != traces {
            return Err(Failure::new(
                Exit::Usage,
                format_args!("{histories} histories for {traces} traces; give one for all, or one for each"),
            ));
        }
        let chosen = Chosen::read(self.policy.as_deref(), self.fleet.as_ref(), terminal)?;
        let read = |names: &[String]| -> Result<Vec<Trace>, Failure> {
            names.iter().map(|name| traces::open(name, self.fleet.as_ref())).collect()
        };
        let traces = if self.traces.is_empty() { vec![sample::default()?] } else { read(&self.traces)? };
        let (traces, histories) = match self.histories.as_slice() {
            [Before::Share(share)] => cut(&traces, *share)?,
            several => (traces, read(&files(several)?)?),
        };
        let loaded = Loaded { traces, histories, chosen };
        for (index, trace) in loaded.traces.iter().enumerate() {
            if let Some(history) =
                loaded.history(index).filter(|before| before.at(before.demand.len()) > trace.start)
            {
                out::say(format_args!(
                    "{} does not end before {} begins; it is taken as what came right before it",
                    history.name, trace.name
                ));
            }
        }
        Ok(loaded)
    }
}

/// The files among what is known from before: which is a share of the traces either for all of them, or for none.
fn files(histories: &[Before]) -> Result<Vec<String>, Failure> {
    let file = |before: &Before| match before {
        Before::File(name) => Ok(name.clone()),
        Before::Share(share) => Err(Failure::new(
            Exit::Usage,
            format_args!("--history {}% goes with no other --history", 100.0 * share),
        )),
    };
    histories.iter().map(file).collect()
}

/// Cuts each trace in two: what is played, and what came before.
fn cut(traces: &[Trace], share: f64) -> Result<(Vec<Trace>, Vec<Trace>), Failure> {
    let cut = |trace: &Trace| {
        let (first, rest) = trace.split_at_share(share).ok_or_else(|| {
            Failure::new(Exit::Data, format_args!("{} is too short to be cut in two", trace.name))
        })?;
        Ok((rest, first))
    };
    traces.iter().map(cut).collect()
}

impl Loaded {
    /// What came before the trace of an index.
    pub fn history(&self, index: usize) -> Option<&Trace> {
        self.histories.get(index).or_else(|| self.histories.first())
    }

    /// Every trace with every runner, trace by trace.
    ///
    /// * `course`: whether what happened at each step is to be kept, too.
    pub fn jobs<'a>(&'a self, runners: &'a [Runner], setting: &'a Setting, course: bool) -> Vec<Job<'a>> {
        let policy = &self.chosen.policy;
        let of_trace = |(index, trace): (usize, &'a Trace)| {
            let history = self.history(index);
            let job = move |runner: &Runner| Job { trace, history, runner: *runner, policy, setting, course };
            runners.iter().map(job)
        };
        self.traces.iter().enumerate().flat_map(of_trace).collect()
    }
}

/// The world that it is played in.
#[derive(Debug, clap::Args)]
pub struct World {
    /// From the request of an instance until it serves; a multiple of 10 s. The policy's `boot` where it is not given.
    #[arg(long, value_name = "DURATION", value_parser = parse_boot)]
    boot: Option<Duration>,
    /// How utilisation is seen: 10 s means at once, or what CloudWatch shows a minute or five later.
    #[arg(long, value_name = "CHANNEL", default_value = "cloudwatch-1m", value_parser = names::channels())]
    metric: Channel,
    /// What AWS takes back: nothing, what the Spot Advisor's band says of each pool's type, or what a bad day takes.
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = names::interruptions())]
    interruptions: Interruptions,
    /// Recordings of spot pools for `stress`, in place of made-up ones: {"metadata": {"gap_seconds": N}, "data":
    /// [instances that could be had, one figure a tick]}, plain or gzip; the zone is the file's name up to its first `_`.
    #[arg(long = "spot", value_name = "FILE", num_args = 1.., action = clap::ArgAction::Append)]
    pools: Vec<PathBuf>,
    /// Let boots and drains vary by chance, and pools be down for a while, in which they give nothing.
    #[arg(long)]
    stochastic: bool,
    /// Standard deviation of the noise on demand, as a share: `5%` or `0.05`.
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_share)]
    noise: f64,
    /// Of everything that is left to chance.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl World {
    /// The world's rules, for a policy.
    pub fn setting(&self, chosen: &Chosen) -> Result<Setting, Failure> {
        Ok(Setting {
            boot: self.boot.map_or_else(|| whole_steps(chosen.policy.boot), seconds),
            metric: self.metric,
            interruptions: self.interruptions,
            stochastic: self.stochastic,
            noise: self.noise,
            seed: self.seed,
            market: pools::market(&self.pools)?,
            schedules: chosen.schedules(),
        })
    }
}

/// How much of the machine it may take.
#[derive(Debug, clap::Args)]
pub struct Work {
    /// On how many threads; as many as there are processors where it is not given. The results do not depend on it.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl Work {
    /// The number of threads.
    pub fn threads(&self) -> NonZeroUsize {
        self.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// A boot time in whole steps, at least one, rounded up.
fn whole_steps(boot: Duration) -> u32 {
    let step = Trace::STEP;
    seconds(boot).div_ceil(step).max(1).saturating_mul(step)
}

fn parse_boot(text: &str) -> Result<Duration, String> {
    let boot = parse_duration(text).map_err(|error| error.to_string())?;
    let fits = boot.as_millis() % 10_000 == 0 && (10..=3600).contains(&boot.as_secs());
    if fits { Ok(boot) } else { Err("expected a multiple of 10s, from 10s to 1h".to_owned()) }
}

/// Parses what is known from before: a share has its sign, everything else is a file.
fn parse_before(text: &str) -> Result<Before, String> {
    if !text.ends_with('%') {
        return Ok(Before::File(text.to_owned()));
    }
    let share = parse_share(text)?;
    if (0.01..=0.99).contains(&share) {
        Ok(Before::Share(share))
    } else {
        Err("expected a file, or a share of the trace from 1% to 99%".to_owned())
    }
}

/// Parses `5%` or `0.05`.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a share such as 5% or 0.05, at most 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_may_have_its_sign_or_not() {
        assert_eq!(parse_share("5%"), Ok(0.05));
        assert_eq!(parse_share(" 0.05"), Ok(0.05));
        assert_eq!(parse_share("0"), Ok(0.0));
        for wrong in ["", "%", "5", "-1%", "nan", "inf", "101%"] {
            assert!(parse_share(wrong).is_err(), "{wrong:?} was read");
        }
    }

    #[test]
    fn a_history_is_a_file_or_a_share_of_the_trace() {
        assert_eq!(parse_before("60%"), Ok(Before::Share(0.6)));
        for file in ["may.csv.gz", "0.6", "./60%.csv"] {
            assert_eq!(parse_before(file), Ok(Before::File(file.to_owned())));
        }
        for wrong in ["0%", "100%", "x%", "%"] {
            assert!(parse_before(wrong).is_err(), "{wrong:?} was read");
        }
        let trace = |name: &str, steps| Trace {
            name: name.to_owned(),
            start: fleet::Timestamp::EPOCH,
            demand: vec![1.0; steps],
        };
        let (traces, histories) = cut(&[trace("a", 10), trace("b", 5)], 0.6).expect("long enough");
        let steps = |traces: &[Trace]| traces.iter().map(|trace| trace.demand.len()).collect::<Vec<_>>();
        assert_eq!((steps(&traces), steps(&histories)), (vec![4, 2], vec![6, 3]));
        assert_eq!(traces[0].start, histories[0].at(6));
        assert_eq!(cut(&[trace("a", 1)], 0.6).expect_err("one step").exit, Exit::Data);
        let mixed = [Before::Share(0.5), Before::File("a.csv".to_owned())];
        assert_eq!(files(&mixed).expect_err("both").exit, Exit::Usage);
    }

    #[test]
    fn a_boot_time_is_whole_steps() {
        assert_eq!(parse_boot("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["125s", "0s", "2h", "120", "10s500ms"] {
            assert!(parse_boot(wrong).is_err(), "{wrong:?} was read");
        }
        assert_eq!([0, 1, 10, 11, 120].map(|s| whole_steps(Duration::from_secs(s))), [10, 10, 10, 20, 120]);
    }
}
