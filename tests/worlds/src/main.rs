//! Runs worlds by chance, many of them: `muster-worlds --seeds A..B`.

use clap::{Parser, ValueEnum};
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use muster_worlds::fate::{Fate, Outcome, run};
use muster_worlds::shrink::shrink;
use std::collections::BTreeMap;
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
    /// A file that keeps the first seed that is not done, and what came of those before: go on from there, if it exists.
    #[arg(long)]
    resume: Option<PathBuf>,
    /// Do not look for what of a failing world's troubles was needed.
    #[arg(long)]
    no_shrink: bool,
    /// For how many seconds that is looked for in each of the first four worlds that fail; in no others.
    #[arg(long, default_value_t = 30)]
    shrink_for: u64,
    /// What the processes did, of the first world that fails.
    #[arg(long)]
    story: bool,
    /// In which worlds a version of the launch template is rolled out.
    #[arg(long, value_enum, default_value_t = Rollouts::Some)]
    rollouts: Rollouts,
    /// In which worlds the policy is another than the usual one: recommendations, on-demand fallback and droughts, repairs, weights,
    /// surges, batch work.
    #[arg(long, value_enum, default_value_t = Policies::Usual)]
    policies: Policies,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policies {
    /// In none.
    Usual,
    /// In all.
    Varied,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rollouts {
    /// In none.
    None,
    /// In every fourth.
    Some,
    /// In all.
    All,
}

impl Args {
    fn fate(&self, seed: u64) -> Fate {
        let rolls = match self.rollouts {
            Rollouts::None => false,
            Rollouts::Some => seed % 4 == 3,
            Rollouts::All => true,
        };
        // In others the fleet's size never changes, and what is bought is counted.
        let fate = if rolls {
            Fate::rolling(seed)
        } else if seed % 4 == 1 {
            Fate::pinned(seed)
        } else {
            Fate::of(seed)
        };
        match self.policies {
            Policies::Usual => fate,
            Policies::Varied => fate.varied(),
        }
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once("..").ok_or("it must be A..B")?;
    let number = |part: &str| part.parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
    let (from, to) = (number(parts.0)?, number(parts.1)?);
    if from < to { Ok((from, to)) } else { Err("A must be below B".to_owned()) }
}

/// Of so many worlds that fail it is found out why; more of them have the same reasons, most often.
const SHRUNK: usize = 4;

/// How far it has come.
struct Progress {
    /// The first seed that is not done, ...
    next: u64,
    /// ... later ones that are, ...
    ahead: BTreeMap<u64, Tally>,
    /// ... and what came of those before it.
    tally: Tally,
    /// How many were lived through by this process.
    count: u64,
    failed: usize,
}

/// What came of some worlds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    worlds: u64,
    writes: u64,
    crashes: u64,
    interruptions: u64,
    failed: Vec<u64>,
}

impl Tally {
    fn of(seed: u64, outcome: &Outcome) -> Self {
        Self {
            worlds: 1,
            writes: outcome.writes as u64,
            crashes: u64::from(outcome.crashes),
            interruptions: outcome.interruptions as u64,
            failed: if outcome.complaints.is_empty() { Vec::new() } else { vec![seed] },
        }
    }

    fn add(&mut self, other: Self) {
        let Self { worlds, writes, crashes, interruptions, failed } = other;
        self.worlds += worlds;
        self.writes += writes;
        self.crashes += crashes;
        self.interruptions += interruptions;
        self.failed.extend(failed);
    }
}

/// What the file to resume from holds: the first seed that is not done, and what came of those before.
fn kept(next: u64, tally: &Tally) -> String {
    let Tally { worlds, writes, crashes, interruptions, failed } = tally;
    let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let failed = failed.join(" ");
    format!(
        "next {next}\nworlds {worlds}\nwrites {writes}\ncrashes {crashes}\ninterruptions {interruptions}\nfailed {failed}\n"
    )
}

/// Reads what [`kept`] wrote. `None`: it is something else.
fn resumed(text: &str) -> Option<(u64, Tally)> {
    let lines: BTreeMap<&str, &str> =
        text.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    let number = |key: &str| lines.get(key)?.parse::<u64>().ok();
    let failed = lines.get("failed")?.split_whitespace().map(str::parse::<u64>);
    let tally = Tally {
        worlds: number("worlds")?,
        writes: number("writes")?,
        crashes: number("crashes")?,
        interruptions: number("interruptions")?,
        failed: failed.collect::<Result<_, _>>().ok()?,
    };
    Some((number("next")?, tally))
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let args = Args::parse();
    let clock = SystemClock::new();
    let (mut from, to) = args.seeds;
    let mut tally = Tally::default();
    if let Some(text) = args.resume.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
        let Some((next, before)) = resumed(&text) else {
            eprintln!("the file to resume from is none of ours");
            return ExitCode::from(2);
        };
        (from, tally) = (from.max(next), before);
    }
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let next = AtomicU64::new(from);
    let progress = Mutex::new(Progress { next: from, ahead: BTreeMap::new(), tally, count: 0, failed: 0 });
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
                    let outcome = one(&args.fate(seed));
                    let failed = note(&args, &progress, seed, &outcome, (from, to), clock.monotonic());
                    if let Some(first) = outcome.complaints.first() {
                        // Told before it is looked into, which takes longer than the world.
                        say(&format!("seed {seed}: {first}"));
                        if !args.no_shrink && failed <= SHRUNK {
                            explain(&args, seed, &clock);
                        }
                    }
                }
            });
        }
    });
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let took = clock.monotonic().as_secs_f64();
    let Tally { worlds, writes, crashes, interruptions, failed } = progress.tally;
    println!(
        "{worlds} worlds in {took:.1} s on {jobs} threads, {} failed; {writes} writes, {crashes} crashes, {interruptions} interruptions",
        failed.len(),
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let seeds: Vec<String> = failed.iter().map(ToString::to_string).collect();
    println!("failed: {}", seeds.join(" "));
    ExitCode::FAILURE
}

