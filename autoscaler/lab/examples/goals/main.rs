//! Figures of docs/benchmarks.md that are about goals, one JSON document each:
//! `cargo run --release -p autoscaler-lab --example goals -- WHAT [--count N] [--spot FILE]... FILE...`
//!
//! * `policies`: a sweep of 1,000 policies over a trace, and how long it took.
//! * `optimum`: how long the clairvoyant takes for 28 days.
//! * `weeks`: breach by the week, at objectives of 5 %, 1 % and 0.1 %, with and without noise.
//! * `shuffles`: ours against AWS target tracking on day-shuffles.
//! * `stress`: what serves while AWS takes back.
//! * `rest`: actions on loads that stay where they are.
//! * `steps`: what four-fold steps cost, and what the first action buys.
#![allow(clippy::print_stdout, missing_docs, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "a tool: it measures how long it takes")]

mod load;
mod speed;
mod stress;
mod weeks;

use autoscaler_core::Policy;
use autoscaler_lab::market::Recorded;
use autoscaler_lab::{Setting, Trace, shuffle};
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

/// What is asked on the command line.
struct Asked {
    what: String,
    count: u32,
    /// (zone, recording) of spot pools.
    spot: Vec<(String, Recorded)>,
    traces: Vec<Trace>,
}

fn main() {
    let asked = Asked::read(std::env::args().skip(1));
    let figures = match asked.what.as_str() {
        "policies" => speed::policies(&asked),
        "optimum" => speed::optimum(&asked.traces),
        "weeks" => weeks::weeks(&asked.traces),
        "shuffles" => shuffles(&asked),
        "stress" => stress::stress(&asked),
        "rest" => load::rest(),
        "steps" => load::steps(&asked.traces),
        other => panic!("{other:?} is not among policies, optimum, weeks, shuffles, stress, rest, steps"),
    };
    println!("{figures}");
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Self {
        let mut asked = Self {
            what: args.next().expect("what to measure"),
            count: 1000,
            spot: Vec::new(),
            traces: Vec::new(),
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--count" => asked.count = args.next().and_then(|n| n.parse().ok()).expect("a number"),
                "--spot" => asked.spot.push(recording(&args.next().expect("a recording"))),
                file => asked.traces.push(trace(file)),
            }
        }
        asked
    }
}

/// Ours against AWS target tracking on day-shuffles of each trace.
fn shuffles(asked: &Asked) -> Value {
    let (policy, setting, go) = (Policy::default(), Setting::default(), AtomicBool::new(false));
    let of = |trace: &Trace| {
        let found = shuffle::against_tracking(trace, &policy, &setting, asked.count, threads(), &go, &|_| {});
        json!({"trace": trace.name, "found": found})
    };
    asked.traces.iter().map(of).collect()
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A file's name up to a separator.
fn stem(file: &str, separator: char) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(separator).next().unwrap_or(name).to_owned()
}

/// A trace, called by its file's name.
fn trace(file: &str) -> Trace {
    let reader = BufReader::new(File::open(file).expect(file));
    Trace::read(&stem(file, '.'), reader).expect("a trace")
}

/// A pool's recording, and its zone: what its file is called up to the first underscore.
fn recording(file: &str) -> (String, Recorded) {
    let reader = BufReader::new(File::open(file).expect(file));
    (stem(file, '_'), Recorded::read(file, reader, 1).expect("a recording"))
}
