//! How long a plan takes: `cargo run --release -p autoscaler-core --example plan_bench -- [PLANS]`.
//!
//! One fleet of twenty instances, with fourteen days of a daily wave behind it that ends where the fleet is just
//! right. A third of the plans finds it so, a third grows it after ten minutes of more, a third shrinks it after ten
//! minutes of less. Prints JSON: microseconds.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    reason = "a tool: it measures how long something takes, with a part of what the tests share"
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, missing_docs, reason = "a tool")]

#[path = "../tests/it/support/scene.rs"]
mod scene;

use autoscaler_core::{Learned, Policy, plan};
use scene::{NOON, Scene, sample, seconds};
use std::hint::black_box;
use std::time::{Duration, Instant};

const INSTANCES: u32 = 20;
const DAYS: u32 = 14;
const STEPS_A_DAY: u32 = 8640;

fn main() {
    let plans: usize = std::env::args().nth(1).map_or(30_000, |n| n.parse().expect("a number of plans"));
    let mut policy = Policy::default();
    policy.capacity.max = 2 * INSTANCES;
    let scenes = [15, 19, 9].map(|demand| Scene {
        policy: policy.clone(),
        learned: fortnight(&policy, demand),
        ..Scene::of(INSTANCES, demand)
    });
    let mut took: Vec<Duration> = Vec::with_capacity(plans);
    for scene in scenes.iter().cycle().take(plans) {
        let begun = Instant::now();
        let planned = plan(&scene.policy, &scene.seen, &scene.memory, &scene.learned, scene.now);
        took.push(begun.elapsed());
        let _ = black_box(planned);
    }
    took.sort_unstable();
    let at = |per_mille: usize| took[(took.len() * per_mille / 1000).min(took.len() - 1)].as_secs_f64() * 1e6;
    println!(
        "{{\"plans\": {plans}, \"median_us\": {:.1}, \"p99_us\": {:.1}, \"longest_us\": {:.1}}}",
        at(500),
        at(990),
        at(1000)
    );
}

/// What is learned of fourteen days, sample by sample of ten seconds; the last sixty are of `demand` units.
fn fortnight(policy: &Policy, demand: u32) -> Learned {
    let mut learned = Learned::default();
    let steps = DAYS * STEPS_A_DAY;
    for step in 0..steps {
        let day = f64::from(step % STEPS_A_DAY) / f64::from(STEPS_A_DAY);
        let wave = 0.5 + 0.25 * (day * std::f64::consts::TAU).cos();
        let utilization = if step + 60 < steps { wave } else { f64::from(demand) / f64::from(INSTANCES) };
        let end = NOON - seconds(u64::from(steps - step) * 10 - 9);
        learned.observe(policy, &sample(end, utilization, f64::from(INSTANCES)));
    }
    learned
}
