//! Scores the sizing kernel: `cargo run --release -p autoscaler-core --example sizing_scores -- [options] [FILE...]`
//!
//! Options: `push`, `1m` (the default), `5m`; `--hours N` for the first hours alone; `--boot SECONDS`; `--pool SEED`
//! for services made from a seed (and, with files, the recordings shuffled, reversed and warped), `--days N` of them;
//! `--constant PERCENT` for loads that stay within so much of their level; `--noise PERCENT`; `--objective PERMILLE`; `--short` for the summary alone; `-v` for every action.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a tool"
)]
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, missing_docs, dead_code, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "a tool: it reads its arguments")]

#[path = "../tests/it/support/services.rs"]
mod services;
#[path = "../tests/it/support/trace.rs"]
mod trace;
#[path = "../tests/it/support/world.rs"]
mod world;

use autoscaler_core::{Learned, Policy};
use services::{KINDS, by_steps, service, shuffled, warped};
use std::path::Path;
use world::Scores;

struct Options {
    world: world::World,
    policy: Policy,
    from: u32,
    seconds: u32,
    pool: Option<u64>,
    days: usize,
    constant: f64,
    noise: f64,
    verbose: bool,
    short: bool,
    files: Vec<String>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            world: world::World { channel: world::Channel::Cloudwatch1m, ..Default::default() },
            policy: Policy::default(),
            from: 0,
            seconds: u32::MAX,
            pool: None,
            days: 10,
            constant: 0.0,
            noise: 0.0,
            verbose: false,
            short: false,
            files: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse::<u32>().ok()).expect("a number");
            match arg.as_str() {
                "push" => options.world.channel = world::Channel::Push,
                "1m" => options.world.channel = world::Channel::Cloudwatch1m,
                "5m" => options.world.channel = world::Channel::Cloudwatch5m,
                "--hours" => options.seconds = number() * 3600,
                "--from" => options.from = number() * 3600,
                "--boot" => {
                    options.world.boot_steps = number() as usize / 10;
                    options.policy.boot =
                        std::time::Duration::from_secs(options.world.boot_steps as u64 * 10);
                }
                "--pool" => options.pool = Some(u64::from(number())),
                "--days" => options.days = number() as usize,
                "--constant" => options.constant = f64::from(number()) / 100.0,
                "--noise" => options.noise = f64::from(number()) / 100.0,
                "--objective" => options.policy.objective.at_most = f64::from(number()) / 1000.0,
                "--short" => options.short = true,
                "-v" => options.verbose = true,
                _ => options.files.push(arg),
            }
        }
        options
    }

    /// What is to be held, by name.
    fn loads(&self) -> Vec<(String, Vec<f64>)> {
        let traces: Vec<_> = self.files.iter().map(|f| trace::Trace::read(Path::new(f))).collect();
        let mut loads: Vec<(String, Vec<f64>)> = Vec::new();
        let Some(seed) = self.pool else {
            return traces.iter().map(|t| (t.name.clone(), t.steps(self.from, self.seconds))).collect();
        };
        for (name, make) in KINDS {
            for twin in [seed * 2, seed * 2 + 1] {
                loads.push((format!("{name}-{twin}"), by_steps(&service(make, twin, self.days))));
            }
        }
        for trace in &traces {
            let minutes = trace.minutes();
            let back: Vec<f64> = minutes.iter().rev().copied().collect();
            let mut add = |what: &str, minutes: &[f64]| {
                loads.push((format!("{}-{what}", trace.name), by_steps(minutes)));
            };
            add("shuffled", &shuffled(&minutes, seed));
            add("back", &back);
            add("fast", &warped(&minutes, 1.4, 0.8));
            add("slow", &warped(&minutes, 0.7, 1.25));
        }
        loads
    }
}

