//! Prints the whole table of docs/benchmarks.md: `cargo run --release -p autoscaler-lab --example table -- FILE...`
#![allow(clippy::print_stdout, missing_docs, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "a tool: it measures how long it takes")]

use autoscaler_core::Policy;
use autoscaler_lab::sweep::{Job, add_soft_cost};
use autoscaler_lab::{Outcome, Runner, Setting, Trace, compare};
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn main() {
    let traces: Vec<(Trace, Option<Trace>)> =
        std::env::args().skip(1).map(|file| (read(&file), None)).collect();
    let settings = [60, 120, 180].map(|boot| Setting { boot, ..Setting::default() });
    let (policy, go, begun) = (Policy::default(), AtomicBool::new(false), Instant::now());
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let clock = || begun.elapsed();
    let mut table = compare::table(&traces, &Runner::ALL, &policy, &settings, threads, &go, &|_| {}, &clock);
    let jobs: Vec<Job<'_>> = settings
        .iter()
        .flat_map(|setting| traces.iter().map(move |(trace, _)| (setting, trace)))
        .flat_map(|(setting, trace)| {
            let policy = &policy;
            Runner::ALL.map(|runner| Job { trace, history: None, runner, policy, setting, course: false })
        })
        .collect();
    let mut outcomes: Vec<Option<Outcome>> = table.outcomes.drain(..).map(Some).collect();
    add_soft_cost(&jobs, &mut outcomes, threads, &go, &|_| {});
    table.outcomes = outcomes.into_iter().flatten().collect();
    println!(
        "| boot | trace | runner | unit-hours | oracle's | cost | over soft | breach80 | saturated | util | flips/d | contract |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for outcome in &table.outcomes {
        let s = &outcome.scores;
        let broken: Vec<String> = s.contract_broken.iter().map(name).collect();
        println!(
            "| {} | {} | {} | {:.1} | {:.1} | {:.3} | {} | {:.2} % | {:.2} % | {:.1} % | {:.1} | {} |",
            outcome.config.setting.boot,
            outcome.trace,
            name(&outcome.runner),
            s.cost_unit_hours,
            s.oracle_unit_hours,
            s.cost_ratio,
            s.soft_cost_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}")),
            s.breach80_ratio * 100.0,
            s.saturated_ratio * 100.0,
            s.mean_utilization * 100.0,
            s.flips_per_day,
            if broken.is_empty() { "kept".to_owned() } else { broken.join(", ") },
        );
    }
    println!(
        "\n| boot | trace | rival, tuned in hindsight | our cost over its at equal breach |\n|---|---|---|---|"
    );
    for entry in &table.at_equal_breach {
        let ratio = entry.ratio.map_or("never so little breach".to_owned(), |ratio| format!("{ratio:.3}"));
        println!("| {} | {} | {} | {ratio} |", entry.boot, entry.trace, name(&entry.rival));
    }
    for mean in &table.means {
        println!(
            "| {} | geometric mean of {} | {} | {:.3} |",
            mean.boot,
            mean.traces,
            name(&mean.rival),
            mean.ratio
        );
    }
    let (cases, worse) = worse_in_both(&table.outcomes);
    println!("\n| worse than aws-tt in both cost and breach | of | where |\n|---|---|---|");
    println!("| {} | {cases} | {} |", worse.len(), worse.join(", "));
    println!("\n| runner | days/s on one core |\n|---|---|");
    for speed in &table.speeds {
        println!("| {} | {:.0} |", name(&speed.runner), speed.days_per_second);
    }
}

/// Our runs that AWS target tracking beats in both cost and breach on the same trace and at the same boot.
///
/// * returns: how many runs there are, and which are beaten.
fn worse_in_both(outcomes: &[Outcome]) -> (usize, Vec<String>) {
    let of = |runner| outcomes.iter().filter(move |outcome| outcome.runner == runner);
    let case = |outcome: &Outcome| (outcome.trace.clone(), outcome.config.setting.boot);
    let beaten = |ours: &&Outcome| {
        let theirs = of(Runner::AwsTt).find(|theirs| case(theirs) == case(ours)).expect("it runs, too");
        let point = |outcome: &Outcome| (outcome.scores.cost_unit_hours, outcome.scores.breach80_ratio);
        let ((cost, breach), (their_cost, their_breach)) = (point(ours), point(theirs));
        cost > their_cost && breach > their_breach
    };
    let name = |ours: &Outcome| format!("{} at {} s", ours.trace, ours.config.setting.boot);
    (of(Runner::Muster).count(), of(Runner::Muster).filter(beaten).map(name).collect())
}

/// What JSON calls it.
fn name(what: &impl Serialize) -> String {
    serde_json::to_value(what).ok().and_then(|value| value.as_str().map(str::to_owned)).expect("a word")
}

/// A trace, called by its file's name.
fn read(file: &str) -> Trace {
    let reader = BufReader::new(File::open(file).expect("a file"));
    let stem = file.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or(file);
    Trace::read(stem, reader).expect("a trace")
}
