//! Runs worlds by chance, many of them: `muster-worlds --seeds A..B`.

use clap::Parser;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use muster_worlds::fate::{Fate, Outcome, run};
use muster_worlds::shrink::shrink;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Worlds are made of many small things that live shortly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two simulated hours of two autoscalers in each world, with everything that can go wrong. Says which worlds broke
/// an invariant, and what of their troubles was needed for it. Ends with 1 if any did.
#[derive(Parser)]
#[command(name = "muster-worlds")]
struct Args {
    /// Which worlds: `A..B`, without B.
    #[arg(long, value_parser = range)]
    seeds: (u64, u64),
    /// How many at a time; the number of processors unless given.
    #[arg(long)]
    jobs: Option<usize>,
    /// A file that keeps the first seed that is not done: go on from there, if it exists.
    #[arg(long)]
    resume: Option<PathBuf>,
    /// Do not look for what of a failing world's troubles was needed.
    #[arg(long)]
    no_shrink: bool,
    /// What the processes did, of the first world that fails.
    #[arg(long)]
    story: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once("..").ok_or("it must be A..B")?;
    let number = |part: &str| part.parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
    let (from, to) = (number(parts.0)?, number(parts.1)?);
    if from < to { Ok((from, to)) } else { Err("A must be below B".to_owned()) }
}

/// How far it has come.
struct Progress {
    /// The first seed that is not done, ...
    next: u64,
    /// ... and later ones that are.
    done: BTreeSet<u64>,
    count: u64,
    failed: Vec<u64>,
    total: Totals,
}

#[derive(Default)]
struct Totals {
    crashes: u64,
    writes: u64,
    interruptions: u64,
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let args = Args::parse();
    let clock = SystemClock::new();
    let (mut from, to) = args.seeds;
    if let Some(kept) = args.resume.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
        match kept.trim().parse::<u64>() {
            Ok(next) => from = from.max(next),
            Err(error) => {
                eprintln!("the file to resume from holds no seed: {error}");
                return ExitCode::from(2);
            }
        }
    }
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let next = AtomicU64::new(from);
    let progress = Mutex::new(Progress {
        next: from,
        done: BTreeSet::new(),
        count: 0,
        failed: Vec::new(),
        total: Totals::default(),
    });
    // What panics is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let outcome = one(seed);
                    tell(&args, seed, &outcome);
                    note(&args, &progress, seed, &outcome, (from, to), clock.monotonic());
                }
            });
        }
    });
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let took = clock.monotonic().as_secs_f64();
    let Progress { count, failed, total, .. } = progress;
    println!(
        "{count} worlds in {took:.1} s on {jobs} threads, {} failed; {} writes, {} crashes, {} interruptions",
        failed.len(),
        total.writes,
        total.crashes,
        total.interruptions
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64) -> Outcome {
    std::panic::catch_unwind(|| run(&Fate::of(seed))).unwrap_or_else(|payload| {
        let words = payload.downcast_ref::<String>().cloned();
        let words = words.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        let words = words.unwrap_or_else(|| "nothing said".to_owned());
        Outcome { complaints: vec![format!("panic: {words}")], ..Outcome::default() }
    })
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn tell(args: &Args, seed: u64, outcome: &Outcome) {
    let Some(first) = outcome.complaints.first() else { return };
    let mut text = format!("seed {seed}: {first}");
    if !args.no_shrink {
        let smallest = shrink(&Fate::of(seed));
        for trouble in &smallest.troubles {
            let (from, until) = (trouble.from.as_secs(), trouble.until.as_secs());
            text = format!(
                "{text}
    {from:>5}..{until:<5} {:?}",
                trouble.what
            );
        }
        if args.story {
            let mut cluster = muster_worlds::fate::cluster(&smallest);
            let outcome = muster_worlds::fate::live(&smallest, &mut cluster);
            text = format!("{text}\n{}\n{:?}", cluster.story(), outcome.complaints);
        }
    }
    println!("{text}");
}

fn note(
    args: &Args,
    progress: &Mutex<Progress>,
    seed: u64,
    outcome: &Outcome,
    (from, to): (u64, u64),
    took: Duration,
) {
    let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    progress.done.insert(seed);
    progress.count += 1;
    progress.total.crashes += u64::from(outcome.crashes);
    progress.total.writes += outcome.writes as u64;
    progress.total.interruptions += outcome.interruptions as u64;
    if !outcome.complaints.is_empty() {
        progress.failed.push(seed);
    }
    let before = progress.next;
    while let Some(first) = progress.done.first().copied().filter(|first| *first == progress.next) {
        progress.done.remove(&first);
        progress.next += 1;
    }
    if let Some(path) =
        args.resume.as_ref().filter(|_| progress.next / 64 != before / 64 || progress.next == to)
    {
        // Written beside and moved, so that a kill leaves the old one or the new one.
        let beside = path.with_extension("new");
        let kept = std::fs::write(&beside, progress.next.to_string());
        let _ = kept.and_then(|()| std::fs::rename(&beside, path));
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() && progress.count.is_multiple_of(16) {
        let (count, all, failed) = (progress.count, to - from, progress.failed.len());
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let left = milliseconds.saturating_mul(all - count) / count / 1000;
        let _ = write!(stderr, "\r{count} of {all}, {left} s left, {failed} failed ");
    }
}
