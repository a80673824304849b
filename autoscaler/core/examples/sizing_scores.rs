//! Scores the sizing kernel on traces: `cargo run -p autoscaler-core --example sizing_scores -- [options] FILE...`
//!
//! Options: `push`, `1m` (the default), `5m`; `--hours N` for the first hours alone; `--boot SECONDS`.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a tool"
)]
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, missing_docs, dead_code, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "a tool: it measures how long it takes")]

#[path = "../tests/it/support/trace.rs"]
mod trace;
#[path = "../tests/it/support/world.rs"]
mod world;

use autoscaler_core::{Learned, Policy};
use std::path::Path;

fn main() {
    let mut setting = world::World { channel: world::Channel::Cloudwatch1m, ..Default::default() };
    let mut seconds = u32::MAX;
    let mut from = 0;
    let mut verbose = false;
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse::<u32>().ok()).expect("a number");
        match arg.as_str() {
            "push" => setting.channel = world::Channel::Push,
            "1m" => setting.channel = world::Channel::Cloudwatch1m,
            "5m" => setting.channel = world::Channel::Cloudwatch5m,
            "--hours" => seconds = number() * 3600,
            "--from" => from = number() * 3600,
            "--boot" => setting.boot_steps = number() as usize / 10,
            "-v" => verbose = true,
            _ => files.push(arg),
        }
    }
    println!("trace      cost/oracle /ceil  breach80  saturated  util   flips/d actions/d  days/s");
    for file in files {
        let trace = trace::Trace::read(Path::new(&file));
        let demand = trace.steps(from, seconds);
        let mut learned = Learned::default();
        let begun = std::time::Instant::now();
        let s = world::hold(setting, &Policy::default(), &mut learned, &demand);
        let took = begun.elapsed().as_secs_f64();
        println!(
            "{:<10} {:>9.3} {:>7.3} {:>8.2}% {:>8.2}% {:>6.1}% {:>8.1} {:>8.1} {:>8.0}",
            trace.name,
            s.over_oracle,
            s.over_ceil,
            s.breach80 * 100.0,
            s.saturated * 100.0,
            s.mean_utilization * 100.0,
            s.flips_per_day,
            s.actions_per_day,
            s.days / took,
        );
        if verbose {
            for (at, from, to) in &s.actions {
                println!("  {at:>8} {from} -> {to}");
            }
        }
    }
}
