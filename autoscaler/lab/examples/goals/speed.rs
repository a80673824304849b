//! How long sweeps and optima take.

use super::{Asked, threads};
use autoscaler_core::{Capacity, Objective, Policy, ScaleIn};
use autoscaler_lab::sweep::{Job, sweep};
use autoscaler_lab::{Bench, Runner, Setting, Trace};
use fleet::Utilization;
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Policies that differ in everything that `tune` turns, and in the promise: 5 x 5 x 5 x 4 x 2.
fn grid() -> Vec<Policy> {
    let base = Policy::default();
    let mut all = Vec::new();
    for target in [0.60, 0.65, 0.70, 0.75, 0.78] {
        for min in 1..=5 {
            for hold in [0, 60, 120, 480, 1800] {
                for max_step in [None, Some(1), Some(2), Some(4)] {
                    for at_most in [0.01, 0.05] {
                        all.push(Policy {
                            target: Utilization::new(target),
                            capacity: Capacity { min, ..base.capacity },
                            scale_in: ScaleIn { hold: Duration::from_secs(hold), max_step, ..base.scale_in },
                            objective: Objective { at_most, ..base.objective },
                            ..base.clone()
                        });
                    }
                }
            }
        }
    }
    all
}

/// Sweeps a thousand policies over each trace.
pub fn policies(asked: &Asked) -> Value {
    let (policies, setting, go) = (grid(), Setting::default(), AtomicBool::new(false));
    let of = |trace: &Trace| {
        let begun = Instant::now();
        let runner = Runner::Muster;
        let job = |policy| Job { trace, history: None, runner, policy, setting: &setting, course: false };
        let jobs: Vec<Job<'_>> = policies.iter().map(job).collect();
        let outcomes = sweep(&jobs, threads(), &go, &|_| {});
        let kept = outcomes.iter().flatten().filter(|outcome| outcome.scores.contract_kept).count();
        json!({
            "trace": trace.name,
            "policies": outcomes.iter().flatten().count(),
            "days": trace.seconds() / 86_400,
            "threads": threads(),
            "kept": kept,
            "seconds": begun.elapsed().as_secs_f64(),
        })
    };
    asked.traces.iter().map(of).collect()
}

/// How long the clairvoyant takes, for 28 days of each trace.
pub fn optimum(traces: &[Trace]) -> Value {
    let (policy, setting) = (Policy::default(), Setting::default());
    let of = |trace: &Trace| {
        // The quickest of several: what else the machine does only ever slows it.
        let once = || {
            let begun = Instant::now();
            let _ = Bench::new(trace, &policy, &setting).oracle_unit_hours();
            begun.elapsed().as_secs_f64()
        };
        let days = Duration::from_secs(trace.seconds()).as_secs_f64() / 86_400.0;
        let took = (0..9).map(|_| once()).fold(f64::INFINITY, f64::min);
        json!({"trace": trace.name, "ms_for_28_days": took / days * 28e3})
    };
    traces.iter().map(of).collect()
}
