//! Many runs at once.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::sweep::{Job, Progress, add_soft_cost, sweep};
use autoscaler_lab::{Bench, Runner, Setting, Trace, backtest, compare, shuffle};
use fleet::Utilization;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const RUNNERS: [Runner; 4] = [Runner::Muster, Runner::AwsTt, Runner::NomadTv, Runner::Hpa];

fn jobs<'a>(traces: &'a [Trace], policy: &'a Policy, setting: &'a Setting) -> Vec<Job<'a>> {
    let of = |trace| {
        RUNNERS.map(|runner| Job { trace, history: None, runner, policy, setting, course: true }).to_vec()
    };
    traces.iter().flat_map(of).collect()
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("more than none")
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let traces: Vec<Trace> = (0..4).map(|seed| traces::wild(seed, 4000)).collect();
    let (policy, setting) = (Policy::default(), Setting { noise: 0.05, seed: 7, ..Setting::default() });
    let (cooler, slower) = (
        Policy { target: Utilization::new(0.6), ..policy.clone() },
        Setting { boot: 180, ..setting.clone() },
    );
    let mut jobs = jobs(&traces, &policy, &setting);
    // Beside each other, and compared with something else each.
    let others = jobs.clone();
    jobs.extend(others.iter().map(|job| Job { policy: &cooler, ..*job }));
    jobs.extend(others.iter().map(|job| Job { setting: &slower, ..*job }));
    let run = |count| {
        let outcomes = sweep(&jobs, threads(count), &AtomicBool::new(false), &|_| {});
        format!("{outcomes:?}")
    };
    let one = run(1);
    assert_eq!(one, run(1));
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
    let alone = jobs
        .iter()
        .map(|job| Some(backtest(job.trace, job.history, job.runner, job.policy, job.setting, job.course)));
    assert_eq!(one, format!("{:?}", alone.collect::<Vec<_>>()));
}

