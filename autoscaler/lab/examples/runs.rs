//! Runs all runners over traces: `cargo run --release -p autoscaler-lab --example runs -- [--boot SECONDS] FILE...`
#![allow(clippy::print_stdout, missing_docs, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "a tool: it measures how long it takes")]

use autoscaler_core::Policy;
use autoscaler_lab::market::{Market, Recorded};
use autoscaler_lab::regret::regret;
use autoscaler_lab::{Bench, Interruptions, Runner, Setting, Trace, compare};
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::time::Instant;

/// A pool's recording, and its zone: what its file is called up to the first underscore.
fn recording(file: &str) -> (String, Recorded) {
    let reader = BufReader::new(File::open(file).expect("a recording"));
    let name = file.rsplit('/').next().unwrap_or(file);
    let zone = name.split('_').next().unwrap_or(name).to_owned();
    (zone, Recorded::read(file, reader, 1).expect("a recording"))
}

fn main() {
    let mut setting = Setting::default();
    let mut files = Vec::new();
    let mut recordings = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--boot" => setting.boot = args.next().and_then(|n| n.parse().ok()).expect("seconds"),
            "--band" => setting.interruptions = Interruptions::Band,
            "--stress" => setting.interruptions = Interruptions::Stress,
            "--stochastic" => setting.stochastic = true,
            "--spot" => recordings.push(recording(&args.next().expect("a recording"))),
            "--push" => setting.metric = autoscaler_lab::Channel::Push,
            "--noise" => setting.noise = args.next().and_then(|n| n.parse().ok()).expect("a share"),
            _ => files.push(arg),
        }
    }
    if !recordings.is_empty() {
        setting.market = Some(Arc::new(Market::replaying(&recordings)));
    }
    let policy = Policy::default();
    println!("trace      runner         cost breach80    sat  util flips/d act/d  days/s  broken");
    for file in files {
        let reader = BufReader::new(File::open(&file).expect("a file"));
        let trace = Trace::read(&file, reader).expect("a trace");
        let name = file.rsplit('/').next().and_then(|f| f.split('.').next()).unwrap_or(&file).to_owned();
        let days = f64::from(u32::try_from(trace.demand.len()).expect("short")) / 8640.0;
        let bench = Bench::new(&trace, &policy, &setting);
        let begun = Instant::now();
        let oracle = bench.oracle_unit_hours();
        let took = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let soft = bench.soft_unit_hours(policy.objective.at_most);
        println!(
            "{name:<10} oracle {oracle:.1} ({:.2} ms for 28 days), soft {:.3} ({:.0} ms for 28 days), floor {:.2} %",
            took / days * 28e3,
            soft.unwrap_or(f64::NAN) / oracle,
            begun.elapsed().as_secs_f64() / days * 28e3,
            bench.delay_floor() * 100.0,
        );
        for entry in compare::equal_breach(&bench, &bench.run(None, Runner::Muster, &policy, false)) {
            println!("{name:<10} against {:?} at equal breach: {:?}", entry.rival, entry.ratio);
        }
        for runner in [Runner::Muster, Runner::AwsTt, Runner::NomadTv] {
            let r = regret(&trace, None, runner, &policy, &setting);
            let of = |part: f64| part / r.oracle_unit_hours * 100.0;
            println!(
                "{name:<10} {:<8} regret {:.1} % of the oracle = delay {:.1} + rounding {:.1} + forecast {:.1} + hold {:.1}",
                format!("{runner:?}"),
                of(r.regret_unit_hours),
                of(r.delay_unit_hours),
                of(r.rounding_unit_hours),
                of(r.forecast_error_unit_hours),
                of(r.hold_down_unit_hours),
            );
        }
        for runner in Runner::ALL {
            let begun = Instant::now();
            let s = bench.run(None, runner, &policy, false).scores;
            let took = begun.elapsed().as_secs_f64();
            println!(
                "{name:<10} {:<12} {:>6.3} {:>7.2}% {:>5.2}% {:>4.1}% {:>7.1} {:>5.0} {:>7.0}  {:?}",
                format!("{runner:?}"),
                s.cost_ratio,
                s.breach80_ratio * 100.0,
                s.saturated_ratio * 100.0,
                s.mean_utilization * 100.0,
                s.flips_per_day,
                s.actions_per_day,
                days / took,
                s.contract_broken,
            );
            if let Some(interruptions) = s.interruptions {
                println!(
                    "{name:<10} {runner:?}: {interruptions} interruptions, {:.0} % drained in time, gap {:.0}, lowest {:.2}",
                    s.drained_in_time_ratio.unwrap_or(f64::NAN) * 100.0,
                    s.capacity_gap_unit_seconds.unwrap_or(f64::NAN),
                    s.lowest_serving_ratio.unwrap_or(f64::NAN),
                );
            }
        }
    }
}
