//! The promise, week by week.

use super::threads;
use autoscaler_core::{Objective, Policy};
use autoscaler_lab::promise::{Week, weeks as of_run};
use autoscaler_lab::{Bench, Setting, Trace};
use serde_json::{Value, json};
use std::sync::Mutex;

/// Each trace at each objective, with and without noise.
pub fn weeks(traces: &[Trace]) -> Value {
    let cases: Vec<(&Trace, f64, f64)> = traces
        .iter()
        .flat_map(|trace| [0.05, 0.01, 0.001].map(|at_most| (trace, at_most)))
        .flat_map(|(trace, at_most)| [0.0, 0.05].map(|noise| (trace, at_most, noise)))
        .collect();
    let found = Mutex::new((0, vec![Value::Null; cases.len()]));
    std::thread::scope(|scope| {
        for _ in 0..threads().get() {
            scope.spawn(|| {
                loop {
                    let number = {
                        let mut found = found.lock().expect("nobody panicked");
                        found.0 += 1;
                        found.0 - 1
                    };
                    let Some((trace, at_most, noise)) = cases.get(number) else { return };
                    let case = case(trace, *at_most, *noise);
                    found.lock().expect("nobody panicked").1[number] = case;
                }
            });
        }
    });
    found.into_inner().expect("nobody panicked").1.into()
}

fn case(trace: &Trace, at_most: f64, noise: f64) -> Value {
    let base = Policy::default();
    let policy = Policy { objective: Objective { at_most, ..base.objective }, ..base };
    let setting = Setting { noise, ..Setting::default() };
    let bench = Bench::new(trace, &policy, &setting);
    let (run, weeks) = of_run(&bench, &policy);
    let most = |of: &dyn Fn(&Week) -> f64| weeks.iter().map(of).fold(0.0, f64::max);
    json!({
        "trace": trace.name,
        "objective": at_most,
        "noise": noise,
        "cost_ratio": run.scores.cost_ratio,
        "breach80_ratio": run.scores.breach80_ratio,
        "weeks": weeks.len(),
        "kept": weeks.iter().filter(|week| week.above_ratio <= at_most).count(),
        "kept_or_floor": weeks.iter().filter(|week| week.kept(at_most)).count(),
        "worst": most(&|week| week.above_ratio),
        "worst_floor": most(&|week| week.floor),
    })
}