#[test]
fn a_sweep_that_is_stopped_keeps_what_is_finished() {
    let traces: Vec<Trace> = (0..3).map(|seed| traces::wild(seed, 500)).collect();
    let (policy, setting) = (Policy::default(), Setting::default());
    let jobs = jobs(&traces, &policy, &setting);
    let (stop, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let outcomes = sweep(&jobs, threads(1), &stop, &|progress: Progress| {
        told.lock().expect("no panic").push(progress.done);
        stop.store(progress.done == 5, Ordering::Relaxed);
    });
    let finished: Vec<bool> = outcomes.iter().map(Option::is_some).collect();
    assert_eq!(finished, (0..12).map(|n| n < 5).collect::<Vec<_>>());
    assert_eq!(*told.lock().expect("no panic"), [1, 2, 3, 4, 5]);
}

#[test]
fn progress_ends_with_everything_done() {
    let traces = [traces::wild(1, 8640)];
    let (policy, setting) = (Policy::default(), Setting::default());
    let last = Mutex::new(Progress::default());
    let note = |progress| *last.lock().expect("no panic") = progress;
    let _ = sweep(&jobs(&traces, &policy, &setting), threads(2), &AtomicBool::new(false), &note);
    let expected = Progress { done: 4, jobs: 4, days_done: 4.0, days: 4.0 };
    assert_eq!(*last.lock().expect("no panic"), expected);
}

#[test]
fn the_table_has_a_row_for_everything() {
    let traces = [(traces::wild(1, 8640), None), (traces::wild(2, 8640), Some(traces::wild(3, 8640)))];
    let policy = Policy::default();
    let settings = [60, 120].map(|boot| Setting { boot, ..Setting::default() });
    let go = AtomicBool::new(false);
    let table =
        compare::table(&traces, &RUNNERS, &policy, &settings, threads(2), &go, &|_| {}, &|| Duration::ZERO);
    assert_eq!(table.outcomes.len(), 2 * 2 * 4);
    assert_eq!(table.at_equal_breach.len(), 2 * 2 * 2);
    assert!(table.means.len() <= 4 && !table.means.is_empty());
    assert_eq!(table.speeds.len(), 4);
    assert_eq!(table.outcomes[4].seconds.simulated, 2 * 86_400, "with history");
}

#[test]
fn history_is_learned_from_and_not_scored() {
    let trace = traces::sample("nasa");
    let (before, after) = trace.demand.split_at(trace.demand.len() / 2);
    let history = Trace { demand: before.to_vec(), ..trace.clone() };
    let rest = traces::of(after.to_vec());
    let (policy, setting) = (Policy::default(), Setting::default());
    let alone = backtest(&rest, None, Runner::Muster, &policy, &setting, false);
    let taught = backtest(&rest, Some(&history), Runner::Muster, &policy, &setting, false);
    assert_eq!(taught.seconds.scored, alone.seconds.scored);
    assert!(taught.scores.cost_unit_hours != alone.scores.cost_unit_hours, "it makes a difference");
}

#[test]
fn the_soft_optimum_is_found_once_for_all_runners_of_a_trace() {
    let traces = [traces::sample("wiki"), traces::sample("taxi")];
    let (policy, setting) = (Policy::default(), Setting::default());
    let jobs = jobs(&traces, &policy, &setting);
    let go = AtomicBool::new(false);
    let mut outcomes = sweep(&jobs, threads(2), &go, &|_| {});
    let told = Mutex::new(Vec::new());
    add_soft_cost(&jobs, &mut outcomes, threads(2), &go, &|progress: Progress| {
        told.lock().expect("no panic").push((progress.done, progress.jobs, progress.days_done));
    });
    assert_eq!(told.into_inner().expect("no panic"), [(1, 2, 2.0), (2, 2, 4.0)], "one for each trace");
    for (job, outcome) in jobs.iter().zip(outcomes) {
        let scores = outcome.expect("not stopped").scores;
        let soft = Bench::new(job.trace, &policy, &setting).soft_unit_hours(0.01).expect("can be kept");
        assert_eq!(scores.soft_cost_ratio, Some(scores.cost_unit_hours / soft));
    }
}

#[test]
fn a_shuffle_has_the_same_days_in_another_order() {
    let mut trace = traces::of((0..8640 * 5 + 100).map(f64::from).collect());
    trace.name = "counting".to_owned();
    let shuffled = shuffle::by_days(&trace, 3);
    assert_eq!(shuffled, shuffle::by_days(&trace, 3));
    assert_ne!(shuffled.demand, trace.demand);
    assert_ne!(shuffled.demand, shuffle::by_days(&trace, 4).demand);
    assert_eq!(shuffled.demand[8640 * 5..], trace.demand[8640 * 5..], "what is left of a day stays");
    let days = |trace: &Trace| {
        let mut days: Vec<Vec<f64>> = trace.demand.chunks(8640).map(<[f64]>::to_vec).collect();
        days.sort_by(|a, b| a[0].total_cmp(&b[0]));
        days
    };
    assert_eq!(days(&shuffled), days(&trace));
    let orders: std::collections::BTreeSet<Vec<u64>> = (0..500)
        .map(|seed| shuffle::by_days(&trace, seed).demand.chunks(8640).map(|day| day[0] as u64).collect())
        .collect();
    assert!(orders.len() > 110, "of 120 orders {} came", orders.len());
}

#[test]
fn shuffles_are_all_counted() {
    let (trace, policy) = (traces::sample("nasa"), Policy::default());
    let go = AtomicBool::new(false);
    let of = |target| {
        let policy = Policy { target: Utilization::new(target), ..policy.clone() };
        shuffle::against_tracking(&trace, &policy, &Setting::default(), 19, threads(2), &go, &|_| {})
    };
    let found = of(0.75);
    assert_eq!((found.shuffles, found.worse_in_both), (19, 0), "{found:?}");
    go.store(true, Ordering::Relaxed);
    assert_eq!(of(0.75).shuffles, 0);
}