fn one(fate: &Fate) -> Outcome {
    std::panic::catch_unwind(|| run(fate)).unwrap_or_else(|payload| {
        let words = payload.downcast_ref::<String>().cloned();
        let words = words.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        let words = words.unwrap_or_else(|| "nothing said".to_owned());
        Outcome { complaints: vec![format!("panic: {words}")], ..Outcome::default() }
    })
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn say(text: &str) {
    println!("{text}");
}

/// What of a world's troubles was needed for it to fail, for people and as `tests/kept.jsonl` keeps it.
fn explain(args: &Args, seed: u64, clock: &SystemClock) {
    let until = clock.monotonic() + Duration::from_secs(args.shrink_for);
    let smallest = shrink(&args.fate(seed), || clock.monotonic() < until);
    let mut text = format!("seed {seed} needs of its troubles:");
    for trouble in &smallest.troubles {
        let (from, until) = (trouble.from.as_secs(), trouble.until.as_secs());
        text = format!("{text}\n    {from:>5}..{until:<5} {:?}", trouble.what);
    }
    if let Ok(kept) = serde_json::to_string(&smallest) {
        text = format!("{text}\n{kept}");
    }
    if args.story {
        let mut cluster = muster_worlds::fate::cluster(&smallest);
        let outcome = muster_worlds::fate::live(&smallest, &mut cluster);
        text = format!("{text}\n{}\n{:?}", cluster.story(), outcome.complaints);
    }
    say(&text);
}

/// Keeps account of a world. * returns: how many have failed by now.
fn note(
    args: &Args,
    progress: &Mutex<Progress>,
    seed: u64,
    outcome: &Outcome,
    (from, to): (u64, u64),
    took: Duration,
) -> usize {
    let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    progress.count += 1;
    progress.failed += usize::from(!outcome.complaints.is_empty());
    progress.ahead.insert(seed, Tally::of(seed, outcome));
    let before = progress.next;
    let Progress { next, ahead, tally, .. } = &mut *progress;
    while let Some(done) = ahead.remove(next) {
        tally.add(done);
        *next += 1;
    }
    if let Some(path) =
        args.resume.as_ref().filter(|_| progress.next / 64 != before / 64 || progress.next == to)
    {
        // Written beside and moved, so that a kill leaves the old one or the new one.
        let beside = path.with_extension("new");
        let kept = std::fs::write(&beside, kept(progress.next, &progress.tally));
        let _ = kept.and_then(|()| std::fs::rename(&beside, path));
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() && progress.count.is_multiple_of(16) {
        let (count, all, failed) = (progress.count, to - from, progress.failed);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let left = milliseconds.saturating_mul(all - count) / count / 1000;
        let _ = write!(stderr, "\r{count} of {all}, {left} s left, {failed} failed ");
    }
    progress.failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_before_is_known_after_going_on() {
        let mut tally = Tally { worlds: 7, writes: 70, crashes: 3, interruptions: 2, failed: vec![3, 5] };
        assert_eq!(resumed(&kept(7, &tally)), Some((7, tally.clone())));
        tally.add(Tally { worlds: 1, failed: Vec::new(), ..tally.clone() });
        assert_eq!((tally.worlds, &tally.failed[..]), (8, &[3, 5][..]));
        let clean = Tally { failed: Vec::new(), ..tally };
        assert_eq!(resumed(&kept(0, &clean)), Some((0, clean)));
        assert_eq!((resumed("12"), resumed("")), (None, None));
    }
}