fn main() {
    let options = Options::read();
    if options.constant > 0.0 {
        return hold_still(&options);
    }
    let mut loads = options.loads();
    if options.noise > 0.0 {
        for (number, (_, demand)) in loads.iter_mut().enumerate() {
            let mut chance = services::Chance::new(number as u64 + 100);
            for d in demand {
                *d *= (options.noise * chance.normal()).exp();
            }
        }
    }
    if !options.short {
        println!(
            "load               cost/oracle  breach80   in a week saturated  util   flips/d actions/d contract"
        );
    }
    let mut sum = Summary::default();
    let begun = on_cpu();
    for (name, demand) in &loads {
        let s = world::hold(options.world, &options.policy, &mut Learned::default(), demand);
        sum.add(&options.policy, name, &s, &options);
    }
    sum.print(on_cpu() - begun);
}

/// Holds loads that stay where they are for 26 h, and shows what moved after the first two.
fn hold_still(options: &Options) {
    let steps = 26 * 360;
    let units = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0];
    for memory in [0.0, 5.0, 30.0, 120.0] {
        let (mut runs, mut moved, mut most, mut broken) = (0, 0, 0, 0);
        for (number, units) in units.into_iter().enumerate() {
            // On the brink between two sizes, at the target and at the level, and in between.
            for part in [0.745, 0.75, 0.755, 0.78, 0.8, 0.66] {
                for seed in [1, 2] {
                    let seed = seed + 10 * number as u64;
                    let demand = services::constant(units * part, options.constant, memory, seed, steps);
                    let s = world::hold(options.world, &options.policy, &mut Learned::default(), &demand);
                    let late: Vec<_> = s.actions.iter().filter(|(at, ..)| *at >= 7200).collect();
                    (runs, moved, most) =
                        (runs + 1, moved + usize::from(!late.is_empty()), late.len().max(most));
                    broken += usize::from(s.breach80 > options.policy.objective.at_most);
                    if !late.is_empty() && !options.short {
                        println!("  {units} x {part}, memory {memory} min, seed {seed}: {late:?}");
                    }
                }
            }
        }
        println!(
            "memory {memory} min: {moved} of {runs} moved, at most {most} times; {broken} broke the promise"
        );
    }
}

/// Seconds that this process has been on a CPU: others may be busy beside it.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// What all loads came to.
#[derive(Default)]
struct Summary {
    count: f64,
    log_cost: f64,
    days: f64,
    breach: f64,
    saturated: f64,
    broken: Vec<String>,
}

impl Summary {
    fn add(&mut self, policy: &Policy, name: &str, s: &Scores, options: &Options) {
        let broken: Vec<String> = [
            ("util", s.mean_utilization, policy.target.get() + 0.005),
            ("breach", s.breach80, policy.objective.at_most),
            ("week", s.worst_week, policy.objective.at_most),
            ("saturated", s.saturated, 0.003),
            ("flips", s.flips_per_day, 12.0),
        ]
        .iter()
        .filter(|(_, is, most)| is > most)
        .map(|(what, is, most)| format!("{what} {:.2}", is / most))
        .collect();
        self.count += 1.0;
        self.days += s.days;
        self.log_cost += s.over_oracle.ln();
        self.breach += s.breach80;
        self.saturated += s.saturated;
        if !options.short {
            println!(
                "{name:<18} {:>9.3} {:>10.2}% {:>9.2}% {:>8.2}% {:>7.1}% {:>7.1} {:>8.1}  {}",
                s.over_oracle,
                s.breach80 * 100.0,
                s.worst_week * 100.0,
                s.saturated * 100.0,
                s.mean_utilization * 100.0,
                s.flips_per_day,
                s.actions_per_day,
                broken.join(", "),
            );
        }
        if !broken.is_empty() {
            self.broken.push(format!("{name} ({})", broken.join(", ")));
        }
        if options.verbose {
            println!("  {:.1} minutes above the level", s.above.len() as f64 / 6.0);
            for (at, from, to) in &s.actions {
                println!("  {at:>8} {from} -> {to}");
            }
        }
    }

    fn print(&self, took: f64) {
        println!(
            "{} loads: cost/oracle {:.4}, breach {:.3}%, saturated {:.3}%, {:.0} days a CPU second, {} broken: {}",
            self.count,
            (self.log_cost / self.count).exp(),
            self.breach / self.count * 100.0,
            self.saturated / self.count * 100.0,
            self.days / took,
            self.broken.len(),
            self.broken.join("; "),
        );
    }
}
